//! Mounts of a test's own, in a mount namespace that nobody else sees and that goes when the test does.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// A mount namespace.
pub struct Yard {
    anchor: Child,
}

impl Drop for Yard {
    fn drop(&mut self) {
        drop(self.anchor.kill());
        drop(self.anchor.wait());
    }
}

impl Yard {
    /// A namespace in which `script` was run; none, and loudly, where this machine does not let us.
    pub fn new(script: &str) -> Option<Self> {
        let script = format!("set -e\n{script}\necho ready\nexec cat");
        let spawned = Command::new("unshare")
            .args(["--mount", "--propagation", "private", "sh", "-c", &script])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn();
        let Ok(mut anchor) = spawned else {
            skip("unshare is not here");
            return None;
        };
        let mut line = String::new();
        BufReader::new(anchor.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let yard = Self { anchor };
        if line != "ready\n" {
            skip("nothing can be mounted here: that takes root");
            return None;
        }
        Some(yard)
    }

    /// A small tmpfs at `folder`, which is made.
    pub fn small(folder: &Path, size: &str) -> Option<Self> {
        let folder = folder.display();
        Self::new(&format!("mkdir -p '{folder}'; mount -t tmpfs -o size={size} phasewatch-test '{folder}'"))
    }

    fn enter(&self) -> [String; 2] {
        ["nsenter".to_owned(), format!("--mount=/proc/{}/ns/mnt", self.anchor.id())]
    }

    /// What a program is started through to be inside.
    pub fn inside(&self) -> Vec<String> {
        self.enter().to_vec()
    }

    /// Runs a script inside.
    pub fn run(&self, script: &str) {
        let [enter, whose] = self.enter();
        let output = Command::new(enter).args([&whose, "sh", "-ec", script]).output().unwrap();
        assert!(output.status.success(), "{script}: {}", String::from_utf8_lossy(&output.stderr));
    }

    /// A path inside, as it is reached from outside.
    pub fn seen(&self, path: &Path) -> PathBuf {
        Path::new(&format!("/proc/{}/root", self.anchor.id())).join(path.strip_prefix("/").unwrap())
    }

    /// Fills the file system that `folder` lies on, to the last byte; returns the file that does.
    pub fn fill(&self, folder: &Path) -> PathBuf {
        let ballast = self.seen(folder).join("ballast");
        let mut file = std::fs::File::create(&ballast).unwrap();
        for size in [65_536, 4096, 1] {
            while file.write_all(&vec![0; size]).is_ok() {}
        }
        ballast
    }
}

/// Says that a test does not test anything here.
pub fn skip(why: &str) {
    eprintln!("\nSKIPPED, this bad day is not tested: {why}\n");
}
