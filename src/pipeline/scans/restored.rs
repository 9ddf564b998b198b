//! Scans out of journals: what state a journal leaves its scan in, and how it is taken up.

use std::fmt;
use std::time::Instant;

use super::open::{Ending, Phase, Scan};
use super::output::{Output, ScanNotice, ScanOrigin};
use super::{Patience, Scans};
use crate::detector::FrameSettings;
use crate::scan::Outcome;

/// How a journal leaves its scan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Values are expected; it was closed so often before.
    Open {
        /// How often.
        closings: u32,
    },
    /// It was closed, and what was closed last is not archived.
    Closed {
        /// How often, this time included.
        closings: u32,
        /// How it ended.
        outcome: Outcome,
    },
    /// It was closed and archived.
    Archived {
        /// How often.
        closings: u32,
        /// How it ended.
        outcome: Outcome,
        /// When it was closed.
        at: Instant,
    },
}

/// In words, for the log.
impl fmt::Display for Standing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = |outcome: &Outcome| match outcome {
            Outcome::Complete => "complete",
            Outcome::Aborted { .. } => "aborted",
            Outcome::Partial { .. } => "partial",
        };
        match self {
            Self::Open { closings: 0 } => f.write_str("still open"),
            Self::Open { closings } => write!(f, "open again after {closings} archives"),
            Self::Closed { outcome, .. } => write!(f, "ended, {}, and not archived yet", word(outcome)),
            Self::Archived { closings: 0 | 1, outcome, .. } => write!(f, "archived, {}", word(outcome)),
            Self::Archived { closings, outcome, .. } => {
                write!(f, "archived {closings} times, {}", word(outcome))
            }
        }
    }
}

impl Scan {
    /// Puts a scan whose journal was read into the state in which the journal leaves it.
    pub(super) fn restored(
        &mut self,
        standing: &Standing,
        now: Instant,
        patience: Patience,
        out: &mut Output,
    ) {
        self.last_message = now;
        if let Phase::Ending(ending) = &mut self.phase {
            *ending = Ending::new(ending.outcome.clone(), now, patience);
        }
        match standing {
            Standing::Open { closings } => {
                (self.closings, self.reopened) = (*closings, *closings > 0);
                if let Some(stack) = self.stack.clone() {
                    self.hasten(now, &stack);
                }
            }
            Standing::Closed { closings, outcome } => {
                self.closings = closings.saturating_sub(1);
                self.reopened = self.closings > 0;
                self.close(now, outcome.clone(), out);
            }
            Standing::Archived { closings, outcome, at } => {
                (self.closings, self.reopened) = (*closings, true);
                self.phase = Phase::Closed { at: *at, outcome: outcome.clone() };
            }
        }
    }

    /// Whether it may be told as a scan that starts, and where it comes from.
    pub(super) fn started(&self, origin: ScanOrigin, note: Option<String>) -> ScanNotice {
        ScanNotice::Started {
            plan: Box::new(self.first_plan.without_recall()),
            source: self.source,
            stack: self.stack.clone(),
            note,
            origin,
        }
    }
}

impl Scans {
    /// Sums the frames of a scan as it began, whatever the settings are now.
    pub fn restore_frames(&mut self, scan_id: &str, frames: FrameSettings) {
        if let Some(scan) = self.scans.get_mut(scan_id) {
            scan.set_frames(frames);
        }
    }

    /// Says how the journal leaves a scan, when all its lines were restored.
    pub fn restored(&mut self, scan_id: &str, standing: &Standing, now: Instant) {
        let keeping = std::mem::take(&mut self.out.keeping);
        if let Some(scan) = self.scans.get_mut(scan_id) {
            let patience = self.patience[scan.source()];
            scan.restored(standing, now, patience, &mut self.out);
        }
        if matches!(standing, Standing::Archived { .. }) {
            // Its settled map stands until something new comes.
            self.out.notices.retain(|notice| !matches!(notice, ScanNotice::Changed(id) if id == scan_id));
        }
        self.out.keeping = keeping;
    }

    /// Forgets a closed scan whose stack is gone, so that it can be restored from its journal.
    pub fn forget(&mut self, scan_id: &str) {
        if self.scans.get(scan_id).is_some_and(|scan| scan.stack().is_none() && !scan.is_open()) {
            self.scans.remove(scan_id);
        }
    }
}
