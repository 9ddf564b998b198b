//! The report of a series that the daemon archived, through the real program.

use std::process::Command;

use serde_json::json;

use crate::feed::Feed;
use crate::http;
use crate::rig::{PHASEWATCH, Setup, phasewatch, until};
use crate::script::Script;

fn ends(code: i32, args: &[&str]) -> String {
    let output = phasewatch(args);
    let said = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap()).concat();
    assert_eq!(output.status.code(), Some(code), "phasewatch {args:?}:\n{said}");
    said
}

#[test]
fn a_simulated_series_gets_its_page_and_its_numbers() {
    let rig = Setup::new().start();
    let simulated = Command::new(PHASEWATCH)
        .args(["simulate", "--connect", rig.source(), "--speed", "0", "--seed", "5"])
        .args(["--scan-id", "series", "--repeat", "2"])
        .output()
        .unwrap();
    assert!(simulated.status.success(), "{}", String::from_utf8_lossy(&simulated.stderr));
    for scan_id in ["series-1", "series-2"] {
        until(scan_id, || rig.scan(scan_id).filter(|scan| scan["state"] == "archived"));
    }
    let root = rig.dir().join("archive");
    let (out, root) = (rig.dir().join("story.html"), root.to_str().unwrap().to_owned());
    let page = out.to_str().unwrap();
    ends(0, &["report", "--archive", &root, "--sample", "NVPF, simulated", "--out", page]);
    let html = std::fs::read_to_string(&out).unwrap();
    for wanted in ["series-1", "series-2", "Findings", "Not claimed, and why", "na_x", "simulated", "Method"]
    {
        assert!(html.contains(wanted), "{wanted}");
    }
    for unwanted in ["<script", "src=\"http", "href=\"http", "@import", "url("] {
        assert!(!html.contains(unwanted), "{unwanted}");
    }
    let numbers = std::fs::read_to_string(rig.dir().join("story-data/particles.csv")).unwrap();
    assert!(numbers.starts_with("scan,track,particle,") && numbers.lines().count() > 4, "{numbers}");
    assert!(rig.dir().join("story-data/profiles.parquet").exists());
    // The same specimen twice: nothing moves.
    assert!(!html.contains("The front in particle"), "a speed is claimed of a specimen that stays as it is");
    // One scan alone, and what is not there.
    ends(0, &["report", "--archive", &root, "--scans", "series-1", "--out", page]);
    let said = ends(69, &["report", "--archive", &root, "--sample", "NVPF simulated", "--out", page]);
    assert!(said.contains("did you mean \"NVPF, simulated\"?"), "{said}");
    assert!(ends(69, &["report", "--archive", &root, "--region", "x", "--out", page]).contains("field 1"));
    assert!(ends(69, &["report", "--archive", &root, "--scans", "x", "--out", page]).contains("series-2"));
    ends(69, &["report", "--archive", "/nowhere/at/all", "--out", page]);
}

#[test]
fn particles_of_a_scan_are_served_from_the_board() {
    let rig = Setup::new().start();
    Feed::push(rig.source()).send_all(&Script::new("one").whole());
    rig.archived("one");
    let found = until("particles", || {
        let answer = http::get(rig.http, "/api/v1/scans/one/particles");
        (answer.status == 200).then(|| serde_json::from_slice::<serde_json::Value>(&answer.body).unwrap())
    });
    assert_eq!(found["format"], json!("phasewatch-findings/1"));
    assert!(found["particles"].is_array());
}
