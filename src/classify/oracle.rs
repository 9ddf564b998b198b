//! The GMVAE as a [`PosteriorModel`]: measured spectra onto its axis, fixed batches through its engine.

use super::PosteriorModel;
use crate::model::{Batch, Model, Projection};

/// A loaded model with what it needs from call to call.
#[derive(Debug)]
pub struct Oracle {
    model: Model,
    batch: Batch,
    rows: usize,
    /// The last projection, and the energies it is for: they stay the same for a whole scan.
    projection: Option<(Vec<f64>, Projection)>,
}

impl Oracle {
    /// Wraps a model; `rows` pixels go through the engine at a time.
    #[must_use]
    pub fn new(model: Model, rows: usize) -> Self {
        let rows = rows.max(1);
        let batch = Batch::with_capacity(&model.metadata().axis, rows);
        Self { model, batch, rows, projection: None }
    }

    /// The model.
    #[must_use]
    pub fn model(&self) -> &Model {
        &self.model
    }

    fn project(&mut self, energies_ev: &[f64]) -> Result<Projection, String> {
        if let Some((energies, projection)) = &self.projection
            && energies == energies_ev
        {
            return Ok(projection.clone());
        }
        let projection =
            Projection::new(&self.model.metadata().axis, energies_ev).map_err(|error| error.to_string())?;
        self.projection = Some((energies_ev.to_vec(), projection.clone()));
        Ok(projection)
    }
}

impl PosteriorModel for Oracle {
    fn clusters(&self) -> &[String] {
        &self.model.metadata().clusters
    }

    fn sha256(&self) -> &str {
        self.model.sha256()
    }

    fn posteriors(&mut self, energies_ev: &[f64], od: &[f32], sigma: &[f32]) -> Result<Vec<f32>, String> {
        let projection = self.project(energies_ev)?;
        let (energies, clusters) = (energies_ev.len(), self.clusters().len());
        let pixels = od.len() / energies.max(1);
        let mut posteriors = vec![f32::NAN; pixels * clusters];
        let mut asked = Vec::with_capacity(self.rows);
        for first in (0..pixels).step_by(self.rows) {
            self.batch.clear();
            asked.clear();
            for pixel in first..(first + self.rows).min(pixels) {
                let row = pixel * energies..(pixel + 1) * energies;
                if self.batch.push(&projection, &od[row.clone()], &sigma[row]) {
                    asked.push(pixel);
                }
            }
            let output = self.model.run(&self.batch).map_err(|error| error.to_string())?;
            for (row, &pixel) in asked.iter().enumerate() {
                posteriors[pixel * clusters..(pixel + 1) * clusters]
                    .copy_from_slice(output.posterior_of(row));
            }
        }
        Ok(posteriors)
    }
}
