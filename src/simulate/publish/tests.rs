use super::*;
use crate::simulate::Keeping;
use crate::source::stxm_stream::{ResendRequest, STREAM};
use zeromq::{PullSocket, ReqSocket, Socket as _, SocketRecv as _, SocketSend as _, SubSocket, ZmqMessage};

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
        data: None,
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

/// As [`messages`], with headers that say where they belong; every third is lost on the way.
fn placed(
    offer: &Offer,
    count: usize,
) -> impl Iterator<Item = Result<WireMessage, EncodeError>> + Send + 'static {
    let all = (0..count).map(|seq| {
        let header = format!("{{\"scan_id\":\"a\",\"seq\":{seq}}}");
        let parts = vec![Bytes::from(header), Bytes::from(vec![7; 10])];
        Ok(WireMessage { kind: MessageKind::Samples { energy_index: 0 }, parts, exposure_ms: 0.0 })
    });
    let kept = Keeping::new(all, Some(offer.keeper()));
    kept.enumerate().filter(|(seq, _)| seq % 3 != 1).map(|(_, message)| message)
}

async fn ask(address: &str, request: &[u8]) -> ResendAnswer {
    let mut socket = ReqSocket::new();
    socket.connect(address).await.unwrap();
    socket.send(ZmqMessage::from(Bytes::copy_from_slice(request))).await.unwrap();
    ResendAnswer::parse(&socket.recv().await.unwrap().into_vec()).unwrap()
}

fn request(scan_id: &str, seq: &[[u64; 2]]) -> Bytes {
    ResendRequest { scan_id: scan_id.into(), seq: seq.to_vec() }.to_bytes()
}

async fn seqs(pull: &mut PullSocket, count: usize) -> Vec<u64> {
    let mut seqs = Vec::new();
    while seqs.len() < count {
        let parts = pull.recv().await.unwrap().into_vec();
        let header: serde_json::Value = serde_json::from_slice(&parts[0]).unwrap();
        assert_eq!((parts.len(), parts[1].len()), (2, 10), "the content is as it was");
        seqs.push(header["seq"].as_u64().unwrap());
    }
    seqs
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sends_again_what_was_lost_and_stays_until_nobody_asks() {
    let cancel = CancellationToken::new();
    let offer = Offer::bind("tcp://127.0.0.1:0", 1 << 20, Duration::from_secs(60)).await.unwrap();
    let (resend, messages) = (offer.address().to_owned(), placed(&offer, 30));
    let (tell, mut events) = mpsc::unbounded_channel();
    let settings = settings(SocketKind::Push);
    let task =
        tokio::spawn(publish_offering(settings, messages, Some(offer), cancel.clone(), move |event| {
            tell.send(event).unwrap();
        }));
    let Some(PublishEvent::Bound(address)) = events.recv().await else { panic!("not bound") };
    let mut pull = PullSocket::new();
    pull.connect(&address).await.unwrap();
    assert_eq!(seqs(&mut pull, 20).await, (0..30).filter(|seq| seq % 3 != 1).collect::<Vec<_>>());
    while events.recv().await.unwrap() != PublishEvent::Lingering {}
    assert_eq!(ask(&resend, &request("a", &[[1, 1], [4, 7]])).await, ResendAnswer::Sent(5));
    assert_eq!(seqs(&mut pull, 5).await, [1, 4, 5, 6, 7]);
    // What is no request is told so, or cut off, and the next one is served.
    for bad in [&b"?"[..], b"{}", br#"{"scan_id": "a", "seq": [[7, 1]]}"#, &[b' '; 70_000]] {
        assert!(matches!(ask(&resend, bad).await, ResendAnswer::Refused(_)), "{bad:?}");
    }
    let mut raw = tokio::net::TcpStream::connect(resend.trim_start_matches("tcp://")).await.unwrap();
    tokio::io::AsyncWriteExt::write_all(&mut raw, b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    let ResendAnswer::Refused(why) = ask(&resend, &request("b", &[[0, 1]])).await else { panic!("sent") };
    assert!(why.contains("scan b"), "{why}");
    // After a restart of a receiver: all that it may not have seen.
    let open = request("a", &[[20, crate::source::stxm_stream::LAST_SEQ]]);
    let (answer, again) = tokio::join!(ask(&resend, &open), seqs(&mut pull, 10));
    assert_eq!((answer, again), (ResendAnswer::Sent(10), (20..30).collect()));
    cancel.cancel();
    let report = task.await.unwrap().unwrap();
    assert_eq!((report.messages, report.resent), (20, 15));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn goes_when_nobody_has_asked_for_a_while() {
    let offer = Offer::bind("tcp://127.0.0.1:0", 1 << 20, Duration::from_millis(50)).await.unwrap();
    let messages = placed(&offer, 30);
    let mut pull = PullSocket::new();
    let address = pull.bind("tcp://127.0.0.1:0").await.unwrap().to_string();
    let settings = PublishSettings { endpoint: Endpoint::Connect(address), ..settings(SocketKind::Push) };
    let cancel = CancellationToken::new();
    let task = tokio::spawn(publish_offering(settings, messages, Some(offer), cancel, |_| {}));
    assert_eq!(seqs(&mut pull, 20).await.len(), 20);
    let report = task.await.unwrap().unwrap();
    assert_eq!((report.messages, report.resent, report.cancelled), (20, 0, false));
}
