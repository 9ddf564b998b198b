//! One line of a journal: an event that was accepted, or the end of a scan's being open.

use chrono::{DateTime, Utc};

use crate::scan::{Outcome, ScanUpdate};

/// One line.
#[derive(Clone, Debug)]
pub struct Line {
    /// Number of the message in its scan; of [`What::Closed`] how often the scan was closed, this time included.
    pub seq: u64,
    /// When it was received, in microseconds; of our own clock as it was when the daemon started, and never going back within one run.
    pub received: DateTime<Utc>,
    /// What it says.
    pub what: What,
}

/// What a line says.
#[derive(Clone, Debug)]
pub enum What {
    /// An event.
    Update(ScanUpdate),
    /// The scan was closed and handed to the archive: the completion mark. Lines behind it opened it again.
    Closed(Outcome),
}

impl What {
    /// About the memory it takes, bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        const ROW: usize = 96;
        ROW + match self {
            Self::Update(update) => update.bytes(),
            Self::Closed(_) => 0,
        }
    }
}
