//! The unit of systemd, as systemd itself judges it. Skipped, loudly, where its tool is not there.

use std::path::Path;
use std::process::Command;

use crate::rig::{PHASEWATCH, phasewatch, references};

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

/// The value of a setting of the unit, which is there once.
fn setting<'a>(unit: &'a str, name: &str) -> &'a str {
    let mut values = unit.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix('='));
    let value = values.next().unwrap_or_else(|| panic!("{name} is not set"));
    assert_eq!(values.next(), None, "{name} is set twice");
    value
}

fn seconds(text: &str) -> u64 {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = match &text[digits.len()..] {
        "" | "s" => 1,
        "min" => 60,
        "h" => 3600,
        other => panic!("{other:?} is no unit"),
    };
    digits.parse::<u64>().unwrap() * unit
}

#[test]
fn what_is_late_at_boot_is_tried_for_an_hour_and_there_is_an_end_to_it() {
    let unit = std::fs::read_to_string(UNIT).unwrap();
    assert_eq!(setting(&unit, "Restart"), "on-failure");
    let between_s = seconds(setting(&unit, "RestartSec"));
    let starts: u64 = setting(&unit, "StartLimitBurst").parse().unwrap();
    assert!(between_s * starts >= 3600, "{starts} starts, {between_s} s apart");
    // One that ends at once, or that its watchdog ends.
    let each_s = between_s + seconds(setting(&unit, "WatchdogSec"));
    assert!(each_s * starts <= seconds(setting(&unit, "StartLimitIntervalSec")), "this limit is never met");

    // What the daemon ends with where the disk of its references is not mounted is not among what is not tried again.
    let dir = tempfile::tempdir().unwrap();
    let mount = dir.path().join("references");
    let config = dir.path().join("phasewatch.toml");
    let text = format!(
        "references.dir = {mount:?}\ndaemon.state_dir = {:?}\narchive.root = {:?}\n\
         source = [{{ kind = \"stxm-stream\", bind = \"tcp://127.0.0.1:0\" }}]\n",
        dir.path().join("state"),
        dir.path().join("archive"),
    );
    std::fs::write(&config, text).unwrap();
    let config = config.to_str().unwrap();
    let check = || phasewatch(&["config", "check", config]).status.code();
    // Before its disk there may be no folder, or an empty one: the check before the start says so, and systemd tries that again whatever its code is.
    assert_eq!(check(), Some(64));
    std::fs::create_dir(&mount).unwrap();
    assert_eq!(check(), Some(65));
    let code = phasewatch(&["run", "--config", config]).status.code().unwrap();
    let given_up: Vec<&str> = setting(&unit, "RestartPreventExitStatus").split(' ').collect();
    assert!(!given_up.contains(&code.to_string().as_str()), "{code} is not tried again");
    assert!(given_up.contains(&"64"), "{given_up:?}");
    // Once the disk is there, all is well.
    std::fs::remove_dir(&mount).unwrap();
    std::os::unix::fs::symlink(references(), &mount).unwrap();
    assert_eq!(check(), Some(0));
}
