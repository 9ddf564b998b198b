//! One scan on the mapping thread.

use std::sync::{Arc, Mutex, Weak};
use std::time::{Duration, Instant};

use super::dose::LiveDose;
use super::findings::LiveFindings;
use super::watch::LiveWatch;
use crate::advice::{Advice, AdviceSettings, Adviser, Situation};
use crate::classify::{LiveMap, OffsetSummary, PhaseMap, Recipe, RevisionReason, Targets};
use crate::damage::{Alert, DamageReport, DoseSettings, MonitorSettings};
use crate::findings::Summary;
use crate::pipeline::doses::Doses;
use crate::pipeline::scans::{SharedStack, lock};
use crate::publish::board::ScanSummary;
use crate::publish::message::Progress;
use crate::publish::{MeanSpectra, Sight};
use crate::stack::{PlaneChange, Stack};

/// Mean spectra visit every value of the stack; live they are made no more often than this.
const SPECTRA_INTERVAL: Duration = Duration::from_secs(2);

/// Difference between set-point and read-back that people should know of, eV.
const READ_BACK_TOLERANCE_EV: f64 = 0.05;

/// Change of the estimated offset, eV, from which it is warned of again.
const OFFSET_NEWS_EV: f64 = 0.1;

/// A scan that is mapped.
#[derive(Debug)]
pub(super) struct MappedScan {
    /// While the scan is open.
    stack: Option<SharedStack>,
    /// The same; when the scan is closed the receiving side alone says how long its stack is kept.
    kept: Weak<Mutex<Stack>>,
    pub summary: ScanSummary,
    pub last_generation: Option<Instant>,
    /// When an energy that had become complete was last mapped ahead of its turn.
    pub last_ahead: Option<Instant>,
    pub model_changed: bool,
    recipe: Recipe,
    adviser: Adviser,
    live: Option<LiveMap>,
    dose: LiveDose,
    watch: LiveWatch,
    findings: LiveFindings,
    /// Generations made before the live map was dropped.
    generation: u64,
    closed: bool,
    last_spectra: Option<Instant>,
    complete: Vec<bool>,
    read_back_noted: bool,
    /// The offset that was warned of last, eV.
    offset_noted_ev: Option<f64>,
    /// What was said of a missing I0.
    i0_problem: Option<String>,
    /// Reasons that were said for values not being usable.
    flaws_noted: Vec<&'static str>,
}

impl MappedScan {
    pub(super) fn new(
        stack: SharedStack,
        recipe: Recipe,
        advice: AdviceSettings,
        (dose, watch): (DoseSettings, MonitorSettings),
        summary: ScanSummary,
    ) -> Self {
        Self {
            kept: Arc::downgrade(&stack),
            stack: Some(stack),
            summary,
            last_generation: None,
            last_ahead: None,
            model_changed: false,
            watch: LiveWatch::new(watch, &recipe),
            findings: LiveFindings::default(),
            recipe,
            adviser: Adviser::new(advice),
            live: None,
            dose: LiveDose::new(dose),
            generation: 0,
            closed: false,
            last_spectra: None,
            complete: Vec::new(),
            read_back_noted: false,
            offset_noted_ev: None,
            i0_problem: None,
            flaws_noted: Vec::new(),
        }
    }

    pub(super) fn scan_id(&self) -> &str {
        &self.summary.scan_id
    }

    pub(super) fn is_closed(&self) -> bool {
        self.closed
    }

    /// Its stack: always there while the scan is open.
    pub(super) fn stack(&self) -> Option<SharedStack> {
        self.stack.clone().or_else(|| self.kept.upgrade())
    }

    /// Whether the scan is closed and its stack is gone: it cannot be opened again.
    pub(super) fn is_over(&self) -> bool {
        self.stack.is_none() && self.kept.strong_count() == 0
    }

    /// Whether an energy has become complete that no map shows yet.
    pub(super) fn has_complete_energy(&self) -> bool {
        let Some(stack) = self.stack.as_ref() else { return false };
        let stack = lock(stack);
        let pixels = stack.plan().grid.pixels();
        let known = |energy: usize| self.complete.get(energy).is_some_and(|complete| *complete);
        (0..stack.planes().len()).any(|energy| !known(energy) && stack.plane(energy).measured() == pixels)
    }

    /// Says where the references do not fit the plan.
    pub(super) fn note_targets(&mut self, energies_ev: &[f64]) {
        let targets = Targets::new(&self.recipe.references, energies_ev);
        let (unused, all) = (targets.unused_ev(), energies_ev.len());
        if unused.is_empty() {
            return;
        }
        let [low, high] = [f64::INFINITY, f64::NEG_INFINITY];
        let (low, high) = unused.iter().fold((low, high), |(l, h), &e| (l.min(e), h.max(e)));
        let note = format!(
            "{} of {all} energies are not used: the references do not reach them ({low:.2} to {high:.2} eV)",
            unused.len()
        );
        tracing::warn!(scan_id = self.scan_id(), "{note}");
        self.note_once(note);
    }

    pub(super) fn note_once(&mut self, note: String) {
        if !self.summary.notes.contains(&note) {
            self.summary.notes.push(note);
        }
    }

    /// The live map; made anew from all that was measured where it had been dropped.
    /// How its maps are made.
    pub(super) fn recipe(&self) -> &Recipe {
        &self.recipe
    }

    pub(super) fn live(&mut self, snapshot: &Stack) -> &mut LiveMap {
        let generation = self.generation;
        self.live.get_or_insert_with(|| LiveMap::of(snapshot, self.recipe.clone(), generation))
    }

    /// Takes in what changed; returns why the next generation will differ. A map that is made anew has it already.
    pub(super) fn advance(&mut self, snapshot: &Stack, changes: &[PlaneChange]) -> RevisionReason {
        match &mut self.live {
            Some(live) => live.advance(snapshot, changes),
            None => {
                self.live(snapshot);
                RevisionReason::Energy
            }
        }
    }

    /// Fills the dose into a generation of the map.
    pub(super) fn fill_dose(&mut self, map: &mut PhaseMap, snapshot: &Stack, doses: &Doses) {
        if let Some(live) = &self.live {
            self.dose.fill(map, snapshot, live, &self.recipe, doses);
        }
    }

    /// Lets the damage monitor look, where it is due; returns what is to be told, and what is to be shown.
    pub(super) fn watch(&mut self, map: &PhaseMap, snapshot: &Stack) -> Option<(Vec<Alert>, DamageReport)> {
        self.watch.look(map, snapshot, self.live.as_ref()?, &self.dose, chrono::Utc::now())
    }

    /// Alerts of the scan that hold.
    pub(super) fn open_alerts(&self) -> Vec<Alert> {
        self.watch.open()
    }

    /// Advice on the latest generation.
    pub(super) fn advise(&mut self, stack: &Stack, map: &PhaseMap) -> Option<Advice> {
        let live = self.live.as_ref()?;
        let planes = stack.planes();
        let measured: Vec<bool> = planes.iter().map(|plane| plane.measured() > 0).collect();
        let complete: Vec<bool> = planes.iter().map(|plane| plane.measured() == map.len()).collect();
        let latest = (0..measured.len())
            .filter(|&energy| measured[energy])
            .max_by_key(|&energy| (stack.plane(energy).first_time(), energy));
        let view = live.view(stack);
        let situation = Situation {
            map,
            view: &view,
            recipe: &self.recipe,
            targets: live.targets(),
            measured: &measured,
            complete: &complete,
            at_ev: latest.map(|energy| stack.plan().energies_ev[energy]),
        };
        self.adviser.advise(&situation)
    }

    /// Takes over what the stack says. Returns the energies that have become complete.
    pub(super) fn look_at(&mut self, stack: &Stack) -> Vec<usize> {
        let plan = stack.plan();
        self.summary.energies_done = stack.energies_done();
        self.summary.energies_total = plan.energies_ev.len();
        self.summary.planned_values = plan.planned_values();
        self.summary.measured_values = stack.measured();
        self.summary.gaps = stack.sequence().gaps();
        self.note_read_back(stack);
        self.complete.resize(plan.energies_ev.len(), false);
        let mut done = Vec::new();
        for (energy, complete) in self.complete.iter_mut().enumerate() {
            if !*complete && stack.plane(energy).measured() == plan.grid.pixels() {
                *complete = true;
                done.push(energy);
            }
        }
        done
    }

    /// Says once where the monochromator was not where it was sent.
    fn note_read_back(&mut self, stack: &Stack) {
        let off = |(set_point, plane): (&f64, &std::sync::Arc<crate::stack::Plane>)| {
            let difference_ev = plane.read_back_ev()? - set_point;
            (difference_ev.abs() > READ_BACK_TOLERANCE_EV).then_some((*set_point, difference_ev))
        };
        let first = stack.plan().energies_ev.iter().zip(stack.planes()).find_map(off);
        if let Some((set_point_ev, difference_ev)) = first.filter(|_| !self.read_back_noted) {
            self.read_back_noted = true;
            let note = format!(
                "the energy read back is {difference_ev:+.3} eV from the set-point at {set_point_ev:.3} eV; \
                 set-points are used unless energy.source = \"readback\""
            );
            tracing::warn!(scan_id = self.scan_id(), "{note}");
            self.note_once(note);
        }
    }

    /// Says that the energies of the scan are off: once, and again where the estimate has moved by [`OFFSET_NEWS_EV`]. Returns
    /// what there is to tell.
    pub(super) fn note_offset(&mut self, map: &PhaseMap) -> Option<(OffsetSummary, String)> {
        let (offset, correction_ev) = (&map.origin.energy_offset, map.origin.correction_ev);
        let is_new =
            |told_ev: f64| (offset.offset_ev - told_ev).abs() > OFFSET_NEWS_EV.max(2.0 * offset.error_ev);
        if !offset.is_alarming() || !self.offset_noted_ev.is_none_or(is_new) {
            return None;
        }
        let again = self.offset_noted_ev.replace(offset.offset_ev).is_some();
        let text = offset.report(&map.origin.correction);
        tracing::warn!(
            scan_id = self.scan_id(),
            offset_ev = offset.offset_ev,
            error_ev = offset.error_ev,
            corrected_ev = correction_ev,
            "the energies of the scan are off against the references: {text}"
        );
        let when = if again { "then" } else { "at first" };
        self.note_once(format!("the energies are off against the references: {when} {text}"));
        Some((offset.summary(correction_ev), text))
    }

    /// Says where there is no I0, once an energy is complete, and takes it back where there is; and says once for each
    /// reason that values are not usable.
    pub(super) fn note_i0(&mut self, map: &PhaseMap) {
        let incident = &map.origin.incident;
        let said = self.i0_problem.take();
        if said != incident.problem {
            self.summary.notes.retain(|note| Some(note) != said.as_ref());
        }
        self.i0_problem =
            incident.problem.clone().filter(|_| said.is_some() || self.complete.contains(&true));
        if let Some(problem) = self.i0_problem.clone() {
            if said.is_none() {
                tracing::warn!(scan_id = self.scan_id(), "{problem}");
            }
            self.note_once(problem);
        }
        for (&flaw, &values) in &incident.flawed {
            if !self.flaws_noted.contains(&flaw) {
                self.flaws_noted.push(flaw);
                let lines = incident.flawed_lines.get(flaw).copied().unwrap_or(0);
                tracing::warn!(
                    scan_id = self.scan_id(),
                    flaw,
                    values,
                    lines,
                    "values are not usable and are masked"
                );
            }
        }
    }

    pub(super) fn progress(&self) -> Progress {
        let i0 = self.summary.i0.as_ref();
        Progress {
            energy_index: None,
            energies_done: self.summary.energies_done,
            energies_total: self.summary.energies_total,
            measured_values: self.summary.measured_values,
            planned_values: self.summary.planned_values,
            energy_offset: self.summary.energy_offset,
            i0_source: i0.map(|i0| i0.source),
            i0_region_pixels: i0.and_then(|i0| i0.region_pixels),
            i0_missing: i0.is_some_and(|i0| i0.problem.is_some()),
            flawed_values: i0.map(|i0| i0.flawed.values().sum()),
            registered: self.summary.drift.as_ref().map(|drift| drift.applied),
            shift: None,
        }
    }

    /// The same, about one energy.
    pub(super) fn progress_at(&self, energy: usize) -> Progress {
        let mut curve = self.summary.drift.iter().flat_map(|drift| &drift.curve);
        let shift = curve.find(|place| place.energy_index == energy).map(|place| place.shift);
        Progress { energy_index: Some(energy), shift, ..self.progress() }
    }

    /// The way to what was measured, by the estimates of the latest generation.
    pub(super) fn sight(&self) -> Option<Sight> {
        Some(Sight::new(self.stack.as_ref()?, self.live.as_ref()?.optics()))
    }

    pub(super) fn spectra_are_due(&mut self) -> bool {
        let due = self.last_spectra.is_none_or(|last| last.elapsed() >= SPECTRA_INTERVAL);
        if due {
            self.last_spectra = Some(Instant::now());
        }
        due
    }

    pub(super) fn spectra(&self, stack: &Stack, map: &PhaseMap) -> MeanSpectra {
        match &self.live {
            Some(live) => MeanSpectra::of(&live.view(stack), map),
            None => MeanSpectra::empty(map.plan.clone(), map.origin.generation, Vec::new()),
        }
    }

    /// What a map says of particles and boundaries, where it is time for it.
    pub(super) fn findings(
        &mut self,
        stack: &Stack,
        map: &PhaseMap,
        spot_nm: Option<f64>,
    ) -> Option<(Summary, Vec<u8>)> {
        self.findings.look(self.live.as_ref()?, stack, map, &self.recipe.references, spot_nm)
    }

    /// Lets go of stack and live map; returns the number of its last generation.
    pub(super) fn close(&mut self) -> u64 {
        if let Some(live) = self.live.take() {
            self.generation = live.generation();
        }
        self.stack = None;
        self.closed = true;
        // The archived map is a generation, too.
        self.generation += 1;
        self.generation - 1
    }

    /// Counts generations on from one that was shown before.
    pub(super) fn go_on_from(&mut self, generation: u64) {
        self.generation = self.generation.max(generation);
    }

    pub(super) fn reopen(&mut self, stack: SharedStack) {
        self.stack = Some(stack);
        self.closed = false;
        self.summary.outcome = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::classify::tests::recipe;
    use crate::scan::test_plan;

    fn scan(stack: &SharedStack) -> MappedScan {
        let advice = AdviceSettings { enabled: false, move_ms_per_ev: 0.0, settle_ms: 0.0, stop_below: 0.0 };
        let summary = ScanSummary::started(lock(stack).plan(), chrono::DateTime::UNIX_EPOCH);
        MappedScan::new(
            Arc::clone(stack),
            recipe(),
            advice,
            (DoseSettings::default(), MonitorSettings::default()),
            summary,
        )
    }

    #[test]
    fn a_closed_scan_holds_no_stack_but_finds_it_while_it_is_kept() {
        let kept = Arc::new(Mutex::new(Stack::new(test_plan(2, 2, 3))));
        let mut scan = scan(&kept);
        let snapshot = lock(&kept).clone();
        scan.live(&snapshot);
        assert_eq!(Arc::strong_count(&kept), 2);
        scan.close();
        assert_eq!(Arc::strong_count(&kept), 1, "the mapping side has let go");
        assert!(scan.is_closed() && scan.live.is_none());
        assert!(scan.stack().is_some() && !scan.is_over(), "late samples may open it again");
        scan.reopen(Arc::clone(&kept));
        assert!(!scan.is_closed() && scan.stack().is_some());
        scan.close();
        drop(kept);
        assert!(scan.stack().is_none() && scan.is_over());
    }

    #[test]
    fn what_the_first_map_is_made_of_counts_once() {
        use crate::scan::{Channel, I0, Pixels, SampleBatch, Signal};
        let mut plan = test_plan(2, 2, 5);
        plan.detector.signal = Signal::OpticalDensity;
        let shared = Arc::new(Mutex::new(Stack::new(plan)));
        let mut scan = scan(&shared);
        let mut map_with = |energies: std::ops::Range<usize>| {
            let (changes, snapshot) = {
                let mut stack = lock(&shared);
                for energy in energies {
                    let batch = SampleBatch {
                        energy_index: energy as u32,
                        pixels: Pixels::Run { first: 0, count: 4 },
                        channel: Channel::Intensity,
                        others: Vec::new(),
                        values: vec![0.3; 4],
                        i0: I0::None,
                        ring_current_ma: None,
                        energy_ev: None,
                        time: None,
                    };
                    stack.push(energy as u64, &batch).unwrap();
                }
                (stack.take_changes(), stack.clone())
            };
            let reason = scan.advance(&snapshot, &changes);
            scan.live(&snapshot).generation_of(&snapshot, reason, None).0.energies_seen
        };
        assert_eq!(map_with(0..3), [3; 4]);
        assert_eq!(map_with(3..4), [4; 4]);
    }

    #[test]
    fn generations_go_on_counting_after_a_scan_was_closed() {
        let kept = Arc::new(Mutex::new(Stack::new(test_plan(2, 2, 3))));
        let mut scan = scan(&kept);
        let snapshot = lock(&kept).clone();
        let make = |scan: &mut MappedScan| {
            let live = scan.live(&snapshot);
            live.generation_of(&snapshot, crate::classify::RevisionReason::Energy, None).0.origin.generation
        };
        assert_eq!((make(&mut scan), make(&mut scan)), (1, 2));
        assert_eq!(scan.close(), 2, "the archived map is the third");
        scan.reopen(Arc::clone(&kept));
        assert_eq!(make(&mut scan), 4);
    }
}
