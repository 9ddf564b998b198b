use std::time::Duration;

use bytes::Bytes;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use zeromq::{PubSocket, PushSocket, Socket, SocketSend, ZmqMessage};

use super::peer::RawPeer;
use crate::source::frames::{
    Attach, Endpoint, FrameError, FrameSource, PeerCause, SocketKind, SourceNotice, ZmqFrameSource,
};

const PATIENCE: Duration = Duration::from_secs(20);
const ANY: &str = "tcp://127.0.0.1:0";

fn connect(kind: SocketKind, address: &str) -> Endpoint {
    Endpoint::new(kind, Attach::Connect(address.to_owned()))
}

fn bind(kind: SocketKind) -> Endpoint {
    Endpoint::new(kind, Attach::Bind(ANY.to_owned()))
}

async fn open(endpoint: Endpoint) -> (ZmqFrameSource, String) {
    ZmqFrameSource::open(endpoint).await.unwrap()
}

fn host_port(address: &str) -> &str {
    address.strip_prefix("tcp://").unwrap()
}

/// An address that was free a moment ago.
async fn free_address() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    format!("tcp://{}", listener.local_addr().unwrap())
}

fn message(parts: &[&str]) -> ZmqMessage {
    let parts: Vec<Bytes> = parts.iter().map(|part| Bytes::copy_from_slice(part.as_bytes())).collect();
    ZmqMessage::try_from(parts).unwrap()
}

fn text(parts: &[Bytes]) -> Vec<String> {
    parts.iter().map(|part| String::from_utf8(part.to_vec()).unwrap()).collect()
}

/// Waits for the notice that `wanted` picks; returns it with all that came before it.
async fn until(
    source: &mut ZmqFrameSource,
    wanted: impl Fn(&SourceNotice) -> bool,
) -> (SourceNotice, Vec<SourceNotice>) {
    let mut before = Vec::new();
    loop {
        match timeout(PATIENCE, source.next()).await {
            Ok(notice) if wanted(&notice) => return (notice, before),
            Ok(notice) => before.push(notice),
            Err(_) => panic!("it never came; but these did: {before:?}"),
        }
    }
}

fn is_connected(notice: &SourceNotice) -> bool {
    matches!(notice, SourceNotice::Connected { .. })
}

fn is_disconnected(notice: &SourceNotice) -> bool {
    matches!(notice, SourceNotice::Disconnected { .. })
}

async fn next_text(source: &mut ZmqFrameSource) -> Vec<String> {
    match until(source, |notice| matches!(notice, SourceNotice::Message(_))).await.0 {
        SourceNotice::Message(parts) => text(&parts),
        _ => unreachable!(),
    }
}

/// A PUSH has no peer for a moment after the other side has one: it is tried until it has.
async fn push(socket: &mut PushSocket, parts: &[&str]) {
    timeout(PATIENCE, async {
        while socket.send(message(parts)).await.is_err() {
            tokio::task::yield_now().await;
        }
    })
    .await
    .expect("a peer");
}

/// A PUB drops what nobody has subscribed to yet, so the message is repeated until one arrives.
async fn publish_until_heard(socket: &mut PubSocket, source: &mut ZmqFrameSource, parts: &[&str]) {
    let mut tick = tokio::time::interval(Duration::from_millis(10));
    let heard = next_text(source);
    tokio::pin!(heard);
    loop {
        tokio::select! {
            got = &mut heard => {
                assert_eq!(got, parts);
                return;
            }
            _ = tick.tick() => socket.send(message(parts)).await.unwrap(),
        }
    }
}

#[tokio::test]
async fn pull_bound() {
    let (mut source, address) = open(bind(SocketKind::Pull)).await;
    let mut sender = PushSocket::new();
    sender.connect(&address).await.unwrap();
    push(&mut sender, &["header", "", "payload"]).await;
    let (notice, _) = until(&mut source, is_connected).await;
    assert!(matches!(notice, SourceNotice::Connected { peers: 1, again: false, .. }), "{notice:?}");
    assert_eq!(next_text(&mut source).await, ["header", "", "payload"]);
}

#[tokio::test]
async fn pull_connecting_before_the_sender_is_there() {
    let address = free_address().await;
    let (mut source, shown) = open(connect(SocketKind::Pull, &address)).await;
    assert_eq!(shown, address);
    let mut sender = PushSocket::new();
    let (refused, _) = until(&mut source, |notice| matches!(notice, SourceNotice::PeerError { .. })).await;
    assert!(matches!(refused, SourceNotice::PeerError { cause: PeerCause::Connect, .. }), "{refused:?}");
    sender.bind(&address).await.unwrap();
    until(&mut source, is_connected).await;
    push(&mut sender, &["a", "b"]).await;
    assert_eq!(next_text(&mut source).await, ["a", "b"]);
}

#[tokio::test]
async fn sub_connecting_and_bound_with_a_topic() {
    let mut sender = PubSocket::new();
    let address = sender.bind(ANY).await.unwrap().to_string();
    let topic = Endpoint { topic: "scan".to_owned(), ..connect(SocketKind::Sub, &address) };
    let (mut source, _) = open(topic).await;
    publish_until_heard(&mut sender, &mut source, &["scan/1", "x"]).await;
    sender.send(message(&["other", "y"])).await.unwrap();
    sender.send(message(&["scan/2", "z"])).await.unwrap();
    let mut got = next_text(&mut source).await;
    while got == ["scan/1", "x"] {
        got = next_text(&mut source).await; // repeats from before the first was heard
    }
    assert_eq!(got, ["scan/2", "z"], "the other topic stayed away");

    let (mut source, address) = open(Endpoint { topic: "scan".to_owned(), ..bind(SocketKind::Sub) }).await;
    let mut sender = PubSocket::new();
    sender.connect(&address).await.unwrap();
    sender.send(message(&["other", "never"])).await.unwrap();
    publish_until_heard(&mut sender, &mut source, &["scan/3", "bound"]).await;
}

#[tokio::test]
async fn pull_survives_two_restarts_of_the_sender() {
    let mut sender = PushSocket::new();
    let address = sender.bind(ANY).await.unwrap().to_string();
    let (mut source, _) = open(connect(SocketKind::Pull, &address)).await;
    until(&mut source, is_connected).await;
    for round in ["0", "1", "2"] {
        for n in ["0", "1", "2"] {
            push(&mut sender, &[round, n]).await;
        }
        for n in ["0", "1", "2"] {
            assert_eq!(next_text(&mut source).await, [round, n]);
        }
        assert!(sender.close().await.is_empty());
        until(&mut source, is_disconnected).await;
        sender = PushSocket::new();
        sender.bind(&address).await.unwrap();
        let (notice, _) = until(&mut source, is_connected).await;
        assert!(matches!(notice, SourceNotice::Connected { again: true, .. }), "{notice:?}");
    }
}

#[tokio::test]
async fn sub_survives_a_restart_of_the_sender_with_its_subscription() {
    let mut sender = PubSocket::new();
    let address = sender.bind(ANY).await.unwrap().to_string();
    let topic = Endpoint { topic: "scan".to_owned(), ..connect(SocketKind::Sub, &address) };
    let (mut source, _) = open(topic).await;
    publish_until_heard(&mut sender, &mut source, &["scan", "before"]).await;
    assert!(sender.close().await.is_empty());
    until(&mut source, is_disconnected).await;
    let mut sender = PubSocket::new();
    sender.bind(&address).await.unwrap();
    publish_until_heard(&mut sender, &mut source, &["scan", "after"]).await;
}

#[tokio::test]
async fn our_restart_on_the_same_port_finds_the_port_free() {
    let (source, address) = open(bind(SocketKind::Pull)).await;
    let mut sender = PushSocket::new();
    sender.connect(&address).await.unwrap();
    drop(source);
    let again = Endpoint::new(SocketKind::Pull, Attach::Bind(address.clone()));
    let reopened = timeout(PATIENCE, async {
        loop {
            match ZmqFrameSource::open(again.clone()).await {
                Ok(open) => break open,
                // The listener is closed by a task of the library, which needs a turn.
                Err(_) => tokio::task::yield_now().await,
            }
        }
    });
    assert_eq!(reopened.await.expect("the port").1, address);
}

#[tokio::test]
async fn a_dropped_source_hangs_up() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("tcp://{}", listener.local_addr().unwrap());
    for kind in [SocketKind::Pull, SocketKind::Sub] {
        let (mut source, _) = open(connect(kind, &address)).await;
        let name = if kind == SocketKind::Pull { "PUSH" } else { "PUB" };
        let accepted = async { RawPeer::handshake(listener.accept().await.unwrap().0, name).await };
        let (mut peer, _) = tokio::join!(accepted, until(&mut source, is_connected));
        drop(source);
        timeout(PATIENCE, peer.closed()).await.expect("an end of the connection");
    }
}

#[tokio::test]
async fn garbage_on_a_bound_socket_does_not_stop_the_others() {
    use tokio::io::AsyncWriteExt as _;
    let (mut source, address) = open(bind(SocketKind::Pull)).await;
    let mut sender = PushSocket::new();
    sender.connect(&address).await.unwrap();
    push(&mut sender, &["before"]).await;
    assert_eq!(next_text(&mut source).await, ["before"]);

    let mut scanner = TcpStream::connect(host_port(&address)).await.unwrap();
    scanner.write_all(&[b'G'; 100]).await.unwrap();
    let (notice, _) = until(&mut source, |notice| matches!(notice, SourceNotice::PeerError { .. })).await;
    assert!(matches!(notice, SourceNotice::PeerError { cause: PeerCause::Handshake, .. }), "{notice:?}");

    // One that knows how to begin, and breaks off in the middle of a frame.
    let stream = TcpStream::connect(host_port(&address)).await.unwrap();
    let mut half = RawPeer::handshake(stream, "PUSH").await;
    until(&mut source, is_connected).await;
    half.0.write_all(&[0, 200, 1, 2, 3]).await.unwrap();
    drop(half);
    let (notice, _) = until(&mut source, |notice| matches!(notice, SourceNotice::PeerError { .. })).await;
    assert!(matches!(notice, SourceNotice::PeerError { cause: PeerCause::Protocol, .. }), "{notice:?}");
    let (notice, _) = until(&mut source, is_disconnected).await;
    assert_eq!(notice, SourceNotice::Disconnected { peers: 1 });

    push(&mut sender, &["after"]).await;
    assert_eq!(next_text(&mut source).await, ["after"]);
}

#[tokio::test]
async fn the_wrong_kind_of_socket_is_an_event() {
    let (mut source, address) = open(bind(SocketKind::Pull)).await;
    let mut sender = PubSocket::new();
    // The other side may or may not see it as a failure; ours does.
    drop(sender.connect(&address).await);
    let (notice, _) = until(&mut source, |notice| matches!(notice, SourceNotice::PeerError { .. })).await;
    assert!(matches!(notice, SourceNotice::PeerError { cause: PeerCause::Handshake, .. }), "{notice:?}");
}

#[tokio::test]
async fn a_message_above_the_limit_is_dropped_and_the_next_one_comes() {
    let (mut source, address) = open(Endpoint { max_message_bytes: 10, ..bind(SocketKind::Pull) }).await;
    let mut sender = PushSocket::new();
    sender.connect(&address).await.unwrap();
    push(&mut sender, &["12345", "67890"]).await;
    push(&mut sender, &["12345", "678901"]).await;
    push(&mut sender, &["next"]).await;
    assert_eq!(next_text(&mut source).await, ["12345", "67890"], "exactly the limit passes");
    let (notice, before) = until(&mut source, |notice| matches!(notice, SourceNotice::Message(_))).await;
    assert_eq!(before, [SourceNotice::Oversize { bytes: 11 }]);
    assert_eq!(notice, SourceNotice::Message(vec![Bytes::from_static(b"next")]));
}

#[tokio::test]
async fn silence_is_told_once_per_silence() {
    let idle_after = Duration::from_millis(40);
    let (mut source, address) = open(Endpoint { idle_after, ..bind(SocketKind::Pull) }).await;
    let is_idle = |notice: &SourceNotice| matches!(notice, SourceNotice::Idle { .. });
    until(&mut source, is_idle).await;
    let mut sender = PushSocket::new();
    sender.connect(&address).await.unwrap();
    push(&mut sender, &["a"]).await;
    let (notice, before) = until(&mut source, is_idle).await;
    let messages = before.iter().filter(|notice| matches!(notice, SourceNotice::Message(_))).count();
    assert_eq!(messages, 1, "no second notice of the first silence: {before:?}");
    let SourceNotice::Idle { since } = notice else { unreachable!() };
    assert!(since.elapsed() >= idle_after);
}

#[tokio::test]
async fn a_mute_connection_is_replaced_and_a_cancelled_wait_loses_nothing() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("tcp://{}", listener.local_addr().unwrap());
    let redial_after = Some(Duration::from_millis(50));
    let (mut source, _) = open(Endpoint { redial_after, ..connect(SocketKind::Pull, &address) }).await;
    let peers = tokio::spawn(async move {
        let first = RawPeer::handshake(listener.accept().await.unwrap().0, "PUSH").await;
        let mut second = RawPeer::handshake(listener.accept().await.unwrap().0, "PUSH").await;
        second.frame(1, b"from").await;
        second.frame(0, b"the second").await;
        (first, second)
    });
    // Each wait is far too short for a connection, so each is cancelled in the middle of something.
    let got = timeout(PATIENCE, async {
        loop {
            if let Ok(SourceNotice::Message(parts)) = timeout(Duration::from_millis(1), source.next()).await {
                break parts;
            }
        }
    });
    assert_eq!(text(&got.await.expect("a message")), ["from", "the second"]);
    let (mut first, _second) = peers.await.unwrap();
    timeout(PATIENCE, first.closed()).await.expect("an end of the first connection");
}

#[tokio::test]
async fn addresses_are_checked() {
    for address in ["", "localhost:1", "tcp://localhost", "ipc:///tmp/x", "tcp://a:99999"] {
        let failed = ZmqFrameSource::open(connect(SocketKind::Pull, address)).await;
        assert!(matches!(failed, Err(FrameError::Address { .. })), "{address}");
    }
    let (_taken, address) = open(bind(SocketKind::Pull)).await;
    let failed = ZmqFrameSource::open(Endpoint::new(SocketKind::Sub, Attach::Bind(address))).await;
    assert!(matches!(failed, Err(FrameError::Bind { .. })));

    let (_open, address) = open(Endpoint::new(SocketKind::Pull, Attach::Bind("tcp://*:0".to_owned()))).await;
    assert!(ZmqFrameSource::is_open_to_all(&address), "{address}");
    assert!(!ZmqFrameSource::is_open_to_all("tcp://127.0.0.1:5555"));
    assert!(ZmqFrameSource::is_open_to_all("tcp://[::]:5555"));
}
