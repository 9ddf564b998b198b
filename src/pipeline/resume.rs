//! Scans out of their journals: at the start those that were open or not archived, later those that something late comes for.
//!
//! What a journal says goes through the same state machine as what the wire says, so that a scan stands where it stood. One
//! that the daemon closed because it was stopped is open again. What is damaged is left out and said; a journal that cannot be
//! read, or whose scan the limits refuse, stays where it is.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};

use super::keeper::Keeper;
use super::scans::{STOPPED, ScanOrigin, Scans, Standing};
use crate::classify::Recipe;
use crate::journal::{self, Archived, Contents, Found, JournalError, Pinned, Place, What};
use crate::reference::ReferenceSet;
use crate::scan::{Outcome, ScanEvent, ScanPlan, ScanUpdate};
use crate::telemetry::{Health, names};

/// Recipes of scans that were begun under other ones than are in use now.
#[derive(Clone, Debug, Default)]
pub struct Recipes {
    of: Arc<Mutex<BTreeMap<String, Recipe>>>,
}

impl Recipes {
    /// The recipe of a scan, where it is not the one in use.
    #[must_use]
    pub fn get(&self, scan_id: &str) -> Option<Recipe> {
        self.of.lock().unwrap_or_else(PoisonError::into_inner).get(scan_id).cloned()
    }

    /// Notes it.
    pub fn insert(&self, scan_id: &str, recipe: Recipe) {
        self.of.lock().unwrap_or_else(PoisonError::into_inner).insert(scan_id.to_owned(), recipe);
    }
}

/// What was resumed.
#[derive(Clone, Debug, Default)]
pub struct Resumed {
    /// Scans that go on, or are archived now.
    pub scans: Vec<String>,
    /// Messages that are held for scans whose start has not come.
    pub held: Vec<HeldMessage>,
}

/// A message whose scan has not started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeldMessage {
    /// Index of its source.
    pub source: usize,
    /// Its scan.
    pub scan_id: Arc<str>,
    /// Its number.
    pub seq: u64,
}

/// What journals are resumed with.
#[derive(Clone, Debug)]
pub struct Resumer {
    /// Names of the sources, by index.
    pub sources: Vec<String>,
    /// Digest of the kept copy of the references in use, and the recipe in use.
    pub references: String,
    /// The recipe in use.
    pub recipe: serde_json::Value,
    /// Where recipes go that differ.
    pub recipes: Recipes,
    /// Where trouble is told.
    pub health: Health,
    /// What was found damaged or left alone, in words.
    pub left: Arc<Mutex<Vec<String>>>,
}

impl Resumer {
    /// Brings everything back that is not archived: called once, before anything is received.
    /// `each` is told after every scan, so that those that only have to be archived do not gather in memory.
    pub fn resume(
        &self,
        scans: &mut Scans,
        keeper: &mut Keeper,
        now: Instant,
        mut each: impl FnMut(&mut Scans),
    ) -> Resumed {
        let mut resumed = Resumed::default();
        let store = Arc::clone(keeper.store());
        let mut found = self.found(keeper, Place::Scans);
        found.sort_by_key(|(_, pinned, _)| pinned.created);
        for (folder, pinned, archived) in found {
            match is_done(&folder, archived.as_ref()) {
                Ok(true) => {}
                Ok(false) if folder != store.folder(Place::Scans, &pinned.scan_id) => {
                    tracing::error!(journal = %folder.display(), "not archived, and another scan has its id: see `phasewatch replay`");
                }
                Ok(false) => {
                    let scan_id = pinned.scan_id.clone();
                    if self.restore(scans, &folder, &pinned, None, now).is_some() {
                        keeper.reopen(&scan_id, Place::Scans, pinned);
                        resumed.scans.push(scan_id);
                        each(scans);
                    }
                }
                Err(error) => self.unreadable(&error),
            }
        }
        for (folder, pinned, _) in self.found(keeper, Place::Held) {
            let (scan_id, source) = (pinned.scan_id.clone(), self.source(&pinned));
            let shared_id: Arc<str> = scan_id.as_str().into();
            let started = scans.get(&scan_id).is_some();
            let read = journal::read(&folder, |line| {
                let What::Update(update) = line.what else { return };
                let event = ScanEvent { scan_id: scan_id.clone(), seq: Some(line.seq), time: None, update };
                if !started {
                    resumed.held.push(HeldMessage { source, scan_id: Arc::clone(&shared_id), seq: line.seq });
                }
                // The scan may have begun right before the end: what it has not seen of this is new to its journal.
                let bytes = 4096;
                drop(if started {
                    scans.push(source, event, bytes, now)
                } else {
                    scans.restore(source, event, &ScanOrigin::Journal, now)
                });
            });
            match read {
                Ok(contents) => self.damage(&folder, &contents),
                Err(error) => self.unreadable(&error),
            }
            keeper.reopen(&scan_id, Place::Held, pinned);
        }
        for path in store.strangers() {
            tracing::warn!(path = %path.display(), "left alone: it is no journal");
            self.leave(format!("{} is no journal and is left alone", path.display()));
        }
        metrics::counter!(names::SCANS_RESUMED).increment(resumed.scans.len() as u64);
        resumed
    }

    /// Brings one scan back that was archived or whose stack had to go, where something comes for it in time. `plan`: of a start.
    pub fn revive(
        &self,
        scans: &mut Scans,
        keeper: &mut Keeper,
        scan_id: &str,
        plan: Option<&ScanPlan>,
        reopen: Duration,
        now: Instant,
    ) {
        let folder = keeper.store().folder(Place::Scans, scan_id);
        let Ok(pinned) = Pinned::read(&folder) else { return };
        let same = |plan: &ScanPlan| {
            let first = pinned.plan.as_ref().map(|(_, first)| first);
            first.is_some_and(|first| plan.is_repeat_of(first))
        };
        if plan.is_some_and(|plan| !same(plan)) {
            // Another scan that was given the same id: its journal will take this one's place.
            return;
        }
        let closed = match journal::last_line(&folder) {
            Ok(Some(line)) if matches!(line.what, What::Closed(_)) => line.received,
            _ => return,
        };
        let age = (keeper.time(now) - closed).to_std().unwrap_or_default();
        if age > reopen {
            return;
        }
        keeper.store().hold(scan_id);
        scans.forget(scan_id);
        let archived = Archived::read(&folder);
        let at = now.checked_sub(age).unwrap_or(now);
        if self.restore(scans, &folder, &pinned, Some((archived, at)), now).is_some() {
            keeper.reopen(scan_id, Place::Scans, pinned);
        }
    }

    fn found(&self, keeper: &Keeper, place: Place) -> Vec<(PathBuf, Pinned, Option<Archived>)> {
        let found = match keeper.store().found(place) {
            Ok(found) => found,
            Err(error) => {
                self.unreadable(&error);
                return Vec::new();
            }
        };
        let readable = |Found { folder, pinned, archived }: Found| match pinned {
            Ok(pinned) => Some((folder, pinned, archived)),
            Err(error) => {
                self.unreadable(&error);
                None
            }
        };
        found.into_iter().filter_map(readable).collect()
    }

    fn source(&self, pinned: &Pinned) -> usize {
        // A source that is no longer configured: the first one's patience is as good as any.
        self.sources.iter().position(|name| *name == pinned.source).unwrap_or(0)
    }

    fn restore(
        &self,
        scans: &mut Scans,
        folder: &Path,
        pinned: &Pinned,
        archived: Option<(Option<Archived>, Instant)>,
        now: Instant,
    ) -> Option<()> {
        let scan_id = &pinned.scan_id;
        self.pin(folder, pinned);
        let source = self.source(pinned);
        let origin = match &archived {
            None => ScanOrigin::Journal,
            Some((None, _)) => ScanOrigin::Late,
            Some((Some(archived), _)) => ScanOrigin::Archived(archived.path.clone()),
        };
        let mut refused = None;
        let mut push = |scans: &mut Scans, seq, update| {
            let event = ScanEvent { scan_id: scan_id.clone(), seq: Some(seq), time: None, update };
            if let Err(refusal) = scans.restore(source, event, &origin, now) {
                refused.get_or_insert(refusal);
            }
        };
        if let Some((seq, plan)) = &pinned.plan {
            push(scans, *seq, ScanUpdate::Started(Box::new(plan.clone())));
        }
        if let Ok(frames) = serde_json::from_value(pinned.frames.clone()) {
            scans.restore_frames(scan_id, frames);
        }
        let read = journal::read(folder, |line| {
            if let What::Update(update) = line.what {
                push(scans, line.seq, update);
            }
        });
        let contents = match read {
            Ok(contents) => contents,
            Err(error) => {
                self.unreadable(&error);
                return None;
            }
        };
        self.damage(folder, &contents);
        if let Some(refusal) = refused {
            let journal = folder.display();
            tracing::error!(scan_id, %journal, "some of a journal cannot be taken in: {refusal}");
        }
        scans.get(scan_id).and_then(|scan| scan.stack())?;
        let standing = match (contents.closed, archived) {
            (Some((outcome, _)), Some((_, at))) => {
                Standing::Archived { closings: contents.closings, outcome, at }
            }
            (Some((Outcome::Partial { reason }, _)), None) if reason == STOPPED => {
                Standing::Open { closings: contents.closings }
            }
            (Some((outcome, _)), None) => Standing::Closed { closings: contents.closings, outcome },
            (None, _) => Standing::Open { closings: contents.closings },
        };
        tracing::info!(scan_id, lines = contents.lines, %standing, "scan is back from its journal");
        scans.restored(scan_id, &standing, now);
        Some(())
    }

    /// A scan keeps the references and the recipe it began with.
    fn pin(&self, folder: &Path, pinned: &Pinned) {
        if pinned.references == self.references && pinned.recipe == self.recipe {
            return;
        }
        match recipe_of(folder, pinned) {
            Ok(recipe) => {
                let scan_id = &pinned.scan_id;
                tracing::info!(
                    scan_id,
                    "settings or references are others now; this scan keeps those it began with"
                );
                self.recipes.insert(scan_id, recipe);
            }
            Err(error) => tracing::error!(
                scan_id = pinned.scan_id,
                "what the scan began with cannot be read, what is in use now is taken: {error}"
            ),
        }
    }

    fn damage(&self, folder: &Path, contents: &Contents) {
        if contents.damaged.is_empty() {
            return;
        }
        metrics::counter!(names::JOURNAL_DAMAGED).increment(contents.damaged.len() as u64);
        let journal = folder.display();
        for what in contents.damaged.iter().take(20) {
            tracing::error!(%journal, "damaged, left out: {what}");
        }
        let what = format!(
            "{journal}: {} places are damaged and left out; what they held shows as gaps",
            contents.damaged.len()
        );
        self.leave(what);
    }

    fn unreadable(&self, error: &JournalError) {
        metrics::counter!(names::JOURNAL_DAMAGED).increment(1);
        tracing::error!("a journal is left where it is: {error}");
        self.leave(format!("a journal is left where it is: {error}"));
    }

    /// Says under `/readyz` what was found wrong, beside what was before.
    fn leave(&self, what: String) {
        const MOST_TOLD: usize = 10;
        let mut left = self.left.lock().unwrap_or_else(PoisonError::into_inner);
        if !left.contains(&what) {
            left.push(what);
        }
        let mut text = left.iter().take(MOST_TOLD).map(String::as_str).collect::<Vec<_>>().join("; ");
        if left.len() > MOST_TOLD {
            text += &format!("; and {} more, see the log", left.len() - MOST_TOLD);
        }
        self.health.trouble("journal damage", false, text);
    }
}

/// Whether a journal's scan is closed and archived, and nothing came since. One that was closed because the daemon was stopped is
/// not: it goes on.
pub(super) fn is_done(folder: &Path, archived: Option<&Archived>) -> Result<bool, JournalError> {
    let Some(archived) = archived else { return Ok(false) };
    let last = journal::last_line(folder)?;
    let is_stopped = |outcome: &Outcome| matches!(outcome, Outcome::Partial { reason } if reason == STOPPED);
    Ok(last.is_some_and(|line| {
        matches!(&line.what, What::Closed(outcome) if !is_stopped(outcome))
            && line.seq == u64::from(archived.closing)
    }))
}

/// Whether the journal has all that an archive of that closing of its scan is made from. While it cannot be written it has not.
pub(super) fn has_closing(folder: &Path, closing: u32) -> bool {
    let last = journal::last_line(folder).ok().flatten();
    last.is_some_and(|line| matches!(line.what, What::Closed(_)) && line.seq >= u64::from(closing))
}

/// When a journal's scan was closed, where that was the last thing.
pub(super) fn closed_at(folder: &Path) -> Option<DateTime<Utc>> {
    let line = journal::last_line(folder).ok()??;
    matches!(line.what, What::Closed(_)).then_some(line.received)
}

/// The recipe that a journal was begun with, from the copies beside it.
///
/// # Errors
/// Where a copy is not there or not readable.
pub fn recipe_of(folder: &Path, pinned: &Pinned) -> Result<Recipe, JournalError> {
    let path = journal::Store::content(folder, &pinned.references, "json").unwrap_or_default();
    let bytes = std::fs::read(&path).map_err(JournalError::io("reading", &path))?;
    let references: ReferenceSet =
        serde_json::from_slice(&bytes).map_err(|error| JournalError::Json { path: path.clone(), error })?;
    let mut recipe: Recipe = serde_json::from_value(pinned.recipe.clone())
        .map_err(|error| JournalError::Json { path: folder.to_owned(), error })?;
    recipe.references = Arc::new(references);
    Ok(recipe)
}
