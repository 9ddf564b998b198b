//! The pixels that are compared: across a step of the earlier dose, or particle by particle.

use std::collections::{BTreeMap, VecDeque};

use super::{BAND, ByPlace, FLOOR, LEAST_CLASS, LEAST_PIECES, LEAST_PIXELS, LEAST_WHOLE, STRIPE, TILE, mean};
use crate::damage::groups::components;
use crate::damage::shares::Belief;

/// What is compared, as it came out.
pub(super) struct Compared {
    pub(super) difference: f64,
    pub(super) sigma: f64,
    /// The difference in the standard errors that there would be, were there none.
    pub(super) z: f64,
    /// The same without the part that makes most of it.
    pub(super) least: f64,
    pub(super) pieces: usize,
    pub(super) particles: usize,
    pub(super) is_paired: bool,
}

/// A particle, and which part of the field.
type Part = (usize, usize, usize);

/// The difference at one piece of a step.
#[derive(Clone, Copy, Debug, Default)]
struct Piece {
    /// Number and sum of states: of less, of more.
    sides: [(f64, f64); 2],
    part: Part,
    /// Pixels of each class by the true step.
    truly: [usize; 2],
}

impl Piece {
    fn difference(&self) -> Option<(f64, f64)> {
        let [(n, less), (m, more)] = self.sides;
        let enough = n.min(m) >= LEAST_PIXELS as f64;
        // Domains make the scatter, not pixels: what has more of these counts little more.
        let pairs = n * m / (n + m);
        enough.then(|| (more / m - less / n, pairs / (pairs + 16.0)))
    }
}

/// The state of every pixel, and the particles.
pub(super) struct Sample {
    pub(super) variable: String,
    pub(super) state: Vec<f64>,
    particle: Vec<usize>,
    shape: [usize; 2],
}

impl Sample {
    pub(super) fn of(places: &ByPlace<'_>) -> Option<Self> {
        let (map, references) = (places.map, places.references);
        let named = |index: usize| references.references.get(index)?.composition.state.as_ref();
        let variable = (0..references.len()).find_map(named)?.0.clone();
        let of_phase: Vec<Option<f64>> =
            (0..references.len()).map(|index| named(index).map(|(_, value)| *value)).collect();
        let state = |pixel: usize| -> Option<f64> {
            let belief = Belief::of(map, pixel)?;
            let part = |(phase, part): (usize, f64)| Some(part * of_phase.get(phase).copied().flatten()?);
            belief.parts().into_iter().map(part).sum()
        };
        let matter: Vec<bool> = map.status.iter().map(|status| status.is_sample()).collect();
        let [ny, nx] = map.plan.grid.shape;
        Some(Self {
            variable,
            state: (0..map.len()).map(|pixel| state(pixel).unwrap_or(f64::NAN)).collect(),
            particle: components(&matter, ny, nx),
            shape: [ny, nx],
        })
    }

    pub(super) fn is_known(&self, pixel: usize) -> bool {
        self.state[pixel].is_finite()
    }

    /// The difference across the step, within particles; `None` where too little of it lies within any.
    pub(super) fn across(&self, class: &[Option<bool>], whole: f64) -> Option<Compared> {
        let pieces = self.pieces(class, class);
        let measured = pieces.iter().filter_map(|piece| Some((piece, piece.difference()?)));
        let found: Vec<(f64, f64)> = measured.clone().map(|(_, found)| found).collect();
        // What lies close together in one particle may owe its difference to the same domain.
        let mut parts: BTreeMap<Part, (f64, f64)> = BTreeMap::new();
        for (piece, (difference, weight)) in measured {
            let part = parts.entry(piece.part).or_default();
            *part = (part.0 + weight, part.1 + weight * difference);
        }
        if parts.len() < LEAST_PIECES {
            return None;
        }
        let of_all = |of: &dyn Fn(f64, f64) -> f64| found.iter().map(|&(d, w)| of(d, w)).sum::<f64>();
        let weight = of_all(&|_, w| w);
        let difference = of_all(&|d, w| w * d) / weight;
        let count = parts.len() as f64;
        let own = of_all(&|d, w| w * (d - difference).powi(2)) / weight * count / (count - 1.0);
        // With no other place to look at, the few parts speak for themselves, and for little. What the dose did is not the same in all phases, so
        // that their own scatter is in the error of the difference, but not in what the difference would be, were there none.
        let quiet = self.scatter(class).unwrap_or(own * (1.0 + 8.0 / count));
        // Standard error of the mean without one of the parts, or with all.
        let sigma = |scatter: f64, without: Option<Part>| {
            let own = || parts.iter().filter(|(part, _)| Some(**part) != without).map(|(_, own)| own.0);
            (scatter * own().map(|own| own * own).sum::<f64>()).sqrt() / own().sum::<f64>()
        };
        let floor = FLOOR * whole;
        let without = |(part, own): (&Part, &(f64, f64))| {
            let rest = (weight * difference - own.1) / (weight - own.0);
            rest / sigma(quiet, Some(*part)).hypot(floor)
        };
        let rests: Vec<f64> = parts.iter().map(without).collect();
        let particles: std::collections::BTreeSet<usize> = parts.keys().map(|part| part.0).collect();
        Some(Compared {
            difference,
            sigma: sigma(own.max(quiet), None).hypot(floor),
            z: difference / sigma(quiet, None).hypot(floor),
            least: rests.iter().copied().reduce(if difference < 0.0 { f64::max } else { f64::min })?,
            pieces: parts.len(),
            particles: particles.len(),
            is_paired: true,
        })
    }

    /// Mean square of differences across cuts where there is no step; `None` where there are too few.
    fn scatter(&self, class: &[Option<bool>]) -> Option<f64> {
        let [_, nx] = self.shape;
        let (mut sum, mut weight, mut count) = (0.0, 0.0, 0);
        for (along_x, from) in [(true, 0), (true, STRIPE / 2), (false, 0), (false, STRIPE / 2)] {
            let stripe = |pixel: usize| {
                let at = if along_x { pixel % nx } else { pixel / nx };
                Some(((at + from) / STRIPE).is_multiple_of(2))
            };
            let stripes: Vec<Option<bool>> = (0..class.len()).map(stripe).collect();
            for piece in self.pieces(&stripes, class) {
                // What lies across the true step has a step.
                let is_away = piece.truly[0].min(piece.truly[1]) == 0;
                if let Some((difference, own)) = piece.difference().filter(|_| is_away) {
                    (sum, weight, count) = (sum + own * difference * difference, weight + own, count + 1);
                }
            }
        }
        (count >= 2 * LEAST_PIECES).then(|| sum / weight)
    }

    /// The pieces of a step between two classes; `truth` is the true step.
    fn pieces(&self, class: &[Option<bool>], truth: &[Option<bool>]) -> Vec<Piece> {
        let [_, nx] = self.shape;
        let mut pieces: BTreeMap<Part, Piece> = BTreeMap::new();
        for side in [false, true] {
            let near = self.nearest(class, !side);
            for (pixel, &(distance, other)) in near.iter().enumerate() {
                let inside = class[pixel] == Some(side) && distance > BAND.0 && distance <= BAND.1;
                if !inside || !self.is_known(pixel) {
                    continue;
                }
                let middle = |a: usize, b: usize| (a + b) / 2 / TILE;
                let other = other as usize;
                let key =
                    (self.particle[pixel], middle(pixel / nx, other / nx), middle(pixel % nx, other % nx));
                let piece = pieces.entry(key).or_default();
                piece.part = (key.0, key.1 / 2, key.2 / 2);
                let own = &mut piece.sides[usize::from(side)];
                *own = (own.0 + 1.0, own.1 + self.state[pixel]);
                if let Some(truly) = truth[pixel] {
                    piece.truly[usize::from(truly)] += 1;
                }
            }
        }
        pieces.into_values().collect()
    }

    /// For each pixel of matter the nearest pixel of a class in its particle, along matter, and how far that is; as far as it matters.
    fn nearest(&self, class: &[Option<bool>], of: bool) -> Vec<(u16, u32)> {
        let mut found = vec![(u16::MAX, u32::MAX); class.len()];
        let mut open = VecDeque::new();
        for pixel in 0..class.len() {
            if self.particle[pixel] > 0 && class[pixel] == Some(of) {
                found[pixel] = (0, pixel as u32);
                let inner = self.beside(pixel).all(|other| class[other] == Some(of));
                if !inner {
                    open.push_back(pixel);
                }
            }
        }
        while let Some(pixel) = open.pop_front() {
            let (distance, from) = found[pixel];
            if distance >= BAND.1 {
                continue;
            }
            for other in self.beside(pixel) {
                if found[other].0 == u16::MAX {
                    found[other] = (distance + 1, from);
                    open.push_back(other);
                }
            }
        }
        found
    }

    /// The pixels of matter beside one.
    fn beside(&self, pixel: usize) -> impl Iterator<Item = usize> {
        let [ny, nx] = self.shape;
        let (y, x) = (pixel / nx, pixel % nx);
        let rows = y.saturating_sub(1)..=(y + 1).min(ny - 1);
        let columns = x.saturating_sub(1)..=(x + 1).min(nx - 1);
        rows.flat_map(move |y| columns.clone().map(move |x| y * nx + x))
            .filter(move |&other| other != pixel && self.particle[other] > 0)
    }

    /// The difference between whole particles.
    pub(super) fn between(&self, class: &[Option<bool>]) -> Option<Compared> {
        let count = self.particle.iter().copied().max().unwrap_or(0);
        // Of each particle: pixels of less, of more, and of known state, with the sum of these.
        let mut particles = vec![([0_usize; 2], 0_usize, 0.0); count + 1];
        for (pixel, &of) in self.particle.iter().enumerate() {
            if let (Some(class), true) = (class[pixel], of > 0 && self.is_known(pixel)) {
                let particle = &mut particles[of];
                particle.0[usize::from(class)] += 1;
                (particle.1, particle.2) = (particle.1 + 1, particle.2 + self.state[pixel]);
            }
        }
        let of_side = |side: usize| -> Vec<f64> {
            particles
                .iter()
                .filter(|(sides, count, _)| *count >= LEAST_CLASS && 10 * sides[side] >= 9 * *count)
                .map(|(_, count, sum)| sum / *count as f64)
                .collect()
        };
        let (less, more) = (of_side(0), of_side(1));
        if less.len().min(more.len()) < LEAST_WHOLE {
            return None;
        }
        let spread = |values: &[f64], mean: f64| {
            let n = values.len() as f64;
            values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / (n - 1.0) / n
        };
        let (a, b) = (mean(less.iter().copied())?, mean(more.iter().copied())?);
        // A few particles do not say well how they scatter.
        let few = 1.0 + LEAST_WHOLE as f64 / (less.len() + more.len()) as f64;
        let sigma = (spread(&less, a) + spread(&more, b)).sqrt() * few;
        (sigma > 0.0).then(|| Compared {
            difference: b - a,
            sigma,
            z: (b - a) / sigma,
            least: (b - a) / sigma,
            pieces: less.len().min(more.len()),
            particles: less.len() + more.len(),
            is_paired: false,
        })
    }
}
