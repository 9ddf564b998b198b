//! A subscriber of the daemon's output.

use std::sync::LazyLock;
use std::time::Instant;

use serde_json::Value;
use tokio::runtime::{Builder, Runtime};
use zeromq::{Socket as _, SocketRecv as _, SubSocket};

use crate::rig::PATIENCE;

static RUNTIME: LazyLock<Runtime> =
    LazyLock::new(|| Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap());

/// A SUB socket.
pub struct Listener {
    socket: Option<SubSocket>,
}

impl Drop for Listener {
    fn drop(&mut self) {
        let _inside = RUNTIME.enter();
        drop(self.socket.take());
    }
}

impl Listener {
    /// Subscribes to topics that begin with `prefix`.
    pub fn new(address: &str, prefix: &str) -> Self {
        let _inside = RUNTIME.enter();
        let mut socket = SubSocket::new();
        RUNTIME.block_on(socket.connect(address)).unwrap();
        RUNTIME.block_on(socket.subscribe(prefix)).unwrap();
        Self { socket: Some(socket) }
    }

    /// Waits for a header.
    pub fn wait(&mut self, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let receiving = self.socket.as_mut().unwrap().recv();
            let received = RUNTIME.block_on(async { tokio::time::timeout(left, receiving).await });
            let message =
                received.unwrap_or_else(|_| panic!("not published in {PATIENCE:?}: {what}")).unwrap();
            let header: Value = serde_json::from_slice(message.get(1).unwrap()).unwrap();
            if wanted(&header) {
                return header;
            }
        }
    }
}
