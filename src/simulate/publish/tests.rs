use super::*;
use zeromq::{PullSocket, SocketRecv as _, SubSocket};

fn messages(
    count: usize,
    bytes: usize,
) -> impl Iterator<Item = Result<WireMessage, EncodeError>> + Send + 'static {
    (0..count).map(move |index| {
        let parts = vec![Bytes::from(index.to_string()), Bytes::from(vec![7; bytes])];
        Ok(WireMessage { kind: MessageKind::Samples { energy_index: 0 }, parts, exposure_ms: 1.0 })
    })
}

fn settings(socket: SocketKind) -> PublishSettings {
    PublishSettings {
        endpoint: Endpoint::Bind("tcp://127.0.0.1:0".to_owned()),
        socket,
        speed: 0.0,
        wait_for_peer: true,
        linger: Duration::from_millis(200),
    }
}

/// Publishes in a task; returns it and the address that it bound.
async fn start(
    settings: PublishSettings,
    messages: impl Iterator<Item = Result<WireMessage, EncodeError>> + Send + 'static,
    cancel: CancellationToken,
) -> (tokio::task::JoinHandle<Result<PublishReport, PublishError>>, String) {
    let (tell, mut bound) = mpsc::unbounded_channel();
    let task = tokio::spawn(publish(settings, messages, cancel, move |event| {
        if let PublishEvent::Bound(address) = event {
            tell.send(address).unwrap();
        }
    }));
    (task, bound.recv().await.unwrap())
}

fn number(part: &Bytes) -> usize {
    std::str::from_utf8(part).unwrap().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn push_waits_for_a_receiver_and_loses_nothing() {
    // 64 MB: far more than may wait in the socket.
    let (task, address) =
        start(settings(SocketKind::Push), messages(500, 128 * 1024), CancellationToken::new()).await;
    let mut pull = PullSocket::new();
    pull.connect(&address).await.unwrap();
    for expected in 0..500 {
        let parts = pull.recv().await.unwrap().into_vec();
        assert_eq!((parts.len(), number(&parts[0]), parts[1].len()), (2, expected, 128 * 1024));
    }
    let report = task.await.unwrap().unwrap();
    assert_eq!((report.messages, report.cancelled, report.unsent_bytes), (500, false, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_waits_for_a_slow_receiver_is_bounded() {
    let cancel = CancellationToken::new();
    let (tell, mut events) = mpsc::unbounded_channel();
    let task = tokio::spawn(publish(
        settings(SocketKind::Push),
        messages(5000, 1024 * 1024),
        cancel.clone(),
        move |event| tell.send(event).unwrap(),
    ));
    let Some(PublishEvent::Bound(address)) = events.recv().await else { panic!("not bound") };
    let mut pull = PullSocket::new();
    pull.connect(&address).await.unwrap();
    pull.recv().await.unwrap();
    // Nobody receives any more: the sender fills its bound and the kernel's buffers, and then waits.
    let mut sent = 0;
    while let Ok(Some(event)) = tokio::time::timeout(Duration::from_secs(2), events.recv()).await {
        if let PublishEvent::Sent { messages, .. } = event {
            sent = messages;
        }
    }
    assert!((16..200).contains(&sent), "{sent} MiB on their way");
    cancel.cancel();
    let report = task.await.unwrap().unwrap();
    assert!(report.cancelled && report.unsent_bytes > 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pub_puts_a_topic_before_every_message() {
    let (task, address) = start(settings(SocketKind::Pub), messages(50, 10), CancellationToken::new()).await;
    let mut sub = SubSocket::new();
    sub.connect(&address).await.unwrap();
    sub.subscribe("").await.unwrap();
    for expected in 0..50 {
        let parts = sub.recv().await.unwrap().into_vec();
        assert_eq!((&parts[0][..], number(&parts[1]), parts.len()), (STREAM.as_bytes(), expected, 3));
    }
    assert_eq!(task.await.unwrap().unwrap().messages, 50);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connects_to_a_receiver_that_comes_later() {
    let mut pull = PullSocket::new();
    let address = pull.bind("tcp://127.0.0.1:0").await.unwrap().to_string();
    let settings = PublishSettings { endpoint: Endpoint::Connect(address), ..settings(SocketKind::Push) };
    let task = tokio::spawn(publish(settings, messages(20, 10), CancellationToken::new(), |_| {}));
    for expected in 0..20 {
        assert_eq!(number(&pull.recv().await.unwrap().into_vec()[0]), expected);
    }
    assert_eq!(task.await.unwrap().unwrap().messages, 20);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keeps_the_pace_it_is_told() {
    let settings = PublishSettings { speed: 2.0, ..settings(SocketKind::Push) };
    let (task, address) = start(settings, messages(401, 10), CancellationToken::new()).await;
    let mut pull = PullSocket::new();
    pull.connect(&address).await.unwrap();
    pull.recv().await.unwrap();
    let began = Instant::now();
    for _ in 1..401 {
        pull.recv().await.unwrap();
    }
    // 400 ms of exposure at twice the speed; a busy machine may be late, never early.
    assert!(began.elapsed() > Duration::from_millis(190), "{:?}", began.elapsed());
    task.await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn can_be_cancelled_while_nobody_listens() {
    let cancel = CancellationToken::new();
    let (task, _) = start(settings(SocketKind::Push), messages(10, 10), cancel.clone()).await;
    cancel.cancel();
    let report = task.await.unwrap().unwrap();
    assert_eq!((report.messages, report.cancelled), (0, true));
}

#[tokio::test]
async fn refuses_a_bad_address_and_a_bad_speed() {
    let bad =
        PublishSettings { endpoint: Endpoint::Bind("nonsense".to_owned()), ..settings(SocketKind::Push) };
    let error = publish(bad, messages(1, 1), CancellationToken::new(), |_| {}).await.unwrap_err();
    assert!(error.to_string().contains("nonsense"), "{error}");
    let bad = PublishSettings { speed: f64::NAN, ..settings(SocketKind::Push) };
    assert!(publish(bad, messages(1, 1), CancellationToken::new(), |_| {}).await.is_err());
}
