//! Who connects to a bound socket, until it has said who it is: a task of its own, so that senders can connect while
//! those who are in are busy, and nobody waits for one who says nothing.
//!
//! # Bounds
//! At most [`GUESTS`] handshakes at once, each for at most [`HANDSHAKE`]; when one more comes, the oldest goes. As many
//! open connections wait to be taken. News of trouble beyond that is dropped while nobody takes any.

use std::collections::VecDeque;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::task::{AbortHandle, JoinSet};

use super::Wire;

/// Most handshakes at once.
const GUESTS: usize = 64;
/// A peer that connects has so long to say who it is.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// After the operating system had no connection to give, for want of file descriptors, say.
const ACCEPT_AGAIN: Duration = Duration::from_millis(200);

/// Who came.
#[derive(Debug)]
pub enum Arrival {
    /// A peer whose handshake is done, and its address.
    Peer(Box<Wire>, String),
    /// Somebody who was none: what was wrong, and with whom.
    Stranger(String),
    /// Nobody: what the operating system says.
    Failed(std::io::Error),
}

/// The task that accepts. It ends when this is dropped, and the port is free once it had a turn.
#[derive(Debug)]
pub struct Lobby {
    arrivals: Receiver<Arrival>,
    task: AbortHandle,
}

impl Drop for Lobby {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Lobby {
    /// Accepts from `listener`; `wire` makes a connection of a stream. To be called within a runtime.
    #[must_use]
    pub fn open(listener: TcpListener, wire: impl Fn(TcpStream) -> Wire + Send + 'static) -> Self {
        let (sender, arrivals) = channel(GUESTS);
        let task = tokio::spawn(receive_guests(listener, wire, sender)).abort_handle();
        Self { arrivals, task }
    }

    /// The next who came; never ends.
    pub fn poll(&mut self, context: &mut Context<'_>) -> Poll<Arrival> {
        match self.arrivals.poll_recv(context) {
            Poll::Ready(Some(arrival)) => Poll::Ready(arrival),
            // Its task holds the other end for as long as we are here.
            Poll::Ready(None) | Poll::Pending => Poll::Pending,
        }
    }
}

async fn receive_guests(listener: TcpListener, wire: impl Fn(TcpStream) -> Wire, arrivals: Sender<Arrival>) {
    let mut guests = JoinSet::new();
    let mut in_order: VecDeque<AbortHandle> = VecDeque::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            // What a guest does ends with it.
            Some(_) = guests.join_next() => {
                in_order.retain(|guest| !guest.is_finished());
                continue;
            }
        };
        match accepted {
            Ok((stream, address)) => {
                if in_order.len() >= GUESTS
                    && let Some(oldest) = in_order.pop_front()
                {
                    oldest.abort();
                    let why = format!("{GUESTS} others connected before somebody had said who it is");
                    tell(&arrivals, Arrival::Stranger(why));
                }
                in_order.push_back(guests.spawn(greet(wire(stream), address.to_string(), arrivals.clone())));
            }
            Err(error) => {
                tell(&arrivals, Arrival::Failed(error));
                tokio::time::sleep(ACCEPT_AGAIN).await;
            }
        }
    }
}

async fn greet(wire: Wire, address: String, arrivals: Sender<Arrival>) {
    match tokio::time::timeout(HANDSHAKE, wire.open()).await {
        // Where nobody takes it any more, the peer goes.
        Ok(Ok(wire)) => drop(arrivals.send(Arrival::Peer(Box::new(wire), address)).await),
        Ok(Err(error)) => tell(&arrivals, Arrival::Stranger(format!("{address}: {error}"))),
        Err(_) => {
            let why = format!("{address}: no handshake within {} s", HANDSHAKE.as_secs());
            tell(&arrivals, Arrival::Stranger(why));
        }
    }
}

fn tell(arrivals: &Sender<Arrival>, arrival: Arrival) {
    if let Err(full) = arrivals.try_send(arrival) {
        tracing::debug!(news = ?full.into_inner(), "trouble that nobody takes note of");
    }
}
