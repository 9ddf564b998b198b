//! Scans that keep every rule and are odd all the same: each gets a clear answer.

use serde_json::{Value, json};

use crate::feed::Feed;
use crate::rig::{Rig, Setup, phasewatch, until};
use crate::script::{Message, Script, floats};
use crate::table::{self, folder, words};

const BIND: &str = "bind = \"tcp://127.0.0.1:0\"\ngrace_s = 0.2";

fn rig() -> Rig {
    Setup::bare().source("beam", BIND).set("limits", "open_scans = 4").start()
}

fn statuses(scan: &Value) -> Vec<(String, u64)> {
    let counts = scan["status_counts"].as_object().unwrap();
    let counts = counts.iter().map(|(status, count)| (status.clone(), count.as_u64().unwrap()));
    counts.filter(|(_, count)| *count > 0).collect()
}

fn notes(scan: &Value) -> String {
    scan["notes"].to_string()
}

#[test]
fn an_empty_scan_is_archived_with_an_empty_map() {
    let rig = rig();
    let mut feed = Feed::push(rig.source());
    let mut script = Script::new("empty");
    feed.send_all(&[script.start(), script.end()]);
    let scan = rig.archived("empty");
    assert_eq!((&scan["outcome"]["status"], &scan["measured_values"]), (&json!("complete"), &json!(0)));
    assert_eq!(statuses(&scan), [("unmeasured".to_owned(), 24)]);
    let map = table::phase_map(&folder(&scan));
    assert!(words(&map, "status").iter().all(|status| status == "unmeasured"));
    assert_eq!(map.schema().metadata()["phasewatch.complete"], "false");
}

#[test]
fn one_pixel_one_line_one_column_and_one_energy_are_scans_too() {
    let rig = rig();
    let mut feed = Feed::push(rig.source());
    for (scan_id, ny, nx) in [("pixel", 1, 1), ("line", 1, 9), ("column", 7, 1)] {
        feed.send_all(&Script::new(scan_id).grid(ny, nx).whole());
        let scan = rig.archived(scan_id);
        assert_eq!(scan["measured_values"], json!(12 * ny * nx), "{scan}");
        assert_eq!(table::phase_map(&folder(&scan)).num_rows(), ny * nx);
    }
    // The first column is empty; a phase is in each other pixel of the line.
    let line = words(&table::phase_map(&folder(&rig.archived("line"))), "status");
    assert_eq!(line[0], "background", "{line:?}");
    assert!(line[1..].iter().all(|status| status != "unmeasured" && status != "background"), "{line:?}");
    feed.send_all(&Script::new("energy").energies(&[516.5]).whole());
    let scan = rig.archived("energy");
    assert_eq!(scan["outcome"]["status"], "complete");
    assert!(
        !statuses(&scan).iter().any(|(status, _)| status == "classified"),
        "one energy tells nothing: {scan}"
    );
}

#[test]
fn nan_is_not_measured_and_never_replaces_a_value() {
    let rig = rig();
    let mut feed = Feed::push(rig.source());
    let mut script = Script::new("all-nan");
    let blank = |message: Message| message.part(1, floats(&[f32::NAN; 6]));
    feed.send(&script.start());
    feed.send_all(&script.lines(0..12).into_iter().map(blank).collect::<Vec<_>>());
    feed.send(&script.end());
    let scan = rig.archived("all-nan");
    assert_eq!((&scan["measured_values"], &scan["gaps"]), (&json!(0), &json!([])));
    assert_eq!(statuses(&scan), [("unmeasured".to_owned(), 24)]);
    let mut script = Script::new("some-nan");
    feed.send(&script.start());
    feed.send_all(&script.lines(0..12));
    // A later message has nothing at the same place.
    feed.send(&blank(script.line(3, 2)));
    feed.send(&script.end());
    let mut plain = Script::new("plain");
    feed.send_all(&plain.whole());
    let [some, plain] = ["some-nan", "plain"].map(|scan_id| folder(&rig.archived(scan_id)));
    assert_eq!(table::stack_bytes(&some), table::stack_bytes(&plain));
}

#[test]
fn a_higher_seq_wins_whatever_the_order() {
    let rig = rig();
    let mut feed = Feed::push(rig.source());
    let mut stacks = Vec::new();
    for (scan_id, swapped) in [("in-order", false), ("swapped", true)] {
        let mut script = Script::new(scan_id);
        let mut messages = vec![script.start()];
        messages.extend(script.lines(0..12));
        let first = script.line(4, 1).part(1, floats(&[111.0; 6]));
        let second = script.line(4, 1).part(1, floats(&[222.0; 6]));
        messages.extend(if swapped { [second, first] } else { [first, second] });
        messages.push(script.end());
        feed.send_all(&messages);
        stacks.push(table::stack_bytes(&folder(&rig.archived(scan_id))));
    }
    assert_eq!(stacks[0], stacks[1]);
}

#[test]
fn energies_beyond_the_references_are_named_and_nothing_is_claimed() {
    let rig = rig();
    let mut feed = Feed::push(rig.source());
    let outside: Vec<f64> = (0..12).map(|index| 700.0 + f64::from(index)).collect();
    feed.send_all(&Script::new("outside").energies(&outside).whole());
    let scan = rig.archived("outside");
    assert!(notes(&scan).contains("12 of 12 energies are not used"), "{scan}");
    assert!(!statuses(&scan).iter().any(|(status, _)| status == "classified"), "{scan}");
    rig.log.wait("the warning", |line| {
        line["level"] == "WARN"
            && line["message"].as_str().is_some_and(|text| text.contains("700.00 to 711.00 eV"))
    });
}

#[test]
fn two_scans_from_one_sender_may_be_interleaved() {
    let rig = Setup::new().start();
    let mut feed = Feed::push(rig.source());
    let [one, two] = ["one", "two"].map(|scan_id| Script::new(scan_id).whole());
    for (one, two) in one.iter().zip(&two) {
        feed.send_all([one, two]);
    }
    let [one, two] = ["one", "two"].map(|scan_id| rig.archived(scan_id));
    for scan in [&one, &two] {
        assert_eq!((&scan["outcome"]["status"], &scan["gaps"]), (&json!("complete"), &json!([])));
    }
    assert_eq!(table::stack_bytes(&folder(&one)), table::stack_bytes(&folder(&two)));
}

#[test]
fn a_plan_above_the_limits_is_shown_with_the_limit_and_left_alone() {
    let above = [
        ("pixels", Script::new("pixels").grid(16_384, 16_384), "limits.pixels = 4194304"),
        ("bytes", Script::new("bytes").grid(2000, 2000).energies(&vec![515.0; 4096]), "limits.stack_bytes"),
        ("third", Script::new("third"), "limits.open_scans = 2"),
    ];
    let mut setup = Setup::new().set("limits", "open_scans = 2");
    for (name, ..) in &above {
        setup = setup.source(name, BIND);
    }
    let mut rig = setup.start();
    let mut feed = Feed::push(&rig.sources["beam"]);
    let mut open = ["open-1", "open-2"].map(Script::new);
    feed.send_all(&open.each_mut().map(Script::start));
    rig.received(2);
    for (name, mut script, limit) in above {
        let mut feed = Feed::push(&rig.sources[name]);
        feed.send(&script.start());
        let scan = rig.wait_scan(name, "shown", |_| true);
        assert!(notes(&scan).contains(limit), "{scan}");
        rig.log.wait("the refusal", |line| {
            line["reason"] == "limit" && line["message"].as_str().is_some_and(|text| text.contains(limit))
        });
        feed.send(&script.run(0, 0, 1));
        until("its samples refused", || {
            let refused = rig.metric("phasewatch_messages_refused_total", &[name, "reason=\"not_mapped\""]);
            (refused == 1.0).then_some(())
        });
    }
    assert!(rig.is_alive());
}

#[test]
fn what_is_no_stack_is_listed_and_left_alone() {
    let rig = rig();
    let mut feed = Feed::push(rig.source());
    for kind in ["image", "line", "focus", "osa", "other"] {
        let mut script = Script::new(kind);
        feed.send(&script.start().with("scan_kind", json!(kind)));
        feed.send_all(&script.lines(0..1));
        feed.send(&script.end());
        let scan = rig.wait_scan(kind, "ended", |scan| scan["state"] == "ended");
        assert_eq!(scan["scan_kind"], kind);
        assert!(notes(&scan).contains("only stacks are mapped"), "{scan}");
        assert_eq!(scan["archive_path"], Value::Null);
    }
    assert_eq!(rig.metric("phasewatch_messages_refused_total", &["reason=\"not_mapped\""]), 20.0);
}

#[test]
fn an_area_detector_gives_the_map_of_its_sums() {
    let rig = rig();
    let mut feed = Feed::push(rig.source());
    let mut point = Script::new("point");
    feed.send_all(&point.whole());
    let detector = json!({ "kind": "area", "frame_shape": [1, 2], "dark": 2.5, "counts_per_photon": 1.0 });
    let mut area = Script::new("area");
    let mut messages = area.whole();
    messages[0] = messages[0].clone().with("detector", detector);
    let split = |message: &Message| {
        let halves = message.parts[1].chunks(4).flat_map(|value| {
            let value = f32::from_le_bytes(value.try_into().unwrap());
            [value - 100.0, 100.0]
        });
        message.clone().part(1, floats(&halves.collect::<Vec<_>>()))
    };
    let lines = 1..messages.len() - 1;
    for message in &mut messages[lines] {
        *message = split(message);
    }
    // One value per pixel is not what the plan says.
    feed.send(&messages[0]);
    feed.send(&Script { seq: 1, ..Script::new("area") }.line(0, 0));
    feed.send_all(&messages[1..]);
    let [point, area] = ["point", "area"].map(|scan_id| folder(&rig.archived(scan_id)));
    assert_eq!(table::stack_bytes(&point), table::stack_bytes(&area));
    assert_eq!(rig.metric("phasewatch_messages_refused_total", &["reason=\"size\""]), 1.0);
}

#[test]
fn a_field_without_an_empty_part_is_not_mapped_and_whoever_looks_is_told_why() {
    let rig = rig();
    let to =
        ["simulate", "--connect", rig.source(), "--speed", "0", "--scenario", "film", "--scan-id", "film"];
    let sent = phasewatch(&to);
    assert!(sent.status.success(), "{}", String::from_utf8_lossy(&sent.stderr));
    let scan = rig.archived("film");
    let why = "no empty region";
    assert!(notes(&scan).contains(why), "{scan}");
    let folder = folder(&scan);
    let manifest = table::manifest(&folder);
    assert!(manifest["map"]["no_i0"].as_str().unwrap().contains(why), "{}", manifest["map"]);
    assert!(manifest["map"]["fractions"].as_object().unwrap().values().all(|share| share == 0.0));
    let root = rig.dir().join("archive");
    let shown = phasewatch(&["archive", "show", "film", "--root", root.to_str().unwrap()]);
    let shown = String::from_utf8(shown.stdout).unwrap();
    assert!(shown.lines().any(|line| line.starts_with("not mapped") && line.contains(why)), "{shown}");
    // One with an I0 says nothing of the kind.
    Feed::push(rig.source()).send_all(&Script::new("clear").whole());
    let clear = table::folder(&rig.archived("clear"));
    assert!(table::manifest(&clear)["map"].get("no_i0").is_none());
}
