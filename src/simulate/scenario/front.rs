//! `[specimen.front]`: particles that are of one phase in a shell along their rim and of another in their core.
//!
//! The front between the two goes inwards from the outline of each particle, evenly all round, with time; within a scan it stands still. With it particles
//! have no domains. `specimen.boundary_px` is how inclined it is, as that of any other boundary.

use serde::{Deserialize, Serialize};

use super::check;
use crate::reference::ReferenceSet;
use crate::simulate::SimulationError;

/// A front in every particle.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Front {
    /// The phase between rim and front.
    pub shell: String,
    /// The phase beyond.
    pub core: String,
    /// How deep the front lies below the outline at hour 0, pixels; where it is 0 or less there is no shell.
    #[serde(default)]
    pub depth_px: f64,
    /// How fast it goes inwards.
    #[serde(default)]
    pub speed_px_per_h: f64,
    /// So many particles, the first ones, are behind.
    #[serde(default)]
    pub lagging: usize,
    /// By how much, pixels; where it is missing they have no shell at all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lag_px: Option<f64>,
}

impl Front {
    pub(super) fn check(&self) -> Result<(), SimulationError> {
        check("specimen.front.depth_px", self.depth_px.is_finite(), "a number")?;
        check("specimen.front.speed_px_per_h", self.speed_px_per_h.is_finite(), "a number")?;
        check("specimen.front.lag_px", self.lag_px.is_none_or(f64::is_finite), "a number")
    }

    /// How deep it lies in the particle that was placed after so many others, pixels; `None` where there is no shell.
    #[must_use]
    pub fn depth_at(&self, particle: usize, hours: f64) -> Option<f64> {
        let lag_px = if particle < self.lagging { self.lag_px? } else { 0.0 };
        let depth_px = self.depth_px + self.speed_px_per_h * hours - lag_px;
        (depth_px > 0.0).then_some(depth_px)
    }

    /// The indices of shell and core.
    pub(in crate::simulate) fn phases(
        &self,
        references: &ReferenceSet,
    ) -> Result<[usize; 2], SimulationError> {
        let index = |key, id: &String| {
            let place = references.references.iter().position(|own| own.label.id == *id);
            place.ok_or_else(|| SimulationError::Phase { key, id: id.clone() })
        };
        Ok([index("specimen.front.shell", &self.shell)?, index("specimen.front.core", &self.core)?])
    }
}
