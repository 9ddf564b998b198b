//! The pair of sockets that is common at DESY, `docs/formats/desy.md`: what an image is, as one JSON text, and its frames, each as JSON and bytes.
//!
//! A scan is images, one for each energy. The metadata of an image come before its frames; neither has an id, an energy or an end. So a frame
//! belongs to the pixel whose turn it is, by arrival; one that is lost shifts all behind it in its image. Every such scan is therefore marked as
//! not to be trusted, and says why. What tells of a loss is said, too: an image that ends with frames missing.
//!
//! Which energies there are the settings say (`[source.geometry]`), and everything else that `scan_start` of our own format has; grid, exposure and the shape of
//! a frame are the stream's. Metadata that come while a scan runs are its next energy if they are equal to those before and an energy is left; else
//! another scan. The same text twice, without a frame between, is the same image. A scan is complete with the last frame of its last energy.
//!
//! Assumptions: rows along x, one behind the other, unless the geometry says otherwise (`meander`, `fast_axis`); start and stop are centres of pixels. Frames
//! may overtake their metadata, on another socket, by [`RACE_S`]: what comes while no image is open is held for so long, bounded in bytes. Metadata may overtake frames, too, which no order
//! of arrival tells from a loss; where as many come too many for the next image as lacked before, they are left out, so that the image after it lies right.
//!
//! Bad input: a frame that is of another size or type than its image still was a frame: it takes its turn, unmeasured. What is
//! neither metadata nor a frame takes no turn. Frames of an image whose metadata were not heard are refused. After a restart nobody knows how many frames were missed: the scan waits for its next image.

pub mod encode;
mod frame;

use std::collections::VecDeque;

use bytes::Bytes;
use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::adapter::{AdapterRefusal, Naming, Read, Recalled, event, remark, remember};
use super::axis::from_ends;
use super::geometry::{Layout, Order, SeriesFacts};
use super::identity::{identifier, moment};
use super::text::json as text_json;
use super::told::Told;
use crate::scan::{
    Channel, FrameBatch, I0, MAX_AXIS, Outcome, Pixels, SampleBatch, ScanEvent, ScanPlan, ScanUpdate,
};
use frame::Frame;

/// Name of the format in what is remembered.
const FORMAT: &str = "desy";
/// Longest JSON that is read, bytes.
const MAX_JSON: usize = 64 << 10;
/// How long a frame may come before its metadata.
const RACE_S: i64 = 1;
/// Why no scan of this format is to be trusted.
const UNTRUSTED: &str = "the format has no ids: pixels are counted by arrival, so that one lost frame shifts the rest of its image";

/// The adapter.
#[derive(Debug)]
pub struct Desy {
    naming: Naming,
    /// What the settings say of every scan.
    geometry: Value,
    hold_bytes: usize,
    scan: Option<OpenScan>,
    /// Frames that came while no image was open, and when.
    held: VecDeque<(DateTime<Utc>, [Bytes; 2])>,
    held_bytes: usize,
    /// Whether frames came that are of no image that is known: those behind them are no better, until the next metadata.
    astray: bool,
    /// Name of the last scan, and how many began in that moment.
    last: (String, u32),
}

/// The scan that was heard last.
#[derive(Debug)]
struct OpenScan {
    plan: ScanPlan,
    layout: Layout,
    /// The metadata of its last image.
    metadata: Metadata,
    energy: usize,
    /// Frames of this energy that came; `None`: the image is not known to be open, after a restart.
    came: Option<u64>,
    /// Whether frames are missing from an image before.
    is_short: bool,
    /// How many were missing from the image before this one: they may still come, behind the metadata that overtook them.
    owed: u64,
}

/// What is needed to go on with a scan after a restart.
#[derive(Debug, Serialize, Deserialize)]
struct Memory {
    metadata: Metadata,
    order: Order,
}

/// What an image is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Metadata {
    x_start: f64,
    x_stop: f64,
    x_num: usize,
    y_start: f64,
    y_stop: f64,
    y_num: usize,
    exposure_time_s: Option<f64>,
    detector_shape: [usize; 2],
    #[serde(default)]
    simulated: bool,
}

impl Metadata {
    /// Whether images of both can be of one scan.
    fn is_alike(&self, other: &Self) -> bool {
        Self { exposure_time_s: other.exposure_time_s, ..self.clone() } == *other
    }
}

impl Desy {
    /// An adapter that has heard nothing yet. `geometry` is what the settings say; `hold_bytes` of frames may wait for their metadata.
    #[must_use]
    pub fn new(naming: Naming, geometry: Value, hold_bytes: usize) -> Self {
        let (held, last) = Default::default();
        Self { naming, geometry, hold_bytes, scan: None, held, held_bytes: 0, astray: false, last }
    }

    /// Goes on with a scan that was open when the daemon ended: with its next image.
    pub(super) fn recall(&mut self, scan: &Recalled<'_>) {
        let Some(Memory { metadata, order }) = scan.memory::<Memory>(FORMAT) else { return };
        if scan.ended.is_some() {
            return;
        }
        self.last = (scan.plan.scan_id.clone(), 1);
        self.scan = Some(OpenScan {
            plan: scan.plan.without_recall(),
            layout: Layout { shape: scan.plan.grid.shape, order },
            metadata,
            energy: scan.reached.unwrap_or(0),
            came: None,
            is_short: true,
            owed: 0,
        });
        // The rest of the image that was interrupted has no place.
        self.astray = true;
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
        // Whichever socket it came through: the two forms cannot be taken for each other.
        match parts {
            [text] => self.metadata(text, received, events),
            [head, bytes] => self.frame([head.clone(), bytes.clone()], received, events),
            _ => Err(AdapterRefusal::new("parts", format_args!("{} parts where 1 or 2 belong", parts.len()))),
        }
    }

    fn metadata(
        &mut self,
        text: &Bytes,
        received: DateTime<Utc>,
        events: &mut Vec<ScanEvent>,
    ) -> Result<Read, AdapterRefusal> {
        let metadata: Metadata = serde_json::from_value(text_json(text, MAX_JSON)?)
            .map_err(|error| AdapterRefusal::new("header", error))?;
        if self.scan.as_ref().is_some_and(|scan| scan.metadata == metadata && scan.came == Some(0)) {
            return Ok(Read::Idle);
        }
        let goes_on = |scan: &&mut OpenScan| {
            scan.metadata.is_alike(&metadata) && scan.energy + 1 < scan.plan.energies_ev.len()
        };
        if let Some(scan) = self.scan.as_mut().filter(goes_on) {
            scan.finish_image(events);
            scan.next_image(metadata, events);
        } else {
            // Told whole before the scan that runs is given up for it.
            let scan = self.begin(metadata, received)?;
            if let Some(mut before) = self.scan.take() {
                before.finish_image(events);
                let reason = "another scan began".to_owned();
                events.push(event(&before.plan.scan_id, ScanUpdate::Ended(Outcome::Partial { reason })));
            }
            let scan_id = scan.plan.scan_id.clone();
            events.push(event(&scan_id, ScanUpdate::Started(Box::new(scan.plan.clone()))));
            events.push(remark(&scan_id, UNTRUSTED.to_owned(), true));
            self.scan = Some(scan);
        }
        self.take_held(received, events);
        Ok(Read::Taken)
    }

    /// The scan that these metadata begin.
    fn begin(&mut self, metadata: Metadata, received: DateTime<Utc>) -> Result<OpenScan, AdapterRefusal> {
        let (ny, nx) = (metadata.y_num, metadata.x_num);
        if !(1..=MAX_AXIS).contains(&ny) || !(1..=MAX_AXIS).contains(&nx) {
            return Err(crate::scan::PlanError::Shape { ny, nx }.into());
        }
        let mut fields = self.geometry.clone();
        let axis = |name, start, stop, points| {
            let axis = from_ends(name, start, stop, points, None).axis;
            json!({ "start": axis.start, "step": axis.step })
        };
        fields["shape"] = json!([ny, nx]);
        fields["x"] = axis("x", metadata.x_start, metadata.x_stop, nx);
        fields["y"] = axis("y", metadata.y_start, metadata.y_stop, ny);
        let told = Told::read(fields)?;
        let site = self.naming.beamline.as_deref().unwrap_or(&self.naming.source);
        let site = if site.is_empty() { FORMAT } else { site };
        let scan_id = format!("{}-{}", identifier(site), moment(received));
        let number = if self.last.0 == scan_id { self.last.1 + 1 } else { 1 };
        let name = if number > 1 { format!("{scan_id}-{number}") } else { scan_id.clone() };
        let facts = SeriesFacts {
            shape: metadata.detector_shape,
            count_time_s: metadata.exposure_time_s.filter(|seconds| seconds.is_finite() && *seconds > 0.0),
            ..SeriesFacts::default()
        };
        let plan = told.plan(&name, &facts, received, self.naming.beamline.as_deref())?;
        self.last = (scan_id, number);
        let memory = Memory { metadata: metadata.clone(), order: told.order() };
        let plan = ScanPlan {
            context: Some(json!({ "format": FORMAT })),
            simulated: metadata.simulated,
            recall: remember(FORMAT, memory),
            ..plan
        };
        let layout = Layout { shape: [ny, nx], order: told.order() };
        Ok(OpenScan { plan, layout, metadata, energy: 0, came: Some(0), is_short: false, owed: 0 })
    }

    fn frame(
        &mut self,
        parts: [Bytes; 2],
        received: DateTime<Utc>,
        events: &mut Vec<ScanEvent>,
    ) -> Result<Read, AdapterRefusal> {
        // What is no frame takes no turn.
        let frame = Frame::read(&parts[0], MAX_JSON)?;
        let is_open = self.scan.as_ref().is_some_and(OpenScan::expects_frames);
        if is_open && let Some(scan) = &mut self.scan {
            let taken = scan.frame(&frame, &parts[1], received, events);
            if scan.is_over() {
                let outcome = if scan.is_short {
                    Outcome::Partial { reason: "frames are missing".to_owned() }
                } else {
                    Outcome::Complete
                };
                events.push(event(&scan.plan.scan_id, ScanUpdate::Ended(outcome)));
                self.scan = None;
            }
            return taken.map(|()| Read::Taken);
        }
        if let Some(scan) = &mut self.scan
            && scan.take_surplus(frame.frames as u64, events)
        {
            let cause = "a frame more than its image has, behind an image that lacked some";
            return Err(AdapterRefusal::new("surplus", cause));
        }
        let stray = || AdapterRefusal::new("no_start", "frames of an image whose metadata were not heard");
        if self.astray {
            return Err(stray());
        }
        self.held_bytes += parts[1].len();
        self.held.push_back((received, parts));
        let too_old = |(came, _): &(DateTime<Utc>, _)| received - *came > TimeDelta::seconds(RACE_S);
        if self.held_bytes > self.hold_bytes || self.held.front().is_some_and(too_old) {
            self.held.clear();
            self.held_bytes = 0;
            self.astray = true;
            return Err(stray());
        }
        Ok(Read::Taken)
    }

    /// Gives the image that has just opened the frames that came before it, unless they are older than a race makes them.
    fn take_held(&mut self, received: DateTime<Utc>, events: &mut Vec<ScanEvent>) {
        let held = std::mem::take(&mut self.held);
        (self.held_bytes, self.astray) = (0, false);
        let is_race = |(came, _): &(DateTime<Utc>, _)| received - *came <= TimeDelta::seconds(RACE_S);
        if held.front().is_some_and(is_race) {
            for (came, parts) in held {
                // A frame that is wrong has taken its turn, and was said to be in order when it came.
                drop(self.frame(parts, came, events));
            }
        }
    }
}

impl OpenScan {
    fn expects_frames(&self) -> bool {
        self.came.is_some_and(|came| came < self.layout.pixels())
    }

    fn is_over(&self) -> bool {
        self.energy + 1 >= self.plan.energies_ev.len() && self.came == Some(self.layout.pixels())
    }

    /// Takes frames that are too many for a whole image where the image before lacked some: its metadata overtook them, and held for the next image
    /// they would move that one, too.
    fn take_surplus(&mut self, frames: u64, events: &mut Vec<ScanEvent>) -> bool {
        if self.owed == 0 {
            return false;
        }
        self.owed = self.owed.saturating_sub(frames);
        let text = format!(
            "energy {} has more frames than pixels and the one before it fewer: its metadata overtook frames, and it is moved",
            self.energy
        );
        events.push(remark(&self.plan.scan_id, text, true));
        true
    }

    /// Says what is missing of the image that is over.
    fn finish_image(&mut self, events: &mut Vec<ScanEvent>) {
        let pixels = self.layout.pixels();
        let text = match self.came {
            Some(came) if came == pixels => return,
            Some(came) => format!(
                "of the {} frames of energy {} only {came} came: from the first that was lost on they lie at wrong pixels",
                pixels, self.energy
            ),
            None => format!("frames of energy {} were missed while phasewatch was not running", self.energy),
        };
        self.is_short = true;
        events.push(remark(&self.plan.scan_id, text, true));
    }

    fn next_image(&mut self, metadata: Metadata, events: &mut Vec<ScanEvent>) {
        self.owed = self.came.map_or(0, |came| self.layout.pixels() - came);
        self.energy += 1;
        self.came = Some(0);
        let planned_ms = self.plan.dwell_ms.get(self.energy).copied();
        let told_ms = metadata.exposure_time_s.map(|seconds| seconds * 1e3);
        if let (Some(planned_ms), Some(told_ms)) = (planned_ms, told_ms)
            && (planned_ms - told_ms).abs() > 1e-3 * planned_ms
        {
            let text = format!(
                "energy {} was exposed for {told_ms} ms where {planned_ms} ms are taken: say dwell_ms in the source's geometry",
                self.energy
            );
            events.push(remark(&self.plan.scan_id, text, true));
        }
        self.metadata = metadata;
    }

    fn frame(
        &mut self,
        frame: &Frame,
        bytes: &Bytes,
        received: DateTime<Utc>,
        events: &mut Vec<ScanEvent>,
    ) -> Result<(), AdapterRefusal> {
        let came = self.came.unwrap_or(0);
        let count = (frame.frames as u64).min(self.layout.pixels() - came);
        self.came = Some(came + count);
        let wanted = self.plan.detector.frame_shape.unwrap_or_default();
        let dtype = frame.check(wanted, bytes.len())?;
        let place = |turn: u64| self.layout.place(turn).1 as u32;
        let pixels = match count {
            1 => Pixels::Run { first: place(came), count: 1 },
            _ => Pixels::List((came..came + count).map(place).collect()),
        };
        let dwell_ms = self.plan.dwell_ms.get(self.energy).copied().unwrap_or(0.0);
        let exposure_us = (dwell_ms * 1e3 * count as f64).min(1e12) as i64;
        let batch = SampleBatch {
            energy_index: self.energy as u32,
            pixels,
            channel: Channel::Intensity,
            values: Vec::new(),
            others: Vec::new(),
            i0: I0::None,
            ring_current_ma: None,
            energy_ev: None,
            time: Some(received - TimeDelta::microseconds(exposure_us)),
        };
        let each = bytes.len() / frame.frames;
        let whole = bytes.slice(..each * count as usize);
        let frames = FrameBatch::raw(batch, dtype, &whole);
        events.push(event(&self.plan.scan_id, ScanUpdate::Frames(frames)));
        Ok(())
    }
}

#[cfg(test)]
mod tests;
