//! Triage: which pixels are decided, and which have to be looked at again.
//!
//! In this order: *unmeasured* (no value); *saturated* (more than half of what was measured is unusable);
//! *ambiguous* for want of energies (no verdict before [`TriageSettings::min_energies`] on both sides of the
//! edge, one of them in the white line); *background* (edge jump below its limit); *classified*; else *ambiguous*. All
//! that have a best guess and are not beyond doubt are looked at again ([`super::consult`]): they may be two phases along the beam, or nothing known.
//!
//! References may correlate at 0.98 with each other, so a high coefficient alone says nothing. The default rule
//! asks for evidence: the first guess is the phase of the least weighted chi², and it counts as classified where the
//! evidence is clear; the second look then weighs mixtures and neighbours, too. Evidence is chi² of the rival less chi² of the best, in units of
//! the noise and of what the references miss in this scan ([`super::confidence`]), and it has a limit where the
//! energies seen cannot tell the two apart. The margin rule, two coefficients and a threshold, is the one published
//! for the method; its best guess is that of the highest correlation.

use serde::{Deserialize, Serialize};

use super::confidence::{Scale, log_sum};
use super::correlation::PixelSums;
use super::{Ambiguity, Method, NO_PHASE, NO_READINGS, Status, Targets};

/// How a pixel is decided.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Rule {
    /// By noise-scaled evidence and correlation.
    #[default]
    Evidence,
    /// By the margin between the two best correlations.
    Margin,
}

/// The limits of triage.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TriageSettings {
    /// The rule.
    pub rule: Rule,
    /// Fewest energies for a verdict.
    pub min_energies: u32,
    /// Least evidence for `classified` (evidence rule).
    pub min_delta_chi2: f32,
    /// Least correlation for `classified` (both rules).
    pub min_correlation: f32,
    /// Least margin for `classified` (margin rule).
    pub min_margin: f32,
    /// Edge jump below which a pixel is background, OD.
    pub background_edge_jump: f32,
    /// Least posterior for a verdict of the GMVAE.
    pub min_posterior: f32,
    /// Whether neighbouring pixels are asked.
    pub neighbours: bool,
    /// Least confidence for `classified` (evidence rule).
    pub min_confidence: f32,
    /// Least probability of a pair for `mixture`.
    pub min_mixture: f32,
}

impl Default for TriageSettings {
    fn default() -> Self {
        Self {
            rule: Rule::Evidence,
            min_energies: 6,
            min_delta_chi2: 4.0,
            min_correlation: 0.9,
            min_margin: 0.02,
            background_edge_jump: 0.1,
            min_posterior: 0.9,
            neighbours: true,
            min_confidence: 0.95,
            min_mixture: 0.5,
        }
    }
}

/// What is known of one pixel before it is judged.
#[derive(Clone, Copy, Debug)]
pub struct Reading<'a> {
    /// Correlation with each reference, NaN where undefined.
    pub correlations: &'a [f32],
    /// chi² of each reference, the noise factor applied.
    pub chi2: &'a [f32],
    /// Energies, sides of the edge, edge jump, and the chi² of a constant.
    pub sums: PixelSums,
    /// Energies with a usable value.
    pub seen: u16,
    /// Energies measured but not usable.
    pub masked: u16,
    /// How many of the masked say nothing of the sample.
    pub void: u16,
    /// Relative misfit of the references in this scan, squared; 0 for exact ones.
    pub misfit: f64,
    /// 1/limit of the evidence of one phase over another at these energies, `[phase * phases + rival]`; empty: no
    /// limit.
    pub contrast: &'a [f32],
}

impl Reading<'_> {
    /// What turns the chi² of this pixel into evidence.
    pub(super) fn scale(&self) -> Scale<'_> {
        let freedom = f64::from(self.sums.energies.saturating_sub(2).max(1));
        Scale { misfit: self.misfit, contrast: self.contrast, freedom }
    }
}

/// The verdict on one pixel.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Verdict {
    /// Status.
    pub status: Status,
    /// Best phase, or [`NO_PHASE`].
    pub phase: u8,
    /// Second best, or [`NO_PHASE`].
    pub runner_up: u8,
    /// What decided.
    pub method: Method,
    /// Evidence of `phase` over `runner_up`; negative where the prior decided against it.
    pub delta_chi2: f32,
    /// Probability of `phase`.
    pub confidence: f32,
    /// Reduced chi² of `phase`.
    pub fit_chi2: f32,
    /// Cause of ambiguity.
    pub ambiguity: Ambiguity,
    /// Whether the prior changed the best phase or the status.
    pub smoothed: bool,
    /// Two readings that describe the spectrum about equally well, each a phase or two; [`NO_READINGS`] where
    /// there is one only.
    pub readings: [u8; 4],
}

impl Verdict {
    fn none(status: Status, ambiguity: Ambiguity) -> Self {
        Self {
            status,
            phase: NO_PHASE,
            runner_up: NO_PHASE,
            method: Method::None,
            delta_chi2: f32::NAN,
            confidence: f32::NAN,
            fit_chi2: f32::NAN,
            ambiguity,
            smoothed: false,
            readings: NO_READINGS,
        }
    }
}

/// The verdict on a pixel whose phase is not to be asked for: nothing there, nothing usable, or too little yet.
pub(super) fn prejudge(
    reading: &Reading<'_>,
    targets: &Targets,
    settings: &TriageSettings,
) -> Option<Verdict> {
    let measured = reading.seen + reading.masked;
    if measured == 0 {
        return Some(Verdict::none(Status::Unmeasured, Ambiguity::None));
    }
    // A lost beam is no opaque pixel.
    if u32::from(reading.masked.saturating_sub(reading.void)) * 2
        > u32::from(measured.saturating_sub(reading.void))
    {
        return Some(Verdict::none(Status::Saturated, Ambiguity::None));
    }
    // A side of which nothing is to be had any more is not waited for.
    let is_spoilt = reading.void > 0 && usize::from(measured) >= targets.energies_ev.len();
    // A pixel that has energies of its own may have none before the edge: then its white line has to tell.
    let [before, behind] = reading.sums.sides;
    let sides = behind || !targets.sides[1];
    let sides = sides && (before || !targets.sides[0] || (behind && reading.sums.white_line));
    let sides = sides || is_spoilt;
    if reading.sums.energies < settings.min_energies || !sides {
        return Some(Verdict::none(Status::Ambiguous, Ambiguity::Noise));
    }
    if is_background(reading, targets, settings.background_edge_jump) {
        return Some(Verdict::none(Status::Background, Ambiguity::None));
    }
    reading
        .correlations
        .iter()
        .all(|r| r.is_nan())
        .then(|| Verdict::none(Status::Ambiguous, Ambiguity::Reference))
}

/// Whether the edge jump is below `limit`: that of the windows and the one that the best fit stands for, the latter by
/// its error where the energies show too little of the white line. NaN, where a window has no energy, is no reason to call a pixel empty.
fn is_background(reading: &Reading<'_>, targets: &Targets, limit: f32) -> bool {
    /// Standard errors above a fitted jump at which it may still lie, and below which it is none.
    const ERRORS: (f32, f32) = (3.0, 2.0);
    /// What a fitted jump may be wrong by, relative to itself, where few energies show it.
    const RELATIVE: f32 = 0.2;
    let of_windows = reading.sums.edge_jump < limit;
    // A pixel without an energy before the edge, where others have one, has only the fit to tell by.
    let only_fitted = reading.sums.edge_jump.is_nan() && targets.sides[0] && !reading.sums.sides[0];
    if !of_windows && !only_fitted {
        return false;
    }
    let Some(best) = (0..reading.chi2.len()).min_by(|&a, &b| reading.chi2[a].total_cmp(&reading.chi2[b]))
    else {
        return of_windows;
    };
    let jump = reading.sums.amount * targets.full_jump[best] as f32;
    let explained = (reading.sums.signal - reading.chi2[best]).max(f32::MIN_POSITIVE);
    let error = jump / explained.sqrt();
    let relative = if targets.jump_is_told { 0.0 } else { RELATIVE };
    // Windows and fit have to agree: a single noisy value does not empty a pixel.
    jump.is_nan() && of_windows
        || jump * (1.0 + relative) + ERRORS.0 * error < limit
        || jump < ERRORS.1 * error
}

/// Judges one pixel.
#[must_use]
pub fn judge(reading: &Reading<'_>, targets: &Targets, settings: &TriageSettings) -> Verdict {
    if let Some(verdict) = prejudge(reading, targets, settings) {
        return verdict;
    }
    let (scale, phases) = (reading.scale(), reading.chi2.len());
    let chi2 = |k: usize| f64::from(reading.chi2[k]);
    let fitted = |k: &usize| !reading.correlations[*k].is_nan();
    let Some(least) = (0..phases).filter(fitted).min_by(|&a, &b| chi2(a).total_cmp(&chi2(b))) else {
        return Verdict::none(Status::Ambiguous, Ambiguity::Reference);
    };
    let dispersion = scale.dispersion(chi2(least), f64::from(reading.sums.signal));
    let evidence = |k: usize| scale.evidence(least, k, chi2(k) - chi2(least), dispersion, phases);
    let score = |k: usize| match fitted(&k) {
        true => -0.5 * evidence(k),
        false => f64::NEG_INFINITY,
    };
    let rank = |k: usize| match settings.rule {
        Rule::Evidence => score(k),
        Rule::Margin => f64::from(reading.correlations[k]),
    };
    let Some([best, second]) = two_best(phases, rank) else {
        return Verdict::none(Status::Ambiguous, Ambiguity::Reference);
    };
    let confidence = (score(best) - log_sum((0..phases).map(score))).exp();
    let correlation = reading.correlations[best];
    let fits = correlation >= settings.min_correlation;
    let clear = match settings.rule {
        Rule::Evidence => 2.0 * (score(best) - score(second)) >= f64::from(settings.min_delta_chi2),
        Rule::Margin => correlation - reading.correlations[second] >= settings.min_margin,
    };
    // Where the energies miss the white line, what is left to tell by is what backgrounds do as well.
    let clear = clear && reading.sums.white_line;
    let (status, ambiguity) = match (fits, clear) {
        (true, true) => (Status::Classified, Ambiguity::None),
        (true, false) => (Status::Ambiguous, Ambiguity::Noise),
        (false, _) => (Status::Ambiguous, Ambiguity::Reference),
    };
    Verdict {
        status,
        phase: best as u8,
        runner_up: second as u8,
        method: Method::Pearson,
        delta_chi2: (evidence(second) - evidence(best)) as f32,
        confidence: confidence as f32,
        fit_chi2: (chi2(best) / scale.freedom) as f32,
        ambiguity,
        smoothed: false,
        readings: NO_READINGS,
    }
}

/// Indices of the highest and the second highest rank that is a number; of equal ones the earlier.
fn two_best(phases: usize, rank: impl Fn(usize) -> f64) -> Option<[usize; 2]> {
    let best_but = |not: Option<usize>| {
        let mut best: Option<(usize, f64)> = None;
        for k in 0..phases {
            let value = rank(k);
            if Some(k) != not && value > best.map_or(f64::NEG_INFINITY, |(_, most)| most) {
                best = Some((k, value));
            }
        }
        best.map(|(k, _)| k)
    };
    let best = best_but(None)?;
    Some([best, best_but(Some(best))?])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::classify::tests::references;

    fn targets() -> Targets {
        Targets::new(&references(), &[508.0, 510.0, 514.0, 515.5, 516.3, 517.1, 520.0, 525.0])
    }

    fn reading<'a>(correlations: &'a [f32], chi2: &'a [f32]) -> Reading<'a> {
        let sums = PixelSums {
            energies: 8,
            sides: [true, true],
            edge_jump: 0.5,
            white_line: true,
            signal: 1000.0,
            amount: 1.0,
        };
        Reading { correlations, chi2, sums, seen: 8, masked: 0, void: 0, misfit: 0.0, contrast: &[] }
    }

    fn judge_with(correlations: &[f32], chi2: &[f32], change: impl Fn(&mut Reading<'_>)) -> Verdict {
        let mut reading = reading(correlations, chi2);
        change(&mut reading);
        judge(&reading, &targets(), &TriageSettings::default())
    }

    #[test]
    fn evidence_decides() {
        let verdict = judge_with(&[0.97, 0.99, 0.5], &[30.0, 6.0, 400.0], |_| {});
        assert_eq!((verdict.status, verdict.phase, verdict.runner_up), (Status::Classified, 1, 0));
        assert_eq!((verdict.delta_chi2, verdict.fit_chi2), (24.0, 1.0));
        assert!(verdict.confidence > 0.9999);
    }

    #[test]
    fn weak_evidence_is_noise() {
        let verdict = judge_with(&[0.985, 0.99, 0.5], &[8.0, 6.0, 400.0], |_| {});
        assert_eq!((verdict.status, verdict.ambiguity), (Status::Ambiguous, Ambiguity::Noise));
        assert_eq!(verdict.phase, 1, "still the best guess");
        assert!((verdict.confidence - 1.0 / (1.0 + (-1.0_f32).exp())).abs() < 1e-5);
    }

    #[test]
    fn what_no_reference_describes_does_not_pass_as_precision() {
        // Twenty times the noise is left over: and one pixel's own residual counts half.
        let verdict = judge_with(&[0.97, 0.99, 0.5], &[144.0, 120.0, 900.0], |_| {});
        assert_eq!(verdict.status, Status::Ambiguous);
        assert_eq!(verdict.delta_chi2, 24.0 / 10.5);
    }

    #[test]
    fn a_poor_correlation_is_a_matter_of_references() {
        let verdict = judge_with(&[0.7, 0.8, 0.5], &[100.0, 6.0, 400.0], |_| {});
        assert_eq!((verdict.status, verdict.ambiguity), (Status::Ambiguous, Ambiguity::Reference));
    }

    #[test]
    fn no_verdict_before_there_are_enough_energies_on_both_sides() {
        let good = (&[0.97, 0.99, 0.5][..], &[30.0, 6.0, 400.0][..]);
        let few = judge_with(good.0, good.1, |reading| reading.sums.energies = 5);
        let one_side = judge_with(good.0, good.1, |reading| reading.sums.sides = [true, false]);
        for verdict in [few, one_side] {
            assert_eq!((verdict.status, verdict.phase), (Status::Ambiguous, NO_PHASE));
        }
    }

    #[test]
    fn the_rest_in_order() {
        let good = (&[0.97, 0.99, 0.5][..], &[30.0, 6.0, 400.0][..]);
        let status = |change: fn(&mut Reading<'_>)| judge_with(good.0, good.1, change).status;
        assert_eq!(status(|r| (r.seen, r.masked) = (0, 0)), Status::Unmeasured);
        assert_eq!(status(|r| (r.seen, r.masked) = (3, 5)), Status::Saturated);
        assert_eq!(status(|r| (r.seen, r.masked) = (4, 4)), Status::Classified);
        assert_eq!(status(|r| (r.seen, r.masked, r.void) = (3, 5, 3)), Status::Classified);
        assert_eq!(status(|r| (r.sums.edge_jump, r.sums.amount) = (0.05, 0.02)), Status::Background);
        assert_eq!(status(|r| r.sums.edge_jump = f32::NAN), Status::Classified, "no pre-edge planned");
        assert_eq!(status(|r| r.sums.white_line = false), Status::Ambiguous);
        assert_eq!(judge_with(&[f32::NAN; 3], &[0.0; 3], |_| {}).ambiguity, Ambiguity::Reference);
    }

    #[test]
    fn few_energies_miss_the_peak_and_the_fit_tells_the_jump() {
        let good = (&[0.97, 0.99, 0.5][..], &[30.0, 6.0, 400.0][..]);
        let thick = judge_with(good.0, good.1, |reading| reading.sums.edge_jump = 0.05);
        assert_eq!(
            thick.status,
            Status::Classified,
            "the windows hold too few energies to say that it is thin"
        );
        let many: Vec<f64> = (0..80).map(|i| 508.0 + 0.2 * f64::from(i)).collect();
        let mut reading = reading(good.0, good.1);
        (reading.sums.edge_jump, reading.sums.amount) = (0.05, 0.05);
        let verdict = judge(&reading, &Targets::new(&references(), &many), &TriageSettings::default());
        assert_eq!(verdict.status, Status::Background);
    }

    #[test]
    fn the_margin_rule_looks_at_coefficients_only() {
        let settings = TriageSettings { rule: Rule::Margin, ..TriageSettings::default() };
        let status = |correlations: &[f32]| {
            judge(&reading(correlations, &[9.0, 9.0, 9.0]), &targets(), &settings).status
        };
        assert_eq!(status(&[0.96, 0.99, 0.5]), Status::Classified);
        assert_eq!(status(&[0.98, 0.99, 0.5]), Status::Ambiguous);
    }
}
