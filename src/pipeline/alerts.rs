//! Alerts on their way out: an inbox that nobody waits for, a desk that decides what is told, and outputs that may fail.
//!
//! ```text
//! map, archive threads -> AlertHand::tell -> inbox, bounded -> clerk (thread "alerts"): desk, state_dir/alerts
//!                                  HTTP: wishes of operators ->    |-> ZeroMQ, log, what the API shows
//!                                                                  |-> one delivery at a time to each output (tasks)
//! ```
//!
//! What was told, and what is to be delivered, is on the disk before an output is tried, so that a killed daemon goes on where it
//! was. Delivery is at least once: a receiver that took an alert, and a daemon that was killed before it wrote that down, lead to a
//! second one, with the same `Idempotency-Key`. Exactly once cannot be had from a protocol that acknowledges.

mod chat;
mod clerk;
mod command;
mod output;
pub mod sample;
mod store;
#[cfg(test)]
mod tests;
mod webhook;

use std::path::Path;

use chrono::TimeDelta;
use tokio::runtime::Handle;

pub use crate::publish::alerts::AlertHand;
pub use clerk::Clerk;
pub use output::{Answer, Output};

use crate::damage::desk::{Desk, OutputRule, Rules, Why};
use crate::publish::zmq::PublisherHandle;
use crate::settings::AlertsSettings;
use crate::telemetry::{Health, names};
use store::Store;

/// The part of the daemon that alerts speak as under `/readyz`.
pub(super) const PART: &str = "alerts";

/// What the clerk needs beside the settings.
#[derive(Debug)]
pub struct Surroundings<'a> {
    /// `daemon.state_dir`; `None`: nothing is kept.
    pub state_dir: Option<&'a Path>,
    /// Where people reach the HTTP side, for links.
    pub public_url: String,
    /// The ZeroMQ output.
    pub publisher: PublisherHandle,
    /// Where troubles are told.
    pub health: Health,
}

/// Opens what was kept, and the outputs; nothing runs yet. What cannot be read is told and does without: alerts go out all the same.
#[must_use]
pub fn open(settings: &AlertsSettings, around: Surroundings<'_>) -> (AlertHand, Clerk) {
    let opened = around.state_dir.map(|state_dir| Store::open(&state_dir.join("alerts")));
    let (store, kept) = match opened {
        None => (None, store::Kept::default()),
        Some(Ok((store, kept))) => {
            if !kept.newer.is_empty() {
                around.health.trouble("newer alerts", false, kept.newer.join("; "));
            }
            (Some(store), kept)
        }
        Some(Err(error)) => {
            tracing::error!("alerts are not kept over a restart: {error}");
            around.health.trouble(
                "alerts kept",
                false,
                format!("alerts are not kept over a restart: {error}"),
            );
            (None, store::Kept::default())
        }
    };
    let outputs = Output::all(settings, |name| std::env::var(name).ok());
    let desk = Desk::new(rules(settings, &outputs), kept.records, kept.silences);
    let hand = AlertHand::default();
    let clerk =
        Clerk::new(desk, store, hand.clone(), outputs, around.public_url, around.publisher, around.health);
    (hand, clerk)
}

/// Other outputs and rules, on their way to the clerk: who comes later wins. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Routes {
    next: std::sync::Arc<std::sync::Mutex<Option<AlertsSettings>>>,
}

impl Routes {
    /// These from now on.
    pub fn take(&self, settings: AlertsSettings) {
        *self.next.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Some(settings);
    }

    fn next(&self) -> Option<(Rules, Vec<Output>)> {
        let settings = self.next.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take()?;
        let outputs = Output::all(&settings, |name| std::env::var(name).ok());
        Some((rules(&settings, &outputs), outputs))
    }
}

fn rules(settings: &AlertsSettings, outputs: &[Output]) -> Rules {
    let seconds = |seconds: f64| TimeDelta::milliseconds((1000.0 * seconds).ceil() as i64);
    let rule = |output: &Output| OutputRule {
        name: output.name().to_owned(),
        min_level: output.min_level(),
        retries: output.retries(),
    };
    Rules {
        remind_after: (settings.remind_s > 0.0).then(|| seconds(settings.remind_s)),
        keep: seconds(86_400.0 * settings.keep_days),
        outputs: outputs.iter().map(rule).collect(),
    }
}

/// Starts the tasks of the outputs; each takes one parcel at a time.
fn start(outputs: Vec<Output>, hand: &AlertHand, runtime: &Handle) -> Vec<output::Slot> {
    let one_at_a_time = std::sync::Arc::new(tokio::sync::Semaphore::new(1));
    outputs.iter().for_each(|output| begin(output.name()));
    outputs.into_iter().map(|output| output.start(hand.clone(), one_at_a_time.clone(), runtime)).collect()
}

/// Lets the counters of an output begin at 0, so that the first that it does not deliver is seen to make them rise.
fn begin(output: &str) {
    metrics::counter!(names::ALERT_DELIVERY_FAILURES, "output" => output.to_owned()).increment(0);
    for why in Why::ALL {
        metrics::counter!(names::ALERT_GIVEN_UP, "output" => output.to_owned(), "cause" => why.name())
            .increment(0);
    }
}
