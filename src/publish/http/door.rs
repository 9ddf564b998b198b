//! Who comes in: connections are bounded in number, say something soon, and are given up where nobody takes what is sent.
//!
//! Files of journals and archive need descriptors more than browsers do, so that no more than [`MOST`] connections are open; the next ones wait in the system's
//! own queue. A connection that says nothing for [`PATIENCE`] after it was made is closed; what is sent and not acknowledged for [`PATIENCE`] ends one, too, so that a
//! computer that was switched off keeps no place for long.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::serve::Listener;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Sleep;

/// Most connections.
const MOST: usize = 256;
/// Longest silence of a new connection, and longest wait for an acknowledgement.
const PATIENCE: Duration = Duration::from_secs(30);
/// Wait after the system refused a connection: it has no descriptors, say.
const PAUSE: Duration = Duration::from_millis(200);

/// The listener, and the places that are left.
#[derive(Debug)]
pub(super) struct Door {
    listener: TcpListener,
    places: Arc<Semaphore>,
}

impl Door {
    pub(super) fn new(listener: TcpListener) -> Self {
        Self { listener, places: Arc::new(Semaphore::new(MOST)) }
    }
}

impl Listener for Door {
    type Io = Guest;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Guest, SocketAddr) {
        loop {
            // The semaphore is never closed; were it, one place more does no harm.
            let place = Arc::clone(&self.places).acquire_owned().await.ok();
            match self.listener.accept().await {
                Ok((stream, address)) => {
                    // Without it the system's own patience is a quarter of an hour.
                    _ = socket2::SockRef::from(&stream).set_tcp_user_timeout(Some(PATIENCE));
                    let first = Some(Box::pin(tokio::time::sleep(PATIENCE)));
                    return (Guest { stream, first, _place: place }, address);
                }
                Err(error) => {
                    tracing::debug!(%error, "a connection was not taken");
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

/// A connection with its place.
#[derive(Debug)]
pub(super) struct Guest {
    stream: TcpStream,
    /// By when something has to be said; `None` once it was.
    first: Option<Pin<Box<Sleep>>>,
    _place: Option<OwnedSemaphorePermit>,
}

impl AsyncRead for Guest {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let read = Pin::new(&mut self.stream).poll_read(cx, buffer);
        if read.is_ready() {
            self.first = None;
        } else if let Some(first) = &mut self.first
            && first.as_mut().poll(cx).is_ready()
        {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        read
    }
}

impl AsyncWrite for Guest {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, parts)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    #[tokio::test]
    async fn a_guest_that_speaks_is_heard_and_places_come_back() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut door = Door::new(listener);
        let mut client = TcpStream::connect(address).await.unwrap();
        let (mut guest, _) = door.accept().await;
        assert_eq!(door.places.available_permits(), MOST - 1);
        client.write_all(b"hello").await.unwrap();
        let mut heard = [0; 5];
        guest.read_exact(&mut heard).await.unwrap();
        guest.write_all(&heard).await.unwrap();
        client.read_exact(&mut heard).await.unwrap();
        assert_eq!(&heard, b"hello");
        drop(guest);
        assert_eq!(door.places.available_permits(), MOST);
    }

    #[tokio::test]
    async fn when_the_house_is_full_the_next_guest_waits_for_a_place() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut door = Door { listener, places: Arc::new(Semaphore::new(1)) };
        let _clients =
            [TcpStream::connect(address).await.unwrap(), TcpStream::connect(address).await.unwrap()];
        let (first, _) = door.accept().await;
        {
            // It is connected, and not taken.
            let mut next = std::pin::pin!(door.accept());
            assert!(futures_util::poll!(next.as_mut()).is_pending());
        }
        drop(first);
        door.accept().await;
    }

    #[tokio::test]
    async fn a_guest_that_says_nothing_is_let_go() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut door = Door::new(listener);
        let _client = TcpStream::connect(address).await.unwrap();
        let (mut guest, _) = door.accept().await;
        guest.first = Some(Box::pin(tokio::time::sleep(Duration::from_millis(1))));
        let error = guest.read_u8().await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }
}
