//! Commands: frames that speak of the connection.
//!
//! Format: one byte length and the name, then what belongs to it. READY: properties, each one byte length and name, four
//! bytes length (big-endian) and value. PING: time to live, two bytes, and a context that PONG gives back, 16 bytes at
//! most. ERROR: one byte length and the reason. SUBSCRIBE, CANCEL: the prefix.

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};

use super::ZmtpError;

/// A context that a heartbeat carries is no longer.
const CONTEXT_BYTES: usize = 16;

/// Flag of a frame: another part follows.
pub(super) const MORE: u8 = 1;
/// Flag of a frame: its length takes eight bytes.
pub(super) const LONG: u8 = 2;
/// Flag of a frame: it is a command.
pub(super) const COMMAND: u8 = 4;

/// A command, read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Command {
    /// The peer is ready, and is a socket of this type.
    Ready {
        /// Such as `PUSH`.
        socket_type: Bytes,
    },
    /// The peer ends the handshake.
    Error {
        /// Why.
        reason: Bytes,
    },
    /// The peer wants to hear from us.
    Ping {
        /// To be given back.
        context: Bytes,
    },
    /// The peer wants what begins like this.
    Subscribe(Bytes),
    /// And wants it no more.
    Cancel(Bytes),
    /// PONG, and what is not known.
    Other,
}

/// Reads a command.
///
/// # Errors
/// [`ZmtpError::Command`].
pub(super) fn parse(mut body: Bytes) -> Result<Command, ZmtpError> {
    let name = take_short(&mut body).ok_or(ZmtpError::Command("its name is cut off"))?;
    Ok(match &name[..] {
        b"" => return Err(ZmtpError::Command("it has no name")),
        b"READY" => Command::Ready { socket_type: socket_type(body)? },
        b"ERROR" => Command::Error { reason: take_short(&mut body).unwrap_or_default() },
        b"PING" => {
            if body.len() < 2 {
                return Err(ZmtpError::Command("PING without a time to live"));
            }
            // A dead sender is found by the kernel's own probes, so the time to live is not needed.
            body.advance(2);
            body.truncate(CONTEXT_BYTES);
            Command::Ping { context: body }
        }
        b"SUBSCRIBE" => Command::Subscribe(body),
        b"CANCEL" => Command::Cancel(body),
        _ => Command::Other,
    })
}

fn socket_type(mut properties: Bytes) -> Result<Bytes, ZmtpError> {
    let cut = ZmtpError::Command("a property of READY is cut off");
    let mut found = None;
    while !properties.is_empty() {
        let name = take_short(&mut properties).ok_or_else(|| cut.clone())?;
        let length = properties.try_get_u32().map_err(|_| cut.clone())?;
        let length = usize::try_from(length).ok().filter(|length| *length <= properties.len());
        let value = properties.split_to(length.ok_or_else(|| cut.clone())?);
        if name.eq_ignore_ascii_case(b"Socket-Type") {
            found = Some(value);
        }
    }
    found.ok_or(ZmtpError::Command("READY without a socket type"))
}

/// What stands behind a length of one byte.
fn take_short(bytes: &mut Bytes) -> Option<Bytes> {
    let length = usize::from(*bytes.first()?);
    (bytes.len() > length).then(|| {
        bytes.advance(1);
        bytes.split_to(length)
    })
}

/// Writes what stands before a frame's body.
pub(super) fn put_head(out: &mut BytesMut, flags: u8, bytes: usize) {
    if let Ok(short) = u8::try_from(bytes) {
        out.put_slice(&[flags, short]);
    } else {
        out.put_u8(flags | LONG);
        out.put_u64(bytes as u64);
    }
}

fn put(out: &mut BytesMut, name: &str, body: &[&[u8]]) {
    let bytes = 1 + name.len() + body.iter().map(|piece| piece.len()).sum::<usize>();
    put_head(out, COMMAND, bytes);
    out.put_u8(u8::try_from(name.len()).unwrap_or_default());
    out.put_slice(name.as_bytes());
    body.iter().for_each(|piece| out.put_slice(piece));
}

/// Writes READY.
pub(super) fn put_ready(out: &mut BytesMut, socket_type: &str) {
    let length = u32::try_from(socket_type.len()).unwrap_or_default().to_be_bytes();
    put(out, "READY", &[b"\x0bSocket-Type", &length, socket_type.as_bytes()]);
}

/// Writes PONG.
pub(super) fn put_pong(out: &mut BytesMut, context: &[u8]) {
    put(out, "PONG", &[context]);
}

/// Writes a subscription: a command since ZMTP 3.1, a message with a leading 1 before.
pub(super) fn put_subscribe(out: &mut BytesMut, minor_version: u8, prefix: &[u8]) {
    if minor_version >= 1 {
        put(out, "SUBSCRIBE", &[prefix]);
    } else {
        put_head(out, 0, 1 + prefix.len());
        out.put_u8(1);
        out.put_slice(prefix);
    }
}
