//! A simulated microscope, and the sender that publishes it, or a recorded stack, over `stxm-stream/1`.
//!
//! Pure in the core: a [`Scenario`] and reference spectra make a [`Microscope`]; a [`ScanSource`] (microscope or
//! recording) makes [`WireMessage`]s in the order of the scan; [`Faulty`] drops, doubles and shuffles them; [`Kept`]
//! keeps them for who asks again. Only [`publish`] and [`Offer`] know sockets and the clock. Simulated scans say so in their plan; recorded ones do not.

mod damage;
mod drift;
mod emulate;
mod faults;
mod flaws;
mod kept;
mod messages;
mod microscope;
mod mismatch;
pub mod nvpf;
mod offer;
mod playback;
mod publish;
mod sampling;
mod scenario;
mod specimen;

pub use damage::DamageTruth;
pub use emulate::{Detector, Emulated, Format};
pub use faults::{FaultCounters, Faults, Faulty};
pub use kept::{Keeper, Keeping, Kept};
pub use messages::{MessageKind, MessageSettings, ScanMessages, ScanSource, WireMessage};
pub use microscope::Microscope;
pub use mismatch::mismatched;
pub use offer::Offer;
pub use playback::Playback;
pub use publish::{
    Endpoint, MAX_IN_FLIGHT_BYTES, PublishError, PublishEvent, PublishReport, PublishSettings, SocketKind,
    publish, publish_offering,
};
pub use scenario::{
    Beam, DamageSettings, DetectorSettings, DriftSettings, EnergyRun, FlawSettings, Front, IncidentSource,
    Kinetics, SamplingSettings, ScanSettings, Scenario, Series, Specimen,
};
pub use specimen::{FlawedLine, LineFlaw, ParticleTruth, SeriesTruth, Truth};

use crate::scan::PlanError;

/// Why a scan cannot be simulated.
#[derive(Debug, thiserror::Error)]
pub enum SimulationError {
    /// The scenario is no TOML, or has a key that no scenario has.
    #[error("scenario: {0}")]
    Toml(#[from] toml::de::Error),
    /// A value of the scenario is out of its range.
    #[error("scenario: {key} must be {wanted}")]
    Range {
        /// Which key.
        key: &'static str,
        /// What it must be.
        wanted: &'static str,
    },
    /// The references do not reach an energy.
    #[error("scenario: the reference spectra do not reach {0} eV (energy_offset_ev included)")]
    Energy(f64),
    /// A phase that is named is not there.
    #[error("scenario: {key}: no reference is called {id:?}")]
    Phase {
        /// Which key.
        key: &'static str,
        /// The name.
        id: String,
    },
    /// Nothing says which phase is the reduced one.
    #[error("scenario: damage.reduced must name a phase, as no reference has a state")]
    Reduced,
    /// Nothing says how dense the specimen is.
    #[error("scenario: damage.dose_per_energy_mgy must be given, as no reference has a density")]
    Density,
    /// Too few or too many references.
    #[error("{0} reference spectra; a simulation takes 1 to 64")]
    References(usize),
    /// The plan that follows from the scenario breaks a rule.
    #[error("scenario: {0}")]
    Plan(#[from] PlanError),
}
