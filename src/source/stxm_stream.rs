//! The `stxm-stream/1` format: see `proto/stxm-stream-v1.md`.
//!
//! [`decode`] takes one ZeroMQ multipart message and returns one [`ScanEvent`](crate::scan::ScanEvent), or the
//! rule that the message breaks. It keeps no state: what needs the plan (which pixels and energies exist, how
//! large a frame is) is checked by the stages behind it. A message is accepted or refused whole.

mod decode;
pub mod encode;
mod header;
mod refusal;
mod resend;

pub use decode::{Framing, decode};
pub use header::{
    DType, DetectorHeader, Encoding, EndStatus, Header, HeaderBody, MAX_HEADER_BYTES, MAX_PLAN_BYTES,
    PerEnergy, PlanExtendHeader, STREAM, SamplesHeader, ScanEndHeader, ScanStartHeader,
};
pub use refusal::Refusal;
pub use resend::{LAST_SEQ, MAX_RESEND_BYTES, ResendAnswer, ResendError, ResendRequest};

#[cfg(test)]
mod tests;

#[cfg(test)]
mod golden;
