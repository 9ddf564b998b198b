//! The report: what the scans of a sample in the archive say, on one page that needs nothing but itself.
//!
//! - [`Wanted`] and [`gather`]: which scans, and what the archive holds of them: map, particles, findings, dose, references.
//! - [`Report`]: the page and the tables of its figures. The page has no script and asks for nothing over the network; every figure's numbers lie beside it as
//!   CSV and Parquet.
//!
//! The findings claim what the intervals allow, the one to three sentences that matter most first, and say what is not claimed and why. A scan that is not to be trusted is shown and left out of every claim; one that
//! cannot be read is named. Without any that can there is no report.

mod chart;
mod figures;
mod gather;
mod lead;
mod page;
mod picture;
mod sentences;
mod table;

use std::path::{Path, PathBuf};

use crate::kinetics::{Kinetics, Moment};

pub use gather::{Gathered, OpenScan, Wanted, gather};

/// Why there is no report.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// The archive cannot be read.
    #[error(transparent)]
    Archive(#[from] crate::archive::ArchiveError),
    /// There is no such scan in it.
    #[error("{0}")]
    Missing(String),
    /// More than one sample could be meant.
    #[error("{0}")]
    Unclear(String),
    /// None of the scans can be read.
    #[error("none of the scans can be read: {0}")]
    Unreadable(String),
    /// The references that were named are no references.
    #[error(transparent)]
    References(#[from] crate::reference::ReferenceError),
    /// A file cannot be written.
    #[error("cannot write {path}: {error}")]
    Io {
        /// Which one.
        path: PathBuf,
        /// What the system said.
        error: std::io::Error,
    },
    /// A table cannot be written.
    #[error("cannot write {path}: {problem}")]
    Table {
        /// Which one.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// A picture cannot be made.
    #[error("cannot draw a map: {0}")]
    Picture(String),
}

impl ReportError {
    fn io(path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_owned();
        move |error| Self::Io { path, error }
    }
}

/// A report: the page, and the numbers of its figures.
#[derive(Debug)]
pub struct Report {
    /// The page.
    pub html: String,
    /// What matters most of it, one to three sentences; none where nothing is claimed.
    pub lead: Vec<String>,
    /// What is claimed, sentence by sentence.
    pub claims: Vec<String>,
    /// What is not, and why.
    pub not_claimed: Vec<String>,
    tables: Vec<(String, table::Table)>,
}

impl Report {
    /// Of what was gathered.
    ///
    /// # Errors
    /// [`ReportError::Picture`].
    pub fn of(gathered: &Gathered) -> Result<Self, ReportError> {
        let trusted: Vec<&OpenScan> = gathered.scans.iter().filter(|scan| scan.is_trusted()).collect();
        let moments: Vec<Moment<'_>> = trusted
            .iter()
            .filter_map(|scan| {
                let (particles, references) = (scan.particles.as_ref()?, scan.references.as_deref()?);
                Some(Moment { map: &scan.map, particles, references })
            })
            .collect();
        let kinetics = Kinetics::of(&moments);
        let (claims, not_claimed) = sentences::sentences(gathered, &kinetics);
        let figures = figures::figures(gathered, &kinetics)?;
        let findings = lead::Findings::of(gathered, &claims);
        let html = page::page(gathered, &kinetics, &figures, &findings, &not_claimed);
        let claims = claims.into_iter().map(|claim| claim.text).collect();
        let lead = findings.lead;
        let tables = figures.into_iter().flat_map(|figure| figure.tables).collect();
        Ok(Self { html, lead, claims, not_claimed, tables })
    }

    /// Writes the page to `out`, and the tables into the folder `<name of out>-data` beside it; returns the folder.
    ///
    /// # Errors
    /// [`ReportError::Io`], [`ReportError::Table`].
    pub fn write(&self, out: &Path) -> Result<PathBuf, ReportError> {
        let stem = out.file_stem().map_or_else(|| "report".into(), std::ffi::OsStr::to_string_lossy);
        let folder = out.with_file_name(format!("{stem}-data"));
        std::fs::create_dir_all(&folder).map_err(ReportError::io(&folder))?;
        for (name, table) in &self.tables {
            table.write(&folder, name)?;
        }
        // The page last: where it is, its numbers are.
        std::fs::write(out, &self.html).map_err(ReportError::io(out))?;
        Ok(folder)
    }
}
