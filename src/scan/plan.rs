//! The plan of a scan: its grid, its energies and what its numbers mean.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::{Grid, MAX_AXIS, MAX_ENERGIES};

/// What kind of measurement a scan is; only a [`ScanKind::Stack`] is mapped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ScanKind {
    /// Images at several energies.
    #[default]
    Stack,
    /// One image.
    Image,
    /// A line at several energies.
    Line,
    /// A focus scan.
    Focus,
    /// An order-sorting-aperture scan.
    Osa,
    /// Anything else.
    Other,
}

/// Unit of the values.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ValueUnit {
    /// Counts within the dwell.
    #[default]
    Counts,
    /// Counts per second.
    CountsPerS,
}

/// Whether one number or one frame comes per pixel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DetectorKind {
    /// One number per pixel.
    #[default]
    Point,
    /// One frame per pixel.
    Area,
}

/// What the detector sees.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Signal {
    /// Transmitted intensity; optical density is the logarithm of I0 over it.
    #[default]
    Transmission,
    /// Fluorescence yield, proportional to absorption: no logarithm.
    Fluorescence,
    /// Electron yield, proportional to absorption: no logarithm.
    ElectronYield,
    /// Optical density already.
    OpticalDensity,
}

/// What `i0` in the samples is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum I0Kind {
    /// Intensity without sample, as the detector would have seen it.
    #[default]
    OpenBeam,
    /// An upstream monitor of unknown, energy-dependent transfer.
    Monitor,
}

/// The detector of a scan.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Detector {
    /// Point or area.
    #[serde(default)]
    pub kind: DetectorKind,
    /// `[h, w]` of a frame; only for an area detector.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub frame_shape: Option<[usize; 2]>,
    /// What it sees.
    #[serde(default)]
    pub signal: Signal,
    /// Dark level in the unit of the values, per frame pixel for an area detector.
    #[serde(default)]
    pub dark: f64,
    /// Level at and above which a value is saturated, in the unit of the values, per frame pixel for area.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub saturation: Option<f64>,
    /// Dead time, s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dead_time_s: Option<f64>,
    /// Counts that one photon makes, one per energy; `None` where unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub counts_per_photon: Option<Vec<f64>>,
    /// Detection efficiency, 0 to 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub efficiency: Option<f64>,
    /// Pixels of a frame that the detector itself names bad, as runs `[first, count]` of row-major indices; left out of every sum.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub left_out: Vec<[u32; 2]>,
}

/// Kind of polarisation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PolarizationKind {
    /// Linear.
    Linear,
    /// Circular, left.
    CircularLeft,
    /// Circular, right.
    CircularRight,
    /// Unpolarised.
    None,
}

/// Polarisation of the beam.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Polarization {
    /// Kind.
    pub kind: PolarizationKind,
    /// Angle of linear polarisation, degrees.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub angle_deg: Option<f64>,
}

/// The plan of one scan. Lists that say "one per energy" are as long as `energies_ev`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ScanPlan {
    /// Identifier, 1 to 128 characters of `A-Z a-z 0-9 . _ -`, the first a letter or digit.
    pub scan_id: String,
    /// Kind of measurement.
    #[serde(default)]
    pub scan_kind: ScanKind,
    /// The grid.
    pub grid: Grid,
    /// Set-points, eV, in the order of the plan.
    pub energies_ev: Vec<f64>,
    /// Exposure per pixel, ms, one per energy.
    pub dwell_ms: Vec<f64>,
    /// Unit of the values.
    #[serde(default)]
    pub value_unit: ValueUnit,
    /// The detector.
    #[serde(default)]
    pub detector: Detector,
    /// What `i0` in the samples is.
    #[serde(default)]
    pub i0_kind: I0Kind,
    /// Beamline, in the same alphabet as `scan_id`; `unknown` where nobody said.
    pub beamline: String,
    /// Sample.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sample: Option<String>,
    /// Region of the sample; scans with the same sample and region look at the same place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,
    /// Operator.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operator: Option<String>,
    /// Proposal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proposal: Option<String>,
    /// Scans that belong together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// Place within the group.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub region_index: Option<i64>,
    /// Polarisation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub polarization: Option<Polarization>,
    /// State of charge, or any scalar that orders a series.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state_of_charge: Option<f64>,
    /// Anything else about the experiment, kept as it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub context: Option<serde_json::Value>,
    /// Flux on the sample, photons per second, one per energy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub flux_ph_per_s: Option<Vec<f64>>,
    /// Whether the data were simulated.
    #[serde(default)]
    pub simulated: bool,
    /// Start of exposure.
    pub started: DateTime<Utc>,
    /// REP socket of the sender that sends messages again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resend: Option<String>,
    /// What the adapter that reads the scan's format needs to go on with it after a restart, in words of its own. It lies in the
    /// journal; plans do not differ by it, and archives do not have it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recall: Option<String>,
}

/// Why a plan is not acceptable.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum PlanError {
    /// An identifier breaks the alphabet.
    #[error(
        "{field} {value:?} must be 1 to 128 characters of A-Z a-z 0-9 . _ -, the first a letter or digit"
    )]
    Id {
        /// Which field.
        field: &'static str,
        /// What it was, cut to 128 characters.
        value: String,
    },
    /// A grid axis is empty or too long.
    #[error("grid.shape {ny}×{nx} is outside 1 to {MAX_AXIS} each")]
    Shape {
        /// Rows.
        ny: usize,
        /// Columns.
        nx: usize,
    },
    /// Pixels of a frame that are left out are no pixels of it, or not in ascending order.
    #[error(
        "detector.left_out: {count} pixels from {first} on are not all in a frame, or not behind those before them"
    )]
    LeftOut {
        /// The first of the run.
        first: u64,
        /// Its length.
        count: u64,
    },
    /// A number that has to be finite (and positive, where it says so) is not.
    #[error("{field} is {value}, which is not {wanted}")]
    Number {
        /// Which field.
        field: &'static str,
        /// What it was.
        value: f64,
        /// What it should be.
        wanted: &'static str,
    },
    /// Too many or too few energies.
    #[error("{count} energies; a scan has 1 to {MAX_ENERGIES}")]
    Energies {
        /// How many.
        count: usize,
    },
    /// A list per energy has another length.
    #[error("{field} has {found} values for {energies} energies")]
    PerEnergy {
        /// Which field.
        field: &'static str,
        /// Its length.
        found: usize,
        /// Number of energies.
        energies: usize,
    },
    /// `frame_shape` is missing for an area detector, given for a point detector, or empty.
    #[error("detector.frame_shape {0}")]
    FrameShape(&'static str),
}

/// Whether `id` is 1 to 128 characters of `A-Z a-z 0-9 . _ -`, the first a letter or digit.
#[must_use]
pub fn is_valid_id(id: &str) -> bool {
    id.len() <= 128
        && id.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric())
        && id.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
}

impl ScanPlan {
    /// The plan of a stack of counts by a point detector, `dwell_ms` a pixel, of which nothing else is known: an unknown
    /// beamline, no sample, started at the epoch.
    #[must_use]
    pub fn of_stack(scan_id: String, grid: Grid, energies_ev: Vec<f64>, dwell_ms: f64) -> Self {
        Self {
            scan_id,
            scan_kind: ScanKind::Stack,
            grid,
            dwell_ms: vec![dwell_ms; energies_ev.len()],
            energies_ev,
            value_unit: ValueUnit::Counts,
            detector: Detector::default(),
            i0_kind: I0Kind::OpenBeam,
            beamline: "unknown".to_owned(),
            sample: None,
            region: None,
            operator: None,
            proposal: None,
            group: None,
            region_index: None,
            polarization: None,
            state_of_charge: None,
            context: None,
            flux_ph_per_s: None,
            simulated: false,
            started: DateTime::UNIX_EPOCH,
            resend: None,
            recall: None,
        }
    }

    /// The same without what only its adapter needs.
    #[must_use]
    pub fn without_recall(&self) -> Self {
        // Which may be large: it is not copied first.
        Self { recall: None, ..self.clone() }
    }

    /// Whether this is `first` told once more: a repeat may carry a new time, and, where the sender was restarted, another address to
    /// ask for what is missing; what its adapter remembers is no part of it. Nothing else may differ.
    #[must_use]
    pub fn is_repeat_of(&self, first: &Self) -> bool {
        let (started, resend, recall) = (first.started, first.resend.clone(), first.recall.clone());
        Self { started, resend, recall, ..self.clone() } == *first
    }

    /// Number of planned values, energies times pixels.
    #[must_use]
    pub fn planned_values(&self) -> usize {
        self.energies_ev.len().saturating_mul(self.grid.pixels())
    }

    /// Number of detector pixels whose sum a value is: 1 for a point detector.
    #[must_use]
    pub fn summed_pixels(&self) -> usize {
        self.detector.frame_shape.map_or(1, |[h, w]| h * w)
    }

    /// Dark level of a value, in the unit of the values.
    #[must_use]
    pub fn dark(&self) -> f64 {
        self.detector.dark * self.summed_pixels() as f64
    }

    /// Checks every rule a plan has to keep.
    ///
    /// # Errors
    /// The first rule that is broken.
    pub fn validate(&self) -> Result<(), PlanError> {
        check_id("scan_id", &self.scan_id)?;
        check_id("beamline", &self.beamline)?;
        let [ny, nx] = self.grid.shape;
        if !(1..=MAX_AXIS).contains(&ny) || !(1..=MAX_AXIS).contains(&nx) {
            return Err(PlanError::Shape { ny, nx });
        }
        for (field, axis) in [("grid.x", self.grid.x), ("grid.y", self.grid.y)] {
            check_number(field, axis.start, "a finite number", |v| v.is_finite())?;
            check_number(field, axis.step, "a finite step other than 0", |v| v.is_finite() && v != 0.0)?;
        }
        let energies = self.energies_ev.len();
        if !(1..=MAX_ENERGIES).contains(&energies) {
            return Err(PlanError::Energies { count: energies });
        }
        check_list("energies_ev", Some(&self.energies_ev), energies)?;
        check_list("dwell_ms", Some(&self.dwell_ms), energies)?;
        check_list("flux_ph_per_s", self.flux_ph_per_s.as_deref(), energies)?;
        check_list("detector.counts_per_photon", self.detector.counts_per_photon.as_deref(), energies)?;
        check_number("detector.dark", self.detector.dark, "0 or more", |v| v.is_finite() && v >= 0.0)?;
        for (field, value) in [
            ("detector.saturation", self.detector.saturation),
            ("detector.efficiency", self.detector.efficiency),
        ] {
            check_number(field, value.unwrap_or(1.0), "above 0", |v| v.is_finite() && v > 0.0)?;
        }
        let dead_time_s = self.detector.dead_time_s.unwrap_or(0.0);
        check_number("detector.dead_time_s", dead_time_s, "0 or more", |v| v.is_finite() && v >= 0.0)?;
        self.check_left_out()?;
        match (self.detector.kind, self.detector.frame_shape) {
            (DetectorKind::Point, Some(_)) => Err(PlanError::FrameShape("is only for an area detector")),
            (DetectorKind::Area, None) => Err(PlanError::FrameShape("is missing for an area detector")),
            (DetectorKind::Area, Some([h, w]))
                if !(1..=MAX_AXIS).contains(&h) || !(1..=MAX_AXIS).contains(&w) =>
            {
                Err(PlanError::FrameShape("is outside 1 to 16384 each"))
            }
            _ => Ok(()),
        }
    }
}

impl ScanPlan {
    /// Runs that overlap could stand for far more pixels than a frame has.
    fn check_left_out(&self) -> Result<(), PlanError> {
        let pixels = self.detector.frame_shape.map_or(0, |[h, w]| h as u64 * w as u64);
        let mut end = 0;
        for [first, count] in &self.detector.left_out {
            let (first, count) = (u64::from(*first), u64::from(*count));
            if first < end || first + count > pixels {
                return Err(PlanError::LeftOut { first, count });
            }
            end = first + count;
        }
        Ok(())
    }
}

fn check_id(field: &'static str, id: &str) -> Result<(), PlanError> {
    if is_valid_id(id) {
        return Ok(());
    }
    Err(PlanError::Id { field, value: id.chars().take(128).collect() })
}

fn check_number(
    field: &'static str,
    value: f64,
    wanted: &'static str,
    good: impl Fn(f64) -> bool,
) -> Result<(), PlanError> {
    if good(value) { Ok(()) } else { Err(PlanError::Number { field, value, wanted }) }
}

fn check_list(field: &'static str, list: Option<&[f64]>, energies: usize) -> Result<(), PlanError> {
    let Some(list) = list else { return Ok(()) };
    if list.len() != energies {
        return Err(PlanError::PerEnergy { field, found: list.len(), energies });
    }
    match list.iter().find(|v| !v.is_finite() || **v <= 0.0) {
        Some(&value) => Err(PlanError::Number { field, value, wanted: "above 0" }),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scan::test_plan;

    #[test]
    fn pixels_that_are_left_out_lie_in_a_frame_and_come_once() {
        let mut plan = test_plan(2, 2, 1);
        let text = serde_json::to_string(&plan).unwrap();
        assert!(!text.contains("left_out"), "{text}");
        assert_eq!(serde_json::from_str::<ScanPlan>(&text).unwrap(), plan);
        plan.detector.kind = DetectorKind::Area;
        plan.detector.frame_shape = Some([4, 5]);
        for good in [vec![[0, 20]], vec![[0, 1], [1, 3], [19, 1]], vec![[20, 0]]] {
            plan.detector.left_out = good;
            plan.validate().unwrap();
        }
        let text = serde_json::to_string(&plan).unwrap();
        assert_eq!(serde_json::from_str::<ScanPlan>(&text).unwrap(), plan);
        for bad in [vec![[0, 21]], vec![[4, 2], [5, 1]], vec![[7, 1], [3, 1]], vec![[u32::MAX, u32::MAX]]] {
            plan.detector.left_out = bad.clone();
            assert!(matches!(plan.validate(), Err(PlanError::LeftOut { .. })), "{bad:?}");
        }
        let mut point = test_plan(2, 2, 1);
        point.detector.left_out = vec![[0, 1]];
        assert!(point.validate().is_err());
    }
}
