//! Drawn samples that can lie anywhere: every pixel is the mean of the light through 25 points of its beam spot.

use chrono::{DateTime, TimeDelta};
use rand::{SeedableRng as _, seq::SliceRandom as _};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

use super::super::draw::{Drawer, batch, boundaries, od_near, plan, poisson};
use super::super::field::{Field, NX, NY, PARTICLES};
use super::super::{EvaluationError, Truth};
use super::share_right;
use crate::classify::PhaseMap;
use crate::reference::ReferenceSet;
use crate::scan::{Pixels, ScanPlan};
use crate::stack::Stack;

/// Domains of a particle.
const DOMAINS: usize = 5;
/// Points of the beam spot along each axis, their distance and the deviation of the spot, pixels.
const POINTS: isize = 5;
const SPACING: f64 = 0.5;
const SPOT: f64 = 0.6;
/// Period of the lattice, pixels.
const PERIOD: f64 = 11.0;
/// Factor on the thickness of a faint sample.
const FAINT: f64 = 0.06;

/// What the sample is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Matter {
    /// Particles of all phases in an empty field.
    Phases,
    /// Two phases that fill the field but for a strip; where one is brighter at one energy the other is at the next.
    Inverting,
    /// A lattice of equal discs.
    Periodic,
    /// Particles that are hardly there.
    Faint,
    /// Nothing.
    Nothing,
}

/// In which order the energies are measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    Ascending,
    /// Every third one, then those between.
    Interleaved,
}

impl Order {
    /// The energies in the order of time.
    fn energies(self, count: usize) -> Vec<usize> {
        match self {
            Self::Ascending => (0..count).collect(),
            Self::Interleaved => (0..3).flat_map(|start| (start..count).step_by(3)).collect(),
        }
    }
}

/// What is along the path, which is in the order of time, by energy.
pub(super) fn by_energy(path: &[[f64; 2]], order: Order) -> Vec<[f64; 2]> {
    let mut list = vec![[0.0; 2]; path.len()];
    order.energies(path.len()).into_iter().zip(path).for_each(|(energy, place)| list[energy] = *place);
    list
}

/// A drawn sample.
pub(super) struct SceneDraw {
    matter: Matter,
    field: Field,
    phases: Vec<u8>,
    /// `[phase][energy]`.
    od: Vec<Vec<f64>>,
    thin: f64,
    plan: ScanPlan,
    truth: Vec<Truth>,
    boundary: Vec<bool>,
}

impl SceneDraw {
    pub(super) fn draw(
        references: &ReferenceSet,
        matter: Matter,
        energies: usize,
        seed: u64,
    ) -> Result<Self, EvaluationError> {
        let drawer = Drawer::new(references)?;
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let field = Field::grow(&mut rng, DOMAINS);
        let mut phases: Vec<u8> =
            (0..PARTICLES * DOMAINS).map(|domain| (domain % references.len()) as u8).collect();
        phases.shuffle(&mut rng);
        let energies_ev = drawer.energies_ev(energies);
        let mut od: Vec<Vec<f64>> = references
            .references
            .iter()
            .map(|reference| energies_ev.iter().map(|&e| od_near(reference, e)).collect())
            .collect();
        if matter == Matter::Inverting {
            // About their common mean, so that the contrast changes its sign over and over.
            let mean: Vec<f64> =
                (0..energies).map(|e| od.iter().map(|list| list[e]).sum::<f64>() / od.len() as f64).collect();
            for list in &mut od {
                list.iter_mut().zip(&mean).for_each(|(od, mean)| *od = mean + 1.0 * (*od - mean));
            }
        }
        let mut scene = Self {
            matter,
            field,
            phases,
            od,
            thin: drawer.thin() * if matter == Matter::Faint { FAINT } else { 1.0 },
            plan: plan(energies_ev),
            truth: Vec::new(),
            boundary: Vec::new(),
        };
        scene.plan.validate()?;
        scene.truth = (0..NY * NX)
            .map(|p| scene.at((p / NX) as f64 + 0.5, (p % NX) as f64 + 0.5))
            .map(|place| place.map_or(Truth::Empty, |(phase, _)| Truth::Phase(phase)))
            .collect();
        scene.boundary = boundaries(&scene.truth);
        Ok(scene)
    }

    /// Phase and thickness at a point of the sample, pixels.
    fn at(&self, y: f64, x: f64) -> Option<(u8, f64)> {
        match self.matter {
            Matter::Nothing => None,
            Matter::Phases | Matter::Faint => {
                self.field.at(y, x).map(|place| (self.phases[place.domain], place.thickness))
            }
            Matter::Inverting => {
                // Wavy stripes of the first and the last phase, of one thickness, and a strip that is empty.
                let waves =
                    (0.21 * x + 1.3 * (0.07 * y).sin()).sin() + (0.17 * y + 0.9 * (0.05 * x).cos()).sin();
                let phase = if waves > 0.0 { 0 } else { self.od.len() as u8 - 1 };
                (x > 18.0).then_some((phase, 1.0))
            }
            Matter::Periodic => {
                let (v, u) = (y.rem_euclid(PERIOD) - 0.5 * PERIOD, x.rem_euclid(PERIOD) - 0.5 * PERIOD);
                let cell = (y / PERIOD).floor() as i64 * 7 + (x / PERIOD).floor() as i64 * 3;
                let phase = cell.rem_euclid(self.od.len() as i64) as u8;
                (x > 18.0 && v.hypot(u) < 0.36 * PERIOD).then_some((phase, 1.0))
            }
        }
    }

    /// Mean transmission of a pixel of the image at `energy`, the sample displaced by `shift`.
    fn light(&self, energy: usize, pixel: usize, shift: [f64; 2]) -> f64 {
        let (y, x) = ((pixel / NX) as f64 + 0.5 - shift[0], (pixel % NX) as f64 + 0.5 - shift[1]);
        let half = POINTS / 2;
        let (mut sum, mut total) = (0.0, 0.0);
        for i in -half..=half {
            for j in -half..=half {
                let (dy, dx) = (i as f64 * SPACING, j as f64 * SPACING);
                let weight = (-0.5 * (dy * dy + dx * dx) / (SPOT * SPOT)).exp();
                let od = self.at(y + dy, x + dx).map_or(0.0, |(phase, thickness)| {
                    self.thin * thickness * self.od[usize::from(phase)][energy]
                });
                sum += weight * (-od).exp();
                total += weight;
            }
        }
        sum / total
    }

    /// The scan of the sample along `path`, in the order of time, each image at a minute of its own. Of the last image in
    /// time only a share `last` of the lines is measured.
    pub(super) fn stack(
        &self,
        path: &[[f64; 2]],
        order: Order,
        last: f64,
        counts: f64,
        seed: u64,
    ) -> Result<Stack, EvaluationError> {
        let energies = order.energies(path.len());
        let images: Vec<(usize, Vec<f32>)> = energies
            .into_par_iter()
            .zip(path)
            .map(|(energy, shift)| {
                let mut rng = ChaCha8Rng::seed_from_u64(seed);
                rng.set_stream(energy as u64 + 1);
                let value = |pixel| poisson(counts * self.light(energy, pixel, *shift), &mut rng) as f32;
                (energy, (0..NY * NX).map(value).collect())
            })
            .collect();
        let mut stack = Stack::new(self.plan.clone());
        stack.note_seq(0);
        let count = images.len();
        for (place, (energy, mut values)) in images.into_iter().enumerate() {
            if place + 1 == count {
                values.truncate((last * NY as f64) as usize * NX);
            }
            let seq = place as u64 + 1;
            let mut batch = batch(energy as u32, values);
            batch.pixels = Pixels::Run { first: 0, count: batch.values.len() as u32 };
            batch.time = Some(DateTime::UNIX_EPOCH + TimeDelta::minutes(place as i64));
            stack.note_seq(seq);
            stack.push(seq, &batch)?;
        }
        Ok(stack)
    }

    /// Share of the particle pixels in `stays` whose phase the map names; only those away from other matter where
    /// `interior`.
    pub(super) fn accuracy(&self, map: &PhaseMap, interior: bool, stays: &[bool]) -> f64 {
        let phases = self.truth.iter().enumerate().filter_map(|(pixel, truth)| match truth {
            Truth::Phase(phase) if stays[pixel] && !(interior && self.boundary[pixel]) => {
                Some((pixel, *phase))
            }
            _ => None,
        });
        share_right(map, phases)
    }
}
