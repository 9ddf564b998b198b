//! The stack of one scan: what was measured, at which energy and pixel, and what is missing.
//!
//! Messages may come in any order, more than once, or not at all. The content of a stack depends only on the
//! set of messages that reached it, never on their order: where two messages measured the same pixel at the
//! same energy the higher `seq` wins, a message seen before is ignored, and sums over messages are kept in
//! integers. What does not fit the plan is refused whole, named and counted; it never reaches the values.

mod layer;
mod plane;
mod sequence;
mod stamps;

use std::sync::Arc;

use serde::Serialize;

pub use plane::{Displaced, Plane, PlaneI0};
pub use sequence::{SeqRange, Sequence};

use crate::scan::{Channel, MAX_ENERGIES, PixelSet, PlanError, Remark, SampleBatch, ScanPlan};

/// Why a batch was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StackError {
    /// The energy is not in the plan.
    #[error("energy_index {index} is not below the plan's {energies} energies")]
    Energy {
        /// The index.
        index: u32,
        /// Energies in the plan.
        energies: usize,
    },
    /// A pixel is not on the grid.
    #[error("pixel {pixel} is not below the grid's {pixels} pixels")]
    Pixel {
        /// The pixel.
        pixel: u64,
        /// Pixels in the grid.
        pixels: usize,
    },
    /// Incident intensity at or below the dark level.
    #[error("i0 is not above the dark level")]
    I0BelowDark,
    /// `seq` beyond what a stack can tell apart.
    #[error("seq {0} is above 4294967294")]
    Seq(u64),
}

/// Whether a stack can tell `seq` from others: it has to, for messages of every type.
///
/// # Errors
/// [`StackError::Seq`].
pub fn check_seq(seq: u64) -> Result<(), StackError> {
    if seq >= u64::from(u32::MAX) { Err(StackError::Seq(seq)) } else { Ok(()) }
}

/// What happened to the values of a stack so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct StackCounters {
    /// Values that filled a place.
    pub stored: u64,
    /// Values that replaced one of a lower `seq`.
    pub replaced: u64,
    /// Values that came after one of a higher `seq`, and were dropped.
    pub outdated: u64,
    /// NaN: not measured.
    pub not_measured: u64,
    /// Whole messages seen before, and ignored.
    pub duplicate_messages: u64,
}

impl StackCounters {
    /// Both together.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self {
            stored: self.stored + other.stored,
            replaced: self.replaced + other.replaced,
            outdated: self.outdated + other.outdated,
            not_measured: self.not_measured + other.not_measured,
            duplicate_messages: self.duplicate_messages + other.duplicate_messages,
        }
    }
}

/// What one energy has changed in since the last time it was asked.
#[derive(Clone, Debug)]
pub struct PlaneChange {
    /// Index of the energy.
    pub energy: usize,
    /// Pixels whose value is new or another.
    pub pixels: PixelSet,
    /// What those held before that had been handed out already.
    pub displaced: Vec<Displaced>,
}

/// The stack of one scan. A clone is a snapshot: it shares the planes until either side changes one.
#[derive(Clone, Debug)]
pub struct Stack {
    plan: Arc<ScanPlan>,
    /// Shared with snapshots; a plane that is written to while a snapshot holds it is copied first.
    planes: Vec<Arc<Plane>>,
    sequence: Sequence,
    counters: StackCounters,
    remarks: Vec<Remark>,
}

impl Stack {
    /// An empty stack for `plan`. Memory is taken as energies arrive: 4 bytes a pixel and energy, 4 more where
    /// I0 differs from message to message, and 4 more where the pixels come scattered; 4 or 8 for each other channel that comes.
    #[must_use]
    pub fn new(plan: ScanPlan) -> Self {
        let planes = plan.energies_ev.iter().map(|_| Arc::default()).collect();
        Self {
            plan: Arc::new(plan),
            planes,
            sequence: Sequence::default(),
            counters: StackCounters::default(),
            remarks: Vec::new(),
        }
    }

    /// Keeps a remark about the scan.
    pub fn note_remark(&mut self, remark: Remark) {
        self.remarks.push(remark);
    }

    /// What was remarked about the scan.
    #[must_use]
    pub fn remarks(&self) -> &[Remark] {
        &self.remarks
    }

    /// The plan as it is now.
    #[must_use]
    pub fn plan(&self) -> &Arc<ScanPlan> {
        &self.plan
    }

    /// Which messages came.
    #[must_use]
    pub fn sequence(&self) -> &Sequence {
        &self.sequence
    }

    /// What happened to the values.
    #[must_use]
    pub fn counters(&self) -> StackCounters {
        self.counters
    }

    /// The plane of an energy of the plan.
    ///
    /// # Panics
    /// When `energy` is not in the plan.
    #[must_use]
    pub fn plane(&self, energy: usize) -> &Plane {
        &self.planes[energy]
    }

    /// The planes, in the order of the plan.
    #[must_use]
    pub fn planes(&self) -> &[Arc<Plane>] {
        &self.planes
    }

    /// This stack with other planes, one per energy, such as registered ones. It is for reading: nothing is to be pushed
    /// into it.
    #[must_use]
    pub fn with_planes(&self, planes: Vec<Arc<Plane>>) -> Self {
        Self {
            plan: Arc::clone(&self.plan),
            planes,
            sequence: self.sequence.clone(),
            counters: self.counters,
            remarks: self.remarks.clone(),
        }
    }

    /// Number of energies with any value.
    #[must_use]
    pub fn energies_done(&self) -> usize {
        self.planes.iter().filter(|plane| plane.measured() > 0).count()
    }

    /// Number of values measured, over all energies.
    #[must_use]
    pub fn measured(&self) -> usize {
        self.planes.iter().map(|plane| plane.measured()).sum()
    }

    /// The channels of which anything came, the intensity not among them.
    #[must_use]
    pub fn others(&self) -> Vec<Channel> {
        let all: std::collections::BTreeSet<Channel> =
            self.planes.iter().flat_map(|plane| plane.others()).collect();
        all.into_iter().collect()
    }

    /// Whether every planned value was measured.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.measured() == self.plan.planned_values()
    }

    /// Bytes the values take.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.planes.iter().map(|plane| plane.bytes()).sum()
    }

    /// Notes that message `seq` came. Returns false where it came before: it is then to be ignored.
    pub fn note_seq(&mut self, seq: u64) -> bool {
        let new = self.sequence.insert(seq);
        self.counters.duplicate_messages += u64::from(!new);
        new
    }

    /// Whether the batch fits the plan; nothing is changed.
    ///
    /// # Errors
    /// The first rule the batch breaks.
    pub fn check(&self, seq: u64, batch: &SampleBatch) -> Result<(), StackError> {
        let (energies, pixels) = (self.planes.len(), self.plan.grid.pixels());
        if batch.energy_index as usize >= energies {
            return Err(StackError::Energy { index: batch.energy_index, energies });
        }
        if let Some(pixel) = batch.pixels.last().filter(|&pixel| pixel >= pixels as u64) {
            return Err(StackError::Pixel { pixel, pixels });
        }
        let dark = self.plan.dark() as f32;
        let i0_good = match &batch.i0 {
            crate::scan::I0::None => true,
            crate::scan::I0::One(i0) => *i0 > dark,
            crate::scan::I0::Each(list) => list.iter().all(|i0| *i0 > dark),
        };
        if !i0_good {
            return Err(StackError::I0BelowDark);
        }
        check_seq(seq)
    }

    /// Takes a batch in. The caller has asked [`Stack::note_seq`] whether it is new.
    ///
    /// # Errors
    /// As [`Stack::check`]; nothing is changed then.
    pub fn push(&mut self, seq: u64, batch: &SampleBatch) -> Result<(), StackError> {
        self.check(seq, batch)?;
        let pixels = self.plan.grid.pixels();
        let plane = Arc::make_mut(&mut self.planes[batch.energy_index as usize]);
        plane.allocate(pixels);
        plane.note_message(batch);
        plane.store(seq as u32, batch, &mut self.counters);
        plane.store_others(seq as u32, batch);
        Ok(())
    }

    /// Appends energies to the plan.
    ///
    /// # Errors
    /// Where the longer plan would break a rule; nothing is changed then.
    pub fn extend(
        &mut self,
        energies_ev: &[f64],
        dwell_ms: Option<&[f64]>,
        flux_ph_per_s: Option<&[f64]>,
    ) -> Result<(), PlanError> {
        let mut plan = ScanPlan::clone(&self.plan);
        let total = plan.energies_ev.len() + energies_ev.len();
        if energies_ev.is_empty() || total > MAX_ENERGIES {
            return Err(PlanError::Energies { count: total });
        }
        plan.energies_ev.extend_from_slice(energies_ev);
        continue_list(&mut plan.dwell_ms, dwell_ms, total);
        if let Some(list) = plan.flux_ph_per_s.as_mut() {
            continue_list(list, flux_ph_per_s, total);
        }
        if let Some(list) = plan.detector.counts_per_photon.as_mut() {
            continue_list(list, None, total);
        }
        plan.validate()?;
        self.planes.resize_with(total, Arc::default);
        self.plan = Arc::new(plan);
        Ok(())
    }

    /// What changed since the last call, energy by energy in the order of the plan.
    pub fn take_changes(&mut self) -> Vec<PlaneChange> {
        self.planes
            .iter_mut()
            .enumerate()
            .filter_map(|(energy, plane)| {
                if !plane.has_changes() {
                    return None;
                }
                let (pixels, displaced) = Arc::make_mut(plane).take_changes()?;
                Some(PlaneChange { energy, pixels, displaced })
            })
            .collect()
    }

    /// Whether [`Stack::take_changes`] would return anything.
    #[must_use]
    pub fn has_changes(&self) -> bool {
        self.planes.iter().any(|plane| plane.has_changes())
    }
}

/// Appends `more`, or repeats the last value, until `list` has `total` values; a `more` of another length
/// makes a list of another length, which the plan's own check then refuses.
fn continue_list(list: &mut Vec<f64>, more: Option<&[f64]>, total: usize) {
    match (more, list.last().copied()) {
        (Some(more), _) => list.extend_from_slice(more),
        (None, Some(last)) => list.resize(total, last),
        (None, None) => {}
    }
}

#[cfg(test)]
mod tests;
#[cfg(test)]
pub(crate) use crate::scan::test_plan;
