//! `phasewatch dose`: what a plan will deposit, and what would halve it.

use std::path::Path;

use serde_json::{Value, json};

use crate::feed::Feed;
use crate::rig::{Setup, phasewatch};
use crate::script::Script;
use crate::table::{folder, phase_map};

/// Runs it; returns its exit code and what it said on both outputs.
fn run(args: &[&str]) -> (i32, String, String) {
    let output = phasewatch(&[&["dose"], args].concat());
    let [out, err] = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap());
    (output.status.code().unwrap(), out, err)
}

fn json_of(args: &[&str]) -> Value {
    let (code, out, err) = run(&[args, &["--json"]].concat());
    assert_eq!(code, 0, "{args:?}: {err}");
    serde_json::from_str(&out).unwrap()
}

fn refused(code: i32, args: &[&str], why: &str) {
    let (found, out, err) = run(args);
    assert!(found == code && err.contains(why) && out.is_empty(), "{args:?} ended with {found}: {out}{err}");
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| panic!("{value} is no number"))
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

const OPTIONS: [&str; 8] =
    ["--energies", "508,512:521:0.75,530", "--dwell-ms", "2", "--pixel-nm", "50", "--shape", "10,20"];

fn options<'a>(more: &[&'a str]) -> Vec<&'a str> {
    [&OPTIONS, more].concat()
}

#[test]
fn a_plan_of_options_has_the_dose_of_a_calculation_by_hand() {
    let one =
        ["--energies", "530", "--dwell-ms", "2", "--pixel-nm", "50", "--shape", "10,20", "--draws", "0"];
    let more = ["--counts", "3000", "--efficiency", "0.3", "--composition", "Na3V2(PO4)2F3"];
    let report = json_of(&[&one[..], &more].concat());
    // 1e4 photons on (50 nm)²: 0.3 of the 0.95 MGy that docs/dose.md has of 1e4 counts at an efficiency of 0.3.
    assert_eq!(
        (&report["kind"], &report["flux"], &report["unit"]),
        (&json!("absolute"), &json!("counts"), &json!("MGy"))
    );
    let surface = number(&report["scan"]["surface"]);
    assert!((surface / (0.3 * 0.95) - 1.0).abs() < 0.05, "{surface}");
    let energy = &report["energies"][0];
    assert!(
        (number(&energy["photons"]) - 1e4).abs() < 1e-6
            && (number(&energy["detected"]) - 3000.0).abs() < 1e-6
    );
    let od = number(&energy["od"]);
    let mean = surface * (1.0 - (-od).exp()) / od;
    assert!((number(&report["scan"]["mean"]) / mean - 1.0).abs() < 1e-6);
    assert!((number(&report["exposure_s"]) - 10.0 * 20.0 * 2e-3).abs() < 1e-9);
    // A flux that says the same.
    let flux = json_of(
        &[&one[..], &["--flux", "5e6", "--efficiency", "0.3", "--composition", "Na3V2(PO4)2F3"]].concat(),
    );
    assert_eq!(number(&flux["scan"]["surface"]), surface);
    assert_eq!(flux["flux"], "configured");
    // A critical dose that is exceeded; kinetics by hand.
    let critical = json_of(&[&one[..], &more, &["--critical-mgy", "0.1"]].concat());
    let lost = number(&critical["critical"]["lost_in_all"]);
    assert!((lost - (1.0 - (-number(&critical["scan"]["mean"]) / 0.1).exp())).abs() < 1e-9);
    assert!(critical["warnings"].to_string().contains("exceeds the critical dose"));
}

#[test]
fn what_is_not_known_makes_it_relative_and_is_said() {
    let report = json_of(&options(&["--draws", "0", "--critical-mgy", "5"]));
    assert_eq!((&report["kind"], &report["energies"][0]["photons"]), (&json!("relative"), &Value::Null));
    let warnings = report["warnings"].to_string();
    assert!(warnings.contains("flux") && warnings.contains("relative: --critical-mgy"), "{warnings}");
    assert!(report["critical"].is_null());
    let spot = json_of(&options(&["--draws", "0", "--flux", "1e7", "--spot-nm", "25"]));
    assert!(spot["warnings"].to_string().contains("smaller than the step"));
    assert!(report["references"].as_str().unwrap().contains("synthetic NVPF set"));
}

#[test]
fn settings_win_over_the_plan_and_options_over_settings() {
    let dir = tempfile::tempdir().unwrap();
    let plan = dir.path().join("plan.json");
    let header = Script::new("planned").whole()[0].clone().with("flux_ph_per_s", json!(1e6)).header();
    std::fs::write(&plan, header.to_string()).unwrap();
    let config = dir.path().join("config.toml");
    std::fs::write(&config, "[damage]\nflux_ph_per_s = 2e6\ndose = \"surface\"\n").unwrap();
    let of = |more: &[&str]| json_of(&[&["--plan", text(&plan), "--draws", "0"], more].concat());
    let surface = |report: &Value| number(&report["scan"]["surface"]);
    let stream = of(&[]);
    assert_eq!((&stream["flux"], &stream["depth"]), (&json!("stream"), &json!("mean")));
    let configured = of(&["--config", text(&config)]);
    assert_eq!((&configured["flux"], &configured["depth"]), (&json!("configured"), &json!("surface")));
    assert!((surface(&configured) / surface(&stream) - 2.0).abs() < 1e-9);
    let option = of(&["--config", text(&config), "--flux", "3e6"]);
    assert!((surface(&option) / surface(&stream) - 3.0).abs() < 1e-9);
    let other = of(&["--pixel-nm", "100", "--dwell-ms", "4"]);
    let wanted = 4.0 / header["dwell_ms"].as_f64().unwrap() * (50.0_f64 / 100.0).powi(2);
    assert!((surface(&other) / surface(&stream) / wanted - 1.0).abs() < 1e-9);
}

#[test]
fn a_scenario_is_told_from_a_header_by_its_content() {
    let scenario = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/scenarios/sentinels.toml");
    let dir = tempfile::tempdir().unwrap();
    let disguised = dir.path().join("plan.json");
    std::fs::copy(&scenario, &disguised).unwrap();
    let report = json_of(&["--plan", text(&disguised), "--draws", "1"]);
    assert_eq!((&report["sample"], &report["flux"]), (&json!("NVPF, simulated"), &json!("stream")));
    let visits = report["energies"].as_array().unwrap().iter().filter(|one| one["sentinel"] == true).count();
    assert_eq!(visits, 7, "the sentinel lies on one of the twelve energies");
    let rows = report["halving"]["rows"].as_array().unwrap();
    assert_eq!((&rows[0]["name"], number(&rows[0]["share"])), (&json!("the plan"), 1.0));
    assert!(number(&rows[0]["accuracy"]["mean"]) > 0.5);
    assert_eq!(rows.iter().filter(|row| row["recommended"] == true).count(), 1);
    let recommended = rows.iter().find(|row| row["recommended"] == true).unwrap();
    assert!(recommended["reaches_half"] == true && number(&recommended["share"]) <= 0.505);
    for row in &rows[1..] {
        let dose = number(&row["dose"]) / number(&report["scan"]["mean"]);
        assert!((dose - number(&row["share"])).abs() < 1e-9, "{row}");
    }
}

#[test]
fn words_say_what_the_json_says() {
    let asked =
        options(&["--counts", "1000", "--efficiency", "0.3", "--sentinels", "508,517.1", "--draws", "2"]);
    let (code, out, err) = run(&asked);
    assert_eq!(code, 0, "{err}");
    for wanted in [
        "dose, MGy",
        "sentinels, 10 visits",
        "half the dwell",
        "named right",
        "±",
        "recommended: ",
        "2 simulated",
    ] {
        assert!(out.contains(wanted), "{wanted:?} is not in\n{out}");
    }
    let report = json_of(&asked);
    let rows = report["halving"]["rows"].as_array().unwrap();
    let name = rows.iter().find(|row| row["recommended"] == true).unwrap()["name"].as_str().unwrap();
    assert!(
        out.contains(&format!("recommended: {name}\n")) && out.contains(&format!("> {name}")),
        "{name}\n{out}"
    );
    let (again, seed) = (json_of(&asked), json_of(&[&asked[..], &["--seed", "9"]].concat()));
    assert_eq!(again, report);
    assert_ne!(seed["halving"]["rows"], report["halving"]["rows"]);
}

#[test]
fn earlier_doses_of_the_place_are_added_while_the_daemon_runs() {
    let rig = Setup::bare().source("beam", "bind = \"tcp://127.0.0.1:0\"\ngrace_s = 0.3").start();
    let mut messages = Script::new("first").whole();
    messages[0] = messages[0]
        .clone()
        .with("time", json!("2001-05-04T03:00:00Z"))
        .with("flux_ph_per_s", json!(1e7))
        .with("sample", json!("NVPF 7"))
        .with("region", json!("r 1"));
    Feed::push(rig.source()).send_all(&messages);
    let scan = rig.archived("first");
    let left = number(&scan["dose"]["total"]["max"]);
    assert!(left > 0.0 && phase_map(&folder(&scan)).num_rows() > 0);
    let plan = rig.dir().join("plan.json");
    std::fs::write(&plan, messages[0].header().to_string()).unwrap();
    let state = rig.dir().join("state");
    let of = |more: &[&str]| {
        json_of(&[&["--plan", text(&plan), "--state-dir", text(&state), "--draws", "0"], more].concat())
    };
    let report = of(&["--critical-mgy", "20"]);
    let earlier = &report["earlier"];
    assert_eq!(earlier["scans"], json!(["first"]));
    // Of the field, particles or not.
    let most = number(&earlier["dose"]["max"]);
    assert!(most >= left - 1e-6 && most < 2.0 * left, "{most} {left}");
    assert!((number(&report["in_all"]) - most - number(&report["scan"]["mean"])).abs() < 1e-6);
    assert!(number(&report["critical"]["lost_before"]) > 0.0);
    // Another place, another sample, nothing to ask.
    assert_eq!(number(&of(&["--centre-um", "500,500"])["earlier"]["dose"]["max"]), 0.0);
    assert_eq!(of(&["--sample", "another"])["earlier"]["scans"], json!([]));
    let (_, out, _) = run(&["--plan", text(&plan), "--state-dir", text(&state), "--draws", "0"]);
    assert!(out.contains("earlier, most: first") && out.contains("in all"), "{out}");
}

#[test]
fn other_references_serve_as_well() {
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data/als-fe-l-71214078");
    if !data.exists() {
        eprintln!("SKIPPED: {} is not there", data.display());
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    for name in ["oxidized.r", "reduced.r"] {
        std::fs::copy(data.join(name), dir.path().join(name)).unwrap();
    }
    let asked = [
        "--energies",
        "700:705:1,706:716:0.5,718:730:3",
        "--dwell-ms",
        "1",
        "--pixel-nm",
        "40",
        "--counts",
        "500",
        "--efficiency",
        "0.3",
        "--draws",
        "2",
        "--references",
        text(dir.path()),
    ];
    let report = json_of(&asked);
    assert_eq!(report["kind"], "relative", "the references have no formula");
    assert!(report["warnings"].to_string().contains("made of"));
    let report = json_of(&[&asked[..], &["--composition", "Fe2O3"]].concat());
    assert_eq!((&report["kind"], &report["composition"]), (&json!("absolute"), &json!("Fe2O3")));
    let rows = report["halving"]["rows"].as_array().unwrap();
    assert!(number(&rows[0]["accuracy"]["mean"]) > 0.9, "{}", rows[0]);
    assert!(rows.len() > 6 && rows.iter().any(|row| row["recommended"] == true));
}

#[test]
fn what_is_wrong_is_said_with_its_exit_code() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("plan");
    let with = |content: &str| {
        std::fs::write(&file, content).unwrap();
        text(&file)
    };
    refused(64, &[], "--plan <FILE>");
    refused(64, &["--energies", "510"], "--dwell-ms");
    refused(
        64,
        &["--energies", "510:520", "--dwell-ms", "1", "--pixel-nm", "50"],
        "neither an energy nor FROM:TO:STEP",
    );
    refused(64, &["--energies", "0", "--dwell-ms", "1", "--pixel-nm", "50"], "energies");
    refused(64, &options(&["--efficiency", "1.5"]), "--efficiency is 1.5");
    refused(64, &options(&["--flux", "1e7", "--counts", "100"]), "cannot be used with");
    refused(64, &options(&["--composition", "Xx2"]), "--composition: ");
    refused(64, &options(&["--shape", "10"]), "--shape");
    refused(64, &options(&["--state-dir", "/nowhere/at/all"]), "no such directory");
    refused(64, &options(&["--references", "/nowhere/at/all"]), "/nowhere/at/all");
    refused(64, &["--plan", "/nowhere/at/all"], "cannot read /nowhere/at/all");
    refused(65, &["--plan", with("{")], "EOF");
    refused(65, &["--plan", with("{\"energies_ev\": [510], \"dwell_ms\": 1}")], "grid");
    refused(65, &["--plan", with("{\"type\": \"scan_pause\"}")], "a plan is a scan_start");
    refused(65, &["--plan", with("energies, please")], "neither the JSON of a scan_start");
    refused(65, &["--plan", with("[scan]\nenergies = []\n")], "1 energy at least");
    let axis = json!({"start": 0, "step": 1});
    let grid = json!({"shape": [4, 4], "x": axis, "y": axis, "unit": "steps"});
    let plan = json!({"grid": grid, "energies_ev": [510], "dwell_ms": 1}).to_string();
    refused(65, &["--plan", with(&plan)], "no unit of length");
}
