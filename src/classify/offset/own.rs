//! The references' own displacements: how far each reference lies from the scan's common offset.
//!
//! Where references come from another beamline or another sample, each is off by some hundredths of an eV of its own, and two
//! phases that differ mainly by a shift (V3+, V4+, V5+) then pass for each other. All pixels of a phase share its
//! displacement, so a scan with several phases tells it: the likelihood of all pixels, each averaged over the phases, is
//! raised by moving one reference after the other over a grid (coordinate ascent), displacements being normally distributed
//! about the common offset with a deviation of [`WIDTH_EV`]. A phase that hardly any pixel has stays at the common offset.

use rayon::prelude::*;

use super::likelihood::Table;

/// Deviation of the displacements that are expected, eV.
pub(super) const WIDTH_EV: f64 = 0.06;
/// The pixels together count as no more than this many of independent error.
const INDEPENDENT_PIXELS: f64 = 100.0;
/// Pixels that are asked, at most.
const MOST_PIXELS: usize = 512;
/// Rounds over all phases.
const ROUNDS: usize = 6;
/// Steps toward the shares in each of them.
const SHARE_STEPS: usize = 6;
/// A phase is looked for as though it had this share at least: one that is lost to another at the common offset has none.
pub(super) const LEAST_SHARE: f64 = 0.05;
/// Share from which a phase counts as there.
const PRESENT: f64 = 0.03;

/// What the search found.
#[derive(Clone, Debug)]
pub(super) struct Own {
    /// Offset of each reference, eV, the common one included.
    pub offsets_ev: Vec<f64>,
    /// The mean of those of the phases that are there.
    pub common_ev: f64,
    /// Shares of the pixels.
    pub shares: Vec<f64>,
}

impl Own {
    /// Of how many equally common phases the pixels might be.
    pub(super) fn effective_phases(&self) -> f64 {
        1.0 / self.shares.iter().map(|share| share * share).sum::<f64>().max(1e-12)
    }

    /// The cost of the displacements: minus the logarithm of how likely they were beforehand.
    pub(super) fn cost(&self) -> f64 {
        self.offsets_ev.iter().map(|own| 0.5 * ((own - self.common_ev) / WIDTH_EV).powi(2)).sum()
    }
}

/// Searches in `table`, whose offsets are those that a reference may take, from the common offset `start_ev` on. Every phase is
/// looked for as though it had `least_share` of the pixels.
pub(super) fn search(table: &Table, start_ev: f64, least_share: f64) -> Own {
    let mut state = State::new(table, start_ev, least_share);
    for _ in 0..ROUNDS {
        let before = state.at.clone();
        state.share();
        for phase in 0..state.phases {
            state.step(phase);
        }
        state.centre();
        if state.at == before {
            break;
        }
    }
    state.finish()
}

struct State<'a> {
    offsets_ev: &'a [f64],
    phases: usize,
    pixels: usize,
    /// Likelihood over the pixel's largest, `[(offset * phases + phase) * pixels + pixel]`.
    likelihood: Vec<f64>,
    /// Index of the offset of each phase.
    at: Vec<usize>,
    shares: Vec<f64>,
    common_ev: f64,
    least_share: f64,
}

impl<'a> State<'a> {
    fn new(table: &'a Table, start_ev: f64, least_share: f64) -> Self {
        let (offsets_ev, phases) = (table.offsets(), table.phases());
        let stride = table.pixels().div_ceil(MOST_PIXELS).max(1);
        let pixels = table.pixels().div_ceil(stride);
        let tops: Vec<f64> = (0..table.pixels())
            .step_by(stride)
            .map(|pixel| {
                let all = (0..offsets_ev.len()).flat_map(|o| (0..phases).map(move |k| (o, k)));
                all.map(|(o, k)| table.of_phase(pixel, k, o)).fold(f64::NEG_INFINITY, f64::max)
            })
            .collect();
        let likelihood = (0..offsets_ev.len() * phases)
            .into_par_iter()
            .flat_map_iter(|column| {
                let (offset, phase) = (column / phases, column % phases);
                let of =
                    |(index, top): (usize, &f64)| (table.of_phase(index * stride, phase, offset) - top).exp();
                tops.iter().enumerate().map(of).collect::<Vec<f64>>()
            })
            .collect();
        let nearest = (0..offsets_ev.len())
            .min_by(|&a, &b| (offsets_ev[a] - start_ev).abs().total_cmp(&(offsets_ev[b] - start_ev).abs()));
        Self {
            offsets_ev,
            phases,
            pixels,
            likelihood,
            at: vec![nearest.unwrap_or(0); phases],
            shares: vec![1.0 / phases as f64; phases],
            common_ev: start_ev,
            least_share,
        }
    }

    fn of(&self, phase: usize, offset: usize) -> &[f64] {
        let column = offset * self.phases + phase;
        &self.likelihood[column * self.pixels..(column + 1) * self.pixels]
    }

    /// The shares that make all pixels likeliest; each phase keeps one pixel's worth.
    fn share(&mut self) {
        for _ in 0..SHARE_STEPS {
            let total = self.weighed(None);
            let pixels = self.pixels as f64;
            let share = |phase: usize| {
                let own = self.of(phase, self.at[phase]).iter().zip(&total);
                let sum: f64 = own.map(|(l, total)| self.shares[phase] * l / total).sum();
                (1.0 / self.phases as f64 + sum) / (pixels + 1.0)
            };
            self.shares = (0..self.phases).map(share).collect();
        }
    }

    /// Each pixel's likelihood averaged over the phases, but `without`.
    fn weighed(&self, without: Option<usize>) -> Vec<f64> {
        // No pixel is impossible: what is none of the phases says nothing of any.
        let mut total = vec![1e-300; self.pixels];
        for phase in (0..self.phases).filter(|phase| Some(*phase) != without) {
            let own = self.of(phase, self.at[phase]);
            total.iter_mut().zip(own).for_each(|(total, l)| *total += self.shares[phase] * l);
        }
        total
    }

    /// Moves one phase to where all pixels are likeliest.
    fn step(&mut self, phase: usize) {
        let rest = self.weighed(Some(phase));
        let temper = (INDEPENDENT_PIXELS / self.pixels as f64).min(1.0);
        let share = self.shares[phase].max(self.least_share);
        let value = |offset: usize| {
            let sum: f64 =
                self.of(phase, offset).iter().zip(&rest).map(|(l, rest)| (rest + share * l).ln()).sum();
            temper * sum - 0.5 * ((self.offsets_ev[offset] - self.common_ev) / WIDTH_EV).powi(2)
        };
        let values: Vec<f64> = (0..self.offsets_ev.len()).into_par_iter().map(value).collect();
        self.at[phase] =
            (0..values.len()).fold(self.at[phase], |best, i| if values[i] > values[best] { i } else { best });
    }

    /// The common offset: the mean over the pixels.
    fn centre(&mut self) {
        let total: f64 = self.shares.iter().sum();
        let sum: f64 = (0..self.phases).map(|k| self.shares[k] * self.offsets_ev[self.at[k]]).sum();
        self.common_ev = sum / total;
    }

    fn finish(self) -> Own {
        let total: f64 = self.shares.iter().sum();
        let shares: Vec<f64> = self.shares.iter().map(|share| share / total).collect();
        let there: Vec<usize> = (0..self.phases).filter(|&k| shares[k] >= PRESENT).collect();
        let common_ev = if there.is_empty() {
            self.common_ev
        } else {
            there.iter().map(|&k| self.offsets_ev[self.at[k]]).sum::<f64>() / there.len() as f64
        };
        let own = |k: usize| if shares[k] >= PRESENT { self.offsets_ev[self.at[k]] } else { common_ev };
        Own { offsets_ev: (0..self.phases).map(own).collect(), common_ev, shares }
    }
}
