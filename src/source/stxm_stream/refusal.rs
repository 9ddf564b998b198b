//! The rules a message can break, each with a short name for the counters.

use crate::detector::compressed::FrameError;
use crate::scan::PlanError;

/// Why a message was refused.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Refusal {
    /// Fewer or more parts than the message needs.
    #[error("{found} message parts where {wanted} belong")]
    Parts {
        /// How many came.
        found: usize,
        /// How many the header asks for.
        wanted: usize,
    },
    /// The header is longer than allowed.
    #[error("a header of {found} bytes; the limit is {limit}")]
    HeaderSize {
        /// Its length.
        found: usize,
        /// The limit for its type.
        limit: usize,
    },
    /// The header is not a JSON object with the fields it needs.
    #[error("header: {0}")]
    Header(String),
    /// Another format, or another version of this one.
    #[error("stream is {0:?}, not \"stxm-stream/1\"")]
    Stream(String),
    /// The scan id breaks the alphabet.
    #[error("scan_id {0:?} must be 1 to 128 characters of A-Z a-z 0-9 . _ -, the first a letter or digit")]
    ScanId(String),
    /// The time is not RFC 3339.
    #[error("time {0:?} is not RFC 3339, e.g. 2026-05-04T03:02:01Z")]
    Time(String),
    /// The plan is not acceptable.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// `count` is 0.
    #[error("count is 0")]
    CountZero,
    /// A payload part has another size than the header says.
    #[error("the {part} part has {found} bytes where {wanted} belong")]
    Size {
        /// Which part.
        part: &'static str,
        /// Its size.
        found: usize,
        /// The size that `count` and `dtype` ask for.
        wanted: u64,
    },
    /// Both `i0` and `i0_part`.
    #[error("both i0 and i0_part")]
    I0Twice,
    /// `i0` is not a finite number above the dark level.
    #[error("i0 is not finite")]
    I0NotFinite,
    /// An infinity among the values.
    #[error("value {index} is infinite; NaN says not measured")]
    Infinite {
        /// Which value.
        index: usize,
    },
    /// A number of the header is not finite.
    #[error("{0} is not finite")]
    NotFinite(&'static str),
    /// An encoding that cannot be.
    #[error("encoding {0} is not supported; send raw")]
    Encoding(&'static str),
    /// Packed values of a point detector that cannot be read.
    #[error("packed values: {0}")]
    Packed(#[from] FrameError),
    /// More values than one message may unpack to.
    #[error("{bytes} bytes of values, unpacked; one message may have {most}")]
    Unpacked {
        /// What the header asks for.
        bytes: u64,
        /// The most there may be.
        most: usize,
    },
}

impl Refusal {
    /// A short name for counters.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Parts { .. } => "parts",
            Self::HeaderSize { .. } => "header_size",
            Self::Header(_) => "header",
            Self::Stream(_) => "stream",
            Self::ScanId(_) => "scan_id",
            Self::Time(_) => "time",
            Self::Plan(_) => "plan",
            Self::CountZero => "count_zero",
            Self::Size { .. } => "size",
            Self::I0Twice => "i0_twice",
            Self::I0NotFinite => "i0_not_finite",
            Self::Infinite { .. } => "infinite",
            Self::NotFinite(_) => "not_finite",
            Self::Encoding(_) => "encoding",
            Self::Packed(_) => "packed",
            Self::Unpacked { .. } => "size",
        }
    }
}
