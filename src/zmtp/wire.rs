//! A session on a TCP stream: the shell.
//!
//! Nothing is read ahead of who asks for events, so a slow receiver slows the sender through TCP. A peer that does not take
//! our answers is not read from until it does.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::pin::pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf as _, BufMut, Bytes, BytesMut};
use socket2::{SockRef, TcpKeepalive};
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;

use super::command::{MORE, put_head};
use super::{Event, Inlet, Session, ZmtpError};

/// Reads in a row before others get a turn.
const READS: usize = 8;
/// Answers that wait for the peer to take them; beyond this its words wait, too.
const ANSWER_BYTES: usize = 16 << 10;
/// Pieces that are written at once.
const PIECES: usize = 8;

/// A host that is gone without a word is found by the kernel: after this silence, and so many probes at this interval.
const PROBE_AFTER: Duration = Duration::from_secs(60);
const PROBE_EVERY: Duration = Duration::from_secs(15);
const PROBES: u32 = 4;

/// Why a connection ended.
#[derive(Debug, thiserror::Error)]
pub enum WireError {
    /// The peer does not keep to the protocol.
    #[error(transparent)]
    Zmtp(#[from] ZmtpError),
    /// The connection broke.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// The peer ended it.
    #[error("the peer closed the connection{}", if *.within { " in the middle of a message" } else { "" })]
    Closed {
        /// Whether something had begun and is lost.
        within: bool,
    },
}

/// A connection.
#[derive(Debug)]
pub struct Wire {
    stream: TcpStream,
    session: Session,
    /// Of the message on its way out, what is not written yet.
    outgoing: VecDeque<Bytes>,
    received_bytes: u64,
    /// Writing failed: nothing is written any more.
    deaf: bool,
}

struct Tcp<'a, 'b, 'c>(&'a mut TcpStream, &'b mut Context<'c>);

impl Inlet for Tcp<'_, '_, '_> {
    fn read<B: BufMut>(&mut self, buffer: &mut B) -> Poll<io::Result<usize>> {
        // The future holds nothing between two polls, so a new one each time loses nothing.
        pin!(self.0.read_buf(buffer)).poll(self.1)
    }
}

impl Wire {
    /// Takes over a stream on which nothing was said yet.
    #[must_use]
    pub fn new(stream: TcpStream, session: Session) -> Self {
        let probes =
            TcpKeepalive::new().with_time(PROBE_AFTER).with_interval(PROBE_EVERY).with_retries(PROBES);
        // Without them the connection works as well; the answers are small and would wait for more to come.
        let set = stream.set_nodelay(true).and(SockRef::from(&stream).set_tcp_keepalive(&probes));
        if let Err(error) = set {
            tracing::debug!(%error, "an option of a connection");
        }
        Self { stream, session, outgoing: VecDeque::new(), received_bytes: 0, deaf: false }
    }

    /// Shakes hands, for as long as the peer takes.
    ///
    /// # Errors
    /// What is wrong with the peer or the connection.
    pub async fn open(mut self) -> Result<Self, WireError> {
        // The handshake comes before all other events.
        std::future::poll_fn(|context| self.poll_event(context)).await?;
        // One who has hung up again may have said more, which is still to be read.
        self.deaf |= std::future::poll_fn(|context| self.poll_flush(context)).await.is_err();
        Ok(self)
    }

    /// The session.
    #[must_use]
    pub fn session(&self) -> &Session {
        &self.session
    }

    /// Whether writing failed, so that nothing is written any more.
    #[must_use]
    pub fn is_deaf(&self) -> bool {
        self.deaf
    }

    /// Bytes received so far.
    #[must_use]
    pub fn received_bytes(&self) -> u64 {
        self.received_bytes
    }

    /// The next event. When this is pending, the waker is called once there may be more.
    pub fn poll_event(&mut self, context: &mut Context<'_>) -> Poll<Result<Event, WireError>> {
        for _ in 0..READS {
            if let Some(event) = self.session.next_event()? {
                return Poll::Ready(Ok(event));
            }
            match self.poll_flush(context) {
                Poll::Pending if self.session.output().len() > ANSWER_BYTES => return Poll::Pending,
                // The peer may have gone after it had said more: that is read first, and the end shows there.
                Poll::Ready(Err(_)) => self.deaf = true,
                _ => {}
            }
            match ready!(self.session.fill(&mut Tcp(&mut self.stream, context)))? {
                0 => {
                    let within = self.session.is_within();
                    return Poll::Ready(Err(WireError::Closed { within }));
                }
                bytes => self.received_bytes += bytes as u64,
            }
        }
        context.waker().wake_by_ref();
        Poll::Pending
    }

    /// Takes a message to send, as [`message_chunks`] makes it; [`Wire::poll_flush`] does the work. It holds what it is
    /// given, so the next one is for when all of this one is written.
    pub fn send(&mut self, chunks: &[Bytes]) {
        // Answers that wait go first: within a message there is no place for them.
        if !self.session.output().is_empty() {
            self.outgoing.push_back(self.session.output().split().freeze());
        }
        self.outgoing.extend(chunks.iter().cloned());
    }

    /// Answers a heartbeat that could not be read yet.
    pub fn pong_early(&mut self) {
        self.session.pong_early();
    }

    /// Writes what is to be written; ready when all is.
    pub fn poll_flush(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.deaf {
            self.outgoing.clear();
            self.session.output().clear();
        }
        loop {
            if self.outgoing.is_empty() {
                if self.session.output().is_empty() {
                    return Poll::Ready(Ok(()));
                }
                self.outgoing.push_back(self.session.output().split().freeze());
            }
            ready!(self.stream.poll_write_ready(context))?;
            let mut pieces = [IoSlice::new(&[]); PIECES];
            for (piece, chunk) in pieces.iter_mut().zip(&self.outgoing) {
                *piece = IoSlice::new(chunk);
            }
            match self.stream.try_write_vectored(&pieces) {
                Ok(written) => self.wrote(written),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }

    fn wrote(&mut self, mut bytes: usize) {
        while let Some(chunk) = self.outgoing.front_mut() {
            let here = bytes.min(chunk.len());
            chunk.advance(here);
            bytes -= here;
            if !chunk.is_empty() {
                return;
            }
            self.outgoing.pop_front();
        }
    }

    /// Tells the peer that nothing more will come.
    pub fn close(self) {
        // What the peer has said and nobody has read would make the kernel reset the connection, and throw away what is
        // still on its way out.
        let mut rest = [0; 4096];
        while matches!(self.stream.try_read(&mut rest), Ok(read) if read > 0) {}
    }
}

/// A message of these parts as pieces to write, each followed by the next without a copy.
#[must_use]
pub fn message_chunks(parts: &[Bytes]) -> Vec<Bytes> {
    let mut chunks = Vec::with_capacity(2 * parts.len());
    for (index, part) in parts.iter().enumerate() {
        let mut head = BytesMut::with_capacity(9);
        put_head(&mut head, if index + 1 < parts.len() { MORE } else { 0 }, part.len());
        chunks.push(head.freeze());
        if !part.is_empty() {
            chunks.push(part.clone());
        }
    }
    chunks
}
