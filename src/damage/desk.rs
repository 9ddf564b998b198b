//! The desk that alerts cross: it decides which are told, keeps what is to be delivered, and does what operators say.
//!
//! # What is told
//! - Each alert (scan, rule, episode) once at each level it comes to, and once when it is over, if it was told before. The same
//!   alert with newer numbers only changes what is shown. So an alert may be said any number of times, and again after
//!   a restart or by a replay: [`Record`]s are kept, and nothing is told twice that a record says was told.
//! - What is *silenced* is shown and not told. What came meanwhile and still holds is told when the silence is over.
//! - What is *acknowledged* stays open and is not reminded of; a higher level is told all the same, and not acknowledged.
//! - A critical alert that nobody acknowledges is told again every [`Rules::remind_after`].
//!
//! # What is delivered
//! What is told becomes a [`Letter`], with an address for each output that wants its level, in the record itself: what was told
//! and what is to be delivered change together. Deliveries of an output go in the order in which they were told, one at a time.
//! An output that fails makes its letters wait, twice as long after each failure in a row; a letter that it refuses for its
//! content is given up, as is what could not be delivered within a day.
//!
//! # Bounds
//! Texts are cut, records are at most [`MOST_RECORDS`], letters of an output at most [`MOST_WAITING`]: the oldest of the least
//! urgent give way, and are counted. Nothing here looks at a clock or draws a number.

mod post;
mod record;
mod silence;
#[cfg(test)]
mod tests;
mod view;

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, TimeDelta, Utc};

use super::{Alert, AlertState, Level};
use post::Schedule;
pub use post::{Depth, GivenUp, Outcome, Parcel, Why};
pub use record::{Acknowledgement, Delivery, Letter, Occasion, Record};
pub use silence::{Matcher, Silence};
pub use view::AlertView;

/// Most alerts that are known at once.
pub const MOST_RECORDS: usize = 4096;
/// Most letters that wait for one output.
pub const MOST_WAITING: usize = 1024;
/// Most silences at once.
pub const MOST_SILENCES: usize = 256;
/// What the rule of a test alert begins with.
pub const TEST_RULE: &str = "test";
/// An alert of which nothing was heard for so long is not open any more: its scan is gone.
const LAPSE: TimeDelta = TimeDelta::hours(24);
/// The same for a test.
const LAPSE_OF_TEST: TimeDelta = TimeDelta::minutes(10);

/// Which output wants what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutputRule {
    /// Its name, unique.
    pub name: String,
    /// The least urgent level it wants.
    pub min_level: Level,
    /// Whether a failed delivery is tried again.
    pub retries: bool,
}

/// What the desk goes by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rules {
    /// After this time a critical alert that nobody acknowledged is told again; `None`: never.
    pub remind_after: Option<TimeDelta>,
    /// How long alerts that are over are known.
    pub keep: TimeDelta,
    /// The outputs that get letters.
    pub outputs: Vec<OutputRule>,
}

/// Something that is told now.
#[derive(Clone, Debug, PartialEq)]
pub struct Telling {
    /// Why.
    pub occasion: Occasion,
    /// What: the alert, and what is known of it.
    pub view: AlertView,
}

/// Why an operator's wish is not done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DeskError {
    /// There is no such alert.
    #[error("no such alert")]
    NoAlert,
    /// There is no such silence.
    #[error("no such silence")]
    NoSilence,
    /// It would be over before it begins.
    #[error("the silence would be over already")]
    Past,
    /// It would silence everything, or for ever.
    #[error("a silence names what it is for, and its end unless it is for one scan")]
    Boundless,
    /// The sample or region that it shall be for is not known of this alert.
    #[error("the alert has no such field to silence by")]
    NoField,
    /// There are [`MOST_SILENCES`].
    #[error("there are too many silences; lift some")]
    Full,
}

/// What has to be written down.
#[derive(Debug, Default)]
pub struct Changes {
    /// Records that are new or changed.
    pub records: Vec<Record>,
    /// Identifiers of records that are gone.
    pub removed: Vec<String>,
    /// All silences, where one came or went.
    pub silences: Option<Vec<Silence>>,
}

impl Changes {
    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.records.is_empty() && self.removed.is_empty() && self.silences.is_none()
    }
}

/// The desk.
#[derive(Debug)]
pub struct Desk {
    rules: Rules,
    records: BTreeMap<String, Record>,
    silences: BTreeMap<u32, Silence>,
    schedules: BTreeMap<String, Schedule>,
    tellings: Vec<Telling>,
    given_up: Vec<GivenUp>,
    changed: BTreeSet<String>,
    removed: BTreeSet<String>,
    silences_changed: bool,
}

impl Desk {
    /// A desk that knows what was kept. Deliveries to outputs that are there no more are forgotten.
    #[must_use]
    pub fn new(rules: Rules, records: Vec<Record>, silences: Vec<Silence>) -> Self {
        let schedules = rules.outputs.iter().map(|rule| (rule.name.clone(), Schedule::default())).collect();
        let mut desk = Self {
            rules,
            records: records.into_iter().map(|record| (record.id(), record)).collect(),
            silences: silences.into_iter().map(|silence| (silence.number, silence)).collect(),
            schedules,
            tellings: Vec::new(),
            given_up: Vec::new(),
            changed: BTreeSet::new(),
            removed: BTreeSet::new(),
            silences_changed: false,
        };
        for (id, record) in &mut desk.records {
            if record.forget_outputs(|name| desk.schedules.contains_key(name)) {
                desk.changed.insert(id.clone());
            }
        }
        desk
    }

    /// Other rules and outputs from now on. What waits for an output that is there no more is forgotten; one that stays is where it was.
    pub fn renew(&mut self, rules: Rules) {
        let mut before = std::mem::take(&mut self.schedules);
        let schedule = |rule: &OutputRule| (rule.name.clone(), before.remove(&rule.name).unwrap_or_default());
        self.schedules = rules.outputs.iter().map(schedule).collect();
        self.rules = rules;
        for (id, record) in &mut self.records {
            if record.forget_outputs(|name| self.schedules.contains_key(name)) {
                self.changed.insert(id.clone());
            }
        }
    }

    /// Hears an alert, for the first time or again.
    pub fn hear(&mut self, alert: Alert, now: DateTime<Utc>) {
        let alert = record::bounded(alert);
        let id = alert.key.id();
        let known = self.records.entry(id.clone()).or_insert_with(|| {
            self.changed.insert(id.clone());
            Record::new(alert.clone(), now)
        });
        known.heard = now;
        if alert.time >= known.alert.time {
            if known.alert.level != alert.level || known.alert.state != alert.state {
                self.changed.insert(id.clone());
            }
            known.alert = alert.clone();
        } else if known.alert.state == AlertState::Over {
            // What was said before the end, heard after it.
            return;
        }
        self.consider(&id, alert, now);
        self.make_room();
    }

    /// Tells what is due: reminders, and what silences that are over held back; forgets what is old.
    pub fn tick(&mut self, now: DateTime<Utc>) {
        self.forget(now);
        let ids: Vec<String> = self.records.keys().cloned().collect();
        for id in ids {
            let held_back = self.records.get(&id).filter(|record| record.has_news(&record.alert));
            if let Some(alert) = held_back.map(|record| record.alert.clone()) {
                self.consider(&id, alert, now);
            }
            if self.reminder_is_due(&id, now)
                && let Some(record) = self.records.get_mut(&id)
            {
                record.reminders += 1;
                record.drop_reminders();
                let alert = record.alert.clone();
                let occasion = Occasion::Reminder { number: record.reminders };
                self.tell(&id, occasion, alert, now);
            }
        }
    }

    /// Notes that somebody has seen an alert; nobody is reminded of it at this level.
    ///
    /// # Errors
    /// [`DeskError::NoAlert`].
    pub fn acknowledge(
        &mut self,
        id: &str,
        by: String,
        note: Option<String>,
        now: DateTime<Utc>,
    ) -> Result<AlertView, DeskError> {
        let record = self.records.get_mut(id).ok_or(DeskError::NoAlert)?;
        record.acknowledged = Some(Acknowledgement { by, note, time: now, level: record.alert.level });
        record.drop_reminders();
        self.changed.insert(id.to_owned());
        let view = self.view(id, now).ok_or(DeskError::NoAlert)?;
        self.tellings.push(Telling { occasion: Occasion::Acknowledged, view: view.clone() });
        Ok(view)
    }

    /// Silences what `what` matches, until `until`, or, where it names a scan, as long as that is known.
    ///
    /// # Errors
    /// [`DeskError`]: without bounds, over already, or too many.
    pub fn silence(
        &mut self,
        what: Matcher,
        until: Option<DateTime<Utc>>,
        by: String,
        note: Option<String>,
        now: DateTime<Utc>,
    ) -> Result<Silence, DeskError> {
        let for_a_scan = what.scan_id.is_some() || what.id.is_some();
        if what == Matcher::default() || until.is_none() && !for_a_scan {
            return Err(DeskError::Boundless);
        }
        if until.is_some_and(|until| until <= now) {
            return Err(DeskError::Past);
        }
        if self.silences.len() >= MOST_SILENCES {
            return Err(DeskError::Full);
        }
        let number = self.silences.keys().last().map_or(1, |last| last + 1);
        let silence = Silence { number, what, until, by, note, since: now };
        self.silences.insert(number, silence.clone());
        self.silences_changed = true;
        Ok(silence)
    }

    /// Ends a silence.
    ///
    /// # Errors
    /// [`DeskError::NoSilence`].
    pub fn lift(&mut self, number: u32) -> Result<Silence, DeskError> {
        let silence = self.silences.remove(&number).ok_or(DeskError::NoSilence)?;
        self.silences_changed = true;
        Ok(silence)
    }

    /// The alert with this identifier, as it was heard last.
    #[must_use]
    pub fn alert(&self, id: &str) -> Option<&Alert> {
        self.records.get(id).map(|record| &record.alert)
    }

    /// What is told now, in order; once.
    pub fn take_tellings(&mut self) -> Vec<Telling> {
        std::mem::take(&mut self.tellings)
    }

    /// What has to be written down; once.
    pub fn take_changes(&mut self) -> Changes {
        let records = std::mem::take(&mut self.changed);
        Changes {
            records: records.iter().filter_map(|id| self.records.get(id).cloned()).collect(),
            removed: std::mem::take(&mut self.removed).into_iter().collect(),
            silences: std::mem::take(&mut self.silences_changed)
                .then(|| self.silences.values().cloned().collect()),
        }
    }

    /// Says that changes could not be written down: they are handed out again.
    pub fn put_back(&mut self, changes: &Changes) {
        self.changed.extend(changes.records.iter().map(Record::id));
        self.removed.extend(changes.removed.iter().filter(|id| !self.records.contains_key(*id)).cloned());
        self.silences_changed |= changes.silences.is_some();
    }

    /// All alerts, the open ones first, then the most urgent, then the latest.
    #[must_use]
    pub fn views(&self, now: DateTime<Utc>) -> Vec<AlertView> {
        let mut views: Vec<AlertView> = self.records.keys().filter_map(|id| self.view(id, now)).collect();
        views.sort_by(|a, b| {
            let rank = |view: &AlertView| (view.is_open(), view.level, view.time);
            rank(b).cmp(&rank(a)).then_with(|| a.id.cmp(&b.id))
        });
        views
    }

    /// All silences that hold.
    #[must_use]
    pub fn silences(&self) -> Vec<Silence> {
        self.silences.values().cloned().collect()
    }

    fn view(&self, id: &str, now: DateTime<Utc>) -> Option<AlertView> {
        let record = self.records.get(id)?;
        let silence = self.silences.values().find(|silence| silence.holds(&record.alert, now));
        Some(AlertView::of(record, silence))
    }

    fn is_silenced(&self, alert: &Alert, now: DateTime<Utc>) -> bool {
        self.silences.values().any(|silence| silence.holds(alert, now))
    }

    /// Tells `alert` where nobody was told of its level, or of its end, and it is not silenced.
    fn consider(&mut self, id: &str, alert: Alert, now: DateTime<Utc>) {
        let Some(record) = self.records.get(id) else { return };
        if !record.has_news(&alert) || self.is_silenced(&alert, now) {
            return;
        }
        let Some(record) = self.records.get_mut(id) else { return };
        let occasion = match alert.state {
            AlertState::Raised => {
                record.told.insert(alert.level);
                Occasion::Raised
            }
            AlertState::Over => {
                record.told_over = true;
                record.drop_reminders();
                Occasion::Over
            }
        };
        self.tell(id, occasion, alert, now);
    }

    /// Tells it, and addresses it to whoever wants it.
    fn tell(&mut self, id: &str, occasion: Occasion, alert: Alert, now: DateTime<Utc>) {
        let Some(mut view) = self.view(id, now) else { return };
        view.retell(&alert);
        self.tellings.push(Telling { occasion, view });
        let Some(record) = self.records.get_mut(id) else { return };
        record.last_told = Some(now);
        // Who was not told of it is not told that it is over.
        let urgency = match occasion {
            Occasion::Over => record.told.last().copied().unwrap_or(alert.level),
            _ => alert.level,
        };
        let to: Vec<Delivery> = self
            .rules
            .outputs
            .iter()
            .filter(|output| urgency >= output.min_level)
            .map(|output| Delivery { output: output.name.clone(), attempts: 0 })
            .collect();
        let outputs: Vec<String> = to.iter().map(|delivery| delivery.output.clone()).collect();
        if !to.is_empty() {
            record.letters.push(Letter { occasion, alert, time: now, to });
        }
        self.changed.insert(id.to_owned());
        outputs.iter().for_each(|output| self.bound_letters(output));
    }

    fn reminder_is_due(&self, id: &str, now: DateTime<Utc>) -> bool {
        let (Some(record), Some(after)) = (self.records.get(id), self.rules.remind_after) else {
            return false;
        };
        let alert = &record.alert;
        alert.state == AlertState::Raised
            && alert.level == Level::Critical
            && record.told.contains(&Level::Critical)
            && !record.is_acknowledged()
            && record.last_told.is_some_and(|told| told + after <= now)
            && !self.is_silenced(alert, now)
    }

    /// Forgets what is over for long, and silences that are over; what nobody speaks of any more is not open.
    fn forget(&mut self, now: DateTime<Utc>) {
        for (id, record) in &mut self.records {
            let lapse = if record.alert.key.rule.starts_with(TEST_RULE) { LAPSE_OF_TEST } else { LAPSE };
            if record.alert.state == AlertState::Raised && record.heard + lapse <= now {
                record.alert.state = AlertState::Over;
                record.told_over = true;
                record.drop_reminders();
                self.changed.insert(id.clone());
            }
        }
        let keep = self.rules.keep;
        let old = |record: &Record| record.alert.state == AlertState::Over && record.heard + keep <= now;
        let gone: Vec<String> =
            self.records.iter().filter(|(_, record)| old(record)).map(|(id, _)| id.clone()).collect();
        gone.iter().for_each(|id| self.remove(id));
        let before = self.silences.len();
        self.silences.retain(|_, silence| silence.until.unwrap_or(silence.since + keep) > now);
        self.silences_changed |= self.silences.len() != before;
    }

    fn make_room(&mut self) {
        while self.records.len() > MOST_RECORDS {
            let rank = |record: &Record| {
                (record.alert.state == AlertState::Raised, record.alert.level, record.heard)
            };
            let least = self.records.iter().min_by_key(|(_, record)| rank(record)).map(|(id, _)| id.clone());
            let Some(id) = least else { return };
            self.remove(&id);
        }
    }

    fn remove(&mut self, id: &str) {
        let Some(record) = self.records.remove(id) else { return };
        for letter in &record.letters {
            for delivery in &letter.to {
                self.given_up.push(GivenUp {
                    output: delivery.output.clone(),
                    key: letter.key(),
                    why: Why::Overflow,
                });
            }
        }
        self.changed.remove(id);
        self.removed.insert(id.to_owned());
    }
}
