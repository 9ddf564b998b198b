//! A whole evaluation on drawn scans: which cells, how many scans each, and everything that comes out.

use serde::Serialize;

use super::cells::{self, CellRow};
use super::draw::{Conditions, Drawer, Filling};
use super::foreign::{self, ForeignRow};
use super::metrics::Reliability;
use super::offsets::{self, OffsetRow};
use super::pairs::{self, MixtureCell};
use super::subject::Subject;
use super::{EvaluationError, METHODS};

/// Which cells are measured, and how.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct StudyPlan {
    /// Incident counts.
    pub counts: Vec<f64>,
    /// Numbers of energies.
    pub energies: Vec<usize>,
    /// Magnitudes of the energy offset, eV.
    pub offsets_ev: Vec<f64>,
    /// Range of the energies, eV; without one, where the references differ, and the end of the pre-edge.
    pub range_ev: Option<(f64, f64)>,
    /// Scans per cell.
    pub draws: usize,
    /// Seed of all draws.
    pub seed: u64,
    /// Whether pure scans are measured: the tables of accuracy.
    pub pure: bool,
    /// Whether scans with mixtures are.
    pub mixtures: bool,
    /// Whether scans with foreign matter are.
    pub foreign: bool,
    /// Whether the estimate of the energy offset is measured by itself.
    pub energy_offset: bool,
}

impl StudyPlan {
    /// Everything that the tables have.
    #[must_use]
    pub fn whole(draws: usize, seed: u64) -> Self {
        Self {
            counts: vec![300.0, 1000.0, 3000.0, 10_000.0],
            energies: vec![8, 12, 30, 75],
            offsets_ev: vec![0.0, 0.1, 0.2, 0.3],
            range_ev: None,
            draws,
            seed,
            pure: true,
            mixtures: true,
            foreign: true,
            energy_offset: true,
        }
    }

    /// A few telling cells.
    #[must_use]
    pub fn quick(draws: usize, seed: u64) -> Self {
        Self {
            counts: vec![1000.0, 3000.0],
            energies: vec![12, 30],
            offsets_ev: vec![0.0, 0.2],
            energy_offset: false,
            ..Self::whole(draws, seed)
        }
    }

    fn pure_cells(&self) -> Vec<Conditions> {
        if self.pure { cells::grid(&self.counts, &self.energies, &self.offsets_ev) } else { Vec::new() }
    }

    /// Mixtures and foreign matter: no and a middling offset, known references, and mismatched ones where there is no offset.
    fn other_cells(&self, filling: Filling) -> Vec<Conditions> {
        let middle = self.offsets_ev.iter().copied().find(|offset_ev| (0.15..0.25).contains(offset_ev));
        let offsets_ev: Vec<f64> = [self.offsets_ev.first().copied(), middle].into_iter().flatten().collect();
        let mut distinct = offsets_ev;
        distinct.dedup();
        let few: Vec<usize> = self.energies.iter().copied().filter(|n| *n >= 12).collect();
        let energies = if few.is_empty() { self.energies.clone() } else { few };
        let is_wanted = |c: &Conditions| !c.mismatched || c.offset_ev == 0.0;
        let all = cells::grid(&self.counts, &energies, &distinct);
        all.into_iter().filter(is_wanted).map(|c| Conditions { filling, ..c }).collect()
    }

    fn mixture_cells(&self) -> Vec<Conditions> {
        if self.mixtures { self.other_cells(Filling::Mixtures) } else { Vec::new() }
    }

    fn foreign_cells(&self) -> Vec<Conditions> {
        if self.foreign { self.other_cells(Filling::Foreign) } else { Vec::new() }
    }

    /// Scans that the study draws from `phases` references.
    #[must_use]
    pub fn scans(&self, phases: usize) -> usize {
        let maps = self.pure_cells().len() + self.mixture_cells().len() + self.foreign_cells().len();
        let offsets = if self.energy_offset { offsets::scans(&self.energies, self.draws, phases) } else { 0 };
        maps * self.draws + offsets
    }

    fn seeds(&self, filling: Filling) -> Vec<u64> {
        let first = self.seed.wrapping_mul(1_000_003).wrapping_add(1_000 * filling as u64);
        (0..self.draws as u64).map(|draw| first.wrapping_add(draw)).collect()
    }
}

/// What came out.
#[derive(Clone, Debug, Serialize)]
pub struct Study {
    /// Which cells were measured, and how.
    pub plan: StudyPlan,
    /// The methods, in the order of the tables.
    pub methods: [&'static str; METHODS.len()],
    /// Identifiers of the phases.
    pub phases: Vec<String>,
    /// The energies are spread evenly from here, eV …
    pub from_ev: f64,
    /// … to here.
    pub to_ev: f64,
    /// What `confidence` was calibrated with, as the maps say.
    pub calibrated_on: String,
    /// Accuracy.
    pub cells: Vec<CellRow>,
    /// How right `confidence` is over all cells: known references, mismatched ones.
    pub reliability: [Reliability; 2],
    /// Mixtures.
    pub mixtures: Vec<MixtureCell>,
    /// Foreign matter.
    pub foreign: Vec<ForeignRow>,
    /// The energy offset as it is estimated.
    pub energy_offset: Vec<OffsetRow>,
}

/// Carries the study out; `progress` is told how many scans of how many are done.
///
/// # Errors
/// References that cannot be drawn from, or a model that fails.
pub fn study(
    subject: &mut Subject,
    plan: StudyPlan,
    progress: &mut dyn FnMut(usize, usize),
) -> Result<Study, EvaluationError> {
    let references = std::sync::Arc::clone(&subject.recipe.references);
    let drawer = match plan.range_ev {
        Some(range_ev) => Drawer::over(&references, range_ev)?,
        None => Drawer::new(&references)?,
    };
    let (from_ev, to_ev) = drawer.range_ev();
    let (total, mut done) = (plan.scans(references.len()), 0);
    let mut tick = || {
        done += 1;
        progress(done, total);
    };
    let mut outcome = Study {
        methods: METHODS,
        phases: references.references.iter().map(|r| r.label.id.clone()).collect(),
        from_ev,
        to_ev,
        calibrated_on: String::new(),
        cells: Vec::new(),
        reliability: Default::default(),
        mixtures: Vec::new(),
        foreign: Vec::new(),
        energy_offset: Vec::new(),
        plan,
    };
    let plan = outcome.plan.clone();
    let seeds = plan.seeds(Filling::Pure);
    for conditions in plan.pure_cells() {
        let reliability = &mut outcome.reliability[usize::from(conditions.mismatched)];
        let row = cells::measure(subject, &drawer, conditions, &seeds, reliability, &mut tick)?;
        outcome.calibrated_on.clone_from(&row.calibrated_on);
        outcome.cells.push(row);
    }
    let seeds = plan.seeds(Filling::Mixtures);
    for conditions in plan.mixture_cells() {
        outcome.mixtures.push(pairs::measure(subject, &drawer, conditions, &seeds, &mut tick)?);
    }
    let seeds = plan.seeds(Filling::Foreign);
    for conditions in plan.foreign_cells() {
        outcome.foreign.push(foreign::measure(subject, &drawer, conditions, &seeds, &mut tick)?);
    }
    if plan.energy_offset {
        let seeds = plan.seeds(Filling::Pure);
        outcome.energy_offset =
            offsets::measure(&subject.recipe, &drawer, &plan.energies, &seeds, &mut tick)?;
    }
    Ok(outcome)
}
