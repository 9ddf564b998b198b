//! What is known of every place that was scanned more than once: one file of JSON per sample and region, in `<state_dir>/damage`.
//!
//! A file is written whole or not at all. One that cannot be read is renamed out of the way, which is told, and the place begins
//! anew: what it held is what scans found, and they are in the archive. Each says its `format`, [`FORMAT`]; one that says none is of the
//! first. One of a newer format stays as it is, which is told, and nothing is said of its place or kept for it.
//!
//! What was known of a place before a scan is kept in the journal of that scan ([`BEFORE`]) once it is archived for good, so that an archive
//! that is made again says the same of it.

use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};

use super::watch::{SettledLook, record};
use crate::classify::{DensityView, PhaseMap, Recipe, Settled};
use crate::damage::{Alert, Groups, History, Labels, MonitorSettings, Region};
use crate::formats::{self, NewerFormat};
use crate::journal::write_bytes;
use crate::stack::Stack;
use crate::telemetry::Health;

/// Name and version of the format.
const FORMAT: &str = "phasewatch-places/1";
/// The trouble of a file that cannot be read; it is over when another one can.
const DAMAGED: &str = "damaged history";
/// What was known of the place before a scan, in its journal.
const BEFORE: &str = "damage_before.json";
/// Largest file that is read, bytes.
const MOST_BYTES: u64 = 256 << 20;

/// The places.
#[derive(Debug)]
pub struct Places {
    root: PathBuf,
    health: Health,
}

impl Places {
    /// Those in `root`, which is made when something is written.
    #[must_use]
    pub fn new(root: PathBuf, health: Health) -> Self {
        Self { root, health }
    }

    /// What scans that started before this one said of its place, on the groups of its first scan; `None` where it has no place. `keep`: whether that is
    /// kept in its journal.
    pub(super) fn before(
        &self,
        settled: &Settled,
        recipe: &Recipe,
        settings: &MonitorSettings,
        (journal, keep): (Option<&Path>, bool),
    ) -> Option<History> {
        let plan = &settled.map.plan;
        let region = Region::of(plan).filter(|_| settings.watch)?;
        if let Some(kept) = journal.and_then(kept_before) {
            return Some(kept);
        }
        let history = self.history(&region, &settled.map, recipe, settings)?;
        let before = history.before(&plan.scan_id, plan.started);
        let kept = journal.filter(|folder| keep && !is_newer(&folder.join(BEFORE))).map(|folder| {
            let bytes = to_bytes(&before).map_err(|error| error.to_string())?;
            write_bytes(folder, BEFORE, &bytes).map_err(|error| error.to_string())
        });
        // A full disk there shall not keep the scan out of the archive.
        if let Some(Err(error)) = kept {
            tracing::error!(
                scan_id = plan.scan_id,
                "what was known of its place is not kept; another archive of it may say something else: {error}"
            );
        }
        Some(before)
    }

    /// What is known of a place; where that is nothing, or was found with other references, on the groups of this map. `None` where only a
    /// newer phasewatch can tell.
    fn history(
        &self,
        region: &Region,
        map: &PhaseMap,
        recipe: &Recipe,
        settings: &MonitorSettings,
    ) -> Option<History> {
        let labels = || Labels::of(map, &Groups::of(map, settings.least_pixels));
        let kept = self.read(&file_of(region)).ok()?;
        let mut history = kept.unwrap_or_else(|| History { labels: labels(), records: Vec::new() });
        if !history.is_comparable_with(&recipe.references.sha256) {
            // Under other references phases have other names: the groups are those of this scan.
            history.labels = labels();
        }
        Some(history)
    }

    /// Takes in an archived scan; returns what the scans of its place give reason to tell. A scan without a sample has no place.
    pub(super) fn take(
        &self,
        stack: &Stack,
        settled: &Settled,
        recipe: &Recipe,
        settings: &MonitorSettings,
        seen: &SettledLook,
        now: DateTime<Utc>,
    ) -> Vec<Alert> {
        const PART: &str = "history of places";
        let plan = stack.plan();
        let Some(region) = Region::of(plan).filter(|_| settings.watch) else { return Vec::new() };
        let name = file_of(&region);
        let Some(mut history) = self.history(&region, &settled.map, recipe, settings) else {
            return Vec::new();
        };
        if history.labels.groups.is_empty() && history.records.is_empty() {
            // Nothing was found in it: the next scan may do better.
            return Vec::new();
        }
        let record = match &seen.placed {
            Some((place, record)) if place.labels == history.labels => record.clone(),
            _ => {
                let mapped = settled.registered.as_ref().unwrap_or(stack);
                let max_od = recipe.absorption.max_od;
                let view = DensityView::new(mapped, &settled.intensity, max_od, settled.noise_factor);
                record(settled, &view, recipe, &history.labels.on(&settled.map), seen.report.unit)
            }
        };
        history.take(record);
        let written = to_bytes(&history)
            .map_err(std::io::Error::other)
            .and_then(|bytes| std::fs::create_dir_all(&self.root).map(|()| bytes))
            .map_err(|error| error.to_string())
            .and_then(|bytes| write_bytes(&self.root, &name, &bytes).map_err(|error| error.to_string()));
        match written {
            Ok(()) => _ = self.health.well(PART),
            Err(error) => {
                let what = format!("what scan {} found is not kept for the next one: {error}", plan.scan_id);
                tracing::error!("{what}");
                self.health.trouble(PART, false, what);
            }
        }
        history.alerts(plan, &recipe.references, settings, seen.report.contrast.as_ref(), now)
    }

    fn read(&self, name: &str) -> Result<Option<History>, NewerFormat> {
        let path = self.root.join(name);
        let Ok(length) = std::fs::metadata(&path).map(|metadata| metadata.len()) else { return Ok(None) };
        let read = if length > MOST_BYTES {
            Err(format!("it has {length} bytes"))
        } else {
            let bytes = std::fs::read(&path);
            if let Ok(bytes) = &bytes
                && let Err(newer) = formats::check_json(bytes, FORMAT)
            {
                let what = format!("{}: {newer}", path.display());
                tracing::error!("what is known of a place: {what}");
                self.health.trouble(DAMAGED, false, what);
                return Err(newer);
            }
            bytes
                .map_err(|error| error.to_string())
                .and_then(|bytes| serde_json::from_slice(&bytes).map_err(|error| error.to_string()))
        };
        let read = read.inspect_err(|error| self.set_aside(&path, error)).ok();
        if read.is_some() {
            self.health.well(DAMAGED);
        }
        Ok(read)
    }

    fn set_aside(&self, path: &Path, error: &str) {
        let aside = path.with_extension("damaged");
        let moved = std::fs::rename(path, &aside);
        let what = format!(
            "{} cannot be read ({error}); the place begins anew, see {}",
            path.display(),
            aside.display()
        );
        tracing::error!(moved = moved.is_ok(), "{what}");
        self.health.trouble(DAMAGED, false, what);
    }
}

fn to_bytes(history: &History) -> serde_json::Result<Vec<u8>> {
    #[derive(serde::Serialize)]
    struct Written<'a> {
        format: &'static str,
        #[serde(flatten)]
        history: &'a History,
    }
    serde_json::to_vec(&Written { format: FORMAT, history })
}

/// Whether a newer phasewatch wrote that file.
fn is_newer(path: &Path) -> bool {
    std::fs::read(path).is_ok_and(|bytes| formats::check_json(&bytes, FORMAT).is_err())
}

fn file_of(region: &Region) -> String {
    format!("{}.json", region.folder())
}

/// What was known of the place before a scan, as it was when the scan was first archived.
#[must_use]
pub fn kept_before(journal: &Path) -> Option<History> {
    let path = journal.join(BEFORE);
    let length = std::fs::metadata(&path).ok()?.len();
    if length > MOST_BYTES {
        tracing::error!("{} has {length} bytes, and is not read", path.display());
        return None;
    }
    let read = std::fs::read(&path).map_err(|error| error.to_string());
    let known = |bytes: Vec<u8>| {
        formats::check_json(&bytes, FORMAT).map(|()| bytes).map_err(|newer| newer.to_string())
    };
    read.and_then(known)
        .and_then(|bytes| serde_json::from_slice(&bytes).map_err(|error| error.to_string()))
        .inspect_err(|error| {
            tracing::error!("{}: what is known now is taken instead: {error}", path.display())
        })
        .ok()
}
