//! The receiving thread: raw messages off the queue, through the adapter of their source, into the scans.
//!
//! It never waits for anything but the queue. What is refused is counted under its reason and logged at most once
//! a second per source and reason, with the number of the message; the stream goes on.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::queue::{Popped, QueueReceiver};
use super::resend::Office;
use super::scans::{Accepted, EventRefusal, ScanNotice, Scans, lock};
use super::workboard::Workboard;
use crate::source::frames::RawMessage;
use crate::source::stxm_stream::{self, Framing};
use crate::telemetry::names;

/// One source, as the receiving thread needs it.
#[derive(Clone, Debug)]
pub struct SourceLine {
    /// Name in logs and metrics.
    pub name: String,
    /// What stands before the header.
    pub framing: Framing,
    /// Beamline that wins over the stream's.
    pub beamline: Option<String>,
}

/// Books of one source.
struct Books {
    received: metrics::Counter,
    bytes: metrics::Counter,
    duplicate: metrics::Counter,
    skipped: metrics::Counter,
    stale: metrics::Counter,
    messages: u64,
    last_logged: HashMap<&'static str, (Instant, u64)>,
}

impl Books {
    fn new(name: &str) -> Self {
        let counter = |metric: &'static str| metrics::counter!(metric, "source" => name.to_owned());
        Self {
            received: counter(names::MESSAGES_RECEIVED),
            bytes: counter(names::BYTES_RECEIVED),
            duplicate: counter(names::MESSAGES_DUPLICATE),
            skipped: counter(names::MESSAGES_SKIPPED),
            stale: counter(names::MESSAGES_STALE),
            messages: 0,
            last_logged: HashMap::new(),
        }
    }
}

/// The receiving thread.
pub struct Ingest {
    lines: Vec<SourceLine>,
    books: Vec<Books>,
    scans: Scans,
    workboard: Arc<Workboard>,
    /// Where missing messages are asked for, if anywhere.
    resend: Option<Office>,
    queue_waited_us: u64,
    last_watched: Option<Instant>,
}

impl std::fmt::Debug for Ingest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ingest").field("lines", &self.lines).finish_non_exhaustive()
    }
}

impl Ingest {
    /// The thread's state, not yet running.
    #[must_use]
    pub fn new(lines: Vec<SourceLine>, scans: Scans, workboard: Arc<Workboard>) -> Self {
        let books = lines.iter().map(|line| Books::new(&line.name)).collect();
        Self { lines, books, scans, workboard, resend: None, queue_waited_us: 0, last_watched: None }
    }

    /// The same, with messages that are missing asked for.
    #[must_use]
    pub fn with_resend(self, office: Office) -> Self {
        Self { resend: Some(office), ..self }
    }

    /// Says that a scan which is open again was being received when the daemon went down: what had been on its way is asked
    /// for.
    pub fn restarted(&mut self, scan_id: &str) {
        if let Some(office) = &mut self.resend {
            office.restarted(scan_id);
        }
    }

    /// Receives until the queue closes, then ends every open scan.
    pub fn run(mut self, mut queue: QueueReceiver<RawMessage>) {
        const TICK: Duration = Duration::from_millis(500);
        let mut messages = Vec::new();
        loop {
            let tick = Instant::now() + TICK;
            let asks = self.resend.as_ref().and_then(Office::next_turn);
            let deadline = self.scans.next_deadline().into_iter().chain(asks).fold(tick, Instant::min);
            let popped = queue.pop_all(&mut messages, Some(deadline));
            let oldest = messages.first().map_or_else(Instant::now, |message| message.received);
            for message in messages.drain(..) {
                self.message(message);
            }
            // Before the scans are polled: whether one ends depends on what may still come.
            if let Some(office) = &mut self.resend {
                office.turn(&mut self.scans, Instant::now());
            }
            self.scans.poll(Instant::now());
            self.post(oldest);
            self.watch(&queue, Instant::now());
            if popped == Popped::Closed {
                self.scans.stop(Instant::now());
                self.post(Instant::now());
                self.workboard.close();
                return;
            }
        }
    }

    /// Takes one raw message in.
    pub fn message(&mut self, message: RawMessage) {
        let (source, cost) = (message.source, message.cost_bytes());
        let line = &self.lines[source];
        let books = &mut self.books[source];
        books.messages += 1;
        books.received.increment(1);
        books.bytes.increment(message.parts.iter().map(|part| part.len() as u64).sum());
        let event = match stxm_stream::decode(&message.parts, line.framing, line.beamline.as_deref()) {
            Ok(event) => event,
            Err(refusal) => return self.refuse(source, refusal.reason(), &refusal, None),
        };
        let scan_id = event.scan_id.clone();
        let seq = event.seq;
        match self.scans.push(source, event, cost, message.received) {
            Ok(Accepted::Used) => {}
            Ok(Accepted::Held) => {
                if let (Some(office), Some(seq)) = (&mut self.resend, seq) {
                    office.held(source, &scan_id, seq, message.received);
                }
            }
            Ok(Accepted::Duplicate) => self.books[source].duplicate.increment(1),
            Ok(Accepted::Skipped) => self.books[source].skipped.increment(1),
            Err(refusal) => {
                if refusal == EventRefusal::Stale {
                    self.books[source].stale.increment(1);
                }
                if let (Some(office), Some(seq)) = (&mut self.resend, seq)
                    && refusal.is_final()
                {
                    office.refused(&scan_id, seq);
                }
                self.refuse(source, refusal.reason(), &refusal, Some((&scan_id, seq)));
            }
        }
        let (dropped, refused) = self.scans.held().take_losses();
        if dropped > 0 {
            let held = EventRefusal::Limit {
                what: "size of what is held",
                found: self.scans.held().bytes() + cost,
                key: "held_bytes",
                limit: self.scans.held().limit_bytes(),
            };
            (0..dropped).for_each(|_| self.refuse(source, "held_too_long", &held, None));
        }
        for refusal in refused {
            self.refuse(source, refusal.reason(), &refusal, Some((&scan_id, None)));
        }
    }

    fn refuse(
        &mut self,
        source: usize,
        reason: &'static str,
        cause: &dyn std::fmt::Display,
        of: Option<(&str, Option<u64>)>,
    ) {
        let name = self.lines[source].name.clone();
        metrics::counter!(names::MESSAGES_REFUSED, "source" => name.clone(), "reason" => reason).increment(1);
        let books = &mut self.books[source];
        let now = Instant::now();
        let (last, kept_back) = books.last_logged.entry(reason).or_insert((now, 0));
        if *kept_back > 0 && now.saturating_duration_since(*last) < Duration::from_secs(1) {
            *kept_back += 1;
            return;
        }
        let since_last = kept_back.saturating_sub(1);
        (*last, *kept_back) = (now, 1);
        let (scan_id, seq) = of.map_or((None, None), |(scan_id, seq)| (Some(scan_id), seq));
        tracing::warn!(
            source = name,
            number = books.messages,
            scan_id,
            seq,
            reason,
            more_since_last = since_last,
            "refused a message: {cause}"
        );
    }

    fn post(&mut self, received: Instant) {
        let notices = self.scans.take_notices();
        notices.iter().for_each(|notice| self.count_missing(notice));
        let left_out = self.workboard.post(notices, received);
        if left_out > 0 {
            tracing::warn!(left_out, "too much happens to scans at once; some of it is not shown");
        }
    }

    /// Counts what had not come when a scan ended for the first time.
    fn count_missing(&self, notice: &ScanNotice) {
        if let ScanNotice::Ended { scan_id, reopened: false, .. } = notice
            && let Some(scan) = self.scans.get(scan_id)
            && let Some(stack) = scan.stack()
        {
            let name = self.lines[scan.source()].name.clone();
            let missing = lock(stack).sequence().missing();
            metrics::counter!(names::MESSAGES_MISSING, "source" => name).increment(missing);
        }
    }

    /// Brings the metrics up to date, a few times a second.
    fn watch(&mut self, queue: &QueueReceiver<RawMessage>, now: Instant) {
        const INTERVAL: Duration = Duration::from_millis(200);
        if self.last_watched.is_some_and(|last| now.saturating_duration_since(last) < INTERVAL) {
            return;
        }
        self.last_watched = Some(now);
        let (counters, bytes) = self.scans.totals();
        metrics::counter!(names::SAMPLES_STORED).absolute(counters.stored);
        metrics::counter!(names::SAMPLES_REPLACED).absolute(counters.replaced);
        metrics::counter!(names::SAMPLES_OUTDATED).absolute(counters.outdated);
        metrics::gauge!(names::STACK_BYTES).set(bytes as f64);
        let stats = queue.stats();
        metrics::gauge!(names::QUEUE_BYTES, "queue" => "receive").set(stats.bytes as f64);
        if stats.waited_us > self.queue_waited_us {
            let waited_s = (stats.waited_us - self.queue_waited_us) as f64 * 1e-6;
            metrics::histogram!(names::QUEUE_WAIT_SECONDS, "queue" => "receive").record(waited_s);
            self.queue_waited_us = stats.waited_us;
        }
        metrics::gauge!(names::HELD_BYTES).set(self.scans.held().bytes() as f64);
        metrics::gauge!(names::SCANS_OPEN).set(self.scans.open_count() as f64);
    }
}
