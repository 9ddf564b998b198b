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
    // LZ4 packs at most 255 to 1.
    if bytes.len() < regions.frame_bytes() / 255 {
        return Err(FrameError::Size { found: bytes.len() as u64, wanted: regions.frame_bytes() });
    }
    frame.resize(regions.frame_bytes(), 0);
    unpack_block(bytes, frame).ok_or(FrameError::Corrupt(0))?;
    sum_raw(regions, frame, sums)
}

fn add<T>(regions: &Regions, values: &[T], read: impl Fn(&T) -> u32 + Copy, sums: &mut [RegionSum]) {
    let (limit, width) = (regions.limit, regions.shape[1]);
    for (region, sum) in regions.list.iter().zip(sums) {
        for (word, values) in values.chunks(64).enumerate() {
            let mask = region.mask.bits(word * 64);
            if mask == 0 {
                continue;
            }
            let (total, out) = match values.first_chunk() {
                Some(values) if mask == u64::MAX => whole(values, limit, read),
                _ => masked(values, mask, limit, read),
            };
            sum.sum += total;
            sum.kept = sum.kept.saturating_sub(out);
            if !region.moments || total == 0 {
                continue;
            }
            // Row by row, of which a word may have several.
            let mut start = 0;
            while start < values.len() {
                let [row, column] = [(word * 64 + start) / width, (word * 64 + start) % width];
                let end = values.len().min(start + width - column);
                let (light, along) = weighted(&values[start..end], mask >> start, limit, read);
                sum.moments[0] += row as u128 * u128::from(light);
                sum.moments[1] += column as u128 * u128::from(light) + u128::from(along);
                start = end;
            }
        }
    }
}

/// Sum of 64 values, and how many are left out. In halves of 32 bits, and wrapping, so that it becomes vectors; no sum is so large.
#[inline(always)]
fn whole<T>(values: &[T; 64], limit: u32, read: impl Fn(&T) -> u32) -> (u64, u64) {
    let (mut low, mut high, mut kept) = (0_u32, 0_u32, 0_u32);
    for value in values {
        let value = read(value);
        let keep = u32::from(value < limit);
        let value = value & 0_u32.wrapping_sub(keep);
        low = low.wrapping_add(value & 0xffff);
        high = high.wrapping_add(value >> 16);
        kept = kept.wrapping_add(keep);
    }
    (u64::from(low) + (u64::from(high) << 16), u64::from(64_u32.saturating_sub(kept)))
}

/// Sum of those of up to 64 values that are in the mask, and how many of these are left out.
#[inline(always)]
fn masked<T>(values: &[T], mask: u64, limit: u32, read: impl Fn(&T) -> u32) -> (u64, u64) {
    let (mut total, mut out) = (0_u64, 0_u64);
    for (bit, value) in values.iter().enumerate() {
        let (value, is_in) = (read(value), mask >> bit & 1);
        let keep = is_in & u64::from(value < limit);
        total = total.wrapping_add(u64::from(value) & 0_u64.wrapping_sub(keep));
        out = out.wrapping_add(is_in - keep);
    }
    (total, out)
}

/// Sum of those values that are in the mask and not left out, and their sum weighted by their places.
#[inline(always)]
fn weighted<T>(values: &[T], mask: u64, limit: u32, read: impl Fn(&T) -> u32) -> (u64, u64) {
    let (mut light, mut along) = (0_u64, 0_u64);
    for (place, value) in values.iter().enumerate() {
        let value = read(value);
        let keep = (mask >> place & 1) & u64::from(value < limit);
        let value = u64::from(value) & 0_u64.wrapping_sub(keep);
        light = light.wrapping_add(value);
        along = along.wrapping_add(place as u64 * value);
    }
    (light, along)
}
