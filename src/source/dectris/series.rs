//! One series: where it belongs, and which of its frames came.

use bytes::Bytes;
use chrono::{DateTime, SubsecRound as _, TimeDelta, Utc};

use super::message::{Image, Key, SeriesStart};
use super::seen::Seen;
use crate::scan::{
    Channel, DType, Encoding, FrameBatch, I0, Outcome, Pixels, SampleBatch, ScanEvent, ScanPlan, ScanUpdate,
};
use crate::source::adapter::{AdapterRefusal, event};
use crate::source::geometry::{Doubt, Layout, Misplaced, Placed, SeriesFacts, Span};

/// Most frames of one batch, and most bytes of them.
const MAX_FRAMES: usize = 1024;
const MAX_BYTES: usize = 32 << 20;

/// What holding a frame takes beside its bytes.
pub(super) const HELD_FRAME: usize = 128;

/// One frame, packed.
#[derive(Clone, Debug)]
pub(super) struct Frame {
    pub(super) shape: [usize; 2],
    pub(super) dtype: DType,
    pub(super) encoding: Encoding,
    pub(super) bytes: Bytes,
    pub(super) start_s: Option<f64>,
}

impl Frame {
    pub(super) fn of(image: &Image<'_>) -> Self {
        Self {
            shape: image.shape,
            dtype: image.dtype,
            encoding: image.encoding,
            bytes: image.bytes.clone(),
            start_s: image.start_s,
        }
    }
}

/// Where a series stands.
#[derive(Debug)]
pub(super) enum Standing {
    /// Its scan is not known yet; its frames, by number.
    Waiting(Vec<(u64, Frame)>),
    /// In a scan.
    At(Box<Place>),
    /// In none, and why.
    Nowhere(String),
}

/// A place in a scan.
#[derive(Debug)]
pub(super) struct Place {
    scan_id: String,
    layout: Layout,
    placed: Placed,
}

impl Place {
    pub(super) fn new(scan_id: String, layout: Layout, placed: Placed) -> Self {
        Self { scan_id, layout, placed }
    }

    /// The place of a series that says it itself.
    pub(super) fn told(
        scan_id: &str,
        plan: &ScanPlan,
        layout: Layout,
        span: Option<Span>,
        first: u64,
        series: &SeriesFacts,
    ) -> Result<Self, AdapterRefusal> {
        let energies = plan.energies_ev.len();
        let all = layout.images(Span::Stack, energies);
        let left = all.checked_sub(first).filter(|left| *left > 0);
        let left =
            left.ok_or_else(|| AdapterRefusal::new("geometry", "a series says a place beyond the plan"))?;
        let count = match (span, series.images) {
            (Some(span), _) => layout.images(span, energies),
            (None, Some(images)) => images,
            (None, None) => return Err(Misplaced::Unknown.into()),
        };
        let count = count.min(left);
        let placed = Placed { first, count, is_last: count == left, doubt: None };
        Ok(Self::new(scan_id.to_owned(), layout, placed))
    }

    pub(super) fn scan_id(&self) -> &str {
        &self.scan_id
    }

    pub(super) fn doubt(&self) -> Option<&Doubt> {
        self.placed.doubt.as_ref()
    }

    pub(super) fn count(&self) -> u64 {
        self.placed.count
    }

    /// Energy index and pixel of a frame; `None` beyond the place.
    pub(super) fn pixel(&self, number: u64) -> Option<(u32, u32)> {
        if number >= self.placed.count {
            return None;
        }
        let (energy, pixel) = self.layout.place(self.placed.first + number);
        Some((u32::try_from(energy).ok()?, u32::try_from(pixel).ok()?))
    }
}

/// One series.
#[derive(Debug)]
pub(super) struct Series {
    pub(super) start: SeriesStart,
    pub(super) standing: Standing,
    pub(super) ended: bool,
    /// When something of it came last.
    pub(super) heard_last: DateTime<Utc>,
    seen: Seen,
    /// What was said when it was over.
    told: Option<Outcome>,
}

impl Series {
    pub(super) fn new(start: SeriesStart, received: DateTime<Utc>) -> Self {
        let standing = Standing::Waiting(Vec::new());
        Self { start, standing, ended: false, heard_last: received, seen: Seen::default(), told: None }
    }

    pub(super) fn is(&self, key: Key<'_>) -> bool {
        let unique = self.start.unique.as_deref();
        self.start.facts.number == key.number
            && (unique == key.unique || unique.is_none() || key.unique.is_none())
    }

    pub(super) fn is_waiting(&self) -> bool {
        matches!(self.standing, Standing::Waiting(_))
    }

    /// How many frames wait.
    pub(super) fn waiting(&self) -> u64 {
        match &self.standing {
            Standing::Waiting(frames) => frames.len() as u64,
            _ => 0,
        }
    }

    pub(super) fn waiting_bytes(&self) -> usize {
        match &self.standing {
            Standing::Waiting(frames) => frames.iter().map(|(_, frame)| frame.bytes.len() + HELD_FRAME).sum(),
            _ => 0,
        }
    }

    /// Keeps a frame until the scan is known. What lies in a large receive buffer shall not keep all of it.
    pub(super) fn wait(&mut self, number: u64, frame: Frame, received: DateTime<Utc>) {
        self.heard_last = received;
        if let Standing::Waiting(frames) = &mut self.standing {
            frames.push((number, Frame { bytes: Bytes::copy_from_slice(&frame.bytes), ..frame }));
        }
    }

    /// Says where it stands; returns the frames that waited for that.
    pub(super) fn settle(&mut self, standing: Standing) -> Vec<(u64, Frame)> {
        match std::mem::replace(&mut self.standing, standing) {
            Standing::Waiting(frames) => frames,
            _ => Vec::new(),
        }
    }

    pub(super) fn scan_id(&self) -> Option<&str> {
        match &self.standing {
            Standing::At(place) => Some(place.scan_id()),
            _ => None,
        }
    }

    /// Notes that a frame came; returns the stride of their numbers where only every so-manieth comes, once.
    pub(super) fn note(&mut self, number: u64) -> Option<u64> {
        self.seen.note(number)
    }

    /// Whether all of its frames are there, and nobody was told yet.
    pub(super) fn is_completed(&self) -> bool {
        self.told != Some(Outcome::Complete) && self.is_whole()
    }

    fn is_whole(&self) -> bool {
        matches!(&self.standing, Standing::At(place) if self.seen.count() >= place.count())
    }

    /// Whether nothing but its start, or a frame that came before it, was heard of it.
    pub(super) fn is_untouched(&self) -> bool {
        !self.ended && (!self.start.facts.heard || self.seen.count() == 0)
    }

    /// Whether it had less frames than it should have, as far as they were heard.
    pub(super) fn is_short(&self) -> bool {
        match &self.standing {
            Standing::At(place) => self.seen.last().map_or(0, |last| last + 1) < place.count(),
            _ => false,
        }
    }

    /// How the scan ended with it, if it did and that is news.
    pub(super) fn outcome(&mut self) -> Option<Outcome> {
        let Standing::At(place) = &self.standing else { return None };
        if !place.placed.is_last {
            return None;
        }
        let (reached, count) = (self.seen.last().map_or(0, |last| last + 1), place.count());
        // What came before a restart is not known here: the coverage shows what is missing.
        let outcome = if reached >= count || !self.start.facts.heard {
            Outcome::Complete
        } else {
            Outcome::Partial {
                reason: format!("the detector's series ended after {reached} of {count} frames"),
            }
        };
        (self.told.as_ref() != Some(&outcome)).then(|| self.told.insert(outcome).clone())
    }
}

impl SeriesStart {
    /// Start of the exposure of a frame, where the detector says it.
    pub(super) fn time_of(&self, frame: &Frame) -> Option<DateTime<Utc>> {
        const DAY_S: f64 = 86_400.0;
        let start_s = frame.start_s.filter(|start_s| (0.0..1000.0 * DAY_S).contains(start_s))?;
        let time = self.armed?.checked_add_signed(TimeDelta::microseconds((start_s * 1e6) as i64))?;
        Some(time.trunc_subsecs(6))
    }
}

/// Frames of one energy, on their way.
#[derive(Debug)]
pub(super) struct Batch {
    scan_id: String,
    energy_index: u32,
    dtype: DType,
    encoding: Encoding,
    time: DateTime<Utc>,
    pixels: Vec<u32>,
    frames: Vec<Bytes>,
    bytes: usize,
}

impl Batch {
    pub(super) fn new(scan_id: &str, energy_index: u32, frame: &Frame, time: DateTime<Utc>) -> Self {
        Self {
            scan_id: scan_id.to_owned(),
            energy_index,
            dtype: frame.dtype,
            encoding: frame.encoding,
            time,
            pixels: Vec::new(),
            frames: Vec::new(),
            bytes: 0,
        }
    }

    pub(super) fn is_fit(&self, scan_id: &str, energy_index: u32, frame: &Frame) -> bool {
        self.scan_id == scan_id
            && (self.energy_index, self.dtype, self.encoding) == (energy_index, frame.dtype, frame.encoding)
    }

    pub(super) fn push(&mut self, pixel: u32, frame: Frame) {
        self.bytes += frame.bytes.len();
        self.pixels.push(pixel);
        self.frames.push(frame.bytes);
    }

    pub(super) fn is_full(&self) -> bool {
        self.frames.len() >= MAX_FRAMES || self.bytes >= MAX_BYTES
    }

    pub(super) fn into_event(self) -> ScanEvent {
        let first = self.pixels.first().copied().unwrap_or_default();
        let is_run = self.pixels.iter().zip(first..).all(|(pixel, wanted)| *pixel == wanted);
        let count = self.pixels.len() as u32;
        let batch = SampleBatch {
            energy_index: self.energy_index,
            pixels: if is_run { Pixels::Run { first, count } } else { Pixels::List(self.pixels) },
            channel: Channel::Intensity,
            values: Vec::new(),
            others: Vec::new(),
            i0: I0::None,
            ring_current_ma: None,
            energy_ev: None,
            time: Some(self.time),
        };
        let frames = FrameBatch { batch, dtype: self.dtype, encoding: self.encoding, frames: self.frames };
        event(&self.scan_id, ScanUpdate::Frames(frames))
    }
}
