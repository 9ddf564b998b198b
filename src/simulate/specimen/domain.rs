//! Domains: the Voronoi cells of random seeds, with boundaries inclined to the beam.
//!
//! Within a band around the boundary of two domains both phases lie over each other, and the share of each changes
//! linearly across the band, from all over one half in the middle to none.

use std::f64::consts::TAU;

use rand::Rng as _;
use rand_chacha::ChaCha8Rng;

/// Share of domains that have any phase, and not one next to their particle's own.
const STRANGERS: f64 = 0.15;

/// One grain.
#[derive(Clone, Copy, Debug)]
pub(super) struct Domain {
    y: f64,
    x: f64,
    phase: usize,
}

impl Domain {
    /// Grains of a particle: most of its own phase or of one next to it, some of any.
    pub(super) fn scatter(
        (centre_y, centre_x, radius): (f64, f64, f64),
        most: usize,
        own: usize,
        phases: usize,
        rng: &mut ChaCha8Rng,
    ) -> Vec<Self> {
        let count = rng.random_range(1..=most).max(2.min(most));
        (0..count)
            .map(|index| {
                let (angle, r) = (rng.random_range(0.0..TAU), rng.random::<f64>().sqrt() * 0.8 * radius);
                let next = if rng.random() { own + 1 } else { own.max(1) - 1 };
                let any = rng.random_range(0..phases);
                let strange = rng.random::<f64>() < STRANGERS;
                let phase = match index {
                    0 => own,
                    _ if strange => any,
                    _ => next.min(phases - 1),
                };
                Self { y: centre_y + r * angle.sin(), x: centre_x + r * angle.cos(), phase }
            })
            .collect()
    }

    /// So many grains of any phase, all over a field and somewhat beyond it.
    pub(super) fn spread(
        count: usize,
        phases: usize,
        [ny, nx]: [usize; 2],
        rng: &mut ChaCha8Rng,
    ) -> Vec<Self> {
        /// How far beyond, as a share of the field.
        const BEYOND: f64 = 0.1;
        let mut along = |n: usize| rng.random_range(-BEYOND..=1.0 + BEYOND) * n as f64;
        // In turn, so that every phase is there.
        (0..count).map(|index| Self { y: along(ny), x: along(nx), phase: index % phases }).collect()
    }
}

/// What lies along the beam.
#[derive(Clone, Copy, Debug)]
pub(super) struct Mixture {
    pub(super) phase: usize,
    pub(super) second: Option<usize>,
    pub(super) share: f64,
}

/// Whose cell a point is in, and what lies over it near a boundary; `None` without domains.
pub(super) fn mixture(domains: &[Domain], y: f64, x: f64, boundary_px: f64) -> Option<Mixture> {
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
