//! Somebody who is sent alerts: answers each request as the test says, and keeps what it was sent.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};

use serde_json::Value;

use crate::rig::PATIENCE;

/// What was sent.
#[derive(Clone, Debug)]
pub struct Request {
    /// Where to.
    pub path: String,
    /// Headers, names in lower case.
    pub headers: BTreeMap<String, String>,
    /// The body, JSON.
    pub body: Value,
}

/// The receiver; it answers as long as the test runs.
pub struct Receiver {
    address: SocketAddr,
    seen: Arc<(Mutex<Vec<Request>>, Condvar)>,
}

impl Receiver {
    /// Answers the requests, counted from 0, with the status line and headers that `answer` gives for each.
    pub fn new(answer: impl Fn(usize) -> &'static str + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let seen: Arc<(Mutex<Vec<Request>>, Condvar)> = Arc::default();
        let shared = Arc::clone(&seen);
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let Some(request) = read(&stream) else { continue };
                // Kept before it is answered: who has its answer was seen.
                let number = shared.0.lock().unwrap().len();
                shared.0.lock().unwrap().push(request);
                shared.1.notify_all();
                let head = answer(number);
                drop(write!(&stream, "HTTP/1.1 {head}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"));
            }
        });
        Self { address, seen }
    }

    /// An address of it.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}/{path}", self.address)
    }

    /// What it was sent, once that are so many requests.
    pub fn wait(&self, requests: usize) -> Vec<Request> {
        let (seen, more) = &*self.seen;
        let few = |seen: &mut Vec<Request>| seen.len() < requests;
        let (seen, _) = more.wait_timeout_while(seen.lock().unwrap(), PATIENCE, few).unwrap();
        assert!(seen.len() >= requests, "only {} requests: {:?}", seen.len(), *seen);
        seen.clone()
    }

    /// What it was sent so far.
    pub fn seen(&self) -> Vec<Request> {
        self.seen.0.lock().unwrap().clone()
    }
}

fn read(stream: &TcpStream) -> Option<Request> {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line).ok()?;
    let path = line.split(' ').nth(1)?.to_owned();
    let mut headers = BTreeMap::new();
    loop {
        line.clear();
        reader.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim().split_once(": ") else { break };
        headers.insert(name.to_lowercase(), value.to_owned());
    }
    let mut body = vec![0; headers.get("content-length")?.parse().ok()?];
    reader.read_exact(&mut body).ok()?;
    Some(Request { path, headers, body: serde_json::from_slice(&body).ok()? })
}
