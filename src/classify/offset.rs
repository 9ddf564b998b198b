//! The energy offset of a scan against its references, estimated from many pixels together.
//!
//! One pixel cannot tell a shift of the energy axis from another phase; a thousand pixels, which share one axis,
//! can. For offsets on a grid every reference is taken at `E + offset` and fitted to every pixel (`a·r + b`, a not
//! negative, weights 1/variance). A pixel's likelihood is that of Student's t, as heavy-tailed as it has values: it
//! scales itself by the pixel's misfit, so that references which describe the sample badly do not feign precision,
//! and a pixel that is none of the phases (a mixture, something foreign) says little. It is averaged over the
//! phases, all equally likely, and the logarithms are added up over the pixels ([`likelihood`]). The maximum is the
//! offset ([`peak`]).
//!
//! Beforehand offsets are distributed about 0 with a deviation of [`PRIOR_EV`]. Because neighbouring pixels share
//! the errors of the references, the pixels together count as no more than [`INDEPENDENT_PIXELS`] against that.
//!
//! The standard error has three parts: the scatter of the pixels (a sandwich, not the bare curvature), what leaving
//! out a part of the energies changes (a jackknife: I0 and references err at an energy for all pixels alike), and
//! how much the phases' own offsets differ (references whose axes disagree).
//!
//! The estimate is not trusted where there are too few pixels or energies, where the scan has no energy on one side
//! of the edge, where the maximum lies at the end of the grid, where the error is above [`estimate::MAX_ERROR_EV`], and where
//! another offset explains the scan nearly as well: phases that differ mainly by a shift (V3+, V4+, V5+) make one
//! phase at one offset look like another phase at another.
//!
//! What is *corrected* is not the beam's own offset but what brings references and sample together: the beam's offset and
//! what the references' own displacements have in common, and, where the pixels show them, these displacements ([`own`]) or a
//! slope over the scan ([`slope`]). It is known better than the beam's offset, whose error holds the displacements. Each of these
//! has to describe the same pixels better, mixtures considered, than without ([`evidence`]); nothing is corrected where another
//! offset is about as likely. A measured calibration, where there is one, is taken instead, and the fit only reported.
//!
//! A pure function of the values: pixels are chosen by their index, and sums are made in a fixed order.

mod correction;
mod estimate;
mod evidence;
mod likelihood;
mod own;
mod peak;
mod sample;
mod slope;

use serde::{Deserialize, Serialize};

use super::view::DensityView;
use super::{Targets, TriageSettings};
pub use correction::Correction;
pub use estimate::{EnergyScale, estimate_energies};

/// Largest offset that is looked for, eV, either way.
pub const MAX_OFFSET_EV: f64 = 1.3;
/// An offset is clearly not zero where it is larger than this many standard errors.
const CLEAR: f64 = 1.5;
/// And matters where it is larger than this, eV: no verdict hangs on less.
const LEAST_EV: f64 = 0.01;
/// A fit is at odds with a calibration where they differ by more than this many standard errors …
const ODDS: f64 = 2.0;
/// … and by more than this, eV.
const ODDS_EV: f64 = 0.03;
/// People are warned of offsets larger than this, eV.
pub const WARN_EV: f64 = 0.1;

/// What is done about an offset.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OffsetMode {
    /// It is told.
    Report,
    /// It is told, and taken out where it is trusted.
    #[default]
    Correct,
}

/// Why an estimate is not trusted.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OffsetDoubt {
    /// Nothing was estimated: too few pixels with an edge.
    FewPixels,
    /// Nothing was estimated: too few energies, or none behind the edge.
    FewEnergies,
    /// The best offset is at the end of what was looked at.
    OutOfRange,
    /// The error is too large.
    Vague,
    /// Another offset, eV, explains the scan about as well.
    Rival(f64),
}

/// The offset of a scan.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct EnergyOffset {
    /// Energy of the references less the energy of the scan, eV; NaN where nothing could be estimated.
    pub offset_ev: f64,
    /// Its standard error, eV; NaN where nothing could be estimated.
    pub error_ev: f64,
    /// How much larger the offset is per eV; 0 where the scan does not tell.
    pub slope: f64,
    /// The standard error of the slope, eV per eV; NaN where the scan does not tell.
    pub slope_error: f64,
    /// Number of pixels it was estimated from.
    pub pixels: usize,
    /// Why it is not trusted; `None` where it is.
    pub doubt: Option<OffsetDoubt>,
    /// What a measured calibration says the offset is, eV; `None` where none is configured.
    pub calibrated_ev: Option<f64>,
}

/// What interfaces tell of an offset.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct OffsetSummary {
    /// Energy of the references less the energy of the scan, eV; null where nothing could be estimated.
    pub offset_ev: Option<f64>,
    /// Its standard error, eV.
    pub error_ev: Option<f64>,
    /// How much larger the offset is per eV; 0 where the scan does not tell.
    pub slope: f64,
    /// The standard error of the slope, eV per eV; null where the scan does not tell.
    pub slope_error: Option<f64>,
    /// What a measured calibration says the offset is, eV; null where none is configured.
    pub calibrated_ev: Option<f64>,
    /// Number of pixels it was estimated from.
    pub pixels: usize,
    /// Whether it can be relied on, within its error.
    pub trusted: bool,
    /// Why not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub doubt: Option<OffsetDoubt>,
    /// Whether people should know: clear and above 0.1 eV, or at odds with the calibration.
    pub alarming: bool,
    /// What was added to the energies of the scan, eV, in their middle where there is a slope: 0 where nothing was corrected.
    pub correction_ev: f64,
}

impl Default for EnergyOffset {
    fn default() -> Self {
        Self::none(0, OffsetDoubt::FewPixels)
    }
}

impl EnergyOffset {
    fn none(pixels: usize, doubt: OffsetDoubt) -> Self {
        Self {
            offset_ev: f64::NAN,
            error_ev: f64::NAN,
            slope: 0.0,
            slope_error: f64::NAN,
            pixels,
            doubt: Some(doubt),
            calibrated_ev: None,
        }
    }

    /// Whether the estimate can be relied on, within its error.
    #[must_use]
    pub fn is_trusted(&self) -> bool {
        self.doubt.is_none()
    }

    /// Whether it is trusted, clearly not zero, and large enough to matter.
    #[must_use]
    pub fn is_significant(&self) -> bool {
        self.is_trusted() && self.offset_ev.abs() > LEAST_EV.max(CLEAR * self.error_ev)
    }

    /// Whether people should know: significant and above [`WARN_EV`], or at odds with the calibration.
    #[must_use]
    pub fn is_alarming(&self) -> bool {
        self.is_at_odds() || self.is_significant() && self.offset_ev.abs() > WARN_EV
    }

    /// Whether the fit disagrees with the configured calibration by more than its error allows.
    #[must_use]
    pub fn is_at_odds(&self) -> bool {
        let differs = |ev: f64| (self.offset_ev - ev).abs() > ODDS_EV.max(ODDS * self.error_ev);
        self.is_trusted() && self.calibrated_ev.is_some_and(differs)
    }

    /// The estimate as interfaces tell it, and what was added to the energies.
    #[must_use]
    pub fn summary(&self, correction_ev: f64) -> OffsetSummary {
        let known = |value: f64| Some(value).filter(|value| !value.is_nan());
        OffsetSummary {
            offset_ev: known(self.offset_ev),
            error_ev: known(self.error_ev),
            slope: self.slope,
            slope_error: known(self.slope_error),
            calibrated_ev: self.calibrated_ev,
            alarming: self.is_alarming(),
            pixels: self.pixels,
            trusted: self.is_trusted(),
            doubt: self.doubt,
            correction_ev,
        }
    }

    /// The estimate in words, without what was done about it.
    #[must_use]
    pub fn describe(&self) -> String {
        let slope = if self.slope == 0.0 {
            String::new()
        } else {
            format!(", {:+.4} +- {:.4} eV per eV", self.slope, self.slope_error)
        };
        let value =
            format!("{:+.3} +- {:.3} eV{slope} from {} pixels", self.offset_ev, self.error_ev, self.pixels);
        match self.doubt {
            None => value,
            Some(OffsetDoubt::FewPixels) => format!("not estimated: {} pixels with an edge", self.pixels),
            Some(OffsetDoubt::FewEnergies) => "not estimated: too few energies around the edge".to_owned(),
            Some(OffsetDoubt::OutOfRange) => {
                format!("not trusted: {value}, at the end of what is looked at")
            }
            Some(OffsetDoubt::Vague) => format!("not trusted: {value}, too uncertain"),
            Some(OffsetDoubt::Rival(rival)) => {
                format!("not trusted: {value}, but {rival:+.2} eV explains the scan nearly as well")
            }
        }
    }

    /// The estimate and what was done about it, as the table's metadata say it: `applied` was added to the energies.
    #[must_use]
    pub fn report(&self, applied: &Correction) -> String {
        let text = self.describe();
        let done = applied.describe();
        match self.calibrated_ev {
            Some(_) if self.is_at_odds() => {
                format!("calibration: {done} corrected; the fit is at odds with it: {text}")
            }
            Some(_) => format!("calibration: {done} corrected; fit: {text}"),
            None if !done.is_empty() => format!("{text}; {done} corrected"),
            None if self.is_significant() => format!("{text}; reported, not corrected"),
            None => text,
        }
    }
}

#[cfg(test)]
mod tests;
