//! `[beam]`: how much light, of which energy, and how it changes.

use serde::{Deserialize, Serialize};

use super::{check, is_share, not_negative, positive};
use crate::simulate::SimulationError;

/// Most photons a pixel may have: a value and its noise must fit uint32.
pub(super) const MAX_PHOTONS: f64 = 1e9;

/// The beam.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Beam {
    /// Detected photons per pixel without sample, at the first ring current and the brightest energy.
    pub photons: f64,
    /// Share of second-order light, 0 to below 1.
    pub second_order: f64,
    /// Ring current at the start, mA.
    pub ring_current_ma: f64,
    /// Time in which the ring current falls to 1/e, hours.
    pub ring_lifetime_h: f64,
    /// The ring is filled up to the current at the start whenever this time is over, minutes; 0: never.
    pub top_up_min: f64,
    /// Standard deviation of the light from line to line, as a share of it.
    pub flicker: f64,
    /// True photon energy less set-point in the middle of the scan's range, eV: what a wrong calibration hides.
    pub energy_offset_ev: f64,
    /// By how much that offset grows per eV of the set-point.
    pub energy_slope: f64,
}

impl Default for Beam {
    fn default() -> Self {
        Self {
            photons: 3000.0,
            second_order: 0.01,
            ring_current_ma: 400.0,
            ring_lifetime_h: 8.0,
            top_up_min: 0.0,
            flicker: 0.0,
            energy_offset_ev: 0.0,
            energy_slope: 0.0,
        }
    }
}

impl Beam {
    pub(super) fn check(&self) -> Result<(), SimulationError> {
        check("beam.photons", positive(self.photons) && self.photons <= MAX_PHOTONS, "above 0, at most 1e9")?;
        check("beam.second_order", is_share(self.second_order) && self.second_order < 1.0, "0 to below 1")?;
        check("beam.ring_current_ma", positive(self.ring_current_ma), "above 0")?;
        check("beam.ring_lifetime_h", positive(self.ring_lifetime_h), "above 0")?;
        check("beam.top_up_min", not_negative(self.top_up_min), "0 or more")?;
        check("beam.flicker", (0.0..=0.2).contains(&self.flicker), "0 to 0.2")?;
        check("beam.energy_offset_ev", self.energy_offset_ev.abs() <= 5.0, "-5 to 5")?;
        check("beam.energy_slope", self.energy_slope.abs() <= 0.1, "-0.1 to 0.1")
    }

    /// Ring current so many milliseconds after the start, mA.
    pub(in crate::simulate) fn ring_current_ma(&self, ms: f64) -> f64 {
        let minutes = ms / 6e4;
        let since_fill = if self.top_up_min > 0.0 { minutes % self.top_up_min } else { minutes };
        self.ring_current_ma * (-since_fill / 60.0 / self.ring_lifetime_h).exp()
    }

    /// True photon energy less set-point, eV, in a scan whose range has its middle at `middle_ev`.
    pub(in crate::simulate) fn offset_at(&self, energy_ev: f64, middle_ev: f64) -> f64 {
        self.energy_offset_ev + self.energy_slope * (energy_ev - middle_ev)
    }
}
