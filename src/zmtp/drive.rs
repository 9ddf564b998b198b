//! Everything pure of this module, driven by a plain slice of bytes.

use std::io;
use std::task::Poll;

use bytes::{BufMut, Bytes};

use super::{Event, Inlet, Role, Session, ZmtpError};

/// Limit of a message while driven: small, so that short inputs reach it.
const MESSAGE_BYTES: usize = 256 << 10;

/// What came of it.
#[derive(Debug)]
pub struct Driven {
    /// All events, in order.
    pub events: Vec<Event>,
    /// Why the session ended early, if it did.
    pub error: Option<ZmtpError>,
    /// Most bytes that were held at any time for the message coming in.
    pub held_bytes: usize,
    /// The most that may be held after so much input.
    pub allowed_bytes: usize,
}

/// Gives out a slice in pieces.
struct Pieces<'a> {
    left: &'a [u8],
    piece_bytes: usize,
}

impl Inlet for Pieces<'_> {
    fn read<B: BufMut>(&mut self, buffer: &mut B) -> Poll<io::Result<usize>> {
        let bytes = self.left.len().min(self.piece_bytes).min(buffer.remaining_mut());
        let (now, later) = self.left.split_at(bytes);
        buffer.put_slice(now);
        self.left = later;
        Poll::Ready(Ok(bytes))
    }
}

/// Lets a session read `data`: the first byte says what we are (a PULL, a SUB, a PUB) and, in its upper bits, in
/// pieces of how many bytes the rest comes (from 1 to 2 MiB). Never panics, and never holds more than
/// [`Driven::allowed_bytes`]; the events and the kind of error do not depend on the pieces.
#[must_use]
pub fn drive(data: &[u8]) -> Driven {
    let (first, rest) = data.split_first().unwrap_or((&0, &[]));
    let role = match first % 3 {
        0 => Role::Pull,
        1 => Role::Sub { prefix: Bytes::from_static(b"stxm") },
        _ => Role::Pub,
    };
    let mut inlet = Pieces { left: rest, piece_bytes: 1 << (first / 3).min(21) };
    let mut session = Session::new(role, MESSAGE_BYTES);
    let mut driven = Driven { events: Vec::new(), error: None, held_bytes: 0, allowed_bytes: 0 };
    // Twice what came and twice the read buffer, a step ahead of it, and a place for each part.
    driven.allowed_bytes = 2 * MESSAGE_BYTES.min(rest.len())
        + (4 << 16)
        + super::decoder::STEP_BYTES.min(MESSAGE_BYTES)
        + size_of::<Bytes>() * rest.len();
    loop {
        match session.next_event() {
            Ok(Some(event)) => driven.events.push(event),
            Ok(None) => {
                driven.held_bytes = driven.held_bytes.max(session.held_bytes());
                if !matches!(session.fill(&mut inlet), Poll::Ready(Ok(bytes)) if bytes > 0) {
                    return driven;
                }
            }
            Err(error) => {
                driven.error = Some(error);
                return driven;
            }
        }
        driven.held_bytes = driven.held_bytes.max(session.held_bytes());
        // Answers would be written at once.
        session.output().clear();
    }
}
