//! The regression table of the scenarios, through the real binary: worse than what is kept fails.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "these are tests")]

use std::path::Path;
use std::process::{Command, Output};

fn evaluate(scenario: &str, check: &Path) -> Output {
    Command::new(env!("CARGO_BIN_EXE_phasewatch"))
        .args(["evaluate", "--scenario", scenario, "--check"])
        .arg(check)
        .output()
        .expect("the binary runs")
}

#[test]
fn no_scenario_is_worse_than_it_was() {
    let kept = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/scenarios/expected.toml");
    let output = evaluate("all", &kept);
    let (table, messages) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{messages}\n{table}");
    assert!(table.contains("| clean |") && table.contains("| everything |"), "{table}");
}

#[test]
fn a_worse_scenario_exits_with_65_and_says_which_figure() {
    let folder = tempfile::tempdir().unwrap();
    let kept = folder.path().join("kept.toml");
    // Nothing can be better than right everywhere by so much.
    std::fs::write(&kept, "[thin]\naccuracy = 1.5\n").unwrap();
    let output = evaluate("thin", &kept);
    let messages = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(65), "{messages}");
    assert!(messages.contains("thin: accuracy was 1.5000"), "{messages}");
    let output = evaluate("nowhere", &kept);
    let messages = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(64), "{messages}");
    assert!(messages.contains("nowhere") && messages.contains("drift"), "{messages}");
}
