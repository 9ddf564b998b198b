//! A recording of the wire as messages to send.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::simulate::{MessageKind, SocketKind, WireMessage};
use crate::source::raw_log::{RawRecord, Recorded, read_recording};
use crate::source::sniff::recognise;
use crate::source::stxm_stream::encode::EncodeError;

/// Messages that are looked into where a recording does not say what it holds.
const LOOKED_INTO: usize = 1000;

/// A recording whose format is known.
#[derive(Clone, Debug)]
pub(super) struct Wire {
    path: PathBuf,
    recorded: Recorded,
    kind: String,
}

impl Wire {
    /// Opens it, and looks what it holds.
    pub(super) fn open(path: &Path) -> Result<Self, String> {
        let (recorded, records) = read_recording(path)?;
        let kind = recorded.kind.clone().or_else(|| {
            let mut kinds = BTreeMap::<_, usize>::new();
            for spoken in records.take(LOOKED_INTO).filter_map(|record| recognise(&record.parts)) {
                *kinds.entry(spoken.kind()).or_default() += 1;
            }
            kinds.into_iter().max_by_key(|(_, messages)| *messages).map(|(kind, _)| kind.to_owned())
        });
        let kind = kind.ok_or_else(|| {
            format!("{}: none of its first {LOOKED_INTO} messages is of a known format", path.display())
        })?;
        Ok(Self { path: path.to_owned(), recorded, kind })
    }

    /// `kind` of a source that takes it.
    pub(super) fn kind(&self) -> &str {
        &self.kind
    }

    fn is_ours(&self) -> bool {
        self.kind == "stxm-stream"
    }

    /// What it goes over so that a source of its kind takes it and nothing is lost on the way, if possible.
    pub(super) fn to_a_daemon(&self) -> SocketKind {
        if self.is_ours() { SocketKind::Push } else { self.as_it_was() }
    }

    /// What it was sent over.
    pub(super) fn as_it_was(&self) -> SocketKind {
        if self.recorded.socket == "pull" && (self.is_ours() || self.kind == "dectris") {
            SocketKind::Push
        } else {
            SocketKind::PubAsIs
        }
    }

    /// The messages at the pace at which they came; `bare`: for [`Wire::to_a_daemon`], which has no topic of ours.
    pub(super) fn messages(
        self,
        bare: bool,
    ) -> impl Iterator<Item = Result<WireMessage, EncodeError>> + Send + 'static {
        let skip = usize::from(bare && self.is_ours() && self.recorded.socket == "sub");
        let mut last = None;
        // It was read a moment ago: where it is gone now there is nothing to send.
        let records = read_recording(&self.path).map(|(_, records)| records).into_iter().flatten();
        records.map(move |RawRecord { received, mut parts }| {
            let waited = last
                .replace(received)
                .map_or(0.0, |last| (received - last).num_microseconds().unwrap_or(0).max(0) as f64 / 1e3);
            parts.drain(..skip.min(parts.len()));
            Ok(WireMessage { kind: MessageKind::Garbage, parts, exposure_ms: waited })
        })
    }
}
