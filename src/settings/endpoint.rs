//! Addresses of sockets.

use std::net::IpAddr;

use serde::Serialize;

/// A ZeroMQ address, and which side it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Endpoint {
    /// We connect to it.
    Connect(String),
    /// We listen on it.
    Bind(String),
}

impl Endpoint {
    /// The address, `tcp://host:port`.
    #[must_use]
    pub fn address(&self) -> &str {
        match self {
            Self::Connect(address) | Self::Bind(address) => address,
        }
    }
}

/// Host and port of `tcp://host:port`; an IPv6 host stands in brackets.
pub(crate) fn tcp(address: &str) -> Option<(&str, u16)> {
    let (host, port) = address.strip_prefix("tcp://")?.rsplit_once(':')?;
    let bare = match host.strip_prefix('[') {
        Some(rest) => rest.strip_suffix(']').filter(|host| host.parse::<IpAddr>().is_ok())?,
        None => Some(host).filter(|host| !host.contains([':', '/', ' ']))?,
    };
    let all_digits = !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
    (!bare.is_empty() && all_digits).then(|| port.parse().ok().map(|port| (bare, port)))?
}

/// Whether only this machine reaches a socket that listens on `host`.
pub(crate) fn is_loopback(host: &str) -> bool {
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn splits_addresses_and_refuses_what_is_none() {
        assert_eq!(tcp("tcp://10.0.0.1:5555"), Some(("10.0.0.1", 5555)));
        assert_eq!(tcp("tcp://[::1]:0"), Some(("::1", 0)));
        assert_eq!(tcp("tcp://*:1"), Some(("*", 1)));
        for wrong in
            ["10.0.0.1:5555", "tcp://:1", "tcp://a", "tcp://a:", "tcp://a:70000", "tcp://::1:5", "ipc://a"]
        {
            assert_eq!(tcp(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn knows_what_other_machines_reach() {
        assert!(["localhost", "127.0.0.1", "127.8.0.1", "::1"].into_iter().all(is_loopback));
        assert!(!["*", "0.0.0.0", "::", "10.0.0.1", "beamline"].into_iter().any(is_loopback));
    }
}
