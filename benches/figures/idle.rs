//! What the daemon takes while nothing happens: a sender is connected and says nothing.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use zeromq::{PushSocket, Socket};

use crate::process::Process;

/// What is open meanwhile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Page {
    None,
    /// The page: it listens to the news.
    Open,
    /// Its view of the system, which asks every three seconds, too.
    System,
}

/// What was taken over a span of time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Idle {
    /// Share of one core.
    pub(crate) cores: f64,
    /// At its end.
    pub(crate) resident_mb: f64,
}

/// Measures for `span`, after some seconds in which it gets to rest. `more`: lines of configuration.
pub(crate) fn measure(more: &str, page: Page, span: Duration) -> Idle {
    let process = Process::start(more);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let _push = runtime.block_on(async {
        let mut push = PushSocket::new();
        push.connect(&format!("tcp://127.0.0.1:{}", process.source)).await.unwrap();
        push
    });
    let done = Arc::new(AtomicBool::new(false));
    let mut readers = Vec::new();
    if page != Page::None {
        get(process.http, "/");
        let (mut news, done) = (ask(process.http, "/api/v1/events"), Arc::clone(&done));
        news.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
        readers.push(std::thread::spawn(move || {
            while !done.load(Ordering::Relaxed) {
                drop(news.read(&mut [0; 4096]));
            }
        }));
    }
    if page == Page::System {
        let (http, done) = (process.http, Arc::clone(&done));
        readers.push(std::thread::spawn(move || {
            while !done.load(Ordering::Relaxed) {
                get(http, "/api/v1/system");
                std::thread::park_timeout(Duration::from_secs(3));
            }
        }));
    }
    // The sockets are open before a model is loaded.
    while !is_ready(process.http) {
        std::thread::park_timeout(Duration::from_millis(100));
    }
    std::thread::park_timeout(Duration::from_secs(5));
    let (start, before) = (Instant::now(), process.cpu());
    while let Some(left) = span.checked_sub(start.elapsed()).filter(|left| !left.is_zero()) {
        std::thread::park_timeout(left);
    }
    let taken = process.cpu() - before;
    let idle =
        Idle { cores: taken.div_duration_f64(start.elapsed()), resident_mb: process.resident().now_mb };
    done.store(true, Ordering::Relaxed);
    readers.into_iter().for_each(|reader| reader.join().unwrap());
    idle
}

fn ask(port: u16, path: &str) -> TcpStream {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    stream
}

fn is_ready(port: u16) -> bool {
    let mut answer = Vec::new();
    ask(port, "/readyz").read_to_end(&mut answer).unwrap();
    answer.starts_with(b"HTTP/1.1 200")
}

fn get(port: u16, path: &str) {
    let mut answer = Vec::new();
    ask(port, path).read_to_end(&mut answer).unwrap();
    assert!(answer.starts_with(b"HTTP/1.1 200"), "{path}");
}
