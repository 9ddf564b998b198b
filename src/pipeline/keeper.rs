//! Keeps the journals: lines of all scans go in, and are with the operating system before anybody is told of them.
//!
//! Lines are committed together: at once where nothing was committed within [`COMMIT_INTERVAL`], else when that is over or many
//! bytes have gathered, so that a stream of small messages does not pay for a batch each. What cannot be written (a full disk)
//! stays in memory and is tried again; beyond [`KeeperSettings::limit_bytes`] the keeper is *full*, and receiving has to wait:
//! policy block, as on every way to the stack.
//!
//! The time of a line is the calendar's at the start of the daemon plus what the clock that never jumps says since.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};

use super::at_work::AtWork;
use super::scans::Kept;
use super::sync::Syncer;
use crate::journal::{FORMAT, JournalError, Line, Pinned, Place, ScanWriter, Store, What};
use crate::scan::{ScanEvent, ScanPlan, ScanUpdate};
use crate::telemetry::{Health, names};

/// Between two commits, where few bytes come.
pub const COMMIT_INTERVAL: Duration = Duration::from_millis(10);
/// Bytes that are committed at once.
pub const COMMIT_BYTES: usize = 1 << 20;
/// Between two tries where writing failed.
const RETRY: Duration = Duration::from_millis(250);
/// Scans that have not started and are journalled at once; what is held of more of them is in memory only.
const MOST_HELD: usize = 256;

/// What goes into every journal that is begun.
#[derive(Clone, Debug)]
pub struct Pins {
    /// SHA-256 of the kept copy of the references.
    pub references: String,
    /// What is done about single pixels of area frames.
    pub frames: serde_json::Value,
    /// How maps are made.
    pub recipe: serde_json::Value,
    /// The settings.
    pub settings: serde_json::Value,
    /// Names of the sources.
    pub sources: Vec<String>,
}

/// What a keeper is told.
pub struct KeeperSettings {
    /// What goes into every journal.
    pub pins: Pins,
    /// Digest of the model in use.
    pub model: Box<dyn Fn() -> Option<String> + Send>,
    /// Most bytes that may wait in memory because they cannot be written.
    pub limit_bytes: usize,
}

/// The journals of all scans.
pub struct Keeper {
    store: Arc<Store>,
    settings: KeeperSettings,
    syncer: Syncer,
    health: Health,
    at_work: AtWork,
    started: (Instant, DateTime<Utc>),
    writers: BTreeMap<Arc<str>, ScanWriter>,
    held: BTreeMap<Arc<str>, ScanWriter>,
    /// Lines of scans whose journal could not be begun.
    unopened: Vec<Kept>,
    /// Scans that were closed: their files are let go of once all is written.
    closed: BTreeSet<Arc<str>>,
    last_commit: Option<Instant>,
    waiting: bool,
    failing: bool,
}

impl std::fmt::Debug for Keeper {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Keeper").field("store", &self.store).finish_non_exhaustive()
    }
}

impl Keeper {
    /// What goes into every journal that is begun from now on.
    pub fn set_pins(&mut self, pins: Pins) {
        self.settings.pins = pins;
    }

    /// A keeper in `store`. `now` is the same moment by both clocks.
    #[must_use]
    pub fn new(
        store: Arc<Store>,
        settings: KeeperSettings,
        syncer: Syncer,
        health: Health,
        now: (Instant, DateTime<Utc>),
    ) -> Self {
        Self {
            store,
            settings,
            syncer,
            health,
            at_work: AtWork::on_the_journal(),
            started: now,
            writers: BTreeMap::new(),
            held: BTreeMap::new(),
            unopened: Vec::new(),
            closed: BTreeSet::new(),
            last_commit: None,
            waiting: false,
            failing: false,
        }
    }

    /// The same, seen through `at_work` while it writes.
    #[must_use]
    pub fn seen_through(self, at_work: AtWork) -> Self {
        Self { at_work, ..self }
    }

    /// The state directory.
    #[must_use]
    pub fn store(&self) -> &Arc<Store> {
        &self.store
    }

    /// The calendar's time of `at`.
    #[must_use]
    pub fn time(&self, at: Instant) -> DateTime<Utc> {
        let since = at.saturating_duration_since(self.started.0);
        self.started.1 + TimeDelta::from_std(since).unwrap_or_default()
    }

    /// Takes lines in. A scan that begins takes the place of an archived one with its id. Where its journal cannot be begun its lines
    /// wait, in their order.
    pub fn take(&mut self, lines: Vec<Kept>) {
        let mut blocked = BTreeSet::new();
        for line in std::mem::take(&mut self.unopened).into_iter().chain(lines) {
            // Nearly every line: an event of a scan whose journal is open.
            let is_event = !matches!(line.what, What::Closed(_) | What::Update(ScanUpdate::Started(_)));
            if is_event && blocked.is_empty() && self.closed.is_empty() {
                let received = self.time(line.at);
                let writers = if line.held { &mut self.held } else { &mut self.writers };
                if let Some(writer) = writers.get_mut(&line.scan_id) {
                    writer.push(&Line { seq: line.seq, received, what: line.what });
                    self.waiting = true;
                    continue;
                }
            }
            if blocked.contains(&(line.held, Arc::clone(&line.scan_id))) {
                self.unopened.push(line);
                continue;
            }
            let Kept { scan_id, source, held, at, seq, what } = line;
            let begins = match &what {
                What::Update(ScanUpdate::Started(plan)) => Some((seq, ScanPlan::clone(plan))),
                _ => None,
            };
            if matches!(what, What::Closed(_)) {
                self.closed.insert(Arc::clone(&scan_id));
            } else {
                self.closed.remove(&scan_id);
            }
            let line = Line { seq, received: self.time(at), what };
            self.waiting = true;
            if !self.is_open(&scan_id, held) && !self.open(&scan_id, source, held, begins) {
                if !held || self.held.len() < MOST_HELD {
                    blocked.insert((held, Arc::clone(&scan_id)));
                    self.unopened.push(Kept { scan_id, source, held, at, seq, what: line.what });
                }
                continue;
            }
            let writers = if held { &mut self.held } else { &mut self.writers };
            if let Some(writer) = writers.get_mut(&scan_id) {
                writer.push(&line);
            }
        }
    }

    fn is_open(&self, scan_id: &str, held: bool) -> bool {
        if held { self.held.contains_key(scan_id) } else { self.writers.contains_key(scan_id) }
    }

    fn open(&mut self, scan_id: &Arc<str>, source: usize, held: bool, plan: Option<(u64, ScanPlan)>) -> bool {
        if held && self.held.len() >= MOST_HELD {
            return false;
        }
        let place = if held { Place::Held } else { Place::Scans };
        let folder = self.store.folder(place, scan_id);
        let pins = &self.settings.pins;
        let pinned = Pinned {
            format: FORMAT.to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            scan_id: scan_id.to_string(),
            source: pins.sources.get(source).cloned().unwrap_or_default(),
            plan: plan.clone(),
            created: self.time(Instant::now()),
            references: pins.references.clone(),
            model: (self.settings.model)(),
            frames: pins.frames.clone(),
            recipe: pins.recipe.clone(),
            settings: pins.settings.clone(),
        };
        let set_aside =
            if plan.is_some() && folder.exists() { self.store.set_aside(scan_id) } else { Ok(()) };
        match set_aside.and_then(|()| ScanWriter::new(folder, pinned)) {
            Ok(writer) => {
                let writers = if held { &mut self.held } else { &mut self.writers };
                writers.insert(Arc::clone(scan_id), writer);
                true
            }
            Err(error) => {
                self.trouble(&error);
                false
            }
        }
    }

    /// Goes on with a journal that is there: what comes for its scan is appended.
    pub fn reopen(&mut self, scan_id: &str, place: Place, pinned: Pinned) {
        match ScanWriter::new(self.store.folder(place, scan_id), pinned) {
            Ok(writer) => {
                let writers = if place == Place::Held { &mut self.held } else { &mut self.writers };
                writers.insert(scan_id.into(), writer);
            }
            Err(error) => self.trouble(&error),
        }
    }

    /// When the next commit is due; `None` while there is nothing to commit.
    #[must_use]
    pub fn due(&self, now: Instant) -> Option<Instant> {
        let wait = if self.failing { RETRY } else { COMMIT_INTERVAL };
        self.waiting.then(|| self.last_commit.map_or(now, |last| last + wait))
    }

    /// Whether the last commit failed: what came since is in memory only.
    #[must_use]
    pub fn is_failing(&self) -> bool {
        self.failing
    }

    /// Whether so much waits in memory that nothing more may be received.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.failing && self.unwritten_bytes() > self.settings.limit_bytes
    }

    fn unwritten_bytes(&self) -> usize {
        let unopened: usize = self.unopened.iter().map(|line| line.what.bytes()).sum();
        let writers = self.writers.values().chain(self.held.values());
        unopened + writers.map(ScanWriter::unwritten_bytes).sum::<usize>()
    }

    /// Writes all lines to the operating system. Returns whether they are all there.
    pub fn commit(&mut self, now: Instant) -> bool {
        if !self.waiting {
            return true;
        }
        self.last_commit = Some(now);
        self.take(Vec::new());
        let (mut bytes, mut failure) = (0, None);
        for (place, writers) in [(Place::Scans, &mut self.writers), (Place::Held, &mut self.held)] {
            for (scan_id, writer) in writers.iter_mut() {
                match self.at_work.at("writing a journal", || writer.commit()) {
                    Ok(done) => {
                        bytes += done.bytes;
                        self.syncer.note((place, Arc::clone(scan_id)), done.files);
                    }
                    Err(error) => failure = Some(error),
                }
            }
        }
        metrics::counter!(names::JOURNAL_BYTES).increment(bytes);
        metrics::gauge!(names::JOURNAL_UNWRITTEN_BYTES).set(self.unwritten_bytes() as f64);
        match failure {
            None if self.unopened.is_empty() => {
                self.waiting = false;
                for scan_id in std::mem::take(&mut self.closed) {
                    self.writers.remove(&scan_id);
                }
                if std::mem::take(&mut self.failing) {
                    self.health.well("journal");
                    tracing::info!("the journal is written again, nothing of it was lost");
                }
            }
            // That a journal could not be begun was said.
            None => {}
            Some(error) => self.trouble(&error),
        }
        !self.waiting
    }

    fn trouble(&mut self, error: &JournalError) {
        let was_failing = std::mem::replace(&mut self.failing, true);
        metrics::counter!(names::JOURNAL_FAILURES).increment(1);
        let what = format!(
            "{error}; what comes is kept in memory meanwhile, and receiving stops when limits.queue_bytes of it wait: make room, or \
             give daemon.state_dir a disk that can be written to"
        );
        if self.health.trouble("journal", true, what) && !was_failing {
            tracing::error!("the journal cannot be written: {error}");
        }
    }

    /// Scans of which more bytes are held on disk than may be held in memory: the oldest messages were dropped there.
    #[must_use]
    pub fn outgrown(&self, limit_bytes: u64) -> Vec<Arc<str>> {
        let too_large =
            |writer: &ScanWriter| writer.written_bytes() > limit_bytes.saturating_mul(2) + (1 << 20);
        self.held.iter().filter(|(_, writer)| too_large(writer)).map(|(id, _)| Arc::clone(id)).collect()
    }

    /// Writes what is held of a scan anew, without what was dropped. What was written stays until all of that is.
    pub fn rewrite_held<'a>(
        &mut self,
        scan_id: &Arc<str>,
        held: impl Iterator<Item = (&'a ScanEvent, Instant)>,
    ) {
        let Some(old) = self.held.get(scan_id) else { return };
        let folder = old.folder().to_owned();
        let lines = held.map(|(event, at)| Line {
            seq: event.seq.unwrap_or(0),
            received: self.time(at),
            what: What::Update(event.update.clone()),
        });
        let written = self.store.begin_anew(&folder).and_then(|anew| {
            let mut writer = ScanWriter::new(anew, old.pinned().clone())?;
            lines.for_each(|line| writer.push(&line));
            let done = self.at_work.at("writing a journal", || writer.commit())?;
            self.store.put_anew(&folder)?;
            writer.moved_to(folder);
            Ok((writer, done))
        });
        match written {
            Ok((writer, done)) => {
                metrics::counter!(names::JOURNAL_BYTES).increment(done.bytes);
                self.syncer.note((Place::Held, Arc::clone(scan_id)), done.files);
                self.held.insert(Arc::clone(scan_id), writer);
            }
            Err(error) => self.trouble(&error),
        }
    }

    /// Removes what is held on disk of scans for which nothing is held any more.
    pub fn release_held(&mut self, still_held: impl Fn(&str) -> bool) {
        let over: Vec<Arc<str>> = self.held.keys().filter(|id| !still_held(id)).cloned().collect();
        for scan_id in over {
            self.held.remove(&scan_id);
            let folder = self.store.folder(Place::Held, &scan_id);
            if let Err(error) = self.store.remove(&folder) {
                tracing::warn!(%scan_id, "cannot remove what was held: {error}");
            }
        }
    }
}
