//! Sums of values that are not bit-shuffled.

use super::decode::{unpack, unpack_block};
use super::regions::{RegionSum, Regions};
use super::stream::Stream;
use super::{Element, FrameError};

/// Sums raw values.
pub(super) fn sum_raw(regions: &Regions, bytes: &[u8], sums: &mut [RegionSum]) -> Result<(), FrameError> {
    regions.check_raw(bytes)?;
    regions.begin(sums);
    match regions.element {
        Element::U8 => add(regions, bytes, |byte| u32::from(*byte), sums),
        Element::U16 => add(regions, bytes.as_chunks().0, |b| u32::from(u16::from_le_bytes(*b)), sums),
        Element::U32 => add(regions, bytes.as_chunks().0, |b| u32::from_le_bytes(*b), sums),
    }
    Ok(())
}

/// Sums a frame of the LZ4 filter, which is unpacked into `frame`.
pub(super) fn sum_lz4(
    regions: &Regions,
    frame: &mut Vec<u8>,
    bytes: &[u8],
    sums: &mut [RegionSum],
) -> Result<(), FrameError> {
    let stream = Stream::plain(bytes, regions.frame_bytes())?;
    unpack(stream, regions.frame_bytes(), frame)?;
    sum_raw(regions, frame, sums)
}

/// Sums a frame that is one LZ4 block.
pub(super) fn sum_block(
    regions: &Regions,
    frame: &mut Vec<u8>,
    bytes: &[u8],
    sums: &mut [RegionSum],
) -> Result<(), FrameError> {
    frame.resize(regions.frame_bytes(), 0);
    unpack_block(bytes, frame).ok_or(FrameError::Corrupt(0))?;
    sum_raw(regions, frame, sums)
}

fn add<T>(regions: &Regions, values: &[T], read: impl Fn(&T) -> u32, sums: &mut [RegionSum]) {
    for (region, sum) in regions.list.iter().zip(sums) {
        for (word, values) in values.chunks(64).enumerate() {
            let mask = region.mask.bits(word * 64);
            if mask == 0 {
                continue;
            }
            let (mut total, mut out) = (0_u64, 0_u64);
            for (bit, value) in values.iter().enumerate() {
                let (value, is_in) = (read(value), mask >> bit & 1);
                let keep = is_in & u64::from(value < regions.limit);
                total += u64::from(value) & 0_u64.wrapping_sub(keep);
                out += is_in - keep;
            }
            sum.sum += total;
            sum.kept = sum.kept.saturating_sub(out);
            if region.moments && total > 0 {
                for (bit, value) in values.iter().enumerate() {
                    let (value, pixel) = (read(value), word * 64 + bit);
                    if mask >> bit & 1 == 1 && value < regions.limit {
                        sum.moments[0] += (pixel / regions.shape[1]) as u128 * u128::from(value);
                        sum.moments[1] += (pixel % regions.shape[1]) as u128 * u128::from(value);
                    }
                }
            }
        }
    }
}
