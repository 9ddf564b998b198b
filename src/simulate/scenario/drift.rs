//! `[drift]`: how the specimen moves under the beam from energy to energy.

use serde::{Deserialize, Serialize};

use super::{check, not_negative};
use crate::simulate::SimulationError;

/// The drift; all lengths in pixels, and all of it 0 by default.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DriftSettings {
    /// Standard deviation of a step of the random walk, per energy and axis.
    pub walk_px: f64,
    /// Run-out of zone plate and stage: how far it goes over the range of energies.
    pub run_out_px: f64,
    /// Standard deviation of what comes and goes at every energy, per axis.
    pub jitter_px: f64,
    /// Largest distance from where the scan began; the whole drift is scaled down where it would be larger.
    pub most_px: f64,
}

impl Default for DriftSettings {
    fn default() -> Self {
        Self { walk_px: 0.0, run_out_px: 0.0, jitter_px: 0.0, most_px: 8.0 }
    }
}

impl DriftSettings {
    pub(super) fn check(&self) -> Result<(), SimulationError> {
        check("drift.walk_px", not_negative(self.walk_px), "0 or more")?;
        check("drift.run_out_px", not_negative(self.run_out_px), "0 or more")?;
        check("drift.jitter_px", not_negative(self.jitter_px), "0 or more")?;
        check("drift.most_px", (0.0..=1000.0).contains(&self.most_px), "0 to 1000")
    }
}
