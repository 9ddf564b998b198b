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
pub(in crate::source) mod second;
mod seen;
mod series;

use std::collections::{BTreeSet, VecDeque};

use bytes::Bytes;
use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

use super::adapter::{AdapterRefusal, Naming, Read, Recalled, event, remark, remember};
use super::geometry::{Misplaced, Places, SeriesFacts, Span};
use super::identity::{identifier, moment};
use super::join::Join;
use super::told::Told;
use crate::scan::{ScanEvent, ScanPlan, ScanUpdate};
use message::{Image, Key, Message, SeriesStart};
use series::{Batch, HELD_FRAME, Place, Series, Standing};

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
            self.held_bytes -= oldest.map_or(0, |series| series.waiting_bytes());
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

    /// Finds the place of a series; where its scan is not known yet it goes on waiting.
    fn place(
        &mut self,
        index: usize,
        received: DateTime<Utc>,
        events: &mut Vec<ScanEvent>,
    ) -> Result<(), AdapterRefusal> {
        let start = self.series[index].start.clone();
        let runs = self.scan.is_some() || matches!(self.knowledge, Knowledge::Joined(_));
        let after_short = index.checked_sub(1).is_some_and(|before| self.series[before].is_short());
        let found = match &mut self.knowledge {
            Knowledge::Joined(join) => match join.place(&start.facts, after_short, events) {
                Ok(Some(joined)) => Ok(Place::new(joined.scan_id, joined.layout, joined.placed)),
                Ok(None) => return Ok(()),
                Err(misplaced) => Err(misplaced.into()),
            },
            Knowledge::Told(settings) => {
                let told =
                    start.note.as_ref().and_then(Told::with_series).or_else(|| settings.clone().map(Ok));
                let may_begin = told.is_some();
                // A series whose start was not heard may be one of the scan that runs.
                let runs = self.scan.as_ref().filter(|scan| !start.facts.heard && !scan.told.says_place());
                match told.or_else(|| runs.map(|scan| Ok(scan.told.clone()))) {
                    Some(Ok(told)) => self.place_told(told, may_begin, &start, after_short, received, events),
                    Some(Err(refusal)) => Err(refusal),
                    None => Err(AdapterRefusal::new(
                        "geometry",
                        "nobody says what is scanned: neither user_data nor the source's geometry, and no other source is joined",
                    )),
                }
            }
        };
        let series = &mut self.series[index];
        let waited = series.waiting_bytes();
        let waiting = match found {
            Ok(place) => {
                if let Some(doubt) = place.doubt() {
                    events.push(remark(place.scan_id(), doubt.to_string(), true));
                }
                if !start.facts.heard {
                    let text = if runs { PLACED_BY_NUMBER } else { NOTHING_KNOWN };
                    events.push(remark(place.scan_id(), text.to_owned(), !runs));
                }
                series.settle(Standing::At(Box::new(place)))
            }
            Err(refusal) => {
                series.settle(Standing::Nowhere(refusal.to_string()));
                self.held_bytes -= waited;
                return Err(refusal);
            }
        };
        self.held_bytes -= waited;
        for (number, frame) in waiting {
            // It waited because it is fit.
            _ = self.take(index, number, frame, received, events);
        }
        if self.series[index].ended {
            self.ended(index, events);
        }
        Ok(())
    }

    /// A scan begins: of the series that wait, those that belong to it can only be the last ones, one behind the other and just now.
    fn leave_old(&mut self, received: DateTime<Utc>, events: &mut Vec<ScanEvent>) {
        let mut next = None;
        let mut kept = Vec::new();
        for index in (0..self.series.len()).rev() {
            let series = &self.series[index];
            if !series.is_waiting() {
                continue;
            }
            let number = series.start.facts.number;
            let is_next = next.is_none_or(|next| number.checked_add(1) == Some(next));
            let age = received - series.heard_last;
            if is_next && age <= TimeDelta::seconds(RACE_S) {
                next = Some(number);
                kept.push(index);
            } else {
                next = Some(u64::MAX);
                let waited = self.series[index].waiting_bytes();
                self.series[index]
                    .settle(Standing::Nowhere("it came before the scan that knows it began".to_owned()));
                self.held_bytes -= waited;
            }
        }
        // Of several the first may have been of something else.
        if let ([_, _, ..], Knowledge::Joined(join)) = (&kept[..], &mut self.knowledge) {
            join.doubt(
                format!("{} series of frames were there before the scan began: which of them was its first is not sure", kept.len()),
                events,
            );
        }
    }

    /// The series that waited for a scan, in their order.
    fn place_waiting(&mut self, received: DateTime<Utc>, events: &mut Vec<ScanEvent>) {
        for index in 0..self.series.len() {
            if self.series[index].is_waiting() {
                // Why it has no place is said with each of its frames that come.
                _ = self.place(index, received, events);
            }
        }
    }

    /// The place of a series of which is told what is scanned; a scan begins with it only where it `may_begin`.
    fn place_told(
        &mut self,
        told: Told,
        may_begin: bool,
        start: &SeriesStart,
        after_short: bool,
        received: DateTime<Utc>,
        events: &mut Vec<ScanEvent>,
    ) -> Result<Place, AdapterRefusal> {
        let facts = &start.facts;
        if let Some(scan) = self.scan.as_mut().filter(|scan| scan.told.is_of_one_scan(&told)) {
            match told.first(&scan.places.layout) {
                // A series that says where it belongs needs no reckoning. A place that is taken is one of another scan.
                Some(first) if scan.taken.insert(first) => {
                    return Place::told(
                        &scan.scan_id,
                        &scan.plan,
                        scan.places.layout,
                        told.span(),
                        first,
                        facts,
                    );
                }
                Some(_) => {}
                None => match scan.places.place(facts, after_short) {
                    Ok(placed) => return Ok(Place::new(scan.scan_id.clone(), scan.places.layout, placed)),
                    Err(Misplaced::OfAnother) => {}
                    Err(misplaced) => return Err(misplaced.into()),
                },
            }
        }
        if !may_begin {
            return Err(Misplaced::OfAnother.into());
        }
        let mut scan_id = told.scan_id().map_or_else(|| self.scan_id(start, received), str::to_owned);
        let is_used = self.used.contains(&scan_id);
        if is_used {
            // What goes with a series stays in the detector until it is changed: two scans in one would be a wrong map.
            scan_id = format!("{}-s{}", identifier(&scan_id), facts.number);
            if self.used.contains(&scan_id) {
                scan_id = format!("{scan_id}-{}", moment(received));
            }
        }
        let started = start.armed.unwrap_or(received);
        let mut plan = told.plan(&scan_id, facts, started, self.naming.beamline.as_deref())?;
        let mut places = told.places(&plan);
        let place = match told.first(&places.layout) {
            Some(first) => Place::told(&scan_id, &plan, places.layout, told.span(), first, facts)?,
            None => Place::new(scan_id.clone(), places.layout, places.place(facts, false)?),
        };
        if plan.context.is_none() {
            plan.context = Some(serde_json::json!({ "format": "dectris" }));
        }
        let memory = Memory { told: told.clone(), first: places.first(), span: places.span() };
        let told_plan = ScanPlan { recall: remember(FORMAT, memory), ..plan.clone() };
        events.push(event(&scan_id, ScanUpdate::Started(Box::new(told_plan))));
        if is_used {
            let text = "the series says the name of a scan that was before it: it is kept under another";
            events.push(remark(&scan_id, text.to_owned(), false));
        }
        self.use_id(&scan_id);
        let taken = told.first(&places.layout).into_iter().collect();
        self.scan = Some(OpenScan { scan_id, told, plan, places, taken });
        Ok(place)
    }

    fn use_id(&mut self, scan_id: &str) {
        if self.used.len() >= MAX_USED {
            self.used.pop_front();
        }
        self.used.push_back(scan_id.to_owned());
    }

    /// An identifier for the scan that a series begins.
    fn scan_id(&self, start: &SeriesStart, received: DateTime<Utc>) -> String {
        match &start.unique {
            Some(unique) => identifier(unique),
            // Numbers begin anew with the detector.
            None => {
                let source = if self.naming.source.is_empty() { "dectris" } else { &self.naming.source };
                format!("{}-{}-s{}", identifier(source), moment(received), start.facts.number)
            }
        }
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

    /// Lets go of the oldest frames that wait, but for those of this series; returns whether there were any.
    fn give_way(&mut self, to: usize) -> bool {
        let waits = |series: &Series| series.is_waiting() && series.waiting_bytes() > 0;
        let Some(index) = self.series.iter().position(waits).filter(|index| *index < to) else {
            return false;
        };
        self.held_bytes -= self.series[index].waiting_bytes();
        self.series[index].settle(Standing::Nowhere("it gave way to the frames behind it".to_owned()));
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
