//! What is counted of each source while it is received, and what is said of messages that are refused.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use crate::telemetry::names;

/// Every reason for which a message is refused, so that its counter is there from the start: Prometheus sees a counter rise that was 0
/// before, and sees nothing of one that begins with 1.
const REASONS: [&str; 44] = [
    "cbor",
    "channel",
    "contract",
    "count_zero",
    "dtype",
    "encoding",
    "energy_index",
    "extension",
    "frame_shape",
    "geometry",
    "header",
    "header_size",
    "held",
    "held_too_long",
    "i0_below_dark",
    "i0_not_finite",
    "i0_twice",
    "infinite",
    "limit",
    "msgpack",
    "no_start",
    "not_finite",
    "not_mapped",
    "other_plan",
    "outside",
    "packed",
    "parts",
    "pickle",
    "pixel",
    "pixel_mask",
    "plan",
    "region",
    "scan_id",
    "seq",
    "shape",
    "size",
    "stale",
    "stream",
    "surplus",
    "time",
    "topic",
    "untrusted",
    "values",
    "waiting",
];

/// Books of one source.
pub(super) struct Books {
    pub(super) received: metrics::Counter,
    pub(super) bytes: metrics::Counter,
    pub(super) duplicate: metrics::Counter,
    pub(super) skipped: metrics::Counter,
    pub(super) stale: metrics::Counter,
    pub(super) missing: metrics::Counter,
    pub(super) open: metrics::Gauge,
    pub(super) messages: u64,
    /// Taken in, and not counted before the journal has them: messages and bytes.
    pub(super) uncounted: (u64, u64),
    last_logged: HashMap<&'static str, (Instant, u64)>,
}

impl Books {
    pub(super) fn new(name: &str) -> Self {
        let counter = |metric: &'static str| metrics::counter!(metric, "source" => name.to_owned());
        for reason in REASONS {
            refused(name, reason).increment(0);
        }
        Self {
            received: counter(names::MESSAGES_RECEIVED),
            bytes: counter(names::BYTES_RECEIVED),
            duplicate: counter(names::MESSAGES_DUPLICATE),
            skipped: counter(names::MESSAGES_SKIPPED),
            stale: counter(names::MESSAGES_STALE),
            missing: counter(names::MESSAGES_MISSING),
            open: metrics::gauge!(names::SOURCE_SCANS_OPEN, "source" => name.to_owned()),
            messages: 0,
            uncounted: (0, 0),
            last_logged: HashMap::new(),
        }
    }

    /// Counts a message of the source with this name that is refused, for a reason and the cause in words, and logs it, at most once a second for a reason.
    pub(super) fn refuse(
        &mut self,
        name: &str,
        (reason, cause): (&'static str, &dyn std::fmt::Display),
        of: Option<(&str, Option<u64>)>,
        now: Instant,
    ) {
        refused(name, reason).increment(1);
        let (last, kept_back) = self.last_logged.entry(reason).or_insert((now, 0));
        if *kept_back > 0 && now.saturating_duration_since(*last) < Duration::from_secs(1) {
            *kept_back += 1;
            return;
        }
        let since_last = kept_back.saturating_sub(1);
        (*last, *kept_back) = (now, 1);
        let (scan_id, seq) = of.map_or((None, None), |(scan_id, seq)| (Some(scan_id), seq));
        tracing::warn!(
            source = name,
            number = self.messages,
            scan_id,
            seq,
            reason,
            more_since_last = since_last,
            "refused a message: {cause}"
        );
    }
}

/// How many messages of the source with this name were refused for this reason.
pub(super) fn refused(name: &str, reason: &'static str) -> metrics::Counter {
    metrics::counter!(names::MESSAGES_REFUSED, "source" => name.to_owned(), "reason" => reason)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::{Path, PathBuf};

    use super::*;

    fn sources(dir: &Path, found: &mut Vec<PathBuf>) {
        for entry in std::fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                sources(&path, found);
            } else if path.extension().is_some_and(|own| own == "rs") {
                found.push(path);
            }
        }
    }

    /// The text in quotes that `text` begins with, but for spaces.
    fn quoted(text: &str) -> Option<&str> {
        text.trim_start().strip_prefix('"')?.split('"').next()
    }

    #[test]
    fn every_reason_in_the_code_is_counted_from_the_start() {
        let mut files = Vec::new();
        sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut files);
        let mut named = BTreeSet::new();
        // This file has what is looked for in its own text.
        for file in files.into_iter().filter(|own| !own.ends_with("ingest/books.rs")) {
            let text = std::fs::read_to_string(file).unwrap();
            let of_adapters = text.split("AdapterRefusal::new(").skip(1);
            let of_books =
                text.split("refused(&self.lines[source].name, ").chain(text.split("refuse(source, ")).skip(1);
            let of_rules = text.split("fn reason(&self) -> &'static str {").skip(1);
            let of_rules =
                of_rules.flat_map(|own| own.split("\n    }\n").next().unwrap().split("=>").skip(1));
            let all = of_adapters.chain(of_books).chain(of_rules).filter_map(quoted);
            named.extend(all.map(str::to_owned));
        }
        assert!(named.len() > 20, "{named:?}");
        let counted: BTreeSet<String> = REASONS.into_iter().map(str::to_owned).collect();
        assert_eq!(counted, named);
    }
}
