//! The manifest of an archived scan: what it was, what was done, and the digest of every file.

use std::collections::BTreeMap;
use std::path::Path;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::{ArchiveError, MANIFEST};
use crate::classify::{PhaseMap, Status};
use crate::scan::{Outcome, ScanPlan};
use crate::stack::SeqRange;

/// Most bytes of a manifest that are read: far above what [`crate::scan::MAX_ENERGIES`] energies need.
const MOST_BYTES: u64 = 64 * 1024 * 1024;

/// Name and version of the layout.
pub(super) const FORMAT: &str = "phasewatch-archive/1";

/// Digest and size of a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileEntry {
    /// SHA-256, lower-case hexadecimal.
    pub sha256: String,
    /// Size.
    pub bytes: u64,
}

/// The archived map in a few numbers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MapSummary {
    /// Its generation.
    pub generation: u64,
    /// Energies with any value.
    pub energies_done: usize,
    /// Share of each phase among the classified pixels.
    pub fractions: BTreeMap<String, f64>,
    /// Number of pixels of each status.
    pub status_counts: BTreeMap<String, usize>,
    /// Digest of the references.
    pub references_sha256: String,
    /// Digest of the model, empty without one.
    pub model_sha256: String,
    /// Whether nothing is missing.
    pub complete: bool,
}

impl MapSummary {
    /// What `map` says.
    #[must_use]
    pub fn of(map: &PhaseMap) -> Self {
        let fractions = map.phases.iter().map(|phase| phase.id.clone()).zip(map.fractions()).collect();
        let counts = Status::ALL.iter().map(|status| status.name().to_owned()).zip(map.status_counts());
        Self {
            generation: map.origin.generation,
            energies_done: map.origin.energies_done,
            fractions,
            status_counts: counts.collect(),
            references_sha256: map.origin.references_sha256.clone(),
            model_sha256: map.origin.model_sha256.clone(),
            complete: map.origin.complete,
        }
    }
}

/// The manifest.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// `phasewatch-archive/1`.
    pub format: String,
    /// Whether a later archive of the same scan may take its place: no end of the scan was seen.
    pub provisional: bool,
    /// How the scan ended.
    pub outcome: Outcome,
    /// When it was archived.
    pub archived_at: DateTime<Utc>,
    /// The plan, with what was appended to it.
    pub plan: ScanPlan,
    /// The map in a few numbers.
    pub map: MapSummary,
    /// Message numbers that did not come.
    pub gaps: Vec<SeqRange>,
    /// What happened to the values: stored, replaced, late, …
    pub counters: serde_json::Value,
    /// The settings that mattered.
    pub settings: serde_json::Value,
    /// Versions of what made it.
    pub versions: BTreeMap<String, String>,
    /// Every file but the manifest itself.
    pub files: BTreeMap<String, FileEntry>,
}

impl Manifest {
    /// Reads the manifest of the scan in `folder`.
    ///
    /// # Errors
    /// [`ArchiveError::Io`] where there is none, [`ArchiveError::Manifest`] where it is not one.
    pub fn read(folder: &Path) -> Result<Self, ArchiveError> {
        let path = folder.join(MANIFEST);
        let size = std::fs::metadata(&path).map_err(ArchiveError::io("reading", &path))?.len();
        if size > MOST_BYTES {
            let error = std::io::Error::other(format!("{size} bytes is no manifest"));
            return Err(ArchiveError::Io { doing: "reading", path, error });
        }
        let bytes = std::fs::read(&path).map_err(ArchiveError::io("reading", &path))?;
        serde_json::from_slice(&bytes).map_err(|error| ArchiveError::Manifest { path, error })
    }

    /// Bytes of all files.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.files.values().map(|file| file.bytes).sum()
    }
}
