//! Tasks, threads, queues and shutdown: what joins the stages. The stages themselves know nothing of it.
//!
//! ```text
//! sources (tasks) -> queue, bounded in bytes -> receive thread: decode, detector, stack
//!                                                  | workboard: a coalescing set of what changed
//!                                               map thread: absorption, classify, publish
//!                                                  | orders, bounded
//!                                               archive thread: settled map, files
//!                                                  | outbox, in the archive's ledger
//!                                               upload task, keeper thread: copies, what is kept
//! ```

mod app;
pub mod archiver;
pub mod copies;
pub mod ingest;
pub mod keeper;
pub mod mapper;
pub mod queue;
pub mod receive;
mod recipe;
pub mod scans;
pub mod shelf;
pub mod uploads;
pub mod workboard;

pub use app::{Addresses, App, AppError, RunReport};
pub use recipe::{advice, backend, recipe};
