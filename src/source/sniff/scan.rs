//! One scan, as far as it was heard.

use chrono::{DateTime, Utc};
use serde::Serialize;

use crate::scan::{Outcome, PixelSet, Pixels, Remark, ScanKind, ScanPlan, ScanUpdate};
use crate::stack::Sequence;

/// Most values of a scan of which it is noted which came.
const MAX_NOTED: usize = 1 << 28;
/// Most remarks that are kept.
const MAX_REMARKS: usize = 16;

/// A scan.
#[derive(Debug)]
pub(super) struct Heard {
    pub(super) scan_id: String,
    format: &'static str,
    plan: Option<ScanPlan>,
    /// Which values came, energy by energy.
    came: PixelSet,
    seqs: Sequence,
    pub(super) duplicates: u64,
    pub(super) values: u64,
    pub(super) nan: u64,
    pub(super) zero_lines: u64,
    /// Messages of values before the start was heard.
    pub(super) before_start: u64,
    pub(super) remarks: Vec<Remark>,
    outcome: Option<Outcome>,
    reached: Option<usize>,
    last: DateTime<Utc>,
}

/// What is to be said of a scan.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ScanFinding {
    /// Its name.
    pub scan_id: String,
    /// The format it came in.
    pub format: &'static str,
    /// What kind of scan, where its start was heard.
    pub scan_kind: Option<ScanKind>,
    /// Rows and columns.
    pub shape: Option<[usize; 2]>,
    /// Width and height of the field, in the grid's unit.
    pub field: Option<[f64; 2]>,
    /// That unit.
    pub unit: Option<String>,
    /// Number of energies.
    pub energies: Option<usize>,
    /// The lowest and the highest, eV.
    pub energy_range_ev: Option<[f64; 2]>,
    /// Shortest and longest exposure of a pixel, ms.
    pub dwell_ms: Option<[f64; 2]>,
    /// Shape of a frame, of an area detector.
    pub frame_shape: Option<[usize; 2]>,
    /// Whether it says that it is simulated.
    pub simulated: bool,
    /// Values that came, doubles included.
    pub values: u64,
    /// Share of what is planned that came while we listened, 0 to 1.
    pub progress: Option<f64>,
    /// Energy that it is at, counted from 0.
    pub at_energy: Option<usize>,
    /// Message numbers that are missing since we listen.
    pub missing: u64,
    /// How it ended, if it did.
    pub outcome: Option<Outcome>,
    /// When it was heard last.
    pub last: DateTime<Utc>,
}

impl Heard {
    pub(super) fn new(scan_id: &str, format: &'static str, now: DateTime<Utc>) -> Self {
        Self {
            scan_id: scan_id.to_owned(),
            format,
            plan: None,
            came: PixelSet::default(),
            seqs: Sequence::default(),
            duplicates: 0,
            values: 0,
            nan: 0,
            zero_lines: 0,
            before_start: 0,
            remarks: Vec::new(),
            outcome: None,
            reached: None,
            last: now,
        }
    }

    pub(super) fn is_started(&self) -> bool {
        self.plan.is_some()
    }

    pub(super) fn take(&mut self, seq: Option<u64>, update: ScanUpdate, now: DateTime<Utc>) {
        self.last = now;
        if let Some(seq) = seq
            && !self.seqs.insert(seq)
        {
            self.duplicates += 1;
            return;
        }
        match update {
            ScanUpdate::Started(plan) if self.plan.is_none() => {
                let planned = plan.planned_values();
                self.came = PixelSet::new(if planned <= MAX_NOTED { planned } else { 0 });
                self.plan = Some(plan.without_recall());
            }
            ScanUpdate::Samples(batch) | ScanUpdate::Reduced(batch, _) => {
                self.nan += batch.values.iter().filter(|value| value.is_nan()).count() as u64;
                // One pixel without counts is no line.
                let is_zero = batch.values.len() > 1 && batch.values.iter().all(|value| *value == 0.0);
                self.zero_lines += u64::from(is_zero);
                self.measured(batch.energy_index as usize, &batch.pixels, &batch.values);
            }
            ScanUpdate::Frames(frames) => {
                let batch = frames.batch;
                self.measured(batch.energy_index as usize, &batch.pixels, &[]);
            }
            ScanUpdate::Extended { energies_ev, .. } => {
                if let Some(plan) = &mut self.plan {
                    plan.dwell_ms.resize(plan.energies_ev.len() + energies_ev.len(), f64::NAN);
                    plan.energies_ev.extend(energies_ev);
                }
            }
            ScanUpdate::Ended(outcome) => self.outcome = Some(outcome),
            ScanUpdate::Remarked(remark) => {
                if self.remarks.len() < MAX_REMARKS && !self.remarks.contains(&remark) {
                    self.remarks.push(remark);
                }
            }
            ScanUpdate::Started(_) | ScanUpdate::Paused | ScanUpdate::Resumed | ScanUpdate::Skipped => {}
        }
    }

    fn measured(&mut self, energy: usize, pixels: &Pixels, values: &[f32]) {
        self.values += pixels.len() as u64;
        self.reached = Some(energy);
        let Some(plan) = &self.plan else {
            self.before_start += 1;
            return;
        };
        let all = plan.grid.pixels();
        for (index, pixel) in pixels.iter().enumerate() {
            let is_nan = values.get(index).is_some_and(|value| value.is_nan());
            if pixel < all && !is_nan {
                self.came.insert(energy.saturating_mul(all).saturating_add(pixel));
            }
        }
    }

    /// Message numbers that are missing since the first that came.
    pub(super) fn missing(&self) -> u64 {
        let before = self.seqs.iter_gaps().next().filter(|gap| gap.first == 0).map_or(0, |gap| gap.last + 1);
        self.seqs.missing().saturating_sub(before)
    }

    pub(super) fn finding(&self) -> ScanFinding {
        let plan = self.plan.as_ref();
        let range = |list: &[f64]| {
            let finite = list.iter().copied().filter(|number| number.is_finite());
            [finite.clone().fold(f64::INFINITY, f64::min), finite.fold(f64::NEG_INFINITY, f64::max)]
        };
        let field = |plan: &ScanPlan| {
            let [ny, nx] = plan.grid.shape;
            [plan.grid.x.step.abs() * nx as f64, plan.grid.y.step.abs() * ny as f64]
        };
        let noted = (self.came.size() > 0).then(|| self.came.len() as f64 / self.came.size() as f64);
        ScanFinding {
            scan_id: self.scan_id.clone(),
            format: self.format,
            scan_kind: plan.map(|plan| plan.scan_kind),
            shape: plan.map(|plan| plan.grid.shape),
            field: plan.map(field),
            unit: plan.map(|plan| plan.grid.unit.clone()),
            energies: plan.map(|plan| plan.energies_ev.len()),
            energy_range_ev: plan.map(|plan| range(&plan.energies_ev)),
            dwell_ms: plan.map(|plan| range(&plan.dwell_ms)),
            frame_shape: plan.and_then(|plan| plan.detector.frame_shape),
            simulated: plan.is_some_and(|plan| plan.simulated),
            values: self.values,
            progress: noted,
            at_energy: self.reached,
            missing: self.missing(),
            outcome: self.outcome.clone(),
            last: self.last,
        }
    }
}
