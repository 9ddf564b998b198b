//! What a scan misses: for whoever asks the sender to send it again.

use std::time::Instant;

use super::{Patience, Phase, Scan, lock};
use crate::stack::SeqRange;

/// Most ranges that are told of one scan: the lowest.
pub const MOST_GAPS: usize = 4096;

/// The messages of one scan that did not come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Missing {
    /// The first [`MOST_GAPS`] ranges of them, below the highest number that came.
    pub gaps: Vec<SeqRange>,
    /// The highest number that came.
    pub highest: Option<u64>,
    /// Whether the end of the scan came: there is nothing above the highest.
    pub ended: bool,
    /// Whether half of the time is over after which the scan is closed for want of messages: its end may have been lost.
    pub quiet: bool,
}

impl Scan {
    pub(super) fn missing(&self, now: Instant, patience: Patience) -> Option<Missing> {
        let stack = lock(self.stack()?);
        // What waits for an extension of the plan has come, though it is not used yet.
        let waiting = self.waiting();
        let with_waiting = (!waiting.is_empty()).then(|| {
            let mut sequence = stack.sequence().clone();
            for seq in waiting.iter().filter_map(|event| event.seq) {
                sequence.insert(seq);
            }
            sequence
        });
        let came = with_waiting.as_ref().unwrap_or(stack.sequence());
        Some(Missing {
            gaps: came.iter_gaps().take(MOST_GAPS).collect(),
            highest: came.highest(),
            ended: matches!(self.phase(), Phase::Ending(_)),
            quiet: self.is_quiet(now, patience),
        })
    }
}
