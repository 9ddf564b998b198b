//! What was read of a signal, dose by dose.

use serde::{Deserialize, Serialize};

/// One reading.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Reading {
    /// Accumulated dose when it was taken, MGy, or in relative units where the flux is not known.
    pub dose: f64,
    /// When, s after some beginning.
    pub time_s: f64,
    /// The value.
    pub value: f64,
    /// Its standard error, independent of those of other readings.
    pub sigma: f64,
}

/// What a signal ends at.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Plateau {
    /// The value.
    pub value: f64,
    /// Its standard error.
    pub sigma: f64,
}

/// Readings of one signal of one group of pixels, in the order in which they were taken.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Series {
    /// The readings; their doses do not fall.
    pub readings: Vec<Reading>,
    /// What the signal ends at when all that can be damaged is, where that is known.
    pub plateau: Option<Plateau>,
    /// Least standard error of any single reading: what photons do not account for.
    pub floor: f64,
}

impl Series {
    /// Number of readings.
    #[must_use]
    pub fn len(&self) -> usize {
        self.readings.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.readings.is_empty()
    }

    /// Variance of a reading, what photons do not account for included.
    #[must_use]
    pub fn variance(&self, reading: &Reading) -> f64 {
        // A variance of nothing would make a weight of infinity.
        (reading.sigma.powi(2) + self.floor.powi(2)).max(1e-24)
    }

    /// Dose from the first reading to the last.
    #[must_use]
    pub fn span(&self) -> Option<f64> {
        Some(self.readings.last()?.dose - self.readings.first()?.dose)
    }

    /// The first reading's value.
    #[must_use]
    pub fn first(&self) -> Option<f64> {
        self.readings.first().map(|reading| reading.value)
    }
}
