//! Where a scan goes, and whether anything there may give way.

use std::path::{Path, PathBuf};

use super::scan_path::QUARANTINE;
use super::{ArchiveError, Manifest};
use crate::scan::{PlanError, ScanPlan, is_valid_id};

/// Most scans with the same id on the same day.
pub(super) const MOST_SAME_ID: usize = 9999;

/// Where a scan was put.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Placed {
    /// In a new folder.
    New(PathBuf),
    /// In the place of an earlier archive of the same scan.
    Replaced(PathBuf),
    /// Nowhere: this scan lies here already, and its archive is final.
    AlreadyThere(PathBuf),
}

impl Placed {
    /// The scan's folder.
    #[must_use]
    pub fn path(&self) -> &Path {
        match self {
            Self::New(path) | Self::Replaced(path) | Self::AlreadyThere(path) => path,
        }
    }
}

/// The folder of the day under `root`.
pub(super) fn day(root: &Path, plan: &ScanPlan) -> Result<PathBuf, ArchiveError> {
    for (field, id) in [("scan_id", &plan.scan_id), ("beamline", &plan.beamline)] {
        if !is_valid_id(id) {
            return Err(PlanError::Id { field, value: id.chars().take(128).collect() }.into());
        }
    }
    let date = plan.started.format("%Y-%m-%d");
    Ok(root.join(format!("beamline={}", plan.beamline)).join(format!("date={date}")))
}

/// Finds the place for a scan in the folder of its day. A name that a scan in the quarantine had stays taken: its copy
/// at the remote has that name still, and may be the last good one.
///
/// `stored`: values that are to be archived. An archive that holds more does not give way: where the journal of a scan could not be
/// written to its end, it alone has them.
pub(super) fn find(
    root: &Path,
    day: &Path,
    plan: &ScanPlan,
    reopen: bool,
    stored: u64,
) -> Result<Placed, ArchiveError> {
    let quarantine = day.strip_prefix(root).ok().map(|below| root.join(QUARANTINE).join(below));
    for number in 1..=MOST_SAME_ID {
        let name = folder_name(&plan.scan_id, number);
        if quarantine.as_ref().is_some_and(|day| std::fs::symlink_metadata(day.join(&name)).is_ok()) {
            continue;
        }
        let path = day.join(name);
        match std::fs::symlink_metadata(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Placed::New(path)),
            Err(error) => return Err(ArchiveError::Io { doing: "looking at", path, error }),
            Ok(_) => {}
        }
        match Manifest::read(&path) {
            Ok(manifest) if same_scan(&manifest.plan, plan) => {
                let replace = manifest.provisional || reopen;
                if replace && manifest.counters["stored"].as_u64().is_some_and(|there| there > stored) {
                    tracing::warn!(path = %path.display(), "kept beside the new one: this archive holds more values");
                    continue;
                }
                return Ok(if replace { Placed::Replaced(path) } else { Placed::AlreadyThere(path) });
            }
            Ok(_) => {}
            Err(error) => {
                tracing::warn!(path = %path.display(), %error, "left alone: its manifest cannot be read");
            }
        }
    }
    Err(ArchiveError::TooMany(day.join(folder_name(&plan.scan_id, 1))))
}

fn folder_name(scan_id: &str, number: usize) -> String {
    // `~` is in no id, so that no scan can be called like another's second folder.
    if number == 1 { format!("scan={scan_id}") } else { format!("scan={scan_id}~{number}") }
}

/// Whether two plans are of one scan: equal, but for energies appended to one of them.
pub(super) fn same_scan(one: &ScanPlan, other: &ScanPlan) -> bool {
    let energies = one.energies_ev.len().min(other.energies_ev.len());
    let cut = |plan: &ScanPlan| {
        let mut plan = plan.clone();
        plan.energies_ev.truncate(energies);
        plan.dwell_ms.truncate(energies);
        plan.resend = None;
        for list in [&mut plan.flux_ph_per_s, &mut plan.detector.counts_per_photon].into_iter().flatten() {
            list.truncate(energies);
        }
        plan
    };
    cut(one) == cut(other)
}
