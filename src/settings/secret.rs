//! Addresses that may hold a secret: the path of a chat's webhook is its password.

use std::fmt;
use std::net::IpAddr;

use reqwest::Url;
use serde::{Serialize, Serializer};

use super::endpoint::is_loopback;

/// An `http(s)://` address of which only scheme, host and port are ever shown, logged or written into a manifest.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretUrl(Url);

impl SecretUrl {
    /// The address in `text`; `None` where it is none. A user or a password in it makes it none: they belong into a header.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let url = Url::parse(text).ok()?;
        let plain =
            matches!(url.scheme(), "http" | "https") && url.host_str().is_some_and(|host| !host.is_empty());
        (plain && url.username().is_empty() && url.password().is_none()).then_some(Self(url))
    }

    /// All of it, for whoever sends to it.
    #[must_use]
    pub fn expose(&self) -> &Url {
        &self.0
    }

    /// Whether what is sent can be read on the way: no TLS, and not this machine.
    #[must_use]
    pub fn is_open_on_the_way(&self) -> bool {
        let host = self.0.host_str().unwrap_or_default();
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        self.0.scheme() == "http" && !is_loopback(bare)
    }
}

impl fmt::Display for SecretUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.0.scheme(), self.0.host_str().unwrap_or_default())?;
        if let Some(port) = self.0.port() {
            write!(f, ":{port}")?;
        }
        f.write_str("/…")
    }
}

impl fmt::Debug for SecretUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.to_string())
    }
}

impl Serialize for SecretUrl {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// `http(s)://host[:port][/path]` where people reach the page, without `/` at its end; `None` where `text` is none.
pub(super) fn public_url(text: &str) -> Option<String> {
    let url = Url::parse(text).ok()?;
    let plain =
        matches!(url.scheme(), "http" | "https") && url.username().is_empty() && url.password().is_none();
    let bare = url.query().is_none() && url.fragment().is_none();
    (plain && bare && url.host_str().is_some()).then(|| url.as_str().trim_end_matches('/').to_owned())
}

/// Whether `host`, as it stands in an address, is a number and not a name.
#[must_use]
pub(crate) fn is_numeric(host: &str) -> bool {
    host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_address_is_shown_by_its_host_only() {
        let url = SecretUrl::parse("https://hooks.example:8443/services/T0/B0/s3cr3t?key=s3cr3t").unwrap();
        let shown = format!("{url} {url:?} {}", serde_json::to_string(&url).unwrap());
        assert!(!shown.contains("s3cr3t") && url.to_string() == "https://hooks.example:8443/…", "{shown}");
        assert!(url.expose().as_str().contains("s3cr3t"));
        for wrong in ["", "hooks.example", "ftp://a/b", "https://", "https://user:s3cr3t@a/b", "/path"] {
            assert_eq!(SecretUrl::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn what_can_be_read_on_the_way_is_known() {
        let open = |text: &str| SecretUrl::parse(text).unwrap().is_open_on_the_way();
        assert!(open("http://chat.example/hook") && open("http://10.0.0.1/hook"));
        assert!(
            !open("https://chat.example/hook") && !open("http://127.0.0.1:8/h") && !open("http://[::1]:8/h")
        );
    }

    #[test]
    fn a_public_address_has_nothing_behind_its_path() {
        assert_eq!(
            public_url("https://stxm.example/phasewatch/").as_deref(),
            Some("https://stxm.example/phasewatch")
        );
        for wrong in ["stxm", "https://u:p@a", "https://a/?b=c", "file:///a"] {
            assert_eq!(public_url(wrong), None, "{wrong}");
        }
    }
}
