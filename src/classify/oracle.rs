//! The GMVAE as a [`PosteriorModel`]: measured spectra onto its axis, fixed batches through its engine.

use std::time::Instant;

use rayon::prelude::*;

use super::PosteriorModel;
use crate::model::{Batch, Model, Projection};
use crate::telemetry::names;

/// A loaded model with what it needs from call to call.
#[derive(Debug)]
pub struct Oracle {
    /// At least one; each runs on a thread of its own.
    lanes: Vec<Lane>,
    rows: usize,
    /// The last projection, and the energies it is for: they stay the same for a whole scan.
    projection: Option<(Vec<f64>, Projection)>,
}

/// One copy of the model.
#[derive(Debug)]
struct Lane {
    model: Model,
    batch: Batch,
    asked: Vec<usize>,
}

impl Lane {
    fn new(model: Model, rows: usize) -> Self {
        let batch = Batch::with_capacity(&model.metadata().axis, rows);
        Self { model, batch, asked: Vec::with_capacity(rows) }
    }

    /// The posteriors of one batch of pixels, given their rows of `energies` values.
    fn run(
        &mut self,
        projection: &Projection,
        energies: usize,
        values: [&[f32]; 2],
        posteriors: &mut [f32],
    ) -> Result<(), String> {
        let [od, sigma] = values;
        self.batch.clear();
        self.asked.clear();
        for (pixel, (od, sigma)) in od.chunks_exact(energies).zip(sigma.chunks_exact(energies)).enumerate() {
            if self.batch.push(projection, od, sigma) {
                self.asked.push(pixel);
            }
        }
        let started = Instant::now();
        let output = self.model.run(&self.batch).map_err(|error| error.to_string())?;
        metrics::histogram!(names::INFERENCE_SECONDS).record(started.elapsed().as_secs_f64());
        metrics::counter!(names::INFERENCE_PIXELS).increment(self.asked.len() as u64);
        let clusters = self.model.metadata().clusters.len();
        for (row, &pixel) in self.asked.iter().enumerate() {
            posteriors[pixel * clusters..(pixel + 1) * clusters].copy_from_slice(output.posterior_of(row));
        }
        Ok(())
    }
}

impl Oracle {
    /// Wraps a model; `rows` pixels go through the engine at a time.
    #[must_use]
    pub fn new(model: Model, rows: usize) -> Self {
        let rows = rows.max(1);
        Self { lanes: vec![Lane::new(model, rows)], rows, projection: None }
    }

    /// Adds another copy of the same model, so that one more thread can be used. The batches stay the same, and so do
    /// the posteriors.
    #[must_use]
    pub fn with_copy(mut self, model: Model) -> Self {
        self.lanes.push(Lane::new(model, self.rows));
        self
    }

    /// The model.
    #[must_use]
    pub fn model(&self) -> &Model {
        &self.lanes[0].model
    }

    fn project(&mut self, energies_ev: &[f64]) -> Result<Projection, String> {
        if let Some((energies, projection)) = &self.projection
            && energies == energies_ev
        {
            return Ok(projection.clone());
        }
        let projection =
            Projection::new(&self.model().metadata().axis, energies_ev).map_err(|error| error.to_string())?;
        self.projection = Some((energies_ev.to_vec(), projection.clone()));
        Ok(projection)
    }
}

impl PosteriorModel for Oracle {
    fn clusters(&self) -> &[String] {
        &self.model().metadata().clusters
    }

    fn sha256(&self) -> &str {
        self.model().sha256()
    }

    fn earns_place(&self, energies: usize, counts: f64) -> Option<bool> {
        self.model().metadata().earns_place(energies, counts)
    }

    fn posteriors(&mut self, energies_ev: &[f64], od: &[f32], sigma: &[f32]) -> Result<Vec<f32>, String> {
        let projection = self.project(energies_ev)?;
        let (energies, clusters) = (energies_ev.len(), self.clusters().len());
        let pixels = od.len() / energies.max(1);
        let mut posteriors = vec![f32::NAN; pixels * clusters];
        let mut work: Vec<Vec<_>> = self.lanes.iter().map(|_| Vec::new()).collect();
        let cells = (self.rows * energies).max(1);
        let parts = od.chunks(cells).zip(sigma.chunks(cells));
        let lanes = work.len();
        for (index, part) in parts.zip(posteriors.chunks_mut((self.rows * clusters).max(1))).enumerate() {
            work[index % lanes].push(part);
        }
        self.lanes.par_iter_mut().zip(work).try_for_each(|(lane, work)| {
            work.into_iter().try_for_each(|((od, sigma), posteriors)| {
                lane.run(&projection, energies.max(1), [od, sigma], posteriors)
            })
        })?;
        Ok(posteriors)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::BackendChoice;
    use crate::simulate::nvpf;

    const PIXELS: usize = 23;

    fn model() -> Model {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/config/models/nvpf.onnx");
        Model::open(path.as_ref(), &BackendChoice::tract(), Some(&nvpf::reference_set().sha256)).unwrap()
    }

    /// Pixels of one phase each, with a little of the next; one has too few values.
    fn spectra() -> (Vec<f64>, Vec<f32>, Vec<f32>) {
        let set = nvpf::reference_set();
        let energies_ev: Vec<f64> = (0..40).map(|i| 509.0 + 0.6 * f64::from(i)).collect();
        let od = |pixel: usize, energy_ev: f64| {
            let at = set.od_at(energy_ev).unwrap();
            let (one, next) = (at[pixel % set.len()], at[(pixel + 1) % set.len()]);
            if pixel == 7 && energy_ev > 510.0 { f32::NAN } else { (one + 0.05 * pixel as f64 * next) as f32 }
        };
        let od: Vec<f32> = (0..PIXELS)
            .flat_map(|pixel| energies_ev.iter().map(move |&e| (pixel, e)))
            .map(|(p, e)| od(p, e))
            .collect();
        let sigma = od.iter().map(|od| if od.is_nan() { f32::NAN } else { 0.03 }).collect();
        (energies_ev, od, sigma)
    }

    #[test]
    fn copies_of_a_model_say_what_one_says() {
        let (energies_ev, od, sigma) = spectra();
        // Batches of five: the last one is not full, and two copies do not share them evenly.
        let alone = Oracle::new(model(), 5).posteriors(&energies_ev, &od, &sigma).unwrap();
        let clusters = alone.len() / PIXELS;
        let mut shared = Oracle::new(model(), 5).with_copy(model());
        assert_eq!(shared.lanes.len(), 2);
        for _ in 0..2 {
            let said = shared.posteriors(&energies_ev, &od, &sigma).unwrap();
            let bits = |list: &[f32]| list.iter().map(|p| p.to_bits()).collect::<Vec<_>>();
            assert_eq!(bits(&said), bits(&alone));
        }
        for (pixel, posterior) in alone.chunks_exact(clusters).enumerate() {
            let sum: f32 = posterior.iter().sum();
            assert!(
                if pixel == 7 { sum.is_nan() } else { (sum - 1.0).abs() < 1e-3 },
                "{pixel}: {posterior:?}"
            );
        }
    }
}
