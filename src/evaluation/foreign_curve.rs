//! Spectra that are in no reference, made otherwise than those the training sees.
//!
//! Five kinds in equal parts: an edge with two to five Gaussian peaks at random places; an edge alone; a reference whose structure is
//! moved by 1.5 to 3 eV; a reference turned round in energy; and a relative: a reference whose structure is scaled by a factor that
//! wanders between 0.5 and 1.5, from one 2 eV knot to the next. All are about as high as the references are, and all have an edge jump
//! of at least half the references': what has no edge is background, which is another question.

use rand::Rng as _;
use rand_chacha::ChaCha8Rng;

use super::draw::od_near;
use crate::reference::{Reference, ReferenceSet, Window};

/// Least edge jump, as a share of the mean reference's.
const LEAST_JUMP: f64 = 0.5;
/// Distance of the knots of a relative, eV.
const KNOT_EV: f64 = 2.0;
/// Draws before a curve without such a jump is taken.
const ATTEMPTS: usize = 200;

/// Mean over the white-line window less mean over the pre-edge window.
fn edge_jump(references: &ReferenceSet, od_at: &dyn Fn(f64) -> f64) -> f64 {
    let mean = |window: Window| {
        let step = (window.to_ev - window.from_ev) / 20.0;
        (0..=20).map(|i| od_at(window.from_ev + step * f64::from(i))).sum::<f64>() / 21.0
    };
    mean(references.white_line) - mean(references.pre_edge)
}

/// One foreign spectrum.
pub(super) enum ForeignCurve<'a> {
    /// An edge and peaks: base, (centre, width, height) of the edge, and of each peak.
    Peaks { base: f64, edge: (f64, f64, f64), peaks: Vec<(f64, f64, f64)> },
    /// A reference read at another energy: `a + b * energy`.
    Moved { reference: &'a Reference, a: f64, b: f64 },
    /// A reference with other heights: lowest value, start of the knots, eV, and factors at them.
    Relative { reference: &'a Reference, low: f64, from_ev: f64, knots: Vec<f64> },
}

impl<'a> ForeignCurve<'a> {
    /// Draws one for energies from `from_ev` to `to_ev`; after many without an edge jump, whatever comes.
    pub(super) fn draw(rng: &mut ChaCha8Rng, references: &'a ReferenceSet, range_ev: (f64, f64)) -> Self {
        let of_references: f64 = references
            .references
            .iter()
            .map(|reference| edge_jump(references, &|energy_ev| od_near(reference, energy_ev)))
            .sum();
        let least = LEAST_JUMP * of_references / references.len() as f64;
        let mut curve = Self::any(rng, references, range_ev);
        for _ in 0..ATTEMPTS {
            if edge_jump(references, &|energy_ev| curve.od_at(energy_ev)) >= least {
                break;
            }
            curve = Self::any(rng, references, range_ev);
        }
        curve
    }

    fn any(rng: &mut ChaCha8Rng, references: &'a ReferenceSet, (from_ev, to_ev): (f64, f64)) -> Self {
        let reference = &references.references[rng.random_range(0..references.len())];
        let inside: Vec<f64> = (0..=100)
            .map(|i| od_near(reference, from_ev + (to_ev - from_ev) * f64::from(i) / 100.0))
            .collect();
        let low = inside.iter().copied().fold(f64::INFINITY, f64::min);
        let high = inside.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        match rng.random_range(0..5) {
            kind @ (0 | 1) => {
                let place = |rng: &mut ChaCha8Rng| rng.random_range(from_ev..to_ev);
                let height = (high - low) * rng.random_range(0.4..1.0);
                let edge = (place(rng), rng.random_range(0.3..1.5), height * rng.random_range(0.2..0.6));
                let count = if kind == 0 { rng.random_range(2..6) } else { 0 };
                let peaks = (0..count)
                    .map(|_| (place(rng), rng.random_range(0.4..1.5), height * rng.random_range(0.3..1.0)))
                    .collect();
                let edge = if kind == 1 { (edge.0, edge.1, height) } else { edge };
                Self::Peaks { base: low, edge, peaks }
            }
            2 => {
                let far: f64 = rng.random_range(1.5..3.0);
                Self::Moved { reference, a: if rng.random_bool(0.5) { far } else { -far }, b: 1.0 }
            }
            3 => Self::Moved { reference, a: from_ev + to_ev, b: -1.0 },
            _ => {
                let count = ((to_ev - from_ev) / KNOT_EV) as usize + 2;
                let knots = (0..count).map(|_| rng.random_range(0.5..1.5)).collect();
                Self::Relative { reference, low, from_ev, knots }
            }
        }
    }

    /// Optical density at an energy.
    pub(super) fn od_at(&self, energy_ev: f64) -> f64 {
        match self {
            Self::Peaks { base, edge: (centre, width, height), peaks } => {
                let step = 0.5 + ((energy_ev - centre) / width).atan() / std::f64::consts::PI;
                let peak = |(centre, width, height): &(f64, f64, f64)| {
                    height * (-0.5 * ((energy_ev - centre) / width).powi(2)).exp()
                };
                base + height * step + peaks.iter().map(peak).sum::<f64>()
            }
            Self::Moved { reference, a, b } => od_near(reference, a + b * energy_ev),
            Self::Relative { reference, low, from_ev, knots } => {
                let place = ((energy_ev - from_ev) / KNOT_EV).clamp(0.0, (knots.len() - 1) as f64);
                let lower = (place as usize).min(knots.len() - 2);
                let factor = knots[lower] + (place - lower as f64) * (knots[lower + 1] - knots[lower]);
                low + (od_near(reference, energy_ev) - low) * factor
            }
        }
    }
}
