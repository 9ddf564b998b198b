//! The receiving thread: raw messages off the queue, through the adapter of their source, into the scans.
//!
//! What was accepted goes into the journal before anybody is told of it: messages count as received, and maps change, once
//! their lines are with the operating system. Where the journal cannot be written the scan goes on in memory, and `/readyz` says
//! so; where too much waits there, nothing more is received until it can.
//!
//! It never waits for anything else but the queue. What is refused is counted under its reason and logged at most once
//! a second per source and reason, with the number of the message; the stream goes on.

mod books;
mod recall;
mod watch;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use self::books::{Books, refused};
use super::errands::{Errand, Renewed};
use super::keeper::{COMMIT_BYTES, Keeper};
use super::pulse::Pulse;
use super::queue::{Popped, QueueReceiver};
use super::resend::Office;
use super::resume::Resumer;
use super::scans::{Accepted, EventRefusal, ScanNotice, Scans, lock};
use super::workboard::Workboard;
use crate::scan::{ScanEvent, ScanUpdate};
use crate::source::adapter::{Adapter, Read};
use crate::source::frames::RawMessage;
use crate::source::raw_log::RawLog;

/// One source, as the receiving thread needs it.
#[derive(Debug)]
pub struct SourceLine {
    /// Name in logs and metrics.
    pub name: String,
    /// What reads its format.
    pub adapter: Adapter,
    /// The source that has the frames of its scans, by index, where that is another one.
    pub tells: Option<usize>,
}

/// The journal's side of receiving.
#[derive(Debug)]
pub struct Journal {
    /// What keeps it.
    pub keeper: Keeper,
    /// What brings scans back.
    pub resumer: Resumer,
    /// How long late samples open an archived scan again, by source.
    pub reopen: Vec<Duration>,
    /// When a scan that is not in memory was last looked for on the disk: a flood of stale messages shall not look for each.
    pub looked_for: HashMap<String, Instant>,
}

/// The receiving thread.
pub struct Ingest {
    lines: Vec<SourceLine>,
    books: Vec<Books>,
    scans: Scans,
    workboard: Arc<Workboard>,
    journal: Option<Journal>,
    /// Recordings of the wire, by source.
    raw: Vec<Option<RawLog>>,
    /// When the oldest message came that nobody was told of yet.
    untold_since: Option<Instant>,
    /// Where missing messages are asked for, if anywhere.
    resend: Option<Office>,
    /// What operators wish.
    errands: Option<std::sync::mpsc::Receiver<Errand>>,
    /// Another recipe, that waits until no scan is open.
    renewed: Option<Box<Renewed>>,
    last_watched: Option<Instant>,
    /// What a message says; empty between messages.
    events: Vec<ScanEvent>,
}

impl std::fmt::Debug for Ingest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ingest").field("lines", &self.lines).finish_non_exhaustive()
    }
}

impl Ingest {
    /// The thread's state, not yet running.
    #[must_use]
    pub fn new(lines: Vec<SourceLine>, scans: Scans, workboard: Arc<Workboard>) -> Self {
        let books = lines.iter().map(|line| Books::new(&line.name)).collect();
        Self {
            lines,
            books,
            scans,
            workboard,
            journal: None,
            raw: Vec::new(),
            resend: None,
            untold_since: None,
            errands: None,
            renewed: None,
            last_watched: None,
            events: Vec::new(),
        }
    }

    /// The same, with messages that are missing asked for.
    #[must_use]
    pub fn with_resend(self, office: Office) -> Self {
        Self { resend: Some(office), ..self }
    }

    /// The same, doing what operators wish.
    #[must_use]
    pub fn with_errands(self, errands: std::sync::mpsc::Receiver<Errand>) -> Self {
        Self { errands: Some(errands), ..self }
    }

    /// The same, with a journal.
    #[must_use]
    pub fn with_journal(self, journal: Journal) -> Self {
        Self { scans: self.scans.with_journal(), journal: Some(journal), ..self }
    }

    /// The same, recording what comes from the wire: one log for each source.
    #[must_use]
    pub fn with_raw_logs(self, raw: Vec<Option<RawLog>>) -> Self {
        Self { raw, ..self }
    }

    /// Brings back what the journal says is not done yet, and tells of it. Call it before [`Ingest::run`].
    pub fn resume(&mut self) {
        let now = Instant::now();
        let Some(journal) = &mut self.journal else { return };
        let workboard = &self.workboard;
        let resumed = journal.resumer.resume(&mut self.scans, &mut journal.keeper, now, |scans| {
            workboard.post(scans.take_notices(), now);
        });
        if !resumed.scans.is_empty() || !resumed.held.is_empty() {
            let (scans, held) = (resumed.scans.len(), resumed.held.len());
            tracing::info!(scans, held, "resumed from the journal");
        }
        if let Some(office) = &mut self.resend {
            for message in &resumed.held {
                office.held(message.source, &message.scan_id, message.seq, now);
                office.restarted(&message.scan_id);
            }
            resumed.scans.iter().for_each(|scan_id| office.restarted(scan_id));
        }
        self.recall(&resumed.scans);
        self.tell(now);
    }

    /// Receives until the queue closes, then ends every open scan.
    pub fn run(mut self, mut queue: QueueReceiver<RawMessage>, pulse: &Pulse) {
        const TICK: Duration = Duration::from_millis(500);
        let mut messages = Vec::new();
        loop {
            let now = Instant::now();
            pulse.beat(now);
            let due = self.journal.as_ref().and_then(|journal| journal.keeper.due(now));
            let asks = self.resend.as_ref().and_then(Office::next_turn);
            let wake = [self.scans.next_deadline(), due, asks].into_iter().flatten().min();
            let deadline = wake.map_or(now + TICK, |wake| wake.min(now + TICK));
            if self.journal.as_ref().is_some_and(|journal| journal.keeper.is_full()) && !queue.is_closed() {
                // The queue fills, and TCP holds the senders back. Nothing is due before the next try but ends of scans.
                let wait = due.map_or(TICK, |due| due.saturating_duration_since(now));
                std::thread::park_timeout(wait.max(Duration::from_millis(10)));
                let now = Instant::now();
                self.scans.poll(now);
                self.tell(now);
                self.watch(now);
                continue;
            }
            let popped = queue.pop_all(&mut messages, Some(deadline));
            if let Some(first) = messages.first() {
                self.untold_since.get_or_insert(first.received);
            }
            for message in messages.drain(..) {
                self.message(message);
                if self.scans.kept_bytes() > COMMIT_BYTES {
                    self.commit(Instant::now(), true);
                }
            }
            let now = Instant::now();
            self.settle(now);
            // Before the scans are polled: whether one ends depends on what may still come.
            if let Some(office) = &mut self.resend {
                office.turn(&mut self.scans, now);
            }
            self.scans.poll(now);
            self.do_errands();
            if popped == Popped::Closed {
                self.scans.stop(now);
                self.commit_at_last(now);
                self.post(now);
                self.workboard.close();
                return;
            }
            self.tell(now);
            self.renew(now);
            self.watch(now);
        }
    }

    /// Does what operators wish by now.
    fn do_errands(&mut self) {
        let Some(errands) = &self.errands else { return };
        while let Ok(errand) = errands.try_recv() {
            match errand {
                Errand::Archive { scan_id, answer } => {
                    let done = self.scans.archive_now(&scan_id);
                    tracing::info!(
                        scan_id,
                        done = done.is_ok(),
                        "an operator wishes a scan archived as it is"
                    );
                    // Who has gone meanwhile needs no answer.
                    _ = answer.try_send(done.map_err(str::to_owned));
                }
                Errand::Renew(renewed) => self.renewed = Some(renewed),
            }
        }
    }

    /// Takes another recipe, where one waits, no scan is open, and everything was told: what began before keeps the one before.
    fn renew(&mut self, now: Instant) {
        if self.scans.open_count() > 0 || self.untold_since.is_some() {
            return;
        }
        let Some(Renewed { recipe, pins, answer }) = self.renewed.take().map(|renewed| *renewed) else {
            return;
        };
        if let (Some(Journal { keeper, resumer, .. }), Some(pins)) = (&mut self.journal, pins) {
            (resumer.references, resumer.recipe) = (pins.references.clone(), pins.recipe.clone());
            keeper.set_pins(pins);
        }
        self.workboard.post(vec![ScanNotice::Renewed(Box::new(recipe))], now);
        // Who has gone meanwhile needs no answer.
        _ = answer.try_send(());
    }

    /// Commits what is due, and tells of what the journal has.
    fn tell(&mut self, now: Instant) {
        if self.commit(now, false) {
            self.post(now);
        }
    }

    /// Hands the journal its lines, and commits them where that is due, or `at_once`. Returns whether they may be told of.
    fn commit(&mut self, now: Instant, at_once: bool) -> bool {
        let Some(Journal { keeper, .. }) = &mut self.journal else { return true };
        keeper.take(self.scans.take_kept());
        let Some(due) = keeper.due(now) else { return true };
        if due > now && !at_once {
            // What cannot be written is no reason to keep the maps waiting; that it is at risk was said.
            return keeper.is_failing();
        }
        let done = keeper.commit(now);
        if done {
            let held = self.scans.held();
            keeper.release_held(|scan_id| held.holds(scan_id));
            for scan_id in keeper.outgrown(held.limit_bytes() as u64) {
                keeper.rewrite_held(&scan_id, held.of(&scan_id));
            }
        }
        done || keeper.is_failing()
    }

    /// The last commit: tried for a while where it fails, since nothing comes after it.
    fn commit_at_last(&mut self, now: Instant) {
        const PATIENCE: Duration = Duration::from_secs(5);
        const PAUSE: Duration = Duration::from_millis(250);
        while {
            self.commit(Instant::now(), true);
            self.journal.as_ref().is_some_and(|journal| journal.keeper.is_failing())
        } {
            if now.elapsed() > PATIENCE {
                tracing::error!(
                    "the journal lacks what came last; the archive is made from memory, the next start knows less"
                );
                return;
            }
            std::thread::park_timeout(PAUSE);
        }
    }

    /// Brings back a scan that is not in memory any more, where something comes for it.
    fn revive(&mut self, source: usize, event: &ScanEvent, now: Instant) {
        const LOOK_AGAIN: Duration = Duration::from_secs(10);
        const MOST_LOOKED_FOR: usize = 1024;
        let Some(Journal { keeper, resumer, reopen, looked_for }) = &mut self.journal else { return };
        let in_memory =
            self.scans.get(&event.scan_id).is_some_and(|scan| scan.stack().is_some() || scan.is_open());
        if in_memory || self.scans.held().holds(&event.scan_id) {
            return;
        }
        let plan = match &event.update {
            ScanUpdate::Started(plan) => Some(&**plan),
            _ => None,
        };
        if plan.is_none() && looked_for.get(&event.scan_id).is_some_and(|last| now < *last + LOOK_AGAIN) {
            return;
        }
        if looked_for.len() >= MOST_LOOKED_FOR {
            looked_for.clear();
        }
        looked_for.insert(event.scan_id.clone(), now);
        resumer.revive(&mut self.scans, keeper, &event.scan_id, plan, reopen[source], now);
    }

    /// Takes one raw message in.
    pub fn message(&mut self, message: RawMessage) {
        let (source, cost) = (message.source, message.cost_bytes());
        if let Some(Some(log)) = self.raw.get_mut(source) {
            log.push(message.received_at, &message.parts);
            if log.is_due() {
                self.flush_raw();
            }
        }
        let books = &mut self.books[source];
        books.messages += 1;
        books.uncounted.0 += 1;
        books.uncounted.1 += message.parts.iter().map(|part| part.len() as u64).sum::<u64>();
        let mut events = std::mem::take(&mut self.events);
        let line = &mut self.lines[source];
        let read = line.adapter.push(&message.parts, message.received_at, &mut events);
        // What was said before a message broke a rule counts.
        match line.tells.filter(|other| *other < self.lines.len()) {
            None => self.events_of(source, &mut events, cost, message.received),
            Some(other) => {
                let mut heard = Vec::new();
                for event in events.drain(..) {
                    self.lines[other].adapter.hear(event, message.received_at, &mut heard);
                }
                self.events_of(other, &mut heard, cost, message.received);
            }
        }
        self.events = events;
        match read {
            Ok(Read::Taken) => {}
            Ok(Read::Idle) => self.books[source].skipped.increment(1),
            Err(refusal) => self.refuse(source, refusal.reason(), &refusal, None),
        }
    }

    /// Takes in what adapters kept so that it leaves together.
    fn settle(&mut self, now: Instant) {
        let mut events = std::mem::take(&mut self.events);
        for source in 0..self.lines.len() {
            self.lines[source].adapter.flush(&mut events);
            self.events_of(source, &mut events, 0, now);
            let lost = self.lines[source].adapter.take_lost();
            if lost > 0 {
                let name = &self.lines[source].name;
                tracing::warn!(source = name, lost, "frames waited for a scan in vain");
                refused(&self.lines[source].name, "held").increment(lost);
            }
        }
        self.events = events;
    }

    /// Takes in what a message says, which took so many bytes.
    fn events_of(&mut self, source: usize, events: &mut Vec<ScanEvent>, cost: usize, received: Instant) {
        for event in events.drain(..) {
            let cost = cost.max(event.update.bytes());
            self.event(source, event, cost, received);
        }
    }

    /// Takes in one thing that a message says.
    fn event(&mut self, source: usize, event: ScanEvent, cost: usize, received: Instant) {
        let scan_id = event.scan_id.clone();
        let seq = event.seq;
        self.revive(source, &event, received);
        match self.scans.push(source, event, cost, received) {
            Ok(Accepted::Used) => {}
            Ok(Accepted::Held) => {
                if let (Some(office), Some(seq)) = (&mut self.resend, seq) {
                    office.held(source, &scan_id, seq, received);
                }
            }
            Ok(Accepted::Duplicate) => self.books[source].duplicate.increment(1),
            Ok(Accepted::Skipped) => self.books[source].skipped.increment(1),
            Err(refusal) => {
                if refusal == EventRefusal::Stale {
                    self.books[source].stale.increment(1);
                }
                if let (Some(office), Some(seq)) = (&mut self.resend, seq)
                    && refusal.is_final()
                {
                    office.refused(&scan_id, seq);
                }
                self.refuse(source, refusal.reason(), &refusal, Some((&scan_id, seq)));
            }
        }
        let (dropped, refused) = self.scans.held().take_losses();
        if dropped > 0 {
            let held = EventRefusal::Limit {
                what: "size of what is held",
                found: self.scans.held().bytes() + cost,
                key: "held_bytes",
                limit: self.scans.held().limit_bytes(),
            };
            (0..dropped).for_each(|_| self.refuse(source, "held_too_long", &held, None));
        }
        for refusal in refused {
            self.refuse(source, refusal.reason(), &refusal, Some((&scan_id, None)));
        }
    }

    fn refuse(
        &mut self,
        source: usize,
        reason: &'static str,
        cause: &dyn std::fmt::Display,
        of: Option<(&str, Option<u64>)>,
    ) {
        self.books[source].refuse(&self.lines[source].name, (reason, cause), of, Instant::now());
    }

    /// Writes what was recorded of the wire; a log that cannot be written is given up.
    fn flush_raw(&mut self) {
        for (source, log) in self.raw.iter_mut().enumerate() {
            if let Some(Err(error)) = log.as_mut().map(RawLog::flush) {
                let source = &self.lines[source].name;
                tracing::error!(source, "the wire is not recorded any more: {error}");
                *log = None;
            }
        }
    }

    fn post(&mut self, now: Instant) {
        self.flush_raw();
        for books in &mut self.books {
            let (messages, bytes) = std::mem::take(&mut books.uncounted);
            books.received.increment(messages);
            books.bytes.increment(bytes);
        }
        let received = self.untold_since.take().unwrap_or(now);
        let notices = self.scans.take_notices();
        notices.iter().for_each(|notice| self.count_missing(notice));
        let left_out = self.workboard.post(notices, received);
        if left_out > 0 {
            tracing::warn!(left_out, "too much happens to scans at once; some of it is not shown");
        }
    }

    /// Counts what had not come when a scan ended for the first time, and tells of what had but could not be used.
    fn count_missing(&self, notice: &ScanNotice) {
        if let ScanNotice::Ended { scan_id, reopened: false, .. } = notice
            && let Some(scan) = self.scans.get(scan_id)
            && let Some(stack) = scan.stack()
        {
            let source = scan.source();
            self.books[source].missing.increment(lock(stack).sequence().missing());
            let waiting = scan.waiting().len();
            if waiting > 0 {
                refused(&self.lines[source].name, "extension").increment(waiting as u64);
                tracing::warn!(
                    scan_id,
                    messages = waiting,
                    "an extension of the plan came behind a gap: what belongs to it is kept in the journal, and not used unless the gap closes"
                );
            }
        }
    }
}
