//! The layers of a map: one number per pixel, as bytes that a browser draws without decoding anything.
//!
//! Row-major, little endian, NaN where a float is not known; the type of each is in [`Layer::dtype`] and, as `x-phasewatch-dtype`, with the answer.

use bytes::Bytes;
use serde_json::{Value, json};

use crate::classify::{Ambiguity, DoseKind, Method, PhaseMap, Status};
use crate::scan::{Channel, ValueUnit};

/// A layer of a map.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Layer {
    Phase,
    Status,
    RunnerUp,
    Method,
    Ambiguity,
    Confidence,
    Margin,
    Correlation,
    DeltaChi2,
    Share,
    FitChi2,
    EdgeJump,
    EnergiesSeen,
    EnergiesMasked,
    Smoothed,
    Dose,
    /// The optical density at one energy, which is asked for; it is not in the map.
    Od,
    /// Another channel at one energy, likewise.
    Other(Channel),
}

/// Name, title, kind, and a sentence on it.
type About = (&'static str, &'static str, &'static str, &'static str);

impl Layer {
    pub(super) const ALL: [Self; 20] = [
        Self::Phase,
        Self::Status,
        Self::Confidence,
        Self::Ambiguity,
        Self::Margin,
        Self::Correlation,
        Self::RunnerUp,
        Self::Share,
        Self::Method,
        Self::DeltaChi2,
        Self::FitChi2,
        Self::EdgeJump,
        Self::Dose,
        Self::EnergiesSeen,
        Self::EnergiesMasked,
        Self::Smoothed,
        Self::Od,
        Self::Other(Channel::DarkField),
        Self::Other(Channel::ComY),
        Self::Other(Channel::ComX),
    ];

    fn about(self) -> About {
        match self {
            Self::Phase => {
                ("phase", "Phase", "phase", "The phase of a pixel; of an ambiguous one the best guess.")
            }
            Self::Status => ("status", "Status", "category", "What is known of a pixel."),
            Self::RunnerUp => ("runner_up", "Second best", "phase", "The phase that comes second."),
            Self::Method => ("method", "What decided", "category", "What decided the phase of a pixel."),
            Self::Ambiguity => ("ambiguity", "Why ambiguous", "category", "Why a pixel is ambiguous."),
            Self::Confidence => {
                let about = "Probability that the phase is the only one, or the larger part.";
                ("confidence", "Confidence", "number", about)
            }
            Self::Margin => {
                ("margin", "Margin", "number", "Correlation with the phase less that with the second best.")
            }
            Self::Correlation => {
                ("correlation", "Best correlation", "number", "Pearson's coefficient with the phase.")
            }
            Self::DeltaChi2 => {
                ("delta_chi2", "Evidence", "number", "By how much chi² is worse for the second best phase.")
            }
            Self::Share => ("share", "Share", "number", "Share of the phase in a fit with the second best."),
            Self::FitChi2 => ("fit_chi2", "Misfit", "number", "chi² per degree of freedom of the best fit."),
            Self::EdgeJump => (
                "edge_jump",
                "Edge jump",
                "number",
                "Optical density of the white line less that before the edge.",
            ),
            Self::EnergiesSeen => ("energies_seen", "Coverage", "number", "Energies with a usable value."),
            Self::EnergiesMasked => {
                ("energies_masked", "Masked values", "number", "Energies measured, but not usable.")
            }
            Self::Smoothed => {
                ("smoothed", "By neighbours", "flag", "Whether the neighbours changed the verdict.")
            }
            Self::Dose => ("dose", "Dose", "number", "Dose that was accumulated, earlier scans included."),
            Self::Od => ("od", "Optical density", "number", "The image at one energy."),
            Self::Other(Channel::ComY) => {
                let about = "Row of the centre of mass of the light on the detector, at one energy.";
                (Channel::ComY.name(), "Centre of mass, y", "number", about)
            }
            Self::Other(Channel::ComX) => {
                let about = "Column of the centre of mass of the light on the detector, at one energy.";
                (Channel::ComX.name(), "Centre of mass, x", "number", about)
            }
            Self::Other(channel) => {
                (channel.name(), "Dark field", "number", "What the dark field has, at one energy.")
            }
        }
    }

    pub(super) fn name(self) -> &'static str {
        self.about().0
    }

    pub(super) fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|layer| layer.name() == name)
    }

    /// The type of its values: `u8`, `u16` or `f32`.
    pub(super) fn dtype(self) -> &'static str {
        match self {
            Self::Phase | Self::Status | Self::RunnerUp | Self::Method | Self::Ambiguity | Self::Smoothed => {
                "u8"
            }
            Self::EnergiesSeen | Self::EnergiesMasked => "u16",
            _ => "f32",
        }
    }

    fn unit(self, map: &PhaseMap) -> &'static str {
        match self {
            Self::Dose if map.origin.dose.as_ref().is_some_and(|dose| dose.kind == DoseKind::Absolute) => {
                "MGy"
            }
            Self::Dose => "relative",
            Self::EdgeJump | Self::Od => "OD",
            Self::Other(Channel::ComY | Channel::ComX) => "px",
            Self::Other(_) if map.plan.value_unit == ValueUnit::CountsPerS => "counts/s",
            Self::Other(_) => "counts",
            _ => "",
        }
    }

    /// Whether it is one image per energy, and not in the map.
    pub(super) fn is_per_energy(self) -> bool {
        matches!(self, Self::Od | Self::Other(_))
    }

    /// Whether a map has it.
    pub(super) fn is_there(self, map: &PhaseMap) -> bool {
        match self {
            Self::Dose => !dose(map).is_empty(),
            Self::Other(channel) => map.origin.channels.contains(&channel),
            _ => true,
        }
    }

    /// What `view.json` says of it.
    pub(super) fn describe(self, map: &PhaseMap) -> Value {
        let (name, title, kind, about) = self.about();
        let [low, high] = self.range(map);
        let unit = self.unit(map);
        json!({
            "name": name, "title": title, "kind": kind, "about": about, "unit": unit, "dtype": self.dtype(), "low": low, "high": high,
            "per_energy": self.is_per_energy(),
        })
    }

    /// What its colours should span.
    fn range(self, map: &PhaseMap) -> [f64; 2] {
        let energies = map.plan.energies_ev.len() as f64;
        match self {
            Self::Phase | Self::RunnerUp => [0.0, map.phases.len().saturating_sub(1) as f64],
            Self::Status => [0.0, (Status::ALL.len() - 1) as f64],
            Self::Method => [0.0, (Method::ALL.len() - 1) as f64],
            Self::Ambiguity => [0.0, (Ambiguity::ALL.len() - 1) as f64],
            Self::Confidence | Self::Smoothed | Self::Correlation => [0.0, 1.0],
            Self::Share => [0.5, 1.0],
            Self::Od => [0.0, 2.0],
            // What they span is in them alone: nothing is said of it.
            Self::Other(_) => [0.0, 0.0],
            Self::EnergiesSeen => [0.0, energies],
            Self::EnergiesMasked => {
                [0.0, map.energies_masked.iter().copied().max().unwrap_or(1).max(1).into()]
            }
            Self::Margin => span(&map.margin),
            Self::DeltaChi2 => span(&map.delta_chi2),
            Self::FitChi2 => span(&map.fit_chi2),
            Self::EdgeJump => span(&map.edge_jump),
            Self::Dose => span(dose(map)),
        }
    }

    /// Its values; `None` for what is not in the map.
    pub(super) fn bytes(self, map: &PhaseMap) -> Option<Bytes> {
        let codes = |codes: Vec<u8>| Some(Bytes::from(codes));
        match self {
            Self::Phase => codes(map.phase.clone()),
            Self::RunnerUp => codes(map.runner_up.clone()),
            Self::Status => codes(map.status.iter().map(|&status| status as u8).collect()),
            Self::Method => codes(map.method.iter().map(|&method| method as u8).collect()),
            Self::Ambiguity => codes(map.ambiguity.iter().map(|&cause| cause as u8).collect()),
            Self::Smoothed => codes(map.smoothed.iter().map(|&smoothed| u8::from(smoothed)).collect()),
            Self::Confidence => Some(floats(&map.confidence)),
            Self::Margin => Some(floats(&map.margin)),
            Self::Correlation => Some(floats(&map.correlation)),
            Self::DeltaChi2 => Some(floats(&map.delta_chi2)),
            Self::Share => Some(floats(&map.share)),
            Self::FitChi2 => Some(floats(&map.fit_chi2)),
            Self::EdgeJump => Some(floats(&map.edge_jump)),
            Self::EnergiesSeen => Some(shorts(&map.energies_seen)),
            Self::EnergiesMasked => Some(shorts(&map.energies_masked)),
            Self::Dose => Some(floats(dose(map))),
            Self::Od | Self::Other(_) => None,
        }
    }
}

/// The column of the dose that there is.
fn dose(map: &PhaseMap) -> &[f32] {
    if map.dose_mgy.is_empty() { &map.dose_relative } else { &map.dose_mgy }
}

/// Values as they are sent.
pub(super) fn floats(values: &[f32]) -> Bytes {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

fn shorts(values: &[u16]) -> Bytes {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

/// Between the 2nd and the 98th percentile, and 0 to 1 where there is nothing: single pixels far off take no colours from all others.
fn span(values: &[f32]) -> [f64; 2] {
    // Some thousand values tell it.
    let step = (values.len() / 4096).max(1);
    let mut some: Vec<f32> = values.iter().step_by(step).copied().filter(|value| value.is_finite()).collect();
    some.sort_by(f32::total_cmp);
    let at = |share: f64| {
        some.get(((some.len() as f64 - 1.0) * share).max(0.0) as usize).map(|&value| f64::from(value))
    };
    match (at(0.02), at(0.98)) {
        (Some(low), Some(high)) if high > low => [low, high],
        (Some(low), _) => [low.min(0.0), low.max(1.0)],
        _ => [0.0, 1.0],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::publish::table::tests::map;

    #[test]
    fn every_layer_has_one_value_per_pixel() {
        let map = map(6, 7, &[]);
        for layer in Layer::ALL.into_iter().filter(|layer| layer.is_there(&map)) {
            assert_eq!(Layer::from_name(layer.name()), Some(layer));
            let width = match layer.dtype() {
                "u8" => 1,
                "u16" => 2,
                _ => 4,
            };
            let told = layer.describe(&map);
            assert!(told["high"].as_f64().unwrap() > told["low"].as_f64().unwrap(), "{told}");
            match layer.bytes(&map) {
                Some(bytes) => assert_eq!(bytes.len(), width * 42, "{}", layer.name()),
                None => assert!(layer.is_per_energy()),
            }
        }
        assert_eq!(Layer::from_name("../phase"), None);
    }

    #[test]
    fn colours_span_what_most_pixels_have() {
        let mut values: Vec<f32> = (0..1000).map(|i| i as f32).collect();
        values[3] = 1e9;
        values[4] = f32::NAN;
        let [low, high] = span(&values);
        assert!((10.0..40.0).contains(&low) && (960.0..1000.0).contains(&high), "{low} {high}");
        assert_eq!(span(&[]), [0.0, 1.0]);
        assert_eq!(span(&[5.0; 3]), [0.0, 5.0]);
    }
}
