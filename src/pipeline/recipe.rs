//! From settings to a recipe: files read, words turned into values.

use std::sync::Arc;

use crate::absorption::{self, AbsorptionSettings, I0Mode, I0Spectrum, RegionBox};
use crate::advice::AdviceSettings;
use crate::classify::correlation::Baseline;
use crate::classify::{Correction, OffsetMode, Recipe, Rule, TriageSettings};
use crate::damage::{DoseSettings, MonitorSettings};
use crate::journal::Pinned;
use crate::model::{Backend, BackendChoice};
use crate::recording::{RecordingError, read_ring_current_ma, read_spectrum};
use crate::reference::ReferenceSet;
use crate::registration::RegistrationMode;
use crate::screening::DetectorSettings;
use crate::settings::{self, I0Settings, ModelBackend, ModelSettings, Settings};

/// The recipe that `settings` ask for.
///
/// # Errors
/// Where the I0 spectrum cannot be read.
pub fn recipe(settings: &Settings, references: Arc<ReferenceSet>) -> Result<Recipe, RecordingError> {
    let classify = &settings.classify;
    let triage = TriageSettings {
        rule: match classify.rule {
            settings::ClassifyRule::Evidence => Rule::Evidence,
            settings::ClassifyRule::Margin => Rule::Margin,
        },
        min_energies: classify.min_energies as u32,
        min_delta_chi2: classify.min_delta_chi2 as f32,
        min_confidence: classify.min_confidence as f32,
        neighbours: classify.neighbours,
        min_correlation: classify.min_correlation as f32,
        min_margin: classify.min_margin as f32,
        background_edge_jump: classify.background_edge_jump as f32,
        ..TriageSettings::default()
    };
    let baseline = match classify.baseline {
        settings::Baseline::None => Baseline::None,
        settings::Baseline::Linear => Baseline::Linear,
    };
    let offset = match settings.energy.offset {
        settings::OffsetMode::Report => OffsetMode::Report,
        settings::OffsetMode::Correct => OffsetMode::Correct,
    };
    let registration = match settings.registration {
        settings::RegistrationSettings::Auto => RegistrationMode::Auto,
        settings::RegistrationSettings::Off => RegistrationMode::Off,
    };
    let points: Vec<[f64; 2]> =
        settings.energy.calibration.iter().map(|point| [point.nominal_ev, point.true_ev]).collect();
    let calibration = Correction::calibrated(&points);
    Ok(Recipe {
        references,
        absorption: absorption(settings)?,
        baseline,
        triage,
        offset,
        registration,
        calibration,
    })
}

fn absorption(settings: &Settings) -> Result<AbsorptionSettings, RecordingError> {
    let mut absorption = AbsorptionSettings {
        max_od: settings.classify.max_od,
        read_back: settings.energy.source == settings::EnergySource::Readback,
        detector: DetectorSettings {
            dead_time_s: settings.detector.dead_time_us.map(|us| us * 1e-6),
            saturation: settings.detector.saturation,
            linear_to_hz: settings.detector.linear_to_hz,
            screen_lines: settings.detector.screen_lines,
        },
        ..AbsorptionSettings::default()
    };
    match &settings.i0 {
        I0Settings::Auto => absorption.mode = I0Mode::Auto,
        I0Settings::Stream => absorption.mode = I0Mode::Stream,
        I0Settings::Region { region } => {
            absorption.mode = I0Mode::Region;
            let ends = |[first, last]: [usize; 2]| [first, last + 1];
            absorption.region = Some(RegionBox { x: ends(region.x), y: ends(region.y) });
        }
        I0Settings::Spectrum { spectrum, unit, ring_current_ma } => {
            absorption.mode = I0Mode::Spectrum;
            let unit = match unit {
                settings::SpectrumUnit::Counts => absorption::SpectrumUnit::Counts,
                settings::SpectrumUnit::CountsPerMs => absorption::SpectrumUnit::CountsPerMs,
            };
            let mut points = read_spectrum(spectrum)?;
            points.sort_by(|a, b| a.0.total_cmp(&b.0));
            let ring_current_ma = match ring_current_ma {
                Some(current) => Some(*current),
                None => read_ring_current_ma(spectrum)?,
            };
            absorption.spectrum = Some(I0Spectrum { points, unit, ring_current_ma });
        }
    }
    Ok(absorption)
}

/// What `settings` say of advice.
#[must_use]
pub fn advice(settings: &Settings) -> AdviceSettings {
    let settings::AdviceSettings { enabled, move_ms_per_ev, settle_ms, stop_below } = settings.advice;
    AdviceSettings { enabled, move_ms_per_ev, settle_ms, stop_below }
}

/// What `settings` say of the dose.
#[must_use]
pub fn dose(settings: &Settings) -> DoseSettings {
    settings.damage.dose.clone()
}

/// What `settings` say of watching damage.
#[must_use]
pub fn monitor(settings: &Settings) -> MonitorSettings {
    settings.damage.watch.clone()
}

/// What the settings that a journal was begun with say of the dose; `None` where they are from before there was any.
#[must_use]
pub fn pinned_dose(pinned: &Pinned) -> Option<DoseSettings> {
    serde_json::from_value(pinned.settings.get("damage")?.clone()).ok()
}

/// The engine that `settings` ask for.
#[must_use]
pub fn backend(settings: &ModelSettings) -> BackendChoice {
    let backend = match settings.backend {
        ModelBackend::Auto => Backend::Auto,
        ModelBackend::Onnxruntime => Backend::OnnxRuntime,
        ModelBackend::Tract => Backend::Tract,
    };
    BackendChoice { backend, library: settings.library.clone() }
}
