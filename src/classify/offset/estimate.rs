//! From the pixels to the offset, its error, and what is to be corrected.

use super::correction::Correction;
use super::evidence;
use super::likelihood::{Form, ShiftedReferences, Table};
use super::own::{self, Own, WIDTH_EV};
use super::sample::Sample;
use super::slope;
use super::{
    DensityView, EnergyOffset, LEAST_EV, MAX_OFFSET_EV, OffsetDoubt, OffsetMode, Targets, TriageSettings,
    peak,
};
use crate::reference::ReferenceSet;

/// Deviation of the offsets that are expected, eV.
const PRIOR_EV: f64 = 0.5;
/// As many pixels of independent error, at most, are set against the prior.
const INDEPENDENT_PIXELS: f64 = 40.0;
/// Step of the first grid, eV.
const COARSE_EV: f64 = 0.05;
/// Pixels on that grid, at most; as many are asked which correction describes them best.
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
pub(super) const MAX_ERROR_EV: f64 = 0.15;
/// By how much the log-likelihood of the next best offset has to be lower.
const MIN_CONTRAST: f64 = 4.0;
/// The same where the references do not match, which shows where leaving out a range of energies moves the offset
/// by more than [`MISFIT_EV`].
const MISFIT_CONTRAST: f64 = 20.0;
const MISFIT_EV: f64 = 0.03;
/// References miss where ranges of energies contradict each other by more than this, eV, and by as many times what the scatter of
/// the pixels allows.
const MISSING_EV: f64 = 0.008;
const MISSING: f64 = 2.5;
/// A slope is looked for where they contradict each other by this many times what the scatter allows.
const CONTRADICTED: f64 = 1.2;
/// Another offset is another reading from this distance on, eV.
const RIVAL_EV: f64 = 0.15;
/// Fewer phases than this are one.
const ALONE: f64 = 1.5;
/// As many energies show whether the reference of a single phase matches.
const TELLING_ENERGIES: usize = 12;
/// As many phases are several.
const SEVERAL: f64 = 2.5;
/// Evidence that one parameter more has to bring.
const PRICE: f64 = 2.0;

/// The same of a slope: two parameters, and what references miss may look like one.
const SLOPE_PRICE: f64 = 5.0;

/// The energies of a scan against its references.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct EnergyScale {
    /// The offset as it was estimated.
    pub offset: EnergyOffset,
    /// What is to be added to the energies where they are to be corrected, or what the calibration adds.
    pub correction: Correction,
}

impl EnergyScale {
    /// What is added to the energies: nothing where offsets are only reported, unless they are calibrated.
    #[must_use]
    pub fn applied(&self, mode: OffsetMode) -> Correction {
        if mode == OffsetMode::Correct || self.offset.calibrated_ev.is_some() {
            self.correction.clone()
        } else {
            Correction::none()
        }
    }
}

/// Estimates how the energies of the scan in `view` lie against the references. `energies_ev` are the energies of the scan as
/// they are taken to be: set-points or read-back. With a measured `calibration` the fit looks at what that leaves, tells the whole,
/// and corrects nothing.
#[must_use]
pub fn estimate_energies(
    view: &DensityView<'_>,
    references: &ReferenceSet,
    energies_ev: &[f64],
    triage: &TriageSettings,
    calibration: Option<&Correction>,
) -> EnergyScale {
    let Some(calibration) = calibration else { return estimate(view, references, energies_ev, triage) };
    let mut scale = estimate(view, references, &calibration.apply(energies_ev), triage);
    let (first, last) = ends(energies_ev);
    let there_ev = calibration.at(0.5 * (first + last));
    scale.offset.offset_ev += there_ev;
    scale.offset.calibrated_ev = Some(there_ev);
    scale.correction = calibration.clone();
    scale
}

fn estimate(
    view: &DensityView<'_>,
    references: &ReferenceSet,
    energies_ev: &[f64],
    triage: &TriageSettings,
) -> EnergyScale {
    let targets = &Targets::new(references, energies_ev);
    let mut used: Vec<usize> = (0..targets.energies_ev.len()).filter(|&e| targets.used[e]).collect();
    used.sort_by(|&a, &b| targets.energies_ev[a].total_cmp(&targets.energies_ev[b]));
    let none = |pixels: usize, doubt: OffsetDoubt| EnergyScale {
        offset: EnergyOffset::none(pixels, doubt),
        correction: Correction::none(),
    };
    if used.len() < triage.min_energies.max(4) as usize || !targets.sides[1] {
        return none(0, OffsetDoubt::FewEnergies);
    }
    let sample = Sample::new(view, targets, &used, triage);
    if sample.pixels() < MIN_PIXELS {
        return none(sample.pixels(), OffsetDoubt::FewPixels);
    }
    let used_ev: Vec<f64> = used.iter().map(|&e| targets.energies_ev[e]).collect();
    let fit = Fit {
        references,
        energies_ev: &used_ev,
        few: sample.every(sample.pixels().div_ceil(COARSE_PIXELS)),
        sample,
    };
    let Some(found) = fit.offset() else { return none(fit.sample.pixels(), OffsetDoubt::Vague) };
    let mut scale = EnergyScale { offset: found.offset, correction: Correction::none() };
    if matches!(found.offset.doubt, None | Some(OffsetDoubt::Vague)) {
        fit.correct(view, energies_ev, &found, &mut scale);
    }
    scale
}

/// What is fitted to what.
struct Fit<'a> {
    references: &'a ReferenceSet,
    energies_ev: &'a [f64],
    sample: Sample,
    few: Sample,
}

/// The common offset, and what the corrections need of its fit.
struct Found {
    offset: EnergyOffset,
    own: Own,
    /// The same, from where every phase is as common as any other.
    even: Option<Own>,
    /// Whether ranges of energies say different things of the offset.
    contradicted: bool,
    /// What the references' displacements may have in common, eV, and whether the error holds it.
    shared_ev: f64,
    missing: bool,
}

impl Fit<'_> {
    /// The offset that all references have in common, with its error.
    fn offset(&self) -> Option<Found> {
        let (references, energies_ev, pixels) = (self.references, self.energies_ev, self.sample.pixels());
        let steps = (MAX_OFFSET_EV / COARSE_EV).round() as usize;
        let grid = ShiftedReferences::new(references, energies_ev, 0.0, COARSE_EV, steps);
        let coarse = Table::new(&self.few, &grid, Form::Own);
        let prior = |offset_ev: f64| -0.5 * (offset_ev / PRIOR_EV).powi(2);
        let temper = (INDEPENDENT_PIXELS / self.few.pixels() as f64).min(1.0);
        let sums = coarse.total().into_iter().zip(coarse.offsets());
        let curve: Vec<f64> = sums.map(|(sum, offset)| temper * sum + prior(*offset)).collect();
        let best = peak::maximum(&curve)?;
        let fine =
            ShiftedReferences::new(references, energies_ev, coarse.offsets()[best], FINE_EV, FINE_STEPS);
        let table = Table::new(&self.sample, &fine, Form::Common);
        let found = peak::refine(&table, (INDEPENDENT_PIXELS / pixels as f64).min(1.0), PRIOR_EV);
        let energy_error_ev = self.error_of_energies(self.energies_ev, found.offset_ev);
        let own = own::search(&table, found.offset_ev, own::LEAST_SHARE);
        // With several phases there, one that is not may be lost to another.
        let even = (own.effective_phases() >= SEVERAL)
            .then(|| own::search(&table, found.offset_ev, 1.0 / table.phases() as f64));
        let mismatched = energy_error_ev > MISFIT_EV;
        // References that miss, so that energies contradict each other more than their noise does, have displacements; what these
        // have in common passes for an offset of the beam.
        let missing = mismatched || energy_error_ev > MISSING_EV.max(MISSING * found.error_ev);
        let shared_ev = WIDTH_EV / own.effective_phases().sqrt();
        let error_ev = found.error_ev.hypot(energy_error_ev).hypot(if missing { shared_ev } else { 0.0 });
        let apart = (RIVAL_EV.max(2.0 * error_ev) / COARSE_EV).round() as usize;
        // A few energies of one phase hide whether its reference matches.
        let hidden = own.effective_phases() < ALONE && energies_ev.len() < TELLING_ENERGIES;
        let contrast = if mismatched || hidden { MISFIT_CONTRAST } else { MIN_CONTRAST };
        let doubt = match peak::rival(&curve, best, apart, contrast) {
            _ if best == 0 || best + 1 == curve.len() => Some(OffsetDoubt::OutOfRange),
            Some(rival) => Some(OffsetDoubt::Rival(coarse.offsets()[rival])),
            None if error_ev.is_nan() || error_ev > MAX_ERROR_EV => Some(OffsetDoubt::Vague),
            None => None,
        };
        let offset = EnergyOffset {
            offset_ev: found.offset_ev,
            error_ev,
            doubt,
            ..EnergyOffset::none(pixels, OffsetDoubt::Vague)
        };
        let contradicted = energy_error_ev > CONTRADICTED * found.error_ev;
        Some(Found { offset, own, even, contradicted, shared_ev, missing })
    }

    /// Chooses what is corrected: nothing, the common offset, that with a slope, or each reference's own.
    fn correct(&self, view: &DensityView<'_>, energies_ev: &[f64], found: &Found, scale: &mut EnergyScale) {
        let offset_ev = found.offset.offset_ev;
        let several = found.own.effective_phases() >= SEVERAL;
        if found.offset.doubt.is_some() && !several {
            return;
        }
        let (first, last) = ends(self.energies_ev);
        let common = Correction { middle_ev: 0.5 * (first + last), ..Correction::constant(offset_ev) };
        let displaced = |own: &Own| {
            let own_ev = own.offsets_ev.iter().map(|of| of - own.common_ev).collect();
            (Correction { own_ev, offset_ev: own.common_ev, ..common.clone() }, own.cost() + PRICE)
        };
        // One phase cannot tell a slope from lines that lie apart otherwise than its reference's.
        let alone = found.own.effective_phases() < ALONE;
        let slope = (!alone && found.contradicted)
            .then(|| slope::search(&self.few, self.references, self.energies_ev, offset_ev))
            .flatten()
            .and_then(|slope| {
                slope.widened(self.error_of_energies(&slope.tilt(self.energies_ev), 0.0), last - first)
            });
        // Each with what it costs beyond the common offset.
        let mut candidates = vec![(Correction::none(), 0.0), (common.clone(), 0.0), displaced(&found.own)];
        candidates.extend(found.even.as_ref().map(displaced));
        let sloping = slope.map(|slope| (slope.correction(common.middle_ev), slope.cost() + SLOPE_PRICE));
        let sloping_at = sloping.map(|candidate| {
            candidates.push(candidate);
            candidates.len() - 1
        });
        let asked: Vec<&Correction> = candidates.iter().map(|(correction, _)| correction).collect();
        let worth = evidence::weigh(view, &self.few.chosen, self.references, energies_ev, &asked);
        let price = 0.5 * (offset_ev / PRIOR_EV).powi(2) + PRICE;
        let mut best = (0.0, 0);
        for (index, (correction, cost)) in candidates.iter().enumerate().skip(1) {
            let net = worth[index] - price - cost;
            let matters = correction.distance_ev(&Correction::none(), &[first, last]) >= LEAST_EV;
            if matters && net > best.0 {
                best = (net, index);
            }
        }
        let chosen = &candidates[best.1].0;
        if best.1 > 0 {
            scale.offset.offset_ev = chosen.offset_ev;
        }
        if !found.missing && !chosen.own_ev.is_empty() {
            scale.offset.error_ev = scale.offset.error_ev.hypot(found.shared_ev);
        }
        if let Some(slope) = slope.filter(|_| Some(best.1) == sloping_at) {
            (scale.offset.slope, scale.offset.slope_error) = (slope.slope, slope.error);
        }
        scale.correction = chosen.rounded();
    }

    /// Standard error of an offset from leaving out one part of the energies after the other. A part is a range of
    /// energies: neighbouring energies share the errors of the references.
    fn error_of_energies(&self, energies_ev: &[f64], offset_ev: f64) -> f64 {
        let sample = self.sample.every(self.sample.pixels().div_ceil(JACKKNIFE_PIXELS));
        let shifted = ShiftedReferences::new(self.references, energies_ev, offset_ev, JACKKNIFE_EV, 1);
        let curve = |table: Table| {
            let total = table.total();
            [total[0], total[1], total[2]]
        };
        let whole = curve(Table::new(&sample, &shifted, Form::Own));
        let energies = energies_ev.len();
        let parts = energies.min(JACKKNIFE_PARTS);
        let part_of = |e: usize| e * parts / energies;
        let without: Vec<[f64; 3]> =
            Table::leaving_out(&sample, &shifted, Form::Own, parts, part_of).into_iter().map(curve).collect();
        peak::jackknife(&whole, &without, JACKKNIFE_EV)
    }
}

/// The lowest and the highest energy.
fn ends(energies_ev: &[f64]) -> (f64, f64) {
    energies_ev.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), &e| (l.min(e), h.max(e)))
}
