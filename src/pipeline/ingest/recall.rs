//! After a restart: adapters go on with the scans that they were at.

use super::Ingest;
use crate::journal::{self, Place};
use crate::pipeline::scans::{Phase, lock};
use crate::scan::ScanPlan;
use crate::source::adapter::Recalled;

impl Ingest {
    /// Tells adapters of the scans that they were at, in the order in which these began.
    pub(super) fn recall(&mut self, scan_ids: &[String]) {
        let Some(journal) = &self.journal else { return };
        for scan_id in scan_ids {
            let Some(scan) = self.scans.get(scan_id).filter(|scan| scan.is_open()) else { continue };
            let Some(stack) = scan.stack() else { continue };
            let folder = journal.keeper.store().folder(Place::Scans, scan_id);
            let last = journal::last_line(&folder).ok().flatten();
            let (plan, remarks) = scan.told();
            let energies_ev = lock(stack).plan().energies_ev.clone();
            let recalled = Recalled {
                plan,
                heard_last: last.map_or(plan.started, |line| line.received),
                reached: lock(stack).planes().iter().rposition(|plane| plane.measured() > 0),
                doubt: remarks.iter().find(|remark| remark.untrusted).map(|remark| remark.text.as_str()),
                energies_ev: &energies_ev,
                ended: match scan.phase() {
                    Phase::Ending(ending) => Some(&ending.outcome),
                    _ => None,
                },
            };
            let source = scan.source();
            let of_teller = self.lines[source].adapter.recall(&recalled);
            // Where another source knows the scan it goes on with it, too.
            if let Some(teller) = self.lines.iter_mut().find(|line| line.tells == Some(source)) {
                let plan = ScanPlan { recall: of_teller, ..plan.clone() };
                teller.adapter.recall(&Recalled { plan: &plan, ..recalled });
            }
        }
    }
}
