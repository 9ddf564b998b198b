//! The sender's socket: it connects again, waits for a receiver, and bounds what is on its way in bytes.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use zeromq::{
    PubSocket, PushSocket, Socket as _, SocketEvent, SocketOptions, SocketSend as _, ZmqError, ZmqMessage,
};

use super::{Endpoint, MAX_IN_FLIGHT_BYTES, PublishError, PublishEvent, PublishSettings, SocketKind};
use crate::source::stxm_stream::STREAM;

/// How long to wait before looking again for a receiver.
const RETRY: Duration = Duration::from_millis(20);
/// How long one attempt to connect may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// A subscription reaches PUB a moment after the connection, and PUB does not tell when.
const SUBSCRIPTION_DELAY: Duration = Duration::from_millis(300);
/// The same where a start is told once: what is lost then is lost for good.
const UNREPEATED_DELAY: Duration = Duration::from_millis(1000);

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
            SocketKind::Pub | SocketKind::PubAsIs => Self::Pub(PubSocket::with_options(options)),
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

/// A socket, and where it is.
struct Way {
    socket: Socket,
    endpoint: Endpoint,
}

pub(super) struct Sender {
    /// One; or two, where messages of several parts have a socket of their own.
    ways: Vec<Way>,
    /// Whether a topic goes before every message.
    with_topic: bool,
    in_flight: Arc<InFlight>,
}

impl Way {
    async fn open(
        endpoint: &Endpoint,
        settings: &PublishSettings,
        cancel: &CancellationToken,
        on_progress: &mut (impl FnMut(PublishEvent) + Send),
    ) -> Result<Self, PublishError> {
        let mut socket = Socket::new(settings.socket);
        let mut monitor = match &mut socket {
            Socket::Push(_) => None,
            Socket::Pub(socket) => Some(socket.monitor()),
        };
        match endpoint {
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
                let repeats = settings.socket != SocketKind::PubAsIs;
                tokio::time::sleep(if repeats { SUBSCRIPTION_DELAY } else { UNREPEATED_DELAY }).await;
            };
            on_progress(PublishEvent::Waiting);
            unless_cancelled(cancel, subscribed).await;
        }
        Ok(Self { socket, endpoint: endpoint.clone() })
    }
}

impl Sender {
    pub(super) async fn open(
        settings: &PublishSettings,
        cancel: &CancellationToken,
        on_progress: &mut (impl FnMut(PublishEvent) + Send),
    ) -> Result<Self, PublishError> {
        let mut ways = Vec::new();
        for endpoint in std::iter::once(&settings.endpoint).chain(&settings.data) {
            ways.push(Way::open(endpoint, settings, cancel, on_progress).await?);
        }
        let with_topic = settings.socket == SocketKind::Pub;
        Ok(Self { ways, with_topic, in_flight: Arc::default() })
    }

    /// Sends; returns whether it was not cancelled before.
    pub(super) async fn send(
        &mut self,
        parts: &[Bytes],
        cancel: &CancellationToken,
        on_progress: &mut (impl FnMut(PublishEvent) + Send),
    ) -> bool {
        if !unless_cancelled(cancel, self.in_flight.at_most(MAX_IN_FLIGHT_BYTES)).await {
            return false;
        }
        let mut told = false;
        let last = self.ways.len().saturating_sub(1);
        let Some(way) = self.ways.get_mut(if parts.len() > 1 { last } else { 0 }) else { return true };
        loop {
            let topic = self.with_topic.then(|| Bytes::from_static(STREAM.as_bytes()));
            let all: Vec<_> =
                topic.into_iter().chain(parts.iter().map(|part| self.in_flight.track(part))).collect();
            // Every message has a header, so that there is at least one part.
            let Ok(message) = ZmqMessage::try_from(all) else { return true };
            match way.socket.send(message).await {
                Ok(()) => return true,
                Err(error) => tracing::debug!(%error, "no receiver took the message"),
            }
            if !std::mem::replace(&mut told, true) {
                on_progress(PublishEvent::Waiting);
            }
            let again = match &way.endpoint {
                Endpoint::Connect(address) => {
                    let address = address.clone();
                    connect(&mut way.socket, &address, cancel).await.is_some()
                }
                Endpoint::Bind(_) => unless_cancelled(cancel, tokio::time::sleep(RETRY)).await,
            };
            if !again {
                return false;
            }
        }
    }

    /// Waits until everything is written out; returns how many bytes were not.
    pub(super) async fn close(self, cancel: &CancellationToken, linger: Duration) -> usize {
        let given_up = async {
            cancel.cancelled().await;
            tokio::time::sleep(linger).await;
        };
        let in_flight = self.in_flight;
        let written_out = async {
            in_flight.at_most(0).await;
            // Taken from the queue is not yet written: the socket's writer holds its last bytes itself, and ends,
            // letting go of the back end, when they are out.
            for way in self.ways {
                let back_end = match way.socket {
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
