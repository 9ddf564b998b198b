use std::sync::Arc;

use super::*;
use crate::classify::Recipe;
use crate::damage::{DoseSettings, PlannedDose};
use crate::pipeline::recipe;
use crate::scan::{Axis, Grid, ScanPlan};
use crate::settings::Settings;
use crate::simulate::nvpf;

fn setup(energies_ev: Vec<f64>) -> Setup {
    let axis = Axis { start: 1.0, step: 0.05 };
    let grid = Grid { shape: [100, 200], x: axis, y: axis, unit: "um".into() };
    let energies = energies_ev.len();
    Setup {
        plan: ScanPlan::of_stack("planned".into(), grid, energies_ev, 2.0),
        light: vec![None; energies],
        dose: DoseSettings {
            flux_ph_per_s: Some(1e6),
            detector_efficiency: Some(0.3),
            ..DoseSettings::default()
        },
        dim: 1.0,
        thickness: 1.0,
        move_ms_per_ev: 0.0,
        settle_ms: 0.0,
    }
}

/// Two sentinels, five visits each, and twenty energies.
fn watched() -> Setup {
    let others: Vec<f64> = (0..20).map(|i| 510.0 + 0.75 * f64::from(i)).collect();
    let mut energies_ev = vec![508.0, 517.1];
    for some in others.chunks(5) {
        energies_ev.extend_from_slice(some);
        energies_ev.extend_from_slice(&[508.0, 517.1]);
    }
    setup(energies_ev)
}

fn planned(setup: &Setup) -> PlannedDose {
    setup.planned(&nvpf::reference_set()).unwrap()
}

fn total(setup: &Setup) -> f64 {
    planned(setup).total().mean
}

fn nvpf_recipe() -> Recipe {
    recipe(&Settings::defaults().unwrap(), Arc::new(nvpf::reference_set())).unwrap()
}

#[test]
fn dwell_flux_and_pixels_halve_the_dose_as_they_should() {
    let plan = setup(vec![510.0, 515.0, 520.0]);
    let none = Change::none(3);
    assert_eq!(plan.after(&none), plan);
    let whole = total(&plan);
    let [exposure_s, _] = plan.seconds();
    assert!((exposure_s - 100.0 * 200.0 * 3.0 * 2e-3).abs() < 1e-9);
    for (change, time) in [
        (Change { dwell: 0.5, ..none.clone() }, 0.5),
        (Change { flux: 0.5, ..none.clone() }, 1.0),
        (Change { pixel: 2.0_f64.sqrt(), ..none.clone() }, 0.5),
    ] {
        let after = plan.after(&change);
        assert!((total(&after) / whole - 0.5).abs() < 1e-6, "{change:?}");
        assert!((after.seconds()[0] / exposure_s - time).abs() < 0.01, "{change:?}");
    }
    let two = plan.after(&Change { entries: vec![0, 2], ..none.clone() });
    assert_eq!(
        (two.plan.energies_ev.as_slice(), two.plan.dwell_ms.len(), two.light.len()),
        (&[510.0, 520.0][..], 2, 2)
    );
}

#[test]
fn a_spot_in_the_pixel_grows_with_it_and_a_wide_one_stays() {
    let larger = Change { pixel: 2.0_f64.sqrt(), ..Change::none(1) };
    for (spot_nm, after_nm) in [(25.0, 25.0 * 2.0_f64.sqrt()), (50.0, 50.0 * 2.0_f64.sqrt()), (100.0, 100.0)]
    {
        let mut plan = setup(vec![515.0]);
        plan.dose.spot_nm = Some(spot_nm);
        let after = plan.after(&larger);
        assert!((after.dose.spot_nm.unwrap() - after_nm).abs() < 1e-9, "{spot_nm}");
        assert!((total(&after) / total(&plan) - 0.5).abs() < 1e-6, "{spot_nm}");
    }
}

#[test]
fn what_the_detector_counts_follows_from_what_is_known() {
    let mut plan = setup(vec![515.0]);
    // 1e6/s for 2 ms, of which 0.3 are seen.
    assert_eq!(plan.detected(), (vec![600.0], Vec::new()));
    plan.dose.exposure_factor = 1.5;
    assert!(
        (plan.detected().0[0] - 600.0).abs() < 1e-9,
        "the shutter is open longer, the detector counts in the dwell"
    );
    plan.dose.detector_efficiency = None;
    let (photons, remarks) = plan.detected();
    assert!((photons[0] - 2000.0).abs() < 1e-9 && remarks[0].contains("efficiency"), "{remarks:?}");
    // Counts, without a word of the efficiency: no dose, but accuracies.
    (plan.dose.flux_ph_per_s, plan.light) = (None, vec![Some(800.0)]);
    plan.plan.detector.counts_per_photon = Some(vec![4.0]);
    assert_eq!(plan.detected(), (vec![200.0], Vec::new()));
    // Nothing at all.
    plan.light = vec![None];
    let dimmed = plan.after(&Change { flux: 0.5, ..Change::none(1) });
    let (photons, remarks) = dimmed.detected();
    assert!((photons[0] - 1000.0).abs() < 1e-9 && remarks.len() == 2, "{photons:?} {remarks:?}");
}

#[test]
fn savings_reach_half_and_keep_the_sentinels() {
    let plan = watched();
    let dose = planned(&plan);
    let list = savings(&plan, &dose, &nvpf::reference_set(), 600.0, 6);
    let find = |name: &str| list.iter().find(|saving| saving.name.contains(name)).unwrap();
    for saving in &list {
        let share = total(&plan.after(&saving.change)) / dose.total().mean;
        assert!((share - saving.share).abs() < 1e-9 && share < 0.995, "{saving:?}");
        let is_half = saving.name != "sentinels first and last only";
        assert_eq!(saving.reaches_half(), is_half, "{saving:?}");
        assert!(share > 0.4, "no more is given up than has to be: {saving:?}");
        for sentinel in dose.outline.sentinels() {
            let visits = saving.change.entries.iter().filter(|&&entry| dose.outline.first[entry] == sentinel);
            let visits: Vec<usize> = visits.copied().collect();
            let all = dose.outline.entries(sentinel);
            assert!(visits.len() >= 2 && visits[0] == all[0] && visits.last() == all.last(), "{saving:?}");
        }
    }
    let ends = find("sentinels first and last only");
    assert_eq!(ends.change.entries.len(), 20 + 4);
    // The best energies are others than the evenly spread ones, but both have one before the edge.
    let [best, spread] = ["the best half", "every second"].map(|name| find(name).change.entries.clone());
    assert_ne!(best, spread);
    // Without sentinels, and with too few energies to leave some out.
    let few = setup((0..8).map(|i| 508.0 + 2.0 * f64::from(i)).collect());
    let names: Vec<String> = savings(&few, &planned(&few), &nvpf::reference_set(), 600.0, 6)
        .into_iter()
        .map(|saving| saving.name)
        .collect();
    assert_eq!(names.len(), 4, "{names:?}");
}

#[test]
fn repeats_are_halved_where_all_energies_have_them() {
    let once: Vec<f64> = (0..12).map(|i| 509.0 + f64::from(i)).collect();
    let plan = setup([once.clone(), once.clone()].concat());
    let list = savings(&plan, &planned(&plan), &nvpf::reference_set(), 600.0, 6);
    let saving = list.iter().find(|saving| saving.name == "half the repeats").unwrap();
    assert_eq!(saving.change.entries, (0..12).collect::<Vec<_>>());
    assert!((saving.share - 0.5).abs() < 1e-9);
}

#[test]
fn a_relative_dose_is_halved_by_half_the_flux_as_well() {
    let mut plan = setup((0..20).map(|i| 508.0 + f64::from(i)).collect());
    plan.dose.flux_ph_per_s = None;
    let list = savings(&plan, &planned(&plan), &nvpf::reference_set(), 600.0, 6);
    let flux = list.iter().find(|saving| saving.name.contains("half the flux")).unwrap();
    assert!((flux.share - 0.5).abs() < 1e-9, "{flux:?}");
}

#[test]
fn simulation_tells_what_fewer_photons_cost() {
    let mut plan = setup((0..14).map(|i| 509.0 + f64::from(i)).collect());
    plan.dose.flux_ph_per_s = Some(1e5);
    let none = Change::none(14);
    let far = Change { dwell: 1.0 / 32.0, ..none.clone() };
    let half = Change { dwell: 0.5, ..none.clone() };
    let dim = Change { flux: 0.5, ..none.clone() };
    let coarse = Change { pixel: 4.0, ..none.clone() };
    let recipe = nvpf_recipe();
    let calls = std::sync::Mutex::new(Vec::new());
    let progress = |done, total| calls.lock().unwrap().push((done, total));
    let changes = [&none, &far, &half, &dim, &coarse];
    let found = measure(&plan, &changes, &recipe, (2, 7), &progress).unwrap();
    let mut calls = calls.into_inner().unwrap();
    calls.sort_unstable();
    assert_eq!(
        (calls[0], calls.len(), calls[calls.len() - 1]),
        ((0, 8), 9, (8, 8)),
        "half the flux is half the dwell"
    );
    let [whole, far, half, dim, coarse] = &found[..] else { panic!("{found:?}") };
    assert!(
        whole.pixels > 500 && whole.accuracy.mean > 0.5 && whole.accuracy_change.mean == 0.0,
        "{whole:?}"
    );
    assert_eq!(half, dim);
    assert!(
        far.accuracy.mean < whole.accuracy.mean - 0.1 && far.accuracy_change.mean < -0.1,
        "{far:?} {whole:?}"
    );
    // Pixels of 4 x 4 do not see the boundaries.
    assert!(coarse.accuracy.mean < whole.accuracy.mean - 0.05, "{coarse:?} {whole:?}");
    assert_eq!(coarse.pixels, whole.pixels, "all answer for the same pixels");
    assert_eq!(measure(&plan, &changes[..1], &recipe, (2, 7), &|_, _| {}).unwrap()[0], *whole);
}

#[test]
fn energies_beyond_the_references_are_left_out() {
    let mut energies_ev: Vec<f64> = (0..10).map(|i| 510.0 + f64::from(i)).collect();
    energies_ev.extend([519.0, 600.0]);
    let plan = setup(energies_ev);
    let none = Change::none(12);
    assert!(measure(&plan, &[&none], &nvpf_recipe(), (1, 1), &|_, _| {}).unwrap()[0].pixels > 100);
    let nowhere = setup(vec![900.0, 910.0]);
    assert!(measure(&nowhere, &[&Change::none(2)], &nvpf_recipe(), (1, 1), &|_, _| {}).is_err());
}

#[test]
fn the_recommendation_follows_its_rule() {
    let saving = |share: f64| Saving { name: String::new(), change: Change::none(1), share };
    let measured = |draws: &[[f64; 2]]| {
        let zero = Figure { mean: 0.0, error: None };
        Measured {
            accuracy: zero,
            coverage: zero,
            accuracy_change: zero,
            coverage_change: zero,
            pixels: 100,
            draws: draws.to_vec(),
        }
    };
    let halves = [saving(0.5), saving(0.5), saving(0.5)];
    let recommended = |found: &[Measured], seconds: &[f64]| recommend(&halves, found, seconds);
    // Most pixels right.
    let clear = [measured(&[[0.80, 0.9]; 2]), measured(&[[0.95, 0.5]; 2]), measured(&[[0.90, 0.9]; 2])];
    assert_eq!(recommended(&clear, &[1.0, 9.0, 1.0]), Some(1));
    // As many right, more classified.
    let classified = [measured(&[[0.95, 0.6]; 2]), measured(&[[0.948, 0.9]; 2]), measured(&[[0.90, 1.0]; 2])];
    assert_eq!(recommended(&classified, &[1.0, 9.0, 1.0]), Some(1));
    // Alike in both: the least time, then the first.
    let alike = [measured(&[[0.95, 0.9]; 2]), measured(&[[0.952, 0.902]; 2]), measured(&[[0.95, 0.9]; 2])];
    assert_eq!(recommended(&alike, &[5.0, 9.0, 4.0]), Some(2));
    assert_eq!(recommended(&alike, &[4.0, 9.0, 4.0]), Some(0));
    // Draws differ far more than the two do within each: that is no chance.
    let paired = [
        measured(&[[0.60, 0.9], [0.90, 0.9]]),
        measured(&[[0.64, 0.9], [0.94, 0.9]]),
        measured(&[[0.1, 0.9], [0.2, 0.9]]),
    ];
    assert_eq!(recommended(&paired, &[1.0, 9.0, 1.0]), Some(1));
    // What does not reach half does not count, nor what was not measured.
    assert_eq!(recommend(&[saving(0.6), saving(0.505)], &clear, &[1.0, 2.0]), Some(1));
    assert_eq!(recommend(&[saving(0.6)], &clear, &[1.0]), None);
    assert_eq!(recommend(&halves, &[], &[1.0; 3]), None);
}
