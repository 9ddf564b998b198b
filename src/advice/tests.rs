//! Advice on maps made by the real stages, in constructed cases.

use std::sync::Arc;

use super::study::{Trial, TrialSettings};
use super::*;
use crate::absorption::AbsorptionSettings;
use crate::classify::correlation::Baseline;
use crate::classify::{LiveMap, PhaseLabel, TriageSettings};
use crate::reference::{Composition, Provenance, Reference, Window};
use crate::simulate::nvpf;
use crate::stack::Stack;

/// Flat at 0.2 before 510 eV and at 0.5 behind; phase k has a peak of its own at each energy of `peaks[k]`.
fn peaked(peaks: &[&[f64]]) -> ReferenceSet {
    let reference = |(index, centres): (usize, &&[f64])| {
        let energies_ev: Vec<f64> = (0..=300).map(|i| 500.0 + 0.1 * f64::from(i)).collect();
        let peak = |e: f64, centre: f64| 0.4 * (-((e - centre) / 0.6).powi(2)).exp();
        let edge = |e: f64| 0.2 + 0.3 / (1.0 + (-(e - 509.0) * 6.0).exp());
        let od = |e: &f64| edge(*e) + centres.iter().map(|&c| peak(*e, c)).sum::<f64>();
        Reference {
            label: PhaseLabel { id: format!("p{index}"), title: format!("P{index}"), colour: [0; 3] },
            od: energies_ev.iter().map(od).collect(),
            energies_ev,
            provenance: Provenance::default(),
            composition: Composition::default(),
        }
    };
    ReferenceSet {
        references: peaks.iter().enumerate().map(reference).collect(),
        pre_edge: Window { from_ev: 500.0, to_ev: 507.0 },
        white_line: Window { from_ev: 511.0, to_ev: 520.0 },
        sha256: String::new(),
    }
}

fn recipe(references: ReferenceSet) -> Recipe {
    Recipe {
        references: Arc::new(references),
        absorption: AbsorptionSettings { max_od: 3.0, ..AbsorptionSettings::default() },
        baseline: Baseline::None,
        triage: TriageSettings::default(),
        offset: crate::classify::OffsetMode::Report,
        registration: crate::registration::RegistrationMode::default(),
        calibration: None,
    }
}

/// Advice on a simulated scan once the energies `which` picks are measured, one after the other.
fn advice_on(references: ReferenceSet, photons: f64, which: impl Fn(f64) -> bool) -> Advice {
    let settings = TrialSettings { photons, energies: 28, shape: [72, 72], mismatch: false, seed: 3 };
    let trial = Trial::simulated(&references, &settings).unwrap();
    let recipe = recipe(references);
    let mut stack = Stack::new(trial.plan.clone());
    let mut live = LiveMap::new(&stack, recipe.clone());
    // So few pixels prove no more than this.
    let mut adviser = Adviser::new(AdviceSettings { stop_below: 0.02, ..AdviceSettings::default() });
    let mut measured = vec![false; trial.plan.energies_ev.len()];
    let chosen: Vec<usize> = (0..measured.len()).filter(|&e| which(trial.plan.energies_ev[e])).collect();
    let (mut seq, mut advice) = (0, None);
    for energy in std::iter::once(None).chain(chosen.into_iter().map(Some)) {
        for batch in energy.map_or(&[][..], |energy| &trial.batches[energy]) {
            seq += 1;
            stack.note_seq(seq);
            stack.push(seq, batch).unwrap();
        }
        energy.into_iter().for_each(|energy| measured[energy] = true);
        let changes = stack.take_changes();
        let reason = live.advance(&stack, &changes);
        let (map, _) = live.generation_of(&stack, reason, None);
        let view = live.view(&stack);
        let situation = Situation {
            map: &map,
            view: &view,
            recipe: &recipe,
            targets: live.targets(),
            measured: &measured,
            complete: &measured,
            at_ev: None,
        };
        advice = adviser.advise(&situation);
    }
    advice.unwrap()
}

#[test]
fn the_advised_energy_is_the_one_that_separates_the_pair_still_open() {
    // p0 and p1 differ at 524 eV alone, p2 from both at 514 eV, which is measured.
    let references = peaked(&[&[518.0, 524.0], &[518.0], &[514.0]]);
    let advice = advice_on(references, 2000.0, |e| e < 520.0);
    let best = &advice.next[0];
    assert!((best.energy_ev - 524.0).abs() < 0.7, "{}", advice.text);
    assert_eq!(best.separates, ["p0", "p1"]);
    assert!(best.share > 0.9 && best.gain > 0.1, "{best:?}");
    assert!((advice.anywhere[0].energy_ev - 524.0).abs() < 0.7, "{:?}", advice.anywhere);
    assert_eq!((advice.pairs[0].phase.as_str(), advice.pairs[0].runner_up.as_str()), ("p0", "p1"));
    assert!(!advice.stop.stop && advice.stop.expected_change.unwrap() > 0.1, "{:?}", advice.stop);
}

#[test]
fn once_all_is_decided_the_rest_changes_nothing_and_stopping_is_advised() {
    let references = peaked(&[&[518.0, 524.0], &[518.0], &[514.0]]);
    let advice = advice_on(references, 1e5, |e| e < 527.5);
    assert!(advice.stop.stop, "{:?}", advice.stop);
    assert!(advice.stop.energies_left > 0 && advice.stop.dose_left > 0.02, "{:?}", advice.stop);
    assert!(advice.text.contains("you can stop"), "{}", advice.text);
}

#[test]
fn before_anything_is_measured_both_sides_of_the_edge_are_asked_for() {
    let references = nvpf::reference_set();
    let advice = advice_on(references.clone(), 1000.0, |_| false);
    assert_eq!(advice.stop.expected_change, None);
    assert!(!advice.stop.stop && !advice.next.is_empty());
    // Five behind the edge: the sixth has to be before it.
    let advice = advice_on(references, 1000.0, |e| (514.5..519.3).contains(&e));
    assert!(
        advice.energies_done == 5 && advice.next.iter().all(|next| next.energy_ev <= 512.0),
        "{advice:?}"
    );
}

#[test]
fn a_sample_that_the_references_do_not_describe_is_not_to_be_trusted() {
    let advice = |mismatch: bool| {
        let sample = if mismatch { peaked(&[&[513.0, 524.0], &[516.0, 521.0]]) } else { references() };
        let settings =
            TrialSettings { photons: 3e4, energies: 28, shape: [48, 48], mismatch: false, seed: 3 };
        let trial = Trial::simulated(&sample, &settings).unwrap();
        let recipe = recipe(references());
        let steps = super::study::course(
            &trial,
            &recipe,
            &AdviceSettings::default(),
            super::study::Order::BitReversed,
            usize::MAX,
        );
        steps.unwrap().iter().any(|step| step.stop)
    };
    fn references() -> ReferenceSet {
        peaked(&[&[513.0], &[516.0]])
    }
    assert!(advice(false) && !advice(true));
}

#[test]
fn a_designed_plan_has_both_sides_and_the_peaks() {
    let references = peaked(&[&[518.0, 524.0], &[518.0], &[514.0]]);
    let energies_ev = design(&references, 8, &DesignSettings::default());
    assert_eq!(energies_ev.len(), 8);
    assert!(energies_ev.iter().any(|e| *e <= 507.0));
    for peak in [514.0, 524.0] {
        assert!(energies_ev.iter().any(|e| (e - peak).abs() < 0.8), "{energies_ev:?}");
    }
}

#[test]
fn the_rest_never_changes_much_more_than_was_said_when_stopping_was_advised() {
    let references = nvpf::reference_set();
    let recipe = recipe(references.clone());
    let (mut stops, mut passed) = (0, 0);
    for seed in 1..=4 {
        let settings = TrialSettings { photons: 1e4, energies: 24, shape: [64, 64], mismatch: false, seed };
        let trial = Trial::simulated(&references, &settings).unwrap();
        for order in [super::study::Order::Advised, super::study::Order::Ascending] {
            let steps =
                super::study::course(&trial, &recipe, &AdviceSettings::default(), order, usize::MAX).unwrap();
            for step in steps.iter().filter(|step| step.stop) {
                let [_, most] = step.interval.unwrap();
                stops += 1;
                // One pixel more may always change.
                passed += usize::from(step.changed > most + 0.001);
                assert!(step.changed < 0.01, "{order:?} seed {seed}: {step:?}");
            }
        }
    }
    assert!(stops >= 8, "stopping is advised at all: {stops}");
    // Its upper limit is a 95 % one, for each step by itself.
    assert!(passed * 10 <= stops, "{passed} of {stops}");
}

#[test]
fn following_the_advice_needs_fewer_energies_than_the_plan() {
    let references = nvpf::reference_set();
    let recipe = recipe(references.clone());
    let settings = TrialSettings { photons: 3000.0, energies: 24, shape: [64, 64], mismatch: false, seed: 5 };
    let trial = Trial::simulated(&references, &settings).unwrap();
    let needed = |order| {
        let steps =
            super::study::course(&trial, &recipe, &AdviceSettings::default(), order, usize::MAX).unwrap();
        let wanted = 0.98 * steps[steps.len() - 1].accuracy;
        steps.iter().rposition(|step| step.accuracy < wanted).map_or(1, |below| below + 2)
    };
    let (advised, ascending) = (needed(super::study::Order::Advised), needed(super::study::Order::Ascending));
    assert!(advised * 4 <= ascending * 3, "{advised} against {ascending}");
}

/// A recorded Fe L stack: the advice, energy by energy, does better than as many evenly spaced energies.
#[test]
fn on_a_recorded_stack_advised_energies_do_better_than_evenly_spaced_ones() {
    let folder =
        std::path::Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/data/als-fe-l-71214078"));
    if !folder.is_dir() {
        eprintln!("SKIPPED: {} is not there", folder.display());
        return;
    }
    let references = ReferenceSet::load(folder).unwrap();
    let mut recipe = recipe(references);
    recipe.absorption.max_od = 2.5;
    let recording = crate::recording::Recording::load(&folder.join("71214078.hdr")).unwrap();
    let trial = Trial::recorded(&recording, &recipe).unwrap();
    let balanced = |order| -> Vec<f64> {
        let steps = super::study::course(&trial, &recipe, &AdviceSettings::default(), order, 12).unwrap();
        steps.iter().map(|step| step.balanced).collect()
    };
    let advised = balanced(super::study::Order::Advised);
    let even = balanced(super::study::Order::EvenlySpaced);
    for count in [6, 8] {
        assert!(
            advised[count - 1] > even[count - 1] + 0.05,
            "{count}: {} {}",
            advised[count - 1],
            even[count - 1]
        );
    }
    assert!(advised[5] > 0.85, "{advised:?}");
}
