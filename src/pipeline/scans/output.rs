//! What scans have to say: notices for the rest of the pipeline, lines for the journal.

use std::sync::Arc;
use std::time::Instant;

use super::SharedStack;
use crate::classify::Recipe;
use crate::journal::What;
use crate::scan::{Outcome, Remark, ScanPlan};

/// What the rest of the pipeline is told.
#[derive(Clone, Debug)]
pub enum ScanNotice {
    /// A scan began. `stack` is `None` where it is not mapped; `note` then says why.
    Started {
        /// The plan.
        plan: Box<ScanPlan>,
        /// Index of the source.
        source: usize,
        /// Where its values go.
        stack: Option<SharedStack>,
        /// Why it is not mapped.
        note: Option<String>,
        /// Where it comes from.
        origin: ScanOrigin,
    },
    /// Values came.
    Changed(String),
    /// The sender waits.
    Paused(String),
    /// The sender goes on.
    Resumed(String),
    /// There is something to know about it.
    Remarked {
        /// The scan.
        scan_id: String,
        /// What.
        remark: Remark,
    },
    /// No more values are expected.
    Ended {
        /// The scan.
        scan_id: String,
        /// How it ended.
        outcome: Outcome,
        /// Whether a later archive of it may follow.
        provisional: bool,
        /// Whether it had been archived before.
        reopened: bool,
        /// How often it was closed, this time included.
        closing: u32,
    },
    /// An operator wants what there is archived; the scan goes on.
    Wanted(String),
    /// Scans that begin from now on are mapped otherwise.
    Renewed(Box<Recipe>),
    /// Values came after the end.
    Reopened {
        /// The scan.
        scan_id: String,
        /// Where they went.
        stack: SharedStack,
    },
}

/// Where a scan that starts comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ScanOrigin {
    /// Its sender began it.
    Sender,
    /// A journal: it goes on after a restart.
    Journal,
    /// A journal of a scan that was archived there: something came for it.
    Archived(String),
    /// A journal of a scan that has ended and is not archived yet: something came for it.
    Late,
}

/// A line for the journal.
#[derive(Clone, Debug)]
pub struct Kept {
    /// The scan.
    pub scan_id: Arc<str>,
    /// Index of its source.
    pub source: usize,
    /// Whether the scan has not started yet.
    pub held: bool,
    /// When it came.
    pub at: Instant,
    /// Number of the message.
    pub seq: u64,
    /// What it says.
    pub what: What,
}

/// What scans have to say.
#[derive(Debug, Default)]
pub struct Output {
    pub(super) notices: Vec<ScanNotice>,
    pub(super) kept: Vec<Kept>,
    pub(super) kept_bytes: usize,
    /// Whether anybody keeps a journal.
    pub(super) keeping: bool,
}

impl Output {
    pub(super) fn keep(&mut self, scan_id: &Arc<str>, source: usize, at: Instant, seq: u64, what: What) {
        if self.keeping {
            self.kept_bytes += what.bytes();
            self.kept.push(Kept { scan_id: Arc::clone(scan_id), source, held: false, at, seq, what });
        }
    }
}
