//! `phasewatch health`: asks a daemon whether it is alive, or ready; for images that have no curl.
//!
//! It believes a status of 200 and nothing else, follows no redirect, uses no proxy, and waits five seconds at most.

use std::error::Error;
use std::time::Duration;

use clap::Args;

use super::run::runtime;
use super::{Failure, print};

const TIMEOUT: Duration = Duration::from_secs(5);
/// More than `/readyz` ever says.
const MOST_WORDS: usize = 4096;

/// Arguments of `phasewatch health`.
#[derive(Debug, Args)]
pub struct HealthArgs {
    /// Where the daemon is.
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:8787")]
    url: String,
    /// Ask whether it does its job (/readyz), not only whether it is alive (/healthz).
    #[arg(long)]
    ready: bool,
}

/// Runs it.
///
/// # Errors
/// 69 where nobody answers, or the answer is not good.
pub(super) fn run(args: &HealthArgs) -> Result<(), Failure> {
    let path = if args.ready { "readyz" } else { "healthz" };
    let url = format!("{}/{path}", args.url.trim_end_matches('/'));
    let words = runtime()?.block_on(ask(&url))?;
    print(words.trim_end());
    Ok(())
}

async fn ask(url: &str) -> Result<String, Failure> {
    let failed = |error: reqwest::Error| Failure::unavailable(format_args!("{url}: {}", cause(&error)));
    let client = reqwest::Client::builder()
        .timeout(TIMEOUT)
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .tls_built_in_root_certs(url.starts_with("https://"))
        .build()
        .map_err(failed)?;
    let mut answer = client.get(url).send().await.map_err(failed)?;
    let status = answer.status();
    let mut bytes = Vec::new();
    while let Some(chunk) = answer.chunk().await.map_err(failed)? {
        bytes.extend_from_slice(&chunk);
        if bytes.len() > MOST_WORDS {
            return Err(Failure::unavailable(format_args!(
                "{url}: this is not phasewatch; the answer is too long"
            )));
        }
    }
    let words = String::from_utf8_lossy(&bytes).into_owned();
    if status == reqwest::StatusCode::OK {
        return Ok(words);
    }
    Err(Failure::unavailable(format_args!("{url}: {status}: {}", words.trim_end())))
}

/// What is behind it: "connection refused", not "error sending request".
fn cause(error: &reqwest::Error) -> String {
    let mut inner: &dyn Error = error;
    while let Some(source) = inner.source() {
        inner = source;
    }
    inner.to_string()
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};

    use super::*;

    /// What is said of a server that gives one answer.
    fn said(answer: &'static str, ready: bool) -> Result<(), Failure> {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        let server = std::thread::spawn(move || {
            let (mut peer, _) = listener.accept().unwrap();
            let mut request = [0; 1024];
            let length = peer.read(&mut request).unwrap();
            peer.write_all(answer.as_bytes()).unwrap();
            String::from_utf8_lossy(&request[..length]).into_owned()
        });
        let seen = run(&HealthArgs { url, ready });
        let wanted = if ready { "GET /readyz " } else { "GET /healthz " };
        assert!(server.join().unwrap().starts_with(wanted));
        seen
    }

    #[test]
    fn only_a_200_is_good() {
        said("HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nok\n", false).unwrap();
        let bad =
            said("HTTP/1.1 503 Service Unavailable\r\ncontent-length: 9\r\n\r\ndisk full", true).unwrap_err();
        assert_eq!(bad.code, 69);
        assert!(bad.message.contains("503") && bad.message.contains("disk full"), "{}", bad.message);
        let elsewhere = "HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n";
        assert!(said(elsewhere, false).is_err());
    }

    #[test]
    fn nobody_there_is_69() {
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let failure = run(&HealthArgs { url: format!("http://{free}"), ready: false }).unwrap_err();
        assert_eq!(failure.code, 69);
        assert!(failure.message.contains("refused"), "{}", failure.message);
    }
}
