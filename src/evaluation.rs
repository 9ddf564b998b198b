//! What a model is worth: its accuracy on fresh synthesised spectra, beside correlation alone and the field's fit.
//!
//! Nothing that is scored here was seen in training: draws come from a seed of their own and from milder, fixed conditions. Still they
//! come from the same references; measured stacks are the harder test.

mod baseline;
mod table;

pub use table::{Evaluation, EvaluationError, MixtureRow, PhaseRow, evaluate};
