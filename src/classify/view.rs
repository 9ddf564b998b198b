//! A stack as optical densities: the conversions of all its planes, ready to gather any pixel's spectrum.

use std::sync::Arc;

use super::repeats::Repeats;
use super::spectrum::Spectrum;
use crate::absorption::{Conversion, Density, Intensity};
use crate::screening::PlaneFlaws;
use crate::stack::{Plane, Stack};

/// The measured planes of a stack with their conversions.
#[derive(Clone, Debug)]
pub struct DensityView<'a> {
    planes: Vec<(usize, &'a Plane, Conversion)>,
    /// Of the planes that have any.
    flaws: Vec<Arc<PlaneFlaws>>,
    /// Factor on every variance.
    noise_factor: f64,
    repeats: Repeats,
    energies: usize,
    pixels: usize,
}

/// The optical densities of one energy.
#[derive(Clone, Copy, Debug)]
pub struct PlaneDensities<'a> {
    plane: &'a Plane,
    conversion: &'a Conversion,
}

impl PlaneDensities<'_> {
    /// The optical density of `pixel`; NaN where it has none.
    #[must_use]
    #[inline]
    pub fn od(&self, pixel: usize) -> f32 {
        self.conversion.apply(pixel, self.plane.value(pixel), self.plane.i0_at(pixel)).od
    }
}

impl<'a> DensityView<'a> {
    /// The view of `stack` under an intensity.
    #[must_use]
    pub fn new(stack: &'a Stack, intensity: &Intensity, max_od: f64, noise_factor: f64) -> Self {
        let planes = stack
            .planes()
            .iter()
            .enumerate()
            .filter(|(_, plane)| plane.measured() > 0)
            .map(|(e, plane)| (e, &**plane, intensity.conversion(stack.plan(), e, max_od).of_plane(plane)))
            .collect();
        let repeats = Repeats::of(&stack.plan().energies_ev);
        let pixels = stack.plan().grid.pixels();
        let energies = stack.planes().len();
        let flaws = (0..energies).filter_map(|e| intensity.screen().flaws(e).cloned()).collect();
        Self { planes, flaws, noise_factor, repeats, energies, pixels }
    }

    /// Number of energies of the plan.
    #[must_use]
    pub fn energies(&self) -> usize {
        self.energies
    }

    /// Number of pixels of the grid.
    #[must_use]
    pub fn pixels(&self) -> usize {
        self.pixels
    }

    /// At how many energies the value of `pixel` was measured, but says nothing of the sample.
    #[must_use]
    pub fn void(&self, pixel: usize) -> u16 {
        self.flaws.iter().map(|flaws| u16::from(flaws.is_void(pixel))).sum()
    }

    /// Writes the spectrum of `pixel` into `spectrum`, energies in the order of the plan; an energy that was measured
    /// more than once is there once, at its first entry, with the mean. Returns how many values were measured but
    /// are masked.
    pub fn gather(&self, pixel: usize, spectrum: &mut Spectrum) -> u16 {
        spectrum.clear();
        let mut masked = 0;
        for (energy, plane, conversion) in &self.planes {
            let value = plane.value(pixel);
            if value.is_nan() {
                continue;
            }
            let Density { od, variance } = conversion.apply(pixel, value, plane.i0_at(pixel));
            if od.is_nan() {
                masked += 1;
            } else {
                let energy = self.repeats.first_of(*energy);
                spectrum.add(energy, f64::from(od), f64::from(variance) * self.noise_factor);
            }
        }
        masked
    }

    /// The optical densities of all pixels at one energy; `None` where it has no value.
    #[must_use]
    pub fn plane(&self, energy: usize) -> Option<PlaneDensities<'_>> {
        let index = self.planes.binary_search_by_key(&energy, |(energy, _, _)| *energy).ok()?;
        let (_, plane, conversion) = &self.planes[index];
        Some(PlaneDensities { plane, conversion })
    }

    /// Visits the optical densities of `pixels` at one energy, in their order; what has none is left out.
    pub fn visit(&self, energy: usize, pixels: &[usize], mut each: impl FnMut(usize, f32)) {
        let Ok(index) = self.planes.binary_search_by_key(&energy, |(energy, _, _)| *energy) else { return };
        let (_, plane, conversion) = &self.planes[index];
        for &pixel in pixels {
            let od = conversion.apply(pixel, plane.value(pixel), plane.i0_at(pixel)).od;
            if !od.is_nan() {
                each(pixel, od);
            }
        }
    }

    /// Visits the optical densities of every pixel at one energy, with their variances; what has none is left out.
    pub fn visit_plane(&self, energy: usize, mut each: impl FnMut(usize, Density)) {
        let Ok(index) = self.planes.binary_search_by_key(&energy, |(energy, _, _)| *energy) else { return };
        let (_, plane, conversion) = &self.planes[index];
        for pixel in 0..self.pixels {
            let mut density = conversion.apply(pixel, plane.value(pixel), plane.i0_at(pixel));
            if !density.od.is_nan() {
                density.variance *= self.noise_factor as f32;
                each(pixel, density);
            }
        }
    }

    /// Variance that the optical densities of all pixels at one energy have in common: that of their one I0; 0 where each has its own.
    #[must_use]
    pub fn common_variance(&self, energy: usize) -> f64 {
        let index = self.planes.binary_search_by_key(&energy, |(energy, _, _)| *energy);
        index.map_or(0.0, |index| self.planes[index].2.common_variance() * self.noise_factor)
    }

    /// For each entry of the plan, the first one of its energy.
    #[must_use]
    pub fn first_entries(&self) -> Vec<usize> {
        (0..self.energies).map(|entry| self.repeats.first_of(entry)).collect()
    }
}
