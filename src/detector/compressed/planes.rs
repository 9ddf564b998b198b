//! Sums over the bit planes of one block.
//!
//! Plane b has bit b of every pixel, eight pixels a byte, the first in the lowest bit. The pixel of bit j in word w of a block
//! is number p = first + 64 w + j of the frame, in row y = first row + rows(w) + further(w, j), and x = p - width y. So first
//! moments are counts of bits weighted by words, and counts under the six masks that have the bits of j.

use super::layout::{GROUP, Layout};
use super::regions::{RegionSum, Regions};
use super::walk::ZeroPlanes;

/// Bit k of the numbers 0 to 63.
const NUMBERS: [u64; 6] = [
    0xaaaa_aaaa_aaaa_aaaa,
    0xcccc_cccc_cccc_cccc,
    0xf0f0_f0f0_f0f0_f0f0,
    0xff00_ff00_ff00_ff00,
    0xffff_0000_ffff_0000,
    0xffff_ffff_0000_0000,
];

/// The planes of one block.
#[derive(Clone, Copy)]
pub(super) struct Planes<'a> {
    /// One after the other; behind the last one there are bytes enough for a group of words.
    pub(super) bytes: &'a [u8],
    /// Bytes of each.
    pub(super) plane: usize,
    /// How many there are.
    pub(super) count: usize,
    /// Those that are zero.
    pub(super) zero: ZeroPlanes,
}

impl Planes<'_> {
    /// Bits that some value of the block may have; those of planes that are looked at and found zero are taken away.
    #[inline(always)]
    fn used(&self, limit: u32) -> u64 {
        let mut used = ((1_u64 << self.count) - 1) & !self.zero.known;
        let is_zero = |plane: usize| {
            let bytes = self.bytes.get(plane * self.plane..(plane + 1) * self.plane).unwrap_or_default();
            bytes.iter().fold(0, |all, byte| all | byte) == 0
        };
        // The last bytes of an LZ4 block are literals: the top plane is never within a run.
        let top = self.count - 1;
        if used >> top & 1 == 1 && is_zero(top) {
            used &= !(1 << top);
        }
        if used >= u64::from(limit) {
            for plane in 0..top {
                if used >> plane & 1 == 1 && is_zero(plane) {
                    used &= !(1 << plane);
                }
            }
        }
        used
    }

    /// The words of a plane, whole groups of them; those behind its end are of the next one.
    #[inline(always)]
    fn words(&self, plane: usize) -> &[[u8; 8]] {
        let words = self.bytes.get(plane * self.plane..).unwrap_or_default().as_chunks().0;
        &words[..self.groups().min(words.len())]
    }

    /// Words of a plane, filled up to whole groups.
    #[inline(always)]
    fn groups(&self) -> usize {
        self.plane.div_ceil(8 * GROUP) * GROUP
    }

    /// Which pixels are at or above the limit. From the lowest bit up, a number is at least another one in its lower bits if it was so
    /// before and the next bits are alike, or if its next bit is the larger one.
    #[inline(always)]
    fn saturated(&self, used: u64, limit: u32, above: &mut Vec<u64>) {
        above.clear();
        above.resize(self.groups(), u64::MAX);
        for plane in 0..self.count {
            let wanted = limit >> plane & 1 == 1;
            if used >> plane & 1 == 0 {
                if wanted {
                    above.fill(0);
                }
            } else if wanted {
                for (above, word) in above.iter_mut().zip(self.words(plane)) {
                    *above &= u64::from_le_bytes(*word);
                }
            } else {
                for (above, word) in above.iter_mut().zip(self.words(plane)) {
                    *above |= u64::from_le_bytes(*word);
                }
            }
        }
    }
}

/// Room for masks of one block.
#[derive(Debug, Default)]
pub(super) struct Room {
    above: Vec<u64>,
    good: Vec<u64>,
}

/// Adds a block whose first pixel is number `first` of the frame.
#[inline(always)]
pub(super) fn add(
    regions: &Regions,
    layout: &Layout,
    (block, first): (usize, usize),
    planes: &Planes<'_>,
    room: &mut Room,
    sums: &mut [RegionSum],
) {
    let used = planes.used(regions.limit);
    let may_saturate = used >= u64::from(regions.limit);
    if may_saturate {
        planes.saturated(used, regions.limit, &mut room.above);
    }
    for (index, (region, sum)) in regions.list.iter().zip(sums).enumerate() {
        let span = layout.span(index, block);
        let from = span.start;
        let mut mask = layout.mask(index, block).get(span).unwrap_or_default();
        if mask.is_empty() {
            continue;
        }
        if may_saturate {
            let above = room.above.get(from..).unwrap_or_default();
            room.good.clear();
            room.good.extend(mask.iter().zip(above).map(|(mask, above)| mask & !above));
            let mut out = 0_u64;
            for (mask, above) in mask.iter().zip(above) {
                out = out.wrapping_add(ones(mask & above));
            }
            sum.kept = sum.kept.saturating_sub(out);
            mask = &room.good;
        }
        let mut left = used;
        while left != 0 {
            let plane = left.trailing_zeros() as usize;
            left &= left - 1;
            let words = planes.words(plane).get(from..).unwrap_or_default();
            if region.moments {
                let [bits, y, x] = moments(regions, layout, (block, first), from, words, mask);
                sum.sum += bits << plane;
                sum.moments[0] += u128::from(y) << plane;
                sum.moments[1] += u128::from(x) << plane;
            } else {
                sum.sum += count(words, mask) << plane;
            }
        }
    }
}

// The loops below are as plain as they are so that the compiler makes vectors of them, with whatever instructions there are; and
// wrapping, since a check in every step is what keeps it from that. A block has less than 2^29 pixels: nothing is so large.

/// Bits that a plane and a mask have in common.
#[inline(always)]
fn count(words: &[[u8; 8]], mask: &[u64]) -> u64 {
    let mut count = 0_u64;
    for (word, mask) in words.iter().zip(mask) {
        count = count.wrapping_add(ones(u64::from_le_bytes(*word) & mask));
    }
    count
}

#[inline(always)]
fn ones(bits: u64) -> u64 {
    u64::from(bits.count_ones())
}

/// Of the bits that a plane and a mask have in common: how many, and the sums of their y and x. Both begin at word `from` of the block.
#[inline(always)]
fn moments(
    regions: &Regions,
    layout: &Layout,
    (block, first): (usize, usize),
    from: usize,
    words: &[[u8; 8]],
    mask: &[u64],
) -> [u64; 3] {
    let rows = layout.rows(block).get(from..).unwrap_or_default();
    let (mut count, mut by_word, mut by_row, mut within) = (0_u64, 0_u64, 0_u64, 0_u64);
    let mut number = from as u32;
    for ((word, mask), row) in words.iter().zip(mask).zip(rows) {
        let bits = u64::from_le_bytes(*word) & mask;
        let here = ones(bits);
        count = count.wrapping_add(here);
        by_word = by_word.wrapping_add(here.wrapping_mul(u64::from(number)));
        by_row = by_row.wrapping_add(here.wrapping_mul(u64::from(*row)));
        number = number.wrapping_add(1);
        for (bit, number) in NUMBERS.iter().enumerate() {
            within = within.wrapping_add(ones(bits & number) << bit);
        }
    }
    let mut further = 0_u64;
    for bit in 0..layout.further.len() {
        let others = layout.further(bit, block).get(from..).unwrap_or_default();
        let mut count = 0_u64;
        for ((word, mask), other) in words.iter().zip(mask).zip(others) {
            count = count.wrapping_add(ones(u64::from_le_bytes(*word) & mask & other));
        }
        further += count << bit;
    }
    let width = regions.shape[1] as u64;
    let y = (first as u64 / width) * count + by_row + further;
    let x = (first as u64 * count + 64 * by_word + within).wrapping_sub(width * y);
    [count, y, x]
}
