//! How the forecasts of this very scan have fared.
//!
//! The forecast of changes takes every pixel for one of the references and the noise for counting noise. Where two
//! phases lie over each other, or the references do not quite fit, more guesses change than it says. So each forecast
//! is kept until the energies that it was about are there, and what changed in fact is counted; what changed beyond
//! the forecast is taken to go on at the same rate per growth of the evidence ([`growth`]).

use std::collections::VecDeque;

use super::axis::Axis;
use super::beam::Beam;
use super::crowd::{Crowd, is_mixed};
use super::rest::{Beyond, change};
use crate::classify::{NO_PHASE, PhaseMap};

/// Forecasts that are looked back on.
const WINDOW: usize = 10;
/// Fewest of them.
const SHORTEST: usize = 3;

/// A forecast and what became of it.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Outcome {
    expected: f64,
    changed: f64,
    growth: f64,
    /// Guesses there were.
    guesses: f64,
}

/// What changes, per growth of the evidence, as shares of the guesses.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Drift {
    /// Beyond the forecasts.
    pub excess: f64,
    /// In all, with 95 % not more than this: with few changes counted, few were to be counted. Infinite while nothing
    /// was.
    pub most: f64,
}

/// What is known of the generation before.
#[derive(Clone, Debug)]
struct Before {
    guesses: Vec<u8>,
    complete: Vec<bool>,
    crowd: Crowd,
    beam: Beam,
}

/// The forecasts of one scan.
#[derive(Clone, Debug, Default)]
pub(super) struct History {
    before: Option<Before>,
    outcomes: VecDeque<Outcome>,
}

impl History {
    /// Takes in a generation: `complete` says which energies it has whole. Generations between are passed over.
    pub(super) fn push(
        &mut self,
        map: &PhaseMap,
        crowd: &Crowd,
        axis: &Axis,
        beam: &Beam,
        complete: &[bool],
    ) {
        let guess = |pixel: usize| if is_mixed(map, pixel) { NO_PHASE } else { map.phase[pixel] };
        if let Some(before) = &self.before {
            if before.guesses.len() != map.len() || before.complete.len() != complete.len() {
                *self = Self::default();
            } else {
                let new: Vec<usize> =
                    (0..complete.len()).filter(|&e| complete[e] && !before.complete[e]).collect();
                if new.is_empty() {
                    return;
                }
                if before.crowd.census.pixels > 0 {
                    let known = || (0..map.len()).filter(|&pixel| before.guesses[pixel] != NO_PHASE);
                    let other = |pixel: &usize| {
                        let now = guess(*pixel);
                        now != NO_PHASE && now != before.guesses[*pixel]
                    };
                    let guesses = known().count().max(1) as f64;
                    let changed = known().filter(other).count() as f64 / guesses;
                    let expected =
                        change(&before.crowd, axis, &before.beam, &new, Beyond::default()).expected;
                    let growth = growth(&before.crowd, axis, &before.beam, &new);
                    self.outcomes.push_back(Outcome { expected, changed, growth, guesses });
                    if self.outcomes.len() > WINDOW {
                        self.outcomes.pop_front();
                    }
                }
            }
        }
        self.before = Some(Before {
            guesses: (0..map.len()).map(guess).collect(),
            complete: complete.to_vec(),
            crowd: crowd.clone(),
            beam: beam.clone(),
        });
    }

    /// How forecasts have fared of late: over the last three or more, whichever say most. Few allow little to be said;
    /// many reach back to when much was open.
    pub(super) fn drift(&self) -> Drift {
        let count = self.outcomes.len();
        let spans = (SHORTEST.min(count.max(1))..=count).map(|span| self.drift_of(count - span));
        spans.min_by(|a, b| a.most.total_cmp(&b.most)).unwrap_or(Drift { excess: 0.0, most: f64::INFINITY })
    }

    /// The same over the forecasts from `first` on.
    fn drift_of(&self, first: usize) -> Drift {
        let outcomes = || self.outcomes.iter().skip(first);
        let sum = |value: fn(&Outcome) -> f64| outcomes().map(value).sum::<f64>();
        let growth = sum(|outcome| outcome.growth);
        if growth <= 0.0 {
            return Drift { excess: 0.0, most: f64::INFINITY };
        }
        let changed = sum(|outcome| outcome.changed);
        let pixels = sum(|outcome| outcome.guesses) / outcomes().count().max(1) as f64;
        // Upper limit of a Poisson count: 3.0 for none, 1.645 deviations above many.
        let count = changed * pixels;
        let most = (count + 1.35 + 1.645 * (count + 1.0).sqrt()) / pixels;
        Drift { excess: (changed - sum(|outcome| outcome.expected)).max(0.0) / growth, most: most / growth }
    }
}

/// By how much `energies` let the evidence grow: the mean over groups and pairs of ln((1 + after) / (1 + before)).
pub(super) fn growth(crowd: &Crowd, axis: &Axis, beam: &Beam, energies: &[usize]) -> f64 {
    let (mut sum, mut count) = (0.0, 0_u32);
    for group in &crowd.groups {
        let mut after = group.clone();
        energies.iter().for_each(|&energy| after.measure(axis, beam, crowd.max_od, energy));
        for (rival, (after, before)) in after.contrasts.iter().zip(&group.contrasts).enumerate() {
            if rival != group.phase {
                sum += ((1.0 + after.distance()) / (1.0 + before.distance())).ln();
                count += 1;
            }
        }
    }
    sum / f64::from(count.max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn history(outcomes: &[Outcome]) -> History {
        History { before: None, outcomes: outcomes.iter().copied().collect() }
    }

    const QUIET: Outcome = Outcome { expected: 0.001, changed: 0.0, growth: 0.1, guesses: 2000.0 };

    #[test]
    fn nothing_looked_back_on_allows_nothing_to_be_said() {
        assert_eq!(history(&[]).drift(), Drift { excess: 0.0, most: f64::INFINITY });
    }

    #[test]
    fn no_change_seen_allows_three_pixels_and_the_more_evidence_came_the_less() {
        let short = history(&[QUIET; 3]).drift();
        assert!((short.most - 2.995 / 2000.0 / 0.3).abs() < 1e-9 && short.excess == 0.0, "{short:?}");
        assert!(history(&[QUIET; 6]).drift().most < 0.6 * short.most);
    }

    #[test]
    fn what_changed_beyond_the_forecast_goes_on_and_what_is_long_past_does_not() {
        let loud = Outcome { changed: 0.02, ..QUIET };
        let drift = history(&[loud; 3]).drift();
        assert!((drift.excess - 0.057 / 0.3).abs() < 1e-9 && drift.most > 0.06 / 0.3, "{drift:?}");
        let calmed = [[loud; 2].as_slice(), &[QUIET; 6]].concat();
        let drift = history(&calmed).drift();
        assert!(drift.excess == 0.0 && drift.most < 0.01, "{drift:?}");
    }
}
