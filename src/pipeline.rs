//! Tasks, threads, queues and shutdown: what joins the stages. The stages themselves know nothing of it.
//!
//! ```text
//! sources (tasks) -> queue, bounded in bytes -> receive thread: decode, detector, stack, journal <-> resend (task)
//!                                                  |                                     -> sync thread
//!                                                  | workboard: a coalescing set of what changed
//!                                               map thread: absorption, classify, publish
//!                                                  | orders, bounded
//!                                               archive thread: settled map, files
//!                                                  | outbox, in the archive's ledger
//!                                               upload task, caretaker thread: copies, what is kept
//!
//! map, archive threads -> alerts: inbox, alert thread -> webhooks, commands (tasks)
//! ```

mod absent;
pub mod alerts;
mod app;
pub mod archiver;
pub mod at_work;
pub mod caretaker;
pub mod copies;
mod doses;
pub mod errands;
mod findings;
mod household;
pub mod in_use;
pub mod ingest;
pub mod keeper;
pub mod mapper;
pub mod orders;
mod places;
pub mod pulse;
pub mod queue;
pub mod receive;
mod recipe;
pub mod reload;
pub mod replayed;
pub mod resend;
pub mod resume;
pub mod scans;
pub mod screen;
pub mod shelf;
mod supervisor;
pub mod sweep;
pub mod sync;
pub mod token;
pub mod uploads;
mod watch;
mod wiring;
pub mod workboard;

pub use app::{Addresses, App, AppError, RunReport};
pub use doses::{Basis, Doses, settle_dose};
pub use findings::findings_of;
pub use places::Places;
pub use places::kept_before as kept_place;
pub use recipe::{advice, backend, dose, monitor, pinned_dose, recipe};
pub use watch::{SettledLook, look_at_settled, pinned_watch};
