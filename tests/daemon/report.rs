//! The report of a series that the daemon archived, and of a real stack, through the real program.

use std::path::Path;
use std::process::Command;

use arrow::array::{Array, AsArray};
use arrow::datatypes::Float64Type;

use serde_json::json;

use crate::feed::Feed;
use crate::http;
use crate::rig::{PHASEWATCH, Setup, phasewatch, until};
use crate::script::Script;
use crate::table;

fn ends(code: i32, args: &[&str]) -> String {
    let output = phasewatch(args);
    let said = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap()).concat();
    assert_eq!(output.status.code(), Some(code), "phasewatch {args:?}:\n{said}");
    said
}

/// Asserts that a page needs nothing but itself.
fn is_by_itself(html: &str) {
    for unwanted in ["<script", "<iframe", "http://", "https://", "src=\"//", "href=\"//", "@import", "url("]
    {
        assert!(!html.contains(unwanted), "{unwanted}");
    }
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
    is_by_itself(&html);
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

/// Two kinds of iron, in separate particles for the most part; references without a state variable.
#[test]
fn the_real_iron_stack_gets_a_report_that_claims_no_more_than_it_may() {
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data/als-fe-l-71214078");
    if !data.exists() {
        eprintln!("SKIPPED: {} is not there", data.display());
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let text = |path: &Path| path.to_str().unwrap().to_owned();
    let (stack, references) = (text(&data.join("71214078.hdr")), text(&data));
    let (scan, out) = (dir.path().join("scan"), dir.path().join("report.html"));
    ends(0, &["classify", &stack, "--references", &references, "--out", &text(&scan)]);
    ends(0, &["report", "--archive", &text(&scan), "--references", &references, "--out", &text(&out)]);

    let html = std::fs::read_to_string(&out).unwrap();
    is_by_itself(&html);
    let (before, not_claimed) = html.split_once("Not claimed, and why").unwrap();
    let (_, findings) = before.split_once("Findings</h3>").unwrap();
    let (not_claimed, _) = not_claimed.split_once("<h2>").unwrap();
    assert!(not_claimed.contains("no state variable"), "{not_claimed}");
    for unwanted in ["as likely", "mean ", "core", "front"] {
        assert!(!findings.contains(unwanted), "{unwanted:?} is claimed: {findings}");
    }
    for wanted in ["more than half is oxidized in ", "reduced in "] {
        assert!(findings.contains(wanted), "{wanted:?} is not claimed: {findings}");
    }

    let tables = dir.path().join("report-data");
    for name in ["scans", "maps", "particles", "boundaries", "kinetics_field", "dose", "references"] {
        let numbers = std::fs::read_to_string(tables.join(format!("{name}.csv"))).unwrap();
        let rows = table::read(&tables.join(format!("{name}.parquet"))).num_rows();
        assert!(rows > 0 && numbers.lines().count() == rows + 1, "{name}: {rows} rows");
    }
    // There is nothing of these without a state, and they say so by having no rows.
    for name in ["histogram_state", "profiles", "gradients", "speeds", "pace"] {
        let numbers = std::fs::read_to_string(tables.join(format!("{name}.csv"))).unwrap();
        assert_eq!(numbers.lines().count(), 1, "{name}: {numbers}");
        assert!(tables.join(format!("{name}.parquet")).exists(), "{name}");
    }
    let particles = table::read(&tables.join("particles.parquet"));
    let column = |name: &str| particles.column_by_name(name).unwrap();
    assert_eq!(column("state").null_count(), particles.num_rows(), "x of references without a state");
    for kind in ["oxidized", "reduced"] {
        let shares = column(&format!("share_{kind}")).as_primitive::<Float64Type>();
        let errors = column(&format!("share_{kind}_error")).as_primitive::<Float64Type>();
        // A particle whose matter is like no reference has no share.
        let most = shares.iter().zip(errors).filter_map(|(share, error)| Some(share? - error?));
        assert!(most.filter(|least| *least > 0.5).count() > 0, "no particle is {kind} for the most part");
    }
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
    let list = found["particles"].as_array().unwrap();
    assert!(!list.is_empty() && found["text"].as_str().unwrap().contains("particle"), "{found}");
    for particle in list {
        // What the outline encloses are its pixels.
        let twice = |polygon: &serde_json::Value| {
            let corners: Vec<[i64; 2]> = serde_json::from_value(polygon.clone()).unwrap();
            let next = corners.iter().cycle().skip(1);
            corners.iter().zip(next).map(|([x, y], [u, v])| x * v - u * y).sum::<i64>()
        };
        let area: i64 = particle["outline"].as_array().unwrap().iter().map(twice).sum();
        let pixels: i64 =
            particle["status_counts"].as_array().unwrap().iter().filter_map(|n| n.as_i64()).sum();
        assert_eq!(area, 2 * pixels, "{particle}");
    }
    // The archive says the same, and the file itself has no outlines.
    let base = until("the archive", || {
        let list: serde_json::Value =
            serde_json::from_slice(&http::get(rig.http, "/api/v1/archive").body).ok()?;
        list["scans"][0]["base"].as_str().map(str::to_owned)
    });
    let of = |path: &str| -> serde_json::Value {
        serde_json::from_slice(&http::get(rig.http, &format!("{base}/{path}")).body).unwrap()
    };
    // Numbers are written by another hand, in text of the same digits.
    assert_eq!(of("particles"), found);
    assert!(of("files/findings.json")["particles"][0].get("outline").is_none());
    assert_eq!(of("view.json")["findings"]["available"], true);
}
