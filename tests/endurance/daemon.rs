//! A daemon on ports that stay the same from one life to the next, with a folder of its own.

use std::io::{BufRead as _, BufReader};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

/// The program under test.
pub const PHASEWATCH: &str = env!("CARGO_BIN_EXE_phasewatch");
/// Long enough for a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A port that is free now, and below those that the system gives to who connects: nobody takes it while its daemon is dead, and a
/// sender that calls there again and again does not get through to itself.
pub fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    // Other test programs that run at the same time begin elsewhere.
    let first = std::process::id() as u16;
    loop {
        let port =
            12_000 + first.wrapping_mul(37).wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed)) % 18_000;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

/// An address on this machine with a port that is free now.
pub fn free_address() -> String {
    format!("tcp://127.0.0.1:{}", free_port())
}

/// Looks until `look` sees something, or the patience is over.
pub fn seen<T>(patience: Duration, mut look: impl FnMut() -> Option<T>) -> Option<T> {
    let deadline = Instant::now() + patience;
    loop {
        if let Some(seen) = look() {
            return Some(seen);
        }
        if Instant::now() >= deadline {
            return None;
        }
        // Between two looks, not instead of one.
        std::thread::park_timeout(Duration::from_micros(500));
    }
}

/// The folder of a daemon, and its configuration.
pub struct Site {
    dir: TempDir,
}

impl Site {
    /// A folder for a daemon with these sections of sources, and more lines of configuration.
    pub fn new(sources: &str, more: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let references = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/references/nvpf");
        let text = format!(
            "[daemon]\nstate_dir = {:?}\n[archive]\nroot = {:?}\n[references]\ndir = {references:?}\n\
             [publish]\nbind = {:?}\n[http]\nlisten = \"127.0.0.1:{}\"\n[log]\nlevel = \"debug\"\n{sources}\n{more}",
            dir.path().join("state"),
            dir.path().join("archive"),
            free_address(),
            free_port(),
        );
        std::fs::write(dir.path().join("phasewatch.toml"), text).unwrap();
        Self { dir }
    }

    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    pub fn archive(&self) -> PathBuf {
        self.path().join("archive")
    }

    pub fn journal(&self, scan_id: &str) -> PathBuf {
        self.path().join("state/journal").join(scan_id)
    }

    /// The folders of all scans in the archive, whatever they are called.
    pub fn archived(&self) -> Vec<PathBuf> {
        let below = |folder: &PathBuf| {
            let entries = std::fs::read_dir(folder).into_iter().flatten();
            entries.filter_map(|entry| Some(entry.ok()?.path())).collect::<Vec<_>>()
        };
        let named = |folder: &PathBuf| folder.file_name().unwrap().to_string_lossy().starts_with("beamline=");
        let beamlines = below(&self.archive()).into_iter().filter(named);
        beamlines.flat_map(|beamline| below(&beamline)).flat_map(|day| below(&day)).collect()
    }

    /// Starts the daemon; it may not be ready yet.
    pub fn start(&self) -> Daemon {
        let started = Instant::now();
        let child = Command::new(PHASEWATCH)
            .args(["--log-format", "json", "run", "--config"])
            .arg(self.path().join("phasewatch.toml"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn();
        let mut child = child.unwrap();
        let log = Log::follow(child.stderr.take().unwrap());
        Daemon { child, started, log }
    }

    /// Keeps the folder, to be looked at; returns where it is.
    pub fn keep(self) -> PathBuf {
        self.dir.keep()
    }
}

/// Lines and when each was read, and word of more.
type Lines = (Mutex<Vec<(Instant, Value)>>, Condvar);

/// Lines that a daemon has written, and when they were read.
#[derive(Clone, Default)]
pub struct Log {
    lines: Arc<Lines>,
}

impl Log {
    fn follow(stderr: std::process::ChildStderr) -> Self {
        let log = Self::default();
        let lines = Arc::clone(&log.lines);
        std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                let line = serde_json::from_str(&line).unwrap_or(Value::String(line));
                lines.0.lock().unwrap().push((Instant::now(), line));
                lines.1.notify_all();
            }
        });
        log
    }

    /// When the first line whose message begins so was read.
    pub fn time(&self, message: &str) -> Option<Instant> {
        let lines = self.lines.0.lock().unwrap();
        let wanted = |line: &Value| line["message"].as_str().is_some_and(|text| text.starts_with(message));
        lines.iter().find(|(_, line)| wanted(line)).map(|(at, _)| *at)
    }

    /// Waits for such a line.
    pub fn wait(&self, message: &str, patience: Duration) -> Option<Instant> {
        let deadline = Instant::now() + patience;
        loop {
            if let Some(at) = self.time(message) {
                return Some(at);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return None;
            }
            let lines = self.lines.0.lock().unwrap();
            drop(self.lines.1.wait_timeout(lines, left.min(Duration::from_millis(50))).unwrap());
        }
    }

    /// All of it.
    pub fn text(&self) -> String {
        self.lines.0.lock().unwrap().iter().map(|(_, line)| format!("{line}\n")).collect()
    }

    /// Lines that say that something went wrong inside: errors, and whatever is no log line, such as a panic.
    pub fn errors(&self) -> Vec<String> {
        let lines = self.lines.0.lock().unwrap();
        let bad = lines.iter().filter(|(_, line)| line["level"] == "ERROR" || line.is_string());
        bad.map(|(_, line)| line.to_string()).collect()
    }
}

/// A running daemon, killed when it is dropped.
pub struct Daemon {
    child: Child,
    pub started: Instant,
    pub log: Log,
}

impl Daemon {
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits until it says that it is ready; returns how long that took.
    pub fn ready(&self) -> Duration {
        let ready = self.log.wait("ready", PATIENCE);
        let ready = ready.unwrap_or_else(|| panic!("not ready:\n{}", self.log.text()));
        ready.duration_since(self.started)
    }

    pub fn is_alive(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Kills it where it stands.
    pub fn kill(mut self) -> Log {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        self.log.clone()
    }

    /// Asks it to stop, and waits for its end; returns its exit code.
    pub fn stop(mut self) -> Option<i32> {
        let sent = Command::new("kill").arg("-TERM").arg(self.child.id().to_string()).status();
        assert!(sent.unwrap().success());
        self.child.wait().unwrap().code()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
