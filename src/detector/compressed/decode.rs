//! Whole frames, for who wants to see pixels. Blocks are unpacked by the C library of LZ4.

use super::stream::Stream;
use super::{Element, Encoding, FrameError};

/// Unpacks a frame of `wanted` bytes into `frame`, whose room is used again.
///
/// # Errors
/// Where the bytes are not what the encoding says, or give another size. What is in `frame` then is of no meaning.
pub fn decode(
    encoding: Encoding,
    element: Element,
    bytes: &[u8],
    wanted: usize,
    frame: &mut Vec<u8>,
) -> Result<(), FrameError> {
    match encoding {
        Encoding::Raw if bytes.len() != wanted => {
            return Err(FrameError::Size { found: bytes.len() as u64, wanted });
        }
        Encoding::Raw => {
            frame.clear();
            frame.extend_from_slice(bytes);
        }
        Encoding::Lz4 => unpack(Stream::plain(bytes, wanted)?, wanted, frame)?,
        Encoding::Lz4Block if bytes.len() < wanted / 255 => {
            return Err(FrameError::Size { found: bytes.len() as u64, wanted });
        }
        Encoding::Lz4Block => {
            frame.resize(wanted, 0);
            unpack_block(bytes, frame).ok_or(FrameError::Corrupt(0))?;
        }
        Encoding::Bslz4 => {
            let mut stream = Stream::bit_shuffled(bytes, element, wanted)?;
            let mut planes = vec![0; stream.block];
            frame.resize(wanted, 0);
            let mut done = 0;
            while let Some(block) = stream.next()? {
                let (planes, out) = (&mut planes[..block.size], &mut frame[done..done + block.size]);
                unpack_block(block.bytes(), planes).ok_or(FrameError::Corrupt(block.index))?;
                unshuffle(element.size(), planes, out);
                done += block.size;
            }
            frame[done..].copy_from_slice(stream.tail()?);
        }
    }
    Ok(())
}

/// Unpacks a stream of the LZ4 filter; a block that is as long as what it holds is not packed.
pub(super) fn unpack(mut stream: Stream<'_>, wanted: usize, frame: &mut Vec<u8>) -> Result<(), FrameError> {
    frame.resize(wanted, 0);
    let mut done = 0;
    while let Some(block) = stream.next()? {
        let out = &mut frame[done..done + block.size];
        if block.packed == block.size {
            out.copy_from_slice(block.bytes());
        } else {
            unpack_block(block.bytes(), out).ok_or(FrameError::Corrupt(block.index))?;
        }
        done += block.size;
    }
    stream.tail().map(|_| ())
}

/// Unpacks one LZ4 block, which has to give exactly as much as there is room.
pub(super) fn unpack_block(packed: &[u8], out: &mut [u8]) -> Option<()> {
    let (from, to) = (i32::try_from(packed.len()).ok()?, i32::try_from(out.len()).ok()?);
    // SAFETY: the library reads at most `from` bytes at the first pointer and writes at most `to` bytes at the second, whatever
    // the bytes are; both are the lengths of the slices that the pointers come from, and the slices do not overlap,
    // since one of them is borrowed mutably.
    let written =
        unsafe { lz4_sys::LZ4_decompress_safe(packed.as_ptr().cast(), out.as_mut_ptr().cast(), from, to) };
    (written == to).then_some(())
}

/// Bit planes to values of `size` bytes, eight at a time: a byte from each of eight planes is a matrix of bits, to be transposed.
pub(super) fn unshuffle(size: usize, planes: &[u8], out: &mut [u8]) {
    let plane = planes.len() / (8 * size);
    for byte in 0..size {
        for (column, values) in out.chunks_exact_mut(8 * size).enumerate() {
            let mut bits = 0;
            for bit in 0..8 {
                bits |= u64::from(planes[(byte * 8 + bit) * plane + column]) << (8 * bit);
            }
            let bytes = transposed(bits).to_le_bytes();
            bytes.iter().enumerate().for_each(|(value, bits)| values[value * size + byte] = *bits);
        }
    }
}

/// Eight by eight bits with rows and columns exchanged: in blocks of one bit, of two and of four.
pub(super) fn transposed(mut bits: u64) -> u64 {
    for (shift, mask) in
        [(7, 0x00aa_00aa_00aa_00aa), (14, 0x0000_cccc_0000_cccc), (28, 0x0000_0000_f0f0_f0f0)]
    {
        let exchange = (bits ^ (bits >> shift)) & mask;
        bits ^= exchange ^ (exchange << shift);
    }
    bits
}
