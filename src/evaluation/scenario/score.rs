//! What a map of a simulated scan is worth.
//!
//! Scored are the pixels that were measured, with one phase making up 95 % or more of them, [`THIN_NM`] thick or
//! more. *Accuracy* is the share of them whose phase is named right, decided or not; *coverage* the share that is
//! classified; *right* the share of the classified that is right; *calibration* the expected calibration error of
//! `confidence`. Of measured pixels with nothing in them, or less than [`THIN_NM`], *false* is the share that is
//! classified as a phase that is not what little there is.
//!
//! A specimen that drifted has no place of its own. The truth is taken where the map has it: at the middle (the
//! median of each axis) of what is left of the drift after registration; so a map without registration is not held
//! against the first image only.

use serde::Serialize;

use crate::classify::{NO_PHASE, PhaseMap, Status};
use crate::evaluation::metrics::{Reliability, median, quantile, ratio};
use crate::simulate::Microscope;
use crate::stack::Stack;

/// Thickness under which a pixel is thin, nm: its edge jump is near the limit of what counts as background.
pub const THIN_NM: f32 = 40.0;
/// Share from which a pixel counts as one phase.
const PURE: f32 = 0.95;

/// What was corrected, energy by energy.
#[derive(Clone, Debug)]
pub(super) struct Corrections {
    /// What was added to the set-point, eV.
    pub(super) energy_ev: Vec<f64>,
    /// By how much each image was found to have moved, pixels, rows and columns; 0 where it was not registered.
    pub(super) shift_px: Vec<[f64; 2]>,
}

/// Counts and errors over some scans.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Score {
    /// Pixels of one phase.
    pub pixels: usize,
    /// Those whose phase is named right.
    pub right: usize,
    /// Those classified.
    pub classified: usize,
    /// Those classified, and right.
    pub classified_right: usize,
    /// Those that Pearson alone names right, after the corrections of the pipeline.
    pub pearson_right: usize,
    /// Those that Pearson alone names right, with nothing corrected.
    pub raw_pearson_right: usize,
    /// How often what is said with a confidence is right.
    pub reliability: Reliability,
    /// Measured pixels with nothing in them, or hardly anything.
    pub empty: usize,
    /// Those classified as a phase that is not there.
    pub empty_named: usize,
    /// Pixels that were never measured.
    pub unmeasured: usize,
    /// Those that the map has as unmeasured.
    pub unmeasured_kept: usize,
    /// What is left of the drift, pixels, one for each image; empty where nothing moved.
    pub drift_px: Vec<f64>,
    /// What is left of the energy offset, eV, one for each energy.
    pub energy_ev: Vec<f64>,
}

impl Score {
    pub(super) fn of(
        microscope: &Microscope,
        stack: &Stack,
        map: &PhaseMap,
        raw: &PhaseMap,
        corrections: &Corrections,
    ) -> Self {
        let mut score = Self::default();
        let drift = &microscope.truth().drift_px;
        let place = score.note_drift(drift, &corrections.shift_px);
        let offsets = microscope.truth().energy_offset_ev.iter().zip(&corrections.energy_ev);
        score.energy_ev = offsets.map(|(truth, correction)| (truth - correction).abs()).collect();
        let truth = microscope.truth_at(place);
        let index_of = |id: &String| map.phases.iter().position(|label| label.id == *id);
        let indices: Vec<Option<u8>> =
            truth.phases.iter().map(|id| index_of(id).map(|index| index as u8)).collect();
        for pixel in 0..truth.phase.len() {
            if stack.planes().iter().all(|plane| plane.value(pixel).is_nan()) {
                score.unmeasured += 1;
                score.unmeasured_kept += usize::from(map.status[pixel] == Status::Unmeasured);
                continue;
            }
            let phase = usize::try_from(truth.phase[pixel]).ok().and_then(|phase| indices[phase]);
            if truth.thickness_nm[pixel] < THIN_NM {
                let named = map.status[pixel] == Status::Classified && Some(map.phase[pixel]) != phase;
                score.empty += 1;
                score.empty_named += usize::from(named);
            } else if let Some(phase) = phase.filter(|_| truth.share[pixel] >= PURE) {
                score.note(pixel, phase, map, raw);
            }
        }
        score
    }

    /// Takes in a pixel of one phase.
    fn note(&mut self, pixel: usize, phase: u8, map: &PhaseMap, raw: &PhaseMap) {
        let right = map.phase[pixel] == phase;
        let classified = map.status[pixel] == Status::Classified;
        self.pixels += 1;
        self.right += usize::from(right);
        self.classified += usize::from(classified);
        self.classified_right += usize::from(classified && right);
        self.pearson_right += usize::from(pearson(map, pixel) == phase);
        self.raw_pearson_right += usize::from(pearson(raw, pixel) == phase);
        self.reliability.push(f64::from(map.confidence[pixel]), right);
    }

    /// Notes what registration left of a drift; returns where the map has the specimen.
    fn note_drift(&mut self, drift_px: &[[f64; 2]], found_px: &[[f64; 2]]) -> [f64; 2] {
        let left: Vec<[f64; 2]> = drift_px
            .iter()
            .zip(found_px)
            .map(|(truth, found)| [truth[0] - found[0], truth[1] - found[1]])
            .collect();
        let middle = [0, 1].map(|axis| median(&left.iter().map(|left| left[axis]).collect::<Vec<_>>()));
        if drift_px.iter().chain(found_px).flatten().all(|&px| px == 0.0) {
            return [0.0; 2];
        }
        self.drift_px = left.iter().map(|left| (left[0] - middle[0]).hypot(left[1] - middle[1])).collect();
        middle
    }

    /// Takes in another scan.
    pub(super) fn add(&mut self, other: &Self) {
        self.pixels += other.pixels;
        self.right += other.right;
        self.classified += other.classified;
        self.classified_right += other.classified_right;
        self.pearson_right += other.pearson_right;
        self.raw_pearson_right += other.raw_pearson_right;
        self.reliability.add(&other.reliability);
        self.empty += other.empty;
        self.empty_named += other.empty_named;
        self.unmeasured += other.unmeasured;
        self.unmeasured_kept += other.unmeasured_kept;
        self.drift_px.extend_from_slice(&other.drift_px);
        self.energy_ev.extend_from_slice(&other.energy_ev);
    }

    /// Share of the pixels of one phase whose phase is named right; NaN without any.
    #[must_use]
    pub fn accuracy(&self) -> f64 {
        ratio(self.right, self.pixels)
    }

    /// Share of the classified that is right; NaN where nothing is classified.
    #[must_use]
    pub fn right_of_classified(&self) -> f64 {
        ratio(self.classified_right, self.classified)
    }

    /// Share of the pixels of one phase that is classified.
    #[must_use]
    pub fn coverage(&self) -> f64 {
        ratio(self.classified, self.pixels)
    }

    /// Expected calibration error of the confidence.
    #[must_use]
    pub fn calibration(&self) -> f64 {
        self.reliability.ece()
    }

    /// Accuracy of Pearson alone after the corrections of the pipeline.
    #[must_use]
    pub fn pearson(&self) -> f64 {
        ratio(self.pearson_right, self.pixels)
    }

    /// Accuracy of Pearson alone with nothing corrected.
    #[must_use]
    pub fn raw_pearson(&self) -> f64 {
        ratio(self.raw_pearson_right, self.pixels)
    }

    /// Share of the empty and thin pixels that is classified as what is not there.
    #[must_use]
    pub fn false_phases(&self) -> f64 {
        ratio(self.empty_named, self.empty)
    }

    /// What is left of the drift, pixels: median and 95th percentile over the images; NaN where nothing moved.
    #[must_use]
    pub fn drift_left_px(&self) -> [f64; 2] {
        [median(&self.drift_px), quantile(&self.drift_px, 0.95)]
    }

    /// What is left of the energy offset, eV: the mean of its magnitude over the energies.
    #[must_use]
    pub fn energy_left_ev(&self) -> f64 {
        self.energy_ev.iter().sum::<f64>() / self.energy_ev.len() as f64
    }
}

/// The phase of the highest correlation.
fn pearson(map: &PhaseMap, pixel: usize) -> u8 {
    let phases = map.phases.len();
    let row = &map.correlations[pixel * phases..(pixel + 1) * phases];
    let known = (0..phases).filter(|&k| !row[k].is_nan());
    known.max_by(|&a, &b| row[a].total_cmp(&row[b])).map_or(NO_PHASE, |k| k as u8)
}

/// What the JSON has: the figures, not the counts behind them.
impl Serialize for Score {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeStruct as _;
        let finite = |value: f64| value.is_finite().then_some(value);
        let [drift_median, drift_95] = self.drift_left_px();
        let mut out = serializer.serialize_struct("Score", 13)?;
        out.serialize_field("pixels", &self.pixels)?;
        out.serialize_field("accuracy", &finite(self.accuracy()))?;
        out.serialize_field("right_of_classified", &finite(self.right_of_classified()))?;
        out.serialize_field("coverage", &finite(self.coverage()))?;
        out.serialize_field("calibration_error", &finite(self.calibration()))?;
        out.serialize_field("false_phases", &finite(self.false_phases()))?;
        out.serialize_field("pearson", &finite(self.pearson()))?;
        out.serialize_field("raw_pearson", &finite(self.raw_pearson()))?;
        out.serialize_field("drift_left_px_median", &finite(drift_median))?;
        out.serialize_field("drift_left_px_95", &finite(drift_95))?;
        out.serialize_field("energy_left_ev", &finite(self.energy_left_ev()))?;
        out.serialize_field("unmeasured", &self.unmeasured)?;
        out.serialize_field("unmeasured_kept", &self.unmeasured_kept)?;
        out.end()
    }
}
