//! What to simulate: the specimen, the beam, the detector, the scan and what goes wrong, as a TOML file has them.
//!
//! Every key has a default but the list of energies, and by default nothing goes wrong; an unknown key is an error,
//! and a value out of its range one that names the key. [`Scenario::library`] are the scenarios that are built in,
//! `config/scenarios/*.toml`; [`Scenario::demo`] is the one of the demo. docs/scenarios.md describes them.

mod beam;
mod damage;
mod detector;
mod drift;
mod flaws;
mod front;
mod library;
mod sampling;
mod scan;
mod series;
mod specimen;

use serde::{Deserialize, Serialize};

use super::SimulationError;
pub use beam::Beam;
pub use damage::{DamageSettings, Kinetics};
pub use detector::{DetectorSettings, IncidentSource};
pub use drift::DriftSettings;
pub use flaws::FlawSettings;
pub use front::Front;
pub use sampling::SamplingSettings;
pub use scan::{EnergyRun, ScanSettings};
pub use series::Series;
pub use specimen::Specimen;

/// A whole scenario.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    /// What it is about, in a sentence.
    #[serde(default)]
    pub about: String,
    /// Everything random comes from this number.
    #[serde(default)]
    pub seed: u64,
    /// Beamline, in the alphabet of identifiers.
    #[serde(default = "default_beamline")]
    pub beamline: String,
    /// Name of the sample.
    #[serde(default)]
    pub sample: Option<String>,
    /// Name of the region.
    #[serde(default)]
    pub region: Option<String>,
    /// What the plan says of the experiment, as it is; e.g. `{ operando = true }`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub context: Option<serde_json::Value>,
    /// The scan.
    pub scan: ScanSettings,
    /// Which pixels are measured at which energy.
    #[serde(default)]
    pub sampling: SamplingSettings,
    /// How the specimen moves.
    #[serde(default)]
    pub drift: DriftSettings,
    /// The beam.
    #[serde(default)]
    pub beam: Beam,
    /// The detector.
    #[serde(default)]
    pub detector: DetectorSettings,
    /// Lines that go wrong.
    #[serde(default)]
    pub flaws: FlawSettings,
    /// The specimen.
    #[serde(default)]
    pub specimen: Specimen,
    /// What the beam does to it, and what it does by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub damage: Option<DamageSettings>,
    /// Several scans of the specimen; [`Scenario::scans`] has each by itself, and everything else takes the scenario as one scan.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub series: Option<Series>,
}

fn default_beamline() -> String {
    "simulated".to_owned()
}

impl Scenario {
    /// The scenario of the demo.
    ///
    /// # Errors
    /// Never in a build whose tests pass.
    pub fn demo() -> Result<Self, SimulationError> {
        Self::parse(include_str!("../../config/scenarios/demo.toml"))
    }

    /// Reads and checks a scenario.
    ///
    /// # Errors
    /// Text that is no TOML, an unknown key, or a value out of its range.
    pub fn parse(text: &str) -> Result<Self, SimulationError> {
        let scenario: Self = toml::from_str(text)?;
        scenario.check()?;
        Ok(scenario)
    }

    /// Checks every range.
    ///
    /// # Errors
    /// The first key that is out of range.
    pub fn check(&self) -> Result<(), SimulationError> {
        self.scan.check()?;
        self.sampling.check(&self.scan)?;
        self.drift.check()?;
        self.beam.check()?;
        self.detector.check()?;
        self.flaws.check()?;
        self.specimen.check()?;
        self.series.as_ref().map_or(Ok(()), Series::check)?;
        self.damage.as_ref().map_or(Ok(()), DamageSettings::check)
    }

    /// The set-points, eV, in the order in which they are measured, those of a second pass included. Lists that
    /// would be longer than any plan are cut.
    #[must_use]
    pub fn energies_ev(&self) -> Vec<f64> {
        self.scan.energies_ev()
    }
}

fn positive(value: f64) -> bool {
    value.is_finite() && value > 0.0
}

fn not_negative(value: f64) -> bool {
    value.is_finite() && value >= 0.0
}

/// A share, 0 to 1.
fn is_share(value: f64) -> bool {
    (0.0..=1.0).contains(&value)
}

fn check(key: &'static str, good: bool, wanted: &'static str) -> Result<(), SimulationError> {
    if good { Ok(()) } else { Err(SimulationError::Range { key, wanted }) }
}

#[cfg(test)]
mod tests;
