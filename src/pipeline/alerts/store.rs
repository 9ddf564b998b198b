//! What the desk knows, on the disk: `<state_dir>/alerts/`.
//!
//! One JSON file per alert, `<digest of its identifier>.json`, holds what was told of it and what is to be delivered, so that both
//! change together; `silences.json` holds the silences. Each is written anew beside itself, synced and renamed, so that a crash
//! leaves the old or the new. What is damaged is set aside as `.damaged`, counted, and done without. The desk bounds how many there
//! are and sweeps old ones.
//!
//! Each file says its `format`, [`FORMAT`]; one that says none is of the first. One of a newer format is neither read, nor written, nor
//! removed: its alert, or the silences, are done without, which [`Kept::newer`] tells.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::damage::desk::{Changes, Record, Silence};
use crate::formats;

/// Name and version of the format of each file.
pub(super) const FORMAT: &str = "phasewatch-alerts/1";
const SILENCES: &str = "silences.json";
/// What is larger is none of ours.
const MOST_BYTES: u64 = 4 << 20;

/// What was kept.
#[derive(Debug, Default)]
pub(super) struct Kept {
    pub(super) records: Vec<Record>,
    pub(super) silences: Vec<Silence>,
    /// Files that a newer phasewatch wrote, in words; they stay as they are.
    pub(super) newer: Vec<String>,
}

/// A file as it is written: what it holds, and which format that is.
#[derive(Serialize)]
struct Written<'a, T> {
    format: &'static str,
    #[serde(flatten)]
    holds: &'a T,
}

/// The file of the silences.
#[derive(Deserialize)]
#[serde(untagged)]
enum Silences {
    Versioned {
        silences: Vec<Silence>,
    },
    /// As it was before it said its format.
    Bare(Vec<Silence>),
}

/// Why something cannot be kept.
#[derive(Debug, thiserror::Error)]
#[error("{doing} {}: {error}", path.display())]
pub(super) struct StoreError {
    doing: &'static str,
    path: PathBuf,
    error: io::Error,
}

impl StoreError {
    fn io(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |error| Self { doing, path, error }
    }
}

/// The folder.
#[derive(Debug)]
pub(super) struct Store {
    folder: PathBuf,
    /// Names of files that a newer phasewatch wrote.
    newer: BTreeSet<String>,
}

impl Store {
    /// Makes the folder and reads what is in it.
    pub(super) fn open(folder: &Path) -> Result<(Self, Kept), StoreError> {
        std::fs::create_dir_all(folder).map_err(StoreError::io("creating", folder))?;
        let mut store = Self { folder: folder.to_owned(), newer: BTreeSet::new() };
        let kept = store.read()?;
        Ok((store, kept))
    }

    fn read(&mut self) -> Result<Kept, StoreError> {
        let mut kept = Kept::default();
        for entry in std::fs::read_dir(&self.folder).map_err(StoreError::io("reading", &self.folder))? {
            let path = entry.map_err(StoreError::io("reading", &self.folder))?.path();
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            if name.starts_with(".tmp-") {
                // A crash left it half written.
                drop(std::fs::remove_file(&path));
            } else if name == SILENCES {
                match parsed::<Silences>(&path) {
                    Some(Ok(Silences::Versioned { silences } | Silences::Bare(silences))) => {
                        kept.silences = silences;
                    }
                    Some(Err(newer)) => self.leave(name, &newer, &mut kept),
                    None => {}
                }
            } else if name.ends_with(".json") {
                match parsed::<Record>(&path) {
                    Some(Ok(record)) => kept.records.push(record),
                    Some(Err(newer)) => self.leave(name, &newer, &mut kept),
                    None => {}
                }
            }
        }
        Ok(kept)
    }

    fn leave(&mut self, name: &str, newer: &formats::NewerFormat, kept: &mut Kept) {
        let what = format!("{}: {newer}", self.folder.join(name).display());
        tracing::error!("kept of alerts: {what}");
        kept.newer.push(what);
        self.newer.insert(name.to_owned());
    }

    /// Writes changes down. The first thing that fails ends it; all of it may be written again.
    pub(super) fn write(&self, changes: &Changes) -> Result<(), StoreError> {
        for record in &changes.records {
            let written = Written { format: FORMAT, holds: record };
            self.replace(&name_of(&record.id()), &serde_json::to_vec(&written).unwrap_or_default())?;
        }
        if let Some(silences) = &changes.silences {
            let written = serde_json::json!({ "format": FORMAT, "silences": silences });
            self.replace(SILENCES, &serde_json::to_vec(&written).unwrap_or_default())?;
        }
        for id in &changes.removed {
            let name = name_of(id);
            let path = self.folder.join(&name);
            if self.newer.contains(&name) {
                continue;
            }
            match std::fs::remove_file(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(StoreError::io("removing", &path)(error));
                }
                _ => {}
            }
        }
        if !changes.is_empty() {
            let synced = File::open(&self.folder).and_then(|folder| folder.sync_all());
            synced.map_err(StoreError::io("syncing", &self.folder))?;
        }
        Ok(())
    }

    fn replace(&self, name: &str, bytes: &[u8]) -> Result<(), StoreError> {
        if self.newer.contains(name) {
            return Ok(());
        }
        let (path, new) = (self.folder.join(name), self.folder.join(format!(".tmp-{name}")));
        let written = File::create(&new).and_then(|mut file| {
            file.write_all(bytes)?;
            file.sync_all()
        });
        written.map_err(StoreError::io("writing", &new))?;
        std::fs::rename(&new, &path).map_err(StoreError::io("renaming", &new))
    }
}

/// Identifiers have what file names must not have.
fn name_of(id: &str) -> String {
    use std::fmt::Write as _;
    let mut name = String::with_capacity(37);
    for byte in &Sha256::digest(id.as_bytes())[..16] {
        // Writing to a string cannot fail.
        _ = write!(name, "{byte:02x}");
    }
    name + ".json"
}

/// What a file holds; `None` where it is damaged.
fn parsed<T: serde::de::DeserializeOwned>(path: &Path) -> Option<Result<T, formats::NewerFormat>> {
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|file| file.take(MOST_BYTES).read_to_end(&mut bytes));
    if let Err(newer) = formats::check_json(&bytes, FORMAT) {
        return Some(Err(newer));
    }
    let found = read.map_err(|error| error.to_string());
    match found.and_then(|_| serde_json::from_slice(&bytes).map_err(|error| error.to_string())) {
        Ok(value) => Some(Ok(value)),
        Err(error) => {
            tracing::warn!(path = %path.display(), "kept of alerts, and damaged: it is done without: {error}");
            drop(std::fs::rename(path, path.with_extension("damaged")));
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use chrono::{TimeDelta, Utc};

    use super::super::sample::test_alert;
    use super::*;
    use crate::damage::Level;
    use crate::damage::desk::{Desk, Matcher, OutputRule, Rules};

    fn rules() -> Rules {
        let chat = OutputRule { name: "chat".into(), min_level: Level::Notice, retries: true };
        Rules { remind_after: None, keep: TimeDelta::days(1), outputs: vec![chat] }
    }

    #[test]
    fn what_was_told_and_what_is_to_be_delivered_outlives_the_process() {
        let dir = tempfile::tempdir().unwrap();
        let (store, kept) = Store::open(dir.path()).unwrap();
        let mut desk = Desk::new(rules(), kept.records, kept.silences);
        let now = Utc::now();
        desk.hear(test_alert(Level::Warning, "a", now), now);
        let what = Matcher { rule: Some("test/b".into()), ..Matcher::default() };
        desk.silence(what, Some(now + TimeDelta::hours(1)), "ops".into(), None, now).unwrap();
        store.write(&desk.take_changes()).unwrap();
        // A crash in the middle of writing, and a file that is none.
        std::fs::write(dir.path().join(".tmp-x.json"), "{").unwrap();
        std::fs::write(dir.path().join("broken.json"), "{").unwrap();
        let (store, kept) = Store::open(dir.path()).unwrap();
        assert_eq!((kept.records.len(), kept.silences.len()), (1, 1));
        assert!(dir.path().join("broken.damaged").exists() && !dir.path().join(".tmp-x.json").exists());
        let mut desk = Desk::new(rules(), kept.records, kept.silences);
        desk.hear(test_alert(Level::Warning, "a", now), now);
        assert!(desk.take_tellings().is_empty(), "it was told");
        assert_eq!(desk.take_parcel("chat", now).unwrap().key, "alert-test:test/a:1:warning");
        desk.tick(now + TimeDelta::days(3));
        desk.tick(now + TimeDelta::days(5));
        store.write(&desk.take_changes()).unwrap();
        let (_, kept) = Store::open(dir.path()).unwrap();
        assert_eq!((kept.records.len(), kept.silences.len()), (0, 0), "swept");
    }

    #[test]
    fn what_says_no_format_is_read_and_what_is_newer_stays_as_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let (store, _) = Store::open(dir.path()).unwrap();
        let now = Utc::now();
        let mut desk = Desk::new(rules(), Vec::new(), Vec::new());
        desk.hear(test_alert(Level::Warning, "a", now), now);
        let what = Matcher { rule: Some("test/b".into()), ..Matcher::default() };
        desk.silence(what, Some(now + TimeDelta::hours(1)), "ops".into(), None, now).unwrap();
        let changes = desk.take_changes();
        store.write(&changes).unwrap();
        let files = || -> Vec<(PathBuf, String)> {
            let paths = std::fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().path());
            paths.map(|path| (path.clone(), std::fs::read_to_string(path).unwrap())).collect()
        };
        assert_eq!(files().len(), 2);
        for (path, text) in files() {
            let mut value: serde_json::Value = serde_json::from_str(&text).unwrap();
            assert_eq!(value["format"], FORMAT);
            value.as_object_mut().unwrap().remove("format");
            let bare = value.get("silences").cloned().unwrap_or(value);
            std::fs::write(path, bare.to_string()).unwrap();
        }
        let (store, kept) = Store::open(dir.path()).unwrap();
        assert_eq!((kept.records.len(), kept.silences.len(), kept.newer.len()), (1, 1, 0));
        store.write(&changes).unwrap();
        for (path, text) in files() {
            std::fs::write(path, text.replace(FORMAT, "phasewatch-alerts/2")).unwrap();
        }
        let before = files();
        let (store, kept) = Store::open(dir.path()).unwrap();
        assert_eq!((kept.records.len(), kept.silences.len(), kept.newer.len()), (0, 0, 2));
        store.write(&changes).unwrap();
        store.write(&Changes { removed: vec![changes.records[0].id()], ..Changes::default() }).unwrap();
        assert_eq!(files(), before);
    }

    #[test]
    fn names_of_files_are_safe_whatever_the_rule_is() {
        let name = name_of("s1:../../etc/passwd:1");
        assert!(name.len() == 37 && !name.contains('/'), "{name}");
    }
}
