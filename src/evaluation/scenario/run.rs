//! Simulates scenarios and maps them.

use std::time::Instant;

use chrono::DateTime;
use rayon::prelude::*;
use serde::Serialize;

use super::score::{Corrections, Score};
use crate::absorption::{I0Mode, I0Spectrum, SpectrumUnit};
use crate::classify::{OffsetMode, PosteriorModel, Recipe, settle};
use crate::detector::{FrameSettings, FrameStage};
use crate::evaluation::{EvaluationError, Subject};
use crate::reference::ReferenceSet;
use crate::registration::{Drift, RegistrationMode, Verdict};
use crate::scan::DetectorKind;
use crate::simulate::{IncidentSource, Microscope, Scenario, Truth};
use crate::stack::Stack;

/// Scans that are simulated side by side before they are mapped.
const AHEAD: usize = 4;

/// One scenario to run.
#[derive(Clone, Debug, PartialEq)]
pub struct ScenarioJob {
    /// Its name.
    pub name: String,
    /// What to simulate; its seed is that of the first scan.
    pub scenario: Scenario,
}

/// One line of the table.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ScenarioRow {
    /// Name of the scenario.
    pub name: String,
    /// What it is about.
    pub about: String,
    /// How many scans were simulated.
    pub scans: usize,
    /// What came of them.
    #[serde(flatten)]
    pub score: Score,
    /// What was applied to the first of them, as its map says: name and value.
    pub applied: Vec<(String, String)>,
}

/// Runs every job with `seeds` seeds, one after the other from the scenario's own on. `progress` is told how many
/// scans of how many are done.
///
/// # Errors
/// A scenario that the references do not reach, or a model that fails.
pub fn scenarios(
    subject: &mut Subject,
    jobs: &[ScenarioJob],
    seeds: usize,
    progress: &mut dyn FnMut(usize, usize),
) -> Result<Vec<ScenarioRow>, EvaluationError> {
    let scans: Vec<(usize, Scenario)> = jobs
        .iter()
        .enumerate()
        .flat_map(|(index, job)| {
            (0..seeds as u64).map(move |more| {
                let mut scenario = job.scenario.clone();
                scenario.seed = scenario.seed.wrapping_add(more);
                (index, scenario)
            })
        })
        .collect();
    let mut scores = vec![Score::default(); jobs.len()];
    let mut applied = vec![Vec::new(); jobs.len()];
    let mut done = 0;
    progress(done, scans.len());
    for some in scans.chunks(AHEAD) {
        let references = subject.recipe.references.clone();
        let measured: Vec<_> =
            some.par_iter().map(|(_, scenario)| measure(scenario.clone(), &references)).collect();
        for ((index, _), measured) in some.iter().zip(measured) {
            let (microscope, stack) = measured?;
            let (score, normalisation) = judge(subject, &microscope, &stack)?;
            scores[*index].add(&score);
            if applied[*index].is_empty() {
                applied[*index] = normalisation;
            }
            done += 1;
            progress(done, scans.len());
        }
    }
    let row = |((job, score), applied): ((&ScenarioJob, Score), Vec<(String, String)>)| ScenarioRow {
        name: job.name.clone(),
        about: job.scenario.about.clone(),
        scans: seeds,
        score,
        applied,
    };
    Ok(jobs.iter().zip(scores).zip(applied).map(row).collect())
}

/// Measures a whole scan, as the daemon would have it.
///
/// # Errors
/// See [`scenarios`].
pub(super) fn measure(
    scenario: Scenario,
    references: &ReferenceSet,
) -> Result<(Microscope, Stack), EvaluationError> {
    let microscope = Microscope::new(scenario, references, "scenario", DateTime::UNIX_EPOCH)?;
    let mut stack = Stack::new(microscope.announced_plan());
    let plan = microscope.plan();
    let (mut seq, first) = (0, microscope.first_energies());
    let frames = FrameSettings { find_bad_pixels: true, ..FrameSettings::default() };
    let mut frames = FrameStage::new(frames.into());
    stack.note_seq(seq);
    for energy in 0..plan.energies_ev.len() {
        if energy == first {
            seq += 1;
            stack.note_seq(seq);
            let flux = plan.flux_ph_per_s.as_deref().map(|list| &list[first..]);
            stack.extend(&plan.energies_ev[first..], Some(&plan.dwell_ms[first..]), flux)?;
        }
        for row in 0..plan.grid.ny() {
            let batch = if plan.detector.kind == DetectorKind::Area {
                let done = frames.reduce(plan, microscope.frame_batch(energy, row))?;
                frames.note(plan, &done.bad, None, Instant::now());
                done.batch
            } else {
                microscope.line(energy, row)
            };
            if !batch.pixels.is_empty() {
                seq += 1;
                stack.note_seq(seq);
                stack.push(seq, &batch)?;
            }
        }
    }
    Ok((microscope, stack))
}

/// Maps a scan, and scores the map; also what the map says was applied.
fn judge(
    subject: &mut Subject,
    microscope: &Microscope,
    stack: &Stack,
) -> Result<(Score, Vec<(String, String)>), EvaluationError> {
    let mut recipe = subject.recipe.clone();
    if microscope.scenario().detector.i0 == IncidentSource::Spectrum {
        recipe.absorption.mode = I0Mode::Spectrum;
        recipe.absorption.spectrum =
            Some(spectrum(microscope.truth(), microscope.scenario().beam.ring_current_ma));
    }
    let model = subject.oracle.as_mut().map(|oracle| oracle as &mut dyn PosteriorModel);
    let settled = settle(stack, &recipe, model);
    if let Some(failure) = settled.model_failure {
        return Err(EvaluationError::Engine(failure));
    }
    let raw = settle(stack, &uncorrected(&recipe), None);
    let set_points = &stack.plan().energies_ev;
    let corrections = Corrections {
        energy_ev: settled.energies_ev.iter().zip(set_points).map(|(now, was)| now - was).collect(),
        shift_px: shifts(&settled.map.origin.drift, set_points.len()),
    };
    let score = Score::of(microscope, stack, &settled.map, &raw.map, &corrections);
    Ok((score, settled.map.origin.normalisation))
}

/// The recipe without corrections: what Pearson alone has to live with.
fn uncorrected(recipe: &Recipe) -> Recipe {
    let mut recipe = recipe.clone();
    recipe.offset = OffsetMode::Report;
    recipe.registration = RegistrationMode::Off;
    recipe.triage.neighbours = false;
    recipe
}

/// By how much each image was moved back; by nothing where the drift was not taken out.
fn shifts(drift: &Drift, energies: usize) -> Vec<[f64; 2]> {
    let applied = drift.verdict == Verdict::Applied;
    let known = |energy: usize| drift.shifts.get(energy).copied().flatten().filter(|_| applied);
    (0..energies).map(|energy| known(energy).map_or([0.0; 2], |shift| [shift.y, shift.x])).collect()
}

/// The separate I0 spectrum of a simulated beamline, taken at the first ring current.
fn spectrum(truth: &Truth, ring_current_ma: f64) -> I0Spectrum {
    let mut points: Vec<(f64, f64)> =
        truth.energies_ev.iter().copied().zip(truth.i0_spectrum.iter().copied()).collect();
    points.sort_by(|a, b| a.0.total_cmp(&b.0));
    points.dedup_by(|a, b| a.0 == b.0);
    I0Spectrum { points, unit: SpectrumUnit::CountsPerMs, ring_current_ma: Some(ring_current_ma) }
}
