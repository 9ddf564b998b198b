//! `[flaws]`: lines that go wrong.

use serde::{Deserialize, Serialize};

use super::{check, is_share};
use crate::simulate::SimulationError;

/// Shares of lines that go wrong, each 0 to 1; what happens to a line is drawn line by line.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FlawSettings {
    /// Lines without beam.
    pub beam_loss: f64,
    /// What is left of the light in them.
    pub beam_loss_level: f64,
    /// Lines whose values stand still: one value all along, or the line before once more.
    pub stuck: f64,
    /// Lines whose values are wrong by a factor.
    pub bad: f64,
}

impl Default for FlawSettings {
    fn default() -> Self {
        Self { beam_loss: 0.0, beam_loss_level: 0.0, stuck: 0.0, bad: 0.0 }
    }
}

impl FlawSettings {
    pub(super) fn check(&self) -> Result<(), SimulationError> {
        check("flaws.beam_loss", is_share(self.beam_loss), "0 to 1")?;
        check("flaws.beam_loss_level", is_share(self.beam_loss_level), "0 to 1")?;
        check("flaws.stuck", is_share(self.stuck), "0 to 1")?;
        check("flaws.bad", is_share(self.bad), "0 to 1")?;
        let all = self.beam_loss + self.stuck + self.bad;
        check("flaws", all <= 1.0, "shares of at most 1 together")
    }
}
