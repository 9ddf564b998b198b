//! The simulated or recorded scan in the languages of others: what a microscope that speaks one of them would publish.
//!
//! All is told from the plan and its lines; what a format has no words for (I0 and ring current, dark and gain of the detector, a second
//! pass) is not told. The whole plan is announced at once. Simulated scans say so in a field of our own, which others ignore.

mod bluesky;
mod dectris;
mod desy;
mod pixelator;
mod pystxmcontrol;

use std::collections::VecDeque;

use bytes::Bytes;

use super::messages::sums_as_points;
use super::{MessageKind, MessageSettings, ScanSource, WireMessage};
use crate::scan::{SampleBatch, ScanPlan};
use crate::source::stxm_stream::encode::EncodeError;
use bluesky::Bluesky;
use dectris::Dectris;
pub use dectris::Detector;
use desy::Desy;
use pixelator::Pixelator;
use pystxmcontrol::Pystxmcontrol;

/// A format that can be spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// pystxmcontrol: pickles.
    Pystxmcontrol,
    /// Pixelator: texts.
    Pixelator,
    /// Bluesky documents, JSON.
    Bluesky,
    /// A DECTRIS detector: frames.
    Dectris(Detector),
    /// The pair of sockets that is common at DESY: frames.
    Desy,
}

impl Format {
    /// Whether frames of an area detector are sent.
    #[must_use]
    pub fn has_frames(self) -> bool {
        matches!(self, Self::Dectris(_) | Self::Desy)
    }
}

/// The parts of messages.
type Said = Vec<Vec<Bytes>>;

/// How a format says what happens.
trait Tongue: std::fmt::Debug + Send {
    /// A scan begins.
    fn start(&mut self, plan: &ScanPlan) -> Said;
    /// Whether it sends frames.
    fn wants_frames(&self) -> bool {
        false
    }
    /// A row was measured.
    fn line(&mut self, plan: &ScanPlan, energy: usize, row: usize, measured: &Measured) -> Said;
    /// The scan is over, or was given up.
    fn end(&mut self, plan: &ScanPlan, aborted: bool) -> Said;
}

/// One row.
#[derive(Debug, Default)]
struct Measured {
    /// One value for each pixel; NaN where nothing was measured.
    values: Vec<f32>,
    /// The frames, one after the other, where they are wanted.
    frames: Vec<u16>,
}

#[derive(Clone, Copy, Debug)]
enum Next {
    Start,
    Line { energy: usize, row: usize },
    End,
    Nothing,
}

/// The messages of one scan in another format.
#[derive(Debug)]
pub struct Emulated {
    source: ScanSource,
    plan: ScanPlan,
    tongue: Box<dyn Tongue>,
    settings: MessageSettings,
    next: Next,
    queue: VecDeque<WireMessage>,
}

impl Emulated {
    /// Tells a scan from its start.
    #[must_use]
    pub fn new(source: ScanSource, format: Format, settings: MessageSettings) -> Self {
        let plan = match &source {
            ScanSource::Microscope(microscope) => microscope.plan().clone(),
            ScanSource::Recording(recording) => recording.plan.clone(),
        };
        let tongue: Box<dyn Tongue> = match format {
            Format::Pystxmcontrol => Box::new(Pystxmcontrol::default()),
            Format::Pixelator => Box::new(Pixelator),
            Format::Bluesky => Box::new(Bluesky),
            Format::Dectris(detector) => Box::new(Dectris::new(detector)),
            Format::Desy => Box::new(Desy),
        };
        let plan = if tongue.wants_frames() { plan } else { sums_as_points(plan) };
        Self { source, plan, tongue, settings, next: Next::Start, queue: VecDeque::new() }
    }

    /// The plan.
    #[must_use]
    pub fn plan(&self) -> &ScanPlan {
        &self.plan
    }

    /// Number of energies that will be sent.
    #[must_use]
    pub fn energies(&self) -> usize {
        self.plan.energies_ev.len().min(self.settings.abort_after.unwrap_or(usize::MAX))
    }

    /// A row, and the time it takes, ms.
    fn measure(&self, energy: usize, row: usize) -> (Measured, f64) {
        if let (true, ScanSource::Microscope(microscope)) = (self.tongue.wants_frames(), &self.source) {
            let frames = microscope.frames(energy, row);
            return (Measured { values: Vec::new(), frames }, microscope.line_ms());
        }
        let nx = self.plan.grid.nx();
        let mut values = vec![f32::NAN; nx];
        let mut take = |batch: &SampleBatch| {
            for (pixel, value) in batch.pixels.iter().zip(&batch.values) {
                if let Some(place) = values.get_mut(pixel.wrapping_sub(row * nx)) {
                    *place = *value;
                }
            }
        };
        let line_ms = match &self.source {
            ScanSource::Microscope(microscope) => {
                take(&microscope.line(energy, row));
                microscope.line_ms()
            }
            ScanSource::Recording(recording) => {
                recording.line(energy, row).iter().for_each(take);
                self.plan.dwell_ms[energy] * nx as f64
            }
        };
        (Measured { values, frames: Vec::new() }, line_ms)
    }

    fn say(&mut self, kind: MessageKind, said: Said, exposure_ms: f64) {
        let share_ms = exposure_ms / said.len().max(1) as f64;
        let message = |parts| WireMessage { kind, parts, exposure_ms: share_ms };
        self.queue.extend(said.into_iter().map(message));
    }

    fn line_or_end(&self, energy: usize, row: usize) -> Next {
        let (energy, row) = if row < self.plan.grid.ny() { (energy, row) } else { (energy + 1, 0) };
        if energy < self.energies() { Next::Line { energy, row } } else { Next::End }
    }

    fn advance(&mut self) {
        match self.next {
            Next::Start => {
                let said = self.tongue.start(&self.plan);
                self.say(MessageKind::Start, said, 0.0);
                self.next = self.line_or_end(0, 0);
            }
            Next::Line { energy, row } => {
                let (measured, line_ms) = self.measure(energy, row);
                let said = self.tongue.line(&self.plan, energy, row, &measured);
                self.say(MessageKind::Samples { energy_index: energy as u32 }, said, line_ms);
                self.next = self.line_or_end(energy, row + 1);
            }
            Next::End => {
                if !self.settings.no_end {
                    let said = self.tongue.end(&self.plan, self.energies() < self.plan.energies_ev.len());
                    self.say(MessageKind::End, said, 0.0);
                }
                self.next = Next::Nothing;
            }
            Next::Nothing => {}
        }
    }
}

impl Iterator for Emulated {
    type Item = Result<WireMessage, EncodeError>;

    fn next(&mut self) -> Option<Self::Item> {
        while self.queue.is_empty() && !matches!(self.next, Next::Nothing) {
            self.advance();
        }
        self.queue.pop_front().map(Ok)
    }
}
