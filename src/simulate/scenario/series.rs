//! `[series]`: several scans of one specimen, at several times.
//!
//! Each has noise, drift and flaws of its own, and the stage does not come back to the same place exactly.

use std::f64::consts::TAU;

use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use super::{Scenario, check, not_negative};
use crate::simulate::SimulationError;

/// Random stream of the places to which the stage comes back.
const STREAM: u64 = u64::MAX - 5;
/// Most scans.
const MAX_SCANS: usize = 1000;

/// When the scans of a series are, and what is said of them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Series {
    /// Start of each scan, ascending.
    pub hours: Vec<f64>,
    /// The state of charge that each plan tells, which need not be true; empty where none does.
    #[serde(default)]
    pub state_of_charge: Vec<f64>,
    /// How far from its first place the specimen lies in a later scan, at most, pixels.
    #[serde(default)]
    pub stage_px: f64,
}

impl Series {
    pub(super) fn check(&self) -> Result<(), SimulationError> {
        let finite = self.hours.iter().all(|&hours| hours.is_finite() && hours.abs() <= 1e6);
        let ascending = self.hours.windows(2).all(|pair| pair[0] < pair[1]);
        let count = (1..=MAX_SCANS).contains(&self.hours.len());
        check("series.hours", finite && ascending && count, "1 to 1000 hours, ascending")?;
        let told = self.state_of_charge.is_empty() || self.state_of_charge.len() == self.hours.len();
        let finite = self.state_of_charge.iter().all(|charge| charge.is_finite());
        check("series.state_of_charge", told && finite, "empty, or a number for each of series.hours")?;
        check("series.stage_px", not_negative(self.stage_px), "0 or more")
    }
}

impl Scenario {
    /// The scans of the series, in order; of a scenario without one the scenario itself.
    #[must_use]
    pub fn scans(&self) -> Vec<Self> {
        let Some(series) = &self.series else { return vec![self.clone()] };
        let own_seed = self.specimen.seed.unwrap_or(self.seed);
        let mut rng = ChaCha8Rng::seed_from_u64(self.seed);
        rng.set_stream(STREAM);
        let scan = |(number, &hours): (usize, &f64)| {
            let mut scan = self.clone();
            scan.series = None;
            scan.specimen.seed = Some(own_seed);
            scan.seed = self.seed.wrapping_add(number as u64);
            scan.scan.hours = hours;
            scan.scan.state_of_charge = series.state_of_charge.get(number).copied();
            if number > 0 {
                let (angle, part): (f64, f64) = (rng.random_range(0.0..TAU), rng.random::<f64>().sqrt());
                scan.scan.offset_px = [angle.sin(), angle.cos()].map(|along| series.stage_px * part * along);
            }
            scan
        };
        series.hours.iter().enumerate().map(scan).collect()
    }
}
