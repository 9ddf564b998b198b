//! Interpolation at a constant displacement: weights along each axis.
//!
//! Prepared images, which are smooth, take the cubic of R. Keys, IEEE Trans. ASSP 29, 1153 (1981), with a = -1/2: exact for parabolas.
//! Counts take a windowed sinc, which blurs edges and shares noise less.

use std::f64::consts::PI;

/// A displacement along one axis: whole steps, and the weights of the samples at -1, 0, 1 and 2 from there.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Taps {
    pub(super) whole: isize,
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
        Self { whole: floor as isize, weights }
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

    /// Which of the samples, counted from `first`, has the largest weight.
    pub(super) fn heaviest(&self) -> isize {
        let largest = (0..self.weights.len()).max_by(|&a, &b| self.weights[a].total_cmp(&self.weights[b]));
        largest.map_or(0, |k| k as isize)
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
    fn the_cubic_adds_up_to_one_and_keeps_parabolas() {
        for shift in [-1.75, -0.3, 0.0, 0.25, 0.5, 2.9] {
            let taps = Taps::cubic(shift);
            let at = |k: usize| (taps.whole + k as isize - 1) as f64;
            let sum: f64 = taps.weights.iter().sum();
            let value: f64 = (0..4).map(|k| taps.weights[k] * at(k).powi(2)).sum();
            assert!((sum - 1.0).abs() < 1e-12);
            assert!((value - shift * shift).abs() < 1e-12, "{shift}: {value}");
        }
        assert_eq!(Taps::cubic(-3.0), Taps { whole: -3, weights: [0.0, 1.0, 0.0, 0.0] });
    }

    #[test]
    fn the_sinc_keeps_the_mean_and_the_place() {
        for shift in [-1.75, -0.3, 0.25, 0.5, 2.9] {
            let Weights { first, weights } = Weights::lanczos(shift, 3);
            let sum: f64 = weights.iter().sum();
            let place: f64 = weights.iter().zip(first..).map(|(w, at)| w * at as f64).sum();
            assert!((sum - 1.0).abs() < 1e-12 && (place - shift).abs() < 0.02, "{shift}: {place}");
        }
        let whole = Weights::lanczos(-3.0, 3);
        assert_eq!((whole.first, &whole.weights[..], whole.variance()), (-3, &[1.0][..], 1.0));
        assert!(Weights::linear(0.5).variance() < Weights::lanczos(0.5, 3).variance());
    }
}
