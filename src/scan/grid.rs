//! The spatial grid of a scan.

use serde::{Deserialize, Serialize};

/// One spatial axis: the centre of pixel `i` is at `start + i * step`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Axis {
    /// Centre of the first pixel, in the grid's unit.
    pub start: f64,
    /// Distance from one pixel to the next; may be negative, never zero.
    pub step: f64,
}

impl Axis {
    /// The even axis through the first and the last of these centres; its step is 1 where there is only one.
    #[must_use]
    pub fn through(centres: &[f64]) -> Self {
        let start = centres.first().copied().unwrap_or_default();
        let last = centres.last().copied().unwrap_or_default();
        let step = if centres.len() > 1 { (last - start) / (centres.len() - 1) as f64 } else { 1.0 };
        Self { start, step }
    }

    /// Centre of pixel `index`, in the grid's unit.
    #[must_use]
    pub fn centre(&self, index: usize) -> f64 {
        self.start + self.step * index as f64
    }
}

/// A rectangular grid of `ny` rows by `nx` columns.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Grid {
    /// Number of rows and of columns, `[ny, nx]`.
    pub shape: [usize; 2],
    /// The column axis.
    pub x: Axis,
    /// The row axis.
    pub y: Axis,
    /// Unit of both axes, `um` unless the sender says otherwise.
    #[serde(default = "micrometre")]
    pub unit: String,
}

fn micrometre() -> String {
    "um".to_owned()
}

impl Grid {
    /// Number of rows.
    #[must_use]
    pub fn ny(&self) -> usize {
        self.shape[0]
    }

    /// Number of columns.
    #[must_use]
    pub fn nx(&self) -> usize {
        self.shape[1]
    }

    /// Number of pixels.
    #[must_use]
    pub fn pixels(&self) -> usize {
        self.shape[0] * self.shape[1]
    }
}
