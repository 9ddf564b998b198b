//! Bytes to commands and multipart messages. Pure: who reads brings the bytes.
//!
//! A frame is flags (1 more, 2 long, 4 command), its length in one byte or eight (big-endian), and that many bytes. A
//! message is frames up to one without "more"; commands may stand between them.
//!
//! # Memory
//! Small frames are slices of the buffer they were read into, which lives as long as the last of them. A frame above
//! [`LARGE_BYTES`] gets a block of its own, which is read into directly and grows as bytes really come: what is announced
//! and not sent takes [`STEP_BYTES`] at most. So a decoder holds less than twice what has come of one message, plus
//! a fixed amount, and what has come is bounded by [`Limits::message_bytes`].

use std::io;
use std::task::Poll;

use bytes::{Buf as _, BufMut, Bytes, BytesMut};

use super::ZmtpError;
use super::command::{COMMAND, LONG, MORE};

/// Frames above this get a block of their own; the start of one that lies in the read buffer is copied.
pub(super) const LARGE_BYTES: usize = 16 << 10;
/// A block grows by this, or by what it holds.
pub(super) const STEP_BYTES: usize = 1 << 20;
/// The read buffer: at first, and when it was filled by a read.
const FIRST_READ_BYTES: usize = 8 << 10;
const FULL_READ_BYTES: usize = 64 << 10;

/// Bounds of what is taken in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Most bytes of a message, all parts together; more is passed over and told of.
    pub message_bytes: usize,
    /// Most parts of a message; more is an error.
    pub parts: usize,
    /// Most bytes of a command; more is an error.
    pub command_bytes: usize,
}

/// Where bytes come from.
pub trait Inlet {
    /// Reads what is there, up to the room in `buffer`; `Pending` where nothing is there now, 0 at the end.
    fn read<B: BufMut>(&mut self, buffer: &mut B) -> Poll<io::Result<usize>>;
}

/// What was in the bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Item {
    /// The body of a command.
    Command(Bytes),
    /// A whole message, as its parts.
    Message(Vec<Bytes>),
    /// A message that is above the limit has begun; it is passed over.
    Oversize {
        /// Its bytes, as far as they were announced when it went above.
        bytes: u64,
    },
}

#[derive(Clone, Copy, Debug)]
enum State {
    /// Before a frame.
    Head,
    /// In a command of so many bytes.
    Command(usize),
    /// In a small frame, a slice of the input.
    Small { bytes: usize, more: bool },
    /// In a large frame, which goes to `block`.
    Large { bytes: usize, more: bool },
    /// In a frame that is not wanted, with so many bytes to come.
    Skip { bytes: u64, more: bool },
}

/// Reads one connection.
#[derive(Debug)]
pub struct Decoder {
    limits: Limits,
    state: State,
    input: BytesMut,
    read_bytes: usize,
    block: Vec<u8>,
    parts: Vec<Bytes>,
    message_bytes: usize,
    skipping: bool,
    commands_only: bool,
}

impl Decoder {
    /// At the start of a frame.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            state: State::Head,
            input: BytesMut::new(),
            read_bytes: FIRST_READ_BYTES,
            block: Vec::new(),
            parts: Vec::new(),
            message_bytes: 0,
            skipping: false,
            commands_only: false,
        }
    }

    /// Whether frames of messages are an error now.
    pub(super) fn set_commands_only(&mut self, commands_only: bool) {
        self.commands_only = commands_only;
    }

    /// What was read and not yet looked at.
    pub(super) fn unread(&self) -> &[u8] {
        &self.input
    }

    /// Passes over bytes that somebody else has looked at.
    pub(super) fn pass(&mut self, bytes: usize) {
        self.input.advance(bytes.min(self.input.len()));
    }

    /// Whether a message has begun and not ended, or a frame.
    #[must_use]
    pub fn is_within(&self) -> bool {
        !matches!(self.state, State::Head)
            || !self.input.is_empty()
            || !self.parts.is_empty()
            || self.skipping
    }

    /// Bytes it holds, by what is reserved.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        self.input.capacity()
            + self.block.capacity()
            + self.message_bytes
            + self.parts.capacity() * size_of::<Bytes>()
    }

    /// Reads from `inlet` once, straight to where the bytes are wanted. To be called when [`Decoder::next_item`] has nothing.
    pub fn fill(&mut self, inlet: &mut impl Inlet) -> Poll<io::Result<usize>> {
        if let State::Large { bytes, .. } = self.state {
            let missing = bytes - self.block.len();
            if self.block.len() == self.block.capacity() {
                self.block.reserve_exact(missing.min(self.block.len().max(STEP_BYTES)));
            }
            let room = missing.min(self.block.capacity() - self.block.len());
            return inlet.read(&mut (&mut self.block).limit(room));
        }
        // What is left at the end of the buffer is used up while it is worth a read.
        if self.input.capacity() - self.input.len() < self.read_bytes / 4 {
            self.input.reserve(self.read_bytes);
        }
        let room = self.read_bytes.min(self.input.capacity() - self.input.len());
        let read = inlet.read(&mut (&mut self.input).limit(room));
        if matches!(read, Poll::Ready(Ok(bytes)) if bytes == room) {
            self.read_bytes = FULL_READ_BYTES;
        }
        read
    }

    /// The next item in what was read; `None` where more is needed.
    ///
    /// # Errors
    /// What is no ZMTP 3, or beyond a limit other than [`Limits::message_bytes`]. The decoder is of no use afterwards.
    pub fn next_item(&mut self) -> Result<Option<Item>, ZmtpError> {
        loop {
            let item = match self.state {
                State::Head => match self.head()? {
                    Some(item) => item,
                    None => return Ok(None),
                },
                State::Command(bytes) | State::Small { bytes, .. } if self.input.len() < bytes => {
                    return Ok(None);
                }
                State::Command(bytes) => {
                    self.state = State::Head;
                    Some(Item::Command(self.input.split_to(bytes).freeze()))
                }
                State::Small { bytes, more } => {
                    // An empty slice would keep the buffer.
                    let part = if bytes == 0 { Bytes::new() } else { self.input.split_to(bytes).freeze() };
                    self.part(part, more)
                }
                State::Large { bytes, more } => {
                    self.block_from_input(bytes);
                    if self.block.len() < bytes {
                        return Ok(None);
                    }
                    // The header of the next large frame is not worth a large read.
                    self.read_bytes = FIRST_READ_BYTES;
                    let part = Bytes::from(std::mem::take(&mut self.block));
                    self.part(part, more)
                }
                State::Skip { bytes, more } => {
                    let here = bytes.min(self.input.len() as u64);
                    self.input.advance(usize::try_from(here).unwrap_or(self.input.len()));
                    self.state = State::Skip { bytes: bytes - here, more };
                    if here < bytes {
                        return Ok(None);
                    }
                    self.state = State::Head;
                    self.skipping = more;
                    None
                }
            };
            if item.is_some() {
                return Ok(item);
            }
        }
    }

    /// Reads what stands before a frame. `None`: more is needed; `Some(None)`: it is read, and nothing is to be told.
    fn head(&mut self) -> Result<Option<Option<Item>>, ZmtpError> {
        let Some(&flags) = self.input.first() else { return Ok(None) };
        let (more, command) = (flags & MORE != 0, flags & COMMAND != 0);
        if flags & !(MORE | LONG | COMMAND) != 0 || (more && command) {
            return Err(ZmtpError::Flags(flags));
        }
        let (head_bytes, bytes) = if flags & LONG == 0 {
            let Some(&short) = self.input.get(1) else { return Ok(None) };
            (2, u64::from(short))
        } else {
            let Some(long) = self.input[1..].first_chunk() else { return Ok(None) };
            (9, u64::from_be_bytes(*long))
        };
        self.input.advance(head_bytes);
        if bytes > i64::MAX as u64 {
            return Err(ZmtpError::FrameBytes(bytes));
        }
        let size = usize::try_from(bytes).unwrap_or(usize::MAX);
        if command {
            if size > self.limits.command_bytes {
                return Err(ZmtpError::CommandBytes(bytes));
            }
            self.state = State::Command(size);
            return Ok(Some(None));
        }
        if self.commands_only {
            return Err(ZmtpError::NotReady);
        }
        if self.skipping {
            self.state = State::Skip { bytes, more };
            return Ok(Some(None));
        }
        if self.parts.len() == self.limits.parts {
            return Err(ZmtpError::Parts(self.limits.parts));
        }
        if size > self.limits.message_bytes - self.message_bytes {
            let told = bytes.saturating_add(self.message_bytes as u64);
            self.parts = Vec::new();
            self.message_bytes = 0;
            self.skipping = true;
            self.state = State::Skip { bytes, more };
            return Ok(Some(Some(Item::Oversize { bytes: told })));
        }
        self.state = if size > LARGE_BYTES {
            self.block.reserve_exact(size.min(STEP_BYTES));
            State::Large { bytes: size, more }
        } else {
            State::Small { bytes: size, more }
        };
        Ok(Some(None))
    }

    /// Moves what the input holds of a large frame to its block.
    fn block_from_input(&mut self, bytes: usize) {
        let here = self.input.len().min(bytes - self.block.len());
        if here > 0 {
            // The input holds less than a step, so this stays within what was reserved or asks for what is there.
            self.block.extend_from_slice(&self.input[..here]);
            self.input.advance(here);
        }
    }

    /// A part is whole; the message may be.
    fn part(&mut self, part: Bytes, more: bool) -> Option<Item> {
        self.state = State::Head;
        self.message_bytes += part.len();
        self.parts.push(part);
        if more {
            return None;
        }
        self.message_bytes = 0;
        let typical = self.parts.len().min(8);
        Some(Item::Message(std::mem::replace(&mut self.parts, Vec::with_capacity(typical))))
    }
}
