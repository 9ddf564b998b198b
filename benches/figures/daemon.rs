//! The daemon in this process, and a sender and a subscriber for it, all over the loopback.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use phasewatch::pipeline::App;
use phasewatch::publish::board::{Board, ScanState, ScanSummary};
use phasewatch::settings::{Endpoint, Settings};
use phasewatch::simulate::nvpf;
use phasewatch::telemetry::MetricsHandle;
use tempfile::TempDir;
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use zeromq::{PushSocket, Socket, SocketRecv, SocketSend, SubSocket, ZmqMessage};

/// One daemon with one source.
pub(crate) struct Daemon {
    runtime: Runtime,
    push: Option<PushSocket>,
    address: String,
    publish: String,
    board: Board,
    metrics: MetricsHandle,
    stop: CancellationToken,
    run: JoinHandle<()>,
    _archive: TempDir,
}

impl Daemon {
    pub(crate) fn start(metrics: &MetricsHandle, change: impl FnOnce(&mut Settings)) -> Self {
        let mut daemon = Self::start_without_sender(metrics, change);
        let mut push = PushSocket::new();
        daemon.runtime.block_on(push.connect(&daemon.address)).unwrap();
        daemon.push = Some(push);
        daemon
    }

    /// A daemon that somebody else sends to, at [`Daemon::address`].
    pub(crate) fn start_without_sender(metrics: &MetricsHandle, change: impl FnOnce(&mut Settings)) -> Self {
        let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let archive = tempfile::tempdir().unwrap();
        let file = "[[source]]\nkind = \"stxm-stream\"\nsocket = \"pull\"\nbind = \"tcp://127.0.0.1:1\"\n";
        let mut settings = Settings::from_layers(&[("bench.toml".into(), file.to_owned())], []).unwrap();
        settings.sources[0].endpoint = Endpoint::Bind("tcp://127.0.0.1:0".to_owned());
        settings.publish.bind = "tcp://127.0.0.1:0".to_owned();
        settings.http.listen = "127.0.0.1:0".parse().unwrap();
        settings.archive.root = archive.path().join("archive");
        settings.daemon.state_dir = archive.path().join("state");
        // On a busy machine a large scan takes its time.
        settings.daemon.drain_s = 900.0;
        change(&mut settings);
        let references = Arc::new(nvpf::reference_set());
        let app = runtime.block_on(App::build(settings, references, metrics.clone())).unwrap();
        let (addresses, board) = (app.addresses().clone(), app.board().clone());
        let stop = CancellationToken::new();
        let run = runtime.spawn({
            let stop = stop.clone();
            async move {
                let report = app.run(stop).await.unwrap();
                assert_eq!(report.unfinished, Vec::<String>::new());
            }
        });
        Self {
            runtime,
            push: None,
            address: addresses.sources[0].clone(),
            publish: addresses.publish,
            board,
            metrics: metrics.clone(),
            stop,
            run,
            _archive: archive,
        }
    }

    /// Where its source listens.
    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// Sends messages as fast as the socket takes them.
    pub(crate) fn send(&mut self, messages: impl IntoIterator<Item = Vec<Bytes>>) {
        let Self { runtime, push: Some(push), .. } = self else { panic!("somebody else sends") };
        runtime.block_on(async {
            for parts in messages {
                push.send(ZmqMessage::try_from(parts).unwrap()).await.unwrap();
            }
        });
    }

    /// Messages that this process's daemons have received so far: with a journal, those that are in it.
    pub(crate) fn received(&self) -> u64 {
        let text = self.metrics.render();
        let series = text.lines().filter(|line| line.starts_with("phasewatch_messages_received_total{"));
        series.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum::<f64>() as u64
    }

    /// Waits until so many messages were received.
    pub(crate) fn wait_received(&self, messages: u64) {
        self.runtime.block_on(async {
            while self.received() < messages {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        });
    }

    /// Waits until the board says `wanted` of a scan.
    pub(crate) fn wait(&self, scan_id: &str, wanted: impl Fn(&ScanSummary) -> bool) -> Arc<ScanSummary> {
        let (board, start) = (self.board.clone(), Instant::now());
        self.runtime.block_on(async {
            loop {
                if let Some(entry) = board.get(scan_id).filter(|entry| wanted(&entry.summary)) {
                    return entry.summary;
                }
                assert!(start.elapsed() < Duration::from_secs(120), "waited too long for {scan_id}");
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        })
    }

    /// A subscriber to the maps of a scan.
    pub(crate) fn subscribe(&self, scan_id: &str) -> SubSocket {
        self.runtime.block_on(async {
            let mut sub = SubSocket::new();
            sub.connect(&self.publish).await.unwrap();
            sub.subscribe(&format!("phase_map/{scan_id}")).await.unwrap();
            // A PUB socket learns of a subscription when it gets round to it.
            tokio::time::sleep(Duration::from_millis(300)).await;
            sub
        })
    }

    /// Sends one energy image line by line over `duration`, and waits for the map that has it all: `energies` done and no
    /// line missing. Returns the time from the last line to the map.
    pub(crate) fn image(
        &mut self,
        sub: &mut SubSocket,
        lines: Vec<Vec<Bytes>>,
        duration: Duration,
        energies: u64,
    ) -> Duration {
        let Self { runtime, push: Some(push), board, .. } = self else { panic!("somebody else sends") };
        let pause = duration / lines.len() as u32;
        runtime.block_on(async {
            let start = tokio::time::Instant::now();
            for (line, parts) in lines.into_iter().enumerate() {
                tokio::time::sleep_until(start + pause * line as u32).await;
                push.send(ZmqMessage::try_from(parts).unwrap()).await.unwrap();
            }
            let sent = Instant::now();
            loop {
                let message = sub.recv().await.unwrap().into_vec();
                let header: serde_json::Value = serde_json::from_slice(&message[1]).unwrap();
                let scan_id = header["scan_id"].as_str().unwrap();
                let entry = board.get(scan_id).unwrap();
                let full = entry.summary.measured_values as u64 == energies * entry.map.unwrap().len() as u64;
                if full
                    && header["energies_done"] == energies
                    && entry.summary.generation == header["generation"].as_u64().unwrap()
                {
                    return sent.elapsed();
                }
            }
        })
    }

    /// Waits for the end of a scan, with nothing lost.
    pub(crate) fn wait_for_end(&self, scan_id: &str) -> Arc<ScanSummary> {
        self.wait(scan_id, |summary| matches!(summary.state, ScanState::Ended | ScanState::Archived))
    }

    pub(crate) fn stop(self) {
        self.stop.cancel();
        self.runtime.block_on(self.run).unwrap();
    }
}
