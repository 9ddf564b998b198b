//! The `stxm-stream/1` format: see `proto/stxm-stream-v1.md`.

mod header;

pub use header::{
    DType, DetectorHeader, Encoding, EndStatus, Header, HeaderBody, MAX_HEADER_BYTES, MAX_PLAN_BYTES,
    PerEnergy, PlanExtendHeader, STREAM, SamplesHeader, ScanEndHeader, ScanStartHeader,
};

#[cfg(test)]
mod golden;
