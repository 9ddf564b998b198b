//! Maps of a sample that drifts: live against settled, and settled against one that lay still.

use std::sync::Arc;

use super::tests::references;
use super::*;
use crate::absorption::AbsorptionSettings;
use crate::classify::correlation::Baseline;
use crate::registration::RegistrationMode;
use crate::scan::{Channel, I0, Pixels, SampleBatch};
use crate::stack::{Stack, test_plan};

const NY: usize = 44;
const NX: usize = 52;
const ENERGIES: usize = 16;

fn recipe(registration: RegistrationMode) -> Recipe {
    Recipe {
        references: Arc::new(references()),
        absorption: AbsorptionSettings { max_od: 4.0, ..AbsorptionSettings::default() },
        baseline: Baseline::None,
        triage: TriageSettings::default(),
        offset: OffsetMode::Report,
        calibration: None,
        registration,
    }
}

/// Three discs, one of each phase, in an empty field: how much of each covers a point.
fn cover(y: f64, x: f64) -> [f64; 3] {
    let discs = [(13.0, 32.0, 8.0), (30.0, 20.0, 7.0), (31.0, 40.0, 6.0)];
    discs.map(|(v, u, radius): (f64, f64, f64)| 1.0 / (1.0 + (((y - v).hypot(x - u) - radius) / 0.3).exp()))
}

fn plan() -> crate::scan::ScanPlan {
    let mut plan = test_plan(NY, NX, ENERGIES);
    plan.energies_ev = (0..ENERGIES).map(|e| 508.0 + 0.8 * e as f64).collect();
    plan.detector.counts_per_photon = Some(vec![1.0; ENERGIES]);
    plan
}

/// A scan in parts of `lines` lines, the sample displaced by `step` more at every energy.
fn messages(step: [f64; 2], lines: usize) -> Vec<(u64, SampleBatch)> {
    let set = references();
    let mut state = 5_u64;
    let mut noise = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((state >> 11) as f64 / (1_u64 << 53) as f64 - 0.5) * 12_f64.sqrt()
    };
    let mut messages = Vec::new();
    for (energy, &e) in plan().energies_ev.iter().enumerate() {
        let od: Vec<f64> = (0..3).map(|k| 0.8 * set.references[k].od_at(e).unwrap()).collect();
        let [down, along] = step.map(|step| step * energy as f64);
        for first in (0..NY).step_by(lines) {
            let pixels = first * NX..(first + lines).min(NY) * NX;
            let values: Vec<f32> = pixels
                .clone()
                .map(|p| {
                    let cover = cover((p / NX) as f64 - down, (p % NX) as f64 - along);
                    let od: f64 = cover.iter().zip(&od).map(|(c, od)| c * od).sum();
                    let mean = 5000.0 * (-od).exp();
                    (mean + mean.sqrt() * noise() + 1.0) as f32
                })
                .collect();
            let batch = SampleBatch {
                energy_index: energy as u32,
                pixels: Pixels::Run { first: pixels.start as u32, count: values.len() as u32 },
                channel: Channel::Intensity,
                others: Vec::new(),
                values,
                i0: I0::None,
                ring_current_ma: None,
                energy_ev: None,
                time: None,
            };
            messages.push((1 + messages.len() as u64, batch));
        }
    }
    messages
}

fn stack(messages: &[(u64, SampleBatch)]) -> Stack {
    let mut stack = Stack::new(plan());
    messages.iter().for_each(|(seq, batch)| stack.push(*seq, batch).unwrap());
    stack
}

fn shuffle<T>(list: &mut [T]) {
    let mut state = 17_u64;
    for i in (1..list.len()).rev() {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        list.swap(i, (state >> 33) as usize % (i + 1));
    }
}

#[test]
fn a_registered_map_is_that_of_a_sample_that_lay_still() {
    let right = |map: &PhaseMap| {
        let sure = |p: usize| (0..3).find(|&k| cover((p / NX) as f64, (p % NX) as f64)[k] > 0.9);
        let known: Vec<(usize, usize)> = (0..map.len()).filter_map(|p| Some((p, sure(p)?))).collect();
        let right = known.iter().filter(|(p, k)| usize::from(map.phase[*p]) == *k).count();
        right as f64 / known.len() as f64
    };
    let moving = stack(&messages([0.2, -0.13], 11));
    let with = settle(&moving, &recipe(RegistrationMode::Auto), None);
    let without = settle(&moving, &recipe(RegistrationMode::Off), None);
    assert!(with.map.origin.drift.is_applied() && with.registered.is_some(), "{:?}", with.map.origin.drift);
    assert!(without.registered.is_none());
    assert!(right(&with.map) > 0.97, "{}", right(&with.map));
    assert!(right(&with.map) > right(&without.map) + 0.05, "{}", right(&without.map));
    assert!(with.map.origin.complete);
    // What drifted out of the lower rows was seen at fewer energies.
    let [top, bottom] = [2 * NX + NX / 2, (NY - 1) * NX + NX / 2].map(|p| with.map.energies_seen[p]);
    assert!(top == ENERGIES as u16 && bottom < ENERGIES as u16, "{top} {bottom}");
}

#[test]
fn live_ends_where_settled_is_while_the_sample_drifts() {
    for (shuffled, step, take) in [(false, [0.2, -0.13], 3), (true, [0.15, 0.2], 5), (false, [0.0, 0.0], 4)] {
        let mut arriving = messages(step, 11);
        if shuffled {
            shuffle(&mut arriving);
        }
        let mut growing = Stack::new(plan());
        let mut live = LiveMap::new(&growing, recipe(RegistrationMode::Auto));
        let (mut last, mut reasons) = (None, Vec::new());
        for messages in arriving.chunks(take) {
            messages.iter().for_each(|(seq, batch)| growing.push(*seq, batch).unwrap());
            let changes = growing.take_changes();
            let snapshot = growing.clone();
            let reason = live.advance(&snapshot, &changes);
            reasons.push(reason);
            last = Some(live.generation_of(&snapshot, reason, None).0);
            if let Some(reason) = live.refine(&snapshot) {
                last = Some(live.generation_of(&snapshot, reason, None).0);
            }
        }
        let (live, settled) =
            (last.unwrap(), settle(&stack(&messages(step, 11)), &recipe(RegistrationMode::Auto), None).map);
        assert_eq!(live.origin.normalisation, settled.origin.normalisation);
        assert_eq!(live.origin.drift, settled.origin.drift);
        assert_eq!(live.energies_seen, settled.energies_seen);
        assert_eq!(live.energies_masked, settled.energies_masked);
        assert_eq!(live.status, settled.status);
        assert_eq!(live.phase, settled.phase);
        let drifts = step != [0.0; 2];
        assert_eq!(settled.origin.drift.is_applied(), drifts, "{:?}", settled.origin.drift);
        assert_eq!(reasons.contains(&RevisionReason::Registration), drifts, "{reasons:?}");
    }
}

#[test]
fn an_image_is_in_place_once_all_of_it_was_registered() {
    let parts = NY.div_ceil(11);
    let mut growing = Stack::new(plan());
    let mut live = LiveMap::new(&growing, recipe(RegistrationMode::Auto));
    let (mut off, mut guessed) = (Vec::new(), 0);
    for (i, (seq, batch)) in messages([0.6, -0.4], 11).iter().enumerate() {
        growing.push(*seq, batch).unwrap();
        let changes = growing.take_changes();
        let reason = live.advance(&growing, &changes);
        let drift = live.generation_of(&growing, reason, None).0.origin.drift;
        let (energy, is_whole) = (i / parts, (i + 1) % parts == 0);
        let is_in_place = live.is_in_place(energy);
        assert!(is_whole || !is_in_place, "message {i}");
        guessed += usize::from(is_whole && !is_in_place);
        if drift.is_applied() && energy > 0 {
            let is = drift.applied(energy)[0] - drift.applied(0)[0];
            off.push((is_in_place, (is - 0.6 * energy as f64).abs()));
        }
    }
    assert!((0..ENERGIES).all(|energy| live.is_in_place(energy)), "of a whole scan nothing is left");
    assert!(guessed > 0 && guessed < ENERGIES / 2, "{guessed}");
    // Which is why it matters: until then it lies where the one before it did.
    let worst =
        |in_place: bool| off.iter().filter(|(is, _)| *is == in_place).map(|(_, by)| *by).fold(0.0, f64::max);
    assert!(worst(true) < 0.15 && worst(false) > 0.3, "{off:?}");
}
