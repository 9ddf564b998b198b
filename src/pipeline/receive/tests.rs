use std::collections::VecDeque;
use std::future::pending;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::timeout;
use zeromq::{PushSocket, Socket, SocketSend, ZmqMessage};

use super::*;
use crate::pipeline::queue::{Limits, Popped, QueueReceiver, bounded};
use crate::source::frames::{Attach, Endpoint, SocketKind, ZmqFrameSource};

const PATIENCE: Duration = Duration::from_secs(20);

/// Tells what it was given, then is silent.
struct Script(VecDeque<SourceNotice>);

impl FrameSource for Script {
    async fn next(&mut self) -> SourceNotice {
        match self.0.pop_front() {
            Some(notice) => notice,
            None => pending().await,
        }
    }
}

fn message(text: &'static str) -> SourceNotice {
    SourceNotice::Message(vec![Bytes::from_static(b"h"), Bytes::from_static(text.as_bytes())])
}

fn payloads(messages: &[RawMessage]) -> Vec<&[u8]> {
    messages.iter().map(|message| &*message.parts[1]).collect()
}

fn pop(receiver: &mut QueueReceiver<RawMessage>) -> Vec<RawMessage> {
    let mut messages = Vec::new();
    assert!(matches!(receiver.pop_all(&mut messages, Some(Instant::now() + PATIENCE)), Popped::Items(_)));
    messages
}

#[tokio::test]
async fn the_books_are_kept() {
    let error = |cause| SourceNotice::PeerError { cause, detail: "why".to_owned() };
    let script = Script(VecDeque::from([
        SourceNotice::Connected { address: "a".to_owned(), peers: 1, again: false },
        message("one"),
        SourceNotice::Oversize { bytes: 1 << 40 },
        error(PeerCause::Protocol),
        error(PeerCause::Protocol),
        SourceNotice::Disconnected { peers: 0 },
        SourceNotice::Connected { address: "a".to_owned(), peers: 1, again: true },
        message("three"),
        SourceNotice::Idle { since: Instant::now() },
    ]));
    let (sender, mut receiver) = bounded(Limits { bytes: 1 << 20, items: 100 });
    let cancel = CancellationToken::new();
    let status = Arc::new(SourceStatus::new("east"));
    let task = tokio::spawn(run_source(4, script, sender, cancel.clone(), Arc::clone(&status)));
    timeout(PATIENCE, async {
        while !status.snapshot().idle {
            tokio::task::yield_now().await;
        }
    })
    .await
    .expect("the end of the script");
    cancel.cancel();
    assert_eq!(task.await.unwrap(), SourceEnd::Cancelled);

    let messages = pop(&mut receiver);
    assert_eq!(payloads(&messages), [&b"one"[..], b"three"]);
    assert!(messages.iter().all(|message| message.source == 4));
    let state = status.snapshot();
    assert_eq!((state.messages, state.bytes, state.reconnects), (2, 10, 1));
    assert_eq!((state.oversize, state.peer_errors), (1, 2));
    assert!(state.connected);
    assert_eq!(state.last_error.unwrap().text, "why");
    assert_eq!(state.last_message.unwrap().timestamp_micros(), messages[1].received_at.timestamp_micros());
    assert_eq!(receiver.pop_all(&mut Vec::new(), None), Popped::Closed, "the sender went with the task");
}

#[tokio::test]
async fn cancelled_at_a_full_queue_it_ends_and_keeps_the_message_in_hand() {
    let script = Script(VecDeque::from([message("first"), message("in hand"), message("not yet received")]));
    let (sender, mut receiver) = bounded(Limits { bytes: 1 << 20, items: 1 });
    let cancel = CancellationToken::new();
    let status = Arc::new(SourceStatus::new("full"));
    let task = tokio::spawn(run_source(0, script, sender, cancel.clone(), Arc::clone(&status)));
    timeout(PATIENCE, async {
        while status.messages() < 2 {
            tokio::task::yield_now().await;
        }
    })
    .await
    .expect("two messages");
    assert_eq!(receiver.stats().items, 1);
    cancel.cancel();
    assert_eq!(timeout(PATIENCE, task).await.expect("an end").unwrap(), SourceEnd::Cancelled);
    assert_eq!(payloads(&pop(&mut receiver)), [&b"first"[..], b"in hand"]);
}

#[tokio::test]
async fn cancelled_while_connecting_it_ends_at_once() {
    // A listener that accepts by its backlog and never answers: the handshake hangs.
    let mute = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("tcp://{}", mute.local_addr().unwrap());
    let endpoint = Endpoint::new(SocketKind::Pull, Attach::Connect(address));
    let (source, _) = ZmqFrameSource::open(endpoint).await.unwrap();
    let (sender, _receiver) = bounded(Limits { bytes: 1 << 20, items: 1 });
    let cancel = CancellationToken::new();
    let task =
        tokio::spawn(run_source(0, source, sender, cancel.clone(), Arc::new(SourceStatus::new("mute"))));
    let accepted = tokio::task::spawn_blocking(move || mute.accept().unwrap()).await.unwrap();
    let start = Instant::now();
    cancel.cancel();
    assert_eq!(task.await.unwrap(), SourceEnd::Cancelled);
    assert!(start.elapsed() < Duration::from_millis(1000), "not by the time limit of the attempt");
    drop(accepted);
}

#[tokio::test]
async fn a_queue_without_a_reader_ends_the_task() {
    let (sender, receiver) = bounded(Limits { bytes: 1 << 20, items: 1 });
    drop(receiver);
    let script = Script(VecDeque::from([message("for nobody")]));
    let status = Arc::new(SourceStatus::new("nobody"));
    let end = run_source(0, script, sender, CancellationToken::new(), status).await;
    assert_eq!(end, SourceEnd::QueueClosed);
}

/// A queue far smaller than what is sent, and a thread that takes: every message arrives, once and in order.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_reader_slows_the_sender_and_loses_nothing() {
    const COUNT: u32 = 20_000;
    let endpoint = Endpoint::new(SocketKind::Pull, Attach::Bind("tcp://127.0.0.1:0".to_owned()));
    let (source, address) = ZmqFrameSource::open(endpoint).await.unwrap();
    let limit_bytes = 40_000;
    let (sender, mut receiver) = bounded(Limits { bytes: limit_bytes, items: 1000 });
    let cancel = CancellationToken::new();
    let status = Arc::new(SourceStatus::new("slow"));
    let task = tokio::spawn(run_source(0, source, sender, cancel.clone(), Arc::clone(&status)));
    let reader = std::thread::spawn(move || {
        let mut next = 0_u32;
        let mut messages = Vec::new();
        loop {
            messages.clear();
            match receiver.pop_all(&mut messages, Some(Instant::now() + PATIENCE)) {
                Popped::Items(_) => {}
                Popped::Closed => return (next, receiver.stats()),
                Popped::TimedOut => panic!("stuck at {next}"),
            }
            for message in &messages {
                assert_eq!(*message.parts[0], next.to_le_bytes());
                next += 1;
            }
        }
    });
    let mut push = PushSocket::new();
    push.connect(&address).await.unwrap();
    for n in 0..COUNT {
        let parts = vec![Bytes::copy_from_slice(&n.to_le_bytes()), Bytes::from_static(&[7; 500])];
        push.send(ZmqMessage::try_from(parts).unwrap()).await.unwrap();
    }
    timeout(PATIENCE, async {
        while status.messages() < u64::from(COUNT) {
            tokio::task::yield_now().await;
        }
    })
    .await
    .expect("all messages");
    cancel.cancel();
    task.await.unwrap();
    let (seen, stats) = reader.join().unwrap();
    assert_eq!(seen, COUNT);
    assert!(stats.bytes_high_water <= limit_bytes, "{stats:?}");
}
