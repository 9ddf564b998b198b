//! Interpolation at a constant displacement: four weights along each axis.
//!
//! The cubic of R. Keys, IEEE Trans. ASSP 29, 1153 (1981), with a = -1/2: exact for parabolas, its weights add up to 1,
//! and at a displacement of 0 it is the sample itself.

use std::f64::consts::PI;

/// A displacement along one axis: whole steps, and the weights of the samples at -1, 0, 1 and 2 from there.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Taps {
    pub(super) whole: isize,
    /// What is left of the displacement, 0 to below 1.
    pub(super) fraction: f64,
    pub(super) weights: [f64; 4],
}

impl Taps {
    /// The cubic at a displacement of `shift` samples.
    pub(super) fn cubic(shift: f64) -> Self {
        let floor = shift.floor();
        let t = shift - floor;
        let (t2, t3) = (t * t, t * t * t);
        let weights = [
            -0.5 * t3 + t2 - 0.5 * t,
            1.5 * t3 - 2.5 * t2 + 1.0,
            -1.5 * t3 + 2.0 * t2 + 0.5 * t,
            0.5 * t3 - 0.5 * t2,
        ];
        Self { whole: floor as isize, fraction: t, weights }
    }

    /// The straight line between two samples at a displacement of `shift` samples.
    pub(super) fn linear(shift: f64) -> Self {
        let floor = shift.floor();
        let t = shift - floor;
        Self { whole: floor as isize, fraction: t, weights: [0.0, 1.0 - t, t, 0.0] }
    }

    /// Sum of the squared weights: the variance of an interpolated value over that of a sample.
    pub(super) fn variance(&self) -> f64 {
        self.weights.iter().map(|w| w * w).sum()
    }

    /// First and last tap whose weight is not 0, counted from `whole`.
    pub(super) fn reach(&self) -> (isize, isize) {
        let used = |k: &usize| self.weights[*k] != 0.0;
        let first = (0..4).find(used).unwrap_or(1);
        let last = (0..4).rev().find(used).unwrap_or(1);
        (first as isize - 1, last as isize - 1)
    }
}

/// Weights along one axis for counts: samples at `first..first + weights.len()` from the place asked for.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Weights {
    pub(super) first: isize,
    pub(super) weights: Vec<f64>,
}

impl Weights {
    /// A sinc under the central lobe of a wider one, `half` samples to each side, brought to a sum of 1 (C. Duchon, J. Appl.
    /// Meteorol. 18, 1016 (1979)); the sample itself at a whole displacement.
    pub(super) fn lanczos(shift: f64, half: usize) -> Self {
        let floor = shift.floor();
        let t = shift - floor;
        if t == 0.0 {
            return Self { first: floor as isize, weights: vec![1.0] };
        }
        let half_width = half as f64;
        let sinc = |t: f64| if t.abs() < 1e-9 { 1.0 } else { (PI * t).sin() / (PI * t) };
        let offsets = (1..=2 * half).map(|k| k as f64 - half_width - t);
        let weights: Vec<f64> = offsets.map(|d| sinc(d) * sinc(d / half_width)).collect();
        let total: f64 = weights.iter().sum();
        Self {
            first: floor as isize + 1 - half as isize,
            weights: weights.into_iter().map(|w| w / total).collect(),
        }
    }

    /// The straight line between two samples.
    pub(super) fn linear(shift: f64) -> Self {
        let floor = shift.floor();
        let t = shift - floor;
        let weights = if t == 0.0 { vec![1.0] } else { vec![1.0 - t, t] };
        Self { first: floor as isize, weights }
    }

    pub(super) fn cubic(shift: f64) -> Self {
        let taps = Taps::cubic(shift);
        Self { first: taps.whole - 1, weights: taps.weights.to_vec() }
    }

    /// Sum of the squared weights: the variance of an interpolated value over that of a sample.
    pub(super) fn variance(&self) -> f64 {
        self.weights.iter().map(|w| w * w).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_add_up_to_one_and_a_parabola_is_exact() {
        for shift in [-1.75, -0.3, 0.0, 0.25, 0.5, 2.9] {
            for (taps, power) in [(Taps::cubic(shift), 2), (Taps::linear(shift), 1)] {
                let at = |k: usize| (taps.whole + k as isize - 1) as f64;
                let sum: f64 = taps.weights.iter().sum();
                let value: f64 = (0..4).map(|k| taps.weights[k] * at(k).powi(power)).sum();
                assert!((sum - 1.0).abs() < 1e-12);
                assert!((value - shift.powi(power)).abs() < 1e-12, "{shift}: {value}");
            }
        }
    }

    #[test]
    fn whole_steps_are_the_sample_itself() {
        let taps = Taps::cubic(-3.0);
        assert_eq!((taps.whole, taps.weights, taps.reach()), (-3, [0.0, 1.0, 0.0, 0.0], (0, 0)));
        assert_eq!(taps.variance(), 1.0);
        assert!(Taps::cubic(0.5).variance() < 0.65);
    }
}
