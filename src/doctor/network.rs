//! Ports that have to be free, and hosts that have to answer.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, ToSocketAddrs as _};
use std::time::Duration;

use super::Finding;
use crate::settings::{Endpoint, Settings};
use crate::telemetry::Trouble;

/// How long a host is waited for.
const PATIENCE: Duration = Duration::from_secs(2);
/// More than `/readyz` ever says.
const MOST_ANSWER: u64 = 64 << 10;

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

/// What the daemon that runs says is wrong (`/readyz`).
pub(super) fn daemon(settings: &Settings, holder: Option<&str>) -> Vec<Finding> {
    let Some(holder) = holder else { return Vec::new() };
    let mut address = settings.http.listen;
    if address.ip().is_unspecified() {
        address.set_ip(if address.is_ipv4() {
            Ipv4Addr::LOCALHOST.into()
        } else {
            Ipv6Addr::LOCALHOST.into()
        });
    }
    let advice = "look at its log; is `http.listen` that of the daemon that runs?";
    let troubles = match readiness(address) {
        Ok(troubles) => troubles,
        Err(error) => {
            let seen =
                format!("the daemon that runs ({holder}) does not say how it is at {address}: {error}");
            return vec![Finding::doubtful("daemon", seen, advice)];
        }
    };
    if troubles.is_empty() {
        return vec![Finding::good("daemon", format!("the daemon that runs ({holder}) has no troubles"))];
    }
    let finding = |trouble: Trouble| {
        let seen = format!("the daemon that runs says of {}: {}", trouble.part, trouble.what);
        let advice = "see docs/bad-days.md for that part";
        if trouble.grave {
            Finding::bad("daemon", seen, advice)
        } else {
            Finding::doubtful("daemon", seen, advice)
        }
    };
    troubles.into_iter().map(finding).collect()
}

/// Asks `/readyz`, which answers with the same list whether the daemon is ready or not.
fn readiness(address: SocketAddr) -> Result<Vec<Trouble>, String> {
    #[derive(serde::Deserialize)]
    struct Answer {
        troubles: Vec<Trouble>,
    }
    let ask = || -> std::io::Result<Vec<u8>> {
        let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        // The oldest form of a request: the answer comes in one piece, and the connection ends.
        stream.write_all(format!("GET /readyz HTTP/1.0\r\nHost: {address}\r\n\r\n").as_bytes())?;
        let mut answer = Vec::new();
        stream.take(MOST_ANSWER).read_to_end(&mut answer)?;
        Ok(answer)
    };
    let answer = ask().map_err(|error| error.to_string())?;
    let body = answer.windows(4).position(|four| four == b"\r\n\r\n").map(|at| &answer[at + 4..]);
    let told: Answer = serde_json::from_slice(body.unwrap_or_default())
        .map_err(|_| "what answers there is not phasewatch".to_owned())?;
    Ok(told.troubles)
}

/// Where sources are connected to. A connection is made and closed; no word is said. Not where the daemon runs: it says by itself what it lacks.
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
                // One peer more might be one too many for it; what the daemon lacks is among its troubles.
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

#[cfg(test)]
mod tests {
    use super::*;

    /// What is understood of a server that gives one answer.
    fn understood(answer: &'static str) -> Result<Vec<Trouble>, String> {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let server = std::thread::spawn(move || {
            let (mut peer, _) = listener.accept().unwrap();
            let mut request = [0; 1024];
            let length = peer.read(&mut request).unwrap();
            peer.write_all(answer.as_bytes()).unwrap();
            String::from_utf8_lossy(&request[..length]).into_owned()
        });
        let understood = readiness(address);
        let request = server.join().unwrap();
        assert!(
            request.starts_with("GET /readyz HTTP/1.0\r\n") && request.contains(&format!("Host: {address}"))
        );
        understood
    }

    #[test]
    fn what_the_daemon_says_of_itself_is_understood() {
        let body = "{\"status\":\"not ready\",\"troubles\":[{\"part\":\"journal\",\"grave\":true,\"what\":\"full\"}]}";
        let answer =
            format!("HTTP/1.0 503 Service Unavailable\r\ncontent-type: application/json\r\n\r\n{body}");
        let troubles = understood(answer.leak()).unwrap();
        assert!(matches!(&troubles[..], [one] if one.grave && one.part == "journal" && one.what == "full"));
        assert_eq!(
            understood("HTTP/1.0 200 OK\r\n\r\n{\"status\":\"ready\",\"troubles\":[]}"),
            Ok(Vec::new())
        );
        assert!(understood("HTTP/1.0 404 Not Found\r\n\r\nno such page").is_err());
        assert!(understood("").is_err());
    }
}
