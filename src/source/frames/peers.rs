//! The peers of one socket: all are read, in turn, and none can make the others wait.
//!
//! # Bounds
//! - At most [`MAX_PEERS`]; one more is refused.
//! - Of each peer one message is in hand, and its memory grows as bytes come. Peers with more than [`FREE_BYTES`] in hand share
//!   one more message of the largest size between them: beyond it only the one that has most is read, so that
//!   there is always one that gets through. Where that one sends nothing for [`STALL`] while others wait, it is cut off.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::time::Sleep;

use crate::zmtp::{Event, Wire, WireError};

/// Most peers of a bound socket.
pub(super) const MAX_PEERS: usize = 64;
/// In hand without asking how much the others have.
const FREE_BYTES: usize = 2 << 20;
/// How long others wait for one whose message does not go on.
const STALL: Duration = Duration::from_secs(10);
/// Bytes in a row from one peer before the next has a turn.
const TURN_BYTES: usize = 256 << 10;
/// How often it is looked whether somebody's time is over.
const TICK: Duration = Duration::from_millis(250);
/// How often those with heartbeats are answered while nothing is read.
const EARLY_PONG: Duration = Duration::from_millis(50);

/// What happened with a peer.
#[derive(Debug)]
pub(super) enum PeerStep {
    /// It sent a message.
    Message(Vec<Bytes>),
    /// It began a message above the limit.
    Oversize { bytes: u64 },
    /// It is gone.
    Gone { trouble: Option<String> },
}

#[derive(Debug)]
struct Peer {
    wire: Wire,
    address: String,
    /// When it came, or was last seen to have sent something.
    moved: Instant,
    seen_bytes: u64,
}

#[derive(Debug)]
pub(super) struct Peers {
    list: Vec<Peer>,
    message_bytes: usize,
    cursor: usize,
    in_row_bytes: usize,
    /// Somebody was not read from because of what others have in hand.
    waiting: bool,
    stall: Duration,
    /// When heartbeats may be answered unread again.
    early_pong: tokio::time::Instant,
    tick: Pin<Box<Sleep>>,
}

impl Peers {
    pub(super) fn new(message_bytes: usize) -> Self {
        Self {
            list: Vec::new(),
            message_bytes,
            cursor: 0,
            in_row_bytes: 0,
            waiting: false,
            stall: STALL,
            early_pong: tokio::time::Instant::now(),
            tick: Box::pin(tokio::time::sleep(TICK)),
        }
    }

    /// How many there are.
    pub(super) fn count(&self) -> usize {
        self.list.len()
    }

    /// Takes a connection in whose handshake is done; false where there is no place.
    pub(super) fn add(&mut self, wire: Wire, address: String) -> bool {
        let free = self.list.len() < MAX_PEERS;
        if free {
            self.list.push(Peer { wire, address, moved: Instant::now(), seen_bytes: 0 });
        }
        free
    }

    /// Hangs up on all.
    pub(super) fn clear(&mut self) {
        self.list.clear();
    }

    /// What happens next, with any of them.
    pub(super) fn poll(&mut self, context: &mut Context<'_>) -> Poll<PeerStep> {
        let count = self.list.len();
        self.waiting = false;
        for turn in 0..count {
            let index = (self.cursor + turn) % count;
            if !self.may_read(index) {
                self.waiting = true;
                continue;
            }
            match self.list[index].wire.poll_event(context) {
                Poll::Ready(Ok(event)) => {
                    if let Some(step) = self.event(index, event) {
                        return Poll::Ready(step);
                    }
                    context.waker().wake_by_ref();
                }
                Poll::Ready(Err(error)) => return Poll::Ready(self.ended(index, &error)),
                Poll::Pending => {}
            }
        }
        self.pass_on(self.cursor + 1);
        Poll::Pending
    }

    /// Who has used up their time. To be asked beside [`Peers::poll`], which may never be pending.
    pub(super) fn poll_tick(&mut self, context: &mut Context<'_>) -> Poll<PeerStep> {
        if !self.waiting {
            return Poll::Pending;
        }
        while self.tick.as_mut().poll(context).is_ready() {
            let now = Instant::now();
            self.tick.as_mut().reset((now + TICK).into());
            if let Some(step) = self.expire(now) {
                return Poll::Ready(step);
            }
        }
        Poll::Pending
    }

    /// Sends answers to heartbeats that cannot be read yet, now and then; never ends. For while nobody takes messages.
    pub(super) async fn hold(&mut self) {
        while self.list.iter().any(|peer| peer.wire.session().has_heartbeats()) {
            // Whoever waits for room before each message shall not send an answer with each.
            tokio::time::sleep_until(self.early_pong).await;
            self.early_pong = tokio::time::Instant::now() + EARLY_PONG;
            for peer in self.list.iter_mut().filter(|peer| peer.wire.session().has_heartbeats()) {
                peer.wire.pong_early();
            }
            std::future::poll_fn(|context| {
                for peer in &mut self.list {
                    // An end of the connection shows when it is read next.
                    _ = peer.wire.poll_flush(context);
                }
                Poll::Ready(())
            })
            .await;
        }
        std::future::pending().await
    }

    fn may_read(&self, index: usize) -> bool {
        let held = |peer: &Peer| peer.wire.session().held_bytes();
        let own = held(&self.list[index]);
        if own <= FREE_BYTES || self.list.len() == 1 {
            return true;
        }
        let large = || self.list.iter().enumerate().filter(|(_, peer)| held(peer) > FREE_BYTES);
        let all: usize = large().map(|(_, peer)| held(peer)).sum();
        all <= self.message_bytes
            || large().max_by_key(|(_, peer)| held(peer)).is_some_and(|(most, _)| most == index)
    }

    fn event(&mut self, index: usize, event: Event) -> Option<PeerStep> {
        match event {
            Event::Message(parts) => {
                self.in_row_bytes += super::payload_bytes(&parts) + 64;
                self.pass_on(if self.in_row_bytes < TURN_BYTES { index } else { index + 1 });
                Some(PeerStep::Message(parts))
            }
            Event::Oversize { bytes } => {
                self.pass_on(index + 1);
                Some(PeerStep::Oversize { bytes })
            }
            // A receiver hears of nothing else once it is open.
            Event::Open | Event::Subscribe(_) | Event::Cancel(_) => None,
        }
    }

    /// Whose turn it is next.
    fn pass_on(&mut self, next: usize) {
        if next != self.cursor {
            self.in_row_bytes = 0;
        }
        self.cursor = next % self.list.len().max(1);
    }

    fn ended(&mut self, index: usize, error: &WireError) -> PeerStep {
        let in_good_order = matches!(error, WireError::Closed { within: false });
        self.remove(index, (!in_good_order).then(|| error.to_string()))
    }

    fn remove(&mut self, index: usize, why: Option<String>) -> PeerStep {
        let peer = self.list.remove(index);
        self.pass_on(if index < self.cursor { self.cursor - 1 } else { self.cursor });
        PeerStep::Gone { trouble: why.map(|why| format!("{}: {why}", peer.address)) }
    }

    fn expire(&mut self, now: Instant) -> Option<PeerStep> {
        for peer in &mut self.list {
            let received_bytes = peer.wire.received_bytes();
            if std::mem::replace(&mut peer.seen_bytes, received_bytes) != received_bytes {
                peer.moved = now;
            }
        }
        let held = |index: &usize| self.list[*index].wire.session().held_bytes();
        let most = (0..self.list.len()).max_by_key(held)?;
        (now.saturating_duration_since(self.list[most].moved) >= self.stall).then(|| {
            let why = "it stopped in the middle of a message while others waited for the memory";
            self.remove(most, Some(why.to_owned()))
        })
    }
}

#[cfg(test)]
mod tests;
