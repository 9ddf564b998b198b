//! What turns the messages of a source into events, one for each format.
//!
//! An adapter is pure: message parts and the time at which they came go in, events come out, none or many for a message. It keeps what
//! its format takes for granted (which scan is running, what was said of it), and nothing is too bad for it: a message that breaks a
//! rule is refused with a reason, what was said before that counts, and the next message is read as if nothing had been.
//!
//! What an adapter keeps of a scan is lost with the process. So it gives the plan to remember what it would need ([`ScanPlan::recall`]), the
//! journal keeps that, and [`Adapter::recall`] gets it back at the next start.

use bytes::Bytes;
use chrono::{DateTime, SubsecRound as _, Utc};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::bluesky::Bluesky;
use super::dectris::Dectris;
use super::desy::Desy;
use super::pixelator::Pixelator;
use super::pystxmcontrol::Pystxmcontrol;
use super::stxm_stream::{self, Framing};
use crate::scan::{Outcome, PlanError, Remark, ScanEvent, ScanPlan, ScanUpdate};

/// What a message was good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Read {
    /// It says something about a scan.
    Taken,
    /// It is well formed and says nothing that matters here.
    Idle,
}

/// Why a message was refused.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum AdapterRefusal {
    /// A rule of `stxm-stream/1`.
    #[error(transparent)]
    StxmStream(#[from] stxm_stream::Refusal),
    /// A rule of another format.
    #[error("{cause}")]
    Other {
        /// A short name for counters.
        reason: &'static str,
        /// What is wrong.
        cause: String,
    },
    /// The plan that follows from the message is not acceptable.
    #[error(transparent)]
    Plan(#[from] PlanError),
}

impl AdapterRefusal {
    /// A refusal under this reason.
    pub(super) fn new(reason: &'static str, cause: impl std::fmt::Display) -> Self {
        Self::Other { reason, cause: cause.to_string() }
    }

    /// A short name for counters.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::StxmStream(refusal) => refusal.reason(),
            Self::Other { reason, .. } => reason,
            Self::Plan(_) => "plan",
        }
    }
}

/// What the settings say of a source whose format lacks it.
#[derive(Clone, Debug, Default)]
pub struct Naming {
    /// The beamline; wins over the stream's.
    pub beamline: Option<String>,
    /// Name of the source.
    pub source: String,
    /// Which detector or channel, where there are several; the first, where nothing is said.
    pub channel: Option<String>,
}

/// A scan that was brought back from its journal, for the adapter that was at it.
#[derive(Clone, Debug)]
pub struct Recalled<'a> {
    /// Its plan as it came first, with what the adapter gave it to remember.
    pub plan: &'a ScanPlan,
    /// When something was heard of it last.
    pub heard_last: DateTime<Utc>,
    /// The highest energy of which something was measured.
    pub reached: Option<usize>,
    /// Why it is not to be trusted, if so.
    pub doubt: Option<&'a str>,
    /// Its energies now, eV: those of the plan, and what it grew by.
    pub energies_ev: &'a [f64],
    /// How it ended, where its end was heard.
    pub ended: Option<&'a Outcome>,
}

impl Recalled<'_> {
    /// What the adapter of this format gave the plan to remember; `None` where it is another's, or cannot be read.
    pub(super) fn memory<M: DeserializeOwned>(&self, format: &str) -> Option<M> {
        let memory: Memory<M> = serde_json::from_str(self.plan.recall.as_deref()?).ok()?;
        (memory.format == format).then_some(memory.of)
    }
}

/// What an adapter gives a plan to remember, under the name of its format: a source may be given another kind meanwhile.
#[derive(Serialize, Deserialize)]
struct Memory<M> {
    format: String,
    of: M,
}

/// A text for [`ScanPlan::recall`].
pub(super) fn remember(format: &str, of: impl Serialize) -> Option<String> {
    serde_json::to_string(&Memory { format: format.to_owned(), of }).ok()
}

/// The adapter of a source.
#[derive(Debug)]
pub enum Adapter {
    /// `stxm-stream/1`, which needs no memory.
    StxmStream {
        /// What stands before the header.
        framing: Framing,
        /// Beamline that wins over the stream's.
        beamline: Option<String>,
    },
    /// What pystxmcontrol publishes.
    Pystxmcontrol(Box<Pystxmcontrol>),
    /// What Pixelator publishes.
    Pixelator(Box<Pixelator>),
    /// Bluesky documents.
    Bluesky(Box<Bluesky>),
    /// What DECTRIS detectors stream.
    Dectris(Box<Dectris>),
    /// The pair of sockets that is common at DESY.
    Desy(Box<Desy>),
}

impl Adapter {
    /// Reads one message that came at `received`; what it says is put behind `events`.
    ///
    /// # Errors
    /// The rule that the message breaks.
    pub fn push(
        &mut self,
        parts: &[Bytes],
        received: DateTime<Utc>,
        events: &mut Vec<ScanEvent>,
    ) -> Result<Read, AdapterRefusal> {
        match self {
            Self::StxmStream { framing, beamline } => {
                events.push(stxm_stream::decode(parts, *framing, beamline.as_deref())?);
                Ok(Read::Taken)
            }
            // As far as journal and tables keep it.
            Self::Pystxmcontrol(adapter) => adapter.push(parts, received.trunc_subsecs(6), events),
            Self::Pixelator(adapter) => adapter.push(parts, received.trunc_subsecs(6), events),
            Self::Bluesky(adapter) => adapter.push(parts, received.trunc_subsecs(6), events),
            Self::Dectris(adapter) => adapter.push(parts, received.trunc_subsecs(6), events),
            Self::Desy(adapter) => adapter.push(parts, received.trunc_subsecs(6), events),
        }
    }

    /// Lets go of what was kept so that it leaves together: to be called when nothing more is there to be read.
    pub fn flush(&mut self, events: &mut Vec<ScanEvent>) {
        if let Self::Dectris(adapter) = self {
            adapter.flush(events);
        }
    }

    /// Frames that waited for a scan and were let go since the last call.
    pub fn take_lost(&mut self) -> u64 {
        match self {
            Self::Dectris(adapter) => adapter.take_lost(),
            _ => 0,
        }
    }

    /// Takes what another source says that knows the scans of this one; what goes on is put behind `events`.
    pub fn hear(&mut self, said: ScanEvent, received: DateTime<Utc>, events: &mut Vec<ScanEvent>) {
        match self {
            Self::Dectris(adapter) => adapter.hear(said, received.trunc_subsecs(6), events),
            _ => events.push(said),
        }
    }

    /// Goes on with a scan that was open when the daemon ended. Call it before anything is pushed, in the order in which the scans
    /// began. What is not of this format is left alone. Returns what the source remembers of it that knows the scan, where that is
    /// another one.
    pub fn recall(&mut self, scan: &Recalled<'_>) -> Option<String> {
        match self {
            Self::StxmStream { .. } => {}
            Self::Pystxmcontrol(adapter) => adapter.recall(scan),
            Self::Pixelator(adapter) => adapter.recall(scan),
            Self::Bluesky(adapter) => adapter.recall(scan),
            Self::Desy(adapter) => adapter.recall(scan),
            Self::Dectris(adapter) => return adapter.recall(scan),
        }
        None
    }
}

/// An event of a format without numbers.
pub(super) fn event(scan_id: &str, update: ScanUpdate) -> ScanEvent {
    ScanEvent { scan_id: scan_id.to_owned(), seq: None, time: None, update }
}

/// A remark about a scan.
pub(super) fn remark(scan_id: &str, text: String, untrusted: bool) -> ScanEvent {
    event(scan_id, ScanUpdate::Remarked(Remark { text, untrusted }))
}
