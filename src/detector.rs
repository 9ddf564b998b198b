//! Area frames to intensities: one number per frame.
//!
//! An intensity is the sum over the frame's pixels. A saturated pixel, and one that is NaN, is left out, and
//! counts as dark instead, so that the dark level of every sum is the plan's dark times the pixels of a frame.
//! A frame of which nothing is left is not measured (NaN). Infinities refuse the batch.
//!
//! Pixels that are configured as bad are left out alike, and those that were found dead or hot in several messages of the
//! scan ([`Tally`]): from then on always, so that sums do not jump from line to line. The first few messages have them
//! still; what is known beforehand belongs into the mask.

mod bad_pixels;
pub mod compressed;

use serde::{Deserialize, Serialize};

pub use bad_pixels::Tally;

use crate::scan::{BadPixels, DType, Encoding, FrameBatch, SampleBatch, ScanPlan};

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
}

/// What is done about single pixels of a frame.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FrameSettings {
    /// Pixels that are always left out, `[y, x]`; those outside a frame are nobody's.
    pub mask: Vec<[usize; 2]>,
    /// Whether dead and hot pixels are looked for.
    pub find_bad_pixels: bool,
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

/// Sums each frame of a batch, without the pixels that `tally` names, and tells which it finds bad where it is time to look; on
/// the calling thread: summing is faster than any network brings frames, and a pool shared with the maps would make receiving
/// wait for them.
///
/// # Errors
/// Where the size does not fit the plan, or a frame holds an infinity.
pub fn reduce(
    plan: &ScanPlan,
    settings: &FrameSettings,
    tally: &Tally,
    frames: FrameBatch,
) -> Result<(SampleBatch, BadPixels), DetectorError> {
    let FrameBatch { mut batch, dtype, encoding, frames } = frames;
    let (pixels, per_frame) = (batch.pixels.len(), plan.summed_pixels());
    let found: usize = frames.iter().map(|frame| frame.len() / dtype.size()).sum();
    let wanted = pixels.saturating_mul(per_frame);
    if encoding != Encoding::Raw || frames.iter().any(|frame| frame.len() != per_frame * dtype.size()) {
        return Err(DetectorError::Shape { found, pixels, wanted });
    }
    let limits = Limits { dark: plan.detector.dark, saturation: plan.detector.saturation };
    let [_, width] = plan.detector.frame_shape.unwrap_or([1, 1]);
    let bad = if settings.find_bad_pixels && tally.is_due() {
        bad_pixels::find(dtype, &frames, [per_frame / width, width], limits.dark)
    } else {
        BadPixels::default()
    };
    let left_out = left_out(settings, tally, [per_frame / width, width]);
    let sum = |frame: &[u8]| limits.sum(dtype, frame, &left_out);
    batch.values = frames.iter().map(|frame| sum(frame)).collect();
    if batch.values.iter().any(|value| value.is_infinite()) {
        return Err(DetectorError::Infinite);
    }
    Ok((batch, bad))
}

/// The pixels that are left out, ascending, each once.
fn left_out(settings: &FrameSettings, tally: &Tally, [height, width]: [usize; 2]) -> Vec<usize> {
    let masked = settings.mask.iter().filter(|[y, x]| *y < height && *x < width).map(|[y, x]| y * width + x);
    let mut list: Vec<usize> = masked.chain(tally.named()).collect();
    list.sort_unstable();
    list.dedup();
    list
}

struct Limits {
    dark: f64,
    saturation: Option<f64>,
}

impl Limits {
    fn sum(&self, dtype: DType, frame: &[u8], left_out: &[usize]) -> f32 {
        let total = match dtype {
            DType::Uint8 => self.integers(frame, |&b| u32::from(b)),
            DType::Uint16 => self.integers(frame.as_chunks().0, |b| u32::from(u16::from_le_bytes(*b))),
            DType::Uint32 => self.integers(frame.as_chunks().0, |b| u32::from_le_bytes(*b)),
            DType::Float32 => {
                self.floats(frame.as_chunks().0.iter().map(|b| f64::from(f32::from_le_bytes(*b))))
            }
            DType::Float64 => self.floats(frame.as_chunks().0.iter().map(|b| f64::from_le_bytes(*b))),
        };
        if total.sum.is_infinite() {
            return f32::INFINITY;
        }
        // What is left out was summed with the rest, unless it was saturated or no number.
        let limit = self.saturation.unwrap_or(f64::INFINITY);
        let taken = left_out.iter().map(|&pixel| bad_pixels::value(dtype, frame, pixel));
        let (out, count) = taken
            .filter(|value| *value < limit)
            .fold((0.0, 0), |(out, count), value| (out + value, count + 1));
        let kept = total.kept - count;
        let pixels = (frame.len() / dtype.size()) as u64;
        if kept == 0 { f32::NAN } else { (total.sum - out + self.dark * (pixels - kept) as f64) as f32 }
    }

    fn integers<T>(&self, values: &[T], read: impl Fn(&T) -> u32) -> Total {
        /// Values of 16 bits whose sum fits 32: those of a run, in halves.
        const RUN: usize = 1 << 16;
        // The smallest integer that is saturated; above u32 nothing is.
        let limit = self.saturation.map_or(u64::MAX, |level| level.ceil() as u64);
        let everything = limit > u64::from(u32::MAX);
        let limit = limit as u32;
        let (mut sum, mut kept) = (0_u64, 0_u64);
        for run in values.chunks(RUN) {
            // Wrapping, since a check in every step is what keeps a loop from being vectorised; no sum is so large.
            let (mut low, mut high, mut good) = (0_u32, 0_u32, 0_u32);
            for value in run {
                let value = read(value);
                let keep = u32::from(everything | (value < limit));
                let value = value & 0_u32.wrapping_sub(keep);
                low = low.wrapping_add(value & 0xffff);
                high = high.wrapping_add(value >> 16);
                good = good.wrapping_add(keep);
            }
            sum += u64::from(low) + (u64::from(high) << 16);
            kept += u64::from(good);
        }
        Total { sum: sum as f64, kept }
    }

    fn floats(&self, values: impl Iterator<Item = f64>) -> Total {
        let limit = self.saturation.unwrap_or(f64::INFINITY);
        let mut total = Total { sum: 0.0, kept: 0 };
        for value in values {
            if value.is_infinite() {
                return Total { sum: f64::INFINITY, kept: 1 };
            }
            // NaN compares false, and is left out with the saturated.
            if value < limit {
                total.sum += value;
                total.kept += 1;
            }
        }
        total
    }
}

/// Sum of the pixels of a frame that are not saturated, and how many these are.
#[derive(Clone, Copy, Debug)]
struct Total {
    sum: f64,
    kept: u64,
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::scan::{Channel, DetectorKind, I0, Pixels};
    use crate::stack::test_plan;

    fn area(saturation: Option<f64>) -> ScanPlan {
        let mut plan = test_plan(1, 2, 1);
        plan.detector.kind = DetectorKind::Area;
        plan.detector.frame_shape = Some([1, 3]);
        plan.detector.dark = 2.0;
        plan.detector.saturation = saturation;
        plan
    }

    fn frames(dtype: DType, bytes: Vec<u8>) -> FrameBatch {
        let batch = SampleBatch {
            energy_index: 0,
            pixels: Pixels::Run { first: 0, count: 2 },
            channel: Channel::Intensity,
            values: Vec::new(),
            i0: I0::None,
            ring_current_ma: None,
            energy_ev: None,
            time: None,
        };
        FrameBatch::raw(batch, dtype, &Bytes::from(bytes))
    }

    fn sums(plan: &ScanPlan, frames: FrameBatch) -> Vec<f32> {
        reduce(plan, &FrameSettings::default(), &Tally::default(), frames).unwrap().0.values
    }

    #[test]
    fn a_masked_pixel_counts_as_dark_too() {
        let settings = FrameSettings { mask: vec![[0, 1], [7, 7]], ..FrameSettings::default() };
        let bytes: Vec<u8> = [5_u16, 6, 100, 7, 8, 9].iter().flat_map(|v| v.to_le_bytes()).collect();
        let (batch, _) =
            reduce(&area(Some(100.0)), &settings, &Tally::default(), frames(DType::Uint16, bytes)).unwrap();
        assert_eq!(batch.values, [9.0, 18.0]);
    }

    #[test]
    fn a_saturated_pixel_counts_as_dark() {
        let bytes: Vec<u8> = [5_u16, 6, 100, 7, 8, 9].iter().flat_map(|v| v.to_le_bytes()).collect();
        let found = sums(&area(Some(100.0)), frames(DType::Uint16, bytes.clone()));
        assert_eq!(found, [13.0, 24.0]);
        assert_eq!(sums(&area(None), frames(DType::Uint16, bytes)), [111.0, 24.0]);
    }

    #[test]
    fn a_frame_without_a_good_pixel_is_not_measured() {
        let bytes = vec![9, 9, 9, 1, 1, 1];
        let sums = sums(&area(Some(9.0)), frames(DType::Uint8, bytes));
        assert!(sums[0].is_nan() && sums[1] == 3.0);
    }

    #[test]
    fn floats_leave_nan_out_and_refuse_infinities() {
        let bytes = |values: [f32; 6]| values.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<_>>();
        let good = frames(DType::Float32, bytes([1.0, f32::NAN, 3.0, 4.0, 5.0, 6.0]));
        assert_eq!(sums(&area(None), good), [6.0, 15.0]);
        let bad = frames(DType::Float32, bytes([1.0, f32::INFINITY, 3.0, 4.0, 5.0, 6.0]));
        assert_eq!(
            reduce(&area(None), &FrameSettings::default(), &Tally::default(), bad).unwrap_err(),
            DetectorError::Infinite
        );
    }

    #[test]
    fn another_size_is_refused() {
        let error = reduce(
            &area(None),
            &FrameSettings::default(),
            &Tally::default(),
            frames(DType::Uint8, vec![1; 8]),
        )
        .unwrap_err();
        assert_eq!(error, DetectorError::Shape { found: 8, pixels: 2, wanted: 6 });
    }
}
