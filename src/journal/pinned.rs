//! What a scan's maps are made with, and where it was archived: two small JSON files beside its events.

use std::path::Path;

use chrono::{DateTime, Utc};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{FORMAT, JournalError};
use crate::formats;
use crate::scan::ScanPlan;

/// Most bytes of either file: recipes hold a spectrum and a mask at most.
const MOST_BYTES: u64 = 64 << 20;
/// What is written into a journal's folder before its first line.
pub(super) const BEFORE_LINES: [&str; 2] = [Pinned::FILE, ".pinned.json.part"];

/// What was in use when the scan began.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Pinned {
    /// [`FORMAT`].
    pub format: String,
    /// Version of phasewatch.
    pub version: String,
    /// The scan.
    pub scan_id: String,
    /// Name of its source.
    pub source: String,
    /// Number of the message that brought the plan, and the plan: once more, since without it all else is worth nothing. None
    /// while a scan has not started.
    pub plan: Option<(u64, ScanPlan)>,
    /// When the journal was begun.
    pub created: DateTime<Utc>,
    /// SHA-256 of the copy of the references in `content/`, without `.json`.
    pub references: String,
    /// SHA-256 of the model, whose copy is `content/<sha256>.onnx`; none without a model.
    pub model: Option<String>,
    /// What is done about single pixels of area frames.
    #[serde(default)]
    pub frames: Value,
    /// How maps are made.
    pub recipe: Value,
    /// The settings as they go into the manifest.
    pub settings: Value,
}

/// Says that a scan was archived.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Archived {
    /// [`Archived::FORMAT`].
    #[serde(default = "Archived::first_format")]
    pub format: String,
    /// Which closing of the scan this archive is of: 1 for the first. Later ones are not archived yet.
    pub closing: u32,
    /// The folder.
    pub path: String,
    /// When.
    pub at: DateTime<Utc>,
    /// SHA-256 of the model that was asked; none without.
    pub model: Option<String>,
}

impl Pinned {
    const FILE: &'static str = "pinned.json";

    /// Writes it into a journal's folder.
    pub(super) fn write(&self, folder: &Path) -> Result<(), JournalError> {
        write(folder, Self::FILE, self)
    }

    /// Reads that of a journal.
    ///
    /// # Errors
    /// Where it cannot be read, or a newer phasewatch wrote it, or `archived.json` beside it.
    pub fn read(folder: &Path) -> Result<Self, JournalError> {
        let path = folder.join(Self::FILE);
        let value: Value = read(&path)?;
        let found = value["format"].as_str().unwrap_or_default();
        formats::check(found, FORMAT).map_err(|error| JournalError::Format { path: path.clone(), error })?;
        // What we cannot read of where it was archived must not be written anew.
        Archived::check(folder)?;
        serde_json::from_value(value).map_err(|error| JournalError::Json { path, error })
    }
}

impl Archived {
    const FILE: &'static str = "archived.json";
    /// Name and version of the format.
    pub const FORMAT: &'static str = "phasewatch-archived/1";

    fn first_format() -> String {
        Self::FORMAT.to_owned()
    }

    /// Whether that of a journal, if there is one, may be read.
    fn check(folder: &Path) -> Result<(), JournalError> {
        let path = folder.join(Self::FILE);
        match read::<Value>(&path) {
            Ok(Value::Object(head)) => match head.get("format").and_then(Value::as_str) {
                Some(found) => {
                    formats::check(found, Self::FORMAT).map_err(|error| JournalError::Format { path, error })
                }
                None => Ok(()),
            },
            _ => Ok(()),
        }
    }

    /// Writes it into a journal's folder.
    ///
    /// # Errors
    /// What the operating system says.
    pub fn write(&self, folder: &Path) -> Result<(), JournalError> {
        write(folder, Self::FILE, self)
    }

    /// Reads that of a journal; none where the scan was not archived.
    #[must_use]
    pub fn read(folder: &Path) -> Option<Self> {
        // One that cannot be read is as good as none: the scan is then archived again, which changes nothing.
        read(&folder.join(Self::FILE)).ok()
    }
}

/// Writes `content` so that the file is there whole or not at all, and lasts.
pub(super) fn write(folder: &Path, name: &str, content: &impl Serialize) -> Result<(), JournalError> {
    let path = folder.join(name);
    let bytes = serde_json::to_vec_pretty(content)
        .map_err(|error| JournalError::Json { path: path.clone(), error })?;
    write_bytes(folder, name, &bytes)
}

/// As [`write`], of bytes.
pub(crate) fn write_bytes(folder: &Path, name: &str, bytes: &[u8]) -> Result<(), JournalError> {
    let (path, part) = (folder.join(name), folder.join(format!(".{name}.part")));
    let written = std::fs::write(&part, bytes)
        .and_then(|()| std::fs::File::open(&part)?.sync_all())
        .and_then(|()| std::fs::rename(&part, &path))
        .and_then(|()| std::fs::File::open(folder)?.sync_all());
    written.map_err(|error| {
        // On a full disk the part would only take room.
        drop(std::fs::remove_file(&part));
        JournalError::io("writing", &path)(error)
    })
}

fn read<T: DeserializeOwned>(path: &Path) -> Result<T, JournalError> {
    let size = std::fs::metadata(path).map_err(JournalError::io("reading", path))?.len();
    if size > MOST_BYTES {
        return Err(JournalError::io("reading", path)(std::io::Error::other(format!(
            "{size} bytes is too large"
        ))));
    }
    let bytes = std::fs::read(path).map_err(JournalError::io("reading", path))?;
    serde_json::from_slice(&bytes).map_err(|error| JournalError::Json { path: path.to_owned(), error })
}
