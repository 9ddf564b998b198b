use std::io::{Read, Write};
use std::net::TcpStream;

use bytes::Bytes;
use serde_json::json;
use zeromq::{Socket, SocketRecv, SubSocket, ZmqMessage};

use super::*;

fn message(topic: &str, number: usize, bytes: usize) -> Message {
    Message {
        topic: topic.into(),
        header: json!({ "n": number }),
        table: Bytes::from(vec![number as u8; bytes]),
    }
}

fn number(message: &ZmqMessage) -> usize {
    let header: serde_json::Value = serde_json::from_slice(message.get(1).unwrap()).unwrap();
    header["n"].as_u64().unwrap() as usize
}

/// Sends `probe` until the subscriber has it: from then on it is subscribed.
async fn subscribed(handle: &PublisherHandle, sub: &mut SubSocket) {
    loop {
        handle.send(&message("phase_map/probe", 0, 0), Policy::Event);
        if tokio::time::timeout(Duration::from_millis(50), sub.recv()).await.is_ok() {
            return;
        }
    }
}

#[tokio::test]
async fn a_subscriber_gets_three_parts_in_order() {
    let (publisher, handle) =
        Publisher::bind("tcp://127.0.0.1:0", PublisherSettings::default()).await.unwrap();
    let mut sub = SubSocket::new();
    sub.connect(publisher.endpoint()).await.unwrap();
    sub.subscribe("").await.unwrap();
    let stop = CancellationToken::new();
    let task = tokio::spawn(publisher.run(stop.clone()));
    subscribed(&handle, &mut sub).await;
    for n in 1..=5 {
        handle.send(&message("scan/s", n, 0), Policy::Event);
    }
    handle.send(&message("phase_map/s", 6, 100_000), Policy::Latest);
    let mut seen = Vec::new();
    while seen.last() != Some(&6) {
        let message = sub.recv().await.unwrap();
        assert_eq!(message.len(), 3);
        if message.get(0).unwrap() != "phase_map/probe" {
            seen.push(number(&message));
        }
        if seen.last() == Some(&6) {
            assert_eq!(message.get(2).unwrap().len(), 100_000);
        }
    }
    assert_eq!(seen, [1, 2, 3, 4, 5, 6]);
    stop.cancel();
    task.await.unwrap();
}

/// A subscriber that says what ZMTP asks for and then reads nothing.
fn stalled_subscriber(endpoint: &str) -> TcpStream {
    let mut stream = TcpStream::connect(endpoint.strip_prefix("tcp://").unwrap()).unwrap();
    let mut greeting = [0_u8; 64];
    greeting[0] = 0xff;
    greeting[8] = 1;
    greeting[9] = 0x7f;
    greeting[10] = 3;
    greeting[12..16].copy_from_slice(b"NULL");
    stream.write_all(&greeting).unwrap();
    let mut ready = b"\x05READY\x0bSocket-Type\x00\x00\x00\x03SUB".to_vec();
    ready.splice(0..0, [4, ready.len() as u8]);
    stream.write_all(&ready).unwrap();
    stream.write_all(&[0, 1, 1]).unwrap();
    stream.read_exact(&mut greeting).unwrap();
    stream
}

/// A stalled subscriber: the sender never waits, bytes stay within the budget, and once the kernel has cut it
/// off, a subscriber that does read gets maps again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stalled_subscriber_costs_neither_memory_nor_the_others_for_long() {
    let queue_bytes = 4 * 1024 * 1024;
    let settings =
        PublisherSettings { queue_bytes, stall: Duration::from_millis(1500), ..Default::default() };
    let (publisher, handle) = Publisher::bind("tcp://127.0.0.1:0", settings).await.unwrap();
    let endpoint = publisher.endpoint().to_owned();
    let budget = publisher.budget();
    let stop = CancellationToken::new();
    let task = tokio::spawn(publisher.run(stop.clone()));
    let stalled = tokio::task::spawn_blocking(move || stalled_subscriber(&endpoint)).await.unwrap();

    // Fill the kernel's buffers and the budget: until a message has had to wait for a while.
    let mut most = 0;
    let mut sent = 0;
    let mut full = 0;
    while full < 20 {
        sent += 1;
        handle.send(&message("phase_map/s", sent, 1024 * 1024), Policy::Latest);
        tokio::time::sleep(Duration::from_millis(5)).await;
        let held = budget.held();
        full = if held > queue_bytes / 2 { full + 1 } else { 0 };
        most = most.max(held);
        assert!(sent < 5000, "the stalled subscriber never filled up; most held {most}");
    }
    assert!(most <= queue_bytes, "{most}");

    let mut sub = SubSocket::new();
    sub.connect(&task_endpoint(&stalled)).await.unwrap();
    sub.subscribe("phase_map/s").await.unwrap();
    let got = tokio::time::timeout(Duration::from_secs(30), async {
        loop {
            sent += 1;
            handle.send(&message("phase_map/s", sent, 1024 * 1024), Policy::Latest);
            if let Ok(got) = tokio::time::timeout(Duration::from_millis(50), sub.recv()).await {
                return number(&got.unwrap());
            }
        }
    });
    assert!(got.await.expect("the stalled subscriber was cut off") > 0);
    assert!(budget.held() <= queue_bytes);
    stop.cancel();
    task.await.unwrap();
    drop(stalled);
}

fn task_endpoint(stream: &TcpStream) -> String {
    format!("tcp://{}", stream.peer_addr().unwrap())
}

#[tokio::test]
async fn says_what_is_wrong_with_an_address() {
    for address in ["127.0.0.1:5", "tcp://nowhere", "ipc://x"] {
        let error = Publisher::bind(address, PublisherSettings::default()).await.unwrap_err();
        assert!(matches!(error, PublisherError::Address(_)), "{error}");
    }
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("tcp://{}", taken.local_addr().unwrap());
    let error = Publisher::bind(&address, PublisherSettings::default()).await.unwrap_err();
    assert!(matches!(error, PublisherError::Bind { .. }), "{error}");
}
