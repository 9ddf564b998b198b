//! What turns the messages of a source into events, one for each format.
//!
//! An adapter is pure: message parts and the time at which they came go in, events come out, none or many for a message. It keeps what
//! its format takes for granted (which scan is running, what was said of it), and nothing is too bad for it: a message that breaks a
//! rule is refused with a reason, what was said before that counts, and the next message is read as if nothing had been.

use bytes::Bytes;
use chrono::{DateTime, SubsecRound as _, Utc};

use super::bluesky::Bluesky;
use super::dectris::Dectris;
use super::pixelator::Pixelator;
use super::pystxmcontrol::Pystxmcontrol;
use super::stxm_stream::{self, Framing};
use crate::scan::{PlanError, Remark, ScanEvent, ScanUpdate};

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
        }
    }

    /// Lets go of what was kept so that it leaves together: to be called when nothing more is there to be read.
    pub fn flush(&mut self, events: &mut Vec<ScanEvent>) {
        if let Self::Dectris(adapter) = self {
            adapter.flush(events);
        }
    }

    /// Takes what another source says that knows the scans of this one; what goes on is put behind `events`.
    pub fn hear(&mut self, said: ScanEvent, received: DateTime<Utc>, events: &mut Vec<ScanEvent>) {
        match self {
            Self::Dectris(adapter) => adapter.hear(said, received.trunc_subsecs(6), events),
            _ => events.push(said),
        }
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
