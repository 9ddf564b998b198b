//! From optical density to phases: correlation with the references, triage, the phase map.

mod phase_map;

pub use phase_map::{Ambiguity, Method, NO_PHASE, Origin, PhaseLabel, PhaseMap, RevisionReason, Status};
