//! The readings of one spectrum: each phase alone, each pair of phases along the beam, or none of them.
//!
//! The probabilities come from the belief over compositions ([`super::neighbours`]): one phase is the simpler reading
//! as far as the scan's pixels are pure, and of two that describe a spectrum equally well it wins, with a confidence
//! that leaves room for the other.
//!
//! *Unknown* is not weighed against the rest, since nothing says what it would look like: it is what even the best
//! pair leaves too much of, by the noise and by the scan's own misfit.

use super::composition::Compositions;
use super::mixture::{MixtureFit, PairFit};
use super::{NO_PHASE, NO_READINGS};

/// Deviations of chi² that even the best pair must leave before a spectrum is unknown.
const UNKNOWN_DEVIATIONS: f64 = 7.0;
/// The least part of chi² that is left of what is unknown; any instrument leaves less of what is known.
const UNKNOWN_PART: f64 = 0.01;
/// A reading is named beside the best one where its log odds are within this.
const NAMED_ODDS: f64 = 2.5;
/// And this much more for a mixture beside one phase: what its prior and its share cost.
const MIXTURE_ALLOWANCE: f64 = 3.0;
/// Share of one phase from which a pixel may go by its name.
const PURE_SHARE: f64 = 0.8;
/// A mixture with more of one phase than this is that phase.
const MOSTLY_ONE: f32 = 0.95;
/// What two readings of a spectrum must differ by, as a share of its variance, to be told apart in practice:
/// a relative error of 2 % of the references, twice over.
const TELLING_PART: f64 = 0.0016;

/// One reading: a phase, then [`NO_PHASE`], or two phases.
pub(super) type ReadingId = [u8; 2];

/// A pair of phases, weighed.
#[derive(Clone, Copy, Debug)]
pub(super) struct PairReading {
    /// The best fit.
    pub fit: PairFit,
    /// Probability of the pair.
    pub probability: f64,
    /// Probability, given the pair, that the first of `fit.pair` is the larger part.
    pub first_larger: f64,
    /// Probability, given the pair, that neither makes up [`PURE_SHARE`].
    pub mixed: f64,
}

/// The readings of one spectrum, weighed.
#[derive(Clone, Debug, Default)]
pub(super) struct Readings {
    /// Probability of each phase alone.
    pub singles: Vec<f64>,
    /// Probability of each phase, alone or as the larger part.
    mostly: Vec<f64>,
    /// Each pair.
    pub pairs: Vec<PairReading>,
    /// Probability of any mixture.
    pub mixture: f64,
    /// Reduced chi² of the best fit of all.
    pub best_reduced: f64,
    /// By how many deviations chi² of the best fit is above what noise and misfit leave.
    pub deviations: f64,
    /// Share of the variance that the best fit leaves.
    pub left: f64,
}

impl Readings {
    /// Takes in what the fits of a spectrum leave, and the best fit of every pair.
    pub(super) fn fit(&mut self, fit: &MixtureFit, phases: usize, freedom: f64) {
        let floor = (0..phases).map(|k| fit.single(k)).fold(f64::INFINITY, f64::min);
        let signal = fit.signal();
        self.singles.clear();
        self.pairs.clear();
        self.pairs.extend(fit.pairs().map(|fit| PairReading {
            fit,
            probability: 0.0,
            first_larger: 1.0,
            mixed: 0.0,
        }));
        let best_chi2 = self.pairs.iter().map(|pair| f64::from(pair.fit.chi2)).fold(floor, f64::min);
        let freedom = (freedom - 1.0).max(1.0);
        self.best_reduced = best_chi2 / freedom;
        self.deviations = (best_chi2 - freedom) / (2.0 * freedom).sqrt();
        self.left = if signal > 0.0 { best_chi2 / signal } else { 0.0 };
    }

    /// Takes the probabilities from a belief over `compositions`.
    pub(super) fn believe(&mut self, belief: &[f32], compositions: &Compositions) {
        let phases = compositions.phases();
        self.singles.clear();
        self.singles.extend(belief[..phases].iter().map(|&p| f64::from(p)));
        self.mostly.clear();
        self.mostly.extend_from_slice(&self.singles);
        self.mixture = 0.0;
        for pair in &mut self.pairs {
            let (mut all, mut larger, mut mixed) = (0.0, 0.0, 0.0);
            let [first, second] = pair.fit.pair.map(usize::from);
            let entries = compositions.of_pair(first, second);
            for (entry, &p) in compositions.entries()[entries.clone()].iter().zip(&belief[entries]) {
                let (p, share) = (f64::from(p), f64::from(entry.share_of(first)));
                all += p;
                larger += p * f64::from(entry.dominated_by(first));
                mixed += if share > 1.0 - PURE_SHARE && share < PURE_SHARE { p } else { 0.0 };
            }
            let scale = 1.0 / all.max(1e-30);
            (pair.probability, pair.first_larger, pair.mixed) = (all, larger * scale, mixed * scale);
            self.mostly[first] += larger;
            self.mostly[second] += all - larger;
            self.mixture += all;
        }
    }

    /// The phase that is likeliest to be the only one or the larger part, and the next.
    pub(super) fn two_likeliest(&self) -> [u8; 2] {
        let likely = |not: u8| {
            let phases = (0..self.singles.len() as u8).filter(|&phase| phase != not);
            phases.max_by(|&a, &b| self.mostly(a).total_cmp(&self.mostly(b)).then(b.cmp(&a)))
        };
        let Some(first) = likely(NO_PHASE) else { return [NO_PHASE; 2] };
        [first, likely(first).unwrap_or(NO_PHASE)]
    }

    /// Whether the spectrum is like none of the references, nor like two of them.
    pub(super) fn is_unknown(&self, misfit: f64) -> bool {
        self.deviations > UNKNOWN_DEVIATIONS && self.left > UNKNOWN_PART + 3.0 * misfit
    }

    /// The pair of the highest probability.
    pub(super) fn best_pair(&self) -> Option<PairReading> {
        self.pairs.iter().copied().max_by(|a, b| a.probability.total_cmp(&b.probability))
    }

    /// Probability that `phase` is the phase, or the larger part of a mixture.
    pub(super) fn mostly(&self, phase: u8) -> f64 {
        self.mostly.get(usize::from(phase)).copied().unwrap_or(0.0)
    }

    /// Probability of two phases of which neither makes up [`PURE_SHARE`] or more.
    pub(super) fn mixed(&self) -> f64 {
        self.pairs.iter().map(|pair| pair.probability * pair.mixed).sum()
    }

    /// The reading `first`, and the best other one, the likelier first; [`NO_READINGS`] where no other describes
    /// the spectrum about as well. A phase and a mixture with it are one reading with a larger or a smaller share.
    pub(super) fn alternatives(&self, first: ReadingId) -> [u8; 4] {
        let is_pair = first[1] != NO_PHASE;
        let own = if is_pair {
            self.pairs.iter().find(|pair| same(pair.fit.pair, first)).map(|pair| pair.probability)
        } else {
            self.singles.get(first[0] as usize).copied()
        };
        let alone = (0..self.singles.len())
            .map(|k| ([k as u8, NO_PHASE], self.singles[k]))
            .filter(|(id, _)| is_pair && !first.contains(&id[0]));
        let mixed = self
            .pairs
            .iter()
            .filter(|pair| pair.fit.share < MOSTLY_ONE && !same(pair.fit.pair, first))
            .filter(|pair| is_pair || !pair.fit.pair.contains(&first[0]))
            .map(|pair| (pair.fit.pair, pair.probability));
        let other = alone.chain(mixed).max_by(|a, b| a.1.total_cmp(&b.1));
        let (Some(own), Some((other, probability))) = (own, other) else { return NO_READINGS };
        let log = |p: f64| p.max(1e-30).ln();
        // The prior, and the price of a share, are no reason not to name a mixture: what counts is how well it fits.
        let allowance = if is_pair { 0.0 } else { MIXTURE_ALLOWANCE };
        match log(probability) - log(own) {
            odds if odds > 0.0 => [other[0], other[1], first[0], first[1]],
            odds if odds > -NAMED_ODDS - allowance => [first[0], first[1], other[0], other[1]],
            _ => NO_READINGS,
        }
    }

    /// Whether any number of counts could tell two readings apart: false where what distinguishes them is
    /// smaller than what references miss.
    pub(super) fn distinguishable(&self, fit: &MixtureFit, readings: [u8; 4], misfit: f64) -> bool {
        let [a, b, c, d] = readings;
        let amounts = |one: u8, two: u8| {
            if two == NO_PHASE {
                return vec![(usize::from(one), 1.0)];
            }
            let fitted = self.pairs.iter().find(|pair| same(pair.fit.pair, [one, two]));
            let share = fitted.map_or(0.5, |pair| f64::from(pair.fit.share));
            let [larger, smaller] = fitted.map_or([one, two], |pair| pair.fit.pair);
            vec![(usize::from(larger), share), (usize::from(smaller), 1.0 - share)]
        };
        let part = match (b == NO_PHASE, d == NO_PHASE) {
            (_, false) => fit.own_part(&amounts(a, b), [c.into(), d.into()]),
            (false, true) => fit.own_part(&amounts(c, d), [a.into(), b.into()]),
            (true, true) => 1.0,
        };
        part > TELLING_PART + misfit
    }
}

/// Whether two readings are the same, in whichever order they name their phases.
pub(super) fn same(a: ReadingId, b: ReadingId) -> bool {
    a == b || a == [b[1], b[0]]
}

#[cfg(test)]
mod tests;
