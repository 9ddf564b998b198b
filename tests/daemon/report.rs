//! The report of a series that the daemon archived, and of a real stack, through the real program.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use arrow::array::{Array, AsArray};
use arrow::datatypes::Float64Type;

use serde_json::{Value, json};

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

/// Rows of a table of the report, each by the names of its columns. No cell of these tables has a comma in it.
fn rows(path: &Path) -> Vec<BTreeMap<String, String>> {
    let text = std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let mut lines = text.lines().map(|line| line.split(',').map(str::to_owned).collect::<Vec<String>>());
    let names = lines.next().unwrap();
    lines.map(|cells| names.iter().cloned().zip(cells).collect()).collect()
}

fn number(row: &BTreeMap<String, String>, name: &str) -> f64 {
    row[name].parse().unwrap_or_else(|_| panic!("{name} of {row:?}"))
}

/// The track of the particle of a scan whose centre lies nearest to a place.
fn track_at(particles: &[BTreeMap<String, String>], scan: &str, centre_px: &Value) -> Option<String> {
    let [y, x] = [0, 1].map(|axis| centre_px[axis].as_f64().unwrap());
    let distance = |row: &BTreeMap<String, String>| {
        (number(row, "centre_y_px") - y).hypot(number(row, "centre_x_px") - x)
    };
    let own = particles.iter().filter(|row| row["scan"] == scan && distance(row) < 4.0);
    own.min_by(|a, b| distance(a).total_cmp(&distance(b))).map(|row| row["track"].clone())
}

/// A front that moves, a particle that lags, and a nominal state of charge that is off; and a series of which nothing of that is true.
#[test]
fn fronts_of_a_series_are_said_as_they_are_and_nothing_is_of_one_that_stays() {
    let rig = Setup::new().start();
    let dir = tempfile::tempdir().unwrap();
    let text = |path: &Path| path.to_str().unwrap().to_owned();
    let still = dir.path().join("still.toml");
    let library = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/scenarios/fronts.toml");
    let moving = std::fs::read_to_string(library).unwrap();
    // One phase at all times: x = 1 is a state of charge of (3 - 1)/(3 - 0.5).
    let quiet = moving
        .replace("core = \"na3.0\"", "core = \"na1.0\"")
        .replace("state_of_charge = [0.35, 0.6, 0.9]", "state_of_charge = [0.8, 0.8, 0.8]")
        .replace("simulated fronts", "simulated still");
    std::fs::write(&still, quiet).unwrap();
    let report = |scenario: &str, id: &str, sample: &str| {
        let simulated = Command::new(PHASEWATCH)
            .args(["simulate", "--connect", rig.source(), "--speed", "0", "--scenario", scenario])
            .args(["--scan-id", id, "--truth", &text(&dir.path().join(format!("{id}.json")))])
            .output()
            .unwrap();
        assert!(simulated.status.success(), "{}", String::from_utf8_lossy(&simulated.stderr));
        for number in 1..=3 {
            rig.archived(&format!("{id}-{number}"));
        }
        let out = dir.path().join(format!("{id}.html"));
        let archive = text(&rig.dir().join("archive"));
        ends(0, &["report", "--archive", &archive, "--sample", sample, "--out", &text(&out)]);
        let html = std::fs::read_to_string(&out).unwrap();
        let (before, _) = html.split_once("Not claimed, and why").unwrap();
        before.split_once("Findings</h3>").unwrap().1.to_owned()
    };
    let findings = report("fronts", "moving", "NVPF, simulated fronts");
    let table = |name: &str| rows(&dir.path().join("moving-data").join(name));
    let truth: Vec<Value> = (1..=3)
        .map(|number| {
            let text = std::fs::read(dir.path().join(format!("moving-{number}.json"))).unwrap();
            serde_json::from_slice::<Value>(&text).unwrap()["series"].clone()
        })
        .collect();
    let field = table("kinetics_field.csv");
    assert_eq!(field.iter().map(|row| number(row, "hours")).collect::<Vec<_>>(), [0.0, 1.0, 2.0]);
    for (row, truth) in field.iter().zip(&truth) {
        assert_eq!(Some(number(row, "state_of_charge")), truth["state_of_charge"].as_f64());
        let x = truth["mean_state"].as_f64().unwrap();
        assert!((number(row, "state") - x).abs() < 0.08, "{row:?}, {x}");
        assert!(number(row, "state_low") <= x && x <= number(row, "state_high"), "{row:?}, {x}");
    }
    // More sodium is left than the last state of charge says.
    let [x, nominal] = ["state", "nominal"].map(|name| number(&field[2], name));
    let of_last = findings.split_once("<h4>moving-3</h4>").unwrap().1;
    assert!(x > nominal + 0.2 && of_last.contains("na_x measured"), "{findings}");

    let speeds = table("speeds.csv");
    let holds = |row: &&BTreeMap<String, String>| {
        number(row, "px_per_h_low") <= 1.0 && 1.0 <= number(row, "px_per_h_high")
    };
    let held = speeds.iter().filter(holds).count();
    assert!(speeds.len() >= 8 && held * 10 >= speeds.len() * 8, "{held} of {speeds:?}");
    assert!(findings.contains("The front in particle") && findings.contains("toward the core"), "{findings}");

    let particles = table("particles.csv");
    let late =
        truth[2]["particles"].as_array().unwrap().iter().find(|own| own["is_lagging"] == true).unwrap();
    let track = track_at(&particles, "moving-3", &late["centre_px"]).unwrap();
    let paces = table("pace.csv");
    let own = paces.iter().find(|row| row["scan"] == "moving-3" && row["track"] == track).unwrap();
    assert_eq!(own["place"], "behind the others", "{own:?}");
    assert!(of_last.contains("behind the others"), "{findings}");

    let findings = report(&text(&still), "still", "NVPF, simulated still");
    for unwanted in [
        "core",
        "front",
        "behind",
        "ahead",
        "above the others",
        "below the others",
        "measured",
        "over the series",
    ] {
        assert!(!findings.contains(unwanted), "{unwanted:?} is claimed of what stays as it is: {findings}");
    }
    let field = rows(&dir.path().join("still-data/kinetics_field.csv"));
    assert!(
        field.len() == 3 && field.iter().all(|row| (number(row, "state") - 1.0).abs() < 0.05),
        "{field:?}"
    );
    assert!(!rows(&dir.path().join("still-data/gradients.csv")).is_empty(), "they were looked for");
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
