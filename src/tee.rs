//! One PULL in, many PUSH out: each message to every output, byte for byte, in order.
//!
//! A PUSH deals its messages out among all who pull, so whoever pulls beside a file writer takes messages away from it. With a tee
//! between, the sender has one receiver, and everybody has all.
//!
//! [`backlog`] is what waits for one output, pure; [`outlet`] is its socket. Bounds: for each output `queue_bytes`, and one message in hand. Policies:
//! an output that is *lossless* and full holds back the input, and with it, through TCP, the sender; one that *may drop* loses its oldest messages,
//! which is counted and said, and holds nobody back.
//!
//! Assumptions: an output has one receiver at a time, for a second would get a share of the messages; it is refused, and said. A receiver that comes again is
//! sent the message that its predecessor had not taken whole once more.
//!
//! What is lost: what was received and not delivered when the process is killed or the machine stops; and, as with every PUSH, what the operating
//! system still held for a receiver that died. A stop in good order delivers what was received.

pub mod backlog;
pub mod outlet;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio_util::sync::CancellationToken;

use crate::source::frames::{FrameSource, SourceNotice};
use backlog::Counts;
use outlet::Outlet;

/// How long, after the stop, what has arrived already is still taken.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// What came in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Received {
    /// Messages.
    pub messages: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Messages above the limit, which nobody got.
    pub oversize: u64,
}

/// A tee, ready to run.
#[derive(Debug)]
pub struct Tee {
    outlets: Vec<Arc<Outlet>>,
    received: Mutex<Received>,
}

impl Tee {
    /// One with these outputs.
    #[must_use]
    pub fn new(outlets: Vec<Arc<Outlet>>) -> Self {
        Self { outlets, received: Mutex::default() }
    }

    /// What happened at each output, by its name.
    pub fn counts(&self) -> impl Iterator<Item = (&str, bool, Counts)> {
        self.outlets.iter().map(|outlet| (outlet.name(), outlet.may_drop(), outlet.counts()))
    }

    /// What came in so far.
    pub fn received(&self) -> Received {
        *self.received.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Hands on what comes until `stop`, and then what has arrived by then. `tell` hears of everything else that the source says.
    pub async fn run<S: FrameSource>(
        &self,
        mut source: S,
        stop: &CancellationToken,
        mut tell: impl FnMut(SourceNotice),
    ) {
        loop {
            let notice = tokio::select! {
                biased;
                () = stop.cancelled() => break,
                notice = source.next() => notice,
            };
            self.take(&mut source, notice, &mut tell, stop).await;
        }
        let last_words = async {
            // What lies in buffers of ours or of the operating system; a sender that goes on has no end.
            while let Ok(notice) = tokio::time::timeout(Duration::from_millis(20), source.next()).await {
                self.take(&mut source, notice, &mut tell, stop).await;
            }
        };
        drop(tokio::time::timeout(LAST_WORDS, last_words).await);
    }

    async fn take<S: FrameSource>(
        &self,
        source: &mut S,
        notice: SourceNotice,
        tell: &mut impl FnMut(SourceNotice),
        stop: &CancellationToken,
    ) {
        let mut received = self.received();
        match notice {
            SourceNotice::Message(parts) => {
                received.messages += 1;
                received.bytes += parts.iter().map(|part| part.len() as u64).sum::<u64>();
                self.hand_on(source, &parts, stop).await;
            }
            notice => {
                received.oversize += u64::from(matches!(notice, SourceNotice::Oversize { .. }));
                tell(notice);
            }
        }
        *self.received.lock().unwrap_or_else(PoisonError::into_inner) = received;
    }

    /// Queues a message for all; waits for those that must not lose it, until the stop: then it goes past the bound.
    async fn hand_on<S: FrameSource>(&self, source: &mut S, parts: &[Bytes], stop: &CancellationToken) {
        for outlet in &self.outlets {
            tokio::select! {
                biased;
                () = outlet.push(parts) => {}
                () = stop.cancelled() => outlet.push_past_bound(parts),
                // Heartbeats are answered meanwhile, or the sender would hang up.
                () = source.hold() => {}
            }
        }
    }

    /// Waits until everything was delivered, for at most `patience`; returns messages that were not.
    pub async fn drain(&self, patience: Duration) -> u64 {
        let all = async {
            for outlet in &self.outlets {
                outlet.close();
            }
            for outlet in &self.outlets {
                // For who may lose it anyway nobody has to come.
                if outlet.has_receiver() || !outlet.may_drop() {
                    outlet.delivered().await;
                }
            }
        };
        drop(tokio::time::timeout(patience, all).await);
        self.outlets.iter().map(|outlet| outlet.counts().waiting).sum()
    }
}
