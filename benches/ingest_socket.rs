//! How fast messages come off a socket: PUSH -> [`ZmqFrameSource`] -> queue -> a thread, over the loopback, all in
//! one process; the same with the zeromq crate's PULL in its place, and with a sender that costs nearly nothing; and
//! the queue by itself. Run with `cargo bench --profile dev --bench ingest_socket`.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)]

use std::io::{Read as _, Write as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use criterion::{Criterion, Throughput, criterion_group};
use phasewatch::pipeline::queue::{Limits, Popped, bounded};
use phasewatch::pipeline::receive::run_source;
use phasewatch::source::frames::{
    Attach, Endpoint, FrameSource, PeerCause, SocketKind, SourceNotice, SourceStatus, ZmqFrameSource,
};
use phasewatch::zmtp::message_chunks;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use zeromq::{PullSocket, PushSocket, Socket, SocketRecv as _, SocketSend, ZmqMessage};

/// Bytes on their way at most; the sender's own queue is bounded in messages only.
const WINDOW_BYTES: usize = 32 << 20;

/// Who receives.
#[derive(Clone, Copy)]
enum Receiver {
    Ours,
    Crate,
}

/// The zeromq crate's PULL, as a source.
struct CratePull(PullSocket);

impl FrameSource for CratePull {
    async fn next(&mut self) -> SourceNotice {
        match self.0.recv().await {
            Ok(message) => SourceNotice::Message(message.into_vec()),
            Err(error) => SourceNotice::PeerError { cause: PeerCause::Protocol, detail: error.to_string() },
        }
    }
}

struct Line {
    runtime: Runtime,
    push: PushSocket,
    plain: std::net::TcpStream,
    window: Arc<Semaphore>,
    seen: Arc<AtomicU64>,
    cancel: CancellationToken,
    reader: std::thread::JoinHandle<()>,
}

impl Line {
    fn open(receiver: Receiver) -> Self {
        let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let (sender, mut queue) = bounded(Limits { bytes: 64 << 20, items: 1 << 20 });
        let cancel = CancellationToken::new();
        let status = Arc::new(SourceStatus::new("bench"));
        const ANY: &str = "tcp://127.0.0.1:0";
        let address = match receiver {
            Receiver::Ours => {
                let endpoint = Endpoint::new(SocketKind::Pull, Attach::Bind(ANY.to_owned()));
                let (source, address) = runtime.block_on(ZmqFrameSource::open(endpoint)).unwrap();
                runtime.spawn(run_source(0, source, sender, cancel.clone(), status));
                address
            }
            Receiver::Crate => {
                let _inside = runtime.enter();
                let mut socket = PullSocket::new();
                let address = runtime.block_on(socket.bind(ANY)).unwrap().to_string();
                runtime.spawn(run_source(0, CratePull(socket), sender, cancel.clone(), status));
                address
            }
        };
        let plain = shaken(address.strip_prefix("tcp://").unwrap());
        let mut push = PushSocket::new();
        runtime.block_on(push.connect(&address)).unwrap();
        let window = Arc::new(Semaphore::new(WINDOW_BYTES));
        let seen = Arc::new(AtomicU64::new(0));
        let reader = std::thread::spawn({
            let (window, seen) = (Arc::clone(&window), Arc::clone(&seen));
            move || {
                let mut messages = Vec::new();
                while let Popped::Items(_) = queue.pop_all(&mut messages, None) {
                    let bytes = messages.iter().flat_map(|message| &message.parts).map(Bytes::len).sum();
                    window.add_permits(bytes);
                    seen.fetch_add(messages.len() as u64, Ordering::Release);
                    messages.clear();
                }
            }
        });
        Self { runtime, push, plain, window, seen, cancel, reader }
    }

    /// Sends so many messages, already encoded, in large writes, and waits until the thread has them all: the receiver is
    /// what takes time.
    fn send_plain(&mut self, count: u64, header: usize, payload: usize) -> Duration {
        let message =
            message_chunks(&[Bytes::from(vec![b'h'; header]), Bytes::from(vec![7; payload])]).concat();
        let in_block = ((256 << 10) / message.len()).max(1) as u64;
        let block = message.repeat(in_block as usize);
        let goal = self.seen.load(Ordering::Acquire) + count;
        let start = Instant::now();
        for _ in 0..count / in_block {
            self.plain.write_all(&block).unwrap();
        }
        self.plain.write_all(&block[..(count % in_block) as usize * message.len()]).unwrap();
        while self.seen.load(Ordering::Acquire) < goal {
            std::thread::yield_now();
        }
        let elapsed = start.elapsed();
        // The other way of sending counts bytes on their way; these were none of its.
        self.window.forget_permits(count as usize * (header + payload));
        elapsed
    }

    /// Sends so many messages and waits until the thread has them all.
    fn send(&mut self, count: u64, header: usize, payload: usize) -> Duration {
        let (header, payload) = (Bytes::from(vec![b'h'; header]), Bytes::from(vec![7; payload]));
        let size = u32::try_from(header.len() + payload.len()).unwrap();
        let goal = self.seen.load(Ordering::Acquire) + count;
        let start = Instant::now();
        let Self { runtime, push, window, .. } = self;
        runtime.block_on(async {
            for _ in 0..count {
                window.acquire_many(size).await.unwrap().forget();
                let parts = vec![header.clone(), payload.clone()];
                push.send(ZmqMessage::try_from(parts).unwrap()).await.unwrap();
            }
            // All have arrived when all of the window is free again.
            drop(window.acquire_many(u32::try_from(WINDOW_BYTES).unwrap()).await.unwrap());
        });
        let elapsed = start.elapsed();
        while self.seen.load(Ordering::Acquire) < goal {
            std::hint::spin_loop();
        }
        elapsed
    }

    fn close(self) {
        self.cancel.cancel();
        self.reader.join().unwrap();
    }
}

/// A PUSH connection by hand.
fn shaken(address: &str) -> std::net::TcpStream {
    let mut stream = std::net::TcpStream::connect(address).unwrap();
    let greeting = [&[0xff, 0, 0, 0, 0, 0, 0, 0, 0, 0x7f, 3, 0][..], b"NULL", &[0; 48]].concat();
    stream.write_all(&greeting).unwrap();
    stream.write_all(b"\x04\x1a\x05READY\x0bSocket-Type\0\0\0\x04PUSH").unwrap();
    // Their greeting and READY.
    stream.read_exact(&mut [0; 64 + 28]).unwrap();
    stream
}

/// Both receivers in turn, in many short rounds, so that whatever else the machine does meets both alike; criterion would
/// measure one after the other.
fn compare() {
    const ROUNDS: usize = 40;
    let mut lines = [Receiver::Ours, Receiver::Crate].map(Line::open);
    println!("{:26} {:>14} {:>14} {:>8} {:>8}", "sender, message", "ours", "zeromq crate", "median", "best");
    for (sender, plain) in [("PUSH", false), ("plain", true)] {
        for (payload, count) in [(500, 40_000), (128 << 10, 800), (1 << 20, 120)] {
            let mut seconds = [Vec::new(), Vec::new()];
            for round in 0..=ROUNDS {
                for (line, seconds) in lines.iter_mut().zip(&mut seconds) {
                    let took = if plain {
                        line.send_plain(count, 250, payload)
                    } else {
                        line.send(count, 250, payload)
                    };
                    if round > 0 {
                        seconds.push(took.as_secs_f64());
                    }
                }
            }
            let ratio = |pick: fn(&[f64]) -> f64| pick(&seconds[1]) / pick(&seconds[0]);
            let rate = |seconds: &[f64]| {
                let messages = count as f64 / median(seconds);
                if payload == 500 {
                    format!("{messages:.0} /s")
                } else {
                    format!("{:.2} GB/s", messages * (payload + 250) as f64 * 1e-9)
                }
            };
            println!(
                "{:26} {:>14} {:>14} {:>8.2} {:>8.2}",
                format!("{sender}, 250 B + {payload} B"),
                rate(&seconds[0]),
                rate(&seconds[1]),
                ratio(median),
                ratio(best)
            );
        }
    }
    lines.into_iter().for_each(Line::close);
}

fn median(seconds: &[f64]) -> f64 {
    let mut sorted = seconds.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted[sorted.len() / 2]
}

fn best(seconds: &[f64]) -> f64 {
    seconds.iter().copied().fold(f64::INFINITY, f64::min)
}

fn queue(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("queue");
    group.sample_size(10).throughput(Throughput::Elements(1));
    group.bench_function("one thread to another", |bencher| {
        bencher.iter_custom(|count| {
            let (sender, mut receiver) = bounded(Limits { bytes: 1 << 20, items: 1 << 16 });
            let reader = std::thread::spawn(move || {
                let mut items = Vec::new();
                let mut seen = 0;
                while let Popped::Items(more) = receiver.pop_all(&mut items, None) {
                    seen += more as u64;
                    items.clear();
                }
                seen
            });
            let start = Instant::now();
            for n in 0..count {
                sender.push_blocking(n, 800).unwrap();
            }
            drop(sender);
            assert_eq!(reader.join().unwrap(), count);
            start.elapsed()
        });
    });
    group.finish();
}

criterion_group!(benches, queue);

fn main() {
    compare();
    benches();
}
