//! Multipart messages off a socket: the seam between the network and the pure core.
//!
//! [`FrameSource`] is what the rest sees; [`ZmqFrameSource`] is its ZeroMQ implementation, [`SourceStatus`] what a
//! page or a probe may ask meanwhile. The task that drives a source is [`crate::pipeline::receive`]. Nothing here looks into
//! a message but for its size.
//!
//! Assumptions: ZMTP 3 over TCP ([`crate::zmtp`]), and a network where only the instrument can reach the socket: there is
//! no authentication, and what comes is believed. ZMTP heartbeats are answered, also while nothing is read.
//! - Nothing is read ahead of who asks, so a full queue behind us reaches the sender through TCP. A PUSH sender then
//!   waits; a PUB sender drops, which shows as gaps in `seq`.
//! - What a peer announces takes no memory before it comes. [`Endpoint::max_message_bytes`] is judged by what is
//!   announced; the rest of such a message is passed over, and the connection stays.
//! - Peers are read in turn and their number is bounded ([`peers`]); one that says nothing keeps nobody waiting.
//! - Small parts of one burst share one receive buffer; who keeps a small part for long should copy it.
//!
//! Bad input: an error of a peer (garbage, a reset, a foreign version of the protocol) is a [`SourceNotice::PeerError`],
//! counted and logged at most once a second per cause, never an end. A message above the limit is dropped and counted.
//! What cannot be told from a sender of measured values is not told: whoever speaks ZMTP can send any.

mod address;
mod idle;
mod peers;
mod status;
mod zmq;

use std::fmt;
use std::time::{Duration, Instant};

use bytes::Bytes;
use chrono::{DateTime, Utc};

pub use status::{SourceError, SourceSnapshot, SourceStatus};
pub use zmq::ZmqFrameSource;

/// One multipart message as it came, with its stamps.
#[derive(Clone, Debug)]
pub struct RawMessage {
    /// Index of the source in the settings.
    pub source: usize,
    /// The parts, on SUB with the topic first. They share memory with the receive buffer.
    pub parts: Vec<Bytes>,
    /// When it was taken off the socket, on the clock that never jumps: for silence and latency.
    pub received: Instant,
    /// The same moment by the calendar: for people and the journal.
    pub received_at: DateTime<Utc>,
}

impl RawMessage {
    /// What the message counts for in a queue: its bytes and what holding them takes.
    #[must_use]
    pub fn cost_bytes(&self) -> usize {
        size_of::<Self>() + self.parts.len() * size_of::<Bytes>() + payload_bytes(&self.parts)
    }
}

/// Bytes of all parts together.
pub(crate) fn payload_bytes(parts: &[Bytes]) -> usize {
    parts.iter().map(Bytes::len).sum()
}

/// What a source has to say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SourceNotice {
    /// A message, as its parts.
    Message(Vec<Bytes>),
    /// A message above the limit came and was dropped.
    Oversize {
        /// Its size in bytes, all parts together, as far as they were announced when it went above.
        bytes: usize,
    },
    /// A peer is there.
    Connected {
        /// Its address.
        address: String,
        /// Peers that are there now.
        peers: usize,
        /// Whether a peer had been there before and was lost meanwhile.
        again: bool,
    },
    /// A peer is gone.
    Disconnected {
        /// Peers that are still there.
        peers: usize,
    },
    /// No message has come for [`Endpoint::idle_after`]; told once per silence.
    Idle {
        /// The last message, or the opening of the source.
        since: Instant,
    },
    /// Something went wrong with one peer; the source goes on.
    PeerError {
        /// The kind of trouble.
        cause: PeerCause,
        /// What is wrong, and with whom.
        detail: String,
    },
}

/// Kinds of trouble with a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PeerCause {
    /// No connection: refused, no route, no such name, or no answer in time.
    Connect,
    /// Somebody connected who does not speak ZMTP 3, is the wrong kind of socket, or said nothing; or one too many.
    Handshake,
    /// A connection broke, or carried what is not ZMTP.
    Protocol,
}

impl PeerCause {
    /// The name in metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Handshake => "handshake",
            Self::Protocol => "protocol",
        }
    }
}

impl fmt::Display for PeerCause {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

/// Where messages come from.
pub trait FrameSource: Send {
    /// Waits for the next notice. Cancel-safe: what a dropped call had begun goes on in the next one, and no message is
    /// lost. It never ends: a source without peers waits for them.
    fn next(&mut self) -> impl Future<Output = SourceNotice> + Send;

    /// Keeps peers content while nobody takes messages: to be polled instead of [`FrameSource::next`], for as long as
    /// it takes. Never ends, and may be dropped at any time.
    fn hold(&mut self) -> impl Future<Output = ()> + Send {
        std::future::pending()
    }
}

/// Which kind of socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SocketKind {
    /// The receiver of PUSH: lossless.
    Pull,
    /// The receiver of PUB: the sender drops what we are too slow for.
    Sub,
}

/// Who opens the connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Attach {
    /// We connect to this address, and again whenever the connection is lost.
    Connect(String),
    /// We bind this address and senders connect. Port 0 takes a free one; host `*` is every interface.
    Bind(String),
}

/// A socket as it is wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// The kind of socket.
    pub kind: SocketKind,
    /// The address, and who connects.
    pub attach: Attach,
    /// SUB only: the prefix to subscribe to; empty is everything.
    pub topic: String,
    /// Silence after which [`SourceNotice::Idle`] is told.
    pub idle_after: Duration,
    /// Connect only: silence after which a fresh connection takes the place of the old one. A machine that lost power is
    /// found by the kernel's probes within two minutes; a sender that hangs, or whose connection a firewall has forgotten on
    /// one side only, is not. A PUSH sender that sends in just that millisecond may lose what it put on the old
    /// connection, hence `None` to switch it off; SUB loses nothing.
    pub redial_after: Option<Duration>,
    /// Larger messages, all parts together, are dropped and counted.
    pub max_message_bytes: usize,
}

impl Endpoint {
    /// An endpoint with the defaults: no topic, idle after 30 s, a fresh connection after 10 min of silence, messages of
    /// at most 256 MiB.
    #[must_use]
    pub fn new(kind: SocketKind, attach: Attach) -> Self {
        Self {
            kind,
            attach,
            topic: String::new(),
            idle_after: Duration::from_secs(30),
            redial_after: Some(Duration::from_secs(600)),
            max_message_bytes: 256 << 20,
        }
    }
}

/// Why a source cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    /// The address cannot be read.
    #[error("address \"{address}\" is not of the form tcp://host:port: {reason}")]
    Address {
        /// The address as configured.
        address: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The address cannot be bound.
    #[error("cannot bind {address}: {reason}")]
    Bind {
        /// The address as configured.
        address: String,
        /// What the operating system says.
        reason: String,
    },
}

#[cfg(test)]
mod tests;
