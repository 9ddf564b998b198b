//! The registered stack: counts as they would have been had the sample lain still.
//!
//! Each plane is interpolated at its displacement, by the cubic along both axes; a whole displacement moves values and
//! changes none. Where one of the sixteen values it needs is missing, saturated or flawed, the four around it serve; where
//! one of these is missing, too, nothing was measured. Noise that is interpolated shrinks and is shared by neighbours:
//! the plane carries the factor on its variance.

use std::sync::Arc;

use rayon::prelude::*;

use super::drift::Drift;
use super::kernel::Taps;
use crate::stack::{Plane, PlaneI0, Stack};

/// A displacement this near to a whole number of pixels is taken for one: no value is interpolated for so little.
const WHOLE: f64 = 0.04;

/// The registered stack of `raw`; `None` where the drift is not taken out.
///
/// `usable(energy, pixel)`: whether a value is sound. A plane that lies where the first one does is shared, not copied.
#[must_use]
pub fn register(raw: &Stack, drift: &Drift, usable: &(dyn Fn(usize, usize) -> bool + Sync)) -> Option<Stack> {
    if !drift.is_applied() {
        return None;
    }
    let planes = (0..raw.planes().len())
        .into_par_iter()
        .map(|energy| registered(raw, energy, drift.applied(energy), &|pixel| usable(energy, pixel)))
        .collect();
    Some(raw.with_planes(planes))
}

/// One plane of the registered stack.
pub(super) fn registered(
    raw: &Stack,
    energy: usize,
    shift: [f64; 2],
    usable: &dyn Fn(usize) -> bool,
) -> Arc<Plane> {
    let plane = &raw.planes()[energy];
    let taps = shift.map(|shift| {
        let near = shift.round();
        let shift = if (shift - near).abs() < WHOLE { near } else { shift };
        if std::env::var("PW_LINEAR").is_ok() { Taps::linear(shift) } else { Taps::cubic(shift) }
    });
    let still = taps.iter().all(|taps| taps.whole == 0 && taps.weights[1] == 1.0);
    if still || plane.measured() == 0 {
        return Arc::clone(plane);
    }
    let plan = raw.plan();
    let saturation = plan.detector.saturation.filter(|_| plan.summed_pixels() == 1).map(|s| s as f32);
    let good = |pixel: usize| {
        let value = plane.value(pixel);
        !value.is_nan() && saturation.is_none_or(|limit| value < limit) && usable(pixel)
    };
    let source: Vec<f32> =
        (0..plan.grid.pixels()).map(|p| if good(p) { plane.value(p) } else { f32::NAN }).collect();
    let grid = plan.grid.shape;
    let values = interpolated(&source, grid, &taps);
    let i0 = match plane.i0() {
        PlaneI0::Each(each) => {
            let known: Vec<f32> =
                each.iter().zip(&source).map(|(i0, v)| if v.is_nan() { f32::NAN } else { *i0 }).collect();
            Some(interpolated(&known, grid, &taps))
        }
        PlaneI0::None | PlaneI0::One(_) => None,
    };
    Arc::new(plane.resampled(values, i0, taps[0].variance() * taps[1].variance()))
}

/// `image` at a constant displacement, NaN where it is not known.
fn interpolated(image: &[f32], [ny, nx]: [usize; 2], taps: &[Taps; 2]) -> Vec<f32> {
    let [down, along] = taps;
    let mut out = vec![f32::NAN; ny * nx];
    let (wide_y, wide_x) = (down.reach(), along.reach());
    let near = |taps: &Taps| if taps.weights[2] == 0.0 { (0, 0) } else { (0, 1) };
    let (near_y, near_x) = (near(down), near(along));
    let (linear_y, linear_x) = (Taps::linear(down.fraction), Taps::linear(along.fraction));
    for y in 0..ny {
        for x in 0..nx {
            let at = (y as isize + down.whole, x as isize + along.whole);
            let sum = |taps_y: &Taps, taps_x: &Taps, (y0, y1): (isize, isize), (x0, x1): (isize, isize)| {
                if at.0 + y0 < 0 || at.0 + y1 >= ny as isize || at.1 + x0 < 0 || at.1 + x1 >= nx as isize {
                    return f64::NAN;
                }
                let mut total = 0.0;
                for i in y0..=y1 {
                    let from = (at.0 + i) as usize * nx + (at.1 + x0) as usize;
                    let line =
                        image[from..].iter().zip(&taps_x.weights[(x0 + 1) as usize..=(x1 + 1) as usize]);
                    let row: f64 = line.map(|(value, weight)| f64::from(*value) * weight).sum();
                    total += taps_y.weights[(i + 1) as usize] * row;
                }
                total
            };
            let mut value = sum(down, along, wide_y, wide_x);
            if value.is_nan() {
                value = sum(&linear_y, &linear_x, near_y, near_x);
            }
            out[y * nx + x] = value as f32;
        }
    }
    out
}
