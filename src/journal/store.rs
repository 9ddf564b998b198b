//! The state directory: who has it, which journals it holds, and copies of references and models by their content.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{Read as _, Seek as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use serde::Serialize;
use sha2::{Digest as _, Sha256};

use super::{Archived, JournalError, Pinned, STATE_FORMAT, pinned};
use crate::formats;
use crate::scan::is_valid_id;

/// Whether a folder is named like a journal and holds events.
fn is_journal(folder: &Path) -> bool {
    let name = folder.file_name().and_then(|name| name.to_str());
    name.is_some_and(|name| is_valid_id(name.split('~').next().unwrap_or_default()))
        && folder.join(super::EVENTS).is_file()
}

/// Says what the state directory is.
const FORMAT_FILE: &str = "format";
/// What the name of a journal begins with that is being removed. No scan is called so.
const GOING: &str = ".going-";
/// What the name of a journal begins with that is written anew and has not taken its place yet.
const ANEW: &str = ".anew-";

/// Which journals.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Of scans whose plan is known.
    Scans,
    /// Of scans that have not started: what is held until they do.
    Held,
}

/// A journal that was found.
#[derive(Debug)]
pub struct Found {
    /// Its folder.
    pub folder: PathBuf,
    /// What it says of itself.
    pub pinned: Result<Pinned, JournalError>,
    /// Whether its scan was archived.
    pub archived: Option<Archived>,
}

/// A locked state directory.
#[derive(Debug)]
pub struct Store {
    root: PathBuf,
    /// Scans whose journals may be appended to at any moment: they are not removed.
    in_memory: Mutex<BTreeSet<String>>,
    /// The lock goes with the file, also when the process is killed.
    _lock: File,
}

impl Store {
    /// Whether this phasewatch may use the state directory, there or not: nothing is made or changed.
    ///
    /// # Errors
    /// [`JournalError::Format`] where a newer phasewatch wrote it, or what the operating system says.
    pub fn check_format(root: &Path) -> Result<(), JournalError> {
        let path = root.join(FORMAT_FILE);
        let mut text = String::new();
        match File::open(&path).and_then(|file| file.take(256).read_to_string(&mut text)) {
            Ok(_) => formats::check(text.trim(), STATE_FORMAT)
                .map_err(|error| JournalError::Format { path, error }),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(JournalError::io("reading", &path)(error)),
        }
    }

    /// Locks the state directory, which is made.
    ///
    /// # Errors
    /// [`JournalError::Format`] where a newer phasewatch wrote it, which is then left as it is; [`JournalError::Locked`] where another
    /// process has it; or what the operating system says.
    pub fn open(root: &Path) -> Result<Self, JournalError> {
        Self::check_format(root)?;
        for folder in [
            root.to_owned(),
            root.join("content"),
            Self::all(root, Place::Scans),
            Self::all(root, Place::Held),
        ] {
            std::fs::create_dir_all(&folder).map_err(JournalError::io("creating", &folder))?;
        }
        let path = root.join("lock");
        let failed = || JournalError::io("locking", &path);
        let mut lock = File::options()
            .create(true)
            .read(true)
            .write(true)
            .truncate(false)
            .open(&path)
            .map_err(failed())?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(std::fs::TryLockError::WouldBlock) => {
                let mut holder = String::new();
                // Whatever it says, the lock is what counts.
                drop((&lock).take(64).read_to_string(&mut holder));
                let holder = if holder.is_empty() { "unknown".to_owned() } else { holder.trim().to_owned() };
                return Err(JournalError::Locked { path: root.to_owned(), holder });
            }
            Err(std::fs::TryLockError::Error(error)) => return Err(failed()(error)),
        }
        let written = lock
            .set_len(0)
            .and_then(|()| lock.rewind())
            .and_then(|()| lock.write_all(format!("process {}\n", std::process::id()).as_bytes()));
        // The lock is what counts: on a full disk the daemon has to start all the same.
        if let Err(error) = written {
            tracing::warn!(path = %path.display(), "the lock does not say who holds it: {error}");
        }
        // Now that nobody else writes it: what came in between was not seen.
        Self::check_format(root)?;
        if !root.join(FORMAT_FILE).exists()
            && let Err(error) = pinned::write_bytes(root, FORMAT_FILE, format!("{STATE_FORMAT}\n").as_bytes())
        {
            // Without it the format is 1, which it is.
            tracing::warn!("the state directory does not say its format: {error}");
        }
        let store = Self { root: root.to_owned(), in_memory: Mutex::default(), _lock: lock };
        for place in [Place::Scans, Place::Held] {
            store.tidy(place)?;
        }
        Ok(store)
    }

    /// Removes journals that a crash left half removed, or without a first line, and puts those in their place that were written
    /// anew. Only before anybody writes one.
    fn tidy(&self, place: Place) -> Result<(), JournalError> {
        let all = Self::all(&self.root, place);
        for entry in std::fs::read_dir(&all).map_err(JournalError::io("reading", &all))? {
            let folder = entry.map_err(JournalError::io("reading", &all))?.path();
            if let Some(place) = place_of_anew(&folder) {
                // The old one goes only when all of the new one is written: where it is there still, the new one may lack something.
                let done = if place.exists() {
                    self.remove(&folder)
                } else {
                    std::fs::rename(&folder, &place).map_err(JournalError::io("renaming", &folder))
                };
                done?;
                continue;
            }
            if is_going(&folder) || is_unused(&folder) {
                // What stays is no journal, and does no harm but take room.
                drop(std::fs::remove_dir_all(&folder));
            }
        }
        Ok(())
    }

    fn all(root: &Path, place: Place) -> PathBuf {
        root.join(match place {
            Place::Scans => "journal",
            Place::Held => "held",
        })
    }

    /// The state directory.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The folder of a scan's journal, there or not.
    #[must_use]
    pub fn folder(&self, place: Place, scan_id: &str) -> PathBuf {
        Self::all(&self.root, place).join(scan_id)
    }

    /// Every journal there is, by name. What is no journal is left alone.
    ///
    /// # Errors
    /// Where the folder cannot be read.
    pub fn found(&self, place: Place) -> Result<Vec<Found>, JournalError> {
        let all = Self::all(&self.root, place);
        let mut found = Vec::new();
        for entry in std::fs::read_dir(&all).map_err(JournalError::io("reading", &all))? {
            let entry = entry.map_err(JournalError::io("reading", &all))?;
            let folder = entry.path();
            if is_journal(&folder) {
                let (pinned, archived) = (Pinned::read(&folder), Archived::read(&folder));
                found.push(Found { folder, pinned, archived });
            }
        }
        found.sort_by(|one, other| one.folder.cmp(&other.folder));
        Ok(found)
    }

    /// What lies among the journals and is none, by name. It is left alone.
    #[must_use]
    pub fn strangers(&self) -> Vec<PathBuf> {
        let mut strangers: Vec<PathBuf> = self.entries().filter(|path| !is_journal(path)).collect();
        strangers.sort();
        strangers
    }

    fn entries(&self) -> impl Iterator<Item = PathBuf> {
        let within = |place| std::fs::read_dir(Self::all(&self.root, place)).into_iter().flatten().flatten();
        [Place::Scans, Place::Held].into_iter().flat_map(within).map(|entry| entry.path())
    }

    /// Moves a scan's journal aside, for another scan with its id.
    ///
    /// # Errors
    /// What the operating system says.
    pub fn set_aside(&self, scan_id: &str) -> Result<(), JournalError> {
        let folder = self.folder(Place::Scans, scan_id);
        let aside = (2_u32..).map(|number| self.folder(Place::Scans, &format!("{scan_id}~{number}")));
        let Some(aside) = aside.into_iter().find(|aside| !aside.exists()) else { return Ok(()) };
        std::fs::rename(&folder, &aside).map_err(JournalError::io("setting aside", &folder))
    }

    /// Says that a scan is in memory: its journal stays until [`Store::hold_all`] does not name it.
    pub fn hold(&self, scan_id: &str) {
        self.in_memory.lock().unwrap_or_else(PoisonError::into_inner).insert(scan_id.to_owned());
    }

    /// Says which scans are in memory, all of them.
    pub fn hold_all<'a>(&self, scan_ids: impl Iterator<Item = &'a str>) {
        *self.in_memory.lock().unwrap_or_else(PoisonError::into_inner) =
            scan_ids.map(str::to_owned).collect();
    }

    /// Removes the journal in `folder` unless `scan_id` is in memory; returns whether it is gone.
    ///
    /// # Errors
    /// What the operating system says.
    pub fn remove_unless_held(&self, folder: &Path, scan_id: &str) -> Result<bool, JournalError> {
        let in_memory = self.in_memory.lock().unwrap_or_else(PoisonError::into_inner);
        // A journal that was set aside for another scan with the id has a name of its own, and is nobody's any more.
        if folder.file_name().is_some_and(|name| name == scan_id) && in_memory.contains(scan_id) {
            return Ok(false);
        }
        self.remove(folder).map(|()| true)
    }

    /// Removes a journal. A crash leaves it whole, or removed by the next [`Store::open`].
    ///
    /// # Errors
    /// What the operating system says.
    pub fn remove(&self, folder: &Path) -> Result<(), JournalError> {
        let going = going_of(folder);
        gone(std::fs::remove_dir_all(&going), folder)?;
        gone(std::fs::rename(folder, &going), folder)?;
        gone(std::fs::remove_dir_all(&going), folder)
    }

    /// An empty place for a journal that is written anew and shall then take the place of the one in `folder`.
    ///
    /// # Errors
    /// What the operating system says.
    pub fn begin_anew(&self, folder: &Path) -> Result<PathBuf, JournalError> {
        let anew = anew_of(folder);
        self.remove(&anew).map(|()| anew)
    }

    /// Puts the journal that was written anew in the place of the one in `folder`. A crash leaves the one or the other.
    ///
    /// # Errors
    /// What the operating system says.
    pub fn put_anew(&self, folder: &Path) -> Result<(), JournalError> {
        let (anew, going) = (anew_of(folder), going_of(folder));
        gone(std::fs::remove_dir_all(&going), folder)?;
        gone(std::fs::rename(folder, &going), folder)?;
        std::fs::rename(&anew, folder).map_err(JournalError::io("renaming", &anew))?;
        gone(std::fs::remove_dir_all(&going), folder)
    }

    /// Keeps a copy of `value` as JSON, under its SHA-256, which is returned.
    ///
    /// # Errors
    /// What the operating system says.
    pub fn keep(&self, value: &impl Serialize) -> Result<String, JournalError> {
        let path = self.root.join("content");
        let bytes = serde_json::to_vec(value).map_err(|error| JournalError::Json { path, error })?;
        self.keep_bytes(&bytes, "json")
    }

    /// Keeps a copy of `bytes` under their SHA-256, which is returned.
    ///
    /// # Errors
    /// What the operating system says.
    pub fn keep_bytes(&self, bytes: &[u8], extension: &str) -> Result<String, JournalError> {
        let sha256: String = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
        let name = format!("{sha256}.{extension}");
        // One that is damaged is put right: it is here.
        if std::fs::read(self.root.join("content").join(&name)).ok().is_none_or(|kept| kept != bytes) {
            pinned::write_bytes(&self.root.join("content"), &name, bytes)?;
        }
        Ok(sha256)
    }

    /// Removes copies that are not among `needed` and were not made just now.
    ///
    /// # Errors
    /// Where the folder cannot be read.
    pub fn release_content(&self, needed: &[String]) -> Result<(), JournalError> {
        /// A copy is made before the journal that needs it.
        const JUST_NOW: std::time::Duration = std::time::Duration::from_secs(3600);
        let content = self.root.join("content");
        for entry in std::fs::read_dir(&content).map_err(JournalError::io("reading", &content))? {
            let entry = entry.map_err(JournalError::io("reading", &content))?;
            let path = entry.path();
            let is_needed = path
                .file_stem()
                .and_then(|stem| stem.to_str())
                .is_some_and(|stem| needed.iter().any(|own| own == stem));
            let age =
                entry.metadata().and_then(|meta| meta.modified()).ok().and_then(|time| time.elapsed().ok());
            if !is_needed && age.is_some_and(|age| age > JUST_NOW) {
                std::fs::remove_file(&path).map_err(JournalError::io("removing", &path))?;
            }
        }
        Ok(())
    }

    /// Where the copy of that content is, in the state directory that a journal's folder belongs to.
    #[must_use]
    pub fn content(journal: &Path, sha256: &str, extension: &str) -> Option<PathBuf> {
        let root = journal.parent()?.parent()?;
        Some(root.join("content").join(format!("{sha256}.{extension}")))
    }
}

/// Whether something is gone: it was removed or moved, or was not there.
fn gone(result: std::io::Result<()>, folder: &Path) -> Result<(), JournalError> {
    match result {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(JournalError::io("removing", folder)(error))
        }
        _ => Ok(()),
    }
}

/// What the journal of `folder` is called while it is removed.
fn going_of(folder: &Path) -> PathBuf {
    folder.with_file_name(format!("{GOING}{}", folder.file_name().unwrap_or_default().to_string_lossy()))
}

/// Where the journal of `folder` is written anew.
fn anew_of(folder: &Path) -> PathBuf {
    folder.with_file_name(format!("{ANEW}{}", folder.file_name().unwrap_or_default().to_string_lossy()))
}

/// The place of a journal that was written anew; `None` where it was not.
fn place_of_anew(folder: &Path) -> Option<PathBuf> {
    let name = folder.file_name()?.to_str()?.strip_prefix(ANEW)?;
    Some(folder.with_file_name(name))
}

/// Whether a journal was being removed.
fn is_going(folder: &Path) -> bool {
    folder.file_name().is_some_and(|name| name.to_string_lossy().starts_with(GOING))
}

/// Whether a folder is a journal's without a first line: it holds what is written before that, or nothing. Not one of a newer
/// phasewatch, which may keep its lines elsewhere.
fn is_unused(folder: &Path) -> bool {
    let Ok(mut entries) = std::fs::read_dir(folder) else { return false };
    let is_before_lines = entries.all(|entry| {
        entry.is_ok_and(|entry| pinned::BEFORE_LINES.iter().any(|own| entry.file_name() == *own))
    });
    // Read only where it matters: the state directory is looked through before anything is listened to.
    is_before_lines && !matches!(Pinned::read(folder), Err(JournalError::Format { .. }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_journal_written_anew_counts_once_the_old_one_is_gone() {
        let root = tempfile::tempdir().unwrap();
        let store = Store::open(root.path()).unwrap();
        let [kept, lost] = ["kept", "lost"].map(|id| journal(&store, Place::Held, id, &["events.arrows"]));
        for folder in [&kept, &lost] {
            let anew = store.begin_anew(folder).unwrap();
            std::fs::create_dir_all(&anew).unwrap();
            std::fs::write(anew.join("events.arrows"), "anew").unwrap();
        }
        // A crash before the old one goes, and one right after.
        store.remove(&lost).unwrap();
        drop(store);
        let store = Store::open(root.path()).unwrap();
        let read = |folder: &Path| std::fs::read_to_string(folder.join("events.arrows")).unwrap();
        assert_eq!((read(&kept), read(&lost)), ("x".to_owned(), "anew".to_owned()));
        assert_eq!(store.found(Place::Held).unwrap().len(), 2);
        // Undisturbed.
        std::fs::rename(&lost, store.begin_anew(&kept).unwrap()).unwrap();
        store.put_anew(&kept).unwrap();
        assert_eq!((read(&kept), store.strangers()), ("anew".to_owned(), Vec::<PathBuf>::new()));
    }

    fn journal(store: &Store, place: Place, scan_id: &str, files: &[&str]) -> PathBuf {
        let folder = store.folder(place, scan_id);
        std::fs::create_dir_all(&folder).unwrap();
        files.iter().for_each(|file| std::fs::write(folder.join(file), "x").unwrap());
        folder
    }

    #[test]
    fn what_a_crash_left_of_a_removal_or_before_the_first_line_is_gone_after_the_next_start() {
        let root = tempfile::tempdir().unwrap();
        let store = Store::open(root.path()).unwrap();
        for place in [Place::Scans, Place::Held] {
            journal(&store, place, "empty", &[]);
            journal(&store, place, "begun", &["pinned.json", ".pinned.json.part"]);
            journal(&store, place, &format!("{GOING}half"), &["events.arrows"]);
            // What has lines, or may have had some, stays.
            journal(&store, place, "whole", &["pinned.json", "events.arrows", "ledger"]);
            journal(&store, place, "damaged", &["pinned.json", "ledger"]);
        }
        let names = |place| {
            let entries = std::fs::read_dir(Store::all(root.path(), place)).unwrap();
            let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name()).collect();
            names.sort();
            names
        };
        drop(store);
        let store = Store::open(root.path()).unwrap();
        for place in [Place::Scans, Place::Held] {
            assert_eq!(names(place), ["damaged", "whole"]);
        }
        let whole = store.folder(Place::Scans, "whole");
        store.remove(&whole).unwrap();
        store.remove(&whole).unwrap();
        assert_eq!(names(Place::Scans), ["damaged"]);
    }
}
