//! What is known of a source while it runs, for a page or a probe in another task.

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use chrono::{DateTime, Utc};
use serde::Serialize;

/// Shared by the task that receives and by those who ask. Each number is right by itself; together they may be a message
/// apart.
#[derive(Debug)]
pub struct SourceStatus {
    name: String,
    peers: AtomicUsize,
    idle: AtomicBool,
    messages: AtomicU64,
    bytes: AtomicU64,
    reconnects: AtomicU64,
    oversize: AtomicU64,
    peer_errors: AtomicU64,
    /// Microseconds since 1970; 0 before the first message.
    last_message_us: AtomicI64,
    last_error: Mutex<Option<SourceError>>,
}

/// An error of a peer, and when it was.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SourceError {
    /// When.
    pub time: DateTime<Utc>,
    /// What the library said.
    pub text: String,
}

/// The state of a source at one moment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SourceSnapshot {
    /// Name of the source.
    pub name: String,
    /// Whether a peer is there.
    pub connected: bool,
    /// Peers that are there.
    pub peers: usize,
    /// Whether no message has come for the configured time.
    pub idle: bool,
    /// Messages received, without the oversize ones.
    pub messages: u64,
    /// Bytes of those messages, all parts.
    pub bytes: u64,
    /// Connections made after one was lost.
    pub reconnects: u64,
    /// Messages dropped for their size.
    pub oversize: u64,
    /// Errors of peers.
    pub peer_errors: u64,
    /// When the last message came.
    pub last_message: Option<DateTime<Utc>>,
    /// The last error of a peer.
    pub last_error: Option<SourceError>,
}

impl SourceStatus {
    /// The status of a source that has not been heard of.
    #[must_use]
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            peers: AtomicUsize::new(0),
            idle: AtomicBool::new(false),
            messages: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            reconnects: AtomicU64::new(0),
            oversize: AtomicU64::new(0),
            peer_errors: AtomicU64::new(0),
            last_message_us: AtomicI64::new(0),
            last_error: Mutex::new(None),
        }
    }

    /// Name of the source, as configured.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Messages received so far.
    #[must_use]
    pub fn messages(&self) -> u64 {
        self.messages.load(Ordering::Relaxed)
    }

    /// The state now.
    #[must_use]
    pub fn snapshot(&self) -> SourceSnapshot {
        let peers = self.peers.load(Ordering::Relaxed);
        let last_message_us = self.last_message_us.load(Ordering::Relaxed);
        SourceSnapshot {
            name: self.name.clone(),
            connected: peers > 0,
            peers,
            idle: self.idle.load(Ordering::Relaxed),
            messages: self.messages(),
            bytes: self.bytes.load(Ordering::Relaxed),
            reconnects: self.reconnects.load(Ordering::Relaxed),
            oversize: self.oversize.load(Ordering::Relaxed),
            peer_errors: self.peer_errors.load(Ordering::Relaxed),
            last_message: (last_message_us != 0)
                .then(|| DateTime::from_timestamp_micros(last_message_us))
                .flatten(),
            last_error: self.last_error.lock().unwrap_or_else(PoisonError::into_inner).clone(),
        }
    }

    /// A message came. True when the source had been idle.
    pub(crate) fn message(&self, bytes: u64, at: DateTime<Utc>) -> bool {
        self.messages.fetch_add(1, Ordering::Relaxed);
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        self.last_message_us.store(at.timestamp_micros(), Ordering::Relaxed);
        // Reading first keeps the line unshared in the common case.
        self.idle.load(Ordering::Relaxed) && self.idle.swap(false, Ordering::Relaxed)
    }

    pub(crate) fn set_peers(&self, peers: usize) {
        self.peers.store(peers, Ordering::Relaxed);
    }

    pub(crate) fn reconnected(&self) {
        self.reconnects.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn set_idle(&self) {
        self.idle.store(true, Ordering::Relaxed);
    }

    pub(crate) fn oversize(&self) {
        self.oversize.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn peer_error(&self, text: String, time: DateTime<Utc>) {
        self.peer_errors.fetch_add(1, Ordering::Relaxed);
        *self.last_error.lock().unwrap_or_else(PoisonError::into_inner) = Some(SourceError { time, text });
    }
}
