//! The mapping thread: what changed in a stack becomes the next generation of its map, and is published.
//!
//! It looks at the [`Workboard`] when it has time, at each scan at most once per
//! [`MapperSettings::min_interval`]; samples never wait for it. An ended scan is handed to the archiving thread.

mod dose;
mod findings;
mod news;
mod scan;
mod watch;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::Utc;

use super::alerts::AlertHand;
use super::archiver::ArchiveOrder;
use super::doses::Doses;
use super::orders::Orders;
use super::pulse::Pulse;
use super::resume::Recipes;
use super::scans::{ScanNotice, ScanOrigin, lock};
use super::shelf::ModelHand;
use super::watch::settings_of;
use super::workboard::{Work, Workboard};
use crate::advice::AdviceSettings;
use crate::classify::{Recipe, RevisionReason};
use crate::damage::MonitorSettings;
use crate::journal::{Place, Store};
use crate::publish::board::{Board, ScanState, ScanSummary};
use crate::publish::message::ScanNews;
use crate::publish::zmq::PublisherHandle;
use crate::scan::{Outcome, Remark};
use crate::stack::Stack;
use crate::telemetry::names;

pub use news::Outlet;
use scan::MappedScan;

/// What the mapping thread is told.
#[derive(Clone, Debug)]
pub struct MapperSettings {
    /// Shortest time between two generations of a scan.
    pub min_interval: Duration,
    /// How maps are made.
    pub recipe: Recipe,
    /// What advice is told.
    pub advice: AdviceSettings,
    /// Names of the sources.
    pub sources: Vec<String>,
    /// Recipes of scans that were begun under others.
    pub recipes: Recipes,
    /// Where the journals are, where there are any.
    pub journals: Option<Arc<Store>>,
    /// The doses of all scans.
    pub doses: Arc<Doses>,
    /// What damage is watched with.
    pub watch: MonitorSettings,
}

/// The mapping thread.
#[derive(Debug)]
pub struct Mapper {
    settings: MapperSettings,
    workboard: Arc<Workboard>,
    outlet: Outlet,
    model: ModelHand,
    archive: Orders,
    scans: BTreeMap<String, MappedScan>,
    pending: BTreeMap<String, Instant>,
    /// Where alerts are told.
    alerts: AlertHand,
}

impl Mapper {
    /// The thread's state, not yet running.
    #[must_use]
    pub fn new(
        settings: MapperSettings,
        workboard: Arc<Workboard>,
        board: Board,
        publisher: PublisherHandle,
        model: ModelHand,
        archive: Orders,
    ) -> Self {
        let outlet = Outlet::new(board, publisher);
        let (scans, pending) = (BTreeMap::new(), BTreeMap::new());
        Self { settings, workboard, outlet, model, archive, scans, pending, alerts: AlertHand::default() }
    }

    /// Tells alerts there; else nobody hears of them.
    #[must_use]
    pub fn with_alerts(self, alerts: AlertHand) -> Self {
        Self { alerts, ..self }
    }

    /// Maps until the workboard is closed and everything on it is done.
    pub fn run(mut self, pulse: &Pulse) {
        /// A new model is looked for this often even when no values come.
        const MODEL_TICK: Duration = Duration::from_secs(1);
        loop {
            let now = Instant::now();
            pulse.beat(now);
            let due = self.pending.keys().filter_map(|id| Some(self.due(self.scans.get(id)?, now))).min();
            let tick = now + MODEL_TICK;
            let Work { notices, changed, closed } =
                self.workboard.take(Some(due.map_or(tick, |due| due.min(tick))));
            for notice in notices {
                self.notice(notice);
            }
            for (scan_id, since) in changed {
                self.pending.entry(scan_id).or_insert(since);
            }
            if self.model.renew() {
                for scan in self.scans.values_mut() {
                    scan.model_changed = true;
                    self.pending.entry(scan.scan_id().to_owned()).or_insert_with(Instant::now);
                }
            }
            self.map_due(Instant::now());
            if closed {
                self.archive.close();
                return;
            }
        }
    }

    /// When a changed scan may be mapped: an interval after its last map. A complete energy is not made to wait, but
    /// once per interval only, so that there are at most two maps an interval.
    fn due(&self, scan: &MappedScan, now: Instant) -> Instant {
        let interval = self.settings.min_interval;
        let ahead = scan.last_ahead.is_none_or(|last| now.saturating_duration_since(last) >= interval);
        match scan.last_generation {
            Some(last) if now < last + interval && !(ahead && scan.has_complete_energy()) => last + interval,
            _ => now,
        }
    }

    fn notice(&mut self, notice: ScanNotice) {
        match notice {
            ScanNotice::Started { plan, source, stack, note, origin } => {
                let mut summary = ScanSummary::started(&plan, Utc::now());
                summary.source = self.settings.sources.get(source).cloned();
                let says = match &origin {
                    ScanOrigin::Sender => "scan started",
                    ScanOrigin::Journal => "scan resumed",
                    ScanOrigin::Archived(_) | ScanOrigin::Late => {
                        "ended scan looked at again: something came for it"
                    }
                };
                match &note {
                    Some(note) => tracing::warn!(scan_id = plan.scan_id, "scan is not mapped: {note}"),
                    None => tracing::info!(
                        scan_id = plan.scan_id,
                        beamline = plan.beamline,
                        energies = plan.energies_ev.len(),
                        rows = plan.grid.ny(),
                        columns = plan.grid.nx(),
                        simulated = plan.simulated,
                        "{says}"
                    ),
                }
                summary.notes.extend(note);
                let is_over = matches!(origin, ScanOrigin::Archived(_) | ScanOrigin::Late);
                if !is_over {
                    self.outlet.news(&plan.scan_id, &ScanNews::Started { plan: &plan });
                }
                if let Some(stack) = stack {
                    self.scans.retain(|_, scan| !scan.is_over());
                    if is_over {
                        summary.state = ScanState::Ended;
                    }
                    if let ScanOrigin::Archived(path) = origin {
                        summary.state = ScanState::Archived;
                        summary.archive_path = Some(path);
                    }
                    let recipe = self.recipe(&plan.scan_id);
                    let journal = self.journal(&plan.scan_id);
                    let dose = self.settings.doses.settings(journal.as_deref());
                    let watch = settings_of(journal.as_deref(), &self.settings.watch);
                    let mut scan =
                        MappedScan::new(stack, recipe, self.settings.advice, (dose, watch), summary);
                    scan.note_targets(&plan.energies_ev);
                    // One that comes back goes on counting where people saw it last.
                    let seen = self
                        .outlet
                        .board
                        .get(&plan.scan_id)
                        .filter(|entry| entry.summary.started == plan.started);
                    scan.go_on_from(seen.as_ref().map_or(0, |entry| entry.summary.generation));
                    if is_over {
                        // Nothing is held for it unless it opens again, and what is shown of it, if anything, stands until then.
                        scan.close();
                        if let Some(entry) = seen {
                            scan.summary = ScanSummary::clone(&entry.summary);
                        }
                        self.scans.insert(plan.scan_id.clone(), scan);
                        return;
                    }
                    summary = scan.summary.clone();
                    self.scans.insert(plan.scan_id.clone(), scan);
                }
                self.outlet.board.update(summary);
            }
            ScanNotice::Changed(_) => {}
            ScanNotice::Paused(scan_id) => self.set_state(&scan_id, ScanState::Paused),
            ScanNotice::Resumed(scan_id) => self.set_state(&scan_id, ScanState::Running),
            ScanNotice::Renewed(recipe) => {
                // Those that are known keep the one that they began with, if they open again as well.
                for scan_id in
                    self.scans.keys().filter(|scan_id| self.settings.recipes.get(scan_id).is_none())
                {
                    self.settings.recipes.insert(scan_id, self.settings.recipe.clone());
                }
                self.settings.recipe = *recipe;
            }
            ScanNotice::Wanted(scan_id) => self.snapshot(&scan_id),
            ScanNotice::Remarked { scan_id, remark } => self.remarked(&scan_id, remark),
            ScanNotice::Reopened { scan_id, stack } => {
                if let Some(scan) = self.scans.get_mut(&scan_id) {
                    scan.reopen(stack);
                    tracing::info!(scan_id, "late values: scan is open again");
                    self.outlet.news(&scan_id, &ScanNews::Reopened { progress: scan.progress() });
                }
                self.set_state(&scan_id, ScanState::Running);
            }
            ScanNotice::Ended { scan_id, outcome, provisional, reopened, closing } => {
                self.ended(&scan_id, outcome, provisional, reopened, closing);
            }
        }
    }

    fn remarked(&mut self, scan_id: &str, Remark { text, untrusted }: Remark) {
        match untrusted {
            true => tracing::warn!(scan_id, "scan is not to be trusted: {text}"),
            false => tracing::info!(scan_id, "{text}"),
        }
        let text = if untrusted { format!("not to be trusted: {text}") } else { text };
        let mut summary = match (self.scans.get(scan_id), self.outlet.board.get(scan_id)) {
            (Some(scan), _) => scan.summary.clone(),
            (None, Some(entry)) => ScanSummary::clone(&entry.summary),
            (None, None) => return,
        };
        summary.untrusted |= untrusted;
        if !summary.notes.contains(&text) {
            summary.notes.push(text);
        }
        if let Some(scan) = self.scans.get_mut(scan_id) {
            scan.summary = summary.clone();
        }
        self.outlet.board.update(summary);
    }

    /// How maps of a scan are made.
    fn recipe(&self, scan_id: &str) -> Recipe {
        self.settings.recipes.get(scan_id).unwrap_or_else(|| self.settings.recipe.clone())
    }

    /// The folder of its journal, where there are any.
    fn journal(&self, scan_id: &str) -> Option<PathBuf> {
        self.settings.journals.as_ref().map(|store| store.folder(Place::Scans, scan_id))
    }

    fn set_state(&mut self, scan_id: &str, state: ScanState) {
        let Some(scan) = self.scans.get_mut(scan_id) else { return };
        scan.summary.state = state;
        scan.summary.last_update = Utc::now();
        if state == ScanState::Paused {
            self.outlet.news(scan_id, &ScanNews::Paused { progress: scan.progress() });
        }
        self.outlet.board.update(scan.summary.clone());
    }

    /// Has what there is of a scan archived.
    fn snapshot(&mut self, scan_id: &str) {
        let (recipe, journal) = (self.recipe(scan_id), self.journal(scan_id));
        let Some(scan) = self.scans.get_mut(scan_id) else { return };
        let Some(stack) = scan.stack() else { return };
        let stack = lock(&stack).clone();
        scan.look_at(&stack);
        self.archive.push(ArchiveOrder {
            stack: Some(stack),
            journal,
            closing: 0,
            outcome: Outcome::Partial { reason: "archived as it was, on request".to_owned() },
            provisional: true,
            reopened: false,
            snapshot: true,
            generation: 0,
            summary: scan.summary.clone(),
            alerts: Vec::new(),
            recipe,
        });
    }

    fn ended(&mut self, scan_id: &str, outcome: Outcome, provisional: bool, reopened: bool, closing: u32) {
        self.pending.remove(scan_id);
        let Some(scan) = self.scans.get_mut(scan_id) else {
            // Not mapped: it is only shown.
            if let Some(entry) = self.outlet.board.get(scan_id) {
                let mut summary = ScanSummary::clone(&entry.summary);
                (summary.state, summary.outcome) = (ScanState::Ended, Some(outcome));
                self.outlet.board.update(summary);
            }
            return;
        };
        let Some(stack) = scan.stack() else { return };
        let stack = lock(&stack).clone();
        scan.look_at(&stack);
        scan.summary.advice = None;
        scan.summary.state = ScanState::Ended;
        scan.summary.outcome = Some(outcome.clone());
        let gaps = stack.sequence().gaps();
        let missing = stack.sequence().missing();
        tracing::info!(
            scan_id,
            outcome = ?outcome,
            measured = stack.measured(),
            planned = stack.plan().planned_values(),
            missing_messages = missing,
            "scan ended"
        );
        self.outlet
            .news(scan_id, &ScanNews::Ended { outcome: &outcome, progress: scan.progress(), gaps: &gaps });
        self.outlet.board.update(scan.summary.clone());
        let (recipe, journal) = (self.recipe(scan_id), self.journal(scan_id));
        // The archive has it in a moment; until then it takes no memory that archiving needs.
        self.outlet.board.set_sight(scan_id, None);
        let Some(scan) = self.scans.get_mut(scan_id) else { return };
        let order = ArchiveOrder {
            stack: Some(stack),
            journal,
            closing,
            outcome,
            provisional,
            reopened,
            snapshot: false,
            generation: scan.close() + 1,
            summary: scan.summary.clone(),
            alerts: scan.open_alerts(),
            recipe,
        };
        // Waits while the archive is behind by more scans than may be open, and they have no journals: stacks are memory.
        self.archive.push(order);
    }

    fn map_due(&mut self, now: Instant) {
        let due: Vec<(String, Instant)> = self
            .pending
            .iter()
            .filter(|(id, _)| self.scans.get(*id).is_none_or(|scan| self.due(scan, now) <= now))
            .map(|(id, since)| (id.clone(), *since))
            .collect();
        for (scan_id, since) in due {
            self.pending.remove(&scan_id);
            self.map(&scan_id, since);
        }
    }

    fn map(&mut self, scan_id: &str, since: Instant) {
        let Some(scan) = self.scans.get_mut(scan_id) else { return };
        if scan.is_closed() {
            return;
        }
        let Some(stack) = scan.stack() else { return };
        let (changes, snapshot) = {
            let mut stack = lock(&stack);
            (stack.take_changes(), stack.clone())
        };
        let started = Instant::now();
        if scan.last_generation.is_some_and(|last| started < last + self.settings.min_interval) {
            scan.last_ahead = Some(started);
        }
        let mut reason = scan.advance(&snapshot, &changes);
        if std::mem::take(&mut scan.model_changed) {
            reason = RevisionReason::Model;
        }
        self.publish(scan_id, &snapshot, reason, since);
        // What would have kept the map waiting.
        let asked = Instant::now();
        let refined = self.scans.get_mut(scan_id).and_then(|scan| scan.live(&snapshot).refine(&snapshot));
        if let Some(reason) = refined {
            self.publish(scan_id, &snapshot, reason, asked);
        }
    }

    /// Makes a generation of the map of a scan, and tells everybody.
    fn publish(&mut self, scan_id: &str, snapshot: &Stack, reason: RevisionReason, since: Instant) {
        let Some(scan) = self.scans.get_mut(scan_id) else { return };
        let model = self.model.model_of(&scan.recipe().references.sha256);
        let (mut map, failure) = scan.live(snapshot).generation_of(snapshot, reason, model);
        scan.fill_dose(&mut map, snapshot, &self.settings.doses);
        scan.last_generation = Some(Instant::now());
        if let Some(failure) = failure {
            tracing::error!(scan_id, "the model failed, the map is made without it: {failure}");
            scan.note_once(format!("the model failed: {failure}"));
        } else if let Some(trouble) = self.model.shelf().trouble() {
            scan.note_once(format!("without a GMVAE: {trouble}"));
        }
        let offset_news = scan.note_offset(&map);
        let done = scan.look_at(snapshot);
        scan.note_i0(&map);
        scan.summary.describe(&map);
        scan.summary.last_update = Utc::now();
        if scan.summary.state == ScanState::Started {
            scan.summary.state = ScanState::Running;
        }
        self.outlet.board.update(scan.summary.clone());
        let map = Arc::new(map);
        self.outlet.board.set_sight(scan_id, scan.sight());
        self.outlet.map(&map);
        if let Some((alerts, report)) = scan.watch(&map, snapshot) {
            alerts.into_iter().for_each(|alert| self.alerts.tell(alert));
            self.outlet.board.set_damage(scan_id, Arc::new(report));
        }
        metrics::counter!(names::GENERATIONS_PUBLISHED).increment(1);
        for (status, pixels) in &scan.summary.status_counts {
            metrics::gauge!(names::MAP_PIXELS, "status" => *status).set(*pixels as f64);
        }
        metrics::histogram!(names::GENERATION_LATENCY_SECONDS).record(since.elapsed().as_secs_f64());
        // Advice can wait for the map, not the map for advice.
        let asked = Instant::now();
        let advice = scan.advise(snapshot, &map);
        let advice_us = asked.elapsed().as_micros() as u64;
        let advised = advice.as_ref().and_then(|advice| serde_json::to_value(advice).ok());
        if let Some((offset, text)) = offset_news {
            self.outlet.news(scan_id, &ScanNews::EnergyOffset { offset, text: &text });
        }
        for energy in done {
            let progress = scan.progress_at(energy);
            self.outlet.news(scan_id, &ScanNews::EnergyDone { progress, advice: advised.as_ref() });
        }
        scan.summary.advice = advice;
        self.outlet.board.update(scan.summary.clone());
        if scan.spectra_are_due() {
            let spectra = scan.spectra(snapshot, &map);
            self.outlet.spectra(Arc::new(spectra));
        }
        if let Some((summary, findings)) =
            scan.findings(snapshot, &map, self.settings.doses.settings(None).spot_nm)
        {
            self.outlet.board.set_findings(scan_id, findings.into());
            self.outlet.news(scan_id, &ScanNews::Findings { findings: &summary });
        }
        tracing::debug!(
            scan_id,
            generation = map.origin.generation,
            reason = reason.name(),
            advice_us,
            "map published"
        );
    }
}
