//! What is on a wire that nobody told us anything about: which format speaks there, which scans it tells of, and what is wrong with them.
//!
//! Pure: messages and the time at which they came go in, [`Sniffer::finding`] says what they were. Each message is recognised by itself
//! ([`recognise`]) and goes through the adapter of its format, the one that the daemon would have; what that says is counted, and no value
//! kept. DECTRIS streams carry no scan, unless it was put beside the series; series and images are counted in any case.
//!
//! Assumptions: a port speaks one format. Where it speaks several, all are told.
//!
//! Bad input is what this is for: what no format knows is counted, with the beginning of the first; what an adapter refuses is counted under its reason.
//! Memory is bounded: [`MAX_SCANS`] scans and series, those heard last.

mod problem;
mod recognise;
mod scan;
mod series;

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use chrono::{DateTime, Utc};
use serde::Serialize;

pub use problem::Problem;
pub use recognise::{Packing, Spoken, recognise};
pub use scan::ScanFinding;
pub use series::SeriesFinding;

use super::adapter::{Adapter, Naming, Read};
use super::bluesky::Bluesky;
use super::dectris::{Dectris, Knowledge};
use super::pickle::{self, View};
use super::pixelator::Pixelator;
use super::pystxmcontrol::Pystxmcontrol;
use super::stxm_stream::Framing;
use crate::scan::ScanEvent;
use scan::Heard;
use series::{Said, Series};

/// Scans, and series, that are remembered.
pub const MAX_SCANS: usize = 64;
/// Bytes of a message of no known format that are shown.
const SHOWN_BYTES: usize = 48;

/// Listens.
#[derive(Debug)]
pub struct Sniffer {
    pystxmcontrol: Adapter,
    pixelator: Adapter,
    bluesky: Adapter,
    dectris: Adapter,
    formats: BTreeMap<Spoken, u64>,
    unknown: u64,
    /// The first message of no known format.
    example: Option<String>,
    idle: u64,
    /// By format and reason: how many, and the last in words.
    refused: BTreeMap<(&'static str, &'static str), (u64, String)>,
    scans: VecDeque<Heard>,
    series: VecDeque<Series>,
    messages: u64,
    bytes: u64,
    first: Option<DateTime<Utc>>,
    last: Option<DateTime<Utc>>,
    /// Lines of zeros that an adapter takes for not measured.
    zero_lines: u64,
    events: Vec<ScanEvent>,
}

/// What there is to say.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Finding {
    /// Messages.
    pub messages: u64,
    /// Their bytes.
    pub bytes: u64,
    /// From the first message to the last, s.
    pub seconds: f64,
    /// Formats, the one that is spoken most first.
    pub formats: Vec<FormatFinding>,
    /// Messages of no known format.
    pub unknown: u64,
    /// How the first of them began.
    pub unknown_example: Option<String>,
    /// Messages that are well formed and say nothing about a scan.
    pub idle: u64,
    /// Scans, the one heard last at the end.
    pub scans: Vec<ScanFinding>,
    /// Series of an area detector, the one heard last at the end.
    pub series: Vec<SeriesFinding>,
    /// What is wrong, the most serious first.
    pub problems: Vec<Problem>,
}

/// A format that is spoken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FormatFinding {
    /// In words.
    pub format: String,
    /// `kind` of a source that takes it.
    pub kind: &'static str,
    /// Messages of it.
    pub messages: u64,
}

impl Default for Sniffer {
    fn default() -> Self {
        Self::new()
    }
}

impl Sniffer {
    /// One that has heard nothing yet.
    #[must_use]
    pub fn new() -> Self {
        let naming = || Naming { source: "sniff".to_owned(), ..Naming::default() };
        Self {
            pystxmcontrol: Adapter::Pystxmcontrol(Box::new(Pystxmcontrol::new(naming()))),
            pixelator: Adapter::Pixelator(Box::new(Pixelator::new(naming()))),
            bluesky: Adapter::Bluesky(Box::new(Bluesky::new(naming()))),
            dectris: Adapter::Dectris(Box::new(Dectris::new(naming(), Knowledge::Told(None), 0))),
            formats: BTreeMap::new(),
            unknown: 0,
            example: None,
            idle: 0,
            refused: BTreeMap::new(),
            scans: VecDeque::new(),
            series: VecDeque::new(),
            messages: 0,
            bytes: 0,
            first: None,
            last: None,
            zero_lines: 0,
            events: Vec::new(),
        }
    }

    /// Takes a message that came at `received`; returns what it was recognised as.
    pub fn push(&mut self, parts: &[Bytes], received: DateTime<Utc>) -> Option<Spoken> {
        self.messages += 1;
        self.bytes += parts.iter().map(|part| part.len() as u64).sum::<u64>();
        self.first.get_or_insert(received);
        self.last = Some(received);
        let Some(spoken) = recognise(parts).or_else(|| self.by_company(parts)) else {
            self.unknown += 1;
            self.example.get_or_insert_with(|| shown(parts));
            return None;
        };
        *self.formats.entry(spoken).or_default() += 1;
        if let Some(said) = Said::read(spoken, parts) {
            self.series(spoken, said);
        }
        if spoken == Spoken::Pystxmcontrol && is_line_of_zeros(parts) {
            self.zero_lines += 1;
        }
        let mut ours;
        let adapter = match spoken {
            Spoken::StxmStream { topic } => {
                let framing = if topic { Framing::Topic } else { Framing::Bare };
                ours = Adapter::StxmStream { framing, beamline: None };
                &mut ours
            }
            Spoken::Pystxmcontrol => &mut self.pystxmcontrol,
            Spoken::Pixelator => &mut self.pixelator,
            Spoken::Bluesky(_) => &mut self.bluesky,
            // Of a scan it says nothing, unless somebody put it beside the series: then there is one.
            Spoken::DectrisV1 | Spoken::DectrisV2 => &mut self.dectris,
            // Of these no adapter makes a scan without being told more.
            Spoken::Desy { .. } => return Some(spoken),
        };
        match adapter.push(parts, received, &mut self.events) {
            Ok(Read::Taken) => {}
            Ok(Read::Idle) => self.idle += 1,
            // Where nobody says what is scanned, series are told.
            Err(refusal)
                if spoken.kind() == "dectris" && matches!(refusal.reason(), "geometry" | "no_start") => {}
            Err(refusal) => {
                let (count, last) = self.refused.entry((spoken.kind(), refusal.reason())).or_default();
                *count += 1;
                *last = refusal.to_string();
            }
        }
        adapter.flush(&mut self.events);
        let mut events = std::mem::take(&mut self.events);
        for event in events.drain(..) {
            self.scan(spoken, event, received);
        }
        self.events = events;
        Some(spoken)
    }

    /// Pixelator has more topics than those of scans: where it speaks, what looks like one is one.
    fn by_company(&self, parts: &[Bytes]) -> Option<Spoken> {
        let (topic, rest) = parts.split_first()?;
        let looks = !topic.is_empty() && topic.len() <= 64 && topic.iter().all(u8::is_ascii_alphanumeric);
        let is_text = |part: &Bytes| std::str::from_utf8(part).is_ok();
        let speaks = self.formats.contains_key(&Spoken::Pixelator);
        (speaks && looks && rest.iter().all(is_text)).then_some(Spoken::Pixelator)
    }

    fn series(&mut self, spoken: Spoken, said: Said) {
        let number = said.series();
        let index = self.series.iter().rposition(|series| series.number == number).unwrap_or_else(|| {
            if self.series.len() >= MAX_SCANS {
                self.series.pop_front();
            }
            self.series.push_back(Series::new(number, spoken));
            self.series.len() - 1
        });
        self.series[index].take(said);
    }

    fn scan(&mut self, spoken: Spoken, event: ScanEvent, received: DateTime<Utc>) {
        let index = self.scans.iter().rposition(|scan| scan.scan_id == event.scan_id).unwrap_or_else(|| {
            if self.scans.len() >= MAX_SCANS {
                self.scans.pop_front();
            }
            self.scans.push_back(Heard::new(&event.scan_id, spoken.kind(), received));
            self.scans.len() - 1
        });
        self.scans[index].take(event.seq, event.update, received);
    }

    /// The format that is spoken most.
    #[must_use]
    pub fn spoken(&self) -> Option<Spoken> {
        self.formats.iter().max_by_key(|(_, messages)| **messages).map(|(spoken, _)| *spoken)
    }

    /// What there is to say by now.
    #[must_use]
    pub fn finding(&self) -> Finding {
        let seconds = match (self.first, self.last) {
            (Some(first), Some(last)) => (last - first).num_microseconds().unwrap_or(0) as f64 * 1e-6,
            _ => 0.0,
        };
        let mut formats: Vec<_> =
            self.formats.iter().map(|(spoken, messages)| (*spoken, *messages)).collect();
        formats.sort_by_key(|(_, messages)| std::cmp::Reverse(*messages));
        let told = |(spoken, messages): (Spoken, u64)| FormatFinding {
            format: spoken.to_string(),
            kind: spoken.kind(),
            messages,
        };
        Finding {
            messages: self.messages,
            bytes: self.bytes,
            seconds,
            formats: formats.into_iter().map(told).collect(),
            unknown: self.unknown,
            unknown_example: self.example.clone(),
            idle: self.idle,
            scans: self.scans.iter().map(Heard::finding).collect(),
            series: self.series.iter().map(Series::finding).collect(),
            problems: self.problems(),
        }
    }
}

/// Whether the line that a message of pystxmcontrol is about is all zeros: a trigger that was missed.
fn is_line_of_zeros(parts: &[Bytes]) -> bool {
    let [part] = parts else { return false };
    let Ok(pickle) = pickle::load(part) else { return false };
    let Some(data) = pickle.root().get("data") else { return false };
    let zeros = |(_, line): (&str, View<'_, '_>)| {
        line.numbers().is_some_and(|line| line.len() > 1 && line.iter().all(|value| *value == 0.0))
    };
    let mut lines = data.entries().filter(|(_, line)| line.shape().is_some()).peekable();
    lines.peek().is_some() && lines.all(zeros)
}

/// How a message looks, for people.
fn shown(parts: &[Bytes]) -> String {
    let Some(first) = parts.first() else { return "a message without parts".to_owned() };
    let begin = first[..first.len().min(SHOWN_BYTES)].escape_ascii();
    let more = if first.len() > SHOWN_BYTES { "…" } else { "" };
    format!("{} part(s), the first of {} bytes: {begin}{more}", parts.len(), first.len())
}

#[cfg(test)]
mod tests;
