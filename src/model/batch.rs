//! A batch of pixels as a model wants them: projected, standardised, row after row.

use super::axis::ModelAxis;
use super::projection::{Projection, Scratch};

/// With fewer observed channels than this the model is not asked.
pub const MIN_CHANNELS: usize = 3;

/// What is added to the standard deviation before dividing by it.
pub const STD_FLOOR: f64 = 1e-6;

/// Rows of spectrum, mask and noise, `[batch, channels]` each, row-major.
///
/// Memory is taken when rows are first added and kept over [`Batch::clear`]: filling a batch again does not allocate.
#[derive(Clone, Debug)]
pub struct Batch {
    channels: usize,
    rows: usize,
    spectrum: Vec<f32>,
    mask: Vec<f32>,
    sigma: Vec<f32>,
    scratch: Scratch,
}

impl Batch {
    /// An empty batch for models on `axis`, with room for `capacity` rows.
    #[must_use]
    pub fn with_capacity(axis: &ModelAxis, capacity: usize) -> Self {
        let room = || Vec::with_capacity(capacity.saturating_mul(axis.channels()));
        Self {
            channels: axis.channels(),
            rows: 0,
            spectrum: room(),
            mask: room(),
            sigma: room(),
            scratch: Scratch::default(),
        }
    }

    /// Adds a pixel: its OD and the noise of its OD at each of the projection's energies, in the order the projection was
    /// made with; NaN where not measured. Returns false, and adds nothing, where fewer than [`MIN_CHANNELS`] channels are
    /// observed or the projection is onto an axis of another length.
    pub fn push(&mut self, projection: &Projection, od: &[f32], sigma: &[f32]) -> bool {
        if projection.axis().channels() != self.channels {
            return false;
        }
        let start = self.rows * self.channels;
        let end = start + self.channels;
        for column in [&mut self.spectrum, &mut self.mask, &mut self.sigma] {
            column.resize(end, 0.0);
        }
        let row = (&mut self.spectrum[start..], &mut self.mask[start..], &mut self.sigma[start..]);
        let observed = projection.project(od, sigma, &mut self.scratch, row);
        if observed < MIN_CHANNELS {
            for column in [&mut self.spectrum, &mut self.mask, &mut self.sigma] {
                column.truncate(start);
            }
            return false;
        }
        standardise(
            &mut self.spectrum[start..],
            &self.mask[start..],
            &mut self.sigma[start..],
            observed as f64,
        );
        self.rows += 1;
        true
    }

    /// Takes all rows out.
    pub fn clear(&mut self) {
        self.rows = 0;
        self.spectrum.clear();
        self.mask.clear();
        self.sigma.clear();
    }

    /// Number of rows.
    #[must_use]
    pub fn len(&self) -> usize {
        self.rows
    }

    /// Whether there are no rows.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rows == 0
    }

    /// Number of channels of a row.
    #[must_use]
    pub fn channels(&self) -> usize {
        self.channels
    }

    /// Standardised OD, 0 where not observed.
    #[must_use]
    pub fn spectrum(&self) -> &[f32] {
        &self.spectrum
    }

    /// 1 where observed, else 0.
    #[must_use]
    pub fn mask(&self) -> &[f32] {
        &self.mask
    }

    /// Noise in units of the standardised OD, 0 where not observed.
    #[must_use]
    pub fn sigma(&self) -> &[f32] {
        &self.sigma
    }
}

/// Brings the observed channels of a row to mean 0 and variance 1 (population), and the noise to the same unit.
fn standardise(values: &mut [f32], mask: &[f32], sigma: &mut [f32], n: f64) {
    let observed = |values: &[f32], f: &dyn Fn(f64) -> f64| -> f64 {
        values.iter().zip(mask).filter(|(_, m)| **m > 0.0).map(|(v, _)| f(f64::from(*v))).sum::<f64>() / n
    };
    let mean = observed(values, &|v| v);
    let std = observed(values, &|v| (v - mean) * (v - mean)).sqrt() + STD_FLOOR;
    for ((value, noise), m) in values.iter_mut().zip(sigma).zip(mask) {
        if *m > 0.0 {
            *value = ((f64::from(*value) - mean) / std) as f32;
            *noise = (f64::from(*noise) / std) as f32;
        }
    }
}
