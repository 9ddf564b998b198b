//! Wire adapters: bytes in, [`crate::scan::ScanEvent`] out. They trust nothing.

pub mod stxm_stream;
