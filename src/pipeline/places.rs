//! What is known of every place that was scanned more than once: one file of JSON per sample and region, in `<state_dir>/damage`.
//!
//! A file is written whole or not at all. One that cannot be read is renamed out of the way, which is told, and the place begins
//! anew: what it held is what scans found, and they are in the archive.

use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};

use super::watch::record;
use crate::classify::{DensityView, Recipe, Settled};
use crate::damage::{Alert, DoseUnit, Groups, History, Labels, MonitorSettings, Region};
use crate::journal::write_bytes;
use crate::stack::Stack;
use crate::telemetry::Health;

/// The trouble of a file that cannot be read; it is over when another one can.
const DAMAGED: &str = "damaged history";
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

    /// Takes in an archived scan; returns what the scans of its place give reason to tell. A scan without a sample has no place.
    pub(super) fn take(
        &self,
        stack: &Stack,
        settled: &Settled,
        recipe: &Recipe,
        settings: &MonitorSettings,
        unit: DoseUnit,
        now: DateTime<Utc>,
    ) -> Vec<Alert> {
        const PART: &str = "history of places";
        let plan = stack.plan();
        let Some(region) = Region::of(plan).filter(|_| settings.watch) else { return Vec::new() };
        let name = format!("{}.json", region.folder());
        let mut history = self.read(&name).unwrap_or_else(|| {
            let groups = Groups::of(&settled.map, settings.least_pixels);
            History { labels: Labels::of(&settled.map, &groups), records: Vec::new() }
        });
        if !history.is_comparable_with(&recipe.references.sha256) {
            // Under other references phases have other names: the groups are those of this scan.
            let groups = Groups::of(&settled.map, settings.least_pixels);
            history.labels = Labels::of(&settled.map, &groups);
        }
        if history.labels.groups.is_empty() && history.records.is_empty() {
            // Nothing was found in it: the next scan may do better.
            return Vec::new();
        }
        let mapped = settled.registered.as_ref().unwrap_or(stack);
        let view =
            DensityView::new(mapped, &settled.intensity, recipe.absorption.max_od, settled.noise_factor);
        let groups = history.labels.on(&settled.map);
        history.take(record(settled, &view, recipe, &groups, unit));
        let written = serde_json::to_vec(&history)
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
        history.alerts(plan, &recipe.references, settings, now)
    }

    fn read(&self, name: &str) -> Option<History> {
        let path = self.root.join(name);
        let length = std::fs::metadata(&path).ok()?.len();
        let read = if length > MOST_BYTES {
            Err(format!("it has {length} bytes"))
        } else {
            std::fs::read(&path)
                .map_err(|error| error.to_string())
                .and_then(|bytes| serde_json::from_slice(&bytes).map_err(|error| error.to_string()))
        };
        let read = read.inspect_err(|error| self.set_aside(&path, error)).ok();
        if read.is_some() {
            self.health.well(DAMAGED);
        }
        read
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
