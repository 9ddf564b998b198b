//! The framing of both filters: total size, block size, and blocks with their compressed lengths, all big-endian.

use super::{Element, FrameError};

/// Bytes before the first block.
const HEADER: usize = 12;

/// A stream whose header was found right.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stream<'a> {
    /// What follows the blocks that were taken.
    rest: &'a [u8],
    /// The number of the next block.
    index: usize,
    /// Bytes of the frame in the blocks to come.
    left: usize,
    /// Bytes of a block, the last one excepted.
    pub(super) block: usize,
    /// Bytes at the end of the frame that are in no block.
    tail: usize,
}

/// A block, compressed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Block<'a> {
    /// Its number, from 0.
    pub(super) index: usize,
    /// The stream from where the block begins: a reader may look beyond the block, at what follows it.
    pub(super) rest: &'a [u8],
    /// Its compressed length.
    pub(super) packed: usize,
    /// Its length when it is unpacked.
    pub(super) size: usize,
}

impl<'a> Block<'a> {
    /// The compressed bytes.
    pub(super) fn bytes(&self) -> &'a [u8] {
        self.rest.get(..self.packed).unwrap_or_default()
    }
}

impl<'a> Stream<'a> {
    /// A bit-shuffled stream: blocks are whole groups of eight values, and fewer than eight at the end are as they are.
    pub(super) fn bit_shuffled(bytes: &'a [u8], element: Element, wanted: usize) -> Result<Self, FrameError> {
        let group = 8 * element.size();
        let stream = Self::open(bytes, wanted, group)?;
        let tail = wanted % group;
        Ok(Self { left: wanted - tail, tail, ..stream })
    }

    /// A stream of the LZ4 filter.
    pub(super) fn plain(bytes: &'a [u8], wanted: usize) -> Result<Self, FrameError> {
        Self::open(bytes, wanted, 1)
    }

    fn open(bytes: &'a [u8], wanted: usize, group: usize) -> Result<Self, FrameError> {
        let (Some(total), Some(block)) = (bytes.first_chunk(), bytes.get(8..).and_then(|b| b.first_chunk()))
        else {
            return Err(FrameError::Header(bytes.len()));
        };
        let (total, block) = (u64::from_be_bytes(*total), u32::from_be_bytes(*block));
        if usize::try_from(total) != Ok(wanted) {
            return Err(FrameError::Size { found: total, wanted });
        }
        let size = usize::try_from(block).unwrap_or(0);
        if size == 0 || !size.is_multiple_of(group) {
            return Err(FrameError::BlockSize(block));
        }
        // A block larger than the frame is no reason for more memory than a frame takes.
        let whole = wanted - wanted % group;
        let rest = bytes.get(HEADER..).unwrap_or_default();
        // Before anybody makes room: each block has its length before it, and LZ4 packs at most 255 to 1.
        if rest.len() < 4 * (whole / size) || rest.len() < wanted / 255 {
            return Err(FrameError::Size { found: bytes.len() as u64, wanted });
        }
        Ok(Self { rest, index: 0, left: wanted, block: size.min(whole.max(group)), tail: 0 })
    }

    /// The next block; `None` where there are no more.
    #[inline(always)]
    pub(super) fn next(&mut self) -> Result<Option<Block<'a>>, FrameError> {
        if self.left == 0 {
            return Ok(None);
        }
        let index = self.index;
        let (length, rest) = self.rest.split_first_chunk().ok_or(FrameError::Cut(index))?;
        let packed = usize::try_from(u32::from_be_bytes(*length)).unwrap_or(usize::MAX);
        let size = self.left.min(self.block);
        self.rest = rest.get(packed..).ok_or(FrameError::Cut(index))?;
        self.left -= size;
        self.index += 1;
        Ok(Some(Block { index, rest, packed, size }))
    }

    /// The values that are in no block, once there are no more blocks.
    pub(super) fn tail(&self) -> Result<&'a [u8], FrameError> {
        match self.rest.len().checked_sub(self.tail) {
            Some(0) => Ok(self.rest),
            Some(more) => Err(FrameError::Trailing(more)),
            None => Err(FrameError::Cut(self.index)),
        }
    }
}
