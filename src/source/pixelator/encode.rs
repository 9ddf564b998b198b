//! Messages as Pixelator sends them: for the simulator, and for tests.

use std::fmt::Write as _;

use bytes::Bytes;
use serde_json::{Value, json};

use crate::scan::{Axis, ScanPlan};

fn message(topic: &'static str, rest: impl IntoIterator<Item = String>) -> Vec<Bytes> {
    std::iter::once(Bytes::from_static(topic.as_bytes())).chain(rest.into_iter().map(Bytes::from)).collect()
}

/// The request of a scan of one inner region: an outer region for each energy.
#[must_use]
pub fn request(plan: &ScanPlan) -> Value {
    let [ny, nx] = plan.grid.shape;
    let inner = |axis: Axis, points: usize, name: &str| {
        let range = axis.step * points.saturating_sub(1) as f64;
        let trajectory = json!({
            "positionerName": name, "center": axis.start + 0.5 * range, "range": range, "step": axis.step,
        });
        json!({ "nPoints": points, "trajectories": [trajectory] })
    };
    let outer = |(energy_ev, dwell_ms): (&f64, &f64)| {
        let trajectory = json!({
            "positionerName": "Energy", "start": energy_ev, "end": energy_ev, "range": 0.0, "step": 0.0,
        });
        json!({ "dwellTime": dwell_ms * 1e-3, "axes": [{ "nPoints": 1, "trajectories": [trajectory] }] })
    };
    json!({
        "scanType": "Sample",
        "spatialType": "Image",
        "lineMode": "Constant Velocity",
        "meander": 0,
        "tiling": 0,
        "yAxisFast": 0,
        "outerRegions": plan.energies_ev.iter().zip(&plan.dwell_ms).map(outer).collect::<Vec<_>>(),
        "innerRegions": [{ "axes": [inner(plan.grid.y, ny, "FineY"), inner(plan.grid.x, nx, "FineX")] }],
        "polarization": { "active": 0, "types": [] },
        // Of ours: nothing simulated shall pass for real.
        "simulated": plan.simulated,
    })
}

/// A scan begins.
#[must_use]
pub fn started(request: &Value) -> Vec<Bytes> {
    message("scanStarted", [request.to_string()])
}

/// Which channels there are.
#[must_use]
pub fn channels(names: &[&str]) -> Vec<Bytes> {
    message("recordedChannels", [json!(names).to_string()])
}

/// Where the scan is.
#[must_use]
pub fn status(status: &str, outer: usize, line: usize, plan: &ScanPlan) -> Vec<Bytes> {
    let (outers, lines) = (plan.energies_ev.len(), plan.grid.ny());
    // With a bare NaN, as the server has them.
    let text = format!(
        "{{\"status\": \"{status}\", \"current\": {{\"polarization\": 0, \"outerRegion\": {outer}, \"innerRegion\": 0, \
         \"line\": {line}, \"point\": 0}}, \"total\": {{\"outerRegion\": {outers}, \"innerRegion\": 1, \"line\": {lines}}}, \
         \"estimatedTime\": NaN}}"
    );
    message("scanStatus", [text])
}

/// A row: `indices` are polarisation, outer region, inner region and channel.
#[must_use]
pub fn line(indices: [usize; 4], start: [usize; 2], shape: [usize; 2], values: &[f32]) -> Vec<Bytes> {
    let integers =
        |numbers: &[usize]| numbers.iter().fold(String::new(), |text, number| text + &format!("{number} "));
    let mut list = String::from("[");
    for (index, value) in values.iter().enumerate() {
        let comma = if index > 0 { ", " } else { "" };
        // A text takes whatever is written.
        _ = if value.is_nan() { write!(list, "{comma}nan") } else { write!(list, "{comma}{value}") };
    }
    list.push(']');
    message("scanLineData", [integers(&indices), integers(&start), integers(&shape), list])
}

/// A scan is over.
#[must_use]
pub fn finished(plan: &ScanPlan) -> Vec<Bytes> {
    message("scanFinished", [json!({ "filename": format!("{}.hdf5", plan.scan_id), "flag": 0 }).to_string()])
}

/// A scan was given up.
#[must_use]
pub fn aborted() -> Vec<Bytes> {
    message("scanAborted", [String::from("{}")])
}
