//! Messages that wait for one before them: energies that are in no plan yet.

use std::time::Instant;

use super::{MAX_WAITING, MAX_WAITING_BYTES, Scan};
use crate::journal::What;
use crate::pipeline::scans::{Accepted, EventRefusal, Output, Patience, SharedStack, lock};
use crate::scan::ScanEvent;

impl Scan {
    pub(super) fn is_behind_a_gap(&self, stack: &SharedStack, seq: u64) -> bool {
        let stack = lock(stack);
        let reached = stack.sequence().highest().map_or(0, |highest| highest + 1);
        reached < seq || stack.sequence().iter_gaps().next().is_some_and(|gap| gap.first < seq)
    }

    pub(super) fn wait(
        &mut self,
        seq: u64,
        event: ScanEvent,
        now: Instant,
        out: &mut Output,
    ) -> Result<Accepted, EventRefusal> {
        let bytes = event.update.bytes();
        if self.waiting.len() >= MAX_WAITING || self.waiting_bytes + bytes > MAX_WAITING_BYTES {
            return Err(EventRefusal::Waiting);
        }
        if out.keeping {
            out.keep(&self.id, self.source, now, seq, What::Update(event.update.clone()));
        }
        let event = ScanEvent { seq: Some(seq), ..event };
        let at = self.waiting.partition_point(|other| other.seq <= event.seq);
        self.waiting.insert(at, event);
        self.waiting_bytes += bytes;
        Ok(Accepted::Held)
    }

    /// Takes what waited for a message before it, if that has come. Returns what is refused at last: an energy
    /// that is in no plan.
    pub(in crate::pipeline::scans) fn retry(
        &mut self,
        now: Instant,
        patience: Patience,
        out: &mut Output,
    ) -> Vec<EventRefusal> {
        let mut refused = Vec::new();
        while let Some(stack) = self.stack.clone().filter(|_| !self.waiting.is_empty()) {
            let seq = self.waiting[0].seq.unwrap_or(0);
            if self.is_behind_a_gap(&stack, seq) {
                break;
            }
            let event = self.waiting.remove(0);
            self.waiting_bytes = self.waiting_bytes.saturating_sub(event.update.bytes());
            // It is in the journal since it came.
            let kept = out.kept.len();
            refused.extend(self.take(event, now, patience, out).err());
            out.kept.truncate(kept);
        }
        refused
    }
}
