//! Deposits against sums made by hand.

use proptest::prelude::*;

use super::*;
use crate::absorption::Intensity;
use crate::damage::{DoseDepth, DoseSettings};
use crate::registration::{Shift, Verdict};
use crate::scan::{Channel, I0, Pixels, SampleBatch, ScanPlan, Signal, test_plan};
use crate::simulate::nvpf;

fn plan(ny: usize, nx: usize, energies: usize) -> ScanPlan {
    let mut plan = test_plan(ny, nx, energies);
    plan.detector.dark = 0.0;
    // The values are optical densities, so that no I0 is needed.
    (plan.detector.signal, plan.flux_ph_per_s) = (Signal::OpticalDensity, Some(vec![1e7; energies]));
    plan
}

fn model(plan: &ScanPlan, settings: DoseSettings) -> DoseModel {
    let settings = DoseSettings { composition: Some("Na3V2(PO4)2F3".into()), ..settings };
    DoseModel::new(plan, &[], &nvpf::reference_set(), &settings).unwrap()
}

fn surface() -> DoseSettings {
    DoseSettings { depth: DoseDepth::Surface, ..DoseSettings::default() }
}

fn push(stack: &mut Stack, seq: u64, energy: usize, first: usize, values: Vec<f32>, time: Option<i64>) {
    stack.note_seq(seq);
    let batch = SampleBatch {
        energy_index: energy as u32,
        pixels: Pixels::Run { first: first as u32, count: values.len() as u32 },
        channel: Channel::Intensity,
        others: Vec::new(),
        values,
        i0: I0::None,
        ring_current_ma: None,
        energy_ev: None,
        time: time.and_then(|s| DateTime::from_timestamp(s, 0)),
    };
    stack.push(seq, &batch).unwrap();
}

fn full(plan: &ScanPlan, od: f32) -> Stack {
    let mut stack = Stack::new(plan.clone());
    for energy in 0..plan.energies_ev.len() {
        push(&mut stack, energy as u64, energy, 0, vec![od; plan.grid.pixels()], None);
    }
    stack
}

fn shifts(shifts: &[[f64; 2]]) -> Drift {
    let shift = |[y, x]: &[f64; 2]| Some(Shift { y: *y, x: *x, ..Shift::default() });
    Drift { shifts: shifts.iter().map(shift).collect(), verdict: Verdict::Applied }
}

fn layer(model: &DoseModel, stack: &Stack, drift: &Drift) -> Layer {
    let view = DensityView::new(stack, &Intensity::default(), 9.0, 1.0);
    model.deposit(&Exposed { raw: stack, view: &view, drift })
}

fn course(model: &DoseModel, stack: &Stack, drift: &Drift, pixels: &[usize]) -> DoseCourse {
    let view = DensityView::new(stack, &Intensity::default(), 9.0, 1.0);
    model.course(&Exposed { raw: stack, view: &view, drift }, pixels)
}

fn close(found: f32, wanted: f64) -> bool {
    (f64::from(found) - wanted).abs() <= 1e-5 * wanted.abs().max(1e-3)
}

#[test]
fn every_exposure_counts_once_an_energy_that_is_visited_again_twice() {
    let mut plan = plan(2, 3, 3);
    plan.energies_ev[2] = plan.energies_ev[0];
    let (model, stack) = (model(&plan, DoseSettings::default()), full(&plan, 2.0));
    let map = layer(&model, &stack, &Drift::default());
    let wanted = 0.432_332_4 * (2.0 * model.per_energy[0] + model.per_energy[1]);
    assert_eq!(map.dose.len(), 6);
    assert!(map.dose.iter().all(|dose| close(*dose, wanted)), "{map:?} {wanted}");
    assert_eq!(model.within(&map), map.dose);
}

#[test]
fn what_was_not_measured_was_not_exposed_and_what_has_no_density_was_at_its_surface() {
    let plan = plan(2, 2, 1);
    let model = model(&plan, DoseSettings::default());
    let mut stack = Stack::new(plan);
    // Beyond the highest density that is used, and below none at all.
    push(&mut stack, 0, 0, 0, vec![12.0, -0.2, f32::NAN], None);
    let map = layer(&model, &stack, &Drift::default());
    let dose = model.per_energy[0];
    assert!(close(map.dose[0], dose) && close(map.dose[1], dose), "{map:?}");
    assert_eq!(map.dose[2..], [0.0, 0.0]);
}

#[test]
fn drift_is_brought_back_and_what_fell_beside_the_field_is_kept() {
    let plan = plan(3, 4, 2);
    let (model, stack) = (model(&plan, surface()), full(&plan, 1.0));
    // The second image shows one row and half a column further what the first has at a place.
    let map = layer(&model, &stack, &shifts(&[[0.0, 0.0], [1.0, 0.5]]));
    assert_eq!(map.lattice.shape, [5, 6]);
    let [one, two] = [model.per_energy[0], model.per_energy[1]];
    let within = model.within(&map);
    let row = |row: usize| &within[row * 4..(row + 1) * 4];
    assert!(close(row(0)[0], one + two) && close(row(1)[2], one + two), "{within:?}");
    assert!(close(row(0)[3], one + 0.5 * two) && close(row(2)[0], one), "{within:?}");
    let sum: f64 = map.dose.iter().map(|dose| f64::from(*dose)).sum();
    assert!((sum / (12.0 * (one + two)) - 1.0).abs() < 1e-6);
    // Not taken out: nobody knows where the sample lay.
    let mut refused = shifts(&[[0.0, 0.0], [1.0, 0.5]]);
    refused.verdict = Verdict::NotApplied("scatter".into());
    assert!(layer(&model, &stack, &refused).dose.iter().all(|dose| close(*dose, one + two)));
}

#[test]
fn a_wide_beam_keeps_the_mean_inside_and_bleeds_at_the_border() {
    let plan = plan(5, 5, 1);
    // Steps of 100 nm.
    let (model, stack) = (model(&plan, DoseSettings { spot_nm: Some(200.0), ..surface() }), full(&plan, 1.0));
    let map = layer(&model, &stack, &Drift::default());
    let dose = model.per_energy[0];
    let within = model.within(&map);
    assert!(close(within[12], dose), "{within:?}");
    // Of the beams around a corner pixel three quarters along each side are there.
    assert!(close(within[0], 0.75 * 0.75 * dose) && close(within[2], 0.75 * dose), "{within:?}");
    let sum: f64 = map.dose.iter().map(|dose| f64::from(*dose)).sum();
    assert!((sum / (25.0 * dose) - 1.0).abs() < 1e-6);
}

#[test]
fn a_line_that_was_lost_was_exposed_one_that_has_not_come_yet_was_not() {
    let plan = plan(5, 2, 1);
    let model = model(&plan, surface());
    let mut stack = Stack::new(plan);
    for row in [0, 1, 3] {
        push(&mut stack, row as u64, 0, 2 * row, vec![1.0; 2], None);
    }
    let dose = |stack: &Stack| layer(&model, stack, &Drift::default()).dose;
    assert_eq!(stack.sequence().missing(), 1);
    let (found, one) = (dose(&stack), model.per_energy[0]);
    assert!(close(found[4], one) && found[8] == 0.0, "{found:?}");
    let found = course(&model, &stack, &Drift::default(), &[4]);
    assert!((found.total() - one).abs() < 1e-9);
}

#[test]
fn lines_that_nobody_planned_are_not_taken_for_lost_ones() {
    let plan = plan(5, 2, 1);
    let model = model(&plan, surface());
    let mut stack = Stack::new(plan);
    for (seq, row) in [0_u64, 1, 2].into_iter().zip([0, 1, 3]) {
        push(&mut stack, seq, 0, 2 * row, vec![1.0; 2], None);
    }
    assert_eq!(layer(&model, &stack, &Drift::default()).dose[4], 0.0);
}

#[test]
fn the_course_of_some_pixels_goes_by_time_and_takes_half_of_the_own_exposure() {
    let plan = plan(2, 2, 3);
    let model = model(&plan, surface());
    let mut stack = Stack::new(plan);
    for (seq, (energy, time)) in [(0, 30), (1, 10), (2, 20)].into_iter().enumerate() {
        push(&mut stack, seq as u64, energy, 0, vec![1.0; 4], Some(time));
    }
    let drift = Drift::default();
    let found = course(&model, &stack, &drift, &[0, 3]);
    assert_eq!(found.order, [1, 2, 0]);
    let dose = &model.per_energy;
    assert!((found.before(1) - 0.5 * dose[1]).abs() < 1e-9);
    assert!((found.before(0) - (dose[1] + dose[2] + 0.5 * dose[0])).abs() < 1e-9);
    let view = DensityView::new(&stack, &Intensity::default(), 9.0, 1.0);
    let exposed = Exposed { raw: &stack, view: &view, drift: &drift };
    assert_eq!(model.mean_dose_before(&exposed, &[0, 3], 2), found.before(2));
    assert!((model.schedule().total() - found.total()).abs() < 1e-9);
}

proptest! {
    #[test]
    fn nothing_is_lost_and_nothing_made_whatever_beam_and_drift_do(
        shape in (1_usize..6, 1_usize..6),
        drift in proptest::collection::vec((-0.9_f64..0.9, -0.9_f64..0.9), 3),
        spot in 20.0_f64..180.0,
        there in proptest::collection::vec(proptest::bool::ANY, 36),
    ) {
        let plan = plan(shape.0, shape.1, 3);
        let model = model(&plan, DoseSettings { spot_nm: Some(spot), ..surface() });
        let mut stack = Stack::new(plan.clone());
        let pixels = plan.grid.pixels();
        let values: Vec<f32> =
            (0..pixels).map(|pixel| if there[pixel] { 1.0 } else { f32::NAN }).collect();
        for energy in 0..3 {
            push(&mut stack, energy as u64, energy, 0, values.clone(), None);
        }
        let drift = shifts(&drift.iter().map(|(y, x)| [*y, *x]).collect::<Vec<_>>());
        let map = layer(&model, &stack, &drift);
        let exposures = there[..pixels].iter().filter(|there| **there).count() as f64;
        let wanted = exposures * model.schedule().total();
        let found: f64 = map.dose.iter().map(|dose| f64::from(*dose)).sum();
        // A margin is never larger than the field: with one row a wide beam may reach further.
        if shape.0 > 1 && shape.1 > 1 {
            prop_assert!((found - wanted).abs() <= 1e-5 * wanted.max(1e-6), "{found} {wanted}");
        }
        let all: Vec<usize> = (0..pixels).collect();
        let mean = course(&model, &stack, &drift, &all).total();
        let within = model.within(&map);
        let sum: f64 = within.iter().map(|dose| f64::from(*dose)).sum();
        prop_assert!((mean * pixels as f64 - sum).abs() <= 1e-5 * sum.max(1e-6));
    }
}
