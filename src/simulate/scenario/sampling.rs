//! `[sampling]`: which pixels are measured at which energy.

use serde::{Deserialize, Serialize};

use super::{ScanSettings, check};
use crate::simulate::SimulationError;

/// Sparse sampling; by default every pixel is measured at every energy.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SamplingSettings {
    /// Share of the pixels that are measured, drawn at random, the same at every energy.
    pub pixels: f64,
    /// Every pixel is measured at so many energies of the first pass, drawn for it alone; 0: at all of them.
    pub energies_per_pixel: usize,
    /// The energies of `scan.then` are measured where `pixels` left out, and only there.
    pub fill_in: bool,
}

impl Default for SamplingSettings {
    fn default() -> Self {
        Self { pixels: 1.0, energies_per_pixel: 0, fill_in: false }
    }
}

impl SamplingSettings {
    pub(super) fn check(&self, scan: &ScanSettings) -> Result<(), SimulationError> {
        check("sampling.pixels", self.pixels > 0.0 && self.pixels <= 1.0, "above 0, at most 1")?;
        let few = self.energies_per_pixel <= scan.first_energies();
        check("sampling.energies_per_pixel", few, "at most the number of energies")?;
        check(
            "sampling.fill_in",
            !(self.fill_in && scan.then.is_empty()),
            "false where there is no scan.then",
        )
    }
}
