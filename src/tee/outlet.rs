//! One output: a PUSH socket with one receiver at a time, and what waits for it.

use std::net::ToSocketAddrs as _;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;

use super::backlog::{Backlog, Counts, Message};
use crate::zmtp::{Arrival, Lobby, Role, Session, Wire, WireError, message_chunks};

/// Between two attempts to connect.
const DIAL_AGAIN: Duration = Duration::from_millis(500);
/// An attempt to connect, with its handshake, takes no longer.
const DIAL_TIMEOUT: Duration = Duration::from_secs(2);

/// Who opens the connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Side {
    /// The receiver connects to this address, `host:port`; port 0 takes a free one, host `*` is every interface.
    Bind(String),
    /// We connect to it.
    Connect(String),
}

/// What waits for an output, and how it goes.
#[derive(Debug)]
pub struct Outlet {
    name: String,
    may_drop: bool,
    backlog: Mutex<Backlog>,
    /// Something came, or nothing more will.
    filled: Notify,
    /// Something was delivered.
    emptied: Notify,
    state: Mutex<State>,
}

#[derive(Clone, Copy, Debug, Default)]
struct State {
    closed: bool,
    has_receiver: bool,
    /// Receivers that were refused, for there was one already.
    refused: u64,
}

/// Its socket, not yet running.
#[derive(Debug)]
pub struct Socket {
    outlet: Arc<Outlet>,
    lobby: Option<Lobby>,
    remote: Option<String>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn push_wire(stream: TcpStream) -> Wire {
    Wire::new(stream, Session::new(Role::Push, 0))
}

impl Outlet {
    /// Opens an output; `limit_bytes` may wait for it.
    ///
    /// # Errors
    /// What the operating system says of the address.
    pub async fn open(
        side: Side,
        may_drop: bool,
        limit_bytes: usize,
    ) -> std::io::Result<(Arc<Self>, Socket)> {
        let (lobby, remote, name) = match side {
            Side::Bind(address) => {
                let address = address
                    .strip_prefix('*')
                    .map_or_else(|| address.clone(), |port| format!("0.0.0.0{port}"));
                let resolved: Vec<_> =
                    tokio::task::spawn_blocking(move || address.to_socket_addrs().map(Iterator::collect))
                        .await
                        .map_err(std::io::Error::other)??;
                let listener = TcpListener::bind(&resolved[..]).await?;
                let name = format!("tcp://{}", listener.local_addr()?);
                (Some(Lobby::open(listener, push_wire)), None, name)
            }
            Side::Connect(address) => (None, Some(address.clone()), format!("tcp://{address}")),
        };
        let outlet = Arc::new(Self {
            name,
            may_drop,
            backlog: Mutex::new(Backlog::new(limit_bytes)),
            filled: Notify::new(),
            emptied: Notify::new(),
            state: Mutex::default(),
        });
        let socket = Socket { outlet: Arc::clone(&outlet), lobby, remote };
        Ok((outlet, socket))
    }

    /// Its address, the true one where it is bound.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether it loses messages instead of holding back the input.
    #[must_use]
    pub fn may_drop(&self) -> bool {
        self.may_drop
    }

    /// Whether a receiver is connected.
    #[must_use]
    pub fn has_receiver(&self) -> bool {
        lock(&self.state).has_receiver
    }

    /// Receivers that were refused because there was one already.
    #[must_use]
    pub fn refused(&self) -> u64 {
        lock(&self.state).refused
    }

    /// What happened so far, and what waits.
    #[must_use]
    pub fn counts(&self) -> Counts {
        lock(&self.backlog).counts()
    }

    /// Takes a message in; waits for room where none may be lost. Cancelled while it waits, it has not taken it.
    pub async fn push(&self, parts: &[Bytes]) {
        let message: Message = parts.into();
        loop {
            // Asked for before looking, so that no notice between the two is missed.
            let emptied = self.emptied.notified();
            tokio::pin!(emptied);
            emptied.as_mut().enable();
            if self.try_push(&message) {
                return;
            }
            emptied.await;
        }
    }

    fn try_push(&self, message: &Message) -> bool {
        let mut backlog = lock(&self.backlog);
        if self.may_drop {
            backlog.push_dropping(Arc::clone(message));
        } else if backlog.has_room_for(message) {
            backlog.push(Arc::clone(message));
        } else {
            return false;
        }
        drop(backlog);
        self.filled.notify_one();
        true
    }

    /// Takes a message in where there is no room, either: the last one before a stop.
    pub fn push_past_bound(&self, parts: &[Bytes]) {
        lock(&self.backlog).push(parts.into());
        self.filled.notify_one();
    }

    /// Says that nothing more will come.
    pub fn close(&self) {
        lock(&self.state).closed = true;
        self.filled.notify_one();
    }

    /// Waits until nothing waits any more.
    pub async fn delivered(&self) {
        loop {
            let emptied = self.emptied.notified();
            tokio::pin!(emptied);
            emptied.as_mut().enable();
            if self.counts().waiting == 0 {
                return;
            }
            emptied.await;
        }
    }

    fn note_delivered(&self) {
        lock(&self.backlog).delivered();
        self.emptied.notify_waiters();
    }
}

enum Step {
    /// What a receiver says is for nobody.
    Heard,
    /// All is written.
    Free,
    Guest(Arrival),
    End(WireError),
}

impl Socket {
    /// Sends what waits, to one receiver after the other, until all was sent after [`Outlet::close`].
    pub async fn run(mut self) {
        while let Some((wire, address)) = self.next_receiver().await {
            lock(&self.outlet.state).has_receiver = true;
            tracing::info!(output = self.outlet.name, address, "a receiver is connected");
            let ended = self.serve(wire).await;
            lock(&self.outlet.backlog).give_back();
            lock(&self.outlet.state).has_receiver = false;
            match ended {
                None => return,
                Some(error) => {
                    tracing::warn!(output = self.outlet.name, address, "a receiver is gone: {error}");
                }
            }
        }
    }

    async fn next_receiver(&mut self) -> Option<(Box<Wire>, String)> {
        if let Some(lobby) = &mut self.lobby {
            loop {
                match std::future::poll_fn(|context| lobby.poll(context)).await {
                    Arrival::Peer(wire, address) => return Some((wire, address)),
                    other => trouble(&self.outlet.name, &other),
                }
            }
        }
        let address = self.remote.clone()?;
        let mut told = false;
        loop {
            let attempt = async {
                let stream = TcpStream::connect(&address).await.map_err(WireError::Io)?;
                push_wire(stream).open().await
            };
            let problem = match tokio::time::timeout(DIAL_TIMEOUT, attempt).await {
                Ok(Ok(wire)) => return Some((Box::new(wire), address)),
                Ok(Err(error)) => error.to_string(),
                Err(_) => "no answer".to_owned(),
            };
            if !std::mem::replace(&mut told, true) {
                tracing::warn!(output = self.outlet.name, "cannot connect, trying again: {problem}");
            }
            tokio::time::sleep(DIAL_AGAIN).await;
        }
    }

    /// Sends to one receiver. Returns why it ended; nothing where all was sent and nothing more comes.
    async fn serve(&mut self, mut wire: Box<Wire>) -> Option<WireError> {
        let outlet = Arc::clone(&self.outlet);
        let mut in_hand = false;
        loop {
            if !in_hand {
                let next = lock(&outlet.backlog).take();
                if let Some(message) = &next {
                    wire.send(&message_chunks(message));
                    in_hand = true;
                } else if lock(&outlet.state).closed {
                    wire.close();
                    return None;
                }
            }
            let step =
                std::future::poll_fn(|context| poll_step(&mut wire, &mut self.lobby, in_hand, context));
            let step = tokio::select! {
                step = step => step,
                () = outlet.filled.notified(), if !in_hand => continue,
            };
            match step {
                Step::Free => {
                    in_hand = false;
                    outlet.note_delivered();
                }
                Step::Heard => {}
                Step::Guest(Arrival::Peer(_, address)) => {
                    lock(&outlet.state).refused += 1;
                    tracing::error!(
                        output = outlet.name,
                        address,
                        "a second receiver is refused: each would get a share of the messages; give it an output of its own"
                    );
                }
                Step::Guest(other) => trouble(&outlet.name, &other),
                Step::End(error) => return Some(error),
            }
        }
    }
}

fn poll_step(
    wire: &mut Wire,
    lobby: &mut Option<Lobby>,
    in_hand: bool,
    context: &mut Context<'_>,
) -> Poll<Step> {
    match wire.poll_event(context) {
        Poll::Ready(Ok(_)) => return Poll::Ready(Step::Heard),
        Poll::Ready(Err(error)) => return Poll::Ready(Step::End(error)),
        Poll::Pending => {}
    }
    // What cannot be written any more was not delivered.
    if wire.is_deaf() {
        return Poll::Ready(Step::End(WireError::Closed { within: in_hand }));
    }
    if let Some(Poll::Ready(arrival)) = lobby.as_mut().map(|lobby| lobby.poll(context)) {
        return Poll::Ready(Step::Guest(arrival));
    }
    match wire.poll_flush(context) {
        Poll::Ready(Ok(())) if in_hand => Poll::Ready(Step::Free),
        Poll::Ready(Err(error)) => Poll::Ready(Step::End(error.into())),
        Poll::Ready(Ok(())) | Poll::Pending => Poll::Pending,
    }
}

fn trouble(output: &str, arrival: &Arrival) {
    match arrival {
        Arrival::Stranger(what) => tracing::warn!(output, "somebody who is no receiver: {what}"),
        Arrival::Failed(error) => tracing::warn!(output, "accepting: {error}"),
        Arrival::Peer(..) => {}
    }
}
