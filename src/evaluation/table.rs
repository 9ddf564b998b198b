//! The table: accuracy by counts, number of energies and energy offset, and what becomes of mixtures.

use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use serde::Serialize;

use super::EvaluationError;
use super::baseline::{self, Shapes};
use crate::gmvae::fit::{Fitted, fit};
use crate::gmvae::{Conditions, Matter, Synthesis, even};
use crate::model::{Batch, Metadata, Model, ModelError, Projection};
use crate::reference::ReferenceSet;

const COUNTS: [f64; 4] = [300.0, 1000.0, 3000.0, 10_000.0];
const ENERGIES: [usize; 3] = [8, 12, 30];
const OFFSETS_EV: [f64; 2] = [0.0, 0.2];
/// Added to the seed of the training, so that nothing is drawn twice.
const SEED_SHIFT: u64 = 0x5eed_0000;

/// Accuracy on pixels of one phase.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct PhaseRow {
    /// Incident counts.
    pub counts: f64,
    /// Number of energies, evenly spaced.
    pub energies: usize,
    /// Energy offset, eV, of either sign.
    pub offset_ev: f64,
    /// Share of pixels whose highest correlation is with their phase.
    pub pearson: f64,
    /// Share whose best noise-weighted fit is.
    pub fit: f64,
    /// Share whose most probable phase is, of the phases alone.
    pub gmvae: f64,
    /// Share of these pure pixels that the fit calls a mixture.
    pub fit_false_mixture: f64,
    /// Share of them that the model calls a mixture.
    pub gmvae_false_mixture: f64,
    /// Share of them that the model calls foreign.
    pub gmvae_false_foreign: f64,
}

/// What becomes of mixtures and foreign spectra.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct MixtureRow {
    /// Incident counts.
    pub counts: f64,
    /// Number of energies, evenly spaced.
    pub energies: usize,
    /// Energy offset, eV, of either sign.
    pub offset_ev: f64,
    /// Share of mixtures (30 to 70 %) that the fit of two references finds.
    pub fit_found: f64,
    /// Share of them that the model finds.
    pub gmvae_found: f64,
    /// Share of foreign spectra that the model finds.
    pub gmvae_foreign_found: f64,
}

/// What a model is worth on synthesised spectra.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Evaluation {
    /// Pixels per row.
    pub pixels: usize,
    /// Seed of the draws.
    pub seed: u64,
    /// The energies are spread evenly from here, eV …
    pub from_ev: f64,
    /// … to here: where the references differ.
    pub to_ev: f64,
    /// Pixels of one phase.
    pub phases: Vec<PhaseRow>,
    /// Mixtures and foreign spectra.
    pub mixtures: Vec<MixtureRow>,
}

/// Evaluates `model`, which was trained on `references`, with `pixels` pixels per row of the table.
///
/// # Errors
/// References that cannot be drawn from, as text, or a model that does not run.
pub fn evaluate(
    model: &mut Model,
    references: &ReferenceSet,
    seed: u64,
    pixels: usize,
) -> Result<Evaluation, EvaluationError> {
    let synthesis = Synthesis::new(references)?;
    let seed = seed.wrapping_add(SEED_SHIFT);
    let (from_ev, to_ev) = synthesis.telling_range_ev();
    let mut evaluation =
        Evaluation { pixels, seed, from_ev, to_ev, phases: Vec::new(), mixtures: Vec::new() };
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    for offset_ev in OFFSETS_EV {
        for energies in ENERGIES {
            let mut bench = Bench::new(model, references, &synthesis, energies)?;
            for counts in COUNTS {
                let cell = (counts, energies, offset_ev);
                evaluation.phases.push(bench.phases(model, &mut rng, cell, pixels)?);
                evaluation.mixtures.push(bench.mixtures(model, &mut rng, cell, pixels)?);
            }
        }
    }
    Ok(evaluation)
}

/// A scan, and everything prepared for it.
struct Bench<'a> {
    synthesis: &'a Synthesis,
    energies_ev: Vec<f64>,
    shapes: Shapes,
    projection: Projection,
    batch: Batch,
    /// Cluster of each phase.
    clusters: Vec<Option<usize>>,
    mixture: Option<usize>,
    foreign: Vec<usize>,
}

/// Verdicts on one pixel.
struct Verdicts {
    pearson: Option<usize>,
    fit: Option<Fitted>,
    /// Most probable phase, of the phases alone.
    gmvae_phase: Option<usize>,
    /// Most probable cluster.
    gmvae_cluster: Option<usize>,
}

impl<'a> Bench<'a> {
    fn new(
        model: &Model,
        references: &ReferenceSet,
        synthesis: &'a Synthesis,
        energies: usize,
    ) -> Result<Self, EvaluationError> {
        let (from_ev, to_ev) = synthesis.telling_range_ev();
        let energies_ev = even(from_ev, to_ev, energies);
        let shape = |r: &crate::reference::Reference| -> Vec<f64> {
            energies_ev.iter().map(|&e| r.od_at(e).unwrap_or(0.0)).collect()
        };
        let metadata = model.metadata();
        let is = |wanted: &dyn Fn(&str) -> bool| -> Vec<usize> {
            (0..metadata.clusters.len()).filter(|&c| wanted(&metadata.clusters[c])).collect()
        };
        Ok(Self {
            synthesis,
            shapes: references.references.iter().map(shape).collect(),
            projection: Projection::new(&metadata.axis, &energies_ev)?,
            batch: Batch::with_capacity(&metadata.axis, 0),
            clusters: references.references.iter().map(|r| metadata.cluster_of(&r.label.id)).collect(),
            mixture: metadata.cluster_of("mixture"),
            foreign: is(&|name| Metadata::is_free(name) && name != "mixture"),
            energies_ev,
        })
    }

    /// Draws and judges pixels of the given matter.
    fn judge(
        &mut self,
        model: &mut Model,
        rng: &mut ChaCha8Rng,
        (counts, _, offset_ev): (f64, usize, f64),
        matter: impl Iterator<Item = Matter>,
    ) -> Result<Vec<Verdicts>, ModelError> {
        self.batch.clear();
        let mut verdicts = Vec::new();
        let mut rows = Vec::new();
        for matter in matter {
            let conditions = Conditions::of_test(rng, counts, offset_ev);
            let (od, sigma) = self.synthesis.measure(rng, matter, &conditions, &self.energies_ev);
            rows.push(self.batch.push(&self.projection, &od, &sigma));
            verdicts.push(Verdicts {
                pearson: baseline::pearson(&self.shapes, &od),
                fit: fit(&self.shapes, &od, &sigma),
                gmvae_phase: None,
                gmvae_cluster: None,
            });
        }
        let output = model.run(&self.batch)?;
        let asked = verdicts.iter_mut().zip(rows).filter(|(_, asked)| *asked);
        for (row, (verdict, _)) in asked.enumerate() {
            let posterior = output.posterior_of(row);
            let of_phase = |p: &usize| self.clusters[*p].map_or(f32::NEG_INFINITY, |c| posterior[c]);
            verdict.gmvae_phase = (0..self.clusters.len()).max_by(|a, b| of_phase(a).total_cmp(&of_phase(b)));
            verdict.gmvae_cluster =
                (0..posterior.len()).max_by(|&a, &b| posterior[a].total_cmp(&posterior[b]));
        }
        Ok(verdicts)
    }

    fn phases(
        &mut self,
        model: &mut Model,
        rng: &mut ChaCha8Rng,
        cell: (f64, usize, f64),
        pixels: usize,
    ) -> Result<PhaseRow, ModelError> {
        let phases = self.synthesis.phases();
        let verdicts = self.judge(model, rng, cell, (0..pixels).map(|i| Matter::Phase(i % phases)))?;
        let share = |right: &dyn Fn(usize, &Verdicts) -> bool| share(&verdicts, right);
        Ok(PhaseRow {
            counts: cell.0,
            energies: cell.1,
            offset_ev: cell.2,
            pearson: share(&|i, v| v.pearson == Some(i % phases)),
            fit: share(&|i, v| v.fit.is_some_and(|f| f.phase == i % phases)),
            gmvae: share(&|i, v| v.gmvae_phase == Some(i % phases)),
            fit_false_mixture: share(&|_, v| v.fit.is_some_and(|f| f.mixture)),
            gmvae_false_mixture: share(&|_, v| v.gmvae_cluster.is_some() && v.gmvae_cluster == self.mixture),
            gmvae_false_foreign: share(&|_, v| v.gmvae_cluster.is_some_and(|c| self.foreign.contains(&c))),
        })
    }

    fn mixtures(
        &mut self,
        model: &mut Model,
        rng: &mut ChaCha8Rng,
        cell: (f64, usize, f64),
        pixels: usize,
    ) -> Result<MixtureRow, ModelError> {
        let phases = self.synthesis.phases();
        let matter: Vec<Matter> = (0..pixels)
            .map(|i| {
                let first = i % phases;
                let second = (first + rng.random_range(1..phases)) % phases;
                Matter::Mixture(first, second, rng.random_range(0.3..0.7))
            })
            .collect();
        let mixed = self.judge(model, rng, cell, matter.into_iter())?;
        let foreign = self.judge(model, rng, cell, (0..pixels).map(|_| Matter::Foreign))?;
        Ok(MixtureRow {
            counts: cell.0,
            energies: cell.1,
            offset_ev: cell.2,
            fit_found: share(&mixed, &|_, v| v.fit.is_some_and(|f| f.mixture)),
            gmvae_found: share(&mixed, &|_, v| v.gmvae_cluster.is_some() && v.gmvae_cluster == self.mixture),
            gmvae_foreign_found: share(&foreign, &|_, v| {
                v.gmvae_cluster.is_some_and(|c| self.foreign.contains(&c))
            }),
        })
    }
}

fn share(verdicts: &[Verdicts], right: &dyn Fn(usize, &Verdicts) -> bool) -> f64 {
    let won = verdicts.iter().enumerate().filter(|(i, v)| right(*i, v)).count();
    won as f64 / verdicts.len().max(1) as f64
}
