//! Mean spectra of the phases of a map: for each phase and energy, mean and deviation over its classified pixels.

use rayon::prelude::*;

use super::{DensityView, PhaseMap, Status};

/// Sums over the pixels of each phase at each energy.
#[derive(Clone, Debug)]
pub struct PhaseSpectra {
    phases: usize,
    /// `[energy * phases + phase]`: number of values, their sum and that of their squares.
    sums: Vec<(u32, f64, f64)>,
}

impl PhaseSpectra {
    /// Gathers the spectra of the classified pixels of `map`.
    #[must_use]
    pub fn new(view: &DensityView<'_>, map: &PhaseMap) -> Self {
        let phases = map.phases.len();
        let pixels: Vec<usize> =
            (0..map.len()).filter(|&pixel| map.status[pixel] == Status::Classified).collect();
        let mut sums = vec![(0, 0.0, 0.0); view.energies() * phases];
        sums.par_chunks_exact_mut(phases.max(1)).enumerate().for_each(|(energy, sums)| {
            view.visit(energy, &pixels, |pixel, od| {
                let (count, sum, squares) = &mut sums[map.phase[pixel] as usize];
                *count += 1;
                *sum += f64::from(od);
                *squares += f64::from(od) * f64::from(od);
            });
        });
        Self { phases, sums }
    }

    /// Number of values, mean and standard deviation of a phase at an energy; NaN where there are too few.
    #[must_use]
    pub fn get(&self, phase: usize, energy: usize) -> (u32, f32, f32) {
        let (count, sum, squares) = self.sums[energy * self.phases + phase];
        let n = f64::from(count);
        let variance = (squares - sum * sum / n) / (n - 1.0);
        let deviation = if count > 1 { variance.max(0.0).sqrt() } else { f64::NAN };
        (count, (sum / n) as f32, deviation as f32)
    }
}
