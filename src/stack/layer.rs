//! Another channel of one energy: its values, and which message each is from.
//!
//! The same rules as for the intensity, each channel by itself: the higher `seq` wins, and NaN replaces nothing.

use super::stamps::Stamps;
use crate::scan::Pixels;

#[derive(Clone, Debug)]
pub(super) struct Layer {
    values: Vec<f32>,
    stamps: Stamps,
}

impl Layer {
    pub(super) fn new(pixels: usize) -> Self {
        Self { values: vec![f32::NAN; pixels], stamps: Stamps::new(pixels) }
    }

    pub(super) fn values(&self) -> &[f32] {
        &self.values
    }

    pub(super) fn bytes(&self) -> usize {
        4 * self.values.len() + self.stamps.bytes()
    }

    /// Takes in the values of a message for pixels of the grid; a list of another length has no values for the last ones.
    pub(super) fn store(&mut self, stamp: u32, pixels: &Pixels, values: &[f32]) {
        if let Pixels::Run { first, .. } = pixels {
            let run = *first as usize..*first as usize + values.len().min(pixels.len());
            if self.values[run.clone()].iter().all(|value| value.is_nan()) {
                self.values[run.clone()].copy_from_slice(&values[..run.len()]);
                self.stamps.set(run, stamp);
                return;
            }
        }
        // Stamps are set for as many pixels at once as lie side by side, before the stamp of any other is asked.
        let mut written = 0..0;
        for (pixel, value) in pixels.iter().zip(values) {
            if pixel != written.end {
                self.stamps.set(std::mem::replace(&mut written, pixel..pixel), stamp);
            }
            let known = !self.values[pixel].is_nan();
            if value.is_nan() || (known && stamp < self.stamps.get(pixel)) {
                self.stamps.set(std::mem::replace(&mut written, pixel + 1..pixel + 1), stamp);
            } else {
                self.values[pixel] = *value;
                written.end += 1;
            }
        }
        self.stamps.set(written, stamp);
    }
}
