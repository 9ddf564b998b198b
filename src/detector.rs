//! Area frames to channels: intensity, dark field, and the centre of mass of the light, one number each per frame.
//!
//! An intensity is the sum over the bright field, which is all of the frame unless it is set; a dark field that over another region; a
//! centre of mass is that of the light in the bright field, in detector pixels. A saturated pixel, one that is NaN, and one that says
//! there is no value (the highest of its type, and for 32 bits the one below, too) is left out, and counts as dark instead. So does
//! all that lies outside the bright field: the dark level of every intensity is the plan's dark times the pixels of a frame. That of a
//! dark field is the plan's dark times the pixels of its region; from a centre of mass it is taken off.
//! A frame of which nothing is left is not measured (NaN).
//!
//! Frames come as they are, or packed ([`crate::scan::Encoding`]); most of these are summed without being unpacked
//! ([`compressed`]). One that cannot be read is not measured, counted by its cause, and told ([`Drops`]); the others of its message
//! count. Where all have another size than the plan says the message is refused, and so is one of floats that holds an infinity.
//!
//! Pixels that are configured as bad are left out alike, those that the detector itself names (`left_out` of the plan), and those that were
//! found dead or hot in several messages of the scan ([`Tally`]): from then on always, so that sums do not jump from line to line. The
//! first few messages have them still; what is known beforehand belongs into the mask.

mod area;
mod bad_pixels;
pub mod compressed;
mod drops;
mod floats;
mod stage;
#[cfg(test)]
mod tests;

pub use area::{FrameArea, FrameSettings};
pub use bad_pixels::Tally;
pub use drops::Drops;
pub use stage::{FrameStage, Reduction};

use crate::scan::{SampleBatch, ScanPlan};

/// Why frames cannot be summed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DetectorError {
    /// Values came one per pixel, but the plan has an area detector, or the other way round.
    #[error("{found} values for {pixels} pixels where the plan's detector gives {wanted}")]
    Shape {
        /// Values in the payload.
        found: usize,
        /// Pixels of the batch.
        pixels: usize,
        /// Values that belong there.
        wanted: usize,
    },
    /// An infinity in a frame.
    #[error("a frame holds an infinity; NaN says not measured")]
    Infinite,
    /// Frames too large for exact sums.
    #[error("frames of {0:?} pixels are too large to be summed")]
    Regions([usize; 2]),
}

/// Whether a batch of single values is what the plan's detector gives.
///
/// # Errors
/// Where the plan's frames have more than one pixel.
pub fn check_samples(plan: &ScanPlan, batch: &SampleBatch) -> Result<(), DetectorError> {
    let (found, per_pixel) = (batch.values.len(), plan.summed_pixels());
    if per_pixel == 1 {
        return Ok(());
    }
    Err(DetectorError::Shape { found, pixels: found, wanted: found.saturating_mul(per_pixel) })
}
