//! Sending sockets: PUSH and PUB, binding and connecting, over real TCP.

use std::sync::LazyLock;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::runtime::{Builder, Runtime};
use zeromq::{
    PubSocket, PullSocket, PushSocket, RepSocket, Socket, SocketRecv, SocketSend, ZmqError, ZmqMessage,
};

use crate::rig::{PATIENCE, Rig, until};
use crate::script::Message;

static RUNTIME: LazyLock<Runtime> =
    LazyLock::new(|| Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap());

enum Wire {
    Push(PushSocket),
    Pub(PubSocket),
    /// PUB without a topic of ours.
    AsIs(PubSocket),
}

/// A sender.
pub struct Feed {
    wire: Option<Wire>,
}

impl Drop for Feed {
    fn drop(&mut self) {
        // Some sockets want a runtime when they go, too.
        let _inside = RUNTIME.enter();
        drop(self.wire.take());
    }
}

impl Feed {
    /// PUSH that connects.
    pub fn push(address: &str) -> Self {
        Self { wire: Some(Wire::Push(connected(address))) }
    }

    /// PUB that connects.
    pub fn publish(address: &str) -> Self {
        Self { wire: Some(Wire::Pub(connected(address))) }
    }

    /// PUSH that binds; also returns where.
    pub fn push_at(address: &str) -> (Self, String) {
        let (socket, address) = bound(address);
        (Self { wire: Some(Wire::Push(socket)) }, address)
    }

    /// As [`Feed::push_at`]; `None` while the address is taken.
    pub fn try_push_at(address: &str) -> Option<Self> {
        let _inside = RUNTIME.enter();
        let mut socket = PushSocket::new();
        RUNTIME.block_on(socket.bind(address)).ok()?;
        Some(Self { wire: Some(Wire::Push(socket)) })
    }

    /// PUB that binds; also returns where.
    pub fn publish_at(address: &str) -> (Self, String) {
        let (socket, address) = bound(address);
        (Self { wire: Some(Wire::Pub(socket)) }, address)
    }

    /// PUB that binds and sends messages as they are; also returns where.
    #[allow(dead_code, reason = "not every test program needs it")]
    pub fn as_is_at(address: &str) -> (Self, String) {
        let (socket, address) = bound(address);
        (Self { wire: Some(Wire::AsIs(socket)) }, address)
    }

    /// Sends a message that says nothing until one of them has come: what is sent before a subscription is lost.
    #[allow(dead_code, reason = "not every test program needs it")]
    pub fn greet(&mut self, rig: &Rig, message: &Message) {
        until("a subscription", || {
            self.send(message);
            (rig.metric("phasewatch_messages_received_total", &[]) > 0.0).then_some(())
        });
    }

    /// Sends one message. PUSH waits for a receiver; PUB puts the topic before it.
    pub fn send(&mut self, message: &Message) {
        let parts = message.parts.clone();
        match self.wire.as_mut().unwrap() {
            Wire::AsIs(socket) => {
                RUNTIME.block_on(socket.send(ZmqMessage::try_from(parts).unwrap())).unwrap()
            }
            Wire::Pub(socket) => {
                let parts = [vec![Bytes::from_static(b"stxm")], parts].concat();
                RUNTIME.block_on(socket.send(ZmqMessage::try_from(parts).unwrap())).unwrap();
            }
            Wire::Push(socket) => RUNTIME.block_on(async {
                let deadline = Instant::now() + PATIENCE;
                let mut message = ZmqMessage::try_from(parts).unwrap();
                while let Err(error) = socket.send(message).await {
                    assert!(Instant::now() < deadline, "nobody to send to: {error}");
                    let ZmqError::ReturnToSender { message: back, .. } = error else { panic!("{error}") };
                    message = back;
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
            }),
        }
    }

    /// Sends messages in order.
    pub fn send_all<'a>(&mut self, messages: impl IntoIterator<Item = &'a Message>) {
        for message in messages {
            self.send(message);
        }
    }
}

/// A receiver of what is pushed.
pub struct Pull {
    socket: Option<PullSocket>,
}

impl Drop for Pull {
    fn drop(&mut self) {
        let _inside = RUNTIME.enter();
        drop(self.socket.take());
    }
}

impl Pull {
    /// PULL that connects.
    pub fn connect(address: &str) -> Self {
        Self { socket: Some(connected(address)) }
    }

    /// The next message.
    pub fn message(&mut self) -> Vec<Bytes> {
        let next = self.socket.as_mut().unwrap().recv();
        let next = RUNTIME.block_on(async { tokio::time::timeout(PATIENCE, next).await });
        next.expect("a message").unwrap().into_vec()
    }
}

/// A REP socket: where messages can be asked for again.
pub struct Desk {
    socket: RepSocket,
}

impl Desk {
    /// Binds; also returns where.
    pub fn bind() -> (Self, String) {
        let (socket, address) = bound("tcp://127.0.0.1:0");
        (Self { socket }, address)
    }

    /// The next request.
    pub fn request(&mut self) -> Bytes {
        let parts = RUNTIME.block_on(self.socket.recv()).unwrap().into_vec();
        assert_eq!(parts.len(), 1, "{parts:?}");
        parts.into_iter().next().unwrap()
    }

    /// Answers the last request.
    pub fn answer(&mut self, answer: impl Into<Bytes>) {
        // Who asked may have gone.
        drop(RUNTIME.block_on(self.socket.send(ZmqMessage::from(answer.into()))));
    }
}

fn connected<S: Socket>(address: &str) -> S {
    // Some sockets want a runtime when they are made.
    let _inside = RUNTIME.enter();
    let mut socket = S::new();
    RUNTIME.block_on(socket.connect(address)).unwrap();
    socket
}

fn bound<S: Socket>(address: &str) -> (S, String) {
    let _inside = RUNTIME.enter();
    let mut socket = S::new();
    let endpoint = RUNTIME.block_on(socket.bind(address)).unwrap();
    (socket, endpoint.to_string())
}
