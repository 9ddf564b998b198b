//! Which phase a place in a particle belongs to, and how far it lies from the next one.

use crate::classify::{PhaseMap, Status};
use crate::particles::{Particles, distances};

/// Classified pixels of one phase side by side from which they are a region; fewer are a stray verdict.
const LEAST_REGION: usize = 8;
/// From the middle of a pixel to its side.
const HALF: f32 = 0.5;

/// Where phases lie in the particles of a map, pixel by pixel, row-major.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Regions {
    /// Rows and columns.
    pub shape: [usize; 2],
    /// The particle, from 1; 0 outside.
    pub particle: Vec<u32>,
    /// The phase of the region that a pixel lies in; none outside of particles, and in those without a region.
    pub phase: Vec<Option<u8>>,
    /// Distance to the boundary with the next phase in the particle, pixels; infinite without one.
    pub to_boundary_px: Vec<f32>,
    /// The phase beyond it.
    pub beyond: Vec<Option<u8>>,
    /// Distance to the rim of the particle, pixels; 0 outside.
    pub to_rim_px: Vec<f32>,
}

impl Regions {
    /// Of a map.
    #[must_use]
    pub fn of(map: &PhaseMap, particles: &Particles) -> Self {
        let labels = &particles.labels;
        let n = labels.of_pixel.len();
        let mut regions = Self {
            shape: labels.shape,
            particle: labels.of_pixel.clone(),
            phase: vec![None; n],
            to_boundary_px: vec![f32::INFINITY; n],
            beyond: vec![None; n],
            to_rim_px: vec![0.0; n],
        };
        for pixels in labels.pixels() {
            Frame::around(&pixels, labels.shape).fill(map, &pixels, &mut regions);
        }
        regions
    }
}

/// The part of the field around one particle, with a pixel of margin where the field has one.
struct Frame {
    y: usize,
    x: usize,
    ny: usize,
    nx: usize,
    field_nx: usize,
}

impl Frame {
    fn around(pixels: &[u32], [field_ny, field_nx]: [usize; 2]) -> Self {
        let (mut low, mut high) = ([usize::MAX; 2], [0; 2]);
        for &pixel in pixels {
            for (axis, at) in [pixel as usize / field_nx, pixel as usize % field_nx].into_iter().enumerate() {
                low[axis] = low[axis].min(at);
                high[axis] = high[axis].max(at);
            }
        }
        let [y, x] = low.map(|at| at.saturating_sub(1));
        let (to_y, to_x) = ((high[0] + 1).min(field_ny - 1), (high[1] + 1).min(field_nx - 1));
        Self { y, x, ny: to_y - y + 1, nx: to_x - x + 1, field_nx }
    }

    fn inner(&self, pixel: u32) -> usize {
        let (y, x) = (pixel as usize / self.field_nx, pixel as usize % self.field_nx);
        (y - self.y) * self.nx + x - self.x
    }

    fn mask(&self, pixels: impl Iterator<Item = u32>) -> Vec<bool> {
        let mut mask = vec![false; self.ny * self.nx];
        pixels.for_each(|pixel| mask[self.inner(pixel)] = true);
        mask
    }

    /// Distance of each place to the nearest of `pixels`; infinite where there are none.
    fn to(&self, pixels: impl Iterator<Item = u32>) -> Vec<f32> {
        let mut any = false;
        let mask = self.mask(pixels.inspect(|_| any = true));
        if !any {
            return vec![f32::INFINITY; mask.len()];
        }
        let away: Vec<bool> = mask.into_iter().map(|inside| !inside).collect();
        distances(&away, self.ny, self.nx)
    }

    fn fill(&self, map: &PhaseMap, pixels: &[u32], regions: &mut Regions) {
        let own = self.mask(pixels.iter().copied());
        let rim = distances(&own, self.ny, self.nx);
        for &pixel in pixels {
            regions.to_rim_px[pixel as usize] = rim[self.inner(pixel)] - HALF;
        }
        // The seeds of each phase, and who is nearest to them.
        let phases = 0..map.phases.len() as u8;
        let seeds: Vec<(u8, Vec<f32>)> = phases
            .filter_map(|phase| {
                let seeds = self.seeds(map, pixels, phase);
                (!seeds.is_empty()).then(|| (phase, self.to(seeds.into_iter())))
            })
            .collect();
        if seeds.is_empty() {
            return;
        }
        for &pixel in pixels {
            let at = self.inner(pixel);
            let nearest = seeds.iter().min_by(|a, b| a.1[at].total_cmp(&b.1[at]));
            regions.phase[pixel as usize] = nearest.map(|(phase, _)| *phase);
        }
        for (phase, _) in &seeds {
            let is_own = |pixel: &u32| regions.phase[*pixel as usize] == Some(*phase);
            let distance = self.to(pixels.iter().copied().filter(is_own));
            for &pixel in pixels.iter().filter(|pixel| !is_own(pixel)) {
                let to = distance[self.inner(pixel)] - HALF;
                if to < regions.to_boundary_px[pixel as usize] {
                    regions.to_boundary_px[pixel as usize] = to;
                    regions.beyond[pixel as usize] = Some(*phase);
                }
            }
        }
    }

    /// The classified pixels of a phase, without those that are by themselves.
    fn seeds(&self, map: &PhaseMap, pixels: &[u32], phase: u8) -> Vec<u32> {
        let is_own = |pixel: usize| map.status[pixel] == Status::Classified && map.phase[pixel] == phase;
        let mask = self.mask(pixels.iter().copied().filter(|&pixel| is_own(pixel as usize)));
        let part = crate::damage::components(&mask, self.ny, self.nx);
        let mut sizes = vec![0_usize; part.iter().copied().max().unwrap_or(0) + 1];
        part.iter().for_each(|&part| sizes[part] += 1);
        let is_seed = |&pixel: &u32| {
            let part = part[self.inner(pixel)];
            part > 0 && sizes[part] >= LEAST_REGION
        };
        pixels.iter().copied().filter(is_seed).collect()
    }
}
