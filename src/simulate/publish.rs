//! The thin edge: sends messages over a ZeroMQ PUSH or PUB socket at the pace of the microscope.
//!
//! PUSH waits for a receiver and loses nothing while it is connected. PUB waits for a first subscriber, where it
//! is told to, and loses what nobody subscribed to. The socket's own queue is bounded in messages only, so the
//! bytes that wait in it are counted here and bounded by [`MAX_IN_FLIGHT_BYTES`]. Messages are made on a
//! blocking thread. At the end, and when it is cancelled, the sender waits until what it has sent is written out:
//! without a limit while nobody cancels it, and for `linger` after that.

mod sender;

use std::time::Duration;

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use zeromq::ZmqError;

use super::offer::{Errand, Offer, OpenOffer};
use super::{MessageKind, WireMessage};
use crate::source::stxm_stream::ResendAnswer;
use crate::source::stxm_stream::encode::EncodeError;
use sender::Sender;

/// Bytes that may wait in the socket before the sender waits, too.
pub const MAX_IN_FLIGHT_BYTES: usize = 16 * 1024 * 1024;
/// Messages that are made ahead.
const AHEAD: usize = 64;

/// Where the socket goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Endpoint {
    /// It binds to `tcp://address:port`; port 0 is any free one.
    Bind(String),
    /// It connects to `tcp://address:port`.
    Connect(String),
}

impl Endpoint {
    /// The address.
    #[must_use]
    pub fn address(&self) -> &str {
        match self {
            Self::Bind(address) | Self::Connect(address) => address,
        }
    }
}

/// Kind of the socket.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SocketKind {
    /// PUSH: lossless.
    #[default]
    Push,
    /// PUB: with a topic, [`STREAM`](crate::source::stxm_stream::STREAM), before every message.
    Pub,
    /// PUB: messages go as they are.
    PubAsIs,
}

/// How to publish.
#[derive(Clone, Debug, PartialEq)]
pub struct PublishSettings {
    /// Where.
    pub endpoint: Endpoint,
    /// Where messages of several parts go instead, if anywhere: a pair of sockets.
    pub data: Option<Endpoint>,
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
    /// All was sent; the sender stays in case something is asked for again.
    Lingering,
    /// A request was done.
    Resent {
        /// Messages that were sent again for it.
        messages: u64,
    },
}

/// What was sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PublishReport {
    /// Messages handed to the socket.
    pub messages: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Messages sent again, because they were asked for.
    pub resent: u64,
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
    on_progress: impl FnMut(PublishEvent) + Send,
) -> Result<PublishReport, PublishError> {
    publish_offering(settings, messages, None, cancel, on_progress).await
}

/// As [`publish`], and sends again what is asked for, where there is an offer: in between, at once, in the order of
/// `seq`, and after the last message until nobody has asked for the offer's `linger`. The messages have to pass
/// through the offer's keeper.
///
/// # Errors
/// As [`publish`].
pub async fn publish_offering(
    settings: PublishSettings,
    messages: impl Iterator<Item = Result<WireMessage, EncodeError>> + Send + 'static,
    offer: Option<Offer>,
    cancel: CancellationToken,
    mut on_progress: impl FnMut(PublishEvent) + Send,
) -> Result<PublishReport, PublishError> {
    if !(settings.speed.is_finite() && settings.speed >= 0.0) {
        return Err(PublishError::Speed(settings.speed));
    }
    let mut sender = Sender::open(&settings, &cancel, &mut on_progress).await?;
    let mut offer = offer.map(Offer::open);
    let (made, mut to_send) = mpsc::channel(AHEAD);
    let maker = tokio::task::spawn_blocking(move || {
        // Nobody takes them any more: the sender was cancelled or failed.
        messages.map_while(|message| made.blocking_send(message).ok()).for_each(drop);
    });
    let mut report = PublishReport::default();
    let mut clock: Option<Instant> = None;
    let mut exposure_ms = 0.0;
    // The next message, and when it is due.
    let mut next: Option<(WireMessage, Instant)> = None;
    let mut all_made = false;
    let result = loop {
        let until = offer.as_ref().and_then(OpenOffer::until);
        let step = tokio::select! {
            () = cancel.cancelled() => break Ok(()),
            errand = asked(offer.as_mut()) => Step::Resend(errand),
            () = at(next.as_ref().map(|(_, due)| *due)) => Step::Send,
            message = to_send.recv(), if next.is_none() && !all_made => Step::Made(message),
            () = at(until) => break Ok(()),
        };
        match step {
            Step::Made(Some(Ok(message))) => {
                exposure_ms += message.exposure_ms;
                let due = clock.and_then(|start| due(start, exposure_ms, settings.speed));
                next = Some((message, due.unwrap_or_else(Instant::now)));
            }
            Step::Made(Some(Err(error))) => break Err(error.into()),
            Step::Made(None) => {
                all_made = true;
                let Some(offer) = &mut offer else { break Ok(()) };
                offer.note_all_sent();
                on_progress(PublishEvent::Lingering);
            }
            Step::Send => {
                let Some((message, _)) = next.take() else { continue };
                let bytes = message.parts.iter().map(Bytes::len).sum::<usize>() as u64;
                if !sender.send(&message.parts, &cancel, &mut on_progress).await {
                    break Ok(());
                }
                // The pace counts from the first message that a receiver took.
                clock.get_or_insert_with(Instant::now);
                report.messages += 1;
                report.bytes += bytes;
                if let Some(offer) = &offer {
                    offer.note_sent(&message.parts);
                }
                on_progress(PublishEvent::Sent {
                    kind: message.kind,
                    messages: report.messages,
                    bytes: report.bytes,
                });
            }
            Step::Resend(errand) => {
                let Some(offer) = &mut offer else { continue };
                let sent = resend(&mut sender, offer, errand, &cancel, &mut on_progress).await;
                report.resent += sent;
                offer.note_served();
                on_progress(PublishEvent::Resent { messages: sent });
            }
        }
    };
    drop(to_send);
    drop(offer);
    let maker = maker.await.map_err(|error| PublishError::Maker(error.to_string()));
    report.unsent_bytes = sender.close(&cancel, settings.linger).await;
    report.cancelled = cancel.is_cancelled();
    result.and(maker).map(|()| report)
}

/// What the sender does next.
enum Step {
    Made(Option<Result<WireMessage, EncodeError>>),
    Send,
    Resend(Errand),
}

/// Sends again what is asked for, then answers; returns how many messages went out.
async fn resend(
    sender: &mut Sender,
    offer: &OpenOffer,
    Errand { request, answer }: Errand,
    cancel: &CancellationToken,
    on_progress: &mut (impl FnMut(PublishEvent) + Send),
) -> u64 {
    let mut sent = 0;
    let said = match offer.find(&request) {
        Ok(messages) => {
            for parts in &messages {
                if !sender.send(parts, cancel, on_progress).await {
                    break;
                }
                sent += 1;
            }
            ResendAnswer::Sent(sent)
        }
        Err(reason) => ResendAnswer::Refused(reason),
    };
    // Who asked may be gone; what was asked for is sent all the same.
    drop(answer.send(said));
    sent
}

/// The next request; never, where nothing is offered.
async fn asked(offer: Option<&mut OpenOffer>) -> Errand {
    match offer {
        Some(offer) => offer.next().await,
        None => std::future::pending().await,
    }
}

/// Waits until then; for ever, where there is no such time.
async fn at(time: Option<Instant>) {
    match time {
        Some(time) => tokio::time::sleep_until(time).await,
        None => std::future::pending().await,
    }
}

/// When a message is due; `None` for as fast as possible.
fn due(start: Instant, exposure_ms: f64, speed: f64) -> Option<Instant> {
    let wait = Duration::try_from_secs_f64(exposure_ms / 1e3 / speed).ok()?;
    start.checked_add(wait)
}

#[cfg(test)]
mod tests;
