//! The board: the latest state of every scan, written by the pipeline and read by whoever serves it.
//!
//! Maps and spectra are shared, not copied; every method holds the lock for a few pointer moves only, so that a
//! reader never makes the pipeline wait. The number of scans is bounded: when it is reached, the oldest finished
//! scan goes, and where none has finished, the one updated longest ago.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use bytes::Bytes;
use chrono::{DateTime, Utc};
use serde::Serialize;
use tokio::sync::watch;

use super::course::{Course, CoursePoint};
use super::{MeanSpectra, Sight};
use crate::absorption::IncidentSummary;
use crate::advice::Advice;
use crate::classify::{DoseSummary, OffsetSummary, PhaseMap, Status};
use crate::damage::{DamageReport, RegionDose};
use crate::registration::DriftSummary;
use crate::scan::{Outcome, ScanKind, ScanPlan};
use crate::stack::SeqRange;

/// Where a scan is in its life.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ScanState {
    /// The plan came, no value yet.
    #[default]
    Started,
    /// Values come.
    Running,
    /// The sender said that it waits.
    Paused,
    /// No more values are expected.
    Ended,
    /// It lies in the archive.
    Archived,
}

impl ScanState {
    /// Whether no more values are expected.
    #[must_use]
    pub fn is_finished(self) -> bool {
        matches!(self, Self::Ended | Self::Archived)
    }
}

/// What the board says of one scan; it is what `/api/v1/scans` serves.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ScanSummary {
    /// Identifier.
    pub scan_id: String,
    /// Beamline.
    pub beamline: String,
    /// Sample.
    pub sample: Option<String>,
    /// Region of the sample.
    pub region: Option<String>,
    /// Kind of measurement.
    pub scan_kind: ScanKind,
    /// Name of the source that delivers it.
    pub source: Option<String>,
    /// Whether the data were simulated.
    pub simulated: bool,
    /// Where it is in its life.
    pub state: ScanState,
    /// How it ended, once it has.
    pub outcome: Option<Outcome>,
    /// Number of energies with any value.
    pub energies_done: usize,
    /// Number of energies in the plan.
    pub energies_total: usize,
    /// Values measured, over all energies.
    pub measured_values: usize,
    /// Values planned.
    pub planned_values: usize,
    /// Message numbers that did not come.
    pub gaps: Vec<SeqRange>,
    /// Generation of the latest map, 0 while there is none.
    pub generation: u64,
    /// What to measure next, and whether to stop, while the scan runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub advice: Option<Advice>,
    /// Share of each phase among the classified pixels, in the order of the legend.
    pub fractions: Vec<PhaseFraction>,
    /// Number of pixels of each status.
    pub status_counts: BTreeMap<&'static str, usize>,
    /// The energy offset, once there is a map.
    pub energy_offset: Option<OffsetSummary>,
    /// The incident intensity and what could not be used, once there is a map.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub i0: Option<IncidentSummary>,
    /// Where the sample lay in each image, and whether that was taken out; once there is a map and unless it is off.
    pub drift: Option<DriftSummary>,
    /// The dose, once there is a map and where there is any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dose: Option<DoseSummary>,
    /// Start of exposure.
    pub started: DateTime<Utc>,
    /// When the pipeline last had news of it.
    pub last_update: DateTime<Utc>,
    /// Folder of its archive, once it is archived.
    pub archive_path: Option<String>,
    /// Whether values may lie at a wrong pixel or energy: the notes say why.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub untrusted: bool,
    /// What people should know: warnings and remarks.
    pub notes: Vec<String>,
}

/// A phase and its share.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PhaseFraction {
    /// Identifier of the phase.
    pub phase: String,
    /// Title for legends.
    pub title: String,
    /// Colour, sRGB.
    pub colour: [u8; 3],
    /// Share among the classified pixels, 0 to 1.
    pub fraction: f64,
}

impl ScanSummary {
    /// A scan that has just started at `now`.
    #[must_use]
    pub fn started(plan: &ScanPlan, now: DateTime<Utc>) -> Self {
        Self {
            scan_id: plan.scan_id.clone(),
            beamline: plan.beamline.clone(),
            sample: plan.sample.clone(),
            region: plan.region.clone(),
            scan_kind: plan.scan_kind,
            source: None,
            simulated: plan.simulated,
            state: ScanState::Started,
            outcome: None,
            energies_done: 0,
            energies_total: plan.energies_ev.len(),
            measured_values: 0,
            planned_values: plan.planned_values(),
            gaps: Vec::new(),
            generation: 0,
            advice: None,
            fractions: Vec::new(),
            status_counts: BTreeMap::new(),
            energy_offset: None,
            i0: None,
            drift: None,
            dose: None,
            started: plan.started,
            last_update: now,
            archive_path: None,
            untrusted: false,
            notes: Vec::new(),
        }
    }

    /// Takes over what `map` says: generation, energies, fractions and counts.
    pub fn describe(&mut self, map: &PhaseMap) {
        self.generation = map.origin.generation;
        self.energies_done = map.origin.energies_done;
        self.energies_total = map.plan.energies_ev.len();
        self.energy_offset = Some(map.origin.energy_offset.summary(map.origin.correction_ev));
        self.i0 = Some(IncidentSummary::clone(&map.origin.incident));
        self.drift = map.origin.drift.summary();
        self.dose = map.origin.dose.as_deref().cloned();
        self.planned_values = map.plan.planned_values();
        self.fractions = map
            .phases
            .iter()
            .zip(map.fractions())
            .map(|(label, fraction)| PhaseFraction {
                phase: label.id.clone(),
                title: label.title.clone(),
                colour: label.colour,
                fraction,
            })
            .collect();
        self.status_counts = Status::ALL.iter().map(|s| s.name()).zip(map.status_counts()).collect();
    }
}

/// Everything the board holds of one scan.
#[derive(Clone, Debug)]
pub struct BoardEntry {
    /// The summary.
    pub summary: Arc<ScanSummary>,
    /// The latest map.
    pub map: Option<Arc<PhaseMap>>,
    /// The latest mean spectra.
    pub spectra: Option<Arc<MeanSpectra>>,
    /// What was last said of damage.
    pub damage: Option<Arc<DamageReport>>,
    /// What was last said of particles and boundaries: `findings.json` with outlines.
    pub findings: Option<Bytes>,
    /// The revision that they came with.
    pub findings_revision: u64,
    /// The way to what was measured, while it is there.
    pub sight: Option<Sight>,
    /// What its maps said one after the other.
    pub course: Arc<Course>,
    /// Counts every change of `map` or `spectra`, over all scans; never the same for two contents.
    pub revision: u64,
    /// The revision that the map came with.
    pub map_revision: u64,
}

/// What there is of a scan, for who looks for changes.
#[derive(Clone, Debug)]
pub struct ScanShown {
    /// The summary.
    pub summary: Arc<ScanSummary>,
    /// Generation of the map that is there.
    pub generation: Option<u64>,
    /// Revision of what is said of particles and boundaries.
    pub findings: Option<u64>,
}

impl BoardEntry {
    fn new(summary: Arc<ScanSummary>) -> Self {
        let course = Arc::default();
        Self {
            summary,
            map: None,
            spectra: None,
            damage: None,
            findings: None,
            findings_revision: 0,
            sight: None,
            course,
            revision: 0,
            map_revision: 0,
        }
    }
}

/// The latest state of every scan. Clones share it.
#[derive(Clone, Debug)]
pub struct Board {
    shared: Arc<RwLock<Entries>>,
    capacity: usize,
    map_bytes: usize,
    /// Counts changes, for those who wait for one.
    changes: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct Entries {
    scans: BTreeMap<String, BoardEntry>,
    doses: Arc<Vec<RegionDose>>,
    revision: u64,
}

impl Board {
    /// An empty board for at most `capacity` scans, at least one, that keeps all their maps.
    #[must_use]
    pub fn new(capacity: usize) -> Self {
        let changes = watch::Sender::new(0);
        Self { shared: Arc::default(), capacity: capacity.max(1), map_bytes: usize::MAX, changes }
    }

    /// The same board, with the maps of archived scans bounded in bytes: beyond it the oldest are let go of, but never
    /// that of the latest scan; the archive has them.
    #[must_use]
    pub fn with_map_bytes(self, map_bytes: usize) -> Self {
        Self { map_bytes, ..self }
    }

    /// Sets the summary of a scan; a scan not yet on the board is added.
    pub fn update(&self, mut summary: ScanSummary) {
        let mut entries = self.write();
        let scan_id = summary.scan_id.clone();
        if let Some(entry) = entries.scans.get_mut(&scan_id) {
            // Where a scan is archived stays known, whoever tells something else of it.
            if summary.archive_path.is_none() && entry.summary.started == summary.started {
                summary.archive_path.clone_from(&entry.summary.archive_path);
            }
            entry.summary = Arc::new(summary);
        } else {
            entries.make_room(self.capacity);
            entries.scans.insert(scan_id, BoardEntry::new(Arc::new(summary)));
        }
        self.tell(entries);
    }

    /// Lets go of the entries, and tells who waits for a change.
    fn tell(&self, entries: RwLockWriteGuard<'_, Entries>) {
        drop(entries);
        self.changes.send_modify(|changes| *changes = changes.wrapping_add(1));
    }

    /// For waiting for the next change.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// Sets the latest map of a scan; returns false where the scan is not on the board.
    pub fn set_map(&self, map: Arc<PhaseMap>) -> bool {
        let scan_id = map.plan.scan_id.clone();
        // A pass over all pixels: not under the lock.
        let point = self.get(&scan_id).map(|entry| CoursePoint::of(&entry.summary, &map));
        let mut entries = self.write();
        let known = entries.change(&scan_id, |entry| {
            if let Some(point) = point {
                Arc::make_mut(&mut entry.course).push(point);
            }
            (entry.map, entry.map_revision) = (Some(map), entry.revision);
        });
        entries.let_go(&scan_id, self.map_bytes);
        self.tell(entries);
        known
    }

    /// Sets the latest spectra of a scan; returns false where the scan is not on the board.
    pub fn set_spectra(&self, spectra: Arc<MeanSpectra>) -> bool {
        let mut entries = self.write();
        let scan_id = spectra.plan.scan_id.clone();
        let known = entries.change(&scan_id, |entry| entry.spectra = Some(spectra));
        self.tell(entries);
        known
    }

    /// Sets the way to what was measured of a scan, or takes it away.
    pub fn set_sight(&self, scan_id: &str, sight: Option<Sight>) {
        if let Some(entry) = self.write().scans.get_mut(scan_id) {
            entry.sight = sight;
        }
    }

    /// Sets what is said of the damage of a scan; returns false where the scan is not on the board.
    pub fn set_damage(&self, scan_id: &str, report: Arc<DamageReport>) -> bool {
        self.write().change(scan_id, |entry| entry.damage = Some(report))
    }

    /// Sets what is said of the particles and boundaries of a scan; returns false where the scan is not on the board.
    pub fn set_findings(&self, scan_id: &str, findings: Bytes) -> bool {
        let mut entries = self.write();
        let known = entries.change(scan_id, |entry| {
            (entry.findings, entry.findings_revision) = (Some(findings), entry.revision);
        });
        self.tell(entries);
        known
    }

    /// Sets what was deposited in every region.
    pub fn set_doses(&self, doses: Vec<RegionDose>) {
        self.write().doses = Arc::new(doses);
    }

    /// What was deposited in every region.
    #[must_use]
    pub fn doses(&self) -> Arc<Vec<RegionDose>> {
        Arc::clone(&self.read().doses)
    }

    /// Notes where the archive of a scan is that goes on.
    pub fn note_archive(&self, scan_id: &str, path: String) {
        let mut entries = self.write();
        if let Some(entry) = entries.scans.get_mut(scan_id) {
            Arc::make_mut(&mut entry.summary).archive_path = Some(path);
        }
        self.tell(entries);
    }

    /// Whether a scan goes on.
    #[must_use]
    pub fn goes_on(&self, scan_id: &str) -> bool {
        self.read().scans.get(scan_id).is_some_and(|entry| !entry.summary.state.is_finished())
    }

    /// Takes a scan off the board; returns whether it was there.
    pub fn remove(&self, scan_id: &str) -> bool {
        let mut entries = self.write();
        let known = entries.scans.remove(scan_id).is_some();
        self.tell(entries);
        known
    }

    /// What the board holds of a scan.
    #[must_use]
    pub fn get(&self, scan_id: &str) -> Option<BoardEntry> {
        self.read().scans.get(scan_id).cloned()
    }

    /// Summaries, the scan that started last first.
    #[must_use]
    pub fn summaries(&self) -> Vec<Arc<ScanSummary>> {
        let mut list: Vec<_> = self.read().scans.values().map(|entry| Arc::clone(&entry.summary)).collect();
        list.sort_by(|a, b| b.started.cmp(&a.started).then_with(|| a.scan_id.cmp(&b.scan_id)));
        list
    }

    /// What there is of each scan, in no order.
    #[must_use]
    pub fn shown(&self) -> Vec<ScanShown> {
        let shown = |entry: &BoardEntry| ScanShown {
            summary: Arc::clone(&entry.summary),
            generation: entry.map.as_ref().map(|map| map.origin.generation),
            findings: entry.findings.as_ref().map(|_| entry.findings_revision),
        };
        self.read().scans.values().map(shown).collect()
    }

    // A panic elsewhere leaves the entries whole: each change is one assignment.
    fn read(&self) -> RwLockReadGuard<'_, Entries> {
        self.shared.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Entries> {
        self.shared.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Entries {
    fn change(&mut self, scan_id: &str, change: impl FnOnce(&mut BoardEntry)) -> bool {
        let Some(entry) = self.scans.get_mut(scan_id) else { return false };
        self.revision += 1;
        entry.revision = self.revision;
        change(entry);
        true
    }

    /// Lets go of the maps of archived scans, oldest first, until the rest takes at most `map_bytes`; that of
    /// `latest` stays.
    fn let_go(&mut self, latest: &str, map_bytes: usize) {
        let bytes = |entry: &BoardEntry| entry.map.as_ref().map_or(0, |map| map.bytes());
        let mut archived: Vec<_> = self
            .scans
            .iter()
            .filter(|(id, entry)| entry.summary.state == ScanState::Archived && id.as_str() != latest)
            .map(|(id, entry)| (entry.summary.last_update, id.clone(), bytes(entry)))
            .collect();
        archived.sort();
        let mut total: usize = archived.iter().map(|(_, _, bytes)| bytes).sum();
        for (_, scan_id, bytes) in archived.into_iter().filter(|(_, _, bytes)| *bytes > 0) {
            if total <= map_bytes {
                return;
            }
            total -= bytes;
            self.change(&scan_id, |entry| entry.map = None);
        }
    }

    fn make_room(&mut self, capacity: usize) {
        while self.scans.len() >= capacity {
            let oldest = self
                .scans
                .values()
                .min_by_key(|entry| (!entry.summary.state.is_finished(), entry.summary.last_update))
                .map(|entry| entry.summary.scan_id.clone());
            let Some(oldest) = oldest else { return };
            self.scans.remove(&oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::publish::table::tests::{map, plan};

    fn summary(scan_id: &str, state: ScanState, minute: i64) -> ScanSummary {
        let plan = ScanPlan { scan_id: scan_id.into(), ..plan(2, 2, 3) };
        let now = plan.started + chrono::TimeDelta::minutes(minute);
        ScanSummary { state, ..ScanSummary::started(&plan, now) }
    }

    #[test]
    fn the_oldest_finished_scan_makes_room_then_the_stalest() {
        let board = Board::new(3);
        board.update(summary("running", ScanState::Running, 0));
        board.update(summary("done2", ScanState::Ended, 2));
        board.update(summary("done1", ScanState::Archived, 1));
        board.update(summary("a", ScanState::Running, 3));
        board.update(summary("b", ScanState::Running, 4));
        let ids =
            |board: &Board| -> Vec<String> { board.summaries().iter().map(|s| s.scan_id.clone()).collect() };
        assert_eq!(ids(&board), ["a", "b", "running"]);
        board.update(summary("c", ScanState::Running, 5));
        assert_eq!(ids(&board), ["a", "b", "c"]);
    }

    #[test]
    fn a_map_belongs_to_a_scan_on_the_board_and_changes_its_revision() {
        let board = Board::new(2);
        let map = Arc::new(map(2, 4, &[]));
        assert!(!board.set_map(Arc::clone(&map)), "not on the board");
        let mut summary = ScanSummary::started(&map.plan, map.plan.started);
        summary.describe(&map);
        assert_eq!(summary.status_counts["ambiguous"], 1);
        assert_eq!(summary.generation, 7);
        board.update(summary.clone());
        assert!(board.set_map(Arc::clone(&map)));
        let first = board.get("NVPF_0042").unwrap();
        board.update(summary);
        assert_eq!(board.get("NVPF_0042").unwrap().revision, first.revision, "the summary alone keeps it");
        assert!(board.set_map(map));
        assert!(board.get("NVPF_0042").unwrap().revision > first.revision);
        assert!(board.remove("NVPF_0042") && !board.remove("NVPF_0042"));
    }
}
