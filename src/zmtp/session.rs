//! One side of a connection, pure: what comes in becomes events, what has to be answered becomes bytes to send.

use std::io;
use std::task::Poll;

use bytes::{Bytes, BytesMut};

use super::command::{self, Command};
use super::decoder::{Decoder, Inlet, Item, Limits};
use super::{ZmtpError, greeting};

/// Commands have short bodies; READY with metadata is the longest.
const COMMAND_BYTES: usize = 8 << 10;
/// Most parts of a message that is received.
const PARTS: usize = 1 << 16;
/// Most bytes of a message that a subscriber sends: a subscription of ZMTP 3.0.
const SUBSCRIPTION_BYTES: usize = 8 << 10;

/// What we are on this connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Role {
    /// We receive what a PUSH sends us.
    Pull,
    /// We receive what a PUB sends that begins with `prefix`.
    Sub {
        /// Empty for everything.
        prefix: Bytes,
    },
    /// We send to subscribers.
    Pub,
    /// We send to one who pulls.
    Push,
}

impl Role {
    fn socket_type(&self) -> &'static str {
        match self {
            Self::Pull => "PULL",
            Self::Sub { .. } => "SUB",
            Self::Pub => "PUB",
            Self::Push => "PUSH",
        }
    }

    /// The peers that belong to it.
    fn partners(&self) -> (&'static [&'static str], &'static str) {
        match self {
            Self::Pull => (&["PUSH"], "PUSH"),
            Self::Sub { .. } => (&["PUB", "XPUB"], "PUB or XPUB"),
            Self::Pub => (&["SUB", "XSUB"], "SUB or XSUB"),
            Self::Push => (&["PULL"], "PULL"),
        }
    }
}

/// What a session has to say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The handshake is done; told once, before everything else.
    Open,
    /// A message.
    Message(Vec<Bytes>),
    /// A message above the limit has begun and is passed over.
    Oversize {
        /// Its bytes, as far as they were announced when it went above.
        bytes: u64,
    },
    /// To [`Role::Pub`]: the peer wants what begins like this.
    Subscribe(Bytes),
    /// To [`Role::Pub`]: and wants it no more, once.
    Cancel(Bytes),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Greeting,
    Ready,
    Open,
}

/// One side of one connection.
#[derive(Debug)]
pub struct Session {
    role: Role,
    phase: Phase,
    minor_version: u8,
    decoder: Decoder,
    output: BytesMut,
    /// The context of the peer's last PING.
    pinged: Option<Bytes>,
}

impl Session {
    /// A fresh connection: the greeting is in [`Session::output`]. Messages above `message_bytes` are passed over; what
    /// is sent to [`Role::Pub`] and [`Role::Push`] has a small limit of its own.
    #[must_use]
    pub fn new(role: Role, message_bytes: usize) -> Self {
        let is_sender = matches!(role, Role::Pub | Role::Push);
        let message_bytes = if is_sender { SUBSCRIPTION_BYTES } else { message_bytes };
        let mut decoder = Decoder::new(Limits { message_bytes, parts: PARTS, command_bytes: COMMAND_BYTES });
        decoder.set_commands_only(true);
        Self {
            role,
            phase: Phase::Greeting,
            minor_version: 0,
            decoder,
            output: BytesMut::from(&greeting::greeting()[..]),
            pinged: None,
        }
    }

    /// Whether the handshake is done.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.phase == Phase::Open
    }

    /// Whether a message has begun and not ended; an end of the connection here is none in good order.
    #[must_use]
    pub fn is_within(&self) -> bool {
        self.decoder.is_within()
    }

    /// Bytes held for the message that is coming in.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        self.decoder.held_bytes()
    }

    /// What has to be sent, at the next boundary of a message; to be taken from the front.
    pub fn output(&mut self) -> &mut BytesMut {
        &mut self.output
    }

    /// Reads once. To be called when [`Session::next_event`] has nothing.
    pub fn fill(&mut self, inlet: &mut impl Inlet) -> Poll<io::Result<usize>> {
        self.decoder.fill(inlet)
    }

    /// Whether the peer has sent heartbeats.
    #[must_use]
    pub fn has_heartbeats(&self) -> bool {
        self.pinged.is_some()
    }

    /// Answers the next heartbeat before it is read: for when what is before it cannot be read yet.
    pub fn pong_early(&mut self) {
        if let Some(context) = self.pinged.as_ref().filter(|_| self.output.is_empty()) {
            command::put_pong(&mut self.output, context);
        }
    }

    /// What was in the bytes that were read; `None` where more are needed.
    ///
    /// # Errors
    /// What the peer does wrong. The session is of no use afterwards.
    pub fn next_event(&mut self) -> Result<Option<Event>, ZmtpError> {
        if self.phase == Phase::Greeting {
            let Some(minor_version) = greeting::minor_version(self.decoder.unread())? else {
                return Ok(None);
            };
            self.decoder.pass(greeting::GREETING_BYTES);
            self.minor_version = minor_version;
            command::put_ready(&mut self.output, self.role.socket_type());
            self.phase = Phase::Ready;
        }
        while let Some(item) = self.decoder.next_item()? {
            let event = match item {
                Item::Command(body) => self.command(body)?,
                Item::Message(parts) if self.role == Role::Pub => subscription(&parts),
                Item::Message(parts) => Some(Event::Message(parts)),
                Item::Oversize { bytes } => Some(Event::Oversize { bytes }),
            };
            if event.is_some() {
                return Ok(event);
            }
        }
        Ok(None)
    }

    fn command(&mut self, body: Bytes) -> Result<Option<Event>, ZmtpError> {
        let command = command::parse(body)?;
        if self.phase == Phase::Ready {
            return match command {
                Command::Ready { socket_type } => self.open(&socket_type).map(Some),
                Command::Error { reason } => Err(ZmtpError::Refused(reason.escape_ascii().to_string())),
                _ => Err(ZmtpError::NotReady),
            };
        }
        match command {
            Command::Ping { context } => {
                command::put_pong(&mut self.output, &context);
                // A copy: a slice would keep the read buffer.
                self.pinged = Some(Bytes::copy_from_slice(&context));
                Ok(None)
            }
            Command::Error { reason } => Err(ZmtpError::Refused(reason.escape_ascii().to_string())),
            Command::Subscribe(prefix) if self.role == Role::Pub => Ok(Some(Event::Subscribe(prefix))),
            Command::Cancel(prefix) if self.role == Role::Pub => Ok(Some(Event::Cancel(prefix))),
            _ => Ok(None),
        }
    }

    fn open(&mut self, socket_type: &[u8]) -> Result<Event, ZmtpError> {
        let (partners, wanted) = self.role.partners();
        if !partners.iter().any(|partner| partner.as_bytes() == socket_type) {
            // No ERROR is sent: libzmq would then never try again, also when somebody has put it right.
            let found = socket_type.escape_ascii().to_string();
            return Err(ZmtpError::SocketType { found, wanted });
        }
        if let Role::Sub { prefix } = &self.role {
            command::put_subscribe(&mut self.output, self.minor_version, prefix);
        }
        self.decoder.set_commands_only(false);
        self.phase = Phase::Open;
        Ok(Event::Open)
    }
}

/// A subscription as ZMTP 3.0 sends it; anything else that a subscriber says is for nobody.
fn subscription(parts: &[Bytes]) -> Option<Event> {
    let [part] = parts else { return None };
    match part.first()? {
        1 => Some(Event::Subscribe(part.slice(1..))),
        0 => Some(Event::Cancel(part.slice(1..))),
        _ => None,
    }
}
