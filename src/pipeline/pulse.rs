//! Signs of life of the threads that do the work, for the watchdog of whoever supervises the daemon.
//!
//! Each thread says at every turn of its loop that it is there, idle or not; nothing says so in its place. One that has been at the same thing for
//! `daemon.stuck_s` is stuck, unless it is seen to wait for a disk, or for a thread that does ([`AtWork`]): that is told of by itself, and a restart,
//! which would lose what lies in the sockets, does not mend a disk. What one disk excuses is no excuse for threads that have nothing to do with it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::at_work::AtWork;

/// The sign of life of one thread. Clones share it.
#[derive(Clone, Debug)]
pub struct Pulse {
    thread: &'static str,
    born: Instant,
    /// When it was last seen, ms after `born`.
    seen_ms: Arc<AtomicU64>,
}

impl Pulse {
    /// Of a thread that is there from `now` on.
    #[must_use]
    pub fn new(thread: &'static str, now: Instant) -> Self {
        Self { thread, born: now, seen_ms: Arc::default() }
    }

    /// It is there.
    pub fn beat(&self, now: Instant) {
        let ms = u64::try_from(now.saturating_duration_since(self.born).as_millis()).unwrap_or(u64::MAX);
        self.seen_ms.store(ms, Ordering::Relaxed);
    }

    fn silent_for(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.born + Duration::from_millis(self.seen_ms.load(Ordering::Relaxed)))
    }
}

/// The threads of the daemon, and what may excuse them.
#[derive(Clone, Debug)]
pub struct Pulses {
    /// The receiving, the mapping and the archiving thread.
    pub threads: [Pulse; 3],
    /// Waits for the disk of the archive, which also the mapping thread may wait for, that hands over what is to be archived; and for that of the
    /// journal, which only the receiving thread does.
    pub at_work: [AtWork; 2],
}

impl Pulses {
    /// Of threads that begin `now`.
    #[must_use]
    pub fn new(at_work: [AtWork; 2], now: Instant) -> Self {
        Self { threads: ["receive", "map", "archive"].map(|thread| Pulse::new(thread, now)), at_work }
    }

    /// The thread that is stuck, if one is.
    #[must_use]
    pub fn stuck(&self, patience: Duration, now: Instant) -> Option<&'static str> {
        let [archive, journal] = self.at_work.each_ref().map(AtWork::is_waiting);
        let excused = [journal, archive, archive];
        let mut threads = self.threads.iter().zip(excused);
        threads.find_map(|(pulse, excused)| {
            (!excused && pulse.silent_for(now) > patience).then_some(pulse.thread)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_that_shows_no_sign_is_stuck_unless_a_disk_is_waited_for() {
        let now = Instant::now();
        let at_work = [AtWork::on_the_archive(), AtWork::on_the_journal()];
        let pulses = Pulses::new(at_work.clone(), now);
        let (patience, late) = (Duration::from_secs(600), now + Duration::from_secs(601));
        assert_eq!(pulses.stuck(patience, now + Duration::from_secs(600)), None);
        assert_eq!(pulses.stuck(patience, late), Some("receive"));
        // The archive's disk has nothing to do with it.
        at_work[0].at("archiving scan a", || assert_eq!(pulses.stuck(patience, late), Some("receive")));
        at_work[1].at("writing", || assert_eq!(pulses.stuck(patience, late), Some("map")));
        pulses.threads[0].clone().beat(late);
        assert_eq!(pulses.stuck(patience, late), Some("map"));
        pulses.threads[1].beat(late);
        at_work[0].at("archiving scan a", || assert_eq!(pulses.stuck(patience, late), None));
        assert_eq!(pulses.stuck(patience, late), Some("archive"));
        pulses.threads[2].beat(late);
        assert_eq!(pulses.stuck(patience, late), None);
    }
}
