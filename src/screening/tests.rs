//! Spoilt stacks, and stacks that only look it.

use std::path::Path;

use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

use super::*;
use crate::evaluation::{Conditions, Drawer, Filling};
use crate::recording::Recording;
use crate::scan::{Channel, I0, I0Kind, Pixels, SampleBatch};
use crate::simulate::nvpf::reference_set;

/// A drawn scan of NVPF particles.
pub(crate) fn drawn(counts: f64, energies: usize, seed: u64) -> Stack {
    let references = reference_set();
    let conditions =
        Conditions { counts, energies, offset_ev: 0.0, mismatched: false, filling: Filling::Pure };
    Drawer::new(&references).unwrap().draw(&conditions, seed).unwrap().stack
}

/// The same scan with its values, plane by plane, as `edit` leaves them.
pub(crate) fn edited(stack: &Stack, mut edit: impl FnMut(usize, &mut [f32])) -> Stack {
    let mut other = Stack::new(stack.plan().as_ref().clone());
    for (energy, plane) in stack.planes().iter().enumerate() {
        let mut values = plane.values().to_vec();
        edit(energy, &mut values);
        push(&mut other, energy, values, I0::None);
    }
    other
}

pub(crate) fn push(stack: &mut Stack, energy: usize, values: Vec<f32>, i0: I0) {
    let batch = SampleBatch {
        energy_index: energy as u32,
        pixels: Pixels::Run { first: 0, count: values.len() as u32 },
        channel: Channel::Intensity,
        others: Vec::new(),
        values,
        i0,
        ring_current_ma: None,
        energy_ev: None,
        time: None,
    };
    stack.push(energy as u64, &batch).unwrap();
}

fn screen(stack: &Stack) -> Screen {
    Screen::of(stack, &DetectorSettings::default())
}

/// Lines that `flaw` was found in, `(energy, row)`.
fn lines(screen: &Screen, energies: usize, flaw: Flaw) -> Vec<(usize, usize)> {
    let of = |energy: usize| screen.flaws(energy).map(|flaws| flaws.lines().to_vec()).unwrap_or_default();
    let all = (0..energies).flat_map(|energy| of(energy).into_iter().map(move |(y, why)| (energy, y, why)));
    all.filter(|(_, _, why)| *why == flaw).map(|(energy, y, _)| (energy, y)).collect()
}

/// Spoils 2 % of the lines, no two beside each other, and tells which.
fn spoil(
    stack: &Stack,
    seed: u64,
    mut with: impl FnMut(&mut ChaCha8Rng, usize, usize, &mut [f32]),
) -> (Stack, Vec<(usize, usize)>) {
    let [ny, nx] = stack.plan().grid.shape;
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut spoilt: Vec<(usize, usize)> = Vec::new();
    let other = edited(stack, |energy, values| {
        for y in 1..ny {
            if rng.random_bool(0.02) && spoilt.last() != Some(&(energy, y - 1)) {
                with(&mut rng, y, nx, values);
                spoilt.push((energy, y));
            }
        }
    });
    (other, spoilt)
}

/// Share of `truth` that was found, and how many lines were found beside it.
fn recall(found: &[(usize, usize)], truth: &[(usize, usize)]) -> (f64, usize) {
    let hits = truth.iter().filter(|line| found.contains(line)).count();
    (hits as f64 / truth.len() as f64, found.iter().filter(|line| !truth.contains(line)).count())
}

#[test]
fn clean_scans_lose_next_to_nothing() {
    let (mut lines, mut flawed) = (0, 0);
    for (seed, (counts, energies)) in
        [(300.0, 12), (1000.0, 30), (10_000.0, 30), (300.0, 8), (10_000.0, 8)].into_iter().enumerate()
    {
        let stack = drawn(counts, energies, seed as u64);
        lines += energies * stack.plan().grid.ny();
        flawed += screen(&stack).counts().lines.iter().sum::<usize>();
    }
    assert!(flawed * 1000 < lines, "{flawed} of {lines} lines");
}

#[test]
fn stuck_lines_are_found() {
    let (stack, truth) = spoil(&drawn(1000.0, 12, 3), 1, |rng, y, nx, values| {
        if rng.random_bool(0.5) {
            let held = values[y * nx];
            values[y * nx..(y + 1) * nx].fill(held);
        } else {
            values.copy_within((y - 1) * nx..y * nx, y * nx);
        }
    });
    let found = lines(&screen(&stack), 12, Flaw::Stuck);
    let (share, beside) = recall(&found, &truth);
    assert!(share > 0.9 && beside <= truth.len() / 10, "{share} of {}, {beside} others", truth.len());
}

#[test]
fn a_line_held_over_from_the_image_before_is_stuck() {
    let good = drawn(1000.0, 12, 4);
    let nx = good.plan().grid.nx();
    let before = good.plane(4).values()[20 * nx..21 * nx].to_vec();
    let stack = edited(&good, |energy, values| {
        if energy == 5 {
            values[20 * nx..21 * nx].copy_from_slice(&before);
        }
    });
    assert_eq!(lines(&screen(&stack), 12, Flaw::Stuck), [(5, 20)]);
}

#[test]
fn lines_of_another_level_are_found() {
    let (stack, truth) = spoil(&drawn(1000.0, 30, 5), 2, |rng, y, nx, values| {
        let factor = if rng.random_bool(0.5) { 0.7 } else { 1.4 };
        values[y * nx..(y + 1) * nx].iter_mut().for_each(|v| *v *= factor);
    });
    let found = lines(&screen(&stack), 30, Flaw::BadLine);
    let (share, beside) = recall(&found, &truth);
    assert!(share > 0.9 && beside == 0, "{share} of {}, {beside} others", truth.len());
}

#[test]
fn lost_beam_is_no_opaque_sample() {
    let stack = edited(&drawn(1000.0, 12, 6), |energy, values| match energy {
        3 => values[40 * 112..43 * 112].fill(0.0),
        // Some stray counts are left.
        7 => values.iter_mut().enumerate().for_each(|(i, v)| *v = (i % 3) as f32),
        // Most of an image.
        9 => values[20 * 112..].iter_mut().enumerate().for_each(|(i, v)| *v = (i % 2) as f32),
        _ => {}
    });
    let found = lines(&screen(&stack), 12, Flaw::BeamLoss);
    let mut expected: Vec<(usize, usize)> = (40..43).map(|y| (3, y)).collect();
    expected.extend((0..100).map(|y| (7, y)));
    expected.extend((20..100).map(|y| (9, y)));
    assert_eq!(found, expected);
    assert_eq!(screen(&stack).counts().total(), (3 + 100 + 80) * 112);
}

#[test]
fn a_top_up_and_a_flickering_beam_are_no_bad_lines() {
    let mut rng = ChaCha8Rng::seed_from_u64(9);
    let stack = edited(&drawn(3000.0, 12, 7), |energy, values| {
        for (y, row) in values.chunks_exact_mut(112).enumerate() {
            let step = if y >= 30 + energy { 1.08 } else { 1.0 };
            let flicker = 1.0 + rng.random_range(-0.02..0.02);
            row.iter_mut().for_each(|v| *v *= step * flicker);
        }
    });
    assert_eq!(screen(&stack).counts().total(), 0);
}

/// Layers along the lines, whose contrast rises threefold across the edge, and drift of a line per image.
#[test]
fn layers_along_the_lines_are_no_bad_lines() {
    let good = drawn(3000.0, 12, 8);
    let mut rng = ChaCha8Rng::seed_from_u64(10);
    let stack = edited(&good, |energy, values| {
        let contrast = if energy < 6 { 0.4 } else { 1.2 };
        for (i, v) in values.iter_mut().enumerate() {
            let layer = ((i / 112 + energy) / 9) % 2;
            let mean = 3000.0 * (-contrast * layer as f64).exp();
            *v = (mean + mean.sqrt() * rng.random_range(-1.7..1.7)).round() as f32;
        }
    });
    let flawed = screen(&stack).counts().lines.iter().sum::<usize>();
    // At the ends of the image a layer may be a line thick.
    assert!(flawed <= 2, "{flawed} of 1200 lines");
}

#[test]
fn data_without_noise_have_no_stuck_lines() {
    let mut stack = Stack::new(crate::stack::test_plan(20, 24, 4));
    for energy in 0..4 {
        let value = |i: usize| if i % 24 < 12 { 1000.0 } else { 300.0 + energy as f32 };
        push(&mut stack, energy, (0..20 * 24).map(value).collect(), I0::None);
    }
    assert_eq!(screen(&stack).counts().total(), 0);
}

#[test]
fn saturated_and_nonlinear_values_are_named() {
    let mut plan = crate::stack::test_plan(4, 4, 1);
    plan.detector.saturation = Some(900.0);
    let mut stack = Stack::new(plan);
    push(&mut stack, 0, (0..16).map(|i| 100.0 * i as f32).collect(), I0::None);
    let settings = DetectorSettings { linear_to_hz: Some(7e5), ..DetectorSettings::default() };
    let screen = Screen::of(&stack, &settings);
    let flaws = screen.flaws(0).unwrap();
    assert_eq!((flaws.of(Flaw::Saturated), flaws.of(Flaw::Nonlinear)), (7, 2));
    assert!(screen.usable(0, 6) && !screen.usable(0, 7) && screen.usable(0, 99));
    assert_eq!(screen.counts().describe(), "saturated 7 values, nonlinear 2 values");
}

#[test]
fn values_whose_own_i0_is_gone_are_lost() {
    let mut plan = crate::stack::test_plan(10, 20, 1);
    plan.i0_kind = I0Kind::Monitor;
    let mut stack = Stack::new(plan);
    let mut rng = ChaCha8Rng::seed_from_u64(11);
    let values = (0..200).map(|_| rng.random_range(400..600) as f32).collect();
    let i0 = (0..200).map(|i| if (45..70).contains(&i) { 2.0 } else { 1e4 }).collect();
    push(&mut stack, 0, values, I0::Each(i0));
    let screen = screen(&stack);
    assert_eq!(screen.flaws(0).unwrap().of(Flaw::BeamLoss), 25);
    assert!(!screen.usable(0, 45) && screen.usable(0, 70));
}

#[test]
fn however_it_grows_it_ends_where_the_whole_stack_is() {
    let (whole, _) = spoil(&drawn(1000.0, 8, 12), 5, |rng, y, nx, values| {
        let factor = [0.0, 0.6, 1.5][rng.random_range(0..3)];
        values[y * nx..(y + 1) * nx].iter_mut().for_each(|v| *v *= factor);
    });
    let [ny, nx] = whole.plan().grid.shape;
    let mut stack = Stack::new(whole.plan().as_ref().clone());
    let mut screen = Screen::of(&stack, &DetectorSettings::default());
    let mut seq = 0;
    for energy in [0, 3, 6, 1, 4, 7, 2, 5] {
        for rows in (0..ny).collect::<Vec<_>>().chunks(30) {
            for &y in rows {
                let values = whole.plane(energy).values()[y * nx..(y + 1) * nx].to_vec();
                let batch = SampleBatch {
                    energy_index: energy as u32,
                    pixels: Pixels::Run { first: (y * nx) as u32, count: nx as u32 },
                    channel: Channel::Intensity,
                    others: Vec::new(),
                    values,
                    i0: I0::None,
                    ring_current_ma: None,
                    energy_ev: None,
                    time: None,
                };
                stack.push(seq, &batch).unwrap();
                seq += 1;
            }
            let changed: Vec<usize> = stack.take_changes().iter().map(|change| change.energy).collect();
            screen.refresh(&stack, &DetectorSettings::default(), &changed);
        }
    }
    let settled = Screen::of(&stack, &DetectorSettings::default());
    assert!(settled.counts().total() > 0);
    for energy in 0..8 {
        assert_eq!(screen.flaws(energy), settled.flaws(energy), "energy {energy}");
    }
}

#[test]
fn the_recorded_stack_loses_next_to_nothing() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/data/als-fe-l-71214078/71214078.hdr");
    if !Path::new(path).exists() {
        eprintln!("SKIPPED: {path} is not there; the false alarms on a recorded stack were not counted");
        return;
    }
    let recording = Recording::load(Path::new(path)).unwrap();
    let mut stack = Stack::new(recording.plan.clone());
    for (energy, plane) in recording.planes.iter().enumerate() {
        push(&mut stack, energy, plane.values.clone(), I0::None);
    }
    let counts = screen(&stack).counts();
    let lines = stack.planes().len() * stack.plan().grid.ny();
    assert!(counts.lines.iter().sum::<usize>() * 1000 < lines, "{} of {lines} lines", counts.describe());
}
