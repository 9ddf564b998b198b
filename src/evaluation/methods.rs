//! The methods a map is measured against, on the same pixels: Pearson, the weighted fit, the fit after the offset of the scan was
//! estimated from all its pixels together, and the GMVAE alone.
//!
//! Optical densities are those of the daemon (its I0, its mask); a pixel with fewer than three of them has no verdict. The fit is the
//! field's habit: every reference alone, its amount not negative, with a free constant, weighted by the noise; the best one wins. With
//! weights of 1 the same arithmetic gives Pearson's choice.

use rayon::prelude::*;

use super::draw::od_near;
use super::nonnegative::Moments;
use crate::absorption::{Conversion, Intensity, noise_factor};
use crate::classify::{NO_PHASE, PosteriorModel, Recipe};
use crate::reference::ReferenceSet;
use crate::screening::Screen;
use crate::stack::Stack;

/// Fewest values for a verdict.
const MIN_VALUES: usize = 3;
/// chi² by which a pair has to be better than one phase: 3 standard deviations of the one parameter more.
const PAIR_GAIN: f64 = 9.0;
/// The offset is looked for this far either way, eV.
const REACH_EV: f64 = 1.0;
/// Steps of the search, eV: coarse, fine.
const STEPS_EV: (f64, f64) = (0.1, 0.02);
/// Most pixels that the search looks at: coarse, fine.
const MOST: (usize, usize) = (400, 2000);
/// chi² of a flat spectrum, per value, above which a pixel has anything to say of the offset.
const TELLING_CHI2: f64 = 4.0;

/// The optical densities of a stack.
pub(super) struct Densities {
    /// Energies, eV, in the order of the plan.
    pub(super) energies_ev: Vec<f64>,
    /// Optical density, `[pixel * energies + energy]`, NaN where there is none.
    pub(super) od: Vec<f32>,
    /// Its noise.
    pub(super) sigma: Vec<f32>,
}

impl Densities {
    /// The densities that `recipe` gives.
    pub(super) fn new(stack: &Stack, recipe: &Recipe) -> Self {
        let plan = stack.plan();
        let screen = Screen::of(stack, &recipe.absorption.detector);
        let intensity = Intensity::estimate(stack, &screen, &recipe.absorption);
        let max_od = recipe.absorption.max_od;
        let factor = noise_factor(stack, &intensity, max_od);
        let conversions: Vec<Conversion> =
            (0..plan.energies_ev.len()).map(|energy| intensity.conversion(plan, energy, max_od)).collect();
        let energies = conversions.len();
        let size = plan.grid.pixels() * energies;
        let (mut od, mut sigma) = (vec![f32::NAN; size], vec![f32::NAN; size]);
        for (energy, conversion) in conversions.iter().enumerate() {
            let plane = stack.plane(energy);
            for pixel in 0..plan.grid.pixels() {
                let density = conversion.apply(pixel, plane.value(pixel), plane.i0_at(pixel));
                od[pixel * energies + energy] = density.od;
                sigma[pixel * energies + energy] = (f64::from(density.variance) * factor).sqrt() as f32;
            }
        }
        Self { energies_ev: plan.energies_ev.clone(), od, sigma }
    }

    /// Density and noise of a pixel.
    pub(super) fn pixel(&self, pixel: usize) -> (&[f32], &[f32]) {
        let n = self.energies_ev.len();
        (&self.od[pixel * n..(pixel + 1) * n], &self.sigma[pixel * n..(pixel + 1) * n])
    }
}

/// References at the energies of a scan, `[energy * phases + phase]`.
pub(super) struct Shapes {
    phases: usize,
    od: Vec<f64>,
}

impl Shapes {
    /// The references at `energies_ev`, the beam being `offset_ev` above them.
    pub(super) fn new(references: &ReferenceSet, energies_ev: &[f64], offset_ev: f64) -> Self {
        let at = |&e: &f64| references.references.iter().map(move |r| od_near(r, e + offset_ev));
        Self { phases: references.len(), od: energies_ev.iter().flat_map(at).collect() }
    }

    /// One reference, energy by energy.
    pub(super) fn column(&self, phase: usize) -> Vec<f64> {
        self.od.iter().skip(phase).step_by(self.phases).copied().collect()
    }

    fn at(&self, energy: usize) -> &[f64] {
        &self.od[energy * self.phases..(energy + 1) * self.phases]
    }
}

/// Room for one pixel's work.
#[derive(Default)]
pub(super) struct Scratch {
    seen: Vec<(usize, f64, f64)>,
    mean: Vec<f64>,
    xr: Vec<f64>,
    rr: Vec<f64>,
    /// Per phase: weighted product with the reference over the reference's norm; its square, where it is positive, is what the
    /// reference explains of the spectrum's chi².
    pub(super) projection: Vec<f64>,
    /// chi² of a constant.
    pub(super) flat_chi2: f64,
}

impl Scratch {
    /// Projects a spectrum on every reference; `false` where it has too few values.
    pub(super) fn project(&mut self, od: &[f32], sigma: &[f32], shapes: &Shapes, weighted: bool) -> bool {
        self.seen.clear();
        for (energy, (&x, &s)) in od.iter().zip(sigma).enumerate() {
            if x.is_finite() && s.is_finite() && s > 0.0 {
                let weight = if weighted { 1.0 / (f64::from(s) * f64::from(s)) } else { 1.0 };
                self.seen.push((energy, f64::from(x), weight));
            }
        }
        for list in [&mut self.mean, &mut self.xr, &mut self.rr, &mut self.projection] {
            list.clear();
            list.resize(shapes.phases, 0.0);
        }
        if self.seen.len() < MIN_VALUES {
            return false;
        }
        let (mut weights, mut mean_x) = (0.0, 0.0);
        for &(energy, x, weight) in &self.seen {
            weights += weight;
            mean_x += weight * x;
            self.mean.iter_mut().zip(shapes.at(energy)).for_each(|(mean, r)| *mean += weight * r);
        }
        mean_x /= weights;
        self.mean.iter_mut().for_each(|mean| *mean /= weights);
        self.flat_chi2 = 0.0;
        for &(energy, x, weight) in &self.seen {
            let x = x - mean_x;
            self.flat_chi2 += weight * x * x;
            for (k, r) in shapes.at(energy).iter().enumerate() {
                let r = r - self.mean[k];
                self.xr[k] += weight * x * r;
                self.rr[k] += weight * r * r;
            }
        }
        for k in 0..shapes.phases {
            self.projection[k] = self.xr[k] / self.rr[k].sqrt().max(1e-12);
        }
        true
    }

    /// The phase of the largest projection.
    pub(super) fn best(&self) -> u8 {
        let best =
            (0..self.projection.len()).max_by(|&a, &b| self.projection[a].total_cmp(&self.projection[b]));
        best.map_or(NO_PHASE, |k| k as u8)
    }

    /// Log likelihood of the spectrum, marginal over the phases, up to a constant.
    fn log_likelihood(&self) -> f64 {
        let gain = |p: &f64| 0.5 * p.max(0.0).powi(2);
        let most = self.projection.iter().map(gain).fold(0.0, f64::max);
        most + self.projection.iter().map(|p| (gain(p) - most).exp()).sum::<f64>().ln()
    }
}

/// The best phase of each of `pixels`.
pub(super) fn best_phases(
    densities: &Densities,
    pixels: &[usize],
    shapes: &Shapes,
    weighted: bool,
) -> Vec<u8> {
    let judge = |scratch: &mut Scratch, &pixel: &usize| {
        let (od, sigma) = densities.pixel(pixel);
        if scratch.project(od, sigma, shapes, weighted) { scratch.best() } else { NO_PHASE }
    };
    pixels.par_iter().map_init(Scratch::default, judge).collect()
}

/// The best pair of references of each of `pixels`, where it is better than the best single one by more than [`PAIR_GAIN`].
pub(super) fn best_pairs(densities: &Densities, pixels: &[usize], shapes: &Shapes) -> Vec<Option<[u8; 2]>> {
    let columns: Vec<Vec<f64>> = (0..shapes.phases).map(|phase| shapes.column(phase)).collect();
    let judge = |&pixel: &usize| {
        let (od, sigma) = densities.pixel(pixel);
        let weight = |i: usize| {
            let (x, s) = (f64::from(od[i]), f64::from(sigma[i]));
            if x.is_finite() && s > 0.0 { 1.0 / (s * s) } else { 0.0 }
        };
        let weights: Vec<f64> = (0..od.len()).map(weight).collect();
        let x: Vec<f64> = od.iter().map(|x| if x.is_finite() { f64::from(*x) } else { 0.0 }).collect();
        let columns: Vec<&[f64]> = columns.iter().map(Vec::as_slice).collect();
        let moments = Moments::new(&x, &weights, &columns);
        let phases = shapes.phases;
        let single = (0..phases).map(|k| moments.single(k)).fold(f64::INFINITY, f64::min);
        let pairs = (0..phases).flat_map(|i| (i + 1..phases).map(move |j| [i, j]));
        let (chi2, pair) = pairs
            .map(|[i, j]| (moments.pair(i, j).0, [i as u8, j as u8]))
            .min_by(|a, b| a.0.total_cmp(&b.0))?;
        (single - chi2 > PAIR_GAIN).then_some(pair)
    };
    pixels.par_iter().map(judge).collect()
}

/// The energy offset of a scan, eV: beam energy less nominal. A log likelihood summed over the pixels that have any structure,
/// marginal over the phases, on a grid within 1 eV; 0 where no pixel says anything.
pub(super) fn estimate_offset(densities: &Densities, references: &ReferenceSet) -> f64 {
    let pixels = densities.od.len() / densities.energies_ev.len().max(1);
    let nominal = Shapes::new(references, &densities.energies_ev, 0.0);
    let telling = |scratch: &mut Scratch, pixel: usize| {
        let (od, sigma) = densities.pixel(pixel);
        let enough = scratch.project(od, sigma, &nominal, true);
        (enough && scratch.flat_chi2 > TELLING_CHI2 * scratch.seen.len() as f64).then_some(pixel)
    };
    let telling: Vec<usize> =
        (0..pixels).into_par_iter().map_init(Scratch::default, telling).flatten().collect();
    let best = |around_ev: f64, reach_ev: f64, step_ev: f64, most: usize| {
        let stride = telling.len().div_ceil(most).max(1);
        let chosen: Vec<usize> = telling.iter().copied().step_by(stride).collect();
        let steps = (reach_ev / step_ev).round() as i32;
        let offsets: Vec<f64> = (-steps..=steps).map(|i| around_ev + f64::from(i) * step_ev).collect();
        let likelihood = |&offset_ev: &f64| {
            let shapes = Shapes::new(references, &densities.energies_ev, offset_ev);
            let mut scratch = Scratch::default();
            let of_pixel = |&pixel: &usize| {
                let (od, sigma) = densities.pixel(pixel);
                if scratch.project(od, sigma, &shapes, true) { scratch.log_likelihood() } else { 0.0 }
            };
            (chosen.iter().map(of_pixel).sum::<f64>(), offset_ev)
        };
        let likelihoods: Vec<(f64, f64)> = offsets.par_iter().map(likelihood).collect();
        likelihoods.into_iter().max_by(|a, b| a.0.total_cmp(&b.0)).map_or(0.0, |best| best.1)
    };
    if telling.is_empty() {
        return 0.0;
    }
    let coarse_ev = best(0.0, REACH_EV, STEPS_EV.0, MOST.0);
    best(coarse_ev, STEPS_EV.0, STEPS_EV.1, MOST.1)
}

/// What the model says of each of `pixels`, `[pixel * clusters + cluster]`.
///
/// # Errors
/// What the model's engine says.
pub(super) fn posteriors(
    densities: &Densities,
    pixels: &[usize],
    model: &mut (dyn PosteriorModel + '_),
) -> Result<Vec<f32>, String> {
    let (mut od, mut sigma) = (Vec::new(), Vec::new());
    for &pixel in pixels {
        let (own_od, own_sigma) = densities.pixel(pixel);
        od.extend_from_slice(own_od);
        sigma.extend_from_slice(own_sigma);
    }
    model.posteriors(&densities.energies_ev, &od, &sigma)
}

/// The most probable phase of each row of posteriors, of the phases alone.
pub(super) fn winners(posteriors: &[f32], clusters: &[String], references: &ReferenceSet) -> Vec<u8> {
    let columns: Vec<Option<usize>> = references
        .references
        .iter()
        .map(|reference| clusters.iter().position(|name| *name == reference.label.id))
        .collect();
    let winner = |row: &[f32]| {
        let of = |k: usize| columns[k].map_or(f32::NAN, |column| row[column]);
        let known = (0..columns.len()).filter(|&k| !of(k).is_nan());
        known.max_by(|&a, &b| of(a).total_cmp(&of(b))).map_or(NO_PHASE, |k| k as u8)
    };
    posteriors.chunks_exact(clusters.len().max(1)).map(winner).collect()
}
