//! Readings of spectra with known answers, and of a phase that a mixture looks exactly like.

use super::*;
use crate::classify::Targets;
use crate::classify::messages::normalise;
use crate::classify::moments::Moments;
use crate::classify::population::Population;
use crate::classify::spectrum::Spectrum;
use crate::classify::tests::references;
use crate::reference::ReferenceSet;

const ENERGIES: usize = 30;
const NONE: u8 = NO_PHASE;

/// A spectrum of the given amounts with noise of `sigma`, and its readings.
fn read(set: &ReferenceSet, amounts: [f64; 3], sigma: f64, seed: u64) -> (MixtureFit, Readings) {
    let energies_ev: Vec<f64> = (0..ENERGIES).map(|i| 508.0 + 0.5 * i as f64).collect();
    let targets = Targets::new(set, &energies_ev);
    let mut state = seed;
    let mut noise = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((state >> 11) as f64 / (1_u64 << 53) as f64 - 0.5) * 12_f64.sqrt()
    };
    let mut spectrum = Spectrum::default();
    for (index, &energy_ev) in energies_ev.iter().enumerate() {
        let od: f64 = set.od_at(energy_ev).unwrap().iter().zip(amounts).map(|(r, a)| r * a).sum();
        spectrum.push(index, 0.2 + od + sigma * noise(), sigma * sigma);
    }
    let mut fit = MixtureFit::default();
    assert!(fit.load(&spectrum, &targets));
    let mut readings = Readings::default();
    readings.fit(&fit, 3, ENERGIES as f64 - 2.0);
    let compositions = Compositions::new(3);
    let (mut moments, mut belief) = (Moments::default(), vec![0.0; compositions.len()]);
    moments.load(&spectrum, &targets, 0.0);
    moments.log_likelihoods(&compositions, &mut belief);
    let prior = Population { purity: 0.85, ..Population::default() }.log_prior(&compositions);
    belief.iter_mut().zip(&prior).for_each(|(belief, prior)| *belief += prior);
    normalise(&mut belief);
    readings.believe(&belief, &compositions);
    (fit, readings)
}

/// The second phase is exactly 0.4 of the first and 0.6 of the third.
fn twins() -> ReferenceSet {
    let mut set = references();
    let od = set.references[0].od.iter().zip(&set.references[2].od).map(|(a, b)| 0.4 * a + 0.6 * b).collect();
    set.references[1].od = od;
    set
}

#[test]
fn one_phase_is_the_simpler_reading() {
    for (phase, amounts) in [[0.8, 0.0, 0.0], [0.0, 0.8, 0.0], [0.0, 0.0, 0.8]].into_iter().enumerate() {
        let (_, readings) = read(&references(), amounts, 0.02, 7);
        assert!(readings.singles[phase] > 0.8, "{:?}", readings.singles);
        assert!(readings.mostly(phase as u8) > 0.95 && readings.mixed() < 0.1);
        assert!(!readings.is_unknown(0.0));
    }
}

#[test]
fn two_phases_are_found_where_the_noise_allows_it() {
    let (_, clear) = read(&references(), [0.4, 0.0, 0.4], 0.01, 3);
    let best = clear.best_pair().unwrap();
    let (pair, probability) = (best.fit, best.probability);
    assert!(same(pair.pair, [0, 2]) && probability > 0.9, "{pair:?} {probability}");
    let (_, noisy) = read(&references(), [0.4, 0.0, 0.4], 0.6, 3);
    assert!(noisy.best_pair().unwrap().probability < 0.5);
}

#[test]
fn probabilities_add_up() {
    let (_, readings) = read(&references(), [0.3, 0.5, 0.0], 0.05, 11);
    let alone: f64 = readings.singles.iter().sum();
    assert!((alone + readings.mixture - 1.0).abs() < 1e-5);
    let mostly: f64 = (0..3).map(|phase| readings.mostly(phase)).sum();
    assert!((mostly - 1.0).abs() < 1e-5, "{mostly}");
}

#[test]
fn what_looks_like_a_mixture_says_so_and_what_does_not_is_distinguishable() {
    let (fit, readings) = read(&twins(), [0.0, 0.8, 0.0], 0.01, 5);
    let named = readings.alternatives([1, NONE]);
    assert!(named[..2] == [1, NONE] && same([named[2], named[3]], [0, 2]), "{named:?}");
    assert!(!readings.distinguishable(&fit, named, 0.0));
    let (fit, readings) = read(&references(), [0.0, 0.8, 0.0], 0.01, 5);
    assert_eq!(readings.alternatives([1, NONE]), NO_READINGS);
    assert!(readings.distinguishable(&fit, [1, NONE, 0, 2], 0.0));
}

#[test]
fn unknown_is_what_even_pairs_leave_too_much_of() {
    let mut strange = references();
    let source = strange.references[1].clone();
    for (energy_ev, od) in source.energies_ev.iter().zip(&mut strange.references[1].od) {
        *od = source.od_at((energy_ev - 4.0).max(505.0)).unwrap();
    }
    let energies_ev: Vec<f64> = (0..ENERGIES).map(|i| 508.0 + 0.5 * i as f64).collect();
    let targets = Targets::new(&references(), &energies_ev);
    let mut spectrum = Spectrum::default();
    for (index, &energy_ev) in energies_ev.iter().enumerate() {
        spectrum.push(index, strange.references[1].od_at(energy_ev).unwrap(), 1e-4);
    }
    let (mut fit, mut readings) = (MixtureFit::default(), Readings::default());
    assert!(fit.load(&spectrum, &targets));
    readings.fit(&fit, 3, ENERGIES as f64 - 2.0);
    assert!(readings.is_unknown(0.0), "{} {}", readings.deviations, readings.left);
    assert!(!readings.is_unknown(1.0), "where the references miss everything, nothing is unknown");
}
