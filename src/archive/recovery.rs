//! What a crash may leave behind, and how it is put right.
//!
//! - `<root>/.tmp-<scan>-<process>-<number>`: a folder that was being built. It is removed unless that process still
//!   runs; the scan is archived again from the journal.
//! - `<day>/.old-<name>`: an archive that was about to be replaced. Where `<name>` is there, the new one took its
//!   place and the old one is removed; where it is not, the old one gets its name back.

use std::path::{Path, PathBuf};

use super::ArchiveError;
use super::durable::{TemporaryFolder, is_being_built, sync_folder};

const OLD: &str = ".old-";
const TEMPORARY: &str = ".tmp-";

/// What [`recover`] did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recovered {
    /// Archives that got their name back.
    pub restored: Vec<PathBuf>,
    /// Leftovers that were removed.
    pub removed: Vec<PathBuf>,
}

/// Moves `path` aside, runs `replace`, and removes what was aside; puts it back where `replace` fails. What was aside
/// and cannot be removed is left for the next start: the new one is in its place.
pub(super) fn set_aside(
    path: &Path,
    replace: impl FnOnce() -> Result<(), ArchiveError>,
) -> Result<(), ArchiveError> {
    let aside = aside(path);
    if aside.exists() {
        std::fs::remove_dir_all(&aside).map_err(ArchiveError::io("removing", &aside))?;
    }
    std::fs::rename(path, &aside).map_err(ArchiveError::io("setting aside", path))?;
    if let Err(error) = replace() {
        std::fs::rename(&aside, path).map_err(ArchiveError::io("putting back", path))?;
        return Err(error);
    }
    if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        sync_folder(parent)?;
    }
    if let Err(error) = std::fs::remove_dir_all(&aside) {
        tracing::warn!(path = %aside.display(), %error, "a folder that was replaced could not be removed");
    }
    Ok(())
}

fn aside(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!("{OLD}{name}"))
}

/// Puts right what a crash left under `root`. What this process is building is left alone; a `root` that is not there is fine.
///
/// # Errors
/// [`ArchiveError::Io`].
pub fn recover(root: &Path) -> Result<Recovered, ArchiveError> {
    let mut done = Recovered::default();
    for (name, path) in folders(root)? {
        if name.starts_with(TEMPORARY) && !is_running(&name) && !is_being_built(&path) {
            std::fs::remove_dir_all(&path).map_err(ArchiveError::io("removing", &path))?;
            done.removed.push(path);
        } else if name.starts_with("beamline=") {
            for (_, day) in folders(&path)? {
                restore(&day, &mut done)?;
            }
        }
    }
    Ok(done)
}

/// Looks whether scans can be written below `root`, which is made.
///
/// # Errors
/// [`ArchiveError::Io`].
pub fn probe(root: &Path) -> Result<(), ArchiveError> {
    std::fs::create_dir_all(root).map_err(ArchiveError::io("creating", root))?;
    // Removed when it goes.
    TemporaryFolder::create(root, "probe").map(drop)
}

fn restore(day: &Path, done: &mut Recovered) -> Result<(), ArchiveError> {
    for (name, old) in folders(day)? {
        let Some(wanted) = name.strip_prefix(OLD).map(|name| day.join(name)) else { continue };
        if wanted.exists() {
            std::fs::remove_dir_all(&old).map_err(ArchiveError::io("removing", &old))?;
            done.removed.push(old);
        } else {
            std::fs::rename(&old, &wanted).map_err(ArchiveError::io("putting back", &wanted))?;
            sync_folder(day)?;
            done.restored.push(wanted);
        }
    }
    Ok(())
}

/// Whether the process that builds a temporary folder still runs, as far as can be seen.
fn is_running(name: &str) -> bool {
    let process = name.rsplit('-').nth(1).and_then(|process| process.parse::<u32>().ok());
    process.is_some_and(|process| {
        process != std::process::id() && Path::new("/proc").join(process.to_string()).exists()
    })
}

/// The folders in `folder`, by name, links left out; none where it is not there.
pub(super) fn folders(folder: &Path) -> Result<Vec<(String, PathBuf)>, ArchiveError> {
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(ArchiveError::io("reading", folder)(error)),
    };
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry.map_err(ArchiveError::io("reading", folder))?;
        let is_folder = entry.file_type().map_err(ArchiveError::io("reading", folder))?.is_dir();
        if let (true, Ok(name)) = (is_folder, entry.file_name().into_string()) {
            found.push((name, entry.path()));
        }
    }
    found.sort();
    Ok(found)
}
