//! The drift of a specimen over a scan, as a scenario wants it.
//!
//! Three parts per axis: a random walk in the order of measurement; the run-out of zone plate and stage, which goes
//! with the energy, for the most part straight and with a ripple of a seventh; and a jitter of every energy. All is
//! told from the first energy on.

use std::f64::consts::TAU;

use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

use super::scenario::DriftSettings;

/// Random stream of the drift.
const STREAM: u64 = u64::MAX - 1;
/// Amplitude of the ripple of the run-out, as a share of it, and its turns over the range of energies.
const RIPPLE: (f64, f64) = (1.0 / 7.0, 2.5);

/// Where the specimen is at each energy, pixels along y and x from where it was at the first.
pub(super) fn curve(settings: &DriftSettings, energies_ev: &[f64], seed: u64) -> Vec<[f64; 2]> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    rng.set_stream(STREAM);
    let (low, high) =
        energies_ev.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), &e| (l.min(e), h.max(e)));
    let (direction, phase): (f64, f64) = (rng.random_range(0.0..TAU), rng.random());
    let mut walk = [0.0; 2];
    let mut curve: Vec<[f64; 2]> = energies_ev
        .iter()
        .map(|&energy_ev| {
            let place = if high > low { (energy_ev - low) / (high - low) } else { 0.0 };
            let run_out = settings.run_out_px * (place + RIPPLE.0 * (TAU * (RIPPLE.1 * place + phase)).sin());
            let along = [direction.sin(), direction.cos()];
            [0, 1].map(|axis| {
                walk[axis] += settings.walk_px * gaussian(&mut rng);
                walk[axis] + run_out * along[axis] + settings.jitter_px * gaussian(&mut rng)
            })
        })
        .collect();
    let Some(&start) = curve.first() else { return curve };
    curve.iter_mut().for_each(|[y, x]| (*y, *x) = (*y - start[0], *x - start[1]));
    let most = curve.iter().map(|[y, x]| y.hypot(*x)).fold(0.0, f64::max);
    if most > settings.most_px {
        let scale = settings.most_px / most;
        curve.iter_mut().for_each(|[y, x]| (*y, *x) = (*y * scale, *x * scale));
    }
    curve
}

/// A number of mean 0 and variance 1: twelve uniform ones less six.
pub(super) fn gaussian(rng: &mut ChaCha8Rng) -> f64 {
    (0..12).map(|_| rng.random::<f64>()).sum::<f64>() - 6.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn energies() -> Vec<f64> {
        (0..30).map(|i| 510.0 + f64::from(i)).collect()
    }

    #[test]
    fn nothing_moves_unless_it_is_asked_to() {
        assert!(curve(&DriftSettings::default(), &energies(), 3).iter().all(|at| *at == [0.0; 2]));
        assert!(curve(&DriftSettings::default(), &[], 3).is_empty());
    }

    #[test]
    fn it_begins_at_nothing_goes_far_and_no_farther_than_allowed() {
        let settings = DriftSettings { walk_px: 0.5, run_out_px: 12.0, jitter_px: 0.2, most_px: 8.0 };
        for seed in 0..8 {
            let curve = curve(&settings, &energies(), seed);
            let far = curve.iter().map(|[y, x]| y.hypot(*x)).fold(0.0, f64::max);
            assert_eq!(curve[0], [0.0; 2]);
            assert!((4.0..=8.0 + 1e-9).contains(&far), "{far}");
            assert!(curve.iter().flatten().any(|px| (px - px.round()).abs() > 0.2), "between pixels");
        }
        assert_ne!(curve(&settings, &energies(), 0), curve(&settings, &energies(), 1));
    }

    #[test]
    fn run_out_goes_with_the_energy_and_not_with_the_order() {
        let settings = DriftSettings { run_out_px: 3.0, ..DriftSettings::default() };
        let ascending = curve(&settings, &[510.0, 515.0, 520.0], 1);
        let other = curve(&settings, &[510.0, 520.0, 515.0], 1);
        assert_eq!((ascending[1], ascending[2]), (other[2], other[1]));
    }
}
