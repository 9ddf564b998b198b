//! What is to be sent, and when: a queue without clock, randomness or network.
//!
//! A remote that fails makes everything wait, twice as long after each failure in a row, up to ten minutes, and then one
//! scan tries again; a scan that fails for a reason of its own waits alone. Nothing is ever given up. The queue is
//! bounded: what does not fit is in the archive still, and is found there again when the queue is empty.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::{Duration, Instant};

use super::super::ledger::Record;
use super::super::{ArchiveError, Manifest, ScanPath, catalogue};

/// Most scans that are queued.
const MOST_QUEUED: usize = 4096;
/// Most scans that are sent at once.
const AT_ONCE: usize = 2;
const SHORTEST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(600);

/// Whose fault a failure is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whose {
    /// The remote does not answer, or refuses: everything waits.
    Remote,
    /// Something is wrong with this scan: the others go on.
    Scan,
}

/// The queue.
#[derive(Debug, Default)]
pub struct Outbox {
    waiting: BTreeMap<ScanPath, Waiting>,
    under_way: BTreeMap<ScanPath, Waiting>,
    /// Put in again while they were under way.
    again: BTreeSet<ScanPath>,
    next_number: u64,
    /// Failures of the remote in a row.
    failures: u32,
    resume: Option<Instant>,
    overflowed: bool,
}

#[derive(Clone, Copy, Debug)]
struct Waiting {
    number: u64,
    failures: u32,
    not_before: Option<Instant>,
}

impl Outbox {
    /// Queues a scan, behind the others. One that is queued stays where it is; one that is under way is queued again.
    pub fn put(&mut self, scan: ScanPath) {
        if self.under_way.contains_key(&scan) {
            self.again.insert(scan);
        } else if let Some(waiting) = self.waiting.get_mut(&scan) {
            // It may be another archive now, without what was wrong.
            waiting.not_before = None;
        } else if self.waiting.len() >= MOST_QUEUED {
            self.overflowed = true;
        } else {
            let number = self.next_number;
            self.next_number += 1;
            self.waiting.insert(scan, Waiting { number, failures: 0, not_before: None });
        }
    }

    /// The next scan to send at `now`, if one may be.
    pub fn take(&mut self, now: Instant) -> Option<ScanPath> {
        let at_once = if self.failures > 0 { 1 } else { AT_ONCE };
        if self.under_way.len() >= at_once || self.resume.is_some_and(|resume| now < resume) {
            return None;
        }
        let due = self.waiting.iter().filter(|(_, waiting)| waiting.not_before.is_none_or(|at| at <= now));
        let scan = due.min_by_key(|(_, waiting)| waiting.number).map(|(scan, _)| scan.clone())?;
        let waiting = self.waiting.remove(&scan)?;
        self.under_way.insert(scan.clone(), waiting);
        Some(scan)
    }

    /// A scan was sent and verified, or there was nothing to do for it; whether the remote was asked is said apart
    /// ([`Outbox::answered`]).
    pub fn done(&mut self, scan: &ScanPath) {
        self.under_way.remove(scan);
        if self.again.remove(scan) {
            self.put(scan.clone());
        }
    }

    /// A scan could not be sent at `now`; `random`, from 0 to 1, spreads the next attempts.
    pub fn failed(&mut self, scan: &ScanPath, whose: Whose, now: Instant, random: f64) {
        let mut waiting = self.under_way.remove(scan).unwrap_or(Waiting {
            number: self.next_number,
            failures: 0,
            not_before: None,
        });
        match whose {
            Whose::Remote => {
                // To the end: were it the scan after all, the others come before it.
                waiting.number = self.next_number;
                self.next_number += 1;
                self.failures = self.failures.saturating_add(1);
                self.resume = Some(now + delay(self.failures, random));
            }
            Whose::Scan => {
                waiting.failures = waiting.failures.saturating_add(1);
                waiting.not_before = Some(now + delay(waiting.failures, random));
            }
        }
        if self.again.remove(scan) {
            waiting.not_before = None;
        }
        self.waiting.insert(scan.clone(), waiting);
    }

    /// The remote does what it is asked: nothing waits for it any more.
    pub fn answered(&mut self) {
        self.failures = 0;
        self.resume = None;
    }

    /// How long to wait at `now` until [`Outbox::take`] may have something; `None`: until something changes.
    #[must_use]
    pub fn wait(&self, now: Instant) -> Option<Duration> {
        let first = self.waiting.values().map(|waiting| waiting.not_before.unwrap_or(now)).min()?;
        Some(first.max(self.resume.unwrap_or(now)).saturating_duration_since(now))
    }

    /// Scans that are not sent yet.
    #[must_use]
    pub fn pending(&self) -> usize {
        self.waiting.len() + self.under_way.len()
    }

    /// Failures of the remote in a row.
    #[must_use]
    pub fn failures(&self) -> u32 {
        self.failures
    }

    /// Scans that failed by themselves and wait for their next attempt.
    #[must_use]
    pub fn stuck(&self) -> usize {
        self.waiting.values().filter(|waiting| waiting.failures > 0).count()
    }

    /// Whether the archive has to be looked through for what did not fit; true once, when there is room again.
    pub fn take_overflow(&mut self) -> bool {
        self.waiting.is_empty() && std::mem::take(&mut self.overflowed)
    }
}

/// The wait after so many failures in a row: it doubles up to a bound; a random half of it spreads those who wait.
fn delay(failures: u32, random: f64) -> Duration {
    let doublings = failures.saturating_sub(1).min(20);
    let longest = SHORTEST.saturating_mul(1 << doublings).min(LONGEST);
    longest.mul_f64(0.5 + 0.5 * random.clamp(0.0, 1.0))
}

/// Whether a scan has to be sent to `remote`, by what folder and ledger say. What cannot be read is not, and what was
/// pruned with its copy at another remote cannot be.
#[must_use]
pub fn is_pending(root: &Path, scan: &ScanPath, remote: &str) -> bool {
    let Ok(found) = Manifest::identify(&scan.folder(root)) else { return false };
    let record = Record::read(root, scan);
    let here = |copy: &str| copy == remote;
    let elsewhere = found.manifest.pruned.is_some_and(|pruned| !pruned.copy.as_deref().is_some_and(here));
    !elsewhere && record.verified_at(remote, &found.sha256).is_none()
}

/// All scans that have to be sent to `remote`.
///
/// # Errors
/// [`ArchiveError::Io`] where the archive cannot be read.
pub fn pending(root: &Path, remote: &str) -> Result<Vec<ScanPath>, ArchiveError> {
    let mut scans = catalogue::scans(root)?;
    scans.retain(|scan| !scan.is_quarantined() && is_pending(root, scan, remote));
    Ok(scans)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scan(number: usize) -> ScanPath {
        ScanPath::parse(&format!("beamline=b/date=2026-09-21/scan=s{number}")).unwrap()
    }

    #[test]
    fn scans_go_in_order_and_a_few_at_once() {
        let (mut outbox, now) = (Outbox::default(), Instant::now());
        for number in [3, 1, 2, 3] {
            outbox.put(scan(number));
        }
        assert_eq!((outbox.pending(), outbox.wait(now)), (3, Some(Duration::ZERO)));
        assert_eq!(
            (outbox.take(now), outbox.take(now), outbox.take(now)),
            (Some(scan(3)), Some(scan(1)), None)
        );
        // Archived anew meanwhile: sent once more.
        outbox.put(scan(3));
        outbox.done(&scan(3));
        outbox.done(&scan(1));
        assert_eq!((outbox.take(now), outbox.take(now)), (Some(scan(2)), Some(scan(3))));
        outbox.done(&scan(2));
        outbox.done(&scan(3));
        assert_eq!((outbox.pending(), outbox.wait(now)), (0, None));
    }

    #[test]
    fn a_dead_remote_is_asked_less_and_less_often_by_one_and_never_given_up() {
        let (mut outbox, mut now) = (Outbox::default(), Instant::now());
        (0..5).for_each(|number| outbox.put(scan(number)));
        let mut waits = Vec::new();
        for attempt in 0..40 {
            let taken = outbox.take(now).unwrap();
            assert_eq!(outbox.take(now).is_some(), attempt == 0, "one at once once it failed");
            if attempt == 0 {
                outbox.failed(&scan(1), Whose::Remote, now, 1.0);
            }
            outbox.failed(&taken, Whose::Remote, now, if attempt % 2 == 0 { 1.0 } else { 0.0 });
            let wait = outbox.wait(now).unwrap();
            assert_eq!(outbox.take(now + wait / 2), None);
            waits.push(wait);
            now += wait;
        }
        assert!(waits.iter().all(|wait| *wait >= SHORTEST / 2 && *wait <= LONGEST));
        assert_eq!((waits[0], waits[38], waits[39]), (2 * SHORTEST, LONGEST, LONGEST / 2));
        assert_eq!((outbox.pending(), outbox.failures()), (5, 41));
        let taken = outbox.take(now).unwrap();
        outbox.done(&taken);
        assert_eq!(outbox.failures(), 41, "it was not asked");
        outbox.answered();
        assert_eq!(outbox.failures(), 0);
        assert!(outbox.take(now).is_some() && outbox.take(now).is_some(), "all are welcome again");
    }

    #[test]
    fn a_scan_that_fails_by_itself_waits_alone() {
        let (mut outbox, now) = (Outbox::default(), Instant::now());
        outbox.put(scan(1));
        outbox.put(scan(2));
        assert_eq!(outbox.take(now), Some(scan(1)));
        outbox.failed(&scan(1), Whose::Scan, now, 0.5);
        assert_eq!((outbox.take(now), outbox.take(now)), (Some(scan(2)), None));
        assert_eq!((outbox.stuck(), outbox.failures()), (1, 0));
        outbox.done(&scan(2));
        assert_eq!(outbox.take(now + outbox.wait(now).unwrap()), Some(scan(1)));
        outbox.failed(&scan(1), Whose::Scan, now, 0.5);
        outbox.put(scan(1));
        assert_eq!(outbox.take(now), Some(scan(1)), "it was archived anew");
    }

    #[test]
    fn what_does_not_fit_is_looked_for_again() {
        let (mut outbox, now) = (Outbox::default(), Instant::now());
        (0..MOST_QUEUED + 1).for_each(|number| outbox.put(scan(number)));
        assert_eq!(outbox.pending(), MOST_QUEUED);
        assert!(!outbox.take_overflow());
        while let Some(taken) = outbox.take(now) {
            outbox.done(&taken);
        }
        assert!(outbox.take_overflow() && !outbox.take_overflow());
    }
}
