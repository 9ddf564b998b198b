//! The journal: every event that a scan accepted, on the way to the disk before it counts as received.
//!
//! A scan's journal is a folder in the state directory:
//!
//! ```text
//! journal/<scan_id>/events.arrows   an Arrow IPC stream, one row per event, batches appended; any Arrow reader takes it
//! journal/<scan_id>/ledger          32 bytes per batch: its number, where it ends, rows so far, CRC-32 of batch and record
//! journal/<scan_id>/pinned.json     what its maps are made with: recipe, settings, digests of references and model
//! journal/<scan_id>/archived.json   once it was archived: where, and which closing of the scan that was
//! content/<sha256>.json, .onnx      references and models, kept by their content
//! format                            what the state directory as a whole is: [`STATE_FORMAT`]
//! ```
//!
//! A scan that opens again goes on in the same file, so there is no end marker: an Arrow stream that is cut between two
//! batches reads as a clean end, and only the ledger tells how many there were. The completion mark is a row of its own
//! ([`What::Closed`]); a journal whose last row is another belongs to a scan that is still open.
//!
//! Assumptions: one process writes (the state directory is locked, [`Store::open`]); what was written to the operating system
//! survives the process, and what was synced survives the machine. A batch counts once its record is in the ledger.
//!
//! Bad input: a batch whose checksum is wrong is left out, named and counted, and reading goes on behind it; without a usable
//! record the stream itself is followed, message by message, as far as it is one. Nothing is trusted for its size before the
//! file is seen to be that long. A journal of a newer format is refused and left alone.

mod ledger;
mod line;
mod messages;
mod pinned;
mod reader;
mod store;
mod table;
mod writer;

use std::path::{Path, PathBuf};

use crate::formats::NewerFormat;

pub use line::{Line, What};
pub(crate) use pinned::write_bytes;
pub use pinned::{Archived, Pinned};
pub use reader::{Contents, last_line, read};
pub use store::{Found, Place, Store};
pub use writer::{Committed, ScanWriter};

/// Name and version of the format.
pub const FORMAT: &str = "phasewatch-journal/1";
/// Name and version of the state directory as a whole, in its file `format`. Of one without that file it is 1.
pub const STATE_FORMAT: &str = "phasewatch-state/1";
/// The events of a scan.
pub const EVENTS: &str = "events.arrows";
/// Where each batch of them ends, and what it adds up to.
pub const LEDGER: &str = "ledger";

/// Why a journal cannot be written or read.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// The operating system refused.
    #[error("{doing} {}: {error}", path.display())]
    Io {
        /// What was being done.
        doing: &'static str,
        /// To which file or folder.
        path: PathBuf,
        /// What the operating system said.
        error: std::io::Error,
    },
    /// Another process has the state directory.
    #[error(
        "{} is in use by another phasewatch ({holder}): give each daemon a daemon.state_dir of its own, or stop the other",
        path.display()
    )]
    Locked {
        /// The state directory.
        path: PathBuf,
        /// What the lock says of who holds it.
        holder: String,
    },
    /// A newer phasewatch wrote it.
    #[error("{}: {error}", path.display())]
    Format {
        /// The file that says so.
        path: PathBuf,
        /// What it says.
        error: NewerFormat,
    },
    /// A JSON file of the journal is not what it should be.
    #[error("{}: {error}", path.display())]
    Json {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        error: serde_json::Error,
    },
    /// Arrow refused; a bug of ours.
    #[error("encoding events of {}: {error}", path.display())]
    Arrow {
        /// Which journal.
        path: PathBuf,
        /// What it said.
        error: arrow::error::ArrowError,
    },
}

impl JournalError {
    pub(crate) fn io(doing: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_owned();
        move |error| Self::Io { doing, path, error }
    }
}

#[cfg(test)]
mod tests;
