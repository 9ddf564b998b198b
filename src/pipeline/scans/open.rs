//! One scan: open, ending, or closed.

mod waiting;

use std::sync::{Arc, Mutex};
use std::time::Instant;

use super::{
    Accepted, EventRefusal, Output, Patience, ScanNotice, SharedStack, Taken, lock, planned_bytes, samples_of,
};
use crate::detector::{FrameSettings, FrameStage};
use crate::journal::What;
use crate::scan::{Outcome, Remark, ScanEvent, ScanPlan, ScanUpdate};
use crate::stack::{Stack, StackError, check_seq};

/// Most messages of one scan that wait for one before them, and most bytes of them.
const MAX_WAITING: usize = 4096;
const MAX_WAITING_BYTES: usize = 256 << 20;
/// Most remarks about one scan.
const MAX_REMARKS: usize = 32;

/// Why a scan is partial that was open when the daemon was stopped: it goes on with the next start.
pub const STOPPED: &str = "the daemon was stopped";

/// How a scan is going to end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ending {
    /// The outcome.
    pub outcome: Outcome,
    /// When the wait for late messages is over.
    pub deadline: Instant,
    /// When it is over at the latest, while there is hope that messages are sent again.
    pub latest: Instant,
}

impl Ending {
    pub(super) fn new(outcome: Outcome, now: Instant, patience: Patience) -> Self {
        let deadline = now + patience.grace;
        Self { outcome, deadline, latest: deadline.max(now + patience.resend) }
    }
}

/// The states of a scan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Values are expected.
    Running,
    /// The sender waits.
    Paused,
    /// The end came; late messages are waited for.
    Ending(Ending),
    /// It was handed to the archive.
    Closed {
        /// When.
        at: Instant,
        /// How it ended.
        outcome: Outcome,
    },
}

/// One scan.
#[derive(Debug)]
pub struct Scan {
    id: Arc<str>,
    pub(super) source: usize,
    /// The plan as it came first: a repeat has to be equal to it.
    pub(super) first_plan: ScanPlan,
    pub(super) stack: Option<SharedStack>,
    pub(super) phase: Phase,
    pub(super) last_message: Instant,
    /// Another scan of the same source began, and when.
    superseded: Option<(String, Instant)>,
    /// Whether it was archived before.
    pub(super) reopened: bool,
    /// How often it was closed.
    pub(super) closings: u32,
    arrivals: u64,
    /// Messages that wait for one of a lower seq: energies that are not in the plan yet.
    waiting: Vec<ScanEvent>,
    waiting_bytes: usize,
    /// What sums its frames.
    frames: FrameStage,
    /// Whether messages that are missing may be sent again.
    hope: bool,
    /// What was remarked about it.
    remarks: Vec<Remark>,
}

impl Scan {
    pub(super) fn new(source: usize, seq: Option<u64>, plan: ScanPlan, mapped: bool, now: Instant) -> Self {
        let stack = mapped.then(|| {
            let mut stack = Stack::new(plan.without_recall());
            stack.note_seq(seq.unwrap_or(0));
            Arc::new(Mutex::new(stack))
        });
        Self {
            id: plan.scan_id.as_str().into(),
            source,
            first_plan: plan,
            stack,
            phase: Phase::Running,
            last_message: now,
            superseded: None,
            reopened: false,
            closings: 0,
            arrivals: 1,
            waiting: Vec::new(),
            waiting_bytes: 0,
            frames: FrameStage::default(),
            hope: false,
            remarks: Vec::new(),
        }
    }

    /// The same, with what is done about single pixels of area frames.
    pub(super) fn with_frames(self, frames: Arc<FrameSettings>) -> Self {
        Self { frames: FrameStage::new(frames), ..self }
    }

    pub(super) fn set_frames(&mut self, frames: FrameSettings) {
        self.frames.set(frames);
    }

    /// Says where the regions that are set have no pixel of this scan's frames.
    pub(super) fn check_regions(&mut self, now: Instant, out: &mut Output) {
        if let Some(shape) = self.first_plan.detector.frame_shape.filter(|_| self.stack.is_some()) {
            for remark in self.frames.settings().remarks(shape) {
                self.remark(remark, now, out);
            }
        }
    }

    pub(super) fn start_again(
        &mut self,
        seq: Option<u64>,
        plan: &ScanPlan,
        now: Instant,
        out: &mut Output,
    ) -> Result<Accepted, EventRefusal> {
        let same = plan.is_repeat_of(&self.first_plan);
        if !same {
            return Err(EventRefusal::OtherPlan);
        }
        let Some(stack) = &self.stack else {
            self.last_message = now;
            return Ok(Accepted::Used);
        };
        let seq = seq.unwrap_or(0);
        check_seq(seq)?;
        self.last_message = now;
        let new = lock(stack).note_seq(seq);
        if new {
            self.keep(now, seq, What::Update(ScanUpdate::Skipped), out);
        }
        Ok(if new { Accepted::Used } else { Accepted::Duplicate })
    }

    pub(super) fn take(
        &mut self,
        event: ScanEvent,
        now: Instant,
        patience: Patience,
        out: &mut Output,
    ) -> Result<Accepted, EventRefusal> {
        if let ScanUpdate::Remarked(remark) = event.update {
            return Ok(self.remark(remark, now, out));
        }
        let Some(stack) = self.stack.clone() else {
            if let ScanUpdate::Ended(outcome) = event.update
                && self.is_open()
            {
                self.close(now, outcome, out);
                return Ok(Accepted::Used);
            }
            return Err(if self.closed_at().is_some() {
                EventRefusal::Stale
            } else {
                EventRefusal::NotMapped
            });
        };
        // A format without numbers: the next that is free, also after a restart.
        let seq = event.seq.unwrap_or_else(|| {
            let free = lock(&stack).sequence().highest().map_or(0, |highest| highest.saturating_add(1));
            free.max(self.arrivals)
        });
        check_seq(seq)?;
        if lock(&stack).sequence().contains(seq) {
            lock(&stack).note_seq(seq);
            return Ok(Accepted::Duplicate);
        }
        if let Phase::Closed { at, outcome } = &self.phase {
            let late = now.saturating_duration_since(*at) > patience.reopen;
            if late || matches!(outcome, Outcome::Aborted { .. }) {
                return Err(EventRefusal::Stale);
            }
        }
        let result = self.apply(&stack, seq, event, now, patience, out);
        if result == Ok(Accepted::Used) || result == Ok(Accepted::Skipped) {
            lock(&stack).note_seq(seq);
        }
        if result.is_ok() {
            // What was refused took no number.
            self.arrivals += 1;
            self.last_message = now;
            self.hasten(now, &stack);
        }
        result
    }

    /// Takes a remark; one that was made before says nothing new.
    fn remark(&mut self, remark: Remark, now: Instant, out: &mut Output) -> Accepted {
        if self.remarks.contains(&remark) || self.remarks.len() >= MAX_REMARKS {
            return Accepted::Duplicate;
        }
        self.remarks.push(remark.clone());
        if let Some(stack) = &self.stack {
            lock(stack).note_remark(remark.clone());
        }
        out.notices.push(ScanNotice::Remarked { scan_id: self.id.to_string(), remark: remark.clone() });
        let seq = self.stack.as_ref().and_then(|stack| lock(stack).sequence().highest()).unwrap_or(0);
        self.keep(now, seq, What::Update(ScanUpdate::Remarked(remark)), out);
        Accepted::Used
    }

    fn apply(
        &mut self,
        stack: &SharedStack,
        seq: u64,
        event: ScanEvent,
        now: Instant,
        patience: Patience,
        out: &mut Output,
    ) -> Result<Accepted, EventRefusal> {
        let scan_id = event.scan_id.clone();
        match &event.update {
            ScanUpdate::Samples(_) | ScanUpdate::Frames(_) | ScanUpdate::Reduced(..) => {}
            ScanUpdate::Extended { .. } if self.is_behind_a_gap(stack, seq) => {
                return self.wait(seq, event, now, out);
            }
            ScanUpdate::Extended { energies_ev, dwell_ms, flux_ph_per_s } => {
                lock(stack).extend(energies_ev, dwell_ms.as_deref(), flux_ph_per_s.as_deref())?;
                self.reopen(now, patience, out, &scan_id);
                out.notices.push(ScanNotice::Changed(scan_id));
                self.keep(now, seq, What::Update(event.update), out);
                return Ok(Accepted::Used);
            }
            ScanUpdate::Paused | ScanUpdate::Resumed => {
                let paused = matches!(event.update, ScanUpdate::Paused);
                if matches!(self.phase, Phase::Running | Phase::Paused) {
                    self.phase = if paused { Phase::Paused } else { Phase::Running };
                    let notice = if paused { ScanNotice::Paused } else { ScanNotice::Resumed };
                    out.notices.push(notice(scan_id));
                }
                self.keep(now, seq, What::Update(event.update), out);
                return Ok(Accepted::Used);
            }
            ScanUpdate::Ended(outcome) => {
                // The end of a scan that was closed for silence: it is archived anew, with its true outcome.
                let closed =
                    matches!(&self.phase, Phase::Closed { outcome: closed, .. } if closed != outcome);
                self.reopened |= closed;
                if closed || self.is_open() {
                    self.phase = Phase::Ending(Ending::new(outcome.clone(), now, patience));
                }
                self.keep(now, seq, What::Update(event.update), out);
                return Ok(Accepted::Used);
            }
            ScanUpdate::Skipped | ScanUpdate::Started(_) | ScanUpdate::Remarked(_) => {
                self.keep(now, seq, What::Update(ScanUpdate::Skipped), out);
                return Ok(Accepted::Skipped);
            }
        }
        let energies = lock(stack).plan().energies_ev.len();
        let index = match &event.update {
            ScanUpdate::Samples(batch) | ScanUpdate::Reduced(batch, _) => batch.energy_index,
            ScanUpdate::Frames(frames) => frames.batch.energy_index,
            _ => 0,
        };
        if index as usize >= energies {
            // The extension of the plan may still be on its way.
            return if self.is_behind_a_gap(stack, seq) {
                self.wait(seq, event, now, out)
            } else {
                Err(StackError::Energy { index, energies }.into())
            };
        }
        // Shared, not copied.
        let plan = Arc::clone(lock(stack).plan());
        let Some(Taken { batch, bad, drops }) = samples_of(&plan, event.update, &mut self.frames)? else {
            return Ok(Accepted::Skipped);
        };
        lock(stack).push(seq, &batch)?;
        // After the push: a message that is refused is in no journal, and shall leave no trace.
        if let Some(bad) = &bad {
            self.frames.note(&plan, bad, drops.as_ref(), now);
        }
        self.reopen(now, patience, out, &scan_id);
        let update = match bad {
            Some(bad) => ScanUpdate::Reduced(batch, bad),
            None => ScanUpdate::Samples(batch),
        };
        self.keep(now, seq, What::Update(update), out);
        // One notice says it for a whole burst.
        if !matches!(out.notices.last(), Some(ScanNotice::Changed(last)) if *last == scan_id) {
            out.notices.push(ScanNotice::Changed(scan_id));
        }
        Ok(Accepted::Used)
    }

    /// Hands a line over for the journal.
    pub(super) fn keep(&self, now: Instant, seq: u64, what: What, out: &mut Output) {
        // A scan that is not mapped has nothing that could be lost. What does not open a closed one again (a repeat of its plan, its
        // end told twice) changes nothing, and a line of it would make the journal look as if it were open.
        if self.stack.is_some() && self.is_open() {
            out.keep(&self.id, self.source, now, seq, what);
        }
    }

    fn reopen(&mut self, now: Instant, patience: Patience, out: &mut Output, scan_id: &str) {
        if let Phase::Closed { outcome, .. } = &self.phase {
            self.phase = match outcome {
                Outcome::Partial { .. } => Phase::Running,
                outcome => Phase::Ending(Ending::new(outcome.clone(), now, patience)),
            };
            self.reopened = true;
            if let Some(stack) = self.stack.clone() {
                out.notices.push(ScanNotice::Reopened { scan_id: scan_id.to_owned(), stack });
            }
        }
    }

    /// An end with nothing missing need not wait.
    pub(super) fn hasten(&mut self, now: Instant, stack: &SharedStack) {
        if let Phase::Ending(ending) = &mut self.phase
            && ending.outcome == Outcome::Complete
        {
            let stack = lock(stack);
            if stack.is_full() && stack.sequence().missing() == 0 {
                ending.deadline = now;
                self.hope = false;
            }
        }
    }

    /// Whether both are regions of one request: told by their group and, to the microsecond, by the start that they share.
    pub(super) fn is_sibling_of(&self, plan: &ScanPlan) -> bool {
        let own = &self.first_plan;
        own.group.is_some() && own.group == plan.group && own.started == plan.started
    }

    pub(super) fn supersede(&mut self, by: &str, now: Instant) {
        if self.is_open() && self.superseded.is_none() {
            self.superseded = Some((by.to_owned(), now));
        }
    }

    pub(super) fn deadline(&self, patience: Patience) -> Option<Instant> {
        match &self.phase {
            Phase::Running => Some(match &self.superseded {
                None => self.last_message + patience.silence,
                Some((_, since)) if self.hope => {
                    (self.last_message + patience.grace).max(*since + patience.resend)
                }
                Some(_) => self.last_message + patience.grace,
            }),
            Phase::Ending(ending) => Some(if self.hope { ending.latest } else { ending.deadline }),
            Phase::Paused | Phase::Closed { .. } => None,
        }
    }

    /// Whether half of the wait for a message is over, of a scan that will be closed for want of one.
    pub(super) fn is_quiet(&self, now: Instant, patience: Patience) -> bool {
        let half = |deadline: Instant| deadline.saturating_duration_since(self.last_message) / 2;
        self.phase == Phase::Running
            && self.deadline(patience).is_some_and(|deadline| now >= self.last_message + half(deadline))
    }

    pub(super) fn set_hope(&mut self, hope: bool) {
        self.hope = hope;
    }

    pub(super) fn poll(&mut self, now: Instant, patience: Patience, out: &mut Output) {
        if self.deadline(patience).is_none_or(|deadline| now < deadline) {
            return;
        }
        let outcome = match (&self.phase, &self.superseded) {
            (Phase::Ending(ending), _) => ending.outcome.clone(),
            (_, Some((other, _))) => Outcome::Partial { reason: format!("scan {other} began") },
            (_, None) => Outcome::Partial { reason: "the sender fell silent".to_owned() },
        };
        self.close(now, outcome, out);
    }

    pub(super) fn stop(&mut self, now: Instant, out: &mut Output) {
        let outcome = match &self.phase {
            Phase::Closed { .. } => return,
            Phase::Ending(ending) if self.is_whole() => ending.outcome.clone(),
            // What an ended one misses may still come after the next start.
            Phase::Running | Phase::Paused | Phase::Ending(_) => {
                Outcome::Partial { reason: STOPPED.to_owned() }
            }
        };
        self.close(now, outcome, out);
    }

    /// Whether no message is missing, as far as is known.
    fn is_whole(&self) -> bool {
        self.waiting.is_empty()
            && self.stack.as_ref().is_none_or(|stack| lock(stack).sequence().missing() == 0)
    }

    pub(super) fn close(&mut self, now: Instant, outcome: Outcome, out: &mut Output) {
        self.closings += 1;
        // While it is open still: closing is the last line.
        self.keep(now, u64::from(self.closings), What::Closed(outcome.clone()), out);
        out.notices.push(ScanNotice::Ended {
            scan_id: self.first_plan.scan_id.clone(),
            provisional: matches!(outcome, Outcome::Partial { .. }),
            outcome: outcome.clone(),
            reopened: self.reopened,
            closing: self.closings,
        });
        self.phase = Phase::Closed { at: now, outcome };
        self.hope = false;
    }

    /// Its plan as it came first, and what was remarked about it.
    #[must_use]
    pub fn told(&self) -> (&ScanPlan, &[Remark]) {
        (&self.first_plan, &self.remarks)
    }

    /// Index of the source.
    #[must_use]
    pub fn source(&self) -> usize {
        self.source
    }

    /// Its stack, where it is mapped and still here.
    #[must_use]
    pub fn stack(&self) -> Option<&SharedStack> {
        self.stack.as_ref()
    }

    /// Whom its sender says to ask for messages that are missing.
    #[must_use]
    pub fn resend(&self) -> Option<&str> {
        self.first_plan.resend.as_deref()
    }

    /// Messages that wait for one before them.
    #[must_use]
    pub fn waiting(&self) -> &[ScanEvent] {
        &self.waiting
    }

    /// State.
    #[must_use]
    pub fn phase(&self) -> &Phase {
        &self.phase
    }

    /// Whether it is not closed.
    #[must_use]
    pub fn is_open(&self) -> bool {
        !matches!(self.phase, Phase::Closed { .. })
    }

    pub(super) fn closed_at(&self) -> Option<Instant> {
        if let Phase::Closed { at, .. } = self.phase { Some(at) } else { None }
    }

    pub(super) fn drop_stack(&mut self) -> Option<SharedStack> {
        self.stack.take()
    }

    pub(super) fn planned_bytes(&self) -> usize {
        self.stack.as_ref().map_or(0, |_| planned_bytes(&self.first_plan, self.frames.settings()))
    }
}
