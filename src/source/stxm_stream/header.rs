//! The JSON header of a `stxm-stream/1` message, as it stands on the wire: shared by whoever sends and whoever
//! receives. Unknown fields are ignored; a field of the wrong type refuses the message.

use serde::{Deserialize, Serialize};

pub use crate::scan::DType;
use crate::scan::{self, DetectorKind, Grid, I0Kind, Polarization, ScanKind, Signal, ValueUnit};

/// Name and version of the format, in every header.
pub const STREAM: &str = "stxm-stream/1";
/// Longest header, bytes.
pub const MAX_HEADER_BYTES: usize = 64 * 1024;
/// Longest header of `scan_start` and `plan_extend`, bytes.
pub const MAX_PLAN_BYTES: usize = 1024 * 1024;

/// One number for all energies, or one per energy.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum PerEnergy {
    /// For all.
    One(f64),
    /// One per energy.
    Each(Vec<f64>),
}

impl PerEnergy {
    /// One value per energy: `One` is repeated, `Each` stays as it is.
    #[must_use]
    pub fn to_list(&self, energies: usize) -> Vec<f64> {
        match self {
            Self::One(value) => vec![*value; energies],
            Self::Each(list) => list.clone(),
        }
    }
}

/// How the values are packed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Encoding {
    /// As they are.
    #[default]
    Raw,
    /// LZ4.
    Lz4,
    /// Bit-shuffled LZ4.
    Bslz4,
}

impl Encoding {
    /// What frames that are packed so are called further on.
    #[must_use]
    pub fn of_frames(self) -> scan::Encoding {
        match self {
            Self::Raw => scan::Encoding::Raw,
            Self::Lz4 => scan::Encoding::Lz4,
            Self::Bslz4 => scan::Encoding::Bslz4,
        }
    }
}

/// A whole header: the common fields, and those of its type.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Header {
    /// [`STREAM`].
    pub stream: String,
    /// The scan.
    pub scan_id: String,
    /// One more for each message of the scan, from 0.
    pub seq: u64,
    /// RFC 3339; in `scan_start` the start of exposure.
    pub time: String,
    /// The rest.
    #[serde(flatten)]
    pub body: HeaderBody,
}

/// What differs by type.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum HeaderBody {
    /// The plan.
    ScanStart(Box<ScanStartHeader>),
    /// Values.
    Samples(SamplesHeader),
    /// More energies.
    PlanExtend(PlanExtendHeader),
    /// The scan waits.
    ScanPause,
    /// The scan goes on.
    ScanResume,
    /// The scan is over.
    ScanEnd(ScanEndHeader),
}

/// `detector` of `scan_start`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct DetectorHeader {
    /// Point or area.
    #[serde(default)]
    pub kind: DetectorKind,
    /// `[h, w]`, area only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub frame_shape: Option<[usize; 2]>,
    /// What it sees.
    #[serde(default)]
    pub signal: Signal,
    /// Dark level.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dark: Option<f64>,
    /// Saturation level.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub saturation: Option<f64>,
    /// Dead time, s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dead_time_s: Option<f64>,
    /// Counts of one photon.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub counts_per_photon: Option<PerEnergy>,
    /// Efficiency.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub efficiency: Option<f64>,
}

/// Fields of `scan_start`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ScanStartHeader {
    /// Kind of measurement.
    #[serde(default)]
    pub scan_kind: ScanKind,
    /// The grid.
    pub grid: Grid,
    /// Set-points, eV.
    pub energies_ev: Vec<f64>,
    /// Exposure per pixel, ms.
    pub dwell_ms: PerEnergy,
    /// Unit of the values.
    #[serde(default)]
    pub value_unit: ValueUnit,
    /// The detector.
    #[serde(default)]
    pub detector: DetectorHeader,
    /// What `i0` is.
    #[serde(default)]
    pub i0_kind: I0Kind,
    /// Beamline.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub beamline: Option<String>,
    /// Sample.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sample: Option<String>,
    /// Region.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,
    /// Operator.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operator: Option<String>,
    /// Proposal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proposal: Option<String>,
    /// Group.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// Place within the group.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub region_index: Option<i64>,
    /// Polarisation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub polarization: Option<Polarization>,
    /// State of charge.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state_of_charge: Option<f64>,
    /// Anything else.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub context: Option<serde_json::Value>,
    /// Flux on the sample.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub flux_ph_per_s: Option<PerEnergy>,
    /// Simulated data.
    #[serde(default)]
    pub simulated: bool,
    /// REP socket that sends messages again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resend: Option<String>,
}

/// Fields of `samples`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SamplesHeader {
    /// Index into the plan's energies.
    pub energy_index: u32,
    /// First pixel; left out where `pixel_part` is true.
    #[serde(default)]
    pub first_pixel: u32,
    /// Number of pixels.
    pub count: u32,
    /// Pixels are listed in a part of their own.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub pixel_part: bool,
    /// Number type.
    pub dtype: DType,
    /// Packing.
    #[serde(default)]
    pub encoding: Encoding,
    /// Incident intensity of the message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub i0: Option<f64>,
    /// Incident intensities come in a part of their own.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub i0_part: bool,
    /// Ring current, mA.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ring_current_ma: Option<f64>,
    /// Read-back energy, eV.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub energy_ev: Option<f64>,
}

/// Fields of `plan_extend`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PlanExtendHeader {
    /// Set-points, eV.
    pub energies_ev: Vec<f64>,
    /// Exposure per pixel, ms.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dwell_ms: Option<PerEnergy>,
    /// Flux on the sample.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub flux_ph_per_s: Option<PerEnergy>,
}

/// How a sender says that a scan ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EndStatus {
    /// All was measured.
    Complete,
    /// The sender gave up.
    Aborted,
}

/// Fields of `scan_end`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ScanEndHeader {
    /// How it ended.
    pub status: EndStatus,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}
