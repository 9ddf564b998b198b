//! Whole maps: live against settled, and the settled one against any order of arrival.

use std::sync::Arc;

use proptest::prelude::*;

use super::tests::references;
use super::*;
use crate::absorption::AbsorptionSettings;
use crate::classify::correlation::Baseline;
use crate::scan::{Channel, I0, Pixels, SampleBatch};
use crate::stack::{Stack, test_plan};

const NY: usize = 12;
const NX: usize = 14;
const ENERGIES: usize = 16;

fn recipe() -> Recipe {
    Recipe {
        references: Arc::new(references()),
        absorption: AbsorptionSettings { max_od: 4.0, ..AbsorptionSettings::default() },
        baseline: Baseline::None,
        triage: TriageSettings::default(),
        offset: OffsetMode::Correct,
        registration: crate::registration::RegistrationMode::default(),
        calibration: None,
    }
}

/// The phase of a pixel: columns below 6 are empty, the rest are the three phases in bands.
fn truth(pixel: usize) -> Option<usize> {
    let (y, x) = (pixel / NX, pixel % NX);
    (x >= 6).then_some(y / 4)
}

/// A scan in lines: noise from a fixed sequence, so that every call gives the same numbers.
fn messages() -> Vec<(u64, SampleBatch)> {
    let set = references();
    let mut state = 99_u64;
    let mut noise = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((state >> 11) as f64 / (1_u64 << 53) as f64 - 0.5) * 12_f64.sqrt()
    };
    let plan = plan();
    let mut messages = Vec::new();
    for (energy, &e) in plan.energies_ev.iter().enumerate() {
        let i0 = 20_000.0 * (1.0 - 0.01 * energy as f64);
        for y in 0..NY {
            let values = (0..NX)
                .map(|x| {
                    let od = truth(y * NX + x).map_or(0.0, |k| 0.8 * set.references[k].od_at(e).unwrap());
                    let mean = i0 * (-od).exp();
                    (mean + mean.sqrt() * noise() + 1.0) as f32
                })
                .collect();
            let batch = SampleBatch {
                energy_index: energy as u32,
                pixels: Pixels::Run { first: (y * NX) as u32, count: NX as u32 },
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

fn plan() -> crate::scan::ScanPlan {
    let mut plan = test_plan(NY, NX, ENERGIES);
    plan.energies_ev = (0..ENERGIES).map(|e| 508.0 + 0.8 * e as f64).collect();
    plan.detector.counts_per_photon = Some(vec![1.0; ENERGIES]);
    plan
}

fn settled(messages: &[(u64, SampleBatch)]) -> PhaseMap {
    let mut stack = Stack::new(plan());
    for (seq, batch) in messages {
        if stack.note_seq(*seq) {
            stack.push(*seq, batch).unwrap();
        }
    }
    settle(&stack, &recipe(), None).map
}

fn bits(map: &PhaseMap) -> Vec<u32> {
    let floats = [
        &map.correlation,
        &map.margin,
        &map.delta_chi2,
        &map.confidence,
        &map.edge_jump,
        &map.share,
        &map.share_error,
        &map.fit_chi2,
        &map.correlations,
    ];
    let words = map.status.iter().map(|s| *s as u32).chain(map.phase.iter().map(|p| u32::from(*p)));
    words.chain(floats.into_iter().flatten().map(|f| f.to_bits())).collect()
}

#[test]
fn finds_the_phases_and_the_empty_field() {
    let map = settled(&messages());
    for pixel in 0..map.len() {
        match truth(pixel) {
            None => assert_eq!(map.status[pixel], Status::Background, "pixel {pixel}"),
            Some(phase) => {
                assert_eq!(map.status[pixel], Status::Classified, "pixel {pixel}");
                assert_eq!(map.phase[pixel] as usize, phase);
            }
        }
    }
    assert!(map.origin.normalisation.iter().any(|(name, value)| name == "i0" && value.contains("region")));
}

/// Where a mixed scan holds two phases.
fn is_mixed(pixel: usize) -> bool {
    pixel / NX / 4 == 1 && pixel % NX >= 11
}

/// A scan in three bands: the upper band is of the first phase, the middle one of the second and at its right end
/// a mixture of the first and the third, the lower one of something else.
fn mixed_messages() -> Vec<(u64, SampleBatch)> {
    let set = references();
    let mut messages = messages();
    let energies_ev = plan().energies_ev;
    for (_, batch) in &mut messages {
        let (energy, y) = (batch.energy_index as usize, batch.pixels.iter().next().unwrap() / NX);
        let e = energies_ev[energy];
        let at = |k: usize, e: f64| set.references[k].od_at(e).unwrap();
        let before = batch.values.clone();
        for (x, value) in batch.values.iter_mut().enumerate().skip(6) {
            let own = 0.8 * at(y / 4, e);
            let od = match y / 4 {
                1 if is_mixed(y * NX + x) => 0.4 * at(0, e) + 0.4 * at(2, e),
                0 | 1 => own,
                _ => 0.8 * at(0, (e - 4.0).max(505.0)),
            };
            *value = (f64::from(before[x] - 1.0) * (own - od).exp() + 1.0) as f32;
        }
    }
    messages
}

#[test]
fn the_fits_alone_tell_one_phase_from_two_and_from_none() {
    let map = settled(&mixed_messages());
    for pixel in (0..map.len()).filter(|&pixel| truth(pixel).is_some()) {
        let said = (map.status[pixel], map.phase[pixel], map.runner_up[pixel]);
        match pixel / NX / 4 {
            1 if is_mixed(pixel) => {
                assert_eq!(said.0, Status::Mixture, "pixel {pixel}");
                assert!([said.1, said.2] == [0, 2] || [said.1, said.2] == [2, 0], "{said:?}");
                let own = if said.1 == 0 { map.share[pixel] } else { 1.0 - map.share[pixel] };
                assert!((own - 0.5).abs() < 4.0 * map.share_error[pixel], "{own}");
            }
            2 => assert_eq!(said.0, Status::Unknown, "pixel {pixel}"),
            band => {
                assert_eq!((said.0, said.1), (Status::Classified, band as u8), "pixel {pixel}");
            }
        }
    }
    assert!(map.origin.calibrated_on.contains("simulated"));
}

/// Says that it is not worth asking, and panics where it is asked all the same.
struct Modest(Vec<String>);

impl PosteriorModel for Modest {
    fn clusters(&self) -> &[String] {
        &self.0
    }
    fn sha256(&self) -> &str {
        "0"
    }
    fn earns_place(&self, energies: usize, counts: f64) -> Option<bool> {
        assert_eq!(energies, ENERGIES);
        assert!((15_000.0..25_000.0).contains(&counts), "{counts}");
        Some(false)
    }
    fn posteriors(&mut self, _: &[f64], _: &[f32], _: &[f32]) -> Result<Vec<f32>, String> {
        panic!("asked")
    }
}

#[test]
fn a_model_that_is_no_better_than_the_fits_is_not_asked() {
    let mut stack = Stack::new(plan());
    for (seq, batch) in mixed_messages() {
        stack.push(seq, &batch).unwrap();
    }
    // So much is asked for that pixels stay open.
    let mut recipe = recipe();
    (recipe.triage.min_delta_chi2, recipe.triage.min_confidence) = (1e9, 2.0);
    let map = settle(&stack, &recipe, Some(&mut Modest(vec!["p0".into()]))).map;
    assert!(map.status_counts()[Status::Ambiguous as usize] > 0);
}

#[test]
fn no_verdict_from_few_energies() {
    let messages: Vec<_> = messages().into_iter().filter(|(_, batch)| batch.energy_index < 5).collect();
    let map = settled(&messages);
    assert!(map.status.iter().all(|status| *status == Status::Ambiguous));
    assert!(map.phase.iter().all(|phase| *phase == NO_PHASE));
}

fn shuffle<T>(list: &mut [T], mut state: u64) {
    for i in (1..list.len()).rev() {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        list.swap(i, (state >> 33) as usize % (i + 1));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Any order, duplicates and late messages: the same bits.
    #[test]
    fn the_settled_map_does_not_depend_on_order(seed in any::<u64>(), twice in 0_usize..180) {
        let ordered = messages();
        let mut shuffled = ordered.clone();
        shuffle(&mut shuffled, seed);
        let again = shuffled[twice % shuffled.len()].clone();
        shuffled.push(again);
        prop_assert_eq!(bits(&settled(&ordered)), bits(&settled(&shuffled)));
    }

    /// However the scan arrives, the last live generation says what the settled map says.
    #[test]
    fn live_ends_where_settled_is(seed in any::<u64>(), in_order in any::<bool>(), step in 1_usize..40, redo in any::<bool>()) {
        let mut arriving = messages();
        if redo {
            // A line measured twice: the later one wins, whichever comes first.
            let mut other = arriving[30].clone();
            other.1.values.iter_mut().for_each(|v| *v *= 0.5);
            arriving.push((arriving.len() as u64 + 1, other.1));
        }
        if !in_order {
            shuffle(&mut arriving, seed);
        }
        let mut stack = Stack::new(plan());
        let mut live = LiveMap::new(&stack, recipe());
        let mut last = None;
        for messages in arriving.chunks(step) {
            for (seq, batch) in messages {
                stack.note_seq(*seq);
                stack.push(*seq, batch).unwrap();
            }
            let changes = stack.take_changes();
            let snapshot = stack.clone();
            let reason = live.advance(&snapshot, &changes);
            last = Some(live.generation_of(&snapshot, reason, None).0);
            if let Some(reason) = live.refine(&snapshot) {
                last = Some(live.generation_of(&snapshot, reason, None).0);
            }
        }
        let (live, settled) = (last.unwrap(), settled(&arriving));
        prop_assert_eq!(&live.origin.normalisation, &settled.origin.normalisation);
        prop_assert_eq!(&live.status, &settled.status);
        prop_assert_eq!(&live.phase, &settled.phase);
        prop_assert_eq!(&live.energies_seen, &settled.energies_seen);
        prop_assert_eq!(&live.energies_masked, &settled.energies_masked);
        // Empty pixels are left out: their coefficient is noise over noise, and a wrong value a hundred
        // times their spread, once taken back, leaves its rounding in the live sums.
        let phases = settled.correlations.len() / settled.len();
        for (i, (a, b)) in live.correlations.iter().zip(&settled.correlations).enumerate() {
            prop_assert!((a - b).abs() < 3e-4 || truth(i / phases).is_none(), "{} {}", a, b);
        }
    }
}

#[test]
fn a_longer_plan_rebuilds_the_live_map() {
    let mut stack = Stack::new(plan());
    let mut live = LiveMap::new(&stack, recipe());
    for (seq, batch) in messages() {
        stack.push(seq, &batch).unwrap();
    }
    let changes = stack.take_changes();
    live.advance(&stack, &changes);
    stack.extend(&[530.0], None, None).unwrap();
    let mut batch = messages()[0].1.clone();
    batch.energy_index = ENERGIES as u32;
    stack.push(5000, &batch).unwrap();
    let changes = stack.take_changes();
    let reason = live.advance(&stack, &changes);
    let (map, _) = live.generation_of(&stack, reason, None);
    assert_eq!(map.energies_seen[0], ENERGIES as u16 + 1);
    assert_eq!(map.energies_seen[NX * NY - 1], ENERGIES as u16);
    // The first line got a value that is none of that energy.
    assert_eq!(map.status_counts()[Status::Classified as usize], (NY - 1) * (NX - 6));
}

#[test]
fn read_back_energies_count_where_they_are_asked_for() {
    // The monochromator was 0.4 eV above every set-point; the values are those of where it really was.
    let mut plan = plan();
    plan.energies_ev.iter_mut().for_each(|e| *e -= 0.4);
    let mut stack = Stack::new(plan);
    for (seq, mut batch) in messages() {
        batch.energy_ev = Some(stack.plan().energies_ev[batch.energy_index as usize] + 0.4);
        stack.push(seq, &batch).unwrap();
    }
    let mut recipe = recipe();
    recipe.absorption.read_back = true;
    // Corrected, the set-points would come to the same.
    recipe.offset = OffsetMode::Report;
    let right = settle(&stack, &recipe, None).map;
    let changes = stack.take_changes();
    let mut live = LiveMap::new(&Stack::new(stack.plan().as_ref().clone()), recipe.clone());
    let reason = live.advance(&stack, &changes);
    let (live, _) = live.generation_of(&stack, reason, None);
    recipe.absorption.read_back = false;
    let wrong = settle(&stack, &recipe, None).map;
    let best = |map: &PhaseMap| map.correlation.iter().copied().fold(0.0, f32::max);
    assert!(best(&right) > 0.999 && best(&wrong) < 0.98, "{} {}", best(&right), best(&wrong));
    assert_eq!(live.phase, right.phase);
}

#[test]
fn an_offset_found_late_rebuilds_the_live_map() {
    // The beam was 0.4 eV above every set-point; the values are those of where it really was.
    let mut plan = plan();
    plan.energies_ev.iter_mut().for_each(|e| *e -= 0.4);
    let mut stack = Stack::new(plan);
    let mut live = LiveMap::new(&stack, recipe());
    let mut reasons = Vec::new();
    let mut last = None;
    for (seq, batch) in messages() {
        stack.push(seq, &batch).unwrap();
        let changes = stack.take_changes();
        let reason = live.advance(&stack, &changes);
        reasons.push(reason);
        last = Some(live.generation_of(&stack, reason, None).0);
    }
    assert!(reasons.contains(&RevisionReason::Offset), "{reasons:?}");
    let (live, settled) = (last.unwrap(), settle(&stack, &recipe(), None).map);
    assert!((settled.origin.correction_ev - 0.4).abs() < 0.03, "{:?}", settled.origin.energy_offset);
    assert_eq!(live.origin.normalisation, settled.origin.normalisation);
    assert_eq!(live.phase, settled.phase);
    assert_eq!(live.status, settled.status);
    for (pixel, phase) in settled.phase.iter().enumerate().filter(|(pixel, _)| truth(*pixel).is_some()) {
        assert_eq!(Some(usize::from(*phase)), truth(pixel));
    }
}

/// A scan in which the beam was lost for an image and for two lines of another, and a line is stuck.
fn spoilt_messages() -> Vec<(u64, SampleBatch)> {
    let mut messages = messages();
    for (_, batch) in &mut messages {
        let y = batch.pixels.iter().next().unwrap() / NX;
        match (batch.energy_index, y) {
            (4, _) | (9, 5 | 6) => batch.values.iter_mut().enumerate().for_each(|(x, v)| *v = (x % 2) as f32),
            (12, 8) => batch.values.fill(4321.0),
            _ => {}
        }
    }
    messages
}

#[test]
fn spoilt_lines_are_masked_and_live_ends_where_settled_is() {
    let messages = spoilt_messages();
    let settled = settled(&messages);
    for pixel in 0..settled.len() {
        let masked = 1 + u16::from((5..7).contains(&(pixel / NX))) + u16::from(pixel / NX == 8);
        assert_eq!(settled.energies_masked[pixel], masked, "pixel {pixel}");
        assert_eq!(settled.energies_seen[pixel], ENERGIES as u16 - masked);
        match truth(pixel) {
            None => assert_eq!(settled.status[pixel], Status::Background, "pixel {pixel}"),
            Some(phase) => assert_eq!(usize::from(settled.phase[pixel]), phase, "pixel {pixel}"),
        }
    }
    let said = &settled.origin.normalisation;
    let screening = &said.iter().find(|(name, _)| name == "screening").unwrap().1;
    assert_eq!(screening, "beam_loss 196 values (14 lines), stuck 14 values (1 lines)");
    for (in_order, step) in [(true, 5), (false, 7)] {
        let mut arriving = messages.clone();
        if !in_order {
            shuffle(&mut arriving, 5);
        }
        let mut stack = Stack::new(plan());
        let mut live = LiveMap::new(&stack, recipe());
        let mut last = None;
        for messages in arriving.chunks(step) {
            for (seq, batch) in messages {
                stack.note_seq(*seq);
                stack.push(*seq, batch).unwrap();
            }
            let changes = stack.take_changes();
            let reason = live.advance(&stack, &changes);
            last = Some(live.generation_of(&stack, reason, None).0);
        }
        let live = last.unwrap();
        assert_eq!(live.origin.normalisation, settled.origin.normalisation);
        assert_eq!(live.origin.incident, settled.origin.incident);
        assert_eq!((&live.status, &live.phase), (&settled.status, &settled.phase));
        assert_eq!(live.energies_seen, settled.energies_seen);
        assert_eq!(live.energies_masked, settled.energies_masked);
    }
}

#[test]
fn pixels_that_never_had_beam_are_not_opaque() {
    let mut messages = messages();
    for (_, batch) in messages.iter_mut().filter(|(_, batch)| batch.energy_index > 3) {
        batch.values.fill(1.0);
    }
    let map = settled(&messages);
    assert_eq!(map.status_counts()[Status::Saturated as usize], 0);
    assert_eq!(map.status_counts()[Status::Ambiguous as usize], map.len());
}
