//! How noisy the values really are, against what counting photons would give.
//!
//! Where `counts_per_photon` is known the noise is Poisson's and the factor is 1. Where it is not, the factor is
//! measured: each optical density is compared with the straight line between its two neighbours in energy, and
//! the squared residual with the variance Poisson would give it. The median over all of them, over the median of
//! chi² with one degree of freedom, is the factor; a median does not mind the few energies at which a spectrum
//! really bends.

use super::{Conversion, Intensity};
use crate::stack::Stack;

/// Median of chi² with one degree of freedom.
const CHI2_MEDIAN: f64 = 0.454_936;
/// Pixels that are looked at, evenly spread; more would not change a median.
const MAX_PIXELS: usize = 4096;
/// Fewer residuals than this say nothing.
const MIN_RESIDUALS: usize = 64;

/// Factor between the variance of the values and that of Poisson counts: 1 where `counts_per_photon` is given or
/// where there are too few values to tell.
#[must_use]
pub fn noise_factor(stack: &Stack, intensity: &Intensity, max_od: f64) -> f64 {
    let plan = stack.plan();
    if plan.detector.counts_per_photon.is_some() {
        return 1.0;
    }
    let mut order: Vec<usize> =
        (0..plan.energies_ev.len()).filter(|&e| stack.plane(e).measured() > 0).collect();
    order.sort_by(|&a, &b| plan.energies_ev[a].total_cmp(&plan.energies_ev[b]));
    order.dedup_by(|a, b| plan.energies_ev[*a] == plan.energies_ev[*b]);
    let planes: Vec<_> = order
        .iter()
        .map(|&e| {
            let conversion = Conversion::new(plan, e, intensity.plane(e), max_od).of_plane(stack.plane(e));
            (plan.energies_ev[e], stack.plane(e), conversion)
        })
        .collect();
    let stride = plan.grid.pixels().div_ceil(MAX_PIXELS);
    let mut residuals = Vec::new();
    for pixel in (0..plan.grid.pixels()).step_by(stride) {
        let mut run: [Option<(f64, f64, f64)>; 2] = [None; 2];
        for (energy_ev, plane, conversion) in &planes {
            let density = conversion.apply(plane.value(pixel), plane.i0_at(pixel));
            if density.od.is_nan() {
                continue;
            }
            let (e, od, variance) = (*energy_ev, f64::from(density.od), f64::from(density.variance));
            if let [Some((e0, od0, var0)), Some((e1, od1, var1))] = run {
                let t = (e1 - e0) / (e - e0);
                let residual = od1 - (od0 + t * (od - od0));
                let expected = var1 + (1.0 - t) * (1.0 - t) * var0 + t * t * variance;
                residuals.push(residual * residual / expected);
            }
            run = [run[1], Some((e, od, variance))];
        }
    }
    if residuals.len() < MIN_RESIDUALS {
        return 1.0;
    }
    let middle = residuals.len() / 2;
    let (_, median, _) = residuals.select_nth_unstable_by(middle, f64::total_cmp);
    // Exact data, e.g. made without noise, must not make every difference significant.
    (*median / CHI2_MEDIAN).max(1e-6)
}
