//! The syncing thread: journals that were written to reach the disk within a time, however many there are.
//!
//! The receiving thread never waits for a disk: it notes which files it wrote to, in a set, and this thread syncs them.

use std::collections::BTreeMap;
use std::fs::File;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::journal::Place;
use crate::telemetry::{Health, names};

/// Whose files.
type Key = (Place, Arc<str>);

#[derive(Debug, Default)]
struct Dirty {
    files: BTreeMap<(bool, Arc<str>), Vec<Arc<File>>>,
    closed: bool,
}

#[derive(Debug, Default)]
struct Shared {
    dirty: Mutex<Dirty>,
    ready: Condvar,
}

/// Where files that were written to are noted. The syncing thread ends, everything synced, when it is dropped.
#[derive(Debug)]
pub struct Syncer {
    shared: Arc<Shared>,
}

/// The work of the syncing thread.
#[derive(Debug)]
pub struct SyncWork {
    shared: Arc<Shared>,
    within: Duration,
    health: Health,
}

/// Both ends: files are synced `within` that time of being noted, and what syncing takes.
#[must_use]
pub fn syncer(within: Duration, health: Health) -> (Syncer, SyncWork) {
    let shared = Arc::<Shared>::default();
    (Syncer { shared: Arc::clone(&shared) }, SyncWork { shared, within, health })
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Dirty> {
        self.dirty.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Syncer {
    /// Notes the files of one journal; no files are none to note.
    pub fn note(&self, (place, scan_id): Key, files: Vec<Arc<File>>) {
        if files.is_empty() {
            return;
        }
        self.shared.lock().files.insert((place == Place::Held, scan_id), files);
        self.shared.ready.notify_one();
    }
}

impl Drop for Syncer {
    fn drop(&mut self) {
        self.shared.lock().closed = true;
        self.shared.ready.notify_one();
    }
}

impl SyncWork {
    /// Syncs until nothing will be noted any more.
    pub fn run(self) {
        // Half of it: what is noted right after a round has begun waits for the end of the next.
        let pause = self.within / 2;
        let mut next = Instant::now();
        loop {
            let mut dirty = self.shared.lock();
            while !dirty.closed && (dirty.files.is_empty() || Instant::now() < next) {
                let left = next.saturating_duration_since(Instant::now());
                dirty = if dirty.files.is_empty() {
                    self.shared.ready.wait(dirty).unwrap_or_else(PoisonError::into_inner)
                } else {
                    self.shared.ready.wait_timeout(dirty, left).unwrap_or_else(PoisonError::into_inner).0
                };
            }
            let (files, closed) = (std::mem::take(&mut dirty.files), dirty.closed);
            drop(dirty);
            self.sync(files.into_values().flatten());
            next = Instant::now() + pause;
            if closed {
                return;
            }
        }
    }

    fn sync(&self, files: impl Iterator<Item = Arc<File>>) {
        let started = Instant::now();
        let failure = files.filter_map(|file| file.sync_data().err()).last();
        metrics::histogram!(names::JOURNAL_SYNC_SECONDS).record(started.elapsed().as_secs_f64());
        match failure {
            None => {
                if self.health.well("journal sync") {
                    tracing::info!("journals reach the disk again");
                }
            }
            Some(error) => {
                let what = format!(
                    "journals do not reach the disk: {error}; a power cut would lose what was received since"
                );
                if self.health.trouble("journal sync", true, what.clone()) {
                    tracing::error!("{what}");
                }
            }
        }
    }
}
