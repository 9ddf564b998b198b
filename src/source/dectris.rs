//! What DECTRIS detectors stream, first and second version, `docs/formats/dectris.md`: frames in series that know no scan.
//!
//! A message says itself which version it is. The plan of a scan comes from a block that goes with the series ([`Told`]), from the settings,
//! or from another source ([`Join`]). A frame's place follows from the numbers of its series and its image, never from its arrival
//! ([`Places`]). Frames of one energy that come one behind the other leave as one batch, still packed: [`Dectris::flush`] lets go of the
//! last one.
//!
//! Assumptions: numbers of series grow by one; values are unsigned and little-endian. A frame of a series that is over belongs to that
//! series, whatever runs now.
//!
//! Bad input: a message that cannot be read is refused, and so is a frame of another shape, beyond its series, or of one nobody
//! heard the start of, unless the settings say where it belongs. Frames whose scan is not known yet wait, within a bound.

pub mod encode;
mod first;
mod message;
mod placing;
pub(in crate::source) mod second;
mod seen;
mod series;

use std::collections::{BTreeSet, VecDeque};

use bytes::Bytes;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::adapter::{AdapterRefusal, Naming, Read, Recalled, event, remark};
use super::geometry::{Misplaced, Places, SeriesFacts, Span};
use super::join::Join;
use super::told::Told;
use crate::scan::{ScanEvent, ScanPlan, ScanUpdate};
use message::{Image, Key, Message, SeriesStart};
use series::{Batch, HELD_FRAME, Series, Standing};

/// What is said of series whose start was not heard.
const PLACED_BY_NUMBER: &str = "the start of a series was not heard: its place follows from its number alone";
const NOTHING_KNOWN: &str = "the start of the series was not heard: its mask and its saturation are not known, and nothing confirms its place";
/// How long before a scan is known its frames may come, s.
const RACE_S: i64 = 30;
/// Name in what plans remember.
const FORMAT: &str = "dectris";
/// Identifiers that are remembered.
const MAX_USED: usize = 256;
/// Series that are remembered: frames of those before may still come.
const REMEMBERED: usize = 16;

/// Where scans are known from, as the settings have it.
#[derive(Debug)]
pub enum Knowledge {
    /// What goes with the series, or else this.
    Told(Option<Told>),
    /// Another source.
    Joined(Box<Join>),
}

/// The adapter.
#[derive(Debug)]
pub struct Dectris {
    naming: Naming,
    knowledge: Knowledge,
    /// Most bytes of frames that wait for their scan.
    hold_bytes: usize,
    held_bytes: usize,
    series: VecDeque<Series>,
    scan: Option<OpenScan>,
    /// Identifiers of scans that began, the last ones.
    used: VecDeque<String>,
    batch: Option<Batch>,
    /// Frames that waited and were let go.
    lost: u64,
}

/// The scan that a block or the settings tell of.
#[derive(Debug)]
struct OpenScan {
    scan_id: String,
    told: Told,
    plan: ScanPlan,
    places: Places,
    /// Positions of the series that said theirs.
    taken: BTreeSet<u64>,
}

/// What a plan remembers.
#[derive(Debug, Serialize, Deserialize)]
struct Memory {
    /// What was told of the scan.
    told: Told,
    /// Number of the first series, and what a series holds.
    first: Option<i64>,
    span: Option<Span>,
}

impl Dectris {
    /// An adapter that has heard nothing yet.
    #[must_use]
    pub fn new(naming: Naming, knowledge: Knowledge, hold_bytes: usize) -> Self {
        Self {
            naming,
            knowledge,
            hold_bytes,
            held_bytes: 0,
            series: VecDeque::new(),
            scan: None,
            used: VecDeque::new(),
            batch: None,
            lost: 0,
        }
    }

    /// Reads one message; what it says is put behind `events`, but for frames, which leave with others.
    ///
    /// # Errors
    /// The rule that the message breaks.
    pub fn push(
        &mut self,
        parts: &[Bytes],
        received: DateTime<Utc>,
        events: &mut Vec<ScanEvent>,
    ) -> Result<Read, AdapterRefusal> {
        let message = match parts {
            [] => return Err(AdapterRefusal::new("parts", "a message without parts")),
            [part, ..] if first::is_header(part) => first::read(parts)?,
            [part] => second::read(part, self.naming.channel.as_deref())?,
            _ => {
                return Err(AdapterRefusal::new(
                    "parts",
                    format_args!("{} parts where 1 belongs", parts.len()),
                ));
            }
        };
        match message {
            Message::Start(start) => self.start(*start, received, events),
            Message::Image(image) => self.image(&image, received, events),
            Message::End(key) => Ok(self.end(key, received, events)),
            Message::Other => Ok(Read::Idle),
        }
    }

    /// Lets go of the frames that were kept for a batch.
    pub fn flush(&mut self, events: &mut Vec<ScanEvent>) {
        events.extend(self.batch.take().map(Batch::into_event));
    }

    /// Frames that waited for a scan and were let go since the last call.
    pub fn take_lost(&mut self) -> u64 {
        std::mem::take(&mut self.lost)
    }

    /// Takes what the source says that knows scans, where there is one; what goes on is put behind `events`.
    pub fn hear(&mut self, said: ScanEvent, received: DateTime<Utc>, events: &mut Vec<ScanEvent>) {
        // Frames that came before it shall be there before it.
        self.flush(events);
        let Knowledge::Joined(join) = &mut self.knowledge else { return events.push(said) };
        if join.hear(said, events) {
            self.leave_old(received, events);
            self.place_waiting(received, events);
        }
    }

    fn start(
        &mut self,
        start: SeriesStart,
        received: DateTime<Utc>,
        events: &mut Vec<ScanEvent>,
    ) -> Result<Read, AdapterRefusal> {
        let key = Key { number: start.facts.number, unique: start.unique.as_deref() };
        // Numbers begin anew with the detector; only what has a name of its own is known again.
        let is_repeat = |series: &Series| series.is_untouched() || series.start.unique.is_some();
        if self.find(key).is_some_and(|index| is_repeat(&self.series[index])) {
            return Ok(Read::Idle);
        }
        self.flush(events);
        while self.series.len() >= REMEMBERED {
            let oldest = self.series.pop_front();
            self.held_bytes -= oldest.as_ref().map_or(0, Series::waiting_bytes);
            self.lost += oldest.map_or(0, |series| series.waiting());
        }
        self.series.push_back(Series::new(start, received));
        let index = self.series.len() - 1;
        self.place(index, received, events)?;
        if matches!(self.knowledge, Knowledge::Joined(_)) && !self.series[index].is_waiting() {
            // Frames of which no start was heard may be of the scan that begins with this one.
            self.place_waiting(received, events);
        }
        Ok(Read::Taken)
    }

    fn image(
        &mut self,
        image: &Image<'_>,
        received: DateTime<Utc>,
        events: &mut Vec<ScanEvent>,
    ) -> Result<Read, AdapterRefusal> {
        let index = match self.find(image.series) {
            Some(index) => index,
            None => self.late(image, received, events)?,
        };
        self.take(index, image.number, series::Frame::of(image), received, events).map(|()| Read::Taken)
    }

    /// A series whose start was not heard: where the settings say what is scanned, or another source does, its frames still have places.
    fn late(
        &mut self,
        image: &Image<'_>,
        received: DateTime<Utc>,
        events: &mut Vec<ScanEvent>,
    ) -> Result<usize, AdapterRefusal> {
        let unheard = || AdapterRefusal::new("no_start", "a frame of a series whose start was not heard");
        if matches!(self.knowledge, Knowledge::Told(None)) && self.scan.is_none() {
            return Err(unheard());
        }
        let facts = SeriesFacts { number: image.series.number, shape: image.shape, ..SeriesFacts::default() };
        let unique = image.series.unique.map(str::to_owned);
        let start = SeriesStart { facts, unique, ..SeriesStart::default() };
        let refused = self.start(start, received, events).is_err();
        let index = self.find(image.series).ok_or_else(unheard)?;
        if refused {
            // With the next frame perhaps: what is missing may come.
            self.series.remove(index);
            return Err(unheard());
        }
        Ok(index)
    }

    fn take(
        &mut self,
        index: usize,
        number: u64,
        frame: series::Frame,
        received: DateTime<Utc>,
        events: &mut Vec<ScanEvent>,
    ) -> Result<(), AdapterRefusal> {
        let series = &mut self.series[index];
        if frame.shape != series.start.facts.shape {
            let cause =
                format!("a frame of {:?} pixels in a series of {:?}", frame.shape, series.start.facts.shape);
            return Err(AdapterRefusal::new("shape", cause));
        }
        let place = match &series.standing {
            Standing::Waiting(_) => {
                // With what holding it takes.
                let bytes = frame.bytes.len() + HELD_FRAME;
                while self.held_bytes + bytes > self.hold_bytes && self.give_way(index) {}
                let series = &mut self.series[index];
                if self.held_bytes + bytes > self.hold_bytes {
                    return Err(AdapterRefusal::new("held", "too many frames wait for a scan to begin"));
                }
                self.held_bytes += bytes;
                series.wait(number, frame, received);
                return Ok(());
            }
            Standing::Nowhere(why) => return Err(AdapterRefusal::new("geometry", why)),
            Standing::At(place) => place,
        };
        let (energy, pixel) = place.pixel(number).ok_or_else(|| {
            AdapterRefusal::new(
                "outside",
                format_args!("frame {number} of a series that has {} in its scan", place.count()),
            )
        })?;
        let time = series.start.time_of(&frame).unwrap_or(received);
        let is_of_batch =
            self.batch.as_ref().is_some_and(|batch| batch.is_fit(place.scan_id(), energy, &frame));
        if !is_of_batch {
            events.extend(self.batch.take().map(Batch::into_event));
        }
        let batch = self.batch.get_or_insert_with(|| Batch::new(place.scan_id(), energy, &frame, time));
        batch.push(pixel, frame);
        let is_full = batch.is_full();
        let stride = series.note(number);
        if let (Some(stride), Some(scan_id)) = (stride, series.scan_id()) {
            let text = format!(
                "only one of {stride} frames comes: somebody else pulls from the detector, too, and gets the others (see docs/formats/dectris.md)"
            );
            events.push(remark(scan_id, text, false));
        }
        if is_full {
            self.flush(events);
        }
        if self.series[index].is_completed() {
            self.ended(index, events);
        }
        Ok(())
    }

    /// Lets go of a series that waits, and of its frames.
    fn leave(&mut self, index: usize, why: String) {
        let series = &mut self.series[index];
        self.held_bytes -= series.waiting_bytes();
        self.lost += series.waiting();
        series.settle(Standing::Nowhere(why));
    }

    /// Lets go of the oldest frames that wait, but for those of this series; returns whether there were any.
    fn give_way(&mut self, to: usize) -> bool {
        let waits = |series: &Series| series.is_waiting() && series.waiting_bytes() > 0;
        let Some(index) = self.series.iter().position(waits).filter(|index| *index < to) else {
            return false;
        };
        self.leave(index, "it gave way to the frames behind it".to_owned());
        true
    }

    fn end(&mut self, key: Key<'_>, received: DateTime<Utc>, events: &mut Vec<ScanEvent>) -> Read {
        if self.find(key).is_none() && self.scan.is_some() {
            // After a restart its end may be all that is heard of a series.
            let shape = self.scan.as_ref().and_then(|scan| scan.plan.detector.frame_shape).unwrap_or([1, 1]);
            let facts = SeriesFacts { number: key.number, shape, ..SeriesFacts::default() };
            let start =
                SeriesStart { facts, unique: key.unique.map(str::to_owned), ..SeriesStart::default() };
            if self.start(start, received, events).is_err() {
                self.series.pop_back();
            }
        }
        let Some(index) = self.find(key).filter(|index| !self.series[*index].ended) else {
            return Read::Idle;
        };
        self.series[index].ended = true;
        self.ended(index, events);
        Read::Taken
    }

    /// Says that a scan is over whose last series is; where another source knows scans it says so.
    fn ended(&mut self, index: usize, events: &mut Vec<ScanEvent>) {
        self.flush(events);
        if matches!(self.knowledge, Knowledge::Joined(_)) {
            return;
        }
        let series = &mut self.series[index];
        let Some(outcome) = series.outcome() else { return };
        if let Some(scan_id) = series.scan_id() {
            events.push(event(scan_id, ScanUpdate::Ended(outcome)));
        }
    }

    /// Goes on with a scan that was open before a restart. Returns what the source remembers of it that knows the scan, where that is another.
    pub(super) fn recall(&mut self, recalled: &Recalled<'_>) -> Option<String> {
        if let Knowledge::Joined(join) = &mut self.knowledge {
            return join.recall(recalled);
        }
        let Memory { told, first, span } = recalled.memory(FORMAT)?;
        let plan = recalled.plan.without_recall();
        self.use_id(&plan.scan_id);
        if recalled.ended.is_some() {
            return None;
        }
        let reached = recalled.reached.map(|reached| reached as u64);
        let places = told.places(&plan).going_on(first, span, reached);
        self.scan =
            Some(OpenScan { scan_id: plan.scan_id.clone(), told, plan, places, taken: BTreeSet::new() });
        None
    }

    /// Number of the series that is meant, the newest of that number first.
    fn find(&self, key: Key<'_>) -> Option<usize> {
        self.series.iter().rposition(|series| series.is(key))
    }
}

impl From<Misplaced> for AdapterRefusal {
    fn from(misplaced: Misplaced) -> Self {
        Self::new("geometry", misplaced)
    }
}

#[cfg(test)]
mod tests;
