//! The specimen as each image sees it: the phases' optical densities at the dose and time of the image.

use super::plan::{beamline_shape, middle_ev};
use crate::reference::{ReferenceSet, Window};
use crate::scan::ScanPlan;
use crate::simulate::SimulationError;
use crate::simulate::damage::{self, Change, DamageTruth, Exposed, Witness};
use crate::simulate::scenario::{DamageSettings, Scenario};

/// Milliseconds in an hour.
pub(super) const MS_PER_H: f64 = 3.6e6;

/// What dose and time made of the phases.
#[derive(Clone, Debug)]
pub(super) struct Exposure {
    /// Optical density of what was once 200 nm of each phase, per energy.
    pub(super) od: Vec<Vec<f64>>,
    /// Share of the thickness that is left, per energy.
    pub(super) thickness: Vec<f64>,
    pub(super) truth: DamageTruth,
}

/// What is known of a scan before dose and time come in.
#[derive(Clone, Copy, Debug)]
pub(super) struct Unexposed<'a> {
    pub(super) scenario: &'a Scenario,
    pub(super) references: &'a ReferenceSet,
    pub(super) plan: &'a ScanPlan,
    /// True photon energy less set-point, eV, per energy.
    pub(super) offset_ev: &'a [f64],
    /// Optical density of 200 nm of each phase, per energy.
    pub(super) od: &'a [Vec<f64>],
    /// How much there is of each phase.
    pub(super) amounts: &'a [f64],
    /// Time that an image takes, ms.
    pub(super) image_ms: f64,
}

impl Unexposed<'_> {
    /// Lets dose and time in.
    ///
    /// # Errors
    /// A phase that is named and not there, or references that lack what is needed.
    pub(super) fn expose(&self, settings: &DamageSettings) -> Result<Exposure, SimulationError> {
        let change = Change::new(settings, self.references)?;
        let true_ev: Vec<f64> =
            self.plan.energies_ev.iter().zip(self.offset_ev).map(|(set, offset)| set + offset).collect();
        let doses_mgy =
            damage::doses_mgy(settings, self.references, self.plan, &true_ev, self.middle_light())?;
        let (seen_mgy, after_mgy) = damage::accumulated(settings.dose_before_mgy, &doses_mgy);
        let hours = |images: f64| images * self.image_ms / MS_PER_H;
        let states = |doses_mgy: &[f64], images: f64| -> Vec<Exposed> {
            let of = |(energy, &dose_mgy): (usize, &f64)| Exposed {
                dose_mgy,
                hours: hours(energy as f64 + images),
            };
            doses_mgy.iter().enumerate().map(of).collect()
        };
        let (seen, after) = (states(&seen_mgy, 0.5), states(&after_mgy, 1.0));
        let od = self.od.iter().zip(&seen).map(|(pure, &state)| change.of(pure, state)).collect();
        let witness = Witness {
            pre_edge: self.pre_edge(),
            white_line: self.white_line(&change),
            amounts: self.amounts,
            doses_mgy,
            start: Exposed { dose_mgy: settings.dose_before_mgy, hours: 0.0 },
            after: &after,
        };
        Ok(Exposure {
            od,
            thickness: seen.iter().map(|state| change.thickness(state.dose_mgy)).collect(),
            truth: damage::tell(&change, witness),
        })
    }

    /// Photons on a pixel at the middle of the range times their energy, eV, at the first ring current.
    fn middle_light(&self) -> f64 {
        let middle_ev = middle_ev(&self.plan.energies_ev);
        let true_ev = middle_ev + self.scenario.beam.energy_offset_ev;
        let photons = self.scenario.beam.photons / self.scenario.detector.efficiency;
        photons * beamline_shape(true_ev) * true_ev
    }

    /// Set-point and optical densities before the edge.
    fn pre_edge(&self) -> (f64, Vec<f64>) {
        let window = self.references.pre_edge;
        self.repeated(window).unwrap_or_else(|| {
            let middle_ev = 0.5 * (window.from_ev + window.to_ev);
            (middle_ev, self.references.od_at(middle_ev).unwrap_or_else(|| vec![0.0; self.amounts.len()]))
        })
    }

    /// Set-point and optical densities on the white line.
    fn white_line(&self, change: &Change<'_>) -> (f64, Vec<f64>) {
        let window = self.references.white_line;
        let most = || {
            let places = (0..=200)
                .map(|step| window.from_ev + (window.to_ev - window.from_ev) * f64::from(step) / 200.0);
            let known = places.filter_map(|energy_ev| Some((energy_ev, self.references.od_at(energy_ev)?)));
            let lost = |od: &[f64]| -> f64 {
                let reduced = od[change.reduced()];
                od.iter().zip(self.amounts).map(|(od, amount)| amount * (od - reduced)).sum()
            };
            known.max_by(|a, b| lost(&a.1).total_cmp(&lost(&b.1)))
        };
        self.repeated(window).or_else(most).unwrap_or((window.from_ev, vec![0.0; self.amounts.len()]))
    }

    /// The first repeated energy in a window.
    fn repeated(&self, window: Window) -> Option<(f64, Vec<f64>)> {
        let mut sentinels = self.scenario.scan.repeat_ev.iter();
        let energy_ev = *sentinels.find(|energy_ev| window.contains(**energy_ev))?;
        let place = self.plan.energies_ev.iter().position(|&planned_ev| planned_ev == energy_ev)?;
        Some((energy_ev, self.od[place].clone()))
    }
}
