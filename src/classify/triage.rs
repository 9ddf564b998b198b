//! Triage: which pixels are decided, and which have to be looked at again.
//!
//! In this order: *unmeasured* (no value); *saturated* (more than half of what was measured is unusable);
//! *ambiguous* for want of energies (no verdict before [`TriageSettings::min_energies`] on both sides of the
//! edge); *background* (edge jump below its limit); *classified*; else *ambiguous*. A classified pixel whose fit
//! leaves more than the noise can is looked at again, too: it may be two phases along the beam.
//!
//! References may correlate at 0.98 with each other, so a high coefficient alone says nothing. The default rule
//! asks for evidence: chi² of the runner-up less chi² of the best, in units of the noise. Where even the best
//! fit leaves more than the noise (its reduced chi² is above 1) everything is scaled by that, as is the custom
//! for overdispersed data: what the references cannot describe must not pass as precision. The margin rule, two
//! coefficients and a threshold, is the one published for the method.

use serde::{Deserialize, Serialize};

use super::correlation::PixelSums;
use super::{Ambiguity, Method, NO_PHASE, Status, Targets};

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
}

impl Default for TriageSettings {
    fn default() -> Self {
        Self {
            rule: Rule::Evidence,
            min_energies: 6,
            min_delta_chi2: 9.0,
            min_correlation: 0.9,
            min_margin: 0.02,
            background_edge_jump: 0.1,
            min_posterior: 0.9,
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
    /// Energies, sides of the edge, edge jump.
    pub sums: PixelSums,
    /// Energies with a usable value.
    pub seen: u16,
    /// Energies measured but not usable.
    pub masked: u16,
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
    /// Evidence of `phase` over `runner_up`.
    pub delta_chi2: f32,
    /// Probability of `phase` among the references, all equally likely beforehand.
    pub confidence: f32,
    /// Reduced chi² of `phase`.
    pub fit_chi2: f32,
    /// Cause of ambiguity.
    pub ambiguity: Ambiguity,
    /// Whether the fit of `phase` leaves more than the noise can: a second look is due, whatever the status.
    pub doubtful: bool,
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
            doubtful: false,
        }
    }
}

/// Judges one pixel.
#[must_use]
pub fn judge(reading: &Reading<'_>, targets: &Targets, settings: &TriageSettings) -> Verdict {
    let measured = reading.seen + reading.masked;
    if measured == 0 {
        return Verdict::none(Status::Unmeasured, Ambiguity::None);
    }
    if u32::from(reading.masked) * 2 > u32::from(measured) {
        return Verdict::none(Status::Saturated, Ambiguity::None);
    }
    let sides = targets.sides.iter().zip(reading.sums.sides).all(|(planned, seen)| seen || !planned);
    if reading.sums.energies < settings.min_energies || !sides {
        return Verdict::none(Status::Ambiguous, Ambiguity::Noise);
    }
    // NaN, where a window has no energy, is no reason to call a pixel empty.
    if reading.sums.edge_jump < settings.background_edge_jump {
        return Verdict::none(Status::Background, Ambiguity::None);
    }
    let Some([best, second]) = two_best(reading.correlations) else {
        return Verdict::none(Status::Ambiguous, Ambiguity::Reference);
    };
    let freedom = reading.sums.energies.saturating_sub(2).max(1) as f32;
    let fit_chi2 = reading.chi2[best] / freedom;
    // Three deviations of chi² with that many degrees of freedom.
    let doubtful = fit_chi2 > 1.0 + 3.0 * (2.0 / freedom).sqrt();
    let dispersion = fit_chi2.max(1.0);
    let delta_chi2 = (reading.chi2[second] - reading.chi2[best]) / dispersion;
    let odds = |k: usize| (-0.5 * (reading.chi2[k] - reading.chi2[best]) / dispersion).exp();
    let confidence = 1.0 / (0..reading.chi2.len()).map(odds).sum::<f32>();
    let correlation = reading.correlations[best];
    let margin = correlation - reading.correlations[second];
    let fits = correlation >= settings.min_correlation;
    let clear = match settings.rule {
        Rule::Evidence => delta_chi2 >= settings.min_delta_chi2,
        Rule::Margin => margin >= settings.min_margin,
    };
    let (status, method, ambiguity) = match (fits, clear) {
        (true, true) => (Status::Classified, Method::Pearson, Ambiguity::None),
        (true, false) => (Status::Ambiguous, Method::Pearson, Ambiguity::Noise),
        (false, _) => (Status::Ambiguous, Method::Pearson, Ambiguity::Reference),
    };
    Verdict {
        status,
        phase: best as u8,
        runner_up: second as u8,
        method,
        delta_chi2,
        confidence,
        fit_chi2,
        ambiguity,
        doubtful,
    }
}

/// Indices of the highest and the second highest value that is not NaN; of equal ones the earlier.
fn two_best(correlations: &[f32]) -> Option<[usize; 2]> {
    let best_but = |not: Option<usize>| {
        let mut best: Option<usize> = None;
        for (k, r) in correlations.iter().enumerate() {
            if Some(k) != not && !r.is_nan() && best.is_none_or(|b| *r > correlations[b]) {
                best = Some(k);
            }
        }
        best
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

    fn judge_with(correlations: &[f32], chi2: &[f32], change: impl Fn(&mut Reading<'_>)) -> Verdict {
        let sums = PixelSums { energies: 8, sides: [true, true], edge_jump: 0.5 };
        let mut reading = Reading { correlations, chi2, sums, seen: 8, masked: 0 };
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
        // Twenty times the noise is left over: the same difference counts a twentieth.
        let verdict = judge_with(&[0.97, 0.99, 0.5], &[144.0, 120.0, 900.0], |_| {});
        assert_eq!(verdict.status, Status::Ambiguous);
        assert_eq!(verdict.delta_chi2, 24.0 / 20.0);
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
        assert_eq!(status(|r| r.sums.edge_jump = 0.05), Status::Background);
        assert_eq!(status(|r| r.sums.edge_jump = f32::NAN), Status::Classified);
        assert_eq!(judge_with(&[f32::NAN; 3], &[0.0; 3], |_| {}).ambiguity, Ambiguity::Reference);
    }

    #[test]
    fn the_margin_rule_looks_at_coefficients_only() {
        let settings = TriageSettings { rule: Rule::Margin, ..TriageSettings::default() };
        let sums = PixelSums { energies: 8, sides: [true, true], edge_jump: 0.5 };
        let status = |correlations: &[f32]| {
            let reading = Reading { correlations, chi2: &[9.0, 9.0, 9.0], sums, seen: 8, masked: 0 };
            judge(&reading, &targets(), &settings).status
        };
        assert_eq!(status(&[0.96, 0.99, 0.5]), Status::Classified);
        assert_eq!(status(&[0.98, 0.99, 0.5]), Status::Ambiguous);
    }
}
