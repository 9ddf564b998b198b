//! The pure part, against an encoder of its own: the two shall not share a mistake.

mod decoding;
mod encoder;
mod sessions;
