//! Wire adapters: bytes in, [`crate::scan::ScanEvent`] out. They trust nothing.

pub mod adapter;
mod axis;
pub mod bluesky;
pub mod dectris;
pub mod desy;
pub mod frames;
pub mod geometry;
mod identity;
pub mod join;
pub mod pickle;
pub mod pixelator;
pub mod pystxmcontrol;
pub mod raw_log;
pub mod sniff;
pub mod stxm_stream;
mod text;
pub mod told;
