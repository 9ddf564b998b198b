use std::sync::Arc;

use super::run::measure;
use super::*;
use crate::classify::Status;
use crate::evaluation::Subject;
use crate::pipeline::recipe;
use crate::settings::Settings;
use crate::simulate::{EnergyRun, Scenario, nvpf};

fn subject() -> Subject {
    let recipe = recipe(&Settings::defaults().unwrap(), Arc::new(nvpf::reference_set())).unwrap();
    Subject { recipe, oracle: None }
}

fn job(change: impl FnOnce(&mut Scenario)) -> ScenarioJob {
    let (_, mut scenario) = Scenario::library().unwrap().swap_remove(0);
    scenario.scan.shape = [48, 48];
    change(&mut scenario);
    ScenarioJob { name: "a".to_owned(), scenario }
}

#[test]
fn a_clean_scan_is_mapped_right_and_scored_so() {
    let mut calls = Vec::new();
    let rows =
        scenarios(&mut subject(), &[job(|_| {})], 2, &mut |done, total| calls.push((done, total))).unwrap();
    assert_eq!(calls, [(0, 2), (1, 2), (2, 2)]);
    let score = &rows[0].score;
    assert!(score.pixels > 200 && score.accuracy() > 0.97 && score.coverage() > 0.9, "{score:?}");
    assert!(score.drift_left_px()[0].is_nan() && score.energy_left_ev() < 0.02);
    let json = serde_json::to_value(&rows).unwrap();
    assert!(json[0]["drift_left_px_median"].is_null() && json[0]["accuracy"].as_f64().unwrap() > 0.97);
    let table = scenario_markdown(&rows, Some(&Expected::of(&rows)));
    let columns = |line: &str| line.matches('|').count();
    assert!(table.lines().all(|line| columns(line) == 13), "{table}");
}

#[test]
fn the_score_is_not_blind() {
    let clean = job(|_| {});
    let wrong = job(|scenario| scenario.beam.photons = 15.0);
    let rows = scenarios(&mut subject(), &[clean, wrong], 1, &mut |_, _| {}).unwrap();
    assert!(rows[1].score.accuracy() < rows[0].score.accuracy() - 0.05);
    let kept = Expected::of(&rows[..1]);
    let mut worse = vec![rows[1].clone()];
    worse[0].name = rows[0].name.clone();
    let shortfalls = kept.compare(&worse, Tolerance::default()).unwrap();
    assert!(shortfalls.iter().any(|s| s.figure == "accuracy"), "{shortfalls:?}");
    assert!(kept.compare(&rows[..1], Tolerance::default()).unwrap().is_empty());
    assert!(shortfalls[0].to_string().starts_with("a: "));
}

#[test]
fn a_kept_table_survives_its_file() {
    let rows = scenarios(&mut subject(), &[job(|_| {})], 1, &mut |_, _| {}).unwrap();
    let kept = Expected::of(&rows);
    let read = Expected::parse(&kept.to_toml()).unwrap();
    assert!((read.get("a").unwrap().accuracy.unwrap() - rows[0].score.accuracy()).abs() < 1e-4);
    assert!(read.compare(&rows, Tolerance::default()).unwrap().is_empty());
    assert!(Expected::parse("[a]\naccuracy = \"high\"").is_err());
    let missing = Expected::default().compare(&rows, Tolerance::default()).unwrap_err();
    assert!(missing.to_string().contains("no scenario a"));
}

#[test]
fn what_was_not_measured_stays_unmeasured() {
    let sparse = job(|scenario| scenario.sampling.pixels = 0.4);
    let rows = scenarios(&mut subject(), &[sparse], 1, &mut |_, _| {}).unwrap();
    let score = &rows[0].score;
    assert_eq!(score.unmeasured, 48 * 48 - (0.4_f64 * 48.0 * 48.0).round() as usize);
    assert_eq!(score.unmeasured_kept, score.unmeasured);
}

#[test]
fn a_second_pass_makes_the_plan_longer() {
    let job = job(|scenario| {
        scenario.scan.then = vec![EnergyRun { from_ev: 514.2, to_ev: 516.2, step_ev: 1.0 }];
    });
    let (microscope, stack) = measure(job.scenario, &nvpf::reference_set()).unwrap();
    assert_eq!(stack.plan().energies_ev, microscope.plan().energies_ev);
    assert_eq!(stack.plan().flux_ph_per_s, microscope.plan().flux_ph_per_s);
    assert!(stack.is_full());
    let settled = crate::classify::settle(&stack, &subject().recipe, None);
    assert!(settled.map.status.contains(&Status::Classified));
}
