//! The scenarios that are built in.

use super::Scenario;
use crate::simulate::SimulationError;

macro_rules! library {
    ($($name:literal),* $(,)?) => {
        /// Name and text of each scenario of `config/scenarios/`, but the demo's.
        const LIBRARY: &[(&str, &str)] =
            &[$(($name, include_str!(concat!("../../../config/scenarios/", $name, ".toml")))),*];
    };
}

library![
    "clean",
    "mismatch",
    "drift",
    "drift-noisy",
    "drift-mismatch",
    "offset",
    "offset-slope",
    "top-up",
    "stream-i0",
    "monitor",
    "film",
    "film-spectrum",
    "beam-loss",
    "bad-lines",
    "dead-time",
    "saturation",
    "not-photons",
    "hot-pixels",
    "second-order",
    "thick",
    "thick-second",
    "thick-dim",
    "thin",
    "overlap",
    "few-energies",
    "few-pixels",
    "sparse",
    "own-energies",
    "sentinels",
    "damage",
    "damage-mild",
    "damage-none",
    "operando",
    "second-pass",
    "fill-in",
    "interleaved",
    "fronts",
    "everything",
];

impl Scenario {
    /// The scenarios that are built in, each with its name, in the order of the tables.
    ///
    /// # Errors
    /// Never in a build whose tests pass.
    pub fn library() -> Result<Vec<(&'static str, Self)>, SimulationError> {
        LIBRARY.iter().map(|(name, text)| Ok((*name, Self::parse(text)?))).collect()
    }
}
