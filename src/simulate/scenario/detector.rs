//! `[detector]`: what it makes of the light, and what comes along.

use serde::{Deserialize, Serialize};

use super::beam::MAX_PHOTONS;
use super::{check, is_share, not_negative, positive};
use crate::scan::DetectorKind;
use crate::simulate::SimulationError;

/// Most pixels of a frame.
const MAX_FRAME_PIXELS: usize = 1 << 20;

/// Where the incident intensity can be had from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum IncidentSource {
    /// Nowhere but from the empty field, where there is any.
    #[default]
    Field,
    /// Every line comes with a noisy open-beam intensity.
    Stream,
    /// Every line comes with the value of an upstream monitor, whose transfer depends on the energy.
    Monitor,
    /// A separate spectrum, measured at the first ring current.
    Spectrum,
}

/// The detector.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DetectorSettings {
    /// Point or area.
    pub kind: DetectorKind,
    /// Dark counts per value; for an area detector spread over the frame.
    pub dark: f64,
    /// Share of the photons on the sample side that are detected, above 0 to 1.
    pub efficiency: f64,
    /// `[h, w]` of a frame, for an area detector.
    pub frame_shape: [usize; 2],
    /// Where the incident intensity can be had from.
    pub i0: IncidentSource,
    /// Relative change of the monitor's transfer from one end of the scan's range to the other.
    pub monitor_slope: f64,
    /// Counts that a photon makes; point detectors only.
    pub gain: f64,
    /// Standard deviation of the counts of one photon, as a share of `gain`.
    pub excess_noise: f64,
    /// Whether the plan says how many counts a photon makes.
    pub gain_known: bool,
    /// Dead time after each photon, s: n photons are counted as n / (1 + n·dead time/dwell). Point detectors only.
    pub dead_time_s: f64,
    /// Whether the plan says the dead time.
    pub dead_time_known: bool,
    /// Level above which no value goes, counts; per frame pixel for an area detector; 0: none.
    pub saturation: f64,
    /// Whether the plan says the level of saturation.
    pub saturation_known: bool,
    /// Frame pixels that always say `hot_counts`, about.
    pub hot_pixels: usize,
    /// Mean of a hot pixel.
    pub hot_counts: f64,
    /// Frame pixels that always say 0.
    pub dead_pixels: usize,
}

impl Default for DetectorSettings {
    fn default() -> Self {
        Self {
            kind: DetectorKind::Point,
            dark: 20.0,
            efficiency: 0.3,
            frame_shape: [16, 16],
            i0: IncidentSource::Field,
            monitor_slope: 0.2,
            gain: 1.0,
            excess_noise: 0.0,
            gain_known: true,
            dead_time_s: 0.0,
            dead_time_known: true,
            saturation: 0.0,
            saturation_known: true,
            hot_pixels: 0,
            hot_counts: 1000.0,
            dead_pixels: 0,
        }
    }
}

impl DetectorSettings {
    pub(super) fn check(&self) -> Result<(), SimulationError> {
        let area = self.kind == DetectorKind::Area;
        check("detector.dark", (0.0..=MAX_PHOTONS).contains(&self.dark), "0 to 1e9")?;
        let [h, w] = self.frame_shape;
        let frame = h >= 1 && w >= 1 && h.saturating_mul(w) <= MAX_FRAME_PIXELS;
        check("detector.frame_shape", frame, "1 to 1048576 pixels")?;
        check(
            "detector.efficiency",
            positive(self.efficiency) && self.efficiency <= 1.0,
            "above 0, at most 1",
        )?;
        check("detector.monitor_slope", self.monitor_slope.abs() <= 1.0, "-1 to 1")?;
        let gain = (1e-3..=1e3).contains(&self.gain) && !(area && self.gain != 1.0);
        check("detector.gain", gain, "0.001 to 1000, and 1 for an area detector")?;
        let excess = (0.0..=10.0).contains(&self.excess_noise) && !(area && self.excess_noise > 0.0);
        check("detector.excess_noise", excess, "0 to 10, and 0 for an area detector")?;
        let dead_time = not_negative(self.dead_time_s) && !(area && self.dead_time_s > 0.0);
        check("detector.dead_time_s", dead_time, "0 or more, and 0 for an area detector")?;
        check("detector.saturation", not_negative(self.saturation), "0 or more")?;
        let counts = (0.0..=f64::from(u16::MAX)).contains(&self.hot_counts);
        check("detector.hot_counts", counts, "0 to 65535")?;
        let flawed = self.hot_pixels.saturating_add(self.dead_pixels);
        check("detector.hot_pixels", area || flawed == 0, "0, and so dead_pixels, for a point detector")?;
        check(
            "detector.hot_pixels",
            is_share(flawed as f64 / (h * w) as f64),
            "at most a frame, with dead_pixels",
        )
    }

    /// Whether the values are whole numbers.
    pub(in crate::simulate) fn counts_are_whole(&self) -> bool {
        self.gain == 1.0 && self.excess_noise == 0.0
    }
}
