//! What it costs to reckon the dose of a whole scan.

use phasewatch::absorption::Intensity;
use phasewatch::classify::{DensityView, Recipe};
use phasewatch::damage::{DoseSettings, Exposed, Reckoned};
use phasewatch::registration::{Drift, Shift, Verdict};
use phasewatch::screening::Screen;
use phasewatch::stack::Stack;

use crate::scene::{Scene, recipe};

/// A whole scan with its estimates.
pub(crate) struct Whole {
    stack: Stack,
    recipe: Recipe,
    intensity: Intensity,
    settings: DoseSettings,
}

impl Whole {
    pub(crate) fn new(scene: &Scene, energies: usize) -> Self {
        let (stack, recipe) = (scene.stack(energies), recipe());
        let screen = Screen::of(&stack, &recipe.absorption.detector);
        let intensity = Intensity::estimate(&stack, &screen, &recipe.absorption);
        let settings = DoseSettings { flux_ph_per_s: Some(1e7), ..DoseSettings::default() };
        Self { stack, recipe, intensity, settings }
    }

    /// No drift, and one that takes every image a part of a pixel further.
    pub(crate) fn drifts(&self) -> [(&'static str, Drift); 2] {
        let shift = |energy: usize| Some(Shift { y: 0.03 * energy as f64, x: -0.02, ..Shift::default() });
        let shifts = (0..self.stack.planes().len()).map(shift).collect();
        [("still", Drift::default()), ("drift taken out", Drift { shifts, verdict: Verdict::Applied })]
    }

    /// Reckons it; returns the sum over the pixels.
    pub(crate) fn reckon(&self, drift: &Drift) -> f64 {
        let view = DensityView::new(&self.stack, &self.intensity, self.recipe.absorption.max_od, 1.0);
        let exposed = Exposed { raw: &self.stack, view: &view, drift };
        let (detector, references) = (&self.recipe.absorption.detector, &self.recipe.references);
        let reckoned = Reckoned::of(&exposed, &self.intensity, detector, references, &self.settings).unwrap();
        reckoned.own.dose.iter().map(|dose| f64::from(*dose)).sum()
    }
}
