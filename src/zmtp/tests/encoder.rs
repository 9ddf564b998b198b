//! What a peer would send, and how it comes in pieces.

use std::io;
use std::task::Poll;

use bytes::BufMut;

use crate::zmtp::Inlet;

/// A frame: 1 is "more", 4 is "command"; "long" as it is needed, or always.
pub(super) fn frame(flags: u8, body: &[u8], long: bool) -> Vec<u8> {
    let mut bytes = Vec::new();
    if long || body.len() > 255 {
        bytes.push(flags | 2);
        bytes.extend((body.len() as u64).to_be_bytes());
    } else {
        bytes.extend([flags, body.len() as u8]);
    }
    bytes.extend(body);
    bytes
}

/// The header of a frame that is never sent.
pub(super) fn announced(flags: u8, bytes: u64) -> Vec<u8> {
    let mut head = vec![flags | 2];
    head.extend(bytes.to_be_bytes());
    head
}

pub(super) fn message(parts: &[Vec<u8>], long: bool) -> Vec<u8> {
    let last = parts.len() - 1;
    parts.iter().enumerate().flat_map(|(index, part)| frame(u8::from(index < last), part, long)).collect()
}

pub(super) fn command(name: &str, body: &[u8]) -> Vec<u8> {
    frame(4, &[&[name.len() as u8], name.as_bytes(), body].concat(), false)
}

pub(super) fn greeting(major: u8, minor: u8, mechanism: &[u8]) -> Vec<u8> {
    let mut bytes = [&[0xff, 0, 0, 0, 0, 0, 0, 0, 1, 0x7f, major, minor], mechanism].concat();
    bytes.resize(64, 0);
    bytes
}

pub(super) fn ready(socket_type: &str) -> Vec<u8> {
    let mut body = b"\x0bsocket-type".to_vec();
    body.extend((socket_type.len() as u32).to_be_bytes());
    body.extend(socket_type.as_bytes());
    body.extend(b"\x08Identity\0\0\0\0");
    command("READY", &body)
}

/// Bytes in pieces of these sizes, over and over.
pub(super) struct Pieces<'a> {
    pub(super) left: &'a [u8],
    pub(super) sizes: &'a [usize],
    pub(super) next: usize,
}

impl<'a> Pieces<'a> {
    pub(super) fn new(left: &'a [u8], sizes: &'a [usize]) -> Self {
        Self { left, sizes, next: 0 }
    }
}

impl Inlet for Pieces<'_> {
    fn read<B: BufMut>(&mut self, buffer: &mut B) -> Poll<io::Result<usize>> {
        let size = self.sizes[self.next % self.sizes.len()].max(1);
        self.next += 1;
        let bytes = size.min(buffer.remaining_mut()).min(self.left.len());
        buffer.put_slice(&self.left[..bytes]);
        self.left = &self.left[bytes..];
        Poll::Ready(Ok(bytes))
    }
}
