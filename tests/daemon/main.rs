//! The real program and real sockets: what a daemon does with good scans, odd ones, bad ones and broken ones.

#![allow(clippy::unwrap_used, clippy::expect_used, unreachable_pub, missing_docs, reason = "these are tests")]

mod alerts;
mod area;
mod commands;
mod completions;
mod crash;
mod detectors;
mod dose;
mod feed;
mod formats;
mod http;
mod lifecycle;
mod limits;
mod listener;
mod models;
mod numbers;
mod oddities;
mod order;
mod places;
mod planned;
mod raw;
mod receiver;
mod refusals;
mod released;
mod report;
mod resend;
mod restart;
mod rig;
mod screen;
mod script;
mod supervised;
mod table;
mod tools;
mod unit;
mod wire;
