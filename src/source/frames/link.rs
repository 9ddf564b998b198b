//! One ZeroMQ socket with its monitor, closed for good when dropped.
//!
//! Every connection gets a socket of its own. The library would connect a PULL again on the same socket and a SUB by
//! itself, but its SUB waits up to 30 s between attempts, has no time limit for a peer that accepts and stays mute, and
//! misses a peer that is gone within the moment of connecting. One way for both kinds, under our clock, is simpler.

use std::pin::pin;
use std::task::{Context, Poll};
use std::time::Duration;

use zeromq::{
    PullSocket, Socket, SocketEvent, SocketOptions, SocketRecv, SubSocket, ZmqError, ZmqMessage, ZmqResult,
};

use super::{Endpoint, SocketKind};

/// An attempt to connect takes no longer, whatever the peer does.
const CONNECT_TIMEOUT: Duration = Duration::from_millis(1500);

/// What a link yields.
pub(super) enum LinkStep {
    /// A message.
    Message(ZmqMessage),
    /// Something happened to a connection.
    Event(SocketEvent),
    /// A peer broke the protocol or its connection broke; the library has dropped that peer.
    Error(ZmqError),
}

enum AnySocket {
    Pull(PullSocket),
    Sub(SubSocket),
}

type PollEvent = Box<dyn FnMut(&mut Context<'_>) -> Poll<Option<SocketEvent>> + Send>;

pub(super) struct Link {
    socket: AnySocket,
    poll_event: PollEvent,
}

impl Link {
    /// A socket with its options, monitor and subscription; they have no effect later.
    async fn new(endpoint: &Endpoint) -> ZmqResult<Self> {
        let mut options = SocketOptions::default();
        options.connect_timeout(CONNECT_TIMEOUT);
        match endpoint.kind {
            SocketKind::Pull => {
                let mut socket = PullSocket::with_options(options);
                let poll_event = poll_events(&mut socket);
                Ok(Self { socket: AnySocket::Pull(socket), poll_event })
            }
            SocketKind::Sub => {
                let mut socket = SubSocket::with_options(options);
                let poll_event = poll_events(&mut socket);
                socket.subscribe(&endpoint.topic).await?;
                Ok(Self { socket: AnySocket::Sub(socket), poll_event })
            }
        }
    }

    /// Waits, then connects. Dropping the future abandons the attempt.
    pub(super) async fn dial(endpoint: Endpoint, address: String, after: Duration) -> ZmqResult<Self> {
        tokio::time::sleep(after).await;
        let mut link = Self::new(&endpoint).await?;
        match &mut link.socket {
            AnySocket::Pull(socket) => socket.connect(&address).await?,
            AnySocket::Sub(socket) => socket.connect(&address).await?,
        }
        Ok(link)
    }

    /// Binds and returns the address with its true port.
    pub(super) async fn bind(endpoint: &Endpoint, address: &str) -> ZmqResult<(Self, String)> {
        let mut link = Self::new(endpoint).await?;
        let bound = match &mut link.socket {
            AnySocket::Pull(socket) => socket.bind(address).await?,
            AnySocket::Sub(socket) => socket.bind(address).await?,
        };
        Ok((link, bound.to_string()))
    }

    /// The next thing that happens; cancel-safe, as both halves are.
    pub(super) async fn step(&mut self) -> LinkStep {
        let Self { socket, poll_event } = self;
        let event = std::future::poll_fn(|context| match poll_event(context) {
            Poll::Ready(Some(event)) => Poll::Ready(event),
            // The monitor closes with the socket, which is ours: nothing more will come from it.
            Poll::Ready(None) | Poll::Pending => Poll::Pending,
        });
        let received = async {
            match socket {
                AnySocket::Pull(socket) => socket.recv().await,
                AnySocket::Sub(socket) => socket.recv().await,
            }
        };
        tokio::select! {
            biased;
            event = event => LinkStep::Event(event),
            received = received => received.map_or_else(LinkStep::Error, LinkStep::Message),
        }
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        // The library's writer tasks keep a dropped PULL's connections open, so the sender would go on filling them.
        match &self.socket {
            AnySocket::Pull(socket) => socket.backend().shutdown(),
            AnySocket::Sub(socket) => socket.backend().shutdown(),
        }
    }
}

/// The monitor of a socket. Its type belongs to a crate that we do not name, hence the closure.
fn poll_events<S: Socket>(socket: &mut S) -> PollEvent {
    let mut events = socket.monitor();
    Box::new(move |context| pin!(events.recv()).poll(context).map(Result::ok))
}
