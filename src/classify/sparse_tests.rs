//! Whole maps of sparse scans: few pixels, energies of their own, energies that are there again.

use std::sync::Arc;

use proptest::prelude::*;

use super::tests::references;
use super::*;
use crate::absorption::AbsorptionSettings;
use crate::classify::correlation::Baseline;
use crate::scan::{Channel, I0, Pixels, SampleBatch};
use crate::stack::{Stack, test_plan};

const NY: usize = 12;
const NX: usize = 16;

fn recipe() -> Recipe {
    Recipe {
        references: Arc::new(references()),
        absorption: AbsorptionSettings { max_od: 4.0, ..AbsorptionSettings::default() },
        baseline: Baseline::None,
        triage: TriageSettings::default(),
        offset: OffsetMode::Report,
        calibration: None,
        registration: crate::registration::RegistrationMode::default(),
    }
}

/// Columns below 6 are empty, the rest are the three phases in bands.
fn truth(pixel: usize) -> Option<usize> {
    (pixel % NX >= 6).then_some(pixel / NX / 4)
}

/// A plan, and what each pixel has at each of its energies.
fn scan(energies_ev: &[f64], i0: f64) -> (Stack, Vec<Vec<f32>>) {
    let mut plan = test_plan(NY, NX, energies_ev.len());
    plan.energies_ev = energies_ev.to_vec();
    plan.detector.counts_per_photon = Some(vec![1.0; energies_ev.len()]);
    let set = references();
    let mut state = 7_u64;
    let mut noise = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((state >> 11) as f64 / (1_u64 << 53) as f64 - 0.5) * 12_f64.sqrt()
    };
    let mut value = |pixel: usize, e: f64| {
        let od = truth(pixel).map_or(0.0, |k| 0.8 * set.references[k].od_at(e).unwrap());
        let mean = i0 * (-od).exp();
        (mean + mean.sqrt() * noise()) as f32
    };
    let values = energies_ev.iter().map(|&e| (0..NY * NX).map(|pixel| value(pixel, e)).collect()).collect();
    (Stack::new(plan), values)
}

fn batch(energy: usize, pixels: Vec<u32>, values: &[Vec<f32>]) -> SampleBatch {
    SampleBatch {
        energy_index: energy as u32,
        values: pixels.iter().map(|&pixel| values[energy][pixel as usize]).collect(),
        pixels: Pixels::List(pixels),
        channel: Channel::Intensity,
        others: Vec::new(),
        i0: I0::None,
        ring_current_ma: None,
        energy_ev: None,
        time: None,
    }
}

fn all_pixels() -> Vec<u32> {
    (0..(NY * NX) as u32).collect()
}

fn whole(energies_ev: &[f64], i0: f64) -> PhaseMap {
    let (mut stack, values) = scan(energies_ev, i0);
    for energy in 0..energies_ev.len() {
        stack.push(energy as u64, &batch(energy, all_pixels(), &values)).unwrap();
    }
    settle(&stack, &recipe(), None).map
}

fn even(count: usize) -> Vec<f64> {
    (0..count).map(|i| 508.0 + 12.0 * i as f64 / (count - 1) as f64).collect()
}

#[test]
fn an_energy_that_is_there_again_is_no_other_energy() {
    let five = [509.0, 514.0, 515.5, 516.5, 517.5];
    let again: Vec<f64> = five.iter().flat_map(|&e| [e, e + 0.004, e]).collect();
    let map = whole(&again, 20_000.0);
    assert!(map.energies_seen.iter().all(|&seen| seen == 5));
    assert!(map.energies_masked.iter().all(|&masked| masked == 0));
    assert_eq!(
        map.status_counts()[Status::Classified as usize],
        0,
        "five energies are too few for a verdict"
    );
    assert!(map.phase.iter().all(|&phase| phase == NO_PHASE));
}

#[test]
fn measuring_twice_is_as_good_as_measuring_twice_as_long() {
    let energies_ev = even(12);
    let twice: Vec<f64> = energies_ev.iter().chain(&energies_ev).copied().collect();
    let (once, twice, long) =
        (whole(&energies_ev, 2000.0), whole(&twice, 2000.0), whole(&energies_ev, 4000.0));
    let evidence = |map: &PhaseMap| {
        let particle = (0..map.len()).filter(|&pixel| truth(pixel).is_some());
        let list: Vec<f64> = particle.map(|pixel| f64::from(map.delta_chi2[pixel])).collect();
        // Of few counts a pixel may be background, or unknown.
        let list: Vec<f64> = list.into_iter().filter(|evidence| evidence.is_finite()).collect();
        assert!(list.len() > 100, "{}", list.len());
        list.iter().sum::<f64>() / list.len() as f64
    };
    assert!(twice.energies_seen.iter().all(|&seen| seen == 12));
    let [once, twice, long] = [evidence(&once), evidence(&twice), evidence(&long)];
    assert!((twice / long - 1.0).abs() < 0.15 && twice > 1.2 * once, "{once} {twice} {long}");
}

#[test]
fn a_sentinel_has_one_vote() {
    // One energy again and again: Pearson must not lean on it.
    let energies_ev = even(12);
    let mut sentinels = energies_ev.clone();
    sentinels.extend([energies_ev[7]; 20]);
    let (plain, with) = (whole(&energies_ev, 1e6), whole(&sentinels, 1e6));
    for pixel in (0..plain.len()).filter(|&pixel| truth(pixel).is_some()) {
        let (a, b) = (plain.correlation[pixel], with.correlation[pixel]);
        assert!((a - b).abs() < 2e-3, "{a} {b}");
        assert!((plain.edge_jump[pixel] - with.edge_jump[pixel]).abs() < 0.01);
    }
}

#[test]
fn pixels_with_energies_of_their_own_are_mapped_even_without_one_before_the_edge() {
    let energies_ev = even(24);
    let (mut stack, values) = scan(&energies_ev, 20_000.0);
    let mut seen = vec![0_u16; NY * NX];
    for (energy, &energy_ev) in energies_ev.iter().enumerate() {
        // Every pixel two energies in three, odd columns nothing before the edge.
        let has = |pixel: &u32| {
            !(*pixel as usize + energy).is_multiple_of(3) && (pixel.is_multiple_of(2) || energy_ev > 512.0)
        };
        let pixels: Vec<u32> = all_pixels().into_iter().filter(has).collect();
        pixels.iter().for_each(|&pixel| seen[pixel as usize] += 1);
        stack.push(energy as u64, &batch(energy, pixels, &values)).unwrap();
    }
    let map = settle(&stack, &recipe(), None).map;
    assert_eq!(map.energies_seen, seen);
    for pixel in 0..map.len() {
        match truth(pixel) {
            Some(phase) => assert_eq!(
                (map.status[pixel], map.phase[pixel] as usize),
                (Status::Classified, phase),
                "pixel {pixel}"
            ),
            None => assert_ne!(map.status[pixel], Status::Classified, "pixel {pixel}"),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Whatever is measured of a plan with repeats, and in whatever order: what was not measured stays so, and the
    /// live map holds what the settled one does.
    #[test]
    fn live_and_settled_agree_on_what_is_there(
        measured in prop::collection::vec(prop::bool::weighted(0.6), 20 * NY * NX),
        order in Just((0..20 * NY).collect::<Vec<usize>>()).prop_shuffle(),
        step in 1_usize..60,
    ) {
        let mut energies_ev = even(14);
        energies_ev.extend([515.5; 3]);
        energies_ev.extend([energies_ev[3], energies_ev[9] + 0.005, 519.7]);
        let (mut stack, values) = scan(&energies_ev, 20_000.0);
        let mut live = LiveMap::new(&stack, recipe());
        let mut last = None;
        for lines in order.chunks(step) {
            for &line in lines {
                let (energy, row) = (line / NY, line % NY);
                let has = |pixel: &u32| measured[energy * NY * NX + *pixel as usize];
                let pixels: Vec<u32> =
                    ((row * NX) as u32..((row + 1) * NX) as u32).filter(has).collect();
                if !pixels.is_empty() {
                    stack.push(line as u64, &batch(energy, pixels, &values)).unwrap();
                }
            }
            let changes = stack.take_changes();
            let reason = live.advance(&stack, &changes);
            last = Some(live.generation_of(&stack, reason, None).0);
        }
        let (live, settled) = (last.unwrap(), settle(&stack, &recipe(), None).map);
        for pixel in 0..NY * NX {
            let of_pixel = (0..20).filter(|e| measured[e * NY * NX + pixel]);
            let mut own: Vec<i64> = of_pixel.map(|e| (energies_ev[e] * 100.0).round() as i64).collect();
            own.sort_unstable();
            // 509.000 and 509.005 are one energy, and round to neighbours at most.
            own.dedup_by(|a, b| (*a - *b).abs() <= 1);
            prop_assert_eq!(settled.status[pixel] == Status::Unmeasured, own.is_empty());
            prop_assert_eq!(usize::from(settled.energies_seen[pixel] + settled.energies_masked[pixel]), own.len());
        }
        prop_assert_eq!(&live.energies_seen, &settled.energies_seen);
        prop_assert_eq!(&live.energies_masked, &settled.energies_masked);
    }
}
