//! Addresses of sockets: `tcp://host:port`.

use std::net::{IpAddr, ToSocketAddrs as _};

use super::FrameError;

/// Host and port, as the operating system takes them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Address {
    /// Without brackets.
    host: String,
    port: u16,
}

impl Address {
    /// Reads an address; `*` is every interface.
    pub(super) fn parse(address: &str) -> Result<Self, FrameError> {
        let wrong =
            |reason: &str| FrameError::Address { address: address.to_owned(), reason: reason.to_owned() };
        let rest = address.strip_prefix("tcp://").ok_or_else(|| wrong("only tcp is supported"))?;
        let (host, port) = rest.rsplit_once(':').ok_or_else(|| wrong("the port is missing"))?;
        let port = port.parse().map_err(|_| wrong("the port is no number from 0 to 65535"))?;
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        let host = match (bare, host) {
            (Some(bare), _) if bare.parse::<IpAddr>().is_ok_and(|ip| ip.is_ipv6()) => bare,
            (None, "*") => "0.0.0.0",
            (None, host) if !host.is_empty() && !host.contains([':', '/', '[', ']', ' ']) => host,
            _ => return Err(wrong("the host cannot be read")),
        };
        Ok(Self { host: host.to_owned(), port })
    }

    /// For the calls of the operating system, which look a name up.
    pub(super) fn host_port(&self) -> (&str, u16) {
        (&self.host, self.port)
    }

    /// Whether a socket bound to it is open to every interface.
    pub(super) fn is_open_to_all(&self) -> bool {
        self.host.parse::<IpAddr>().is_ok_and(|ip| ip.is_unspecified())
    }

    /// Binds a listener. Looking up a name here waits; at the start there is nobody to wait for us.
    pub(super) fn listen(&self) -> std::io::Result<std::net::TcpListener> {
        let mut failed = std::io::Error::from(std::io::ErrorKind::AddrNotAvailable);
        for address in self.host_port().to_socket_addrs()? {
            // The standard library lets a port be taken again while old connections linger.
            match std::net::TcpListener::bind(address).and_then(|listener| {
                listener.set_nonblocking(true)?;
                Ok(listener)
            }) {
                Ok(listener) => return Ok(listener),
                Err(error) => failed = error,
            }
        }
        Err(failed)
    }
}
