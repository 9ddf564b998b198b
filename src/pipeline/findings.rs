//! What a settled map says of the sample: its particles.

use crate::classify::{DensityView, Recipe, Settled};
use crate::particles::Particles;
use crate::stack::Stack;

/// The particles of a settled map.
#[must_use]
pub fn particles_of(stack: &Stack, settled: &Settled, recipe: &Recipe) -> Particles {
    let mapped = settled.registered.as_ref().unwrap_or(stack);
    let view = DensityView::new(mapped, &settled.intensity, recipe.absorption.max_od, settled.noise_factor);
    Particles::of(&settled.map, &view, &recipe.references)
}
