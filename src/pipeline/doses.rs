//! The doses of all scans: into their maps, into the ledger, and what lay in a region before.
//!
//! A live map adds what the ledger holds of the region, and what other scans that are not archived yet have deposited so far. The archived
//! map adds the ledger alone, as it is when the scan is archived for good; that is kept in its journal (`dose_before.dose`), so that an archive
//! that is made again has the same bytes. Then the scan's own dose goes into the ledger.
//!
//! There is a ledger where there is a journal: both are in the state directory, which is then locked. Without one a scan knows its own
//! dose only. What cannot be written is told by `/readyz`, and the scan counts as not archived: the next start tries again.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::classify::{DensityView, DoseKind, DoseNumbers, Recipe, Settled};
use crate::damage::{
    DOSE_FORMAT, DoseModel, DoseSettings, Exposed, Header, Layer, Ledger, Prior, Question, Reckoned, Record,
    RecordError, Region, ScanRef,
};
use crate::journal::Pinned;
use crate::publish::board::Board;
use crate::scan::ScanPlan;
use crate::stack::Stack;
use crate::telemetry::{Health, names};

/// What lay there before a scan, in its journal.
const BEFORE: &str = "dose_before.dose";

/// What a scan that is not archived has deposited so far.
#[derive(Clone, Debug)]
struct Open {
    region: Region,
    scan: ScanRef,
    kind: DoseKind,
    basis: String,
    layer: Arc<Layer>,
}

/// What goes into the ledger once its scan is archived.
#[derive(Debug)]
pub(super) struct Owed {
    region: Region,
    scan: ScanRef,
    kind: DoseKind,
    basis: String,
    layer: Layer,
    accumulated: Option<DoseNumbers>,
}

/// The doses of all scans. Shared by the mapping and the archiving thread.
#[derive(Debug)]
pub struct Doses {
    settings: DoseSettings,
    ledger: Option<Arc<Ledger>>,
    board: Board,
    health: Health,
    open: Mutex<BTreeMap<String, Open>>,
}

impl Doses {
    /// With the ledger in `<state_dir>/dose`, where there is one.
    #[must_use]
    pub fn new(settings: DoseSettings, ledger: Option<Arc<Ledger>>, board: Board, health: Health) -> Self {
        let doses = Self { settings, ledger, board, health, open: Mutex::default() };
        doses.show();
        doses
    }

    /// What the dose of a scan is reckoned with: what was in the settings when its journal was begun.
    pub(super) fn settings(&self, journal: Option<&Path>) -> DoseSettings {
        let pinned = journal.and_then(|folder| Pinned::read(folder).ok());
        pinned.as_ref().and_then(super::pinned_dose).unwrap_or_else(|| self.settings.clone())
    }

    /// Counts up whenever what lies in a region may have changed.
    pub(super) fn revision(&self) -> u64 {
        self.ledger.as_ref().map_or(0, |ledger| ledger.revision())
    }

    /// What the ledger holds of the region of a scan.
    pub(super) fn before(&self, plan: &ScanPlan, model: &DoseModel) -> Prior {
        let (Some(ledger), Some(region)) = (&self.ledger, Region::of(plan)) else { return Prior::default() };
        let prior = ledger.prior(&Question {
            region: &region,
            scan: &ScanRef::of(plan),
            kind: model.kind,
            basis: &model.basis(),
            lattice: &model.lattice,
        });
        self.say_damage();
        prior
    }

    /// Adds what other scans that are not archived have deposited so far.
    pub(super) fn add_open(&self, plan: &ScanPlan, model: &DoseModel, prior: &mut Prior) {
        let Some(region) = Region::of(plan) else { return };
        let (own, basis) = (ScanRef::of(plan), model.basis());
        let others: Vec<Open> = self
            .open()
            .values()
            .filter(|open| open.region == region && open.kind == model.kind && open.basis == basis)
            .filter(|open| open.scan != own && open.scan.started < own.started)
            .filter(|open| !prior.scans.contains(&open.scan))
            .cloned()
            .collect();
        for other in others {
            let seen = other.layer.onto(&model.lattice);
            prior.dose.resize(seen.len(), 0.0);
            prior.dose.iter_mut().zip(&seen).for_each(|(sum, dose)| *sum += dose);
            prior.scans.push(other.scan);
        }
    }

    /// Notes what a scan that is not archived has deposited so far.
    pub(super) fn note_open(&self, plan: &ScanPlan, model: &DoseModel, layer: &Arc<Layer>) {
        let Some(region) = Region::of(plan) else { return };
        let layer = Arc::clone(layer);
        let open = Open { region, scan: ScanRef::of(plan), kind: model.kind, basis: model.basis(), layer };
        self.open().insert(plan.scan_id.clone(), open);
    }

    /// Fills the dose into a settled map. `keep`: whether what lay there before is kept for archives that are made again.
    /// Returns what [`Doses::enter`] is to be given once the map is archived.
    pub(super) fn settle(
        &self,
        stack: &Stack,
        settled: &mut Settled,
        recipe: &Recipe,
        journal: Option<&Path>,
        keep: bool,
    ) -> Result<Option<Owed>, RecordError> {
        let Some(reckoned) = reckon(stack, settled, recipe, &self.settings(journal)) else { return Ok(None) };
        let plan = stack.plan();
        let prior = match journal.and_then(|folder| kept_before(folder, &reckoned.model)) {
            Some(kept) => kept,
            None => {
                let prior = self.before(plan, &reckoned.model);
                if let Some(folder) = journal.filter(|_| keep) {
                    keep_before(folder, plan, &reckoned.model, &prior)?;
                }
                prior
            }
        };
        reckoned.tell(&mut settled.map, &prior);
        let Some(region) = Region::of(plan).filter(|_| stack.measured() > 0) else { return Ok(None) };
        Ok(Some(Owed {
            region,
            scan: ScanRef::of(plan),
            kind: reckoned.model.kind,
            basis: reckoned.model.basis(),
            layer: reckoned.own,
            accumulated: settled.map.origin.dose.as_ref().map(|dose| dose.total),
        }))
    }

    /// Takes what an archived scan deposited into the ledger; returns whether it is there.
    pub(super) fn enter(&self, owed: Owed) -> bool {
        const PART: &str = "dose ledger";
        self.open().remove(&owed.scan.scan_id);
        let Some(ledger) = &self.ledger else { return true };
        let Owed { region, scan, kind, basis, layer, accumulated } = owed;
        match ledger.put(&region, &scan, (kind, basis), layer, accumulated) {
            Ok(()) => {
                self.health.well(PART);
                self.show();
                true
            }
            Err(error) => {
                metrics::counter!(names::DOSE_FAILURES).increment(1);
                let what = format!("the dose of scan {} is not in the ledger: {error}", scan.scan_id);
                tracing::error!("{what}");
                self.health.trouble(PART, false, what);
                false
            }
        }
    }

    /// Shows what there is.
    fn show(&self) {
        let Some(ledger) = &self.ledger else { return };
        self.board.set_doses(ledger.regions());
        self.say_damage();
    }

    fn say_damage(&self) {
        const PART: &str = "dose damage";
        let damaged = self.ledger.as_ref().map(|ledger| ledger.damaged()).unwrap_or_default();
        match damaged.as_slice() {
            [] => _ = self.health.well(PART),
            [first, rest @ ..] => {
                let more = if rest.is_empty() { String::new() } else { format!("; and {} more", rest.len()) };
                self.health.trouble(PART, false, format!("doses that count as nothing: {first}{more}"));
            }
        }
    }

    fn open(&self) -> MutexGuard<'_, BTreeMap<String, Open>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a scan deposited, by its settled map; `None` where there is no dose.
fn reckon(stack: &Stack, settled: &Settled, recipe: &Recipe, settings: &DoseSettings) -> Option<Reckoned> {
    let started = std::time::Instant::now();
    let mapped = settled.registered.as_ref().unwrap_or(stack);
    let view = DensityView::new(mapped, &settled.intensity, recipe.absorption.max_od, settled.noise_factor);
    let exposed = Exposed { raw: stack, view: &view, drift: &settled.map.origin.drift };
    let detector = &recipe.absorption.detector;
    let reckoned = Reckoned::of(&exposed, &settled.intensity, detector, &recipe.references, settings)
        .inspect_err(|none| tracing::debug!(scan_id = stack.plan().scan_id, "no dose: {none}"))
        .ok();
    metrics::histogram!(names::DOSE_SECONDS).record(started.elapsed().as_secs_f64());
    reckoned
}

/// Fills the dose into the settled map of a stack that no daemon received. `journal`: of a scan that a daemon archived.
pub fn settle_dose(
    stack: &Stack,
    settled: &mut Settled,
    recipe: &Recipe,
    settings: &DoseSettings,
    journal: Option<&Path>,
) {
    if let Some(reckoned) = reckon(stack, settled, recipe, settings) {
        let kept = journal.and_then(|folder| kept_before(folder, &reckoned.model));
        reckoned.tell(&mut settled.map, &kept.unwrap_or_default());
    }
}

/// Keeps what lay there before a scan.
fn keep_before(folder: &Path, plan: &ScanPlan, model: &DoseModel, prior: &Prior) -> Result<(), RecordError> {
    let header = Header {
        format: DOSE_FORMAT.to_owned(),
        region: Region::of(plan),
        scans: prior.scans.clone(),
        kind: model.kind,
        basis: model.basis(),
        lattice: (!prior.dose.is_empty()).then_some(model.lattice),
        accumulated: None,
        remarks: prior.remarks.clone(),
        crc32: 0,
    };
    Record { header, dose: prior.dose.clone() }.write(folder, BEFORE)
}

/// What lay there before a scan, as it was when the scan was first archived.
fn kept_before(folder: &Path, model: &DoseModel) -> Option<Prior> {
    let path = folder.join(BEFORE);
    if !path.is_file() {
        return None;
    }
    let Record { header, dose } = match Record::read(&path) {
        Ok(record) => record,
        Err(error) => {
            tracing::error!("what the ledger says now is taken instead: {error}");
            return None;
        }
    };
    let alike = header.kind == model.kind && header.basis == model.basis();
    // Under other settings it is of another kind, or on other rectangles.
    if !alike || header.lattice.is_some_and(|lattice| lattice != model.lattice) {
        return None;
    }
    Some(Prior { dose, scans: header.scans, remarks: header.remarks })
}
