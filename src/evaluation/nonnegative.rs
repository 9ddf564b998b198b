//! A non-negative fit of any number of references and a free constant.

/// Sweeps over the amounts before the fit is taken as it is.
const SWEEPS: usize = 400;

/// Weighted, centred moments of a spectrum with references.
pub(super) struct Moments {
    xx: f64,
    xr: Vec<f64>,
    rr: Vec<f64>,
}

/// The fit: the amount of each reference, and what is left.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Fit {
    pub(super) amounts: Vec<f64>,
    pub(super) chi2: f64,
}

impl Moments {
    /// The moments of `x` with `references`, each as long as `x`, weighted.
    pub(super) fn new(x: &[f64], weights: &[f64], references: &[&[f64]]) -> Self {
        let total: f64 = weights.iter().sum();
        let centred = |values: &[f64]| -> Vec<f64> {
            let mean = values.iter().zip(weights).map(|(v, w)| v * w).sum::<f64>() / total;
            values.iter().map(|v| v - mean).collect()
        };
        let dot = |a: &[f64], b: &[f64]| -> f64 {
            weights.iter().zip(a.iter().zip(b)).map(|(w, (a, b))| w * a * b).sum()
        };
        let x = centred(x);
        let references: Vec<Vec<f64>> = references.iter().map(|r| centred(r)).collect();
        Self {
            xx: dot(&x, &x),
            xr: references.iter().map(|r| dot(r, &x)).collect(),
            rr: references
                .iter()
                .flat_map(|a| references.iter().map(|b| dot(a, b)).collect::<Vec<_>>())
                .collect(),
        }
    }

    /// chi² and share of the first of references `i` and `j`; on the border of the allowed amounts the better one alone.
    pub(super) fn pair(&self, i: usize, j: usize) -> (f64, f64) {
        let k = self.xr.len();
        let (ii, jj, ij) = (self.rr[i * k + i], self.rr[j * k + j], self.rr[i * k + j]);
        let determinant = ii * jj - ij * ij;
        let a = (self.xr[i] * jj - self.xr[j] * ij) / determinant;
        let b = (self.xr[j] * ii - self.xr[i] * ij) / determinant;
        if determinant > 1e-12 * ii * jj && a > 0.0 && b > 0.0 {
            return ((self.xx - a * self.xr[i] - b * self.xr[j]).max(0.0), a / (a + b));
        }
        let (first, second) = (self.single(i), self.single(j));
        if first <= second { (first, 1.0) } else { (second, 0.0) }
    }

    /// chi² of reference `i` alone.
    pub(super) fn single(&self, i: usize) -> f64 {
        let own = self.rr[i * self.xr.len() + i].max(1e-12);
        (self.xx - self.xr[i].max(0.0).powi(2) / own).max(0.0)
    }

    /// The amounts, none negative, that leave the least: one after the other is set to its best while the others stay.
    pub(super) fn fit(&self) -> Fit {
        let k = self.xr.len();
        let mut amounts = vec![0.0; k];
        for _ in 0..SWEEPS {
            let mut moved = 0.0_f64;
            for i in 0..k {
                let own = self.rr[i * k + i];
                if own <= 0.0 {
                    continue;
                }
                let others: f64 = (0..k).filter(|&j| j != i).map(|j| self.rr[i * k + j] * amounts[j]).sum();
                let best = ((self.xr[i] - others) / own).max(0.0);
                moved = moved.max((best - amounts[i]).abs());
                amounts[i] = best;
            }
            if moved < 1e-10 {
                break;
            }
        }
        let explained: f64 = (0..k)
            .map(|i| {
                let fitted: f64 = (0..k).map(|j| self.rr[i * k + j] * amounts[j]).sum();
                amounts[i] * (2.0 * self.xr[i] - fitted)
            })
            .sum();
        Fit { amounts, chi2: (self.xx - explained).max(0.0) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_amounts_and_never_a_negative_one() {
        let (a, b) = ([0.0, 1.0, 3.0, 1.0, 0.5], [0.0, 0.5, 1.0, 3.0, 1.0]);
        let mix = |p: f64, q: f64| -> Vec<f64> { (0..5).map(|i| 0.7 + p * a[i] + q * b[i]).collect() };
        let fit = |x: &[f64]| Moments::new(x, &[1.0, 2.0, 1.0, 0.5, 1.0], &[&a, &b]).fit();
        let both = fit(&mix(0.6, 0.3));
        assert!((both.amounts[0] - 0.6).abs() < 1e-8 && (both.amounts[1] - 0.3).abs() < 1e-8);
        assert!(both.chi2 < 1e-12);
        let one = fit(&mix(0.6, -0.3));
        assert_eq!(one.amounts[1], 0.0);
        assert!(one.chi2 > 0.01);
        for (p, q) in [(0.6, 0.3), (0.6, -0.3), (-0.2, 0.5)] {
            let x = mix(p, q);
            let moments = Moments::new(&x, &[1.0, 2.0, 1.0, 0.5, 1.0], &[&a, &b]);
            let (fit, (chi2, share)) = (moments.fit(), moments.pair(0, 1));
            assert!((fit.chi2 - chi2).abs() < 1e-8, "{p} {q}");
            assert!((fit.amounts[0] / (fit.amounts[0] + fit.amounts[1]) - share).abs() < 1e-6, "{p} {q}");
        }
    }
}
