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

/// A field of particles.
pub(super) struct Field {
    /// Per pixel; `None` where nothing is.
    pub(super) places: Vec<Option<Place>>,
}

impl Field {
    /// Grows the particles, `domains` domains each.
    pub(super) fn grow(rng: &mut ChaCha8Rng, domains: usize) -> Self {
        let mut places = vec![None; NY * NX];
        let (height, width) = (NY / ROWS, (NX - EMPTY) / COLUMNS);
        for particle in 0..PARTICLES {
            let (row, column) = (particle / COLUMNS, particle % COLUMNS);
            let centre =
                ((row as f64 + 0.5) * height as f64, EMPTY as f64 + (column as f64 + 0.5) * width as f64);
            let radii = (0.47 * height as f64, 0.47 * width as f64);
            let waves: Vec<(f64, f64)> =
                (2..5).map(|_| (rng.random_range(0.0..0.03), rng.random_range(0.0..TAU))).collect();
            let tilt: f64 = rng.random_range(0.0..TAU);
            let course: f64 = rng.random_range(0.0..TAU);
            // Seeds of the domains, in the unit disc.
            let seeds: Vec<(f64, f64)> = (0..domains)
                .map(|_| {
                    let (radius, angle) = (rng.random::<f64>().sqrt(), rng.random_range(0.0..TAU));
                    (radius * angle.sin(), radius * angle.cos())
                })
                .collect();
            for y in row * height..(row + 1) * height {
                for x in EMPTY + column * width..EMPTY + (column + 1) * width {
                    let (v, u) =
                        ((y as f64 + 0.5 - centre.0) / radii.0, (x as f64 + 0.5 - centre.1) / radii.1);
                    let angle = v.atan2(u);
                    let rim = 1.0
                        + waves
                            .iter()
                            .zip(2..)
                            .map(|((amplitude, phase), k)| amplitude * (f64::from(k) * angle + phase).cos())
                            .sum::<f64>();
                    if v.hypot(u) > rim {
                        continue;
                    }
                    let distance = |seed: &(f64, f64)| (seed.0 - v).hypot(seed.1 - u);
                    let near = (0..domains)
                        .min_by(|&a, &b| distance(&seeds[a]).total_cmp(&distance(&seeds[b])))
                        .unwrap_or(0);
                    let toward =
                        |angle: f64| (0.5 + 0.5 * (v * angle.sin() + u * angle.cos())).clamp(0.0, 1.0);
                    places[y * NX + x] = Some(Place {
                        domain: particle * domains + near,
                        thickness: THICKNESS.0 + (THICKNESS.1 - THICKNESS.0) * toward(tilt),
                        across: toward(course),
                    });
                }
            }
        }
        Self { places }
    }
}
