//! An image made ready for registration: the logarithm of its values, band-passed.
//!
//! A logarithm makes absorption additive, so that an image is a sum of a few pictures whose amounts change with the
//! energy. A band-pass (a Gaussian of 1 pixel less one of 3) leaves of every edge a profile that is odd about the edge:
//! however the contrast across it changes, its place does not. With the plain logarithm a phase that turns dark would
//! look like a shift. Large images are binned first, so that their longer side stays near [`SIDE`].
//!
//! Missing values, and those that have no logarithm, count nothing (normalised convolution); what has too few good
//! values near it has weight 0, and so does the rim, where the frame would be seen instead of the sample.

use crate::scan::{ScanPlan, Signal};
use crate::stack::Plane;

/// Longer side of a binned image is at most this, pixels.
const SIDE: usize = 160;
/// Widths of the two Gaussians, binned pixels.
const NARROW: f64 = 1.0;
const WIDE: f64 = 3.0;
/// Rim whose weight is 0, binned pixels.
const RIM: usize = 3;
/// Share of good values, as the narrow Gaussian weighs them, below which a pixel has none of its own.
const ENOUGH: f32 = 0.7;
/// The same, below which its value is 0: between the two a value serves to interpolate its neighbours.
const SEEN: f32 = 0.1;

/// Number of independent values that the narrow Gaussian makes one of: `4 pi` for a width of 1.
pub(super) const CORRELATED: f64 = 4.0 * std::f64::consts::PI * NARROW * NARROW;

/// The grid of prepared images.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Frame {
    pub(super) ny: usize,
    pub(super) nx: usize,
    /// Pixels of the scan along each side of a binned one.
    pub(super) bin: usize,
}

impl Frame {
    pub(super) fn of(plan: &ScanPlan) -> Self {
        let [ny, nx] = plan.grid.shape;
        let bin = ny.max(nx).div_ceil(SIDE).max(1);
        Self { ny: ny / bin, nx: nx / bin, bin }
    }

    pub(super) fn pixels(self) -> usize {
        self.ny * self.nx
    }
}

/// A prepared image.
#[derive(Clone, Debug)]
pub(super) struct Prepared {
    /// Band-passed logarithm.
    pub(super) values: Vec<f32>,
    /// 1 where the value is good, else 0.
    pub(super) weights: Vec<f32>,
    /// Share of the pixels that are good.
    pub(super) good: f64,
}

impl Prepared {
    /// Makes the plane at `energy` ready. `usable`: whether a pixel's value is sound.
    pub(super) fn new(plan: &ScanPlan, frame: Frame, plane: &Plane, usable: &dyn Fn(usize) -> bool) -> Self {
        let (mut values, mut weights) = logarithms(plan, frame, plane, usable);
        let middle = weighted_mean(&values, &weights);
        values.iter_mut().zip(&weights).for_each(|(v, w)| *v = (*v - middle) * w);
        let (narrow, share) = blurred(&values, &weights, frame, NARROW);
        let (wide, _) = blurred(&values, &weights, frame, WIDE);
        for (index, weight) in weights.iter_mut().enumerate() {
            let (y, x) = (index / frame.nx, index % frame.nx);
            let inside = (RIM..frame.ny.saturating_sub(RIM)).contains(&y)
                && (RIM..frame.nx.saturating_sub(RIM)).contains(&x);
            *weight = if inside && share[index] >= ENOUGH { 1.0 } else { 0.0 };
            values[index] = if share[index] > SEEN { narrow[index] - wide[index] } else { 0.0 };
        }
        let good = weights.iter().filter(|w| **w > 0.0).count() as f64 / frame.pixels().max(1) as f64;
        Self { values, weights, good }
    }
}

/// The binned logarithm of the values and the share of good ones; yields, which may be 0, as their root.
fn logarithms(
    plan: &ScanPlan,
    frame: Frame,
    plane: &Plane,
    usable: &dyn Fn(usize) -> bool,
) -> (Vec<f32>, Vec<f32>) {
    let nx = plan.grid.nx();
    let dark = plan.dark();
    let saturation = plan.detector.saturation.filter(|_| plan.summed_pixels() == 1).unwrap_or(f64::INFINITY);
    let signal = plan.detector.signal;
    let (mut values, mut weights) = (vec![0.0_f32; frame.pixels()], vec![0.0_f32; frame.pixels()]);
    let binned = (frame.bin * frame.bin) as f64;
    for y in 0..frame.ny {
        for x in 0..frame.nx {
            let (mut sum, mut count) = (0.0, 0.0);
            for row in y * frame.bin..(y + 1) * frame.bin {
                for pixel in row * nx + x * frame.bin..row * nx + (x + 1) * frame.bin {
                    let value = f64::from(plane.value(pixel));
                    if !value.is_nan() && value < saturation && usable(pixel) {
                        (sum, count) = (sum + value, count + 1.0);
                    }
                }
            }
            let mean = sum / count;
            let value = match signal {
                Signal::OpticalDensity => Some(mean),
                Signal::Transmission => (mean > dark).then(|| (mean - dark).ln()),
                Signal::Fluorescence | Signal::ElectronYield => Some((mean - dark).max(0.0).sqrt()),
            };
            if let Some(value) = value.filter(|value| value.is_finite()) {
                values[y * frame.nx + x] = value as f32;
                weights[y * frame.nx + x] = (count / binned) as f32;
            }
        }
    }
    (values, weights)
}

fn weighted_mean(values: &[f32], weights: &[f32]) -> f32 {
    let sum =
        |(a, b): (f64, f64), (v, w): (&f32, &f32)| (a + f64::from(*v) * f64::from(*w), b + f64::from(*w));
    let (amount, weight) = values.iter().zip(weights).fold((0.0, 0.0), sum);
    if weight > 0.0 { (amount / weight) as f32 } else { 0.0 }
}

/// A Gaussian of `width` over values that carry their weights already, divided by that of the weights; and the latter
/// over what it would be if every pixel of the plane, and of the plane around the frame, were good.
fn blurred(values: &[f32], weights: &[f32], frame: Frame, width: f64) -> (Vec<f32>, Vec<f32>) {
    let reach = (3.0 * width).ceil() as isize;
    let kernel: Vec<f32> =
        (-reach..=reach).map(|i| (-0.5 * (i as f64 / width).powi(2)).exp() as f32).collect();
    let total: f32 = kernel.iter().sum();
    let kernel: Vec<f32> = kernel.iter().map(|k| k / total).collect();
    let mut amount = convolved(values, frame, &kernel);
    let share = convolved(weights, frame, &kernel);
    amount.iter_mut().zip(&share).for_each(|(a, s)| *a = if *s > 1e-6 { *a / s } else { 0.0 });
    (amount, share)
}

/// Both axes in turn; nothing outside the frame.
fn convolved(image: &[f32], frame: Frame, kernel: &[f32]) -> Vec<f32> {
    let (ny, nx) = (frame.ny, frame.nx);
    let reach = kernel.len() / 2;
    let mut along = vec![0.0_f32; image.len()];
    for (row, out) in image.chunks_exact(nx).zip(along.chunks_exact_mut(nx)) {
        for (k, weight) in kernel.iter().enumerate() {
            // out[x] += weight * row[x + k - reach]
            let (from, to) = (reach.saturating_sub(k), nx.min((nx + reach).saturating_sub(k)));
            if from >= to {
                continue;
            }
            let source = from + k - reach;
            let pairs = out[from..to].iter_mut().zip(&row[source..]);
            pairs.for_each(|(o, v)| *o += weight * v);
        }
    }
    let mut across = vec![0.0_f32; image.len()];
    for y in 0..ny {
        let out = &mut across[y * nx..(y + 1) * nx];
        for (k, weight) in kernel.iter().enumerate() {
            let Some(source) = (y + k).checked_sub(reach).filter(|source| *source < ny) else { continue };
            let row = &along[source * nx..(source + 1) * nx];
            out.iter_mut().zip(row).for_each(|(o, v)| *o += weight * v);
        }
    }
    across
}
