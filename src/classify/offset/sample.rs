//! The pixels that the offset is estimated from: particles, spread evenly over the map.

use rayon::prelude::*;

use super::*;
use crate::classify::spectrum::Spectrum;

/// Pixels that are looked at.
const CANDIDATES: usize = 4096;
/// Pixels that are used.
const MOST_PIXELS: usize = 1024;

/// Spectra of the pixels, ready for fits.
#[derive(Clone, Debug)]
pub(super) struct Sample {
    energies: usize,
    /// The pixels, ascending.
    pub chosen: Vec<usize>,
    /// Weight 1/variance, 0 where there is no value: `[pixel * energies + energy]`.
    weight: Vec<f64>,
    /// Optical density less the pixel's weighted mean, times the weight.
    weighted_od: Vec<f64>,
}

impl Sample {
    /// The pixels of `view` with an edge, with enough of the energies `used`.
    pub(super) fn new(
        view: &DensityView<'_>,
        targets: &Targets,
        used: &[usize],
        triage: &TriageSettings,
    ) -> Self {
        let particles = particles(view, targets, triage);
        let stride = particles.len() as f64 / particles.len().clamp(1, MOST_PIXELS) as f64;
        let chosen: Vec<usize> =
            (0..particles.len().min(MOST_PIXELS)).map(|i| particles[(i as f64 * stride) as usize]).collect();
        let n = used.len();
        let mut position = vec![usize::MAX; targets.energies_ev.len()];
        for (index, &energy) in used.iter().enumerate() {
            position[energy] = index;
        }
        let mut sample = Self {
            energies: n,
            weight: vec![0.0; chosen.len() * n],
            weighted_od: vec![0.0; chosen.len() * n],
            chosen,
        };
        let rows = sample.weight.par_chunks_mut(n).zip(sample.weighted_od.par_chunks_mut(n));
        rows.zip(&sample.chosen).for_each_init(Spectrum::default, |spectrum, ((weight, od), &pixel)| {
            view.gather(pixel, spectrum);
            load(spectrum, &position, weight, od);
        });
        sample
    }

    /// Every `stride`th pixel.
    pub(super) fn every(&self, stride: usize) -> Self {
        let n = self.energies;
        let rows = |values: &[f64]| -> Vec<f64> {
            values.chunks_exact(n).step_by(stride).flatten().copied().collect()
        };
        Self {
            energies: n,
            chosen: self.chosen.iter().step_by(stride).copied().collect(),
            weight: rows(&self.weight),
            weighted_od: rows(&self.weighted_od),
        }
    }

    /// Number of pixels.
    pub(super) fn pixels(&self) -> usize {
        self.chosen.len()
    }

    /// Index among the energies, weight and weighted value of everything measured of a pixel.
    pub(super) fn values(&self, pixel: usize) -> impl Iterator<Item = (usize, f64, f64)> + '_ {
        let row = pixel * self.energies..(pixel + 1) * self.energies;
        let values = self.weight[row.clone()].iter().zip(&self.weighted_od[row]).enumerate();
        values.filter(|(_, (w, _))| **w > 0.0).map(|(e, (w, wx))| (e, *w, *wx))
    }
}

/// Fills one row.
fn load(spectrum: &Spectrum, position: &[usize], weight: &mut [f64], weighted_od: &mut [f64]) {
    let values = || {
        (0..spectrum.len())
            .filter(|&i| position[spectrum.energies[i]] != usize::MAX)
            .map(|i| (position[spectrum.energies[i]], spectrum.od[i], 1.0 / spectrum.variance[i]))
    };
    let total: f64 = values().map(|(_, _, w)| w).sum();
    let mean = values().map(|(_, od, w)| w * od).sum::<f64>() / total;
    for (at, od, w) in values() {
        weight[at] = w;
        weighted_od[at] = w * (od - mean);
    }
}

/// Particles among pixels spread evenly over the map. The place within each equal part of the map is scattered, so
/// that no column or line of the grid is preferred.
fn particles(view: &DensityView<'_>, targets: &Targets, triage: &TriageSettings) -> Vec<usize> {
    let pixels = view.pixels();
    let candidates = pixels.min(CANDIDATES);
    let keep = |spectrum: &mut Spectrum, slot: usize| {
        let (from, to) = (slot * pixels / candidates, (slot + 1) * pixels / candidates);
        let pixel = from + scatter(slot) % (to - from).max(1);
        let masked = view.gather(pixel, spectrum);
        let edge = spectrum.edge(targets);
        let enough = edge.energies >= triage.min_energies.max(4) && edge.sides[1];
        // Without an energy before the edge there is no jump to go by: then what is flat is empty.
        let empty =
            edge.edge_jump < triage.background_edge_jump || edge.edge_jump.is_nan() && is_flat(spectrum);
        (enough && !empty && usize::from(masked) <= spectrum.len()).then_some(pixel)
    };
    (0..candidates).into_par_iter().map_init(Spectrum::default, keep).flatten_iter().collect()
}

/// Whether noise alone may have made a spectrum out of a constant: chi² within 4 deviations.
fn is_flat(spectrum: &Spectrum) -> bool {
    let (mut weights, mut sum, mut squares) = (0.0, 0.0, 0.0);
    for (od, variance) in spectrum.od.iter().zip(&spectrum.variance) {
        weights += 1.0 / variance;
        sum += od / variance;
        squares += od * od / variance;
    }
    let (chi2, freedom) = (squares - sum * sum / weights, spectrum.len() as f64 - 1.0);
    chi2 < freedom + 4.0 * (2.0 * freedom).sqrt()
}

/// A number that looks random, always the same for the same index (the finaliser of a multiplicative hash).
fn scatter(index: usize) -> usize {
    let mixed = (index as u64).wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    ((mixed ^ (mixed >> 29)) >> 8) as usize
}
