//! Maps whose enrichment is known.
//!
//! Outlines, phases and thickness are those of a simulated specimen; every pixel is classified as what it is, but for those in doubt. Whether
//! a pixel is, decides a smooth random field: where it exceeds the level that is exceeded with the probability wanted there. So doubtful pixels
//! lie together, some pixels long, as in real maps, and each has exactly its probability. Near true boundaries that is larger by a factor.

use rand::Rng as _;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution as _, StandardNormal};

use crate::classify::{NO_PHASE, Origin, PhaseMap, Status};
use crate::particles::{Amounts, Particles};
use crate::reference::ReferenceSet;
use crate::simulate::Microscope;

/// Passes of a mean over 3 × 3 pixels over white noise.
const PASSES: usize = 2;
/// How far near is, pixels.
const NEAR_PX: f64 = 2.0;
/// Optical density per nm.
const OD_PER_NM: f64 = 0.003;

/// A map, its particles, and the factor on the probability of doubt near its boundaries.
pub(super) struct Drawn {
    pub(super) map: PhaseMap,
    pub(super) particles: Particles,
    pub(super) factor: f64,
}

pub(super) fn draw(
    microscope: &Microscope,
    references: &ReferenceSet,
    is_enriched: bool,
    rng: &mut ChaCha8Rng,
) -> Drawn {
    let truth = microscope.truth();
    let [ny, nx] = microscope.plan().grid.shape;
    let labels: Vec<_> = references.references.iter().map(|reference| reference.label.clone()).collect();
    let plan = std::sync::Arc::new(microscope.plan().clone());
    let mut map = PhaseMap::unmeasured(plan, labels.into(), Origin::default());
    let near = near(&truth.phase, ny, nx);
    let elsewhere = rng.random_range(0.03..0.15);
    let factor = if is_enriched { rng.random_range(1.5..5.0) } else { 1.0 };
    let field = field(ny, nx, rng);
    let mut od = vec![0.0; ny * nx];
    for pixel in 0..ny * nx {
        let noise: f64 = StandardNormal.sample(rng);
        od[pixel] = (OD_PER_NM * f64::from(truth.thickness_nm[pixel]) + 0.003 * noise) as f32;
        if truth.phase[pixel] < 0 {
            (map.status[pixel], map.phase[pixel]) = (Status::Background, NO_PHASE);
            continue;
        }
        let probability = if near[pixel] { factor * elsewhere } else { elsewhere };
        map.phase[pixel] = truth.phase[pixel] as u8;
        (map.status[pixel], map.confidence[pixel]) =
            if field[pixel] < probability { (Status::Ambiguous, 0.6) } else { (Status::Classified, 1.0) };
    }
    let variance = vec![9e-6; ny * nx];
    let amounts = Amounts::with_empty(&map, od, variance);
    let particles = Particles::of_amounts(&map, amounts, references);
    Drawn { map, particles, factor }
}

/// Which pixels lie near the boundary of two phases that are there.
fn near(phase: &[i16], ny: usize, nx: usize) -> Vec<bool> {
    let reach = (NEAR_PX + 0.5).floor() as usize;
    let is_near = |pixel: usize| {
        let (y, x) = (pixel / nx, pixel % nx);
        (y.saturating_sub(reach)..=(y + reach).min(ny - 1)).any(|yy| {
            (x.saturating_sub(reach)..=(x + reach).min(nx - 1)).any(|xx| {
                let (other, own) = (phase[yy * nx + xx], phase[pixel]);
                let distance = (yy.abs_diff(y) as f64).hypot(xx.abs_diff(x) as f64) - 0.5;
                own >= 0 && other >= 0 && own != other && distance <= NEAR_PX
            })
        })
    };
    (0..ny * nx).map(is_near).collect()
}

/// A smooth random field whose values are evenly spread from 0 to 1.
fn field(ny: usize, nx: usize, rng: &mut ChaCha8Rng) -> Vec<f64> {
    let mut field: Vec<f64> = (0..ny * nx).map(|_| StandardNormal.sample(rng)).collect();
    for _ in 0..PASSES {
        let before = field.clone();
        for (pixel, own) in field.iter_mut().enumerate() {
            // Round the end: every pixel is the mean of as many.
            let at = |dy: usize, dx: usize| before[(pixel / nx + dy) % ny * nx + (pixel % nx + dx) % nx];
            *own = (0..9).map(|i| at(ny - 1 + i / 3, nx - 1 + i % 3)).sum::<f64>() / 9.0;
        }
    }
    // By rank: exactly the probability that is wanted, over the field.
    let mut order: Vec<usize> = (0..field.len()).collect();
    order.sort_by(|&a, &b| field[a].total_cmp(&field[b]));
    let n = field.len() as f64;
    for (rank, pixel) in order.into_iter().enumerate() {
        field[pixel] = (rank as f64 + 0.5) / n;
    }
    field
}
