//! Learns the weights: draws, losses, schedule.
//!
//! Loss per draw: cross-entropy of q(y|x) with the label, plus 0.05 × (weighted squared residual of the reconstruction over the observed
//! channels + β × (Σ_c r_c KL(q(z|x) ‖ p(z|c)) + KL(q(y|x) ‖ uniform))), r a blend of label and q(y|x), plus a pull of each encoded
//! reference to the mean of its component. KL per latent dimension counts from 0.05 nats up (free bits). First β is 5e-4 and z the mean;
//! then the components are set to mean and variance of the encoded draws of their label, those of the phases to the encoded
//! reference itself, z is sampled and β rises to 1. At the end the components of the phases are put on their references once more.

use candle_core::{Result, Tensor};
use candle_nn::{AdamW, Optimizer as _, ParamsAdamW};
use rand::Rng as _;
use rand_chacha::ChaCha8Rng;
use rand_distr::StandardNormal;

use super::coverage;
use super::evidence::{self, Features, Frame, Input};
use super::network;
use super::synthesis::{Conditions, DAMAGED_FROM, Matter, PURE_SHARE, Synthesis};
use super::tape::{Tape, tensor};
use super::template::Layout;
use super::weights::{LATENT, Matrix};
use crate::model::{Batch, ModelAxis, Projection};

/// Draws per batch.
const BATCH: usize = 512;
/// Draws of a batch that are decoded in a step.
const DECODED: usize = 128;
/// Draws whose features are made at once: arrays of up to 65 536 values are not spread over threads, which costs more than it gains
/// with several trainings side by side.
const SLICE: usize = 128;
/// Scans per batch; the draws of a scan share their energies.
const SCANS: usize = 16;
/// Batches kept to be learnt from again.
const KEPT: usize = 16;
/// Steps per fresh batch.
const STEPS_PER_BATCH: usize = 3;
/// Fresh batches at effort 1.
const BATCHES: f64 = 1000.0;
/// Weight of the pull of the encoded references to their components.
const ANCHOR: f64 = 0.05;
/// Share of the training before the components are set.
const WARM_UP: f64 = 0.2;
/// Weight of the generative part of the loss.
const GENERATIVE: f64 = 0.05;
/// Least KL per latent dimension that counts, nats.
const FREE_BITS: f32 = 0.05;
const FIRST_RATE: f64 = 3e-3;
const LAST_RATE: f64 = 3e-5;

/// How far the training is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Progress {
    /// Batches done.
    pub done: usize,
    /// Batches in all.
    pub total: usize,
    /// Running mean of the loss.
    pub loss: f32,
    /// Running mean of the share of draws whose label won.
    pub accuracy: f32,
}

impl Progress {
    /// Progress of several trainings together; those that have not begun count as none.
    pub(super) fn mean(several: &[Option<Self>]) -> Self {
        let begun = || several.iter().flatten();
        let n = begun().count().max(1) as f32;
        Self {
            done: begun().map(|one| one.done).sum(),
            total: begun().map(|one| one.total).max().unwrap_or(0) * several.len(),
            loss: begun().map(|one| one.loss).sum::<f32>() / n,
            accuracy: begun().map(|one| one.accuracy).sum::<f32>() / n,
        }
    }
}

/// Number of fresh batches at `effort`.
pub(super) fn batches(effort: f64) -> usize {
    (BATCHES * effort).round().max(20.0) as usize
}

/// Number of draws of a training at `effort`.
pub(super) fn draws(effort: f64) -> usize {
    batches(effort) * BATCH
}

/// Draws with their labels, ready for the network.
pub(super) struct Drawn {
    pub(super) spectrum: Tensor,
    pub(super) features: Features<Tensor>,
    /// One of the clusters is 1, `[rows, clusters]`.
    pub(super) label: Tensor,
}

/// What a network makes of draws that it does not learn from.
pub(super) struct Judged {
    pub(super) loss: f64,
    /// Mean log probability of the label.
    pub(super) log_label: f64,
    /// Share of draws whose label won.
    pub(super) accuracy: f64,
    pub(super) logits: Vec<Vec<f32>>,
    pub(super) latent: Vec<Vec<f32>>,
    pub(super) labels: Vec<u32>,
}

/// Everything a training works with.
pub(super) struct Trainer<'a> {
    pub(super) synthesis: &'a Synthesis,
    pub(super) axis: &'a ModelAxis,
    pub(super) layout: Layout,
    pub(super) clusters: usize,
    pub(super) rng: ChaCha8Rng,
}

impl Trainer<'_> {
    /// Learns; `tape` holds the result.
    pub(super) fn run(
        &mut self,
        tape: &mut Tape,
        effort: f64,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<()> {
        let total = batches(effort);
        let warm_up = (total as f64 * WARM_UP) as usize;
        let config = ParamsAdamW { lr: FIRST_RATE, weight_decay: 1e-4, ..ParamsAdamW::default() };
        let mut optimiser = AdamW::new(tape.variables(), config.clone())?;
        let anchors = self.anchors(tape)?;
        let mut kept: Vec<Drawn> = Vec::with_capacity(KEPT);
        let (mut loss, mut accuracy) = (f32::NAN, f32::NAN);
        for done in 0..total {
            if done == warm_up {
                self.set_components(tape, &kept, &anchors)?;
                optimiser = AdamW::new(tape.variables(), config.clone())?;
            }
            let fresh = self.draw(tape)?;
            let slot = done % KEPT;
            if kept.len() < KEPT {
                kept.push(fresh)
            } else {
                kept[slot] = fresh
            }
            let part = done as f64 / total as f64;
            let cosine = 0.5 * (1.0 + (std::f64::consts::PI * part).cos());
            optimiser.set_learning_rate(LAST_RATE + (FIRST_RATE - LAST_RATE) * cosine);
            let beta = if done < warm_up { None } else { Some(((part - WARM_UP) / 0.3).clamp(0.01, 1.0)) };
            for step in 0..STEPS_PER_BATCH {
                let pick = if step == 0 { slot } else { self.rng.random_range(0..kept.len()) };
                let (value, right) = self.step(tape, &kept[pick], &anchors, beta, &mut optimiser)?;
                if step == 0 {
                    loss = running(loss, value);
                    accuracy = running(accuracy, right);
                }
            }
            progress(Progress { done: done + 1, total, loss, accuracy });
        }
        self.set_components(tape, &kept, &anchors)
    }

    /// A batch of training draws.
    pub(super) fn draw(&mut self, tape: &mut Tape) -> Result<Drawn> {
        let (batch, label) = self.draw_batch()?;
        drawn(tape, &batch, label, &self.layout)
    }

    /// A batch of training draws as it goes into a model.
    pub(super) fn check_batch(&mut self) -> Result<Batch> {
        self.draw_batch().map(|(batch, _)| batch)
    }

    fn draw_batch(&mut self) -> Result<(Batch, Tensor)> {
        let mut batch = Batch::with_capacity(self.axis, BATCH);
        let mut label = Vec::with_capacity(BATCH * self.clusters);
        let telling_ev = self.synthesis.telling_range_ev();
        while batch.len() < BATCH {
            let energies_ev = coverage::energies(&mut self.rng, &self.synthesis.curves, telling_ev);
            let projection = Projection::new(self.axis, &energies_ev).map_err(candle_core::Error::wrap)?;
            for _ in 0..BATCH / SCANS {
                let (matter, cluster) = self.matter();
                let conditions = Conditions::of_training(&mut self.rng);
                let (mut od, sigma) =
                    self.synthesis.measure(&mut self.rng, matter, &conditions, &energies_ev);
                coverage::cover(&mut self.rng, &mut od);
                if batch.len() < BATCH && batch.push(&projection, &od, &sigma) {
                    label.extend((0..self.clusters).map(|c| f32::from(u8::from(c == cluster))));
                }
            }
        }
        let rows = batch.len();
        Ok((batch, tensor(&label, rows, self.clusters)?))
    }

    /// What the next draw is made of, and its cluster.
    fn matter(&mut self) -> (Matter, usize) {
        let phases = self.synthesis.phases();
        let phase = self.rng.random_range(0..phases);
        match self.rng.random_range(0..100) {
            0..52 => (Matter::Phase(phase), phase),
            52..80 => {
                let other = (phase + self.rng.random_range(1..phases)) % phases;
                let share = self.rng.random_range(0.5..1.0);
                let cluster = if share > PURE_SHARE { phase } else { phases };
                (Matter::Mixture(phase, other, share), cluster)
            }
            80..88 => {
                let extent = self.rng.random_range(0.1..1.0);
                let cluster = if extent > DAMAGED_FROM { phases + 1 } else { phase };
                (Matter::Damaged(phase, extent), cluster)
            }
            _ => (Matter::Foreign, phases + 2),
        }
    }

    /// The references themselves, complete and almost without noise.
    pub(super) fn anchors(&self, tape: &mut Tape) -> Result<Drawn> {
        let phases = self.synthesis.phases();
        let energies_ev = self.axis.energies_ev();
        let projection = Projection::new(self.axis, energies_ev).map_err(candle_core::Error::wrap)?;
        let mut batch = Batch::with_capacity(self.axis, phases);
        let mut label = vec![0.0; phases * self.clusters];
        let curves = &self.synthesis.curves;
        for phase in 0..phases {
            let od: Vec<f32> = energies_ev.iter().map(|&e| curves.curves[phase].at(e, 0.0)).collect();
            if !batch.push(&projection, &od, &vec![0.01; od.len()]) {
                return Err(candle_core::Error::Msg("the axis misses the references".to_owned()));
            }
            label[phase * self.clusters + phase] = 1.0;
        }
        drawn(tape, &batch, tensor(&label, phases, self.clusters)?, &self.layout)
    }

    /// Loss (with β 1 and z the mean), log probability of the label and share of draws whose label won, on draws that are not learnt from;
    /// and the winners.
    pub(super) fn judge(&mut self, tape: &mut Tape, drawn: &Drawn) -> Result<Judged> {
        let encoded = network::encode(tape, &drawn.features)?;
        let log_q = candle_nn::ops::log_softmax(&encoded.logits, 1)?;
        let log_label = (&drawn.label * &log_q)?.sum(1)?.mean_all()?.to_scalar::<f32>()?;
        let log_variance = encoded.log_variance.clamp(-8.0, 3.0)?;
        let scene = (&drawn.features.weight, &drawn.features.frame);
        let misfit = self.misfit(tape, &encoded.mean, &drawn.spectrum, scene)?.to_scalar::<f32>()?;
        let divergence = self.divergence(tape, &drawn.label, &log_q, &encoded.mean, &log_variance)?;
        let generative = 0.5 * f64::from(misfit) + f64::from(divergence.to_scalar::<f32>()?);
        let winners: Vec<u32> = log_q.argmax(1)?.to_vec1()?;
        let labels: Vec<u32> = drawn.label.argmax(1)?.to_vec1()?;
        let right = winners.iter().zip(&labels).filter(|(a, b)| a == b).count();
        let loss = GENERATIVE * generative - f64::from(log_label);
        Ok(Judged {
            loss,
            log_label: f64::from(log_label),
            accuracy: right as f64 / labels.len().max(1) as f64,
            logits: encoded.logits.to_vec2()?,
            latent: encoded.mean.to_vec2()?,
            labels,
        })
    }

    /// Mean weighted squared residual of decoded latent vectors.
    fn misfit(
        &self,
        tape: &mut Tape,
        latent: &Tensor,
        spectrum: &Tensor,
        (weight, frame): (&Tensor, &Frame<Tensor>),
    ) -> Result<Tensor> {
        let miss = (network::decode(tape, latent, frame)? - spectrum)?;
        // Huge weights of few-noise channels would drown the rest: the residual counts in units of 0.15 at least.
        let weight = (weight / ((weight * 0.02)? + 1.0)?)?;
        ((&miss * &miss)? * weight)?.sum(1)?.mean_all()
    }

    /// One step; returns the loss and the share of draws whose label won.
    fn step(
        &mut self,
        tape: &mut Tape,
        drawn: &Drawn,
        anchors: &Drawn,
        beta: Option<f64>,
        optimiser: &mut AdamW,
    ) -> Result<(f32, f32)> {
        let encoded = network::encode(tape, &drawn.features)?;
        let log_q = candle_nn::ops::log_softmax(&encoded.logits, 1)?;
        let surprise = (&drawn.label * &log_q)?.sum(1)?.mean_all()?.neg()?;
        let log_variance = encoded.log_variance.clamp(-8.0, 3.0)?;
        // Decoding costs most and teaches least: a part of the batch does.
        let rows = drawn.label.dim(0)?;
        let part = DECODED.min(rows);
        let first = self.rng.random_range(0..=rows - part);
        let some = |tensor: &Tensor| tensor.narrow(0, first, part);
        let (mean, spectrum) = (some(&encoded.mean)?, some(&drawn.spectrum)?);
        let weight = some(&drawn.features.weight)?;
        let frame = &drawn.features.frame;
        let frame = Frame { scale: some(&frame.scale)?, level: some(&frame.level)? };
        let latent = if beta.is_some() { self.sample(&mean, &some(&log_variance)?)? } else { mean };
        let misfit = self.misfit(tape, &latent, &spectrum, (&weight, &frame))?;
        let divergence = self.divergence(tape, &drawn.label, &log_q, &encoded.mean, &log_variance)?;
        let anchored = self.anchor(tape, anchors)?;
        let generative = ((misfit * 0.5)? + (divergence * beta.unwrap_or(5e-4))?)?;
        let loss = ((&surprise + (generative * GENERATIVE)?)? + (anchored * ANCHOR)?)?;
        optimiser.backward_step(&loss)?;
        let won = log_q.argmax(1)?.eq(&drawn.label.argmax(1)?)?;
        let right = won.to_dtype(candle_core::DType::F32)?.mean_all()?.to_scalar::<f32>()?;
        Ok((loss.to_scalar()?, right))
    }

    /// z = mean + spread × noise.
    fn sample(&mut self, mean: &Tensor, log_variance: &Tensor) -> Result<Tensor> {
        let rows = mean.dim(0)?;
        let noise: Vec<f32> = (0..rows * LATENT).map(|_| self.rng.sample(StandardNormal)).collect();
        let spread = (log_variance * 0.5)?.exp()?;
        mean + (spread * tensor(&noise, rows, LATENT)?)?
    }

    /// Σ_c r_c KL(q(z|x) ‖ p(z|c)) per dimension with free bits, plus KL(q(y|x) ‖ uniform).
    fn divergence(
        &self,
        tape: &mut Tape,
        label: &Tensor,
        log_q: &Tensor,
        mean: &Tensor,
        log_variance: &Tensor,
    ) -> Result<Tensor> {
        let prior = network::prior(tape)?;
        let blend = ((label * 0.8)? + (log_q.exp()? * 0.2)?)?;
        let precision = prior.variance.recip()?.t()?.contiguous()?;
        let centre = prior.mean.t()?.contiguous()?;
        let log_prior_variance = prior.log_variance.t()?.contiguous()?;
        // Everything a component does to a dimension is linear in r: [rows, clusters] × [clusters, latent].
        let p0 = blend.matmul(&precision)?;
        let p1 = blend.matmul(&(&precision * &centre)?)?;
        let p2 = blend.matmul(&((&precision * &centre)? * &centre)?)?;
        let square = (log_variance.exp()? + (mean * mean)?)?;
        let quadratic = (((square * p0)? - ((mean * p1)? * 2.0)?)? + p2)?;
        let kl = (((quadratic + blend.matmul(&log_prior_variance)?)? - log_variance)? - 1.0)?;
        let per_dimension = (kl.mean(0)? * 0.5)?;
        let floor = Tensor::full(FREE_BITS, LATENT, per_dimension.device())?;
        let latent_part = per_dimension.maximum(&floor)?.sum_all()?;
        let entropy = (log_q.exp()? * log_q)?.sum(1)?.mean_all()?;
        latent_part + (entropy + (self.clusters as f64).ln())?
    }

    /// Squared distance of the encoded references from their components, in units of the components' spread.
    fn anchor(&self, tape: &mut Tape, anchors: &Drawn) -> Result<Tensor> {
        let encoded = network::encode(tape, &anchors.features)?;
        let prior = network::prior(tape)?;
        let centre = anchors.label.matmul(&prior.mean.t()?.contiguous()?)?;
        let variance = anchors.label.matmul(&prior.variance.t()?.contiguous()?)?;
        let distance = (encoded.mean - centre)?;
        ((&distance * &distance)? / variance)?.sum(1)?.mean_all()
    }

    /// Sets the components to mean and variance of the encoded draws of their label; the mean of a phase is its encoded reference.
    fn set_components(&self, tape: &mut Tape, kept: &[Drawn], anchors: &Drawn) -> Result<()> {
        let clean = network::encode(tape, &anchors.features)?.mean;
        let clean: Vec<Vec<f32>> = clean.to_vec2()?;
        let mut sums = vec![[0.0_f64; 3]; LATENT * self.clusters];
        for drawn in kept {
            let mean = network::encode(tape, &drawn.features)?.mean;
            let (mean, label): (Vec<Vec<f32>>, Vec<u32>) =
                (mean.to_vec2()?, drawn.label.argmax(1)?.to_vec1()?);
            for (row, cluster) in mean.iter().zip(label) {
                for (dimension, value) in row.iter().enumerate() {
                    let value = f64::from(*value);
                    let sum = &mut sums[dimension * self.clusters + cluster as usize];
                    *sum = [sum[0] + 1.0, sum[1] + value, sum[2] + value * value];
                }
            }
        }
        let mean = |s: &[f64; 3]| s[1] / s[0].max(1.0);
        let mut centre = Vec::with_capacity(sums.len());
        let mut log_variance = Vec::with_capacity(sums.len());
        for (place, sum) in sums.iter().enumerate() {
            let (dimension, cluster) = (place / self.clusters, place % self.clusters);
            let middle = clean.get(cluster).map_or(mean(sum), |row| f64::from(row[dimension]));
            let around = sum[2] / sum[0].max(1.0) - mean(sum).powi(2) + (mean(sum) - middle).powi(2);
            centre.push(middle as f32);
            log_variance.push(around.max(0.01).ln() as f32);
        }
        tape.set("learnt.prior.mean", &Matrix::new(LATENT, self.clusters, centre))?;
        tape.set("learnt.prior.log_variance", &Matrix::new(LATENT, self.clusters, log_variance))
    }
}

fn running(mean: f32, value: f32) -> f32 {
    if mean.is_nan() { value } else { mean + 0.02 * (value - mean) }
}

fn drawn(tape: &mut Tape, batch: &Batch, label: Tensor, layout: &Layout) -> Result<Drawn> {
    let input = input(batch)?;
    let rows = batch.len();
    let mut parts: Vec<Features<Tensor>> = Vec::new();
    for first in (0..rows).step_by(SLICE) {
        let some = |tensor: &Tensor| tensor.narrow(0, first, SLICE.min(rows - first));
        let slice =
            Input { spectrum: some(&input.spectrum)?, mask: some(&input.mask)?, sigma: some(&input.sigma)? };
        parts.push(evidence::features(tape, &slice, layout)?);
    }
    let whole =
        |pick: fn(&Features<Tensor>) -> &Tensor| Tensor::cat(&parts.iter().map(pick).collect::<Vec<_>>(), 0);
    let features = Features {
        all: whole(|f| &f.all)?,
        evidence: whole(|f| &f.evidence)?,
        weight: whole(|f| &f.weight)?,
        frame: Frame { scale: whole(|f| &f.frame.scale)?, level: whole(|f| &f.frame.level)? },
        misfit: whole(|f| &f.misfit)?,
        known: whole(|f| &f.known)?,
    };
    Ok(Drawn { spectrum: input.spectrum, features, label })
}

/// A batch as tensors.
pub(super) fn input(batch: &Batch) -> Result<Input<Tensor>> {
    let (rows, channels) = (batch.len(), batch.channels());
    Ok(Input {
        spectrum: tensor(batch.spectrum(), rows, channels)?,
        mask: tensor(batch.mask(), rows, channels)?,
        sigma: tensor(batch.sigma(), rows, channels)?,
    })
}
