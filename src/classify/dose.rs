//! What a map says of the dose: whether its numbers are doses, what they were reckoned with, and what they come to.

use serde::{Deserialize, Serialize};

use super::PhaseMap;

/// Whether numbers are doses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DoseKind {
    /// They are, in MGy.
    Absolute,
    /// Flux or composition is not known: they go as the dose does, at 1e6 photons per second.
    Relative,
}

impl DoseKind {
    /// The word in files and messages.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Absolute => "absolute",
            Self::Relative => "relative",
        }
    }
}

/// Mean and maximum over some pixels, MGy or relative.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct DoseNumbers {
    /// Mean.
    pub mean: f64,
    /// Maximum.
    pub max: f64,
}

impl DoseNumbers {
    /// Of the values at `pixels`; zeros where there is none.
    #[must_use]
    pub fn of(values: &[f32], pixels: &[usize]) -> Self {
        let of_pixels =
            || pixels.iter().filter_map(|pixel| values.get(*pixel)).map(|value| f64::from(*value));
        let count = pixels.len().max(1) as f64;
        Self { mean: of_pixels().sum::<f64>() / count, max: of_pixels().fold(0.0, f64::max) }
    }
}

/// The dose of a map in a few numbers, with how they came about.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DoseSummary {
    /// Whether the numbers are doses.
    pub kind: DoseKind,
    /// Their unit, in words.
    pub unit: String,
    /// How they were reckoned.
    pub formula: String,
    /// `mean` over the depth, or `surface`.
    pub depth: String,
    /// Who says how many photons there were: `configured`, `stream`, `counts`, or `nominal` where nobody does.
    pub flux: String,
    /// What the sample is taken to be made of, where that is known.
    pub composition: Option<String>,
    /// Its density, g/cm³, where that is known; the dose does not need it.
    pub density_g_per_cm3: Option<f64>,
    /// Area that the photons of one exposure are reckoned on, µm².
    pub area_um2: f64,
    /// Dose of the surface in one exposure, one item per energy of the plan.
    pub per_energy: Vec<f64>,
    /// Of which pixels the following are: `particle`, or `field` where no pixel is known to be one.
    pub over: String,
    /// How many these are.
    pub pixels: usize,
    /// What they have taken in all.
    pub total: DoseNumbers,
    /// In this scan.
    pub own: DoseNumbers,
    /// In scans of the region before it.
    pub prior: DoseNumbers,
    /// Which these are.
    pub prior_scans: Vec<String>,
    /// What is not known, and what was left out.
    pub remarks: Vec<String>,
}

impl PhaseMap {
    /// Pixels that are sample: of any status but unmeasured and background.
    #[must_use]
    pub fn particle_pixels(&self) -> Vec<usize> {
        self.status
            .iter()
            .enumerate()
            .filter(|(_, status)| status.is_sample())
            .map(|(pixel, _)| pixel)
            .collect()
    }
}
