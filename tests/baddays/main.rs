//! Bad days, through the real program: full disks, archives that cannot be written or do not answer, clocks that jump, damaged
//! files, stops at every moment, floods, and those who do not read. What is promised for each is in `docs/bad-days.md`.
//!
//! Some of these days take a mount, which takes root, or a package: where that is not to be had they are skipped, and say so.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stderr,
    unreachable_pub,
    dead_code,
    missing_docs,
    reason = "these are tests"
)]

mod clock;
mod damage;
mod disk_full;
#[path = "../daemon/feed.rs"]
mod feed;
mod flood;
#[path = "../daemon/http.rs"]
mod http;
mod look;
#[path = "../daemon/raw.rs"]
mod raw;
mod read_only;
#[path = "../daemon/rig.rs"]
mod rig;
#[path = "../daemon/script.rs"]
mod script;
mod stalled;
mod stop;
#[path = "../daemon/table.rs"]
mod table;
mod yard;
