//! What has to be true of a scan in the end.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use phasewatch::journal::{self, Archived, What};
use serde_json::{Value, json};

use super::daemon::{PHASEWATCH, Site};

/// Every file of an archived scan but its manifest.
pub const FILES: [&str; 8] = [
    "energies.parquet",
    "findings.json",
    "particles.parquet",
    "phase_map.parquet",
    "phase_map.png",
    "scan.nxs",
    "spectra.parquet",
    "stack.parquet",
];

/// The files of an archived scan.
pub type Files = Vec<(&'static str, Vec<u8>)>;

pub fn files(folder: &Path) -> Files {
    FILES.iter().map(|file| (*file, std::fs::read(folder.join(file)).unwrap())).collect()
}

pub fn manifest(folder: &Path) -> Option<Value> {
    serde_json::from_slice(&std::fs::read(folder.join("manifest.json")).ok()?).ok()
}

/// Which files differ.
pub fn differences(one: &Files, other: &Files) -> Vec<&'static str> {
    one.iter().zip(other).filter(|((_, one), (_, other))| one != other).map(|((file, _), _)| *file).collect()
}

/// The folder of a scan whose journal says that it was closed and archived, and that nothing came since.
pub fn settled(site: &Site, scan_id: &str) -> Option<PathBuf> {
    let journal = site.journal(scan_id);
    let archived = Archived::read(&journal)?;
    let last = journal::last_line(&journal).ok()??;
    let closed = matches!(last.what, What::Closed(_)) && last.seq == u64::from(archived.closing);
    closed.then(|| PathBuf::from(archived.path))
}

/// As [`settled`], complete and without gaps.
pub fn whole(site: &Site, scan_id: &str) -> Option<PathBuf> {
    let folder = settled(site, scan_id)?;
    let manifest = manifest(&folder)?;
    let good = manifest["outcome"]["status"] == "complete" && manifest["gaps"] == json!([]);
    good.then_some(folder)
}

/// The messages that the gaps of a manifest stand for.
pub fn missing(manifest: &Value) -> BTreeSet<u64> {
    let gaps = manifest["gaps"].as_array().unwrap();
    let range = |gap: &Value| gap["first"].as_u64().unwrap()..=gap["last"].as_u64().unwrap();
    gaps.iter().flat_map(range).collect()
}

/// The messages that a journal has.
pub fn received(journal: &Path) -> BTreeSet<u64> {
    let mut seqs = BTreeSet::new();
    let start = phasewatch::journal::Pinned::read(journal).unwrap().plan.map(|(seq, _)| seq);
    seqs.extend(start);
    journal::read(journal, |line| {
        if matches!(line.what, What::Update(_)) {
            seqs.insert(line.seq);
        }
    })
    .unwrap();
    seqs
}

/// What a crash could have left behind and did: there has to be none of it.
pub fn leftovers(site: &Site) -> Vec<PathBuf> {
    let entries = |folder: PathBuf| {
        let entries = std::fs::read_dir(folder).into_iter().flatten();
        entries.filter_map(|entry| Some(entry.ok()?.path())).collect::<Vec<_>>()
    };
    let temporary = |path: &PathBuf| {
        let name = path.file_name().unwrap().to_string_lossy();
        name.starts_with(".tmp-") || name.starts_with(".old-") || name.ends_with(".part")
    };
    let held = entries(site.path().join("state/held"));
    let journals = entries(site.path().join("state/journal"));
    let in_journals = journals.iter().flat_map(|journal| entries(journal.clone())).filter(temporary);
    let archive = entries(site.archive()).into_iter().chain(site.archived()).filter(temporary);
    in_journals.chain(archive).chain(held).collect()
}

/// `archive verify` of all of it; what it says where it does not like it.
pub fn verified(site: &Site) -> Result<(), String> {
    let verify = Command::new(PHASEWATCH).args(["archive", "verify", "--root"]).arg(site.archive()).output();
    let verify = verify.unwrap();
    let said =
        || format!("{}{}", String::from_utf8_lossy(&verify.stdout), String::from_utf8_lossy(&verify.stderr));
    if verify.status.success() { Ok(()) } else { Err(said()) }
}

/// The files that `replay` makes of a journal.
pub fn replayed(site: &Site, scan_id: &str) -> Files {
    let out = site.path().join("replayed");
    let replay =
        Command::new(PHASEWATCH).arg("replay").arg(site.journal(scan_id)).arg("--out").arg(&out).output();
    let replay = replay.unwrap();
    assert!(replay.status.success(), "{}", String::from_utf8_lossy(&replay.stderr));
    files(&out)
}
