//! As much of HTTP as the tests need: one request per connection.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// An answer.
#[derive(Debug)]
pub struct Answer {
    /// Status code.
    pub status: u16,
    /// Body.
    pub body: Vec<u8>,
}

/// Gets a page.
pub fn get(address: SocketAddr, path: &str) -> Answer {
    ask(address, &format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n"))
}

/// Posts JSON, with more headers, `Name: value`; a `Host` among them takes the place of ours.
#[allow(dead_code, reason = "not every test program needs it")]
pub fn post(address: SocketAddr, path: &str, headers: &[&str], body: &str) -> Answer {
    let has = |name: &str| headers.iter().any(|header| header.starts_with(name));
    let mut head = format!("POST {path} HTTP/1.1\r\nConnection: close\r\nContent-Length: {}\r\n", body.len());
    let host = format!("Host: {address}");
    let own = [host.as_str(), "Content-Type: application/json"];
    let own = own.into_iter().filter(|header| !has(header.split(':').next().unwrap()));
    for header in own.chain(headers.iter().copied()) {
        head += &format!("{header}\r\n");
    }
    ask(address, &format!("{head}\r\n{body}"))
}

fn ask(address: SocketAddr, request: &str) -> Answer {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).unwrap();
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n").unwrap();
    let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
    assert!(!head.to_lowercase().contains("transfer-encoding"), "{head}");
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    Answer { status, body: bytes.split_off(end + 4) }
}
