//! Wire adapters: bytes in, [`crate::scan::ScanEvent`] out. They trust nothing.

pub mod frames;
pub mod raw_log;
pub mod stxm_stream;
