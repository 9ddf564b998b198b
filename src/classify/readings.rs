//! The readings of one spectrum: each phase alone, each pair of phases along the beam, or none of them.
//!
//! Every reading has a likelihood from its weighted fit (scaled as [`super::confidence`] says) and a probability
//! beforehand: that of any mixture is estimated from all pixels of the scan ([`mixture_prior`]) and shared by the pairs in proportion to the product of their phases'
//! priors, so that many pairs have no better chance than few; the rest for the phases alone. A mixture has a share to
//! choose and pays for it: of shares evenly spread beforehand only those within the error fit (Occam's factor). So
//! one phase is the simpler reading, and of two that describe a spectrum equally well it wins, with a confidence
//! that leaves room for the other.
//!
//! *Unknown* is not weighed against the rest, since nothing says what it would look like: it is what even the best
//! pair leaves too much of, by the noise and by the scan's own misfit.

use super::confidence::{Scale, log_sum};
use super::mixture::{MixtureFit, PairFit};
use super::{NO_PHASE, NO_READINGS};

/// Probability of two phases along the beam before anything is known of the scan.
pub(super) const MIXTURE_PRIOR: f64 = 0.15;
/// What that probability can become once the scan's pixels were asked.
const MIXTURE_PRIORS: [f64; 2] = [0.03, 0.3];
/// Deviations of chi² that even the best pair must leave before a spectrum is unknown.
const UNKNOWN_DEVIATIONS: f64 = 7.0;
/// The least part of chi² that is left of what is unknown; any instrument leaves less of what is known.
const UNKNOWN_PART: f64 = 0.01;
/// A reading is named beside the best one where its log odds are within this.
const NAMED_ODDS: f64 = 2.5;
/// And this much more for a mixture beside one phase: what its prior and its share cost.
const MIXTURE_ALLOWANCE: f64 = 3.0;
/// Shares at which a pair is weighed; even, so that none is one half.
const SHARES: usize = 20;
/// Error of a share below which its best value stands for all: less than the step.
const FINE_SHARE: f64 = 0.03;
/// Log likelihood, relative to the best phase alone, below which a pair is not worth a closer look.
const HOPELESS: f64 = -8.0;
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
    /// Log probability of the pair.
    pub score: f64,
    /// Probability, given the pair, that the first of `fit.pair` is the larger part.
    pub first_larger: f64,
    /// Probability, given the pair, that neither makes up [`PURE_SHARE`].
    pub mixed: f64,
}

/// The readings of one spectrum, weighed.
#[derive(Clone, Debug, Default)]
pub(super) struct Readings {
    /// Log probability of each phase alone.
    pub singles: Vec<f64>,
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
    /// Weighs the readings of the spectrum in `fit`; `log_prior` is empty for equal priors.
    pub(super) fn weigh(
        &mut self,
        fit: &MixtureFit,
        scale: &Scale<'_>,
        log_prior: &[f32],
        phases: usize,
        mixture_prior: f64,
    ) {
        let chi2 = |k: usize| fit.single(k);
        let Some(least) = (0..phases).min_by(|&a, &b| chi2(a).total_cmp(&chi2(b))) else { return };
        let (floor, signal) = (chi2(least), fit.signal());
        let dispersion = scale.dispersion(floor, signal);
        self.pairs.clear();
        self.pairs.extend(fit.pairs().map(|fit| PairReading {
            fit,
            score: 0.0,
            first_larger: 1.0,
            mixed: 0.0,
        }));
        let best_chi2 = self.pairs.iter().map(|pair| f64::from(pair.fit.chi2)).fold(floor, f64::min);
        let freedom = (scale.freedom - 1.0).max(1.0);
        let expected = 1.0;
        self.best_reduced = best_chi2 / freedom;
        self.deviations = (best_chi2 / expected - freedom) / (2.0 * freedom).sqrt();
        self.left = if signal > 0.0 { best_chi2 / signal } else { 0.0 };
        let own = (0.5 * (1.0 + self.best_reduced / expected)).max(1.0);
        let pair_dispersion = scale.pair_dispersion(floor, signal) * own;

        // Priors, normalised: a phase p_k (1 - m), a pair m 2 p_i p_j / (1 - sum p²).
        let prior = |k: usize| log_prior.get(k).map_or(0.0, |&p| f64::from(p));
        let norm = log_sum((0..phases).map(prior));
        let square: f64 = (0..phases).map(|k| (2.0 * (prior(k) - norm)).exp()).sum();
        let pair_norm = (2.0 * mixture_prior / (1.0 - square).max(1e-6)).ln();
        self.singles.clear();
        self.singles.extend((0..phases).map(|k| {
            let evidence = scale.evidence(least, k, chi2(k) - floor, dispersion, phases);
            (1.0 - mixture_prior).ln() + prior(k) - norm - 0.5 * evidence
        }));
        for pair in &mut self.pairs {
            let [i, j] = pair.fit.pair.map(usize::from);
            let evidence = pair.weigh(fit, floor, pair_dispersion);
            pair.score = pair_norm + prior(i) + prior(j) - 2.0 * norm + evidence;
        }
        let all = log_sum(self.singles.iter().copied().chain(self.pairs.iter().map(|p| p.score)));
        self.singles.iter_mut().for_each(|score| *score -= all);
        self.pairs.iter_mut().for_each(|pair| pair.score -= all);
        self.mixture = self.pairs.iter().map(|pair| pair.score.exp()).sum();
    }

    /// Whether the spectrum is like none of the references, nor like two of them.
    pub(super) fn is_unknown(&self, misfit: f64) -> bool {
        self.deviations > UNKNOWN_DEVIATIONS && self.left > UNKNOWN_PART + 3.0 * misfit
    }

    /// The pair of the highest probability.
    pub(super) fn best_pair(&self) -> Option<(PairFit, f64)> {
        self.pairs.iter().map(|pair| (pair.fit, pair.score)).max_by(|a, b| a.1.total_cmp(&b.1))
    }

    /// Probability that `phase` is the phase, or the larger part of a mixture.
    pub(super) fn mostly(&self, phase: u8) -> f64 {
        let alone = self.singles.get(phase as usize).map_or(0.0, |score| score.exp());
        let part = |pair: &PairReading| match pair.fit.pair {
            [one, _] if one == phase => pair.score.exp() * pair.first_larger,
            [_, two] if two == phase => pair.score.exp() * (1.0 - pair.first_larger),
            _ => 0.0,
        };
        alone + self.pairs.iter().map(part).sum::<f64>()
    }

    /// Probability of two phases of which neither makes up [`PURE_SHARE`] or more.
    pub(super) fn mixed(&self) -> f64 {
        self.pairs.iter().map(|pair| pair.score.exp() * pair.mixed).sum()
    }

    /// Log odds of a mixture over one phase, were both equally likely beforehand.
    pub(super) fn mixture_odds(&self, mixture_prior: f64) -> f64 {
        let logit = |p: f64| (p / (1.0 - p)).ln();
        logit(self.mixture.clamp(1e-12, 1.0 - 1e-12)) - logit(mixture_prior)
    }

    /// The reading `first`, and the best other one, the likelier first; [`NO_READINGS`] where no other describes
    /// the spectrum about as well. A phase and a mixture with it are one reading with a larger or a smaller share.
    pub(super) fn alternatives(&self, first: ReadingId) -> [u8; 4] {
        let is_pair = first[1] != NO_PHASE;
        let own = if is_pair {
            self.pairs.iter().find(|pair| same(pair.fit.pair, first)).map(|pair| pair.score)
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
            .map(|pair| (pair.fit.pair, pair.score));
        let other = alone.chain(mixed).max_by(|a, b| a.1.total_cmp(&b.1));
        let (Some(own), Some((other, score))) = (own, other) else { return NO_READINGS };
        // The prior, and the price of a share, are no reason not to name a mixture: what counts is how well it fits.
        let allowance = if is_pair { 0.0 } else { MIXTURE_ALLOWANCE };
        match score - own {
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

/// The probability of a mixture in a scan, from the log odds of its pixels: the value that reproduces itself as the
/// mean of what the pixels then say.
pub(super) fn mixture_prior(odds: &[f64]) -> f64 {
    if odds.is_empty() {
        return MIXTURE_PRIOR;
    }
    let [least, most] = MIXTURE_PRIORS;
    let mut prior = MIXTURE_PRIOR;
    for _ in 0..25 {
        let logit = (prior / (1.0 - prior)).ln();
        let sum: f64 = odds.iter().map(|odds| 1.0 / (1.0 + (-(odds + logit)).exp())).sum();
        prior = (sum / odds.len() as f64).clamp(least, most);
    }
    prior
}

fn same(a: ReadingId, b: ReadingId) -> bool {
    a == b || a == [b[1], b[0]]
}

impl PairReading {
    /// Log of the likelihood over that of the chi² `floor`, on average over the shares from 0 to 1.
    fn weigh(&mut self, fit: &MixtureFit, floor: f64, dispersion: f64) -> f64 {
        let PairFit { pair, share, share_error, chi2 } = self.fit;
        let gain = 0.5 * (floor - f64::from(chi2)) / dispersion;
        let error = f64::from(share_error) * dispersion.sqrt();
        if gain < HOPELESS || error < FINE_SHARE {
            // A narrow peak: its height times its width; at an end only half of it.
            let width = (2.0 * std::f64::consts::PI).sqrt() * error;
            let width = if share >= 1.0 { 0.5 * width } else { width };
            self.mixed = f64::from(u8::from(f64::from(share) < PURE_SHARE));
            return gain + width.clamp(1e-9, 1.0).ln();
        }
        let (mut all, mut larger, mut mixed) = (0.0, 0.0, 0.0);
        for step in 0..SHARES {
            let share = (step as f64 + 0.5) / SHARES as f64;
            let chi2 = fit.at_share(pair.map(usize::from), share);
            let likelihood = (0.5 * (floor - chi2) / dispersion - gain).exp();
            all += likelihood;
            larger += if share > 0.5 { likelihood } else { 0.0 };
            mixed += if share > 1.0 - PURE_SHARE && share < PURE_SHARE { likelihood } else { 0.0 };
        }
        (self.first_larger, self.mixed) = (larger / all, mixed / all);
        gain + (all / SHARES as f64).ln()
    }
}

#[cfg(test)]
mod tests;
