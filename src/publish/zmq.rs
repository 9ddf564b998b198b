//! The ZeroMQ output: a PUB socket in a task of its own, fed through an outbox that never blocks.
//!
//! # Bounds
//! Two places hold bytes for subscribers, each bounded by `queue_bytes`:
//! - the [`outbox`]: what the pipeline has handed over and the socket has not taken yet. Maps and spectra:
//!   the latest of each topic wins. Events keep their order; too many drop the oldest, counted.
//! - the queues of the [`subscribers`]: they share one copy of a message, and each of its parts carries a token of a byte
//!   [`budget`], given back when the last of them has written it. A message leaves the outbox only when the
//!   budget has room.
//!
//! A subscriber that takes nothing for [`PublisherSettings::stall`] is cut off by the kernel
//! (`TCP_USER_TIMEOUT`, on Linux), which frees what it held; a dead host likewise.
//!
//! What a subscriber sends takes no memory worth the name: it is read by [`crate::zmtp`], which bounds what is announced, and
//! answers heartbeats. Who does not keep to the protocol is cut off and counted; the others do not notice.
//!
//! # What remains
//! - One budget for all: a subscriber that is slow, but not stalled, makes the others wait for its pace once
//!   `queue_bytes` are in flight; they then get the latest map, with generations left out. A stalled one does
//!   so for at most `stall`.
//! - As with every PUB socket, a subscriber gets nothing from before it subscribed, and is not told what it
//!   missed; generations say so.

pub mod budget;
pub mod outbox;
mod subscribers;

use std::net::{TcpListener, ToSocketAddrs};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::message::Message;
use crate::telemetry::names;
use crate::zmtp::{Arrival, Lobby, Role, Session, Wire, message_chunks};
use budget::Budget;
pub use outbox::Policy;
use outbox::{Outbox, Parts};
use subscribers::{MAX_SUBSCRIBERS, Subscribers};

/// How often the number of subscribers is looked at, and how often a stop looks whether all has left.
const TICK: Duration = Duration::from_millis(500);
/// How long a stop waits for what is queued to leave.
const DRAIN: Duration = Duration::from_secs(2);

/// Bounds of the output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PublisherSettings {
    /// Most bytes in the outbox, and most bytes in the queues of the socket.
    pub queue_bytes: usize,
    /// Most events waiting in the outbox.
    pub max_events: usize,
    /// A subscriber that takes nothing for so long is cut off.
    pub stall: Duration,
}

impl Default for PublisherSettings {
    fn default() -> Self {
        Self { queue_bytes: 64 * 1024 * 1024, max_events: 1024, stall: Duration::from_secs(10) }
    }
}

/// Why the output could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum PublisherError {
    /// The address is not one.
    #[error("publish.bind {0:?} is not tcp://<address>:<port>")]
    Address(String),
    /// The port could not be bound.
    #[error("publish.bind {address:?}: {error}")]
    Bind {
        /// The address.
        address: String,
        /// What the operating system said.
        error: std::io::Error,
    },
}

/// The PUB socket, bound and not yet running.
#[derive(Debug)]
pub struct Publisher {
    lobby: Lobby,
    subscribers: Subscribers,
    shared: Arc<Shared>,
    budget: Arc<Budget>,
    endpoint: String,
}

/// What the pipeline sends through. Clones share one outbox.
#[derive(Clone, Debug)]
pub struct PublisherHandle {
    shared: Option<Arc<Shared>>,
}

#[derive(Debug)]
struct Shared {
    outbox: Mutex<Outbox>,
    filled: Notify,
}

impl PublisherHandle {
    /// A handle that leads nowhere: for when nothing is published.
    #[must_use]
    pub fn nowhere() -> Self {
        Self { shared: None }
    }

    /// Hands `message` over. Returns at once, from any thread; what has to give way is counted.
    pub fn send(&self, message: &Message, policy: Policy) {
        let Some(shared) = &self.shared else { return };
        let parts = Parts {
            topic: message.topic.clone().into(),
            header: message.header.to_string().into(),
            table: message.table.clone(),
        };
        shared.outbox.lock().unwrap_or_else(PoisonError::into_inner).push(parts, policy);
        shared.filled.notify_one();
    }
}

impl Publisher {
    /// Binds `tcp://<address>:<port>`; port 0 takes a free one, see [`Publisher::endpoint`].
    ///
    /// # Errors
    /// [`PublisherError`]: a wrong address, or one that cannot be bound.
    pub async fn bind(
        address: &str,
        settings: PublisherSettings,
    ) -> Result<(Self, PublisherHandle), PublisherError> {
        let wrong = || PublisherError::Address(address.to_owned());
        let socket = address.strip_prefix("tcp://").ok_or_else(wrong)?;
        let socket =
            socket.strip_prefix('*').map_or_else(|| socket.to_owned(), |port| format!("0.0.0.0{port}"));
        let resolved = socket.to_socket_addrs().map_err(|_| wrong())?.collect::<Vec<_>>();
        let listener = TcpListener::bind(&resolved[..])
            .map_err(|error| PublisherError::Bind { address: address.to_owned(), error })?;
        Self::listen(listener, settings).await
    }

    /// Takes over a listener that is bound already.
    ///
    /// # Errors
    /// [`PublisherError::Bind`].
    pub async fn listen(
        listener: TcpListener,
        settings: PublisherSettings,
    ) -> Result<(Self, PublisherHandle), PublisherError> {
        cut_off_after(&listener, settings.stall);
        let failed = |error| PublisherError::Bind { address: "a listener".to_owned(), error };
        listener.set_nonblocking(true).map_err(failed)?;
        let listener = tokio::net::TcpListener::from_std(listener).map_err(failed)?;
        let endpoint = format!("tcp://{}", listener.local_addr().map_err(failed)?);
        let lobby = Lobby::open(listener, |stream| Wire::new(stream, Session::new(Role::Pub, 0)));
        let outbox = Mutex::new(Outbox::new(settings.queue_bytes, settings.max_events));
        let shared = Arc::new(Shared { outbox, filled: Notify::new() });
        let budget = Budget::new(settings.queue_bytes);
        let handle = PublisherHandle { shared: Some(Arc::clone(&shared)) };
        Ok((Self { lobby, subscribers: Subscribers::default(), shared, budget, endpoint }, handle))
    }

    /// Where subscribers connect to, `tcp://<address>:<port>`.
    #[must_use]
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// Bytes held for subscribers by the socket's queues.
    #[must_use]
    pub fn budget(&self) -> Arc<Budget> {
        Arc::clone(&self.budget)
    }

    /// Sends what is handed over until `stop`, then what is still queued, for at most two seconds.
    pub async fn run(mut self, stop: CancellationToken) {
        let mut tick = tokio::time::interval(TICK);
        let mut give_up = None;
        loop {
            if give_up.is_none() && stop.is_cancelled() {
                give_up = Some(tokio::time::Instant::now() + DRAIN);
            }
            let sent = self.send_next();
            metrics::gauge!(names::PUBLISH_SUBSCRIBERS).set(self.subscribers.count() as f64);
            metrics::gauge!(names::PUBLISH_QUEUED_BYTES).set(self.budget.held() as f64);
            if sent {
                // Whoever writes has a turn between two messages.
                tokio::task::yield_now().await;
                continue;
            }
            if let Some(give_up) = give_up {
                let empty = self.is_empty() && self.budget.held() == 0;
                if empty || tokio::time::Instant::now() >= give_up {
                    break;
                }
            }
            tokio::select! {
                arrival = std::future::poll_fn(|context| self.lobby.poll(context)) => {
                    arrive(&mut self.subscribers, arrival);
                }
                () = self.shared.filled.notified() => {}
                () = self.budget.released() => {}
                _ = tick.tick() => {}
                () = stop.cancelled(), if give_up.is_none() => {}
            }
        }
        let left =
            give_up.map_or(Duration::ZERO, |at| at.saturating_duration_since(tokio::time::Instant::now()));
        self.subscribers.close(left).await;
    }

    fn is_empty(&self) -> bool {
        self.shared.outbox.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
    }

    /// Sends the first message of the outbox where the budget has room for it; returns whether it did.
    fn send_next(&mut self) -> bool {
        let room = self.budget.room();
        let next = self.shared.outbox.lock().unwrap_or_else(PoisonError::into_inner).pop(room);
        let Some(parts) = next else { return false };
        let (kind, bytes) = (parts.kind(), parts.bytes());
        let topic = parts.topic.clone();
        let held = [parts.topic, self.budget.hold(parts.header), self.budget.hold(parts.table)];
        let lost = self.subscribers.send(&topic, &message_chunks(&held).into());
        metrics::counter!(names::PUBLISH_MESSAGES, "kind" => kind).increment(1);
        metrics::counter!(names::PUBLISH_BYTES, "kind" => kind).increment(bytes as u64);
        if lost > 0 {
            metrics::counter!(names::PUBLISH_DROPPED, "kind" => kind).increment(lost as u64);
            tracing::warn!(kind, lost, "subscribers with full queues lost a message");
        }
        true
    }
}

/// Takes a subscriber in, or tells why not.
fn arrive(subscribers: &mut Subscribers, arrival: Arrival) {
    match arrival {
        Arrival::Peer(wire, address) => {
            if !subscribers.add(*wire, address.clone()) {
                subscribers::trouble(&format!("{address} was refused: {MAX_SUBSCRIBERS} are connected"));
            }
        }
        Arrival::Stranger(what) => subscribers::trouble(&what),
        Arrival::Failed(error) => subscribers::trouble(&format!("accepting: {error}")),
    }
}

/// Lets the kernel close connections accepted from `listener` whose peer takes nothing for `stall`. Connections
/// inherit it from the listener.
#[cfg(target_os = "linux")]
fn cut_off_after(listener: &TcpListener, stall: Duration) {
    if let Err(error) = socket2::SockRef::from(listener).set_tcp_user_timeout(Some(stall)) {
        tracing::warn!(%error, "stalled subscribers will not be cut off");
    }
}

#[cfg(not(target_os = "linux"))]
fn cut_off_after(_: &TcpListener, _: Duration) {
    tracing::warn!("stalled subscribers are cut off on Linux only");
}

#[cfg(test)]
mod tests;
