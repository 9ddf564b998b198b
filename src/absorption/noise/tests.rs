//! Noise of known size, in counts that are not photons.

use rand::SeedableRng as _;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution as _, Normal};

use super::*;
use crate::absorption::AbsorptionSettings;
use crate::scan::I0;
use crate::screening::Screen;
use crate::screening::tests::{drawn, push};

/// A drawn scan whose photons make `gain` counts each, with an offset that is constant or scatters as they do.
fn amplified(photons: f64, energies: usize, gain: f64, offset: f64, noisy: bool, seed: u64) -> Stack {
    let drawn = drawn(photons, energies, seed);
    let mut plan = drawn.plan().as_ref().clone();
    (plan.detector.counts_per_photon, plan.detector.dark) = (None, offset);
    let mut stack = Stack::new(plan);
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let scatter = Normal::new(0.0, if noisy { (gain * offset).sqrt() } else { 0.0 }).unwrap();
    for (energy, plane) in drawn.planes().iter().enumerate() {
        let count = |v: &f32| (f64::from(*v) * gain + offset + scatter.sample(&mut rng)) as f32;
        let values = plane.values().iter().map(count).collect();
        push(&mut stack, energy, values, I0::None);
    }
    stack
}

fn estimate(stack: &Stack) -> (f64, bool) {
    let settings = AbsorptionSettings { max_od: 2.5, ..AbsorptionSettings::default() };
    let intensity = Intensity::estimate(stack, &Screen::default(), &settings);
    (noise_factor(stack, &intensity, settings.max_od), intensity.dark_is_noise())
}

#[test]
fn the_gain_is_found_whatever_the_energies() {
    for (gain, energies) in [(0.07, 30), (0.07, 8), (1.0, 30), (1.0, 8), (10.0, 12), (10.0, 6)] {
        let (factor, _) = estimate(&amplified(3000.0, energies, gain, 0.0, true, 1));
        // Few energies bend the most: what is left of that is allowed a seventh.
        assert!((factor / gain - 1.0).abs() < 0.15, "gain {gain}, {energies} energies: {factor}");
    }
}

#[test]
fn three_energies_give_the_size() {
    // One difference a place: what is structure cannot be told from noise place by place.
    let (factor, _) = estimate(&amplified(3000.0, 3, 1.0, 0.0, true, 1));
    assert!((0.8..1.5).contains(&factor), "{factor}");
}

#[test]
fn an_offset_is_told_from_noise() {
    for (gain, noisy) in [(0.3, false), (5.0, false), (0.3, true), (5.0, true)] {
        // As much as the beam, so that it matters.
        let stack = amplified(1000.0, 20, gain, 1000.0 * gain, noisy, 2);
        let (factor, dark_is_noise) = estimate(&stack);
        assert_eq!(dark_is_noise, noisy, "gain {gain}");
        assert!((factor / gain - 1.0).abs() < 0.15, "gain {gain}, noisy {noisy}: {factor}");
    }
}

#[test]
fn known_photons_are_believed() {
    assert_eq!(estimate(&drawn(1000.0, 8, 3)), (1.0, true));
}
