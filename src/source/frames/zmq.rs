//! [`FrameSource`] over ZeroMQ PULL and SUB sockets, connecting or bound.

use std::collections::{HashSet, VecDeque};
use std::future::pending;
use std::net::Ipv4Addr;
use std::pin::Pin;
use std::time::{Duration, Instant};

use tokio::time::Sleep;
use zeromq::util::PeerIdentity;
use zeromq::{Host, SocketEvent, ZmqError, ZmqMessage, ZmqResult};

use super::idle::{Due, IdleClock};
use super::link::{Link, LinkStep};
use super::{Attach, Endpoint, FrameError, FrameSource, PeerCause, SourceNotice, payload_bytes};

/// Between attempts to connect: this at first, doubled each time, up to [`BACKOFF_MAX`].
const BACKOFF_MIN: Duration = Duration::from_millis(100);
const BACKOFF_MAX: Duration = Duration::from_secs(5);

/// Peers whose departure was seen before their arrival; the library tells of both from different tasks.
const EARLY_DEPARTURES: usize = 64;

/// A timer that is not needed is set this far ahead.
const FAR: Duration = Duration::from_secs(86_400);

type Dialling = Pin<Box<dyn Future<Output = ZmqResult<Link>> + Send>>;

/// A ZeroMQ socket that stays: it connects again, tells of silence, and takes errors of peers as events.
pub struct ZmqFrameSource {
    endpoint: Endpoint,
    /// The address we connect to; `None` when bound.
    remote: Option<String>,
    link: Option<Link>,
    dialling: Option<Dialling>,
    backoff: Duration,
    peers: HashSet<PeerIdentity>,
    early_departures: VecDeque<PeerIdentity>,
    connected_before: bool,
    idle: IdleClock,
    timer: Pin<Box<Sleep>>,
}

enum Step {
    Link(LinkStep),
    Dialled(ZmqResult<Link>),
    Timer,
}

impl ZmqFrameSource {
    /// Opens the socket and returns it with its address: the true one when bound, the configured one when connecting.
    /// Does not wait for a peer.
    ///
    /// # Errors
    /// An address that cannot be read or bound.
    pub async fn open(endpoint: Endpoint) -> Result<(Self, String), FrameError> {
        let (link, remote, address) = match &endpoint.attach {
            Attach::Connect(address) => {
                let address = checked(address)?;
                (None, Some(address.clone()), address)
            }
            Attach::Bind(wanted) => {
                let address = checked(&wanted.replacen("tcp://*:", "tcp://0.0.0.0:", 1))?;
                let (link, bound) = Link::bind(&endpoint, &address).await.map_err(|error| {
                    FrameError::Bind { address: wanted.clone(), reason: error.to_string() }
                })?;
                (Some(link), None, bound)
            }
        };
        let now = Instant::now();
        // A bound socket has nobody to call.
        let redial_after = endpoint.redial_after.filter(|_| remote.is_some());
        let mut source = Self {
            idle: IdleClock::new(endpoint.idle_after, redial_after, now),
            timer: Box::pin(tokio::time::sleep(endpoint.idle_after)),
            endpoint,
            remote,
            link,
            dialling: None,
            backoff: BACKOFF_MIN,
            peers: HashSet::new(),
            early_departures: VecDeque::new(),
            connected_before: false,
        };
        source.dial(Duration::ZERO);
        source.set_timer();
        Ok((source, address))
    }

    /// Whether the address of a bound socket is open to every interface: worth a warning, see the module.
    #[must_use]
    pub fn is_open_to_all(address: &str) -> bool {
        matches!(address.parse(), Ok(zeromq::Endpoint::Tcp(host, _)) if match host {
            Host::Ipv4(ip) => ip == Ipv4Addr::UNSPECIFIED,
            Host::Ipv6(ip) => ip.is_unspecified(),
            Host::Domain(_) => false,
        })
    }

    fn dial(&mut self, after: Duration) {
        if let Some(address) = &self.remote {
            self.dialling = Some(Box::pin(Link::dial(self.endpoint.clone(), address.clone(), after)));
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

    async fn step(&mut self) -> Step {
        let Self { link, dialling, timer, .. } = self;
        let link = async {
            match link {
                Some(link) => link.step().await,
                None => pending().await,
            }
        };
        let dialled = async {
            match dialling {
                Some(dialling) => dialling.await,
                None => pending().await,
            }
        };
        tokio::select! {
            biased;
            step = link => Step::Link(step),
            link = dialled => Step::Dialled(link),
            () = timer => Step::Timer,
        }
    }

    fn message(&mut self, message: ZmqMessage) -> SourceNotice {
        self.backoff = BACKOFF_MIN;
        if self.idle.heard(Instant::now()) {
            self.set_timer();
        }
        let parts = message.into_vec();
        let bytes = payload_bytes(&parts);
        if bytes > self.endpoint.max_message_bytes {
            return SourceNotice::Oversize { bytes };
        }
        SourceNotice::Message(parts)
    }

    fn dialled(&mut self, result: ZmqResult<Link>) -> SourceNotice {
        self.dialling = None;
        self.idle.dialled(Instant::now());
        match result {
            Ok(link) => {
                // A link that was still there has been silent for long; the fresh one takes its place.
                self.link = Some(link);
                let again = std::mem::replace(&mut self.connected_before, true);
                SourceNotice::Connected { address: self.remote.clone().unwrap_or_default(), peers: 1, again }
            }
            Err(error) => {
                if self.link.is_none() {
                    self.dial_later();
                }
                SourceNotice::PeerError { cause: dial_cause(&error), detail: error.to_string() }
            }
        }
    }

    fn event(&mut self, event: SocketEvent) -> Option<SourceNotice> {
        match event {
            SocketEvent::Accepted(address, peer) => {
                if let Some(gone) = self.early_departures.iter().position(|early| *early == peer) {
                    self.early_departures.remove(gone);
                    return None;
                }
                let again = self.connected_before && self.peers.is_empty();
                self.connected_before = true;
                self.peers.insert(peer);
                Some(SourceNotice::Connected { address: address.to_string(), peers: self.peers.len(), again })
            }
            SocketEvent::Disconnected(_) if self.remote.is_some() => {
                // One socket, one connection: what it had received was read before it ended.
                self.link = None;
                if self.dialling.is_none() {
                    self.dial_later();
                }
                Some(SourceNotice::Disconnected { peers: 0 })
            }
            SocketEvent::Disconnected(peer) => {
                if !self.peers.remove(&peer) {
                    self.early_departures.push_back(peer);
                    if self.early_departures.len() > EARLY_DEPARTURES {
                        self.early_departures.pop_front();
                    }
                    return None;
                }
                Some(SourceNotice::Disconnected { peers: self.peers.len() })
            }
            SocketEvent::AcceptFailed(error) => {
                Some(SourceNotice::PeerError { cause: PeerCause::Handshake, detail: error.to_string() })
            }
            // Ours are known from the calls themselves; the others are never sent.
            _ => None,
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
            let notice = match self.step().await {
                Step::Link(LinkStep::Message(message)) => return self.message(message),
                Step::Link(LinkStep::Event(event)) => self.event(event),
                Step::Link(LinkStep::Error(error)) => {
                    Some(SourceNotice::PeerError { cause: peer_cause(&error), detail: error.to_string() })
                }
                Step::Dialled(result) => Some(self.dialled(result)),
                Step::Timer => self.timer(),
            };
            if let Some(notice) = notice {
                return notice;
            }
        }
    }
}

/// The address, if the library can read it and it is TCP.
fn checked(address: &str) -> Result<String, FrameError> {
    let wrong = |reason: String| FrameError::Address { address: address.to_owned(), reason };
    match address.parse() {
        Ok(zeromq::Endpoint::Tcp(_, _)) => Ok(address.to_owned()),
        Ok(_) => Err(wrong("only tcp is supported".to_owned())),
        Err(error) => Err(wrong(error.to_string())),
    }
}

fn dial_cause(error: &ZmqError) -> PeerCause {
    match error {
        ZmqError::Network(_) | ZmqError::ConnectTimeout(_) => PeerCause::Connect,
        _ => PeerCause::Handshake,
    }
}

fn peer_cause(error: &ZmqError) -> PeerCause {
    // The library's codec error is not a type that can be named; this is its wording for any command but READY.
    if error.to_string().contains("Unknown command received") {
        return PeerCause::Heartbeat;
    }
    PeerCause::Protocol
}
