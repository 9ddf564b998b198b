//! The real `phasewatch run` and `phasewatch simulate`, over and over: killed at random moments, and for many scans in a row.
//!
//! `cargo test` does a few of each. By hand as many as wanted, with a report of what was seen on standard output:
//! `scripts/kills.sh 200` and `scripts/soak.sh 500`.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    unreachable_pub,
    missing_docs,
    reason = "these are tests"
)]

mod daemon;
mod judge;
mod kills;
mod moment;
mod sender;
mod soak;

use std::fmt::Display;
use std::str::FromStr;

/// A number from the environment, or what stands in for it.
pub fn number<T: FromStr<Err: Display>>(variable: &str, otherwise: T) -> T {
    let Ok(text) = std::env::var(variable) else { return otherwise };
    text.parse().unwrap_or_else(|error| panic!("{variable}={text}: {error}"))
}
