//! Particles: blobs whose radius varies smoothly with the angle, thickest in the middle.

use std::f64::consts::TAU;

use rand::Rng as _;
use rand_chacha::ChaCha8Rng;

use super::domain::{Domain, Mixture, mixture};
use super::shell::Shell;
use crate::simulate::scenario::Specimen;

/// Attempts to find a place for a particle.
const ATTEMPTS: usize = 400;
/// How far particles that touch may lie over each other, pixels.
const PRESSED_PX: f64 = 0.5;
/// Points of an outline at which that is tried.
const OUTLINE_POINTS: usize = 90;

/// One particle; lengths in pixels.
#[derive(Clone, Copy, Debug)]
pub(super) struct Particle {
    y: f64,
    x: f64,
    radius: f64,
    /// Amplitude and angle of the second and third harmonic of the outline.
    outline: [(f64, f64); 2],
    thin_nm: f64,
    thick_nm: f64,
    /// No point of the outline is farther away.
    reach: f64,
}

/// A particle and what it is made of: domains, unless it has a shell.
#[derive(Clone, Debug)]
pub(super) struct Grain {
    pub(super) particle: Particle,
    pub(super) domains: Vec<Domain>,
    pub(super) shell: Option<Shell>,
}

impl Grain {
    /// What lies at a point of the particle; `None` without domains.
    pub(super) fn mixture(&self, y: f64, x: f64, boundary_px: f64) -> Option<Mixture> {
        match &self.shell {
            Some(shell) => Some(shell.mixture(y, x, boundary_px)),
            None => mixture(&self.domains, y, x, boundary_px),
        }
    }
}

impl Particle {
    /// A particle that touches neither the border nor, unless they may overlap or are to touch, another one; `None`
    /// where there is no room.
    pub(super) fn place(
        specimen: &Specimen,
        [small, large]: [f64; 2],
        [ny, nx]: [usize; 2],
        placed: &[Grain],
        rng: &mut ChaCha8Rng,
    ) -> Option<Self> {
        let [thin_nm, most_nm] = specimen.thickness_nm;
        for _ in 0..ATTEMPTS {
            let radius = rng.random_range(small..=large);
            let (mut y, mut x) = (rng.random::<f64>() * ny as f64, rng.random::<f64>() * nx as f64);
            let outline = [
                (rng.random_range(0.05..0.18), rng.random_range(0.0..TAU)),
                (rng.random_range(0.0..0.08), rng.random_range(0.0..TAU)),
            ];
            let thick_nm = thin_nm + (most_nm - thin_nm) * rng.random_range(0.5..=1.0);
            let reach = radius * (1.0 + outline.iter().map(|(amplitude, _)| amplitude).sum::<f64>());
            let beside = (specimen.touch && !placed.is_empty()).then(|| rng.random_range(0..placed.len()));
            if let Some(other) = beside {
                let other = &placed[other].particle;
                let angle = rng.random_range(0.0..TAU);
                let away = outline_px(other.radius, &other.outline, angle)
                    + outline_px(radius, &outline, angle + TAU / 2.0);
                (y, x) = (other.y + away * angle.sin(), other.x + away * angle.cos());
            }
            let inside = y > reach && x > reach && y + reach < ny as f64 && x + reach < nx as f64;
            let apart = |other: &Grain| {
                let other = &other.particle;
                (other.y - y).hypot(other.x - x) > other.reach + reach + 1.0
            };
            let own = Self { y, x, radius, outline, thin_nm, thick_nm, reach };
            let free = |(index, other): (usize, &Grain)| {
                if beside == Some(index) { own.depth_px(&other.particle) < PRESSED_PX } else { apart(other) }
            };
            if inside && (specimen.overlap || placed.iter().enumerate().all(free)) {
                return Some(own);
            }
        }
        None
    }

    /// Centre and mean radius.
    pub(super) fn circle(&self) -> (f64, f64, f64) {
        (self.y, self.x, self.radius)
    }

    /// How far the outline lies within another particle at most; negative where it lies outside.
    fn depth_px(&self, other: &Self) -> f64 {
        let depth = |step: usize| {
            let angle = TAU * step as f64 / OUTLINE_POINTS as f64;
            let away = outline_px(self.radius, &self.outline, angle);
            let (dy, dx) = (self.y + away * angle.sin() - other.y, self.x + away * angle.cos() - other.x);
            outline_px(other.radius, &other.outline, dy.atan2(dx)) - dy.hypot(dx)
        };
        (0..OUTLINE_POINTS).map(depth).fold(f64::NEG_INFINITY, f64::max)
    }

    /// Thickness at a point; `None` outside.
    pub(super) fn thickness_nm(&self, y: f64, x: f64) -> Option<f64> {
        let (dy, dx) = (y - self.y, x - self.x);
        if dy.hypot(dx) > self.reach {
            return None;
        }
        let t = dy.hypot(dx) / self.radius_at(dy.atan2(dx));
        (t < 1.0).then(|| self.thin_nm + (self.thick_nm - self.thin_nm) * (1.0 - t * t).sqrt())
    }

    /// The point of the outline at an angle.
    pub(super) fn outline_at(&self, angle: f64) -> (f64, f64) {
        let radius = self.radius_at(angle);
        (self.y + radius * angle.sin(), self.x + radius * angle.cos())
    }

    fn radius_at(&self, angle: f64) -> f64 {
        outline_px(self.radius, &self.outline, angle)
    }
}

/// Distance of the outline from the centre, at an angle.
fn outline_px(radius: f64, outline: &[(f64, f64); 2], angle: f64) -> f64 {
    let harmonics: f64 = (2..)
        .zip(outline)
        .map(|(order, (amplitude, phase))| amplitude * (f64::from(order) * angle + phase).cos())
        .sum();
    radius * (1.0 + harmonics)
}
