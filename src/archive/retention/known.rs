//! What is known of a scan when its keeping is decided: from its folder, and from the ledger.

use std::path::Path;

use chrono::{DateTime, Utc};

use super::super::catalogue::of_manifest;
use super::super::ledger::Record;
use super::super::{Catalogued, FaultKind, ScanPath, catalogue};
use crate::scan::Outcome;

/// What is known of a scan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Known {
    /// Where it lies.
    pub path: ScanPath,
    /// Which archive of it: the digest of its manifest.
    pub sha256: String,
    /// How it is.
    pub state: State,
    /// When its files were last compared with their checksums.
    pub checked_at: Option<DateTime<Utc>>,
    /// Where else it is.
    pub copied: Copied,
}

/// How a scan is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// Its manifest can be read, and nothing is known to be damaged.
    Whole {
        /// When it was archived.
        archived_at: DateTime<Utc>,
        /// Whether it ended as partial.
        partial: bool,
        /// Whether a later archive may take its place.
        provisional: bool,
        /// Bytes that pruning would free.
        large_bytes: u64,
        /// Whether files that were pruned are there still.
        leftovers: bool,
    },
    /// Something that was written is lost or changed.
    Damaged {
        /// What, in words.
        what: String,
    },
    /// The system does not let us look now.
    Unreadable,
}

/// Where a whole copy of a scan is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Copied {
    /// There is no remote.
    Nowhere,
    /// At the remote there is none yet, or none that is known to be good.
    Pending,
    /// At the remote, verified when it was made or last checked.
    Elsewhere,
}

impl Known {
    /// What folder and ledger say of a scan. `remote` is the address of the remote, if there is one.
    #[must_use]
    pub fn read(root: &Path, scan: &ScanPath, remote: Option<&str>) -> Self {
        Self::of(root, scan, &catalogue::read(root, scan), &Record::read(root, scan), remote)
    }

    fn of(root: &Path, path: &ScanPath, found: &Catalogued, record: &Record, remote: Option<&str>) -> Self {
        // What was found damaged in an archive that another has taken the place of since, says nothing of that.
        let checked = record.checked.as_ref().filter(|checked| checked.manifest_sha256 == found.sha256);
        let damage = checked.and_then(|checked| checked.damage.first());
        let state = match (&found.manifest, damage) {
            (Err(error), _) if of_manifest(error) == FaultKind::Damage => {
                State::Damaged { what: error.to_string() }
            }
            (Err(_), _) => State::Unreadable,
            (Ok(_), Some(what)) => State::Damaged { what: what.clone() },
            (Ok(manifest), None) => State::Whole {
                archived_at: manifest.archived_at,
                partial: matches!(manifest.outcome, Outcome::Partial { .. }),
                provisional: manifest.provisional,
                large_bytes: manifest.large_files().map(|(_, bytes)| bytes).sum(),
                leftovers: manifest.pruned.as_ref().is_some_and(|pruned| {
                    let folder = path.folder(root);
                    pruned.files.iter().any(|name| std::fs::symlink_metadata(folder.join(name)).is_ok())
                }),
            },
        };
        let copied = match remote {
            None => Copied::Nowhere,
            Some(remote) if record.verified_at(remote, &found.sha256).is_some() => Copied::Elsewhere,
            Some(_) => Copied::Pending,
        };
        let checked_at = checked.map(|checked| checked.at);
        Self { path: path.clone(), sha256: found.sha256.clone(), state, checked_at, copied }
    }
}
