//! Scans to measure again and again: simulated ones, and recorded ones.

use chrono::{DateTime, Utc};

use crate::classify::mixture::MixtureFit;
use crate::classify::spectrum::Spectrum;
use crate::classify::{DensityView, NO_PHASE, PhaseMap, Recipe, Targets, settle};
use crate::recording::Recording;
use crate::reference::ReferenceSet;
use crate::scan::{SampleBatch, ScanPlan};
use crate::simulate::{Beam, EnergyRun, Microscope, ScanSettings, Scenario, SimulationError, mismatched};
use crate::stack::{Stack, StackError};

/// Share from which a pixel counts as one phase.
const PURE: f32 = 0.95;
/// Least share of its larger phase for a pixel of a recorded stack to be scored.
const CLEAR: f32 = 0.6;
/// Photons that a list of energies is designed for where a recording does not tell.
const RECORDED_PHOTONS: f64 = 3000.0;
/// How far a planned range reaches below the end of the pre-edge and above the end of the white line, eV.
const REACH_EV: [f64; 2] = [4.0, 15.0];
/// Mismatched samples: shift of a phase, eV, and relative change of its spectrum, either way.
const MISMATCH: (f64, f64) = (0.1, 0.1);

/// A whole scan and its truth.
#[derive(Clone, Debug)]
pub struct Trial {
    /// The plan.
    pub plan: ScanPlan,
    /// What was measured, by energy.
    pub batches: Vec<Vec<SampleBatch>>,
    /// Phase of each pixel, [`NO_PHASE`] where it is not scored.
    pub truth: Vec<u8>,
    /// Dose by energy; shares that add up to 1.
    pub dose: Vec<f64>,
    /// Photons of the empty beam in one exposure, about.
    pub photons: f64,
}

/// What to simulate.
#[derive(Clone, Debug, PartialEq)]
pub struct TrialSettings {
    /// Photons of the empty beam.
    pub photons: f64,
    /// Number of energies, evenly spaced.
    pub energies: usize,
    /// Rows and columns.
    pub shape: [usize; 2],
    /// Sample spectra that differ from the references.
    pub mismatch: bool,
    /// Everything random comes from this number.
    pub seed: u64,
}

impl Trial {
    /// A simulated scan: particles of all phases with grain boundaries, dark counts, second order, a decaying beam.
    ///
    /// # Errors
    /// Settings out of range, or references that share no energies.
    pub fn simulated(references: &ReferenceSet, settings: &TrialSettings) -> Result<Self, SimulationError> {
        let set = if settings.mismatch {
            mismatched(references, MISMATCH.0, MISMATCH.1, settings.seed)
        } else {
            references.clone()
        };
        let run = |energy_ev: f64| EnergyRun { from_ev: energy_ev, to_ev: energy_ev, step_ev: 1.0 };
        let scenario = Scenario {
            seed: settings.seed,
            beamline: "simulated".to_owned(),
            scan: ScanSettings {
                shape: settings.shape,
                energies: plan_ev(references, settings.energies).into_iter().map(run).collect(),
                ..ScanSettings::default()
            },
            beam: Beam { photons: settings.photons, ..Beam::default() },
            ..Scenario::default()
        };
        let microscope = Microscope::new(scenario, &set, "trial", DateTime::<Utc>::UNIX_EPOCH)?;
        let mut plan = microscope.plan().clone();
        let energies = plan.energies_ev.len();
        plan.detector.counts_per_photon = Some(vec![1.0; energies]);
        let truth = microscope.truth();
        let pure = |pixel: usize| truth.phase[pixel] >= 0 && truth.share[pixel] >= PURE;
        let pixels = plan.grid.pixels();
        let dose = (0..energies).map(|energy| {
            let absorbed = |pixel: usize| 1.0 - (-microscope.optical_density(energy, pixel)).exp();
            let covered = (0..pixels).filter(|&pixel| truth.phase[pixel] >= 0).step_by(7);
            microscope.open_beam(energy, 0) * plan.energies_ev[energy] * covered.map(absorbed).sum::<f64>()
        });
        Ok(Self {
            dose: shares(dose.collect()),
            batches: (0..energies)
                .map(|energy| (0..plan.grid.ny()).map(|row| microscope.line(energy, row)).collect())
                .collect(),
            truth: (0..pixels)
                .map(|pixel| if pure(pixel) { truth.phase[pixel] as u8 } else { NO_PHASE })
                .collect(),
            photons: settings.photons,
            plan,
        })
    }

    /// A recorded stack. The truth is the larger phase of an unweighted, non-negative fit of two references and a
    /// constant over all energies, where its share is clear; every energy counts as the same dose per exposure.
    ///
    /// # Errors
    /// Values that do not fit the plan.
    pub fn recorded(recording: &Recording, recipe: &Recipe) -> Result<Self, StackError> {
        let plan = recording.plan.clone();
        let mut stack = Stack::new(plan.clone());
        for (seq, batch) in recording.batches() {
            stack.note_seq(seq);
            stack.push(seq, &batch)?;
        }
        let settled = settle(&stack, recipe, None);
        let targets = Targets::new(&recipe.references, &plan.energies_ev);
        let max_od = recipe.absorption.max_od;
        let view = DensityView::new(&stack, &settled.intensity, max_od, settled.noise_factor);
        let (mut spectrum, mut fit) = (Spectrum::default(), MixtureFit::default());
        let truth = (0..settled.map.len()).map(|pixel| {
            if settled.map.phase[pixel] == NO_PHASE {
                return NO_PHASE;
            }
            view.gather(pixel, &mut spectrum);
            spectrum.variance.fill(1.0);
            let best = if fit.load(&spectrum, &targets) { fit.best() } else { None };
            best.filter(|best| best.share >= CLEAR).map_or(NO_PHASE, |best| best.pair[0])
        });
        Ok(Self {
            truth: truth.collect(),
            batches: (0..plan.energies_ev.len())
                .map(|energy| (0..plan.grid.ny()).flat_map(|row| recording.line(energy, row)).collect())
                .collect(),
            dose: shares(plan.dwell_ms.clone()),
            photons: RECORDED_PHOTONS,
            plan,
        })
    }

    /// Number of pixels that are scored.
    #[must_use]
    pub fn scored(&self) -> usize {
        self.truth.iter().filter(|truth| **truth != NO_PHASE).count()
    }

    /// Share of the scored pixels whose best guess is right, and its mean over the phases.
    #[must_use]
    pub fn score(&self, map: &PhaseMap) -> (f64, f64) {
        let phases = map.phases.len();
        let (mut right, mut all) = (vec![0_usize; phases], vec![0_usize; phases]);
        for (&truth, &guess) in self.truth.iter().zip(&map.phase).filter(|(truth, _)| **truth != NO_PHASE) {
            let truth_index = usize::from(truth);
            if truth_index < phases {
                all[truth_index] += 1;
                right[truth_index] += usize::from(truth == guess);
            }
        }
        let share = |right: usize, all: usize| right as f64 / all.max(1) as f64;
        let present: Vec<usize> = (0..phases).filter(|&phase| all[phase] > 0).collect();
        let balanced =
            present.iter().map(|&k| share(right[k], all[k])).sum::<f64>() / present.len().max(1) as f64;
        (share(right.iter().sum(), all.iter().sum()), balanced)
    }
}

fn shares(mut list: Vec<f64>) -> Vec<f64> {
    let all: f64 = list.iter().sum();
    list.iter_mut().for_each(|value| *value /= all);
    list
}

/// Evenly spaced energies from before the edge to behind the white line.
fn plan_ev(references: &ReferenceSet, count: usize) -> Vec<f64> {
    let (low, high) = references.shared_range_ev().unwrap_or((0.0, 0.0));
    let from_ev = (references.pre_edge.to_ev - REACH_EV[0]).max(low);
    let to_ev = (references.white_line.to_ev + REACH_EV[1]).min(high);
    let step_ev = (to_ev - from_ev) / (count.max(2) - 1) as f64;
    (0..count).map(|i| ((from_ev + i as f64 * step_ev) * 1e3).round() / 1e3).collect()
}
