//! Writes one scan into the archive.

use std::collections::BTreeMap;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use arrow::array::RecordBatch;
use chrono::{DateTime, Utc};

use super::durable::{DigestedFile, TemporaryFolder, create_folders, sync_folder};
use super::guard::Guard;
use super::manifest::FORMAT;
use super::place::{self, Placed};
use super::recovery::set_aside;
use super::{
    ArchiveError, EnergyRow, FileEntry, MANIFEST, Manifest, MapSummary, channels_file, energies, nexus,
    stack_file,
};
use crate::classify::PhaseMap;
use crate::findings::Findings;
use crate::publish::{self, MeanSpectra, PublishError, parquet, picture};
use crate::scan::Outcome;
use crate::stack::Stack;

/// What is to be archived.
#[derive(Clone, Debug)]
pub struct ArchiveJob<'a> {
    /// What was measured.
    pub stack: &'a Stack,
    /// The map made from it.
    pub map: &'a PhaseMap,
    /// Mean spectra of the map's phases.
    pub spectra: &'a MeanSpectra,
    /// What it says of the sample.
    pub findings: &'a Findings,
    /// What is said of damage, as JSON.
    pub damage: Option<Vec<u8>>,
    /// One row per energy of the plan.
    pub energies: Vec<EnergyRow>,
    /// How the scan ended.
    pub outcome: Outcome,
    /// Whether a later archive of the same scan may take its place.
    pub provisional: bool,
    /// The settings that mattered, for the manifest.
    pub settings: serde_json::Value,
    /// Whether late data reopened the scan, so that even a final archive of it gives way.
    pub reopen: bool,
    /// Now.
    pub archived_at: DateTime<Utc>,
}

/// Archives `job` under `root`, in the folder its plan says.
///
/// # Errors
/// [`ArchiveError`]; what was there before is there still, and nothing half-written is left.
pub fn write(root: &Path, job: &ArchiveJob<'_>) -> Result<Placed, ArchiveError> {
    let plan = job.stack.plan();
    let day = place::day(root, plan)?;
    let find = || place::find(root, &day, plan, job.reopen, job.stack.counters().stored);
    let found = find()?;
    if let Placed::AlreadyThere(_) = found {
        return Ok(found);
    }
    std::fs::create_dir_all(root).map_err(ArchiveError::io("creating", root))?;
    let built = build(root, job)?;
    create_folders(root, &day)?;
    let _guard = Guard::take(root);
    // Another process may have taken the place meanwhile; then the next one is looked for.
    loop {
        let found = find()?;
        match &found {
            Placed::AlreadyThere(_) => return Ok(found),
            Placed::Replaced(path) => set_aside(path, || rename(built.path(), path))?,
            Placed::New(path) => match std::fs::rename(built.path(), path) {
                Ok(()) => {}
                Err(error)
                    if matches!(error.kind(), ErrorKind::DirectoryNotEmpty | ErrorKind::AlreadyExists) =>
                {
                    continue;
                }
                Err(error) => return Err(ArchiveError::io("creating", path)(error)),
            },
        }
        built.moved();
        sync_folder(&day)?;
        return Ok(found);
    }
}

/// Writes `job` into `folder` itself, without the folders of beamline and date. The folder may be absent, empty, or
/// hold an earlier result, which gives way.
///
/// # Errors
/// [`ArchiveError::Occupied`] where the folder holds anything else, and as [`write`].
pub fn write_folder(folder: &Path, job: &ArchiveJob<'_>) -> Result<PathBuf, ArchiveError> {
    place::day(folder, job.stack.plan())?;
    let parent = match folder.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    std::fs::create_dir_all(parent).map_err(ArchiveError::io("creating", parent))?;
    let earlier = match std::fs::read_dir(folder) {
        Ok(mut entries) => entries.next().is_some(),
        Err(error) if error.kind() == ErrorKind::NotFound => false,
        Err(error) => return Err(ArchiveError::io("reading", folder)(error)),
    };
    if earlier && Manifest::read(folder).is_err() {
        return Err(ArchiveError::Occupied(folder.to_owned()));
    }
    let built = build(parent, job)?;
    if earlier {
        set_aside(folder, || rename(built.path(), folder))?;
    } else {
        rename(built.path(), folder)?;
    }
    built.moved();
    sync_folder(parent)?;
    Ok(folder.to_owned())
}

fn rename(from: &Path, to: &Path) -> Result<(), ArchiveError> {
    std::fs::rename(from, to).map_err(ArchiveError::io("renaming to", to))
}

/// Builds the folder of a scan, synced, with the manifest last.
fn build(parent: &Path, job: &ArchiveJob<'_>) -> Result<TemporaryFolder, ArchiveError> {
    let plan = job.stack.plan();
    if job.energies.len() != plan.energies_ev.len() {
        return Err(ArchiveError::Energies { found: job.energies.len(), wanted: plan.energies_ev.len() });
    }
    let folder = TemporaryFolder::create(parent, &plan.scan_id)?;
    let mut files = BTreeMap::new();
    let mut add = |name: &str, entry: FileEntry| _ = files.insert(name.to_owned(), entry);
    add(
        "phase_map.parquet",
        write_table(&folder, "phase_map.parquet", &publish::table::phase_map(job.map)?)?,
    );
    add("spectra.parquet", write_table(&folder, "spectra.parquet", &job.spectra.table()?)?);
    let particles = publish::particles::particles(plan, &job.findings.particles)?;
    add("particles.parquet", write_table(&folder, "particles.parquet", &particles)?);
    let findings = job.findings.to_json().map_err(PublishError::from)?;
    add("findings.json", write_bytes(&folder, "findings.json", &findings)?);
    add("phase_map.png", write_bytes(&folder, "phase_map.png", &picture::png(job.map)?)?);
    if let Some(report) = &job.damage {
        add("damage.json", write_bytes(&folder, "damage.json", report)?);
    }
    let energies = energies::table(job.stack, &job.energies).map_err(PublishError::from)?;
    add("energies.parquet", write_table(&folder, "energies.parquet", &energies)?);
    let file = DigestedFile::create(folder.path(), "stack.parquet")?;
    let file = stack_file::write(file, job.stack)
        .map_err(|error| ArchiveError::Parquet { file: "stack.parquet", error })?;
    add("stack.parquet", file.finish()?);
    if !job.stack.others().is_empty() {
        let file = DigestedFile::create(folder.path(), channels_file::NAME)?;
        let file = channels_file::write(file, job.stack)
            .map_err(|error| ArchiveError::Parquet { file: channels_file::NAME, error })?;
        add(channels_file::NAME, file.finish()?);
    }
    let mut file = DigestedFile::create(folder.path(), "scan.nxs")?;
    nexus::write(&mut file, job.stack).map_err(|error| ArchiveError::Nexus { file: "scan.nxs", error })?;
    add("scan.nxs", file.finish()?);

    let manifest = manifest(job, files);
    let path = folder.path().join(MANIFEST);
    let text = manifest.to_bytes().map_err(|error| ArchiveError::Manifest { path, error })?;
    write_bytes(&folder, MANIFEST, &text)?;
    folder.name_files(manifest.files.keys().map(String::as_str).chain([MANIFEST]))?;
    Ok(folder)
}

fn manifest(job: &ArchiveJob<'_>, files: BTreeMap<String, FileEntry>) -> Manifest {
    let counters = serde_json::to_value(job.stack.counters()).unwrap_or_default();
    Manifest {
        format: FORMAT.to_owned(),
        provisional: job.provisional,
        outcome: job.outcome.clone(),
        archived_at: job.archived_at,
        plan: job.stack.plan().as_ref().clone(),
        map: MapSummary::of(job.map),
        channels: job.stack.others(),
        gaps: job.stack.sequence().gaps(),
        remarks: job.stack.remarks().to_vec(),
        counters,
        settings: job.settings.clone(),
        versions: BTreeMap::from([("phasewatch".to_owned(), env!("CARGO_PKG_VERSION").to_owned())]),
        files,
        pruned: None,
    }
}

fn write_table(
    folder: &TemporaryFolder,
    name: &'static str,
    table: &RecordBatch,
) -> Result<FileEntry, ArchiveError> {
    let mut file = DigestedFile::create(folder.path(), name)?;
    parquet::write(&mut file, table).map_err(|error| ArchiveError::Parquet { file: name, error })?;
    file.finish()
}

fn write_bytes(folder: &TemporaryFolder, name: &str, bytes: &[u8]) -> Result<FileEntry, ArchiveError> {
    let mut file = DigestedFile::create(folder.path(), name)?;
    file.write_all(bytes).map_err(ArchiveError::io("writing", folder.path()))?;
    file.finish()
}
