//! The sender's offer to send again: a REP socket beside the stream.
//!
//! Requests are read and answered here, one after the other; the messages themselves go out through the sender, on the
//! stream, before the answer. A request that breaks a rule, or is for a scan that nothing is known of, is answered with
//! `{"error": …}`; what is not even a request on the wire costs its peer the connection. Neither ends the socket.

use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::Instant;
use zeromq::{RepSocket, Socket as _, SocketRecv as _, SocketSend as _, ZmqMessage};

use super::kept::Keeper;
use super::publish::PublishError;
use crate::source::stxm_stream::{ResendAnswer, ResendRequest};

/// How long a peer may take to take its answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(1);
/// How long to wait after an error, so that a peer that causes one after the other costs little.
const BREATH: Duration = Duration::from_millis(10);

/// An offer to send again, bound and not yet served.
pub struct Offer {
    socket: RepSocket,
    address: String,
    keeper: Keeper,
    linger: Duration,
}

impl std::fmt::Debug for Offer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Offer").field("address", &self.address).finish_non_exhaustive()
    }
}

/// A request, and where its answer goes.
#[derive(Debug)]
pub(super) struct Errand {
    pub(super) request: ResendRequest,
    pub(super) answer: oneshot::Sender<ResendAnswer>,
}

impl Offer {
    /// Binds to `tcp://address:port`; port 0 is any free one. At most `keep_bytes` of messages are kept. After its last
    /// message the sender stays until `linger` has passed without a request.
    ///
    /// # Errors
    /// Where it cannot be bound.
    pub async fn bind(address: &str, keep_bytes: usize, linger: Duration) -> Result<Self, PublishError> {
        let mut socket = RepSocket::new();
        let failed = |source| PublishError::Endpoint { address: address.to_owned(), source };
        let address = socket.bind(address).await.map_err(failed)?.to_string();
        Ok(Self { socket, address, keeper: Keeper::new(keep_bytes), linger })
    }

    /// The address, with the port it really has: for `resend` in `scan_start`.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// What keeps the messages.
    #[must_use]
    pub fn keeper(&self) -> Keeper {
        self.keeper.clone()
    }

    /// Starts to take requests.
    pub(super) fn open(self) -> OpenOffer {
        let (give, errands) = mpsc::channel(1);
        let task = tokio::spawn(serve(self.socket, give));
        OpenOffer { errands, keeper: self.keeper, linger: self.linger, task, quiet_since: None }
    }
}

/// The sender's side of an offer that is being served.
pub(super) struct OpenOffer {
    errands: mpsc::Receiver<Errand>,
    keeper: Keeper,
    linger: Duration,
    task: JoinHandle<()>,
    /// When all was sent, or the last request after that was done.
    quiet_since: Option<Instant>,
}

impl Drop for OpenOffer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl OpenOffer {
    /// The next request. Cancel-safe.
    pub(super) async fn next(&mut self) -> Errand {
        match self.errands.recv().await {
            Some(errand) => errand,
            // The task that serves never ends by itself.
            None => std::future::pending().await,
        }
    }

    /// The messages asked for, oldest first, or why there are none.
    pub(super) fn find(&self, request: &ResendRequest) -> Result<Vec<Vec<Bytes>>, String> {
        let unknown = || format!("nothing is known of scan {}", request.scan_id);
        self.keeper.lock().find(request).ok_or_else(unknown)
    }

    pub(super) fn note_sent(&self, parts: &[Bytes]) {
        self.keeper.lock().note_sent(parts);
    }

    /// Nothing more comes but what is asked for again.
    pub(super) fn note_all_sent(&mut self) {
        self.keeper.lock().note_all_sent();
        self.quiet_since = Some(Instant::now());
    }

    /// A request is done: the wait for another begins anew.
    pub(super) fn note_served(&mut self) {
        if let Some(since) = &mut self.quiet_since {
            *since = Instant::now();
        }
    }

    /// When the sender may go: never before all was sent.
    pub(super) fn until(&self) -> Option<Instant> {
        self.quiet_since.and_then(|since| since.checked_add(self.linger))
    }
}

/// Reads requests, has them done and answers, for ever.
async fn serve(mut socket: RepSocket, give: mpsc::Sender<Errand>) {
    loop {
        let parts = match socket.recv().await {
            Ok(message) => message.into_vec(),
            Err(error) => {
                tracing::debug!(%error, "no request");
                tokio::time::sleep(BREATH).await;
                continue;
            }
        };
        let answer = match ResendRequest::parse(&parts) {
            Ok(request) => {
                let (answer, answered) = oneshot::channel();
                if give.send(Errand { request, answer }).await.is_err() {
                    return;
                }
                answered.await.unwrap_or_else(|_| ResendAnswer::Refused("the sender stops".to_owned()))
            }
            Err(error) => ResendAnswer::Refused(error.to_string()),
        };
        let sent =
            tokio::time::timeout(ANSWER_TIMEOUT, socket.send(ZmqMessage::from(answer.to_bytes()))).await;
        if !matches!(sent, Ok(Ok(()))) {
            tracing::debug!("nobody took the answer");
        }
    }
}
