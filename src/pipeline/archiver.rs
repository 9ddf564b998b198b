//! The archiving thread: an ended scan becomes its settled map and its folder in the archive.
//!
//! One scan at a time, in the order they ended. What cannot be written is said on the board, in the log and by `/readyz`, and
//! tried again with growing pauses, from its journal: the stack is not kept in memory for it. The next scan is archived all the
//! same. A scan whose journal says that it is not archived is archived after the next start.
//!
//! The archive itself is looked at here, too, before the first scan: a mount that does not answer or cannot be written to keeps
//! nobody from receiving.

mod settled;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::Utc;
pub use settled::{energy_rows, spectra_of};

use super::alerts::AlertHand;
use super::at_work::AtWork;
use super::doses::Doses;
use super::findings::findings_of;
use super::mapper::Outlet;
use super::orders::{Next, Orders};
use super::places::Places;
use super::pulse::Pulse;
use super::resume::has_closing;
use super::shelf::ModelHand;
use super::uploads::UploadHand;
use super::watch::{SettledLook, look_at_settled, settings_in, settings_of};
use crate::archive::{self, ArchiveError, ArchiveJob, Placed};
use crate::classify::{Recipe, RevisionReason, Settled, settle};
use crate::damage::{Alert, AlertState, MonitorSettings};
use crate::findings::Summary;
use crate::journal::{Archived, JournalError};
use crate::publish::board::{ScanState, ScanSummary};
use crate::publish::message::ScanNews;
use crate::scan::Outcome;
use crate::stack::Stack;
use crate::telemetry::{Health, names};

/// Longest wait for an order: it is seen that the thread is there.
const TURN: Duration = Duration::from_secs(5);
/// Between two tries of a scan that could not be archived: at first, doubled each time, and at most; and at most between two looks
/// at an archive that cannot be written to, which cost little.
const RETRY: (Duration, Duration, Duration) =
    (Duration::from_secs(2), Duration::from_secs(300), Duration::from_secs(30));

/// What a note on a scan begins with whose archive had to wait.
const NOT_YET: &str = "not archived yet";

/// A scan to be archived.
#[derive(Debug)]
pub struct ArchiveOrder {
    /// What was measured; `None`: it is read from the journal.
    pub stack: Option<Stack>,
    /// The folder of its journal, where there is one.
    pub journal: Option<PathBuf>,
    /// Which closing of the scan this is.
    pub closing: u32,
    /// How the scan ended.
    pub outcome: Outcome,
    /// Whether a later archive may take its place.
    pub provisional: bool,
    /// Whether it was archived before.
    pub reopened: bool,
    /// Whether the scan goes on: it is archived as it is, on request, and nothing else of it changes.
    pub snapshot: bool,
    /// Number under which the settled map is published.
    pub generation: u64,
    /// What the board says of it.
    pub summary: ScanSummary,
    /// Alerts of it that hold.
    pub alerts: Vec<Alert>,
    /// How maps are made.
    pub recipe: Recipe,
}

impl ArchiveOrder {
    /// Lets go of the stack where the journal has all of it.
    pub(super) fn rely_on_journal(&mut self) {
        if !self.snapshot
            && self.stack.is_some()
            && self.journal.as_deref().is_some_and(|own| has_closing(own, self.closing))
        {
            self.stack = None;
        }
    }
}

/// Why a scan was not archived, this time.
#[derive(Debug, thiserror::Error)]
enum Failure {
    /// It could not be written.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// Its journal could not be read.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// Its journal lacks what came last.
    #[error("its journal is not written to the end yet")]
    Behind,
    /// It has neither stack nor plan.
    #[error("its journal has no plan")]
    Empty,
}

/// A scan that waits for its next try.
#[derive(Debug)]
struct Parked {
    order: ArchiveOrder,
    next: Instant,
    pause: Duration,
}

/// The archiving thread.
#[derive(Debug)]
pub struct Archiver {
    root: PathBuf,
    settings: serde_json::Value,
    outlet: Outlet,
    model: ModelHand,
    uploads: UploadHand,
    doses: Option<Arc<Doses>>,
    /// Where alerts are told.
    alerts: AlertHand,
    /// What damage is watched with, and what is known of places.
    watch: (MonitorSettings, Option<Places>),
    health: Health,
    at_work: AtWork,
    parked: BTreeMap<String, Parked>,
    /// When the archive is looked at again, as long as nothing can be written to it: then, and the pause before.
    look: Option<(Instant, Duration)>,
}

impl Archiver {
    /// The thread's state, not yet running. `settings` go into every manifest.
    #[must_use]
    pub fn new(
        root: PathBuf,
        settings: serde_json::Value,
        outlet: Outlet,
        model: ModelHand,
        health: Health,
        at_work: AtWork,
    ) -> Self {
        let uploads = UploadHand::new(root.clone());
        let (parked, look) = (BTreeMap::new(), None);
        let (alerts, watch) = (AlertHand::default(), (MonitorSettings::default(), None));
        Self {
            root,
            settings,
            outlet,
            model,
            uploads,
            doses: None,
            alerts,
            watch,
            health,
            at_work,
            parked,
            look,
        }
    }

    /// Watches damage with these settings, and remembers what it finds in `places`.
    #[must_use]
    pub fn with_watch(mut self, settings: MonitorSettings, places: Option<Places>) -> Self {
        self.watch = (settings, places);
        self
    }

    /// Tells every map its dose.
    #[must_use]
    pub fn with_doses(mut self, doses: Arc<Doses>) -> Self {
        self.doses = Some(doses);
        self
    }

    /// Tells alerts there; else nobody hears of them.
    #[must_use]
    pub fn with_alerts(mut self, alerts: AlertHand) -> Self {
        self.alerts = alerts;
        self
    }

    /// Says to `uploads` what was placed.
    #[must_use]
    pub fn with_uploads(mut self, uploads: UploadHand) -> Self {
        self.uploads = uploads;
        self
    }

    /// Archives until nobody orders any more; returns the scans that could not be archived.
    pub fn run(mut self, orders: &Orders, pulse: &Pulse) {
        self.look(Instant::now(), RETRY.0);
        loop {
            let now = Instant::now();
            pulse.beat(now);
            let looks = self.look.map(|(next, _)| next);
            let due = self.parked.values().map(|parked| parked.next).chain(looks).min();
            let due = due.map_or(now + TURN, |due| due.min(now + TURN));
            match orders.take(Some(due)) {
                Next::Order(order) => self.attempt(*order, RETRY.0),
                Next::TimedOut => self.retry(Instant::now()),
                Next::Closed => break,
            }
        }
        // Once more each: what fails again is left to the next start.
        for (_, parked) in std::mem::take(&mut self.parked) {
            self.attempt(parked.order, RETRY.1);
        }
        for scan_id in self.parked.keys() {
            tracing::error!(scan_id, "not archived; the next start tries again");
        }
    }

    /// Puts the archive right after an interrupted write, and says whether it can be written to.
    fn look(&mut self, now: Instant, pause: Duration) {
        let look = || archive::recover(&self.root).and_then(|done| archive::probe(&self.root).map(|()| done));
        let found = self.at_work.at("looking at the archive", look);
        match found {
            Ok(done) => {
                for path in done.restored.iter().chain(&done.removed) {
                    tracing::warn!(path = %path.display(), "put the archive right after an interrupted write");
                }
                self.look = None;
                if self.health.well("archive root") {
                    tracing::info!("the archive can be written to");
                }
            }
            Err(error) => {
                let what = format!(
                    "the archive cannot be written to: {error}; scans are received, mapped and journalled all the same, and archived \
                     when archive.root can be"
                );
                if self.health.trouble("archive root", true, what.clone()) {
                    tracing::error!("{what}");
                }
                self.look = Some((now + pause, pause));
            }
        }
    }

    fn retry(&mut self, now: Instant) {
        if let Some((next, pause)) = self.look
            && next <= now
        {
            self.look(now, (pause * 2).min(RETRY.2));
        }
        let due: Vec<String> =
            self.parked.iter().filter(|(_, parked)| parked.next <= now).map(|(id, _)| id.clone()).collect();
        for scan_id in due {
            if let Some(parked) = self.parked.remove(&scan_id) {
                self.attempt(parked.order, (parked.pause * 2).min(RETRY.1));
            }
        }
    }

    /// Archives a scan, or parks it for `pause`.
    fn attempt(&mut self, mut order: ArchiveOrder, pause: Duration) {
        self.model.renew();
        let at_work = self.at_work.clone();
        let doing = format!("archiving scan {}", order.summary.scan_id);
        let result = at_work.at(doing, || self.archive(&mut order));
        let scan_id = order.summary.scan_id.clone();
        if order.snapshot {
            if let Err(failure) = result {
                tracing::error!(scan_id, "not archived as it is, on request: {failure}; it is when it ends");
            }
            return;
        }
        // A later closing of a scan takes an earlier one's place.
        self.parked.remove(&scan_id);
        match result {
            Ok(()) => {
                if std::mem::take(&mut self.look).is_some() {
                    self.health.well("archive root");
                }
            }
            Err(failure) => {
                tracing::error!(scan_id, "not archived: {failure}");
                let note = format!("{NOT_YET}: {failure}");
                if !order.summary.notes.contains(&note) {
                    order.summary.notes.push(note);
                }
                self.outlet.board.update(order.summary.clone());
                order.rely_on_journal();
                self.parked.insert(scan_id, Parked { order, next: Instant::now() + pause, pause });
            }
        }
        metrics::gauge!(names::ARCHIVE_WAITING).set(self.parked.len() as f64);
        if self.parked.is_empty() {
            if self.health.well("archive") {
                tracing::info!("everything is archived again");
            }
        } else {
            let first = self.parked.values().next().map(|parked| &parked.order.summary);
            let why = first.and_then(|summary| summary.notes.iter().rfind(|note| note.starts_with(NOT_YET)));
            let what = format!(
                "scans that could not be archived and are tried again: {}, the first is {} ({}): is archive.root writable and has room?",
                self.parked.len(),
                first.map_or("", |summary| summary.scan_id.as_str()),
                why.map_or(NOT_YET, String::as_str)
            );
            self.health.trouble("archive", true, what);
        }
    }

    /// What an archived scan gives reason to tell, and what it says of its place.
    fn tell_damage(
        &self,
        order: &ArchiveOrder,
        stack: &Stack,
        settled: &Settled,
        watch: &MonitorSettings,
        seen: SettledLook,
    ) {
        let now = Utc::now();
        self.outlet.board.set_damage(&order.summary.scan_id, Arc::new(seen.report.clone()));
        let mut ended: Vec<Alert> = order.alerts.clone();
        for alert in &seen.alerts {
            ended.retain(|open| open.key != alert.key);
            let alert = Alert { time: now, ..alert.clone() };
            self.alerts.tell(alert.clone());
            ended.push(alert);
        }
        if order.provisional {
            // It may go on.
            return;
        }
        for alert in ended.into_iter().filter(|alert| alert.state == AlertState::Raised) {
            self.alerts.tell(alert.after_the_scan(now));
        }
        if let Some(places) = &self.watch.1 {
            for alert in places.take(stack, settled, &order.recipe, watch, &seen, now) {
                self.alerts.tell(alert);
            }
        }
    }

    fn archive(&mut self, order: &mut ArchiveOrder) -> Result<(), Failure> {
        let read;
        let stack = match (&order.stack, &order.journal) {
            (Some(stack), _) => stack,
            (None, Some(journal)) => {
                read = stack_of(journal, order.closing)?;
                &read
            }
            (None, None) => return Err(Failure::Empty),
        };
        let mut settled = settle(stack, &order.recipe, self.model.model_of(&order.recipe.references.sha256));
        let mut summary = order.summary.clone();
        if let Some(failure) = &settled.model_failure {
            tracing::error!(
                scan_id = summary.scan_id,
                "the model failed, the map is made without it: {failure}"
            );
            summary.notes.push(format!("the model failed: {failure}"));
        }
        let (owed, basis) = match &self.doses {
            // Of a provisional archive more may come, and then more may lie there.
            Some(doses) => {
                let journal = order.journal.as_deref();
                doses.settle(stack, &mut settled, &order.recipe, journal, !order.provisional)
            }
            None => (None, None),
        };
        let watch = settings_of(order.journal.as_deref(), &self.watch.0);
        let place = self.watch.1.as_ref().and_then(|places| {
            let kept = (order.journal.as_deref(), !order.provisional);
            places.before(&settled, &order.recipe, &watch, kept)
        });
        let seen = look_at_settled(stack, &settled, &order.recipe, &watch, basis.as_ref(), place);
        let mut spectra = spectra_of(stack, &settled, order.recipe.absorption.max_od);
        let dose = self.doses.as_ref().map(|doses| doses.settings(order.journal.as_deref()));
        let findings = findings_of(stack, &settled, &order.recipe, dose.and_then(|dose| dose.spot_nm));
        let job = ArchiveJob {
            stack,
            map: &settled.map,
            spectra: &spectra,
            findings: &findings,
            damage: seen.as_ref().and_then(|seen| seen.to_json().ok()),
            energies: energy_rows(stack, &settled),
            outcome: order.outcome.clone(),
            provisional: order.provisional,
            // A reload may have changed them since.
            settings: settings_in(order.journal.as_deref()).unwrap_or_else(|| self.settings.clone()),
            reopen: order.reopened,
            archived_at: Utc::now(),
        };
        let placed = archive::write(&self.root, &job)?;
        self.uploads.placed(placed.path());
        if order.snapshot {
            let path = placed.path().display().to_string();
            tracing::info!(scan_id = summary.scan_id, path, "scan archived as it is, on request");
            self.outlet.board.note_archive(&summary.scan_id, path);
            return Ok(());
        }
        let entered = self.doses.as_ref().zip(owed).is_none_or(|(doses, owed)| doses.enter(owed));
        if let Some(seen) = seen {
            self.tell_damage(order, stack, &settled, &watch, seen);
        }
        // Else it is archived once more after the next start, and entered then.
        if entered {
            mark(order, &placed, &settled.map.origin.model_sha256);
        }
        for (flaw, values) in &settled.map.origin.incident.flawed {
            metrics::counter!(names::VALUES_FLAWED, "flaw" => *flaw).increment(*values as u64);
        }
        // The files say nothing of how the scan came in; who follows it live is told in the order of events.
        settled.map.origin.generation = order.generation;
        settled.map.origin.revision_reason =
            if order.reopened { RevisionReason::LateData } else { RevisionReason::Energy };
        spectra.generation = order.generation;
        let found = Summary::of(&settled.map, &findings, true);
        summary.describe(&settled.map);
        summary.last_update = Utc::now();
        summary.state = ScanState::Archived;
        summary.notes.retain(|note| !note.starts_with(NOT_YET));
        let path = placed.path().display().to_string();
        summary.archive_path = Some(path.clone());
        let label = match order.outcome {
            Outcome::Complete => "complete",
            Outcome::Aborted { .. } => "aborted",
            Outcome::Partial { .. } => "partial",
        };
        metrics::counter!(names::SCANS_ARCHIVED, "outcome" => label).increment(1);
        tracing::info!(scan_id = summary.scan_id, path, "scan archived");
        let gaps = stack.sequence().gaps();
        let scan_id = summary.scan_id.clone();
        if self.outlet.board.goes_on(&scan_id) {
            // It was opened again meanwhile: what is measured now is newer than what lies there.
            self.outlet.board.note_archive(&scan_id, path.clone());
            self.outlet.news(&scan_id, &ScanNews::Archived { archive_path: &path, gaps: &gaps });
            return Ok(());
        }
        // The map first: who sees `archived` finds the settled map.
        self.outlet.map(&Arc::new(settled.map));
        self.outlet.spectra(Arc::new(spectra));
        self.outlet.board.update(summary);
        if let Ok(findings) = findings.to_outlined_json() {
            self.outlet.board.set_findings(&scan_id, findings.into());
        }
        self.outlet.news(&scan_id, &ScanNews::Archived { archive_path: &path, gaps: &gaps });
        self.outlet.news(&scan_id, &ScanNews::Findings { findings: &found });
        Ok(())
    }
}

/// Says in the journal that its scan is archived.
fn mark(order: &ArchiveOrder, placed: &Placed, model_sha256: &str) {
    let Some(journal) = &order.journal else { return };
    let archived = Archived {
        format: Archived::FORMAT.to_owned(),
        closing: order.closing,
        path: placed.path().display().to_string(),
        at: Utc::now(),
        model: (!model_sha256.is_empty()).then(|| model_sha256.to_owned()),
    };
    // Without the mark the scan is archived once more after the next start, to the same bytes.
    if let Err(error) = archived.write(journal) {
        tracing::warn!(scan_id = order.summary.scan_id, "the journal does not learn of the archive: {error}");
    }
}

/// The stack that a journal holds, if it goes as far as that closing; what is damaged is left out.
fn stack_of(journal: &Path, closing: u32) -> Result<Stack, Failure> {
    let replayed = super::replayed::Replayed::read(journal)?;
    // What came last may still wait in memory, on a full disk, say.
    if replayed.contents.closings < closing {
        return Err(Failure::Behind);
    }
    replayed.stack.ok_or(Failure::Empty)
}
