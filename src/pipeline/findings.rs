//! What a settled map says of the sample.

use crate::classify::{DensityView, Recipe, Settled};
use crate::findings::Findings;
use crate::stack::Stack;

/// The findings of a settled map; `spot_nm` is the width of the beam where it is known.
#[must_use]
pub fn findings_of(stack: &Stack, settled: &Settled, recipe: &Recipe, spot_nm: Option<f64>) -> Findings {
    let mapped = settled.registered.as_ref().unwrap_or(stack);
    let view = DensityView::new(mapped, &settled.intensity, recipe.absorption.max_od, settled.noise_factor);
    Findings::of(&settled.map, &view, &recipe.references, spot_nm)
}
