//! `phasewatch simulate`, and what its scan was.

use std::io::Read as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use super::daemon::PHASEWATCH;

/// A small scan: 12 energies over V L3, 16 lines of 24 pixels, 1000 photons.
pub const SCENARIO: &str = "seed = 7\nbeamline = \"harness\"\nsample = \"small\"\n\
    [scan]\nshape = [16, 24]\npixel_um = 0.05\ndwell_ms = 1.0\n\
    energies = [{ from_ev = 508.0, to_ev = 530.0, step_ev = 2.0 }]\n\
    [beam]\nphotons = 1000.0\n\
    [detector]\nkind = \"point\"\ndark = 5.0\ni0 = \"field\"\n\
    [specimen]\nparticles = 3\nradius = [0.15, 0.25]\nthickness_nm = [80.0, 300.0]\n";
/// Messages of it: its start, a line for each row of each energy, its end.
pub const MESSAGES: u64 = 1 + 12 * 16 + 1;

/// A running simulator, killed when it is dropped.
pub struct Sender(Child);

impl Sender {
    /// Starts one with these arguments.
    pub fn start<'a>(args: impl IntoIterator<Item = &'a str>) -> Self {
        let child = Command::new(PHASEWATCH)
            .arg("simulate")
            .args(args)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn();
        Self(child.unwrap())
    }

    /// Whether it has ended.
    pub fn has_ended(&mut self) -> bool {
        self.0.try_wait().unwrap().is_some()
    }

    /// What one has said so far that is not as it should be, and whether it ended.
    pub fn last_words(mut self) -> String {
        let ended = self.0.try_wait().unwrap();
        drop(self.0.kill());
        let mut told = String::new();
        drop(self.0.stdout.take().unwrap().read_to_string(&mut told));
        drop(self.0.stderr.take().unwrap().read_to_string(&mut told));
        format!("{told} ({ended:?})")
    }

    /// Tells one that stays for requests to go; returns what it says then.
    pub fn interrupt(self) -> String {
        drop(Command::new("kill").arg("-INT").arg(self.0.id().to_string()).status());
        self.end()
    }

    /// What it says once it has ended.
    pub fn end(mut self) -> String {
        let mut said = String::new();
        self.0.stdout.take().unwrap().read_to_string(&mut said).unwrap();
        let mut told = String::new();
        self.0.stderr.take().unwrap().read_to_string(&mut told).unwrap();
        assert!(self.0.wait().unwrap().success(), "{said}{told}");
        said
    }
}

impl Drop for Sender {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// The number in a sentence of the simulator's, such as `sent 194 messages, …`.
pub fn said_number(said: &str, before: &str, after: &str) -> u64 {
    let found = said.lines().find_map(|line| line.split_once(before)?.1.split_once(after)?.0.parse().ok());
    found.unwrap_or(0)
}

/// Writes the scenario of the small scan.
pub fn write_scenario(folder: &Path) -> String {
    let path = folder.join("small.toml");
    std::fs::write(&path, SCENARIO).unwrap();
    path.to_str().unwrap().to_owned()
}
