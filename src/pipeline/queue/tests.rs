use std::future::poll_fn;
use std::pin::Pin;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use super::*;

fn limits(bytes: usize, items: usize) -> Limits {
    Limits { bytes, items }
}

/// Polls once; true when the future is still waiting.
async fn is_pending<F: Future + ?Sized>(mut future: Pin<&mut F>) -> bool {
    poll_fn(|context| Poll::Ready(future.as_mut().poll(context).is_pending())).await
}

fn take(receiver: &mut QueueReceiver<u32>) -> Vec<u32> {
    let mut items = Vec::new();
    assert!(matches!(receiver.pop_all(&mut items, None), Popped::Items(count) if count == items.len()));
    items
}

#[tokio::test]
async fn the_byte_bound_is_exact() {
    let (sender, mut receiver) = bounded(limits(100, 1000));
    sender.push(1, 60).await.unwrap();
    sender.push(2, 40).await.unwrap();
    let mut third = Box::pin(sender.push(3, 1));
    assert!(is_pending(third.as_mut()).await, "100 of 100 bytes are taken");
    assert_eq!(sender.stats().bytes, 100);
    assert_eq!(take(&mut receiver), [1, 2]);
    third.await.unwrap();
    assert_eq!(take(&mut receiver), [3]);
    let stats = sender.stats();
    assert_eq!((stats.bytes, stats.items, stats.bytes_high_water, stats.items_high_water), (0, 0, 100, 2));
    assert_eq!((stats.pushed_items, stats.pushed_bytes), (3, 101));
}

#[tokio::test]
async fn the_item_bound_is_exact_also_for_items_without_bytes() {
    let (sender, mut receiver) = bounded(limits(100, 2));
    sender.push(1, 0).await.unwrap();
    sender.push(2, 0).await.unwrap();
    let mut third = Box::pin(sender.push(3, 0));
    assert!(is_pending(third.as_mut()).await);
    assert_eq!(take(&mut receiver), [1, 2]);
    third.await.unwrap();
}

#[tokio::test]
async fn an_oversize_item_passes_alone_and_only_alone() {
    let (sender, mut receiver) = bounded(limits(100, 1000));
    sender.push(1, 1).await.unwrap();
    let mut big = Box::pin(sender.push(2, 250));
    assert!(is_pending(big.as_mut()).await, "not beside another");
    // It waits first, so nobody overtakes it, though one byte would fit.
    let mut small = Box::pin(sender.push(3, 1));
    assert!(is_pending(small.as_mut()).await);
    assert_eq!(take(&mut receiver), [1]);
    big.await.unwrap();
    assert_eq!(sender.stats().bytes, 250);
    assert!(is_pending(small.as_mut()).await, "nothing beside the big one");
    assert_eq!(take(&mut receiver), [2]);
    small.await.unwrap();
    assert_eq!(take(&mut receiver), [3]);
}

#[tokio::test]
async fn a_cancelled_push_leaves_nothing_behind() {
    let (sender, mut receiver) = bounded(limits(10, 1000));
    sender.push(1, 10).await.unwrap();
    let mut given_up = Box::pin(sender.push(2, 10));
    let mut patient = Box::pin(sender.push(3, 10));
    assert!(is_pending(given_up.as_mut()).await);
    assert!(is_pending(patient.as_mut()).await);
    drop(given_up);
    drop(sender.reserve(0).await.unwrap());
    assert_eq!(take(&mut receiver), [1]);
    patient.await.unwrap();
    assert_eq!(take(&mut receiver), [3]);
    // All of the room is there again.
    sender.push(4, 10).await.unwrap();
}

#[tokio::test]
async fn past_the_bound_adds_the_item_and_claims_no_room() {
    let (sender, mut receiver) = bounded(limits(10, 1));
    sender.push(1, 10).await.unwrap();
    sender.push_past_bound(2, 10).unwrap();
    assert_eq!(sender.stats().bytes, 20);
    assert_eq!(take(&mut receiver), [1, 2]);
    sender.push(3, 10).await.unwrap();
    assert!(is_pending(Box::pin(sender.push(4, 1)).as_mut()).await, "the bound is what it was");
}

#[test]
fn closing_drains_first() {
    let (sender, mut receiver) = bounded(limits(100, 100));
    let second = sender.clone();
    sender.push_blocking(1, 1).unwrap();
    drop(sender);
    second.push_blocking(2, 1).unwrap();
    drop(second);
    let mut items = vec![0];
    assert_eq!(receiver.pop_all(&mut items, None), Popped::Items(2));
    assert_eq!(items, [0, 1, 2]);
    assert_eq!(receiver.pop_all(&mut items, None), Popped::Closed);
}

#[test]
fn the_deadline_ends_the_wait() {
    let (sender, mut receiver) = bounded::<u32>(limits(100, 100));
    let mut items = Vec::new();
    let start = Instant::now();
    let deadline = start + Duration::from_millis(20);
    assert_eq!(receiver.pop_all(&mut items, Some(deadline)), Popped::TimedOut);
    assert!(Instant::now() >= deadline);
    sender.push_blocking(7, 1).unwrap();
    assert_eq!(
        receiver.pop_all(&mut items, Some(start)),
        Popped::Items(1),
        "what is there is taken, late or not"
    );
}

#[test]
fn a_sender_that_waits_learns_that_the_receiver_is_gone() {
    let (sender, receiver) = bounded(limits(1, 10));
    sender.push_blocking(1, 1).unwrap();
    let blocked = thread::spawn({
        let sender = sender.clone();
        move || sender.push_blocking(2, 1)
    });
    drop(receiver);
    assert_eq!(blocked.join().unwrap(), Err(Closed));
    assert_eq!(sender.push_past_bound(3, 1), Err(Closed));
}

#[test]
fn waiting_is_measured() {
    let (sender, mut receiver) = bounded(limits(1, 10));
    sender.push_blocking(1, 1).unwrap();
    assert_eq!(sender.stats().waited_us, 0);
    let (done, finished) = mpsc::channel();
    let blocked = thread::spawn({
        let sender = sender.clone();
        move || {
            sender.push_blocking(2, 1).unwrap();
            done.send(()).unwrap();
        }
    });
    // It cannot finish before there is room: this waits the 10 ms out, and proves it.
    assert!(finished.recv_timeout(Duration::from_millis(10)).is_err());
    // While it waits, not only once that is over: the rule for Prometheus looks at one long wait.
    let watch = sender.watch();
    let grown = |beyond_us: u64| {
        while watch.stats().waited_us <= beyond_us {
            assert!(finished.recv_timeout(Duration::from_millis(1)).is_err());
        }
        watch.stats().waited_us
    };
    grown(grown(0));
    assert_eq!(take(&mut receiver), [1]);
    blocked.join().unwrap();
    let after = sender.stats().waited_us;
    assert!(after >= 1);
    assert_eq!(watch.stats().waited_us, after, "nobody waits any more");
}

/// Threads and tasks push through a queue that is nearly always full; a lost wake-up hangs it, a lost or a
/// reordered item fails it.
#[test]
fn nothing_is_lost_or_reordered_under_stress() {
    const PER_SENDER: u32 = 20_000;
    const SENDERS: u32 = 6;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap();
    let (sender, mut receiver) = bounded::<(u32, u32)>(limits(64, 9));
    for name in 0..SENDERS {
        let sender = sender.clone();
        let size = move |n: u32| ((n * 7 + name) % 90) as usize; // some above the bound
        if name % 2 == 0 {
            drop(runtime.spawn(async move {
                for n in 0..PER_SENDER {
                    sender.push((name, n), size(n)).await.unwrap();
                }
            }));
        } else {
            drop(thread::spawn(move || {
                for n in 0..PER_SENDER {
                    sender.push_blocking((name, n), size(n)).unwrap();
                }
            }));
        }
    }
    let watch = sender.clone();
    drop(sender);
    let mut next = [0; SENDERS as usize];
    let mut items = Vec::new();
    let mut watch = Some(watch);
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        items.clear();
        match receiver.pop_all(&mut items, Some(deadline)) {
            Popped::Items(_) => {}
            Popped::Closed => break,
            Popped::TimedOut => panic!("stuck at {next:?} with {:?}", receiver.stats()),
        }
        let bytes: usize = items.iter().map(|(name, n)| ((n * 7 + name) % 90) as usize).sum();
        assert!(items.len() <= 9, "{} items", items.len());
        let alone = items.iter().filter(|(name, n)| (n * 7 + name) % 90 > 0).count() == 1;
        assert!(bytes <= 64 || alone, "{bytes} bytes in {} items", items.len());
        for (name, n) in &items {
            assert_eq!(*n, next[*name as usize], "order of sender {name}");
            next[*name as usize] += 1;
        }
        if next == [PER_SENDER; SENDERS as usize] {
            watch = None;
        }
    }
    assert!(watch.is_none());
    assert_eq!(next, [PER_SENDER; SENDERS as usize]);
    assert_eq!(receiver.stats().pushed_items, u64::from(PER_SENDER * SENDERS));
}
