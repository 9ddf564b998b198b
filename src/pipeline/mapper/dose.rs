//! The dose of a scan while it runs.
//!
//! It visits every value of the stack, so it takes at most a tenth of the time: between, generations show the dose of the one before.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::classify::{LiveMap, PhaseMap, Recipe};
use crate::damage::{DoseModel, DoseSettings, Exposed, Prior, Reckoned};
use crate::pipeline::doses::Doses;
use crate::stack::Stack;
use crate::telemetry::names;

/// As many times as long as it took the next dose has to wait.
const WAIT: u32 = 10;

/// The dose of a live map.
#[derive(Debug)]
pub(super) struct LiveDose {
    settings: DoseSettings,
    last: Option<Last>,
}

#[derive(Debug)]
struct Last {
    reckoned: Reckoned,
    before: Prior,
    /// The same with what scans that are not archived have deposited, as of the last map.
    with_open: Prior,
    /// Of the ledger when it was asked.
    revision: u64,
    at: Instant,
    took: Duration,
    measured: usize,
}

impl LiveDose {
    pub(super) fn new(settings: DoseSettings) -> Self {
        Self { settings, last: None }
    }

    /// Fills the dose into a generation of the map of `stack`, which is as it was measured.
    pub(super) fn fill(
        &mut self,
        map: &mut PhaseMap,
        stack: &Stack,
        live: &LiveMap,
        recipe: &Recipe,
        doses: &Doses,
    ) {
        if self.is_due(stack) {
            let at = Instant::now();
            let view = live.view(stack);
            let exposed = Exposed { raw: stack, view: &view, drift: &map.origin.drift };
            let detector = &recipe.absorption.detector;
            let reckoned =
                Reckoned::of(&exposed, live.intensity(), detector, &recipe.references, &self.settings);
            let Ok(reckoned) = reckoned else {
                self.last = None;
                return;
            };
            let revision = doses.revision();
            let known = self.last.take().filter(|last| {
                last.revision == revision
                    && last.reckoned.model.lattice == reckoned.model.lattice
                    && last.reckoned.model.basis() == reckoned.model.basis()
            });
            let before =
                known.map_or_else(|| doses.before(stack.plan(), &reckoned.model), |last| last.before);
            doses.note_open(stack.plan(), &reckoned.model, &Arc::new(reckoned.own.clone()));
            let took = at.elapsed();
            metrics::histogram!(names::DOSE_SECONDS).record(took.as_secs_f64());
            self.last = Some(Last {
                reckoned,
                before,
                with_open: Prior::default(),
                revision,
                at,
                took,
                measured: stack.measured(),
            });
        }
        if let Some(last) = &mut self.last {
            last.with_open = last.before.clone();
            doses.add_open(stack.plan(), &last.reckoned.model, &mut last.with_open);
            last.reckoned.tell(map, &last.with_open);
        }
    }

    /// What the doses are reckoned with, and what lay there before, by pixel.
    pub(super) fn known(&self) -> (Option<&DoseModel>, &[f32]) {
        let last = self.last.as_ref();
        (last.map(|last| &last.reckoned.model), last.map_or(&[], |last| &last.with_open.dose))
    }

    fn is_due(&self, stack: &Stack) -> bool {
        let Some(last) = &self.last else { return true };
        let grown = stack.plan().energies_ev.len() != last.reckoned.model.per_energy.len();
        let whole = stack.is_full() && last.measured != stack.measured();
        grown || whole || last.at.elapsed() >= last.took * WAIT
    }
}
