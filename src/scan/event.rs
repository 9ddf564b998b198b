//! What happens while a scan runs: the one type that leaves every source.

use bytes::Bytes;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::ScanPlan;

/// One thing that happened in one scan.
#[derive(Clone, Debug)]
pub struct ScanEvent {
    /// The scan it belongs to.
    pub scan_id: String,
    /// Position in the scan's own message sequence; `None` where the format has none.
    pub seq: Option<u64>,
    /// The sender's time of the message; never used to order anything.
    pub time: Option<DateTime<Utc>>,
    /// What happened.
    pub update: ScanUpdate,
}

/// The kinds of event.
#[derive(Clone, Debug)]
pub enum ScanUpdate {
    /// The plan; may be repeated.
    Started(Box<ScanPlan>),
    /// Measured values of one energy.
    Samples(SampleBatch),
    /// Area-detector frames of one energy; the detector stage turns them into [`ScanUpdate::Samples`].
    Frames(FrameBatch),
    /// What the detector stage made of frames, and the detector pixels that it found bad in them: from a journal.
    Reduced(SampleBatch, BadPixels),
    /// Further energies, appended to the plan. Each list is as long as `energies_ev` or absent.
    Extended {
        /// Set-points, eV.
        energies_ev: Vec<f64>,
        /// Exposure per pixel, ms; absent: as the last energy of the plan.
        dwell_ms: Option<Vec<f64>>,
        /// Flux on the sample, photons per second.
        flux_ph_per_s: Option<Vec<f64>>,
    },
    /// The scan waits; the clock of silence stops.
    Paused,
    /// The scan goes on.
    Resumed,
    /// The scan is over.
    Ended(Outcome),
    /// What people should know about it, from the adapter that reads its format; counts in no sequence.
    Remarked(Remark),
    /// A message that carries nothing for the map but counts in the sequence (an unknown type).
    Skipped,
}

impl ScanUpdate {
    /// About the memory its values take, bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        match self {
            Self::Samples(batch) | Self::Reduced(batch, _) => size_of_val(&batch.values[..]),
            Self::Frames(frames) => frames.bytes(),
            _ => 0,
        }
    }
}

/// What people should know about a scan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Remark {
    /// What it is.
    pub text: String,
    /// Whether values may lie at a wrong pixel or energy, so that nobody should rely on the map.
    pub untrusted: bool,
}

/// How a scan ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "status", rename_all = "snake_case")]
pub enum Outcome {
    /// The sender said that it is complete.
    Complete,
    /// The sender gave up.
    Aborted {
        /// Why, where the sender said so.
        reason: Option<String>,
    },
    /// No end was seen: the sender went silent, another scan took its place, or the daemon was stopped.
    Partial {
        /// Which of these.
        reason: String,
    },
}

/// Which pixels a batch holds, in the order of its values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pixels {
    /// `count` pixels from `first` on, row-major.
    Run {
        /// The first pixel.
        first: u32,
        /// How many.
        count: u32,
    },
    /// Any pixels.
    List(Vec<u32>),
}

impl Pixels {
    /// Number of pixels.
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Self::Run { count, .. } => *count as usize,
            Self::List(list) => list.len(),
        }
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The pixel indices, in the order of the values.
    pub fn iter(&self) -> impl Iterator<Item = usize> + '_ {
        let (run, list) = match self {
            Self::Run { first, count } => (*first as usize..(*first as usize + *count as usize), &[][..]),
            Self::List(list) => (0..0, list.as_slice()),
        };
        run.chain(list.iter().map(|&pixel| pixel as usize))
    }

    /// The largest pixel index, if there is any.
    #[must_use]
    pub fn last(&self) -> Option<u64> {
        match self {
            Self::Run { first, count } => count.checked_sub(1).map(|n| u64::from(*first) + u64::from(n)),
            Self::List(list) => list.iter().copied().max().map(u64::from),
        }
    }
}

/// The incident intensity that came with a batch, in the unit and dwell of its values.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum I0 {
    /// None came.
    #[default]
    None,
    /// One value for the whole batch.
    One(f32),
    /// One value per pixel.
    Each(Vec<f32>),
}

/// What a channel of a batch holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Channel {
    /// The detector's signal: point counts, or the sum over an area frame.
    #[default]
    Intensity,
}

/// Measured values at one energy.
#[derive(Clone, Debug)]
pub struct SampleBatch {
    /// Index into the plan's energies.
    pub energy_index: u32,
    /// Which pixels.
    pub pixels: Pixels,
    /// What the values are.
    pub channel: Channel,
    /// One value per pixel, in the plan's unit; NaN means not measured.
    pub values: Vec<f32>,
    /// Incident intensity of this batch.
    pub i0: I0,
    /// Storage-ring current, mA.
    pub ring_current_ma: Option<f64>,
    /// Energy read back from the monochromator, eV.
    pub energy_ev: Option<f64>,
    /// Start of exposure of the first pixel.
    pub time: Option<DateTime<Utc>>,
}

/// Number type of raw values, little-endian.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DType {
    /// Unsigned, 8 bit.
    Uint8,
    /// Unsigned, 16 bit.
    Uint16,
    /// Unsigned, 32 bit.
    Uint32,
    /// IEEE, 32 bit.
    Float32,
    /// IEEE, 64 bit.
    Float64,
}

impl DType {
    /// Bytes per value.
    #[must_use]
    pub fn size(self) -> usize {
        match self {
            Self::Uint8 => 1,
            Self::Uint16 => 2,
            Self::Uint32 | Self::Float32 => 4,
            Self::Float64 => 8,
        }
    }
}

/// How the frames of a batch are packed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Encoding {
    /// Values as they are.
    #[default]
    Raw,
    /// The HDF5 bitshuffle filter with LZ4.
    Bslz4,
    /// The HDF5 LZ4 filter.
    Lz4,
    /// One LZ4 block without a header, as DECTRIS' first stream has it.
    Lz4Block,
}

/// Frames of an area detector at one energy, one per pixel, as they came.
#[derive(Clone, Debug)]
pub struct FrameBatch {
    /// The batch they become: everything but its values, which are empty.
    pub batch: SampleBatch,
    /// Number type of a frame pixel.
    pub dtype: DType,
    /// How each frame is packed.
    pub encoding: Encoding,
    /// One frame per pixel of the batch, in their order; row-major and little-endian once unpacked. They may be parts of
    /// one message, and are not copied.
    pub frames: Vec<Bytes>,
}

impl FrameBatch {
    /// Raw frames that came in one piece, one after the other; what `frames` do not share evenly is the last one's, so that it is
    /// found to be of the wrong size.
    #[must_use]
    pub fn raw(batch: SampleBatch, dtype: DType, whole: &Bytes) -> Self {
        let count = batch.pixels.len();
        let each = whole.len().checked_div(count).unwrap_or(0);
        let end = |index: usize| if index + 1 == count { whole.len() } else { (index + 1) * each };
        let frames = (0..count).map(|index| whole.slice(index * each..end(index))).collect();
        Self { batch, dtype, encoding: Encoding::Raw, frames }
    }

    /// Bytes of all frames as they came.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.frames.iter().map(Bytes::len).sum()
    }
}

/// Pixels of an area detector that were found bad in one message, row-major indices, ascending.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BadPixels {
    /// Without signal where their neighbours have some.
    pub dead: Vec<usize>,
    /// With far more signal than any neighbour.
    pub hot: Vec<usize>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pixels_iterate_in_value_order() {
        assert_eq!(Pixels::Run { first: 3, count: 2 }.iter().collect::<Vec<_>>(), [3, 4]);
        assert_eq!(Pixels::List(vec![9, 1]).iter().collect::<Vec<_>>(), [9, 1]);
        assert_eq!(Pixels::List(vec![9, 1]).last(), Some(9));
        assert_eq!(Pixels::Run { first: 0, count: 0 }.last(), None);
    }
}
