//! Two phases along the beam: a weighted, non-negative fit of two references and a constant.
//!
//! `x = a·r_i + b·r_j + c` with a, b not negative, weights 1/variance, c free. With references given for the
//! same thickness, `a / (a + b)` is the share of phase i. Its standard error follows from the covariance of a
//! and b, scaled by the reduced chi² where that is above 1.

use super::Targets;
use super::products::{Sums, pair_index};
use super::spectrum::Spectrum;

/// The fit of one pair.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PairFit {
    /// The phases, the larger share first.
    pub pair: [u8; 2],
    /// Share of the first, 0.5 to 1.
    pub share: f32,
    /// Standard error of `share`.
    pub share_error: f32,
    /// chi², the noise factor applied.
    pub chi2: f32,
}

/// Weighted, centred moments of one spectrum with every reference, reused from pixel to pixel.
#[derive(Clone, Debug, Default)]
pub struct MixtureFit {
    sums: Sums,
    phases: usize,
    /// Of x, of x with every reference, and of the references with each other: [`moments_len`] numbers.
    moments: Vec<f64>,
    energies: usize,
}

/// How many moments a fit of `phases` phases has.
pub(super) fn moments_len(phases: usize) -> usize {
    1 + phases + phases * (phases + 1) / 2
}

impl MixtureFit {
    /// Takes the moments of a spectrum. Returns false where it has fewer than 4 energies in common with the
    /// references.
    pub fn load(&mut self, spectrum: &Spectrum, targets: &Targets) -> bool {
        self.phases = targets.phases();
        self.energies = self.sums.load(spectrum, targets, 0.0, false);
        self.moments.clear();
        let sums = &self.sums;
        self.moments.push(sums.xx());
        self.moments.extend((0..self.phases).map(|a| sums.xr(a)));
        self.moments.extend((0..self.phases).flat_map(|a| (0..=a).map(move |b| sums.rr(a, b))));
        self.energies >= 4
    }

    /// The moments, to be put away.
    pub(super) fn moments(&self) -> &[f64] {
        &self.moments
    }

    /// Takes up moments that were put away, of so many energies.
    pub(super) fn restore(&mut self, phases: usize, energies: usize, moments: &[f64]) {
        (self.phases, self.energies) = (phases, energies);
        self.moments.clear();
        self.moments.extend_from_slice(moments);
    }

    fn xx(&self) -> f64 {
        self.moments[0]
    }

    fn xr(&self, a: usize) -> f64 {
        self.moments[1 + a]
    }

    fn rr(&self, a: usize, b: usize) -> f64 {
        self.moments[1 + self.phases + pair_index(a, b)]
    }

    /// Fits one pair; `None` where the two references cannot be told apart or neither has any weight.
    #[must_use]
    pub fn pair(&self, i: usize, j: usize) -> Option<PairFit> {
        let (ii, jj, ij) = (self.rr(i, i), self.rr(j, j), self.rr(i, j));
        let determinant = ii * jj - ij * ij;
        if determinant <= 1e-12 * ii * jj {
            return None;
        }
        let a = (self.xr(i) * jj - self.xr(j) * ij) / determinant;
        let b = (self.xr(j) * ii - self.xr(i) * ij) / determinant;
        let (a, b) = match (a > 0.0, b > 0.0) {
            (true, true) => (a, b),
            // On the border one amplitude is zero and the other fitted alone; the better of the two borders.
            _ => {
                let alone = |r: f64, rr: f64| (r.max(0.0) / rr, r.max(0.0).powi(2) / rr);
                let ((a, gain_a), (b, gain_b)) = (alone(self.xr(i), ii), alone(self.xr(j), jj));
                if gain_a >= gain_b { (a, 0.0) } else { (0.0, b) }
            }
        };
        let total = a + b;
        if total <= 0.0 {
            return None;
        }
        let explained =
            2.0 * (a * self.xr(i) + b * self.xr(j)) - (a * a * ii + 2.0 * a * b * ij + b * b * jj);
        let chi2 = (self.xx() - explained).max(0.0);
        let dispersion = (chi2 / self.energies.saturating_sub(3).max(1) as f64).max(1.0);
        // Gradient of a / (a + b) through the covariance of a and b, the inverse of the normal matrix.
        let (da, db) = (b / (total * total), -a / (total * total));
        let variance = (da * da * jj - 2.0 * da * db * ij + db * db * ii) / determinant;
        let share = a / total;
        let (pair, share) = if share >= 0.5 { ([i, j], share) } else { ([j, i], 1.0 - share) };
        Some(PairFit {
            pair: pair.map(|phase| phase as u8),
            share: share as f32,
            share_error: (variance * dispersion).sqrt() as f32,
            chi2: chi2 as f32,
        })
    }

    /// chi² of phase `k` alone.
    #[must_use]
    pub fn single(&self, k: usize) -> f64 {
        let rr = self.rr(k, k);
        if rr > 0.0 { (self.xx() - self.xr(k).max(0.0).powi(2) / rr).max(0.0) } else { self.xx() }
    }

    /// chi² of a constant alone.
    #[must_use]
    pub fn signal(&self) -> f64 {
        self.xx()
    }

    /// Energies that the moments are of.
    #[must_use]
    pub fn energies(&self) -> usize {
        self.energies
    }

    /// Every pair of phases.
    pub fn pairs(&self) -> impl Iterator<Item = PairFit> + '_ {
        let k = self.phases;
        (0..k).flat_map(move |i| (i + 1..k).filter_map(move |j| self.pair(i, j)))
    }

    /// What a mixture of phases (each with its amount) has that no mixture of `i` and `j` has, as a share of its
    /// variance with the weights of the spectrum: 0 where the two look exactly alike, 1 where only a negative amount
    /// would do.
    #[must_use]
    pub fn own_part(&self, mixture: &[(usize, f64)], [i, j]: [usize; 2]) -> f64 {
        let with = |k: usize| mixture.iter().map(|&(m, amount)| amount * self.rr(m, k)).sum::<f64>();
        let own: f64 = mixture.iter().map(|&(m, amount)| amount * with(m)).sum();
        let (ii, jj, ij) = (self.rr(i, i), self.rr(j, j), self.rr(i, j));
        let determinant = ii * jj - ij * ij;
        if determinant <= 1e-12 * ii * jj || own <= 0.0 {
            return 1.0;
        }
        let a = (with(i) * jj - with(j) * ij) / determinant;
        let b = (with(j) * ii - with(i) * ij) / determinant;
        if a < 0.0 || b < 0.0 {
            return 1.0;
        }
        (1.0 - (a * with(i) + b * with(j)) / own).max(0.0)
    }

    /// The pair that leaves the least.
    #[must_use]
    pub fn best(&self) -> Option<PairFit> {
        let k = self.phases;
        let pairs = (0..k).flat_map(|i| (i + 1..k).map(move |j| (i, j)));
        pairs.filter_map(|(i, j)| self.pair(i, j)).min_by(|a, b| a.chi2.total_cmp(&b.chi2))
    }

    /// Reduced chi² of a pair's fit.
    #[must_use]
    pub fn reduced(&self, fit: &PairFit) -> f32 {
        fit.chi2 / self.energies.saturating_sub(3).max(1) as f32
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::classify::tests::references;

    fn spectrum(shares: [f64; 3], noise: f64) -> (Targets, Spectrum) {
        let set = references();
        let energies: Vec<f64> = (0..30).map(|i| 508.0 + 0.5 * f64::from(i)).collect();
        let targets = Targets::new(&set, &energies);
        let mut spectrum = Spectrum::default();
        let mut state = 12345_u64;
        for (index, &e) in energies.iter().enumerate() {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let random = (state >> 11) as f64 / (1_u64 << 53) as f64 - 0.5;
            let od: f64 = set.od_at(e).unwrap().iter().zip(shares).map(|(r, share)| r * share).sum();
            // A uniform deviate of width 1 has a standard deviation of 1/sqrt(12).
            spectrum.push(index, 0.3 + od + noise * 12_f64.sqrt() * random, noise.max(1e-3).powi(2));
        }
        (targets, spectrum)
    }

    #[test]
    fn finds_the_pair_and_its_shares() {
        let (targets, spectrum) = spectrum([0.9, 0.0, 0.3], 0.0);
        let mut fit = MixtureFit::default();
        assert!(fit.load(&spectrum, &targets));
        let best = fit.best().unwrap();
        assert_eq!(best.pair, [0, 2]);
        assert!((best.share - 0.75).abs() < 1e-5 && best.chi2 < 1e-6, "{best:?}");
    }

    #[test]
    fn the_error_of_the_share_is_honest() {
        let (targets, spectrum) = spectrum([0.6, 0.6, 0.0], 0.02);
        let mut fit = MixtureFit::default();
        assert!(fit.load(&spectrum, &targets));
        let pair = fit.pair(0, 1).unwrap();
        assert!((pair.share - 0.5).abs() < 4.0 * pair.share_error, "{pair:?}");
        assert!(pair.share_error > 0.002 && pair.share_error < 0.1, "{pair:?}");
    }

    #[test]
    fn an_amplitude_is_never_negative() {
        let (targets, spectrum) = spectrum([0.0, 1.0, 0.0], 0.0);
        let mut fit = MixtureFit::default();
        assert!(fit.load(&spectrum, &targets));
        let pair = fit.pair(0, 2).unwrap();
        assert!(pair.share <= 1.0 && pair.chi2 > 1.0);
        assert!(fit.pair(1, 1).is_none(), "a phase and itself cannot be told apart");
    }
}
