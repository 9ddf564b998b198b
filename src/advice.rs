//! Advice to the people at the beamline: which energy to measure next, and whether to go on at all.
//!
//! Input is a generation of the phase map, the spectra behind it and the references; output is an [`Advice`], of which
//! nothing is ever sent to the beamline. The steps: [`crowd`] gathers the open pixels with their odds, [`contrast`]
//! says how far two references are apart over the energies measured (what amplitude, constant and a small shift of
//! energy can take up does not count), [`next`] ranks energies by what they resolve per second, [`rest`] says how many
//! best guesses the rest of the plan would change.
//!
//! Assumptions: counting noise; references that describe the sample. Where the fits leave clearly more than the noise,
//! evidence is scaled down as triage does it, and the advice says not to trust it. A map without any guess, references
//! that share no energy, or a plan that is wholly measured give advice with empty lists; nothing panics.

mod axis;
mod beam;
mod border;
mod contrast;
mod crowd;
mod design;
mod history;
mod next;
mod odds;
mod report;
mod rest;
pub mod study;
mod words;

pub use design::{DesignSettings, design, order};
pub use report::{Advice, Candidate, Open, Pair, Stop};

use crate::classify::{DensityView, PhaseMap, Recipe, Targets};
use crate::reference::ReferenceSet;
use axis::Axis;
use crowd::Crowd;
use history::History;
use next::Travel;

/// Candidates that are told of each list.
const CANDIDATES: usize = 3;
/// Length of the sequence.
const SEQUENCE: usize = 5;
/// Step of the list of all energies, eV.
const FINE_STEP_EV: f64 = 0.25;
/// Candidates of one list are at least this far apart, eV: the next best is not the neighbour of the best.
const APART_EV: f64 = 0.6;
/// Median reduced chi² of the fits above which the references do not describe the sample.
const MISFIT: f64 = 2.0;

/// What advice is told.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AdviceSettings {
    /// Whether there is any.
    pub enabled: bool,
    /// Time of a move of the monochromator, ms per eV.
    pub move_ms_per_ev: f64,
    /// Time it takes to settle after a move, ms.
    pub settle_ms: f64,
    /// Share of best guesses below which the rest of a scan is not worth measuring.
    pub stop_below: f64,
}

impl Default for AdviceSettings {
    fn default() -> Self {
        Self { enabled: true, move_ms_per_ev: 50.0, settle_ms: 500.0, stop_below: 0.005 }
    }
}

/// A generation of a map and what it was made from.
#[derive(Clone, Copy, Debug)]
pub struct Situation<'a> {
    /// The map.
    pub map: &'a PhaseMap,
    /// The spectra behind it.
    pub view: &'a DensityView<'a>,
    /// How the map was made.
    pub recipe: &'a Recipe,
    /// The references at the energies of the plan, as the map used them.
    pub targets: &'a Targets,
    /// Per energy of the plan, whether anything was measured there.
    pub measured: &'a [bool],
    /// Per energy of the plan, whether every pixel was.
    pub complete: &'a [bool],
    /// Set-point of the monochromator, eV, where it is known.
    pub at_ev: Option<f64>,
}

impl Situation<'_> {
    fn references(&self) -> &ReferenceSet {
        &self.recipe.references
    }

    fn min_energies(&self) -> usize {
        self.recipe.triage.min_energies as usize
    }
}

/// Gives advice on one scan, generation after generation, and learns from how its forecasts fare.
#[derive(Clone, Debug)]
pub struct Adviser {
    settings: AdviceSettings,
    history: History,
}

impl Adviser {
    /// Nothing seen yet.
    #[must_use]
    pub fn new(settings: AdviceSettings) -> Self {
        Self { settings, history: History::default() }
    }

    /// Advises on a generation; `None` where it is turned off or the situation contradicts itself.
    #[must_use]
    pub fn advise(&mut self, situation: &Situation<'_>) -> Option<Advice> {
        let plan = &situation.map.plan;
        let energies = plan.energies_ev.len();
        let lengths =
            [situation.measured.len(), situation.complete.len(), situation.targets.energies_ev.len()];
        if !self.settings.enabled || lengths != [energies; 3] || situation.references().len() < 2 {
            return None;
        }
        // An energy axis that was corrected lies elsewhere than the set-points.
        let shift_ev = situation.targets.energies_ev.first()? - plan.energies_ev.first()?;
        let dwell_at = |energy_ev: f64| {
            let distance = |e: usize| (plan.energies_ev[e] + shift_ev - energy_ev).abs();
            let nearest = (0..energies).min_by(|&a, &b| distance(a).total_cmp(&distance(b)));
            nearest.map_or(1.0, |e| plan.dwell_ms[e])
        };
        let mut axis = Axis::new(situation.references(), situation.targets.energies_ev.clone(), dwell_at);
        axis.dwell_ms.clone_from(&plan.dwell_ms);
        let max_od = situation.recipe.absorption.max_od;
        let (mut crowd, beam) = Crowd::of(situation.map, situation.view, &axis, max_od);
        crowd.measured(&axis, &beam, situation.measured);
        self.history.push(situation.map, &crowd, &axis, &beam, situation.complete);
        let (settings, drift) = (&self.settings, self.history.drift());
        let travel = Travel {
            from_ev: situation.at_ev.map(|at_ev| at_ev + shift_ev),
            move_ms_per_ev: settings.move_ms_per_ev,
            settle_ms: settings.settle_ms,
            pixels: plan.grid.pixels() as f64,
        };
        let teller = words::Teller {
            situation,
            settings,
            crowd: &crowd,
            axis: &axis,
            beam: &beam,
            travel,
            shift_ev,
            drift,
        };
        Some(teller.tell(&dwell_at))
    }
}

/// Whether `energy` may come next after `chosen`: not measured, and where one side of the edge would otherwise be
/// missing when the fewest energies for a verdict are there, on that side.
fn is_allowed(situation: &Situation<'_>, energy: usize, chosen: &[usize]) -> bool {
    let taken = |e: usize| situation.measured[e] || chosen.contains(&e);
    if taken(energy) {
        return false;
    }
    let targets = situation.targets;
    let count = (0..situation.measured.len()).filter(|&e| taken(e) && targets.used[e]).count();
    let has = targets.sides_of((0..situation.measured.len()).filter(|&e| taken(e) && targets.used[e]));
    let missing: Vec<usize> = (0..2).filter(|&side| targets.sides[side] && !has[side]).collect();
    let open = situation.min_energies().saturating_sub(count);
    open > missing.len()
        || missing.is_empty()
        || missing.iter().any(|&side| targets.sides_of(std::iter::once(energy))[side])
}

#[cfg(test)]
mod tests;
