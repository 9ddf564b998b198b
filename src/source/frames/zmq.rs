//! [`FrameSource`] over ZeroMQ PULL and SUB sockets, connecting or bound.

use std::future::pending;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Sleep;

use super::address::Address;
use super::idle::{Due, IdleClock};
use super::peers::{MAX_PEERS, PeerStep, Peers};
use super::{Attach, Endpoint, FrameError, FrameSource, PeerCause, SocketKind, SourceNotice};
use crate::zmtp::{Arrival, Lobby, Role, Session, Wire, WireError};

/// Between attempts to connect: this at first, doubled each time, up to [`BACKOFF_MAX`].
const BACKOFF_MIN: Duration = Duration::from_millis(100);
const BACKOFF_MAX: Duration = Duration::from_secs(5);

/// An attempt to connect, with its handshake, takes no longer, whatever the peer does.
const CONNECT_TIMEOUT: Duration = Duration::from_millis(1500);

/// So many messages in a row, then it is looked whether anything else is due.
const MESSAGES_IN_ROW: u32 = 64;

/// A timer that is not needed is set this far ahead.
const FAR: Duration = Duration::from_secs(86_400);

type Dialling = Pin<Box<dyn Future<Output = Result<Box<Wire>, DialError>> + Send>>;

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
enum DialError {
    #[error("{0}")]
    Connect(io::Error),
    #[error("no connection within {} s", CONNECT_TIMEOUT.as_secs_f64())]
    TimedOut,
    #[error(transparent)]
    Handshake(WireError),
}

/// A ZeroMQ socket that stays: it connects again, tells of silence, and takes errors of peers as events.
pub struct ZmqFrameSource {
    endpoint: Endpoint,
    /// What we connect to; `None` when bound.
    remote: Option<Address>,
    /// Who connects to us; `None` when we connect.
    lobby: Option<Lobby>,
    peers: Peers,
    dialling: Option<Dialling>,
    backoff: Duration,
    connected_before: bool,
    idle: IdleClock,
    timer: Pin<Box<Sleep>>,
    in_row: u32,
    /// What has to be told after what was told last.
    told_next: Option<SourceNotice>,
}

enum Step {
    Peer(PeerStep),
    Arrival(Arrival),
    Dialled(Result<Box<Wire>, DialError>),
    Timer,
}

impl ZmqFrameSource {
    /// Opens the socket and returns it with its address: the true one when bound, the configured one when connecting.
    /// Does not wait for a peer.
    ///
    /// # Errors
    /// An address that cannot be read or bound.
    pub async fn open(endpoint: Endpoint) -> Result<(Self, String), FrameError> {
        let (lobby, remote, shown) = match &endpoint.attach {
            Attach::Connect(address) => (None, Some(Address::parse(address)?), address.clone()),
            Attach::Bind(wanted) => {
                let address = Address::parse(wanted)?;
                let failed = |error: io::Error| FrameError::Bind {
                    address: wanted.clone(),
                    reason: match error.kind() {
                        io::ErrorKind::AddrInUse => {
                            format!(
                                "{error}; another program has this port (`ss -ltnp` says which): stop it, or bind another"
                            )
                        }
                        _ => error.to_string(),
                    },
                };
                let listener = tokio::task::spawn_blocking(move || address.listen());
                let listener = listener.await.map_err(io::Error::other).flatten().map_err(failed)?;
                let listener = TcpListener::from_std(listener).map_err(failed)?;
                let bound = listener.local_addr().map_err(failed)?;
                let accepted = endpoint.clone();
                let lobby = Lobby::open(listener, move |stream| Self::wire(&accepted, stream));
                (Some(lobby), None, format!("tcp://{bound}"))
            }
        };
        let now = Instant::now();
        // A bound socket has nobody to call.
        let redial_after = endpoint.redial_after.filter(|_| remote.is_some());
        let mut source = Self {
            idle: IdleClock::new(endpoint.idle_after, redial_after, now),
            timer: Box::pin(tokio::time::sleep(endpoint.idle_after)),
            peers: Peers::new(endpoint.max_message_bytes),
            endpoint,
            remote,
            lobby,
            dialling: None,
            backoff: BACKOFF_MIN,
            connected_before: false,
            in_row: 0,
            told_next: None,
        };
        source.dial(Duration::ZERO);
        source.set_timer();
        Ok((source, shown))
    }

    /// Whether the address of a bound socket is open to every interface: worth a warning, see the module.
    #[must_use]
    pub fn is_open_to_all(address: &str) -> bool {
        Address::parse(address).is_ok_and(|address| address.is_open_to_all())
    }

    fn wire(endpoint: &Endpoint, stream: TcpStream) -> Wire {
        let role = match endpoint.kind {
            SocketKind::Pull => Role::Pull,
            SocketKind::Sub => Role::Sub { prefix: Bytes::copy_from_slice(endpoint.topic.as_bytes()) },
        };
        Wire::new(stream, Session::new(role, endpoint.max_message_bytes))
    }

    fn dial(&mut self, after: Duration) {
        if let Some(address) = &self.remote {
            let (endpoint, address) = (self.endpoint.clone(), address.clone());
            self.dialling = Some(Box::pin(async move {
                tokio::time::sleep(after).await;
                let attempt = tokio::time::timeout(CONNECT_TIMEOUT, connect(&endpoint, &address));
                attempt.await.unwrap_or(Err(DialError::TimedOut))
            }));
        }
    }

    fn dial_later(&mut self) {
        self.dial(self.backoff);
        self.backoff = (self.backoff * 2).min(BACKOFF_MAX);
    }

    fn set_timer(&mut self) {
        let at = self.idle.next().unwrap_or_else(|| Instant::now() + FAR);
        self.timer.as_mut().reset(at.into());
    }

    /// Messages first, but for one look in a while at the rest: neither may keep the other from its turn.
    fn poll_step(&mut self, context: &mut Context<'_>) -> Poll<Step> {
        self.in_row += 1;
        let rest_first = self.in_row >= MESSAGES_IN_ROW;
        if rest_first {
            self.in_row = 0;
            if let Poll::Ready(step) = self.poll_rest(context) {
                return Poll::Ready(step);
            }
        }
        if let Poll::Ready(step) = self.peers.poll(context) {
            return Poll::Ready(Step::Peer(step));
        }
        let rest = self.poll_rest(context);
        if rest.is_ready() {
            // However many knock, those who are in have a turn after each.
            self.in_row = 0;
        }
        rest
    }

    fn poll_rest(&mut self, context: &mut Context<'_>) -> Poll<Step> {
        if self.timer.as_mut().poll(context).is_ready() {
            return Poll::Ready(Step::Timer);
        }
        if let Poll::Ready(step) = self.peers.poll_tick(context) {
            return Poll::Ready(Step::Peer(step));
        }
        if let Some(dialling) = &mut self.dialling
            && let Poll::Ready(dialled) = dialling.as_mut().poll(context)
        {
            return Poll::Ready(Step::Dialled(dialled));
        }
        match self.lobby.as_mut().map(|lobby| lobby.poll(context)) {
            Some(Poll::Ready(arrival)) => Poll::Ready(Step::Arrival(arrival)),
            _ => Poll::Pending,
        }
    }

    fn peer(&mut self, step: PeerStep) -> SourceNotice {
        match step {
            PeerStep::Message(parts) => {
                self.backoff = BACKOFF_MIN;
                if self.idle.heard(Instant::now()) {
                    self.set_timer();
                }
                SourceNotice::Message(parts)
            }
            PeerStep::Oversize { bytes } => {
                SourceNotice::Oversize { bytes: usize::try_from(bytes).unwrap_or(usize::MAX) }
            }
            PeerStep::Gone { trouble } => {
                if self.remote.is_some() && self.dialling.is_none() {
                    self.dial_later();
                }
                let gone = SourceNotice::Disconnected { peers: self.peers.count() };
                let Some(detail) = trouble else { return gone };
                self.told_next = Some(gone);
                SourceNotice::PeerError { cause: PeerCause::Protocol, detail }
            }
        }
    }

    fn arrival(&mut self, arrival: Arrival) -> SourceNotice {
        match arrival {
            Arrival::Stranger(detail) => SourceNotice::PeerError { cause: PeerCause::Handshake, detail },
            Arrival::Failed(error) => {
                let detail = format!("accepting: {error}");
                SourceNotice::PeerError { cause: PeerCause::Connect, detail }
            }
            Arrival::Peer(wire, address) => {
                if !self.peers.add(*wire, address.clone()) {
                    let detail = format!("{address} was refused: {MAX_PEERS} senders are connected");
                    return SourceNotice::PeerError { cause: PeerCause::Handshake, detail };
                }
                let peers = self.peers.count();
                let again = self.connected_before && peers == 1;
                self.connected_before = true;
                SourceNotice::Connected { address, peers, again }
            }
        }
    }

    fn dialled(&mut self, result: Result<Box<Wire>, DialError>) -> SourceNotice {
        self.dialling = None;
        self.idle.dialled(Instant::now());
        match result {
            Ok(wire) => {
                // A connection that was still there has been silent for long; the fresh one takes its place.
                self.peers.clear();
                let address = self.endpoint_address();
                self.peers.add(*wire, address.clone());
                let again = std::mem::replace(&mut self.connected_before, true);
                SourceNotice::Connected { address, peers: 1, again }
            }
            Err(error) => {
                if self.peers.count() == 0 {
                    self.dial_later();
                }
                let cause = match error {
                    DialError::Connect(_) | DialError::TimedOut => PeerCause::Connect,
                    DialError::Handshake(_) => PeerCause::Handshake,
                };
                SourceNotice::PeerError { cause, detail: error.to_string() }
            }
        }
    }

    fn endpoint_address(&self) -> String {
        match &self.endpoint.attach {
            Attach::Connect(address) | Attach::Bind(address) => address.clone(),
        }
    }

    fn timer(&mut self) -> Option<SourceNotice> {
        let mut notice = None;
        while let Some(due) = self.idle.due(Instant::now()) {
            match due {
                Due::Tell(since) => notice = Some(SourceNotice::Idle { since }),
                Due::Redial if self.dialling.is_none() => self.dial(Duration::ZERO),
                Due::Redial => {}
            }
        }
        self.set_timer();
        notice
    }
}

impl FrameSource for ZmqFrameSource {
    async fn next(&mut self) -> SourceNotice {
        loop {
            if let Some(notice) = self.told_next.take() {
                return notice;
            }
            let step = std::future::poll_fn(|context| self.poll_step(context)).await;
            match step {
                Step::Peer(step) => return self.peer(step),
                Step::Arrival(arrival) => return self.arrival(arrival),
                Step::Dialled(result) => return self.dialled(result),
                Step::Timer => {
                    if let Some(notice) = self.timer() {
                        return notice;
                    }
                }
            }
        }
    }

    async fn hold(&mut self) {
        self.peers.hold().await;
        pending().await
    }
}

/// Connects and shakes hands.
async fn connect(endpoint: &Endpoint, address: &Address) -> Result<Box<Wire>, DialError> {
    let stream = TcpStream::connect(address.host_port()).await.map_err(DialError::Connect)?;
    let opened = ZmqFrameSource::wire(endpoint, stream).open().await;
    opened.map(Box::new).map_err(DialError::Handshake)
}
