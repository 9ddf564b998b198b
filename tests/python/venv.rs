//! Virtual environments that tests make themselves below the target directory, once.

use std::path::{Path, PathBuf};
use std::process::Command;

/// What the tests with Python read with.
#[allow(dead_code, reason = "not every test program needs it")]
pub const PACKAGES: [&str; 14] = [
    "bitshuffle",
    "cbor2",
    "duckdb",
    "h5py",
    "jsonschema",
    "numpy",
    "onnx",
    "onnxruntime",
    "openapi-spec-validator",
    "pillow",
    "polars",
    "pyarrow",
    "pyzmq",
    "scipy",
];
/// Without what they depend on: a window system and its widgets, which reading a file does not take.
#[allow(dead_code, reason = "not every test program needs it")]
pub const ALONE: [&str; 1] = ["mantis-xray"];

/// The interpreter of the environment `name`, with `packages`, and those `alone` without what they depend on; made where it is not
/// there.
pub fn environment(name: &str, packages: &[&str], alone: &[&str]) -> Result<PathBuf, String> {
    let root = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let python = root.join("bin/python");
    let (marker, wanted) = (root.join("packages.txt"), [packages, alone].concat().join("\n"));
    if std::fs::read_to_string(&marker).is_ok_and(|found| found == wanted) {
        return Ok(python);
    }
    let run = |command: &mut Command| match command.output() {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => Err(format!(
            "{command:?}: {}\n{}{}",
            output.status,
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        )),
        Err(error) => Err(format!("{command:?}: {error}")),
    };
    run(Command::new("python3").args(["-m", "venv"]).arg(&root))?;
    let pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--prefer-binary"];
    run(Command::new(&python).args(pip).args(packages))?;
    if !alone.is_empty() {
        run(Command::new(&python).args(pip).arg("--no-deps").args(alone))?;
    }
    std::fs::write(&marker, wanted).map_err(|error| error.to_string())?;
    Ok(python)
}

/// The interpreter that was made, or not; `None` where tests with Python are to be skipped.
pub fn interpreter(
    made: &'static std::sync::LazyLock<Result<PathBuf, String>>,
    packages: &[&str],
) -> Option<&'static Path> {
    if std::env::var_os("PHASEWATCH_SKIP_PYTHON").is_some_and(|value| value == "1") {
        eprintln!("SKIPPED: PHASEWATCH_SKIP_PYTHON=1");
        return None;
    }
    match &**made {
        Ok(python) => Some(python),
        Err(error) => panic!(
            "no Python environment with {packages:?} could be made (python3 with venv and the network are needed; \
             PHASEWATCH_SKIP_PYTHON=1 skips these tests): {error}"
        ),
    }
}
