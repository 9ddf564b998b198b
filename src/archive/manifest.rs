//! The manifest of an archived scan: what it was, what was done, and the digest of every file.
//!
//! An archive of a scan is known by the SHA-256 of its manifest as it was first written. Pruning adds `pruned` to the
//! manifest and keeps that digest in it, so that a pruned scan and its whole copy are still known as the same.

use std::collections::BTreeMap;
use std::path::Path;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::durable::sha256;
use super::{ArchiveError, MANIFEST};
use crate::classify::{DoseSummary, PhaseMap, Status};
use crate::formats;
use crate::scan::{Channel, Outcome, Remark, ScanPlan};
use crate::stack::SeqRange;

/// Most bytes of a manifest that are read: far above what [`crate::scan::MAX_ENERGIES`] energies need.
const MOST_BYTES: u64 = 64 * 1024 * 1024;

/// Files that pruning removes: what was measured, pixel by pixel.
pub const LARGE_FILES: [&str; 3] = ["channels.parquet", "scan.nxs", "stack.parquet"];

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
    /// The dose, where there is any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dose: Option<DoseSummary>,
    /// Why there is no incident intensity, so that nothing is mapped; none where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub no_i0: Option<String>,
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
            dose: map.origin.dose.as_deref().cloned(),
            no_i0: map.origin.incident.missing().map(str::to_owned),
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
    /// What was measured beside the intensity.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub channels: Vec<Channel>,
    /// Message numbers that did not come.
    pub gaps: Vec<SeqRange>,
    /// What people should know about the scan, such as why it is not to be trusted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub remarks: Vec<Remark>,
    /// What happened to the values: stored, replaced, late, …
    pub counters: serde_json::Value,
    /// The settings that mattered.
    pub settings: serde_json::Value,
    /// Versions of what made it.
    pub versions: BTreeMap<String, String>,
    /// Every file but the manifest itself.
    pub files: BTreeMap<String, FileEntry>,
    /// Which of them were removed here on purpose, and where they are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pruned: Option<Pruned>,
}

/// What was removed from a scan's folder on purpose.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pruned {
    /// When.
    pub at: DateTime<Utc>,
    /// Which files; their digests stay in the manifest.
    pub files: Vec<String>,
    /// Where a whole copy lay, verified right before; `None` where none was asked for.
    pub copy: Option<String>,
    /// SHA-256 of the manifest before: that of the copy.
    pub manifest_sha256: String,
}

/// A manifest, and which archive it is of.
#[derive(Clone, Debug, PartialEq)]
pub struct Identified {
    /// What it says.
    pub manifest: Manifest,
    /// SHA-256 of the manifest as it was first written.
    pub sha256: String,
}

impl Manifest {
    /// Reads the manifest of the scan in `folder`.
    ///
    /// # Errors
    /// [`ArchiveError::Io`] where there is none, [`ArchiveError::Manifest`] where it is not one, [`ArchiveError::Newer`] where a newer
    /// phasewatch wrote it: it answers for the other files of the folder, too.
    pub fn read(folder: &Path) -> Result<Self, ArchiveError> {
        Self::identify(folder).map(|found| found.manifest)
    }

    /// As [`Manifest::read`], with the digest under which this archive is known.
    ///
    /// # Errors
    /// As [`Manifest::read`].
    pub fn identify(folder: &Path) -> Result<Identified, ArchiveError> {
        let path = folder.join(MANIFEST);
        let reading = || ArchiveError::io("reading", &path);
        // Not through a link, which might lead anywhere.
        let metadata = match std::fs::symlink_metadata(&path) {
            Ok(metadata) => metadata,
            Err(error) => return Err(reading()(error)),
        };
        if !metadata.is_file() || metadata.len() > MOST_BYTES {
            let what = format!("{} bytes of {:?} are no manifest", metadata.len(), metadata.file_type());
            return Err(reading()(std::io::Error::new(std::io::ErrorKind::InvalidData, what)));
        }
        let bytes = std::fs::read(&path).map_err(reading())?;
        formats::check_json(&bytes, FORMAT)
            .map_err(|error| ArchiveError::Newer { path: path.clone(), error })?;
        let manifest: Self =
            serde_json::from_slice(&bytes).map_err(|error| ArchiveError::Manifest { path, error })?;
        let sha256 = manifest.pruned.as_ref().map_or_else(|| sha256(&bytes), |p| p.manifest_sha256.clone());
        Ok(Identified { manifest, sha256 })
    }

    /// Its text, as it is written.
    pub(super) fn to_bytes(&self) -> Result<Vec<u8>, serde_json::Error> {
        let mut text = serde_json::to_vec_pretty(self)?;
        text.push(b'\n');
        Ok(text)
    }

    /// Whether the file `name` was removed here on purpose.
    #[must_use]
    pub fn is_pruned(&self, name: &str) -> bool {
        self.pruned.as_ref().is_some_and(|pruned| pruned.files.iter().any(|file| file == name))
    }

    /// Names and bytes of the large files that are to be here.
    pub fn large_files(&self) -> impl Iterator<Item = (&str, u64)> {
        let large = self.files.iter().filter(|(name, _)| LARGE_FILES.contains(&name.as_str()));
        large.filter(|(name, _)| !self.is_pruned(name)).map(|(name, entry)| (name.as_str(), entry.bytes))
    }

    /// Bytes of all files that are to be here.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        let here = self.files.iter().filter(|(name, _)| !self.is_pruned(name));
        here.map(|(_, file)| file.bytes).sum()
    }
}
