//! The field of a drawn scan: which domain covers a pixel, and how thick it is there.

use std::f64::consts::TAU;

use rand::Rng as _;
use rand_chacha::ChaCha8Rng;

/// Rows.
pub(super) const NY: usize = 100;
/// Columns.
pub(super) const NX: usize = 112;
/// Particles.
pub(super) const PARTICLES: usize = ROWS * COLUMNS;
/// Columns at the left that stay empty.
const EMPTY: usize = 22;
const ROWS: usize = 2;
const COLUMNS: usize = 3;
/// Thickness in the unit of the references: thinnest, thickest.
pub(super) const THICKNESS: (f64, f64) = (0.6, 1.8);

/// What covers a pixel.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    /// Index of the domain, counted over all particles.
    pub(super) domain: usize,
    /// Thickness, in the unit of the references.
    pub(super) thickness: f64,
    /// How far the pixel is from one side of its particle to the other, 0 to 1, in a direction of its own.
    pub(super) across: f64,
}

/// One particle.
struct Particle {
    /// Rows and columns it may cover.
    cell: (std::ops::Range<usize>, std::ops::Range<usize>),
    centre: (f64, f64),
    radii: (f64, f64),
    waves: Vec<(f64, f64)>,
    tilt: f64,
    course: f64,
    /// Seeds of the domains, in the unit disc.
    seeds: Vec<(f64, f64)>,
}

impl Particle {
    fn draw(rng: &mut ChaCha8Rng, particle: usize, domains: usize) -> Self {
        let (height, width) = (NY / ROWS, (NX - EMPTY) / COLUMNS);
        let (row, column) = (particle / COLUMNS, particle % COLUMNS);
        Self {
            cell: (row * height..(row + 1) * height, EMPTY + column * width..EMPTY + (column + 1) * width),
            centre: ((row as f64 + 0.5) * height as f64, EMPTY as f64 + (column as f64 + 0.5) * width as f64),
            radii: (0.47 * height as f64, 0.47 * width as f64),
            waves: (2..5).map(|_| (rng.random_range(0.0..0.03), rng.random_range(0.0..TAU))).collect(),
            tilt: rng.random_range(0.0..TAU),
            course: rng.random_range(0.0..TAU),
            seeds: (0..domains)
                .map(|_| {
                    let (radius, angle) = (rng.random::<f64>().sqrt(), rng.random_range(0.0..TAU));
                    (radius * angle.sin(), radius * angle.cos())
                })
                .collect(),
        }
    }

    /// What is at a point, in pixels from the corner of the field; `None` where the particle is not. `first`: index of
    /// its first domain.
    fn at(&self, y: f64, x: f64, first: usize) -> Option<Place> {
        let (v, u) = ((y - self.centre.0) / self.radii.0, (x - self.centre.1) / self.radii.1);
        let angle = v.atan2(u);
        let rim = 1.0
            + self
                .waves
                .iter()
                .zip(2..)
                .map(|((amplitude, phase), k)| amplitude * (f64::from(k) * angle + phase).cos())
                .sum::<f64>();
        if v.hypot(u) > rim {
            return None;
        }
        let distance = |seed: &(f64, f64)| (seed.0 - v).hypot(seed.1 - u);
        let near = (0..self.seeds.len())
            .min_by(|&a, &b| distance(&self.seeds[a]).total_cmp(&distance(&self.seeds[b])))
            .unwrap_or(0);
        let toward = |angle: f64| (0.5 + 0.5 * (v * angle.sin() + u * angle.cos())).clamp(0.0, 1.0);
        Some(Place {
            domain: first + near,
            thickness: THICKNESS.0 + (THICKNESS.1 - THICKNESS.0) * toward(self.tilt),
            across: toward(self.course),
        })
    }
}

/// A field of particles.
pub(super) struct Field {
    /// Per pixel; `None` where nothing is.
    pub(super) places: Vec<Option<Place>>,
    particles: Vec<Particle>,
    domains: usize,
}

impl Field {
    /// Grows the particles, `domains` domains each.
    pub(super) fn grow(rng: &mut ChaCha8Rng, domains: usize) -> Self {
        let mut places = vec![None; NY * NX];
        let mut particles = Vec::with_capacity(PARTICLES);
        for index in 0..PARTICLES {
            let particle = Particle::draw(rng, index, domains);
            for y in particle.cell.0.clone() {
                for x in particle.cell.1.clone() {
                    places[y * NX + x] = particle.at(y as f64 + 0.5, x as f64 + 0.5, index * domains);
                }
            }
            particles.push(particle);
        }
        Self { places, particles, domains }
    }

    /// What is at a point, in pixels from the corner of the field, which may lie outside of it; `None` where nothing is.
    pub(super) fn at(&self, y: f64, x: f64) -> Option<Place> {
        let inside = |particle: &Particle| {
            let (rows, columns) = &particle.cell;
            (rows.start as f64..rows.end as f64).contains(&y)
                && (columns.start as f64..columns.end as f64).contains(&x)
        };
        let index = self.particles.iter().position(inside)?;
        self.particles[index].at(y, x, index * self.domains)
    }
}
