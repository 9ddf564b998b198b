//! A ZMTP peer made by hand, byte by byte: for what no well-behaved library does.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use bytes::Bytes;

use crate::rig::PATIENCE;
use crate::script::Message;

/// A connection.
pub struct Raw(pub TcpStream);

impl Raw {
    /// Connects and says nothing yet.
    pub fn connect(address: &str) -> Self {
        let stream = TcpStream::connect(address.strip_prefix("tcp://").unwrap()).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        Self(stream)
    }

    /// Connects and shakes hands as a socket of `kind`.
    pub fn shaken(address: &str, kind: &str) -> Self {
        Self::connect(address).shake(kind)
    }

    /// Greets, version 3.0.
    pub fn greet(&mut self) {
        let greeting = [&[0xff, 0, 0, 0, 0, 0, 0, 0, 0, 0x7f, 3, 0][..], b"NULL", &[0; 48]].concat();
        self.write(&greeting);
    }

    /// Shakes hands as a socket of `kind`, whichever side connected.
    pub fn shake(mut self, kind: &str) -> Self {
        self.greet();
        let mut theirs = [0; 64];
        self.0.read_exact(&mut theirs).unwrap();
        assert_eq!((theirs[0], theirs[9], theirs[10]), (0xff, 0x7f, 3));
        self.ready(kind);
        let (flags, body) = self.read_frame();
        assert_eq!(flags, 4, "a command");
        assert!(body.starts_with(b"\x05READY"));
        self
    }

    /// Says that it is a socket of `kind`.
    pub fn ready(&mut self, kind: &str) {
        let length = u32::try_from(kind.len()).unwrap().to_be_bytes();
        self.command("READY", &[b"\x0bSocket-Type", &length[..], kind.as_bytes()].concat());
    }

    /// Writes bytes as they are.
    pub fn write(&mut self, bytes: &[u8]) {
        self.0.write_all(bytes).unwrap();
    }

    /// Writes a frame: 1 is "more follows", 4 is "command".
    pub fn frame(&mut self, flags: u8, body: &[u8]) {
        self.write(&frame(flags, body));
    }

    /// Writes the header of a frame that is not sent.
    pub fn announce(&mut self, flags: u8, bytes: u64) {
        self.write(&[&[flags | 2][..], &bytes.to_be_bytes()].concat());
    }

    /// Writes a command.
    pub fn command(&mut self, name: &str, body: &[u8]) {
        let name = [&[u8::try_from(name.len()).unwrap()], name.as_bytes()].concat();
        self.frame(4, &[&name[..], body].concat());
    }

    /// Reads a frame: its flags without "long", and its body.
    pub fn read_frame(&mut self) -> (u8, Vec<u8>) {
        let mut flags = [0; 1];
        self.0.read_exact(&mut flags).unwrap();
        let mut length = [0; 8];
        let part = if flags[0] & 2 == 0 { &mut length[7..] } else { &mut length[..] };
        self.0.read_exact(part).unwrap();
        let mut body = vec![0; usize::try_from(u64::from_be_bytes(length)).unwrap()];
        self.0.read_exact(&mut body).unwrap();
        (flags[0] & !2, body)
    }

    /// Waits until the other side has hung up; a reset is as good as an end.
    pub fn wait_end(&mut self) {
        let mut rest = [0; 4096];
        loop {
            match self.0.read(&mut rest) {
                Ok(0) => return,
                Ok(_) => {}
                Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => return,
                Err(error) => panic!("not hung up: {error}"),
            }
        }
    }
}

/// A frame as bytes.
pub fn frame(flags: u8, body: &[u8]) -> Vec<u8> {
    match u8::try_from(body.len()) {
        Ok(short) => [&[flags, short][..], body].concat(),
        Err(_) => [&[flags | 2][..], &(body.len() as u64).to_be_bytes(), body].concat(),
    }
}

/// A message as bytes.
pub fn message(message: &Message) -> Vec<u8> {
    let last = message.parts.len() - 1;
    let parts: Vec<Bytes> = message.parts.clone();
    parts.iter().enumerate().flat_map(|(index, part)| frame(u8::from(index < last), part)).collect()
}
