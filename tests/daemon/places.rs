//! A field of which an earlier scan covered one part: what the daemon says of that part, and of the shares of the phases, through the real program.
//!
//! The specimen is the simulator's. What the second scan finds where the first one was is that of a specimen that had a dose before,
//! pixel by pixel; headers are written as JSON here.

use std::path::Path;

use chrono::DateTime;
use phasewatch::reference::ReferenceSet;
use phasewatch::simulate::{Microscope, Scenario};
use serde_json::{Value, json};

use crate::feed::Feed;
use crate::rig::{Rig, Setup, references, until};
use crate::script::{Message, floats};

/// Rows and columns of the whole field.
const N: usize = 96;

/// A specimen after a dose that would reduce it by `reduced`, and a time in which so much of it goes over by itself.
fn specimen(reduced: f64, reacted: f64) -> Microscope {
    let text = format!(
        r#"
seed = 4
beamline = "simulated"
sample = "NVPF, simulated"
region = "halves"
[scan]
shape = [{N}, {N}]
energies = [
    {{ from_ev = 508.0, to_ev = 511.0, step_ev = 1.5 }},
    {{ from_ev = 513.6, to_ev = 520.6, step_ev = 0.5 }},
    {{ from_ev = 522.4, to_ev = 525.4, step_ev = 3.0 }},
]
[specimen]
particles = 7
radius = [0.14, 0.19]
domains = 1
[beam]
photons = 1000.0
[damage]
dose_per_energy_mgy = 0.0
critical_dose_mgy = 1.0
dose_before_mgy = {}
chemistry_per_h = {}
chemistry_before_h = 1.0
"#,
        -(1.0 - reduced).ln(),
        -(1.0 - reacted).ln() + 1e-9
    );
    let references = ReferenceSet::load(&references()).unwrap();
    Microscope::new(Scenario::parse(&text).unwrap(), &references, "s", DateTime::UNIX_EPOCH).unwrap()
}

/// The column up to which the first scan goes: where most of what it damages goes on beyond.
fn cut(fresh: &Microscope, spoilt: &Microscope) -> usize {
    let line = fresh.plan().energies_ev.iter().position(|energy_ev| *energy_ev > 518.0).unwrap();
    let changes = |row: usize, column: usize| {
        let od = |specimen: &Microscope| specimen.optical_density(line, row * N + column);
        (od(spoilt) - od(fresh)).abs() > 0.02
    };
    let across = |column: &usize| {
        let beside = [column - 7, *column, column + 7];
        (0..N).filter(|&row| beside.iter().all(|&column| changes(row, column))).count()
    };
    (N / 4..3 * N / 4).max_by_key(across).unwrap()
}

/// The messages of a scan of the first `columns` columns at `minute` past three; of a field of both specimens the first has what is left of `cut`.
fn scan(
    (scan_id, minute, columns): (&str, u32, usize),
    cut: usize,
    context: &Value,
    [left, right]: [&Microscope; 2],
) -> Vec<Message> {
    let plan = left.plan();
    let mut messages = Vec::new();
    let mut push = |kind: &str, fields: Value, payload: Vec<Vec<u8>>| {
        let mut header = json!({
            "stream": "stxm-stream/1", "type": kind, "scan_id": scan_id, "seq": messages.len(),
            "time": format!("2026-05-04T03:{minute:02}:00Z"),
        });
        header.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        messages.push(Message::new(&header, payload));
    };
    let axis = json!({ "start": 0.0, "step": 0.05 });
    let start = json!({
        "grid": { "shape": [N, columns], "x": axis, "y": axis }, "energies_ev": plan.energies_ev,
        "dwell_ms": 2.0, "flux_ph_per_s": 1e7, "simulated": true, "beamline": "test-1",
        "sample": "NVPF 7", "region": "halves", "context": context,
        "detector": { "kind": "point", "dark": plan.detector.dark, "counts_per_photon": 1.0 },
    });
    push("scan_start", start, vec![]);
    for energy in 0..plan.energies_ev.len() {
        let row = |row: usize| {
            let [left, right] = [left, right].map(|specimen| specimen.line(energy, row).values);
            [&left[..cut], &right[cut..]].concat().into_iter().take(columns)
        };
        let rows: Vec<f32> = (0..N).flat_map(row).collect();
        let fields = json!({
            "energy_index": energy, "first_pixel": 0, "count": N * columns, "dtype": "float32",
        });
        push("samples", fields, vec![floats(&rows)]);
    }
    push("scan_end", json!({ "status": "complete" }), vec![]);
    messages
}

fn report(rig: &Rig, scan_id: &str) -> Value {
    let scan = rig.archived(scan_id);
    let folder = Path::new(scan["archive_path"].as_str().unwrap());
    let report = serde_json::from_slice(&std::fs::read(folder.join("damage.json")).unwrap()).unwrap();
    let live: Value =
        serde_json::from_slice(&rig.get(&format!("/api/v1/scans/{scan_id}/damage.json"))).unwrap();
    assert_eq!(report, live);
    report
}

fn alerts(rig: &Rig, scan_id: &str) -> Vec<Value> {
    serde_json::from_slice(&rig.get(&format!("/api/v1/alerts?scan={scan_id}"))).unwrap()
}

/// The alerts once that of the state over scans, which is told last, is among them.
fn all_alerts(rig: &Rig, scan_id: &str) -> Vec<Value> {
    until("the alert of the place", || {
        let all = alerts(rig, scan_id);
        of_signal(&all, "scans/state").is_some().then_some(all)
    })
}

fn of_signal<'a>(alerts: &'a [Value], id: &str) -> Option<&'a Value> {
    alerts.iter().find(|alert| alert["id"].as_str().unwrap().contains(id))
}

fn start() -> Rig {
    Setup::bare().source("beam", "bind = \"tcp://127.0.0.1:0\"\ngrace_s = 0.3").start()
}

#[test]
fn where_an_earlier_scan_was_the_sample_is_further_reduced_and_the_alert_says_so() {
    let rig = start();
    let (fresh, spoilt) = (specimen(0.0, 0.0), specimen(0.5, 0.0));
    let cut = cut(&fresh, &spoilt);
    Feed::push(rig.source()).send_all(&scan(("first", 0, cut), cut, &json!({}), [&fresh, &fresh]));
    let first = report(&rig, "first");
    assert_eq!((&first["contrast"], &first["over_scans"]), (&Value::Null, &Value::Null), "{first}");
    assert_eq!(alerts(&rig, "first"), Vec::<Value>::new());
    Feed::push(rig.source()).send_all(&scan(("second", 5, N), cut, &json!({}), [&spoilt, &fresh]));
    let second = report(&rig, "second");
    let contrast = &second["contrast"];
    assert_eq!((&contrast["is_real"], &contrast["is_paired"]), (&json!(true), &json!(true)), "{contrast}");
    let of = |name: &str| contrast[name].as_f64().unwrap();
    assert!(contrast["variable"] == "na_x" && of("dose_less") < 1e-6 * of("dose_more"), "{contrast}");
    // Half of all was reduced there.
    let share = of("further") / of("whole");
    assert!((0.3..0.7).contains(&share) && of("dose_more") > 0.1, "{contrast}");
    let all = all_alerts(&rig, "second");
    let told = of_signal(&all, "places/state").unwrap_or_else(|| panic!("{all:#?}"));
    assert_eq!((&told["level"], &told["verdict"]), (&json!("notice"), &json!("beam")), "{told}");
    let text = told["text"].as_str().unwrap();
    assert!(text.contains("a part of this field was damaged before this scan: where "), "{text}");
    // The place as a whole: reduced from scan to scan, with the shares that changed, and the half as evidence.
    let state = of_signal(&all, "scans/state").unwrap_or_else(|| panic!("{all:#?}"));
    assert!(state["text"].as_str().unwrap().contains("na3.0 grows from "), "{state}");
    let evidence = state["evidence_for"].to_string();
    assert!(state["verdict"] == "beam" && evidence.contains("within the same particles"), "{state}");
    let over = second["over_scans"].as_array().unwrap();
    let share = |phase: &str| {
        let is = |own: &&Value| own["signal"] == "fraction" && own["of"] == "field" && own["phase"] == phase;
        over.iter().find(is).unwrap_or_else(|| panic!("{over:#?}"))
    };
    assert_eq!(share("na3.0")["is_real"], true, "{}", share("na3.0"));
    assert!(share("na3.0")["lost"]["middle"].as_f64().unwrap() < -0.1, "it grows: {}", share("na3.0"));
    // What is left to the record: every share has its error.
    for group in second["record"]["groups"].as_array().unwrap() {
        let count = |name: &str| group[name].as_array().unwrap().len();
        assert_eq!(count("fractions"), count("fraction_errors"), "{group}");
    }
}

#[test]
fn what_an_operando_sample_does_everywhere_is_not_laid_to_the_earlier_scan() {
    let rig = start();
    let (fresh, evolved) = (specimen(0.0, 0.0), specimen(0.0, 0.5));
    let cut = cut(&fresh, &evolved);
    let context = json!({ "operando": true });
    Feed::push(rig.source()).send_all(&scan(("first", 0, cut), cut, &context, [&fresh, &fresh]));
    rig.archived("first");
    Feed::push(rig.source()).send_all(&scan(("second", 50, N), cut, &context, [&evolved, &evolved]));
    let second = report(&rig, "second");
    let contrast = &second["contrast"];
    assert_eq!((&contrast["is_real"], &contrast["is_paired"]), (&json!(false), &json!(true)), "{contrast}");
    let all = all_alerts(&rig, "second");
    assert_eq!(of_signal(&all, "places/state"), None);
    let state = of_signal(&all, "scans/state").unwrap_or_else(|| panic!("{all:#?}"));
    assert_eq!(state["verdict"], "chemistry", "{state:#} {contrast}");
    let evidence = state["evidence_for"].to_string();
    assert!(evidence.contains("did the beam make the change seen now"), "{state}");
}
