//! The completions, in the shells that they are for. Skipped, loudly, where a shell is not there.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use crate::rig::phasewatch;

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/shells");

/// Writes what `phasewatch completions` says, and returns the commands that it should offer.
fn install(shell: &str, file: &Path) -> BTreeSet<String> {
    let output = phasewatch(&["completions", shell]);
    assert!(output.status.success());
    std::fs::write(file, output.stdout).unwrap();
    let help = String::from_utf8(phasewatch(&["--help"]).stdout).unwrap();
    let commands = help.lines().skip_while(|line| !line.starts_with("Commands:")).skip(1);
    let commands = commands.take_while(|line| !line.is_empty());
    // What an entry goes on with in further lines is farther in.
    let commands = commands.filter(|line| line.starts_with("  ") && !line.starts_with("   "));
    let commands: BTreeSet<String> =
        commands.filter_map(|line| Some(line.split_whitespace().next()?.to_owned())).collect();
    assert!(commands.contains("run") && commands.contains("sniff"), "{help}");
    commands
}

/// What a shell says that is stopped after a minute; `None` where it is not there.
#[allow(clippy::print_stderr, reason = "a test that skips itself says so")]
fn said(shell: &str, args: &[&str]) -> Option<String> {
    if Command::new(shell).arg("--version").output().is_err() {
        eprintln!("SKIPPED: completions for {shell} are not tried: there is no {shell}");
        return None;
    }
    let output =
        Command::new("timeout").args(["60", shell]).args(args).env("HOME", "/nowhere").output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{shell}: {text}{}", String::from_utf8_lossy(&output.stderr));
    Some(text)
}

#[test]
fn zsh_offers_commands_options_and_values() {
    let dir = tempfile::tempdir().unwrap();
    let commands = install("zsh", &dir.path().join("_phasewatch"));
    let script = format!("{FOLDER}/complete.zsh");
    let folder = dir.path().to_str().unwrap();
    let lines = ["phasewatch ", "phasewatch config ", "phasewatch run --", "phasewatch completions "];
    let args: Vec<&str> = ["-f", script.as_str(), folder].into_iter().chain(lines).collect();
    let Some(text) = said("zsh", &args) else { return };
    let offered = |line: &str| -> BTreeSet<String> {
        let of_line = text.lines().find_map(|own| own.strip_prefix(&format!("{line}:")));
        of_line.unwrap_or_else(|| panic!("{text}")).split_whitespace().map(str::to_owned).collect()
    };
    assert_eq!(offered(lines[0]), commands);
    assert_eq!(offered(lines[1]), ["check", "help", "show"].map(str::to_owned).into());
    assert!(offered(lines[2]).contains("--config"), "{text}");
    assert!(offered(lines[3]).contains("fish"), "{text}");
}

#[test]
fn fish_offers_commands_options_and_values() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("phasewatch.fish");
    let commands = install("fish", &file);
    let offered = |line: &str| -> Option<BTreeSet<String>> {
        let script = format!("source {}; complete -C '{line}'", file.display());
        let text = said("fish", &["--no-config", "-c", &script])?;
        // What a word means follows it after a tabulator.
        Some(text.lines().filter_map(|own| Some(own.split('\t').next()?.to_owned())).collect())
    };
    let Some(first) = offered("phasewatch ") else { return };
    assert_eq!(first, commands);
    assert_eq!(offered("phasewatch config ").unwrap(), ["check", "help", "show"].map(str::to_owned).into());
    assert!(offered("phasewatch run --").unwrap().contains("--config"));
    // Values of options; of what has no name fish offers files only.
    assert!(offered("phasewatch alerts test --level ").unwrap().contains("warning"));
}
