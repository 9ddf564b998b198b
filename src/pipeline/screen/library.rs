//! The archive as the screen reads it: an index of the manifests, and the scans that were opened last.
//!
//! The index is brought up to date when somebody asks and it is some seconds old, or the archive grew; of a folder only the size and time of its manifest are looked at
//! again. What was opened is kept within [`KEPT_BYTES`], the oldest goes first. Nothing is served but what a manifest names, from folders below the root,
//! and nothing out of the quarantine.

use std::collections::{BTreeMap, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use crate::archive::{self, MANIFEST, Manifest, ScanPath, open_energies, open_map};
use crate::classify::{DoseKind, Optics, Recipe};
use crate::publish::PhaseFraction;
use crate::publish::library::{
    Library, LibraryError, Listing, Opened, Shelfmark, Shelved, ShelvedFile, Wanted,
};
use crate::recording::Recording;
use crate::reference::PhaseLabel;
use crate::scan::Outcome;
use crate::stack::Stack;

/// An index older than this is brought up to date.
const FRESH: Duration = Duration::from_secs(2);
/// Most bytes of stacks that were opened, beyond the last one.
const KEPT_BYTES: usize = 256 * 1024 * 1024;
/// Maps that were opened, at most.
const KEPT_MAPS: usize = 4;
/// What was measured, of which the map is made.
const STACK: &str = "stack.parquet";
/// Colours of phases that nobody has a reference for any more.
const OTHER_COLOURS: [[u8; 3]; 6] =
    [[136, 136, 136], [51, 34, 136], [170, 153, 51], [136, 34, 85], [68, 170, 153], [221, 221, 221]];

/// The archive.
#[derive(Debug)]
pub struct ArchiveLibrary {
    root: PathBuf,
    recipe: Recipe,
    index: Mutex<Index>,
    /// Whether there is something new since the index was looked at.
    grew: AtomicBool,
    maps: Mutex<VecDeque<(Shelfmark, Opened)>>,
    stacks: Mutex<VecDeque<Sighted>>,
}

#[derive(Debug)]
struct Sighted {
    mark: Shelfmark,
    digest: String,
    stack: Arc<Stack>,
    optics: Arc<Optics>,
}

#[derive(Debug, Default)]
struct Index {
    looked: Option<Instant>,
    scans: BTreeMap<ScanPath, Entry>,
}

#[derive(Debug)]
struct Entry {
    seen: (u64, SystemTime),
    digest: String,
    shelved: Shelved,
    /// What is searched in, in lower case.
    words: String,
}

impl ArchiveLibrary {
    /// The archive under `root`. `recipe` is the one in use, for colours and for what spectra need.
    #[must_use]
    pub fn new(root: PathBuf, recipe: Recipe) -> Self {
        let (index, grew, maps, stacks) = Default::default();
        Self { root, recipe, index, grew, maps, stacks }
    }

    /// How many scans there are; `None` where the archive cannot be read.
    #[must_use]
    pub fn count(&self) -> Option<usize> {
        self.index().ok().map(|index| index.scans.len())
    }

    /// The index, fresh enough.
    fn index(&self) -> Result<MutexGuard<'_, Index>, LibraryError> {
        let mut index = self.index.lock().unwrap_or_else(PoisonError::into_inner);
        // What is said to be new while this looks is looked for the next time.
        let grew = self.grew.swap(false, Ordering::AcqRel);
        if grew || index.looked.is_none_or(|looked| looked.elapsed() > FRESH) {
            let paths = archive::scans(&self.root).map_err(unreadable)?;
            let mut before = std::mem::take(&mut index.scans);
            for path in paths {
                let folder = path.folder(&self.root);
                let manifest = std::fs::metadata(folder.join(MANIFEST));
                let Ok(seen) = manifest.and_then(|found| Ok((found.len(), found.modified()?))) else {
                    continue;
                };
                let known = before.remove(&path).filter(|entry| entry.seen == seen);
                let entry = known.or_else(|| self.read(&path, &folder, seen));
                entry.into_iter().for_each(|entry| _ = index.scans.insert(path.clone(), entry));
            }
            index.looked = Some(Instant::now());
        }
        Ok(index)
    }

    fn read(&self, path: &ScanPath, folder: &Path, seen: (u64, SystemTime)) -> Option<Entry> {
        let found = Manifest::identify(folder)
            .inspect_err(|error| tracing::debug!(%error, "a scan of the archive is not listed"))
            .ok()?;
        let shelved = self.shelved(path, &found.manifest)?;
        let some = |text: &Option<String>| text.clone().unwrap_or_default();
        let words = [
            shelved.scan_id.clone(),
            shelved.name.clone(),
            shelved.beamline.clone(),
            shelved.date.to_string(),
            some(&shelved.sample),
            some(&shelved.region),
        ];
        Some(Entry { seen, digest: found.sha256, words: words.join("\n").to_lowercase(), shelved })
    }

    fn label(&self, id: &str, index: usize) -> PhaseLabel {
        let references = &self.recipe.references.references;
        let known = references.iter().find(|reference| reference.label.id == id);
        known.map_or_else(
            || PhaseLabel {
                id: id.to_owned(),
                title: id.to_owned(),
                colour: OTHER_COLOURS[index % OTHER_COLOURS.len()],
            },
            |reference| reference.label.clone(),
        )
    }

    fn shelved(&self, path: &ScanPath, manifest: &Manifest) -> Option<Shelved> {
        let (beamline, date) = path.beamline_and_date();
        let mark = Shelfmark::parse(beamline, date, path.name())?;
        let plan = &manifest.plan;
        let outcome = match manifest.outcome {
            Outcome::Complete => "complete",
            Outcome::Aborted { .. } => "aborted",
            Outcome::Partial { .. } => "partial",
        };
        let fraction = |(index, (id, fraction)): (usize, (&String, &f64))| {
            let PhaseLabel { id, title, colour } = self.label(id, index);
            PhaseFraction { phase: id, title, colour, fraction: *fraction }
        };
        // In the order of the legend, what has no reference any more last.
        let references = &self.recipe.references.references;
        let place = |id: &str| references.iter().position(|r| r.label.id == id).unwrap_or(usize::MAX);
        let mut fractions: Vec<PhaseFraction> =
            manifest.map.fractions.iter().enumerate().map(fraction).collect();
        fractions.sort_by_key(|fraction| place(&fraction.phase));
        let stored = manifest.counters.get("stored").and_then(serde_json::Value::as_f64);
        let planned = plan.planned_values().max(1) as f64;
        let here = manifest.files.iter().filter(|(name, _)| !manifest.is_pruned(name));
        let quarantined = path.is_quarantined();
        Some(Shelved {
            base: (!quarantined).then(|| mark.base()),
            scan_id: plan.scan_id.clone(),
            name: mark.name,
            beamline: mark.beamline,
            date: mark.date,
            sample: plan.sample.clone(),
            region: plan.region.clone(),
            started: plan.started,
            shape: plan.grid.shape,
            energies: plan.energies_ev.len(),
            outcome: outcome.to_owned(),
            provisional: manifest.provisional,
            simulated: plan.simulated,
            quarantined,
            pruned: manifest.pruned.is_some(),
            coverage: if manifest.map.complete {
                Some(1.0)
            } else {
                stored.map(|stored| (stored / planned).min(1.0))
            },
            fractions,
            dose_mgy: manifest
                .map
                .dose
                .as_ref()
                .filter(|dose| dose.kind == DoseKind::Absolute)
                .map(|dose| dose.total.mean),
            bytes: manifest.bytes(),
            files: here.map(|(name, file)| ShelvedFile { name: name.clone(), bytes: file.bytes }).collect(),
        })
    }

    /// The folder of a scan, and the digest of its manifest as it is now.
    fn find(&self, mark: &Shelfmark) -> Result<(PathBuf, String), LibraryError> {
        let text = format!("beamline={}/date={}/scan={}", mark.beamline, mark.date, mark.name);
        let path = ScanPath::parse(&text).ok_or(LibraryError::Missing("scan"))?;
        let folder = path.folder(&self.root);
        let seen =
            std::fs::metadata(folder.join(MANIFEST)).and_then(|found| Ok((found.len(), found.modified()?)));
        let seen = seen.map_err(|_| LibraryError::Missing("scan"))?;
        let mut index = self.index.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(entry) = index.scans.get(&path).filter(|entry| entry.seen == seen) {
            return Ok((folder, entry.digest.clone()));
        }
        let entry = self.read(&path, &folder, seen).ok_or(LibraryError::Missing("scan"))?;
        let digest = entry.digest.clone();
        index.scans.insert(path, entry);
        Ok((folder, digest))
    }
}

fn unreadable(error: impl std::fmt::Display) -> LibraryError {
    LibraryError::Unreadable(error.to_string())
}

impl Library for ArchiveLibrary {
    fn list(&self, wanted: &Wanted) -> Result<Listing, LibraryError> {
        let search: Vec<String> =
            wanted.search.iter().flat_map(|text| text.split_whitespace()).map(str::to_lowercase).collect();
        let same = |asked: &Option<String>, is: Option<&str>| {
            asked.as_ref().is_none_or(|asked| Some(asked.as_str()) == is)
        };
        let index = self.index()?;
        let mut found: Vec<&Entry> = index
            .scans
            .values()
            .filter(|Entry { shelved, words, .. }| {
                search.iter().all(|word| words.contains(word))
                    && same(&wanted.sample, shelved.sample.as_deref())
                    && same(&wanted.region, shelved.region.as_deref())
                    && same(&wanted.beamline, Some(&shelved.beamline))
                    && wanted.from.is_none_or(|from| shelved.date >= from)
                    && wanted.to.is_none_or(|to| shelved.date <= to)
            })
            .collect();
        found.sort_by(|a, b| {
            b.shelved.started.cmp(&a.shelved.started).then_with(|| a.shelved.name.cmp(&b.shelved.name))
        });
        let some = found.iter().skip(wanted.offset).take(wanted.limit);
        Ok(Listing { total: found.len(), scans: some.map(|entry| entry.shelved.clone()).collect() })
    }

    fn one(&self, mark: &Shelfmark) -> Result<Shelved, LibraryError> {
        let (_, digest) = self.find(mark)?;
        let index = self.index.lock().unwrap_or_else(PoisonError::into_inner);
        let found =
            index.scans.values().find(|entry| entry.digest == digest && entry.shelved.name == mark.name);
        found.map(|entry| entry.shelved.clone()).ok_or(LibraryError::Missing("scan"))
    }

    fn digest(&self, mark: &Shelfmark) -> Result<String, LibraryError> {
        self.find(mark).map(|(_, digest)| digest)
    }

    fn open(&self, mark: &Shelfmark) -> Result<Opened, LibraryError> {
        let (folder, digest) = self.find(mark)?;
        {
            let maps = self.maps.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some((_, opened)) =
                maps.iter().find(|(known, opened)| known == mark && opened.digest == digest)
            {
                return Ok(opened.clone());
            }
        }
        let manifest = Manifest::read(&folder).map_err(unreadable)?;
        let map = open_map(&folder, &manifest, |id| self.label(id, 0)).map_err(unreadable)?;
        let here = folder.join(STACK).exists();
        let where_else = || manifest.pruned.as_ref().and_then(|pruned| pruned.copy.clone());
        let why_no_spectra = (!here).then(|| match where_else() {
            Some(copy) => format!("what was measured was removed here; a whole copy is at {copy}"),
            None => "what was measured is not in the archive any more".to_owned(),
        });
        let energies = open_energies(&folder);
        let opened = Opened { map: Arc::new(map), digest, energies, why_no_spectra };
        let mut maps = self.maps.lock().unwrap_or_else(PoisonError::into_inner);
        maps.retain(|(known, _)| known != mark);
        maps.push_back((mark.clone(), opened.clone()));
        while maps.len() > KEPT_MAPS {
            maps.pop_front();
        }
        Ok(opened)
    }

    fn sight(&self, mark: &Shelfmark) -> Result<(Arc<Stack>, Arc<Optics>), LibraryError> {
        let (folder, digest) = self.find(mark)?;
        {
            let stacks = self.stacks.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(known) = stacks.iter().find(|known| known.mark == *mark && known.digest == digest) {
                return Ok((Arc::clone(&known.stack), Arc::clone(&known.optics)));
            }
        }
        let path = folder.join(STACK);
        if !path.exists() {
            let why = self.open(mark)?.why_no_spectra.unwrap_or_default();
            return Err(LibraryError::Gone(why));
        }
        let recording = Recording::load(&path).map_err(unreadable)?;
        let mut stack = Stack::new(recording.plan.clone());
        for (seq, batch) in recording.batches() {
            stack.push(seq, &batch).map_err(unreadable)?;
        }
        drop(recording);
        let optics = Arc::new(Optics::of(&stack, &self.recipe));
        let stack = Arc::new(stack);
        let mut stacks = self.stacks.lock().unwrap_or_else(PoisonError::into_inner);
        stacks.retain(|known| known.mark != *mark);
        stacks.push_back(Sighted {
            mark: mark.clone(),
            digest,
            stack: Arc::clone(&stack),
            optics: Arc::clone(&optics),
        });
        let total = |stacks: &VecDeque<Sighted>| stacks.iter().map(|kept| kept.stack.bytes()).sum::<usize>();
        while stacks.len() > 1 && total(&stacks) > KEPT_BYTES {
            stacks.pop_front();
        }
        Ok((stack, optics))
    }

    fn file(&self, mark: &Shelfmark, name: &str) -> Result<PathBuf, LibraryError> {
        let (folder, _) = self.find(mark)?;
        let manifest = Manifest::read(&folder).map_err(unreadable)?;
        if !manifest.files.contains_key(name) && name != MANIFEST {
            return Err(LibraryError::Missing("file"));
        }
        if manifest.is_pruned(name) {
            return Err(LibraryError::Gone("this file was removed from the archive on purpose".to_owned()));
        }
        let path = folder.join(name);
        // Not through a link, which might lead anywhere; nor through a name with a separator, which no manifest of ours has.
        let plain = std::fs::symlink_metadata(&path).is_ok_and(|found| found.is_file());
        let below = path.parent() == Some(folder.as_path());
        if plain && below { Ok(path) } else { Err(LibraryError::Missing("file")) }
    }

    fn shelfmark(&self, folder: &str) -> Option<Shelfmark> {
        let path = ScanPath::below(&self.root, Path::new(folder)).filter(|path| !path.is_quarantined())?;
        let (beamline, date) = path.beamline_and_date();
        Shelfmark::parse(beamline, date, path.name())
    }

    fn grew(&self) {
        self.grew.store(true, Ordering::Release);
    }
}
