//! Frames of floats to sums.

use super::DetectorError;
use super::compressed::Region;
use super::stage::Sum;
use crate::scan::DType;

/// Sums a raw frame over regions. What is at or above `limit`, and NaN, is left out.
///
/// # Errors
/// Where the frame holds an infinity.
pub(super) fn sum(
    dtype: DType,
    frame: &[u8],
    [_, width]: [usize; 2],
    limit: f64,
    regions: &[Region],
    sums: &mut [Sum],
) -> Result<(), DetectorError> {
    sums.fill(Sum::default());
    let mut add = |pixel: usize, value: f64| {
        if value.is_infinite() {
            return Err(DetectorError::Infinite);
        }
        // NaN compares false, and is left out with the saturated.
        if value < limit {
            for (sum, region) in sums.iter_mut().zip(regions).filter(|(_, region)| region.mask.has(pixel)) {
                sum.sum += value;
                sum.kept += 1;
                if region.moments {
                    sum.moments[0] += (pixel / width) as f64 * value;
                    sum.moments[1] += (pixel % width) as f64 * value;
                }
            }
        }
        Ok(())
    };
    if dtype == DType::Float32 {
        let values = frame.as_chunks().0.iter().map(|b| f64::from(f32::from_le_bytes(*b)));
        values.enumerate().try_for_each(|(pixel, value)| add(pixel, value))
    } else {
        let values = frame.as_chunks().0.iter().map(|b| f64::from_le_bytes(*b));
        values.enumerate().try_for_each(|(pixel, value)| add(pixel, value))
    }
}
