//! Real connections on the loopback, written to by hand.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

use super::*;
use crate::zmtp::{Role, Session};

const PATIENCE: Duration = Duration::from_secs(20);
const LARGE: usize = 7 << 20;

/// Connections between senders and `peers`, both hands shaken.
async fn connected(peers: &mut Peers, count: usize) -> Vec<TcpStream> {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut senders = Vec::new();
    for _ in 0..count {
        let mut sender = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let greeting = [&[0xff, 0, 0, 0, 0, 0, 0, 0, 0, 0x7f, 3, 0][..], b"NULL", &[0; 48]].concat();
        sender.write_all(&greeting).await.unwrap();
        sender.write_all(b"\x04\x1a\x05READY\x0bSocket-Type\0\0\0\x04PUSH").await.unwrap();
        let (stream, address) = listener.accept().await.unwrap();
        let wire = Wire::new(stream, Session::new(Role::Pull, 8 << 20)).open().await.unwrap();
        sender.read_exact(&mut [0; 64 + 28]).await.unwrap();
        assert!(peers.add(wire, address.to_string()));
        senders.push(sender);
    }
    senders
}

fn head(bytes: usize) -> Vec<u8> {
    [&[2][..], &(bytes as u64).to_be_bytes()].concat()
}

async fn next(peers: &mut Peers) -> PeerStep {
    let step = std::future::poll_fn(|context| match peers.poll(context) {
        Poll::Ready(step) => Poll::Ready(step),
        Poll::Pending => peers.poll_tick(context),
    });
    timeout(PATIENCE, step).await.expect("something to happen")
}

fn held_bytes(peers: &Peers) -> usize {
    peers.list.iter().map(|peer| peer.wire.session().held_bytes()).sum()
}

async fn next_message(peers: &mut Peers, most_held: &mut usize) -> Vec<Bytes> {
    let step = std::future::poll_fn(|context| {
        let step = peers.poll(context);
        *most_held = held_bytes(peers).max(*most_held);
        step
    });
    match timeout(PATIENCE, step).await.expect("a message") {
        PeerStep::Message(parts) => parts,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn large_messages_of_many_at_once_share_memory_and_all_come_whole() {
    const SENDERS: usize = 12;
    let mut peers = Peers::new(8 << 20);
    let senders = connected(&mut peers, SENDERS).await;
    let go = std::sync::Arc::new(tokio::sync::Semaphore::new(0));
    let tasks: Vec<_> = senders
        .into_iter()
        .enumerate()
        .map(|(index, mut sender)| {
            let go = std::sync::Arc::clone(&go);
            tokio::spawn(async move {
                // All are in the middle of a message at once.
                let body = vec![index as u8; LARGE];
                sender.write_all(&[&head(LARGE), &body[..LARGE / 2]].concat()).await.unwrap();
                drop(go.acquire().await.unwrap());
                sender.write_all(&body[LARGE / 2..]).await.unwrap();
                sender
            })
        })
        .collect();
    let somebody_waits = std::future::poll_fn(|context| {
        assert!(peers.poll(context).is_pending());
        if peers.waiting { Poll::Ready(()) } else { Poll::Pending }
    });
    timeout(PATIENCE, somebody_waits).await.expect("more than all may have together");
    go.add_permits(SENDERS);
    let mut seen = [false; SENDERS];
    let mut most_held = 0;
    for _ in 0..SENDERS {
        let parts = next_message(&mut peers, &mut most_held).await;
        let index = usize::from(parts[0][0]);
        assert!(
            parts.len() == 1
                && parts[0].len() == LARGE
                && parts[0].iter().all(|byte| usize::from(*byte) == index)
        );
        assert!(!std::mem::replace(&mut seen[index], true));
    }
    // Two of the largest messages, and what each may have without asking: half of what all would take.
    let bound = 2 * (8 << 20) + SENDERS * (FREE_BYTES + (1 << 20));
    assert!(most_held <= bound, "{most_held} {bound}");
    for task in tasks {
        drop(task.await.unwrap());
    }
}

#[tokio::test]
async fn one_who_stops_in_the_middle_of_a_message_makes_room_for_those_who_wait() {
    let mut peers = Peers::new(8 << 20);
    peers.stall = Duration::from_millis(100);
    let mut senders = connected(&mut peers, 2).await;
    let mut second = senders.pop().unwrap();
    let mut first = senders.pop().unwrap();
    let stopped = tokio::spawn(async move {
        first.write_all(&[head(LARGE), vec![1; LARGE - 1]].concat()).await.unwrap();
        first
    });
    // It is read as far as it comes; without anybody waiting it may take its time.
    while held_bytes(&peers) < LARGE - 1 {
        let progress = std::future::poll_fn(|context| {
            assert!(peers.poll(context).is_pending());
            if held_bytes(&peers) >= LARGE - 1 { Poll::Ready(()) } else { Poll::Pending }
        });
        timeout(PATIENCE, progress).await.expect("all that was sent");
    }
    let waiting = tokio::spawn(async move {
        second.write_all(&[head(LARGE), vec![2; LARGE]].concat()).await.unwrap();
        second
    });
    let PeerStep::Gone { trouble: Some(trouble) } = next(&mut peers).await else { panic!("it was cut off") };
    assert!(trouble.contains("while others waited"), "{trouble}");
    let PeerStep::Message(parts) = next(&mut peers).await else { panic!("the other one got through") };
    assert_eq!((parts[0].len(), parts[0][0]), (LARGE, 2));
    drop((stopped.await.unwrap(), waiting.await.unwrap()));
}

#[tokio::test]
async fn one_too_many_is_refused() {
    let mut peers = Peers::new(8 << 20);
    let senders = connected(&mut peers, MAX_PEERS).await;
    let mut others = Peers::new(8 << 20);
    let _late = connected(&mut others, 1).await;
    let Peer { wire, address, .. } = others.list.pop().unwrap();
    assert!(!peers.add(wire, address));
    drop(senders);
    assert!(matches!(next(&mut peers).await, PeerStep::Gone { trouble: None }), "an end in good order");
    assert_eq!(peers.count(), MAX_PEERS - 1);
}

#[tokio::test]
async fn a_flood_leaves_the_others_their_turn() {
    let mut peers = Peers::new(8 << 20);
    let mut senders = connected(&mut peers, 2).await;
    let mut quiet = senders.pop().unwrap();
    let mut flood = senders.pop().unwrap();
    let flooding = tokio::spawn(async move {
        let block = b"\0\x01f".repeat(20_000);
        while flood.write_all(&block).await.is_ok() {}
    });
    let mut most_held = 0;
    assert_eq!(next_message(&mut peers, &mut most_held).await[0], "f");
    quiet.write_all(b"\0\x05quiet").await.unwrap();
    let mut between = 0;
    while next_message(&mut peers, &mut most_held).await[0] != "quiet" {
        between += 1;
        tokio::task::yield_now().await;
    }
    assert!(between <= 2 * TURN_BYTES / 64, "{between} messages of the flood came first");
    drop(peers);
    flooding.await.unwrap();
}

/// What comes before a heartbeat cannot be read while nobody takes messages; the sender must not give up on us.
#[tokio::test]
async fn heartbeats_are_answered_while_nothing_is_read() {
    let mut peers = Peers::new(8 << 20);
    let mut senders = connected(&mut peers, 2).await;
    let mut plain = senders.pop().unwrap();
    let mut beating = senders.pop().unwrap();
    beating.write_all(b"\x04\x09\x04PING\0\0me\0\x01x").await.unwrap();
    let mut most_held = 0;
    assert_eq!(next_message(&mut peers, &mut most_held).await[0], "x");
    let pong = b"\x04\x07\x04PONGme";
    let mut read = [0; 5 * 9];
    tokio::select! {
        () = peers.hold() => unreachable!(),
        answered = timeout(PATIENCE, beating.read_exact(&mut read)) => {
            answered.expect("answers").unwrap();
        }
    }
    assert_eq!(read, *pong.repeat(5));
    // Who has sent none is sent none.
    drop(peers);
    assert_eq!(plain.read(&mut read).await.unwrap(), 0);
}
