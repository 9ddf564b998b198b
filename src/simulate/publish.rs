//! The thin edge: sends messages over a ZeroMQ PUSH or PUB socket at the pace of the microscope.
//!
//! PUSH waits for a receiver and loses nothing while it is connected. PUB waits for a first subscriber, where it
//! is told to, and loses what nobody subscribed to. The socket's own queue is bounded in messages only, so the
//! bytes that wait in it are counted here and bounded by [`MAX_IN_FLIGHT_BYTES`]. Messages are made on a
//! blocking thread. At the end, and when it is cancelled, the sender waits until what it has sent is written out:
//! without a limit while nobody cancels it, and for `linger` after that.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{Notify, mpsc};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use zeromq::{
    PubSocket, PushSocket, Socket as _, SocketEvent, SocketOptions, SocketSend as _, ZmqError, ZmqMessage,
};

use super::{MessageKind, WireMessage};
use crate::source::stxm_stream::STREAM;
use crate::source::stxm_stream::encode::EncodeError;

/// Bytes that may wait in the socket before the sender waits, too.
pub const MAX_IN_FLIGHT_BYTES: usize = 16 * 1024 * 1024;
/// Messages that are made ahead.
const AHEAD: usize = 64;
/// How long to wait before looking again for a receiver.
const RETRY: Duration = Duration::from_millis(20);
/// How long one attempt to connect may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// A subscription reaches PUB a moment after the connection, and PUB does not tell when.
const SUBSCRIPTION_DELAY: Duration = Duration::from_millis(300);

/// Where the socket goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Endpoint {
    /// It binds to `tcp://address:port`; port 0 is any free one.
    Bind(String),
    /// It connects to `tcp://address:port`.
    Connect(String),
}

/// Kind of the socket.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SocketKind {
    /// PUSH: lossless.
    #[default]
    Push,
    /// PUB: with a topic, [`STREAM`], before every message.
    Pub,
}

/// How to publish.
#[derive(Clone, Debug, PartialEq)]
pub struct PublishSettings {
    /// Where.
    pub endpoint: Endpoint,
    /// Over what.
    pub socket: SocketKind,
    /// 1: as fast as the microscope; X: so many times faster; 0: as fast as possible.
    pub speed: f64,
    /// Whether PUB waits for a first subscriber. PUSH always does.
    pub wait_for_peer: bool,
    /// How long a cancelled sender waits until what it has sent is written out.
    pub linger: Duration,
}

/// What happens meanwhile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PublishEvent {
    /// The socket is bound to this address, with the port it really has.
    Bound(String),
    /// There is no receiver yet, or no more.
    Waiting,
    /// A message was handed to the socket.
    Sent {
        /// What it was.
        kind: MessageKind,
        /// Messages so far.
        messages: u64,
        /// Bytes so far.
        bytes: u64,
    },
}

/// What was sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PublishReport {
    /// Messages handed to the socket.
    pub messages: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Whether the sender was cancelled before all was sent.
    pub cancelled: bool,
    /// Bytes that were not yet written out when the sender gave up waiting.
    pub unsent_bytes: usize,
}

/// Why publishing failed.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// The socket cannot be bound or connected.
    #[error("cannot use {address}: {source}; give tcp://address:port that is free and ours")]
    Endpoint {
        /// The address.
        address: String,
        /// Why.
        source: ZmqError,
    },
    /// The speed is no number, or below 0.
    #[error("speed {0} must be 0 (as fast as possible) or above")]
    Speed(f64),
    /// A message could not be made.
    #[error(transparent)]
    Encode(#[from] EncodeError),
    /// The thread that makes the messages died.
    #[error("the maker of messages died: {0}")]
    Maker(String),
}

/// Sends `messages`, one after the other, until they end or `cancel` is cancelled.
///
/// # Errors
/// See [`PublishError`]. A receiver that goes away is no error: PUSH waits for the next one.
pub async fn publish(
    settings: PublishSettings,
    messages: impl Iterator<Item = Result<WireMessage, EncodeError>> + Send + 'static,
    cancel: CancellationToken,
    mut on_progress: impl FnMut(PublishEvent) + Send,
) -> Result<PublishReport, PublishError> {
    if !(settings.speed.is_finite() && settings.speed >= 0.0) {
        return Err(PublishError::Speed(settings.speed));
    }
    let mut sender = Sender::open(&settings, &cancel, &mut on_progress).await?;
    let (made, mut to_send) = mpsc::channel(AHEAD);
    let maker = tokio::task::spawn_blocking(move || {
        // Nobody takes them any more: the sender was cancelled or failed.
        messages.map_while(|message| made.blocking_send(message).ok()).for_each(drop);
    });
    let mut report = PublishReport::default();
    let mut clock: Option<Instant> = None;
    let mut exposure_ms = 0.0;
    let result = loop {
        let message = tokio::select! {
            biased;
            () = cancel.cancelled() => break Ok(()),
            message = to_send.recv() => message,
        };
        let message = match message {
            None => break Ok(()),
            Some(Err(error)) => break Err(error.into()),
            Some(Ok(message)) => message,
        };
        exposure_ms += message.exposure_ms;
        if let Some(due) = clock.and_then(|start| due(start, exposure_ms, settings.speed))
            && !unless_cancelled(&cancel, tokio::time::sleep_until(due)).await
        {
            break Ok(());
        }
        let bytes = message.parts.iter().map(Bytes::len).sum::<usize>() as u64;
        if !sender.send(&message.parts, &cancel, &mut on_progress).await {
            break Ok(());
        }
        // The pace counts from the first message that a receiver took.
        clock.get_or_insert_with(Instant::now);
        report.messages += 1;
        report.bytes += bytes;
        on_progress(PublishEvent::Sent {
            kind: message.kind,
            messages: report.messages,
            bytes: report.bytes,
        });
    };
    drop(to_send);
    let maker = maker.await.map_err(|error| PublishError::Maker(error.to_string()));
    report.unsent_bytes = sender.close(&cancel, settings.linger).await;
    report.cancelled = cancel.is_cancelled();
    result.and(maker).map(|()| report)
}

/// When a message is due; `None` for as fast as possible.
fn due(start: Instant, exposure_ms: f64, speed: f64) -> Option<Instant> {
    let wait = Duration::try_from_secs_f64(exposure_ms / 1e3 / speed).ok()?;
    start.checked_add(wait)
}

/// Waits; returns whether it was not cancelled before.
async fn unless_cancelled(cancel: &CancellationToken, future: impl Future) -> bool {
    tokio::select! {
        biased;
        () = cancel.cancelled() => false,
        _ = future => true,
    }
}

/// Bytes that the socket holds: a part counts until the socket has written it and lets it go.
#[derive(Debug, Default)]
struct InFlight {
    bytes: AtomicUsize,
    fewer: Notify,
}

/// A part of a message on its way.
struct Tracked {
    part: Bytes,
    in_flight: Arc<InFlight>,
}

impl AsRef<[u8]> for Tracked {
    fn as_ref(&self) -> &[u8] {
        &self.part
    }
}

impl Drop for Tracked {
    fn drop(&mut self) {
        self.in_flight.bytes.fetch_sub(self.part.len(), Ordering::AcqRel);
        self.in_flight.fewer.notify_waiters();
    }
}

impl InFlight {
    fn track(self: &Arc<Self>, part: &Bytes) -> Bytes {
        self.bytes.fetch_add(part.len(), Ordering::AcqRel);
        Bytes::from_owner(Tracked { part: part.clone(), in_flight: Arc::clone(self) })
    }

    fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Acquire)
    }

    /// Waits until at most `limit` bytes are on their way.
    async fn at_most(&self, limit: usize) {
        loop {
            // Asked for before looking, so that no notice between the two is missed.
            let fewer = self.fewer.notified();
            tokio::pin!(fewer);
            fewer.as_mut().enable();
            if self.bytes() <= limit {
                return;
            }
            fewer.await;
        }
    }
}

enum Socket {
    Push(PushSocket),
    Pub(PubSocket),
}

impl Socket {
    fn new(kind: SocketKind) -> Self {
        let mut options = SocketOptions::default();
        options.connect_timeout(CONNECT_TIMEOUT);
        match kind {
            SocketKind::Push => Self::Push(PushSocket::with_options(options)),
            SocketKind::Pub => Self::Pub(PubSocket::with_options(options)),
        }
    }

    async fn bind(&mut self, address: &str) -> Result<String, ZmqError> {
        let endpoint = match self {
            Self::Push(socket) => socket.bind(address).await,
            Self::Pub(socket) => socket.bind(address).await,
        };
        endpoint.map(|endpoint| endpoint.to_string())
    }

    async fn connect(&mut self, address: &str) -> Result<(), ZmqError> {
        match self {
            Self::Push(socket) => socket.connect(address).await,
            Self::Pub(socket) => socket.connect(address).await,
        }
    }

    async fn send(&mut self, message: ZmqMessage) -> Result<(), ZmqError> {
        match self {
            Self::Push(socket) => socket.send(message).await,
            Self::Pub(socket) => socket.send(message).await,
        }
    }
}

struct Sender {
    socket: Socket,
    endpoint: Endpoint,
    in_flight: Arc<InFlight>,
}

impl Sender {
    async fn open(
        settings: &PublishSettings,
        cancel: &CancellationToken,
        on_progress: &mut (impl FnMut(PublishEvent) + Send),
    ) -> Result<Self, PublishError> {
        let mut socket = Socket::new(settings.socket);
        let mut monitor = match &mut socket {
            Socket::Push(_) => None,
            Socket::Pub(socket) => Some(socket.monitor()),
        };
        let endpoint = settings.endpoint.clone();
        match &endpoint {
            Endpoint::Bind(address) => {
                let bound = socket.bind(address).await;
                let bound =
                    bound.map_err(|source| PublishError::Endpoint { address: address.clone(), source })?;
                on_progress(PublishEvent::Bound(bound));
            }
            Endpoint::Connect(address) => {
                on_progress(PublishEvent::Waiting);
                if let Some(Err(source)) = connect(&mut socket, address, cancel).await {
                    return Err(PublishError::Endpoint { address: address.clone(), source });
                }
            }
        }
        if let Some(monitor) = monitor.as_mut().filter(|_| settings.wait_for_peer) {
            let bound = matches!(endpoint, Endpoint::Bind(_));
            let subscribed = async {
                while bound && !matches!(monitor.try_recv(), Ok(SocketEvent::Accepted(..))) {
                    tokio::time::sleep(RETRY).await;
                }
                tokio::time::sleep(SUBSCRIPTION_DELAY).await;
            };
            on_progress(PublishEvent::Waiting);
            unless_cancelled(cancel, subscribed).await;
        }
        Ok(Self { socket, endpoint, in_flight: Arc::default() })
    }

    /// Sends; returns whether it was not cancelled before.
    async fn send(
        &mut self,
        parts: &[Bytes],
        cancel: &CancellationToken,
        on_progress: &mut (impl FnMut(PublishEvent) + Send),
    ) -> bool {
        if !unless_cancelled(cancel, self.in_flight.at_most(MAX_IN_FLIGHT_BYTES)).await {
            return false;
        }
        let mut told = false;
        loop {
            let topic = matches!(self.socket, Socket::Pub(_)).then(|| Bytes::from_static(STREAM.as_bytes()));
            let all: Vec<_> =
                topic.into_iter().chain(parts.iter().map(|part| self.in_flight.track(part))).collect();
            // Every message has a header, so that there is at least one part.
            let Ok(message) = ZmqMessage::try_from(all) else { return true };
            match self.socket.send(message).await {
                Ok(()) => return true,
                Err(error) => tracing::debug!(%error, "no receiver took the message"),
            }
            if !std::mem::replace(&mut told, true) {
                on_progress(PublishEvent::Waiting);
            }
            let again = match &self.endpoint {
                Endpoint::Connect(address) => {
                    let address = address.clone();
                    connect(&mut self.socket, &address, cancel).await.is_some()
                }
                Endpoint::Bind(_) => unless_cancelled(cancel, tokio::time::sleep(RETRY)).await,
            };
            if !again {
                return false;
            }
        }
    }

    /// Waits until everything is written out; returns how many bytes were not.
    async fn close(self, cancel: &CancellationToken, linger: Duration) -> usize {
        let given_up = async {
            cancel.cancelled().await;
            tokio::time::sleep(linger).await;
        };
        let in_flight = self.in_flight;
        let written_out = async {
            in_flight.at_most(0).await;
            // Taken from the queue is not yet written: the socket's writer holds its last bytes itself, and ends,
            // letting go of the back end, when they are out.
            let back_end = match self.socket {
                Socket::Push(socket) => {
                    let back_end = socket.backend();
                    drop(socket.close().await);
                    back_end
                }
                Socket::Pub(socket) => {
                    let back_end = socket.backend();
                    drop(socket.close().await);
                    back_end
                }
            };
            while Arc::strong_count(&back_end) > 1 {
                tokio::time::sleep(RETRY).await;
            }
        };
        tokio::select! {
            () = written_out => {}
            () = given_up => {}
        }
        in_flight.bytes()
    }
}

/// Connects, again and again while nobody listens there; `None` when cancelled.
async fn connect(
    socket: &mut Socket,
    address: &str,
    cancel: &CancellationToken,
) -> Option<Result<(), ZmqError>> {
    loop {
        let attempt = tokio::select! {
            biased;
            () = cancel.cancelled() => return None,
            attempt = socket.connect(address) => attempt,
        };
        match attempt {
            Err(ZmqError::ConnectTimeout(_) | ZmqError::Network(_)) => {}
            other => return Some(other),
        }
        if !unless_cancelled(cancel, tokio::time::sleep(RETRY)).await {
            return None;
        }
    }
}

#[cfg(test)]
mod tests;
