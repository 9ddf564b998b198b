//! What a live map hands out, so that people can ask for spectra while it goes on.

use std::sync::Arc;

use super::LiveMap;
use crate::classify::Optics;

impl LiveMap {
    /// The estimates of the latest generation.
    #[must_use]
    pub fn optics(&self) -> Optics {
        Optics {
            registered: self.registrar.registered().cloned(),
            intensity: self.intensity.clone(),
            max_od: self.recipe.absorption.max_od,
            noise_factor: self.noise_factor,
            uncorrected_ev: self.targets.uncorrected_ev.clone(),
            correction: self.targets.correction.clone(),
            references: Arc::clone(&self.recipe.references),
        }
    }
}
