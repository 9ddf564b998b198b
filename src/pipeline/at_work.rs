//! What a thread is at that may wait for a disk, for others to look at: a write that does not come to an end is said to be stalled.
//!
//! The thread itself cannot say so, it waits. Clones share what is seen.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::telemetry::Health;

/// What a thread does right now.
#[derive(Clone, Debug)]
pub struct AtWork {
    part: &'static str,
    hint: &'static str,
    since: Arc<Mutex<Option<(Instant, String)>>>,
}

impl AtWork {
    fn new(part: &'static str, hint: &'static str) -> Self {
        Self { part, hint, since: Arc::default() }
    }

    /// Of the archiving thread.
    #[must_use]
    pub fn on_the_archive() -> Self {
        Self::new(
            "archive stalled",
            "does the disk or mount of archive.root answer? Scans that end meanwhile wait in their journals",
        )
    }

    /// Of the receiving thread.
    #[must_use]
    pub fn on_the_journal() -> Self {
        Self::new(
            "journal stalled",
            "does the disk or mount of daemon.state_dir answer? Nothing is received before it does",
        )
    }

    /// Does `work`, and is seen to be at it.
    pub(super) fn at<T>(&self, doing: impl Into<String>, work: impl FnOnce() -> T) -> T {
        self.set(Some((Instant::now(), doing.into())));
        let done = work();
        self.set(None);
        done
    }

    fn set(&self, since: Option<(Instant, String)>) {
        *self.since.lock().unwrap_or_else(PoisonError::into_inner) = since;
    }

    /// Whether it waits right now, perhaps for a disk.
    #[must_use]
    pub fn is_waiting(&self) -> bool {
        self.since.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    /// Says so where the work takes longer than `patience`, and takes it back when it is over.
    pub fn watch(&self, health: &Health, patience: Duration, now: Instant) {
        let since = self.since.lock().unwrap_or_else(PoisonError::into_inner).clone();
        match since {
            Some((since, doing)) if now.saturating_duration_since(since) > patience => {
                let what = format!("{doing} does not come to an end: {}", self.hint);
                if health.trouble(self.part, true, what.clone()) {
                    tracing::error!("{what}");
                }
            }
            _ => {
                if health.well(self.part) {
                    tracing::info!("{} no longer", self.part);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_takes_too_long_is_told_until_it_is_over() {
        let (health, at_work) = (Health::default(), AtWork::on_the_archive());
        let (patience, now) = (Duration::from_secs(60), Instant::now());
        at_work.at("archiving scan a", || {
            at_work.watch(&health, patience, now + Duration::from_secs(59));
            assert!(health.troubles().is_empty());
            at_work.watch(&health, patience, now + Duration::from_secs(62));
            let [trouble] = &health.troubles()[..] else { panic!("{:?}", health.troubles()) };
            assert!(trouble.grave && trouble.what.starts_with("archiving scan a does not"), "{trouble:?}");
        });
        at_work.watch(&health, patience, now + Duration::from_secs(99));
        assert!(health.troubles().is_empty());
    }
}
