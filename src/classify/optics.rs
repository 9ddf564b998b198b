//! What a place of the sample says: the spectrum of a pixel, or the mean one of many, and how the references describe it.
//!
//! It is made when somebody points at a map, from the stack and from the estimates that the map was made with ([`Optics`]). The spectrum has
//! one value per energy of the plan with any; energies that were measured again are there once. Fits are weighted, non-negative sums of references and a free
//! constant, over the energies that the references reach. A place without a usable value has an empty spectrum and no fit.

use std::sync::Arc;

use super::spectrum::Spectrum;
use super::{Correction, DensityView, Targets};
use crate::absorption::Intensity;
use crate::reference::ReferenceSet;
use crate::stack::Stack;

/// Most steps of a fit: some times the number of references.
const ROUNDS: usize = 100;
/// What another reference has to gain at least, as a share of all that it has in common with the spectrum.
const DONE: f64 = 1e-9;
/// Amounts below this share of the sum are none.
const NONE: f64 = 1e-3;

/// The estimates behind a map: what turns its stack into optical densities and says where the references are taken.
#[derive(Clone, Debug)]
pub struct Optics {
    pub(super) registered: Option<Stack>,
    pub(super) intensity: Intensity,
    pub(super) max_od: f64,
    pub(super) noise_factor: f64,
    pub(super) uncorrected_ev: Vec<f64>,
    pub(super) correction: Correction,
    pub(super) references: Arc<ReferenceSet>,
}

impl Optics {
    /// Memory beyond the stack itself.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.registered.as_ref().map_or(0, Stack::bytes)
    }

    /// The stack, as it was measured, as optical densities.
    #[must_use]
    pub fn view<'a>(&'a self, raw: &'a Stack) -> DensityView<'a> {
        let stack = self.registered.as_ref().unwrap_or(raw);
        DensityView::new(stack, &self.intensity, self.max_od, self.noise_factor)
    }

    /// The references, in the order of `weight`s and of [`Single::phase`].
    #[must_use]
    pub fn references(&self) -> &ReferenceSet {
        &self.references
    }

    /// Energies at which the references are taken, eV.
    #[must_use]
    pub fn corrected_ev(&self) -> Vec<f64> {
        self.correction.apply(&self.uncorrected_ev)
    }

    /// The spectrum of `pixels` together, and what describes it. `phases` are those that the fit may use; all where there are none.
    #[must_use]
    pub fn place(&self, raw: &Stack, pixels: &[usize], phases: &[usize]) -> PlaceSpectrum {
        let view = self.view(raw);
        let targets = Targets::corrected(&self.references, &self.uncorrected_ev, &self.correction);
        let (spectrum, pixels) = mean(&view, pixels, targets.energies_ev.len());
        let curves = Curves::of(&targets, &self.references, &spectrum);
        let all: Vec<usize> = (0..targets.phases()).collect();
        let phases = if phases.is_empty() { &all } else { phases };
        let mut references: Vec<Single> = all
            .iter()
            .filter_map(|&phase| {
                let fit = curves.fit(&spectrum, &[phase])?;
                Some(Single { phase, chi2: fit.chi2, od: fit.od })
            })
            .collect();
        references.sort_by(|a, b| a.chi2.total_cmp(&b.chi2));
        references.truncate(MOST_SINGLES);
        PlaceSpectrum {
            energy_ev: spectrum.energies.iter().map(|&e| targets.uncorrected_ev[e]).collect(),
            corrected_ev: spectrum.energies.iter().map(|&e| targets.energies_ev[e]).collect(),
            sigma: spectrum.variance.iter().map(|variance| variance.sqrt()).collect(),
            fit: curves.fit(&spectrum, phases),
            od: spectrum.od,
            energies: spectrum.energies,
            pixels,
            references,
        }
    }
}

/// References that are held against a spectrum one by one.
const MOST_SINGLES: usize = 3;

/// The spectrum of a place. All columns are equally long, energies in the order of the plan.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PlaceSpectrum {
    /// Indices of the energies in the plan.
    pub energies: Vec<usize>,
    /// Energies as they were set or read back, eV.
    pub energy_ev: Vec<f64>,
    /// Energies at which the references are taken, eV.
    pub corrected_ev: Vec<f64>,
    /// Optical density: of many pixels the mean.
    pub od: Vec<f64>,
    /// Its standard error, by the noise.
    pub sigma: Vec<f64>,
    /// Pixels with a usable value.
    pub pixels: Vec<u32>,
    /// What describes it best.
    pub fit: Option<PlaceFit>,
    /// What single references make of it, the best first.
    pub references: Vec<Single>,
}

/// References in amounts, and a constant.
#[derive(Clone, Debug, PartialEq)]
pub struct PlaceFit {
    /// Index of each phase with its amount, in units of the reference; the largest first.
    pub parts: Vec<(usize, f64)>,
    /// What is added at every energy, optical density.
    pub constant: f64,
    /// chi² per degree of freedom.
    pub chi2: f64,
    /// The fit at each energy of the spectrum; NaN where the references do not reach.
    pub od: Vec<f64>,
}

/// A single reference, in the amount and with the constant that suit best.
#[derive(Clone, Debug, PartialEq)]
pub struct Single {
    /// Index of its phase.
    pub phase: usize,
    /// chi² per degree of freedom.
    pub chi2: f64,
    /// Its optical density at each energy of the spectrum; NaN where the references do not reach.
    pub od: Vec<f64>,
}

/// The mean spectrum of pixels over the first `energies` of the plan, and how many values each mean is of.
fn mean(view: &DensityView<'_>, pixels: &[usize], energies: usize) -> (Spectrum, Vec<u32>) {
    let mut sums = vec![(0.0, 0.0, 0_u32); energies];
    let mut own = Spectrum::default();
    for &pixel in pixels.iter().filter(|&&pixel| pixel < view.pixels()) {
        view.gather(pixel, &mut own);
        for i in 0..own.len() {
            // The plan may have grown since the estimates were made.
            let Some((od, variance, count)) = sums.get_mut(own.energies[i]) else { continue };
            *od += own.od[i];
            *variance += own.variance[i];
            *count += 1;
        }
    }
    let (mut spectrum, mut counts) = (Spectrum::default(), Vec::new());
    for (energy, &(od, variance, count)) in sums.iter().enumerate().filter(|(_, (_, _, count))| *count > 0) {
        let n = f64::from(count);
        spectrum.push(energy, od / n, variance / (n * n));
        counts.push(count);
    }
    (spectrum, counts)
}

/// The references at the energies of a spectrum.
struct Curves {
    /// For each entry of the spectrum the references, where they reach.
    at: Vec<Option<Vec<f64>>>,
}

impl Curves {
    fn of(targets: &Targets, references: &ReferenceSet, spectrum: &Spectrum) -> Self {
        let column = |&energy: &usize| {
            let energy_ev = targets.energies_ev[energy];
            let own = |(phase, reference): (usize, &crate::reference::Reference)| {
                reference.od_held_at(energy_ev + targets.correction.own(phase))
            };
            targets.used[energy].then(|| references.references.iter().enumerate().map(own).collect())?
        };
        Self { at: spectrum.energies.iter().map(column).collect() }
    }

    /// The best fit with amounts of `phases` that are not negative; `None` with fewer values than unknowns.
    fn fit(&self, spectrum: &Spectrum, phases: &[usize]) -> Option<PlaceFit> {
        let used: Vec<(f64, f64, &Vec<f64>)> = self
            .at
            .iter()
            .enumerate()
            .filter_map(|(i, at)| Some((1.0 / spectrum.variance[i], spectrum.od[i], at.as_ref()?)))
            .filter(|(weight, od, _)| weight.is_finite() && od.is_finite())
            .collect();
        let free = used.len().checked_sub(phases.len() + 1).filter(|free| *free > 0)?;
        let total: f64 = used.iter().map(|(weight, ..)| weight).sum();
        let mean_of = |of: &dyn Fn(f64, &[f64]) -> f64| {
            used.iter().map(|(w, od, at)| w * of(*od, at)).sum::<f64>() / total
        };
        let mean_od = mean_of(&|od, _| od);
        let means: Vec<f64> = phases.iter().map(|&phase| mean_of(&|_, at| at[phase])).collect();
        let k = phases.len();
        let (mut gram, mut along) = (vec![0.0; k * k], vec![0.0; k]);
        for (weight, od, at) in &used {
            for i in 0..k {
                let x = at[phases[i]] - means[i];
                along[i] += weight * x * (od - mean_od);
                (0..k).for_each(|j| gram[i * k + j] += weight * x * (at[phases[j]] - means[j]));
            }
        }
        let amounts = amounts(&gram, &along);
        let constant = mean_od - amounts.iter().zip(&means).map(|(amount, mean)| amount * mean).sum::<f64>();
        let value = |at: &Vec<f64>| constant + (0..k).map(|i| amounts[i] * at[phases[i]]).sum::<f64>();
        let misfit: f64 = used.iter().map(|(weight, od, at)| weight * (od - value(at)).powi(2)).sum();
        let sum: f64 = amounts.iter().sum();
        let mut parts: Vec<(usize, f64)> = phases.iter().copied().zip(amounts.iter().copied()).collect();
        parts.retain(|(_, amount)| *amount > NONE * sum);
        parts.sort_by(|a, b| b.1.total_cmp(&a.1));
        let od = self.at.iter().map(|at| at.as_ref().map_or(f64::NAN, value)).collect();
        Some(PlaceFit { parts, constant, chi2: misfit / free as f64, od })
    }
}

/// The amounts, none below zero, for which half `aᵀ G a - hᵀ a` is least (Lawson and Hanson 1974, with the normal equations): what would lower it most is
/// let in, what would fall below zero is let out, until nothing is left to be gained.
fn amounts(gram: &[f64], along: &[f64]) -> Vec<f64> {
    let k = along.len();
    let mut amounts = vec![0.0_f64; k];
    let mut inside = vec![false; k];
    for _ in 0..ROUNDS {
        let gain = |i: usize| along[i] - (0..k).map(|j| gram[i * k + j] * amounts[j]).sum::<f64>();
        let best = (0..k).filter(|&i| !inside[i]).max_by(|&i, &j| gain(i).total_cmp(&gain(j)));
        let Some(best) = best.filter(|&i| gain(i) > DONE * along[i].abs()) else { break };
        inside[best] = true;
        while let Some(wanted) = solve(gram, along, &inside) {
            // As far toward it as nothing falls below zero.
            let step = (0..k)
                .filter(|&i| inside[i] && wanted[i] <= 0.0)
                .map(|i| amounts[i] / (amounts[i] - wanted[i]))
                .fold(1.0, f64::min);
            for i in 0..k {
                amounts[i] += step * (wanted[i] - amounts[i]);
            }
            if step >= 1.0 {
                break;
            }
            for i in 0..k {
                if inside[i] && amounts[i] <= 1e-12 {
                    (inside[i], amounts[i]) = (false, 0.0);
                }
            }
        }
    }
    amounts
}

/// The amounts of those inside without regard to signs, 0 for the others; `None` where they cannot be told apart.
fn solve(gram: &[f64], along: &[f64], inside: &[bool]) -> Option<Vec<f64>> {
    let k = along.len();
    let list: Vec<usize> = (0..k).filter(|&i| inside[i]).collect();
    let n = list.len();
    let mut rows: Vec<Vec<f64>> =
        list.iter().map(|&i| list.iter().map(|&j| gram[i * k + j]).chain([along[i]]).collect()).collect();
    for column in 0..n {
        let pivot = (column..n).max_by(|&a, &b| rows[a][column].abs().total_cmp(&rows[b][column].abs()))?;
        rows.swap(column, pivot);
        if rows[column][column].abs() <= 1e-12 * gram[list[column] * k + list[column]].abs() {
            return None;
        }
        let own = rows[column].clone();
        for (_, row) in rows.iter_mut().enumerate().filter(|(row, _)| *row != column) {
            let factor = row[column] / own[column];
            row.iter_mut().zip(&own).for_each(|(item, own)| *item -= factor * own);
        }
    }
    let mut all = vec![0.0; k];
    list.iter().enumerate().for_each(|(row, &i)| all[i] = rows[row][n] / rows[row][row]);
    Some(all)
}

#[cfg(test)]
#[path = "optics_tests.rs"]
mod tests;
