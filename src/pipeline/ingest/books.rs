//! What is counted of each source while it is received, and what is said of messages that are refused.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use crate::telemetry::names;

/// Books of one source.
pub(super) struct Books {
    pub(super) received: metrics::Counter,
    pub(super) bytes: metrics::Counter,
    pub(super) duplicate: metrics::Counter,
    pub(super) skipped: metrics::Counter,
    pub(super) stale: metrics::Counter,
    pub(super) messages: u64,
    /// Taken in, and not counted before the journal has them: messages and bytes.
    pub(super) uncounted: (u64, u64),
    last_logged: HashMap<&'static str, (Instant, u64)>,
}

impl Books {
    pub(super) fn new(name: &str) -> Self {
        let counter = |metric: &'static str| metrics::counter!(metric, "source" => name.to_owned());
        Self {
            received: counter(names::MESSAGES_RECEIVED),
            bytes: counter(names::BYTES_RECEIVED),
            duplicate: counter(names::MESSAGES_DUPLICATE),
            skipped: counter(names::MESSAGES_SKIPPED),
            stale: counter(names::MESSAGES_STALE),
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
        metrics::counter!(names::MESSAGES_REFUSED, "source" => name.to_owned(), "reason" => reason)
            .increment(1);
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
