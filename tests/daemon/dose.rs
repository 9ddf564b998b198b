//! The dose of a region adds up over its scans, by place, once each, whatever happens to the daemon between.

use std::path::Path;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::Float32Type;
use serde_json::{Value, json};

use crate::feed::Feed;
use crate::order::files;
use crate::rig::{Rig, Setup, phasewatch};
use crate::script::{Message, Script};
use crate::table::{folder, manifest, phase_map};

const PIXELS: usize = 4 * 6;

fn start_in(dir: tempfile::TempDir) -> Rig {
    Setup::bare().source("beam", "bind = \"tcp://127.0.0.1:0\"\ngrace_s = 0.3").start_in(dir)
}

fn start() -> Rig {
    start_in(tempfile::tempdir().unwrap())
}

/// A whole scan of a sample that starts `minute` minutes after three, its first column at `x` µm.
fn scan(scan_id: &str, minute: u32, x: f64, sample: Option<&str>) -> Vec<Message> {
    let mut messages = Script::new(scan_id).whole();
    messages[0] = messages[0]
        .clone()
        .with("time", json!(format!("2026-05-04T03:{minute:02}:00Z")))
        .with("flux_ph_per_s", json!(1e7))
        .with("region", json!("r 1"))
        .with("sample", sample.map_or(Value::Null, |sample| json!(sample)))
        .with(
            "grid",
            json!({"shape": [4, 6], "x": {"start": x, "step": 0.05}, "y": {"start": 0.0, "step": 0.05}}),
        );
    messages
}

const SAMPLE: Option<&str> = Some("../NVPF, cycled / 7");

fn numbers(table: &RecordBatch, column: &str) -> Vec<f32> {
    let column = table.column_by_name(column).unwrap();
    assert_eq!(column.null_count(), 0);
    column.as_primitive::<Float32Type>().values().to_vec()
}

fn dose(scan: &Value) -> Vec<f32> {
    numbers(&phase_map(&folder(scan)), "dose_mgy")
}

fn assert_near(found: &[f32], wanted: &[f32]) {
    assert_eq!(found.len(), wanted.len());
    for (found, wanted) in found.iter().zip(wanted) {
        assert!((found - wanted).abs() < 1e-4 * wanted.max(1.0), "{found} is not {wanted}");
    }
}

fn send(rig: &Rig, messages: &[Message]) {
    Feed::push(rig.source()).send_all(messages);
}

#[test]
fn scans_of_one_region_on_other_grids_add_up_also_after_the_daemon_was_killed_between() {
    let rig = start();
    send(&rig, &scan("first", 0, 0.0, SAMPLE));
    let first = rig.archived("first");
    let before = dose(&first);
    assert_eq!(before.len(), PIXELS);
    // 2e4 photons of some 500 eV on (50 nm)², twelve times: some MGy.
    assert!(before.iter().all(|dose| (1.0..20.0).contains(dose)), "{before:?}");
    assert_eq!(first["dose"]["kind"], "absolute");
    assert_eq!(first["dose"]["prior"]["max"], 0.0);
    let rig = start_in(rig.kill());
    // Half a step to the right; and the same without a sample, which knows its own dose alone.
    send(&rig, &scan("second", 5, 0.025, SAMPLE));
    let second = rig.archived("second");
    send(&rig, &scan("alone", 5, 0.025, None));
    let own = dose(&rig.archived("alone"));
    let at = |row: usize, column: usize| if column < 6 { before[row * 6 + column] } else { 0.0 };
    let wanted: Vec<f32> = (0..PIXELS)
        .map(|pixel| own[pixel] + 0.5 * (at(pixel / 6, pixel % 6) + at(pixel / 6, pixel % 6 + 1)))
        .collect();
    assert_near(&dose(&second), &wanted);
    let told = &second["dose"];
    assert_eq!(told["prior_scans"], json!(["first"]));
    assert!(
        (told["total"]["mean"].as_f64().unwrap()
            - told["own"]["mean"].as_f64().unwrap()
            - told["prior"]["mean"].as_f64().unwrap())
        .abs()
            < 1e-4
    );
    assert_eq!(told["per_energy"].as_array().unwrap().len(), 12);
    assert_eq!(manifest(&folder(&second))["map"]["dose"], *told);
    let regions: Value = serde_json::from_slice(&rig.get("/api/v1/dose")).unwrap();
    let regions = regions.as_array().unwrap();
    assert_eq!(regions.len(), 1, "the one without a sample is nowhere");
    assert_eq!((&regions[0]["sample"], &regions[0]["scans"]), (&json!(SAMPLE), &json!(2)));
    assert_eq!(regions[0]["accumulated"]["max"], told["total"]["max"]);
}

#[test]
fn what_is_sent_or_archived_again_is_not_added_again() {
    let rig = start();
    let first = scan("first", 0, 0.0, SAMPLE);
    let (late, rest): (Vec<_>, Vec<_>) = first.iter().enumerate().partition(|(index, _)| *index == 5);
    let mut feed = Feed::push(rig.source());
    feed.send_all(rest.iter().map(|(_, message)| *message));
    rig.archived("first");
    feed.send_all(late.iter().map(|(_, message)| *message));
    let whole = |scan: &Value| scan["state"] == "archived" && scan["measured_values"] == 12 * PIXELS;
    let once = dose(&rig.wait_scan("first", "archived anew", whole));
    feed.send_all(&first);
    rig.received(2 * first.len() as u64);
    let rig = start_in(rig.kill());
    send(&rig, &scan("second", 5, 0.0, SAMPLE));
    let found = dose(&rig.archived("second"));
    let twice: Vec<f32> = once.iter().map(|dose| 2.0 * dose).collect();
    assert_near(&found, &twice);
    // Nor does the first know of the second.
    let out = rig.dir().join("replayed");
    let journal = rig.dir().join("state/journal/first");
    let replayed = phasewatch(&["replay", journal.to_str().unwrap(), "--out", out.to_str().unwrap()]);
    assert_eq!(replayed.status.code(), Some(0), "{}", String::from_utf8_lossy(&replayed.stderr));
    assert_near(&numbers(&phase_map(&out), "dose_mgy"), &once);
}

#[test]
fn a_scan_that_starts_while_the_one_before_waits_for_late_messages_counts_it_live_and_archived() {
    let rig = start();
    let [first, second] = [scan("first", 0, 0.0, SAMPLE), scan("second", 5, 0.0, SAMPLE)];
    let mut feed = Feed::push(rig.source());
    let last = first.len() - 1;
    feed.send_all(&first[..last]);
    rig.wait_scan("first", "mapped", |scan| scan["dose"]["own"]["mean"].as_f64() > Some(0.0));
    feed.send_all(&second[..second.len() - 1]);
    let live = rig.wait_scan("second", "what the open scan left", |scan| {
        scan["dose"]["prior_scans"] == json!(["first"]) && scan["energies_done"] == 12
    });
    assert_eq!(live["dose"]["kind"], "absolute");
    feed.send_all([&first[last]]);
    rig.archived("first");
    feed.send_all([&second[second.len() - 1]]);
    let found = rig.archived("second");
    let once = dose(&rig.scan("first").unwrap());
    assert_near(&dose(&found), &once.iter().map(|dose| 2.0 * dose).collect::<Vec<_>>());
}

#[test]
fn without_a_flux_it_is_relative_and_never_in_mgy() {
    let rig = start();
    let mut messages = scan("unknown", 0, 0.0, SAMPLE);
    messages[0] = messages[0].clone().with("flux_ph_per_s", Value::Null);
    send(&rig, &messages);
    let found = rig.archived("unknown");
    let table = phase_map(&folder(&found));
    assert_eq!(table.column_by_name("dose_mgy").unwrap().null_count(), PIXELS);
    assert!(numbers(&table, "dose_relative").iter().all(|dose| *dose > 0.0));
    let told: Value = serde_json::from_str(&table.schema().metadata()["phasewatch.dose"]).unwrap();
    assert_eq!((&told["kind"], &told["flux"]), (&json!("relative"), &json!("nominal")));
    assert!(told["composition"].as_str().unwrap().contains("references"), "{told}");
    assert_eq!(found["dose"], told);
    // A dose of known flux does not mix with it, and says so.
    send(&rig, &scan("known", 5, 0.0, SAMPLE));
    let known = rig.archived("known");
    assert_eq!(known["dose"]["prior_scans"], json!([]));
    let remarks = known["dose"]["remarks"].as_array().unwrap();
    assert!(remarks.iter().any(|remark| remark.as_str().unwrap().contains("another kind")), "{remarks:?}");
}

#[test]
fn the_archive_has_the_same_bytes_after_crashes_and_when_it_is_made_again_later() {
    let second = scan("second", 5, 0.025, SAMPLE);
    let straight = {
        let rig = start();
        send(&rig, &scan("first", 0, 0.0, SAMPLE));
        rig.archived("first");
        send(&rig, &second);
        files(&folder(&rig.archived("second")))
    };
    let mut rig = start();
    send(&rig, &scan("first", 0, 0.0, SAMPLE));
    rig.archived("first");
    for part in [&second[..9], &second[9..30]] {
        Feed::push(rig.source()).send_all(part);
        rig.received(part.len() as u64 + if part.len() == 9 { 50 } else { 0 });
        rig = start_in(rig.kill());
    }
    send(&rig, &second[30..]);
    let found = folder(&rig.archived("second"));
    assert!(files(&found) == straight);
    // Its archive is lost, nobody remembers that it was made, and the ledger has become another.
    let dir = rig.kill();
    std::fs::remove_dir_all(&found).unwrap();
    std::fs::remove_file(dir.path().join("state/journal/second/archived.json")).unwrap();
    std::fs::remove_dir_all(dir.path().join("state/dose")).unwrap();
    let rig = start_in(dir);
    assert!(files(&folder(&rig.archived("second"))) == straight);
}

#[test]
fn a_damaged_ledger_is_told_and_does_no_further_harm() {
    let rig = start();
    send(&rig, &scan("first", 0, 0.0, SAMPLE));
    rig.archived("first");
    let dir = rig.kill();
    let layer = layers(&dir.path().join("state/dose")).pop().unwrap();
    std::fs::write(&layer, "nonsense").unwrap();
    let rig = start_in(dir);
    send(&rig, &scan("second", 5, 0.0, SAMPLE));
    assert_eq!(rig.archived("second")["dose"]["prior_scans"], json!([]));
    let ready: Value = serde_json::from_slice(&rig.get("/readyz")).unwrap();
    assert_eq!(ready["status"], "ready");
    assert!(ready["troubles"].to_string().contains("count as nothing"), "{ready}");
    assert_eq!(std::fs::read_to_string(&layer).unwrap(), "nonsense");
}

fn layers(root: &Path) -> Vec<std::path::PathBuf> {
    let within = |path: &Path| std::fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()).collect();
    let regions: Vec<std::path::PathBuf> = within(root);
    regions.iter().flat_map(|region| -> Vec<std::path::PathBuf> { within(region) }).collect()
}
