//! Doing what the rules say, so that a crash at any point leaves a scan that is whole, or pruned, or moved.
//!
//! Pruning writes the manifest first, with what is about to go, and removes the files then: in between the scan counts
//! as pruned, and the rest is removed the next time. Moving is one rename on one file system.

use std::path::Path;

use chrono::{DateTime, Utc};

use super::super::durable::{create_folders, sync_folder};
use super::super::guard::Guard;
use super::super::ledger::{self, Quarantined, Record};
use super::super::{ArchiveError, MANIFEST, Manifest, Pruned, ScanPath};
use crate::scan::is_valid_id;

/// What pruning removed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Removed {
    /// Names of the files.
    pub files: Vec<String>,
    /// Their bytes.
    pub bytes: u64,
}

/// Removes the large files of archive `sha256` of a scan; `copy` is where a whole one lies, read back right before.
/// What was pruned before and is there still goes, too.
///
/// # Errors
/// [`ArchiveError::Changed`] where the scan was archived anew meanwhile; [`ArchiveError::Io`].
pub fn prune(
    root: &Path,
    scan: &ScanPath,
    sha256: &str,
    copy: Option<&str>,
    now: DateTime<Utc>,
) -> Result<Removed, ArchiveError> {
    let _guard = Guard::take(root);
    let folder = scan.folder(root);
    let found = Manifest::identify(&folder)?;
    if found.sha256 != sha256 {
        return Err(ArchiveError::Changed(folder));
    }
    let mut manifest = found.manifest;
    let files: Vec<String> = manifest.large_files().map(|(name, _)| name.to_owned()).collect();
    if manifest.pruned.is_none() && !files.is_empty() {
        let copy = copy.map(str::to_owned);
        manifest.pruned = Some(Pruned { at: now, files, copy, manifest_sha256: found.sha256 });
        let path = folder.join(MANIFEST);
        let text =
            manifest.to_bytes().map_err(|error| ArchiveError::Manifest { path: path.clone(), error })?;
        ledger::replace(root, &path, &text)?;
    }
    let mut removed = Removed::default();
    for name in manifest.pruned.iter().flat_map(|pruned| &pruned.files).filter(|name| is_valid_id(name)) {
        let path = folder.join(name);
        // A link goes itself, never what it leads to; a folder is none of ours.
        match std::fs::symlink_metadata(&path) {
            Ok(metadata) if !metadata.is_dir() => {
                std::fs::remove_file(&path).map_err(ArchiveError::io("removing", &path))?;
                removed.bytes += metadata.len();
                removed.files.push(name.clone());
            }
            _ => {}
        }
    }
    sync_folder(&folder)?;
    Ok(removed)
}

/// Moves a scan to the quarantine, and what is known of it; returns where it lies then.
///
/// # Errors
/// [`ArchiveError::Changed`] where it is not the archive `sha256` any more (empty: one without a manifest that can be
/// read); [`ArchiveError::Occupied`] where the place is taken; [`ArchiveError::Io`].
pub fn quarantine(
    root: &Path,
    scan: &ScanPath,
    sha256: &str,
    why: &str,
    now: DateTime<Utc>,
) -> Result<ScanPath, ArchiveError> {
    let _guard = Guard::take(root);
    let (from, moved) = (scan.folder(root), scan.quarantined());
    let to = moved.folder(root);
    if Manifest::identify(&from).map_or_else(|_| String::new(), |found| found.sha256) != sha256 {
        return Err(ArchiveError::Changed(from));
    }
    if std::fs::symlink_metadata(&to).is_ok() {
        return Err(ArchiveError::Occupied(to));
    }
    let [from_day, to_day] = [&from, &to].map(|folder| folder.parent().unwrap_or(root).to_owned());
    create_folders(root, &to_day)?;
    let mut record = Record::try_read(root, scan)?;
    record.quarantined = Some(Quarantined { at: now, why: why.to_owned() });
    // Written first: a record of what is not there yet does no harm.
    record.write(root, &moved)?;
    std::fs::rename(&from, &to).map_err(ArchiveError::io("moving to", &to))?;
    sync_folder(&to_day)?;
    sync_folder(&from_day)?;
    Record::remove(root, scan)?;
    Ok(moved)
}
