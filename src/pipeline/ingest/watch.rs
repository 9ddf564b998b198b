//! What the metrics say of receiving.

use std::time::{Duration, Instant};

use super::Ingest;
use crate::pipeline::queue::QueueReceiver;
use crate::source::frames::RawMessage;
use crate::telemetry::names;

impl Ingest {
    /// Brings the metrics up to date, a few times a second.
    pub(super) fn watch(&mut self, queue: &QueueReceiver<RawMessage>, now: Instant) {
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
        let stats = queue.stats();
        metrics::gauge!(names::QUEUE_BYTES, "queue" => "receive").set(stats.bytes as f64);
        if stats.waited_us > self.queue_waited_us {
            let waited_s = (stats.waited_us - self.queue_waited_us) as f64 * 1e-6;
            metrics::histogram!(names::QUEUE_WAIT_SECONDS, "queue" => "receive").record(waited_s);
            self.queue_waited_us = stats.waited_us;
        }
        metrics::gauge!(names::HELD_BYTES).set(self.scans.held().bytes() as f64);
        metrics::gauge!(names::SCANS_OPEN).set(self.scans.open_count() as f64);
    }
}
