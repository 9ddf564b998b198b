//! What is said to systemd, or whoever else supervises the daemon: ready, reloading, stopping, and that it is alive.
//!
//! The protocol is `sd_notify`'s: datagrams to the socket in `NOTIFY_SOCKET`. Without one nothing is said. Ready is said when every socket is bound and open
//! scans are back from their journals. The watchdog is fed while every thread shows signs of life ([`Pulses`]), so that a daemon that hangs is
//! started again, where a timer would go on feeding for it; `/healthz` answers 503 by the same rule, for those who go by that. What cannot be told is logged once; the daemon goes on.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use sd_notify::NotifyState;
use tokio_util::sync::CancellationToken;

use super::pulse::Pulses;
use crate::telemetry::{Health, STUCK};

/// Between two looks where no watchdog waits.
const LOOK: Duration = Duration::from_secs(10);

/// What is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Word<'a> {
    /// The daemon does its job; and what it is doing, in words.
    Ready(&'a str),
    /// It reads its configuration again.
    Reloading,
    /// It stops.
    Stopping,
}

/// Tells it.
pub(super) fn tell(word: Word<'_>) {
    let now = NotifyState::monotonic_usec_now();
    let told = match word {
        Word::Ready(status) => sd_notify::notify(&[NotifyState::Ready, NotifyState::Status(status)]),
        Word::Reloading => match now {
            Ok(now) => sd_notify::notify(&[NotifyState::Reloading, now]),
            Err(_) => sd_notify::notify(&[NotifyState::Reloading]),
        },
        Word::Stopping => sd_notify::notify(&[NotifyState::Stopping]),
    };
    heard(told);
}

fn heard(told: std::io::Result<()>) {
    static SAID: AtomicBool = AtomicBool::new(false);
    if let Err(error) = told
        && !SAID.swap(true, Ordering::Relaxed)
    {
        tracing::warn!("the supervisor at NOTIFY_SOCKET cannot be told anything: {error}");
    }
}

/// Feeds the watchdog until `stop`, as long as no thread is stuck for `patience`.
pub(super) async fn watch(pulses: Pulses, patience: Duration, health: Health, stop: CancellationToken) {
    let fed_within = sd_notify::watchdog_enabled();
    // Three times within what the supervisor waits.
    let every = fed_within.map_or(LOOK, |within| within / 3).max(Duration::from_millis(10));
    let mut interval = tokio::time::interval(every);
    while stop.run_until_cancelled(interval.tick()).await.is_some() {
        match pulses.stuck(patience, Instant::now()) {
            None => {
                if health.well(STUCK) {
                    tracing::info!("no thread is stuck any more");
                }
                if fed_within.is_some() {
                    heard(sd_notify::notify(&[NotifyState::Watchdog]));
                }
            }
            Some(thread) => {
                let what = format!(
                    "the {thread} thread has done nothing for {:.0} s; this is a bug. Restart the daemon, if nothing else does: it goes on with the open scans",
                    patience.as_secs_f64()
                );
                if health.trouble(STUCK, true, what.clone()) {
                    tracing::error!("{what}");
                }
            }
        }
    }
}
