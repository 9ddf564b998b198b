//! From optical density to phases: correlation with the references, triage, the phase map.

pub mod composition;
mod confidence;
mod consult;
mod contrast;
pub mod correlation;
mod dose;
pub mod evidence;
mod judged;
mod live;
mod look;
mod mean_spectra;
mod messages;
mod misfit;
pub mod mixture;
pub mod moments;
pub mod neighbours;
mod offset;
mod optics;
mod oracle;
mod phase_map;
pub mod population;
mod products;
mod readings;
mod repeats;
mod settled;
pub mod spectrum;
mod targets;
mod triage;
mod view;

pub use crate::reference::PhaseLabel;
pub use consult::PosteriorModel;
pub use dose::{DoseKind, DoseNumbers, DoseSummary};
pub use live::LiveMap;
pub use mean_spectra::PhaseSpectra;
pub use offset::{
    Correction, EnergyOffset, EnergyScale, MAX_OFFSET_EV, OffsetDoubt, OffsetMode, OffsetSummary, WARN_EV,
    estimate_energies,
};
pub use optics::{Optics, PlaceFit, PlaceSpectrum, Single};
pub use oracle::Oracle;
pub use phase_map::{Ambiguity, Method, NO_PHASE, NO_READINGS, Origin, PhaseMap, RevisionReason, Status};
pub use repeats::first_entries;
pub use settled::{Recipe, Settled, settle};
pub use targets::Targets;
pub use triage::{Reading, Rule, TriageSettings, Verdict, judge};
pub use view::{DensityView, PlaneDensities};

#[cfg(test)]
mod drift_tests;
#[cfg(test)]
mod map_tests;
#[cfg(test)]
mod sparse_tests;
#[cfg(test)]
pub(crate) mod tests;
