//! What an archive holds, and whether it is still what was written.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::durable::hex;
use super::recovery::folders;
use super::{ArchiveError, FileEntry, MANIFEST, Manifest};
use crate::scan::is_valid_id;

/// One folder of the archive.
#[derive(Debug)]
pub struct Catalogued {
    /// The folder.
    pub path: PathBuf,
    /// Its name without `scan=`: the id, and `~2` and so on where it is not the first with it.
    pub name: String,
    /// Its manifest, or what is wrong with it.
    pub manifest: Result<Manifest, ArchiveError>,
}

impl Catalogued {
    fn read(path: PathBuf, name: String) -> Self {
        let manifest = Manifest::read(&path);
        Self { path, name, manifest }
    }
}

/// Something in the archive that is not as it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Which file or folder.
    pub path: PathBuf,
    /// What is wrong with it.
    pub what: String,
}

/// Every scan under `root`, by beamline, date and name. A `root` that is itself the folder of a scan counts as one.
///
/// # Errors
/// [`ArchiveError::Io`] where a folder cannot be read. A scan with a bad manifest is listed with what is wrong.
pub fn list(root: &Path) -> Result<Vec<Catalogued>, ArchiveError> {
    if root.join(MANIFEST).exists() {
        let single = Manifest::read(root);
        let name = single.as_ref().map_or_else(|_| String::new(), |m| m.plan.scan_id.clone());
        return Ok(vec![Catalogued { path: root.to_owned(), name, manifest: single }]);
    }
    // The root has to be there; an empty one is fine.
    std::fs::read_dir(root).map_err(ArchiveError::io("reading", root))?;
    let mut found = Vec::new();
    for (_, beamline) in folders(root)?.into_iter().filter(|(name, _)| name.starts_with("beamline=")) {
        for (_, day) in folders(&beamline)?.into_iter().filter(|(name, _)| name.starts_with("date=")) {
            for (name, path) in folders(&day)? {
                if let Some(name) = name.strip_prefix("scan=") {
                    found.push(Catalogued::read(path, name.to_owned()));
                }
            }
        }
    }
    Ok(found)
}

/// The scans under `root` with the id `scan`, or in the folder of that name (`<id>~2`).
///
/// # Errors
/// As [`list`].
pub fn show(root: &Path, scan: &str) -> Result<Vec<Catalogued>, ArchiveError> {
    let is_it = |found: &Catalogued| {
        found.name == scan || found.name.strip_prefix(scan).is_some_and(|rest| rest.starts_with('~'))
    };
    Ok(list(root)?.into_iter().filter(is_it).collect())
}

/// Checks one scan: its manifest, that every file in it has the size and the digest it says, and that there is no
/// other.
///
/// # Errors
/// [`ArchiveError::Io`] where the folder cannot be read; what is wrong with the scan is a [`Fault`].
pub fn verify(scan: &Catalogued) -> Result<Vec<Fault>, ArchiveError> {
    let fault = |path: PathBuf, what: String| Fault { path, what };
    let manifest = match &scan.manifest {
        Ok(manifest) => manifest,
        Err(error) => return Ok(vec![fault(scan.path.join(MANIFEST), error.to_string())]),
    };
    let mut faults = Vec::new();
    let id = scan.name.split('~').next().unwrap_or_default();
    if manifest.plan.scan_id != id {
        let what = format!("the manifest is of scan {:?}", manifest.plan.scan_id);
        faults.push(fault(scan.path.clone(), what));
    }
    for (name, entry) in &manifest.files {
        // Names in a manifest may come from anywhere: none may lead out of the folder.
        if !is_valid_id(name) {
            faults.push(fault(scan.path.join(MANIFEST), format!("{name:?} is not the name of a file")));
            continue;
        }
        let path = scan.path.join(name);
        if let Some(what) = check(&path, entry) {
            faults.push(fault(path, what));
        }
    }
    for entry in std::fs::read_dir(&scan.path).map_err(ArchiveError::io("reading", &scan.path))? {
        let entry = entry.map_err(ArchiveError::io("reading", &scan.path))?;
        let name = entry.file_name();
        let known = name.to_str().is_some_and(|name| name == MANIFEST || manifest.files.contains_key(name));
        if !known {
            faults.push(fault(entry.path(), "is not in the manifest".to_owned()));
        }
    }
    faults.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(faults)
}

/// What is wrong with the file at `path`, if anything.
fn check(path: &Path, entry: &FileEntry) -> Option<String> {
    let metadata = match std::fs::symlink_metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Some("is missing".to_owned()),
        Err(error) => return Some(error.to_string()),
    };
    if !metadata.is_file() {
        return Some("is not a file".to_owned());
    }
    if metadata.len() != entry.bytes {
        return Some(format!("has {} bytes instead of {}", metadata.len(), entry.bytes));
    }
    match digest(path) {
        Ok(sha256) if sha256 == entry.sha256 => None,
        Ok(sha256) => Some(format!("has SHA-256 {sha256} instead of {}", entry.sha256)),
        Err(error) => Some(error.to_string()),
    }
}

fn digest(path: &Path) -> std::io::Result<String> {
    let mut file = File::open(path)?;
    let mut sha256 = Sha256::new();
    let mut buffer = vec![0; 256 * 1024];
    loop {
        let read = file.read(&mut buffer)?;
        if read == 0 {
            return Ok(hex(&sha256.finalize()));
        }
        sha256.update(&buffer[..read]);
    }
}
