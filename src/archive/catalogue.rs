//! What an archive holds, and whether it is still what was written.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::durable::hex;
use super::recovery::folders;
use super::scan_path::QUARANTINE;
use super::{ArchiveError, FileEntry, Identified, MANIFEST, Manifest, ScanPath};
use crate::scan::is_valid_id;

/// One folder of the archive.
#[derive(Debug)]
pub struct Catalogued {
    /// The folder.
    pub path: PathBuf,
    /// Where it lies below the root; `None` for a folder that was looked at by itself.
    pub scan: Option<ScanPath>,
    /// Its name without `scan=`: the id, and `~2` and so on where it is not the first with it.
    pub name: String,
    /// Its manifest, or what is wrong with it.
    pub manifest: Result<Manifest, ArchiveError>,
    /// Under which digest it is known ([`Identified::sha256`]); empty without a manifest.
    pub sha256: String,
}

/// Something in the archive that is not as it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Which file or folder.
    pub path: PathBuf,
    /// What is wrong with it.
    pub what: String,
    /// What that means for the scan.
    pub kind: FaultKind,
}

/// What a fault means for the scan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaultKind {
    /// Something that was written is lost or changed.
    Damage,
    /// Something is there that was not written; the scan is whole.
    Foreign,
    /// It could not be looked at now; the scan may be whole.
    Unreadable,
}

impl Fault {
    /// As it is told.
    #[must_use]
    pub fn text(&self) -> String {
        format!("{}: {}", self.path.display(), self.what)
    }
}

/// Every scan under `root`, by beamline, date and name, and then what lies in the quarantine. A `root` that is itself
/// the folder of a scan counts as one.
///
/// # Errors
/// [`ArchiveError::Io`] where a folder cannot be read. A scan with a bad manifest is listed with what is wrong.
pub fn list(root: &Path) -> Result<Vec<Catalogued>, ArchiveError> {
    if root.join(MANIFEST).exists() {
        let found = Manifest::identify(root);
        let name = found.as_ref().map_or_else(|_| String::new(), |found| found.manifest.plan.scan_id.clone());
        return Ok(vec![catalogued(root.to_owned(), None, name, found)]);
    }
    Ok(scans(root)?.iter().map(|scan| read(root, scan)).collect())
}

/// The folder of one scan.
#[must_use]
pub fn read(root: &Path, scan: &ScanPath) -> Catalogued {
    let path = scan.folder(root);
    let found = Manifest::identify(&path);
    catalogued(path, Some(scan.clone()), scan.name().to_owned(), found)
}

fn catalogued(
    path: PathBuf,
    scan: Option<ScanPath>,
    name: String,
    found: Result<Identified, ArchiveError>,
) -> Catalogued {
    let (manifest, sha256) = match found {
        Ok(found) => (Ok(found.manifest), found.sha256),
        Err(error) => (Err(error), String::new()),
    };
    Catalogued { path, scan, name, manifest, sha256 }
}

/// Where scans lie under `root`, their manifests unread: by beamline, date and name, the quarantine last.
///
/// # Errors
/// [`ArchiveError::Io`] where a folder cannot be read.
pub fn scans(root: &Path) -> Result<Vec<ScanPath>, ArchiveError> {
    // The root has to be there; an empty one is fine.
    std::fs::read_dir(root).map_err(ArchiveError::io("reading", root))?;
    let mut found = Vec::new();
    for top in [root.to_owned(), root.join(QUARANTINE)] {
        for (_, beamline) in folders(&top)?.into_iter().filter(|(name, _)| name.starts_with("beamline=")) {
            for (_, day) in folders(&beamline)? {
                found.extend(folders(&day)?.into_iter().filter_map(|(_, path)| ScanPath::below(root, &path)));
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
/// other. Files that were pruned need not be there.
///
/// # Errors
/// [`ArchiveError::Io`] where the folder cannot be read; what is wrong with the scan is a [`Fault`].
pub fn verify(scan: &Catalogued) -> Result<Vec<Fault>, ArchiveError> {
    let fault = |path: PathBuf, kind, what: String| Fault { path, what, kind };
    let manifest = match &scan.manifest {
        Ok(manifest) => manifest,
        Err(error) => {
            return Ok(vec![fault(scan.path.join(MANIFEST), of_manifest(error), error.to_string())]);
        }
    };
    let mut faults = Vec::new();
    let id = scan.name.split('~').next().unwrap_or_default();
    if manifest.plan.scan_id != id {
        let what = format!("the manifest is of scan {:?}", manifest.plan.scan_id);
        faults.push(fault(scan.path.clone(), FaultKind::Damage, what));
    }
    for (name, entry) in manifest.files.iter().filter(|(name, _)| !manifest.is_pruned(name)) {
        // Names in a manifest may come from anywhere: none may lead out of the folder.
        if !is_valid_id(name) {
            let what = format!("{name:?} is not the name of a file");
            faults.push(fault(scan.path.join(MANIFEST), FaultKind::Damage, what));
            continue;
        }
        let path = scan.path.join(name);
        if let Some((kind, what)) = check(&path, entry) {
            faults.push(fault(path, kind, what));
        }
    }
    for entry in std::fs::read_dir(&scan.path).map_err(ArchiveError::io("reading", &scan.path))? {
        let entry = entry.map_err(ArchiveError::io("reading", &scan.path))?;
        let name = entry.file_name();
        let known = name.to_str().is_some_and(|name| name == MANIFEST || manifest.files.contains_key(name));
        if !known {
            faults.push(fault(entry.path(), FaultKind::Foreign, "is not in the manifest".to_owned()));
        }
    }
    faults.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(faults)
}

/// What a manifest that cannot be read means: one that is missing or none is damage, one that the system will not
/// give now may be whole.
pub(super) fn of_manifest(error: &ArchiveError) -> FaultKind {
    use std::io::ErrorKind::{InvalidData, NotFound};
    match error {
        ArchiveError::Io { error, .. } if !matches!(error.kind(), NotFound | InvalidData) => {
            FaultKind::Unreadable
        }
        // For all we know the scan is whole.
        ArchiveError::Newer { .. } => FaultKind::Unreadable,
        _ => FaultKind::Damage,
    }
}

/// What is wrong with the file at `path`, if anything.
pub(super) fn check(path: &Path, entry: &FileEntry) -> Option<(FaultKind, String)> {
    use FaultKind::{Damage, Unreadable};
    let metadata = match std::fs::symlink_metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Some((Damage, "is missing".to_owned()));
        }
        Err(error) => return Some((Unreadable, error.to_string())),
    };
    if !metadata.is_file() {
        return Some((Damage, "is not a file".to_owned()));
    }
    if metadata.len() != entry.bytes {
        return Some((Damage, format!("has {} bytes instead of {}", metadata.len(), entry.bytes)));
    }
    match digest(path) {
        Ok(sha256) if sha256 == entry.sha256 => None,
        Ok(sha256) => Some((Damage, format!("has SHA-256 {sha256} instead of {}", entry.sha256))),
        Err(error) => Some((Unreadable, error.to_string())),
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
