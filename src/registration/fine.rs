//! A displacement to a small part of a pixel: least squares of an image on components and their gradients.
//!
//! The image, taken at the displacement assumed so far, is fitted by components `B_k` of the other images with free amounts
//! `a_k` (so contrast may change and invert), and by the two gradients of what they add up to; the amounts of the
//! gradients are what the displacement is wrong by (Gauss-Newton). The error follows from the normal equations and the
//! misfit, with the correlation of neighbours that the preparation made.

use super::components::Components;
use super::kernel::Taps;
use super::prepared::{CORRELATED, Frame, Prepared};

/// Most components of an image.
pub(super) const MOST: usize = 3;
/// Unknowns: the components, and two gradients.
const UNKNOWNS: usize = MOST + 2;
/// Rounds of Gauss-Newton.
const ROUNDS: usize = 3;
/// A step below this ends them, binned pixels.
const SMALL: f64 = 0.01;
/// Longest step, binned pixels.
const LONGEST: f64 = 1.0;
/// Fewer pixels than this fit nothing.
const LEAST_PIXELS: f64 = 100.0;
/// Part of the misfit that is correlated as the narrow Gaussian correlates noise: the gradients see less of it.
const SEEN_NOISE: f64 = 0.6;

/// A prepared image at a displacement, on the grid of the first image.
#[derive(Clone, Debug, Default)]
pub(super) struct Registered {
    pub(super) values: Vec<f32>,
    /// 1 where known, else 0.
    pub(super) weights: Vec<f32>,
}

impl Registered {
    /// `image` at `shift`: pixel `p` is what the image has at `p + shift`. Buffers are used again.
    pub(super) fn fill(&mut self, image: &Prepared, frame: Frame, shift: [f64; 2], row: &mut Vec<f32>) {
        let (ny, nx) = (frame.ny, frame.nx);
        for buffer in [&mut self.values, &mut self.weights] {
            buffer.clear();
            buffer.resize(ny * nx, 0.0);
        }
        let (down, along) = (Taps::cubic(shift[0]), Taps::cubic(shift[1]));
        let (rows, columns) = (inside(&down, ny), inside(&along, nx));
        row.clear();
        row.resize(nx, 0.0);
        for y in rows {
            row.fill(0.0);
            let source = |k: usize| (y as isize + down.whole + k as isize - 1) as usize * nx;
            for (k, weight) in down.weights.iter().enumerate().filter(|(_, w)| **w != 0.0) {
                let weight = *weight as f32;
                let line = &image.values[source(k)..source(k) + nx];
                row.iter_mut().zip(line).for_each(|(r, v)| *r += weight * v);
            }
            let (near, next) = (source(1), if down.weights[2] == 0.0 { source(1) } else { source(2) });
            let out = y * nx + columns.start..y * nx + columns.end;
            let first = (columns.start as isize + along.whole) as usize;
            for (k, weight) in along.weights.iter().enumerate().filter(|(_, w)| **w != 0.0) {
                let weight = *weight as f32;
                let line = &row[first + k - 1..];
                self.values[out.clone()].iter_mut().zip(line).for_each(|(o, v)| *o += weight * v);
            }
            let step = usize::from(along.weights[2] != 0.0);
            let known = self.weights[out.clone()].iter_mut().zip(&mut self.values[out]);
            for (i, (known, value)) in known.enumerate() {
                let at = first + i;
                let w = &image.weights;
                *known = w[near + at] * w[near + at + step] * w[next + at] * w[next + at + step];
                *value *= *known;
            }
        }
    }
}

/// The pixels all of whose taps lie inside an axis of `n`.
fn inside(taps: &Taps, n: usize) -> std::ops::Range<usize> {
    let n = n as isize;
    // One more at the start, so that a tap of weight 0 needs no bounds.
    let from = (1 - taps.whole).clamp(0, n);
    let to = (n - 2 - taps.whole).clamp(from, n);
    from as usize..to as usize
}

/// What the fit of one image says.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Fit {
    /// `[y, x]`, binned pixels.
    pub(super) shift: [f64; 2],
    /// Standard errors; infinite where nothing can be told.
    pub(super) errors: [f64; 2],
    /// Mean square of the gradients along each axis, less what the components could take up.
    pub(super) edges: [f64; 2],
    /// Mean squared misfit.
    pub(super) misfit: f64,
}

/// Buffers of one thread.
#[derive(Debug, Default)]
pub(super) struct Bench {
    image: Registered,
    row: Vec<f32>,
    model: Vec<f32>,
}

/// Refines `start`. `free`: whether the displacement is looked for, or only the misfit there.
pub(super) fn fit(
    image: &Prepared,
    frame: Frame,
    components: &Components,
    start: [f64; 2],
    free: bool,
    bench: &mut Bench,
) -> Fit {
    let mut shift = start;
    let mut amounts = None;
    let mut result = Fit { shift, errors: [f64::INFINITY; 2], edges: [0.0; 2], misfit: f64::NAN };
    let rounds = if free { ROUNDS } else { 1 };
    for _ in 0..rounds {
        bench.image.fill(image, frame, shift, &mut bench.row);
        let Some(step) = solve(frame, components, &mut amounts, bench) else { break };
        result = Fit { shift, errors: step.errors, edges: step.edges, misfit: step.misfit };
        if !free {
            break;
        }
        let length = step.by[0].hypot(step.by[1]);
        let scale = if length > LONGEST { LONGEST / length } else { 1.0 };
        // What is left was put down to the image lying further on than assumed.
        shift = [shift[0] - scale * step.by[0], shift[1] - scale * step.by[1]];
        result.shift = shift;
        if length < SMALL {
            break;
        }
    }
    let strayed = (result.shift[0] - start[0]).hypot(result.shift[1] - start[1]) > STRAY;
    if strayed || !result.shift[0].is_finite() || !result.shift[1].is_finite() {
        result = Fit { shift: start, errors: [f64::INFINITY; 2], ..result };
    }
    result
}

/// Farther than this from the guess a fit has lost its way, binned pixels.
const STRAY: f64 = 2.5;

struct Step {
    by: [f64; 2],
    errors: [f64; 2],
    edges: [f64; 2],
    misfit: f64,
}

/// One linear fit of the image in `bench`. `known`: the amounts of the components of the fit before, which make the gradients;
/// they change little from one displacement to the next.
fn solve(
    frame: Frame,
    components: &Components,
    known: &mut Option<[f64; UNKNOWNS]>,
    bench: &mut Bench,
) -> Option<Step> {
    let nx = frame.nx;
    let count = components.images.len();
    let weights = Weights { own: &bench.image.weights, common: &components.weights };
    let amounts = match known {
        Some(amounts) => *amounts,
        None => {
            let mut normal = Normal::new(count);
            for p in weights.pixels(frame) {
                let mut row = [0.0; UNKNOWNS];
                components.images.iter().zip(&mut row).for_each(|(image, r)| *r = f64::from(image[p]));
                normal.add::<MOST>(&row, f64::from(bench.image.values[p]));
            }
            if normal.pixels < LEAST_PIXELS {
                return None;
            }
            normal.solve()?.0
        }
    };
    bench.model.clear();
    bench.model.resize(frame.pixels(), 0.0);
    for (image, amount) in components.images.iter().zip(amounts) {
        let amount = amount as f32;
        bench.model.iter_mut().zip(image).for_each(|(m, v)| *m += amount * v);
    }
    let model = &bench.model;
    let mut normal = Normal::new(count + 2);
    for p in weights.pixels(frame) {
        let mut row = [0.0; UNKNOWNS];
        components.images.iter().zip(&mut row).for_each(|(image, r)| *r = f64::from(image[p]));
        row[count] = 0.5 * f64::from(model[p + nx] - model[p - nx]);
        row[count + 1] = 0.5 * f64::from(model[p + 1] - model[p - 1]);
        normal.add::<UNKNOWNS>(&row, f64::from(bench.image.values[p]));
    }
    if normal.pixels < LEAST_PIXELS {
        return None;
    }
    let (solution, inverse) = normal.solve()?;
    *known = Some(solution);
    let explained: f64 = (0..count + 2).map(|k| solution[k] * normal.right[k]).sum();
    let misfit = ((normal.power - explained) / normal.pixels).max(0.0);
    let noise = misfit * CORRELATED * SEEN_NOISE;
    let error = |k: usize| (noise * inverse[k]).sqrt();
    Some(Step {
        by: [solution[count], solution[count + 1]],
        errors: [error(count), error(count + 1)],
        edges: [count, count + 1].map(|k| 1.0 / (inverse[k] * normal.pixels)),
        misfit,
    })
}

/// Where image and components are known.
struct Weights<'a> {
    own: &'a [f32],
    common: &'a [f32],
}

impl Weights<'_> {
    /// Pixels inside the frame by one, in order.
    fn pixels(&self, frame: Frame) -> impl Iterator<Item = usize> + '_ {
        let rows = 1..frame.ny - 1;
        rows.flat_map(move |y| y * frame.nx + 1..(y + 1) * frame.nx - 1)
            .filter(|&p| self.own[p] * self.common[p] > 0.0)
    }
}

/// Normal equations of at most [`UNKNOWNS`] unknowns.
struct Normal {
    count: usize,
    left: [[f64; UNKNOWNS]; UNKNOWNS],
    right: [f64; UNKNOWNS],
    power: f64,
    pixels: f64,
}

impl Normal {
    fn new(count: usize) -> Self {
        Self { count, left: [[0.0; UNKNOWNS]; UNKNOWNS], right: [0.0; UNKNOWNS], power: 0.0, pixels: 0.0 }
    }

    /// Adds a row of which the first `N` may be other than 0.
    #[inline]
    fn add<const N: usize>(&mut self, row: &[f64; UNKNOWNS], value: f64) {
        for i in 0..N {
            for j in 0..=i {
                self.left[i][j] += row[i] * row[j];
            }
            self.right[i] += row[i] * value;
        }
        self.power += value * value;
        self.pixels += 1.0;
    }

    /// The solution and the diagonal of the inverse, by Cholesky; `None` where the equations say nothing.
    fn solve(&self) -> Option<([f64; UNKNOWNS], [f64; UNKNOWNS])> {
        let n = self.count;
        let mut lower = [[0.0; UNKNOWNS]; UNKNOWNS];
        for i in 0..n {
            for j in 0..=i {
                let sum: f64 = (0..j).map(|k| lower[i][k] * lower[j][k]).sum();
                let rest = self.left[i][j] - sum;
                if i == j {
                    if rest.is_nan() || rest <= 1e-10 * self.left[i][i] || rest <= 0.0 {
                        return None;
                    }
                    lower[i][i] = rest.sqrt();
                } else {
                    lower[i][j] = rest / lower[j][j];
                }
            }
        }
        let solve = |right: &[f64; UNKNOWNS]| {
            let mut x = *right;
            for i in 0..n {
                let sum: f64 = (0..i).map(|k| lower[i][k] * x[k]).sum();
                x[i] = (x[i] - sum) / lower[i][i];
            }
            for i in (0..n).rev() {
                let sum: f64 = (i + 1..n).map(|k| lower[k][i] * x[k]).sum();
                x[i] = (x[i] - sum) / lower[i][i];
            }
            x
        };
        let mut inverse = [0.0; UNKNOWNS];
        for k in 0..n {
            let mut unit = [0.0; UNKNOWNS];
            unit[k] = 1.0;
            inverse[k] = solve(&unit)[k];
        }
        Some((solve(&self.right), inverse))
    }
}
