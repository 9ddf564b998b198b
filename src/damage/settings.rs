//! What the dose is reckoned with, beside what a scan says itself.

use serde::{Deserialize, Serialize};

/// At which depth the dose is told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DoseDepth {
    /// The mean over the depth of the pixel.
    #[default]
    Mean,
    /// At the front surface, where it is largest.
    Surface,
}

impl DoseDepth {
    /// The word in settings and metadata.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Mean => "mean",
            Self::Surface => "surface",
        }
    }
}

/// What the dose is reckoned with; the part of `[damage]` that is about the dose, under the same names, so that it can be read out of the
/// settings that a journal was begun with.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct DoseSettings {
    /// Whether there is any.
    pub enabled: bool,
    /// Flux on the sample, photons per second; wins over the stream's.
    pub flux_ph_per_s: Option<f64>,
    /// Time a pixel is in the beam over its dwell.
    pub exposure_factor: f64,
    /// Share of the photons that the detector sees; wins over the stream's.
    pub detector_efficiency: Option<f64>,
    /// Sum formula of the sample; wins over the references'.
    pub composition: Option<String>,
    /// Density of the sample, g/cm³; wins over the references'.
    pub density_g_per_cm3: Option<f64>,
    /// Side of the spot of the beam, nm; `None`: the step of the scan.
    pub spot_nm: Option<f64>,
    /// At which depth.
    #[serde(rename = "dose")]
    pub depth: DoseDepth,
}

impl Default for DoseSettings {
    fn default() -> Self {
        Self {
            enabled: true,
            flux_ph_per_s: None,
            exposure_factor: 1.0,
            detector_efficiency: None,
            composition: None,
            density_g_per_cm3: None,
            spot_nm: None,
            depth: DoseDepth::Mean,
        }
    }
}
