//! The queue between the tasks that receive and the one thread that stacks: bounded in bytes, policy *block*.
//!
//! Many senders (asynchronous tasks or threads), one receiver (a thread of its own). The receiver takes all there is
//! at once, so that at high rates a lock and a wake-up are paid per batch, not per message.
//!
//! The bound: the bytes in the queue never exceed [`Limits::bytes`] and the items never [`Limits::items`], with two
//! exceptions that are part of the contract: an item larger than the whole bound passes when the queue is empty, alone;
//! and [`QueueSender::push_past_bound`], for shutdown, adds what a sender already holds. Senders that wait are served in
//! the order in which they came, so a large item is not starved by small ones. The room is free again when the receiver
//! takes the batch: batch in hand plus queue are at most twice the bound.
//!
//! Nothing here can fail but by the other side being gone: [`Closed`].

use std::pin::pin;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;
use std::time::{Duration, Instant};

use tokio::sync::{Semaphore, SemaphorePermit};

/// What the queue may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Sum of the sizes of the items, in bytes; at least 1 is used.
    pub bytes: usize,
    /// Number of items; at least 1 is used. It bounds what the sizes do not count.
    pub items: usize,
}

/// The other side of the queue is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the queue is closed: its receiver is gone")]
pub struct Closed;

/// How [`QueueReceiver::pop_all`] ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Popped {
    /// So many items were appended; at least one.
    Items(usize),
    /// The deadline passed and nothing was there.
    TimedOut,
    /// All senders are gone and everything was taken.
    Closed,
}

/// What the queue holds and has seen, for metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct QueueStats {
    /// Bytes in the queue now.
    pub bytes: usize,
    /// Items in the queue now.
    pub items: usize,
    /// The most bytes that were ever in it.
    pub bytes_high_water: usize,
    /// The most items that were ever in it.
    pub items_high_water: usize,
    /// Items pushed since the start.
    pub pushed_items: u64,
    /// Bytes pushed since the start.
    pub pushed_bytes: u64,
    /// Microseconds senders have waited for room since the start, summed over the senders; waits that are not over count as
    /// far as they have come.
    pub waited_us: u64,
}

struct State<T> {
    items: Vec<T>,
    stats: QueueStats,
    /// Permits to give back when the receiver takes the items.
    held_bytes: usize,
    held_slots: usize,
    senders: usize,
    receiver_waits: bool,
    receiver_gone: bool,
}

struct Shared<T> {
    state: Mutex<State<T>>,
    filled: Condvar,
    /// One permit per byte, and one per item. Tokio's semaphore is fair and its acquiring cancel-safe.
    byte_room: Semaphore,
    slot_room: Semaphore,
    byte_limit: usize,
    waits: Mutex<Waits>,
}

impl<T> Shared<T> {
    fn lock(&self) -> MutexGuard<'_, State<T>> {
        // No code of ours panics while it holds the lock; the counts are right even if one did.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn stats(&self) -> QueueStats {
        let waited = self.waits().waited();
        let waited_us = u64::try_from(waited.as_micros()).unwrap_or(u64::MAX);
        QueueStats { waited_us, ..self.lock().stats }
    }

    fn waits(&self) -> MutexGuard<'_, Waits> {
        self.waits.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn put(&self, item: T, bytes: usize, held_bytes: usize, held_slots: usize) -> Result<(), Closed> {
        let wake = {
            let mut state = self.lock();
            if state.receiver_gone {
                return Err(Closed);
            }
            state.items.push(item);
            state.held_bytes += held_bytes;
            state.held_slots += held_slots;
            let stats = &mut state.stats;
            stats.items += 1;
            stats.bytes += bytes;
            stats.items_high_water = stats.items_high_water.max(stats.items);
            stats.bytes_high_water = stats.bytes_high_water.max(stats.bytes);
            stats.pushed_items += 1;
            stats.pushed_bytes += bytes as u64;
            std::mem::take(&mut state.receiver_waits)
        };
        if wake {
            self.filled.notify_one();
        }
        Ok(())
    }
}

/// Makes a queue. The sender can be cloned; the queue closes when the last clone is dropped.
#[must_use]
pub fn bounded<T>(limits: Limits) -> (QueueSender<T>, QueueReceiver<T>) {
    let byte_limit = limits.bytes.clamp(1, Semaphore::MAX_PERMITS);
    let shared = Arc::new(Shared {
        state: Mutex::new(State {
            items: Vec::new(),
            stats: QueueStats::default(),
            held_bytes: 0,
            held_slots: 0,
            senders: 1,
            receiver_waits: false,
            receiver_gone: false,
        }),
        filled: Condvar::new(),
        byte_room: Semaphore::new(byte_limit),
        slot_room: Semaphore::new(limits.items.clamp(1, Semaphore::MAX_PERMITS)),
        byte_limit,
        waits: Mutex::new(Waits { waiting: 0, waited: Duration::ZERO, counted_to: Instant::now() }),
    });
    (QueueSender { shared: Arc::clone(&shared) }, QueueReceiver { shared })
}

/// The side that fills the queue.
pub struct QueueSender<T> {
    shared: Arc<Shared<T>>,
}

impl<T> QueueSender<T> {
    /// Waits for room and pushes. `bytes` is what the item counts for.
    ///
    /// Cancel-safe in this sense: a dropped call has pushed nothing, holds no room and has not taken another's turn; the
    /// item is dropped with it. Who must keep the item uses [`Self::reserve`].
    ///
    /// # Errors
    /// [`Closed`] when the receiver is gone; the item is dropped.
    pub async fn push(&self, item: T, bytes: usize) -> Result<(), Closed> {
        self.reserve(bytes).await?.fill(item)
    }

    /// Waits for room for an item of `bytes`; cancel-safe.
    ///
    /// # Errors
    /// [`Closed`] when the receiver is gone.
    pub async fn reserve(&self, bytes: usize) -> Result<Slot<'_, T>, Closed> {
        let shared = &*self.shared;
        // More than the limit is as much as the limit: the item passes alone. Semaphores count one claim in 32 bits, so an
        // item above 4 GiB counts for 4 GiB.
        let claim = u32::try_from(bytes.min(shared.byte_limit)).unwrap_or(u32::MAX);
        if let Ok(slot) = shared.slot_room.try_acquire()
            && let Ok(room) = shared.byte_room.try_acquire_many(claim)
        {
            return Ok(Slot { shared, slot, room, bytes });
        }
        let _clock = WaitClock::start(&shared.waits);
        let slot = shared.slot_room.acquire().await.map_err(|_| Closed)?;
        let room = shared.byte_room.acquire_many(claim).await.map_err(|_| Closed)?;
        Ok(Slot { shared, slot, room, bytes })
    }

    /// As [`Self::push`], from a thread that may block. Never call it on a thread of the asynchronous runtime.
    ///
    /// # Errors
    /// [`Closed`] when the receiver is gone.
    pub fn push_blocking(&self, item: T, bytes: usize) -> Result<(), Closed> {
        block_on(self.reserve(bytes))?.fill(item)
    }

    /// Pushes at once, whatever the bound says: for the one item a sender holds when it has to stop.
    ///
    /// # Errors
    /// [`Closed`] when the receiver is gone.
    pub fn push_past_bound(&self, item: T, bytes: usize) -> Result<(), Closed> {
        self.shared.put(item, bytes, 0, 0)
    }

    /// What the queue holds and has seen.
    #[must_use]
    pub fn stats(&self) -> QueueStats {
        self.shared.stats()
    }

    /// For whoever only wants to know that; it does not keep the queue open.
    #[must_use]
    pub fn watch(&self) -> QueueWatch<T> {
        QueueWatch { shared: Arc::clone(&self.shared) }
    }
}

impl<T> Clone for QueueSender<T> {
    fn clone(&self) -> Self {
        self.shared.lock().senders += 1;
        Self { shared: Arc::clone(&self.shared) }
    }
}

impl<T> Drop for QueueSender<T> {
    fn drop(&mut self) {
        let last = {
            let mut state = self.shared.lock();
            state.senders -= 1;
            state.senders == 0
        };
        if last {
            self.shared.filled.notify_one();
        }
    }
}

/// Room in the queue for one item; given back when dropped.
#[must_use]
pub struct Slot<'a, T> {
    shared: &'a Shared<T>,
    slot: SemaphorePermit<'a>,
    room: SemaphorePermit<'a>,
    bytes: usize,
}

impl<T> Slot<'_, T> {
    /// Pushes the item, without waiting.
    ///
    /// # Errors
    /// [`Closed`] when the receiver is gone.
    pub fn fill(self, item: T) -> Result<(), Closed> {
        self.shared.put(item, self.bytes, self.room.num_permits(), 1)?;
        // From here on the receiver gives the room back.
        self.room.forget();
        self.slot.forget();
        Ok(())
    }
}

/// Looks at a queue from aside; neither side waits for it.
pub struct QueueWatch<T> {
    shared: Arc<Shared<T>>,
}

impl<T> QueueWatch<T> {
    /// What the queue holds and has seen.
    #[must_use]
    pub fn stats(&self) -> QueueStats {
        self.shared.stats()
    }
}

/// The side that empties the queue: one thread.
pub struct QueueReceiver<T> {
    shared: Arc<Shared<T>>,
}

impl<T> QueueReceiver<T> {
    /// Blocks until something is there, then appends everything to `into`, in the order in which it was pushed.
    ///
    /// Without a deadline it waits as long as there are senders. What is there is taken even when the deadline has passed.
    pub fn pop_all(&mut self, into: &mut Vec<T>, deadline: Option<Instant>) -> Popped {
        let mut state = self.shared.lock();
        while state.items.is_empty() {
            if state.senders == 0 {
                return Popped::Closed;
            }
            let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            if left.is_some_and(|left| left.is_zero()) {
                state.receiver_waits = false;
                return Popped::TimedOut;
            }
            state.receiver_waits = true;
            state = match left {
                None => self.shared.filled.wait(state).unwrap_or_else(PoisonError::into_inner),
                Some(left) => {
                    self.shared.filled.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
        state.receiver_waits = false;
        let count = state.items.len();
        if into.is_empty() {
            // The vectors change hands, and with them their capacity: no allocation in the steady state.
            std::mem::swap(&mut state.items, into);
        } else {
            into.append(&mut state.items);
        }
        state.stats.bytes = 0;
        state.stats.items = 0;
        let room = std::mem::take(&mut state.held_bytes);
        let slots = std::mem::take(&mut state.held_slots);
        drop(state);
        self.shared.slot_room.add_permits(slots);
        self.shared.byte_room.add_permits(room);
        Popped::Items(count)
    }

    /// Whether all senders are gone; something may still be there.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.shared.lock().senders == 0
    }

    /// What the queue holds and has seen.
    #[must_use]
    pub fn stats(&self) -> QueueStats {
        self.shared.stats()
    }
}

impl<T> Drop for QueueReceiver<T> {
    fn drop(&mut self) {
        let items = {
            let mut state = self.shared.lock();
            state.receiver_gone = true;
            state.stats.bytes = 0;
            state.stats.items = 0;
            std::mem::take(&mut state.items)
        };
        drop(items);
        self.shared.slot_room.close();
        self.shared.byte_room.close();
    }
}

/// How long senders have waited, those that still wait among them.
struct Waits {
    waiting: u32,
    waited: Duration,
    counted_to: Instant,
}

impl Waits {
    /// Counts up to now.
    fn waited(&mut self) -> Duration {
        let now = Instant::now();
        self.waited += now.saturating_duration_since(self.counted_to) * self.waiting;
        self.counted_to = now;
        self.waited
    }
}

/// A sender that waits until this is dropped, so that a cancelled wait counts, too.
struct WaitClock<'a>(&'a Mutex<Waits>);

impl<'a> WaitClock<'a> {
    fn start(waits: &'a Mutex<Waits>) -> Self {
        let own = Self(waits);
        own.change(1);
        own
    }

    fn change(&self, by: i32) {
        let mut waits = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        waits.waited();
        waits.waiting = waits.waiting.saturating_add_signed(by);
    }
}

impl Drop for WaitClock<'_> {
    fn drop(&mut self) {
        self.change(-1);
    }
}

struct ThreadWaker(Thread);

impl Wake for ThreadWaker {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Drives a future that needs no runtime (a semaphore does not) on this thread.
fn block_on<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    let waker = Waker::from(Arc::new(ThreadWaker(std::thread::current())));
    let mut context = Context::from_waker(&waker);
    loop {
        match future.as_mut().poll(&mut context) {
            Poll::Ready(output) => return output,
            // A wake-up between the poll and this line leaves a token, so the park returns at once.
            Poll::Pending => std::thread::park(),
        }
    }
}

#[cfg(test)]
mod tests;
