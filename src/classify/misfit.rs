//! How far the references miss the spectra of a scan, estimated from the scan itself.
//!
//! Where a reference is exact, chi² of the right phase is that of noise. Where the sample's spectra differ from it
//! (another beamline, another resolution, another orientation) an excess is left, which grows with the counts as
//! the signal does: `chi² = ν + τ² · explained`, with ν degrees of freedom and the part of chi² that the reference
//! explains. τ is the relative misfit, root mean square. One pixel's chi² is noisy; τ² is pooled over the pixels
//! of each phase by a low quantile, which the pixels that hold two phases, or none of the known, hardly move, and
//! averaged over the phases by their pixels. Too few pixels: zero.
//!
//! So a phase of which most pixels really are mixtures counts as a reference that misses: the verdict is then more
//! careful than it need be, never less.

/// Quantile that is compared; below one half, because whatever is not one known phase lies above.
const QUANTILE: f64 = 0.4;
/// The deviate of the normal distribution at that quantile.
const DEVIATE: f64 = -0.253_347;
/// Fewer pixels of a phase say nothing.
const MIN_PIXELS: usize = 30;

/// The pooled misfit of one scan.
#[derive(Clone, Debug, Default)]
pub(super) struct Pool {
    /// Per phase: the excess of each pixel over its explained part.
    phases: Vec<Vec<f64>>,
}

impl Pool {
    /// An empty pool.
    pub(super) fn new(phases: usize) -> Self {
        Self { phases: vec![Vec::new(); phases] }
    }

    /// Takes a pixel's chi² of each phase, the chi² of no phase at all, and the degrees of freedom.
    pub(super) fn push(&mut self, chi2: &[f32], signal: f32, freedom: f64) {
        let best =
            (0..chi2.len()).filter(|&k| !chi2[k].is_nan()).min_by(|&a, &b| chi2[a].total_cmp(&chi2[b]));
        let Some(best) = best else { return };
        let explained = f64::from(signal) - f64::from(chi2[best]);
        if explained > 0.0 {
            // Wilson and Hilferty's approximation of the quantile of chi².
            let w = 2.0 / (9.0 * freedom);
            let expected = freedom * (1.0 - w + DEVIATE * w.sqrt()).powi(3);
            self.phases[best].push((f64::from(chi2[best]) - expected) / explained);
        }
    }

    /// τ².
    pub(super) fn relative(mut self) -> f64 {
        let (mut sum, mut count) = (0.0, 0);
        for excess in &mut self.phases {
            let n = excess.len();
            count += n;
            if n < MIN_PIXELS {
                continue;
            }
            // Two standard errors of the quantile lower: what could be chance is no misfit.
            let level = QUANTILE - 1.0 / (n as f64).sqrt();
            let index = (level.max(0.0) * n as f64) as usize;
            let (_, value, _) = excess.select_nth_unstable_by(index, f64::total_cmp);
            sum += value.max(0.0) * n as f64;
        }
        if count == 0 { 0.0 } else { sum / count as f64 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pool(chi2_of: impl Fn(f64) -> f64) -> f64 {
        let mut pool = Pool::new(2);
        for i in 0..400 {
            let deviate = 3.4 * ((f64::from(i) + 0.5) / 400.0 - 0.5);
            // About chi² with 28 degrees of freedom.
            pool.push(&[900.0, chi2_of(28.0 - 0.7 + 7.5 * deviate) as f32], 1028.0, 28.0);
        }
        pool.relative()
    }

    #[test]
    fn noise_alone_is_no_misfit() {
        assert!(pool(|noise| noise) < 1e-3);
    }

    #[test]
    fn an_excess_is_measured_relative_to_the_signal() {
        let found = pool(|noise| noise + 0.05 * 1000.0);
        assert!((found - 0.05).abs() < 0.01, "{found}");
    }

    #[test]
    fn a_few_pixels_say_nothing() {
        let mut pool = Pool::new(2);
        pool.push(&[900.0, 500.0], 1000.0, 28.0);
        assert_eq!(pool.relative(), 0.0);
    }
}
