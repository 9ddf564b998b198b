//! What is known of each archived scan beside its folder: when it was last checked, and whether a copy of it lies at
//! the remote.
//!
//! One small JSON file a scan, `<root>/.ledger/<scan path>.json`, written whole and synced; it is the outbox of the
//! uploads, too: a scan is written down as pending before anything of it is sent, and as verified after everything was
//! read back. So a restart, or a kill at any point, goes on where it was. The ledger is knowledge, not data: where a
//! record is missing or cannot be read, nothing is taken as verified, and the scan is looked at again.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::durable::{TemporaryFolder, create_folders, sync_folder};
use super::guard::Guard;
use super::{ArchiveError, ScanPath};
use crate::formats;

const FOLDER: &str = ".ledger";
const FORMAT: &str = "phasewatch-ledger/1";
/// Most bytes of a record that are read; a good one has about a kilobyte.
const MOST_BYTES: u64 = 1 << 20;
/// Most faults that are written down; the rest is seen when it is checked again.
const MOST_FAULTS: usize = 20;

/// What is known of a scan.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// The last time its files were compared with their checksums.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checked: Option<Checked>,
    /// The copy of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub copy: Option<CopyRecord>,
    /// Why it lies in the quarantine, if it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quarantined: Option<Quarantined>,
}

/// A look at the files of a scan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checked {
    /// When.
    pub at: DateTime<Utc>,
    /// Which archive of the scan; empty where its manifest could not be read.
    pub manifest_sha256: String,
    /// What is damaged, the first few; empty where all is well.
    pub damage: Vec<String>,
}

/// What is known of the copy of a scan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CopyRecord {
    /// Where: the address of the remote.
    pub remote: String,
    /// Which archive of the scan: the SHA-256 of its manifest as it was written.
    pub manifest_sha256: String,
    /// How it is.
    pub state: CopyState,
    /// Since when.
    pub at: DateTime<Utc>,
    /// Whether this very archive lay there whole before: what lies there now is ours, and may be put right.
    #[serde(default)]
    pub made: bool,
    /// What was wrong the last time, where something was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

/// How a copy is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CopyState {
    /// To be made, or made again; at the remote there may be nothing, a part, or something damaged.
    Pending,
    /// Every file was read back and is as it was written.
    Verified,
}

/// Why a scan was moved away.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quarantined {
    /// When.
    pub at: DateTime<Utc>,
    /// Why.
    pub why: String,
}

impl Checked {
    /// What was found at `at` in archive `sha256`.
    #[must_use]
    pub fn new(at: DateTime<Utc>, sha256: &str, damage: impl IntoIterator<Item = String>) -> Self {
        let damage = damage.into_iter().take(MOST_FAULTS).collect();
        Self { at, manifest_sha256: sha256.to_owned(), damage }
    }
}

impl Record {
    /// The record of `scan`; an empty one where there is none, or none that can be read.
    #[must_use]
    pub fn read(root: &Path, scan: &ScanPath) -> Self {
        Self::try_read(root, scan).unwrap_or_else(|error| {
            tracing::warn!("a record counts as none: {error}");
            Self::default()
        })
    }

    /// As [`Record::read`], but for what a newer phasewatch wrote, which must stay.
    pub(super) fn try_read(root: &Path, scan: &ScanPath) -> Result<Self, ArchiveError> {
        let path = file(root, scan);
        let is_good = |metadata: &std::fs::Metadata| metadata.is_file() && metadata.len() <= MOST_BYTES;
        if !std::fs::symlink_metadata(&path).is_ok_and(|metadata| is_good(&metadata)) {
            return Ok(Self::default());
        }
        let bytes = std::fs::read(&path);
        if let Ok(bytes) = &bytes {
            formats::check_json(bytes, FORMAT)
                .map_err(|error| ArchiveError::Newer { path: path.clone(), error })?;
        }
        let parsed = bytes
            .map_err(|error| error.to_string())
            .and_then(|bytes| serde_json::from_slice::<Written>(&bytes).map_err(|error| error.to_string()));
        match parsed {
            Ok(written) => Ok(written.record),
            Err(error) => {
                tracing::warn!(path = %path.display(), error, "a record that cannot be read counts as none");
                Ok(Self::default())
            }
        }
    }

    /// Changes the record of `scan` on the disk; returns what it is then.
    ///
    /// # Errors
    /// [`ArchiveError::Io`], or [`ArchiveError::Newer`] where a newer phasewatch wrote it; the record is then as it was.
    pub fn update(
        root: &Path,
        scan: &ScanPath,
        change: impl FnOnce(&mut Self),
    ) -> Result<Self, ArchiveError> {
        let _guard = Guard::take(root);
        let before = Self::try_read(root, scan)?;
        let mut record = before.clone();
        change(&mut record);
        if record != before {
            record.write(root, scan)?;
        }
        Ok(record)
    }

    /// Whether archive `manifest_sha256` of the scan has a verified copy at `remote`, and since when.
    #[must_use]
    pub fn verified_at(&self, remote: &str, manifest_sha256: &str) -> Option<DateTime<Utc>> {
        let copy = self.copy.as_ref()?;
        let is_it = copy.remote == remote && copy.manifest_sha256 == manifest_sha256;
        (is_it && copy.state == CopyState::Verified).then_some(copy.at)
    }

    /// Archive `sha256` has to be sent to `remote`, where `problem` says what came of the last attempt or look.
    pub fn set_pending(&mut self, remote: &str, sha256: &str, at: DateTime<Utc>, problem: Option<String>) {
        let known = self.copy.take().filter(|copy| copy.remote == remote && copy.manifest_sha256 == sha256);
        let pending = known.as_ref().filter(|copy| copy.state == CopyState::Pending);
        self.copy = Some(CopyRecord {
            remote: remote.to_owned(),
            manifest_sha256: sha256.to_owned(),
            state: CopyState::Pending,
            at: pending.map_or(at, |copy| copy.at),
            made: known.as_ref().is_some_and(|copy| copy.made || copy.state == CopyState::Verified),
            problem: problem.or_else(|| known.and_then(|copy| copy.problem)),
        });
    }

    /// Every file of archive `sha256` was read back at `remote`.
    pub fn set_verified(&mut self, remote: &str, sha256: &str, at: DateTime<Utc>) {
        self.copy = Some(CopyRecord {
            remote: remote.to_owned(),
            manifest_sha256: sha256.to_owned(),
            state: CopyState::Verified,
            at,
            made: true,
            problem: None,
        });
    }

    /// Writes it; the caller holds the guard.
    pub(super) fn write(&self, root: &Path, scan: &ScanPath) -> Result<(), ArchiveError> {
        let path = file(root, scan);
        let parent = path.parent().unwrap_or(root).to_owned();
        let written = Written { format: FORMAT.to_owned(), record: self.clone() };
        let mut text = serde_json::to_vec_pretty(&written)
            .map_err(|error| ArchiveError::Manifest { path: path.clone(), error })?;
        text.push(b'\n');
        create_folders(root, &parent)?;
        replace(root, &path, &text)
    }

    /// Forgets it: the scan is known under another path now.
    pub(super) fn remove(root: &Path, scan: &ScanPath) -> Result<(), ArchiveError> {
        let path = file(root, scan);
        match std::fs::remove_file(&path) {
            Ok(()) => sync_folder(path.parent().unwrap_or(root)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(ArchiveError::io("removing", &path)(error)),
        }
    }
}

/// Puts `bytes` in the place of the file at `path`, whole and synced, whatever happens meanwhile.
pub(super) fn replace(root: &Path, path: &Path, bytes: &[u8]) -> Result<(), ArchiveError> {
    let built = TemporaryFolder::create(root, "record")?;
    let new = built.path().join("new");
    let write = || {
        let mut file = std::fs::File::create_new(&new)?;
        file.write_all(bytes)?;
        file.sync_all()
    };
    write().map_err(ArchiveError::io("writing", &new))?;
    std::fs::rename(&new, path).map_err(ArchiveError::io("replacing", path))?;
    sync_folder(path.parent().unwrap_or(root))
}

#[derive(Serialize, Deserialize)]
struct Written {
    format: String,
    #[serde(flatten)]
    record: Record,
}

fn file(root: &Path, scan: &ScanPath) -> PathBuf {
    root.join(FOLDER).join(format!("{scan}.json"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scan() -> ScanPath {
        ScanPath::parse("beamline=b/date=2026-09-21/scan=s").unwrap()
    }

    #[test]
    fn a_record_is_kept_and_one_that_is_spoilt_counts_as_none() {
        let root = tempfile::tempdir().unwrap();
        assert_eq!(Record::read(root.path(), &scan()), Record::default());
        let copy = CopyRecord {
            remote: "s3://b".into(),
            manifest_sha256: "aa".into(),
            state: CopyState::Verified,
            at: DateTime::from_timestamp(1_790_000_000, 0).unwrap(),
            made: true,
            problem: None,
        };
        let record = Record::update(root.path(), &scan(), |record| record.copy = Some(copy.clone())).unwrap();
        assert_eq!(Record::read(root.path(), &scan()), record);
        assert_eq!(record.verified_at("s3://b", "aa"), Some(copy.at));
        assert_eq!((record.verified_at("s3://c", "aa"), record.verified_at("s3://b", "ab")), (None, None));
        let path = root.path().join(".ledger/beamline=b/date=2026-09-21/scan=s.json");
        let good = std::fs::read(&path).unwrap();
        for length in 0..good.len() - 2 {
            std::fs::write(&path, &good[..length]).unwrap();
            assert_eq!(Record::read(root.path(), &scan()), Record::default(), "{length} bytes");
        }
        let other = String::from_utf8(good).unwrap().replace("ledger/1", "ledger/9");
        std::fs::write(&path, other).unwrap();
        assert_eq!(Record::read(root.path(), &scan()), Record::default());
        let newer = std::fs::read(&path).unwrap();
        let update = Record::update(root.path(), &scan(), |record| record.copy = None);
        assert!(matches!(update, Err(ArchiveError::Newer { .. })), "{update:?}");
        assert_eq!(std::fs::read(&path).unwrap(), newer);
        Record::remove(root.path(), &scan()).unwrap();
        Record::remove(root.path(), &scan()).unwrap();
        let left: Vec<_> = std::fs::read_dir(root.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
        assert_eq!(left, [".ledger"], "nothing temporary is left");
    }
}
