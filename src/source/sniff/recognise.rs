//! Which format a message is of, by itself.

use std::fmt;

use bytes::Bytes;
use serde::Deserialize;

use crate::source::dectris::second;
use crate::source::pickle::{self, Node, View};

/// Longest JSON that is looked into, bytes.
const MAX_JSON: usize = 1 << 20;
/// What Pixelator publishes about scans; it has other topics, too.
const PIXELATOR: [&[u8]; 6] =
    [b"scanStarted", b"scanLineData", b"scanStatus", b"scanFinished", b"scanAborted", b"recordedChannels"];
/// Names of bluesky's documents.
const DOCUMENTS: [&[u8]; 11] = [
    b"start",
    b"stop",
    b"descriptor",
    b"event",
    b"event_page",
    b"bulk_events",
    b"resource",
    b"datum",
    b"datum_page",
    b"stream_resource",
    b"stream_datum",
];

/// How a bluesky document is packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Packing {
    /// As JSON.
    Json,
    /// As a pickle.
    Pickle,
    /// As MessagePack.
    Msgpack,
}

/// A format, as it was seen on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Spoken {
    /// Ours, with a topic before the header or without.
    StxmStream {
        /// Whether there is one.
        topic: bool,
    },
    /// pystxmcontrol.
    Pystxmcontrol,
    /// Pixelator.
    Pixelator,
    /// Bluesky documents.
    Bluesky(Packing),
    /// DECTRIS Stream V1.
    DectrisV1,
    /// DECTRIS Stream V2.
    DectrisV2,
    /// The pair that is common at DESY: what a scan is, or its frames.
    Desy {
        /// Whether it is a frame.
        data: bool,
    },
}

impl Spoken {
    /// The `kind` of a `[[source]]` that takes it.
    #[must_use]
    pub fn kind(self) -> &'static str {
        match self {
            Self::StxmStream { .. } => "stxm-stream",
            Self::Pystxmcontrol => "pystxmcontrol",
            Self::Pixelator => "pixelator",
            Self::Bluesky(_) => "bluesky",
            Self::DectrisV1 | Self::DectrisV2 => "dectris",
            Self::Desy { .. } => "desy",
        }
    }
}

impl fmt::Display for Spoken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::StxmStream { topic: false } => "stxm-stream/1",
            Self::StxmStream { topic: true } => "stxm-stream/1 with a topic",
            Self::Pystxmcontrol => "pystxmcontrol (pickles)",
            Self::Pixelator => "Pixelator",
            Self::Bluesky(Packing::Json) => "bluesky documents, JSON",
            Self::Bluesky(Packing::Pickle) => "bluesky documents, pickles",
            Self::Bluesky(Packing::Msgpack) => "bluesky documents, MessagePack",
            Self::DectrisV1 => "DECTRIS Stream V1",
            Self::DectrisV2 => "DECTRIS Stream V2",
            Self::Desy { data: false } => "DESY pair, metadata",
            Self::Desy { data: true } => "DESY pair, frames",
        })
    }
}

/// The fields by which JSON is known.
#[derive(Deserialize)]
struct Json<'a> {
    #[serde(borrow, default)]
    stream: Option<std::borrow::Cow<'a, str>>,
    #[serde(borrow, default)]
    htype: Option<std::borrow::Cow<'a, str>>,
    #[serde(default)]
    x_num: Option<serde_json::Number>,
    #[serde(default)]
    dtype: Option<serde::de::IgnoredAny>,
    #[serde(default)]
    shape: Option<serde::de::IgnoredAny>,
    #[serde(default)]
    event: Option<serde::de::IgnoredAny>,
}

fn json(part: &[u8]) -> Option<Json<'_>> {
    let is_object = part.trim_ascii_start().first() == Some(&b'{') && part.len() <= MAX_JSON;
    if is_object { serde_json::from_slice(part).ok() } else { None }
}

/// What the message is, if it is anything that is known.
#[must_use]
pub fn recognise(parts: &[Bytes]) -> Option<Spoken> {
    let first = parts.first()?;
    let is_ours = |part: &Bytes| {
        json(part).and_then(|json| json.stream).is_some_and(|stream| stream.starts_with("stxm-stream/"))
    };
    if is_ours(first) {
        return Some(Spoken::StxmStream { topic: false });
    }
    if parts.get(1).is_some_and(is_ours) {
        return Some(Spoken::StxmStream { topic: true });
    }
    if let Some(json) = json(first) {
        return of_json(&json, parts.len());
    }
    match parts {
        [part] if part.first() == Some(&0x80) => {
            let pickle = pickle::load(part).ok()?;
            is_of_pystxmcontrol(pickle.root()).then_some(Spoken::Pystxmcontrol)
        }
        [part]
            if second::outer(part).is_some_and(|outer| matches!(outer.kind, "start" | "image" | "end")) =>
        {
            Some(Spoken::DectrisV2)
        }
        [part] => document(part).map(Spoken::Bluesky),
        [topic, ..] => PIXELATOR.contains(&&topic[..]).then_some(Spoken::Pixelator),
        [] => None,
    }
}

fn of_json(json: &Json<'_>, parts: usize) -> Option<Spoken> {
    let of_dectris =
        |htype: &str| ["dheader-", "dimage-", "dseries_end-"].iter().any(|known| htype.starts_with(known));
    match (json, parts) {
        (Json { htype: Some(htype), .. }, _) => of_dectris(htype).then_some(Spoken::DectrisV1),
        (Json { x_num: Some(_), .. }, 1) => Some(Spoken::Desy { data: false }),
        (Json { dtype: Some(_), shape: Some(_), .. }, 2) => Some(Spoken::Desy { data: true }),
        // What its port of events says of files.
        (Json { event: Some(_), .. }, 1) => Some(Spoken::Pystxmcontrol),
        _ => None,
    }
}

fn is_of_pystxmcontrol(root: View<'_, '_>) -> bool {
    match root.node() {
        Node::Text(_) => true,
        Node::Dict(_) => {
            ["scanID", "scan", "mode", "type", "event"].iter().any(|key| root.get(key).is_some())
        }
        _ => false,
    }
}

/// How the document of `prefix name document` is packed.
fn document(part: &Bytes) -> Option<Packing> {
    let mut words = part.splitn(3, |byte| *byte == b' ');
    let (_, name, document) = (words.next()?, words.next()?, words.next()?);
    if !DOCUMENTS.contains(&name) {
        return None;
    }
    match document {
        [b'{', ..] => Some(Packing::Json),
        [0x80, 2..=5, ..] => Some(Packing::Pickle),
        // A map.
        [0x80..=0x8f | 0xde | 0xdf, ..] => Some(Packing::Msgpack),
        _ => None,
    }
}
