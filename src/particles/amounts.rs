//! How much matter lies in each pixel: its mean optical density.
//!
//! A pixel has the sum of its optical densities over that of the mean spectrum of the sample at the same energies, times the mean of
//! that spectrum. Where every pixel has every energy that is the mean optical density; where some are missing, as in sparse scans, it
//! is what the mean would be.

use rayon::prelude::*;
use serde::Serialize;

use crate::classify::{DensityView, PhaseMap, Status};

/// Most pixels of sample that the mean spectrum is taken of.
const MOST_PIXELS: usize = 4096;
/// Energies that are summed together; sums of sums do not depend on who makes them.
const TOGETHER: usize = 16;
/// Pixels around the sample that do not count as empty.
const AWAY: usize = 3;
/// Empty pixels that say what the empty field is like.
const LEAST_EMPTY: usize = 16;
/// From the median of deviations to the standard deviation of a normal distribution.
const SIGMA_OF_MEDIAN: f64 = 1.4826;

/// The empty field.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Empty {
    /// Its mean optical density, of a film or of an I0 that is somewhat off.
    pub od: f64,
    /// Scatter from pixel to pixel.
    pub sigma: f64,
    /// Pixels that say so; 0: it was taken as 0, with the noise of the pixels.
    pub pixels: usize,
}

/// The mean optical density of every pixel, row-major, NaN where there is none.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Amounts {
    /// Mean optical density.
    pub od: Vec<f32>,
    /// Its variance by the noise.
    pub variance: Vec<f32>,
    /// The empty field.
    pub empty: Empty,
}

impl Amounts {
    /// Of a map.
    #[must_use]
    pub fn of(map: &PhaseMap, view: &DensityView<'_>) -> Self {
        let spectrum = mean_spectrum(map, view);
        let known: Vec<f64> = spectrum.iter().flatten().copied().collect();
        let mean = known.iter().sum::<f64>() / known.len().max(1) as f64;
        let n = map.len();
        let energies: Vec<usize> = (0..spectrum.len()).collect();
        let parts: Vec<Vec<[f32; 3]>> = energies
            .par_chunks(TOGETHER)
            .map(|some| {
                let mut sums = vec![[0.0_f32; 3]; n];
                for &energy in some {
                    let Some(height) = spectrum[energy] else { continue };
                    view.visit_plane(energy, |pixel, density| {
                        let [od, variance, whole] = &mut sums[pixel];
                        *od += density.od;
                        *variance += density.variance;
                        *whole += height as f32;
                    });
                }
                sums
            })
            .collect();
        let (mut od, mut variance) = (vec![f32::NAN; n], vec![f32::NAN; n]);
        for pixel in 0..n {
            let sum = |of: usize| parts.iter().map(|part| f64::from(part[pixel][of])).sum::<f64>();
            let factor = mean / sum(2);
            if factor.is_finite() && factor > 0.0 {
                od[pixel] = (sum(0) * factor) as f32;
                variance[pixel] = (sum(1) * factor * factor) as f32;
            }
        }
        Self::with_empty(map, od, variance)
    }

    /// Of densities that are there already: finds the empty field.
    #[must_use]
    pub fn with_empty(map: &PhaseMap, od: Vec<f32>, variance: Vec<f32>) -> Self {
        let [ny, nx] = map.plan.grid.shape;
        let mut near: Vec<bool> = map.status.iter().map(|status| status.is_sample()).collect();
        for _ in 0..AWAY {
            near = wider(&near, ny, nx);
        }
        let is_empty = |&pixel: &usize| map.status[pixel] == Status::Background && !near[pixel];
        let mut values: Vec<f32> =
            (0..map.len()).filter(is_empty).map(|pixel| od[pixel]).filter(|od| od.is_finite()).collect();
        let empty = if values.len() >= LEAST_EMPTY {
            let level = median(&mut values);
            let mut off: Vec<f32> = values.iter().map(|od| (od - level).abs()).collect();
            let sigma = SIGMA_OF_MEDIAN * f64::from(median(&mut off));
            Empty { od: f64::from(level), sigma, pixels: values.len() }
        } else {
            let mut noise: Vec<f32> = variance.iter().copied().filter(|v| v.is_finite()).collect();
            let sigma = if noise.is_empty() { 0.0 } else { f64::from(median(&mut noise)).sqrt() };
            Empty { od: 0.0, sigma, pixels: 0 }
        };
        Self { od, variance, empty }
    }

    /// Mean optical density of a pixel less that of the empty field; NaN where there is none.
    #[must_use]
    pub fn at(&self, pixel: usize) -> f64 {
        f64::from(self.od[pixel]) - self.empty.od
    }
}

/// Mean optical density of the sample at each energy, where any of it was measured.
fn mean_spectrum(map: &PhaseMap, view: &DensityView<'_>) -> Vec<Option<f64>> {
    let sample: Vec<usize> = (0..map.len()).filter(|&pixel| map.status[pixel].is_sample()).collect();
    let step = sample.len().div_ceil(MOST_PIXELS).max(1);
    let some: Vec<usize> = sample.into_iter().step_by(step).collect();
    let first = view.first_entries();
    let of = |energy: usize| {
        let (mut sum, mut count) = (0.0, 0_u32);
        view.visit(energy, &some, |_, od| (sum, count) = (sum + f64::from(od), count + 1));
        // An energy that was measured again would count twice.
        (count > 0 && first[energy] == energy).then(|| sum / f64::from(count))
    };
    (0..view.energies()).into_par_iter().map(of).collect()
}

fn median(values: &mut [f32]) -> f32 {
    let middle = values.len() / 2;
    *values.select_nth_unstable_by(middle, f32::total_cmp).1
}

/// With the pixels beside, corners included.
pub(super) fn wider(mask: &[bool], ny: usize, nx: usize) -> Vec<bool> {
    (0..mask.len()).map(|pixel| mask[pixel] || beside(pixel, ny, nx).any(|other| mask[other])).collect()
}

/// The pixels beside one, corners included, ascending.
pub(crate) fn beside(pixel: usize, ny: usize, nx: usize) -> impl Iterator<Item = usize> {
    let (y, x) = (pixel / nx, pixel % nx);
    let rows = y.saturating_sub(1)..=(y + 1).min(ny - 1);
    let columns = x.saturating_sub(1)..=(x + 1).min(nx - 1);
    rows.flat_map(move |y| columns.clone().map(move |x| y * nx + x)).filter(move |&other| other != pixel)
}
