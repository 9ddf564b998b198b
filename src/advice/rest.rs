//! What the rest of the scan would still change.
//!
//! Every open pixel may still turn out to be one of its other readings; how probable that is follows from its odds and
//! from how far the energies to come set the two references apart ([`super::odds`]). The sum is the share of pixels
//! whose best guess changes. Its interval has three parts: chance (pixels fall one way or the other), the noise or the
//! references being off (distances half or twice as large), and what the changes so far allow to expect
//! ([`super::history`]). Pixels that become background or no longer are come on top.

use super::axis::Axis;
use super::beam::Beam;
use super::crowd::{Case, Crowd};

/// How far the distances may be wrong either way.
const DISTANCE_FACTOR: f64 = 2.0;
/// Standard deviations of a one-sided 95 % limit.
const QUANTILE: f64 = 1.645;

/// Shares of the sample pixels.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Change {
    /// Expected share whose best guess changes.
    pub expected: f64,
    /// Between these with 90 %.
    pub interval: [f64; 2],
    /// Those of `expected` that hold two phases: which is the larger is not settled, and need not be.
    pub of_mixtures: f64,
    /// Expected fall of the share of wrong guesses.
    pub gain: f64,
}

/// Shares that the odds of the pixels do not tell.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Beyond {
    /// To be added because earlier forecasts were too low.
    pub excess: f64,
    /// The most that earlier changes allow to expect.
    pub most: f64,
    /// Pixels that become background, or no longer are.
    pub crossing: f64,
}

/// What measuring the energies `left` would change.
pub(super) fn change(crowd: &Crowd, axis: &Axis, beam: &Beam, left: &[usize], beyond: Beyond) -> Change {
    let distances: Vec<Vec<f64>> = crowd
        .groups
        .iter()
        .map(|group| {
            let mut after = group.clone();
            left.iter().for_each(|&energy| after.measure(axis, beam, crowd.max_od, energy));
            let pairs = after.contrasts.iter().zip(&group.contrasts);
            pairs.map(|(after, before)| after.distance() - before.distance()).collect()
        })
        .collect();
    let pixels = crowd.census.pixels.max(1) as f64;
    let of = |case: &Case, factor: f64| -> f64 {
        let each = case.rivals().map(|(rival, odds)| {
            let g = distances[case.group][rival] * case.scale * factor;
            if case.mixed { odds.change(g).max(odds.change_of_both(g)) } else { odds.change(g) }
        });
        each.sum::<f64>().min(1.0)
    };
    let sum = |factor: f64, mixed: bool| -> [f64; 2] {
        let chosen = crowd.cases.iter().filter(|case| case.mixed == mixed);
        chosen.fold([0.0; 2], |[sum, variance], case| {
            let p = of(case, factor);
            // A case that stands for several pixels varies as one that was drawn from them.
            [sum + case.weight * p, variance + case.weight * case.weight * p * (1.0 - p)]
        })
    };
    let [alone, variance] = sum(1.0, false);
    let [mixed, _] = sum(1.0, true);
    let [fewer, more] = [1.0 / DISTANCE_FACTOR, DISTANCE_FACTOR].map(|factor| sum(factor, false)[0]);
    let settled = if left.is_empty() { 0.0 } else { crowd.census.settled_doubt };
    let chance = QUANTILE * variance.sqrt();
    let gain = |case: &Case| {
        let each = case.rivals().map(|(rival, odds)| odds.gain(distances[case.group][rival] * case.scale));
        case.weight * each.sum::<f64>()
    };
    let highest = (fewer.max(more).max(alone) + chance + 2.0 * settled) / pixels + beyond.excess;
    Change {
        expected: ((alone + settled) / pixels + beyond.excess + beyond.crossing).min(1.0),
        interval: [
            (fewer.min(more).min(alone) - chance).max(0.0) / pixels,
            (highest.max(beyond.most) + 2.0 * beyond.crossing).min(1.0),
        ],
        of_mixtures: mixed / pixels,
        gain: crowd.cases.iter().filter(|case| !case.mixed).map(gain).sum::<f64>() / pixels,
    }
}
