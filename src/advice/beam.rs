//! How noisy an optical density will be at an energy that has not been measured.
//!
//! Counting noise alone is modelled: the variance of an optical density is `exp(OD) / N` with N the photons of the
//! empty beam, or `1 / N` where the values are not logarithms. N is taken from the variances of what was measured,
//! so that dark counts, photons per count and an estimated noise are in it; between measured energies it is
//! interpolated per millisecond of exposure, outside them it stays. Before anything was measured it is a guess,
//! which changes what is worth measuring little.

use crate::classify::spectrum::Spectrum;
use crate::scan::{ScanPlan, Signal};

/// Photons of the empty beam in one exposure where nothing is known yet.
const GUESS: f64 = 1000.0;

/// Photons of the empty beam by energy.
#[derive(Clone, Debug)]
pub(super) struct Beam {
    /// Energy, eV, ascending, and photons per millisecond.
    points: Vec<(f64, f64)>,
    /// Whether the optical density is a logarithm.
    logarithm: bool,
    /// Used where there are no points.
    guess_per_ms: f64,
}

/// Sums over pixels of one energy.
#[derive(Clone, Copy, Debug, Default)]
struct Sum {
    count: u32,
    inverse: f64,
}

/// Gathers what the measured values say of the beam.
#[derive(Clone, Debug)]
pub(super) struct BeamSums {
    sums: Vec<Sum>,
    logarithm: bool,
}

impl BeamSums {
    pub(super) fn new(plan: &ScanPlan) -> Self {
        let logarithm = plan.detector.signal == Signal::Transmission;
        Self { sums: vec![Sum::default(); plan.energies_ev.len()], logarithm }
    }

    /// Adds the values of a pixel.
    pub(super) fn add(&mut self, spectrum: &Spectrum) {
        for ((&energy, od), variance) in spectrum.energies.iter().zip(&spectrum.od).zip(&spectrum.variance) {
            let inverse = variance * if self.logarithm { (-od).exp() } else { 1.0 };
            if inverse.is_finite() && inverse > 0.0 {
                self.sums[energy].count += 1;
                self.sums[energy].inverse += inverse;
            }
        }
    }

    pub(super) fn into_beam(self, plan: &ScanPlan, energies_ev: &[f64]) -> Beam {
        let mut points: Vec<(f64, f64)> = (self.sums.iter().enumerate())
            .filter(|(_, sum)| sum.count > 0)
            .map(|(e, sum)| (energies_ev[e], f64::from(sum.count) / sum.inverse / plan.dwell_ms[e].max(1e-9)))
            .collect();
        points.sort_by(|a, b| a.0.total_cmp(&b.0));
        let dwell_ms = plan.dwell_ms.first().copied().unwrap_or(1.0).max(1e-9);
        Beam { points, logarithm: self.logarithm, guess_per_ms: GUESS / dwell_ms }
    }
}

impl Beam {
    /// A beam of `photons` in `dwell_ms`, the same at all energies.
    pub(super) fn flat(photons: f64, dwell_ms: f64) -> Self {
        Self { points: Vec::new(), logarithm: true, guess_per_ms: photons / dwell_ms }
    }

    /// Photons per millisecond at `energy_ev`.
    pub(super) fn photons_per_ms(&self, energy_ev: f64) -> f64 {
        let upper = self.points.partition_point(|point| point.0 < energy_ev);
        match (upper.checked_sub(1).and_then(|lower| self.points.get(lower)), self.points.get(upper)) {
            (None, None) => self.guess_per_ms,
            (Some(only), None) | (None, Some(only)) => only.1,
            (Some(low), Some(high)) => {
                low.1 + (high.1 - low.1) * (energy_ev - low.0) / (high.0 - low.0).max(1e-9)
            }
        }
    }

    /// Variance of an optical density of about `od`, measured for `dwell_ms`.
    pub(super) fn variance(&self, energy_ev: f64, dwell_ms: f64, od: f64) -> f64 {
        let photons = (self.photons_per_ms(energy_ev) * dwell_ms).max(1e-9);
        if self.logarithm { od.clamp(-1.0, 20.0).exp() / photons } else { 1.0 / photons }
    }

    /// Dose of an exposure in a unit of its own: photons, their energy, and the share of them that a sample of about
    /// `od` absorbs (the depth-averaged form, its constant factors left out).
    pub(super) fn dose(&self, energy_ev: f64, dwell_ms: f64, od: f64) -> f64 {
        self.photons_per_ms(energy_ev) * dwell_ms * energy_ev * (1.0 - (-od.clamp(0.0, 20.0)).exp())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stack::test_plan;

    #[test]
    fn photons_come_from_the_variances_and_are_interpolated_per_millisecond() {
        let mut plan = test_plan(1, 2, 3);
        plan.dwell_ms = vec![1.0, 1.0, 2.0];
        let mut sums = BeamSums::new(&plan);
        let mut spectrum = Spectrum::default();
        spectrum.push(0, 1.0, 1.0_f64.exp() / 500.0);
        spectrum.push(2, 0.5, 0.5_f64.exp() / 2000.0);
        sums.add(&spectrum);
        let beam = sums.into_beam(&plan, &plan.energies_ev);
        assert!((beam.photons_per_ms(510.0) - 500.0).abs() < 1e-6);
        assert!((beam.photons_per_ms(511.0) - 750.0).abs() < 1e-6);
        assert!((beam.photons_per_ms(600.0) - 1000.0).abs() < 1e-6, "as at the end");
        assert!((beam.variance(511.0, 2.0, 0.0) - 1.0 / 1500.0).abs() < 1e-9);
        assert!(beam.dose(511.0, 1.0, 1.0) > beam.dose(511.0, 1.0, 0.5));
    }

    #[test]
    fn before_anything_is_measured_there_is_a_guess() {
        let plan = test_plan(1, 2, 3);
        let beam = BeamSums::new(&plan).into_beam(&plan, &plan.energies_ev);
        assert!(beam.variance(511.0, 1.0, 0.0) > 0.0);
    }
}
