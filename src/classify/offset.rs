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
//! of the edge, where the maximum lies at the end of the grid, where the error is above [`MAX_ERROR_EV`], and where
//! another offset explains the scan nearly as well: phases that differ mainly by a shift (V3+, V4+, V5+) make one
//! phase at one offset look like another phase at another.
//!
//! A pure function of the values: pixels are chosen by their index, and sums are made in a fixed order.

mod likelihood;
mod peak;
mod sample;

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::view::DensityView;
use super::{Targets, TriageSettings};
use crate::reference::ReferenceSet;
use likelihood::{ShiftedReferences, Table};
use sample::Sample;

/// Largest offset that is looked for, eV, either way.
pub const MAX_OFFSET_EV: f64 = 1.3;
/// Deviation of the offsets that are expected, eV.
const PRIOR_EV: f64 = 0.5;
/// As many pixels of independent error, at most, are set against the prior.
const INDEPENDENT_PIXELS: f64 = 40.0;
/// Step of the first grid, eV.
const COARSE_EV: f64 = 0.05;
/// Pixels on that grid, at most.
const COARSE_PIXELS: usize = 256;
/// Step of the second grid, eV, and how far it reaches, steps either way.
const FINE_EV: f64 = 0.03;
const FINE_STEPS: usize = 8;
/// Step of the curves of the jackknife, eV, and most parts of the energies.
const JACKKNIFE_EV: f64 = 0.03;
const JACKKNIFE_PARTS: usize = 10;
/// Pixels of the jackknife, at most.
const JACKKNIFE_PIXELS: usize = 512;
/// Fewest pixels.
const MIN_PIXELS: usize = 24;
/// Largest standard error that is trusted, eV.
const MAX_ERROR_EV: f64 = 0.15;
/// By how much the log-likelihood of the next best offset has to be lower.
const MIN_CONTRAST: f64 = 4.0;
/// The same where the references do not match, which shows where leaving out a range of energies moves the offset
/// by more than [`MISFIT_EV`].
const MISFIT_CONTRAST: f64 = 20.0;
const MISFIT_EV: f64 = 0.03;
/// Another offset is another reading from this distance on, eV.
const RIVAL_EV: f64 = 0.15;
/// The offset is corrected where it is larger than this many standard errors.
const CLEAR: f64 = 1.5;
/// And larger than this, eV: no verdict hangs on less.
const LEAST_EV: f64 = 0.01;
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
    /// Number of pixels it was estimated from.
    pub pixels: usize,
    /// Why it is not trusted; `None` where it is.
    pub doubt: Option<OffsetDoubt>,
}

/// What interfaces tell of an offset.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct OffsetSummary {
    /// Energy of the references less the energy of the scan, eV; null where nothing could be estimated.
    pub offset_ev: Option<f64>,
    /// Its standard error, eV.
    pub error_ev: Option<f64>,
    /// Number of pixels it was estimated from.
    pub pixels: usize,
    /// Whether it can be relied on, within its error.
    pub trusted: bool,
    /// Why not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub doubt: Option<OffsetDoubt>,
    /// What was added to every energy of the scan, eV: 0 where nothing was corrected.
    pub correction_ev: f64,
}

impl Default for EnergyOffset {
    fn default() -> Self {
        Self::none(0, OffsetDoubt::FewPixels)
    }
}

impl EnergyOffset {
    fn none(pixels: usize, doubt: OffsetDoubt) -> Self {
        Self { offset_ev: f64::NAN, error_ev: f64::NAN, pixels, doubt: Some(doubt) }
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

    /// Whether people should know: significant and above [`WARN_EV`].
    #[must_use]
    pub fn is_alarming(&self) -> bool {
        self.is_significant() && self.offset_ev.abs() > WARN_EV
    }

    /// What is added to the energies of the scan, eV: the offset, to 1 meV, where it is to be corrected and is
    /// significant; else 0.
    #[must_use]
    pub fn correction_ev(&self, mode: OffsetMode) -> f64 {
        if mode == OffsetMode::Correct && self.is_significant() {
            (self.offset_ev * 1e3).round() / 1e3
        } else {
            0.0
        }
    }

    /// The estimate as interfaces tell it, and what was added to the energies.
    #[must_use]
    pub fn summary(&self, correction_ev: f64) -> OffsetSummary {
        let known = |value: f64| Some(value).filter(|value| !value.is_nan());
        OffsetSummary {
            offset_ev: known(self.offset_ev),
            error_ev: known(self.error_ev),
            pixels: self.pixels,
            trusted: self.is_trusted(),
            doubt: self.doubt,
            correction_ev,
        }
    }

    /// The estimate in words, without what was done about it.
    #[must_use]
    pub fn describe(&self) -> String {
        let value = format!("{:+.3} +- {:.3} eV from {} pixels", self.offset_ev, self.error_ev, self.pixels);
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

    /// The estimate and what was done about it, as the table's metadata say it: `applied_ev` was added to the
    /// energies.
    #[must_use]
    pub fn report(&self, applied_ev: f64) -> String {
        let text = self.describe();
        if applied_ev != 0.0 {
            format!("{text}; {applied_ev:+.3} eV corrected")
        } else if self.is_significant() {
            format!("{text}; reported, not corrected")
        } else {
            text
        }
    }
}

/// Estimates the offset of the scan in `view`. `energies_ev` are the energies of the scan as they are taken to be:
/// set-points or read-back.
#[must_use]
pub fn estimate_offset(
    view: &DensityView<'_>,
    references: &ReferenceSet,
    energies_ev: &[f64],
    triage: &TriageSettings,
) -> EnergyOffset {
    let targets = &Targets::new(references, energies_ev);
    let mut used: Vec<usize> = (0..targets.energies_ev.len()).filter(|&e| targets.used[e]).collect();
    used.sort_by(|&a, &b| targets.energies_ev[a].total_cmp(&targets.energies_ev[b]));
    if used.len() < triage.min_energies.max(4) as usize || !targets.sides[1] {
        return EnergyOffset::none(0, OffsetDoubt::FewEnergies);
    }
    let sample = Sample::new(view, targets, &used, triage);
    let pixels = sample.pixels();
    if pixels < MIN_PIXELS {
        return EnergyOffset::none(pixels, OffsetDoubt::FewPixels);
    }
    let energies_ev: Vec<f64> = used.iter().map(|&e| targets.energies_ev[e]).collect();
    let few = sample.every(pixels.div_ceil(COARSE_PIXELS));
    let steps = (MAX_OFFSET_EV / COARSE_EV).round() as usize;
    let coarse = Table::new(&few, &ShiftedReferences::new(references, &energies_ev, 0.0, COARSE_EV, steps));
    let prior = |offset_ev: f64| -0.5 * (offset_ev / PRIOR_EV).powi(2);
    let temper = (INDEPENDENT_PIXELS / few.pixels() as f64).min(1.0);
    let curve: Vec<f64> = coarse
        .total()
        .iter()
        .zip(coarse.offsets())
        .map(|(sum, offset)| temper * sum + prior(*offset))
        .collect();
    let Some(best) = peak::maximum(&curve) else { return EnergyOffset::none(pixels, OffsetDoubt::Vague) };
    let centre_ev = coarse.offsets()[best];
    let fine = ShiftedReferences::new(references, &energies_ev, centre_ev, FINE_EV, FINE_STEPS);
    let temper = (INDEPENDENT_PIXELS / pixels as f64).min(1.0);
    let found = peak::refine(&Table::new(&sample, &fine), temper, PRIOR_EV);
    let half = sample.every(pixels.div_ceil(JACKKNIFE_PIXELS));
    let energy_error_ev = error_of_energies(&half, references, &energies_ev, found.offset_ev);
    let error_ev = found.error_ev.hypot(energy_error_ev);
    let apart = (RIVAL_EV.max(2.0 * error_ev) / COARSE_EV).round() as usize;
    let contrast = if energy_error_ev > MISFIT_EV { MISFIT_CONTRAST } else { MIN_CONTRAST };
    let rival = peak::rival(&curve, best, apart, contrast);
    let doubt = match rival {
        _ if best == 0 || best + 1 == curve.len() => Some(OffsetDoubt::OutOfRange),
        Some(rival) => Some(OffsetDoubt::Rival(coarse.offsets()[rival])),
        None if error_ev.is_nan() || error_ev > MAX_ERROR_EV => Some(OffsetDoubt::Vague),
        None => None,
    };
    EnergyOffset { offset_ev: found.offset_ev, error_ev, pixels, doubt }
}

/// Standard error of an offset from leaving out one part of the energies after the other. A part is a range of
/// energies: neighbouring energies share the errors of the references.
fn error_of_energies(sample: &Sample, references: &ReferenceSet, energies_ev: &[f64], offset_ev: f64) -> f64 {
    let shifted = ShiftedReferences::new(references, energies_ev, offset_ev, JACKKNIFE_EV, 1);
    let curve = |table: Table| {
        let total = table.total();
        [total[0], total[1], total[2]]
    };
    let whole = curve(Table::new(sample, &shifted));
    let (parts, energies) = (energies_ev.len().min(JACKKNIFE_PARTS), energies_ev.len());
    let without: Vec<[f64; 3]> = (0..parts)
        .map(|part| curve(Table::without(sample, &shifted, |e| e * parts / energies == part)))
        .collect();
    peak::jackknife(&whole, &without, JACKKNIFE_EV)
}

#[cfg(test)]
mod tests;
