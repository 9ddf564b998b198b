//! Frames that could not be read, counted by their cause, and told without flooding anybody.

use std::time::{Duration, Instant};

use super::compressed::FrameError;
use crate::telemetry::names;

const INTERVAL: Duration = Duration::from_secs(1);

/// Short names of the causes, for counters.
const CAUSES: [&str; 7] = ["header", "size", "block_size", "cut", "corrupt", "trailing", "encoding"];

fn cause(error: &FrameError) -> usize {
    match error {
        FrameError::Header(_) => 0,
        FrameError::Size { .. } => 1,
        FrameError::BlockSize(_) => 2,
        FrameError::Cut(_) => 3,
        FrameError::Corrupt(_) => 4,
        FrameError::Trailing(_) => 5,
        FrameError::Encoding => 6,
    }
}

/// What became of the frames of one message.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Drops {
    /// Frames that were summed.
    pub reduced: u64,
    /// Bytes that these have when they are unpacked.
    pub bytes: u64,
    dropped: [u64; CAUSES.len()],
    /// The first that could not be read, which one of the message it was, and why.
    pub first: Option<(usize, FrameError)>,
}

impl Drops {
    pub(super) fn note(&mut self, frame: usize, error: &FrameError) {
        self.dropped[cause(error)] += 1;
        if self.first.is_none() {
            self.first = Some((frame, error.clone()));
        }
    }

    /// Frames that could not be read.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.dropped.iter().sum()
    }

    /// Frames that could not be read, by cause, where there are any.
    pub fn by_cause(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
        CAUSES.into_iter().zip(self.dropped).filter(|(_, frames)| *frames > 0)
    }
}

/// Counts and tells; at most one line a second.
#[derive(Clone, Debug, Default)]
pub(super) struct Teller {
    last: Option<Instant>,
    kept_back: u64,
}

impl Teller {
    pub(super) fn tell(&mut self, scan_id: &str, drops: &Drops, now: Instant) {
        metrics::counter!(names::FRAMES_REDUCED).increment(drops.reduced);
        metrics::counter!(names::FRAMES_DECODED_BYTES).increment(drops.bytes);
        for (cause, frames) in drops.by_cause() {
            metrics::counter!(names::FRAMES_DROPPED, "cause" => cause).increment(frames);
        }
        let Some((frame, error)) = &drops.first else { return };
        self.kept_back += drops.dropped();
        if self.last.is_some_and(|last| now.saturating_duration_since(last) < INTERVAL) {
            return;
        }
        self.last = Some(now);
        let frames = std::mem::take(&mut self.kept_back);
        tracing::warn!(scan_id, frame, frames, %error, "frames cannot be read, and count as not measured");
    }
}
