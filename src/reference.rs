//! Reference spectra: one per phase, and how they look on measured energies.

mod convert;
mod description;
mod edge;
mod grid;
mod load;
mod palette;
mod set;
mod spectrum;

pub use grid::GridReferences;
pub use load::ReferenceError;
pub use set::{Composition, Provenance, Reference, ReferenceSet, Window};

#[cfg(test)]
mod tests;
