//! What live maps say of the sample: at most once per map, and for at most a tenth of the mapping thread's time.

use std::time::Instant;

use crate::classify::{LiveMap, PhaseMap};
use crate::findings::{Findings, Summary};
use crate::particles::Follower;
use crate::reference::ReferenceSet;
use crate::stack::Stack;

/// How many times as long as a look took there is none.
const REST: u32 = 9;

/// The findings of a scan, generation by generation.
#[derive(Debug, Default)]
pub(super) struct LiveFindings {
    follower: Follower,
    /// When there is time for the next look.
    next: Option<Instant>,
}

impl LiveFindings {
    /// What a map says, in short and as JSON; none where it is not time for it.
    pub(super) fn look(
        &mut self,
        live: &LiveMap,
        stack: &Stack,
        map: &PhaseMap,
        references: &ReferenceSet,
        spot_nm: Option<f64>,
    ) -> Option<(Summary, Vec<u8>)> {
        let started = Instant::now();
        let is_due = self.next.is_none_or(|next| started >= next);
        if !is_due || !map.status.iter().any(|status| status.is_sample()) {
            return None;
        }
        let mut findings = Findings::of(map, &live.view(stack), references, spot_nm);
        self.follower.name(&mut findings.particles, &map.plan.grid);
        let summary = Summary::of(map, &findings, false);
        let json = findings.to_outlined_json().ok()?;
        self.next = Some(Instant::now() + REST * started.elapsed());
        Some((summary, json))
    }
}
