//! The two messages, for the emulator and tests.

use bytes::Bytes;
use serde_json::json;

use crate::scan::ScanPlan;

/// What an image is.
#[must_use]
pub fn metadata(plan: &ScanPlan, energy: usize) -> Vec<Bytes> {
    let [ny, nx] = plan.grid.shape;
    let last = |axis: crate::scan::Axis, points: usize| axis.start + axis.step * (points.max(1) - 1) as f64;
    let (x, y) = (plan.grid.x, plan.grid.y);
    let body = json!({
        "x_start": x.start,
        "x_stop": last(x, nx),
        "x_num": nx,
        "y_start": y.start,
        "y_stop": last(y, ny),
        "y_num": ny,
        "exposure_time_s": plan.dwell_ms.get(energy).copied().unwrap_or(1.0) * 1e-3,
        "detector_shape": plan.detector.frame_shape.unwrap_or([1, 1]),
        "simulated": plan.simulated,
    });
    vec![Bytes::from(body.to_string())]
}

/// A frame of 16-bit counts, row by row.
#[must_use]
pub fn frame(shape: [usize; 2], counts: &[u16]) -> Vec<Bytes> {
    let head = json!({ "dtype": "uint16", "shape": shape });
    let bytes: Vec<u8> = counts.iter().flat_map(|count| count.to_le_bytes()).collect();
    vec![Bytes::from(head.to_string()), Bytes::from(bytes)]
}
