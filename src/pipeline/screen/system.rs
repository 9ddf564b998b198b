//! What the daemon says of itself, in numbers and words: `/api/v1/system`.
//!
//! Numbers come from the parts themselves and from the metrics, so that the screen and Prometheus never say different things. Rates are over the time since
//! somebody last asked, between one second and half a minute.

use std::collections::{BTreeMap, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use crate::pipeline::in_use::InUse;
use crate::pipeline::shelf::Shelf;
use crate::settings::Settings;
use crate::source::frames::SourceStatus;
use crate::telemetry::{MetricsHandle, names};

/// Times between which rates are taken, s.
const SPAN_S: (f64, f64) = (1.0, 30.0);

/// The parts that are asked.
#[derive(Debug)]
pub struct Parts {
    /// Name, kind and address of each source, and what is known of it.
    pub sources: Vec<(String, &'static str, String, Arc<SourceStatus>)>,
    /// The model.
    pub shelf: Arc<Shelf>,
    /// The recipe in use, with its references.
    pub in_use: Arc<InUse>,
    /// The settings.
    pub settings: Settings,
    /// The ZeroMQ output.
    pub publish: String,
    /// The metrics.
    pub metrics: MetricsHandle,
    /// When the daemon started.
    pub started: DateTime<Utc>,
    /// The archive.
    pub library: Arc<super::ArchiveLibrary>,
}

/// What the daemon says of itself.
#[derive(Debug)]
pub struct System {
    parts: Parts,
    /// When it was asked, and what had come by then.
    asked: Mutex<VecDeque<(Instant, Counts)>>,
}

/// Messages and bytes of each source.
type Counts = Vec<(u64, u64)>;

impl System {
    /// Of these parts.
    #[must_use]
    pub fn new(parts: Parts) -> Self {
        Self { parts, asked: Mutex::default() }
    }

    /// The answer of now.
    #[must_use]
    pub fn tell(&self) -> Value {
        let Parts { shelf, in_use, settings, publish, metrics, started, .. } = &self.parts;
        let references = in_use.recipe().references;
        let numbers = Numbers::of(&metrics.render());
        let now = Utc::now();
        let phases: Vec<Value> = references
            .references
            .iter()
            .map(|reference| {
                let state = reference.composition.state.as_ref();
                let state = state.map(|(name, value)| json!({ "name": name, "value": value }));
                let label = &reference.label;
                json!({ "phase": label.id, "title": label.title, "colour": label.colour, "state": state })
            })
            .collect();
        let path = |path: &Path| path.display().to_string();
        let model = shelf.path().as_deref().map(path);
        let (in_use, why) = (shelf.in_use(), shelf.trouble());
        let state = match (&in_use, &why) {
            (Some(_), None) => "in use",
            (Some(_), Some(_)) => "in use, another file was refused",
            (None, _) if model.is_none() => "none",
            (None, _) => "trouble",
        };
        json!({
            "version": env!("CARGO_PKG_VERSION"),
            "started": started,
            "uptime_s": (now - *started).num_seconds(),
            "sources": self.sources(&numbers, now),
            "queues": queues(&numbers, settings),
            "model": {
                "path": model,
                "name": shelf.name(),
                "clusters": shelf.clusters(),
                "sha256": in_use,
                "state": state,
                "why": why,
            },
            "references": { "path": settings.references.dir.as_deref().map(path), "sha256": references.sha256, "phases": phases },
            "disk": self.disk(),
            "archive": {
                "root": path(&settings.archive.root),
                "scans": self.parts.library.count(),
                "waiting": numbers.get(names::ARCHIVE_WAITING),
            },
            "publish": { "address": publish, "subscribers": numbers.get(names::PUBLISH_SUBSCRIBERS) },
        })
    }

    fn sources(&self, numbers: &Numbers, now: DateTime<Utc>) -> Vec<Value> {
        let snapshots: Vec<_> = self.parts.sources.iter().map(|(.., status)| status.snapshot()).collect();
        let counts = snapshots.iter().map(|s| (s.messages, s.bytes)).collect();
        let (span_s, before) = self.since(counts);
        let rate = |now: u64, then: u64| span_s.map(|span_s| now.saturating_sub(then) as f64 / span_s);
        let all = self.parts.sources.iter().zip(&snapshots).enumerate();
        all.map(|(index, ((name, kind, address, _), seen))| {
            let then = before.get(index).copied().unwrap_or((seen.messages, seen.bytes));
            let last_s = seen.last_message.map(|last| (now - last).num_milliseconds() as f64 / 1e3);
            let of = |metric: &str| numbers.labelled(metric, &format!("source=\"{name}\""));
            json!({
                "name": name,
                "kind": kind,
                "address": address,
                "connected": seen.connected,
                "peers": seen.peers,
                "messages": seen.messages,
                "bytes": seen.bytes,
                "messages_per_s": rate(seen.messages, then.0),
                "bytes_per_s": rate(seen.bytes, then.1),
                "last_message_s": last_s,
                "refused": of(names::MESSAGES_REFUSED),
                "lost": of(names::MESSAGES_MISSING),
                "oversize": seen.oversize,
                "reconnects": seen.reconnects,
                "last_error": seen.last_error.as_ref().map(|error| error.text.clone()),
            })
        })
        .collect()
    }

    /// Notes the counts of now; returns those to compare with, and how long ago they were.
    fn since(&self, counts: Counts) -> (Option<f64>, Counts) {
        let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        let age_s = |then: &Instant| then.elapsed().as_secs_f64();
        // The youngest that is old enough, and older ones only while there is none.
        while asked.len() > 1 && asked.get(1).is_some_and(|(then, _)| age_s(then) >= SPAN_S.0) {
            asked.pop_front();
        }
        let before = asked.front().filter(|(then, _)| (SPAN_S.0..SPAN_S.1).contains(&age_s(then)));
        let before = before.map(|(then, counts)| (age_s(then), counts.clone()));
        if asked.back().is_none_or(|(then, _)| age_s(then) >= 0.5 * SPAN_S.0) {
            asked.push_back((Instant::now(), counts));
        }
        before.map_or((None, Vec::new()), |(span_s, counts)| (Some(span_s), counts))
    }

    fn disk(&self) -> Vec<Value> {
        let settings = &self.parts.settings;
        let state = settings.journal.enabled.then(|| ("state", settings.daemon.state_dir.clone()));
        let all = [Some(("archive", settings.archive.root.clone())), state];
        let tell = |(what, path): (&str, PathBuf)| {
            let space = rustix::fs::statvfs(&path).ok();
            let bytes = |blocks: u64, space: &rustix::fs::StatVfs| blocks.saturating_mul(space.f_frsize);
            json!({
                "what": what,
                "path": path.display().to_string(),
                "free_bytes": space.as_ref().map(|space| bytes(space.f_bavail, space)),
                "total_bytes": space.as_ref().map(|space| bytes(space.f_blocks, space)),
            })
        };
        all.into_iter().flatten().map(tell).collect()
    }
}

fn queues(numbers: &Numbers, settings: &Settings) -> Vec<Value> {
    let queue = |name: &str, about: &str, used: Option<f64>, bound: f64, unit: &str, dropped: Option<f64>| json!({ "name": name, "about": about, "used": used, "bound": bound, "unit": unit, "dropped": dropped });
    let limits = &settings.limits;
    let bytes = |bytes: usize| bytes as f64;
    vec![
        queue(
            "received",
            "messages that wait to be taken in; when it is full, the senders wait",
            numbers.get(names::QUEUE_BYTES),
            bytes(limits.queue_bytes),
            "bytes",
            None,
        ),
        queue(
            "held",
            "messages of scans whose start has not come",
            numbers.get(names::HELD_BYTES),
            bytes(limits.held_bytes),
            "bytes",
            None,
        ),
        queue(
            "stacks",
            "what is held of scans in memory",
            numbers.get(names::STACK_BYTES),
            bytes(limits.total_bytes),
            "bytes",
            None,
        ),
        queue(
            "journal",
            "what cannot be written to the journal yet",
            numbers.get(names::JOURNAL_UNWRITTEN_BYTES),
            bytes(limits.queue_bytes),
            "bytes",
            None,
        ),
        queue(
            "publish",
            "maps and events on their way to subscribers; the latest map wins",
            numbers.get(names::PUBLISH_QUEUED_BYTES),
            bytes(settings.publish.queue_bytes),
            "bytes",
            numbers.get(names::PUBLISH_DROPPED),
        ),
        queue(
            "archive",
            "scans that could not be archived yet",
            numbers.get(names::ARCHIVE_WAITING),
            bytes(limits.open_scans),
            "scans",
            None,
        ),
        queue(
            "alerts",
            "letters on their way to webhooks and commands",
            numbers.get(names::ALERT_OUTBOX),
            1024.0,
            "letters",
            numbers.get(names::ALERT_GIVEN_UP),
        ),
    ]
}

/// The metrics as they are rendered, by name and labels.
#[derive(Debug)]
struct Numbers(BTreeMap<String, Vec<(String, f64)>>);

impl Numbers {
    fn of(text: &str) -> Self {
        let mut all: BTreeMap<String, Vec<(String, f64)>> = BTreeMap::new();
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let Some((key, value)) = line.rsplit_once(' ') else { continue };
            let Ok(value) = value.parse() else { continue };
            let (name, labels) = key.split_once('{').unwrap_or((key, ""));
            all.entry(name.to_owned()).or_default().push((labels.trim_end_matches('}').to_owned(), value));
        }
        Self(all)
    }

    /// The sum over all labels.
    fn get(&self, name: &str) -> Option<f64> {
        self.0.get(name).map(|values| values.iter().map(|(_, value)| value).sum())
    }

    /// The sum over those with a label.
    fn labelled(&self, name: &str, label: &str) -> Option<f64> {
        let values = self.0.get(name)?;
        Some(values.iter().filter(|(labels, _)| labels.split(',').any(|l| l == label)).map(|(_, v)| v).sum())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metrics_are_read_as_they_are_written() {
        let text =
            "# TYPE a counter\na{source=\"one\",kind=\"x\"} 3\na{source=\"two\"} 4\nb 1.5\nbad\nc NaN\n";
        let numbers = Numbers::of(text);
        assert_eq!(numbers.get("a"), Some(7.0));
        assert_eq!(numbers.labelled("a", "source=\"one\""), Some(3.0));
        assert_eq!(numbers.labelled("a", "source=\"three\""), Some(0.0));
        assert_eq!((numbers.get("b"), numbers.get("z")), (Some(1.5), None));
    }
}
