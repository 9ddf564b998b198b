//! From optical density to phases: correlation with the references, triage, the phase map.

pub mod correlation;
pub mod evidence;
mod phase_map;
pub mod spectrum;
mod targets;

pub use phase_map::{Ambiguity, Method, NO_PHASE, Origin, PhaseLabel, PhaseMap, RevisionReason, Status};
pub use targets::Targets;

#[cfg(test)]
mod tests;
