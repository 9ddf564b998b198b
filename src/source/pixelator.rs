//! What PSI's Pixelator publishes (PolLux and others), `docs/formats/pixelator.md`: texts under exact topics.
//!
//! `scanStarted` carries the request of a scan, `scanLineData` blocks of values by index, `scanStatus` where the scan is,
//! `recordedChannels` which channel is which, `scanFinished` and `scanAborted` the end. There is no id: a scan is named by the time at
//! which its start was heard. The same request told again while its scan runs is the same scan (`initialize` makes the server say it
//! again, which we never ask for).
//!
//! Assumptions: the outer index of a line counts the energies of all outer regions, one behind the other. That is held against what
//! `scanStatus` says; where the two disagree nothing is guessed: the scan is marked as not to be trusted, and takes no further lines. The
//! first inner axis is the first index of a block, whatever its positioner, and lines of a meander come sorted.
//!
//! After a restart a scan goes on: its plan remembers the request. What was said meanwhile was not heard, so where the silence was longer
//! than the rest of the scan takes, another may have begun: the scan is marked and takes nothing more.
//!
//! Bad input: JSON may hold bare NaN, which says nothing. Lines whose start was not heard are refused: they could be of any scan.

pub mod encode;
mod line;
mod region;
mod request;

use bytes::Bytes;
use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::adapter::{AdapterRefusal, Naming, Read, Recalled, event, remember};
use super::identity::{identifier, moment};
use super::text::json;
use crate::scan::{Outcome, ScanEvent, ScanUpdate};
use line::Line;
use region::Region;
use request::Request;

/// Name of the format in what is remembered.
const FORMAT: &str = "pixelator";
/// Longest JSON that is read, bytes.
const MAX_JSON: usize = 1 << 20;
/// Most inner regions and polarisations of one scan.
const MAX_REGIONS: usize = 256;
/// How long after an end lines are taken as late ones of the same scan.
const LATE_S: i64 = 10;

/// The adapter.
#[derive(Debug)]
pub struct Pixelator {
    naming: Naming,
    channels: Vec<String>,
    scan: Option<OpenScan>,
    /// Name of the last scan, and how many began in that moment.
    last: (String, u32),
}

/// The scan that was heard last.
#[derive(Debug)]
struct OpenScan {
    text: Bytes,
    request: Request,
    /// By inner region and polarisation.
    regions: Vec<([usize; 2], Region)>,
    /// What `scanStatus` said since the start.
    status: Status,
    ended: Option<DateTime<Utc>>,
    /// Where it was recalled: when something of it was heard before the restart, until something is heard again.
    heard_before: Option<DateTime<Utc>>,
}

impl OpenScan {
    /// Holds the first line after a restart against the time that is left: in a longer silence another scan may have begun.
    fn note_heard(&mut self, received: DateTime<Utc>) {
        let Some(heard) = self.heard_before.take() else { return };
        for (_, region) in &mut self.regions {
            region.note_silence(received - heard);
        }
    }
}

/// What is needed to go on with a region after a restart.
#[derive(Debug, Serialize, Deserialize)]
struct Memory {
    /// Name of the whole scan.
    scan_id: String,
    /// `scanStarted` as it came.
    request: String,
    channels: Vec<String>,
    /// Inner region and polarisation.
    key: [usize; 2],
}

/// Where the server says that the scan is.
#[derive(Clone, Copy, Debug, Default)]
struct Status {
    running: bool,
    paused: bool,
    /// Current outer index, and the number of them.
    outer: Option<usize>,
    outers: Option<usize>,
}

impl OpenScan {
    /// Begins the scan of a region and a polarisation; returns its place in the list.
    fn begin(
        &mut self,
        key: [usize; 2],
        channels: &[String],
        events: &mut Vec<ScanEvent>,
    ) -> Result<usize, AdapterRefusal> {
        let memory = Memory {
            scan_id: self.request.scan_id().to_owned(),
            request: String::from_utf8_lossy(&self.text).into_owned(),
            channels: channels.to_vec(),
            key,
        };
        let region = self.request.region(key, remember(FORMAT, memory))?;
        region.start(events);
        self.regions.push((key, region));
        Ok(self.regions.len() - 1)
    }
}

impl Pixelator {
    /// An adapter that has heard nothing yet.
    #[must_use]
    pub fn new(naming: Naming) -> Self {
        Self { naming, channels: Vec::new(), scan: None, last: (String::new(), 0) }
    }

    /// Goes on with a scan, or a region of one, that was open when the daemon ended.
    pub(super) fn recall(&mut self, scan: &Recalled<'_>) {
        let Some(memory) = scan.memory::<Memory>(FORMAT) else { return };
        let is_another = |open: &OpenScan| open.request.scan_id() != memory.scan_id;
        if self.scan.as_ref().is_none_or(is_another) {
            let text = Bytes::from(memory.request);
            let Ok(body) = json(&text, MAX_JSON) else { return };
            let request = Request::read(&body, memory.scan_id.clone(), &self.naming, scan.plan.started);
            let Ok(Some(request)) = request else { return };
            self.scan = Some(OpenScan {
                text,
                request,
                regions: Vec::new(),
                // Lines of it were heard.
                status: Status { running: true, ..Status::default() },
                ended: scan.ended.map(|_| scan.heard_last),
                heard_before: Some(scan.heard_last),
            });
            self.last = (memory.scan_id, 1);
            self.channels = memory.channels;
        }
        if let Some(open) = &mut self.scan
            && let Ok(region) = open.request.recalled(memory.key, scan)
        {
            open.heard_before = open.heard_before.max(Some(scan.heard_last));
            open.regions.push((memory.key, region));
        }
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
        let [topic, parts @ ..] = parts else {
            return Err(AdapterRefusal::new("parts", "a message without parts"));
        };
        match &topic[..] {
            b"scanLineData" => self.line(parts, received, events),
            b"scanStarted" => self.start(parts, received, events),
            b"scanStatus" => self.status(&json(one(parts)?, MAX_JSON)?, received, events),
            b"recordedChannels" => self.channels(&json(one(parts)?, MAX_JSON)?),
            b"scanFinished" => Ok(self.end(Outcome::Complete, received, events)),
            b"scanAborted" => Ok(self.end(Outcome::Aborted { reason: None }, received, events)),
            topic if !topic.is_empty() && topic.iter().all(u8::is_ascii_alphanumeric) => Ok(Read::Idle),
            _ => Err(AdapterRefusal::new("topic", "the first part is no topic")),
        }
    }

    fn start(
        &mut self,
        parts: &[Bytes],
        received: DateTime<Utc>,
        events: &mut Vec<ScanEvent>,
    ) -> Result<Read, AdapterRefusal> {
        let text = one(parts)?;
        if self.scan.as_ref().is_some_and(|scan| scan.ended.is_none() && scan.text == *text) {
            return Ok(Read::Idle);
        }
        // Whatever it is, what was running is over.
        self.scan = None;
        let body = json(text, MAX_JSON)?;
        let site = self.naming.beamline.as_deref().unwrap_or(&self.naming.source);
        let site = if site.is_empty() { "pixelator" } else { site };
        let scan_id = format!("{}-{}", identifier(site), moment(received));
        let number = if self.last.0 == scan_id { self.last.1 + 1 } else { 1 };
        self.last = (scan_id.clone(), number);
        let scan_id = if number > 1 { format!("{scan_id}-{number}") } else { scan_id };
        // Where no map can be made of it there is nothing to follow, either.
        let Some(request) = Request::read(&body, scan_id, &self.naming, received)? else {
            return Ok(Read::Idle);
        };
        let status = Status::default();
        let scan = self.scan.insert(OpenScan {
            text: text.clone(),
            request,
            regions: Vec::new(),
            status,
            ended: None,
            heard_before: None,
        });
        // With one region there is one scan, and no need to wait for its first line; but for the names of channels, which it
        // has to remember.
        if scan.request.is_single() && (self.naming.channel.is_none() || !self.channels.is_empty()) {
            scan.begin([0, 0], &self.channels, events)?;
        }
        Ok(Read::Taken)
    }

    fn status(
        &mut self,
        body: &Value,
        received: DateTime<Utc>,
        events: &mut Vec<ScanEvent>,
    ) -> Result<Read, AdapterRefusal> {
        let Some(said) = body["status"].as_str() else {
            return Err(AdapterRefusal::new("header", "scanStatus without a status"));
        };
        let Some(scan) = &mut self.scan else { return Ok(Read::Idle) };
        if let Some(ended) = scan.ended {
            // A scan is running whose start was not heard.
            if said == "running" && received - ended > TimeDelta::zero() {
                self.scan = None;
            }
            return Ok(Read::Idle);
        }
        let index = |of: &str| body[of]["outerRegion"].as_u64().and_then(|index| usize::try_from(index).ok());
        scan.status.outer = index("current").or(scan.status.outer);
        scan.status.outers = index("total").or(scan.status.outers);
        let update = match said {
            "running" if scan.status.paused => Some(ScanUpdate::Resumed),
            "paused" if !scan.status.paused => Some(ScanUpdate::Paused),
            _ => None,
        };
        let was_running = scan.status.running;
        scan.status.paused = said == "paused";
        scan.status.running |= said == "running";
        if said == "idle" && was_running {
            let reason = "the server is idle, and no end was heard".to_owned();
            return Ok(self.end(Outcome::Partial { reason }, received, events));
        }
        let Some(update) = update else { return Ok(Read::Idle) };
        events.extend(scan.regions.iter().map(|(_, region)| event(region.scan_id(), update.clone())));
        Ok(Read::Taken)
    }

    fn channels(&mut self, body: &Value) -> Result<Read, AdapterRefusal> {
        let Value::Array(list) = body else {
            return Err(AdapterRefusal::new("header", "recordedChannels is no list"));
        };
        let name = |channel: &Value| {
            channel.as_str().or_else(|| channel["name"].as_str()).unwrap_or_default().to_owned()
        };
        self.channels = list.iter().take(MAX_REGIONS).map(name).collect();
        Ok(Read::Idle)
    }

    /// Whether this channel is the one to be mapped.
    fn is_wanted(&self, channel: usize) -> Result<bool, AdapterRefusal> {
        let Some(wanted) = &self.naming.channel else { return Ok(channel == 0) };
        if let Some(index) = self.channels.iter().position(|name| name == wanted) {
            return Ok(index == channel);
        }
        match wanted.parse::<usize>() {
            Ok(index) => Ok(index == channel),
            Err(_) => {
                let cause = format!("no channel {wanted:?} among the recorded ones: {:?}", self.channels);
                Err(AdapterRefusal::new("channel", cause))
            }
        }
    }

    fn line(
        &mut self,
        parts: &[Bytes],
        received: DateTime<Utc>,
        events: &mut Vec<ScanEvent>,
    ) -> Result<Read, AdapterRefusal> {
        let [indices, starts, shape, values] = parts else {
            return Err(AdapterRefusal::new(
                "parts",
                format_args!("{} parts of a line where 5 belong", parts.len() + 1),
            ));
        };
        let line = Line::read(indices, starts, shape, values)?;
        if !self.is_wanted(line.channel)? {
            return Ok(Read::Idle);
        }
        let late = TimeDelta::seconds(LATE_S);
        let scan = self.scan.as_mut().filter(|scan| scan.ended.is_none_or(|ended| received - ended <= late));
        let Some(scan) = scan else {
            return Err(AdapterRefusal::new("no_start", "a line of a scan whose scanStarted was not heard"));
        };
        scan.note_heard(received);
        let key = [line.inner, line.polarization];
        let index = match scan.regions.iter().position(|(known, _)| *known == key) {
            Some(index) => index,
            None if scan.regions.len() >= MAX_REGIONS => {
                return Err(AdapterRefusal::new("region", "too many regions"));
            }
            None => scan.begin(key, &self.channels, events)?,
        };
        let (_, region) = &mut scan.regions[index];
        region.take(&line, scan.status, received, events)?;
        Ok(Read::Taken)
    }

    fn end(&mut self, outcome: Outcome, received: DateTime<Utc>, events: &mut Vec<ScanEvent>) -> Read {
        let Some(scan) = self.scan.as_mut().filter(|scan| scan.ended.is_none()) else { return Read::Idle };
        scan.ended = Some(received);
        let ended = |region: &Region| event(region.scan_id(), ScanUpdate::Ended(outcome.clone()));
        events.extend(scan.regions.iter().map(|(_, region)| ended(region)));
        Read::Taken
    }
}

fn one(parts: &[Bytes]) -> Result<&Bytes, AdapterRefusal> {
    match parts {
        [part] => Ok(part),
        _ => Err(AdapterRefusal::new("parts", format_args!("{} parts where 2 belong", parts.len() + 1))),
    }
}

#[cfg(test)]
mod tests;
