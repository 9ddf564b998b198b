//! The vocabulary every stage speaks: what a scan is planned to be, and what happens while it runs.
//!
//! Nothing here touches a socket, a clock or a file, and nothing here imports another module of this crate.
//! Pixels are row-major: pixel `p` of a grid with `nx` columns is row `p / nx`, column `p % nx`; row 0 is
//! `grid.y.start`. Energies are addressed by their index in the plan, never by their value, because the same
//! energy may be visited again.

mod coverage;
mod event;
mod grid;
mod nearest;
mod plan;

pub use coverage::PixelSet;
pub use event::{
    BadPixels, Channel, DType, Encoding, FrameBatch, I0, Outcome, Pixels, Remark, SampleBatch, ScanEvent,
    ScanUpdate,
};
pub use grid::{Axis, Grid};
pub use nearest::nearest;
pub use plan::{
    Detector, DetectorKind, I0Kind, PlanError, Polarization, PolarizationKind, ScanKind, ScanPlan, Signal,
    ValueUnit, is_valid_id,
};

/// Most energies one scan may have.
pub const MAX_ENERGIES: usize = 4096;
/// Most pixels along one axis.
pub const MAX_AXIS: usize = 16384;

/// A simulated stack for tests: counts over a dark level of 1, 1 ms a pixel, 1 eV from energy to energy from 510 eV on.
#[cfg(test)]
pub(crate) fn test_plan(ny: usize, nx: usize, energies: usize) -> ScanPlan {
    let axis = Axis { start: 0.0, step: 0.1 };
    let grid = Grid { shape: [ny, nx], x: axis, y: axis, unit: "um".into() };
    let energies_ev = (0..energies).map(|e| 510.0 + e as f64).collect();
    ScanPlan {
        detector: Detector { dark: 1.0, ..Detector::default() },
        beamline: "test".into(),
        simulated: true,
        ..ScanPlan::of_stack("s1".into(), grid, energies_ev, 1.0)
    }
}
