//! Files that are on the disk before they count: written, digested and synced in one go.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use sha2::{Digest, Sha256};

use super::{ArchiveError, FileEntry};

/// What a file is called while its folder is being built.
const PART: &str = ".part";

/// A file under construction; what is written is counted and digested on the way.
pub(super) struct DigestedFile {
    file: BufWriter<File>,
    path: PathBuf,
    sha256: Sha256,
    bytes: u64,
}

impl DigestedFile {
    /// Creates `<folder>/<name>.part`, which must not exist.
    pub(super) fn create(folder: &Path, name: &str) -> Result<Self, ArchiveError> {
        let path = folder.join(format!("{name}{PART}"));
        let file = File::create_new(&path).map_err(ArchiveError::io("creating", &path))?;
        Ok(Self { file: BufWriter::with_capacity(256 * 1024, file), path, sha256: Sha256::new(), bytes: 0 })
    }

    /// Syncs the file to the disk.
    pub(super) fn finish(mut self) -> Result<FileEntry, ArchiveError> {
        let synced = self.file.flush().and_then(|()| self.file.get_ref().sync_all());
        synced.map_err(ArchiveError::io("writing", &self.path))?;
        Ok(FileEntry { sha256: hex(&self.sha256.finalize()), bytes: self.bytes })
    }
}

impl Write for DigestedFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.write(bytes)?;
        self.sha256.update(&bytes[..written]);
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// SHA-256 of `bytes`, lower-case hexadecimal.
pub(super) fn sha256(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

/// Lower-case hexadecimal digits.
pub(super) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        // Writing to a string cannot fail.
        _ = write!(text, "{byte:02x}");
        text
    })
}

/// Folders that this process builds right now: no leftovers.
static BEING_BUILT: Mutex<BTreeSet<PathBuf>> = Mutex::new(BTreeSet::new());

fn being_built() -> MutexGuard<'static, BTreeSet<PathBuf>> {
    BEING_BUILT.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Whether this process builds that folder right now.
pub(super) fn is_being_built(path: &Path) -> bool {
    being_built().contains(path)
}

/// A folder that is removed with all it holds unless it was moved to its place.
#[derive(Debug)]
pub(super) struct TemporaryFolder {
    path: PathBuf,
    keep: bool,
}

impl TemporaryFolder {
    /// Creates `<parent>/.tmp-<label>-<process>-<number>`.
    pub(super) fn create(parent: &Path, label: &str) -> Result<Self, ArchiveError> {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path = parent.join(format!(".tmp-{label}-{}-{number}", std::process::id()));
        being_built().insert(path.clone());
        let folder = Self { path, keep: false };
        match std::fs::create_dir(&folder.path) {
            Ok(()) => Ok(folder),
            Err(error) => {
                let path = folder.path.clone();
                // There is nothing to be removed.
                folder.moved();
                Err(ArchiveError::io("creating", &path)(error))
            }
        }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Gives the files in it their names and syncs the folder.
    pub(super) fn name_files<'a>(&self, names: impl Iterator<Item = &'a str>) -> Result<(), ArchiveError> {
        for name in names {
            let part = self.path.join(format!("{name}{PART}"));
            std::fs::rename(&part, self.path.join(name)).map_err(ArchiveError::io("renaming", &part))?;
        }
        sync_folder(&self.path)
    }

    /// The folder was renamed to its place.
    pub(super) fn moved(mut self) {
        self.keep = true;
    }
}

impl Drop for TemporaryFolder {
    fn drop(&mut self) {
        if !self.keep
            && let Err(error) = std::fs::remove_dir_all(&self.path)
        {
            tracing::warn!(path = %self.path.display(), %error, "a temporary folder could not be removed");
        }
        being_built().remove(&self.path);
    }
}

/// Makes a rename or a new entry in `folder` last.
pub(super) fn sync_folder(folder: &Path) -> Result<(), ArchiveError> {
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(ArchiveError::io("syncing", folder))
}

/// Creates `folder` and its parents below `root`, each synced into its parent.
pub(super) fn create_folders(root: &Path, folder: &Path) -> Result<(), ArchiveError> {
    std::fs::create_dir_all(folder).map_err(ArchiveError::io("creating", folder))?;
    for parent in folder.ancestors().skip(1) {
        sync_folder(parent)?;
        if parent == root {
            break;
        }
    }
    Ok(())
}
