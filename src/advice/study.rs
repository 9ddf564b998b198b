//! What following the advice saves: scans measured energy by energy in several orders, through the stages of the daemon.
//!
//! A [`Trial`] is a whole scan and the truth of its pixels, simulated or recorded. A course measures its energies in
//! one order, makes a live map after each, and notes how right the best guesses are, what they cost, and what the
//! advice said would still change; when all energies are there it is known what did. All orders of a trial see the
//! same counts.

mod summary;
mod trial;

use serde::Serialize;

pub use summary::{Course, Reached, Stopped, Study};
pub use trial::{Trial, TrialSettings};

use super::crowd::is_mixed;
use super::{AdviceSettings, Adviser, Situation, design};
use crate::classify::{LiveMap, NO_PHASE, PhaseMap, Recipe};
use crate::stack::{Stack, StackError};

/// In which order the energies of a plan are measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Order {
    /// As planned, low to high.
    Ascending,
    /// For each number of energies, that many evenly spaced ones; a scan that was planned with so few.
    EvenlySpaced,
    /// Halves, quarters, eighths: coarse first, then between.
    BitReversed,
    /// The list that `design` makes from the references alone.
    Designed,
    /// What the advice says, one energy at a time.
    Advised,
}

impl Order {
    /// Every order.
    pub const ALL: [Self; 5] =
        [Self::Ascending, Self::EvenlySpaced, Self::BitReversed, Self::Designed, Self::Advised];

    /// Its name in tables.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Ascending => "ascending",
            Self::EvenlySpaced => "evenly spaced",
            Self::BitReversed => "bit-reversed",
            Self::Designed => "designed",
            Self::Advised => "advised",
        }
    }
}

/// One more energy measured, and what is known then.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Step {
    /// Its index in the plan; of evenly spaced ones the last.
    pub energy: usize,
    /// Energies so far.
    pub energies: usize,
    /// Share of the scored pixels whose best guess is right.
    pub accuracy: f64,
    /// Mean over the phases of that share.
    pub balanced: f64,
    /// Time so far, s.
    pub seconds: f64,
    /// Dose so far, share of that of the whole plan.
    pub dose: f64,
    /// What the advice said would still change.
    pub forecast: Option<f64>,
    /// Its interval.
    pub interval: Option<[f64; 2]>,
    /// Share that did change until the plan was measured, pixels that hold two phases by the map's own word left out.
    pub changed: f64,
    /// Whether the advice was to stop.
    pub stop: bool,
    #[serde(skip)]
    guesses: Vec<u8>,
    #[serde(skip)]
    mixed: Vec<bool>,
}

/// Measures `trial` in `order`, at most `most` energies of it. What changed is counted up to the last of them.
///
/// # Errors
/// A trial whose values do not fit its plan.
pub fn course(
    trial: &Trial,
    recipe: &Recipe,
    settings: &AdviceSettings,
    order: Order,
    most: usize,
) -> Result<Vec<Step>, StackError> {
    let energies = trial.plan.energies_ev.len().min(most);
    let fixed = match order {
        Order::Ascending => Some(ascending(trial)),
        Order::BitReversed => Some(bit_reversed(trial)),
        Order::Designed => Some(design::order(&recipe.references, &trial.plan.energies_ev, trial.photons)),
        Order::EvenlySpaced => return evenly_spaced(trial, recipe, settings, energies),
        Order::Advised => None,
    };
    let mut bench = Bench::new(trial, recipe, settings);
    let mut steps: Vec<Step> = Vec::with_capacity(energies);
    let mut wanted: Option<usize> = None;
    while bench.count < energies {
        let next = match &fixed {
            Some(order) => order[bench.count],
            None => match wanted {
                Some(energy) => energy,
                None => bench.first(),
            },
        };
        let (step, advised) = bench.measure(next)?;
        steps.push(step);
        wanted = advised.or_else(|| bench.unmeasured());
    }
    settle_changes(&mut steps);
    Ok(steps)
}

/// Notes at each step what changed until the last one.
fn settle_changes(steps: &mut [Step]) {
    let Some(last) = steps.last().map(|last| last.guesses.clone()) else { return };
    for step in steps {
        // A pixel that becomes background, or no longer is, has changed as well.
        let differs = |pixel: &usize| last[*pixel] != step.guesses[*pixel] && !step.mixed[*pixel];
        let known = (0..last.len()).filter(|&pixel| step.guesses[pixel] != NO_PHASE).count();
        let changed = if known == 0 { 0 } else { (0..last.len()).filter(differs).count() };
        step.changed = changed as f64 / known.max(1) as f64;
    }
}

fn ascending(trial: &Trial) -> Vec<usize> {
    let energies_ev = &trial.plan.energies_ev;
    let mut order: Vec<usize> = (0..energies_ev.len()).collect();
    order.sort_by(|&a, &b| energies_ev[a].total_cmp(&energies_ev[b]));
    order
}

fn bit_reversed(trial: &Trial) -> Vec<usize> {
    let ascending = ascending(trial);
    let n = ascending.len();
    let bits = n.next_power_of_two().trailing_zeros().max(1);
    let reversed = (0..1_u32 << bits).map(|i| (i.reverse_bits() >> (32 - bits)) as usize);
    reversed.filter(|&i| i < n).map(|i| ascending[i]).collect()
}

/// One scan under way.
struct Bench<'a> {
    trial: &'a Trial,
    recipe: &'a Recipe,
    settings: &'a AdviceSettings,
    stack: Stack,
    live: LiveMap,
    measured: Vec<bool>,
    count: usize,
    seq: u64,
    adviser: Adviser,
    at_ev: Option<f64>,
    seconds: f64,
    dose: f64,
}

impl<'a> Bench<'a> {
    fn new(trial: &'a Trial, recipe: &'a Recipe, settings: &'a AdviceSettings) -> Self {
        let stack = Stack::new(trial.plan.clone());
        let live = LiveMap::new(&stack, recipe.clone());
        Self {
            measured: vec![false; trial.plan.energies_ev.len()],
            trial,
            recipe,
            settings,
            stack,
            live,
            count: 0,
            seq: 0,
            adviser: Adviser::new(*settings),
            at_ev: None,
            seconds: 0.0,
            dose: 0.0,
        }
    }

    fn unmeasured(&self) -> Option<usize> {
        self.measured.iter().position(|measured| !measured)
    }

    /// The energy that the advice names before anything is measured.
    fn first(&mut self) -> usize {
        let changes = self.stack.take_changes();
        let reason = self.live.advance(&self.stack, &changes);
        let (map, _) = self.live.generation_of(&self.stack, reason, None);
        let advice = self.advise(&map);
        advice.and_then(|advice| advice.next.first()?.energy_index).unwrap_or(0)
    }

    fn advise(&mut self, map: &PhaseMap) -> Option<super::Advice> {
        let view = self.live.view(&self.stack);
        let situation = Situation {
            map,
            view: &view,
            targets: self.live.targets(),
            measured: &self.measured,
            complete: &self.measured,
            at_ev: self.at_ev,
            recipe: self.recipe,
        };
        self.adviser.advise(&situation)
    }

    fn push(&mut self, energy: usize) -> Result<(), StackError> {
        for batch in &self.trial.batches[energy] {
            self.seq += 1;
            self.stack.note_seq(self.seq);
            self.stack.push(self.seq, batch)?;
        }
        let energy_ev = self.trial.plan.energies_ev[energy];
        let way_ev = self.at_ev.map_or(0.0, |at_ev| (energy_ev - at_ev).abs());
        let exposure_ms = self.trial.plan.dwell_ms[energy] * self.trial.plan.grid.pixels() as f64;
        self.seconds +=
            1e-3 * (way_ev * self.settings.move_ms_per_ev + self.settings.settle_ms + exposure_ms);
        self.dose += self.trial.dose[energy];
        self.at_ev = Some(energy_ev);
        self.measured[energy] = true;
        self.count += 1;
        Ok(())
    }

    /// Measures one more energy; returns what is known then, and which comes next by the advice.
    fn measure(&mut self, energy: usize) -> Result<(Step, Option<usize>), StackError> {
        self.push(energy)?;
        let changes = self.stack.take_changes();
        let reason = self.live.advance(&self.stack, &changes);
        let (map, _) = self.live.generation_of(&self.stack, reason, None);
        let advice = self.advise(&map);
        let next = advice.as_ref().and_then(|advice| advice.next.first()?.energy_index);
        let (accuracy, balanced) = self.trial.score(&map);
        let step = Step {
            energy,
            energies: self.count,
            accuracy,
            balanced,
            seconds: self.seconds,
            dose: self.dose,
            forecast: advice.as_ref().and_then(|advice| advice.stop.expected_change),
            interval: advice.as_ref().and_then(|advice| advice.stop.interval),
            changed: 0.0,
            stop: advice.is_some_and(|advice| advice.stop.stop),
            mixed: (0..map.len()).map(|pixel| is_mixed(&map, pixel)).collect(),
            guesses: map.phase,
        };
        Ok((step, next))
    }
}

fn evenly_spaced(
    trial: &Trial,
    recipe: &Recipe,
    settings: &AdviceSettings,
    most: usize,
) -> Result<Vec<Step>, StackError> {
    let ascending = ascending(trial);
    let n = ascending.len();
    let mut steps = Vec::with_capacity(most);
    for count in 1..=most {
        let chosen: Vec<usize> = if count == 1 {
            vec![0]
        } else {
            (0..count).map(|i| (2 * i * (n - 1) + count - 1) / (2 * (count - 1))).collect()
        };
        let mut bench = Bench::new(trial, recipe, settings);
        let (last, before) = (chosen[count - 1], &chosen[..count - 1]);
        for &index in before {
            bench.push(ascending[index])?;
        }
        let (mut step, _) = bench.measure(ascending[last])?;
        step.stop = false;
        step.forecast = None;
        step.interval = None;
        steps.push(step);
    }
    settle_changes(&mut steps);
    Ok(steps)
}
