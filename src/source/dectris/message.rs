//! What both streams of DECTRIS detectors say, however they write it.

use bytes::Bytes;
use chrono::{DateTime, Utc};
use serde_json::Value;

use crate::scan::{DType, Encoding};
use crate::source::adapter::AdapterRefusal;
use crate::source::geometry::SeriesFacts;

/// Most pixels of a frame.
const MAX_PIXELS: usize = 1 << 28;

/// One message.
#[derive(Debug)]
pub(super) enum Message<'b> {
    /// A series begins.
    Start(Box<SeriesStart>),
    /// One frame of it.
    Image(Image<'b>),
    /// It is over.
    End(Key<'b>),
    /// Something else.
    Other,
}

/// Which series.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Key<'b> {
    /// Its number, one more each time the detector is armed; begins anew when the detector is started.
    pub(super) number: u64,
    /// What tells it from those of the same number, where the stream has it.
    pub(super) unique: Option<&'b str>,
}

/// What is said when a series begins.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct SeriesStart {
    /// What places need of it.
    pub(super) facts: SeriesFacts,
    /// What tells it from those of the same number.
    pub(super) unique: Option<String>,
    /// When the detector was armed.
    pub(super) armed: Option<DateTime<Utc>>,
    /// What whoever armed it wanted to go with the series.
    pub(super) note: Option<Value>,
}

/// One frame.
#[derive(Clone, Debug)]
pub(super) struct Image<'b> {
    /// Its series.
    pub(super) series: Key<'b>,
    /// Its number within it, from 0.
    pub(super) number: u64,
    /// Height and width.
    pub(super) shape: [usize; 2],
    /// Type of its values.
    pub(super) dtype: DType,
    /// How they are packed.
    pub(super) encoding: Encoding,
    /// The values, packed.
    pub(super) bytes: Bytes,
    /// Start of its exposure after arming, s.
    pub(super) start_s: Option<f64>,
}

/// A shape that a frame can have.
pub(super) fn shape(height: u64, width: u64) -> Result<[usize; 2], AdapterRefusal> {
    let wrong =
        || AdapterRefusal::new("shape", format_args!("a frame of {height} by {width} pixels cannot be"));
    let sides = [height, width].map(usize::try_from);
    let [Ok(height), Ok(width)] = sides else { return Err(wrong()) };
    let pixels = height.checked_mul(width).unwrap_or(0);
    if (1..=MAX_PIXELS).contains(&pixels) { Ok([height, width]) } else { Err(wrong()) }
}

/// The pixels that a mask of 32-bit numbers names (any but zero), as runs.
pub(super) fn runs(mask: &[u8]) -> Vec<[u32; 2]> {
    let mut runs: Vec<[u32; 2]> = Vec::new();
    for (pixel, value) in (0..).zip(mask.as_chunks::<4>().0) {
        if *value == [0; 4] {
            continue;
        }
        match runs.last_mut() {
            Some([first, count]) if *first + *count == pixel => *count += 1,
            _ => runs.push([pixel, 1]),
        }
    }
    runs
}

/// A note: JSON in a text is taken for what it says.
pub(super) fn note(value: Value) -> Option<Value> {
    match value {
        Value::Null => None,
        Value::String(text) if text.trim_start().starts_with('{') => {
            Some(serde_json::from_str(&text).unwrap_or(Value::String(text)))
        }
        value => Some(value),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mask_becomes_runs() {
        let mask = [0_u32, 1, 8, 0, 0, 2, 0].map(u32::to_le_bytes).concat();
        assert_eq!(runs(&mask), [[1, 2], [5, 1]]);
        assert_eq!(runs(&[]), [[0_u32; 2]; 0]);
    }

    #[test]
    fn a_frame_has_pixels_and_not_too_many() {
        assert_eq!(shape(192, 192).ok(), Some([192, 192]));
        for (height, width) in [(0, 1), (1, 0), (1 << 20, 1 << 20), (u64::MAX, 2)] {
            assert_eq!(shape(height, width).unwrap_err().reason(), "shape");
        }
    }

    #[test]
    fn json_in_a_text_is_read() {
        assert_eq!(note(Value::Null), None);
        assert_eq!(note("{\"a\": 1}".into()), Some(serde_json::json!({"a": 1})));
        assert_eq!(note("{a".into()), Some("{a".into()));
    }
}
