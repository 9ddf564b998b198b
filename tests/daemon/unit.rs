//! The unit of systemd, as systemd itself judges it. Skipped, loudly, where its tool is not there.

use std::path::Path;
use std::process::Command;

use crate::rig::PHASEWATCH;

const UNIT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/systemd/phasewatch.service");
/// Tenths of the exposure that it may have.
const MOST: &str = "20";

/// Whether it is content, and what it said.
fn analyze(args: &[&str], unit: &Path) -> std::io::Result<(bool, String)> {
    let output = Command::new("systemd-analyze").args(args).arg(unit).output()?;
    let text = [output.stdout, output.stderr].concat();
    Ok((output.status.success(), String::from_utf8_lossy(&text).into_owned()))
}

#[test]
fn systemd_finds_nothing_wrong_with_the_unit_and_little_exposed() {
    // The program lies elsewhere here; its pages are not installed.
    let dir = tempfile::tempdir().unwrap();
    let unit = dir.path().join("phasewatch.service");
    let text = std::fs::read_to_string(UNIT).unwrap();
    assert!(text.contains("Type=notify") && text.contains("WatchdogSec="));
    std::fs::write(&unit, text.replace("/usr/bin/phasewatch", PHASEWATCH)).unwrap();
    let (is_good, said) = match analyze(&["verify", "--man=no"], &unit) {
        Ok(judged) => judged,
        Err(error) => {
            eprintln!("SKIPPED: the unit is not judged: systemd-analyze: {error}");
            return;
        }
    };
    let about: Vec<&str> = said.lines().filter(|line| line.contains("phasewatch.service")).collect();
    assert!(is_good && about.is_empty(), "{said}");
    let (is_good, said) =
        analyze(&["security", "--offline=true", "--threshold", MOST, "--no-pager"], &unit).unwrap();
    let last = said.lines().rfind(|line| line.contains("exposure level")).unwrap_or(&said).to_owned();
    println!("{last}");
    assert!(is_good, "{last}");
}
