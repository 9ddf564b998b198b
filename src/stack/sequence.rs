//! Which message numbers came, as ranges: what is missing is what lies between them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Message numbers `first..=last`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SeqRange {
    /// First number.
    pub first: u64,
    /// Last number.
    pub last: u64,
}

/// The set of message numbers that came. It takes memory for each gap, not for each message.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sequence {
    /// First number of each run of numbers that came, and its last.
    runs: BTreeMap<u64, u64>,
}

impl Sequence {
    /// Notes `seq`; returns whether it was new.
    pub fn insert(&mut self, seq: u64) -> bool {
        let before = self.runs.range(..=seq).next_back().map(|(&first, &last)| (first, last));
        if before.is_some_and(|(_, last)| last >= seq) {
            return false;
        }
        let first = match before {
            Some((first, last)) if last + 1 == seq => first,
            _ => seq,
        };
        let last = match seq.checked_add(1).and_then(|next| self.runs.remove(&next)) {
            Some(last) => last,
            None => seq,
        };
        self.runs.insert(first, last);
        true
    }

    /// Whether `seq` came.
    #[must_use]
    pub fn contains(&self, seq: u64) -> bool {
        self.runs.range(..=seq).next_back().is_some_and(|(_, &last)| last >= seq)
    }

    /// The numbers that did not come, below the highest that did.
    #[must_use]
    pub fn gaps(&self) -> Vec<SeqRange> {
        self.iter_gaps().collect()
    }

    /// The same, lowest first, as far as they are taken.
    pub fn iter_gaps(&self) -> impl Iterator<Item = SeqRange> {
        let mut next = 0;
        self.runs.iter().filter_map(move |(&first, &last)| {
            let gap = (first > next).then(|| SeqRange { first: next, last: first - 1 });
            next = last.saturating_add(1);
            gap
        })
    }

    /// How many numbers did not come, below the highest that did.
    #[must_use]
    pub fn missing(&self) -> u64 {
        let came: u64 = self.runs.iter().map(|(first, last)| last - first + 1).sum();
        self.highest().map_or(0, |highest| highest + 1 - came)
    }

    /// The highest number that came.
    #[must_use]
    pub fn highest(&self) -> Option<u64> {
        self.runs.last_key_value().map(|(_, &last)| last)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names_what_is_missing() {
        let mut sequence = Sequence::default();
        for seq in [2, 3, 7, 4, 2] {
            sequence.insert(seq);
        }
        assert_eq!(sequence.gaps(), [SeqRange { first: 0, last: 1 }, SeqRange { first: 5, last: 6 }]);
        assert_eq!((sequence.missing(), sequence.highest()), (4, Some(7)));
    }

    proptest! {
        #[test]
        fn agrees_with_a_plain_set(seqs in prop::collection::vec(0_u64..60, 0..80)) {
            let (mut sequence, mut plain) = (Sequence::default(), std::collections::BTreeSet::new());
            for seq in seqs {
                prop_assert_eq!(sequence.insert(seq), plain.insert(seq));
            }
            let highest = plain.last().copied();
            let missing = highest.map_or(0, |h| h + 1 - plain.len() as u64);
            prop_assert_eq!(sequence.missing(), missing);
            prop_assert_eq!(sequence.highest(), highest);
            prop_assert_eq!(sequence.gaps().iter().map(|g| g.last - g.first + 1).sum::<u64>(), missing);
            for seq in 0..60 {
                prop_assert_eq!(sequence.contains(seq), plain.contains(&seq));
            }
        }
    }
}
