//! Sources that are to be connected to and are not: said under `/readyz`, since it is the commonest reason why nothing comes.
//!
//! Not grave: nothing is lost of what is not there, and the daemon goes on trying. Sources that others connect to are not looked at, since nobody has
//! to be there between scans.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::settings::{Endpoint, Settings};
use crate::source::frames::SourceStatus;
use crate::telemetry::Health;

/// The part under `/readyz`.
const PART: &str = "sources";
/// A sender that was started anew is not missed.
const PATIENCE: Duration = Duration::from_secs(30);

/// One that is to be connected to.
#[derive(Debug)]
struct Socket {
    address: String,
    status: Arc<SourceStatus>,
    /// Since when nobody is there.
    since: Option<Instant>,
}

/// All that are to be connected to.
#[derive(Debug)]
pub(super) struct Absent {
    sockets: Vec<Socket>,
}

impl Absent {
    /// Of the sources of `settings`, each with the statuses of its sockets.
    pub(super) fn new<'a>(
        settings: &Settings,
        statuses: impl Iterator<Item = Vec<&'a Arc<SourceStatus>>>,
    ) -> Self {
        let socket = |(endpoint, status): (&Endpoint, &Arc<SourceStatus>)| match endpoint {
            Endpoint::Connect(address) => {
                Some(Socket { address: address.clone(), status: Arc::clone(status), since: None })
            }
            Endpoint::Bind(_) => None,
        };
        let sockets = settings.sources.iter().zip(statuses).flat_map(|(source, statuses)| {
            let endpoints = std::iter::once(&source.endpoint).chain(&source.data);
            endpoints.zip(statuses).filter_map(socket).collect::<Vec<_>>()
        });
        Self { sockets: sockets.collect() }
    }

    /// Looks, and says what there is to be said.
    pub(super) fn look(&mut self, health: &Health, now: Instant) {
        let mut missing = Vec::new();
        for Socket { address, status, since } in &mut self.sockets {
            let seen = status.snapshot();
            if seen.connected {
                *since = None;
                continue;
            }
            if now.saturating_duration_since(*since.get_or_insert(now)) >= PATIENCE {
                let why = seen.last_error.map(|error| format!(" ({})", error.text)).unwrap_or_default();
                missing.push(format!("{} at {address}{why}", seen.name));
            }
        }
        if missing.is_empty() {
            health.well(PART);
            return;
        }
        let what = format!(
            "nothing comes of what is not connected: {}; the daemon goes on trying. Does the acquisition run, and publish there?",
            missing.join(", ")
        );
        health.trouble(PART, false, what);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_not_there_for_a_while_is_named_until_they_come() {
        let text = "[[source]]\nkind = \"stxm-stream\"\nname = \"east\"\nconnect = \"tcp://127.0.0.1:5555\"\n\
                    [[source]]\nkind = \"stxm-stream\"\nname = \"west\"\nbind = \"tcp://127.0.0.1:0\"\n";
        let settings = Settings::from_layers(&[("a.toml".into(), text.to_owned())], []).unwrap();
        let statuses = ["east", "west"].map(|name| Arc::new(SourceStatus::new(name)));
        let mut absent = Absent::new(&settings, statuses.iter().map(|status| vec![status]));
        let (health, now) = (Health::default(), Instant::now());
        absent.look(&health, now);
        statuses[0].peer_error("connection refused".to_owned(), chrono::Utc::now());
        absent.look(&health, now + PATIENCE / 2);
        assert!(health.troubles().is_empty(), "not yet");
        absent.look(&health, now + PATIENCE);
        let [trouble] = &health.troubles()[..] else { panic!("{:?}", health.troubles()) };
        assert!(!trouble.grave && trouble.what.contains("east at tcp://127.0.0.1:5555 (connection refused)"));
        assert!(!trouble.what.contains("west"), "{trouble:?}");
        statuses[0].set_peers(1);
        absent.look(&health, now + PATIENCE * 2);
        assert!(health.troubles().is_empty());
        statuses[0].set_peers(0);
        absent.look(&health, now + PATIENCE * 3);
        assert!(health.troubles().is_empty(), "it counts anew");
    }
}
