//! A plan with what is known of its light, and changes of it.

use crate::damage::{
    DoseModel, DoseSettings, Fluence, FluxSource, NOMINAL_PH_PER_S, NoDose, PlannedDose, exposure_s, moves_s,
};
use crate::reference::ReferenceSet;
use crate::scan::{ScanPlan, Signal};

/// A planned scan.
#[derive(Clone, Debug, PartialEq)]
pub struct Setup {
    /// The plan.
    pub plan: ScanPlan,
    /// I0 of each energy in one dwell, less dark, where it is known; see [`crate::damage::light`].
    pub light: Vec<Option<f64>>,
    /// What the dose is reckoned with.
    pub dose: DoseSettings,
    /// Flux, over that of which nobody knows how much it is; 1 of a plan as it comes.
    pub dim: f64,
    /// Thickness of the sample, over that of the references.
    pub thickness: f64,
    /// Time of a move of the monochromator, ms per eV.
    pub move_ms_per_ev: f64,
    /// Time it takes to settle after a move, ms.
    pub settle_ms: f64,
}

/// What is done to a plan; by default nothing.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    /// Dwell, over that of the plan.
    pub dwell: f64,
    /// Flux, over that of the plan.
    pub flux: f64,
    /// Side of a pixel, over that of the plan; a spot that is no larger than the new step grows with it.
    pub pixel: f64,
    /// The entries of the plan that are measured, ascending.
    pub entries: Vec<usize>,
}

impl Change {
    /// None, of a plan with so many energies.
    #[must_use]
    pub fn none(energies: usize) -> Self {
        Self { dwell: 1.0, flux: 1.0, pixel: 1.0, entries: (0..energies).collect() }
    }
}

impl Setup {
    /// The plan after a change.
    #[must_use]
    pub fn after(&self, change: &Change) -> Self {
        let mut setup = self.clone();
        let pick = |list: &[f64], factor: f64| -> Vec<f64> {
            change.entries.iter().filter_map(|&entry| Some(list.get(entry)? * factor)).collect()
        };
        let plan = &mut setup.plan;
        plan.energies_ev = pick(&self.plan.energies_ev, 1.0);
        plan.dwell_ms = pick(&self.plan.dwell_ms, change.dwell);
        plan.flux_ph_per_s = self.plan.flux_ph_per_s.as_ref().map(|flux| pick(flux, change.flux));
        let counts = self.plan.detector.counts_per_photon.as_ref();
        plan.detector.counts_per_photon = counts.map(|counts| pick(counts, 1.0));
        setup.dim *= change.flux;
        setup.dose.flux_ph_per_s = self.dose.flux_ph_per_s.map(|flux| flux * change.flux);
        let light = change.entries.iter().filter_map(|&entry| self.light.get(entry));
        setup.light = light.map(|light| light.map(|light| light * change.dwell * change.flux)).collect();
        if change.pixel != 1.0 {
            let step_nm = self.step_nm() * change.pixel;
            let grown = |spot_nm: f64| {
                if spot_nm < step_nm * (1.0 - 1e-9) { (spot_nm * change.pixel).min(step_nm) } else { spot_nm }
            };
            setup.dose.spot_nm = self.dose.spot_nm.map(grown);
            let grid = &mut setup.plan.grid;
            grid.shape = grid.shape.map(|n| ((n as f64 / change.pixel).round() as usize).max(1));
            grid.x.step *= change.pixel;
            grid.y.step *= change.pixel;
        }
        setup
    }

    /// The longer side of a pixel, nm; NaN where the grid's unit is no length.
    #[must_use]
    pub fn step_nm(&self) -> f64 {
        let grid = &self.plan.grid;
        let unit_um = crate::damage::unit_um(&grid.unit).unwrap_or(f64::NAN);
        1e3 * unit_um * grid.x.step.abs().max(grid.y.step.abs())
    }

    /// Its dose.
    ///
    /// # Errors
    /// [`NoDose`].
    pub fn planned(&self, references: &ReferenceSet) -> Result<PlannedDose, NoDose> {
        let model = DoseModel::new(&self.plan, &self.light, references, &self.dose)?;
        Ok(PlannedDose::of(&self.plan, model, references, self.thickness))
    }

    /// Time in the beam, and time of the whole scan with the moves of the monochromator, s.
    #[must_use]
    pub fn seconds(&self) -> [f64; 2] {
        let exposure_s = exposure_s(&self.plan, self.dose.exposure_factor);
        [exposure_s, exposure_s + moves_s(&self.plan.energies_ev, self.move_ms_per_ev, self.settle_ms)]
    }

    /// Photons that the detector counts in a pixel without sample, at each energy; and what was assumed for it, in words.
    #[must_use]
    pub fn detected(&self) -> (Vec<f64>, Vec<String>) {
        let mut remarks = Vec::new();
        let fluence = Fluence::of(&self.plan, &self.light, &self.dose);
        let efficiency = self.dose.detector_efficiency.or(self.plan.detector.efficiency);
        let counts_per_photon =
            |entry: usize| self.plan.detector.counts_per_photon.as_ref().map_or(1.0, |list| list[entry]);
        let counted = |entry: usize| Some((*self.light.get(entry)?)? / counts_per_photon(entry));
        let all: Option<Vec<f64>> = (0..self.plan.energies_ev.len()).map(counted).collect();
        let photons = match (fluence.source, all) {
            (FluxSource::Nominal | FluxSource::Counts, Some(counted)) if !counted.is_empty() => counted,
            (source, _) => {
                if source == FluxSource::Nominal {
                    remarks.push(format!(
                        "neither flux nor counts are known: accuracies are those of {NOMINAL_PH_PER_S:.0e} photons/s"
                    ));
                }
                if efficiency.is_none() {
                    remarks.push(
                        "the efficiency of the detector is not known: accuracies are those of a detector that counts every photon"
                            .to_owned(),
                    );
                }
                let dim = if source == FluxSource::Nominal { self.dim } else { 1.0 };
                let share = dim * efficiency.unwrap_or(1.0) / self.dose.exposure_factor;
                fluence.photons.iter().map(|photons| photons * share).collect()
            }
        };
        if self.plan.detector.signal != Signal::Transmission {
            remarks.push("accuracies are those of a scan in transmission".to_owned());
        }
        (photons, remarks)
    }
}
