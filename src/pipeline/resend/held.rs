//! Which messages came of scans whose `scan_start` has not: where even that was lost, it can be asked for.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::desk::ScanView;
use crate::pipeline::scans::MOST_GAPS;
use crate::stack::Sequence;

/// Most scans that are followed; the one that has been silent longest gives way.
const MOST_SCANS: usize = 64;
/// A scan is forgotten when nothing of it has come for so long.
const FORGET: Duration = Duration::from_secs(600);

#[derive(Debug)]
struct HeldScan {
    source: usize,
    came: Sequence,
    last: Instant,
}

/// The scans that are waited for.
#[derive(Debug, Default)]
pub(super) struct HeldScans {
    scans: BTreeMap<String, HeldScan>,
}

impl HeldScans {
    /// Notes a message that is held.
    pub(super) fn note(&mut self, source: usize, scan_id: &str, seq: u64, now: Instant) {
        let new = || HeldScan { source, came: Sequence::default(), last: now };
        let scan = self.scans.entry(scan_id.to_owned()).or_insert_with(new);
        scan.last = now;
        scan.came.insert(seq);
        while self.scans.len() > MOST_SCANS {
            let oldest =
                self.scans.iter().min_by_key(|(_, scan)| scan.last).map(|(scan_id, _)| scan_id.clone());
            oldest.and_then(|oldest| self.scans.remove(&oldest));
        }
    }

    /// Forgets the scans that have started, and those of which nothing has come for long.
    pub(super) fn retain(&mut self, has_started: impl Fn(&str) -> bool, now: Instant) {
        self.scans.retain(|scan_id, scan| {
            now.saturating_duration_since(scan.last) < FORGET && !has_started(scan_id)
        });
    }

    /// How they look, where `address` says whom to ask for the messages of a source.
    pub(super) fn views<'a>(
        &'a self,
        address: impl Fn(usize) -> Option<&'a str> + 'a,
    ) -> impl Iterator<Item = ScanView> + 'a {
        self.scans.iter().filter_map(move |(scan_id, scan)| {
            Some(ScanView {
                scan_id: scan_id.clone(),
                source: scan.source,
                address: address(scan.source)?.to_owned(),
                gaps: scan.came.iter_gaps().take(MOST_GAPS).collect(),
                highest: scan.came.highest(),
                ended: false,
                quiet: false,
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stack::SeqRange;

    #[test]
    fn what_came_before_its_start_shows_what_is_missing() {
        let (mut held, now) = (HeldScans::default(), Instant::now());
        [3, 4, 6].into_iter().for_each(|seq| held.note(1, "a", seq, now));
        held.note(0, "b", 1, now);
        let views: Vec<_> = held.views(|source| (source == 1).then_some("tcp://a:1")).collect();
        assert_eq!(views.len(), 1, "the other source has nobody to ask");
        assert_eq!((&*views[0].scan_id, &*views[0].address), ("a", "tcp://a:1"));
        assert_eq!(views[0].gaps, [SeqRange { first: 0, last: 2 }, SeqRange { first: 5, last: 5 }]);
        held.retain(|scan_id| scan_id == "a", now);
        assert_eq!(held.views(|_| Some("x")).count(), 1);
        held.retain(|_| false, now + FORGET);
        assert_eq!(held.views(|_| Some("x")).count(), 0);
    }

    #[test]
    fn only_so_many_scans_are_followed() {
        let (mut held, now) = (HeldScans::default(), Instant::now());
        for number in 0..200_u32 {
            held.note(0, &format!("scan-{number}"), 1, now + Duration::from_millis(number.into()));
        }
        assert_eq!(held.scans.len(), MOST_SCANS);
        assert!(held.scans.contains_key("scan-199") && !held.scans.contains_key("scan-0"));
    }
}
