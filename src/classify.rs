//! From optical density to phases: correlation with the references, triage, the phase map.

mod confidence;
mod consult;
mod contrast;
pub mod correlation;
pub mod evidence;
mod judged;
mod live;
mod mean_spectra;
mod misfit;
pub mod mixture;
mod oracle;
mod phase_map;
mod readings;
mod settled;
pub mod spectrum;
mod targets;
mod triage;
mod view;

pub use consult::PosteriorModel;
pub use live::LiveMap;
pub use mean_spectra::PhaseSpectra;
pub use oracle::Oracle;
pub use phase_map::{
    Ambiguity, Method, NO_PHASE, NO_READINGS, Origin, PhaseLabel, PhaseMap, RevisionReason, Status,
};
pub use settled::{Recipe, Settled, settle};
pub use targets::Targets;
pub use triage::{Reading, Rule, TriageSettings, Verdict, judge};
pub use view::DensityView;

#[cfg(test)]
mod map_tests;
#[cfg(test)]
mod tests;
