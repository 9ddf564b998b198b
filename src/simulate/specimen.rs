//! The specimen: particles of several phases, and the truth about every pixel.
//!
//! A particle is a blob whose radius varies smoothly with the angle, thickest in the middle. Its domains are the
//! Voronoi cells of random seeds. The boundary of two domains is a plane inclined to the beam: within a band
//! around it both phases lie over each other, and the share of each changes linearly across the band, from all
//! over one half in the middle to none.

use std::f64::consts::TAU;

use rand::Rng as _;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use super::scenario::Specimen;

/// Attempts to find a place for a particle.
const ATTEMPTS: usize = 400;
/// Share of domains that have any phase, and not one next to their particle's own.
const STRANGERS: f64 = 0.15;

/// What is really there, pixel by pixel, row-major.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Truth {
    /// The scan.
    pub scan_id: String,
    /// Identifiers of the phases.
    pub phases: Vec<String>,
    /// Rows.
    pub ny: usize,
    /// Columns.
    pub nx: usize,
    /// Index of the phase with the larger share; -1: nothing there.
    pub phase: Vec<i16>,
    /// Index of the other phase along the beam; -1: none.
    pub second: Vec<i16>,
    /// Share of `phase`, 0.5 to 1; 0 where nothing is.
    pub share: Vec<f32>,
    /// Thickness, nm; 0 where nothing is.
    pub thickness_nm: Vec<f32>,
}

impl Truth {
    /// An empty field.
    fn empty(phases: Vec<String>, [ny, nx]: [usize; 2]) -> Self {
        let n = ny * nx;
        Self {
            scan_id: String::new(),
            phases,
            ny,
            nx,
            phase: vec![-1; n],
            second: vec![-1; n],
            share: vec![0.0; n],
            thickness_nm: vec![0.0; n],
        }
    }

    /// Makes the specimen.
    pub(super) fn grow(
        specimen: &Specimen,
        phases: Vec<String>,
        shape: [usize; 2],
        rng: &mut ChaCha8Rng,
    ) -> Self {
        let count = phases.len();
        let mut truth = Self::empty(phases, shape);
        let mut placed: Vec<Particle> = Vec::new();
        for index in 0..specimen.particles {
            let radius_range = specimen.radius.map(|share| share * shape[0].min(shape[1]) as f64);
            if let Some(particle) = Particle::place(specimen, radius_range, shape, &placed, rng) {
                let domains = Domain::scatter(&particle, specimen.domains, index % count, count, rng);
                truth.paint(&particle, &domains, specimen.boundary_px);
                placed.push(particle);
            }
        }
        truth
    }

    fn paint(&mut self, particle: &Particle, domains: &[Domain], boundary_px: f64) {
        for pixel in 0..self.phase.len() {
            let (y, x) = ((pixel / self.nx) as f64, (pixel % self.nx) as f64);
            let Some(thickness_nm) = particle.thickness_nm(y, x) else { continue };
            let Some(mixture) = mixture(domains, y, x, boundary_px) else { continue };
            self.phase[pixel] = mixture.phase as i16;
            self.second[pixel] = mixture.second.map_or(-1, |second| second as i16);
            self.share[pixel] = mixture.share as f32;
            self.thickness_nm[pixel] = thickness_nm as f32;
        }
    }

    /// Number of pixels with anything in them.
    #[must_use]
    pub fn covered(&self) -> usize {
        self.phase.iter().filter(|&&phase| phase >= 0).count()
    }

    /// Shares of `phases` in a pixel, each with its index; empty where nothing is.
    pub fn shares(&self, pixel: usize) -> impl Iterator<Item = (usize, f64)> + '_ {
        let share = f64::from(self.share[pixel]);
        let both = [(self.phase[pixel], share), (self.second[pixel], 1.0 - share)];
        both.into_iter().filter_map(|(phase, share)| Some((usize::try_from(phase).ok()?, share)))
    }
}

/// One particle; lengths in pixels.
struct Particle {
    y: f64,
    x: f64,
    radius: f64,
    /// Amplitude and angle of the second and third harmonic of the outline.
    outline: [(f64, f64); 2],
    thin_nm: f64,
    thick_nm: f64,
}

impl Particle {
    /// A particle that touches neither the border nor another one; `None` where there is no room.
    fn place(
        specimen: &Specimen,
        [small, large]: [f64; 2],
        [ny, nx]: [usize; 2],
        placed: &[Self],
        rng: &mut ChaCha8Rng,
    ) -> Option<Self> {
        let [thin_nm, most_nm] = specimen.thickness_nm;
        for _ in 0..ATTEMPTS {
            let radius = rng.random_range(small..=large);
            let (y, x) = (rng.random::<f64>() * ny as f64, rng.random::<f64>() * nx as f64);
            let outline = [
                (rng.random_range(0.05..0.18), rng.random_range(0.0..TAU)),
                (rng.random_range(0.0..0.08), rng.random_range(0.0..TAU)),
            ];
            let thick_nm = thin_nm + (most_nm - thin_nm) * rng.random_range(0.5..=1.0);
            let particle = Self { y, x, radius, outline, thin_nm, thick_nm };
            let reach = particle.reach();
            let inside = y > reach && x > reach && y + reach < ny as f64 && x + reach < nx as f64;
            let apart = |other: &Self| (other.y - y).hypot(other.x - x) > other.reach() + reach + 1.0;
            if inside && placed.iter().all(apart) {
                return Some(particle);
            }
        }
        None
    }

    /// No point of the outline is farther away.
    fn reach(&self) -> f64 {
        self.radius * (1.0 + self.outline.iter().map(|(amplitude, _)| amplitude).sum::<f64>())
    }

    /// Thickness at a point; `None` outside.
    fn thickness_nm(&self, y: f64, x: f64) -> Option<f64> {
        let (dy, dx) = (y - self.y, x - self.x);
        let angle = dy.atan2(dx);
        let harmonics: f64 = (2..)
            .zip(&self.outline)
            .map(|(order, (amplitude, phase))| amplitude * (f64::from(order) * angle + phase).cos())
            .sum();
        let t = dy.hypot(dx) / (self.radius * (1.0 + harmonics));
        (t < 1.0).then(|| self.thin_nm + (self.thick_nm - self.thin_nm) * (1.0 - t * t).sqrt())
    }
}

/// One grain.
struct Domain {
    y: f64,
    x: f64,
    phase: usize,
}

impl Domain {
    /// Grains of a particle: most of its own phase or of one next to it, some of any.
    fn scatter(
        particle: &Particle,
        most: usize,
        own: usize,
        phases: usize,
        rng: &mut ChaCha8Rng,
    ) -> Vec<Self> {
        let count = rng.random_range(1..=most).max(2.min(most));
        (0..count)
            .map(|index| {
                let (angle, r) =
                    (rng.random_range(0.0..TAU), rng.random::<f64>().sqrt() * 0.8 * particle.radius);
                let next = if rng.random() { own + 1 } else { own.max(1) - 1 };
                let any = rng.random_range(0..phases);
                let strange = rng.random::<f64>() < STRANGERS;
                let phase = match index {
                    0 => own,
                    _ if strange => any,
                    _ => next.min(phases - 1),
                };
                Self { y: particle.y + r * angle.sin(), x: particle.x + r * angle.cos(), phase }
            })
            .collect()
    }
}

/// What lies along the beam.
struct Mixture {
    phase: usize,
    second: Option<usize>,
    share: f64,
}

/// Whose cell a point is in, and what lies over it near a boundary; `None` without domains.
fn mixture(domains: &[Domain], y: f64, x: f64, boundary_px: f64) -> Option<Mixture> {
    let square = |domain: &Domain| (domain.y - y).powi(2) + (domain.x - x).powi(2);
    let own = domains.iter().min_by(|a, b| square(a).total_cmp(&square(b)))?;
    // Distance to the bisector of the two seeds.
    let distance = |other: &Domain| {
        (square(other) - square(own)) / (2.0 * (other.y - own.y).hypot(other.x - own.x)).max(1e-9)
    };
    let nearest = domains
        .iter()
        .filter(|domain| domain.phase != own.phase)
        .map(|domain| (distance(domain), domain.phase))
        .min_by(|a, b| a.0.total_cmp(&b.0));
    Some(match nearest {
        Some((distance, second)) if distance < boundary_px => {
            Mixture { phase: own.phase, second: Some(second), share: 0.5 + 0.5 * distance / boundary_px }
        }
        _ => Mixture { phase: own.phase, second: None, share: 1.0 },
    })
}
