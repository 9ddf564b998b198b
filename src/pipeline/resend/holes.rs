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
                    self.keep(from, Hole { last: to, ..hole });
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

    /// Keeps a range that was known. What was given up is not told apart any more.
    fn keep(&mut self, first: u64, hole: Hole) {
        if hole.state == State::GivenUp
            && let Some((_, before)) = self.ranges.range_mut(..first).next_back()
            && (before.state, before.last + 1) == (State::GivenUp, first)
        {
            before.last = hole.last;
            return;
        }
        self.ranges.insert(first, hole);
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

    /// Takes what is due and marks it as asked for: at most so many ranges and messages, those first that were asked for
    /// least often, then the lowest. They come in order, neighbours joined.
    pub(super) fn take_due(&mut self, most_ranges: usize, most_messages: u64, now: Instant) -> Vec<[u64; 2]> {
        let is_due = |hole: &Hole| matches!(hole.state, State::Due(due) if due <= now);
        let mut due: Vec<_> = self
            .ranges
            .iter()
            .filter(|(_, hole)| is_due(hole))
            .map(|(first, hole)| (*first, *hole))
            .collect();
        due.sort_by_key(|(_, hole)| hole.asked);
        let mut taken: Vec<[u64; 2]> = Vec::new();
        let mut left = most_messages;
        for (first, hole) in due.into_iter().take(most_ranges) {
            if left == 0 {
                break;
            }
            let last = hole.last.min(first + (left - 1));
            if last < hole.last {
                if self.ranges.len() >= 2 * MOST_GAPS {
                    continue;
                }
                self.ranges.insert(last + 1, hole);
            }
            left -= last - first + 1;
            self.ranges.insert(first, Hole { last, state: State::Asked, asked: hole.asked + 1 });
            taken.push([first, last]);
        }
        taken.sort_unstable();
        taken.dedup_by(|next, range| {
            let joins = range[1] + 1 == next[0];
            if joins {
                range[1] = next[1];
            }
            joins
        });
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

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: SeqRange = SeqRange { first: 0, last: 4_000_000_000 };

    #[test]
    fn memory_is_bounded_however_long_a_range_is() {
        let (mut holes, now) = (Holes::default(), Instant::now());
        holes.update(&[ALL], None, now);
        let taken = (0..10_000).filter(|_| !holes.take_due(1, 1, now).is_empty()).count();
        assert_eq!((taken, holes.ranges.len()), (2 * MOST_GAPS - 1, 2 * MOST_GAPS));
        // What was given up is one range again, and makes room.
        holes.answered(|_| now);
        assert_eq!(holes.give_up(1, now), taken as u64);
        holes.update(&[ALL], None, now);
        assert_eq!(holes.ranges.len(), 2);
        assert_eq!(holes.take_due(1, 5, now), [[taken as u64, taken as u64 + 4]]);
    }

    #[test]
    fn what_was_asked_for_least_often_comes_first_and_neighbours_are_joined() {
        let (mut holes, now) = (Holes::default(), Instant::now());
        let gap = |first, last| SeqRange { first, last };
        let gaps = [gap(1, 9), gap(20, 21), gap(30, 31)];
        holes.update(&gaps, None, now);
        assert_eq!(holes.take_due(9, 4, now), [[1, 4]]);
        holes.answered(|_| now);
        assert_eq!(holes.take_due(2, 99, now), [[5, 9], [20, 21]]);
        holes.answered(|_| now);
        assert_eq!(holes.take_due(9, 99, now), [[1, 9], [20, 21], [30, 31]]);
        // Each keeps what was done about it when a part of it comes.
        holes.answered(|asked| now + std::time::Duration::from_secs(asked.into()));
        holes.update(&[gap(1, 2), gap(4, 6), gap(30, 30), gap(33, 33)], None, now);
        assert_eq!(holes.take_due(9, 99, now), [[33, 33]]);
        assert_eq!(holes.take_due(9, 99, now + std::time::Duration::from_secs(1)), [[30, 30]]);
        assert_eq!(holes.take_due(9, 99, now + std::time::Duration::from_secs(2)), [[1, 2], [4, 6]]);
    }
}
