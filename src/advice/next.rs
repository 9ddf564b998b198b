//! Which energy to measure next.
//!
//! An energy is worth what it lowers the bound on the wrong guesses, per second that it takes: with two readings of
//! probability P and Q that an energy sets g further apart, the error is at most sqrt(P Q) (A. Bhattacharyya, 1943)
//! and falls by the factor exp(-g/8). Unlike the expected error itself, which a single energy often cannot change
//! though three together would, this bound rewards every step on the way. The second it takes is exposure of the whole
//! image, the move, and settling. What is told of an energy is the expected error all the same.

use super::axis::Axis;
use super::beam::Beam;
use super::crowd::{Crowd, Group};

/// What a move of the monochromator costs, and where it stands.
#[derive(Clone, Copy, Debug)]
pub(super) struct Travel {
    pub from_ev: Option<f64>,
    pub move_ms_per_ev: f64,
    pub settle_ms: f64,
    /// Pixels of an image.
    pub pixels: f64,
}

impl Travel {
    /// Time until an image at `energy_ev` is there, s.
    pub(super) fn seconds(&self, energy_ev: f64, dwell_ms: f64) -> f64 {
        let way_ev = self.from_ev.map_or(0.0, |from_ev| (energy_ev - from_ev).abs());
        (way_ev * self.move_ms_per_ev + self.settle_ms + dwell_ms * self.pixels) * 1e-3
    }
}

/// One energy and what it is worth.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Worth {
    pub energy: usize,
    /// Fall of the bound.
    pub score: f64,
    pub seconds: f64,
    /// The pair that gains most.
    pub pair: [usize; 2],
}

impl Worth {
    pub(super) fn rate(&self) -> f64 {
        self.score / self.seconds.max(1e-9)
    }
}

/// What each of `energies` is worth, the best per second first.
pub(super) fn rank(
    crowd: &Crowd,
    axis: &Axis,
    beam: &Beam,
    travel: &Travel,
    energies: impl Iterator<Item = usize>,
) -> Vec<Worth> {
    let phases = axis.phases();
    let mut pairs = vec![0.0; phases * phases];
    let mut ranked: Vec<Worth> = energies
        .filter(|&energy| axis.used[energy])
        .filter_map(|energy| {
            pairs.fill(0.0);
            for group in &crowd.groups {
                for rival in group.rivals() {
                    let (low, high) = (group.phase.min(rival), group.phase.max(rival));
                    pairs[low * phases + high] += fall(crowd, group, axis, beam, energy, rival);
                }
            }
            let score = pairs.iter().sum::<f64>();
            let best = (0..pairs.len()).max_by(|&a, &b| pairs[a].total_cmp(&pairs[b]))?;
            let seconds = travel.seconds(axis.energies_ev[energy], axis.dwell_ms[energy]);
            let pair = [best / phases, best % phases];
            score.is_finite().then_some(Worth { energy, score, seconds, pair })
        })
        .collect();
    ranked.sort_by(|a, b| b.rate().total_cmp(&a.rate()).then(a.energy.cmp(&b.energy)));
    ranked
}

fn fall(crowd: &Crowd, group: &Group, axis: &Axis, beam: &Beam, energy: usize, rival: usize) -> f64 {
    let gain = group
        .sight(axis, beam, crowd.max_od, energy, rival)
        .map_or(0.0, |sight| group.contrasts[rival].gain(&sight));
    group.mass[rival] * (1.0 - (-gain / 8.0).exp())
}

/// By how many pixels an energy is expected to lower the wrong guesses.
pub(super) fn expected_gain(crowd: &Crowd, axis: &Axis, beam: &Beam, energy: usize) -> f64 {
    let gains: Vec<Vec<f64>> = crowd
        .groups
        .iter()
        .map(|group| {
            let gain = |rival: usize| {
                let sight = group.sight(axis, beam, crowd.max_od, energy, rival);
                sight.map_or(0.0, |sight| group.contrasts[rival].gain(&sight))
            };
            (0..axis.phases()).map(|rival| if rival == group.phase { 0.0 } else { gain(rival) }).collect()
        })
        .collect();
    crowd
        .cases
        .iter()
        .filter(|case| !case.mixed)
        .map(|case| {
            let gain =
                |(rival, odds): (usize, super::odds::Odds)| odds.gain(gains[case.group][rival] * case.scale);
            case.weight * case.rivals().map(gain).sum::<f64>()
        })
        .sum()
}

/// The next `count` energies one after the other, each chosen as if those before had been measured. `allowed` is asked
/// with the energies chosen so far.
pub(super) fn sequence(
    crowd: &Crowd,
    axis: &Axis,
    beam: &Beam,
    travel: &Travel,
    count: usize,
    allowed: impl Fn(usize, &[usize]) -> bool,
) -> Vec<usize> {
    let (mut crowd, mut travel, mut chosen) = (crowd.clone(), *travel, Vec::new());
    while chosen.len() < count {
        let free = (0..axis.len()).filter(|&energy| allowed(energy, &chosen));
        let Some(best) = rank(&crowd, axis, beam, &travel, free).first().copied() else { break };
        for group in &mut crowd.groups {
            let before: Vec<f64> = group.contrasts.iter().map(|contrast| contrast.distance()).collect();
            group.measure(axis, beam, crowd.max_od, best.energy);
            for (rival, mass) in group.mass.iter_mut().enumerate() {
                *mass *= (-(group.contrasts[rival].distance() - before[rival]) / 8.0).exp();
            }
        }
        travel.from_ev = Some(axis.energies_ev[best.energy]);
        chosen.push(best.energy);
    }
    chosen
}
