//! Bluesky documents under the lightfall contract, version 1, `docs/formats/bluesky.md`.
//!
//! A message is `prefix name document`, with a blank between; the document is JSON, a pickle, or MessagePack, which its first bytes
//! tell. A run whose start has a block `stxm` is a scan; each event, or row of an event page, is a line of it, placed by `seq_num` and by nothing
//! else, so that loss, doubles and order do not matter.
//!
//! Assumptions: extents are the centres of the outer pixels, in µm. An event whose descriptor was lost belongs to the only run that is
//! open, if there is only one.
//!
//! Bad input: documents are read with bounds on their nesting, and pickles without executing anything. Other documents and other plans
//! are skipped; events of a run whose start was not heard are refused.

mod document;
pub mod encode;
mod run;

use std::collections::VecDeque;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use serde_json::Value;

use super::adapter::{AdapterRefusal, Naming, Read, Recalled};
use crate::scan::ScanEvent;
use run::Run;

/// Runs that are remembered.
const REMEMBERED: usize = 8;
/// Descriptors of a run that are remembered.
const MAX_DESCRIPTORS: usize = 64;
/// Most rows of an event page.
const MAX_ROWS: usize = 1 << 16;

/// The adapter.
#[derive(Debug)]
pub struct Bluesky {
    naming: Naming,
    runs: VecDeque<Run>,
}

impl Bluesky {
    /// An adapter that has heard nothing yet.
    #[must_use]
    pub fn new(naming: Naming) -> Self {
        Self { naming, runs: VecDeque::new() }
    }

    /// Goes on with a run that was open when the daemon ended. Its descriptors were said once: its events are known as those of the only
    /// run that is open.
    pub(super) fn recall(&mut self, scan: &Recalled<'_>) {
        if let Some(run) = Run::recalled(scan) {
            self.add(run);
        }
    }

    fn add(&mut self, run: Run) {
        if self.runs.len() >= REMEMBERED {
            self.runs.pop_front();
        }
        self.runs.push_back(run);
    }

    /// Reads one message; what it says is put behind `events`.
    ///
    /// # Errors
    /// The rule that the message breaks.
    pub fn push(
        &mut self,
        parts: &[Bytes],
        received: DateTime<Utc>,
        events: &mut Vec<ScanEvent>,
    ) -> Result<Read, AdapterRefusal> {
        let [message] = parts else {
            return Err(AdapterRefusal::new(
                "parts",
                format_args!("{} message parts where 1 belongs", parts.len()),
            ));
        };
        let mut blanks =
            message.iter().enumerate().filter(|(_, byte)| **byte == b' ').map(|(index, _)| index);
        let (Some(first), Some(second)) = (blanks.next(), blanks.next()) else {
            return Err(AdapterRefusal::new("header", "no \"prefix name document\""));
        };
        let document = message.slice(second + 1..);
        match &message[first + 1..second] {
            b"start" => self.start(&document::read(&document)?, received, events),
            b"descriptor" => Ok(self.descriptor(&document::read(&document)?)),
            b"event" => self.event(&document::read(&document)?, events),
            b"event_page" => self.page(&document::read(&document)?, events),
            b"stop" => Ok(self.stop(&document::read(&document)?, events)),
            name if !name.is_empty()
                && name.iter().all(|byte| byte.is_ascii_lowercase() || *byte == b'_') =>
            {
                Ok(Read::Idle)
            }
            _ => Err(AdapterRefusal::new("header", "no \"prefix name document\"")),
        }
    }

    fn start(
        &mut self,
        body: &Value,
        received: DateTime<Utc>,
        events: &mut Vec<ScanEvent>,
    ) -> Result<Read, AdapterRefusal> {
        if !body["stxm"].is_object() {
            return Ok(Read::Idle);
        }
        let run = Run::read(body, &self.naming, received)?;
        if self.runs.iter().any(|known| known.uid() == run.uid()) {
            return Ok(Read::Idle);
        }
        run.start(events);
        self.add(run);
        Ok(Read::Taken)
    }

    fn descriptor(&mut self, body: &Value) -> Read {
        let (uid, of) = (body["uid"].as_str(), body["run_start"].as_str());
        let run = self.runs.iter_mut().find(|run| of == Some(run.uid()));
        if let (Some(uid), Some(run)) = (uid, run) {
            run.add_descriptor(uid, MAX_DESCRIPTORS);
        }
        Read::Idle
    }

    /// The run of an event.
    fn run_of(&mut self, body: &Value) -> Result<&mut Run, AdapterRefusal> {
        let descriptor = body["descriptor"].as_str().unwrap_or_default();
        let index = self.runs.iter().position(|run| run.has_descriptor(descriptor)).or_else(|| {
            let mut open = self.runs.iter().enumerate().filter(|(_, run)| run.is_open());
            open.next().filter(|_| open.next().is_none()).map(|(index, _)| index)
        });
        index
            .and_then(|index| self.runs.get_mut(index))
            .ok_or_else(|| AdapterRefusal::new("no_start", "an event of a run whose start was not heard"))
    }

    fn event(&mut self, body: &Value, events: &mut Vec<ScanEvent>) -> Result<Read, AdapterRefusal> {
        let run = self.run_of(body)?;
        run.row(&body["seq_num"], &body["time"], &|field| &body["data"][field], events)
    }

    fn page(&mut self, body: &Value, events: &mut Vec<ScanEvent>) -> Result<Read, AdapterRefusal> {
        let run = self.run_of(body)?;
        let Some(numbers) = body["seq_num"].as_array().filter(|numbers| numbers.len() <= MAX_ROWS) else {
            return Err(AdapterRefusal::new("header", "an event_page without a list of seq_num"));
        };
        let mut read = Ok(Read::Idle);
        for (index, number) in numbers.iter().enumerate() {
            // A row that is wrong is no reason to lose the others.
            match run.row(number, &body["time"][index], &|field| &body["data"][field][index], events) {
                Ok(Read::Taken) if read.is_ok() => read = Ok(Read::Taken),
                Ok(_) => {}
                Err(refusal) => read = Err(refusal),
            }
        }
        read
    }

    fn stop(&mut self, body: &Value, events: &mut Vec<ScanEvent>) -> Read {
        let of = body["run_start"].as_str().unwrap_or_default();
        match self.runs.iter_mut().find(|run| run.uid() == of) {
            Some(run) => run.stop(body, events),
            None => Read::Idle,
        }
    }
}

#[cfg(test)]
mod tests;
