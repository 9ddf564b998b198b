//! Trains the Gaussian-mixture variational autoencoder (GMVAE) for ambiguous pixels, and exports it as ONNX.
//!
//! It learns from spectra that are synthesised from the references, so its accuracy is that on such spectra; [`crate::evaluation`]
//! measures it on fresh draws, against correlation and against fits. Everything random comes from one seed: the same references, seed,
//! effort, machine and build give the same file. References that cannot be learnt from are refused with the reason; a training
//! that loses one of its clusters is done again with the next seed, three times at most.

mod channels;
mod coverage;
mod curve;
mod evidence;
mod graph;
mod network;
mod onnx;
mod synthesis;
mod tape;
mod template;
mod training;
mod weights;

use rand::SeedableRng as _;
use rand_chacha::ChaCha8Rng;
use serde::Serialize;

pub use channels::parse_axis;
pub(crate) use coverage::even;
pub use network::PosteriorSource;
pub use synthesis::{Conditions, Matter, PURE_SHARE, Synthesis};
pub use training::Progress;

use crate::model::{BackendChoice, Batch, Model, ModelAxis, ModelError, Projection};
use crate::reference::ReferenceSet;
use tape::Tape;
use training::Trainer;
use weights::Weights;

/// Trainings before a lost cluster is an error.
const ATTEMPTS: u64 = 3;
/// Most that the exported file may differ from what was trained, in posterior, latent mean and reconstruction, relative to the larger of
/// 1 and the value. Engines sum in another order, which single precision and the log evidence turn into some 1e-5; a mistake in
/// the graph would show as 1e-2 and more.
const EXPORT_TOLERANCE: f32 = 2e-4;

/// Why there is no model.
#[derive(Debug, thiserror::Error)]
pub enum TrainError {
    /// The references cannot be learnt from.
    #[error("cannot train on these references: {0}")]
    References(String),
    /// The axis cannot be used.
    #[error("the model's axis cannot be used: {0}")]
    Axis(String),
    /// A cluster got lost.
    #[error(
        "after {ATTEMPTS} trainings the cluster `{0}` still never wins on its own spectra: the references are too much alike, or the effort too small"
    )]
    Collapsed(String),
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
    /// The seed that was asked for.
    pub seed: u64,
    /// The seed of the training that succeeded.
    pub seed_used: u64,
    /// Length of the training relative to the default.
    pub effort: f64,
    /// Spectra it saw.
    pub draws: usize,
    /// Where the posterior comes from.
    pub posterior: PosteriorSource,
    /// Expected calibration error of the encoder's posterior on fresh draws.
    pub calibration_error_encoder: f64,
    /// Same of the mixture's responsibilities.
    pub calibration_error_mixture: f64,
    /// Share of clean held-out spectra of each cluster that its cluster wins, in the order of `clusters`.
    pub held_out_recall: Vec<f64>,
    /// Largest difference between the trained network and the exported file.
    pub export_difference: f32,
    /// Digest of the references.
    pub references_sha256: String,
}

/// Trains a model for `references` and returns it as an ONNX file that was read back and compared.
///
/// # Errors
/// References or an axis that cannot be used, a cluster that is lost three times over, or an export that differs from the training.
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
    clusters.extend(["mixture".to_owned(), "other:foreign".to_owned()]);
    let effort = if options.effort > 0.0 { options.effort } else { 1.0 };
    let mut lost = 0;
    for attempt in 0..ATTEMPTS {
        let seed = options.seed.wrapping_add(attempt);
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let weights = weights::initial(&mut rng, &synthesis.curves, &axis, clusters.len());
        let mut tape = Tape::new(&weights)?;
        let mut trainer = Trainer { synthesis: &synthesis, axis: &axis, clusters: clusters.len(), rng };
        trainer.run(&mut tape, effort, progress)?;
        let held_out_recall = recall(&mut trainer, &mut tape)?;
        match held_out_recall.iter().position(|share| *share < 0.1) {
            Some(cluster) => {
                tracing::warn!(cluster = %clusters[cluster], seed, "a cluster was lost, training again");
                lost = cluster;
            }
            None => {
                let (encoder, mixture) = calibration(&mut trainer, &mut tape)?;
                let posterior =
                    if encoder <= mixture { PosteriorSource::Encoder } else { PosteriorSource::Mixture };
                let trained = Trained {
                    bytes: Vec::new(),
                    channels: axis.channels(),
                    parameters: learnt(&tape.weights()?),
                    seed: options.seed,
                    seed_used: seed,
                    effort,
                    draws: training::draws(effort),
                    posterior,
                    calibration_error_encoder: encoder,
                    calibration_error_mixture: mixture,
                    held_out_recall,
                    export_difference: 0.0,
                    references_sha256: references.sha256.clone(),
                    clusters,
                };
                return export(&mut trainer, &mut tape, &axis, trained);
            }
        }
    }
    Err(TrainError::Collapsed(clusters[lost].clone()))
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

fn learnt(weights: &Weights) -> usize {
    weights.iter().filter(|(name, _)| weights::is_learnt(name)).map(|(_, matrix)| matrix.data.len()).sum()
}

/// Share of clean spectra of each cluster that its own cluster wins: 30 energies, 10 000 counts, no offset.
fn recall(trainer: &mut Trainer<'_>, tape: &mut Tape) -> Result<Vec<f64>, TrainError> {
    const DRAWS: usize = 120;
    let phases = trainer.synthesis.phases();
    let (from_ev, to_ev) = trainer.synthesis.telling_range_ev();
    let energies_ev = even(from_ev, to_ev, 30);
    let projection =
        Projection::new(trainer.axis, &energies_ev).map_err(|error| TrainError::Axis(error.to_string()))?;
    let mut shares = Vec::with_capacity(trainer.clusters);
    for cluster in 0..trainer.clusters {
        let mut batch = Batch::with_capacity(trainer.axis, DRAWS);
        for draw in 0..DRAWS {
            let matter = match cluster.checked_sub(phases) {
                None => Matter::Phase(cluster),
                Some(0) => {
                    let first = draw % phases;
                    Matter::Mixture(first, (first + 1 + draw / phases % (phases - 1)) % phases, 0.5)
                }
                Some(_) => Matter::Foreign,
            };
            let conditions = Conditions::of_test(&mut trainer.rng, 10_000.0, 0.0);
            let (od, sigma) = trainer.synthesis.measure(&mut trainer.rng, matter, &conditions, &energies_ev);
            batch.push(&projection, &od, &sigma);
        }
        if batch.is_empty() {
            return Err(TrainError::Axis(
                "30 energies over the common range reach under 3 of its channels".to_owned(),
            ));
        }
        let answer = forward(tape, &batch, PosteriorSource::Encoder, trainer.clusters)?;
        let winners: Vec<u32> = answer.posterior.argmax(1)?.to_vec1()?;
        let won = winners.iter().filter(|w| **w as usize == cluster).count();
        shares.push(won as f64 / winners.len() as f64);
    }
    Ok(shares)
}

/// Expected calibration errors of the encoder's posterior and of the mixture's, on fresh training draws.
fn calibration(trainer: &mut Trainer<'_>, tape: &mut Tape) -> Result<(f64, f64), TrainError> {
    let (mut encoder, mut mixture) = (Calibration::default(), Calibration::default());
    for _ in 0..8 {
        let drawn = trainer.draw(tape)?;
        let label: Vec<u32> = drawn.label.argmax(1)?.to_vec1()?;
        let encoded = network::encode(tape, &drawn.features.all, &drawn.features.evidence)?;
        let prior = network::prior(tape)?;
        let sizes = (trainer.clusters, weights::LATENT);
        let components = network::log_components(tape, &encoded.mean, &prior, sizes)?;
        for (logits, calibration) in [(encoded.logits, &mut encoder), (components, &mut mixture)] {
            let posterior: Vec<Vec<f32>> = candle_nn::ops::softmax(&logits, 1)?.to_vec2()?;
            posterior.iter().zip(&label).for_each(|(row, label)| calibration.push(row, *label as usize));
        }
    }
    Ok((encoder.error(), mixture.error()))
}

/// How often the winner of a posterior is right, by what the posterior says of it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Calibration {
    /// Per tenth of probability: draws, sum of the probabilities, right ones.
    tenths: [(f64, f64, f64); 10],
}

impl Calibration {
    pub(crate) fn push(&mut self, posterior: &[f32], label: usize) {
        let best = (0..posterior.len()).max_by(|&a, &b| posterior[a].total_cmp(&posterior[b]));
        if let Some(best) = best {
            let p = f64::from(posterior[best]);
            let tenth = &mut self.tenths[((p * 10.0) as usize).min(9)];
            *tenth = (tenth.0 + 1.0, tenth.1 + p, tenth.2 + f64::from(u8::from(best == label)));
        }
    }

    /// Mean distance between what is said and what is, weighted by draws.
    pub(crate) fn error(&self) -> f64 {
        let total: f64 = self.tenths.iter().map(|t| t.0).sum();
        self.tenths.iter().map(|t| (t.1 - t.2).abs()).sum::<f64>() / total.max(1.0)
    }
}

fn forward(
    tape: &mut Tape,
    batch: &Batch,
    source: PosteriorSource,
    clusters: usize,
) -> Result<network::Answer<candle_core::Tensor>, TrainError> {
    let input = training::input(batch)?;
    Ok(network::answer(tape, &input, source, (clusters, weights::LATENT))?)
}

/// Writes the file, reads it back, and compares it with the network it was written from.
fn export(
    trainer: &mut Trainer<'_>,
    tape: &mut Tape,
    axis: &ModelAxis,
    mut trained: Trained,
) -> Result<Trained, TrainError> {
    let trained_with = format!(
        "phasewatch {} train, seed {}, effort {}, {} synthesised spectra",
        env!("CARGO_PKG_VERSION"),
        trained.seed_used,
        trained.effort,
        trained.draws
    );
    let description = onnx::Description {
        axis,
        clusters: &trained.clusters,
        references_sha256: &trained.references_sha256,
        trained_with: &trained_with,
        posterior: trained.posterior,
    };
    let bytes = onnx::write(&tape.weights()?, &description);
    let mut model = Model::load(&bytes, &BackendChoice::default(), Some(&trained.references_sha256))?;
    let batch = trainer.check_batch()?;
    let ours = forward(tape, &batch, trained.posterior, trained.clusters.len())?;
    let theirs = model.run(&batch)?;
    let pairs = [
        ("cluster_posterior", &ours.posterior, Some(&theirs.posterior)),
        ("latent_mean", &ours.latent_mean, Some(&theirs.latent)),
        ("reconstruction", &ours.reconstruction, theirs.reconstruction.as_ref()),
    ];
    for (output, ours, theirs) in pairs {
        let ours: Vec<f32> = ours.flatten_all()?.to_vec1()?;
        let theirs = theirs.map_or(&[][..], Vec::as_slice);
        let difference = if ours.len() == theirs.len() {
            ours.iter().zip(theirs).map(|(a, b)| (a - b).abs() / a.abs().max(1.0)).fold(0.0, f32::max)
        } else {
            f32::INFINITY
        };
        tracing::info!(output, difference, "exported model compared with the trained one");
        trained.export_difference = trained.export_difference.max(difference);
        if difference.is_nan() || difference > EXPORT_TOLERANCE {
            return Err(TrainError::Differs { output, difference });
        }
    }
    trained.bytes = bytes;
    Ok(trained)
}

#[cfg(test)]
mod tests;
