//! What a saving costs in accuracy, by simulating it.

use chrono::DateTime;
use rayon::prelude::*;
use serde::Serialize;

use super::setup::{Change, Setup};
use crate::classify::{PhaseMap, Recipe, Status, settle};
use crate::evaluation::metrics::ratio;
use crate::evaluation::{EvaluationError, THIN_NM};
use crate::simulate::{
    Beam, DetectorSettings, EnergyRun, Microscope, ScanSettings, Scenario, SimulationError, Specimen, Truth,
};
use crate::stack::Stack;

/// Rows and columns of the simulated field, in pixels of the plan.
pub const FIELD: usize = 64;
/// How far the phases of the specimen are from the references: shift, eV, and relative change of the spectrum, either way.
pub const MISMATCH: (f64, f64) = (0.1, 0.1);
/// Share from which a pixel counts as one phase.
const PURE: f32 = 0.95;
/// Thinnest and thickest place of a particle in thicknesses of the references, and width of an inclined boundary, pixels.
const PARTICLE: ([f64; 2], f64) = ([0.25, 2.0], 3.0);
/// Thickness that the simulator takes the references for, nm.
const REFERENCE_NM: f64 = crate::simulate::nvpf::THICKNESS_NM;

/// A mean over draws, and its standard error; `None` of a single draw.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Figure {
    /// The mean.
    pub mean: f64,
    /// Its standard error.
    pub error: Option<f64>,
}

impl Figure {
    /// Of values, one each draw.
    #[must_use]
    pub fn of(values: &[f64]) -> Self {
        let n = values.len() as f64;
        let mean = values.iter().sum::<f64>() / n;
        let square: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
        Self { mean, error: (values.len() > 1).then(|| (square / (n - 1.0) / n).sqrt()) }
    }
}

/// What came of one change; shares of the plan's pixels of one phase.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Measured {
    /// Share whose phase is named right, decided or not.
    pub accuracy: Figure,
    /// Share that is classified.
    pub coverage: Figure,
    /// Accuracy less that of the plan, draw by draw.
    pub accuracy_change: Figure,
    /// Coverage less that of the plan, draw by draw.
    pub coverage_change: Figure,
    /// Pixels that were scored.
    pub pixels: usize,
    /// Accuracy and coverage, one pair each draw.
    #[serde(skip)]
    pub draws: Vec<[f64; 2]>,
}

/// Shares of one draw.
#[derive(Clone, Copy, Debug)]
struct Score {
    accuracy: f64,
    coverage: f64,
    pixels: usize,
}

/// Measures changes; the first is what the others are compared with. `progress` is called after each simulated scan, of which there are
/// as many as there are different simulations times `draws`: half the flux is half the dwell to a simulation.
///
/// # Errors
/// References that do not reach any energy.
pub fn measure(
    setup: &Setup,
    changes: &[&Change],
    recipe: &Recipe,
    (draws, seed): (usize, u64),
    progress: &(dyn Fn(usize, usize) + Sync),
) -> Result<Vec<Measured>, EvaluationError> {
    let scans: Vec<Scan> = changes.iter().map(|change| Scan::of(setup, change, recipe)).collect();
    let mut distinct: Vec<&Scan> = Vec::new();
    let place: Vec<usize> = scans
        .iter()
        .map(|scan| {
            distinct.iter().position(|other| *other == scan).unwrap_or_else(|| {
                distinct.push(scan);
                distinct.len() - 1
            })
        })
        .collect();
    let total = distinct.len() * draws;
    progress(0, total);
    let done = std::sync::atomic::AtomicUsize::new(0);
    let truths: Vec<Truth> = (0..draws)
        .into_par_iter()
        .map(|draw| {
            let plain = Scan::of(setup, &Change::none(setup.plan.energies_ev.len()), recipe);
            Ok(plain.microscope(recipe, seed.wrapping_add(draw as u64))?.truth().clone())
        })
        .collect::<Result<_, EvaluationError>>()?;
    let scores: Vec<Score> = (0..total)
        .into_par_iter()
        .map(|job| {
            let draw = job % draws;
            let score = distinct[job / draws].score(recipe, &truths[draw], seed.wrapping_add(draw as u64));
            progress(done.fetch_add(1, std::sync::atomic::Ordering::Relaxed) + 1, total);
            score
        })
        .collect::<Result<_, EvaluationError>>()?;
    let of = |change: usize| &scores[place[change] * draws..(place[change] + 1) * draws];
    let plan: Vec<Score> = if changes.is_empty() { Vec::new() } else { of(0).to_vec() };
    let measured = |change: usize| {
        let scores = of(change);
        let figure = |of: &dyn Fn(&Score) -> f64| Figure::of(&scores.iter().map(of).collect::<Vec<_>>());
        let less = |of: &dyn Fn(&Score) -> f64| {
            let changes = scores.iter().zip(&plan).map(|(score, plan)| of(score) - of(plan));
            Figure::of(&changes.collect::<Vec<_>>())
        };
        Measured {
            accuracy: figure(&|score| score.accuracy),
            coverage: figure(&|score| score.coverage),
            accuracy_change: less(&|score| score.accuracy),
            coverage_change: less(&|score| score.coverage),
            pixels: scores.iter().map(|score| score.pixels).sum(),
            draws: scores.iter().map(|score| [score.accuracy, score.coverage]).collect(),
        }
    };
    Ok((0..changes.len()).map(measured).collect())
}

/// A scan to simulate.
#[derive(Clone, Debug, PartialEq)]
struct Scan {
    energies_ev: Vec<f64>,
    /// Detected photons of the empty beam, per energy.
    photons: Vec<f64>,
    /// Rows and columns.
    pixels: usize,
    thickness: f64,
    dark: f64,
    dwell_ms: f64,
}

impl Scan {
    fn of(setup: &Setup, change: &Change, recipe: &Recipe) -> Self {
        let after = setup.after(change);
        let (detected, _) = after.detected();
        let (mut energies_ev, mut photons): (Vec<f64>, Vec<f64>) = (Vec::new(), Vec::new());
        for (&energy_ev, &light) in after.plan.energies_ev.iter().zip(&detected) {
            // As the simulator rounds them.
            let energy_ev = (energy_ev * 1e6).round() / 1e6;
            if recipe.references.od_at(energy_ev).is_none() {
                continue;
            }
            match photons.last_mut().filter(|_| energies_ev.last() == Some(&energy_ev)) {
                // Twice in a row is one exposure twice as long.
                Some(last) => *last += light,
                None => {
                    energies_ev.push(energy_ev);
                    photons.push(light);
                }
            }
        }
        // In photons, as the light is.
        let counts_per_photon = setup.plan.detector.counts_per_photon.as_ref().and_then(|list| list.first());
        let dark = counts_per_photon.map_or(0.0, |counts| setup.plan.dark() / counts);
        Self {
            energies_ev,
            photons,
            pixels: (FIELD as f64 / change.pixel).round().max(1.0) as usize,
            thickness: setup.thickness,
            dark,
            // The simulator has one for all; nothing but the age of the ring hangs on it.
            dwell_ms: 1.0,
        }
    }

    fn microscope(&self, recipe: &Recipe, seed: u64) -> Result<Microscope, SimulationError> {
        let run = |&energy_ev: &f64| EnergyRun { from_ev: energy_ev, to_ev: energy_ev, step_ev: 1.0 };
        let scenario = Scenario {
            seed,
            beamline: "simulated".to_owned(),
            scan: ScanSettings {
                shape: [self.pixels; 2],
                energies: self.energies_ev.iter().map(run).collect(),
                dwell_ms: self.dwell_ms,
                ..ScanSettings::default()
            },
            beam: Beam::default(),
            detector: DetectorSettings { dark: self.dark, ..DetectorSettings::default() },
            specimen: Specimen {
                grid: Some([FIELD; 2]),
                thickness_nm: PARTICLE.0.map(|share| share * self.thickness * REFERENCE_NM),
                boundary_px: PARTICLE.1,
                subpixels: 2,
                mismatch_ev: MISMATCH.0,
                mismatch: MISMATCH.1,
                ..Specimen::default()
            },
            ..Scenario::default()
        };
        let microscope = Microscope::new(scenario, &recipe.references, "planned", DateTime::UNIX_EPOCH)?;
        Ok(microscope.with_photons(self.photons.clone()))
    }

    fn score(&self, recipe: &Recipe, truth: &Truth, seed: u64) -> Result<Score, EvaluationError> {
        let microscope = self.microscope(recipe, seed)?;
        let mut stack = Stack::new(microscope.plan().clone());
        let mut seq = 0;
        stack.note_seq(seq);
        for energy in 0..self.energies_ev.len() {
            for row in 0..self.pixels {
                seq += 1;
                stack.note_seq(seq);
                stack.push(seq, &microscope.line(energy, row))?;
            }
        }
        Ok(score(&settle(&stack, recipe, None).map, self.pixels, truth))
    }
}

/// Scores the plan's pixels of one phase by the pixels of a map that they lie in.
fn score(map: &PhaseMap, pixels: usize, truth: &Truth) -> Score {
    let (mut all, mut right, mut classified) = (0, 0, 0);
    for pixel in 0..truth.phase.len() {
        let is_pure = truth.share[pixel] >= PURE && truth.thickness_nm[pixel] >= THIN_NM;
        let Some(phase) = u8::try_from(truth.phase[pixel]).ok().filter(|_| is_pure) else { continue };
        let along = |at: usize, n: usize| ((at as f64 + 0.5) / n as f64 * pixels as f64) as usize;
        let seen = along(pixel / truth.nx, truth.ny) * pixels + along(pixel % truth.nx, truth.nx);
        all += 1;
        right += usize::from(map.phase[seen] == phase);
        classified += usize::from(map.status[seen] == Status::Classified);
    }
    Score { accuracy: ratio(right, all), coverage: ratio(classified, all), pixels: all }
}
