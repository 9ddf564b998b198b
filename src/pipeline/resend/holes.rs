//! The messages of one scan that are missing, as ranges, with what was done about each.
//!
//! A range that is partly filled keeps its state in what remains; one that is partly asked for is cut in two. About
//! [`MOST_GAPS`] ranges are followed; further ones wait until there is room.

use std::collections::BTreeMap;
use std::time::Instant;

use crate::pipeline::scans::MOST_GAPS;
use crate::stack::SeqRange;

/// What is done about a range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// It is asked for at this time.
    Due(Instant),
    /// It was asked for, and the answer is not here.
    Asked,
    /// It was asked for often enough.
    GivenUp,
    /// It came and was refused: it would be again.
    Refused,
}

#[derive(Clone, Copy, Debug)]
struct Hole {
    last: u64,
    state: State,
    /// How often it was asked for.
    asked: u32,
}

/// Missing ranges by their first number. They do not overlap.
#[derive(Clone, Debug, Default)]
pub(super) struct Holes {
    ranges: BTreeMap<u64, Hole>,
}

impl Holes {
    /// Takes over what is missing now, in order: what came meanwhile goes, what is new is due at `due`.
    pub(super) fn update(&mut self, gaps: &[SeqRange], highest: Option<u64>, due: Instant) {
        let old = std::mem::take(&mut self.ranges);
        let mut known = old.iter().map(|(first, hole)| (*first, *hole)).peekable();
        for gap in gaps {
            let mut next = gap.first;
            while let Some((first, hole)) = known.peek().copied().filter(|(first, _)| *first <= gap.last) {
                if hole.last >= gap.first {
                    let (from, to) = (first.max(gap.first), hole.last.min(gap.last));
                    if from > next {
                        self.add_new(next, from - 1, due);
                    }
                    self.ranges.insert(from, Hole { last: to, ..hole });
                    next = to + 1;
                }
                if hole.last > gap.last {
                    // It may reach into the next gap.
                    break;
                }
                known.next();
            }
            if next <= gap.last {
                self.add_new(next, gap.last, due);
            }
        }
        // What was refused is no gap yet where nothing of a higher number has come.
        let ahead = old
            .iter()
            .filter(|(first, hole)| hole.state == State::Refused && highest.is_none_or(|h| **first > h));
        self.ranges.extend(ahead.map(|(first, hole)| (*first, *hole)));
    }

    fn add_new(&mut self, first: u64, last: u64, due: Instant) {
        if self.ranges.len() < MOST_GAPS {
            self.ranges.insert(first, Hole { last, state: State::Due(due), asked: 0 });
        }
    }

    /// Notes that `seq` came and was refused.
    pub(super) fn refuse(&mut self, seq: u64) {
        if self.ranges.len() >= MOST_GAPS {
            return;
        }
        let around = self.ranges.range(..=seq).next_back().map(|(first, hole)| (*first, *hole));
        if let Some((first, hole)) = around.filter(|(_, hole)| hole.last >= seq) {
            self.ranges.remove(&first);
            if first < seq {
                self.ranges.insert(first, Hole { last: seq - 1, ..hole });
            }
            if seq < hole.last {
                self.ranges.insert(seq + 1, hole);
            }
        }
        self.ranges.insert(seq, Hole { last: seq, state: State::Refused, asked: 0 });
    }

    /// When the next range is due.
    pub(super) fn next_due(&self) -> Option<Instant> {
        self.ranges
            .values()
            .filter_map(|hole| if let State::Due(due) = hole.state { Some(due) } else { None })
            .min()
    }

    /// Whether anything may still come: it is due, or was asked for.
    pub(super) fn are_open(&self) -> bool {
        self.ranges.values().any(|hole| matches!(hole.state, State::Due(_) | State::Asked))
    }

    /// Gives up what was asked for `attempts` times and is due again; returns how many messages that is.
    pub(super) fn give_up(&mut self, attempts: u32, now: Instant) -> u64 {
        let mut messages = 0;
        for (first, hole) in &mut self.ranges {
            if hole.asked >= attempts && matches!(hole.state, State::Due(due) if due <= now) {
                hole.state = State::GivenUp;
                messages += hole.last - first + 1;
            }
        }
        messages
    }

    /// Takes what is due, lowest first, and marks it as asked for: at most so many ranges and messages. Neighbours are
    /// joined.
    pub(super) fn take_due(&mut self, most_ranges: usize, most_messages: u64, now: Instant) -> Vec<[u64; 2]> {
        let is_due = |hole: &Hole| matches!(hole.state, State::Due(due) if due <= now);
        let mut taken: Vec<[u64; 2]> = Vec::new();
        let mut left = most_messages;
        let due: Vec<_> = self
            .ranges
            .iter()
            .filter(|(_, hole)| is_due(hole))
            .map(|(first, hole)| (*first, *hole))
            .collect();
        for (first, hole) in due {
            let joins = taken.last().is_some_and(|[_, last]| last + 1 == first);
            if left == 0 || (!joins && taken.len() == most_ranges) {
                break;
            }
            let last = hole.last.min(first + (left - 1));
            left -= last - first + 1;
            match taken.last_mut().filter(|_| joins) {
                Some(range) => range[1] = last,
                None => taken.push([first, last]),
            }
            if last < hole.last {
                self.ranges.insert(last + 1, hole);
            }
            self.ranges.insert(first, Hole { last, state: State::Asked, asked: hole.asked + 1 });
        }
        taken
    }

    /// The answer is here, or none will come: what was asked for is due again at what `due` says for the number of times
    /// it was asked for, should it not come.
    pub(super) fn answered(&mut self, due: impl Fn(u32) -> Instant) {
        for hole in self.ranges.values_mut().filter(|hole| hole.state == State::Asked) {
            hole.state = State::Due(due(hole.asked));
        }
    }
}
