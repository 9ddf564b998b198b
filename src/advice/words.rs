//! From numbers to advice, with the reasons in words.

use super::axis::Axis;
use super::beam::Beam;
use super::border::Border;
use super::crowd::Crowd;
use super::history::{Drift, growth};
use super::next::{Travel, Worth, expected_gain, rank, sequence};
use super::report::{Advice, Candidate, Open, Pair, Stop};
use super::rest::{Beyond, change};
use super::{APART_EV, AdviceSettings, CANDIDATES, FINE_STEP_EV, MISFIT, SEQUENCE, Situation, is_allowed};

/// How much more may change than earlier changes allow to expect, where all that is left lies beyond the measured range:
/// what ascending scans of simulated samples that differ from the references, and a recorded stack, showed.
const UNSEEN_FACTOR: f64 = 4.0;

/// Everything that the words are made of.
pub(super) struct Teller<'a> {
    pub situation: &'a Situation<'a>,
    pub settings: &'a AdviceSettings,
    pub crowd: &'a Crowd,
    /// The plan.
    pub axis: &'a Axis,
    pub beam: &'a Beam,
    pub travel: Travel,
    /// How earlier forecasts fared.
    pub drift: Drift,
    /// Energies of the axis less set-points.
    pub shift_ev: f64,
}

impl Teller<'_> {
    pub(super) fn tell(&self, dwell_at: &impl Fn(f64) -> f64) -> Advice {
        let (crowd, axis) = (self.crowd, self.axis);
        let pairs = self.pairs();
        let allowed = |energy: usize| is_allowed(self.situation, energy, &[]);
        let planned =
            rank(crowd, axis, self.beam, &self.travel, (0..axis.len()).filter(|&energy| allowed(energy)));
        let next = self.candidates(axis, &planned, &pairs, true);
        let fine = Axis::fine(self.situation.references(), FINE_STEP_EV, dwell_at);
        let everywhere = rank(crowd, &fine, self.beam, &self.travel, 0..fine.len());
        let anywhere = self.candidates(&fine, &everywhere, &pairs, false);
        let allowed = |energy: usize, chosen: &[usize]| is_allowed(self.situation, energy, chosen);
        let sequence = sequence(crowd, axis, self.beam, &self.travel, SEQUENCE, allowed);
        let stop = self.stop();
        let caution = self.caution();
        let text = self.line(&next, &stop, caution.is_some());
        Advice {
            generation: self.situation.map.origin.generation,
            energies_done: self.situation.measured.iter().filter(|measured| **measured).count(),
            open: self.open(),
            pairs: pairs.into_iter().take(CANDIDATES).collect(),
            sequence_ev: sequence.into_iter().map(|e| self.set_point(axis.energies_ev[e])).collect(),
            next,
            anywhere,
            stop,
            caution,
            text,
        }
    }

    fn set_point(&self, energy_ev: f64) -> f64 {
        ((energy_ev - self.shift_ev) * 1e6).round() / 1e6
    }

    fn name(&self, phase: usize) -> String {
        self.situation.map.phases[phase].id.clone()
    }

    fn wrong(&self) -> f64 {
        self.crowd.groups.iter().flat_map(|group| &group.wrong).sum()
    }

    fn open(&self) -> Open {
        let census = &self.crowd.census;
        let share = |count: usize| count as f64 / census.pixels.max(1) as f64;
        // None, noise, mixture, indistinguishable, reference.
        let [_, noise, mixture, indistinguishable, reference] = census.ambiguous;
        Open {
            pixels: census.pixels,
            ambiguous: share(census.ambiguous.iter().sum()),
            noise: share(noise),
            mixture: share(mixture + indistinguishable),
            reference: share(reference),
            wrong: (self.wrong() + census.settled_doubt) / census.pixels.max(1) as f64,
        }
    }

    fn pairs(&self) -> Vec<Pair> {
        let phases = self.axis.phases();
        let mut sums = vec![0.0; phases * phases];
        for group in &self.crowd.groups {
            for (rival, wrong) in group.wrong.iter().enumerate() {
                sums[group.phase.min(rival) * phases + group.phase.max(rival)] += wrong;
            }
        }
        let all = sums.iter().sum::<f64>().max(1e-300);
        let mut order: Vec<usize> = (0..sums.len()).filter(|&pair| sums[pair] > 0.0).collect();
        order.sort_by(|&a, &b| sums[b].total_cmp(&sums[a]));
        let pair = |index: usize| Pair {
            phase: self.name(index / phases),
            runner_up: self.name(index % phases),
            share: sums[index] / all,
        };
        order.into_iter().map(pair).collect()
    }

    fn candidates(&self, axis: &Axis, ranked: &[Worth], pairs: &[Pair], planned: bool) -> Vec<Candidate> {
        let mut kept: Vec<Worth> = Vec::new();
        // While nothing is guessed an energy may be needed without telling any two phases apart.
        for worth in ranked.iter().filter(|worth| worth.score > 0.0 || self.crowd.prior) {
            let far = |other: &Worth| {
                (axis.energies_ev[other.energy] - axis.energies_ev[worth.energy]).abs() >= APART_EV
            };
            if kept.len() < CANDIDATES && kept.iter().all(far) {
                kept.push(*worth);
            }
        }
        let best = kept.first().map_or(1.0, Worth::rate);
        kept.iter().map(|worth| self.candidate(axis, worth, best, pairs, planned)).collect()
    }

    fn candidate(&self, axis: &Axis, worth: &Worth, best: f64, pairs: &[Pair], planned: bool) -> Candidate {
        let separates = worth.pair.map(|phase| self.name(phase));
        let is_it = |pair: &&Pair| pair.phase == separates[0] && pair.runner_up == separates[1];
        let share = pairs.iter().find(is_it).map_or(0.0, |pair| pair.share);
        let energy_ev = self.set_point(axis.energies_ev[worth.energy]);
        let of = if self.crowd.prior {
            String::new()
        } else {
            format!(" ({:.0} % of what may be wrong)", 100.0 * share)
        };
        Candidate {
            energy_ev,
            energy_index: planned.then_some(worth.energy),
            gain: expected_gain(self.crowd, axis, self.beam, worth.energy)
                / self.crowd.census.pixels.max(1) as f64,
            seconds: worth.seconds,
            relative_worth: worth.rate() / best,
            text: format!("{energy_ev:.2} eV: separates {} from {}{of}", separates[0], separates[1]),
            separates,
            share,
        }
    }

    fn stop(&self) -> Stop {
        let measured = self.situation.measured;
        let left: Vec<usize> = (0..measured.len()).filter(|&energy| !measured[energy]).collect();
        let usable: Vec<usize> = left.iter().copied().filter(|&energy| self.axis.used[energy]).collect();
        let mut travel = self.travel;
        let seconds_left: f64 = left
            .iter()
            .map(|&energy| {
                let energy_ev = self.axis.energies_ev[energy];
                let seconds = travel.seconds(energy_ev, self.axis.dwell_ms[energy]);
                travel.from_ev = Some(energy_ev);
                seconds
            })
            .sum();
        let dose = |energy: usize| {
            let [amplitude, base] = self.crowd.typical;
            let phases = self.axis.phases();
            let mean = (0..phases).map(|k| self.axis.od(energy, k)).sum::<f64>() / phases as f64;
            let od = base + amplitude * mean;
            self.beam.dose(self.axis.energies_ev[energy], self.axis.dwell_ms[energy], od)
        };
        let whole: f64 = (0..measured.len()).map(dose).sum();
        let dose_left = left.iter().map(|&energy| dose(energy)).sum::<f64>() / whole.max(1e-300);
        let known = self.crowd.census.pixels > 0;
        let targets = self.situation.targets;
        let beyond = if usable.is_empty() { Beyond::default() } else { self.beyond(&usable) };
        let change = change(self.crowd, self.axis, self.beam, &usable, beyond);
        let used = || (0..measured.len()).filter(|&energy| measured[energy] && targets.used[energy]);
        let has = targets.sides_of(used());
        let sides = (0..2).all(|side| has[side] || !targets.sides[side]);
        let enough = sides && used().count() >= self.situation.min_energies();
        let small = change.interval[1] <= self.settings.stop_below;
        let stop = known && enough && small && !left.is_empty() && self.caution().is_none();
        let text = self.stop_words(known && enough, stop, &change, left.len(), seconds_left, dose_left);
        Stop {
            stop,
            expected_change: known.then_some(change.expected),
            interval: known.then_some(change.interval),
            mixture_change: change.of_mixtures,
            expected_gain: change.gain,
            limit: self.settings.stop_below,
            energies_left: left.len(),
            seconds_left,
            dose_left,
            text,
        }
    }

    /// What changes and is not told by the pixels' odds.
    fn beyond(&self, left: &[usize]) -> Beyond {
        let growth = growth(self.crowd, self.axis, self.beam, left);
        let pixels = self.crowd.census.pixels.max(1) as f64;
        let border = Border::new(self.situation, self.crowd, self.axis, self.beam);
        // Changes seen within a range say less of what lies beyond it, where the references were not tried yet.
        let most = self.drift.most * growth * (1.0 + (UNSEEN_FACTOR - 1.0) * self.unseen(left));
        Beyond {
            excess: self.drift.excess * growth,
            // Before anything could change nothing is known, unless nothing can be gained.
            most: if growth > 0.0 { most.min(1.0) } else { 0.0 },
            crossing: border.crossings() / pixels,
        }
    }

    /// Share of the energies `left` that lie beyond the measured range.
    fn unseen(&self, left: &[usize]) -> f64 {
        let measured = self.situation.measured;
        let seen = || (0..measured.len()).filter(|&e| measured[e]).map(|e| self.axis.energies_ev[e]);
        let (low, high) = (seen().fold(f64::INFINITY, f64::min), seen().fold(f64::NEG_INFINITY, f64::max));
        let beyond = left.iter().filter(|&&e| !(low..=high).contains(&self.axis.energies_ev[e])).count();
        beyond as f64 / left.len().max(1) as f64
    }

    fn stop_words(
        &self,
        known: bool,
        stop: bool,
        change: &super::rest::Change,
        left: usize,
        seconds_left: f64,
        dose_left: f64,
    ) -> String {
        if left == 0 {
            return "the plan is measured".to_owned();
        }
        if !known {
            return "too early to say what the rest would change".to_owned();
        }
        let percent = |share: f64| format!("{:.1}", 100.0 * share);
        let [low, high] = change.interval;
        let mut text = format!(
            "the rest would change {} % of the pixels ({} to {} %)",
            percent(change.expected),
            percent(low),
            percent(high)
        );
        if stop {
            let saved = format!("; you can stop and save {left} energies, {seconds_left:.0} s");
            text.push_str(&format!("{saved}, {:.0} % of the dose", 100.0 * dose_left));
        }
        text
    }

    fn caution(&self) -> Option<String> {
        let misfit = self.crowd.census.misfit;
        (misfit > MISFIT).then(|| {
            format!(
                "the references do not describe the sample (reduced chi squared {misfit:.1} for the pixel in the \
                 middle): more energies may change more than is said here"
            )
        })
    }

    fn line(&self, next: &[Candidate], stop: &Stop, doubtful: bool) -> String {
        let best = next.first().map(|candidate| format!("next best: {}", candidate.text));
        let mut parts: Vec<String> = best.filter(|_| !stop.stop).into_iter().collect();
        parts.push(stop.text.clone());
        if doubtful {
            parts.push("not to be trusted, the references do not fit".to_owned());
        }
        parts.join("; ")
    }
}
