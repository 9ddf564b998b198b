//! From optical density to phases: correlation with the references, triage, the phase map.

pub mod correlation;
pub mod evidence;
pub mod mixture;
mod phase_map;
pub mod spectrum;
mod targets;
mod triage;

pub use phase_map::{Ambiguity, Method, NO_PHASE, Origin, PhaseLabel, PhaseMap, RevisionReason, Status};
pub use targets::Targets;
pub use triage::{Reading, Rule, TriageSettings, Verdict, judge};

#[cfg(test)]
mod tests;
