//! Reads a directory of references.
//!
//! One CSV per phase, `<phase-id>.csv` (see the `spectrum` module), and an optional `references.toml` (see
//! `description`). A directory without any CSV but with `.r` files, as beamline software leaves them, is read
//! from those. Everything else in the directory is ignored, hidden files too. Without `references.toml` phases
//! are ordered by name, coloured from a fixed palette, and the windows of the edge are found on the mean of
//! the references.
//!
//! Refused, with file and line where there is one: fewer than 2 or more than 64 phases, a file that is no
//! spectrum or is larger than 16 MiB, a constant spectrum, two that are proportional up to an offset (Pearson
//! could never tell them apart), references that share no energies, an edge without any energy in its windows.

use std::io;
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

use super::description::{self, Description, Phase};
use super::spectrum::{self, Layout};
use super::{PhaseLabel, Reference, ReferenceSet, Window, edge, palette};
use crate::scan::is_valid_id;

/// Fewest references of a set.
const MIN_PHASES: usize = 2;
/// Most references of a set.
const MAX_PHASES: usize = 64;
/// Largest file, bytes.
const MAX_FILE_BYTES: u64 = 16 * 1024 * 1024;
/// Two references that correlate better than this are the same to a correlation.
const SAME: f64 = 1.0 - 1e-9;

/// Why a directory is not a set of references.
#[derive(Debug, thiserror::Error)]
pub enum ReferenceError {
    /// A file or the directory could not be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file could not be written.
    #[error("cannot write {}: {source}", path.display())]
    Write {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A line of a file is wrong.
    #[error("{} line {line}: {message}", path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong.
        message: String,
    },
    /// A file, or the directory as a whole, is wrong.
    #[error("{}: {message}", path.display())]
    Whole {
        /// The file or directory.
        path: PathBuf,
        /// What is wrong.
        message: String,
    },
}

impl ReferenceSet {
    /// Reads the references in `dir`.
    ///
    /// # Errors
    /// The first thing that is wrong; see the rules above.
    pub fn load(dir: &Path) -> Result<Self, ReferenceError> {
        let whole = |message: String| ReferenceError::Whole { path: dir.to_owned(), message };
        let (layout, names) = list(dir)?;
        if names.len() < MIN_PHASES {
            return Err(whole(format!(
                "{} references; a set needs at least {MIN_PHASES} files <phase>.csv",
                names.len()
            )));
        }
        if names.len() > MAX_PHASES {
            return Err(whole(format!("{} references; a set has at most {MAX_PHASES}", names.len())));
        }
        let mut digests = String::new();
        let mut spectra = Vec::new();
        for name in &names {
            let path = dir.join(name);
            let bytes = read(&path)?;
            digests.push_str(&format!("{}  {name}\n", hex(&Sha256::digest(&bytes))));
            let text = std::str::from_utf8(&bytes).map_err(|error| ReferenceError::Whole {
                path: path.clone(),
                message: format!("not UTF-8 text after byte {}", error.valid_up_to()),
            })?;
            let id = name.strip_suffix(&format!(".{}", layout.extension())).unwrap_or(name);
            if !is_valid_id(id) {
                let message = "a phase is named by 1 to 128 characters of A-Z a-z 0-9 . _ -, the first a \
                               letter or digit; rename the file"
                    .to_owned();
                return Err(ReferenceError::Whole { path, message });
            }
            spectra.push((id.to_owned(), spectrum::parse(&path, layout, text)?));
        }
        let description = describe(dir, &spectra)?;
        let windows = description.edge;
        let references = assemble(spectra, description.phases);
        check_pairs(&references).map_err(whole)?;
        let (pre_edge, white_line) = match windows {
            Some(windows) => windows,
            None => edge::find(&references).map_err(|reason| {
                whole(format!(
                    "cannot find the edge: {reason}; name pre_edge and white_line in [edge] of references.toml"
                ))
            })?,
        };
        let set = Self { references, pre_edge, white_line, sha256: hex(&Sha256::digest(digests)) };
        check_windows(&set).map_err(whole)?;
        Ok(set)
    }
}

/// The layout, and the names of the files in the byte order that `LC_ALL=C` gives.
fn list(dir: &Path) -> Result<(Layout, Vec<String>), ReferenceError> {
    let failed = |source| ReferenceError::Read { path: dir.to_owned(), source };
    let mut names = Vec::new();
    for entry in std::fs::read_dir(dir).map_err(failed)? {
        let name = entry.map_err(failed)?.file_name();
        // A name that is not UTF-8 cannot be a phase; lossily converted it fails the check of names.
        names.push(name.to_string_lossy().into_owned());
    }
    names.sort_unstable();
    for layout in [Layout::Csv, Layout::Columns] {
        let suffix = format!(".{}", layout.extension());
        let of_layout: Vec<String> =
            names.iter().filter(|name| name.ends_with(&suffix) && !name.starts_with('.')).cloned().collect();
        if !of_layout.is_empty() {
            return Ok((layout, of_layout));
        }
    }
    Ok((Layout::Csv, Vec::new()))
}

fn read(path: &Path) -> Result<Vec<u8>, ReferenceError> {
    let failed = |source| ReferenceError::Read { path: path.to_owned(), source };
    let size = std::fs::metadata(path).map_err(failed)?.len();
    if size > MAX_FILE_BYTES {
        let message = format!("{size} bytes; at most {MAX_FILE_BYTES} are read");
        return Err(ReferenceError::Whole { path: path.to_owned(), message });
    }
    std::fs::read(path).map_err(failed)
}

/// Reads `references.toml`, if it is there, and checks that each of its phases has a file.
fn describe(dir: &Path, spectra: &[(String, spectrum::Spectrum)]) -> Result<Description, ReferenceError> {
    let path = dir.join("references.toml");
    if !path.exists() {
        return Ok(Description::default());
    }
    let bytes = read(&path)?;
    let description = description::parse(&String::from_utf8_lossy(&bytes))
        .map_err(|(line, message)| ReferenceError::Line { path: path.clone(), line, message })?;
    let ids = || spectra.iter().map(|(id, _)| id.as_str());
    match description.phases.iter().find(|(id, _)| !ids().any(|known| known == id.as_str())) {
        None => Ok(description),
        Some((id, phase)) => {
            let hint = crate::document::nearest(id, ids())
                .map_or_else(String::new, |nearest| format!("; did you mean {nearest:?}?"));
            let message = format!("phase {id:?} has no file {id}.csv{hint}");
            Err(ReferenceError::Line { path, line: phase.line, message })
        }
    }
}

/// Puts spectra and descriptions together, in display order, and colours those without a colour.
fn assemble(
    spectra: Vec<(String, spectrum::Spectrum)>,
    mut phases: std::collections::BTreeMap<String, Phase>,
) -> Vec<Reference> {
    let mut rows: Vec<_> = spectra
        .into_iter()
        .map(|(id, spectrum)| {
            let phase = phases.remove(&id).unwrap_or_default();
            (id, spectrum, phase)
        })
        .collect();
    rows.sort_by_key(|(_, _, phase)| phase.order.unwrap_or(i64::MAX));
    let taken: Vec<[u8; 3]> = rows.iter().filter_map(|(_, _, phase)| phase.colour).collect();
    let mut free = palette::colours().filter(|colour| !taken.contains(colour));
    rows.into_iter()
        .map(|(id, (energies_ev, od), phase)| Reference {
            label: PhaseLabel {
                title: phase.title.unwrap_or_else(|| id.clone()),
                colour: phase.colour.or_else(|| free.next()).unwrap_or_default(),
                id,
            },
            energies_ev,
            od,
            provenance: phase.provenance,
            composition: phase.composition,
        })
        .collect()
}

/// Refuses references that a correlation cannot use or cannot tell apart.
fn check_pairs(references: &[Reference]) -> Result<(), String> {
    for (index, a) in references.iter().enumerate() {
        if a.od.iter().all(|value| *value == a.od[0]) {
            return Err(format!("{:?} is constant: nothing correlates with it", a.label.id));
        }
        for b in &references[..index] {
            let (first, second) = (&b.label.id, &a.label.id);
            match b.correlation_with(a) {
                None => return Err(format!("{first:?} and {second:?} share no range of energies")),
                Some(r) if r > SAME => {
                    return Err(format!(
                        "{first:?} and {second:?} are the same spectrum (Pearson coefficient {r:.9}): no \
                         pixel could be told to be one or the other; keep one of them"
                    ));
                }
                Some(_) => {}
            }
        }
    }
    Ok(())
}

/// Each window needs energies that every reference reaches.
fn check_windows(set: &ReferenceSet) -> Result<(), String> {
    for (name, window) in [("pre_edge", set.pre_edge), ("white_line", set.white_line)] {
        if !set.references.iter().all(|reference| reaches(reference, window)) {
            return Err(format!(
                "edge.{name} [{}, {}] eV has no energy that every reference reaches",
                window.from_ev, window.to_ev
            ));
        }
    }
    Ok(())
}

fn reaches(reference: &Reference, window: Window) -> bool {
    match (reference.energies_ev.first(), reference.energies_ev.last()) {
        (Some(&first), Some(&last)) => first <= window.to_ev && last >= window.from_ev,
        _ => false,
    }
}

fn hex(digest: &[u8]) -> String {
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}
