//! The task of one source: stamps what arrives and forwards it into the queue; nothing else, so that it keeps up.

mod log_gate;

use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use metrics::{Counter, Gauge};
use tokio_util::sync::CancellationToken;

use super::queue::{Closed, QueueSender};
use crate::source::frames::{FrameSource, PeerCause, RawMessage, SourceNotice, SourceStatus, payload_bytes};
use crate::telemetry::names;
use log_gate::LogGate;

/// Why the task of a source ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SourceEnd {
    /// It was told to.
    Cancelled,
    /// Nobody empties the queue any more.
    QueueClosed,
}

/// Receives until cancelled. What was received is in the queue when this returns, also when the queue was full: the one
/// message in hand then goes past the bound. What the peer has sent but we have not read stays with the operating system.
pub async fn run_source<S: FrameSource>(
    source_index: usize,
    mut source: S,
    queue: QueueSender<RawMessage>,
    cancel: CancellationToken,
    status: Arc<SourceStatus>,
) -> SourceEnd {
    let mut desk = Desk::new(status);
    let mut cancelled = pin!(cancel.cancelled());
    loop {
        let notice = tokio::select! {
            biased;
            () = &mut cancelled => return SourceEnd::Cancelled,
            notice = source.next() => notice,
        };
        let parts = match notice {
            SourceNotice::Message(parts) => parts,
            other => {
                desk.notice(other, Instant::now(), Utc::now());
                continue;
            }
        };
        let message =
            RawMessage { source: source_index, parts, received: Instant::now(), received_at: Utc::now() };
        desk.message(&message);
        let cost_bytes = message.cost_bytes();
        let slot = tokio::select! {
            biased;
            slot = queue.reserve(cost_bytes) => Some(slot),
            () = &mut cancelled => None,
            () = source.hold() => None,
        };
        let pushed = match slot {
            Some(slot) => slot.and_then(|slot| slot.fill(message)),
            None => queue.push_past_bound(message, cost_bytes),
        };
        if pushed == Err(Closed) {
            return SourceEnd::QueueClosed;
        }
    }
}

/// Keeps the books of one source: status, metrics of the connection, log. Messages and bytes are counted where they are
/// taken out of the queue.
struct Desk {
    status: Arc<SourceStatus>,
    reconnects: Counter,
    oversize: Counter,
    connected: Gauge,
    idle: Gauge,
    gate: LogGate<LogCause>,
    /// What was said last of trouble with a sender, until one is there again.
    said: Option<(PeerCause, String)>,
}

/// Between two lines that say the same of a sender that is not there: a night has 7000 tries to connect.
const SAME_AGAIN: Duration = Duration::from_secs(3600);

#[derive(PartialEq, Eq, Hash)]
enum LogCause {
    Peer(PeerCause),
    Oversize,
    Connected,
    Disconnected,
}

impl Desk {
    fn new(status: Arc<SourceStatus>) -> Self {
        let name = status.name().to_owned();
        Self {
            reconnects: metrics::counter!(names::RECONNECTS, "source" => name.clone()),
            oversize: metrics::counter!(names::SOURCE_OVERSIZE, "source" => name.clone()),
            connected: metrics::gauge!(names::SOURCE_CONNECTED, "source" => name.clone()),
            idle: metrics::gauge!(names::SOURCE_IDLE, "source" => name),
            status,
            gate: LogGate::new(),
            said: None,
        }
    }

    fn message(&mut self, message: &RawMessage) {
        let bytes = payload_bytes(&message.parts) as u64;
        if self.status.message(bytes, message.received_at) {
            self.idle.set(0.0);
        }
    }

    fn notice(&mut self, notice: SourceNotice, now: Instant, time: DateTime<Utc>) {
        let status = Arc::clone(&self.status);
        let source = status.name();
        match notice {
            SourceNotice::Message(_) => {}
            SourceNotice::Connected { address, peers, again } => {
                self.set_peers(peers);
                self.said = None;
                if again {
                    self.reconnects.increment(1);
                    status.reconnected();
                }
                if let Some(kept_back) = self.gate.admit(LogCause::Connected, now) {
                    tracing::info!(source, address, peers, again, kept_back, "a sender is connected");
                }
            }
            SourceNotice::Disconnected { peers } => {
                self.set_peers(peers);
                if let Some(kept_back) = self.gate.admit(LogCause::Disconnected, now) {
                    tracing::info!(source, peers, kept_back, "a sender is gone");
                }
            }
            SourceNotice::Idle { since } => {
                self.idle.set(1.0);
                status.set_idle();
                let silent_s = now.saturating_duration_since(since).as_secs();
                tracing::info!(source, silent_s, "no message has come for a while");
            }
            SourceNotice::Oversize { bytes } => {
                self.oversize.increment(1);
                status.oversize();
                if let Some(kept_back) = self.gate.admit(LogCause::Oversize, now) {
                    tracing::error!(source, bytes, kept_back, "a message above the limit was dropped");
                }
            }
            SourceNotice::PeerError { cause, detail } => self.peer_error(cause, detail, now, time),
        }
    }

    fn set_peers(&self, peers: usize) {
        self.status.set_peers(peers);
        #[expect(clippy::cast_precision_loss, reason = "a number of connections")]
        self.connected.set(peers as f64);
    }

    fn peer_error(&mut self, cause: PeerCause, detail: String, now: Instant, time: DateTime<Utc>) {
        let source = self.status.name();
        metrics::counter!(names::SOURCE_PEER_ERRORS, "source" => source.to_owned(), "cause" => cause.as_str())
            .increment(1);
        let is_old = self.said.as_ref().is_some_and(|(said, of)| *said == cause && *of == detail);
        let admitted = match is_old {
            true => self.gate.admit_after(SAME_AGAIN, LogCause::Peer(cause), now),
            false => self.gate.admit(LogCause::Peer(cause), now),
        };
        if let Some(kept_back) = admitted {
            tracing::warn!(source, %cause, detail, kept_back, "trouble with a sender");
            self.said = Some((cause, detail.clone()));
        }
        self.status.peer_error(detail, time);
    }
}

#[cfg(test)]
mod tests;
