//! The shell: carries requests to senders over ZeroMQ REQ and brings the answers back.
//!
//! Every request gets a socket and a task of its own, so that a sender that is gone, mute or broken costs nobody but
//! itself; the desk sees to it that one is under way per address and few in all. An attempt to connect takes
//! 1.5 s at most, all of a request 5 s; what has not answered then counts as failed. The library
//! underneath is as trusting here as in [`crate::source::frames`]: a sender that announces a giant frame can abort the
//! process, which is one reason for the rule of hosts.

use std::sync::mpsc::SyncSender;
use std::time::Duration;

use tokio::sync::mpsc::Receiver;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use zeromq::{ReqSocket, Socket as _, SocketOptions, SocketRecv as _, SocketSend as _, ZmqError, ZmqMessage};

use super::desk::Errand;
use crate::source::stxm_stream::ResendAnswer;

/// How long connecting may take.
const CONNECT_TIMEOUT: Duration = Duration::from_millis(1500);
/// How long a request may take, connecting included.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// Nobody is there, or nobody who speaks ZeroMQ.
    Connect(String),
    /// No answer in time.
    Timeout,
    /// The connection broke.
    Lost(String),
    /// What was answered is no answer.
    Answer(String),
}

impl Failure {
    /// The name in metrics.
    #[must_use]
    pub fn cause(&self) -> &'static str {
        match self {
            Self::Connect(_) => "connect",
            Self::Timeout => "timeout",
            Self::Lost(_) => "lost",
            Self::Answer(_) => "answer",
        }
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Connect(error) => write!(f, "no connection: {error}"),
            Self::Timeout => write!(f, "no answer within {} s", REQUEST_TIMEOUT.as_secs()),
            Self::Lost(error) => write!(f, "the connection broke: {error}"),
            Self::Answer(error) => write!(f, "that is no answer: {error}"),
        }
    }
}

/// What became of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// The request.
    pub errand: Errand,
    /// The answer, or why there is none.
    pub result: Result<ResendAnswer, Failure>,
}

/// Carries requests until nobody makes any more, or `stop`; what is under way then is abandoned.
pub async fn run(mut errands: Receiver<Errand>, reports: SyncSender<Report>, stop: CancellationToken) {
    let tasks = TaskTracker::new();
    while let Some(Some(errand)) = stop.run_until_cancelled(errands.recv()).await {
        let (reports, stop) = (reports.clone(), stop.clone());
        tasks.spawn(async move {
            let Some(result) = stop.run_until_cancelled(ask(&errand)).await else { return };
            // There is room for as many as can be under way; nobody reads them any more where it fails.
            drop(reports.try_send(Report { errand, result }));
        });
    }
}

/// Sends one request and waits for its answer.
async fn ask(errand: &Errand) -> Result<ResendAnswer, Failure> {
    let mut options = SocketOptions::default();
    options.connect_timeout(CONNECT_TIMEOUT);
    let mut socket = ReqSocket::with_options(options);
    let asked = async {
        socket.connect(&errand.address).await.map_err(|error| Failure::Connect(error.to_string()))?;
        let lost = |error: ZmqError| Failure::Lost(error.to_string());
        socket.send(ZmqMessage::from(errand.request.to_bytes())).await.map_err(lost)?;
        let answer = socket.recv().await.map_err(lost)?.into_vec();
        ResendAnswer::parse(&answer).map_err(|error| Failure::Answer(error.to_string()))
    };
    tokio::time::timeout(REQUEST_TIMEOUT, asked).await.unwrap_or(Err(Failure::Timeout))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::stxm_stream::ResendRequest;
    use bytes::Bytes;
    use zeromq::RepSocket;

    fn errand(address: &str) -> Errand {
        let request = ResendRequest { scan_id: "a".into(), seq: vec![[1, 2]] };
        Errand { id: 7, source: 0, address: address.into(), request, is_first: true }
    }

    /// A sender that answers each request with `answer`; none: it takes it and says nothing.
    async fn server(answer: Option<&'static [u8]>) -> String {
        let mut socket = RepSocket::new();
        let address = socket.bind("tcp://127.0.0.1:0").await.unwrap().to_string();
        tokio::spawn(async move {
            while let Ok(message) = socket.recv().await {
                let parts = message.into_vec();
                assert_eq!(&parts[0][..], br#"{"scan_id":"a","seq":[[1,2]]}"#);
                match answer {
                    Some(answer) => socket.send(ZmqMessage::from(Bytes::from_static(answer))).await.unwrap(),
                    None => std::future::pending().await,
                }
            }
        });
        address
    }

    #[tokio::test]
    async fn brings_answers_back() {
        assert_eq!(ask(&errand(&server(Some(b"{\"sent\": 2}")).await)).await, Ok(ResendAnswer::Sent(2)));
        let refused = ask(&errand(&server(Some(b"{\"error\": \"no\"}")).await)).await;
        assert_eq!(refused, Ok(ResendAnswer::Refused("no".into())));
        let garbage = ask(&errand(&server(Some(b"\xff\x00")).await)).await.unwrap_err();
        assert_eq!(garbage.cause(), "answer");
    }

    #[tokio::test]
    async fn nobody_there_or_nobody_who_speaks_zeromq() {
        let free = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        assert_eq!(ask(&errand(&format!("tcp://{free}"))).await.unwrap_err().cause(), "connect");
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("tcp://{}", listener.local_addr().unwrap());
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            tokio::io::AsyncWriteExt::write_all(&mut stream, b"SSH-2.0-OpenSSH_9.2\r\n\r\n").await.unwrap();
        });
        assert_eq!(ask(&errand(&address)).await.unwrap_err().cause(), "connect");
    }

    #[tokio::test]
    async fn the_mute_keep_nobody_waiting() {
        let (mute, good) = (server(None).await, server(Some(b"{\"sent\": 0}")).await);
        let (give, errands) = tokio::sync::mpsc::channel(2);
        let (reports, reported) = std::sync::mpsc::sync_channel(2);
        let stop = CancellationToken::new();
        let running = tokio::spawn(run(errands, reports, stop.clone()));
        give.send(errand(&mute)).await.unwrap();
        give.send(errand(&good)).await.unwrap();
        let report = tokio::task::spawn_blocking(move || (reported.recv().unwrap(), reported)).await.unwrap();
        assert_eq!(report.0.result, Ok(ResendAnswer::Sent(0)));
        stop.cancel();
        running.await.unwrap();
    }
}
