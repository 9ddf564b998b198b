//! How fast messages come off a socket: PUSH -> [`ZmqFrameSource`] -> queue -> a thread, over the loopback, all in
//! one process; and the queue by itself. Run with `cargo bench --profile dev --bench ingest_socket`.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use phasewatch::pipeline::queue::{Limits, Popped, bounded};
use phasewatch::pipeline::receive::run_source;
use phasewatch::source::frames::{Attach, Endpoint, SocketKind, SourceStatus, ZmqFrameSource};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use zeromq::{PushSocket, Socket, SocketSend, ZmqMessage};

/// Bytes on their way at most; the sender's own queue is bounded in messages only.
const WINDOW_BYTES: usize = 32 << 20;

struct Line {
    runtime: Runtime,
    push: PushSocket,
    window: Arc<Semaphore>,
    seen: Arc<AtomicU64>,
    cancel: CancellationToken,
    reader: std::thread::JoinHandle<()>,
}

impl Line {
    fn open() -> Self {
        let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let (sender, mut receiver) = bounded(Limits { bytes: 64 << 20, items: 1 << 20 });
        let cancel = CancellationToken::new();
        let endpoint = Endpoint::new(SocketKind::Pull, Attach::Bind("tcp://127.0.0.1:0".to_owned()));
        let (source, address) = runtime.block_on(ZmqFrameSource::open(endpoint)).unwrap();
        let status = Arc::new(SourceStatus::new("bench"));
        runtime.spawn(run_source(0, source, sender, cancel.clone(), status));
        let mut push = PushSocket::new();
        runtime.block_on(push.connect(&address)).unwrap();
        let window = Arc::new(Semaphore::new(WINDOW_BYTES));
        let seen = Arc::new(AtomicU64::new(0));
        let reader = std::thread::spawn({
            let (window, seen) = (Arc::clone(&window), Arc::clone(&seen));
            move || {
                let mut messages = Vec::new();
                while let Popped::Items(_) = receiver.pop_all(&mut messages, None) {
                    let bytes = messages.iter().flat_map(|message| &message.parts).map(Bytes::len).sum();
                    window.add_permits(bytes);
                    seen.fetch_add(messages.len() as u64, Ordering::Release);
                    messages.clear();
                }
            }
        });
        Self { runtime, push, window, seen, cancel, reader }
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

fn socket(criterion: &mut Criterion) {
    let mut line = Line::open();
    let mut group = criterion.benchmark_group("ingest_socket");
    group.sample_size(10).measurement_time(Duration::from_secs(6));
    group.throughput(Throughput::Elements(1));
    group.bench_function("messages of 250 B + 500 B", |bencher| {
        bencher.iter_custom(|count| line.send(count, 250, 500));
    });
    for payload in [128 << 10, 1 << 20] {
        group.throughput(Throughput::Bytes(250 + payload));
        let payload = usize::try_from(payload).unwrap();
        group.bench_with_input(BenchmarkId::new("payload bytes", payload), &payload, |bencher, &payload| {
            bencher.iter_custom(|count| line.send(count, 250, payload));
        });
    }
    group.finish();
    line.close();
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

criterion_group!(benches, queue, socket);
criterion_main!(benches);
