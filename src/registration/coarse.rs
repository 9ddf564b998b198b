//! The first guess: each image against a running reference, to a fraction of a pixel.
//!
//! Compared are gradient magnitudes, which have no sign: an edge stays an edge where its contrast inverts. The images
//! are tapered, brought to mean 0 and the same power, and correlated by Fourier transforms with padding, so that nothing
//! wraps around. The reference is the mean of the images so far, each moved back by its own displacement (a phase ramp).
//! A peak near the last displacement is preferred to one far away, so that a lattice does not jump by a period.

use std::f64::consts::TAU;
use std::sync::Arc;

use rustfft::{Fft, FftPlanner, num_complex::Complex};

use super::prepared::{Frame, Prepared};

type Spectrum = Vec<Complex<f64>>;

/// Displacements beyond this share of a side are not looked for.
const REACH: f64 = 0.25;
/// Share of a side that is tapered at each end.
const TAPER: f64 = 0.125;
/// A peak this far from the last displacement counts `exp(-1/2)` of its height; share of the longer side.
const PREFERENCE: f64 = 0.1;
/// Height of a peak over the mean of the correlation, in its standard deviations, below which it is none.
const CLEAR: f64 = 4.0;

/// Transforms of one size, forward and back.
pub(super) struct Transforms {
    ny: usize,
    nx: usize,
    rows: [Arc<dyn Fft<f64>>; 2],
    columns: [Arc<dyn Fft<f64>>; 2],
}

impl std::fmt::Debug for Transforms {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Transforms").field("ny", &self.ny).field("nx", &self.nx).finish_non_exhaustive()
    }
}

impl Transforms {
    /// Transforms for images of `frame`, padded.
    pub(super) fn new(frame: Frame) -> Self {
        let padded = |n: usize| smooth_size(n + (REACH * n as f64).ceil() as usize);
        let (ny, nx) = (padded(frame.ny), padded(frame.nx));
        let mut planner = FftPlanner::new();
        Self {
            ny,
            nx,
            rows: [planner.plan_fft_forward(nx), planner.plan_fft_inverse(nx)],
            columns: [planner.plan_fft_forward(ny), planner.plan_fft_inverse(ny)],
        }
    }

    /// Transforms `image` (`ny` by `nx`) in place; `back` without the factor `1 / (ny nx)`.
    fn apply(&self, image: &mut Spectrum, back: bool) {
        self.rows[usize::from(back)].process(image);
        let mut turned = transposed(image, self.ny, self.nx);
        self.columns[usize::from(back)].process(&mut turned);
        *image = transposed(&turned, self.nx, self.ny);
    }

    /// The spectrum of an image's gradient magnitude, of power 1; `None` where there is no gradient at all.
    pub(super) fn spectrum(&self, image: &Prepared, frame: Frame) -> Option<Spectrum> {
        let magnitude = tapered_gradient(image, frame)?;
        let mut padded = vec![Complex::default(); self.ny * self.nx];
        for (y, row) in magnitude.chunks_exact(frame.nx).enumerate() {
            let out = &mut padded[y * self.nx..y * self.nx + frame.nx];
            out.iter_mut().zip(row).for_each(|(o, v)| o.re = *v);
        }
        self.apply(&mut padded, false);
        Some(padded)
    }
}

fn transposed(image: &[Complex<f64>], ny: usize, nx: usize) -> Spectrum {
    let mut out = vec![Complex::default(); image.len()];
    for y in 0..ny {
        for x in 0..nx {
            out[x * ny + y] = image[y * nx + x];
        }
    }
    out
}

/// The next size that has no prime factors but 2, 3 and 5.
fn smooth_size(least: usize) -> usize {
    let is_smooth = |n: &usize| {
        let mut rest = *n;
        for factor in [2, 3, 5] {
            while rest.is_multiple_of(factor) {
                rest /= factor;
            }
        }
        rest == 1
    };
    (least.max(1)..).find(is_smooth).unwrap_or(least)
}

/// Gradient magnitude, tapered, of mean 0 and power 1.
fn tapered_gradient(image: &Prepared, frame: Frame) -> Option<Vec<f64>> {
    let (ny, nx) = (frame.ny, frame.nx);
    let taper = |i: usize, n: usize| {
        let edge = (TAPER * n as f64).max(1.0);
        let depth = (i.min(n - 1 - i) as f64 + 0.5) / edge;
        if depth >= 1.0 { 1.0 } else { 0.5 - 0.5 * (TAU / 2.0 * depth).cos() }
    };
    let (mut magnitude, mut window) = (vec![0.0; ny * nx], vec![0.0; ny * nx]);
    for y in 1..ny.saturating_sub(1) {
        for x in 1..nx.saturating_sub(1) {
            let at = y * nx + x;
            let around = [at - 1, at + 1, at - nx, at + nx];
            if around.iter().any(|&p| image.weights[p] == 0.0) {
                continue;
            }
            let v = |p: usize| f64::from(image.values[p]);
            magnitude[at] = (v(at + 1) - v(at - 1)).hypot(v(at + nx) - v(at - nx));
            window[at] = taper(y, ny) * taper(x, nx);
        }
    }
    let total: f64 = window.iter().sum();
    let mean = magnitude.iter().zip(&window).map(|(m, w)| m * w).sum::<f64>() / total;
    magnitude.iter_mut().zip(&window).for_each(|(m, w)| *m = (*m - mean) * w);
    let power = magnitude.iter().map(|m| m * m).sum::<f64>().sqrt();
    if power.is_nan() || power <= 1e-12 {
        return None;
    }
    magnitude.iter_mut().for_each(|m| *m /= power);
    Some(magnitude)
}

/// The running reference, and the images' displacements from it.
#[derive(Clone, Debug)]
pub(super) struct Coarse {
    reference: Spectrum,
    images: usize,
    /// The last displacement, `[y, x]`, binned pixels.
    last: [f64; 2],
}

/// A first guess.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Guess {
    /// `[y, x]`, binned pixels.
    pub(super) shift: [f64; 2],
    /// Whether there was a clear peak; else it is that of the image before.
    pub(super) clear: bool,
}

impl Coarse {
    pub(super) fn new(transforms: &Transforms) -> Self {
        Self { reference: vec![Complex::default(); transforms.ny * transforms.nx], images: 0, last: [0.0; 2] }
    }

    /// Where the sample lies in the next image; the reference then has it, too.
    pub(super) fn push(&mut self, transforms: &Transforms, frame: Frame, image: &Prepared) -> Guess {
        let Some(spectrum) = transforms.spectrum(image, frame) else {
            return Guess { shift: self.last, clear: false };
        };
        let guess = if self.images == 0 {
            Guess { shift: self.last, clear: true }
        } else {
            self.search(transforms, frame, &spectrum)
        };
        if guess.clear {
            self.add(transforms, &spectrum, guess.shift);
            self.last = guess.shift;
        }
        guess
    }

    fn search(&self, transforms: &Transforms, frame: Frame, spectrum: &Spectrum) -> Guess {
        let (ny, nx) = (transforms.ny, transforms.nx);
        let mut product: Spectrum = self.reference.iter().zip(spectrum).map(|(r, s)| r.conj() * s).collect();
        transforms.apply(&mut product, true);
        let reach = |n: usize| (REACH * n as f64) as isize;
        let (reach_y, reach_x) = (reach(frame.ny), reach(frame.nx));
        let at = |y: isize, x: isize| {
            product[y.rem_euclid(ny as isize) as usize * nx + x.rem_euclid(nx as isize) as usize].re
        };
        let scale = PREFERENCE * frame.ny.max(frame.nx) as f64;
        let (mut sum, mut squares, mut count) = (0.0, 0.0, 0.0);
        let mut best = (f64::NEG_INFINITY, 0, 0);
        for y in -reach_y..=reach_y {
            for x in -reach_x..=reach_x {
                let value = at(y, x);
                (sum, squares, count) = (sum + value, squares + value * value, count + 1.0);
                let far = (y as f64 - self.last[0]).hypot(x as f64 - self.last[1]) / scale;
                let score = value * (-0.5 * far * far).exp();
                if score > best.0 {
                    best = (score, y, x);
                }
            }
        }
        let (_, y, x) = best;
        let mean: f64 = sum / count;
        let deviation = (squares / count - mean * mean).max(0.0).sqrt();
        let clear = at(y, x) - mean > CLEAR * deviation && y.abs() < reach_y && x.abs() < reach_x;
        if !clear {
            return Guess { shift: self.last, clear: false };
        }
        let centre = at(y, x);
        let shift = [
            y as f64 + vertex(at(y - 1, x), centre, at(y + 1, x)),
            x as f64 + vertex(at(y, x - 1), centre, at(y, x + 1)),
        ];
        Guess { shift, clear: true }
    }

    fn add(&mut self, transforms: &Transforms, spectrum: &Spectrum, [y, x]: [f64; 2]) {
        let ramp = |n: usize, shift: f64| -> Spectrum {
            let signed = |k: usize| if 2 * k <= n { k as f64 } else { k as f64 - n as f64 };
            (0..n).map(|k| Complex::from_polar(1.0, TAU * signed(k) * shift / n as f64)).collect()
        };
        let (rows, columns) = (ramp(transforms.ny, y), ramp(transforms.nx, x));
        let lines = self.reference.chunks_exact_mut(transforms.nx).zip(spectrum.chunks_exact(transforms.nx));
        for ((reference, line), row) in lines.zip(&rows) {
            for ((r, s), column) in reference.iter_mut().zip(line).zip(&columns) {
                *r += s * row * column;
            }
        }
        self.images += 1;
    }
}

/// Place of the maximum of a parabola through three values, within half a step.
fn vertex(before: f64, centre: f64, after: f64) -> f64 {
    let bend = before - 2.0 * centre + after;
    if bend < 0.0 { (0.5 * (before - after) / bend).clamp(-0.5, 0.5) } else { 0.0 }
}
