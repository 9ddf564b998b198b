//! Whom a stream may have us ask: a `resend` address in `scan_start` makes us open a connection, and anyone who
//! reaches a source could name any.
//!
//! Only `tcp://host:port`, and only where the host is the one that the source connects to, or this machine where the
//! source is on this machine, or one of `resend_hosts`. Names are compared as they are written, addresses as numbers;
//! nothing is looked up to decide. What the setting `resend` names is the operator's word: it is asked whatever the
//! stream says, and `"off"` asks nobody.

use std::net::IpAddr;

use crate::settings::{ResendTo, SourceSettings, is_loopback, tcp};

/// Longest address that is looked at.
const MAX_ADDRESS: usize = 300;

/// What one source allows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResendRule {
    to: ResendTo,
    /// The host that the source connects to, or listens on.
    host: String,
    /// Whether `host` is where senders are.
    connects: bool,
    more_hosts: Vec<String>,
}

/// Why an address is not asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddressRefusal {
    /// It is none.
    #[error("it is no address such as tcp://10.0.0.1:5560")]
    Address,
    /// It is on a machine that the source has nothing to do with.
    #[error(
        "the source does not connect to {0:?}; where it may be asked, add it to resend_hosts of the [[source]]"
    )]
    Host(String),
}

impl ResendRule {
    /// The rule of a source.
    #[must_use]
    pub fn of(source: &SourceSettings) -> Self {
        let (host, connects) = match &source.endpoint {
            crate::settings::Endpoint::Connect(address) => (tcp(address), true),
            crate::settings::Endpoint::Bind(address) => (tcp(address), false),
        };
        Self {
            to: source.resend.clone(),
            host: host.map_or(String::new(), |(host, _)| host.to_owned()),
            connects,
            more_hosts: source.resend_hosts.clone(),
        }
    }

    /// Whom to ask where no plan is known: only whom the settings name.
    #[must_use]
    pub fn without_plan(&self) -> Option<&str> {
        if let ResendTo::Address(address) = &self.to { Some(address) } else { None }
    }

    /// Whom to ask where the plan names `told`.
    ///
    /// # Errors
    /// Where the stream names an address that the source may not have us ask.
    pub fn address<'a>(&'a self, told: Option<&'a str>) -> Result<Option<&'a str>, AddressRefusal> {
        match (&self.to, told) {
            (ResendTo::Nobody, _) | (ResendTo::AsTold, None) => Ok(None),
            (ResendTo::Address(address), _) => Ok(Some(address)),
            (ResendTo::AsTold, Some(told)) => {
                let host = Some(told).filter(|told| told.len() <= MAX_ADDRESS).and_then(tcp);
                match host {
                    Some((host, port)) if port != 0 && host != "*" => {
                        let refused = || AddressRefusal::Host(host.to_owned());
                        self.allows(host).then_some(Some(told)).ok_or_else(refused)
                    }
                    _ => Err(AddressRefusal::Address),
                }
            }
        }
    }

    fn allows(&self, host: &str) -> bool {
        let here = is_loopback(&self.host) && is_loopback(host);
        let sender = self.connects && same_host(&self.host, host);
        here || sender || self.more_hosts.iter().any(|more| same_host(more, host))
    }
}

fn same_host(one: &str, other: &str) -> bool {
    match (one.parse::<IpAddr>(), other.parse::<IpAddr>()) {
        (Ok(one), Ok(other)) => one == other,
        _ => one.eq_ignore_ascii_case(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(host: &str, connects: bool, more: &[&str]) -> ResendRule {
        let more_hosts = more.iter().map(|host| (*host).to_owned()).collect();
        ResendRule { to: ResendTo::AsTold, host: host.to_owned(), connects, more_hosts }
    }

    fn asks(rule: &ResendRule, address: &str) -> bool {
        rule.address(Some(address)) == Ok(Some(address))
    }

    #[test]
    fn the_host_of_the_source_may_be_asked_and_no_other() {
        let remote = rule("Scan-Server", true, &[]);
        assert!(asks(&remote, "tcp://scan-server:5560"));
        for other in ["tcp://scan-server2:5560", "tcp://127.0.0.1:5560", "tcp://169.254.169.254:80"] {
            let refused = remote.address(Some(other)).unwrap_err();
            assert!(refused.to_string().contains("resend_hosts"), "{other}: {refused}");
        }
        assert!(asks(&rule("::1", true, &[]), "tcp://[0:0::1]:5560"), "the same address, written otherwise");
    }

    #[test]
    fn this_machine_may_be_asked_where_the_source_is_on_it() {
        for connects in [true, false] {
            let local = rule("127.0.0.1", connects, &[]);
            assert!(asks(&local, "tcp://localhost:1") && asks(&local, "tcp://[::1]:1"));
            assert!(!asks(&local, "tcp://10.0.0.1:1"));
        }
        let open = rule("0.0.0.0", false, &["10.0.0.7"]);
        assert!(!asks(&open, "tcp://127.0.0.1:1") && !asks(&open, "tcp://0.0.0.0:1"));
        assert!(asks(&open, "tcp://10.0.0.7:1"));
    }

    #[test]
    fn only_tcp_with_a_port() {
        let local = rule("127.0.0.1", true, &["*"]);
        let long = format!("tcp://127.0.0.1:{}", "1".repeat(400));
        for wrong in [
            "",
            "ipc:///tmp/x",
            "http://127.0.0.1:80",
            "tcp://127.0.0.1:0",
            "tcp://*:1",
            "127.0.0.1:1",
            &long,
        ] {
            assert_eq!(local.address(Some(wrong)), Err(AddressRefusal::Address), "{wrong}");
        }
    }

    #[test]
    fn the_operator_has_the_last_word() {
        let mut rule = rule("10.0.0.1", true, &[]);
        assert_eq!((rule.address(None), rule.without_plan()), (Ok(None), None));
        rule.to = ResendTo::Address("tcp://10.9.9.9:1".to_owned());
        assert_eq!(rule.address(Some("nonsense")), Ok(Some("tcp://10.9.9.9:1")));
        assert_eq!(rule.without_plan(), Some("tcp://10.9.9.9:1"));
        rule.to = ResendTo::Nobody;
        assert_eq!((rule.address(Some("tcp://10.0.0.1:1")), rule.without_plan()), (Ok(None), None));
    }
}
