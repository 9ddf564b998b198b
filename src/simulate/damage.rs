//! What dose and time make of a specimen: phases that are reduced, mass that is lost, and evolution of its own.
//!
//! At an accumulated dose D a share u(D) = p + (1 - p)·k(f·D/D_c) of a phase is as it was, with the plateau p, the
//! kinetics k and the phase's own factor f; the rest has the spectrum of the reduced phase. After a time t a share
//! 1 - exp(-r·t) of each phase is another phase, which is reduced in its turn. The thickness falls to
//! 1 - l·(1 - exp(-D/D_m)) of what it was. All of it is linear in the spectra and the same all over the field, so that
//! it comes down to other optical densities of the phases, energy by energy: a pixel costs no more than before.
//!
//! An exposure is seen at the dose of all those before it and half of its own, and at the time of its middle. With the
//! dose of an image given, that at another energy is in proportion to flux times exposure times energy; otherwise it is
//! D = n·E·(µ/ρ)/a at the front surface, for n photons on a pixel of area a, with the mean µ of the references, whose
//! optical density is that of 200 nm, and the mean of their densities. A phase that is not among the references, a set
//! of which none has a state where `reduced` is not named, and one without densities where the dose is to follow from
//! the flux, are errors.

mod truth;

use super::SimulationError;
use super::nvpf::THICKNESS_NM;
use super::scenario::DamageSettings;
use crate::reference::ReferenceSet;
use crate::scan::ScanPlan;
pub use truth::DamageTruth;
pub(super) use truth::{Exposed, Witness, tell};

/// Elementary charge, C: joules of an electronvolt.
const JOULE_PER_EV: f64 = 1.602_176_634e-19;

/// What happens to the phases of a set of references.
#[derive(Clone, Debug)]
pub(super) struct Change<'a> {
    settings: &'a DamageSettings,
    /// What everything is reduced to.
    reduced: usize,
    /// What the evolution goes to.
    toward: usize,
    /// Factor on the rate of each phase; 0 for what is reduced already.
    factors: Vec<f64>,
}

impl<'a> Change<'a> {
    /// Finds the phases that are named.
    pub(super) fn new(
        settings: &'a DamageSettings,
        references: &ReferenceSet,
    ) -> Result<Self, SimulationError> {
        let place = |key: &'static str, id: &str| {
            let found = references.references.iter().position(|reference| reference.label.id == id);
            found.ok_or_else(|| SimulationError::Phase { key, id: id.to_owned() })
        };
        let reduced = match &settings.reduced {
            Some(id) => place("damage.reduced", id)?,
            None => most_reduced(references).ok_or(SimulationError::Reduced)?,
        };
        let toward =
            settings.chemistry_to.as_deref().map_or(Ok(reduced), |id| place("damage.chemistry_to", id))?;
        let mut factors = vec![1.0; references.len()];
        for (id, factor) in &settings.rates {
            factors[place("damage.rates", id)?] = *factor;
        }
        factors[reduced] = 0.0;
        Ok(Self { settings, reduced, toward, factors })
    }

    /// What everything is reduced to.
    pub(super) fn reduced(&self) -> usize {
        self.reduced
    }

    /// Critical dose of a phase, MGy; `None` where it is not reduced.
    pub(super) fn critical_dose_mgy(&self, phase: usize) -> Option<f64> {
        let critical_mgy = self.settings.critical_dose_mgy?;
        (self.factors[phase] > 0.0).then(|| critical_mgy / self.factors[phase])
    }

    /// Share of a phase that is as it was after a dose.
    pub(super) fn left(&self, phase: usize, dose_mgy: f64) -> f64 {
        let Some(critical_mgy) = self.critical_dose_mgy(phase) else { return 1.0 };
        let plateau = self.settings.plateau;
        plateau + (1.0 - plateau) * self.settings.kinetics.left(dose_mgy / critical_mgy)
    }

    /// Share of the thickness that is left after a dose.
    pub(super) fn thickness(&self, dose_mgy: f64) -> f64 {
        1.0 + self.settings.mass_loss * (-dose_mgy / self.settings.mass_critical_dose_mgy).exp_m1()
    }

    /// Share of each phase that has gone over by itself so long after the start of the scan.
    pub(super) fn reacted(&self, hours: f64) -> f64 {
        -(-self.settings.chemistry_per_h * (self.settings.chemistry_before_h + hours)).exp_m1()
    }

    /// Optical density of what was once [`THICKNESS_NM`] of each phase, where the phases themselves have `pure`.
    pub(super) fn of(&self, pure: &[f64], state: Exposed) -> Vec<f64> {
        let (reacted, thickness) = (self.reacted(state.hours), self.thickness(state.dose_mgy));
        let reduced = |phase: usize| {
            let left = self.left(phase, state.dose_mgy);
            left * pure[phase] + (1.0 - left) * pure[self.reduced]
        };
        let other = reduced(self.toward);
        let mixed = |phase: usize| thickness * ((1.0 - reacted) * reduced(phase) + reacted * other);
        (0..pure.len()).map(mixed).collect()
    }

    /// How fast the optical densities of [`Self::of`] change with the dose, per MGy.
    pub(super) fn slope(&self, pure: &[f64], state: Exposed) -> Vec<f64> {
        let DamageSettings { plateau, kinetics, mass_loss, mass_critical_dose_mgy, .. } = self.settings;
        let (reacted, thickness) = (self.reacted(state.hours), self.thickness(state.dose_mgy));
        let thinning = -mass_loss / mass_critical_dose_mgy * (-state.dose_mgy / mass_critical_dose_mgy).exp();
        let falling = |phase: usize| {
            self.critical_dose_mgy(phase).map_or(0.0, |critical_mgy| {
                -(1.0 - plateau) * kinetics.fall(state.dose_mgy / critical_mgy) / critical_mgy
            })
        };
        let slope = |phase: usize| falling(phase) * (pure[phase] - pure[self.reduced]);
        let now = self.of(pure, state);
        (0..pure.len())
            .map(|phase| {
                let reducing = (1.0 - reacted) * slope(phase) + reacted * slope(self.toward);
                thickness * reducing + thinning / thickness * now[phase]
            })
            .collect()
    }
}

/// The phase with the largest value of the state variable; the first of equals.
fn most_reduced(references: &ReferenceSet) -> Option<usize> {
    let states = references.references.iter().enumerate();
    let states =
        states.filter_map(|(phase, reference)| Some((phase, reference.composition.state.as_ref()?.1)));
    states.reduce(|most, other| if other.1 > most.1 { other } else { most }).map(|(phase, _)| phase)
}

/// Dose of every image of a plan, MGy. `true_ev` are the photon energies.
pub(super) fn doses_mgy(
    settings: &DamageSettings,
    references: &ReferenceSet,
    plan: &ScanPlan,
    true_ev: &[f64],
    middle: f64,
) -> Result<Vec<f64>, SimulationError> {
    let flux = plan.flux_ph_per_s.as_deref().unwrap_or_default();
    let photons = flux.iter().zip(&plan.dwell_ms).map(|(flux, dwell_ms)| flux * dwell_ms * 1e-3);
    let light: Vec<f64> = photons.zip(true_ev).map(|(photons, energy_ev)| photons * energy_ev).collect();
    if let Some(dose_mgy) = settings.dose_per_energy_mgy {
        return Ok(light.into_iter().map(|light| dose_mgy * light / middle).collect());
    }
    let density = mean(references.references.iter().filter_map(|r| r.composition.density_g_per_cm3));
    let density_kg_per_m3 = 1e3 * density.ok_or(SimulationError::Density)?;
    let pixel_m2 = (plan.grid.x.step * plan.grid.y.step).abs() * 1e-12;
    let dose = |(light, energy_ev): (f64, &f64)| {
        let od = references.od_at(*energy_ev).ok_or(SimulationError::Energy(*energy_ev))?;
        let per_m = mean(od.into_iter()).unwrap_or_default() / (THICKNESS_NM * 1e-9);
        Ok(light * JOULE_PER_EV * per_m / density_kg_per_m3 / pixel_m2 * 1e-6)
    };
    light.into_iter().zip(true_ev).map(dose).collect()
}

fn mean(values: impl Iterator<Item = f64>) -> Option<f64> {
    let (count, sum) = values.fold((0, 0.0), |(count, sum), value| (count + 1, sum + value));
    (count > 0).then(|| sum / f64::from(count))
}

/// Doses at which each image is seen: all before it, and half of its own; and those after it.
pub(super) fn accumulated(before_mgy: f64, doses_mgy: &[f64]) -> (Vec<f64>, Vec<f64>) {
    let mut total_mgy = before_mgy;
    doses_mgy
        .iter()
        .map(|dose_mgy| {
            let seen_mgy = total_mgy + 0.5 * dose_mgy;
            total_mgy += dose_mgy;
            (seen_mgy, total_mgy)
        })
        .unzip()
}

#[cfg(test)]
mod tests;
