//! One training of several: learns from its own stream of random numbers, and is examined on draws that all have in common.

use rand::SeedableRng as _;
use rand_chacha::ChaCha8Rng;
use serde::Serialize;

use super::calibration::{Calibration, temperature};
use super::synthesis::{Conditions, DAMAGED_FROM, Matter, Synthesis};
use super::tape::Tape;
use super::template::Layout;
use super::training::{Judged, Progress, Trainer};
use super::weights::{self, LATENT, Weights};
use super::{PosteriorSource, TrainError, even, network, training};
use crate::model::{Batch, ModelAxis, Projection};

/// Share of its own clean spectra that a cluster wins at least; below it is lost.
const LEAST_RECALL: f64 = 0.1;
/// Variance of a latent dimension's mean over draws from which it counts as alive.
const ALIVE: f64 = 0.02;
/// Fewest latent dimensions alive.
const LEAST_ALIVE: usize = 2;
/// Batches that a training is examined on.
const EXAMINATIONS: usize = 6;
/// Added to the seed for what is examined, so that nothing is drawn twice.
const EXAMINATION_SHIFT: u64 = 0xe4a3_0000;

/// How a training went.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Run {
    /// Its number, from 0; with the seed it determines everything random.
    pub run: usize,
    /// Loss on held-out draws: the lower, the likelier they are to it.
    pub held_out_loss: f64,
    /// Mean log probability of the label of held-out draws.
    pub held_out_log_label: f64,
    /// Share of held-out draws whose label won.
    pub held_out_accuracy: f64,
    /// Share of clean held-out spectra of each cluster that its cluster wins, in the order of the clusters.
    pub recall: Vec<f64>,
    /// Latent dimensions that tell anything.
    pub latent_alive: usize,
    /// Clean references whose nearest component is their own.
    pub references_anchored: usize,
    /// Largest distance of an encoded clean reference from the mean of its component, in standard deviations of the component.
    pub anchor_distance: f64,
    /// What the logits were divided by, so that the posterior is calibrated.
    pub temperature: f64,
    /// Expected calibration error of the encoder's posterior on held-out draws.
    pub calibration_error_encoder: f64,
    /// Same of the mixture's responsibilities.
    pub calibration_error_mixture: f64,
    /// Why it cannot be used.
    pub collapsed: Option<String>,
}

/// A training that is done.
pub(super) struct Candidate {
    pub(super) weights: Weights,
    pub(super) run: Run,
    /// The cluster each common held-out draw was given to.
    pub(super) winners: Vec<u32>,
}

/// What all trainings of a model have in common.
#[derive(Clone, Copy)]
pub(super) struct Task<'a> {
    pub(super) synthesis: &'a Synthesis,
    pub(super) axis: &'a ModelAxis,
    pub(super) clusters: &'a [String],
    pub(super) seed: u64,
    pub(super) effort: f64,
}

impl<'a> Task<'a> {
    fn trainer(&self, rng: ChaCha8Rng) -> Trainer<'a> {
        let layout = Layout::new(self.synthesis.phases());
        Trainer { synthesis: self.synthesis, axis: self.axis, layout, clusters: self.clusters.len(), rng }
    }

    /// A trainer for what is common to all runs.
    pub(super) fn examiner(&self) -> Trainer<'a> {
        self.trainer(ChaCha8Rng::seed_from_u64(self.seed.wrapping_add(EXAMINATION_SHIFT)))
    }

    /// Trains run number `run` and examines it.
    pub(super) fn run(
        &self,
        run: usize,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Candidate, TrainError> {
        let mut rng = ChaCha8Rng::seed_from_u64(self.seed);
        rng.set_stream(run as u64);
        let weights = weights::initial(&mut rng, self.synthesis, self.axis, self.clusters.len());
        let mut tape = Tape::new(&weights)?;
        self.trainer(rng).run(&mut tape, self.effort, progress)?;
        self.examine(run, tape.weights()?)
    }

    fn examine(&self, run: usize, mut weights: Weights) -> Result<Candidate, TrainError> {
        let mut trainer = self.examiner();
        let mut tape = Tape::new(&weights)?;
        let mut judged: Vec<Judged> = Vec::with_capacity(EXAMINATIONS);
        let mut mixture = Calibration::default();
        for _ in 0..EXAMINATIONS {
            let drawn = trainer.draw(&mut tape)?;
            judged.push(trainer.judge(&mut tape, &drawn)?);
            let mean = network::encode(&mut tape, &drawn.features)?.mean;
            let prior = network::prior(&mut tape)?;
            let components = network::log_components(&mut tape, &mean, &prior, self.clusters.len())?;
            let posterior: Vec<Vec<f32>> = candle_nn::ops::softmax(&components, 1)?.to_vec2()?;
            let labels = &judged[judged.len() - 1].labels;
            posterior.iter().zip(labels).for_each(|(row, label)| mixture.push(row, *label as usize));
        }
        let (references_anchored, anchor_distance) = anchoring(&trainer, &mut tape)?;
        let recall = self.recall(&mut trainer, &mut tape)?;
        let (logits, labels): (Vec<_>, Vec<_>) = judged
            .iter()
            .flat_map(|j| j.logits.iter().zip(&j.labels))
            .map(|(row, label)| (row.as_slice(), *label))
            .unzip();
        let temperature = temperature(&logits, &labels);
        let mut encoder = Calibration::default();
        for (row, label) in logits.iter().zip(&labels) {
            encoder.push(&super::calibration::softmax(row, temperature), *label as usize);
        }
        let winners = logits.iter().map(|row| best(row)).collect();
        let mean = |f: fn(&Judged) -> f64| judged.iter().map(f).sum::<f64>() / judged.len() as f64;
        let mut report = Run {
            run,
            held_out_loss: mean(|j| j.loss),
            held_out_log_label: mean(|j| j.log_label),
            held_out_accuracy: mean(|j| j.accuracy),
            recall,
            latent_alive: alive(&judged),
            references_anchored,
            anchor_distance,
            temperature,
            calibration_error_encoder: encoder.error(),
            calibration_error_mixture: mixture.error(),
            collapsed: None,
        };
        report.collapsed = self.collapse(&report);
        weights::cool(&mut weights, temperature as f32);
        Ok(Candidate { weights, run: report, winners })
    }

    /// Why a run cannot be used, if so.
    fn collapse(&self, run: &Run) -> Option<String> {
        if !run.held_out_loss.is_finite() {
            return Some("the loss is not finite".to_owned());
        }
        if let Some(lost) = run.recall.iter().position(|share| *share < LEAST_RECALL) {
            return Some(format!("the cluster `{}` never wins on its own spectra", self.clusters[lost]));
        }
        if run.latent_alive < LEAST_ALIVE {
            return Some(format!("only {} of {LATENT} latent dimensions tell anything", run.latent_alive));
        }
        let phases = self.synthesis.phases();
        (run.references_anchored < phases).then(|| {
            let lost = phases - run.references_anchored;
            format!("{lost} of {phases} references lie nearer to another component than to their own")
        })
    }

    /// Share of clean spectra of each cluster that its own cluster wins: 30 energies, 10 000 counts, no offset.
    fn recall(&self, trainer: &mut Trainer<'_>, tape: &mut Tape) -> Result<Vec<f64>, TrainError> {
        const DRAWS: usize = 120;
        let phases = self.synthesis.phases();
        let (from_ev, to_ev) = self.synthesis.telling_range_ev();
        let energies_ev = even(from_ev, to_ev, 30);
        let projection =
            Projection::new(self.axis, &energies_ev).map_err(|error| TrainError::Axis(error.to_string()))?;
        let mut shares = Vec::with_capacity(self.clusters.len());
        for cluster in 0..self.clusters.len() {
            let mut batch = Batch::with_capacity(self.axis, DRAWS);
            for draw in 0..DRAWS {
                let matter = match cluster.checked_sub(phases) {
                    None => Matter::Phase(cluster),
                    Some(0) => {
                        let first = draw % phases;
                        Matter::Mixture(first, (first + 1 + draw / phases % (phases - 1)) % phases, 0.5)
                    }
                    Some(1) => Matter::Damaged(draw % phases, 0.5 * (1.0 + DAMAGED_FROM)),
                    Some(_) => Matter::Foreign,
                };
                let conditions = Conditions::of_test(&mut trainer.rng, 10_000.0, 0.0);
                let (od, sigma) = self.synthesis.measure(&mut trainer.rng, matter, &conditions, &energies_ev);
                batch.push(&projection, &od, &sigma);
            }
            if batch.is_empty() {
                let why = "30 energies over the common range reach under 3 of its channels";
                return Err(TrainError::Axis(why.to_owned()));
            }
            let input = training::input(&batch)?;
            let answer = network::answer(tape, &input, PosteriorSource::Encoder, &trainer.layout)?;
            let winners: Vec<u32> = answer.posterior.argmax(1)?.to_vec1()?;
            let won = winners.iter().filter(|w| **w as usize == cluster).count();
            shares.push(won as f64 / winners.len() as f64);
        }
        Ok(shares)
    }
}

fn best(row: &[f32]) -> u32 {
    (0..row.len()).max_by(|&a, &b| row[a].total_cmp(&row[b])).unwrap_or(0) as u32
}

/// Number of latent dimensions whose mean differs from draw to draw.
fn alive(judged: &[Judged]) -> usize {
    let rows = || judged.iter().flat_map(|j| &j.latent);
    let n = rows().count().max(1) as f64;
    let varies = |dimension: usize| {
        let mean = rows().map(|row| f64::from(row[dimension])).sum::<f64>() / n;
        rows().map(|row| (f64::from(row[dimension]) - mean).powi(2)).sum::<f64>() / n > ALIVE
    };
    (0..LATENT).filter(|&dimension| varies(dimension)).count()
}

/// How many clean references are nearest to the component of their own, and the largest distance from it, in its standard deviations.
fn anchoring(trainer: &Trainer<'_>, tape: &mut Tape) -> Result<(usize, f64), TrainError> {
    let anchors = trainer.anchors(tape)?;
    let encoded = network::encode(tape, &anchors.features)?;
    let latent: Vec<Vec<f32>> = encoded.mean.to_vec2()?;
    let prior = network::prior(tape)?;
    let (mean, variance): (Vec<Vec<f32>>, Vec<Vec<f32>>) = (prior.mean.to_vec2()?, prior.variance.to_vec2()?);
    let distance = |row: &[f32], cluster: usize| -> f64 {
        let part =
            |(d, value): (usize, &f32)| f64::from((value - mean[d][cluster]).powi(2) / variance[d][cluster]);
        row.iter().enumerate().map(part).sum::<f64>().sqrt()
    };
    let mut own = 0;
    let mut furthest = 0.0_f64;
    for (phase, row) in latent.iter().enumerate() {
        let distances: Vec<f64> = (0..trainer.clusters).map(|cluster| distance(row, cluster)).collect();
        own += usize::from(distances.iter().all(|d| *d >= distances[phase]));
        furthest = furthest.max(distances[phase]);
    }
    Ok((own, furthest))
}
