//! A simulated scan as the daemon has it in the end: measured in process, mapped and settled.

use crate::classify::{DensityView, PhaseMap, Recipe, Settled, settle};
use crate::evaluation::EvaluationError;
use crate::simulate::Microscope;
use crate::stack::Stack;

pub(super) struct Measured {
    stack: Stack,
    settled: Settled,
    max_od: f64,
}

impl Measured {
    pub(super) fn of(microscope: &Microscope, recipe: &Recipe) -> Result<Self, EvaluationError> {
        let mut stack = Stack::new(microscope.plan().clone());
        let mut seq = 0;
        stack.note_seq(seq);
        for energy in 0..microscope.plan().energies_ev.len() {
            for row in 0..microscope.plan().grid.ny() {
                seq += 1;
                stack.note_seq(seq);
                stack.push(seq, &microscope.line(energy, row))?;
            }
        }
        let settled = settle(&stack, recipe, None);
        Ok(Self { stack, settled, max_od: recipe.absorption.max_od })
    }

    pub(super) fn map(&self) -> &PhaseMap {
        &self.settled.map
    }

    pub(super) fn view(&self) -> DensityView<'_> {
        let mapped = self.settled.registered.as_ref().unwrap_or(&self.stack);
        DensityView::new(mapped, &self.settled.intensity, self.max_od, self.settled.noise_factor)
    }
}
