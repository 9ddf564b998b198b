//! The phase map: one verdict per pixel, column by column, and what the map as a whole was made from.
//!
//! Columns are as long as the grid has pixels, row-major. A value that does not exist is NaN in a float
//! column and [`NO_PHASE`] in a phase column; the published table turns both into null.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::EnergyOffset;
use crate::absorption::IncidentSummary;
use crate::reference::PhaseLabel;
use crate::registration::Drift;
use crate::scan::{Channel, ScanPlan};

/// In a phase column: no phase.
pub const NO_PHASE: u8 = u8::MAX;

/// In the column of readings: one reading only.
pub const NO_READINGS: [u8; 4] = [NO_PHASE; 4];

/// What is known of a pixel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// No usable value yet, or too few for a verdict of any kind.
    #[default]
    Unmeasured,
    /// No edge: empty field or support.
    Background,
    /// Too many of its values are saturated or opaque.
    Saturated,
    /// One phase.
    Classified,
    /// Two phases along the beam.
    Mixture,
    /// Like none of the references.
    Unknown,
    /// More than one reading is possible.
    Ambiguous,
}

impl Status {
    /// Every status, in the order of the discriminants.
    pub const ALL: [Self; 7] = [
        Self::Unmeasured,
        Self::Background,
        Self::Saturated,
        Self::Classified,
        Self::Mixture,
        Self::Unknown,
        Self::Ambiguous,
    ];

    /// Whether a pixel is sample: measured, and not empty.
    #[must_use]
    pub fn is_sample(self) -> bool {
        !matches!(self, Self::Unmeasured | Self::Background)
    }

    /// The word in the table.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Unmeasured => "unmeasured",
            Self::Background => "background",
            Self::Saturated => "saturated",
            Self::Classified => "classified",
            Self::Mixture => "mixture",
            Self::Unknown => "unknown",
            Self::Ambiguous => "ambiguous",
        }
    }
}

/// What decided.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Method {
    /// Nothing did.
    #[default]
    None,
    /// Correlation with the references.
    Pearson,
    /// The GMVAE.
    Gmvae,
    /// The neighbours' evidence.
    Neighbours,
}

impl Method {
    /// Every method, in the order of the discriminants.
    pub const ALL: [Self; 4] = [Self::None, Self::Pearson, Self::Gmvae, Self::Neighbours];

    /// The word in the table.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Pearson => "pearson",
            Self::Gmvae => "gmvae",
            Self::Neighbours => "neighbours",
        }
    }
}

/// Why a pixel is ambiguous.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Ambiguity {
    /// It is not.
    #[default]
    None,
    /// Too few counts, or too few energies, to tell `phase` from `runner_up`.
    Noise,
    /// Two phases along the beam describe it better than one.
    Mixture,
    /// Two readings describe it equally well, whatever the counts.
    Indistinguishable,
    /// No reference describes it.
    Reference,
}

impl Ambiguity {
    /// Every cause, in the order of the discriminants.
    pub const ALL: [Self; 5] =
        [Self::None, Self::Noise, Self::Mixture, Self::Indistinguishable, Self::Reference];

    /// The word in the table.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Noise => "noise",
            Self::Mixture => "mixture",
            Self::Indistinguishable => "indistinguishable",
            Self::Reference => "reference",
        }
    }
}

/// Why a generation differs from the last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RevisionReason {
    /// More energies, or more of one.
    #[default]
    Energy,
    /// Values that replaced or completed earlier ones.
    LateData,
    /// Another estimate of the incident intensity.
    I0,
    /// Another estimate of the energy offset.
    Offset,
    /// Another registration.
    Registration,
    /// Another model.
    Model,
}

impl RevisionReason {
    /// The word in the metadata.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Energy => "energy",
            Self::LateData => "late_data",
            Self::I0 => "i0",
            Self::Offset => "offset",
            Self::Registration => "registration",
            Self::Model => "model",
        }
    }
}

/// One generation of the phase map of one scan.
#[derive(Clone, Debug)]
pub struct PhaseMap {
    /// The plan as it is now.
    pub plan: Arc<ScanPlan>,
    /// The phases, in the order of `correlations`, of the phase columns and of the legend.
    pub phases: Arc<[PhaseLabel]>,
    /// What the map was made from.
    pub origin: Origin,
    /// Verdict.
    pub status: Vec<Status>,
    /// Index of the phase, also the best guess of an ambiguous pixel, or [`NO_PHASE`].
    pub phase: Vec<u8>,
    /// Index of the second best, or [`NO_PHASE`].
    pub runner_up: Vec<u8>,
    /// What decided.
    pub method: Vec<Method>,
    /// Plain Pearson coefficient with `phase`.
    pub correlation: Vec<f32>,
    /// `correlation` less that with `runner_up`.
    pub margin: Vec<f32>,
    /// Evidence of `phase` over `runner_up`, noise-scaled.
    pub delta_chi2: Vec<f32>,
    /// 0 to 1.
    pub confidence: Vec<f32>,
    /// Number of energies with a usable value.
    pub energies_seen: Vec<u16>,
    /// Number of energies measured but not usable.
    pub energies_masked: Vec<u16>,
    /// OD: mean over the white-line window less mean over the pre-edge window.
    pub edge_jump: Vec<f32>,
    /// Cause of ambiguity.
    pub ambiguity: Vec<Ambiguity>,
    /// Share of `phase` in a fit of `phase` and `runner_up`.
    pub share: Vec<f32>,
    /// Standard error of `share`.
    pub share_error: Vec<f32>,
    /// Reduced chi² of the best fit.
    pub fit_chi2: Vec<f32>,
    /// Whether the spatial prior changed the verdict.
    pub smoothed: Vec<bool>,
    /// Pearson coefficient with each reference, pixel-major: `[pixel * phases + phase]`.
    pub correlations: Vec<f32>,
    /// GMVAE posterior, pixel-major `[pixel * clusters + cluster]`, NaN where it did not run; empty where no
    /// model was asked.
    pub posterior: Vec<f32>,
    /// Accumulated dose, MGy; empty where there is none to tell.
    pub dose_mgy: Vec<f32>,
    /// What goes as the accumulated dose does, where flux or composition is not known; empty where the dose is, or there is none to tell.
    pub dose_relative: Vec<f32>,
    /// Two readings of the pixel that describe it about equally well, the likelier first, each of one phase
    /// (then [`NO_PHASE`]) or of two; or [`NO_READINGS`].
    pub readings: Vec<[u8; 4]>,
}

/// What a map was made from; it becomes the table's metadata.
#[derive(Clone, Debug, Default)]
pub struct Origin {
    /// Counts up from 1 within a scan; 0 in the archive, where the map follows from the stack alone.
    pub generation: u64,
    /// Number of energies with any value.
    pub energies_done: usize,
    /// Names of the GMVAE's clusters, empty without a model.
    pub clusters: Vec<String>,
    /// Digest of the references.
    pub references_sha256: String,
    /// Digest of the model file, empty without a model.
    pub model_sha256: String,
    /// Whether the scan is over and nothing is missing.
    pub complete: bool,
    /// Whether the map is the last word on the scan: made of all that will come of it, not while it runs.
    pub settled: bool,
    /// What was applied: name and value of each correction, e.g. `i0` = `region of 812 pixels`.
    pub normalisation: Vec<(String, String)>,
    /// The incident intensity, as people are shown it.
    pub incident: Arc<IncidentSummary>,
    /// The energy offset as it was estimated.
    pub energy_offset: EnergyOffset,
    /// Where the sample lay in each image, and whether that was taken out.
    pub drift: Drift,
    /// What was added to the energies of the scan, eV, in their middle where there is a slope: 0 where nothing was corrected.
    pub correction_ev: f64,
    /// The whole of it.
    pub correction: super::Correction,
    /// The energies at which the references were taken, eV, in the order of the plan.
    pub corrected_ev: Vec<f64>,
    /// What the pixels of the scan say together.
    pub population: super::population::Population,
    /// What `confidence` was calibrated with, or `uncalibrated`.
    pub calibrated_on: String,
    /// Why this generation differs from the last.
    pub revision_reason: RevisionReason,
    /// What the columns of the dose are, and what they come to; none where there is no dose.
    pub dose: Option<Arc<super::DoseSummary>>,
    /// What was measured beside the intensity; no map is made of it.
    pub channels: Vec<Channel>,
}

impl PhaseMap {
    /// A map of unmeasured pixels.
    #[must_use]
    pub fn unmeasured(plan: Arc<ScanPlan>, phases: Arc<[PhaseLabel]>, origin: Origin) -> Self {
        let n = plan.grid.pixels();
        let k = phases.len();
        let nan = || vec![f32::NAN; n];
        Self {
            status: vec![Status::Unmeasured; n],
            phase: vec![NO_PHASE; n],
            runner_up: vec![NO_PHASE; n],
            method: vec![Method::None; n],
            correlation: nan(),
            margin: nan(),
            delta_chi2: nan(),
            confidence: nan(),
            energies_seen: vec![0; n],
            energies_masked: vec![0; n],
            edge_jump: nan(),
            ambiguity: vec![Ambiguity::None; n],
            share: nan(),
            share_error: nan(),
            fit_chi2: nan(),
            smoothed: vec![false; n],
            correlations: vec![f32::NAN; n * k],
            posterior: Vec::new(),
            dose_mgy: Vec::new(),
            dose_relative: Vec::new(),
            readings: vec![NO_READINGS; n],
            plan,
            phases,
            origin,
        }
    }

    /// Number of pixels.
    #[must_use]
    pub fn len(&self) -> usize {
        self.status.len()
    }

    /// Bytes that the columns take.
    #[must_use]
    pub fn bytes(&self) -> usize {
        // Eight columns of numbers, two of counts, six of one byte, one of four.
        self.len() * (8 * 4 + 2 * 2 + 6 + 4)
            + 4 * (self.correlations.len()
                + self.posterior.len()
                + self.dose_mgy.len()
                + self.dose_relative.len())
    }

    /// Whether there are no pixels; a valid plan always has some.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.status.is_empty()
    }

    /// Number of pixels of each status, in the order of [`Status::ALL`].
    #[must_use]
    pub fn status_counts(&self) -> [usize; 7] {
        let mut counts = [0; 7];
        for &status in &self.status {
            counts[status as usize] += 1;
        }
        counts
    }

    /// Share of each phase among the classified pixels, in the order of `phases`; zeros where none is
    /// classified.
    #[must_use]
    pub fn fractions(&self) -> Vec<f64> {
        let mut counts = vec![0_usize; self.phases.len()];
        for (&status, &phase) in self.status.iter().zip(&self.phase) {
            if status == Status::Classified
                && let Some(count) = counts.get_mut(phase as usize)
            {
                *count += 1;
            }
        }
        let total = counts.iter().sum::<usize>().max(1) as f64;
        counts.iter().map(|&count| count as f64 / total).collect()
    }
}
