//! The displacements of all images of a stack, and whether to take them out.
//!
//! First guesses come in the order of acquisition from the running reference ([`super::coarse`]); then all images are
//! refined against components of the others ([`super::fine`]), smoothed in time, and the components made anew, a few
//! times over. Displacements count from the first image of the acquisition.

use rayon::prelude::*;

use super::coarse::{Coarse, Guess, Transforms};
use super::components::{components, group};
use super::drift::{Drift, Shift};
use super::fine::{Bench, Fit, Registered, fit};
use super::prepared::{CORRELATED, Frame, Prepared};
use super::smooth::smoothed;
use super::trust::{TELLING, judge};
use crate::stack::Stack;

/// Rounds of components, fits and smoothing.
const ROUNDS: usize = 2;
/// Share of an image that has to be measured.
const COVERAGE: f64 = 0.5;
/// Fewer images are not registered.
const LEAST_IMAGES: usize = 3;
/// Shortest side of a field, pixels.
const LEAST_SIDE: usize = 24;
/// Error that stays however many counts there are, pixels: edges that change with the energy. It is that of an image with
/// edges of median strength; weaker ones are misled the more.
const SYSTEMATIC: f64 = 0.035;
/// Least share of it.
const LEAST_SYSTEMATIC: f64 = 0.7;

/// Error of a first guess, pixels.
const GUESSED: f64 = 0.3;

/// Estimates the drift of `stack`: a pure function of its content. `usable(energy, pixel)`: whether a value is sound.
#[must_use]
pub fn estimate(stack: &Stack, usable: &(dyn Fn(usize, usize) -> bool + Sync)) -> Drift {
    let mut estimator = Estimator::new(stack);
    let all: Vec<usize> = (0..stack.planes().len()).collect();
    estimator.take(stack, &all, usable);
    estimator.drift(stack)
}

/// Prepared images and first guesses, kept from one estimate to the next.
#[derive(Debug, Default)]
pub(super) struct Estimator {
    frame: Frame,
    transforms: Option<Transforms>,
    /// One per energy.
    images: Vec<Option<Prepared>>,
    coarse: Option<Coarse>,
    /// The energies that the running reference has, in its order, with their guesses.
    guessed: Vec<(usize, Guess)>,
}

impl Estimator {
    pub(super) fn new(stack: &Stack) -> Self {
        let plan = stack.plan();
        let frame = Frame::of(plan);
        Self {
            frame,
            transforms: None,
            images: vec![None; plan.energies_ev.len()],
            coarse: None,
            guessed: Vec::new(),
        }
    }

    /// Prepares the images of `energies` anew, those of which enough is measured.
    pub(super) fn take(
        &mut self,
        stack: &Stack,
        energies: &[usize],
        usable: &(dyn Fn(usize, usize) -> bool + Sync),
    ) {
        let plan = stack.plan();
        self.images.resize(plan.energies_ev.len(), None);
        if too_small(stack) {
            return;
        }
        let pixels = plan.grid.pixels() as f64;
        let frame = self.frame;
        let prepared: Vec<Option<Prepared>> = energies
            .par_iter()
            .map(|&energy| {
                let plane = stack.plane(energy);
                if (plane.measured() as f64) < COVERAGE * pixels {
                    return None;
                }
                let image = Prepared::new(plan, frame, plane, &|pixel| usable(energy, pixel));
                (image.good >= 0.5 * COVERAGE).then_some(image)
            })
            .collect();
        for (&energy, image) in energies.iter().zip(prepared) {
            self.images[energy] = image;
            if let Some(place) = self.guessed.iter().position(|(guessed, _)| *guessed == energy) {
                self.guessed.truncate(place);
                self.coarse = None;
            }
        }
    }

    /// The drift of everything taken so far.
    pub(super) fn drift(&mut self, stack: &Stack) -> Drift {
        if too_small(stack) {
            let [ny, nx] = stack.plan().grid.shape;
            return Drift::refused(format!("the field is too small: {ny} by {nx} pixels"));
        }
        let order = self.order(stack);
        if order.len() < LEAST_IMAGES {
            return Drift::refused(format!(
                "too few images: {} have at least half of their pixels",
                order.len()
            ));
        }
        self.guess(&order);
        let images: Vec<&Prepared> = order.iter().filter_map(|&e| self.images[e].as_ref()).collect();
        let mut shifts: Vec<[f64; 2]> = self.guessed.iter().map(|(_, guess)| guess.shift).collect();
        let mut errors = vec![[f64::INFINITY; 2]; shifts.len()];
        let mut fits = Vec::new();
        for _ in 0..ROUNDS {
            fits = fitted(&images, self.frame, &shifts, true);
            add_systematic(&mut fits, self.frame.bin as f64);
            for axis in 0..2 {
                let own: Vec<(f64, f64)> =
                    fits.iter().map(|fit| (fit.shift[axis], fit.errors[axis])).collect();
                for (index, (value, error)) in smoothed(&own).into_iter().enumerate() {
                    // Where nothing at all was measured the guesses stay, without an error.
                    if error.is_finite() {
                        shifts[index][axis] = value;
                    }
                    errors[index][axis] = error;
                }
            }
        }
        let bin = self.frame.bin as f64;
        let first = shifts[0];
        let of = |(index, fit): (usize, &Fit)| Shift {
            y: bin * (shifts[index][0] - first[0]),
            x: bin * (shifts[index][1] - first[1]),
            error_y: bin * errors[index][0],
            error_x: bin * errors[index][1],
            measured: fit.errors.iter().all(|error| bin * error < TELLING),
        };
        let curve: Vec<Shift> = fits.iter().enumerate().map(of).collect();
        let side = stack.plan().grid.ny().min(stack.plan().grid.nx()) as f64;
        let verdict = judge(&curve, side, || self.gains(&images, &fits));
        let mut all = vec![None; stack.planes().len()];
        order.iter().zip(curve).for_each(|(&energy, shift)| all[energy] = Some(shift));
        Drift { shifts: borrowed(stack, all), verdict }
    }

    /// Between two estimates: gives the images of `energies`, and those that are not whole yet, a displacement in `drift`
    /// by the running reference.
    pub(super) fn follow(&mut self, stack: &Stack, energies: &[usize], drift: &mut Drift) {
        if !drift.is_applied() {
            return;
        }
        let order = self.order(stack);
        self.guess(&order);
        drift.shifts.resize(stack.planes().len(), None);
        let bin = self.frame.bin as f64;
        for (place, &energy) in order.iter().enumerate() {
            let earlier = place.checked_sub(1).and_then(|before| drift.shifts[order[before]]);
            let (true, Some(before)) = (energies.contains(&energy), earlier) else { continue };
            let ([y, x], [from_y, from_x]) = (self.guessed[place].1.shift, self.guessed[place - 1].1.shift);
            drift.shifts[energy] = Some(Shift {
                y: before.y + bin * (y - from_y),
                x: before.x + bin * (x - from_x),
                error_y: before.error_y.hypot(GUESSED),
                error_x: before.error_x.hypot(GUESSED),
                measured: false,
            });
        }
        drift.shifts = borrowed(stack, std::mem::take(&mut drift.shifts));
    }

    /// The energies with an image, in the order of acquisition where every one has a time, else in that of the plan.
    fn order(&self, stack: &Stack) -> Vec<usize> {
        let mut order: Vec<usize> = (0..self.images.len()).filter(|&e| self.images[e].is_some()).collect();
        if order.iter().all(|&e| stack.plane(e).first_time().is_some()) {
            order.sort_by_key(|&e| (stack.plane(e).first_time(), e));
        }
        order
    }

    /// Brings the guesses up to date: those of images that are in the reference already, in this order, stay.
    fn guess(&mut self, order: &[usize]) {
        let transforms = self.transforms.get_or_insert_with(|| Transforms::new(self.frame));
        let same = self.guessed.iter().zip(order).all(|((guessed, _), energy)| guessed == energy);
        if !same || self.guessed.len() > order.len() || self.coarse.is_none() {
            self.guessed.clear();
            self.coarse = None;
        }
        let coarse = self.coarse.get_or_insert_with(|| Coarse::new(transforms));
        for &energy in &order[self.guessed.len()..] {
            if let Some(image) = &self.images[energy] {
                self.guessed.push((energy, coarse.push(transforms, self.frame, image)));
            }
        }
    }

    /// What each image's log-likelihood gains by the displacements of its fit, against all lying as they were measured.
    fn gains(&self, images: &[&Prepared], fits: &[Fit]) -> Vec<f64> {
        let without = fitted(images, self.frame, &vec![[0.0; 2]; images.len()], false);
        let values = self.frame.pixels() as f64 / CORRELATED;
        let gain = |(with, without): (&Fit, &Fit)| {
            let gain = 0.5 * values * (without.misfit / with.misfit).ln();
            if gain.is_finite() { gain } else { 0.0 }
        };
        fits.iter().zip(&without).map(gain).collect()
    }
}

/// Adds to the errors what does not come from noise. The larger the bins, the smaller a pixel is among them.
fn add_systematic(fits: &mut [Fit], bin: f64) {
    for axis in 0..2 {
        let mut edges: Vec<f64> = fits.iter().map(|fit| fit.edges[axis]).collect();
        edges.sort_by(f64::total_cmp);
        let middle = edges.get(edges.len() / 2).copied().unwrap_or(0.0);
        for fit in fits.iter_mut() {
            let weakness = (middle / fit.edges[axis].max(f64::MIN_POSITIVE)).sqrt();
            fit.errors[axis] =
                fit.errors[axis].hypot(SYSTEMATIC / bin.sqrt() * weakness.max(LEAST_SYSTEMATIC));
        }
    }
}

fn too_small(stack: &Stack) -> bool {
    let [ny, nx] = stack.plan().grid.shape;
    ny.min(nx) < LEAST_SIDE
}

/// Fits every image to the components of the others, all at `shifts`.
fn fitted(images: &[&Prepared], frame: Frame, shifts: &[[f64; 2]], free: bool) -> Vec<Fit> {
    let registered: Vec<Registered> = images
        .par_iter()
        .zip(shifts)
        .map_init(Vec::new, |row, (image, shift)| {
            let mut registered = Registered::default();
            registered.fill(image, frame, *shift, row);
            registered
        })
        .collect();
    let groups = components(&registered, frame);
    drop(registered);
    images
        .par_iter()
        .zip(shifts)
        .enumerate()
        .map_init(Bench::default, |bench, (place, (image, shift))| {
            fit(image, frame, &groups[group(place, images.len())], *shift, free, bench)
        })
        .collect()
}

/// Gives images that are not whole yet the displacement of the image nearest in time, or else in the plan.
fn borrowed(stack: &Stack, mut shifts: Vec<Option<Shift>>) -> Vec<Option<Shift>> {
    let known: Vec<usize> = (0..shifts.len()).filter(|&e| shifts[e].is_some()).collect();
    for energy in 0..shifts.len() {
        if shifts[energy].is_some() || stack.plane(energy).measured() == 0 {
            continue;
        }
        let own = stack.plane(energy).first_time();
        let distance = |other: usize| {
            let time = stack.plane(other).first_time().zip(own);
            let apart = time.map_or(0, |(a, b)| (a - b).num_milliseconds().abs());
            (apart, other.abs_diff(energy))
        };
        let nearest = known.iter().copied().min_by_key(|&other| distance(other));
        shifts[energy] = nearest.and_then(|other| shifts[other]).map(|shift| Shift {
            error_y: shift.error_y.hypot(0.5),
            error_x: shift.error_x.hypot(0.5),
            measured: false,
            ..shift
        });
    }
    shifts
}
