//! Bluesky documents: start, descriptor, an event for every row, stop; JSON, as a proxy hands them on.

use bytes::Bytes;
use chrono::TimeDelta;

use super::{Measured, Said, Tongue};
use crate::scan::ScanPlan;
use crate::source::bluesky::encode;

#[derive(Debug, Default)]
pub(super) struct Bluesky;

fn document(name: &str, body: &serde_json::Value) -> Vec<Bytes> {
    vec![Bytes::from(encode::message(name, body.to_string().as_bytes()))]
}

impl Tongue for Bluesky {
    fn start(&mut self, plan: &ScanPlan) -> Said {
        vec![document("start", &encode::start(plan)), document("descriptor", &encode::descriptor(plan))]
    }

    fn line(&mut self, plan: &ScanPlan, energy: usize, row: usize, measured: &Measured) -> Said {
        let values = &measured.values[..];
        let lines = energy * plan.grid.ny() + row + 1;
        let line_ms = plan.dwell_ms[energy] * plan.grid.nx() as f64;
        let time = plan.started + TimeDelta::microseconds((lines as f64 * line_ms * 1e3) as i64);
        let event = encode::event(plan, energy, row, values, time);
        vec![vec![Bytes::from(encode::message("event", &event))]]
    }

    fn end(&mut self, plan: &ScanPlan, aborted: bool) -> Said {
        vec![document("stop", &encode::stop(plan, if aborted { "abort" } else { "success" }))]
    }
}
