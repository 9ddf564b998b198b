//! Trains the Gaussian-mixture variational autoencoder (GMVAE) for ambiguous pixels, and exports it as ONNX.
//!
//! It learns from spectra that are synthesised from the references, so its accuracy is that on such spectra; [`crate::evaluation`]
//! measures it on fresh draws, against correlation and against fits. Everything random comes from one seed: the same references, seed,
//! effort, machine and build give the same file, whatever the threads do. References that cannot be learnt from are refused with the
//! reason. Several trainings run side by side, and the best is kept; one that loses a cluster, whose latent space is dead or whose
//! references lie nearer to another component is not used, and where none is left there are new ones, three times at most.

mod calibration;
mod candidate;
mod channels;
mod coverage;
mod curve;
mod elimination;
mod evidence;
mod export;
pub(crate) mod fit;
mod foreign;
mod graph;
mod held_out;
mod network;
mod onnx;
mod synthesis;
mod tape;
mod template;
mod training;
mod weights;

use std::sync::mpsc;

use serde::Serialize;

pub use candidate::Run;
pub use channels::parse_axis;
pub(crate) use coverage::even;
pub use held_out::{Foreign, HeldOut, HeldOutCell};
pub use network::PosteriorSource;
pub use synthesis::{Conditions, DAMAGED_FROM, Matter, PURE_SHARE, Synthesis};
pub use training::Progress;

use crate::model::{ModelAxis, ModelError};
use crate::reference::ReferenceSet;
use candidate::{Candidate, Task};

/// Rounds of trainings before a collapse is an error.
const ROUNDS: usize = 3;
/// A run whose labels agree with the truth less than the best one's by more than this is not kept, however likely.
const AGREEMENT: f64 = 0.01;

/// Why there is no model.
#[derive(Debug, thiserror::Error)]
pub enum TrainError {
    /// The references cannot be learnt from.
    #[error("cannot train on these references: {0}")]
    References(String),
    /// The axis cannot be used.
    #[error("the model's axis cannot be used: {0}")]
    Axis(String),
    /// Every training collapsed.
    #[error(
        "after {runs} trainings still: {reason}; the references are too much alike, or the effort too small"
    )]
    Collapsed {
        /// Trainings that were done.
        runs: usize,
        /// What is wrong with the last.
        reason: String,
    },
    /// Computing failed.
    #[error("the training failed: {0}")]
    Compute(#[from] candle_core::Error),
    /// The exported file does not load.
    #[error("the exported model is not as it should be: {0}")]
    Export(#[from] ModelError),
    /// The exported file computes something else.
    #[error("the exported model differs from the trained one by {difference} in `{output}`")]
    Differs {
        /// Which output.
        output: &'static str,
        /// By how much.
        difference: f32,
    },
    /// A thread did not come back.
    #[error("a training thread ended without a result")]
    Thread,
}

/// What to train with.
#[derive(Clone, Debug, Default)]
pub struct TrainOptions {
    /// Start of everything random.
    pub seed: u64,
    /// 1 is the default length of the training; 0 counts as 1.
    pub effort: f64,
    /// The model's axis; chosen from the references where there is none.
    pub axis: Option<ModelAxis>,
}

/// A trained model, and how it came about.
#[derive(Clone, Debug, Serialize)]
pub struct Trained {
    /// The ONNX file.
    #[serde(skip)]
    pub bytes: Vec<u8>,
    /// Names of its clusters.
    pub clusters: Vec<String>,
    /// Number of channels.
    pub channels: usize,
    /// Number of learnt values.
    pub parameters: usize,
    /// The seed.
    pub seed: u64,
    /// Number of the run that was kept.
    pub run: usize,
    /// Length of the training relative to the default.
    pub effort: f64,
    /// Spectra that each run saw.
    pub draws: usize,
    /// Where the posterior comes from.
    pub posterior: PosteriorSource,
    /// All runs, in the order of their numbers.
    pub runs: Vec<Run>,
    /// Share of held-out draws to which the kept run and another gave the same cluster, mean over the others that did not collapse.
    pub agreement: Option<f64>,
    /// Largest difference between the trained network and the exported file.
    pub export_difference: f32,
    /// What it is worth on held-out draws, beside the fit.
    pub held_out: HeldOut,
    /// Digest of the references.
    pub references_sha256: String,
}

/// Trains a model for `references` and returns it as an ONNX file that was read back and compared.
///
/// # Errors
/// References or an axis that cannot be used, trainings that all collapse, or an export that differs from the training.
pub fn train(
    references: &ReferenceSet,
    options: &TrainOptions,
    progress: &mut dyn FnMut(Progress),
) -> Result<Trained, TrainError> {
    let synthesis = Synthesis::new(references)?;
    let axis = match &options.axis {
        Some(axis) => axis.clone(),
        None => channels::choose(&synthesis.curves).map_err(|error| TrainError::Axis(error.to_string()))?,
    };
    check_axis(&axis, &synthesis)?;
    let mut clusters: Vec<String> = references.references.iter().map(|r| r.label.id.clone()).collect();
    clusters.extend(["mixture".to_owned(), "damaged".to_owned(), "other:foreign".to_owned()]);
    let effort = if options.effort > 0.0 { options.effort } else { 1.0 };
    let task = Task { synthesis: &synthesis, axis: &axis, clusters: &clusters, seed: options.seed, effort };
    let mut candidates: Vec<Candidate> = Vec::new();
    let width = runs(effort);
    for round in 0..ROUNDS {
        candidates.extend(train_side_by_side(&task, round * width..(round + 1) * width, progress)?);
        if candidates.iter().any(|candidate| candidate.run.collapsed.is_none()) {
            break;
        }
        let reason = candidates.last().and_then(|candidate| candidate.run.collapsed.as_deref());
        tracing::warn!(round, reason, "every training collapsed");
    }
    let Some(kept) = choose(&candidates) else {
        let reason = candidates.last().and_then(|candidate| candidate.run.collapsed.clone());
        return Err(TrainError::Collapsed { runs: candidates.len(), reason: reason.unwrap_or_default() });
    };
    finish(&task, &candidates, kept, &references.sha256)
}

/// Trainings side by side at `effort`.
fn runs(effort: f64) -> usize {
    if effort < 4.0 { 2 } else { 4 }
}

/// Trains the runs of `numbers`, each in a thread, as many at once as there are processors; in the order of their numbers.
fn train_side_by_side(
    task: &Task<'_>,
    numbers: std::ops::Range<usize>,
    progress: &mut dyn FnMut(Progress),
) -> Result<Vec<Candidate>, TrainError> {
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let numbers: Vec<usize> = numbers.collect();
    let mut latest: Vec<Option<Progress>> = vec![None; numbers.len()];
    let mut candidates = Vec::with_capacity(numbers.len());
    for (wave, some) in numbers.chunks(threads).enumerate() {
        let (sender, receiver) = mpsc::channel();
        let results: Vec<Result<Candidate, TrainError>> = std::thread::scope(|scope| {
            let start = |(place, &number): (usize, &usize)| {
                let (sender, place) = (sender.clone(), wave * threads + place);
                scope.spawn(move || {
                    // Nobody listening any more is no reason to stop.
                    task.run(number, &mut |progress| sender.send((place, progress)).unwrap_or(()))
                })
            };
            let handles: Vec<_> = some.iter().enumerate().map(start).collect();
            drop(sender);
            for (place, one) in receiver {
                latest[place] = Some(one);
                progress(Progress::mean(&latest));
            }
            handles.into_iter().map(|handle| handle.join().unwrap_or(Err(TrainError::Thread))).collect()
        });
        candidates.extend(results.into_iter().collect::<Result<Vec<_>, _>>()?);
    }
    Ok(candidates)
}

/// Index of the candidate to keep: of those that did not collapse and agree with the truth almost as well as the best, the one to which
/// held-out draws are likeliest.
fn choose(candidates: &[Candidate]) -> Option<usize> {
    let sound = || (0..candidates.len()).filter(|&i| candidates[i].run.collapsed.is_none());
    let most = sound().map(|i| candidates[i].run.held_out_accuracy).fold(0.0, f64::max);
    sound()
        .filter(|&i| candidates[i].run.held_out_accuracy >= most - AGREEMENT)
        .min_by(|&a, &b| candidates[a].run.held_out_loss.total_cmp(&candidates[b].run.held_out_loss))
}

/// Exports and measures the kept candidate.
fn finish(
    task: &Task<'_>,
    candidates: &[Candidate],
    kept: usize,
    references_sha256: &str,
) -> Result<Trained, TrainError> {
    let candidate = &candidates[kept];
    let run = &candidate.run;
    let posterior = if run.calibration_error_encoder <= run.calibration_error_mixture {
        PosteriorSource::Encoder
    } else {
        PosteriorSource::Mixture
    };
    let trained_with = format!(
        "phasewatch {} train, seed {}, effort {}, run {} of {}, {} synthesised spectra",
        env!("CARGO_PKG_VERSION"),
        task.seed,
        task.effort,
        run.run + 1,
        candidates.len(),
        training::draws(task.effort)
    );
    let label =
        |competence| export::Label { references_sha256, trained_with: &trained_with, posterior, competence };
    let (_, mut model, _) = export::export(task, candidate, label(None))?;
    let held_out = held_out::measure(task, &mut model)?;
    let competence = serde_json::to_string(&held_out.competence()).ok();
    let (bytes, _, export_difference) = export::export(task, candidate, label(competence))?;
    let others = || (0..candidates.len()).filter(|&i| i != kept && candidates[i].run.collapsed.is_none());
    let same = |i: usize| {
        let pairs = candidates[i].winners.iter().zip(&candidate.winners);
        pairs.filter(|(a, b)| a == b).count() as f64 / candidate.winners.len().max(1) as f64
    };
    let agreement = others().map(same).sum::<f64>() / others().count().max(1) as f64;
    Ok(Trained {
        bytes,
        clusters: task.clusters.to_vec(),
        channels: task.axis.channels(),
        parameters: learnt(&candidate.weights),
        seed: task.seed,
        run: run.run,
        effort: task.effort,
        draws: training::draws(task.effort),
        posterior,
        runs: candidates.iter().map(|candidate| candidate.run.clone()).collect(),
        agreement: (others().count() > 0).then_some(agreement),
        export_difference,
        held_out,
        references_sha256: references_sha256.to_owned(),
    })
}

fn check_axis(axis: &ModelAxis, synthesis: &Synthesis) -> Result<(), TrainError> {
    let (from_ev, to_ev) = synthesis.range_ev();
    let inside = axis.energies_ev().iter().filter(|e| (from_ev..=to_ev).contains(*e)).count();
    if inside * 10 < axis.channels() * 9 {
        return Err(TrainError::Axis(format!(
            "only {inside} of its {} energies are between {from_ev} and {to_ev} eV, where all references reach",
            axis.channels()
        )));
    }
    Ok(())
}

fn learnt(weights: &weights::Weights) -> usize {
    weights.iter().filter(|(name, _)| weights::is_learnt(name)).map(|(_, matrix)| matrix.data.len()).sum()
}

#[cfg(test)]
mod tests;
