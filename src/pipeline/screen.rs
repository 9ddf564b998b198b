//! What the operator's screen asks of the daemon beyond the board: the archive, the model's islands, the state of the parts, and hands for wishes.
//!
//! Nothing here is asked by the stages; all of it is asked by HTTP, on threads that may wait.

mod islands;
mod library;
mod system;

pub use islands::Islands;
pub use library::ArchiveLibrary;
pub use system::{Parts, System};
