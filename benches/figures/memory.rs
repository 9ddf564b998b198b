//! Figure 4: memory of the daemon's own process, over scans of 512×512 pixels and 100 energies in a row.

use std::io::Write;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use bytes::Bytes;
use phasewatch::simulate::nvpf;
use zeromq::{PushSocket, Socket, SocketRecv, SocketSend, SubSocket, ZmqMessage};

use crate::scene::Scene;

const SIZE: usize = 512;
const ENERGIES: usize = 100;

/// Resident memory of a process, MB: now, and at most since the last reset.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Resident {
    pub(crate) now_mb: f64,
    pub(crate) peak_mb: f64,
}

/// The real binary; killed when dropped.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

impl Process {
    fn resident(&self) -> Resident {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.0.id())).unwrap();
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
            line.trim().trim_end_matches(" kB").parse::<f64>().unwrap() * 1024.0 / 1e6
        };
        Resident { now_mb: field("VmRSS:"), peak_mb: field("VmHWM:") }
    }

    fn reset_peak(&self) {
        std::fs::write(format!("/proc/{}/clear_refs", self.0.id()), "5").unwrap();
    }
}

fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// Bytes of the values of one stack as `f32`, MB.
pub(crate) fn stack_mb() -> f64 {
    (SIZE * SIZE * ENERGIES * 4) as f64 / 1e6
}

/// Runs `scans` scans, each after the one before is archived, and reports the memory of each: before the first, then
/// for each at most and after it was archived.
pub(crate) fn in_a_row(scans: usize) -> Vec<Resident> {
    let folder = tempfile::tempdir().unwrap();
    let references = folder.path().join("references");
    nvpf::write(&references).unwrap();
    let [source, publish, http] = [free_port(), free_port(), free_port()];
    let config = folder.path().join("config.toml");
    let text = format!(
        "[daemon]\nstate_dir = \"state\"\n[[source]]\nkind = \"stxm-stream\"\nsocket = \"pull\"\n\
         bind = \"tcp://127.0.0.1:{source}\"\n[references]\ndir = \"references\"\n[archive]\nroot = \"archive\"\n\
         [publish]\nbind = \"tcp://127.0.0.1:{publish}\"\n[http]\nlisten = \"127.0.0.1:{http}\"\n"
    );
    std::fs::File::create(&config).unwrap().write_all(text.as_bytes()).unwrap();
    let child = Command::new(env!("CARGO_BIN_EXE_phasewatch"))
        .args(["run", "--config"])
        .arg(&config)
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let process = Process(child);
    let scene = Scene::new(SIZE, ENERGIES, 3000.0);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    runtime.block_on(async {
        let start = Instant::now();
        let connected = |port: u16| std::net::TcpStream::connect(("127.0.0.1", port)).is_ok();
        while !(connected(publish) && connected(source)) {
            assert!(start.elapsed() < Duration::from_secs(30), "the daemon does not start");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let mut push = PushSocket::new();
        push.connect(&format!("tcp://127.0.0.1:{source}")).await.unwrap();
        let mut sub = SubSocket::new();
        sub.connect(&format!("tcp://127.0.0.1:{publish}")).await.unwrap();
        sub.subscribe("scan/").await.unwrap();
        tokio::time::sleep(Duration::from_millis(500)).await;
        let mut resident = vec![process.resident()];
        for scan in 0..scans {
            process.reset_peak();
            let scan_id = format!("memory_{scan}");
            send(&mut push, vec![scene.start(&scan_id)]).await;
            for energy in 0..ENERGIES {
                send(&mut push, scene.image(&scan_id, energy)).await;
                // A fast scan, not a flood: maps are made as it goes.
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            send(&mut push, vec![scene.end(&scan_id)]).await;
            loop {
                let message = sub.recv().await.unwrap().into_vec();
                let header: serde_json::Value = serde_json::from_slice(&message[1]).unwrap();
                if header["event"] == "archived" && header["scan_id"] == scan_id.as_str() {
                    assert_eq!(header["gaps"].as_array().map(Vec::len), Some(0));
                    break;
                }
            }
            resident.push(process.resident());
        }
        resident
    })
}

async fn send(push: &mut PushSocket, messages: Vec<Vec<Bytes>>) {
    for parts in messages {
        push.send(ZmqMessage::try_from(parts).unwrap()).await.unwrap();
    }
}
