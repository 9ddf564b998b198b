//! What is kept for how long: rules, what is known of a scan, and what follows; a pure function of these and the time.
//!
//! Nothing is deleted but large files of a final, undamaged archive that is old enough, and these only after every file
//! of its copy was read back from the remote right before ([`Action::Prune`] with [`Proof::ReadBack`]), unless
//! the rules say that no copy is needed. All else is at most moved to the quarantine. A clock that is behind makes scans
//! young, never old.

mod carry_out;
mod known;
mod schedule;

use chrono::{DateTime, TimeDelta, Utc};

use super::ScanPath;
pub use carry_out::{Removed, prune, quarantine};
pub use known::{Copied, Known, State};
pub use schedule::Daily;

/// What is kept for how long. The default keeps everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rules {
    /// Age of the last check at which a scan is checked again; `None`: never.
    pub verify_every: Option<TimeDelta>,
    /// Age of an archive at which its large files go; `None`: never.
    pub prune_after: Option<TimeDelta>,
    /// Whether they go without a verified copy elsewhere, too.
    pub prune_unverified: bool,
    /// Whether damaged scans are moved away.
    pub quarantine_damaged: bool,
    /// Age of an archive at which a partial one is moved away; `None`: never.
    pub quarantine_partial_after: Option<TimeDelta>,
}

/// What makes sure that what is removed is not lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proof {
    /// Every file of the copy has to be read back right before.
    ReadBack,
    /// Nothing: the rules say so.
    None,
}

/// What is to be done with a scan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Compare its files, and those of its copy, with their checksums.
    Check,
    /// Remove its large files.
    Prune(Proof),
    /// Remove what pruning should have removed, and a crash kept.
    FinishPrune,
    /// Move it to the quarantine.
    Quarantine {
        /// Why, in words.
        why: String,
    },
}

/// What is to be done with a scan at `now`, if anything: one thing; ask again when it is done.
#[must_use]
pub fn decide(rules: &Rules, scan: &Known, now: DateTime<Utc>) -> Option<Action> {
    if scan.path.is_quarantined() {
        return None;
    }
    let older = |at: DateTime<Utc>, limit: TimeDelta| now.signed_duration_since(at) >= limit;
    let to_check = rules.verify_every.is_some_and(|every| scan.checked_at.is_none_or(|at| older(at, every)));
    match &scan.state {
        State::Unreadable => None,
        State::Damaged { what } => rules
            .quarantine_damaged
            .then(|| Action::Quarantine { why: format!("damaged: {what}") })
            .or_else(|| to_check.then_some(Action::Check)),
        State::Whole { archived_at, partial, provisional, large_bytes, leftovers } => {
            if *leftovers {
                return Some(Action::FinishPrune);
            }
            if to_check {
                return Some(Action::Check);
            }
            let is_copied = !matches!(scan.copied, Copied::Pending);
            let stale = rules.quarantine_partial_after.is_some_and(|limit| older(*archived_at, limit));
            if *partial && stale && is_copied {
                return Some(Action::Quarantine { why: "partial, and nothing more came".to_owned() });
            }
            let old = rules.prune_after.is_some_and(|limit| older(*archived_at, limit));
            if !old || *provisional || *large_bytes == 0 {
                return None;
            }
            match scan.copied {
                Copied::Elsewhere => Some(Action::Prune(Proof::ReadBack)),
                Copied::Nowhere | Copied::Pending => {
                    rules.prune_unverified.then_some(Action::Prune(Proof::None))
                }
            }
        }
    }
}

/// The path of a scan with what is to be done, for logs.
#[must_use]
pub fn describe(scan: &ScanPath, action: &Action) -> String {
    match action {
        Action::Check => format!("check {scan}"),
        Action::Prune(Proof::ReadBack) => format!("prune {scan}, once its copy was read back"),
        Action::Prune(Proof::None) => format!("prune {scan}, without a verified copy"),
        Action::FinishPrune => format!("finish pruning {scan}"),
        Action::Quarantine { why } => format!("move {scan} to the quarantine: {why}"),
    }
}

#[cfg(test)]
mod tests;
