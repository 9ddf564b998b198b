//! The messages of a scan, in the order in which an undisturbed microscope sends them: `scan_start`, the lines
//! of every energy, `scan_end`; on PUB with `scan_start` repeated. Where a scenario has a second pass, `scan_start`
//! announces the first one, and `plan_extend` comes before the second. Lines of which a sparse scan measures nothing
//! are not sent.
//!
//! A recording of an area detector holds sums of frames, so it is sent as a point detector's, with the dark
//! level of the sum. Lines of a recording that were not measured are not sent.

use std::collections::VecDeque;

use bytes::Bytes;
use chrono::{DateTime, Utc};

use super::Microscope;
use super::microscope::after;
use crate::recording::Recording;
use crate::scan::{DetectorKind, ScanPlan};
use crate::source::stxm_stream::encode::{self, EncodeError, Frames, Stamp};
use crate::source::stxm_stream::{DType, Encoding, EndStatus};

/// What a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MessageKind {
    /// `scan_start`.
    Start,
    /// `plan_extend`.
    Extend,
    /// `samples` of an energy.
    Samples {
        /// Index of the energy.
        energy_index: u32,
    },
    /// `scan_end`.
    End,
    /// Nothing that a receiver may accept.
    Garbage,
}

/// One message: header and payload, without the topic of PUB.
#[derive(Clone, Debug, PartialEq)]
pub struct WireMessage {
    /// What it is.
    pub kind: MessageKind,
    /// Header, then payload.
    pub parts: Vec<Bytes>,
    /// Time that the microscope takes before it can send this, ms.
    pub exposure_ms: f64,
}

/// Where the lines come from.
#[derive(Clone, Debug)]
pub enum ScanSource {
    /// They are simulated.
    Microscope(Box<Microscope>),
    /// They were recorded.
    Recording(Box<Recording>),
}

/// How a scan is told.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct MessageSettings {
    /// Repeat `scan_start` whenever this time, ms of exposure, is over: for PUB.
    pub repeat_start_ms: Option<f64>,
    /// Abort after so many energies.
    pub abort_after: Option<usize>,
    /// Say nothing at the end.
    pub no_end: bool,
    /// How the frames of an area detector are packed.
    pub encoding: Encoding,
}

/// What comes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    Start,
    Extend,
    Line { energy: usize, row: usize },
    End { aborted: bool },
    Nothing,
}

/// The messages of one scan. An error ends it.
#[derive(Debug)]
pub struct ScanMessages {
    source: ScanSource,
    plan: ScanPlan,
    settings: MessageSettings,
    next: Next,
    seq: u64,
    since_start_ms: f64,
    queue: VecDeque<WireMessage>,
}

impl ScanMessages {
    /// Tells a scan from its start.
    #[must_use]
    pub fn new(source: ScanSource, settings: MessageSettings) -> Self {
        let plan = match &source {
            ScanSource::Microscope(microscope) => microscope.plan().clone(),
            ScanSource::Recording(recording) => sums_as_points(recording.plan.clone()),
        };
        let (next, queue) = (Next::Start, VecDeque::new());
        Self { source, plan, settings, next, seq: 0, since_start_ms: 0.0, queue }
    }

    /// The same, saying that messages can be asked for again at this address.
    #[must_use]
    pub fn with_resend(mut self, address: Option<String>) -> Self {
        self.plan.resend = address;
        self
    }

    /// The plan as it is in the end, a second pass included.
    #[must_use]
    pub fn plan(&self) -> &ScanPlan {
        &self.plan
    }

    /// Number of energies that will be sent.
    #[must_use]
    pub fn energies(&self) -> usize {
        self.plan.energies_ev.len().min(self.settings.abort_after.unwrap_or(usize::MAX))
    }

    /// Number of energies that `scan_start` announces.
    fn announced(&self) -> usize {
        match &self.source {
            ScanSource::Microscope(microscope) => microscope.first_energies(),
            ScanSource::Recording(_) => self.plan.energies_ev.len(),
        }
    }

    fn take_seq(&mut self) -> u64 {
        self.seq += 1;
        self.seq - 1
    }

    fn start(&mut self) -> Result<(), EncodeError> {
        let seq = self.take_seq();
        self.since_start_ms = 0.0;
        let announced = self.announced();
        let parts = if announced < self.plan.energies_ev.len() {
            encode::scan_start(&first_energies(self.plan.clone(), announced), seq)?
        } else {
            encode::scan_start(&self.plan, seq)?
        };
        self.queue.push_back(WireMessage { kind: MessageKind::Start, parts, exposure_ms: 0.0 });
        Ok(())
    }

    fn extend(&mut self) -> Result<(), EncodeError> {
        let first = self.announced();
        let parts = encode::plan_extend(self.stamp(0, self.line_time(first, 0)), &self.plan, first)?;
        self.seq += 1;
        self.queue.push_back(WireMessage { kind: MessageKind::Extend, parts, exposure_ms: 0.0 });
        Ok(())
    }

    fn line_ms(&self, energy: usize) -> f64 {
        match &self.source {
            ScanSource::Microscope(microscope) => microscope.line_ms(),
            ScanSource::Recording(_) => self.plan.dwell_ms[energy] * self.plan.grid.nx() as f64,
        }
    }

    /// Time at which a line starts.
    fn line_time(&self, energy: usize, row: usize) -> DateTime<Utc> {
        let line_ms = self.line_ms(energy);
        let lines = energy * self.plan.grid.ny() + row;
        match &self.source {
            ScanSource::Recording(recording) => match recording.planes[energy].time {
                Some(time) => after(time, row as f64 * line_ms),
                None => after(self.plan.started, lines as f64 * line_ms),
            },
            ScanSource::Microscope(_) => after(self.plan.started, lines as f64 * line_ms),
        }
    }

    fn line(&mut self, energy: usize, row: usize) -> Result<(), EncodeError> {
        let exposure_ms = self.line_ms(energy);
        if self.settings.repeat_start_ms.is_some_and(|every_ms| self.since_start_ms >= every_ms) {
            self.start()?;
        }
        self.since_start_ms += exposure_ms;
        let time = self.line_time(energy, row);
        let kind = MessageKind::Samples { energy_index: energy as u32 };
        let mut messages = Vec::new();
        match &self.source {
            ScanSource::Microscope(microscope) if self.plan.detector.kind == DetectorKind::Area => {
                let (batch, frames) = (microscope.blank(energy, row).0, microscope.frames(energy, row));
                let frames = Frames {
                    values: &frames,
                    frame_pixels: self.plan.summed_pixels(),
                    encoding: self.settings.encoding,
                };
                if !batch.pixels.is_empty() {
                    messages.push(encode::frame_samples(self.stamp(0, time), &batch, frames)?);
                }
            }
            ScanSource::Microscope(microscope) => {
                let batch = microscope.line(energy, row);
                let whole = batch.values.iter().all(|value| value.fract() == 0.0);
                let dtype = if whole { DType::Uint32 } else { DType::Float32 };
                if !batch.pixels.is_empty() {
                    messages.push(encode::samples(self.stamp(0, time), &batch, dtype)?);
                }
            }
            ScanSource::Recording(recording) => {
                for (index, batch) in recording.line(energy, row).iter().enumerate() {
                    messages.push(encode::samples(self.stamp(index as u64, time), batch, DType::Float32)?);
                }
            }
        }
        self.seq += messages.len() as u64;
        let share_ms = exposure_ms / messages.len().max(1) as f64;
        self.queue.extend(messages.into_iter().map(|parts| WireMessage {
            kind,
            parts,
            exposure_ms: share_ms,
        }));
        Ok(())
    }

    /// The stamp of a message that is `ahead` after the next one.
    fn stamp(&self, ahead: u64, time: DateTime<Utc>) -> Stamp<'_> {
        Stamp { scan_id: &self.plan.scan_id, seq: self.seq + ahead, time }
    }

    fn end(&mut self, aborted: bool) -> Result<(), EncodeError> {
        if self.settings.no_end {
            return Ok(());
        }
        let energies = self.energies();
        // After the last line that was sent, or at the start where none was.
        let time = energies
            .checked_sub(1)
            .map_or(self.plan.started, |last| self.line_time(last, self.plan.grid.ny()));
        let (status, reason) =
            if aborted { (EndStatus::Aborted, Some("abort on demand")) } else { (EndStatus::Complete, None) };
        let parts = encode::scan_end(self.stamp(0, time), status, reason)?;
        self.seq += 1;
        self.queue.push_back(WireMessage { kind: MessageKind::End, parts, exposure_ms: 0.0 });
        Ok(())
    }

    fn after_line(&self, energy: usize, row: usize) -> Next {
        let (next_row, energies) = (row + 1, self.energies());
        if next_row < self.plan.grid.ny() {
            Next::Line { energy, row: next_row }
        } else {
            self.before(energy + 1, energies)
        }
    }

    /// What comes before the first line of an energy.
    fn before(&self, energy: usize, energies: usize) -> Next {
        if energy > 0 && energy == self.announced() && energy < energies {
            Next::Extend
        } else {
            self.start_of(energy, energies)
        }
    }

    fn start_of(&self, energy: usize, energies: usize) -> Next {
        if energy < energies {
            Next::Line { energy, row: 0 }
        } else {
            Next::End { aborted: energies < self.plan.energies_ev.len() }
        }
    }

    fn advance(&mut self) -> Result<(), EncodeError> {
        match self.next {
            Next::Start => {
                self.start()?;
                self.next = self.start_of(0, self.energies());
            }
            Next::Extend => {
                self.extend()?;
                self.next = self.start_of(self.announced(), self.energies());
            }
            Next::Line { energy, row } => {
                self.line(energy, row)?;
                self.next = self.after_line(energy, row);
            }
            Next::End { aborted } => {
                self.end(aborted)?;
                self.next = Next::Nothing;
            }
            Next::Nothing => {}
        }
        Ok(())
    }
}

impl Iterator for ScanMessages {
    type Item = Result<WireMessage, EncodeError>;

    fn next(&mut self) -> Option<Self::Item> {
        while self.queue.is_empty() && self.next != Next::Nothing {
            if let Err(error) = self.advance() {
                self.next = Next::Nothing;
                self.queue.clear();
                return Some(Err(error));
            }
        }
        self.queue.pop_front().map(Ok)
    }
}

/// The plan with its first energies only.
pub(super) fn first_energies(mut plan: ScanPlan, count: usize) -> ScanPlan {
    plan.energies_ev.truncate(count);
    plan.dwell_ms.truncate(count);
    let lists = [plan.flux_ph_per_s.as_mut(), plan.detector.counts_per_photon.as_mut()];
    lists.into_iter().flatten().for_each(|list| list.truncate(count));
    plan
}

/// The plan with sums of frames as a point detector's values.
pub(super) fn sums_as_points(mut plan: ScanPlan) -> ScanPlan {
    plan.detector.dark = plan.dark();
    if plan.detector.kind == DetectorKind::Area {
        // The level was that of one frame pixel; the sums do not tell.
        plan.detector.saturation = None;
    }
    plan.detector.kind = DetectorKind::Point;
    plan.detector.frame_shape = None;
    plan.detector.left_out.clear();
    plan.resend = None;
    plan
}

#[cfg(test)]
mod tests;
