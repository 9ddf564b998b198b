//! Somebody at the screen: a Python script with a browser, that says when something shall happen at the beamline.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::LazyLock;

use serde_json::Value;

use crate::venv;

const PACKAGES: [&str; 2] = ["pillow", "playwright"];

static PYTHON: LazyLock<Result<PathBuf, String>> =
    LazyLock::new(|| venv::environment("browser", &PACKAGES, &[]));

/// Whoever sits at the screen.
pub struct Operator {
    python: &'static Path,
    chromium: PathBuf,
}

/// Killed where the test fails.
struct Script(Child);

impl Drop for Script {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

impl Operator {
    /// `None` where there is no browser.
    pub fn here() -> Option<Self> {
        let folders = std::env::var_os("PATH").unwrap_or_default();
        let chromium = std::env::split_paths(&folders).map(|folder| folder.join("chromium"));
        let Some(chromium) = chromium.into_iter().find(|path| path.exists()) else {
            eprintln!("\nSKIPPED, the screen is not tested: chromium (Debian: chromium) is not here\n");
            return None;
        };
        Some(Self { python: venv::interpreter(&PYTHON, &PACKAGES)?, chromium })
    }

    /// Lets `script` run to its end with `facts`. Each line that it prints with `? ` before it is an order to `beamline`, whose answer it
    /// waits for. Returns the rest of what it printed.
    pub fn plays(&self, script: &str, facts: &Value, mut beamline: impl FnMut(&str) -> String) -> String {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/browser").join(script);
        let kept = Path::new(env!("CARGO_TARGET_TMPDIR")).join("screen");
        std::fs::create_dir_all(&kept).unwrap();
        let mut command = Command::new(self.python);
        command.arg(path).arg(facts.to_string());
        command.env("CHROMIUM", &self.chromium).env("KEEP", kept).env("PYTHONDONTWRITEBYTECODE", "1");
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = Script(command.spawn().unwrap());
        let mut stdin = child.0.stdin.take().unwrap();
        let stdout = BufReader::new(child.0.stdout.take().unwrap());
        let mut stderr = child.0.stderr.take().unwrap();
        let failure = std::thread::spawn(move || {
            let mut text = String::new();
            drop(stderr.read_to_string(&mut text));
            text
        });
        let mut said = String::new();
        for line in stdout.lines() {
            let line = line.unwrap();
            if let Some(order) = line.strip_prefix("? ") {
                writeln!(stdin, "{}", beamline(order)).unwrap();
            } else {
                said += &format!("{line}\n");
            }
        }
        let status = child.0.wait().unwrap();
        let failure = failure.join().unwrap();
        assert!(status.success(), "{script}: {status}\n{said}{failure}");
        said
    }
}
