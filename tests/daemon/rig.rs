//! The real `phasewatch run`, started with free ports in a folder of its own, and watched through its log, its HTTP
//! and its exit code.
//!
//! Nothing here waits by the clock: every wait is for something to be seen, with a deadline that only a broken
//! daemon reaches.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

use crate::http;

/// Long enough for a busy machine; a good daemon takes a fraction of a second for anything asked of it here.
pub const PATIENCE: Duration = Duration::from_secs(40);

/// The program under test.
pub const PHASEWATCH: &str = env!("CARGO_BIN_EXE_phasewatch");

/// The references of the repository.
pub fn references() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("config/references/nvpf")
}

/// Runs a command of the program to its end.
pub fn phasewatch(args: &[&str]) -> Output {
    Command::new(PHASEWATCH).args(args).output().unwrap()
}

/// Looks until `look` sees something.
pub fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(seen) = look() {
            return seen;
        }
        assert!(Instant::now() < deadline, "not seen in {PATIENCE:?}: {what}");
        // Between two looks, not instead of one.
        std::thread::park_timeout(Duration::from_millis(10));
    }
}

/// A configuration to be.
pub struct Setup {
    sources: String,
    sections: BTreeMap<&'static str, String>,
    variables: Vec<(&'static str, String)>,
    /// A command that starts the program with its arguments; none: it is started itself.
    through: Vec<String>,
    state_dir: Option<PathBuf>,
    archive_root: Option<PathBuf>,
}

impl Setup {
    /// One source, `beam`, that binds a PULL socket.
    pub fn new() -> Self {
        Self::bare().source("beam", "bind = \"tcp://127.0.0.1:0\"")
    }

    /// No source yet.
    pub fn bare() -> Self {
        let (sections, variables, through) = Default::default();
        Self { sources: String::new(), sections, variables, through, state_dir: None, archive_root: None }
            .set("publish", "bind = \"tcp://127.0.0.1:0\"\nmin_interval_ms = 20")
            .set("http", "listen = \"127.0.0.1:0\"")
            .set("log", "level = \"debug\"")
    }

    /// Another source.
    pub fn source(self, name: &str, lines: &str) -> Self {
        self.source_of("stxm-stream", name, lines)
    }

    /// Another source that speaks another format.
    pub fn source_of(mut self, kind: &str, name: &str, lines: &str) -> Self {
        writeln!(self.sources, "[[source]]\nkind = \"{kind}\"\nname = \"{name}\"\n{lines}").unwrap();
        self
    }

    /// Lines of TOML for a section, or, in the section "source", for the last source.
    pub fn set(mut self, section: &'static str, lines: &str) -> Self {
        let text =
            if section == "source" { &mut self.sources } else { self.sections.entry(section).or_default() };
        writeln!(text, "{lines}").unwrap();
        self
    }

    /// A section with these lines and no others.
    #[allow(dead_code, reason = "not every test program needs it")]
    pub fn instead(mut self, section: &'static str, lines: &str) -> Self {
        self.sections.insert(section, format!("{lines}\n"));
        self
    }

    /// An environment variable.
    #[allow(dead_code, reason = "not every test program needs it")]
    pub fn variable(mut self, name: &'static str, value: &str) -> Self {
        self.variables.push((name, value.to_owned()));
        self
    }

    /// A command that the program is started through.
    #[allow(dead_code, reason = "not every test program needs it")]
    pub fn through(self, command: &[String]) -> Self {
        Self { through: command.to_vec(), ..self }
    }

    /// Another state directory than one in the daemon's folder.
    #[allow(dead_code, reason = "not every test program needs it")]
    pub fn state_dir(self, path: &Path) -> Self {
        Self { state_dir: Some(path.to_owned()), ..self }
    }

    /// Another archive than one in the daemon's folder.
    #[allow(dead_code, reason = "not every test program needs it")]
    pub fn archive_root(self, path: &Path) -> Self {
        Self { archive_root: Some(path.to_owned()), ..self }
    }

    /// Starts the daemon and waits until it says that it is ready.
    pub fn start(self) -> Rig {
        self.start_in(tempfile::tempdir().unwrap())
    }

    /// As [`Setup::start`], in a folder where files lie ready.
    pub fn start_in(self, dir: TempDir) -> Rig {
        let mut rig = self.launch_in(dir);
        rig.wait_ready();
        rig
    }

    /// As [`Setup::start_in`], without waiting for anything: addresses are not known yet.
    pub fn launch_in(mut self, dir: TempDir) -> Rig {
        let state_dir = self.state_dir.take().unwrap_or_else(|| dir.path().join("state"));
        let root = self.archive_root.take().unwrap_or_else(|| dir.path().join("archive"));
        self = self
            .set("daemon", &format!("state_dir = {state_dir:?}"))
            .set("archive", &format!("root = {root:?}"));
        if !self.sections.contains_key("references") {
            self = self.set("references", &format!("dir = {:?}", references()));
        }
        let mut text = self.sources;
        for (section, lines) in &self.sections {
            write!(text, "[{section}]\n{lines}").unwrap();
        }
        let config = dir.path().join("phasewatch.toml");
        std::fs::write(&config, text).unwrap();
        let mut command = Command::new(self.through.first().map_or(PHASEWATCH, String::as_str));
        if let Some((_, arguments)) = self.through.split_first() {
            command.args(arguments).arg(PHASEWATCH);
        }
        let mut child = command
            .args(["--log-format", "json", "run", "--config"])
            .arg(&config)
            .envs(self.variables)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let log = Log::follow(child.stderr.take().unwrap());
        Rig {
            child: Some(child),
            log,
            sources: BTreeMap::new(),
            publish: String::new(),
            http: SocketAddr::from(([0, 0, 0, 0], 0)),
            dir,
        }
    }
}

/// What a daemon said on standard error.
#[derive(Clone, Default)]
pub struct Log {
    shared: Arc<(Mutex<Written>, Condvar)>,
}

/// A test that failed while it held the lock shall not be followed by noise of the reading thread.
fn lock(written: &Mutex<Written>) -> MutexGuard<'_, Written> {
    written.lock().unwrap_or_else(PoisonError::into_inner)
}

#[derive(Default)]
struct Written {
    lines: Vec<Value>,
    ended: bool,
}

impl Log {
    fn follow(stderr: std::process::ChildStderr) -> Self {
        let log = Self::default();
        let shared = Arc::clone(&log.shared);
        std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                // What is no JSON (a panic, say) is kept as a text of its own.
                let line = serde_json::from_str(&line).unwrap_or(Value::String(line));
                lock(&shared.0).lines.push(line);
                shared.1.notify_all();
            }
            lock(&shared.0).ended = true;
            shared.1.notify_all();
        });
        log
    }

    /// All lines so far.
    pub fn lines(&self) -> Vec<Value> {
        lock(&self.shared.0).lines.clone()
    }

    /// All lines so far, as they were written.
    pub fn text(&self) -> String {
        self.lines().iter().map(|line| format!("{line}\n")).collect()
    }

    /// Waits for a line.
    pub fn wait(&self, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let deadline = Instant::now() + PATIENCE;
        let (written, more) = &*self.shared;
        let mut written = lock(written);
        loop {
            if let Some(line) = written.lines.iter().find(|line| wanted(line)) {
                return line.clone();
            }
            let left = deadline.saturating_duration_since(Instant::now());
            let all = || written.lines.iter().map(|line| format!("{line}\n")).collect::<String>();
            assert!(!written.ended, "the daemon ended without saying {what:?}:\n{}", all());
            assert!(!left.is_zero(), "not in the log in {PATIENCE:?}: {what:?}\n{}", all());
            written = more.wait_timeout(written, left).unwrap().0;
        }
    }

    fn wait_end(&self) {
        let (written, more) = &*self.shared;
        let (written, _) =
            more.wait_timeout_while(lock(written), PATIENCE, |written| !written.ended).unwrap();
        assert!(written.ended, "standard error is still open");
    }
}

/// How a daemon ended.
pub struct Ended {
    /// Its exit code.
    pub code: Option<i32>,
    /// All it said.
    pub log: Log,
    /// Its folder, kept until this is dropped.
    pub dir: TempDir,
}

/// A running daemon. It is killed when it is dropped.
pub struct Rig {
    child: Option<Child>,
    /// What it says.
    pub log: Log,
    /// Addresses of its sources, by name.
    pub sources: BTreeMap<String, String>,
    /// Address of its ZeroMQ output.
    pub publish: String,
    /// Address of its HTTP.
    pub http: SocketAddr,
    dir: TempDir,
}

impl Rig {
    /// Waits until it says that it is ready, and where it can be reached.
    pub fn wait_ready(&mut self) {
        let ready = self.log.wait("ready", |line| line["message"] == "ready");
        self.publish = ready["publish"].as_str().unwrap().to_owned();
        self.http = ready["http"].as_str().unwrap().parse().unwrap();
        for line in self.log.lines() {
            if line["message"] == "listening to the beamline" {
                let [name, address] = ["source", "address"].map(|key| line[key].as_str().unwrap().to_owned());
                self.sources.insert(name, address);
            }
        }
    }

    /// Its folder.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// The header with the token that the daemon made for itself.
    #[allow(dead_code, reason = "not every test program needs it")]
    pub fn bearer(&self) -> String {
        format!("Authorization: Bearer {}", self.token())
    }

    /// That token.
    #[allow(dead_code, reason = "not every test program needs it")]
    pub fn token(&self) -> String {
        std::fs::read_to_string(self.dir().join("state/http-token")).unwrap().trim().to_owned()
    }

    /// Address of the only source.
    pub fn source(&self) -> &str {
        assert_eq!(self.sources.len(), 1);
        self.sources.values().next().unwrap()
    }

    /// The body of a page that has to be there.
    pub fn get(&self, path: &str) -> Vec<u8> {
        let answer = http::get(self.http, path);
        assert_eq!(answer.status, 200, "GET {path}: {}", String::from_utf8_lossy(&answer.body));
        answer.body
    }

    /// The value of a metric, summed over all its series whose labels contain each of `labels`; 0 where there is none.
    pub fn metric(&self, name: &str, labels: &[&str]) -> f64 {
        let text = String::from_utf8(self.get("/metrics")).unwrap();
        let series = text.lines().filter_map(|line| {
            let (series, value) = line.rsplit_once(' ')?;
            let own = series.split('{').next() == Some(name);
            (own && labels.iter().all(|label| series.contains(label))).then(|| value.parse::<f64>().unwrap())
        });
        series.sum()
    }

    /// What the API says of a scan, if it knows it.
    pub fn scan(&self, scan_id: &str) -> Option<Value> {
        let answer = http::get(self.http, &format!("/api/v1/scans/{scan_id}"));
        (answer.status == 200).then(|| serde_json::from_slice(&answer.body).unwrap())
    }

    /// Waits until the API says of a scan what is wanted.
    pub fn wait_scan(&self, scan_id: &str, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let mut last = None;
        let deadline = Instant::now() + PATIENCE;
        loop {
            let scan = self.scan(scan_id);
            if let Some(scan) = scan.as_ref().filter(|scan| wanted(scan)) {
                return scan.clone();
            }
            last = scan.or(last);
            assert!(
                Instant::now() < deadline,
                "{scan_id}: not {what} in {PATIENCE:?}; last: {last:?}\n{}",
                self.log.text()
            );
            std::thread::park_timeout(Duration::from_millis(10));
        }
    }

    /// Waits until a scan lies in the archive; returns what the API says of it.
    pub fn archived(&self, scan_id: &str) -> Value {
        self.wait_scan(scan_id, "archived", |scan| scan["state"] == "archived")
    }

    /// Waits until so many messages were taken in, over all sources.
    pub fn received(&self, messages: u64) {
        let name = "phasewatch_messages_received_total";
        until(&format!("{messages} messages"), || (self.metric(name, &[]) >= messages as f64).then_some(()));
    }

    /// Memory of the process that is in use.
    pub fn resident_bytes(&self) -> u64 {
        self.memory_bytes("VmRSS:")
    }

    /// The most memory that was ever in use.
    #[allow(dead_code, reason = "not every test program needs it")]
    pub fn peak_bytes(&self) -> u64 {
        self.memory_bytes("VmHWM:")
    }

    fn memory_bytes(&self, what: &str) -> u64 {
        let pid = self.child.as_ref().unwrap().id();
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix(what)).unwrap();
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
    }

    /// Number of the process.
    #[allow(dead_code, reason = "not every test program needs it")]
    pub fn pid(&self) -> u32 {
        self.child.as_ref().unwrap().id()
    }

    /// Whether the process is there.
    pub fn is_alive(&mut self) -> bool {
        self.child.as_mut().unwrap().try_wait().unwrap().is_none()
    }

    /// Kills it where it stands, as a power cut would; returns its folder.
    pub fn kill(mut self) -> TempDir {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
        std::mem::replace(&mut self.dir, tempfile::tempdir().unwrap())
    }

    /// Sends it a signal (`TERM`, `INT`) and waits for its end.
    pub fn stop(mut self, signal: &str) -> Ended {
        let mut child = self.child.take().unwrap();
        let sent = Command::new("kill").arg(format!("-{signal}")).arg(child.id().to_string()).status();
        assert!(sent.unwrap().success());
        // Its standard error ends with it; then waiting for it takes no time.
        self.log.wait_end();
        let code = child.wait().unwrap().code();
        let dir = std::mem::replace(&mut self.dir, tempfile::tempdir().unwrap());
        Ended { code, log: self.log.clone(), dir }
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            drop(child.kill());
            drop(child.wait());
        }
    }
}
