//! The model as who looks at its islands asks it: a copy of its own, opened when somebody first asks, so that no map waits.

use std::sync::{Arc, Mutex, PoisonError};

use crate::model::{Batch, Model, Projection};
use crate::pipeline::shelf::Shelf;
use crate::publish::http::Latents;

/// The islands of the model in use.
#[derive(Debug)]
pub struct Islands {
    shelf: Arc<Shelf>,
    /// The copy, and the digest of the model in use when it was opened.
    copy: Mutex<Option<(String, Model)>>,
}

impl Islands {
    /// Of the model on `shelf`.
    #[must_use]
    pub fn new(shelf: Arc<Shelf>) -> Self {
        Self { shelf, copy: Mutex::new(None) }
    }
}

impl Latents for Islands {
    fn why_not(&self) -> Option<String> {
        let none = || self.shelf.trouble().unwrap_or_else(|| "no model is in use".to_owned());
        self.shelf.in_use().is_none().then(none)
    }

    fn name(&self) -> String {
        self.shelf.name().unwrap_or_default()
    }

    fn version(&self) -> String {
        self.shelf.in_use().map(|sha256| sha256.chars().take(8).collect()).unwrap_or_default()
    }

    fn latent(&self, energies_ev: &[f64], od: &[f32], sigma: &[f32]) -> Result<(usize, Vec<f32>), String> {
        let in_use = self.shelf.in_use().ok_or("no model is in use")?;
        let mut copy = self.copy.lock().unwrap_or_else(PoisonError::into_inner);
        if copy.as_ref().is_none_or(|(sha256, _)| *sha256 != in_use) {
            *copy = Some((in_use, self.shelf.open()?));
        }
        let (_, model) = copy.as_mut().ok_or("no model is in use")?;
        latent(model, self.shelf.rows(), energies_ev, [od, sigma])
    }
}

/// Latent means of all rows, batch by batch.
fn latent(
    model: &mut Model,
    batch_rows: usize,
    energies_ev: &[f64],
    [od, sigma]: [&[f32]; 2],
) -> Result<(usize, Vec<f32>), String> {
    let energies = energies_ev.len().max(1);
    let axis = model.metadata().axis.clone();
    let projection = Projection::new(&axis, energies_ev).map_err(|error| error.to_string())?;
    let dims = model.latent_len();
    let mut latent = vec![f32::NAN; od.len() / energies * dims];
    let mut batch = Batch::with_capacity(&axis, batch_rows);
    let cells = energies * batch_rows;
    for (part, (od, sigma)) in od.chunks(cells).zip(sigma.chunks(cells)).enumerate() {
        batch.clear();
        let mut asked = Vec::new();
        for (row, (od, sigma)) in od.chunks_exact(energies).zip(sigma.chunks_exact(energies)).enumerate() {
            if batch.push(&projection, od, sigma) {
                asked.push(part * batch_rows + row);
            }
        }
        let output = model.run(&batch).map_err(|error| error.to_string())?;
        for (row, &pixel) in asked.iter().enumerate() {
            latent[pixel * dims..(pixel + 1) * dims]
                .copy_from_slice(&output.latent[row * dims..(row + 1) * dims]);
        }
    }
    Ok((dims, latent))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::BackendChoice;
    use crate::simulate::nvpf;

    #[test]
    fn spectra_of_one_phase_lie_together_and_apart_from_another() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/config/models/nvpf.onnx");
        let set = nvpf::reference_set();
        let mut model = Model::open(path.as_ref(), &BackendChoice::tract(), Some(&set.sha256)).unwrap();
        let energies_ev: Vec<f64> = (0..40).map(|i| 509.0 + 0.6 * f64::from(i)).collect();
        let row = |pixel: usize| {
            let phase = if pixel < 6 { 0 } else { set.len() - 1 };
            let scale = 0.6 + 0.1 * (pixel % 6) as f64;
            let of = |energy_ev: &f64| (scale * set.od_at(*energy_ev).unwrap()[phase]) as f32;
            energies_ev.iter().map(of).collect::<Vec<f32>>()
        };
        let mut od: Vec<f32> = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9].into_iter().flat_map(&row).collect();
        // The last one was hardly measured.
        let n = energies_ev.len();
        od[9 * n + 2..].fill(f32::NAN);
        let sigma: Vec<f32> = od.iter().map(|od| if od.is_nan() { f32::NAN } else { 0.02 }).collect();
        let (dims, latent) = latent(&mut model, 4, &energies_ev, [&od, &sigma]).unwrap();
        assert_eq!(latent.len(), 10 * dims);
        assert!(latent[9 * dims..].iter().all(|value| value.is_nan()), "the model says nothing of it");
        let distance = |a: usize, b: usize| -> f32 {
            (0..dims).map(|d| (latent[a * dims + d] - latent[b * dims + d]).powi(2)).sum::<f32>().sqrt()
        };
        assert!(distance(0, 5) < distance(0, 7), "{} {}", distance(0, 5), distance(0, 7));
    }
}
