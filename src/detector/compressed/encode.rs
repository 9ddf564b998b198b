//! Frames as a detector packs them, for emulators, tests and figures.

use super::Element;
use super::decode::transposed;

/// A frame as the bitshuffle filter packs it, in blocks of `block` bytes, rounded down to whole groups of eight values (one at least).
#[must_use]
pub fn bslz4(element: Element, frame: &[u8], block: usize) -> Vec<u8> {
    let group = 8 * element.size();
    let block = (block / group).max(1) * group;
    let (whole, tail) = frame.split_at(frame.len() - frame.len() % group);
    let mut planes = vec![0; block];
    let mut bytes = header(frame, block);
    for values in whole.chunks(block) {
        let planes = &mut planes[..values.len()];
        shuffle(element.size(), values, planes);
        let packed = packed(planes);
        bytes.extend(length(packed.len()));
        bytes.extend(packed);
    }
    bytes.extend(tail);
    bytes
}

/// A frame as the LZ4 filter packs it: a block that does not become smaller is left as it is.
#[must_use]
pub fn lz4(frame: &[u8], block: usize) -> Vec<u8> {
    let block = block.max(1);
    let mut bytes = header(frame, block);
    for values in frame.chunks(block) {
        let packed = packed(values);
        let smaller = if packed.is_empty() || packed.len() >= values.len() { values } else { &packed };
        bytes.extend(length(smaller.len()));
        bytes.extend(smaller);
    }
    bytes
}

fn header(frame: &[u8], block: usize) -> Vec<u8> {
    let mut bytes = (frame.len() as u64).to_be_bytes().to_vec();
    bytes.extend(length(block));
    bytes
}

fn length(bytes: usize) -> [u8; 4] {
    u32::try_from(bytes).unwrap_or(u32::MAX).to_be_bytes()
}

/// One LZ4 block without a header; empty where there is too much for one.
#[must_use]
pub fn packed(bytes: &[u8]) -> Vec<u8> {
    let Ok(from) = i32::try_from(bytes.len()) else { return Vec::new() };
    // What the format allows a block to grow to.
    let mut packed = vec![0; bytes.len() + bytes.len() / 255 + 16];
    let Ok(to) = i32::try_from(packed.len()) else { return Vec::new() };
    // SAFETY: the library reads at most `from` bytes at the first pointer and writes at most `to` at the second, the lengths of
    // what the pointers come from, which do not overlap.
    let written =
        unsafe { lz4_sys::LZ4_compress_default(bytes.as_ptr().cast(), packed.as_mut_ptr().cast(), from, to) };
    packed.truncate(usize::try_from(written).unwrap_or(0));
    packed
}

/// Values to bit planes.
fn shuffle(size: usize, values: &[u8], planes: &mut [u8]) {
    let plane = planes.len() / (8 * size);
    for byte in 0..size {
        for (column, values) in values.chunks_exact(8 * size).enumerate() {
            let mut bits = [0; 8];
            bits.iter_mut().enumerate().for_each(|(value, bits)| *bits = values[value * size + byte]);
            let bytes = transposed(u64::from_le_bytes(bits)).to_le_bytes();
            bytes
                .iter()
                .enumerate()
                .for_each(|(bit, bits)| planes[(byte * 8 + bit) * plane + column] = *bits);
        }
    }
}
