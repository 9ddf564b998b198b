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

use crate::archive::{
    self, ArchiveError, MANIFEST, Manifest, ScanPath, open_channel, open_energies, open_map, open_particles,
};
use crate::classify::{DoseKind, Optics};
use crate::findings::outlined;
use crate::pipeline::in_use::InUse;
use crate::publish::PhaseFraction;
use crate::publish::library::{
    Library, LibraryError, Listing, Opened, Shelfmark, Shelved, ShelvedFile, Wanted,
};
use crate::recording::Recording;
use crate::reference::PhaseLabel;
use crate::scan::{Channel, Outcome};
use crate::stack::Stack;
use crate::telemetry::Health;

/// An index older than this is brought up to date.
const FRESH: Duration = Duration::from_secs(2);
/// Most bytes of stacks that were opened, beyond the last one.
const KEPT_BYTES: usize = 256 * 1024 * 1024;
/// What a value takes in memory, registered once more.
const VALUE_BYTES: usize = 16;
/// Maps that were opened, at most.
const KEPT_MAPS: usize = 4;
/// What was measured, of which the map is made.
const STACK: &str = "stack.parquet";
/// What was measured beside it.
const CHANNELS: &str = "channels.parquet";
/// What is said of particles and boundaries.
const FINDINGS: &str = "findings.json";
/// Colours of phases that nobody has a reference for any more.
const OTHER_COLOURS: [[u8; 3]; 6] =
    [[136, 136, 136], [51, 34, 136], [170, 153, 51], [136, 34, 85], [68, 170, 153], [221, 221, 221]];

/// The archive.
#[derive(Debug)]
pub struct ArchiveLibrary {
    root: PathBuf,
    in_use: Arc<InUse>,
    /// Most bytes of a stack that is opened again.
    most_bytes: usize,
    index: Mutex<Index>,
    /// Held by who brings the index up to date, and by who opens a stack: one at a time.
    refreshing: Mutex<()>,
    opening: Mutex<()>,
    /// Whether there is something new since the index was looked at.
    grew: AtomicBool,
    maps: Mutex<VecDeque<(Shelfmark, Opened)>>,
    stacks: Mutex<VecDeque<Sighted>>,
    health: Health,
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
    scans: BTreeMap<ScanPath, Arc<Entry>>,
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
    /// The archive under `root`. `in_use` has the recipe, for colours and for what spectra need; a stack of more than `most_bytes` is not opened.
    #[must_use]
    pub fn new(root: PathBuf, in_use: Arc<InUse>, most_bytes: usize) -> Self {
        Self {
            root,
            in_use,
            most_bytes,
            index: Mutex::default(),
            refreshing: Mutex::default(),
            opening: Mutex::default(),
            grew: AtomicBool::new(false),
            maps: Mutex::default(),
            stacks: Mutex::default(),
            health: Health::default(),
        }
    }

    /// The same, telling there of scans that only a newer phasewatch can read.
    #[must_use]
    pub fn telling(self, health: Health) -> Self {
        Self { health, ..self }
    }

    /// Looks at everything anew: other references have other colours.
    pub fn forget(&self) {
        *self.lock_index() = Index::default();
    }

    /// How many scans there were when somebody last looked; `None` where nobody has.
    #[must_use]
    pub fn count(&self) -> Option<usize> {
        let index = self.lock_index();
        index.looked.map(|_| index.scans.len())
    }

    fn lock_index(&self) -> MutexGuard<'_, Index> {
        self.index.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The index, fresh enough. One at a time looks at the folders; who comes meanwhile takes what is known, where anything is.
    fn index(&self) -> Result<MutexGuard<'_, Index>, LibraryError> {
        let looked = self.lock_index().looked;
        let grew = self.grew.load(Ordering::Acquire);
        if !grew && looked.is_some_and(|looked| looked.elapsed() <= FRESH) {
            return Ok(self.lock_index());
        }
        let turn = match looked {
            Some(_) if !grew => self.refreshing.try_lock().ok(),
            _ => Some(self.refreshing.lock().unwrap_or_else(PoisonError::into_inner)),
        };
        let Some(_turn) = turn else { return Ok(self.lock_index()) };
        // What is said to be new while this looks is looked for the next time.
        let grew = self.grew.swap(false, Ordering::AcqRel);
        if !grew && self.lock_index().looked != looked {
            return Ok(self.lock_index());
        }
        let before = self.lock_index().scans.clone();
        let (mut scans, mut newer) = (BTreeMap::new(), Vec::new());
        for path in archive::scans(&self.root).map_err(unreadable)? {
            let folder = path.folder(&self.root);
            let Some(seen) = seen(&folder) else { continue };
            let known = before.get(&path).filter(|entry| entry.seen == seen).cloned();
            let entry = known.or_else(|| self.read(&path, &folder, seen, &mut newer).map(Arc::new));
            entry.into_iter().for_each(|entry| _ = scans.insert(path.clone(), entry));
        }
        self.tell_newer(&newer);
        let mut index = self.lock_index();
        (index.scans, index.looked) = (scans, Some(Instant::now()));
        Ok(index)
    }

    fn tell_newer(&self, newer: &[String]) {
        const PART: &str = "newer archive";
        match newer {
            [] => _ = self.health.well(PART),
            [first, ..] => {
                let what = format!("{} scans of the archive are not shown; the first: {first}", newer.len());
                if self.health.trouble(PART, false, what.clone()) {
                    tracing::warn!("{what}");
                }
            }
        }
    }

    fn read(
        &self,
        path: &ScanPath,
        folder: &Path,
        seen: (u64, SystemTime),
        newer: &mut Vec<String>,
    ) -> Option<Entry> {
        let found = match Manifest::identify(folder) {
            Ok(found) => found,
            Err(error) => {
                tracing::debug!(%error, "a scan of the archive is not listed");
                if matches!(error, ArchiveError::Newer { .. }) {
                    newer.push(error.to_string());
                }
                return None;
            }
        };
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
        // Pruning keeps the digest of a manifest, and other references have other colours.
        let time = seen.1.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_nanos();
        let start = |text: &str, n: usize| text.chars().take(n).collect::<String>();
        let references = start(&self.in_use.recipe().references.sha256, 8);
        let digest = format!("{}-{time:x}-{references}", start(&found.sha256, 16));
        Some(Entry { seen, digest, words: words.join("\n").to_lowercase(), shelved })
    }

    /// A stack that is open.
    fn sighted(&self, mark: &Shelfmark, digest: &str) -> Option<(Arc<Stack>, Arc<Optics>)> {
        let stacks = self.stacks.lock().unwrap_or_else(PoisonError::into_inner);
        let known = stacks.iter().find(|known| known.mark == *mark && known.digest == digest)?;
        Some((Arc::clone(&known.stack), Arc::clone(&known.optics)))
    }

    fn label(&self, id: &str, index: usize) -> PhaseLabel {
        let recipe = self.in_use.recipe();
        let references = &recipe.references.references;
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
        let recipe = self.in_use.recipe();
        let references = &recipe.references.references;
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

    /// The folder of a scan, and what is known of it as it is now.
    fn find(&self, mark: &Shelfmark) -> Result<(PathBuf, Arc<Entry>), LibraryError> {
        let text = format!("beamline={}/date={}/scan={}", mark.beamline, mark.date, mark.name);
        let path = ScanPath::parse(&text).ok_or(LibraryError::Missing("scan"))?;
        let folder = path.folder(&self.root);
        let seen = seen(&folder).ok_or(LibraryError::Missing("scan"))?;
        if let Some(entry) = self.lock_index().scans.get(&path).filter(|entry| entry.seen == seen) {
            return Ok((folder, Arc::clone(entry)));
        }
        let entry =
            Arc::new(self.read(&path, &folder, seen, &mut Vec::new()).ok_or(LibraryError::Missing("scan"))?);
        self.lock_index().scans.insert(path, Arc::clone(&entry));
        Ok((folder, entry))
    }
}

/// Size and time of the manifest in a folder.
fn seen(folder: &Path) -> Option<(u64, SystemTime)> {
    let found = std::fs::metadata(folder.join(MANIFEST)).ok()?;
    Some((found.len(), found.modified().ok()?))
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
            .map(Arc::as_ref)
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
        self.find(mark).map(|(_, entry)| entry.shelved.clone())
    }

    fn digest(&self, mark: &Shelfmark) -> Result<String, LibraryError> {
        self.find(mark).map(|(_, entry)| entry.digest.clone())
    }

    fn open(&self, mark: &Shelfmark) -> Result<Opened, LibraryError> {
        let (folder, entry) = self.find(mark)?;
        let digest = entry.digest.clone();
        {
            let maps = self.maps.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some((_, opened)) =
                maps.iter().find(|(known, opened)| known == mark && opened.digest == digest)
            {
                return Ok(opened.clone());
            }
        }
        let manifest = Manifest::read(&folder).map_err(unreadable)?;
        let map = open_map(&folder, &manifest, |index, id| self.label(id, index)).map_err(unreadable)?;
        let here = folder.join(STACK).exists();
        let where_else = || manifest.pruned.as_ref().and_then(|pruned| pruned.copy.clone());
        let why_no_spectra = (!here).then(|| match where_else() {
            Some(copy) => format!("what was measured was removed here; a whole copy is at {copy}"),
            None => "what was measured is not in the archive any more".to_owned(),
        });
        let energies = open_energies(&folder);
        let has_findings = manifest.files.contains_key(FINDINGS);
        let opened = Opened { map: Arc::new(map), digest, energies, why_no_spectra, has_findings };
        let mut maps = self.maps.lock().unwrap_or_else(PoisonError::into_inner);
        maps.retain(|(known, _)| known != mark);
        maps.push_back((mark.clone(), opened.clone()));
        while maps.len() > KEPT_MAPS {
            maps.pop_front();
        }
        Ok(opened)
    }

    fn sight(&self, mark: &Shelfmark) -> Result<(Arc<Stack>, Arc<Optics>), LibraryError> {
        let (folder, entry) = self.find(mark)?;
        let digest = entry.digest.clone();
        if let Some(found) = self.sighted(mark, &digest) {
            return Ok(found);
        }
        // Several who point at the same scan open it once.
        let _turn = self.opening.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(found) = self.sighted(mark, &digest) {
            return Ok(found);
        }
        let path = folder.join(STACK);
        if !path.exists() {
            let why = self.open(mark)?.why_no_spectra.unwrap_or_default();
            return Err(LibraryError::Gone(why));
        }
        let [ny, nx] = entry.shelved.shape;
        let bytes = ny.saturating_mul(nx).saturating_mul(entry.shelved.energies).saturating_mul(VALUE_BYTES);
        if bytes > self.most_bytes {
            let what = "what was measured is too large to be opened here (limits.stack_bytes); phasewatch classify reads it";
            return Err(LibraryError::Gone(what.to_owned()));
        }
        let recording = Recording::load(&path).map_err(unreadable)?;
        let mut stack = Stack::new(recording.plan.clone());
        for (seq, batch) in recording.batches() {
            stack.push(seq, &batch).map_err(unreadable)?;
        }
        drop(recording);
        let optics = Arc::new(Optics::of(&stack, &self.in_use.recipe()));
        let stack = Arc::new(stack);
        let mut stacks = self.stacks.lock().unwrap_or_else(PoisonError::into_inner);
        stacks.retain(|known| known.mark != *mark);
        stacks.push_back(Sighted {
            mark: mark.clone(),
            digest,
            stack: Arc::clone(&stack),
            optics: Arc::clone(&optics),
        });
        let total = |stacks: &VecDeque<Sighted>| {
            stacks.iter().map(|kept| kept.stack.bytes() + kept.optics.bytes()).sum::<usize>()
        };
        while stacks.len() > 1 && total(&stacks) > KEPT_BYTES {
            stacks.pop_front();
        }
        Ok((stack, optics))
    }

    fn channel(&self, mark: &Shelfmark, channel: Channel, energy: usize) -> Result<Vec<f32>, LibraryError> {
        let (folder, _) = self.find(mark)?;
        let manifest = Manifest::read(&folder).map_err(unreadable)?;
        if manifest.is_pruned(CHANNELS) {
            return Err(LibraryError::Gone("this was removed from the archive on purpose".to_owned()));
        }
        if !manifest.channels.contains(&channel) || manifest.plan.validate().is_err() {
            return Err(LibraryError::Missing("layer"));
        }
        open_channel(&folder, &manifest.plan, channel, energy).map_err(unreadable)
    }

    fn findings(&self, mark: &Shelfmark) -> Result<Vec<u8>, LibraryError> {
        let path = self.file(mark, FINDINGS)?;
        let findings = std::fs::read(&path).map_err(unreadable)?;
        let map = self.open(mark)?.map;
        let (folder, _) = self.find(mark)?;
        let particles = match open_particles(&folder, &map) {
            Ok(Some(particles)) => particles,
            // The numbers are good without outlines.
            Ok(None) => return Ok(findings),
            Err(error) => {
                tracing::warn!(%error, scan_id = map.plan.scan_id, "particles of the archive have no outlines");
                return Ok(findings);
            }
        };
        let findings = serde_json::from_slice(&findings).map_err(unreadable)?;
        serde_json::to_vec(&outlined(findings, &particles)).map_err(unreadable)
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
