//! A layer of dose as a file: one line of JSON, then one little-endian `float32` for each rectangle, row-major.
//!
//! The line says what the numbers are, of which scans, where they lie, and their CRC-32; [`FORMAT`] is its format. Such a file is written
//! whole or not at all. Bad input: a file that is not as long as its line says, or whose checksum is another, is an error and nothing
//! is taken from it; nothing is allocated that is not there to be read.

use std::io::{BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::{Lattice, Layer};
use crate::classify::{DoseKind, DoseNumbers};
use crate::formats::{self, NewerFormat};
use crate::journal::{self, JournalError};
use crate::scan::ScanPlan;

/// Name and version of the format.
pub const FORMAT: &str = "phasewatch-dose/1";
/// Most bytes of the line: a base layer names every scan in it.
const MOST_HEADER_BYTES: u64 = 16 << 20;

/// Why a file is no layer.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// The operating system refused.
    #[error("{}: {error}", path.display())]
    Io {
        /// Which file.
        path: PathBuf,
        /// What it said.
        error: std::io::Error,
    },
    /// It is damaged, or something else.
    #[error("{}: {what}", path.display())]
    Damaged {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// A newer phasewatch wrote it.
    #[error("{}: {error}", path.display())]
    Newer {
        /// Which file.
        path: PathBuf,
        /// What it says.
        error: NewerFormat,
    },
    /// It could not be written.
    #[error(transparent)]
    Write(#[from] JournalError),
}

/// Where doses add up: scans with the same three look at the same sample in the same coordinates.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Region {
    /// Beamline.
    pub beamline: String,
    /// Sample.
    pub sample: String,
    /// Region, where the scans name one.
    pub region: Option<String>,
}

impl Region {
    /// That of a scan; `None` where it names no sample.
    #[must_use]
    pub fn of(plan: &ScanPlan) -> Option<Self> {
        let sample = plan.sample.clone().filter(|sample| !sample.trim().is_empty())?;
        Some(Self { beamline: plan.beamline.clone(), sample, region: plan.region.clone() })
    }

    /// The name of its folder: what a file name can hold of the names, and a digest that makes it unique.
    #[must_use]
    pub fn folder(&self) -> String {
        const MOST: usize = 40;
        let plain = |text: &str| -> String {
            let sign = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '-' | '_') { c } else { '_' };
            text.chars().take(MOST).map(sign).collect()
        };
        let names = serde_json::json!([self.beamline, self.sample, self.region]).to_string();
        let region = plain(self.region.as_deref().unwrap_or_default());
        format!("{}~{}~{region}~{}", plain(&self.beamline), plain(&self.sample), digest(names.as_bytes(), 8))
    }
}

/// Which scan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScanRef {
    /// Its identifier.
    pub scan_id: String,
    /// Digest of what makes it this scan and no other with its identifier.
    pub identity: String,
    /// Start of exposure.
    pub started: DateTime<Utc>,
}

impl ScanRef {
    /// That of a plan, however much was appended to it.
    #[must_use]
    pub fn of(plan: &ScanPlan) -> Self {
        let own = serde_json::json!([
            plan.scan_id,
            plan.beamline,
            plan.sample,
            plan.region,
            plan.grid,
            plan.started,
        ]);
        Self {
            scan_id: plan.scan_id.clone(),
            identity: digest(own.to_string().as_bytes(), 6),
            started: plan.started,
        }
    }

    fn order(&self) -> (DateTime<Utc>, &str, &str) {
        (self.started, &self.scan_id, &self.identity)
    }
}

impl PartialOrd for ScanRef {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for ScanRef {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.order().cmp(&other.order())
    }
}

/// What the line of a layer says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Header {
    /// [`FORMAT`].
    pub format: String,
    /// Where it counts; none in the journal of a scan that names no sample.
    pub region: Option<Region>,
    /// The scans whose doses it holds: one, or those of a base layer, in the order of their starts.
    pub scans: Vec<ScanRef>,
    /// Whether its numbers are doses.
    pub kind: DoseKind,
    /// What others have to have in common with it to be added to it.
    pub basis: String,
    /// Where its rectangles lie; none: nothing was deposited.
    pub lattice: Option<Lattice>,
    /// What the sample had taken in all, with the scans before: of the last scan's particle pixels.
    #[serde(default)]
    pub accumulated: Option<DoseNumbers>,
    /// What could not be taken into account.
    #[serde(default)]
    pub remarks: Vec<String>,
    /// CRC-32 of the numbers.
    #[serde(default)]
    pub crc32: u32,
}

/// A layer and what it is.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    /// What it is.
    pub header: Header,
    /// As many as the header's lattice has rectangles.
    pub dose: Vec<f32>,
}

impl Record {
    /// The layer; `None` where nothing was deposited.
    #[must_use]
    pub fn layer(self) -> Option<Layer> {
        Some(Layer { lattice: self.header.lattice?, dose: self.dose })
    }

    /// Writes it into `folder`, which is there.
    ///
    /// # Errors
    /// What the operating system says, or [`RecordError::Newer`] where a newer phasewatch wrote the file that is there.
    pub fn write(&self, folder: &Path, name: &str) -> Result<(), RecordError> {
        if let Err(error @ RecordError::Newer { .. }) = Self::read_header(&folder.join(name)) {
            return Err(error);
        }
        let numbers: Vec<u8> = self.dose.iter().flat_map(|dose| dose.to_le_bytes()).collect();
        let header = Header { crc32: crc32fast::hash(&numbers), ..self.header.clone() };
        let mut bytes = serde_json::to_vec(&header)
            .map_err(|error| RecordError::Damaged { path: folder.join(name), what: error.to_string() })?;
        bytes.push(b'\n');
        bytes.extend_from_slice(&numbers);
        Ok(journal::write_bytes(folder, name, &bytes)?)
    }

    /// Reads it whole.
    ///
    /// # Errors
    /// Where it cannot be read, or is damaged.
    pub fn read(path: &Path) -> Result<Self, RecordError> {
        let (header, mut file) = open(path)?;
        let count = header.lattice.map_or(0, |lattice| lattice.cells());
        // As many bytes as the file was seen to have.
        let mut bytes = Vec::with_capacity(4 * count);
        file.read_to_end(&mut bytes).map_err(|error| RecordError::Io { path: path.to_owned(), error })?;
        if bytes.len() != 4 * count || crc32fast::hash(&bytes) != header.crc32 {
            return Err(damaged(path, "its checksum is another"));
        }
        let dose: Vec<f32> =
            bytes.as_chunks::<4>().0.iter().map(|number| f32::from_le_bytes(*number)).collect();
        if dose.iter().any(|dose| !(dose.is_finite() && *dose >= 0.0)) {
            return Err(damaged(path, "it holds what is no dose"));
        }
        Ok(Self { header, dose })
    }

    /// Reads the line alone.
    ///
    /// # Errors
    /// Where it cannot be read, or the file is not as long as it says.
    pub fn read_header(path: &Path) -> Result<Header, RecordError> {
        open(path).map(|(header, _)| header)
    }
}

fn open(path: &Path) -> Result<(Header, BufReader<std::fs::File>), RecordError> {
    let failed = |error| RecordError::Io { path: path.to_owned(), error };
    let file = std::fs::File::open(path).map_err(failed)?;
    let size = file.metadata().map_err(failed)?.len();
    let mut reader = BufReader::new(file);
    let mut line = Vec::new();
    reader.by_ref().take(MOST_HEADER_BYTES).read_until(b'\n', &mut line).map_err(failed)?;
    if line.last() != Some(&b'\n') {
        return Err(damaged(path, "its first line does not end"));
    }
    formats::check_json(&line, FORMAT)
        .map_err(|error| RecordError::Newer { path: path.to_owned(), error })?;
    let header: Header = serde_json::from_slice(&line).map_err(|error| damaged(path, &error.to_string()))?;
    if header.lattice.is_some_and(|lattice| !lattice.is_sound()) {
        return Err(damaged(path, "its rectangles lie nowhere"));
    }
    let count = header.lattice.map_or(0, |lattice| lattice.cells()) as u64;
    if count.checked_mul(4).and_then(|bytes| bytes.checked_add(line.len() as u64)) != Some(size) {
        return Err(damaged(path, "it is not as long as it says"));
    }
    Ok((header, reader))
}

fn damaged(path: &Path, what: &str) -> RecordError {
    RecordError::Damaged { path: path.to_owned(), what: what.to_owned() }
}

/// The first `bytes` of the SHA-256 of `of`, hexadecimal.
pub(super) fn digest(of: &[u8], bytes: usize) -> String {
    Sha256::digest(of).iter().take(bytes).map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scan::test_plan;

    pub(super) fn record() -> Record {
        let plan = test_plan(1, 2, 1);
        let lattice = Lattice::of_grid(&plan.grid, None).unwrap();
        let header = Header {
            format: FORMAT.into(),
            region: None,
            scans: vec![ScanRef::of(&plan)],
            kind: DoseKind::Absolute,
            basis: "MGy, mean".into(),
            lattice: Some(lattice),
            accumulated: None,
            remarks: Vec::new(),
            crc32: 0,
        };
        Record { header, dose: vec![1.5, 0.25] }
    }

    #[test]
    fn a_record_reads_back_and_a_damaged_one_is_named() {
        let dir = tempfile::tempdir().unwrap();
        record().write(dir.path(), "a.dose").unwrap();
        let path = dir.path().join("a.dose");
        let read = Record::read(&path).unwrap();
        assert_eq!(
            (read.dose.as_slice(), read.header.scans),
            ([1.5, 0.25].as_slice(), record().header.scans)
        );
        let good = std::fs::read(&path).unwrap();
        let mut flipped = good.clone();
        *flipped.last_mut().unwrap() ^= 1;
        let longer = [&good[..], b"x"].concat();
        let huge =
            String::from_utf8_lossy(&good[..good.len() - 8]).replace("[1,2]", "[4000000000,4000000000]");
        for bad in [&flipped[..], &longer, &good[..good.len() - 1], b"", b"{}\n", huge.as_bytes()] {
            std::fs::write(&path, bad).unwrap();
            let error = Record::read(&path).unwrap_err().to_string();
            assert!(error.contains("a.dose"), "{error}");
        }
    }

    #[test]
    fn a_record_of_a_newer_format_is_not_written_over() {
        let dir = tempfile::tempdir().unwrap();
        record().write(dir.path(), "a.dose").unwrap();
        let path = dir.path().join("a.dose");
        // Whatever else it holds.
        let newer = b"{\"format\":\"phasewatch-dose/2\",\"lattice\":7}\nabc";
        std::fs::write(&path, newer).unwrap();
        assert!(matches!(Record::read(&path), Err(RecordError::Newer { .. })));
        assert!(matches!(record().write(dir.path(), "a.dose"), Err(RecordError::Newer { .. })));
        assert_eq!(std::fs::read(&path).unwrap(), newer);
    }

    #[test]
    fn names_of_samples_make_safe_folders_and_different_ones() {
        let of = |sample: &str, region: Option<&str>| {
            let region = region.map(str::to_owned);
            Region { beamline: "b".into(), sample: sample.into(), region }.folder()
        };
        let names = ["../../etc", "..", "a/b", "a b", "a_b", "Ä", "", &"x".repeat(500)]
            .map(|sample| of(sample, None));
        for (index, name) in names.iter().enumerate() {
            assert!(name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_~".contains(&b)), "{name}");
            assert!(name.len() < 150 && !names[..index].contains(name), "{name}");
        }
        assert_ne!(of("a", Some("")), of("a", None));
        assert_ne!(of("a", Some("b")), of("a~b", None));
    }

    #[test]
    fn a_scan_is_the_same_however_much_is_appended_to_it() {
        let plan = test_plan(1, 2, 1);
        let mut longer = plan.clone();
        longer.energies_ev.push(600.0);
        longer.dwell_ms.push(1.0);
        assert_eq!(ScanRef::of(&plan), ScanRef::of(&longer));
        let later = ScanPlan { started: plan.started + chrono::TimeDelta::seconds(1), ..plan.clone() };
        assert_ne!(ScanRef::of(&plan).identity, ScanRef::of(&later).identity);
    }
}
