//! ZMTP 3, the protocol of ZeroMQ on TCP, as far as a receiver of PUSH and PUB and a sender of both need it.
//!
//! The zeromq crate reserves what a peer announces before anything has come, so that one frame header aborts the
//! process, and hangs up at the first heartbeat. On ports that others can reach neither will do; hence our own.
//!
//! - [`Decoder`]: bytes to frames and multipart messages, with every limit applied before anything is allocated.
//! - [`Session`]: one side of a connection: greeting, READY, subscriptions, heartbeats. Both are pure; bytes
//!   come in through an [`Inlet`] and leave through [`Session::output`].
//! - [`Wire`]: a session on a TCP stream; [`Lobby`]: those who connect to a port, until they have said who they are. The
//!   only parts that know a socket.
//! - [`drive`]: all of it from a plain slice of bytes, for fuzzing.
//!
//! Format: <https://rfc.zeromq.org/spec/23/> (3.0) and <https://rfc.zeromq.org/spec/37/> (3.1), mechanism NULL only:
//! authentication and encryption are left to the network below (a private network or a tunnel), since half of a
//! cryptographic protocol would be worse than none, and the whole of it is another library to keep. Peers of ZMTP 2 and
//! older (libzmq before 4.0) are refused by name.
//!
//! Bad input is a [`ZmtpError`] and ends that connection, no other. A message above the limit is no error: it is told of
//! once, its bytes are passed over as they come, and the next message is received. Unknown commands are passed over.

mod command;
mod decoder;
mod drive;
mod error;
mod greeting;
mod lobby;
mod session;
mod wire;

pub use decoder::{Decoder, Inlet, Item, Limits};
pub use drive::{Driven, drive};
pub use error::ZmtpError;
pub use lobby::{Arrival, Lobby};
pub use session::{Event, Role, Session};
pub use wire::{Wire, WireError, message_chunks};

#[cfg(test)]
mod tests;
