//! The operator's screen in a browser: the real program, real sockets, and Debian's chromium without a window, driven with Playwright
//! from Python. What an operator does is in the Python files here, one for each test; what happens at the beamline meanwhile is in
//! the Rust files.
//!
//! Where chromium is not installed the tests skip themselves and say so. The virtual environment is made once, below the target
//! directory; no browser is downloaded.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stderr,
    unreachable_pub,
    dead_code,
    missing_docs,
    reason = "these are tests"
)]

mod alarms;
#[path = "../daemon/feed.rs"]
mod feed;
mod history;
#[path = "../daemon/http.rs"]
mod http;
mod islands;
mod live;
mod looks;
mod lost;
mod modules;
mod operator;
mod particles;
mod report;
#[path = "../daemon/rig.rs"]
mod rig;
#[path = "../daemon/script.rs"]
mod script;
mod types;
#[path = "../python/venv.rs"]
mod venv;
