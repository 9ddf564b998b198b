//! What is evaluated: the recipe of the maps, and the model where there is one.

use super::EvaluationError;
use super::draw::{ScanDraw, Truth};
use super::methods::{self, Densities, Shapes};
use crate::classify::{Oracle, PhaseMap, PosteriorModel, Recipe, settle};
use crate::stack::Stack;

/// The methods, in the order of the tables.
pub const METHODS: [&str; 5] = ["pearson", "fit", "fit_offset", "gmvae", "pipeline"];
/// Index of the pipeline in [`METHODS`].
pub const PIPELINE: usize = 4;

/// A pipeline to measure.
#[derive(Debug)]
pub struct Subject {
    /// What makes maps of stacks, as the daemon is configured.
    pub recipe: Recipe,
    /// The model the maps consult; without one the column `gmvae` is empty.
    pub oracle: Option<Oracle>,
}

/// Everything said of one scan.
pub(super) struct Readings {
    /// The pixels with anything in them.
    pub(super) pixels: Vec<usize>,
    /// The phase that each method names for each of them, by [`METHODS`]; `None` where a method was not there to ask.
    pub(super) named: [Option<Vec<u8>>; METHODS.len()],
    /// What the model alone says of each of them, `[pixel * clusters + cluster]`.
    pub(super) posteriors: Option<Vec<f32>>,
    /// The map of the pipeline, of all pixels.
    pub(super) map: PhaseMap,
    /// The offset as the reference estimator has it, eV.
    pub(super) offset_ev: f64,
    /// The optical densities.
    pub(super) densities: Densities,
    /// The references at that offset.
    pub(super) shifted: Shapes,
}

impl Subject {
    /// The map of a stack.
    ///
    /// # Errors
    /// A model that fails.
    pub(super) fn map(&mut self, stack: &Stack) -> Result<PhaseMap, EvaluationError> {
        let model = self.oracle.as_mut().map(|oracle| oracle as &mut dyn PosteriorModel);
        let settled = settle(stack, &self.recipe, model);
        match settled.model_failure {
            Some(failure) => Err(EvaluationError::Engine(failure)),
            None => Ok(settled.map),
        }
    }

    /// Asks every method about every pixel of a drawn scan; the model alone only where `ask_model`.
    ///
    /// # Errors
    /// A model that fails.
    pub(super) fn read(&mut self, scan: &ScanDraw, ask_model: bool) -> Result<Readings, EvaluationError> {
        let pixels: Vec<usize> =
            (0..scan.truth.len()).filter(|&pixel| scan.truth[pixel] != Truth::Empty).collect();
        let map = self.map(&scan.stack)?;
        let references = &self.recipe.references;
        let densities = Densities::new(&scan.stack, &self.recipe);
        let nominal = Shapes::new(references, &densities.energies_ev, 0.0);
        let offset_ev = methods::estimate_offset(&densities, references);
        let shifted = Shapes::new(references, &densities.energies_ev, offset_ev);
        let (mut posteriors, mut gmvae) = (None, None);
        if let Some(oracle) = self.oracle.as_mut().filter(|_| ask_model) {
            let said = methods::posteriors(&densities, &pixels, oracle).map_err(EvaluationError::Engine)?;
            gmvae = Some(methods::winners(&said, oracle.clusters(), references));
            posteriors = Some(said);
        }
        let named = [
            Some(methods::best_phases(&densities, &pixels, &nominal, false)),
            Some(methods::best_phases(&densities, &pixels, &nominal, true)),
            Some(methods::best_phases(&densities, &pixels, &shifted, true)),
            gmvae,
            Some(pixels.iter().map(|&pixel| map.phase[pixel]).collect()),
        ];
        Ok(Readings { pixels, named, posteriors, map, offset_ev, densities, shifted })
    }
}
