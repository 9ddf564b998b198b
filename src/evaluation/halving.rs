//! Which settings would halve the dose of a planned scan, and what each costs.
//!
//! A [`Setup`] is a plan with what is known of its light; [`savings`] lists changes of it that reach half the dose, or as far as they go;
//! [`measure`] simulates all of them: the same specimens, the same seeds, each specimen *mismatched* (its phases are shifted by up to
//! [`MISMATCH`]`.0` eV and changed by up to [`MISMATCH`]`.1` against the references that judge it), and the stages of the daemon make the
//! map. Scored are the pixels of the plan's own grid that hold one phase: a saving with larger pixels answers for them with the pixel that each lies in.
//! [`recommend`] says which one to take, by a rule.
//!
//! Assumptions: counting noise, a specimen of particles with domains like that of the scenarios, nothing that drifts, flickers or is damaged;
//! so figures are for comparing savings, and upper bounds for a real beamline. Energies that the references do not reach are not simulated.

mod measure;
mod recommend;
mod savings;
mod setup;

pub use measure::{FIELD, Figure, MISMATCH, Measured, measure};
pub use recommend::{ALIKE, recommend};
pub use savings::{Saving, savings};
pub use setup::{Change, Setup};

#[cfg(test)]
mod tests;
