//! Which instructions sum frames: chosen when the program runs.
//!
//! The same code is compiled for each set of instructions; only how a short match is repeated is written for them.

use super::FrameError;
use super::reducer::{self, Scratch};
use super::regions::{RegionSum, Regions};
use super::walk::MATCH;

/// A set of instructions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kernel {
    /// AVX-512 with counts of bits in vectors.
    Avx512,
    /// AVX2.
    Avx2,
    /// What every processor of the kind has.
    Portable,
}

impl Kernel {
    /// Those that this processor has, fastest first.
    #[must_use]
    pub fn available() -> Vec<Self> {
        [Self::Avx512, Self::Avx2, Self::Portable].into_iter().filter(|kernel| kernel.is_here()).collect()
    }

    /// The fastest that this processor has.
    #[must_use]
    pub fn best() -> Self {
        Self::available().first().copied().unwrap_or(Self::Portable)
    }

    #[cfg(target_arch = "x86_64")]
    fn is_here(self) -> bool {
        let avx2 = is_x86_feature_detected!("avx2")
            && is_x86_feature_detected!("bmi1")
            && is_x86_feature_detected!("bmi2")
            && is_x86_feature_detected!("popcnt");
        match self {
            Self::Portable => true,
            Self::Avx2 => avx2,
            Self::Avx512 => {
                avx2 && is_x86_feature_detected!("avx512f")
                    && is_x86_feature_detected!("avx512bw")
                    && is_x86_feature_detected!("avx512dq")
                    && is_x86_feature_detected!("avx512vl")
                    && is_x86_feature_detected!("avx512vpopcntdq")
            }
        }
    }

    #[cfg(not(target_arch = "x86_64"))]
    fn is_here(self) -> bool {
        self == Self::Portable
    }

    /// Sums a bit-shuffled frame; falls back to what every processor has.
    pub(super) fn sum(
        self,
        regions: &Regions,
        scratch: &mut Scratch,
        bytes: &[u8],
        sums: &mut [RegionSum],
    ) -> Result<(), FrameError> {
        #[cfg(target_arch = "x86_64")]
        match self {
            Self::Avx512 if self.is_here() => {
                // SAFETY: the one demand of the function is that the processor has its instructions, which was asked
                // just now (the standard library keeps the answer: asking takes a few loads).
                return unsafe { x86::sum_avx512(regions, scratch, bytes, sums) };
            }
            Self::Avx2 if self.is_here() => {
                // SAFETY: as above.
                return unsafe { x86::sum_avx2(regions, scratch, bytes, sums) };
            }
            _ => {}
        }
        reducer::sum_shuffled(regions, scratch, bytes, sums, OneByOne)
    }
}

/// Repeats a match: writes `MATCH` bytes at `to`, each like the one `offset` before it. `offset` is at least 1 and at most `to`; `None`
/// where there is no room.
pub(super) trait Spread: Copy {
    fn spread(self, out: &mut [u8], to: usize, offset: usize) -> Option<()>;
}

/// Without instructions of its own.
#[derive(Clone, Copy)]
pub(super) struct OneByOne;

impl Spread for OneByOne {
    #[inline(always)]
    fn spread(self, out: &mut [u8], to: usize, offset: usize) -> Option<()> {
        let from = to.checked_sub(offset)?;
        if offset >= MATCH {
            let bytes: [u8; MATCH] = *out.get(from..)?.first_chunk()?;
            *out.get_mut(to..)?.first_chunk_mut()? = bytes;
            return Some(());
        }
        let both = out.get_mut(from..to + MATCH)?;
        for index in offset..both.len() {
            both[index] = both[index - offset];
        }
        Some(())
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::{__m128i, _mm_shuffle_epi8};
    use std::mem::transmute;

    use super::{FrameError, MATCH, RegionSum, Regions, Scratch, Spread, reducer};

    #[target_feature(enable = "avx2,bmi1,bmi2,popcnt,avx512f,avx512bw,avx512dq,avx512vl,avx512vpopcntdq")]
    pub(super) fn sum_avx512(
        regions: &Regions,
        scratch: &mut Scratch,
        bytes: &[u8],
        sums: &mut [RegionSum],
    ) -> Result<(), FrameError> {
        // SAFETY: this function may only run where there is AVX2, which includes SSSE3.
        reducer::sum_shuffled(regions, scratch, bytes, sums, unsafe { Shuffle::new() })
    }

    #[target_feature(enable = "avx2,bmi1,bmi2,popcnt")]
    pub(super) fn sum_avx2(
        regions: &Regions,
        scratch: &mut Scratch,
        bytes: &[u8],
        sums: &mut [RegionSum],
    ) -> Result<(), FrameError> {
        // SAFETY: as above.
        reducer::sum_shuffled(regions, scratch, bytes, sums, unsafe { Shuffle::new() })
    }

    /// By a shuffle of bytes, which takes as long for every offset.
    #[derive(Clone, Copy)]
    pub(super) struct Shuffle(());

    /// By offset, where each byte comes from among the sixteen that begin that far back; at the last one and beyond, they are as they are.
    static PERIODS: [[u8; MATCH]; MATCH + 1] = periods();

    const fn periods() -> [[u8; MATCH]; MATCH + 1] {
        let mut table = [[0; MATCH]; MATCH + 1];
        let mut offset = 1;
        while offset <= MATCH {
            let mut index = 0;
            while index < MATCH {
                table[offset][index] = (index % offset) as u8;
                index += 1;
            }
            offset += 1;
        }
        table
    }

    impl Shuffle {
        /// # Safety
        /// The processor has SSSE3.
        unsafe fn new() -> Self {
            Self(())
        }
    }

    impl Spread for Shuffle {
        #[inline(always)]
        fn spread(self, out: &mut [u8], to: usize, offset: usize) -> Option<()> {
            let from: &[u8; MATCH] = out.get(to.checked_sub(offset)?..)?.first_chunk()?;
            let order = &PERIODS[offset.min(MATCH)];
            // SAFETY: the types have sixteen bytes each, of which all values are good ones; that the shuffle may run is what
            // `new` was promised. (Loads and stores through pointers are checked in the dev profile, as much work as is done.)
            let bytes = unsafe {
                let bytes = _mm_shuffle_epi8(vector(*from), vector(*order));
                transmute::<__m128i, [u8; MATCH]>(bytes)
            };
            *out.get_mut(to..)?.first_chunk_mut()? = bytes;
            Some(())
        }
    }

    #[inline(always)]
    fn vector(bytes: [u8; MATCH]) -> __m128i {
        // SAFETY: the types have sixteen bytes each, of which all values are good ones.
        unsafe { transmute::<[u8; MATCH], __m128i>(bytes) }
    }
}
