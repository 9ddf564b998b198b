//! A journal as the messages that it was made of: for playing a scan once more at its own pace.
//!
//! What was summed from frames is sent as a point detector's, with the dark level of the sum. Numbers, times and seq are those of the
//! journal, so that the map is the same to the byte. A thread reads; few messages are made ahead.

use std::path::Path;
use std::sync::mpsc::{Receiver, sync_channel};

use chrono::{DateTime, Utc};

use super::messages::sums_as_points;
use super::{MessageKind, WireMessage};
use crate::journal::{self, JournalError, Line, Pinned, What};
use crate::scan::{Outcome, ScanPlan, ScanUpdate};
use crate::source::stxm_stream::encode::{self, EncodeError, Stamp};
use crate::source::stxm_stream::{DType, EndStatus};

/// Messages that are made ahead.
const AHEAD: usize = 64;

/// The messages of a journal.
#[derive(Debug)]
pub struct Playback {
    /// As it is sent first, and with what was appended to it.
    first_plan: ScanPlan,
    plan: ScanPlan,
    lines: Receiver<Line>,
    first: Option<WireMessage>,
    last: Option<DateTime<Utc>>,
}

impl Playback {
    /// Opens the journal in `folder`.
    ///
    /// # Errors
    /// Where it cannot be read, or has no plan; [`EncodeError`] as text where the plan cannot be sent.
    pub fn open(folder: &Path) -> Result<Self, String> {
        let pinned = Pinned::read(folder).map_err(|error| error.to_string())?;
        let Some((seq, plan)) = pinned.plan else { return Err("the journal has no plan".to_owned()) };
        let plan = sums_as_points(plan);
        let parts = encode::scan_start(&plan, seq).map_err(|error| error.to_string())?;
        let first = Some(WireMessage { kind: MessageKind::Start, parts, exposure_ms: 0.0 });
        let (sender, lines) = sync_channel(AHEAD);
        let folder = folder.to_owned();
        let read = move || -> Result<(), JournalError> {
            journal::read(&folder, |line| {
                // Nobody takes them any more: the player was stopped.
                drop(sender.send(line));
            })?;
            Ok(())
        };
        std::thread::Builder::new()
            .name("journal".to_owned())
            .spawn(move || {
                if let Err(error) = read() {
                    tracing::error!("the journal cannot be read to its end: {error}");
                }
            })
            .map_err(|error| error.to_string())?;
        Ok(Self { first_plan: plan.clone(), plan, lines, first, last: None })
    }

    /// The plan, as it is sent first.
    #[must_use]
    pub fn plan(&self) -> &ScanPlan {
        &self.plan
    }

    fn message(&mut self, line: &Line) -> Option<Result<WireMessage, EncodeError>> {
        let exposure_ms =
            self.last.map_or(0.0, |last| (line.received - last).num_microseconds().unwrap_or(0) as f64 / 1e3);
        let What::Update(update) = &line.what else { return None };
        let time = match update {
            ScanUpdate::Samples(batch) | ScanUpdate::Reduced(batch, _) => batch.time,
            _ => None,
        };
        let stamp = Stamp { scan_id: &self.plan.scan_id, seq: line.seq, time: time.unwrap_or(line.received) };
        let (kind, parts) = match update {
            ScanUpdate::Samples(batch) | ScanUpdate::Reduced(batch, _) => {
                let kind = MessageKind::Samples { energy_index: batch.energy_index };
                (kind, encode::samples(stamp, batch, DType::Float32))
            }
            ScanUpdate::Extended { energies_ev, dwell_ms, flux_ph_per_s } => {
                let mut plan = ScanPlan {
                    energies_ev: energies_ev.clone(),
                    flux_ph_per_s: flux_ph_per_s.clone(),
                    ..self.plan.clone()
                };
                let last_ms = self.plan.dwell_ms.last().copied().unwrap_or(1.0);
                plan.dwell_ms = dwell_ms.clone().unwrap_or_else(|| vec![last_ms; energies_ev.len()]);
                let message = encode::plan_extend(stamp, &plan, 0);
                // The next one goes on from its last dwell.
                self.plan.dwell_ms.extend(plan.dwell_ms);
                (MessageKind::Extend, message)
            }
            ScanUpdate::Paused | ScanUpdate::Resumed => {
                (MessageKind::Extend, encode::scan_pause(stamp, matches!(update, ScanUpdate::Resumed)))
            }
            ScanUpdate::Ended(outcome) => {
                let (status, reason) = match outcome {
                    Outcome::Aborted { reason } => (EndStatus::Aborted, reason.as_deref()),
                    _ => (EndStatus::Complete, None),
                };
                (MessageKind::End, encode::scan_end(stamp, status, reason))
            }
            // A repeat of the plan, or of a type that nobody knew: it counts in seq all the same.
            ScanUpdate::Skipped => (MessageKind::Start, encode::scan_start(&self.first_plan, line.seq)),
            ScanUpdate::Started(_) | ScanUpdate::Frames(_) | ScanUpdate::Remarked(_) => return None,
        };
        self.last = Some(line.received);
        let exposure_ms = exposure_ms.max(0.0);
        Some(parts.map(|parts| WireMessage { kind, parts, exposure_ms }))
    }
}

impl Iterator for Playback {
    type Item = Result<WireMessage, EncodeError>;

    fn next(&mut self) -> Option<Self::Item> {
        if let Some(first) = self.first.take() {
            return Some(Ok(first));
        }
        loop {
            let line = self.lines.recv().ok()?;
            if let Some(message) = self.message(&line) {
                return Some(message);
            }
        }
    }
}
