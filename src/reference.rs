//! Reference spectra: one per phase, and how they look on measured energies.

mod convert;
mod description;
mod edge;
mod load;
mod overlap;
mod palette;
mod set;
mod spectrum;

pub use load::ReferenceError;
pub use set::{Composition, PhaseLabel, Provenance, Reference, ReferenceSet, Window};

#[cfg(test)]
mod tests;
