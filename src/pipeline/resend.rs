//! Asking senders to send again what is missing: `proto/stxm-stream-v1.md`, Resending.
//!
//! ```text
//! receive thread:  Scans ── what is missing ──> desk ── requests ──> client task ── REQ ──> the sender's REP
//!                    ^                            ^                       |
//!                    |  whether there is hope     └────── answers ────────┘
//!        the stream: the messages, once more, like any others
//! ```
//!
//! [`desk`] decides, [`rule`] says whom a stream may have us ask, [`client`] knows sockets, [`Office`] joins them on the
//! receiving thread. Asking is all that is ever sent toward a beamline, and only where a sender or the settings name an
//! address. Both channels hold [`desk::MOST_UNDER_WAY`] entries, which is the most requests there can be; were one full
//! all the same, the request counts as failed and is made again.
//!
//! A sender that never answers, answers nonsense, or sends nothing costs a few attempts and, at the end of a scan, a
//! bounded wait; then the gap stays what it was: known, shown and masked.

pub mod client;
pub mod desk;
mod held;
mod holes;
pub mod rule;

use std::collections::BTreeSet;
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use tokio::sync::mpsc::Sender;

use super::scans::Scans;
use crate::source::stxm_stream::ResendAnswer;
use crate::telemetry::names;
use client::Report;
use desk::{Desk, Errand, GivenUp, ScanView};
use held::HeldScans;
use rule::ResendRule;

/// Shortest time between two looks at what is missing.
const LOOK: Duration = Duration::from_millis(50);
/// Most refused addresses that are remembered, so that each is told once.
const MOST_TOLD: usize = 1024;

/// One source, as far as sending again goes.
#[derive(Clone, Debug)]
pub struct ResendLine {
    /// Name in logs and metrics.
    pub name: String,
    /// Whom it may ask.
    pub rule: ResendRule,
    /// How long a message is missing before it is asked for.
    pub after: Duration,
}

/// Where the receiving thread has messages asked for.
#[derive(Debug)]
pub struct Office {
    lines: Vec<ResendLine>,
    desk: Desk,
    held: HeldScans,
    errands: Sender<Errand>,
    reports: Receiver<Report>,
    next_look: Option<Instant>,
    /// Whether a look was put off.
    put_off: bool,
    /// Scans whose address was refused, and told so.
    told: BTreeSet<String>,
}

impl Office {
    /// `lines` has one entry per source; requests leave through `errands`, and what became of them comes back through
    /// `reports`.
    #[must_use]
    pub fn new(lines: Vec<ResendLine>, errands: Sender<Errand>, reports: Receiver<Report>) -> Self {
        let desk = Desk::new(lines.iter().map(|line| line.after).collect());
        let (held, told) = (HeldScans::default(), BTreeSet::new());
        Self { lines, desk, held, errands, reports, next_look: None, put_off: false, told }
    }

    /// The receiver of a scan was restarted: what lies above the highest number that is known is asked for, too. The scan
    /// has to be open by the next turn.
    pub fn restarted(&mut self, scan_id: &str) {
        self.desk.restarted(scan_id);
        self.next_look = None;
    }

    /// A message came whose scan has not started.
    pub fn held(&mut self, source: usize, scan_id: &str, seq: u64, now: Instant) {
        if self.lines[source].rule.without_plan().is_some() {
            self.held.note(source, scan_id, seq, now);
        }
    }

    /// A message of a scan came and was refused: it would be again.
    pub fn refused(&mut self, scan_id: &str, seq: u64) {
        self.desk.refused(scan_id, seq);
    }

    /// When [`Office::turn`] has something to do next.
    #[must_use]
    pub fn next_turn(&self) -> Option<Instant> {
        // An answer does not wake the receiving thread.
        let soon = self.next_look.filter(|_| self.put_off || self.desk.under_way() > 0);
        soon.or_else(|| self.desk.next_due().map(|due| self.next_look.map_or(due, |look| look.max(due))))
    }

    /// Takes answers, looks at what is missing and asks for what is due; tells the scans which of them may hope.
    pub fn turn(&mut self, scans: &mut Scans, now: Instant) {
        while let Ok(report) = self.reports.try_recv() {
            self.take(&report, now);
        }
        // Not before what it says could change whether a scan ends now.
        let is_urgent = scans.next_deadline().is_some_and(|deadline| deadline <= now);
        self.put_off = !is_urgent && self.next_look.is_some_and(|next| now < next);
        if self.put_off {
            return;
        }
        self.next_look = Some(now + LOOK);
        let views = self.views(scans, now);
        for given_up in self.desk.look(&views, now) {
            self.tell_given_up(&given_up);
        }
        for errand in self.desk.take_due(now) {
            self.ask(errand, now);
        }
        for view in &views {
            scans.set_hope(&view.scan_id, self.desk.has_hope(&view.scan_id));
        }
        metrics::gauge!(names::RESEND_UNDER_WAY).set(self.desk.under_way() as f64);
    }

    fn views(&mut self, scans: &Scans, now: Instant) -> Vec<ScanView> {
        self.held.retain(|scan_id| scans.get(scan_id).is_some(), now);
        let lines = &self.lines;
        let mut views: Vec<_> = self.held.views(|source| lines[source].rule.without_plan()).collect();
        for (scan_id, scan) in scans.open() {
            let line = &self.lines[scan.source()];
            match line.rule.address(scan.resend()) {
                Ok(None) => {}
                Ok(Some(address)) => views.extend(scans.missing(scan_id, now).map(|missing| ScanView {
                    scan_id: scan_id.to_owned(),
                    source: scan.source(),
                    address: address.to_owned(),
                    gaps: missing.gaps,
                    highest: missing.highest,
                    ended: missing.ended,
                    quiet: missing.quiet,
                })),
                Err(refusal) => {
                    if self.told.len() < MOST_TOLD && self.told.insert(scan_id.to_owned()) {
                        let address: String = scan.resend().unwrap_or_default().chars().take(128).collect();
                        count_failed(&line.name, "address");
                        tracing::warn!(
                            source = line.name,
                            scan_id,
                            address,
                            "what is missing will not be asked for where the stream says: {refusal}"
                        );
                    }
                }
            }
        }
        views
    }

    fn ask(&mut self, errand: Errand, now: Instant) {
        let source = &self.lines[errand.source].name;
        let (scan_id, address) = (&errand.request.scan_id, &errand.address);
        let (ranges, messages) = (errand.request.seq.len(), errand.messages());
        metrics::counter!(names::RESEND_REQUESTS, "source" => source.clone()).increment(1);
        metrics::counter!(names::RESEND_ASKED, "source" => source.clone()).increment(messages);
        if errand.is_first {
            tracing::info!(
                source,
                scan_id,
                address,
                ranges,
                messages,
                "asking for messages that are missing"
            );
        } else {
            tracing::debug!(
                source,
                scan_id,
                address,
                ranges,
                messages,
                "asking for messages that are missing"
            );
        }
        let id = errand.id;
        if self.errands.try_send(errand).is_err() {
            count_failed(source, "queue");
            self.desk.done(id, None, now);
        }
    }

    fn take(&mut self, Report { errand, result }: &Report, now: Instant) {
        let source = &self.lines[errand.source].name;
        let (scan_id, address) = (&errand.request.scan_id, &errand.address);
        match result {
            Ok(ResendAnswer::Sent(sent)) => {
                metrics::counter!(names::RESEND_SENT, "source" => source.clone()).increment(*sent);
                tracing::debug!(source, scan_id, address, sent, "messages were sent again");
            }
            Ok(ResendAnswer::Refused(reason)) => {
                count_failed(source, "refused");
                tracing::warn!(source, scan_id, address, reason, "the sender will not send again");
            }
            Err(failure) => {
                count_failed(source, failure.cause());
                tracing::warn!(source, scan_id, address, "asking for messages failed: {failure}");
            }
        }
        let sent = if let Ok(ResendAnswer::Sent(sent)) = result { Some(*sent) } else { None };
        self.desk.done(errand.id, sent, now);
    }

    fn tell_given_up(&self, GivenUp { scan_id, source, messages }: &GivenUp) {
        let source = &self.lines[*source].name;
        metrics::counter!(names::RESEND_GIVEN_UP, "source" => source.clone()).increment(*messages);
        tracing::warn!(source, scan_id, messages, "gave up asking for messages that do not come");
    }
}

fn count_failed(source: &str, cause: &'static str) {
    metrics::counter!(names::RESEND_FAILED, "source" => source.to_owned(), "cause" => cause).increment(1);
}

#[cfg(test)]
mod tests;
