//! Ports that have to be free, and hosts that have to answer.

use std::io::Read as _;
use std::net::{SocketAddr, TcpListener, TcpStream, ToSocketAddrs as _};
use std::time::Duration;

use super::Finding;
use crate::settings::{Endpoint, Settings};

/// How long a host is waited for.
const PATIENCE: Duration = Duration::from_secs(2);

/// The daemon that runs with this state directory, as its lock says; none where nobody holds it.
pub(super) fn holder(settings: &Settings) -> Option<String> {
    let path = settings.daemon.state_dir.join("lock");
    let lock = std::fs::File::options().read(true).open(path).ok()?;
    match lock.try_lock_shared() {
        Err(std::fs::TryLockError::WouldBlock) => {
            let mut holder = String::new();
            // Whatever it says, the lock is what counts.
            drop((&lock).take(64).read_to_string(&mut holder));
            let holder = holder.trim();
            Some(if holder.is_empty() { "another process".to_owned() } else { holder.to_owned() })
        }
        _ => None,
    }
}

/// What is listened on.
pub(super) fn ports(settings: &Settings, holder: Option<&str>) -> Vec<Finding> {
    let mut wanted = vec![("http.listen".to_owned(), settings.http.listen.to_string())];
    wanted.push(("publish.bind".to_owned(), host_and_port(&settings.publish.bind).to_owned()));
    for source in &settings.sources {
        for endpoint in [Some(&source.endpoint), source.data.as_ref()].into_iter().flatten() {
            if let Endpoint::Bind(address) = endpoint {
                let address = host_and_port(address);
                // A source without a name is called by its address.
                let key = if source.name == address {
                    "source".to_owned()
                } else {
                    format!("source {}", source.name)
                };
                wanted.push((key, address.to_owned()));
            }
        }
    }
    let mut found = Vec::new();
    for (key, address) in wanted {
        match bind(&address) {
            Ok(()) => found.push(Finding::good("ports", format!("{key} = {address} is free"))),
            Err(error) if error.kind() == std::io::ErrorKind::AddrInUse && holder.is_some() => {
                let holder = holder.unwrap_or_default();
                found.push(Finding::good(
                    "ports",
                    format!("{key} = {address} is taken, and a daemon runs here ({holder})"),
                ));
            }
            Err(error) => found.push(Finding::bad(
                "ports",
                format!("{key} = {address} cannot be listened on: {error}"),
                "see with `ss -ltnp` who has it; stop that, or take another port",
            )),
        }
    }
    found
}

fn bind(address: &str) -> std::io::Result<()> {
    // As `tcp://*:port` is understood.
    let address = address.replace('*', "0.0.0.0");
    TcpListener::bind(address.as_str()).map(drop)
}

fn host_and_port(address: &str) -> &str {
    address.strip_prefix("tcp://").unwrap_or(address)
}

/// Where sources are connected to. A connection is made and closed; no word is said. Where the daemon runs it has connected already, and its page
/// says more.
pub(super) fn sources(settings: &Settings, holder: Option<&str>) -> Vec<Finding> {
    let mut found = Vec::new();
    for source in &settings.sources {
        for endpoint in [Some(&source.endpoint), source.data.as_ref()].into_iter().flatten() {
            let Endpoint::Connect(address) = endpoint else { continue };
            let name = match source.name == host_and_port(address) {
                true => address.clone(),
                false => format!("{} at {address}", source.name),
            };
            if holder.is_some() {
                found.push(Finding::good(
                    "sources",
                    format!("{name}: the daemon that runs is connected; its page says what comes"),
                ));
                continue;
            }
            found.push(match reach(host_and_port(address)) {
                Ok(()) => Finding::good("sources", format!("{name} answers")),
                Err(error) => Finding::doubtful(
                    "sources",
                    format!("{name} does not answer: {error}"),
                    "the daemon connects as soon as it does; is the acquisition running, is the port right, is a firewall between? `phasewatch sniff` tells what speaks there",
                ),
            });
        }
    }
    found
}

fn reach(address: &str) -> Result<(), String> {
    let addresses: Vec<SocketAddr> = address.to_socket_addrs().map_err(|error| error.to_string())?.collect();
    let mut last = "the name has no address".to_owned();
    for address in addresses {
        match TcpStream::connect_timeout(&address, PATIENCE) {
            Ok(_) => return Ok(()),
            Err(error) => last = error.to_string(),
        }
    }
    Err(last)
}
