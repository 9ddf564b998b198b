//! The ONNX contract: how a pixel's spectrum becomes a model's input, and how a model file is read, checked and run.
//!
//! `proto/onnx-contract.md` is the contract as published. A model file is trusted with nothing: its size, its metadata, its
//! operators and its answers to a probe are checked before a pixel sees it, and every refusal names the rule that was broken.
//! A file that breaks a rule is an error, never a panic.

mod axis;
mod backend;
mod batch;
mod competence;
mod metadata;
mod operators;
mod projection;
mod rehearsal;
mod session;

pub use axis::{AxisError, MAX_CHANNELS, ModelAxis};
pub use backend::{Backend, BackendChoice, BackendError};
pub use batch::{Batch, MIN_CHANNELS, STD_FLOOR};
pub use competence::CompetenceCell;
pub use metadata::{CONTRACT, ContractError, MAX_FILE_BYTES, MAX_IR_VERSION, MAX_OPSET, Metadata};
pub use projection::Projection;
pub use session::{Model, ModelError, Output, sha256_hex};

#[cfg(test)]
mod tests;
