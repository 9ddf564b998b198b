//! What one spectrum says of every composition: a likelihood, from weighted moments.
//!
//! The model of a pixel is `x = a·(references · shares) + c + s·(E - mean E)`: an amplitude a (thickness, not
//! negative), a free constant c, and a slope s that is near zero with a standard deviation of
//! [`SLOPE_OD_PER_EV`]: other elements and a sloping background tilt real spectra. Weights are
//! 1/(variance + misfit²); the misfit is what the references leave over besides noise, in OD. Constant and slope
//! are taken out of the moments; then `ln L = max(wᵀv, 0)² / (2 wᵀGw)` up to a term that all compositions share,
//! for shares w, `v` the moments of x with the references and `G` those of the references with each other.

use super::Targets;
use super::composition::Compositions;
use super::products::{Sums, pair_index};
use super::spectrum::Spectrum;

/// Standard deviation of the slope, OD per eV. On a measured Fe L edge pixels differ by some 1e-3; a larger
/// allowance costs more evidence than it saves.
const SLOPE_OD_PER_EV: f64 = 5e-4;

/// The moments of one spectrum, reused from pixel to pixel.
#[derive(Clone, Debug, Default)]
pub struct Moments {
    sums: Sums,
    /// `v`.
    xr: Vec<f64>,
    /// `G`, lower triangle, see [`pair_index`].
    rr: Vec<f64>,
    xx: f64,
    explained: Vec<f64>,
}

impl Moments {
    /// Takes the moments of a spectrum, with `misfit_od` added to its noise. Returns the number of energies that
    /// count; below 3 there is nothing to be said.
    pub fn load(&mut self, spectrum: &Spectrum, targets: &Targets, misfit_od: f64) -> usize {
        let energies = self.sums.load(spectrum, targets, misfit_od * misfit_od, true);
        if energies < 3 {
            return energies;
        }
        let (sums, phases) = (&self.sums, targets.phases());
        let ee = sums.ee() + 1.0 / (SLOPE_OD_PER_EV * SLOPE_OD_PER_EV);
        let xe = sums.xe();
        self.xx = sums.xx() - xe * xe / ee;
        self.xr.clear();
        self.rr.clear();
        for a in 0..phases {
            let tilt = sums.re(a) / ee;
            self.xr.push(sums.xr(a) - tilt * xe);
            self.rr.extend((0..=a).map(|b| sums.rr(a, b) - tilt * sums.re(b)));
        }
        energies
    }

    /// Writes the log-likelihood of every composition into `out`, that of the best being 0. Returns the chi² of
    /// the best.
    pub fn log_likelihoods(&mut self, compositions: &Compositions, out: &mut [f32]) -> f64 {
        let explained = |v: f64, g: f64| if g > 0.0 && v > 0.0 { 0.5 * v * v / g } else { 0.0 };
        let phases = self.xr.len();
        self.explained.clear();
        for k in 0..phases {
            self.explained.push(explained(self.xr[k], self.rr[pair_index(k, k)]));
        }
        for i in 0..phases {
            for j in i + 1..phases {
                let (vi, vj) = (self.xr[i], self.xr[j]);
                let [ii, ij, jj] = [(i, i), (i, j), (j, j)].map(|(a, b)| self.rr[pair_index(a, b)]);
                for entry in &compositions.entries()[compositions.of_pair(i, j)] {
                    let a = f64::from(entry.share);
                    let b = 1.0 - a;
                    let g = a * a * ii + 2.0 * a * b * ij + b * b * jj;
                    self.explained.push(explained(a * vi + b * vj, g));
                }
            }
        }
        let best = self.explained.iter().fold(0.0_f64, |best, &l| best.max(l));
        out.iter_mut().zip(&self.explained).for_each(|(out, &l)| *out = (l - best) as f32);
        (self.xx - 2.0 * best).max(0.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::classify::tests::references;

    fn spectrum(shares: [f64; 3], slope: f64) -> (Targets, Spectrum) {
        let set = references();
        let energies: Vec<f64> = (0..30).map(|i| 508.0 + 0.5 * f64::from(i)).collect();
        let targets = Targets::new(&set, &energies);
        let mut spectrum = Spectrum::default();
        for (index, &e) in energies.iter().enumerate() {
            let od: f64 = set.od_at(e).unwrap().iter().zip(shares).map(|(r, share)| r * share).sum();
            spectrum.push(index, 0.4 + od + slope * (e - 515.0), 0.02_f64.powi(2) * (1.0 + od));
        }
        (targets, spectrum)
    }

    fn best(shares: [f64; 3], slope: f64) -> (crate::classify::composition::Composition, f64) {
        let (targets, spectrum) = spectrum(shares, slope);
        let compositions = Compositions::new(3);
        let mut moments = Moments::default();
        assert_eq!(moments.load(&spectrum, &targets, 0.0), 30);
        let mut out = vec![0.0; compositions.len()];
        let chi2 = moments.log_likelihoods(&compositions, &mut out);
        let best = (0..out.len()).max_by(|a, b| out[*a].total_cmp(&out[*b])).unwrap();
        assert_eq!(out[best], 0.0);
        (compositions.entries()[best], chi2)
    }

    #[test]
    fn finds_what_a_spectrum_is_made_of() {
        for k in 0..3 {
            let mut shares = [0.0; 3];
            shares[k] = 0.7;
            let (entry, chi2) = best(shares, 0.0);
            assert_eq!(entry.pair, [k as u8; 2]);
            assert!(chi2 < 1e-6);
        }
        let (entry, chi2) = best([0.9, 0.0, 0.3], 0.0);
        assert_eq!(entry.pair, [0, 2]);
        assert!((entry.share - 0.75).abs() < 1e-5 && chi2 < 1e-6, "{entry:?}");
    }

    #[test]
    fn a_small_slope_costs_little() {
        let (entry, chi2) = best([0.0, 1.0, 0.0], 2e-3);
        assert_eq!(entry.pair, [1, 1]);
        assert!(chi2 < 0.02_f64.powi(2).recip() * 30.0 * (2e-3_f64 * 5.0).powi(2), "{chi2}");
    }

    #[test]
    fn a_misfit_weakens_the_evidence() {
        let (targets, spectrum) = spectrum([1.0, 0.0, 0.0], 0.0);
        let compositions = Compositions::new(3);
        let worst = |misfit_od: f64| {
            let mut moments = Moments::default();
            moments.load(&spectrum, &targets, misfit_od);
            let mut out = vec![0.0; compositions.len()];
            moments.log_likelihoods(&compositions, &mut out);
            out[2]
        };
        assert!(worst(0.0) < 2.0 * worst(0.05) && worst(0.05) < 0.0);
    }

    #[test]
    fn two_energies_say_nothing() {
        let (targets, mut short) = spectrum([1.0, 0.0, 0.0], 0.0);
        short.energies.truncate(2);
        short.od.truncate(2);
        short.variance.truncate(2);
        assert_eq!(Moments::default().load(&short, &targets, 0.0), 2);
    }
}
