//! The head of a frame: `{dtype, shape}`, as numpy names them.

use bytes::Bytes;
use serde::Deserialize;

use crate::scan::DType;
use crate::source::adapter::AdapterRefusal;
use crate::source::text::json;

/// Most frames of one message.
const MAX_FRAMES: usize = 1 << 16;

#[derive(Debug, Deserialize)]
struct Head {
    dtype: String,
    shape: Vec<usize>,
}

/// What a message with frames says of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Frame {
    dtype: String,
    /// How many there are.
    pub(super) frames: usize,
    /// Height and width of each.
    shape: [usize; 2],
}

impl Frame {
    /// Reads a head: one frame, `[h, w]`, or several, `[n, h, w]`.
    pub(super) fn read(head: &Bytes, limit: usize) -> Result<Self, AdapterRefusal> {
        let head: Head = serde_json::from_value(json(head, limit)?)
            .map_err(|error| AdapterRefusal::new("header", error))?;
        let (frames, shape) = match head.shape[..] {
            [h, w] => (1, [h, w]),
            [n, h, w] if (1..=MAX_FRAMES).contains(&n) => (n, [h, w]),
            _ => {
                let cause = format!("a frame of shape {:?}", head.shape);
                return Err(AdapterRefusal::new("header", cause));
            }
        };
        Ok(Self { dtype: head.dtype, frames, shape })
    }

    /// The type of its numbers, if frames and bytes are of the size that is wanted.
    pub(super) fn check(&self, wanted: [usize; 2], bytes: usize) -> Result<DType, AdapterRefusal> {
        let dtype = match self.dtype.as_str() {
            "uint8" | "|u1" | "u1" => DType::Uint8,
            "uint16" | "<u2" => DType::Uint16,
            "uint32" | "<u4" => DType::Uint32,
            "float32" | "<f4" => DType::Float32,
            "float64" | "<f8" => DType::Float64,
            other => {
                let cause = format!(
                    "frames of dtype {other:?}; read are unsigned integers and floats, little-endian"
                );
                return Err(AdapterRefusal::new("dtype", cause));
            }
        };
        if self.shape != wanted {
            let cause = format!("a frame of {:?} where the metadata say {wanted:?}", self.shape);
            return Err(AdapterRefusal::new("size", cause));
        }
        let size = wanted[0].checked_mul(wanted[1]).and_then(|size| size.checked_mul(dtype.size()));
        if size.and_then(|size| size.checked_mul(self.frames)) != Some(bytes) {
            let cause = format!("{bytes} bytes for {} frames of {wanted:?}, {}", self.frames, self.dtype);
            return Err(AdapterRefusal::new("size", cause));
        }
        Ok(dtype)
    }
}
