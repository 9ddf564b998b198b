//! What a beam or a detector that is not perfect costs a map, and what of that is won back: drawn scans, spoilt in one way
//! each, through the settled pipeline with and without what is there against it.

use std::sync::Arc;

use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution as _, Normal};

use super::{Conditions, Drawer, Filling, Truth};
use crate::absorption::{AbsorptionSettings, I0Mode, I0Spectrum, RegionBox, SpectrumUnit};
use crate::classify::correlation::Baseline;
use crate::classify::{OffsetMode, Recipe, Status, TriageSettings, settle};
use crate::registration::RegistrationMode;
use crate::scan::{Channel, I0, I0Kind, Pixels, SampleBatch, ScanPlan};
use crate::screening::DetectorSettings;
use crate::simulate::nvpf::reference_set;
use crate::stack::Stack;

const NX: usize = 112;
const NY: usize = 100;

/// One plane as it is to be sent.
#[derive(Default)]
struct Image {
    values: Vec<f32>,
    i0: Vec<f32>,
    ring_current_ma: Option<f64>,
}

/// A drawn scan, spoilt.
struct Spoilt {
    stack: Stack,
    truth: Vec<Truth>,
}

fn spoil(
    conditions: &Conditions,
    seed: u64,
    plan: impl Fn(&mut ScanPlan),
    mut image: impl FnMut(&mut ChaCha8Rng, usize, &mut Image),
) -> Spoilt {
    let references = reference_set();
    let drawn = Drawer::new(&references).unwrap().draw(conditions, seed).unwrap();
    let mut rng = ChaCha8Rng::seed_from_u64(seed + 1000);
    let mut own = drawn.stack.plan().as_ref().clone();
    plan(&mut own);
    let mut stack = Stack::new(own);
    for (energy, plane) in drawn.stack.planes().iter().enumerate() {
        let mut sent = Image { values: plane.values().to_vec(), ..Image::default() };
        image(&mut rng, energy, &mut sent);
        let batch = SampleBatch {
            energy_index: energy as u32,
            pixels: Pixels::Run { first: 0, count: sent.values.len() as u32 },
            channel: Channel::Intensity,
            values: sent.values,
            i0: if sent.i0.is_empty() { I0::None } else { I0::Each(sent.i0) },
            ring_current_ma: sent.ring_current_ma,
            energy_ev: None,
            time: None,
        };
        stack.push(energy as u64, &batch).unwrap();
    }
    Spoilt { stack, truth: drawn.truth }
}

/// What a map is worth.
#[derive(Clone, Copy, Debug, Default)]
struct Worth {
    /// Share of the particle pixels whose best guess is right.
    right: f64,
    /// Share of them that is classified, and of those the share that is right.
    classified: f64,
    right_of_classified: f64,
    /// Mean confidence less the share that is right.
    overconfident: f64,
    /// Mean of the magnitude of the optical density of the empty field, energy by energy.
    empty_od: f64,
}

fn worth(spoilt: &Spoilt, absorption: AbsorptionSettings) -> Worth {
    let recipe = Recipe {
        references: Arc::new(reference_set()),
        absorption,
        baseline: Baseline::None,
        triage: TriageSettings::default(),
        offset: OffsetMode::Correct,
        calibration: None,
        registration: RegistrationMode::Off,
    };
    let settled = settle(&spoilt.stack, &recipe, None);
    let (mut all, mut right, mut classified, mut both, mut confidence) = (0.0, 0.0, 0.0, 0.0, 0.0);
    for (pixel, truth) in spoilt.truth.iter().enumerate() {
        let Truth::Phase(phase) = truth else { continue };
        let is_right = f64::from(settled.map.phase[pixel] == *phase);
        let is_classified = f64::from(settled.map.status[pixel] == Status::Classified);
        let sure = f64::from(settled.map.confidence[pixel]);
        all += 1.0;
        right += is_right;
        classified += is_classified;
        both += is_right * is_classified;
        confidence += if sure.is_nan() { 0.0 } else { sure };
    }
    let energies = spoilt.stack.planes().len();
    let empty = |energy: usize| {
        let conversion = settled.intensity.conversion(spoilt.stack.plan(), energy, 2.5);
        let plane = spoilt.stack.plane(energy);
        let od = (0..NY * NX)
            .filter(|pixel| pixel % NX < 18)
            .map(|p| f64::from(conversion.apply(p, plane.value(p), plane.i0_at(p)).od))
            .filter(|od| !od.is_nan());
        let (sum, count) = od.fold((0.0, 0), |(sum, count), od| (sum + od, count + 1));
        if count == 0 { 0.0 } else { (sum / f64::from(count)).abs() }
    };
    Worth {
        right: right / all,
        classified: classified / all,
        right_of_classified: both / f64::max(classified, 1.0),
        overconfident: (confidence - right) / all,
        empty_od: (0..energies).map(empty).sum::<f64>() / energies as f64,
    }
}

/// An effect: a scan that suffers from it, and the settings without and with what is there against it.
struct Effect {
    name: &'static str,
    spoilt: Spoilt,
    before: AbsorptionSettings,
    after: AbsorptionSettings,
}

fn usual() -> AbsorptionSettings {
    AbsorptionSettings { max_od: 2.5, ..AbsorptionSettings::default() }
}

fn unscreened() -> AbsorptionSettings {
    AbsorptionSettings {
        detector: DetectorSettings { screen_lines: false, ..DetectorSettings::default() },
        ..usual()
    }
}

fn scale(values: &mut [f32], factor: f64) {
    values.iter_mut().for_each(|value| *value *= factor as f32);
}

/// Rows chosen with a chance of 2 %.
fn some_rows(rng: &mut ChaCha8Rng) -> Vec<usize> {
    (1..NY).filter(|_| rng.random_bool(0.02)).collect()
}

fn effects(conditions: &Conditions, seed: u64) -> Vec<Effect> {
    let last = (conditions.energies - 1) as f64;
    let spectrum = |ring_current_ma| AbsorptionSettings {
        mode: I0Mode::Spectrum,
        spectrum: Some(I0Spectrum {
            points: vec![(1.0, conditions.counts), (1e4, conditions.counts)],
            unit: SpectrumUnit::CountsPerMs,
            ring_current_ma,
        }),
        ..usual()
    };
    let steady = AbsorptionSettings {
        mode: I0Mode::Region,
        // Too few lines for the beam within an image to be followed.
        region: Some(RegionBox { x: [0, 18], y: [0, 60] }),
        ..usual()
    };
    let plain = |_: &mut ScanPlan| {};
    let top_up = spoil(conditions, seed, plain, |rng, energy, image| {
        if energy % 3 == 1 {
            let row = rng.random_range(10..90);
            scale(&mut image.values[row * NX..], 1.1);
        }
    });
    let flicker = |kind: Option<I0Kind>| {
        let set = move |plan: &mut ScanPlan| plan.i0_kind = kind.unwrap_or_default();
        spoil(conditions, seed, set, move |rng, energy, image| {
            let transfer = 5e3 * (1.2 + (energy as f64 * 1.7).sin());
            for y in 0..NY {
                let beam = 1.0 + rng.random_range(-0.1..0.1);
                scale(&mut image.values[y * NX..(y + 1) * NX], beam);
                if kind.is_some() {
                    image.i0.extend((0..NX).map(|_| (transfer * beam) as f32));
                }
            }
        })
    };
    let decay = spoil(conditions, seed, plain, |_, energy, image| {
        let factor = 1.0 - 0.1 * energy as f64 / last;
        scale(&mut image.values, factor);
        image.ring_current_ma = Some(500.0 * factor);
    });
    // 5 % of the time is dead at the rate of the empty field.
    let dead_time_s = 0.05 * 1e-3 / conditions.counts;
    let dead = |_: &mut ChaCha8Rng, _: usize, image: &mut Image| {
        let seen = |v: f64| v / (1.0 + v * dead_time_s * 1e3);
        image.values.iter_mut().for_each(|v| *v = seen(f64::from(*v)).round() as f32);
    };
    let dead_spectrum = |dead_time_s| AbsorptionSettings {
        detector: DetectorSettings { dead_time_s, ..DetectorSettings::default() },
        ..usual()
    };
    let stuck = spoil(conditions, seed, plain, |rng, _, image| {
        for y in some_rows(rng) {
            if rng.random_bool(0.5) {
                let held = image.values[y * NX + 40];
                image.values[y * NX..(y + 1) * NX].fill(held);
            } else {
                image.values.copy_within((y - 1) * NX..y * NX, y * NX);
            }
        }
    });
    let bad = spoil(conditions, seed, plain, |rng, _, image| {
        for y in some_rows(rng) {
            let factor = if rng.random_bool(0.5) { 0.6 } else { 1.5 };
            scale(&mut image.values[y * NX..(y + 1) * NX], factor);
        }
    });
    let lost = spoil(conditions, seed, plain, |rng, energy, image| {
        let rows = if energy == conditions.energies / 2 {
            0..NY
        } else if energy % 4 == 1 {
            let first = rng.random_range(0..NY - 3);
            first..first + 3
        } else {
            0..0
        };
        for value in &mut image.values[rows.start * NX..rows.end * NX] {
            *value = if rng.random_bool(0.3) { 1.0 } else { 0.0 };
        }
    });
    let gain = 0.07;
    let amplified = |known: bool| {
        let set = move |plan: &mut ScanPlan| {
            plan.detector.counts_per_photon = known.then(|| vec![1.0; plan.energies_ev.len()]);
        };
        spoil(conditions, seed, set, move |_, _, image| scale(&mut image.values, gain))
    };
    let noisy = |known: bool| {
        let set = move |plan: &mut ScanPlan| {
            plan.detector.counts_per_photon = known.then(|| vec![1.0; plan.energies_ev.len()]);
        };
        spoil(conditions, seed, set, move |rng, _, image| {
            // Ten counts a photon, and as many photons: the noise is that of the photons.
            let read = Normal::new(0.0, 5.0).unwrap();
            image.values.iter_mut().for_each(|v| *v = *v * 10.0 + read.sample(rng) as f32);
        })
    };
    let effect = |name, spoilt, before, after| Effect { name, spoilt, before, after };
    vec![
        effect("nothing", spoil(conditions, seed, plain, |_, _, _| {}), unscreened(), usual()),
        effect("ring decay 10 %, spectrum", decay, spectrum(None), spectrum(Some(500.0))),
        effect("top-up 10 % in every third image", top_up, steady.clone(), usual()),
        effect("flicker 10 %, region", flicker(None), steady, usual()),
        effect(
            "flicker 10 %, monitor",
            flicker(Some(I0Kind::Monitor)),
            AbsorptionSettings {
                mode: I0Mode::Region,
                region: Some(RegionBox { x: [0, 18], y: [0, 60] }),
                ..usual()
            },
            usual(),
        ),
        effect("monitor taken for open beam", flicker(Some(I0Kind::OpenBeam)), usual(), usual()),
        effect(
            "dead time 5 %",
            spoil(conditions, seed, plain, dead),
            dead_spectrum(None),
            dead_spectrum(Some(dead_time_s)),
        ),
        effect("stuck lines 2 %", stuck, unscreened(), usual()),
        effect("bad lines 2 %", bad, unscreened(), usual()),
        effect("beam loss: 3 lines of each 4th image, one image", lost, unscreened(), usual()),
        effect("gain 0.07 taken for photons", amplified(true), usual(), usual()),
        effect("gain 0.07, estimated", amplified(false), usual(), usual()),
        effect("gain 10 taken for photons", noisy(true), usual(), usual()),
        effect("gain 10, estimated", noisy(false), usual(), usual()),
    ]
}

/// Prints the table of the closing note: `cargo test --lib evaluation::beam -- --ignored --nocapture`.
#[test]
#[ignore = "a measurement: minutes"]
fn what_each_effect_costs() {
    let draws = 3;
    for (counts, energies) in [(1000.0, 12), (1000.0, 30), (3000.0, 8)] {
        let conditions =
            Conditions { counts, energies, offset_ev: 0.0, mismatched: false, filling: Filling::Pure };
        let mut rows: Vec<(&str, [Worth; 2])> = Vec::new();
        for seed in 0..draws {
            for (index, effect) in effects(&conditions, 50 + seed).into_iter().enumerate() {
                let both = [worth(&effect.spoilt, effect.before), worth(&effect.spoilt, effect.after)];
                if rows.len() <= index {
                    rows.push((effect.name, [Worth::default(); 2]));
                }
                for (sum, own) in rows[index].1.iter_mut().zip(both) {
                    let share = 1.0 / draws as f64;
                    sum.right += share * own.right;
                    sum.classified += share * own.classified;
                    sum.right_of_classified += share * own.right_of_classified;
                    sum.overconfident += share * own.overconfident;
                    sum.empty_od += share * own.empty_od;
                }
            }
        }
        eprintln!(
            "{counts} counts, {energies} energies, {draws} draws: right, classified, right of these, overconfident, empty |OD|"
        );
        for (name, both) in rows {
            let text = both.map(|w| {
                format!(
                    "{:.4} {:.3} {:.4} {:+.3} {:.4}",
                    w.right, w.classified, w.right_of_classified, w.overconfident, w.empty_od
                )
            });
            eprintln!("  {name:48} {}   ->   {}", text[0], text[1]);
        }
    }
}

#[test]
fn what_spoils_a_scan_costs_no_more_than_a_point() {
    let conditions = Conditions {
        counts: 1000.0,
        energies: 12,
        offset_ev: 0.0,
        mismatched: false,
        filling: Filling::Pure,
    };
    let mut effects = effects(&conditions, 50).into_iter();
    let clean = effects.next().map(|effect| worth(&effect.spoilt, effect.after)).unwrap();
    for effect in effects.filter(|effect| !effect.name.contains("taken for")) {
        let worth = worth(&effect.spoilt, effect.after);
        assert!(worth.right > clean.right - 0.01, "{}: {worth:?} against {clean:?}", effect.name);
        assert!(worth.empty_od < 0.01, "{}: {worth:?}", effect.name);
    }
}
