//! Compressed area frames to sums over regions, most of them without the frame.
//!
//! Formats: the streams of the HDF5 filters bitshuffle (`bslz4`) and LZ4 (`lz4`), a bare LZ4 block, and raw values; 8, 16 or 32
//! bit unsigned, little-endian. A bit-shuffled block is bit planes: a masked sum is the sum over the planes of 2^b times the
//! bits that plane and mask have in common ([`planes`]), and first moments are the same with coordinates for masks.
//! Planes of zeros, most of them at a few counts a pixel, are neither written nor read ([`walk`]).
//!
//! Left out of every sum are bad pixels, values at or above the saturation, and those that say there is no value: the
//! maximum of the type, and for 32 bits the one below, too (DECTRIS: gap and bad).
//!
//! Nothing in a stream is trusted. Its announced size has to be the frame's before anything is made room for, and a block that is
//! not whole, or does not give exactly its size, is an error: the frame is to be dropped and counted, no sum of it is of use.

mod decode;
mod encode;
mod kernel;
mod layout;
mod plain;
mod planes;
mod reducer;
mod regions;
mod stream;
#[cfg(test)]
mod tests;
mod walk;

pub use decode::decode;
pub use encode::{bslz4, lz4, packed};
pub use kernel::Kernel;
pub use reducer::{FrameReducer, Reduced};
pub use regions::{PixelMask, Region, RegionSum, Regions, RegionsError};

pub use crate::scan::Encoding;

use crate::scan::DType;

/// Type of a pixel's value, little-endian.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Element {
    /// 8 bits.
    U8,
    /// 16 bits.
    U16,
    /// 32 bits.
    U32,
}

impl Element {
    /// The type, where it is one that counts.
    #[must_use]
    pub fn of(dtype: DType) -> Option<Self> {
        match dtype {
            DType::Uint8 => Some(Self::U8),
            DType::Uint16 => Some(Self::U16),
            DType::Uint32 => Some(Self::U32),
            DType::Float32 | DType::Float64 => None,
        }
    }

    /// Bytes of a value.
    #[must_use]
    pub fn size(self) -> usize {
        match self {
            Self::U8 => 1,
            Self::U16 => 2,
            Self::U32 => 4,
        }
    }

    /// The smallest value that says there is none.
    #[must_use]
    pub fn no_data(self) -> u32 {
        match self {
            Self::U8 => u32::from(u8::MAX),
            Self::U16 => u32::from(u16::MAX),
            Self::U32 => u32::MAX - 1,
        }
    }

    /// Reads a value; zero behind the end.
    fn read(self, bytes: &[u8], index: usize) -> u32 {
        let at = bytes.get(index * self.size()..).unwrap_or_default();
        match self {
            Self::U8 => at.first().map_or(0, |b| u32::from(*b)),
            Self::U16 => at.first_chunk().map_or(0, |b| u32::from(u16::from_le_bytes(*b))),
            Self::U32 => at.first_chunk().map_or(0, |b| u32::from_le_bytes(*b)),
        }
    }
}

/// Why a frame cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// Too short for what comes before the first block.
    #[error("{0} bytes are too few for the header of a compressed frame")]
    Header(usize),
    /// The announced size, or that of raw values, is not the frame's.
    #[error("a frame of {wanted} bytes announces, or has, {found}")]
    Size {
        /// What is announced, in bytes.
        found: u64,
        /// What a frame has.
        wanted: usize,
    },
    /// A block size that cannot be.
    #[error("a block size of {0} bytes is zero, or no multiple of eight values")]
    BlockSize(u32),
    /// The stream ends within a block.
    #[error("block {0} is cut off")]
    Cut(usize),
    /// A block that is no LZ4 block of its size.
    #[error("block {0} is corrupt")]
    Corrupt(usize),
    /// More bytes than blocks.
    #[error("{0} bytes follow the last block")]
    Trailing(usize),
}
