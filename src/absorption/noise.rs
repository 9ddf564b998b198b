//! How noisy the values really are, against what counting photons would give.
//!
//! Where `counts_per_photon` is known the noise is Poisson's and the factor is 1. Where it is not, it is measured, in
//! differences that take out what is no noise: at each energy the optical density less the straight line between its
//! two neighbours in energy, and of that each pixel less the mean of two others of its line. A spectrum that bends, as
//! every one does where energies are few, bends alike in all three, or in step with a thickness that rises along the line; the
//! edge of a particle is flat in energy. What is left is squared and divided by the variance that Poisson would give it.
//! The median over all of them, over the median of chi² with one degree of freedom, is the factor. Places where spectra of
//! different shape meet, a quarter of a field of small domains, would raise even a median: places whose squares, all
//! energies together, are beyond what the factor allows nineteen of twenty are left out, and the factor is taken anew, until it
//! stays. The pixels are two apart: in images that were aligned by interpolation, neighbours share their noise.
//!
//! A dark level may be noise of its own (stray light, dark counts) or a constant that electronics add. That makes a
//! difference where little light is left. Of the two, the one is taken under which dim and bright values are noisy
//! by the same factor.

use super::Intensity;
use crate::stack::Stack;

/// Median of chi² with one degree of freedom.
const CHI2_MEDIAN: f64 = 0.454_936;
/// Pixels that are looked at, evenly spread; more would not change a median.
const MAX_PIXELS: usize = 4096;
/// Fewer residuals than this say nothing.
const MIN_RESIDUALS: usize = 64;
/// Most rounds of leaving places out.
const ROUNDS: usize = 12;
/// Relative change of the factor below which it stays.
const STAYS: f64 = 1e-3;
/// Normal deviate that nineteen of twenty stay below; squares of overlapping differences scatter by this much more than
/// independent ones.
const NINETEEN_OF_TWENTY: f64 = 1.645;
const OVERLAP: f64 = 1.35;
/// Pixels from one to the next of those that are compared, and their weights.
const APART: usize = 2;
const WEIGHTS: [f64; 3] = [-0.5, 1.0, -0.5];

/// Factor between the variance of the values and that of Poisson counts: 1 where `counts_per_photon` is given or
/// where there are too few values to tell.
#[must_use]
pub fn noise_factor(stack: &Stack, intensity: &Intensity, max_od: f64) -> f64 {
    if stack.plan().detector.counts_per_photon.is_some() {
        return 1.0;
    }
    let own = usize::from(!intensity.dark_is_noise());
    let residuals = residuals(stack, intensity, max_od);
    factor(&residuals, own).map_or(1.0, |(factor, _)| factor)
}

/// Whether the dark level is noisy as counts are, rather than a constant: true where nothing can be told.
pub(super) fn is_dark_noise(stack: &Stack, intensity: &Intensity, max_od: f64) -> bool {
    let plan = stack.plan();
    if plan.detector.counts_per_photon.is_some() || plan.dark() <= 0.0 {
        return true;
    }
    let residuals = residuals(stack, intensity, max_od);
    // Under the wrong assumption fewer places pass; each is asked where it stands itself.
    let unevenness = |model: usize| {
        let Some((_, kept)) = factor(&residuals, model) else { return 0.0 };
        let mut kept: Vec<&Residual> = residuals.iter().filter(|r| kept[r.place]).collect();
        // The dimmer, the more the two assumptions differ.
        let dimness = |residual: &Residual| residual.expected[0] / residual.expected[1];
        kept.sort_by(|a, b| dimness(a).total_cmp(&dimness(b)));
        let (bright, dim) = kept.split_at(kept.len() / 2);
        let of =
            |half: &[&Residual]| median(half.iter().map(|r| r.square / r.expected[model])).unwrap_or(1.0);
        (of(dim) / of(bright)).ln().abs()
    };
    unevenness(0) <= unevenness(1)
}

/// What is left of one difference, and the variance that Poisson gives it: with the dark level noisy, or constant.
struct Residual {
    /// Which of the pixels that are looked at.
    place: usize,
    square: f64,
    expected: [f64; 2],
}

/// The factor that residuals say under one assumption on the dark level, and which places it was taken from.
fn factor(residuals: &[Residual], model: usize) -> Option<(f64, Vec<bool>)> {
    let places = residuals.last().map_or(0, |last| last.place + 1);
    let (mut sums, mut counts) = (vec![0.0_f64; places], vec![0.0_f64; places]);
    for residual in residuals {
        sums[residual.place] += residual.square / residual.expected[model];
        counts[residual.place] += 1.0;
    }
    let mut kept = vec![true; places];
    let ratios = |kept: &[bool]| {
        let own = residuals.iter().filter(|r| kept[r.place]).map(|r| r.square / r.expected[model]);
        median(own)
    };
    let mut factor = ratios(&kept)?;
    for _ in 0..ROUNDS {
        for (kept, (sum, count)) in kept.iter_mut().zip(sums.iter().zip(&counts)) {
            // Wilson and Hilferty: the cube root of a mean of squares is nearly normal.
            let ninth = 2.0 / (9.0 * count);
            let limit = (1.0 - ninth + OVERLAP * NINETEEN_OF_TWENTY * ninth.sqrt()).powi(3);
            *kept = *sum <= limit * count * factor;
        }
        let Some(next) = ratios(&kept) else { break };
        let change = (next / factor - 1.0).abs();
        factor = next;
        if change < STAYS {
            break;
        }
    }
    Some((factor, kept))
}

/// The factor that a list of squares over expected variances says.
fn median(ratios: impl Iterator<Item = f64>) -> Option<f64> {
    let mut ratios: Vec<f64> = ratios.collect();
    if ratios.len() < MIN_RESIDUALS {
        return None;
    }
    let middle = ratios.len() / 2;
    let (_, median, _) = ratios.select_nth_unstable_by(middle, f64::total_cmp);
    // Exact data, e.g. made without noise, must not make every difference significant.
    Some((*median / CHI2_MEDIAN).max(1e-6))
}

/// Difference of optical density between pixels of a line at one energy.
#[derive(Clone, Copy)]
struct Difference {
    energy_ev: f64,
    od: f64,
    variance: [f64; 2],
}

fn residuals(stack: &Stack, intensity: &Intensity, max_od: f64) -> Vec<Residual> {
    let plan = stack.plan();
    let mut order: Vec<usize> =
        (0..plan.energies_ev.len()).filter(|&e| stack.plane(e).measured() > 0).collect();
    order.sort_by(|&a, &b| plan.energies_ev[a].total_cmp(&plan.energies_ev[b]));
    order.dedup_by(|a, b| plan.energies_ev[*a] == plan.energies_ev[*b]);
    let planes: Vec<_> = order
        .iter()
        .map(|&e| {
            let plane = stack.plane(e);
            (plan.energies_ev[e], plane, intensity.conversion(plan, e, max_od).of_plane(plane))
        })
        .collect();
    let nx = plan.grid.nx();
    let stride = plan.grid.pixels().div_ceil(MAX_PIXELS);
    let mut residuals = Vec::new();
    let mut differences = Vec::with_capacity(planes.len());
    let inside = |pixel: &usize| pixel % nx >= APART && pixel % nx + APART < nx;
    for (place, pixel) in (0..plan.grid.pixels()).step_by(stride).filter(inside).enumerate() {
        differences.clear();
        for (energy_ev, plane, conversion) in &planes {
            let pixels = [pixel - APART, pixel, pixel + APART];
            let values = pixels.map(|pixel| (pixel, plane.value(pixel), plane.i0_at(pixel)));
            let od = values.map(|(pixel, value, i0)| f64::from(conversion.apply(pixel, value, i0).od));
            if od.iter().any(|od| od.is_nan()) {
                continue;
            }
            let noise = values.map(|(pixel, value, i0)| conversion.noise(pixel, value, i0));
            // An I0 that all share cancels.
            let shared = values.iter().all(|(_, _, i0)| i0.to_bits() == values[0].2.to_bits());
            let variance = [0, 1].map(|model| {
                let each = noise.iter().map(|n| n.signal[model] + if shared { 0.0 } else { n.i0 });
                each.zip(WEIGHTS).map(|(variance, weight)| weight * weight * variance).sum::<f64>()
            });
            let od = od.iter().zip(WEIGHTS).map(|(od, weight)| weight * od).sum::<f64>();
            differences.push(Difference { energy_ev: *energy_ev, od, variance });
        }
        along_energy(place, &differences, &mut residuals);
    }
    residuals
}

/// Takes out of each difference what its neighbours in energy say.
fn along_energy(place: usize, differences: &[Difference], residuals: &mut Vec<Residual>) {
    match differences {
        [] => {}
        [one] => residuals.push(Residual { place, square: one.od * one.od, expected: one.variance }),
        [a, b] => {
            let expected = [0, 1].map(|model| a.variance[model] + b.variance[model]);
            residuals.push(Residual { place, square: (a.od - b.od).powi(2), expected });
        }
        many => residuals.extend(many.windows(3).map(|window| {
            let [a, b, c] = [window[0], window[1], window[2]];
            let t = (b.energy_ev - a.energy_ev) / (c.energy_ev - a.energy_ev);
            let residual = b.od - (a.od + t * (c.od - a.od));
            let expected = [0, 1].map(|model| {
                b.variance[model] + (1.0 - t) * (1.0 - t) * a.variance[model] + t * t * c.variance[model]
            });
            Residual { place, square: residual * residual, expected }
        })),
    }
}

#[cfg(test)]
mod tests;
