//! Documents as a run engine sends them, JSON as Python writes it: for the simulator, and for tests.

use std::fmt::Write as _;

use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use crate::scan::{Axis, ScanPlan};

/// What stands before every document.
pub const PREFIX: &str = "stxm";
/// Name of the detector.
pub const DATA_FIELD: &str = "counter";

/// A message of this document.
#[must_use]
pub fn message(name: &str, document: &[u8]) -> Vec<u8> {
    [PREFIX.as_bytes(), b" ", name.as_bytes(), b" ", document].concat()
}

/// The start document.
#[must_use]
pub fn start(plan: &ScanPlan) -> Value {
    let [ny, nx] = plan.grid.shape;
    let ends = |axis: Axis, points: usize| [axis.start, axis.centre(points.saturating_sub(1))];
    json!({
        "uid": plan.scan_id,
        "time": seconds(plan.started),
        "scan_id": 1,
        "plan_name": "stxm_energy_stack",
        "sample_name": plan.sample,
        "stxm": {
            "contract_version": 1,
            "shape": [plan.energies_ev.len(), ny, nx],
            "energies": plan.energies_ev,
            "dwell_ms": plan.dwell_ms.first(),
            "x_extent": ends(plan.grid.x, nx),
            "y_extent": ends(plan.grid.y, ny),
            "x_motor": "sample_x",
            "y_motor": "sample_y",
            "energy_motor": "energy",
            "data_field": DATA_FIELD,
            // Of ours: nothing simulated shall pass for real.
            "simulated": plan.simulated,
        },
    })
}

/// The descriptor of its events.
#[must_use]
pub fn descriptor(plan: &ScanPlan) -> Value {
    json!({ "uid": format!("{}-primary", plan.scan_id), "run_start": plan.scan_id, "name": "primary", "data_keys": {} })
}

/// The event of a row, with bare NaN where nothing was measured.
#[must_use]
pub fn event(plan: &ScanPlan, energy: usize, row: usize, values: &[f32], time: DateTime<Utc>) -> Vec<u8> {
    let mut list = String::from("[");
    for (index, value) in values.iter().enumerate() {
        let comma = if index > 0 { ", " } else { "" };
        // A text takes whatever is written.
        _ = if value.is_nan() { write!(list, "{comma}NaN") } else { write!(list, "{comma}{value}") };
    }
    let seq_num = energy * plan.grid.ny() + row + 1;
    format!(
        "{{\"uid\": \"{0}-{seq_num}\", \"descriptor\": \"{0}-primary\", \"seq_num\": {seq_num}, \"time\": {1}, \
         \"data\": {{\"{DATA_FIELD}\": {list}], \"energy\": {2}}}, \"timestamps\": {{}}}}",
        plan.scan_id,
        seconds(time),
        plan.energies_ev[energy],
    )
    .into_bytes()
}

/// The stop document.
#[must_use]
pub fn stop(plan: &ScanPlan, exit_status: &str) -> Value {
    json!({ "uid": format!("{}-stop", plan.scan_id), "run_start": plan.scan_id, "exit_status": exit_status })
}

fn seconds(time: DateTime<Utc>) -> f64 {
    time.timestamp_micros() as f64 * 1e-6
}
