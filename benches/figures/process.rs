//! The real binary, as a process of its own: what it takes of memory and of processor time.

use std::io::Write;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use phasewatch::simulate::nvpf;
use tempfile::TempDir;

/// Resident memory of a process, MB: now, and at most since the last reset.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Resident {
    pub(crate) now_mb: f64,
    pub(crate) peak_mb: f64,
}

/// The real binary; killed when dropped.
pub(crate) struct Process {
    child: Child,
    /// Ports on the loopback.
    pub(crate) source: u16,
    pub(crate) publish: u16,
    pub(crate) http: u16,
    _folder: TempDir,
}

impl Drop for Process {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

impl Process {
    /// Starts it with one PULL source and `more` lines of configuration, and waits until it can be reached. The program is that of this
    /// build, or what `PHASEWATCH_PROGRAM` names.
    pub(crate) fn start(more: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let references = folder.path().join("references");
        nvpf::write(&references).unwrap();
        let [source, publish, http] = [free_port(), free_port(), free_port()];
        let config = folder.path().join("config.toml");
        let text = format!(
            "[daemon]\nstate_dir = \"state\"\n[[source]]\nkind = \"stxm-stream\"\nsocket = \"pull\"\n\
             bind = \"tcp://127.0.0.1:{source}\"\n[references]\ndir = \"references\"\n[archive]\nroot = \"archive\"\n\
             [publish]\nbind = \"tcp://127.0.0.1:{publish}\"\n[http]\nlisten = \"127.0.0.1:{http}\"\n{more}"
        );
        std::fs::File::create(&config).unwrap().write_all(text.as_bytes()).unwrap();
        let program = std::env::var_os("PHASEWATCH_PROGRAM").map(PathBuf::from);
        let child = Command::new(program.unwrap_or_else(|| env!("CARGO_BIN_EXE_phasewatch").into()))
            .args(["run", "--config"])
            .arg(&config)
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let process = Self { child, source, publish, http, _folder: folder };
        let start = Instant::now();
        let connected = |port: u16| std::net::TcpStream::connect(("127.0.0.1", port)).is_ok();
        while !(connected(publish) && connected(source)) {
            assert!(start.elapsed() < Duration::from_secs(30), "the daemon does not start");
            std::thread::park_timeout(Duration::from_millis(50));
        }
        process
    }

    pub(crate) fn resident(&self) -> Resident {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
            line.trim().trim_end_matches(" kB").parse::<f64>().unwrap() * 1024.0 / 1e6
        };
        Resident { now_mb: field("VmRSS:"), peak_mb: field("VmHWM:") }
    }

    pub(crate) fn reset_peak(&self) {
        std::fs::write(format!("/proc/{}/clear_refs", self.child.id()), "5").unwrap();
    }

    /// Processor time so far, in user and in system mode, of threads that ended as well: in steps of 10 ms.
    pub(crate) fn cpu(&self) -> Duration {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap();
        // Behind the name, which may hold anything, the state is the third field; these are the 14th and the 15th.
        let fields = stat.rsplit_once(')').unwrap().1.split_whitespace().skip(11).take(2);
        let ticks: u64 = fields.map(|field| field.parse::<u64>().unwrap()).sum();
        // A hundred a second, whatever the kernel counts in.
        Duration::from_millis(10 * ticks)
    }
}

fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}
