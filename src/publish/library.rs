//! What the archive offers to whoever serves it: a list of scans, and each of them opened again.
//!
//! The archive is written and read elsewhere; here is only what is asked of it ([`Library`]). All of it reads files and belongs on a thread that may wait.

use std::path::PathBuf;
use std::sync::Arc;

use chrono::{DateTime, NaiveDate, Utc};
use serde::Serialize;

use super::PhaseFraction;
use crate::classify::{Optics, PhaseMap};
use crate::scan::Channel;
use crate::stack::Stack;

/// Most scans in one answer.
pub const MOST_LISTED: usize = 500;

/// Where a scan stands: beamline, day and name of its folder.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Shelfmark {
    /// Beamline.
    pub beamline: String,
    /// Day of its start, UTC.
    pub date: NaiveDate,
    /// Name of its folder, less `scan=`: its id, or that with `~2` and so on.
    pub name: String,
}

impl Shelfmark {
    /// From the parts of an address; `None` where they are none: a day that is no day, or a name that could lead elsewhere.
    #[must_use]
    pub fn parse(beamline: &str, date: &str, name: &str) -> Option<Self> {
        let is_name = |text: &str| {
            (1..=160).contains(&text.len())
                && !text.starts_with('.')
                && text.chars().all(|c| c.is_ascii_alphanumeric() || "._-~".contains(c))
        };
        let date = NaiveDate::parse_from_str(date, "%Y-%m-%d").ok().filter(|_| date.len() == 10)?;
        (is_name(beamline) && is_name(name)).then(|| Self {
            beamline: beamline.to_owned(),
            date,
            name: name.to_owned(),
        })
    }

    /// Where the API has it.
    #[must_use]
    pub fn base(&self) -> String {
        format!("/api/v1/archive/{}/{}/{}", self.beamline, self.date, self.name)
    }
}

/// Which scans are wanted; what is `None` is not asked for.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// Words that have to be in scan, sample, region, beamline or day, all of them; upper and lower case are one.
    pub search: Option<String>,
    /// The sample, as a whole.
    pub sample: Option<String>,
    /// The region, as a whole.
    pub region: Option<String>,
    /// The beamline, as a whole.
    pub beamline: Option<String>,
    /// The first day.
    pub from: Option<NaiveDate>,
    /// The last day.
    pub to: Option<NaiveDate>,
    /// Scans to be listed, at most.
    pub limit: usize,
    /// Scans to be left out before.
    pub offset: usize,
}

/// Some of the scans that were wanted, the latest first.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Listing {
    /// How many there are in all.
    pub total: usize,
    /// Those asked for.
    pub scans: Vec<Shelved>,
}

/// A scan of the archive.
#[derive(Clone, Debug, Serialize)]
pub struct Shelved {
    /// Where the API has it; `None` in the quarantine, from where nothing is served.
    pub base: Option<String>,
    /// Identifier.
    pub scan_id: String,
    /// Name of its folder.
    pub name: String,
    /// Beamline.
    pub beamline: String,
    /// Day of its start, UTC.
    pub date: NaiveDate,
    /// Sample.
    pub sample: Option<String>,
    /// Region of the sample.
    pub region: Option<String>,
    /// Start of exposure.
    pub started: DateTime<Utc>,
    /// Rows and columns.
    pub shape: [usize; 2],
    /// Number of energies.
    pub energies: usize,
    /// How it ended: `complete`, `aborted`, `partial`.
    pub outcome: String,
    /// Whether more of it may come.
    pub provisional: bool,
    /// Whether it was simulated.
    pub simulated: bool,
    /// Whether it lies in the quarantine.
    pub quarantined: bool,
    /// Whether what was measured was removed; the map is there.
    pub pruned: bool,
    /// Share of the planned values that were measured.
    pub coverage: Option<f64>,
    /// Shares of the phases.
    pub fractions: Vec<PhaseFraction>,
    /// Mean accumulated dose of the sample in the end, MGy.
    pub dose_mgy: Option<f64>,
    /// Size of its files.
    pub bytes: u64,
    /// Its files.
    pub files: Vec<ShelvedFile>,
}

/// A file of an archived scan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ShelvedFile {
    /// Its name.
    pub name: String,
    /// Its size.
    pub bytes: u64,
}

/// What is known of one energy of a scan, beside its place in the plan.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct EnergyFacts {
    /// Share of the pixels measured.
    pub coverage: Option<f64>,
    /// I0 less dark, per ms.
    pub i0_per_ms: Option<f64>,
    /// Displacement of the sample, `[y, x]`, pixels.
    pub shift: Option<[f64; 2]>,
    /// Its standard errors.
    pub shift_error: Option<[f64; 2]>,
}

/// Why the archive does not give something.
#[derive(Debug, thiserror::Error)]
pub enum LibraryError {
    /// There is no such scan, or no such file.
    #[error("the archive has no such {0}")]
    Missing(&'static str),
    /// It was there, and is not kept.
    #[error("{0}")]
    Gone(String),
    /// It cannot be read.
    #[error("{0}")]
    Unreadable(String),
}

/// A scan of the archive, opened.
#[derive(Clone, Debug)]
pub struct Opened {
    /// Its map.
    pub map: Arc<PhaseMap>,
    /// Digest of its manifest: other content, another digest.
    pub digest: String,
    /// What is known of each energy; empty where that cannot be read.
    pub energies: Vec<EnergyFacts>,
    /// Why its spectra cannot be looked at.
    pub why_no_spectra: Option<String>,
    /// Whether anything is said of particles and boundaries.
    pub has_findings: bool,
}

/// The archive, for reading.
pub trait Library: Send + Sync {
    /// What there is.
    ///
    /// # Errors
    /// An archive that cannot be read.
    fn list(&self, wanted: &Wanted) -> Result<Listing, LibraryError>;

    /// A scan, as the list has it.
    ///
    /// # Errors
    /// It is not there.
    fn one(&self, shelfmark: &Shelfmark) -> Result<Shelved, LibraryError>;

    /// Digest of its manifest.
    ///
    /// # Errors
    /// It is not there.
    fn digest(&self, shelfmark: &Shelfmark) -> Result<String, LibraryError>;

    /// Opens a scan.
    ///
    /// # Errors
    /// It is not there, or cannot be read.
    fn open(&self, shelfmark: &Shelfmark) -> Result<Opened, LibraryError>;

    /// What was measured, and what turns it into optical densities.
    ///
    /// # Errors
    /// It is not there any more, or cannot be read.
    fn sight(&self, shelfmark: &Shelfmark) -> Result<(Arc<Stack>, Arc<Optics>), LibraryError>;

    /// What was measured beside the intensity at one energy, row-major, NaN where it was not.
    ///
    /// # Errors
    /// It is not there any more, or cannot be read.
    fn channel(
        &self,
        shelfmark: &Shelfmark,
        channel: Channel,
        energy: usize,
    ) -> Result<Vec<f32>, LibraryError>;

    /// What is said of its particles and boundaries: `findings.json` with outlines.
    ///
    /// # Errors
    /// It is not there, or cannot be read.
    fn findings(&self, shelfmark: &Shelfmark) -> Result<Vec<u8>, LibraryError>;

    /// Where a file of it is; only those that its manifest names are given.
    ///
    /// # Errors
    /// It is not there.
    fn file(&self, shelfmark: &Shelfmark, name: &str) -> Result<PathBuf, LibraryError>;

    /// Where a folder of the archive stands, as the board names it; `None` where it is none.
    fn shelfmark(&self, folder: &str) -> Option<Shelfmark>;

    /// There is something new: what is listed from now on has it. Takes no time.
    fn grew(&self);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_leads_nowhere_else() {
        let mark = Shelfmark::parse("SIM", "2026-11-28", "NVPF_1~2").unwrap();
        assert_eq!(mark.base(), "/api/v1/archive/SIM/2026-11-28/NVPF_1~2");
        for (beamline, date, name) in [
            ("..", "2026-11-28", "a"),
            ("SIM", "2026-11-28", "../../etc"),
            ("SIM", "2026-11-28", "a/b"),
            ("SIM", "2026-11-28", "a\\b"),
            ("SIM", "2026-11-28", ""),
            ("SIM", "2026-11-28", ".tmp-1"),
            ("SIM", "2026-13-28", "a"),
            ("SIM", "2026-1-2", "a"),
            ("", "2026-11-28", "a"),
            ("SIM", "2026-11-28", "a\0"),
        ] {
            assert_eq!(Shelfmark::parse(beamline, date, name), None, "{beamline} {date} {name}");
        }
    }
}
