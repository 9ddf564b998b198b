//! Beams that flicker, and beams that do not.

use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution as _, Normal};

use super::*;
use crate::absorption::{
    AbsorptionSettings, I0Mode, I0Source, I0Spectrum, Intensity, PlaneIntensity, SpectrumUnit,
};
use crate::scan::{I0, I0Kind, Pixels, SampleBatch};
use crate::screening::Screen;
use crate::screening::tests::{drawn, edited, push};
use crate::stack::Stack;

const NX: usize = 112;
/// Columns of a drawn scan that are empty, but for their rim.
const EMPTY: std::ops::Range<usize> = 0..18;

fn settings() -> AbsorptionSettings {
    AbsorptionSettings { max_od: 2.5, ..AbsorptionSettings::default() }
}

fn estimate(stack: &Stack, settings: &AbsorptionSettings) -> Intensity {
    Intensity::estimate(stack, &Screen::of(stack, &settings.detector), settings)
}

/// Mean optical density of the empty columns of some rows at one energy.
fn empty_od(stack: &Stack, intensity: &Intensity, energy: usize, rows: std::ops::Range<usize>) -> f64 {
    let (plane, conversion) = (stack.plane(energy), intensity.conversion(stack.plan(), energy, 2.5));
    let (mut sum, mut count) = (0.0, 0);
    for pixel in rows.flat_map(|y| EMPTY.map(move |x| y * NX + x)) {
        let od = conversion.apply(pixel, plane.value(pixel), plane.i0_at(pixel)).od;
        if !od.is_nan() {
            (sum, count) = (sum + f64::from(od), count + 1);
        }
    }
    sum / f64::from(count)
}

#[test]
fn a_top_up_within_an_image_is_taken_out() {
    let stack = edited(&drawn(1000.0, 8, 21), |energy, values| {
        if energy % 4 == 1 {
            values[(20 + 8 * energy) * NX..].iter_mut().for_each(|v| *v *= 1.08);
        }
    });
    let intensity = estimate(&stack, &settings());
    assert_eq!(intensity.source(), I0Source::Region);
    for energy in [1, 5] {
        let step = 20 + 8 * energy;
        for rows in [0..step, step..100] {
            let od = empty_od(&stack, &intensity, energy, rows);
            assert!(od.abs() < 0.008, "energy {energy}: {od}");
        }
    }
}

#[test]
fn a_steady_beam_is_left_alone() {
    for seed in 30..34 {
        let intensity = estimate(&drawn(1000.0, 8, seed), &settings());
        for energy in 0..8 {
            let PlaneIntensity::One { beam, .. } = intensity.plane(energy) else { panic!("no i0") };
            assert_eq!(*beam, Beam::Steady, "seed {seed}, energy {energy}");
        }
    }
}

#[test]
fn a_region_that_does_not_span_the_lines_says_nothing_of_them() {
    let mut settings = settings();
    settings.mode = I0Mode::Region;
    settings.region = Some(crate::absorption::RegionBox { x: [0, 18], y: [0, 40] });
    let stack = edited(&drawn(1000.0, 8, 22), |_, values| {
        values[20 * NX..].iter_mut().for_each(|v| *v *= 1.08);
    });
    let intensity = estimate(&stack, &settings);
    assert!(matches!(intensity.plane(0), PlaneIntensity::One { beam: Beam::Steady, .. }));
}

/// The scan with a beam that flickers from line to line by a few percent, and a monitor that sees it, with an
/// unknown transfer of its own at each energy and noise `noise` on every reading.
fn monitored(flicker: f64, noise: f64, seed: u64) -> Stack {
    let drawn = drawn(1000.0, 8, seed);
    let mut plan = drawn.plan().as_ref().clone();
    plan.i0_kind = I0Kind::Monitor;
    let mut stack = Stack::new(plan);
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let scatter = Normal::new(1.0, noise).unwrap();
    for (energy, plane) in drawn.planes().iter().enumerate() {
        let transfer = 5e3 * (1.0 + (energy as f64 * 1.7).sin().abs());
        let (mut values, mut i0) = (plane.values().to_vec(), Vec::new());
        for row in values.chunks_exact_mut(NX) {
            let beam = 1.0 + rng.random_range(-flicker..=flicker);
            row.iter_mut().for_each(|v| *v *= beam as f32);
            i0.extend(row.iter().map(|_| (transfer * beam * scatter.sample(&mut rng)) as f32));
        }
        push(&mut stack, energy, values, I0::Each(i0));
    }
    stack
}

#[test]
fn a_monitor_corrects_the_beam_and_is_no_i0() {
    for mode in [I0Mode::Auto, I0Mode::Stream] {
        let stack = monitored(0.05, 0.002, 23);
        let settings = AbsorptionSettings { mode, ..settings() };
        let intensity = estimate(&stack, &settings);
        assert_eq!(intensity.source(), I0Source::Region);
        let scatter = |energy: usize| {
            let rows = (0..100).map(|y| empty_od(&stack, &intensity, energy, y..y + 1).powi(2)).sum::<f64>();
            (rows / 100.0).sqrt()
        };
        // 18 values of 1000 counts are known to 0.75 %; the beam flickers by 2.9 %.
        assert!((0..8).all(|energy| scatter(energy) < 0.01), "{:?}", (0..8).map(scatter).collect::<Vec<_>>());
        let said = intensity.normalisation(&stack, &settings);
        let text = |name: &str| &said.iter().find(|(n, _)| *n == name).unwrap().1;
        assert!(text("i0").contains("monitor") && text("beam").contains("monitor at 8"), "{said:?}");
        assert!(text("ring_current").starts_with("not applied"));
    }
}

#[test]
fn the_noise_of_a_monitor_is_not_put_into_the_image() {
    let stack = monitored(0.0, 0.05, 24);
    let intensity = estimate(&stack, &settings());
    for energy in 0..8 {
        let PlaneIntensity::One { beam: Beam::Monitor { share, .. }, .. } = intensity.plane(energy) else {
            panic!("no monitor")
        };
        assert!(*share < 0.15, "{share}");
    }
}

/// The scan in a ring whose current falls by a tenth from the first image to the last, told or not.
fn decaying(tell: bool) -> Stack {
    let drawn = drawn(3000.0, 8, 25);
    let mut stack = Stack::new(drawn.plan().as_ref().clone());
    for (energy, plane) in drawn.planes().iter().enumerate() {
        let current_ma = 500.0 * (1.0 - 0.1 * energy as f64 / 7.0);
        let batch = SampleBatch {
            energy_index: energy as u32,
            pixels: Pixels::Run { first: 0, count: plane.values().len() as u32 },
            channel: crate::scan::Channel::Intensity,
            others: Vec::new(),
            values: plane.values().iter().map(|v| v * (current_ma / 500.0) as f32).collect(),
            i0: I0::None,
            ring_current_ma: tell.then_some(current_ma),
            energy_ev: None,
            time: None,
        };
        stack.push(energy as u64, &batch).unwrap();
    }
    stack
}

#[test]
fn ring_current_scales_a_spectrum_and_nothing_else() {
    let spectrum = |ring_current_ma| AbsorptionSettings {
        mode: I0Mode::Spectrum,
        spectrum: Some(I0Spectrum {
            points: vec![(100.0, 3000.0), (2000.0, 3000.0)],
            unit: SpectrumUnit::CountsPerMs,
            ring_current_ma,
        }),
        ..settings()
    };
    let last_od =
        |stack: &Stack, settings: &AbsorptionSettings| empty_od(stack, &estimate(stack, settings), 7, 0..100);
    let told = decaying(true);
    assert!(last_od(&told, &spectrum(Some(500.0))).abs() < 0.004);
    // Where one of the two is not known nothing is scaled: the spectrum may follow the ring already.
    for (stack, settings) in [(&told, spectrum(None)), (&decaying(false), spectrum(Some(500.0)))] {
        assert!((last_od(stack, &settings) + 0.9_f64.ln()).abs() < 0.004);
    }
    assert!(last_od(&told, &settings()).abs() < 0.004, "a region carries the current");
}

#[test]
fn the_i0_spectrum_of_the_recorded_stack_is_per_millisecond() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/data/als-fe-l-71214078/71214078.hdr");
    if !std::path::Path::new(path).exists() {
        eprintln!("SKIPPED: {path} is not there; a recorded I0 in counts per ms was not tried");
        return;
    }
    let recording = crate::recording::Recording::load(std::path::Path::new(path)).unwrap();
    let mut stack = Stack::new(recording.plan.clone());
    for (energy, plane) in recording.planes.iter().enumerate() {
        push(&mut stack, energy, plane.values.clone(), I0::None);
    }
    let spectrum = I0Spectrum {
        points: recording.i0.clone().unwrap(),
        unit: SpectrumUnit::CountsPerMs,
        ring_current_ma: None,
    };
    let settings = AbsorptionSettings { mode: I0Mode::Spectrum, spectrum: Some(spectrum), ..settings() };
    let intensity = estimate(&stack, &settings);
    // The empty field as the spectrum's makers had it: the brightest 15 % of the mean image.
    let pixels = stack.plan().grid.pixels();
    let mean = |pixel: usize| stack.planes().iter().map(|p| f64::from(p.value(pixel))).sum::<f64>();
    let mut order: Vec<(f64, usize)> = (0..pixels).map(|pixel| (mean(pixel), pixel)).collect();
    order.sort_by(|a, b| b.0.total_cmp(&a.0));
    let brightest: Vec<usize> = order[..pixels * 15 / 100].iter().map(|(_, pixel)| *pixel).collect();
    let region: Vec<usize> = estimate(&stack, &self::settings()).region().unwrap().pixels.iter().collect();
    let worst = |pixels: &[usize]| {
        let od = |energy: usize| {
            let (plane, conversion) = (stack.plane(energy), intensity.conversion(stack.plan(), energy, 2.5));
            let all = pixels.iter().map(|&p| f64::from(conversion.apply(p, plane.value(p), f32::NAN).od));
            all.sum::<f64>() / pixels.len() as f64
        };
        let all: Vec<f64> = (0..stack.planes().len()).map(od).collect();
        (all.iter().map(|od| od.abs()).fold(0.0, f64::max), all.iter().sum::<f64>() / all.len() as f64)
    };
    assert!(
        worst(&brightest).0 < 0.005 && worst(&region).1.abs() < 0.005,
        "{:?} {:?}",
        worst(&brightest),
        worst(&region)
    );
}
