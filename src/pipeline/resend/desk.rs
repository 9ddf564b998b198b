//! Which requests to send messages again are due: pure, with the time passed in.
//!
//! Each message that is missing is asked for when it has been missing for a short while, and again with doubling waits
//! where it does not come; after [`MOST_ATTEMPTS`] it is given up, counted and left as the gap it is. A request is for one
//! scan and bounded in ranges and messages; one is under way per address, and [`MOST_UNDER_WAY`] in all. What lies above
//! the highest number that came is asked for, in an open range, after a restart of ours, and when a scan has been
//! quiet for half of the time after which it is closed: until its end has come, the answer is that nothing was sent, or
//! it was asked often enough.
//!
//! A scan whose requests bring nothing is asked about with growing waits too, whatever else of it is missing: a `seq` that
//! jumps far ahead makes a gap of more requests than anybody should be sent.
//!
//! What came is never asked for; neither is what came and was refused. A scan that is not looked at any more is
//! forgotten.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use super::holes::Holes;
use crate::source::stxm_stream::{LAST_SEQ, ResendRequest};
use crate::stack::SeqRange;

/// How often a message is asked for.
pub const MOST_ATTEMPTS: u32 = 5;
/// Most requests under way, over all addresses.
pub const MOST_UNDER_WAY: usize = 64;
/// Most ranges of a request.
pub const MOST_RANGES: usize = 256;
/// Most messages of a request, an open range apart.
pub const MOST_MESSAGES: u64 = 1024;

/// A scan, as it is looked at.
#[derive(Clone, Debug)]
pub struct ScanView {
    /// The scan.
    pub scan_id: String,
    /// Index of its source.
    pub source: usize,
    /// Whom to ask.
    pub address: String,
    /// The first ranges of messages that are missing.
    pub gaps: Vec<SeqRange>,
    /// The highest number that came.
    pub highest: Option<u64>,
    /// Whether its end came: there is nothing above it.
    pub ended: bool,
    /// Whether it has been quiet for so long that its end may have been lost.
    pub quiet: bool,
}

/// A request that is to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Errand {
    /// Its number.
    pub id: u64,
    /// Index of the source.
    pub source: usize,
    /// Whom to ask.
    pub address: String,
    /// What for.
    pub request: ResendRequest,
    /// Whether it is the first one for its scan.
    pub is_first: bool,
}

impl Errand {
    /// Messages that are asked for, an open range not counted.
    #[must_use]
    pub fn messages(&self) -> u64 {
        let closed = self.request.seq.iter().filter(|[_, last]| *last < LAST_SEQ);
        closed.map(|[first, last]| last - first + 1).sum()
    }
}

/// What was given up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GivenUp {
    /// The scan.
    pub scan_id: String,
    /// Index of its source.
    pub source: usize,
    /// How many messages.
    pub messages: u64,
}

/// An open range: all above the highest that came.
#[derive(Clone, Copy, Debug)]
struct Tail {
    /// `None` while it is under way.
    due: Option<Instant>,
    asked: u32,
}

#[derive(Clone, Debug, Default)]
struct Case {
    source: usize,
    address: String,
    highest: Option<u64>,
    holes: Holes,
    tail: Option<Tail>,
    /// The highest number at which the scan was found quiet: asked about once.
    quiet_at: Option<u64>,
    /// Whether anything was asked for.
    asked: bool,
    /// Its request that is under way.
    under_way: Option<u64>,
    /// Requests in a row that brought nothing, by what was answered.
    in_vain: u32,
    /// No request before this time, for that reason.
    not_before: Option<Instant>,
}

/// The requests of all scans.
#[derive(Debug, Default)]
pub struct Desk {
    /// Patience of each source.
    after: Vec<Duration>,
    cases: BTreeMap<String, Case>,
    /// Scans whose receiver was restarted, until they are looked at.
    restarted: BTreeSet<String>,
    /// Requests under way, by address.
    under_way: BTreeMap<String, (u64, String)>,
    next_id: u64,
}

impl Desk {
    /// Nothing is missing yet. `after` has, for each source, how long a message is missing before it is asked for.
    #[must_use]
    pub fn new(after: Vec<Duration>) -> Self {
        Self { after, ..Self::default() }
    }

    /// What came of a scan before may not be all: its receiver was restarted.
    pub fn restarted(&mut self, scan_id: &str) {
        self.restarted.insert(scan_id.to_owned());
    }

    /// Message `seq` of a scan came and was refused; it is not asked for.
    pub fn refused(&mut self, scan_id: &str, seq: u64) {
        self.cases.entry(scan_id.to_owned()).or_default().holes.refuse(seq);
    }

    /// Looks at all scans that can be asked about, and returns what was given up.
    pub fn look(&mut self, views: &[ScanView], now: Instant) -> Vec<GivenUp> {
        let is_viewed = |scan_id: &String| views.iter().any(|view| view.scan_id == *scan_id);
        self.cases.retain(|scan_id, _| is_viewed(scan_id));
        let mut given_up = Vec::new();
        for view in views {
            let after = self.after(view.source);
            let restarted = self.restarted.remove(&view.scan_id);
            let case = self.cases.entry(view.scan_id.clone()).or_default();
            case.look(view, restarted, now, after);
            let messages = case.holes.give_up(MOST_ATTEMPTS, now);
            if messages > 0 {
                given_up.push(GivenUp { scan_id: view.scan_id.clone(), source: view.source, messages });
            }
        }
        self.restarted.clear();
        given_up
    }

    /// The requests that are due, to be sent now. Each is answered for with [`Desk::done`].
    pub fn take_due(&mut self, now: Instant) -> Vec<Errand> {
        let due = |case: &Case| case.next_due().filter(|due| *due <= now);
        let mut cases: Vec<_> =
            self.cases.iter_mut().filter_map(|(id, case)| Some((due(case)?, id, case))).collect();
        // Who has waited longest comes first.
        cases.sort_by_key(|(due, ..)| *due);
        let mut errands = Vec::new();
        for (_, scan_id, case) in cases {
            if self.under_way.len() >= MOST_UNDER_WAY || self.under_way.contains_key(&case.address) {
                continue;
            }
            let id = self.next_id;
            self.next_id += 1;
            self.under_way.insert(case.address.clone(), (id, scan_id.clone()));
            errands.push(Errand {
                id,
                source: case.source,
                address: case.address.clone(),
                request: ResendRequest { scan_id: scan_id.clone(), seq: case.take_due(now) },
                is_first: !std::mem::replace(&mut case.asked, true),
            });
            case.under_way = Some(id);
        }
        errands
    }

    /// A request was answered, that so many messages were `sent`, or will not be.
    pub fn done(&mut self, id: u64, sent: Option<u64>, now: Instant) {
        let Some((address, (_, scan_id))) = self.under_way.iter().find(|(_, (other, _))| *other == id) else {
            return;
        };
        let (address, scan_id) = (address.clone(), scan_id.clone());
        self.under_way.remove(&address);
        // A scan that was forgotten meanwhile may be there again, with nothing under way.
        let Some(case) = self.cases.get_mut(&scan_id).filter(|case| case.under_way == Some(id)) else {
            return;
        };
        case.under_way = None;
        case.in_vain = if sent.is_some_and(|sent| sent > 0) { 0 } else { case.in_vain + 1 };
        let after = self.after.get(case.source).copied().unwrap_or_default();
        case.not_before = (case.in_vain > 0).then(|| now + wait(after, case.in_vain.min(MOST_ATTEMPTS - 1)));
        case.holes.answered(|asked| now + wait(after, asked));
        case.tail = case.tail.take().and_then(|tail| match tail.due {
            Some(_) => Some(tail),
            None if sent == Some(0) || tail.asked >= MOST_ATTEMPTS => None,
            None => Some(Tail { due: Some(now + wait(after, tail.asked)), ..tail }),
        });
    }

    /// Whether messages of a scan may still come because they were, or will be, asked for.
    #[must_use]
    pub fn has_hope(&self, scan_id: &str) -> bool {
        self.cases.get(scan_id).is_some_and(|case| case.holes.are_open() || case.tail.is_some())
    }

    /// Requests under way.
    #[must_use]
    pub fn under_way(&self) -> usize {
        self.under_way.len()
    }

    /// When [`Desk::take_due`] has something next, as far as is known.
    #[must_use]
    pub fn next_due(&self) -> Option<Instant> {
        let free = self.cases.values().filter(|case| !self.under_way.contains_key(&case.address));
        free.filter_map(Case::next_due).min()
    }

    fn after(&self, source: usize) -> Duration {
        self.after.get(source).copied().unwrap_or_default()
    }
}

impl Case {
    fn look(&mut self, view: &ScanView, restarted: bool, now: Instant, after: Duration) {
        self.source = view.source;
        self.address.clone_from(&view.address);
        self.highest = view.highest;
        self.holes.update(&view.gaps, self.highest, now + after);
        let newly_quiet = view.quiet && self.quiet_at != self.highest;
        if newly_quiet {
            self.quiet_at = self.highest;
        }
        if view.ended || self.highest == Some(LAST_SEQ) {
            self.tail = None;
        } else if (restarted || newly_quiet) && self.tail.is_none() {
            self.tail = Some(Tail { due: Some(now), asked: 0 });
        }
    }

    fn next_due(&self) -> Option<Instant> {
        let tail = self.tail.and_then(|tail| tail.due);
        let due = self.holes.next_due().into_iter().chain(tail).min()?;
        Some(self.not_before.map_or(due, |time| due.max(time)))
    }

    fn take_due(&mut self, now: Instant) -> Vec<[u64; 2]> {
        let mut seq = self.holes.take_due(MOST_RANGES, MOST_MESSAGES, now);
        if let Some(tail) = &mut self.tail
            && tail.due.is_some_and(|due| due <= now)
        {
            tail.due = None;
            tail.asked += 1;
            seq.push([self.highest.map_or(0, |highest| highest + 1), LAST_SEQ]);
        }
        seq
    }
}

/// How long what was asked for may take before it is asked for again, or, the last time, given up.
fn wait(after: Duration, asked: u32) -> Duration {
    if asked >= MOST_ATTEMPTS { after } else { after * 2_u32.saturating_pow(asked.saturating_sub(1)) }
}

#[cfg(test)]
mod tests;
