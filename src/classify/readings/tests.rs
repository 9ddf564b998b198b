//! Readings of spectra with known answers, and of a phase that a mixture looks exactly like.

use super::*;
use crate::classify::Targets;
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
    let scale = Scale { misfit: 0.0, contrast: &[], freedom: ENERGIES as f64 - 2.0 };
    readings.weigh(&fit, &scale, &[], 3, MIXTURE_PRIOR);
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
        assert!(readings.singles[phase].exp() > 0.8, "{:?}", readings.singles);
        assert!(readings.mostly(phase as u8) > 0.95 && readings.mixed() < 0.1);
        assert!(!readings.is_unknown(0.0));
    }
}

#[test]
fn two_phases_are_found_where_the_noise_allows_it() {
    let (_, clear) = read(&references(), [0.4, 0.0, 0.4], 0.01, 3);
    let (pair, score) = clear.best_pair().unwrap();
    assert!(same(pair.pair, [0, 2]) && score.exp() > 0.9, "{pair:?} {score}");
    let (_, noisy) = read(&references(), [0.4, 0.0, 0.4], 0.6, 3);
    assert!(noisy.best_pair().unwrap().1.exp() < 0.5);
}

#[test]
fn probabilities_add_up() {
    let (_, readings) = read(&references(), [0.3, 0.5, 0.0], 0.05, 11);
    let alone: f64 = readings.singles.iter().map(|score| score.exp()).sum();
    assert!((alone + readings.mixture - 1.0).abs() < 1e-9);
    let mostly: f64 = (0..3).map(|phase| readings.mostly(phase)).sum();
    assert!((mostly - 1.0).abs() < 1e-9, "{mostly}");
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
    let scale = Scale { misfit: 0.0, contrast: &[], freedom: ENERGIES as f64 - 2.0 };
    readings.weigh(&fit, &scale, &[], 3, MIXTURE_PRIOR);
    assert!(readings.is_unknown(0.0), "{} {}", readings.deviations, readings.left);
    assert!(!readings.is_unknown(1.0), "where the references miss everything, nothing is unknown");
}

#[test]
fn a_prior_moves_the_weight() {
    let (_, flat) = read(&references(), [0.4, 0.4, 0.0], 0.3, 9);
    let energies_ev: Vec<f64> = (0..ENERGIES).map(|i| 508.0 + 0.5 * i as f64).collect();
    let targets = Targets::new(&references(), &energies_ev);
    let (fit, mut told) = read(&references(), [0.4, 0.4, 0.0], 0.3, 9);
    let scale = Scale { misfit: 0.0, contrast: &[], freedom: ENERGIES as f64 - 2.0 };
    told.weigh(&fit, &scale, &[0.0, 3.0, 0.0], targets.phases(), MIXTURE_PRIOR);
    assert!(told.mostly(1) > flat.mostly(1));
}

#[test]
fn the_share_of_mixtures_is_what_reproduces_itself() {
    let odds =
        |mixed: usize| -> Vec<f64> { (0..100).map(|i| if i < mixed { 20.0 } else { -20.0 }).collect() };
    assert!((mixture_prior(&odds(20)) - 0.2).abs() < 1e-6);
    assert_eq!(mixture_prior(&odds(0)), MIXTURE_PRIORS[0]);
    assert_eq!(mixture_prior(&odds(90)), MIXTURE_PRIORS[1]);
    assert_eq!(mixture_prior(&[]), MIXTURE_PRIOR);
}
