//! What is summed: regions of the frame, as bits, and what is left out of all of them.

use super::{Element, FrameError};

/// Pixels of a frame, one bit each, row-major.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PixelMask {
    shape: [usize; 2],
    words: Vec<u64>,
}

impl PixelMask {
    /// The pixels `[y, x]` of a frame of the given height and width that `is_in` names.
    #[must_use]
    pub fn from_fn(shape: [usize; 2], mut is_in: impl FnMut([usize; 2]) -> bool) -> Self {
        let [height, width] = shape;
        let mut mask = Self { shape, words: vec![0; (height * width).div_ceil(64)] };
        for pixel in (0..height * width).filter(|pixel| is_in([pixel / width, pixel % width])) {
            mask.words[pixel / 64] |= 1 << (pixel % 64);
        }
        mask
    }

    /// All of them.
    #[must_use]
    pub fn everything(shape: [usize; 2]) -> Self {
        Self::from_fn(shape, |_| true)
    }

    /// Those at least `inner` and less than `outer` pixels from `centre` (`[y, x]`): a disc, where `inner` is 0.
    #[must_use]
    pub fn annulus(shape: [usize; 2], centre: [f64; 2], inner: f64, outer: f64) -> Self {
        Self::from_fn(shape, |[y, x]| {
            (inner..outer).contains(&(y as f64 - centre[0]).hypot(x as f64 - centre[1]))
        })
    }

    /// Whether a pixel is in it.
    #[must_use]
    pub fn has(&self, pixel: usize) -> bool {
        self.words.get(pixel / 64).is_some_and(|word| word >> (pixel % 64) & 1 == 1)
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.words.iter().map(|word| u64::from(word.count_ones())).sum()
    }

    /// Takes a pixel out.
    pub fn remove(&mut self, pixel: usize) {
        if let Some(word) = self.words.get_mut(pixel / 64) {
            *word &= !(1 << (pixel % 64));
        }
    }

    /// The 64 pixels from `first` on, the first in the lowest bit; none behind the end.
    pub(super) fn bits(&self, first: usize) -> u64 {
        let word = |index: usize| self.words.get(index).copied().unwrap_or(0);
        match first % 64 {
            0 => word(first / 64),
            shift => word(first / 64) >> shift | word(first / 64 + 1) << (64 - shift),
        }
    }
}

/// One region and what is wanted of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Region {
    /// Its pixels.
    pub mask: PixelMask,
    /// Whether first moments are wanted, too (differential phase contrast).
    pub moments: bool,
}

/// Why regions cannot be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RegionsError {
    /// A frame without pixels, or with more than 2^28.
    #[error("a frame of {0} by {1} pixels cannot be summed")]
    Shape(usize, usize),
    /// A mask of another shape.
    #[error("a mask of {found:?} pixels does not fit a frame of {wanted:?}")]
    Mask {
        /// Shape of the mask.
        found: [usize; 2],
        /// Shape of the frame.
        wanted: [usize; 2],
    },
}

/// The regions of a detector's frames.
#[derive(Clone, Debug)]
pub struct Regions {
    pub(super) shape: [usize; 2],
    pub(super) element: Element,
    /// The smallest value that is left out.
    pub(super) limit: u32,
    pub(super) list: Vec<Region>,
    /// Pixels of each.
    pixels: Vec<u64>,
}

impl Regions {
    /// Regions of frames of the given height and width. Values at or above `saturation` are left out, and pixels `left_out`, by
    /// row-major index.
    ///
    /// # Errors
    /// Where the shape has no pixels or too many, or a mask another shape.
    pub fn new(
        shape: [usize; 2],
        element: Element,
        saturation: Option<f64>,
        mut list: Vec<Region>,
        left_out: &[usize],
    ) -> Result<Self, RegionsError> {
        let pixels = shape[0].checked_mul(shape[1]).unwrap_or(0);
        if pixels == 0 || pixels > 1 << 28 {
            return Err(RegionsError::Shape(shape[0], shape[1]));
        }
        if let Some(region) = list.iter().find(|region| region.mask.shape != shape) {
            return Err(RegionsError::Mask { found: region.mask.shape, wanted: shape });
        }
        for region in &mut list {
            left_out.iter().for_each(|pixel| region.mask.remove(*pixel));
        }
        // The smallest integer that is saturated; the conversion takes what is beyond 32 bits as their largest.
        let limit = saturation.map_or(u32::MAX, |level| level.ceil() as u32);
        let pixels = list.iter().map(|region| region.mask.count()).collect();
        Ok(Self { shape, element, limit: limit.min(element.no_data()), list, pixels })
    }

    /// How many regions there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.list.len()
    }

    /// Bytes of a frame.
    #[must_use]
    pub fn frame_bytes(&self) -> usize {
        self.shape[0] * self.shape[1] * self.element.size()
    }

    /// Sums before the first pixel: everything is kept.
    pub(super) fn begin(&self, sums: &mut [RegionSum]) {
        for (sum, pixels) in sums.iter_mut().zip(&self.pixels) {
            *sum = RegionSum { kept: *pixels, ..RegionSum::default() };
        }
    }

    /// Adds one pixel.
    pub(super) fn add(&self, sums: &mut [RegionSum], pixel: usize, value: u32) {
        for (sum, region) in sums.iter_mut().zip(&self.list).filter(|(_, region)| region.mask.has(pixel)) {
            if value >= self.limit {
                sum.kept = sum.kept.saturating_sub(1);
                continue;
            }
            sum.sum += u64::from(value);
            if region.moments {
                let [y, x] = [pixel / self.shape[1], pixel % self.shape[1]];
                sum.moments[0] += y as u128 * u128::from(value);
                sum.moments[1] += x as u128 * u128::from(value);
            }
        }
    }

    /// Adds pixels one by one, from `first` on.
    pub(super) fn add_values(&self, sums: &mut [RegionSum], first: usize, bytes: &[u8]) {
        for index in 0..bytes.len() / self.element.size() {
            self.add(sums, first + index, self.element.read(bytes, index));
        }
    }

    /// Whether raw values are as many as a frame has.
    pub(super) fn check_raw(&self, bytes: &[u8]) -> Result<(), FrameError> {
        let wanted = self.frame_bytes();
        if bytes.len() == wanted {
            Ok(())
        } else {
            Err(FrameError::Size { found: bytes.len() as u64, wanted })
        }
    }
}

/// What one frame has in one region. All of it is exact.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RegionSum {
    /// Sum of the values that are not left out.
    pub sum: u64,
    /// Pixels that are not left out.
    pub kept: u64,
    /// Sums of value times y, and value times x, in pixels from 0; zero where they are not wanted.
    pub moments: [u128; 2],
}

impl RegionSum {
    /// The centre of mass, `[y, x]` in pixels; `None` where nothing was counted, or moments were not wanted and sum to nothing.
    #[must_use]
    pub fn centre(&self) -> Option<[f64; 2]> {
        (self.sum > 0).then(|| self.moments.map(|moment| moment as f64 / self.sum as f64))
    }

    /// The sum as an intensity: what is left out of `pixels` counts as dark; NaN where nothing is left.
    #[must_use]
    pub fn intensity(&self, pixels: u64, dark: f64) -> f32 {
        if self.kept == 0 {
            return f32::NAN;
        }
        (self.sum as f64 + dark * pixels.saturating_sub(self.kept) as f64) as f32
    }
}
