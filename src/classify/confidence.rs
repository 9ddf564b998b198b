//! From chi² to probabilities: how much a difference of chi² is worth in this scan.
//!
//! With exact references the odds of two phases are `exp(-Δchi²/2)`. Three things make them less:
//!
//! - What the references miss in this scan (τ², [`super::misfit`]) adds to the variance of the noise. The part that
//!   points in the direction in which two hypotheses differ is what counts; how much of it does is
//!   [`ALIGNED`].
//! - What this one pixel leaves, beyond what the scan as a whole leaves.
//! - What the energies can tell at all ([`super::contrast`]): evidence saturates.
//!
//! The constants were chosen on simulated scans; `phasewatch evaluate` measures, on others, what comes of them, for
//! references that are exact and for such that miss by ±0.1 eV and ±10 %.

/// What `confidence` is calibrated on, for the metadata.
pub(super) const CALIBRATED_ON: &str =
    concat!("simulated scans, exact and mismatched references, phasewatch ", env!("CARGO_PKG_VERSION"));

/// Share of the scan's misfit that lies between two phases.
const ALIGNED: f64 = 0.1;

/// What turns chi² of one pixel into evidence.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scale<'a> {
    /// Relative misfit of the references in this scan, squared.
    pub misfit: f64,
    /// 1/limit of the evidence, `[true * phases + rival]`; empty for no limit.
    pub contrast: &'a [f32],
    /// Degrees of freedom of the fit of one phase.
    pub freedom: f64,
}

impl Scale<'_> {
    /// Factor by which differences of chi² of single phases are too large; `best` is the least chi², `signal` that
    /// of no phase.
    pub(super) fn dispersion(&self, best: f64, signal: f64) -> f64 {
        let excess = self.excess(best, signal);
        let expected: f64 = 1.0;
        // One pixel's own residual is noisy, so it counts half.
        let own = 0.5 * (1.0 + best / self.freedom / expected);
        (1.0 + ALIGNED * excess).max(expected) * own.max(1.0)
    }

    /// chi² that the references leave in a pixel like this beyond its noise.
    pub(super) fn excess(&self, best: f64, signal: f64) -> f64 {
        self.misfit * (signal - best).max(0.0)
    }

    /// Evidence of phase `best` over `rival`, whose chi² is larger by `difference`.
    pub(super) fn evidence(
        &self,
        best: usize,
        rival: usize,
        difference: f64,
        dispersion: f64,
        phases: usize,
    ) -> f64 {
        let q = self.contrast.get(best * phases + rival).map_or(0.0, |&q| f64::from(q));
        let scaled = difference / dispersion;
        if q.is_finite() { scaled / (1.0 + q * scaled) } else { 0.0 }
    }
}

/// Logarithm of the sum of exponentials.
pub(super) fn log_sum(scores: impl Iterator<Item = f64> + Clone) -> f64 {
    let most = scores.clone().fold(f64::NEG_INFINITY, f64::max);
    if most == f64::NEG_INFINITY { most } else { most + scores.map(|s| (s - most).exp()).sum::<f64>().ln() }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXACT: Scale<'_> = Scale { misfit: 0.0, contrast: &[], freedom: 20.0 };

    #[test]
    fn exact_references_leave_a_difference_as_it_is() {
        assert_eq!(EXACT.dispersion(20.0, 1000.0), 1.0);
        assert_eq!(EXACT.evidence(0, 1, 12.0, 1.0, 2), 12.0);
    }

    #[test]
    fn misfit_counts_more_the_more_signal_there_is() {
        let missing = Scale { misfit: 0.05, ..EXACT };
        let dispersion = |signal: f64| missing.dispersion(20.0, signal);
        assert!(dispersion(1e5) > 2.0 * dispersion(1e4) && dispersion(1e4) > dispersion(1e3));
    }

    #[test]
    fn evidence_saturates_at_what_the_energies_can_tell() {
        let contrast = [0.0, 0.1, f32::INFINITY, 0.0];
        let limited = Scale { contrast: &contrast, ..EXACT };
        let evidence = limited.evidence(0, 1, 1e6, 1.0, 2);
        assert!((evidence - 10.0).abs() < 0.01, "{evidence}");
        assert_eq!(limited.evidence(1, 0, 1e6, 1.0, 2), 0.0, "nothing can be told");
    }

    #[test]
    fn sums_of_exponentials_do_not_overflow() {
        assert!((log_sum([1000.0, 1000.0].into_iter()) - 1000.0 - 2_f64.ln()).abs() < 1e-9);
        assert_eq!(log_sum(std::iter::empty()), f64::NEG_INFINITY);
    }
}
