//! Recorded stacks, read from files: the Advanced Light Source's `.hdr` with `.xim` images, the `stack.parquet` and
//! `scan.nxs` of our own archive, NeXus NXstxm of others, and the HDF5 of Mantis.
//!
//! A recording is the plan of its scan and one image per energy, in memory (4 bytes a value; refused above
//! [`MAX_VALUES`]). Images that are missing are gaps, as they would be in a live scan; a file that contradicts
//! itself or its plan is an error that names file and line, row or field. No size that a file declares is
//! allocated before it was checked.

mod als;
mod als_header;
mod archived;
mod exchange;
mod hdf5;
mod nexus;
mod selection;
mod spectrum;

use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};

pub use selection::{SelectionError, select_energies};
pub use spectrum::{read_ring_current_ma, read_spectrum};

use crate::scan::{Channel, I0, Pixels, PlanError, SampleBatch, ScanPlan};

/// Most values, energies times pixels, that a recording may have: 2 GiB.
pub const MAX_VALUES: usize = 1 << 29;

/// Why a recording cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum RecordingError {
    /// The file system refused.
    #[error("cannot read {}: {source}", path.display())]
    Io {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file's name does not tell what it is.
    #[error("{} is no recording: give an ALS .hdr, an NXstxm or Mantis HDF5, a stack.parquet, or \
        the folder of one archived scan", .0.display())]
    Unknown(PathBuf),
    /// A text file breaks its format.
    #[error("{}, line {line}: {problem}", path.display())]
    Text {
        /// Which file.
        path: PathBuf,
        /// Which line, from 1.
        line: usize,
        /// What is wrong with it.
        problem: String,
    },
    /// A file breaks its format or contradicts another.
    #[error("{}: {problem}", path.display())]
    Content {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// The plan breaks a rule.
    #[error("{}: {source}", path.display())]
    Plan {
        /// Where the plan comes from.
        path: PathBuf,
        /// Which rule.
        source: PlanError,
    },
}

impl RecordingError {
    fn content(path: &Path, problem: impl std::fmt::Display) -> Self {
        Self::Content { path: path.to_owned(), problem: problem.to_string() }
    }
}

/// One energy of a recording.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RecordedPlane {
    /// Values, row-major, NaN where not measured; empty where the whole image is missing.
    pub values: Vec<f32>,
    /// Incident intensity of each value, NaN where none was recorded; empty where none was for any.
    pub i0: Vec<f32>,
    /// Storage-ring current, mA.
    pub ring_current_ma: Option<f64>,
    /// Energy read back, eV.
    pub read_back_ev: Option<f64>,
    /// Start of exposure.
    pub time: Option<DateTime<Utc>>,
}

/// A recorded stack.
#[derive(Clone, Debug)]
pub struct Recording {
    /// The plan.
    pub plan: ScanPlan,
    /// One plane per energy of the plan.
    pub planes: Vec<RecordedPlane>,
    /// A spectrum of incident intensity that lies beside the stack (`i0.xsp`): energy, eV, and intensity in
    /// whatever unit its file has. It is not applied to anything here.
    pub i0: Option<Vec<(f64, f64)>>,
    /// What was assumed where the file does not say, and what of it was left aside: sentences for a person.
    pub warnings: Vec<String>,
}

impl Recording {
    /// Reads a recording: an ALS `.hdr`, an HDF5 file (NXstxm, or Mantis' own), a `stack.parquet`, or a folder that holds a
    /// `stack.parquet`.
    ///
    /// # Errors
    /// See [`RecordingError`].
    pub fn load(path: &Path) -> Result<Self, RecordingError> {
        let extension = path.extension().and_then(|e| e.to_str()).unwrap_or_default().to_ascii_lowercase();
        match extension.as_str() {
            "hdr" => als::load(path),
            "parquet" => archived::load(path),
            "nxs" | "nx" | "nx5" | "hdf5" | "hdf" | "h5" => Self::load_hdf5(path),
            _ if path.is_dir() => archived::load(&path.join("stack.parquet")),
            _ => Err(RecordingError::Unknown(path.to_owned())),
        }
    }

    fn load_hdf5(path: &Path) -> Result<Self, RecordingError> {
        let file = hdf5::Hdf5File::open(path)?;
        match exchange::find(&file.root()?)? {
            Some(exchange) => exchange::load(path, &file, &exchange),
            None => nexus::load(path, &file),
        }
    }

    /// The recording with only the energies of these indices, in this order; indices outside the plan are
    /// left out.
    #[must_use]
    pub fn subset(&self, indices: &[usize]) -> Self {
        let indices: Vec<_> = indices.iter().copied().filter(|&i| i < self.planes.len()).collect();
        let pick = |list: &[f64]| -> Vec<f64> { indices.iter().map(|&i| list[i]).collect() };
        let mut plan = self.plan.clone();
        plan.energies_ev = pick(&self.plan.energies_ev);
        plan.dwell_ms = pick(&self.plan.dwell_ms);
        plan.flux_ph_per_s = self.plan.flux_ph_per_s.as_deref().map(pick);
        plan.detector.counts_per_photon = self.plan.detector.counts_per_photon.as_deref().map(pick);
        let planes = indices.iter().map(|&i| self.planes[i].clone()).collect();
        Self { plan, planes, i0: self.i0.clone(), warnings: self.warnings.clone() }
    }

    /// The batches of the recording, each with its `seq`: energies in the order of the plan, one batch per
    /// image row with any measured pixel (two where only some of its pixels have an incident intensity).
    /// `seq` starts at 1; 0 belongs to the plan.
    pub fn batches(&self) -> impl Iterator<Item = (u64, SampleBatch)> + '_ {
        let rows = self.plan.grid.ny();
        let lines = (0..self.planes.len()).flat_map(move |energy| (0..rows).map(move |row| (energy, row)));
        (1..).zip(lines.flat_map(|(energy, row)| self.line(energy, row)))
    }

    /// The batches of one image row; none where nothing of it was measured.
    #[must_use]
    pub fn line(&self, energy: usize, row: usize) -> Vec<SampleBatch> {
        let (Some(plane), nx) = (self.planes.get(energy), self.plan.grid.nx()) else { return Vec::new() };
        let measured = |pixel: usize| plane.values.get(pixel).is_some_and(|value| !value.is_nan());
        let has_i0 = |pixel: usize| plane.i0.get(pixel).is_some_and(|i0| !i0.is_nan());
        let (with, without): (Vec<usize>, Vec<usize>) =
            (row * nx..(row + 1) * nx).filter(|&pixel| measured(pixel)).partition(|&pixel| has_i0(pixel));
        [(with, true), (without, false)]
            .into_iter()
            .filter(|(pixels, _)| !pixels.is_empty())
            .map(|(pixels, with_i0)| plane.batch(energy as u32, &pixels, with_i0))
            .collect()
    }
}

impl RecordedPlane {
    fn batch(&self, energy_index: u32, pixels: &[usize], with_i0: bool) -> SampleBatch {
        let i0: Vec<f32> =
            if with_i0 { pixels.iter().map(|&pixel| self.i0[pixel]).collect() } else { Vec::new() };
        SampleBatch {
            energy_index,
            pixels: run_or_list(pixels),
            channel: Channel::Intensity,
            others: Vec::new(),
            values: pixels.iter().map(|&pixel| self.values[pixel]).collect(),
            i0: match i0.split_first() {
                None => I0::None,
                Some((first, rest)) if rest.iter().all(|i0| i0 == first) => I0::One(*first),
                Some(_) => I0::Each(i0),
            },
            ring_current_ma: self.ring_current_ma,
            energy_ev: self.read_back_ev,
            time: self.time,
        }
    }
}

/// A run where the pixels, which ascend, are consecutive.
fn run_or_list(pixels: &[usize]) -> Pixels {
    match (pixels.first(), pixels.last()) {
        (Some(&first), Some(&last)) if last - first + 1 == pixels.len() => {
            Pixels::Run { first: first as u32, count: pixels.len() as u32 }
        }
        _ => Pixels::List(pixels.iter().map(|&pixel| pixel as u32).collect()),
    }
}

/// An identifier for the scan in this file: its stem.
fn scan_id(path: &Path) -> String {
    identifier(&path.file_stem().unwrap_or_default().to_string_lossy(), "scan")
}

/// `text` in the alphabet of identifiers, which begin with a letter or a digit; `otherwise` where nothing is left of it.
fn identifier(text: &str, otherwise: &str) -> String {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    let id: String = text.chars().map(|c| if allowed(c) { c } else { '_' }).take(120).collect();
    if id.starts_with(|c: char| c.is_ascii_alphanumeric()) {
        id
    } else if id.is_empty() {
        otherwise.to_owned()
    } else {
        format!("scan{id}")
    }
}

/// Reads a whole text file that has no reason to be longer than `limit` bytes.
fn read_text(path: &Path, limit: u64) -> Result<String, RecordingError> {
    let io = |source| RecordingError::Io { path: path.to_owned(), source };
    let bytes = std::fs::metadata(path).map_err(io)?.len();
    if bytes > limit {
        return Err(RecordingError::content(path, format_args!("{bytes} bytes; at most {limit} make sense")));
    }
    std::fs::read_to_string(path).map_err(io)
}

#[cfg(test)]
mod tests;
