//! What the metrics say of receiving.

use std::time::{Duration, Instant};

use super::Ingest;
use crate::telemetry::names;

impl Ingest {
    /// Brings the metrics up to date, a few times a second.
    pub(super) fn watch(&mut self, now: Instant) {
        const INTERVAL: Duration = Duration::from_millis(200);
        if self.last_watched.is_some_and(|last| now.saturating_duration_since(last) < INTERVAL) {
            return;
        }
        self.last_watched = Some(now);
        if let Some(journal) = &self.journal {
            journal.keeper.store().hold_all(self.scans.in_memory());
        }
        let (counters, bytes) = self.scans.totals();
        metrics::counter!(names::SAMPLES_STORED).absolute(counters.stored);
        metrics::counter!(names::SAMPLES_REPLACED).absolute(counters.replaced);
        metrics::counter!(names::SAMPLES_OUTDATED).absolute(counters.outdated);
        metrics::gauge!(names::STACK_BYTES).set(bytes as f64);
        metrics::gauge!(names::HELD_BYTES).set(self.scans.held().bytes() as f64);
        metrics::gauge!(names::SCANS_OPEN).set(self.scans.open_count() as f64);
        for (source, (books, line)) in self.books.iter().zip(&self.lines).enumerate() {
            let measures = line.tells.unwrap_or(source);
            books.open.set(self.scans.open_count_of(measures) as f64);
        }
    }
}
