//! The specimen: what lies along the beam at any point of the field.
//!
//! Particles ([`particle`]) of several domains ([`domain`]), and a film under them where the scenario wants no pixel
//! to be empty; with a front ([`shell`]) there is a shell instead of domains. Everything is a formula of the position, in pixels, not an image: a specimen that has drifted by a
//! third of a pixel is looked at a third of a pixel away.

mod domain;
mod particle;
mod shell;
mod truth;

use std::f64::consts::TAU;

use rand::Rng as _;
use rand_chacha::ChaCha8Rng;

use super::scenario::{Front, Specimen};
use domain::{Domain, Mixture, mixture};
use particle::{Grain, Particle};
use shell::Shell;
pub(super) use truth::mean_state;
pub use truth::{FlawedLine, LineFlaw, ParticleTruth, SeriesTruth, Truth};

/// What lies along the beam: so much of a phase.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Part {
    /// Index of the phase.
    pub(super) phase: usize,
    /// Thickness, nm.
    pub(super) thickness_nm: f64,
}

/// The whole specimen.
#[derive(Clone, Debug)]
pub(super) struct Matter {
    grains: Vec<Grain>,
    film: Option<Film>,
    boundary_px: f64,
    subpixels: usize,
    /// Pixels of the grid that the specimen is laid out on, over those of the scan: rows, columns.
    scale: [f64; 2],
    /// How far it lies from where it is laid out, pixels of the scan.
    offset_px: [f64; 2],
}

/// A film over the whole field, whose thickness goes up and down.
#[derive(Clone, Debug)]
struct Film {
    domains: Vec<Domain>,
    thickness_nm: [f64; 2],
    /// Turns per pixel along y and x, and phase, of each of two waves.
    waves: [(f64, f64, f64); 2],
}

impl Film {
    fn spread(specimen: &Specimen, phases: usize, shape: [usize; 2], rng: &mut ChaCha8Rng) -> Self {
        let domains = Domain::spread(specimen.film_domains, phases, shape, rng);
        let turns = |rng: &mut ChaCha8Rng, n: usize| rng.random_range(-1.5..1.5) / n as f64;
        let waves =
            [(); 2].map(|()| (turns(rng, shape[0]), turns(rng, shape[1]), rng.random_range(0.0..1.0)));
        Self { domains, thickness_nm: specimen.film_nm, waves }
    }

    fn thickness_nm(&self, y: f64, x: f64) -> f64 {
        let wave =
            |(along_y, along_x, phase): &(f64, f64, f64)| (TAU * (along_y * y + along_x * x + phase)).sin();
        let [thin, thick] = self.thickness_nm;
        let place = 0.5 + 0.25 * self.waves.iter().map(wave).sum::<f64>();
        thin + (thick - thin) * place
    }
}

impl Matter {
    /// Makes the specimen for a scan of a shape.
    pub(super) fn grow(specimen: &Specimen, phases: usize, scan: [usize; 2], rng: &mut ChaCha8Rng) -> Self {
        let shape = specimen.grid.unwrap_or(scan);
        let scale = [0, 1].map(|axis| shape[axis] as f64 / scan[axis] as f64);
        let mut grains: Vec<Grain> = Vec::new();
        for index in 0..specimen.particles {
            let radius_range = specimen.radius.map(|share| share * shape[0].min(shape[1]) as f64);
            if let Some(particle) = Particle::place(specimen, radius_range, shape, &grains, rng) {
                let domains =
                    Domain::scatter(particle.circle(), specimen.domains, index % phases, phases, rng);
                grains.push(Grain { particle, domains, shell: None });
            }
        }
        let film = (specimen.film_nm[1] > 0.0).then(|| Film::spread(specimen, phases, shape, rng));
        let offset_px = [0.0; 2];
        Self {
            grains,
            film,
            boundary_px: specimen.boundary_px,
            subpixels: specimen.subpixels,
            scale,
            offset_px,
        }
    }

    /// The same with shells of the first phase around cores of the second, as they are at a time.
    pub(super) fn with_front(mut self, front: &Front, phases: [usize; 2], hours: f64) -> Self {
        for (index, grain) in self.grains.iter_mut().enumerate() {
            let front_px = front.depth_at(index, hours);
            grain.shell = Some(Shell::of(&grain.particle, phases, front_px, index < front.lagging));
        }
        self
    }

    /// The same, moved on the stage by so many rows and columns.
    pub(super) fn moved(mut self, offset_px: [f64; 2]) -> Self {
        self.offset_px = offset_px;
        self
    }

    /// Number of points of a pixel at which it is looked at.
    pub(super) fn points(&self) -> usize {
        self.subpixels * self.subpixels
    }

    /// Where one of the points of the pixel at (`y`, `x`) lies.
    pub(super) fn point(&self, index: usize, y: f64, x: f64) -> (f64, f64) {
        let n = self.subpixels;
        let inside = |i: usize| (i as f64 + 0.5) / n as f64 - 0.5;
        self.laid_out(y + inside(index / n), x + inside(index % n))
    }

    /// Where what lies at a place of the scan was laid out.
    fn laid_out(&self, y: f64, x: f64) -> (f64, f64) {
        let (y, x) = (y - self.offset_px[0], x - self.offset_px[1]);
        if self.scale == [1.0; 2] {
            return (y, x);
        }
        // Pixel 0 lies around 0, on either grid.
        ((y + 0.5) * self.scale[0] - 0.5, (x + 0.5) * self.scale[1] - 0.5)
    }

    /// How much there is of each phase in a field, nm times pixels.
    pub(super) fn amounts(&self, phases: usize, [ny, nx]: [usize; 2]) -> Vec<f64> {
        let (mut amounts, mut parts) = (vec![0.0; phases], Vec::new());
        for pixel in 0..ny * nx {
            for point in 0..self.points() {
                let (y, x) = self.point(point, (pixel / nx) as f64, (pixel % nx) as f64);
                self.along_beam(y, x, &mut parts);
            }
        }
        for Part { phase, thickness_nm } in parts {
            amounts[phase] += thickness_nm / self.points() as f64;
        }
        amounts
    }

    /// The particles by themselves, where they are at the start, in a field of `shape` pixels. Each is looked at in so many by so many points of a pixel.
    pub(super) fn particles(&self, phases: usize, [ny, nx]: [usize; 2], points: usize) -> Vec<ParticleTruth> {
        let inside = |pixel: usize, i: usize| pixel as f64 + (i as f64 + 0.5) / points as f64 - 0.5;
        let whole = (points * points) as f64;
        let mut parts = Vec::new();
        let mut truths = Vec::with_capacity(self.grains.len());
        for grain in &self.grains {
            let shell = grain.shell.as_ref();
            let mut truth = ParticleTruth {
                centre_px: [0.0; 2],
                area_px: 0.0,
                amounts: vec![0.0; phases],
                front_px: shell.and_then(|own| own.front_px),
                depth_px: None,
                is_lagging: shell.is_some_and(|own| own.is_lagging),
            };
            for (y, x) in (0..ny * points).flat_map(|y| (0..nx * points).map(move |x| (y, x))) {
                let (y, x) = (inside(y / points, y % points), inside(x / points, x % points));
                let (at_y, at_x) = self.laid_out(y, x);
                let Some(thickness_nm) = grain.particle.thickness_nm(at_y, at_x) else { continue };
                truth.area_px += 1.0 / whole;
                truth.centre_px[0] += y;
                truth.centre_px[1] += x;
                if let Some(shell) = shell {
                    let depth_px = shell.depth_px(at_y, at_x);
                    truth.depth_px = Some(truth.depth_px.unwrap_or(0.0).max(depth_px));
                }
                append(grain.mixture(at_y, at_x, self.boundary_px), thickness_nm, &mut parts);
            }
            truth.centre_px = truth.centre_px.map(|sum| sum / (truth.area_px * whole));
            for Part { phase, thickness_nm } in parts.drain(..) {
                truth.amounts[phase] += thickness_nm / whole;
            }
            truths.push(truth);
        }
        truths
    }

    /// Appends what lies along the beam at a point.
    pub(super) fn along_beam(&self, y: f64, x: f64, parts: &mut Vec<Part>) {
        if let Some(film) = &self.film {
            append(mixture(&film.domains, y, x, self.boundary_px), film.thickness_nm(y, x), parts);
        }
        for grain in &self.grains {
            if let Some(thickness_nm) = grain.particle.thickness_nm(y, x) {
                append(grain.mixture(y, x, self.boundary_px), thickness_nm, parts);
            }
        }
    }
}

fn append(mixture: Option<Mixture>, thickness_nm: f64, parts: &mut Vec<Part>) {
    let Some(mixture) = mixture else { return };
    parts.push(Part { phase: mixture.phase, thickness_nm: mixture.share * thickness_nm });
    if let Some(second) = mixture.second {
        parts.push(Part { phase: second, thickness_nm: (1.0 - mixture.share) * thickness_nm });
    }
}
