//! A sender made by hand, byte by byte, for what a well-behaved library does not do.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// A ZMTP 3.0 connection.
pub(super) struct RawPeer(pub(super) TcpStream);

impl RawPeer {
    /// Greets and says that it is a socket of `kind`, whichever side connected.
    pub(super) async fn handshake(mut stream: TcpStream, kind: &str) -> Self {
        let mut greeting = [0_u8; 64];
        greeting[0] = 0xff;
        greeting[9] = 0x7f;
        greeting[10] = 3;
        greeting[12..16].copy_from_slice(b"NULL");
        stream.write_all(&greeting).await.unwrap();
        let mut theirs = [0; 64];
        stream.read_exact(&mut theirs).await.unwrap();
        let mut ready = b"\x05READY\x0bSocket-Type".to_vec();
        ready.extend(u32::try_from(kind.len()).unwrap().to_be_bytes());
        ready.extend(kind.as_bytes());
        let mut peer = Self(stream);
        peer.frame(4, &ready).await;
        let mut head = [0; 2];
        peer.0.read_exact(&mut head).await.unwrap();
        assert_eq!(head[0], 4, "a command");
        let mut body = vec![0; head[1].into()];
        peer.0.read_exact(&mut body).await.unwrap();
        assert!(body.starts_with(b"\x05READY"));
        peer
    }

    /// Writes one frame of at most 255 bytes: flag 1 is "more follows", 4 is "command".
    pub(super) async fn frame(&mut self, flags: u8, body: &[u8]) {
        let mut bytes = vec![flags, u8::try_from(body.len()).unwrap()];
        bytes.extend(body);
        self.0.write_all(&bytes).await.unwrap();
    }

    /// Waits until the other side has closed the connection; a reset is as good as an end.
    pub(super) async fn closed(&mut self) {
        let mut rest = [0; 64];
        while self.0.read(&mut rest).await.is_ok_and(|count| count > 0) {}
    }
}
