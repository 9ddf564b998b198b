//! What has changed since the mapping side last looked: a set, not a queue.
//!
//! However often a scan changes between two looks, it stands here once, with the time of the oldest message that
//! is not in a map yet. So a slow model costs generations and never samples. What happens to scans (starts, ends)
//! is kept in order, in a list that is bounded: beyond [`MAX_NOTICES`] pauses, and scans that are not mapped
//! anyway, are no longer told of.

use std::collections::BTreeMap;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use super::scans::ScanNotice;

/// Most notices that wait.
pub const MAX_NOTICES: usize = 4096;

/// What was found at one look.
#[derive(Debug, Default)]
pub struct Work {
    /// What happened to scans, in order.
    pub notices: Vec<ScanNotice>,
    /// Scans with new values, and when the oldest of those was received.
    pub changed: BTreeMap<String, Instant>,
    /// Whether nothing will follow.
    pub closed: bool,
}

/// The board between the receiving and the mapping side.
#[derive(Debug, Default)]
pub struct Workboard {
    work: Mutex<Work>,
    ready: Condvar,
}

impl Workboard {
    fn lock(&self) -> MutexGuard<'_, Work> {
        self.work.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts notices up; `received` is when the oldest message behind them came. Returns how many were left out.
    pub fn post(&self, notices: Vec<ScanNotice>, received: Instant) -> usize {
        if notices.is_empty() {
            return 0;
        }
        let mut left_out = 0;
        let mut work = self.lock();
        for notice in notices {
            match notice {
                ScanNotice::Changed(scan_id) => _ = work.changed.entry(scan_id).or_insert(received),
                ScanNotice::Paused(_) | ScanNotice::Resumed(_) | ScanNotice::Started { stack: None, .. }
                    if work.notices.len() >= MAX_NOTICES =>
                {
                    left_out += 1;
                }
                notice => work.notices.push(notice),
            }
        }
        drop(work);
        self.ready.notify_one();
        left_out
    }

    /// Says that nothing will follow.
    pub fn close(&self) {
        self.lock().closed = true;
        self.ready.notify_one();
    }

    /// Waits until there is something, or until `deadline`, and takes all of it.
    #[must_use]
    pub fn take(&self, deadline: Option<Instant>) -> Work {
        let mut work = self.lock();
        loop {
            if !work.notices.is_empty() || !work.changed.is_empty() || work.closed {
                let closed = work.closed;
                return std::mem::replace(&mut *work, Work { closed, ..Work::default() });
            }
            match deadline.map(|deadline| deadline.saturating_duration_since(Instant::now())) {
                None => work = self.ready.wait(work).unwrap_or_else(PoisonError::into_inner),
                Some(left) if left.is_zero() => return Work::default(),
                Some(left) => {
                    let waited = self.ready.wait_timeout(work, left);
                    work = waited.unwrap_or_else(PoisonError::into_inner).0;
                }
            }
        }
    }
}
