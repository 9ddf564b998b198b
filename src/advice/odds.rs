//! What one more bit of evidence may do to the choice between two readings of a pixel.
//!
//! Two readings with probabilities P and Q, P ≥ Q; D = 2 ln(P / Q) is the evidence so far. Measurements that put the
//! two references g apart (in chi²) add evidence that is normal with variance 4 g around +g where the first is true
//! and around -g where the second is. The choice falls on the side of the sum's sign; everything here follows from
//! that. Nothing fails: a g that is not above 0 changes nothing.

/// The standard normal distribution function, to 1e-7 (M. Abramowitz, I. Stegun, Handbook of Mathematical
/// Functions, 26.2.17).
pub(super) fn normal_cdf(x: f64) -> f64 {
    const B: [f64; 5] = [0.319_381_530, -0.356_563_782, 1.781_477_937, -1.821_255_978, 1.330_274_429];
    let t = 1.0 / (1.0 + 0.231_641_9 * x.abs());
    let series = B.iter().rev().fold(0.0, |sum, b| (sum + b) * t);
    let tail = (-0.5 * x * x).exp() / (2.0 * std::f64::consts::PI).sqrt() * series;
    if x > 0.0 { 1.0 - tail } else { tail }
}

/// Two readings of a pixel and how probable each is; the first is the best guess.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Odds {
    pub first: f64,
    pub second: f64,
}

impl Odds {
    fn evidence(self) -> f64 {
        (2.0 * (self.first / self.second).ln()).max(0.0)
    }

    /// Probability that the guess falls on the second after measurements that put the two `g` apart.
    pub(super) fn change(self, g: f64) -> f64 {
        if g <= 0.0 || self.second <= 0.0 {
            return 0.0;
        }
        let (d, s) = (self.evidence(), 2.0 * g.sqrt());
        self.first * normal_cdf((-d - g) / s) + self.second * normal_cdf((g - d) / s)
    }

    /// The same where the pixel holds both: then the new evidence has no direction.
    pub(super) fn change_of_both(self, g: f64) -> f64 {
        if g <= 0.0 || self.second <= 0.0 {
            return 0.0;
        }
        (self.first + self.second) * normal_cdf(-self.evidence() / (2.0 * g.sqrt()))
    }

    /// By how much such measurements are expected to lower the probability of a wrong guess.
    pub(super) fn gain(self, g: f64) -> f64 {
        if g <= 0.0 || self.second <= 0.0 {
            return 0.0;
        }
        let (d, s) = (self.evidence(), 2.0 * g.sqrt());
        (self.second * normal_cdf((g - d) / s) - self.first * normal_cdf((-d - g) / s)).max(0.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_distribution_function_has_its_known_values() {
        for (x, p) in [(0.0, 0.5), (1.0, 0.841_344_75), (-1.959_964, 0.025), (3.0, 0.998_650_1)] {
            assert!((normal_cdf(x) - p).abs() < 2e-7, "{x}");
        }
        assert!(normal_cdf(-40.0) >= 0.0 && normal_cdf(40.0) <= 1.0);
    }

    #[test]
    fn change_and_gain_are_what_a_simulation_of_the_evidence_gives() {
        // A fixed sequence of normal deviates: twelve uniform numbers less six.
        let mut state = 7_u64;
        let mut uniform = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 11) as f64 / (1_u64 << 53) as f64
        };
        let (odds, g) = (Odds { first: 0.8, second: 0.2 }, 5.0);
        let d = 2.0 * 4.0_f64.ln();
        let (mut changed, mut wrong) = (0_u32, 0_u32);
        let n = 200_000;
        for _ in 0..n {
            let first_is_true = uniform() < odds.first;
            let deviate: f64 = (0..12).map(|_| uniform()).sum::<f64>() - 6.0;
            let after = d + if first_is_true { g } else { -g } + 2.0 * g.sqrt() * deviate;
            changed += u32::from(after < 0.0);
            wrong += u32::from((after < 0.0) == first_is_true);
        }
        let share = |count: u32| f64::from(count) / f64::from(n);
        assert!((odds.change(g) - share(changed)).abs() < 0.004, "{} {}", odds.change(g), share(changed));
        assert!((odds.gain(g) - (odds.second - share(wrong))).abs() < 0.004);
    }

    #[test]
    fn nothing_measured_changes_nothing_and_much_resolves_all() {
        let odds = Odds { first: 0.7, second: 0.3 };
        assert_eq!((odds.change(0.0), odds.gain(0.0), odds.change_of_both(0.0)), (0.0, 0.0, 0.0));
        assert!((odds.change(1e4) - 0.3).abs() < 1e-6 && (odds.gain(1e4) - 0.3).abs() < 1e-6);
        assert!(odds.change_of_both(1e6) > 0.49);
    }
}
