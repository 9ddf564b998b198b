//! The archive: one folder for each finished scan, written once, checked by anyone.
//!
//! `<root>/beamline=<b>/date=<YYYY-MM-DD, UTC of scan_start>/scan=<id>/`, the files of `proto/archive-layout.md`.
//! A folder is built as `<root>/.tmp-…`, every file synced, the manifest last, and renamed into place: what is
//! there under its name is whole. Files get their names only right before that, so that nobody who reads
//! `**/phase_map.parquet` meets half a file.
//!
//! Another scan with the same id goes to `scan=<id>~2`, `~3`, …; nothing is overwritten but a provisional archive
//! of the same scan, or, where the caller says that late data reopened the scan, its archive. To replace one, the
//! old folder is renamed to `.old-…` beside it, the new one into place, the old one removed. A crash in between
//! leaves both; [`recover`] puts the old one back or removes it.
//!
//! The same stack, map and settings give the same bytes in every file but the manifest, which has the time.
//!
//! A second copy of each scan may go to a remote ([`remote`]); what is known of the copies, and of checks, is in a
//! [`ledger`] beside the folders. What is kept for how long is decided by [`retention`], as a pure function.
//!
//! Bad input: identifiers are checked again before they become a path; a folder whose manifest cannot be read is
//! never touched, unless it is to be moved to the quarantine. Links are not followed.

mod catalogue;
mod channels_file;
mod durable;
mod energies;
mod guard;
mod hdf5;
pub mod ledger;
mod manifest;
mod nexus;
mod opened;
mod particles;
mod place;
mod recovery;
pub mod remote;
pub mod retention;
mod scan_path;
mod stack_file;
mod writer;

use std::path::PathBuf;

use crate::formats::NewerFormat;
pub use catalogue::{Catalogued, Fault, FaultKind, list, read, scans, show, verify};
pub use channels_file::open_channel;
pub use energies::EnergyRow;
pub use hdf5::Hdf5Error;
pub use manifest::{FileEntry, Identified, LARGE_FILES, Manifest, MapSummary, Pruned};
pub use opened::{OpenError, open_energies, open_map};
pub use particles::open_particles;
pub use place::Placed;
pub use recovery::{Recovered, probe, recover};
pub use scan_path::ScanPath;
pub use writer::{ArchiveJob, write, write_folder};

/// Name of the manifest in a scan's folder.
pub const MANIFEST: &str = "manifest.json";

/// Why a scan could not be archived, or an archive not be read.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// The operating system refused.
    #[error("{doing} {path}: {error}")]
    Io {
        /// What was being done.
        doing: &'static str,
        /// To which file or folder.
        path: PathBuf,
        /// What the operating system said.
        error: std::io::Error,
    },
    /// The plan's identifiers cannot be part of a path.
    #[error("the plan cannot be archived: {0}")]
    Plan(#[from] crate::scan::PlanError),
    /// One row per energy is needed.
    #[error("{found} rows of energies for a plan of {wanted}")]
    Energies {
        /// Rows given.
        found: usize,
        /// Energies in the plan.
        wanted: usize,
    },
    /// The map or the spectra could not be turned into a table or a picture.
    #[error("{0}")]
    Publish(#[from] crate::publish::PublishError),
    /// Parquet refused.
    #[error("writing {file}: {error}")]
    Parquet {
        /// Which file.
        file: &'static str,
        /// What it said.
        error: parquet::errors::ParquetError,
    },
    /// The NeXus file could not be made or written.
    #[error("writing {file}: {error}")]
    Nexus {
        /// Which file.
        file: &'static str,
        /// What is wrong.
        error: Hdf5Error,
    },
    /// The manifest could not be written or read.
    #[error("{path}: {error}")]
    Manifest {
        /// Which manifest.
        path: PathBuf,
        /// What is wrong with it.
        error: serde_json::Error,
    },
    /// A newer phasewatch wrote it.
    #[error("{}: {error}", path.display())]
    Newer {
        /// Which manifest or record.
        path: PathBuf,
        /// What it says.
        error: NewerFormat,
    },
    /// The folder holds something that is not ours to replace.
    #[error("{0} holds something else; give a new or an empty folder")]
    Occupied(PathBuf),
    /// The scan was archived anew, or is gone, since it was decided what to do with it.
    #[error("{0} has changed meanwhile")]
    Changed(PathBuf),
    /// More scans with the same id on the same day than names are tried.
    #[error("{0} and its successors up to ~{last} are taken", last = place::MOST_SAME_ID)]
    TooMany(PathBuf),
}

impl ArchiveError {
    pub(crate) fn io(doing: &'static str, path: &std::path::Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_owned();
        move |error| Self::Io { doing, path, error }
    }
}

#[cfg(test)]
pub(crate) mod tests;
