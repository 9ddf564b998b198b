//! Which scans there are, and what state each is in: a pure state machine from events to notices.
//!
//! Messages of a scan whose `scan_start` has not come are held, bounded in bytes; the oldest give way. An end
//! waits for late messages unless nothing is missing, and longer while there is hope that they are sent again. A scan that falls silent, or whose source starts another,
//! ends as partial. Samples that come after that open it again, while its stack is still here; later they are
//! stale. Everything that is not used is counted under a reason.
//!
//! Time is passed in, on the clock that never jumps; the senders' clocks order nothing.

mod held;
mod missing;
mod open;
mod output;
mod restored;
mod wished;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

pub use held::Held;
pub use missing::{MOST_GAPS, Missing};
pub use open::{Ending, Phase, STOPPED, Scan};
pub use output::{Kept, Output, ScanNotice, ScanOrigin};
pub use restored::Standing;

use crate::detector::{self, DetectorError, Drops, FrameSettings, FrameStage, Reduction};
use crate::journal::What;
use crate::scan::{BadPixels, PlanError, SampleBatch, ScanEvent, ScanKind, ScanPlan, ScanUpdate};
use crate::stack::{Stack, StackCounters, StackError, check_seq};

/// A stack that the receiving side fills and the mapping side reads.
pub type SharedStack = Arc<Mutex<Stack>>;

/// Locks a stack. No code of ours panics while it holds the lock; the content is whole even if one did.
pub fn lock(stack: &SharedStack) -> MutexGuard<'_, Stack> {
    stack.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Bounds and patience.
#[derive(Clone, Copy, Debug)]
pub struct ScanLimits {
    /// Most pixels of a scan.
    pub pixels: usize,
    /// Most bytes of one stack.
    pub stack_bytes: usize,
    /// Most bytes of all stacks.
    pub total_bytes: usize,
    /// Most scans open at once.
    pub open_scans: usize,
    /// Most bytes held for scans that have not started.
    pub held_bytes: usize,
    /// Most bytes of the stacks of ended scans when another one starts.
    pub kept_bytes: usize,
}

/// Patience of one source.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// Silence after which a scan ends.
    pub silence: Duration,
    /// Wait for late messages after an end, or after another scan began.
    pub grace: Duration,
    /// How long late samples open a scan again.
    pub reopen: Duration,
    /// Longest wait after an end while there is hope that missing messages are sent again.
    pub resend: Duration,
}

/// Why an event was not used.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum EventRefusal {
    /// The batch does not fit the plan.
    #[error(transparent)]
    Stack(#[from] StackError),
    /// The frames do not fit the plan.
    #[error(transparent)]
    Detector(#[from] DetectorError),
    /// The longer plan breaks a rule.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// The plan needs more than the limits allow.
    #[error("{what} {found} is above limits.{key} = {limit}")]
    Limit {
        /// What is too large.
        what: &'static str,
        /// How large it is.
        found: usize,
        /// The setting.
        key: &'static str,
        /// Its value.
        limit: usize,
    },
    /// Too many messages wait for one before them.
    #[error("too many messages wait for an extension of the plan")]
    Waiting,
    /// A second start with another plan.
    #[error("another plan under the same scan_id: the first stands; use plan_extend to add energies")]
    OtherPlan,
    /// The scan was refused or is not a stack.
    #[error("the scan is not mapped")]
    NotMapped,
    /// The scan was aborted, or archived too long ago.
    #[error("the scan is over")]
    Stale,
}

impl EventRefusal {
    /// Whether the same message would be refused again, whenever it came.
    #[must_use]
    pub fn is_final(&self) -> bool {
        !matches!(self, Self::Limit { .. } | Self::Waiting | Self::Stale)
    }

    /// A short name for counters.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Stack(StackError::Energy { .. }) => "energy_index",
            Self::Stack(StackError::Pixel { .. }) => "pixel",
            Self::Stack(StackError::I0BelowDark) => "i0_below_dark",
            Self::Stack(StackError::Seq(_)) => "seq",
            Self::Detector(DetectorError::Shape { .. }) => "size",
            Self::Detector(DetectorError::Infinite) => "infinite",
            Self::Detector(DetectorError::Regions(_)) => "frame_shape",
            Self::Plan(_) => "plan",
            Self::Limit { .. } => "limit",
            Self::Waiting => "waiting",
            Self::OtherPlan => "other_plan",
            Self::NotMapped => "not_mapped",
            Self::Stale => "stale",
        }
    }
}

/// What became of an event that was not refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Accepted {
    /// It was used.
    Used,
    /// It came before, and was ignored.
    Duplicate,
    /// It waits for its `scan_start`, or for a message before it.
    Held,
    /// Its type is not known.
    Skipped,
}

/// All scans.
#[derive(Debug)]
pub struct Scans {
    limits: ScanLimits,
    patience: Vec<Patience>,
    frames: Arc<FrameSettings>,
    scans: BTreeMap<String, Scan>,
    held: Held,
    out: Output,
    /// Counters of stacks that are no longer kept.
    retired: StackCounters,
}

impl Scans {
    /// No scans; `patience` has one entry per source.
    #[must_use]
    pub fn new(limits: ScanLimits, patience: Vec<Patience>) -> Self {
        let held = Held::new(limits.held_bytes);
        Self {
            limits,
            patience,
            frames: Arc::default(),
            scans: BTreeMap::new(),
            held,
            out: Output::default(),
            retired: StackCounters::default(),
        }
    }

    /// The same, with what is done about single pixels of area frames.
    #[must_use]
    pub fn with_frames(self, frames: FrameSettings) -> Self {
        Self { frames: Arc::new(frames), ..self }
    }

    /// The same, handing over a line for the journal for whatever is accepted.
    #[must_use]
    pub fn with_journal(mut self) -> Self {
        self.out.keeping = true;
        self
    }

    /// Takes an event in. `source` is the index of its source, `bytes` what holding it would take.
    ///
    /// # Errors
    /// Why it was not used. Nothing that was there is lost.
    pub fn push(
        &mut self,
        source: usize,
        event: ScanEvent,
        bytes: usize,
        now: Instant,
    ) -> Result<Accepted, EventRefusal> {
        if let ScanUpdate::Started(plan) = event.update {
            return self.start(source, event.seq, *plan, now, ScanOrigin::Sender);
        }
        let Some(scan) = self.scans.get_mut(&event.scan_id) else {
            if self.out.keeping {
                let (seq, what) = (event.seq.unwrap_or(0), What::Update(event.update.clone()));
                self.out.keep(&event.scan_id.as_str().into(), source, now, seq, what);
                self.out.kept.last_mut().into_iter().for_each(|kept| kept.held = true);
            }
            self.held.push(event, bytes, now);
            return Ok(Accepted::Held);
        };
        let scan_id = event.scan_id.clone();
        let accepted = scan.take(event, now, self.patience[source], &mut self.out);
        self.retry(&scan_id, source, now);
        accepted
    }

    /// Takes what waited for a message that has come.
    fn retry(&mut self, scan_id: &str, source: usize, now: Instant) {
        let waits = |scan: &&mut Scan| !scan.waiting().is_empty();
        let Some(scan) = self.scans.get_mut(scan_id).filter(waits) else { return };
        for refusal in scan.retry(now, self.patience[source], &mut self.out) {
            self.held.note_refused(&refusal);
        }
    }

    fn start(
        &mut self,
        source: usize,
        seq: Option<u64>,
        plan: ScanPlan,
        now: Instant,
        origin: ScanOrigin,
    ) -> Result<Accepted, EventRefusal> {
        if let Some(scan) = self.scans.get_mut(&plan.scan_id) {
            let accepted = scan.start_again(seq, &plan, now, &mut self.out);
            self.retry(&plan.scan_id, source, now);
            return accepted;
        }
        check_seq(seq.unwrap_or(0))?;
        // A scan that is back for a late message only is no reason to end another.
        if !matches!(origin, ScanOrigin::Archived(_) | ScanOrigin::Late) {
            let is_another = |other: &&mut Scan| other.source() == source && !other.is_sibling_of(&plan);
            for other in self.scans.values_mut().filter(is_another) {
                other.supersede(&plan.scan_id, now);
            }
        }
        // What a journal holds was accepted once: limits that are lower now, or other scans, are no reason to lose it.
        let is_new = plan.scan_kind == ScanKind::Stack && origin == ScanOrigin::Sender;
        let verdict = if is_new { self.fits(&plan) } else { Ok(()) };
        let note = match &verdict {
            Err(refusal) => Some(refusal.to_string()),
            Ok(()) if plan.scan_kind != ScanKind::Stack => {
                Some(format!("only stacks are mapped; this is of kind {:?}", plan.scan_kind).to_lowercase())
            }
            Ok(()) => None,
        };
        let scan_id = plan.scan_id.clone();
        let mapped = note.is_none();
        let mut scan =
            Scan::new(source, seq, plan.clone(), mapped, now).with_frames(Arc::clone(&self.frames));
        self.out.notices.push(scan.started(origin, note));
        let first = What::Update(ScanUpdate::Started(Box::new(plan)));
        scan.keep(now, seq.unwrap_or(0), first, &mut self.out);
        if is_new {
            scan.check_regions(now, &mut self.out);
        }
        for event in self.held.take(&scan_id) {
            // What turns out not to fit is counted by the caller through `refused_held`.
            if let Err(refusal) = scan.take(event, now, self.patience[source], &mut self.out) {
                self.held.note_refused(&refusal);
            }
        }
        for refusal in scan.retry(now, self.patience[source], &mut self.out) {
            self.held.note_refused(&refusal);
        }
        self.scans.insert(scan_id, scan);
        self.forget_surplus();
        verdict.map(|()| Accepted::Used)
    }

    fn fits(&mut self, plan: &ScanPlan) -> Result<(), EventRefusal> {
        let limit = |what, found: usize, key, limit: usize| {
            if found > limit { Err(EventRefusal::Limit { what, found, key, limit }) } else { Ok(()) }
        };
        let bytes = planned_bytes(plan, &self.frames);
        limit("number of pixels", plan.grid.pixels(), "pixels", self.limits.pixels)?;
        limit("size of the stack in bytes", bytes, "stack_bytes", self.limits.stack_bytes)?;
        let open = self.scans.values().filter(|scan| scan.is_open() && scan.stack().is_some());
        limit("number of open scans", open.clone().count() + 1, "open_scans", self.limits.open_scans)?;
        let planned: usize = open.map(Scan::planned_bytes).sum();
        limit("size of all stacks in bytes", planned + bytes, "total_bytes", self.limits.total_bytes)
    }

    /// Drops the stacks of ended scans, oldest first, until all fit; drops what is remembered of the oldest.
    fn forget_surplus(&mut self) {
        const REMEMBERED: usize = 1024;
        loop {
            let total: usize = self.scans.values().map(Scan::planned_bytes).sum();
            let mut closed: Vec<_> =
                self.scans.iter().filter_map(|(id, s)| Some((s.closed_at()?, id))).collect();
            closed.sort();
            let with_stack = closed.iter().find(|(_, id)| self.scans[*id].stack().is_some());
            let Some(oldest) = with_stack.map(|(_, id)| (*id).clone()) else {
                if let Some((_, oldest)) = closed.first().filter(|_| self.scans.len() > REMEMBERED) {
                    let oldest = (*oldest).clone();
                    self.scans.remove(&oldest);
                }
                return;
            };
            let kept: usize = closed.iter().map(|(_, id)| self.scans[*id].planned_bytes()).sum();
            if total <= self.limits.total_bytes && kept <= self.limits.kept_bytes {
                return;
            }
            if let Some(stack) = self.scans.get_mut(&oldest).and_then(Scan::drop_stack) {
                self.retired = self.retired.plus(lock(&stack).counters());
            }
        }
    }

    /// Ends the scans whose patience is over.
    pub fn poll(&mut self, now: Instant) {
        for scan in self.scans.values_mut() {
            let patience = self.patience[scan.source()];
            scan.poll(now, patience, &mut self.out);
        }
        self.held.expire(now, Duration::from_secs(600));
    }

    /// When [`Scans::poll`] has something to do next; `None` while no scan is open.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Instant> {
        self.scans.values().filter_map(|scan| scan.deadline(self.patience[scan.source()])).min()
    }

    /// Ends every open scan: the daemon stops.
    pub fn stop(&mut self, now: Instant) {
        for scan in self.scans.values_mut() {
            scan.stop(now, &mut self.out);
        }
    }

    /// Number of mapped scans that can take values without being opened again.
    #[must_use]
    pub fn open_count(&self) -> usize {
        self.mapped_open().count()
    }

    /// The same, of the source with this index.
    #[must_use]
    pub fn open_count_of(&self, source: usize) -> usize {
        self.mapped_open().filter(|scan| scan.source() == source).count()
    }

    fn mapped_open(&self) -> impl Iterator<Item = &Scan> {
        self.scans.values().filter(|scan| scan.is_open() && scan.stack().is_some())
    }

    /// What happened to all values since the start, and the bytes that stacks take now.
    #[must_use]
    pub fn totals(&self) -> (StackCounters, usize) {
        self.scans.values().filter_map(Scan::stack).fold((self.retired, 0), |(counters, bytes), stack| {
            let stack = lock(stack);
            (counters.plus(stack.counters()), bytes + stack.bytes())
        })
    }

    /// What is held for scans that have not started.
    pub fn held(&mut self) -> &mut Held {
        &mut self.held
    }

    /// The scans whose stacks are in memory.
    pub fn in_memory(&self) -> impl Iterator<Item = &str> {
        self.scans.iter().filter(|(_, scan)| scan.stack().is_some()).map(|(scan_id, _)| scan_id.as_str())
    }

    /// A scan, for looking at.
    #[must_use]
    pub fn get(&self, scan_id: &str) -> Option<&Scan> {
        self.scans.get(scan_id)
    }

    /// Takes in what a journal says of a scan, in the order of its lines: nothing of it is handed over for a journal again.
    /// `origin`: why it is read.
    ///
    /// # Errors
    /// As [`Scans::push`].
    pub fn restore(
        &mut self,
        source: usize,
        event: ScanEvent,
        origin: &ScanOrigin,
        now: Instant,
    ) -> Result<Accepted, EventRefusal> {
        let keeping = std::mem::take(&mut self.out.keeping);
        let result = match event.update {
            ScanUpdate::Started(plan) => self.start(source, event.seq, *plan, now, origin.clone()),
            _ => {
                // What has no plan is held, and has to count.
                let bytes = 256 + event.update.bytes();
                self.push(source, event, bytes, now)
            }
        };
        self.out.keeping = keeping;
        result
    }

    /// Bytes of the lines that wait for [`Scans::take_kept`], about.
    #[must_use]
    pub fn kept_bytes(&self) -> usize {
        self.out.kept_bytes
    }

    /// The lines for the journal since the last call.
    pub fn take_kept(&mut self) -> Vec<Kept> {
        self.out.kept_bytes = 0;
        std::mem::take(&mut self.out.kept)
    }

    /// The mapped scans that can take values without being opened again.
    pub fn open(&self) -> impl Iterator<Item = (&str, &Scan)> {
        let open = self.scans.iter().filter(|(_, scan)| scan.is_open() && scan.stack().is_some());
        open.map(|(scan_id, scan)| (scan_id.as_str(), scan))
    }

    /// What is missing of a mapped scan.
    #[must_use]
    pub fn missing(&self, scan_id: &str, now: Instant) -> Option<Missing> {
        let scan = self.scans.get(scan_id)?;
        scan.missing(now, self.patience[scan.source()])
    }

    /// Says whether there is hope that messages which a scan misses are sent again.
    pub fn set_hope(&mut self, scan_id: &str, hope: bool) {
        if let Some(scan) = self.scans.get_mut(scan_id) {
            scan.set_hope(hope);
        }
    }

    /// What has happened since the last call.
    pub fn take_notices(&mut self) -> Vec<ScanNotice> {
        std::mem::take(&mut self.out.notices)
    }
}

/// What the stack of a plan is reckoned with: 4 bytes a value, and 4 more for what may come with it, I0 of each
/// message or stamps of scattered pixels; of area frames the same for each other channel.
fn planned_bytes(plan: &ScanPlan, frames: &FrameSettings) -> usize {
    let others = plan.detector.frame_shape.map_or(0, |_| frames.channels().count());
    plan.planned_values().saturating_mul(8 * (1 + others))
}

/// Samples that fit the plan.
#[derive(Debug)]
struct Taken {
    batch: SampleBatch,
    /// Of frames: the detector pixels that were found bad.
    bad: Option<BadPixels>,
    /// Of frames that came just now: how many of them could be read.
    drops: Option<Drops>,
}

/// Turns what came into samples that fit the plan.
fn samples_of(
    plan: &ScanPlan,
    update: ScanUpdate,
    frames: &mut FrameStage,
) -> Result<Option<Taken>, EventRefusal> {
    let (batch, bad, drops) = match update {
        ScanUpdate::Samples(batch) => {
            detector::check_samples(plan, &batch)?;
            (batch, None, None)
        }
        ScanUpdate::Frames(batch) => {
            let Reduction { batch, bad, drops } = frames.reduce(plan, batch)?;
            (batch, Some(bad), Some(drops))
        }
        ScanUpdate::Reduced(batch, bad) => (batch, Some(bad), None),
        _ => return Ok(None),
    };
    Ok(Some(Taken { batch, bad, drops }))
}

#[cfg(test)]
mod frame_tests;
#[cfg(test)]
mod tests;
