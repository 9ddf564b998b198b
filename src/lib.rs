//! phasewatch turns a running STXM acquisition into a map of chemical phases.
//!
//! See ARCHITECTURE.md for the map of the modules and the one-way flow of data between them.

pub mod absorption;
pub mod advice;
pub mod archive;
pub mod boundaries;
pub mod classify;
pub mod cli;
pub mod damage;
pub mod detector;
pub mod doctor;
pub mod document;
pub mod evaluation;
pub mod findings;
pub mod formats;
pub mod gmvae;
mod ipc;
pub mod journal;
pub mod kinetics;
pub mod model;
pub mod particles;
pub mod pipeline;
pub mod publish;
pub mod recording;
pub mod reference;
pub mod registration;
pub mod report;
pub mod scan;
pub mod screening;
pub mod settings;
pub mod simulate;
pub mod source;
pub mod stack;
pub mod tee;
pub mod telemetry;
pub mod zmtp;
