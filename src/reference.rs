//! Reference spectra: one per phase, and how they look on measured energies.

mod set;

pub use set::{Composition, Provenance, Reference, ReferenceSet, Window};
