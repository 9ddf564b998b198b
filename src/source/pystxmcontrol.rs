//! What pystxmcontrol (ALS) publishes: one Python pickle for each line or point, `docs/formats/pystxmcontrol.md`.
//!
//! There is no message that starts a scan: another `scanID`, or another `start_time`, is a start, and every message carries the whole
//! definition of its scan, so that whoever joins late knows all of it. Each message also carries the image of its energy so far: what
//! was lost comes with the next line. The text `scan_complete`, without an id, ends the scan that was heard last.
//!
//! Assumptions: images come in image coordinates, row 0 at `yStart`; a line of zeros is one whose trigger was missed, and is not
//! measured; `energyIndex` counts over all energy regions. Where the energy that is told is another one's, the scan is not to be
//! trusted, and says so. Every region is a scan of its own.
//!
//! Bad input: a pickle is read without executing anything ([`super::pickle`]); one that cannot be read is refused, and so is one of
//! another form. Of a message whose image has another shape than its scan the line alone counts.

mod definition;
pub mod encode;
mod region;

use std::collections::VecDeque;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::adapter::{AdapterRefusal, Naming, Read, Recalled, event, remember};
use super::pickle::{self, Node, View};
use crate::scan::{Outcome, ScanEvent, ScanUpdate};
use definition::Definition;
use region::{Line, Region};

/// Name of the format in what is remembered.
const FORMAT: &str = "pystxmcontrol";
/// Scans that are remembered: messages of the one before may still come.
const REMEMBERED: usize = 4;
/// Most regions of one scan.
const MAX_REGIONS: usize = 256;

/// The adapter.
#[derive(Debug)]
pub struct Pystxmcontrol {
    naming: Naming,
    /// The one heard last is at the back.
    scans: VecDeque<OpenScan>,
}

/// A scan that was heard of.
#[derive(Debug)]
struct OpenScan {
    /// `scanID` and `start_time`.
    key: (String, String),
    /// After a restart it comes with the next message.
    definition: Option<Definition>,
    regions: Vec<(String, Region)>,
    ended: bool,
}

impl Pystxmcontrol {
    /// An adapter that has heard nothing yet.
    #[must_use]
    pub fn new(naming: Naming) -> Self {
        Self { naming, scans: VecDeque::new() }
    }

    /// Goes on with a region of a scan that was open when the daemon ended. What the definition says comes again with every message; what
    /// does not is how far the scan was, and which one an end without an id is about.
    pub(super) fn recall(&mut self, scan: &Recalled<'_>) {
        let Some(Memory { key, region }) = scan.memory::<Memory>(FORMAT) else { return };
        let index = self.scans.iter().position(|open| open.key == key).unwrap_or_else(|| {
            self.remember(OpenScan {
                key,
                definition: None,
                regions: Vec::new(),
                ended: scan.ended.is_some(),
            })
        });
        self.scans[index].regions.push((region, Region::recalled(scan)));
    }

    /// Puts a scan behind the others; returns its index.
    fn remember(&mut self, scan: OpenScan) -> usize {
        if self.scans.len() >= REMEMBERED {
            self.scans.pop_front();
        }
        self.scans.push_back(scan);
        self.scans.len() - 1
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
        match message.first() {
            // The port of events mixes both; what it says in JSON names files.
            Some(b'{') => return Ok(Read::Idle),
            Some(0x80) => {}
            _ => return Err(AdapterRefusal::new("pickle", "the message is no pickle")),
        }
        let pickle = pickle::load(message).map_err(|error| AdapterRefusal::new("pickle", error))?;
        let root = pickle.root();
        match root.node() {
            Node::Text(text) if text == "scan_complete" => Ok(self.end(None, events)),
            Node::Text(_) => Ok(Read::Idle),
            Node::Dict(_) => self.dictionary(root, received, events),
            _ => Err(AdapterRefusal::new("header", "neither a dictionary nor a text")),
        }
    }

    fn dictionary(
        &mut self,
        root: View<'_, '_>,
        received: DateTime<Utc>,
        events: &mut Vec<ScanEvent>,
    ) -> Result<Read, AdapterRefusal> {
        let text = |key: &str| root.get(key).and_then(View::text);
        if text("event") == Some("abort") {
            return Ok(self.end(Some("the microscope says: abort"), events));
        }
        let is_monitor = ["mode", "type"].iter().any(|key| text(key) == Some("monitor"));
        if is_monitor || text("event").is_some() {
            return Ok(Read::Idle);
        }
        let missing = |key: &str| AdapterRefusal::new("header", format_args!("no {key:?} that can be read"));
        let id = text("scanID").ok_or_else(|| missing("scanID"))?;
        let scan = root
            .get("scan")
            .filter(|scan| matches!(scan.node(), Node::Dict(_)))
            .ok_or_else(|| missing("scan"))?;
        let start_time = scan.get("start_time").or_else(|| root.get("start_time"));
        let start_time = match start_time.map(View::node) {
            Some(Node::Text(text)) => text.to_string(),
            Some(Node::Int(seconds)) => seconds.to_string(),
            Some(Node::Float(seconds)) => seconds.to_string(),
            _ => String::new(),
        };
        let name = text("scanRegion").unwrap_or("Region1");
        let line = Line::read(root, self.naming.channel.as_deref())?;
        let key = (id.to_owned(), start_time);
        let known = self.scans.iter().position(|scan| scan.key == key);
        let definition = match known {
            Some(index) if self.scans[index].definition.is_some() => None,
            _ => {
                let kind = text("type").unwrap_or("Image");
                Some(Definition::read(scan, &key, kind, &self.naming, received)?)
            }
        };
        let index = known.unwrap_or_else(|| {
            self.remember(OpenScan { key, definition: None, regions: Vec::new(), ended: false })
        });
        let Some(mut scan) = self.scans.remove(index) else { return Ok(Read::Idle) };
        scan.definition = definition.or(scan.definition);
        let read = scan.take(name, &line, received, events);
        // What is heard now is what `scan_complete` is about, unless it is over already.
        let index = if scan.ended { index } else { self.scans.len() };
        self.scans.insert(index, scan);
        read
    }

    /// Ends the scan that was heard last.
    fn end(&mut self, aborted: Option<&str>, events: &mut Vec<ScanEvent>) -> Read {
        let Some(scan) = self.scans.back_mut().filter(|scan| !scan.ended) else { return Read::Idle };
        scan.ended = true;
        for (_, region) in &scan.regions {
            let outcome = match aborted {
                Some(reason) => Outcome::Aborted { reason: Some(reason.to_owned()) },
                None => region.outcome(),
            };
            events.push(event(region.scan_id(), ScanUpdate::Ended(outcome)));
        }
        Read::Taken
    }
}

/// What is needed to go on with a region after a restart.
#[derive(Debug, Serialize, Deserialize)]
struct Memory {
    /// `scanID` and `start_time`.
    key: (String, String),
    region: String,
}

impl OpenScan {
    fn take(
        &mut self,
        name: &str,
        line: &Line,
        received: DateTime<Utc>,
        events: &mut Vec<ScanEvent>,
    ) -> Result<Read, AdapterRefusal> {
        let index = match self.regions.iter().position(|(known, _)| known == name) {
            Some(index) => index,
            None if self.regions.len() >= MAX_REGIONS => {
                return Err(AdapterRefusal::new("region", "too many regions"));
            }
            None => {
                let Some(definition) = &self.definition else { return Ok(Read::Idle) };
                let memory = Memory { key: self.key.clone(), region: name.to_owned() };
                let region = definition.region(name, remember(FORMAT, memory))?;
                region.start(events);
                self.regions.push((name.to_owned(), region));
                self.regions.len() - 1
            }
        };
        let (_, region) = &mut self.regions[index];
        region.take(line, received, events)?;
        Ok(Read::Taken)
    }
}

#[cfg(test)]
mod tests;
