//! What registration is worth: displacements against the true ones, and the map against that of a sample that lay still.
//!
//! On drawn scans the sample is rendered where it lies, point by point from its outlines ([`scene`]), so that nothing
//! is interpolated but by the correction; on a recorded stack the measured images are moved by a long windowed sinc
//! ([`moved`]). The path is a smooth random walk that reaches the asked distance, with a jitter of its own in every
//! image. Every case is mapped three times: lying still, drifting without registration, drifting with it.

mod moved;
mod report;
mod scene;

use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution as _, StandardNormal};
use serde::Serialize;

use super::EvaluationError;
use super::metrics::{quantile, ratio};
use super::subject::Subject;
use crate::classify::PhaseMap;
use crate::registration::{Drift, RegistrationMode};
use crate::stack::Stack;

pub use moved::recorded_drift;
use scene::{Matter, Order, SceneDraw};

/// Deviation of the jitter of each image, pixels.
const JITTER: f64 = 0.15;

/// What is drawn.
#[derive(Clone, Debug, Serialize)]
pub struct DriftStudy {
    /// Incident counts.
    pub counts: f64,
    /// Scans per case.
    pub draws: usize,
    /// Where everything random begins.
    pub seed: u64,
}

/// One case.
#[derive(Clone, Debug, Serialize)]
pub struct DriftRow {
    /// What it is.
    pub case: String,
    /// Number of energies.
    pub energies: usize,
    /// Distance that the path reaches, pixels.
    pub reach: f64,
    /// How many scans.
    pub draws: usize,
    /// In how many of them the registration was applied.
    pub applied: usize,
    /// Distance between estimated and true displacement over all images: median, 95th percentile, largest; pixels.
    pub error: [f64; 3],
    /// Root mean square of the errors along the axes, in stated errors; 1 where these are honest.
    pub error_ratio: f64,
    /// Accuracy of the phases, of all particle pixels that are in every image: lying still, drifting without registration, drifting with it.
    pub accuracy: [f64; 3],
    /// The same, pixels away from other matter only.
    pub interior: [f64; 3],
    /// What was said, the first scan for all.
    pub verdict: String,
}

/// Everything that was measured.
#[derive(Clone, Debug, Serialize)]
pub struct DriftReport {
    /// What was asked for.
    pub study: Option<DriftStudy>,
    /// The recorded stack, where there was one.
    pub scan_id: Option<String>,
    /// One per case.
    pub rows: Vec<DriftRow>,
}

/// A case of drawn scans.
struct Case {
    name: &'static str,
    matter: Matter,
    order: Order,
    energies: usize,
    reach: f64,
    /// Share of the lines of the last image that is measured.
    last: f64,
    counts: f64,
}

impl Case {
    fn new(name: &'static str, energies: usize, reach: f64) -> Self {
        let (matter, order) = (Matter::Phases, Order::Ascending);
        Self { name, matter, order, energies, reach, last: 1.0, counts: 1.0 }
    }
}

fn cases() -> Vec<Case> {
    let new = Case::new;
    vec![
        new("no drift", 30, 0.0),
        new("drift of 1 pixel", 30, 1.0),
        new("drift of 4 pixels", 30, 4.0),
        new("drift of 8 pixels", 30, 8.0),
        new("drift of 8 pixels, 75 energies", 75, 8.0),
        new("few energies, no drift", 8, 0.0),
        new("few energies, 8 pixels", 8, 8.0),
        Case { order: Order::Interleaved, ..new("interleaved, 8 pixels", 30, 8.0) },
        Case { last: 0.5, ..new("last image half measured, 8 pixels", 30, 8.0) },
        Case { matter: Matter::Inverting, ..new("contrast inverts, no empty field, 8 pixels", 30, 8.0) },
        Case { matter: Matter::Inverting, ..new("contrast inverts, no empty field, no drift", 30, 0.0) },
        Case { matter: Matter::Periodic, ..new("periodic, 8 pixels", 30, 8.0) },
        Case { matter: Matter::Periodic, ..new("periodic, no drift", 30, 0.0) },
        Case { counts: 0.1, ..new("a tenth of the counts, 8 pixels", 30, 8.0) },
        Case { counts: 0.1, ..new("a tenth of the counts, no drift", 30, 0.0) },
        Case { matter: Matter::Faint, ..new("faint, 8 pixels", 30, 8.0) },
        Case { matter: Matter::Faint, ..new("faint, no drift", 30, 0.0) },
        Case { matter: Matter::Nothing, ..new("nothing but noise", 30, 8.0) },
    ]
}

/// Measures the cases on drawn scans.
///
/// # Errors
/// References that cannot be drawn from; a model that fails.
pub fn drift(
    subject: &mut Subject,
    study: DriftStudy,
    only: Option<&str>,
    progress: &mut dyn FnMut(usize, usize),
) -> Result<DriftReport, EvaluationError> {
    let cases: Vec<Case> =
        cases().into_iter().filter(|case| only.is_none_or(|only| case.name.contains(only))).collect();
    let mut rows = Vec::new();
    for (index, case) in cases.iter().enumerate() {
        let mut row = Tally::default();
        for draw in 0..study.draws {
            progress(index * study.draws + draw, cases.len() * study.draws);
            let seed = study.seed.wrapping_mul(1_000_003).wrapping_add((index * 1000 + draw) as u64);
            let path = path(case.energies, case.reach, seed);
            let references = std::sync::Arc::clone(&subject.recipe.references);
            let scene = SceneDraw::draw(&references, case.matter, case.energies, seed)?;
            let counts = study.counts * case.counts;
            let still = scene.stack(&vec![[0.0; 2]; path.len()], case.order, case.last, counts, seed)?;
            let moving = scene.stack(&path, case.order, case.last, counts, seed)?;
            let stays = staying(&path, still.plan().grid.shape);
            let score = |map: &PhaseMap, interior: bool| scene.accuracy(map, interior, &stays);
            let maps = three_maps(subject, &still, &moving)?;
            // The path is that of time; the drift is told by energy.
            let truth: Vec<[f64; 2]> = scene::by_energy(&path, case.order);
            row.push(&maps, &truth, |drift, energy| drift.shift(energy).map(|s| [s.y, s.x]), score);
        }
        rows.push(row.row(case.name.to_owned(), case.energies, case.reach, study.draws));
    }
    progress(cases.len() * study.draws, cases.len() * study.draws);
    Ok(DriftReport { study: Some(study), scan_id: None, rows })
}

/// Maps lying still, drifting without registration, drifting with it.
fn three_maps(
    subject: &mut Subject,
    still: &Stack,
    moving: &Stack,
) -> Result<[PhaseMap; 3], EvaluationError> {
    let mode = subject.recipe.registration;
    let mut map = |stack: &Stack, mode: RegistrationMode| {
        subject.recipe.registration = mode;
        subject.map(stack)
    };
    let maps = [
        map(still, RegistrationMode::Off),
        map(moving, RegistrationMode::Off),
        map(moving, RegistrationMode::Auto),
    ];
    subject.recipe.registration = mode;
    let [still, without, with] = maps;
    Ok([still?, without?, with?])
}

/// A smooth random walk that starts at 0 and whose largest distance from there is `reach`, with a jitter; `[y, x]`.
fn path(images: usize, reach: f64, seed: u64) -> Vec<[f64; 2]> {
    if reach <= 0.0 {
        return vec![[0.0; 2]; images];
    }
    let mut rng = ChaCha8Rng::seed_from_u64(seed ^ 0x5eed);
    let mut normal = || -> f64 { StandardNormal.sample(&mut rng) };
    let mut velocity = [normal(), normal()];
    let mut place = [0.0, 0.0];
    let mut walk = Vec::with_capacity(images);
    // The velocity forgets itself over a fifth of the scan.
    let keep = (-5.0 / images as f64).exp();
    let fresh = (1.0 - keep * keep).sqrt();
    for _ in 0..images {
        walk.push(place);
        for axis in 0..2 {
            velocity[axis] = keep * velocity[axis] + fresh * normal();
            place[axis] += velocity[axis];
        }
    }
    let largest = walk.iter().map(|[y, x]| y.hypot(*x)).fold(f64::MIN_POSITIVE, f64::max);
    let jitter = JITTER * (reach / 2.0_f64).min(1.0);
    for (index, place) in walk.iter_mut().enumerate() {
        for axis in place.iter_mut() {
            *axis *= reach / largest;
            if index > 0 {
                *axis += jitter * rng.sample::<f64, _>(StandardNormal);
            }
        }
    }
    walk
}

/// Which pixels of the first image are in every image.
fn staying(path: &[[f64; 2]], [ny, nx]: [usize; 2]) -> Vec<bool> {
    let inside = |place: f64, n: usize| (0.0..=(n - 1) as f64).contains(&place);
    let stays = |p: usize| {
        path.iter().all(|[y, x]| inside((p / nx) as f64 + y, ny) && inside((p % nx) as f64 + x, nx))
    };
    (0..ny * nx).map(stays).collect()
}

/// What was seen in the scans of a case.
#[derive(Default)]
struct Tally {
    errors: Vec<f64>,
    ratios: Vec<f64>,
    accuracy: [f64; 3],
    interior: [f64; 3],
    scans: f64,
    applied: usize,
    verdict: Option<String>,
}

impl Tally {
    fn push(
        &mut self,
        maps: &[PhaseMap; 3],
        truth: &[[f64; 2]],
        said: impl Fn(&Drift, usize) -> Option<[f64; 2]>,
        accuracy: impl Fn(&PhaseMap, bool) -> f64,
    ) {
        let drift = &maps[2].origin.drift;
        self.scans += 1.0;
        self.applied += usize::from(drift.is_applied());
        self.verdict.get_or_insert_with(|| drift.describe());
        for (energy, true_shift) in truth.iter().enumerate() {
            let (Some(shift), Some(said)) = (drift.shift(energy), said(drift, energy)) else { continue };
            let wrong = [said[0] - true_shift[0], said[1] - true_shift[1]];
            self.errors.push(wrong[0].hypot(wrong[1]));
            self.ratios.push((wrong[0] / shift.error_y).powi(2));
            self.ratios.push((wrong[1] / shift.error_x).powi(2));
        }
        for (sum, map) in self.accuracy.iter_mut().zip(maps) {
            *sum += accuracy(map, false);
        }
        for (sum, map) in self.interior.iter_mut().zip(maps) {
            *sum += accuracy(map, true);
        }
    }

    fn row(self, case: String, energies: usize, reach: f64, draws: usize) -> DriftRow {
        let at = |q: f64| quantile(&self.errors, q);
        DriftRow {
            case,
            energies,
            reach,
            draws,
            applied: self.applied,
            error: [at(0.5), at(0.95), at(1.0)],
            error_ratio: (self.ratios.iter().sum::<f64>() / self.ratios.len() as f64).sqrt(),
            accuracy: self.accuracy.map(|sum| sum / self.scans),
            interior: self.interior.map(|sum| sum / self.scans),
            verdict: self.verdict.unwrap_or_default(),
        }
    }
}

/// Share of `pixels` whose phase is right.
fn share_right(map: &PhaseMap, pixels: impl Iterator<Item = (usize, u8)>) -> f64 {
    let (mut right, mut all) = (0, 0);
    for (pixel, phase) in pixels {
        all += 1;
        right += usize::from(map.phase[pixel] == phase);
    }
    ratio(right, all)
}
