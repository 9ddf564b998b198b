//! How much of each phase pixels hold, by what the map believes of them, and by how much that may be off.
//!
//! A classified or ambiguous pixel is its phase with the probability that the map gives it, else its runner-up; a mixture is both in their
//! shares. Pixels of which nothing is believed (unknown, saturated, empty) are left out: shares are those of the sample that can be named,
//! and sum to one.
//!
//! What they are off by has three parts. *Chance*: the variance `p (1 - p)` of each pixel, or that of its share; pixels in one block of
//! [`BLOCK`] × [`BLOCK`] are taken to err together, since neighbours share their evidence. *Calibration*: the odds of all pixels may be off alike, by as
//! much as references off by 0.1 eV and a tenth make them, more where the energies of the scan are known less well; so may the shares of
//! all mixtures. *The rest*: [`FLOOR`] and, for few pixels, [`EDGE`], what scans of one undamaged place differ by though the map is sure. They say how two scans of one place may
//! differ, not how far a share may be from the truth where references are wrong in both.

use std::collections::BTreeMap;

use super::history::Estimate;
use crate::classify::{NO_PHASE, PhaseMap, Status};

/// Side of the blocks whose pixels err together.
pub(crate) const BLOCK: usize = 3;
/// What the logarithm of all odds may be off by.
const LOGIT: f64 = 0.7;
/// Error of the energies that makes as much again, eV.
const LOGIT_EV: f64 = 0.05;
/// Error of the energies where they cannot be estimated, eV.
const UNKNOWN_EV: f64 = 0.2;
/// What the shares in all mixtures may be off by.
pub(crate) const MIXED: f64 = 0.05;
/// Standard error of a share in one mixture whose fit does not tell.
const SHARE: f64 = 0.1;
/// What shares differ by from scan to scan though the map is sure.
const FLOOR: f64 = 0.01;
/// The same for one pixel: which pixels belong to a small particle is not the same twice.
const EDGE: f64 = 0.15;

/// What is believed of one pixel.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Belief {
    /// Its phase, and the runner-up, which is the same where there is none.
    pub(crate) phases: [usize; 2],
    /// How much of it is the first.
    pub(crate) share: f64,
    /// Variance of that.
    pub(crate) variance: f64,
    /// Whether it is taken to hold both.
    pub(crate) is_mixture: bool,
}

impl Belief {
    /// Of a pixel of a map; `None` where nothing is believed of it.
    pub(crate) fn of(map: &PhaseMap, pixel: usize) -> Option<Self> {
        let known = |phase: u8| (usize::from(phase) < map.phases.len()).then_some(usize::from(phase));
        let first = known(*map.phase.get(pixel)?).filter(|_| map.phase[pixel] != NO_PHASE)?;
        let second = known(map.runner_up[pixel]).unwrap_or(first);
        let is_mixture = map.status[pixel] == Status::Mixture;
        let (share, variance) = match map.status[pixel] {
            Status::Mixture => {
                let share = f64::from(map.share[pixel]);
                let error = f64::from(map.share_error[pixel]);
                (share, if error.is_finite() { error } else { SHARE }.powi(2))
            }
            Status::Classified | Status::Ambiguous => {
                let p = f64::from(map.confidence[pixel]);
                (p, p * (1.0 - p))
            }
            _ => return None,
        };
        let sound = share.is_finite() && (0.0..=1.0).contains(&share);
        sound.then_some(Self { phases: [first, second], share, variance: variance.min(0.25), is_mixture })
    }

    /// Both phases with how much of the pixel they are.
    pub(crate) fn parts(&self) -> [(usize, f64); 2] {
        [(self.phases[0], self.share), (self.phases[1], 1.0 - self.share)]
    }
}

/// What the logarithm of all odds of a map may be off by.
pub(crate) fn logit(map: &PhaseMap) -> f64 {
    let offset = &map.origin.energy_offset;
    let error_ev = if offset.error_ev.is_finite() { offset.error_ev.abs() } else { UNKNOWN_EV };
    LOGIT * (error_ev / LOGIT_EV).hypot(1.0)
}

/// The share of each phase in pixels of a map, in the order of its phases; empty where nothing is believed of any pixel.
pub(crate) fn shares(map: &PhaseMap, pixels: &[usize]) -> Vec<Estimate> {
    let (phases, nx) = (map.phases.len(), map.plan.grid.nx());
    let (mut sums, mut odds, mut mixed) = (vec![0.0; phases], vec![0.0; phases], vec![0.0; phases]);
    let mut blocks: BTreeMap<(usize, usize), f64> = BTreeMap::new();
    let mut count = 0.0;
    for &pixel in pixels {
        let Some(belief) = Belief::of(map, pixel) else { continue };
        count += 1.0;
        let block = (pixel / nx / BLOCK) * nx.div_ceil(BLOCK) + pixel % nx / BLOCK;
        for (phase, part) in belief.parts() {
            sums[phase] += part;
        }
        if belief.phases[0] == belief.phases[1] {
            continue;
        }
        for phase in belief.phases {
            *blocks.entry((phase, block)).or_default() += belief.variance.sqrt();
            if belief.is_mixture { mixed[phase] += MIXED } else { odds[phase] += belief.variance }
        }
    }
    if count == 0.0 {
        return Vec::new();
    }
    let mut chance = vec![0.0; phases];
    for ((phase, _), error) in blocks {
        chance[phase] += error * error;
    }
    let logit = logit(map);
    let estimate = |phase: usize| {
        let calibration = (logit * odds[phase] + mixed[phase]) / count;
        Estimate {
            value: sums[phase] / count,
            sigma: (chance[phase].sqrt() / count).hypot(calibration).hypot(FLOOR).hypot(EDGE / count.sqrt()),
        }
    };
    (0..phases).map(estimate).collect()
}

#[cfg(test)]
#[path = "shares_tests.rs"]
pub(super) mod tests;
