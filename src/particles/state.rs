//! The state variable (the sodium content x) of pixels, and its mean over a particle with an interval.
//!
//! A pixel that is classified has the state of its phase by the confidence of the map, else that of its runner-up; every other one counts as
//! not known and widens the interval: an ambiguous pixel by all that lies between its two readings, a mixture by two errors of its
//! share, one that is like no reference, or without a verdict, by all that the references span. What classified pixels are off by has the parts that shares
//! of phases have ([`crate::damage`]): chance, block by block, and what all odds may be off by together.

use std::collections::BTreeMap;

use super::amounts::Amounts;
use crate::classify::{PhaseMap, Status};
use crate::damage::{BLOCK, Belief, Interval, MIXED, logit};
use crate::reference::ReferenceSet;

/// Standard errors on either side of a 90 % interval.
const Z90: f64 = 1.645;
/// Part of what the references span by which a mean may be off though the map is sure.
const FLOOR: f64 = 0.01;

/// The state variable of each phase of a map.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct States {
    /// Its name; none where the references have none.
    pub variable: Option<String>,
    /// One for each phase of the map.
    pub of_phase: Vec<Option<f64>>,
}

/// What is known of the state of one pixel.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PixelState {
    /// The best guess; none where there is none.
    pub x: Option<f64>,
    /// Variance of it by the belief.
    pub variance: f64,
    /// How far apart its two readings are.
    pub apart: f64,
    /// Whether it is taken to hold both.
    pub is_mixture: bool,
    /// What it may be, where it is not classified.
    pub range: Option<[f64; 2]>,
}

/// What is known of the state of a particle.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct MeanState {
    pub(crate) x: Option<Interval>,
    pub(crate) spread: Option<f64>,
    /// Part of the matter without a best guess.
    pub(crate) unknown: f64,
}

impl States {
    /// Those of the phases of a map.
    #[must_use]
    pub fn of(map: &PhaseMap, references: &ReferenceSet) -> Self {
        let state = |id: &str| {
            let reference = references.references.iter().find(|reference| reference.label.id == id)?;
            reference.composition.state.clone()
        };
        let states: Vec<Option<(String, f64)>> = map.phases.iter().map(|label| state(&label.id)).collect();
        let variable = states.iter().flatten().next().map(|(name, _)| name.clone());
        // Another variable is not to be averaged with the first.
        let own = |(name, value): (String, f64)| (Some(&name) == variable.as_ref()).then_some(value);
        let of_phase = states.iter().map(|state| state.clone().and_then(own)).collect();
        Self { variable, of_phase }
    }

    /// The least and the largest; none where no phase has any.
    #[must_use]
    pub fn span(&self) -> Option<[f64; 2]> {
        let known = || self.of_phase.iter().flatten().copied();
        known().reduce(f64::min).zip(known().reduce(f64::max)).map(|(low, high)| [low, high])
    }

    /// What a map says of a pixel.
    #[must_use]
    pub fn pixel(&self, map: &PhaseMap, pixel: usize) -> PixelState {
        let span = self.span();
        let nothing = PixelState { x: None, variance: 0.0, apart: 0.0, is_mixture: false, range: span };
        let Some(belief) = Belief::of(map, pixel) else { return nothing };
        let of = |phase: usize| self.of_phase.get(phase).copied().flatten();
        let [Some(first), Some(second)] = belief.phases.map(of) else { return nothing };
        let x = belief.share * first + (1.0 - belief.share) * second;
        let apart = (first - second).abs();
        let error = 2.0 * belief.variance.sqrt() * apart;
        let range = match map.status[pixel] {
            Status::Classified => None,
            Status::Mixture => Some([(x - error).max(first.min(second)), (x + error).min(first.max(second))]),
            _ => Some([first.min(second), first.max(second)]),
        };
        let variance = belief.variance * apart * apart;
        PixelState { x: Some(x), variance, apart, is_mixture: belief.is_mixture, range }
    }

    /// The mean over pixels, each by its amount.
    pub(crate) fn mean(&self, map: &PhaseMap, pixels: &[u32], amounts: &Amounts) -> MeanState {
        let Some([least, most]) = self.span() else { return MeanState::default() };
        let nx = map.plan.grid.nx();
        // What is opaque or was not measured has no amount, but it is there.
        let known = || pixels.iter().map(|&pixel| amounts.at(pixel as usize)).filter(|od| od.is_finite());
        let typical = match known().count() {
            0 => 1.0,
            count => (known().sum::<f64>() / count as f64).max(0.0),
        };
        let (mut whole, mut known, mut sum, mut squares, mut noise) = (0.0, 0.0, 0.0, 0.0, 0.0);
        let mut blocks: BTreeMap<usize, f64> = BTreeMap::new();
        let (mut odds, mut mixed, mut wider) = (0.0, 0.0, [0.0; 2]);
        for &pixel in pixels {
            let pixel = pixel as usize;
            let amount = amounts.at(pixel);
            let weight = if amount.is_finite() { amount.max(0.0) } else { typical };
            whole += weight;
            let state = self.pixel(map, pixel);
            let Some(x) = state.x else { continue };
            known += weight;
            sum += weight * x;
            squares += weight * x * x;
            noise += weight * state.variance;
            match state.range {
                Some([low, high]) => {
                    wider[0] += weight * (x - low);
                    wider[1] += weight * (high - x);
                    if state.is_mixture {
                        mixed += weight * MIXED * state.apart;
                    }
                }
                None => {
                    let block = (pixel / nx / BLOCK) * nx.div_ceil(BLOCK) + pixel % nx / BLOCK;
                    *blocks.entry(block).or_default() += weight * state.variance.sqrt();
                    if state.apart > 0.0 {
                        odds += weight * state.variance / state.apart;
                    }
                }
            }
        }
        let unknown = if whole > 0.0 { 1.0 - known / whole } else { 1.0 };
        if known <= 0.0 {
            return MeanState { unknown, ..MeanState::default() };
        }
        let x = sum / known;
        let chance = blocks.values().map(|error| error * error).sum::<f64>().sqrt() / known;
        let calibration = (logit(map) * odds + mixed) / known;
        let sigma = chance.hypot(calibration).hypot(FLOOR * (most - least));
        let below = Z90 * sigma + (1.0 - unknown) * wider[0] / known + unknown * (x - least);
        let above = Z90 * sigma + (1.0 - unknown) * wider[1] / known + unknown * (most - x);
        // No mixture of the phases lies beyond them.
        let interval = Interval { low: (x - below).max(least), middle: x, high: (x + above).min(most) };
        let variance = squares / known - x * x - noise / known;
        MeanState { x: Some(interval), spread: Some(variance.max(0.0).sqrt()), unknown }
    }
}
