//! Tests of whole directories of references.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use super::*;

/// A directory with an edge at 710 eV and two different white lines.
fn two_phases() -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (name, peak_ev) in [("reduced", 711.0), ("oxidized", 712.5)] {
        write(dir.path(), name, &synthetic(peak_ev));
    }
    dir
}

fn synthetic(peak_ev: f64) -> String {
    let mut text = "energy_ev,od\n".to_owned();
    for step in 0..=160 {
        let energy = 700.0 + 0.2 * f64::from(step);
        let edge = 0.3 / (1.0 + (-(energy - peak_ev + 1.0) * 4.0).exp());
        let od = 0.2 + edge + (-(energy - peak_ev).powi(2) / 2.0).exp();
        text.push_str(&format!("{energy:.2},{od:.6}\n"));
    }
    text
}

fn write(dir: &Path, name: &str, text: &str) {
    fs::write(dir.join(format!("{name}.csv")), text).unwrap();
}

fn message(dir: &Path) -> String {
    ReferenceSet::load(dir).unwrap_err().to_string()
}

/// What the shell prints for the rule in the documentation.
fn digest_by_shell(dir: &Path, glob: &str) -> String {
    let script = format!("LC_ALL=C sha256sum {glob} | sha256sum");
    let output =
        Command::new("sh").arg("-c").arg(script).env("LC_ALL", "C").current_dir(dir).output().unwrap();
    assert!(output.status.success());
    String::from_utf8(output.stdout).unwrap().split_whitespace().next().unwrap().to_owned()
}

#[test]
fn a_plain_directory_loads_by_name_with_windows_at_its_edge() {
    let dir = two_phases();
    let set = ReferenceSet::load(dir.path()).unwrap();
    let ids: Vec<_> = set.references.iter().map(|r| r.label.id.as_str()).collect();
    assert_eq!(ids, ["oxidized", "reduced"]);
    assert_ne!(set.references[0].label.colour, set.references[1].label.colour);
    assert!(set.pre_edge.from_ev == 700.0 && set.pre_edge.to_ev < 708.5, "{:?}", set.pre_edge);
    assert!(set.white_line.from_ev > 709.0 && set.white_line.to_ev < 714.5, "{:?}", set.white_line);
    assert!(set.white_line.contains(711.75));
}

#[test]
fn the_digest_is_what_sha256sum_prints() {
    let dir = two_phases();
    // In byte order capitals come first, and - before a digit; a locale would sort otherwise.
    for (name, peak) in [("Zeta", 711.4), ("a-1", 711.7), ("a1", 712.0), ("1-", 712.2)] {
        write(dir.path(), name, &synthetic(peak));
    }
    fs::write(dir.path().join(".hidden.csv"), "not a reference").unwrap();
    fs::write(dir.path().join("references.toml"), "title = \"x\"\n").unwrap();
    assert_eq!(ReferenceSet::load(dir.path()).unwrap().sha256, digest_by_shell(dir.path(), "*.csv"));
}

#[test]
fn the_description_orders_titles_colours_and_windows() {
    let dir = two_phases();
    let text = "[edge]\npre_edge = [701, 705]\nwhite_line = [710, 713]\n\
                [phases.reduced]\ntitle = \"Fe2+\"\ncolour = \"#0072b2\"\norder = 1\n";
    fs::write(dir.path().join("references.toml"), text).unwrap();
    let set = ReferenceSet::load(dir.path()).unwrap();
    assert_eq!(set.references[0].label.title, "Fe2+");
    assert_eq!(set.references[0].label.colour, [0x00, 0x72, 0xb2]);
    assert_ne!(set.references[1].label.colour, [0x00, 0x72, 0xb2], "a default that is taken");
    assert_eq!(set.pre_edge, Window { from_ev: 701.0, to_ev: 705.0 });
}

#[test]
fn wrong_directories_are_refused_with_the_cause() {
    let dir = tempfile::tempdir().unwrap();
    assert!(message(&dir.path().join("absent")).contains("cannot read"));
    assert!(message(dir.path()).contains("0 references"));
    write(dir.path(), "a", &synthetic(711.0));
    assert!(message(dir.path()).contains("1 references"));
    write(dir.path(), "b", &synthetic(711.0));
    assert!(message(dir.path()).contains("\"a\" and \"b\" are the same spectrum"));
    write(dir.path(), "b", "energy_ev,od\n700,1\n720,1\n");
    assert!(message(dir.path()).contains("\"b\" is constant"));
    write(dir.path(), "b", "energy_ev,od\n500,1\n520,2\n");
    assert!(message(dir.path()).contains("share no range"));
    write(dir.path(), "b", "energy_ev,od\n700,2\n730,1\n");
    fs::write(dir.path().join("references.toml"), "\n[phases.aa]\n").unwrap();
    assert!(message(dir.path()).contains("references.toml line 2: phase \"aa\" has no file"));
    fs::write(dir.path().join("references.toml"), "[edge]\npre_edge=[1,2]\nwhite_line=[711,712]\n").unwrap();
    assert!(message(dir.path()).contains("edge.pre_edge [1, 2] eV has no energy"));
    write(dir.path(), "x=3", &synthetic(712.0));
    assert!(message(dir.path()).contains("x=3.csv: a phase is named by"));
}

#[test]
fn more_than_64_references_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    (0..65).for_each(|i| write(dir.path(), &format!("p{i}"), "energy_ev,od\n1,1\n2,2\n"));
    assert!(message(dir.path()).contains("65 references; a set has at most 64"));
}

#[test]
fn falling_references_have_no_edge() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "a", "energy_ev,od\n700,3\n710,2\n720,1\n");
    write(dir.path(), "b", "energy_ev,od\n700,3\n710,1.5\n720,1\n");
    assert!(message(dir.path()).contains("cannot find the edge"));
}

/// A directory with the two real references, or `None` where the data are not there.
fn real_references() -> Option<TempDir> {
    let source = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/data/als-fe-l-71214078"));
    if !source.is_dir() {
        eprintln!("SKIPPED: {} is not there", source.display());
        return None;
    }
    let dir = tempfile::tempdir().unwrap();
    for name in ["oxidized.r", "reduced.r", "i0.xsp", "71214078.hdr"] {
        fs::copy(source.join(name), dir.path().join(name)).unwrap();
    }
    Some(dir)
}

#[test]
fn real_iron_references_get_sensible_windows() {
    let Some(dir) = real_references() else { return };
    let set = ReferenceSet::load(dir.path()).unwrap();
    assert_eq!(set.sha256, digest_by_shell(dir.path(), "*.r"));
    assert_eq!(set.references[0].energies_ev.len(), 123);
    let near = |a: f64, b: f64| (a - b).abs() < 0.3;
    assert!(set.pre_edge.to_ev > 702.0 && set.pre_edge.to_ev < 704.0, "{:?}", set.pre_edge);
    assert!(near(set.white_line.from_ev, 707.5), "{:?}", set.white_line);
    assert!(near(set.white_line.to_ev, 710.5), "{:?}", set.white_line);
    let r = set.references[0].correlation_with(&set.references[1]).unwrap();
    assert!((r - 0.829).abs() < 0.0005, "Pearson coefficient {r}");
}

#[test]
fn conversion_keeps_every_number_and_overwrites_nothing() {
    let Some(dir) = real_references() else { return };
    let set = ReferenceSet::load(dir.path()).unwrap();
    let out = dir.path().join("csv");
    assert_eq!(set.write_csv(&out, "converted").unwrap().len(), 2);
    let again = ReferenceSet::load(&out).unwrap();
    assert_eq!(again.references, set.references);
    assert_eq!(again.white_line, set.white_line);
    assert!(set.write_csv(&out, "converted").unwrap_err().to_string().contains("cannot write"));
}
