//! References multiplied out, energy by energy, and the weighted sums of a spectrum over them.
//!
//! Fits of many spectra with the same references need the same products of references over and over; they are made
//! once for a scan. The sums of one spectrum then take one pass over its energies, a row of products at a time, which
//! the compiler turns into vector instructions. Optical densities are taken less their first, references less their
//! mean over the scan's energies, so that centring afterwards loses no digits that `f64` has not to spare.

use super::Targets;
use super::spectrum::Spectrum;

/// The products of all energies. A row is `[1, r_a .., r_a·r_b .., e, e², e·r_a ..]` with b not above a.
#[derive(Clone, Debug, Default)]
pub(super) struct Products {
    width: usize,
    rows: Vec<f64>,
}

/// Index of the product of references `a` and `b` among those of a row's triangle.
pub(super) fn pair_index(a: usize, b: usize) -> usize {
    let (high, low) = (a.max(b), a.min(b));
    high * (high + 1) / 2 + low
}

/// Length of the part of a row that a fit without a slope needs.
fn level_width(phases: usize) -> usize {
    1 + phases + phases * (phases + 1) / 2
}

impl Products {
    /// The products of `targets`.
    pub(super) fn new(targets: &Targets) -> Self {
        let phases = targets.phases();
        let width = level_width(phases) + 2 + phases;
        let mut rows = Vec::with_capacity(width * targets.energies_ev.len());
        for energy in 0..targets.energies_ev.len() {
            let (r, e) = (targets.at(energy), targets.centred_ev(energy));
            rows.push(1.0);
            rows.extend_from_slice(r);
            rows.extend((0..phases).flat_map(|a| (0..=a).map(move |b| r[a] * r[b])));
            rows.extend([e, e * e]);
            rows.extend(r.iter().map(|r| e * r));
        }
        Self { width, rows }
    }

    fn row(&self, energy: usize) -> &[f64] {
        &self.rows[energy * self.width..(energy + 1) * self.width]
    }
}

/// Weighted sums of one spectrum, reused from spectrum to spectrum.
#[derive(Clone, Debug, Default)]
pub(super) struct Sums {
    phases: usize,
    /// Over the rows of products.
    rows: Vec<f64>,
    /// Over x times the first `1 + phases` of a row.
    x: Vec<f64>,
    xe: f64,
    xx: f64,
}

impl Sums {
    /// Takes the sums with weights 1/(variance + `added_variance`); `tilted`: those with the energy, too. Returns the
    /// number of energies that count.
    pub(super) fn load(
        &mut self,
        spectrum: &Spectrum,
        targets: &Targets,
        added_variance: f64,
        tilted: bool,
    ) -> usize {
        self.phases = targets.phases();
        let level = level_width(self.phases);
        let width = if tilted { targets.products.width } else { level };
        for (list, len) in [(&mut self.rows, width), (&mut self.x, 1 + self.phases)] {
            list.clear();
            list.resize(len, 0.0);
        }
        (self.xe, self.xx) = (0.0, 0.0);
        let (mut energies, mut first) = (0, 0.0);
        for ((&energy, &od), &variance) in spectrum.energies.iter().zip(&spectrum.od).zip(&spectrum.variance)
        {
            if !targets.used[energy] {
                continue;
            }
            if energies == 0 {
                first = od;
            }
            energies += 1;
            let row = &targets.products.row(energy)[..width];
            let (w, x) = (1.0 / (variance + added_variance), od - first);
            let wx = w * x;
            add(&mut self.rows, w, row);
            add(&mut self.x, wx, row);
            self.xx += wx * x;
            if tilted {
                self.xe += wx * row[level];
            }
        }
        energies
    }

    fn weight(&self) -> f64 {
        self.rows[0]
    }

    /// Variance of x, times the sum of the weights; so are all that follow.
    pub(super) fn xx(&self) -> f64 {
        (self.xx - self.x[0] * self.x[0] / self.weight()).max(0.0)
    }

    /// Covariance of x with reference `a`.
    pub(super) fn xr(&self, a: usize) -> f64 {
        self.x[1 + a] - self.x[0] * self.rows[1 + a] / self.weight()
    }

    /// Covariance of references `a` and `b`.
    pub(super) fn rr(&self, a: usize, b: usize) -> f64 {
        let product = self.rows[1 + self.phases + pair_index(a, b)];
        product - self.rows[1 + a] * self.rows[1 + b] / self.weight()
    }

    /// Covariance of x with the energy; of tilted sums.
    pub(super) fn xe(&self) -> f64 {
        self.xe - self.x[0] * self.rows[level_width(self.phases)] / self.weight()
    }

    /// Variance of the energy; of tilted sums.
    pub(super) fn ee(&self) -> f64 {
        let level = level_width(self.phases);
        self.rows[level + 1] - self.rows[level] * self.rows[level] / self.weight()
    }

    /// Covariance of reference `a` with the energy; of tilted sums.
    pub(super) fn re(&self, a: usize) -> f64 {
        let level = level_width(self.phases);
        self.rows[level + 2 + a] - self.rows[level] * self.rows[1 + a] / self.weight()
    }
}

/// Adds `factor` times as many products to `sums` as there are sums. By index: as a chain of iterators it is not one
/// loop of vector instructions.
#[inline(always)]
fn add(sums: &mut [f64], factor: f64, products: &[f64]) {
    let products = &products[..sums.len()];
    for i in 0..sums.len() {
        sums[i] += factor * products[i];
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::classify::tests::references;

    /// Against sums in two passes, written out.
    #[test]
    fn one_pass_says_what_two_say() {
        let energies_ev: Vec<f64> = (0..40).map(|i| 507.0 + 0.6 * f64::from(i)).collect();
        let targets = Targets::new(&references(), &energies_ev);
        let mut spectrum = Spectrum::default();
        for energy in (0..40).filter(|energy| energy % 7 != 3) {
            let od = 3.0 + targets.at(energy)[1] + 0.1 * (energy as f64).sin();
            spectrum.push(energy, od, 1e-4 * (1.0 + (energy % 5) as f64));
        }
        let added = 2e-4;
        let used: Vec<usize> = (0..spectrum.len()).filter(|&i| targets.used[spectrum.energies[i]]).collect();
        let weight = |i: usize| 1.0 / (spectrum.variance[i] + added);
        let weights: f64 = used.iter().map(|&i| weight(i)).sum();
        let covariance = |a: &dyn Fn(usize) -> f64, b: &dyn Fn(usize) -> f64| {
            let mean =
                |of: &dyn Fn(usize) -> f64| used.iter().map(|&i| weight(i) * of(i)).sum::<f64>() / weights;
            let (mean_a, mean_b) = (mean(a), mean(b));
            used.iter().map(|&i| weight(i) * (a(i) - mean_a) * (b(i) - mean_b)).sum::<f64>()
        };
        let x = |i: usize| spectrum.od[i];
        let e = |i: usize| targets.centred_ev(spectrum.energies[i]);
        let mut sums = Sums::default();
        assert_eq!(sums.load(&spectrum, &targets, added, true), used.len());
        let close =
            |found: f64, wanted: f64| assert!((found - wanted).abs() < 1e-9 * weights, "{found} {wanted}");
        close(sums.xx(), covariance(&x, &x));
        close(sums.xe(), covariance(&x, &e));
        close(sums.ee(), covariance(&e, &e));
        for a in 0..3 {
            let ra = |i: usize| targets.at(spectrum.energies[i])[a];
            close(sums.xr(a), covariance(&x, &ra));
            close(sums.re(a), covariance(&e, &ra));
            for b in 0..3 {
                close(sums.rr(a, b), covariance(&ra, &|i: usize| targets.at(spectrum.energies[i])[b]));
            }
        }
    }
}
