//! The ledger of doses: what every archived scan deposited, by sample and region, on disk.
//!
//! ```text
//! <state_dir>/dose/<region>/<scan_id>~<identity>.dose    what one scan deposited
//! <state_dir>/dose/<region>/+base~<digest>.dose          what older scans on one grid deposited together, and which they were
//! ```
//!
//! A scan that is archived again takes its own earlier place, so that a replay, a late sample or a restart adds nothing twice. Layers on one
//! grid that are older than [`SETTLED_DAYS`] become one base layer once there are [`MOST_SETTLED`] of them; what comes for a scan in it
//! after that is not counted. Of many grids the oldest become one on a common lattice ([`bound`]). Whoever writes has locked the state directory.
//!
//! Bad input: a file that is damaged stays where it is, is named, and counts as nothing.

mod bound;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use chrono::{DateTime, TimeDelta, Utc};
use serde::Serialize;

use super::record::{FORMAT, Header, Record, RecordError, Region, ScanRef, digest};
use super::{Lattice, Layer};
use crate::classify::{DoseKind, DoseNumbers};
use crate::telemetry::names;

/// Age, against the latest scan of the region, from which a layer may go into a base layer.
const SETTLED_DAYS: i64 = 2;
/// As many layers on one grid stay by themselves.
const MOST_SETTLED: usize = 16;
/// What the name of a base layer begins with; no scan is called so.
const BASE: &str = "+base~";
const EXTENSION: &str = "dose";

/// What lay in a region before a scan.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Prior {
    /// On the lattice that was asked for; empty where there is nothing.
    pub dose: Vec<f32>,
    /// The scans it is of, in the order of their starts.
    pub scans: Vec<ScanRef>,
    /// What could not be taken into account, in words.
    pub remarks: Vec<String>,
}

/// What is asked about the dose before a scan.
#[derive(Clone, Copy, Debug)]
pub struct Question<'a> {
    /// Where.
    pub region: &'a Region,
    /// Before which scan.
    pub scan: &'a ScanRef,
    /// Whether doses are meant.
    pub kind: DoseKind,
    /// What they have to have in common.
    pub basis: &'a str,
    /// On which lattice.
    pub lattice: &'a Lattice,
}

/// A region in `/api/v1/dose`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RegionDose {
    /// Which.
    #[serde(flatten)]
    pub region: Region,
    /// Scans that count.
    pub scans: usize,
    /// Start of the first.
    pub first_started: DateTime<Utc>,
    /// Start of the last.
    pub last_started: DateTime<Utc>,
    /// Identifier of the last.
    pub last_scan: String,
    /// Whether its numbers are doses.
    pub kind: DoseKind,
    /// What the particle pixels of the last scan had taken in all when it was archived, MGy or relative.
    pub accumulated: Option<DoseNumbers>,
}

#[derive(Debug)]
struct Entry {
    path: PathBuf,
    header: Header,
}

impl Entry {
    fn is_base(&self) -> bool {
        self.path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(BASE))
    }

    fn last(&self) -> Option<&ScanRef> {
        self.header.scans.last()
    }

    fn has(&self, scan: &ScanRef) -> bool {
        self.header.scans.iter().any(|own| own.scan_id == scan.scan_id && own.identity == scan.identity)
    }

    fn is_alike(&self, other: &Header) -> bool {
        let own = &self.header;
        own.lattice == other.lattice && own.kind == other.kind && own.basis == other.basis
    }
}

#[derive(Debug, Default)]
struct Index {
    regions: BTreeMap<String, Vec<Entry>>,
    damaged: Vec<String>,
    revision: u64,
    /// Whether somebody else has the state directory.
    is_guest: bool,
}

/// The ledger in a folder of the state directory.
#[derive(Debug)]
pub struct Ledger {
    root: PathBuf,
    index: Mutex<Index>,
}

impl Ledger {
    /// Looks at what there is; what is damaged or cannot be read is named in [`Ledger::damaged`], and left where it is.
    #[must_use]
    pub fn open(root: PathBuf) -> Self {
        Self::read(root, Index::default())
    }

    /// The same without the state directory being ours: nothing is tidied up, and only questions may be asked.
    #[must_use]
    pub fn visit(root: PathBuf) -> Self {
        Self::read(root, Index { is_guest: true, ..Index::default() })
    }

    fn read(root: PathBuf, mut index: Index) -> Self {
        match std::fs::read_dir(&root) {
            Ok(folders) => {
                for folder in folders.flatten().map(|entry| entry.path()).filter(|path| path.is_dir()) {
                    let entries = index.read(&folder);
                    let name = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
                    index.regions.insert(name, entries);
                }
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => index.damaged.push(format!("{}: {error}", root.display())),
        }
        Self { root, index: Mutex::new(index) }
    }

    /// Files that count as nothing, and why.
    #[must_use]
    pub fn damaged(&self) -> Vec<String> {
        self.index().damaged.clone()
    }

    /// Counts up with every change.
    #[must_use]
    pub fn revision(&self) -> u64 {
        self.index().revision
    }

    /// What lay in a region before a scan: of other scans that had started before it.
    #[must_use]
    pub fn prior(&self, question: &Question<'_>) -> Prior {
        let mut index = self.index();
        let mut chosen: Vec<(PathBuf, Vec<ScanRef>)> = Vec::new();
        let mut prior = Prior::default();
        for entry in index.regions.get(&question.region.folder()).into_iter().flatten() {
            let Some(last) = entry.last() else { continue };
            let before = entry.header.scans.iter().any(|scan| scan.started < question.scan.started);
            if !before || (!entry.is_base() && entry.has(question.scan)) {
                continue;
            }
            let count = entry.header.scans.len();
            if entry.header.region.as_ref() != Some(question.region) {
                continue;
            }
            if last.started >= question.scan.started {
                prior.remarks.push(format!(
                    "{count} scans of the region are kept as one, and some of them came later: their dose is not in this"
                ));
            } else if entry.header.kind != question.kind || entry.header.basis != question.basis {
                prior.remarks.push(format!(
                    "{} {} of the region left a dose of another kind, which is not in this: {}",
                    count,
                    if count == 1 { "scan" } else { "scans" },
                    entry.header.basis
                ));
            } else {
                chosen.push((entry.path.clone(), entry.header.scans.clone()));
            }
        }
        prior.remarks.dedup();
        // In the order of time, so that sums come out the same whichever was archived first.
        chosen.sort_by(|one, other| one.1.first().cmp(&other.1.first()));
        let mut sums: Vec<f64> = Vec::new();
        let mut scans = Vec::new();
        for (path, of) in chosen {
            match Record::read(&path).map(Record::layer) {
                Ok(Some(layer)) => {
                    let seen = layer.onto(question.lattice);
                    if seen.iter().any(|dose| *dose > 0.0) {
                        sums.resize(seen.len(), 0.0);
                        sums.iter_mut().zip(&seen).for_each(|(sum, dose)| *sum += f64::from(*dose));
                        scans.extend(of);
                    }
                }
                Ok(None) => {}
                Err(error) => {
                    prior.remarks.push(format!("a dose of {} scans is damaged and not in this", of.len()));
                    index.note_damage(&error);
                }
            }
        }
        scans.sort();
        prior.scans = scans;
        prior.dose = sums.into_iter().map(|dose| dose as f32).collect();
        prior
    }

    /// Takes in what a scan deposited, in the place of what it had said before.
    ///
    /// # Errors
    /// Where it cannot be written; nothing has changed then.
    pub fn put(
        &self,
        region: &Region,
        scan: &ScanRef,
        (kind, basis): (DoseKind, String),
        layer: Layer,
        accumulated: Option<DoseNumbers>,
    ) -> Result<(), RecordError> {
        let header = Header {
            format: FORMAT.to_owned(),
            region: Some(region.clone()),
            scans: vec![scan.clone()],
            kind,
            basis,
            lattice: Some(layer.lattice),
            accumulated,
            remarks: Vec::new(),
            crc32: 0,
        };
        let record = Record { header, dose: layer.dose };
        let name = region.folder();
        let folder = self.root.join(&name);
        let mut index = self.index();
        let entries = index.regions.entry(name).or_default();
        if entries.iter().any(|entry| entry.is_base() && entry.has(scan)) {
            tracing::warn!(
                scan_id = scan.scan_id,
                "its dose was added to that of older scans already; what came since is not counted"
            );
            return Ok(());
        }
        std::fs::create_dir_all(&folder).map_err(|error| RecordError::Io { path: folder.clone(), error })?;
        let file = format!("{}~{}.{EXTENSION}", scan.scan_id, scan.identity);
        record.write(&folder, &file)?;
        let path = folder.join(file);
        entries.retain(|entry| entry.path != path);
        entries.push(Entry { path, header: record.header.clone() });
        // What does not succeed is tried again with the next scan.
        if let Err(error) = settle(entries, &folder, &record.header) {
            tracing::warn!("older doses could not be added up: {error}");
        }
        // With what was just settled in it, layers that a base holds are gone.
        let entries = index.read(&folder);
        match bound::bound(&entries, &folder, &record.header) {
            Ok(0) => {}
            Ok(merged) => {
                metrics::counter!(names::DOSE_LAYERS_MERGED).increment(merged as u64);
                tracing::info!(merged, region = region.folder(), "the oldest doses of a region became one");
            }
            Err(error) => tracing::warn!("the oldest doses of a region could not be added up: {error}"),
        }
        index.damaged.retain(|what| !what.starts_with(&*folder.to_string_lossy()));
        let again = index.read(&folder);
        index.regions.insert(region.folder(), again);
        index.revision += 1;
        Ok(())
    }

    /// Every region, by name.
    #[must_use]
    pub fn regions(&self) -> Vec<RegionDose> {
        let index = self.index();
        let of = |entries: &Vec<Entry>| {
            let scans = || entries.iter().flat_map(|entry| &entry.header.scans);
            let last = entries.iter().max_by_key(|entry| entry.last())?;
            Some(RegionDose {
                region: last.header.region.clone()?,
                scans: scans().count(),
                first_started: scans().map(|scan| scan.started).min()?,
                last_started: last.last()?.started,
                last_scan: last.last()?.scan_id.clone(),
                kind: last.header.kind,
                accumulated: last.header.accumulated,
            })
        };
        let mut regions: Vec<RegionDose> = index.regions.values().filter_map(of).collect();
        regions.sort_by(|one, other| one.region.cmp(&other.region));
        regions
    }

    fn index(&self) -> MutexGuard<'_, Index> {
        // A change is one assignment: a panic elsewhere leaves it whole.
        self.index.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Index {
    /// The layers in a folder. One that a base layer holds, too, was to be removed when a crash came: it goes.
    fn read(&mut self, folder: &Path) -> Vec<Entry> {
        let mut entries = Vec::new();
        let files = match std::fs::read_dir(folder) {
            Ok(files) => files,
            Err(error) => {
                self.damaged.push(format!("{}: {error}", folder.display()));
                return entries;
            }
        };
        for path in files.flatten().map(|entry| entry.path()) {
            if path.extension().is_none_or(|extension| extension != EXTENSION) {
                continue;
            }
            match Record::read_header(&path) {
                Ok(header) => entries.push(Entry { path, header }),
                Err(error) => self.note_damage(&error),
            }
        }
        entries.sort_by(|one, other| one.path.cmp(&other.path));
        let held: Vec<ScanRef> = entries
            .iter()
            .filter(|entry| entry.is_base())
            .flat_map(|entry| entry.header.scans.clone())
            .collect();
        // A base whose scans another one holds with more beside them went into that.
        let bases: Vec<Vec<ScanRef>> =
            entries.iter().filter(|entry| entry.is_base()).map(|entry| entry.header.scans.clone()).collect();
        let is_within = |entry: &Entry| {
            let own = &entry.header.scans;
            bases
                .iter()
                .any(|of| of.len() > own.len() && own.iter().all(|scan| of.binary_search(scan).is_ok()))
        };
        entries.retain(|entry| {
            let single = !entry.is_base() && held.iter().any(|scan| entry.has(scan));
            let over = single || (entry.is_base() && is_within(entry));
            // What cannot be removed is left out all the same.
            (over && !self.is_guest).then(|| drop(std::fs::remove_file(&entry.path)));
            !over
        });
        entries
    }

    fn note_damage(&mut self, error: &RecordError) {
        let what = error.to_string();
        if !self.damaged.contains(&what) {
            tracing::error!("a dose counts as nothing: {what}");
            self.damaged.push(what);
        }
    }
}

/// Adds up layers like `latest` that are older, where there are many of them.
fn settle(entries: &[Entry], folder: &Path, latest: &Header) -> Result<(), RecordError> {
    let newest = entries.iter().filter_map(Entry::last).map(|scan| scan.started).max();
    let Some(limit) = newest.and_then(|newest| newest.checked_sub_signed(TimeDelta::days(SETTLED_DAYS)))
    else {
        return Ok(());
    };
    let old = |entry: &&Entry| {
        !entry.is_base() && entry.is_alike(latest) && entry.last().is_some_and(|scan| scan.started < limit)
    };
    let mut settled: Vec<&Entry> = entries.iter().filter(old).collect();
    if settled.len() < MOST_SETTLED {
        return Ok(());
    }
    settled.extend(entries.iter().filter(|entry| entry.is_base() && entry.is_alike(latest)));
    settled.sort_by(|one, other| one.header.scans.first().cmp(&other.header.scans.first()));
    let mut sums: Vec<f64> = Vec::new();
    let mut scans = Vec::new();
    for entry in &settled {
        let record = Record::read(&entry.path)?;
        sums.resize(record.dose.len(), 0.0);
        sums.iter_mut().zip(&record.dose).for_each(|(sum, dose)| *sum += f64::from(*dose));
        scans.extend(record.header.scans);
    }
    scans.sort();
    let accumulated =
        settled.iter().max_by_key(|entry| entry.last()).and_then(|entry| entry.header.accumulated);
    let header = Header { scans, accumulated, ..latest.clone() };
    let alike = serde_json::json!([header.lattice, header.kind, header.basis]).to_string();
    let name = format!("{BASE}{}.{EXTENSION}", digest(alike.as_bytes(), 6));
    let dose = sums.into_iter().map(|dose| dose as f32).collect();
    Record { header, dose }.write(folder, &name)
    // The layers go when the folder is read again, which is next.
}

#[cfg(test)]
mod tests;
