//! Those who listen: a task for each, which writes what is queued for it and hears what it wants.
//!
//! # Bounds
//! At most [`MAX_SUBSCRIBERS`]; for each at most [`QUEUE_MESSAGES`] messages, whose bytes are counted by the budget of all, and
//! [`PREFIXES`] subscriptions of [`PREFIX_BYTES`] together. One whose queue is full loses the message; one who
//! wants more subscriptions is cut off.

use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::task::JoinSet;

use crate::telemetry::names;
use crate::zmtp::{Event, Wire, WireError, ZmtpError};

/// Most subscribers.
pub(super) const MAX_SUBSCRIBERS: usize = 128;
/// Most messages that wait for one of them.
const QUEUE_MESSAGES: usize = 4096;
/// Most prefixes that one may subscribe to, and most bytes of them.
const PREFIXES: usize = 1024;
const PREFIX_BYTES: usize = 64 << 10;

/// A message as pieces to write; all subscribers share it.
pub(super) type Chunks = Arc<[Bytes]>;

/// What a subscriber wants: prefixes of topics.
#[derive(Debug, Default)]
struct Wants {
    prefixes: Vec<Bytes>,
    bytes: usize,
}

impl Wants {
    fn matches(&self, topic: &[u8]) -> bool {
        self.prefixes.iter().any(|prefix| topic.starts_with(prefix))
    }

    fn subscribe(&mut self, prefix: &[u8]) -> Result<(), ZmtpError> {
        if self.prefixes.len() >= PREFIXES {
            return Err(ZmtpError::Subscriptions(PREFIXES));
        }
        if self.bytes + prefix.len() > PREFIX_BYTES {
            return Err(ZmtpError::Subscriptions(PREFIX_BYTES));
        }
        self.bytes += prefix.len();
        // A copy: a slice would keep the read buffer.
        self.prefixes.push(Bytes::copy_from_slice(prefix));
        Ok(())
    }

    /// Takes one subscription back; who subscribed twice has one left.
    fn cancel(&mut self, prefix: &[u8]) {
        if let Some(place) = self.prefixes.iter().position(|held| held == prefix) {
            self.bytes -= self.prefixes.swap_remove(place).len();
        }
    }
}

#[derive(Debug)]
struct Subscriber {
    queue: Sender<Chunks>,
    wants: Arc<Mutex<Wants>>,
}

/// All who listen.
#[derive(Debug, Default)]
pub(super) struct Subscribers {
    list: Vec<Subscriber>,
    tasks: JoinSet<()>,
}

impl Subscribers {
    /// How many there are.
    pub(super) fn count(&mut self) -> usize {
        self.list.retain(|subscriber| !subscriber.queue.is_closed());
        while self.tasks.try_join_next().is_some() {}
        self.list.len()
    }

    /// Takes one in whose handshake is done; false where there is no place.
    pub(super) fn add(&mut self, wire: Wire, address: String) -> bool {
        if self.count() >= MAX_SUBSCRIBERS {
            return false;
        }
        let (queue, queued) = channel(QUEUE_MESSAGES);
        let wants = Arc::new(Mutex::new(Wants::default()));
        self.tasks.spawn(serve(wire, address, queued, Arc::clone(&wants)));
        self.list.push(Subscriber { queue, wants });
        true
    }

    /// Queues a message for all who want its topic; returns how many had no room for it.
    pub(super) fn send(&self, topic: &[u8], chunks: &Chunks) -> usize {
        let lost = |subscriber: &&Subscriber| {
            let wanted = subscriber.wants.lock().unwrap_or_else(PoisonError::into_inner).matches(topic);
            wanted && matches!(subscriber.queue.try_send(Arc::clone(chunks)), Err(TrySendError::Full(_)))
        };
        self.list.iter().filter(lost).count()
    }

    /// Lets all take what is queued for them, for at most `patience`, and hangs up.
    pub(super) async fn close(mut self, patience: Duration) {
        self.list.clear();
        let all = async { while self.tasks.join_next().await.is_some() {} };
        if tokio::time::timeout(patience, all).await.is_err() {
            tracing::info!(subscribers = self.tasks.len(), "some subscribers did not take all there was");
        }
    }
}

enum Step {
    Event(Event),
    Next(Option<Chunks>),
    End(WireError),
}

async fn serve(mut wire: Wire, address: String, mut queue: Receiver<Chunks>, wants: Arc<Mutex<Wants>>) {
    loop {
        let step = std::future::poll_fn(|context| {
            match wire.poll_event(context) {
                Poll::Ready(Ok(event)) => return Poll::Ready(Step::Event(event)),
                Poll::Ready(Err(error)) => return Poll::Ready(Step::End(error)),
                Poll::Pending => {}
            }
            match wire.poll_flush(context) {
                Poll::Ready(Ok(())) => queue.poll_recv(context).map(Step::Next),
                Poll::Ready(Err(error)) => Poll::Ready(Step::End(error.into())),
                Poll::Pending => Poll::Pending,
            }
        });
        let result = match step.await {
            Step::Next(Some(chunks)) => {
                wire.send(&chunks);
                Ok(())
            }
            Step::Next(None) => return wire.close(),
            Step::Event(Event::Subscribe(prefix)) => {
                wants.lock().unwrap_or_else(PoisonError::into_inner).subscribe(&prefix)
            }
            Step::Event(Event::Cancel(prefix)) => {
                wants.lock().unwrap_or_else(PoisonError::into_inner).cancel(&prefix);
                Ok(())
            }
            // What else a subscriber says is for nobody.
            Step::Event(_) => Ok(()),
            Step::End(WireError::Closed { within: false }) => return,
            Step::End(error) => return trouble(&format!("{address}: {error}")),
        };
        if let Err(error) = result {
            return trouble(&format!("{address}: {error}"));
        }
    }
}

/// Counts and tells what is wrong with a subscriber, or with who wanted to be one.
pub(super) fn trouble(what: &str) {
    metrics::counter!(names::PUBLISH_PEER_ERRORS).increment(1);
    tracing::debug!("trouble with a subscriber: {what}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_are_matched_counted_and_bounded() {
        let mut wants = Wants::default();
        assert!(!wants.matches(b"scan/a"), "nothing is sent to who wants nothing");
        wants.subscribe(b"scan/").unwrap();
        wants.subscribe(b"scan/").unwrap();
        assert!(wants.matches(b"scan/a") && !wants.matches(b"sca") && !wants.matches(b"alert"));
        wants.cancel(b"scan/");
        wants.cancel(b"never");
        assert!(wants.matches(b"scan/"), "subscribed twice");
        wants.cancel(b"scan/");
        assert!(!wants.matches(b"scan/a"));
        assert_eq!(wants.bytes, 0);
        wants.subscribe(b"").unwrap();
        assert!(wants.matches(b"") && wants.matches(b"anything"));
        for _ in 1..PREFIXES {
            wants.subscribe(b"x").unwrap();
        }
        assert_eq!(wants.subscribe(b"x"), Err(ZmtpError::Subscriptions(PREFIXES)));
        let mut wants = Wants::default();
        wants.subscribe(&[0; PREFIX_BYTES]).unwrap();
        assert_eq!(wants.subscribe(b"x"), Err(ZmtpError::Subscriptions(PREFIX_BYTES)));
    }
}
