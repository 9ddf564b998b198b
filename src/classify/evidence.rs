//! How well each reference describes a pixel, against the pixel's own noise.
//!
//! Each reference is fitted to the spectrum with weights 1/variance: `x = a·r + b`, a not negative (an
//! anticorrelated reference explains nothing), b free. What is left is chi², in the noise-scaled form
//! `C_xx - max(C_xr, 0)² / C_rr` with weighted, centred moments C. The difference of two references' chi² is the
//! evidence of one over the other.
//!
//! The sums are kept as in [`super::correlation`]; because each value has its own weight, those over the
//! references are kept per pixel, too.

use rayon::prelude::*;

use super::Targets;
use super::correlation::BLOCK;

const W: usize = 1;
const WX: usize = 2;
const WXX: usize = 3;
const FIRST: usize = 4;

/// Running weighted sums for every pixel.
#[derive(Clone, Debug)]
pub struct Evidence {
    phases: usize,
    sums: Vec<f32>,
}

/// Values of consecutive pixels at one energy, with their variances; NaN stands for none.
#[derive(Clone, Copy, Debug)]
pub struct Values<'a> {
    /// Optical densities.
    pub od: &'a [f32],
    /// Their variances.
    pub variance: &'a [f32],
}

impl Evidence {
    /// Empty sums for `pixels` pixels.
    #[must_use]
    pub fn new(pixels: usize, phases: usize) -> Self {
        let size = (FIRST + 3 * phases) * BLOCK;
        let mut sums = vec![0.0; pixels.div_ceil(BLOCK) * size];
        for block in sums.chunks_exact_mut(size) {
            block[..BLOCK].fill(f32::NAN);
        }
        Self { phases, sums }
    }

    /// Takes `old` out and puts `new` in, for the pixels from `first` on at one energy. Without `old` nothing is
    /// taken out.
    ///
    /// # Panics
    /// When the pixels or the energy are not those the sums were made for.
    pub fn replace(
        &mut self,
        targets: &Targets,
        energy: usize,
        first: usize,
        old: Option<Values<'_>>,
        new: Values<'_>,
    ) {
        if !targets.used[energy] {
            return;
        }
        let (reference, count) = (targets.at(energy), new.od.len());
        let size = (FIRST + 3 * self.phases) * BLOCK;
        let first_block = first / BLOCK;
        let last_block = (first + count).div_ceil(BLOCK);
        self.sums[first_block * size..last_block * size]
            .par_chunks_exact_mut(size)
            .enumerate()
            .with_min_len(4)
            .for_each(|(index, sums)| {
                let start = ((first_block + index) * BLOCK).max(first);
                let end = ((first_block + index + 1) * BLOCK).min(first + count);
                let part = start - first..end - first;
                let at = start % BLOCK;
                if let Some(old) = old {
                    accumulate(sums, at, reference, -1.0, cut(old, part.clone()));
                }
                accumulate(sums, at, reference, 1.0, cut(new, part));
            });
    }

    /// Writes the chi² of each reference for `pixel` into `out`: NaN where nothing was measured. Returns the chi² of
    /// a constant alone, and the amount of the reference that leaves the least.
    pub fn read(&self, pixel: usize, out: &mut [f32]) -> (f32, f32) {
        let size = (FIRST + 3 * self.phases) * BLOCK;
        let base = pixel / BLOCK * size + pixel % BLOCK;
        let sum = |field: usize| f64::from(self.sums[base + field * BLOCK]);
        let (w, wx) = (sum(W), sum(WX));
        let c_xx = sum(WXX) - wx * wx / w;
        let (mut most, mut amount) = (-1.0, f64::NAN);
        for (k, out) in out.iter_mut().enumerate() {
            let field = FIRST + 3 * k;
            let (wr, wrr, wxr) = (sum(field), sum(field + 1), sum(field + 2));
            let c_rr = wrr - wr * wr / w;
            let c_xr = (wxr - wx * wr / w).max(0.0);
            let explained = if c_rr > 0.0 { c_xr * c_xr / c_rr } else { 0.0 };
            if explained > most {
                (most, amount) = (explained, c_xr / c_rr);
            }
            *out = if w > 0.0 { (c_xx - explained).max(0.0) as f32 } else { f32::NAN };
        }
        (c_xx as f32, amount as f32)
    }
}

fn cut(values: Values<'_>, part: std::ops::Range<usize>) -> Values<'_> {
    Values { od: &values.od[part.clone()], variance: &values.variance[part] }
}

fn accumulate(sums: &mut [f32], at: usize, reference: &[f64], sign: f32, values: Values<'_>) {
    let n = values.od.len();
    let (mut x, mut w) = ([0.0_f32; BLOCK], [0.0_f32; BLOCK]);
    let (x, w) = (&mut x[..n], &mut w[..n]);
    let (shift, rest) = sums.split_at_mut(BLOCK);
    for (i, s) in shift[at..at + n].iter_mut().enumerate() {
        let od = values.od[i];
        *s = if s.is_nan() { od } else { *s };
        let missing = od.is_nan();
        x[i] = if missing { 0.0 } else { od - *s };
        w[i] = if missing { 0.0 } else { sign / values.variance[i] };
    }
    let mut sum = Sum { rest, at, w, x };
    sum.field(W, |w, _| w);
    sum.field(WX, |w, x| w * x);
    sum.field(WXX, |w, x| w * x * x);
    for (k, &r) in reference.iter().enumerate() {
        let r = r as f32;
        sum.field(FIRST + 3 * k, |w, _| w * r);
        sum.field(FIRST + 3 * k + 1, |w, _| w * r * r);
        sum.field(FIRST + 3 * k + 2, |w, x| w * x * r);
    }
}

/// The sums of one block, and what is to be added to them.
struct Sum<'a> {
    /// Every field but the first.
    rest: &'a mut [f32],
    at: usize,
    w: &'a [f32],
    x: &'a [f32],
}

impl Sum<'_> {
    fn field(&mut self, field: usize, value: impl Fn(f32, f32) -> f32) {
        let start = (field - 1) * BLOCK + self.at;
        for ((sum, &w), &x) in self.rest[start..start + self.w.len()].iter_mut().zip(self.w).zip(self.x) {
            *sum += value(w, x);
        }
    }
}
