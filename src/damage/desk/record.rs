//! What is known of an alert, as it is kept on disk.

use std::collections::BTreeSet;

use chrono::{DateTime, SecondsFormat, Utc};
use serde::{Deserialize, Serialize, Serializer};

use super::super::{Alert, AlertState, Level};

/// Most characters of a text, and of a name.
const MOST_TEXT: usize = 1000;
const MOST_NAME: usize = 200;
/// Most items of a list, and most numbers.
const MOST_ITEMS: usize = 32;
const MOST_NUMBERS: usize = 64;

/// Why something is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Occasion {
    /// It came to its level.
    Raised,
    /// Nobody has acknowledged it.
    Reminder {
        /// Counts from 1.
        number: u32,
    },
    /// It is over.
    Over,
    /// Somebody has acknowledged it.
    Acknowledged,
}

impl Occasion {
    /// The word in messages.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Raised => "raised",
            Self::Reminder { .. } => "reminder",
            Self::Over => "over",
            Self::Acknowledged => "acknowledged",
        }
    }
}

/// Who has seen an alert.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Acknowledgement {
    /// Who.
    pub by: String,
    /// What they said.
    pub note: Option<String>,
    /// When.
    #[serde(serialize_with = "micros")]
    pub time: DateTime<Utc>,
    /// The level they have seen.
    pub level: Level,
}

/// An output that has to get a letter.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delivery {
    /// Its name.
    pub output: String,
    /// How often that was tried.
    pub attempts: u32,
}

/// Something that was told and is to be delivered, as it was then.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Letter {
    /// Why it was told.
    pub occasion: Occasion,
    /// What.
    pub alert: Alert,
    /// When.
    pub time: DateTime<Utc>,
    /// Who has to get it still.
    pub to: Vec<Delivery>,
}

impl Letter {
    /// What a receiver tells it from others by: the same however often it is sent, also by another run of the program.
    #[must_use]
    pub fn key(&self) -> String {
        key_of(&self.alert.key.id(), self.alert.level, self.occasion)
    }
}

/// `<id>:<level>`, `<id>:over`, or `<id>:reminder:<number>`.
pub(super) fn key_of(id: &str, level: Level, occasion: Occasion) -> String {
    match occasion {
        Occasion::Raised => format!("{id}:{}", level.name()),
        Occasion::Reminder { number } => format!("{id}:reminder:{number}"),
        Occasion::Over | Occasion::Acknowledged => format!("{id}:{}", occasion.name()),
    }
}

/// What is known of an alert.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// As it was heard last.
    pub alert: Alert,
    /// When it was heard first.
    pub raised: DateTime<Utc>,
    /// When it was heard last.
    pub heard: DateTime<Utc>,
    /// The levels that were told.
    pub told: BTreeSet<Level>,
    /// Whether its end was told.
    pub told_over: bool,
    /// When anything was told of it.
    pub last_told: Option<DateTime<Utc>>,
    /// How often people were reminded of it.
    pub reminders: u32,
    /// Who has seen it.
    pub acknowledged: Option<Acknowledgement>,
    /// What is to be delivered of it.
    pub letters: Vec<Letter>,
}

impl Record {
    pub(super) fn new(alert: Alert, now: DateTime<Utc>) -> Self {
        Self {
            alert,
            raised: now,
            heard: now,
            told: BTreeSet::new(),
            told_over: false,
            last_told: None,
            reminders: 0,
            acknowledged: None,
            letters: Vec::new(),
        }
    }

    /// The identifier of its alert.
    #[must_use]
    pub fn id(&self) -> String {
        self.alert.key.id()
    }

    /// Whether nobody was told yet what `alert`, a state of this one, says.
    pub(super) fn has_news(&self, alert: &Alert) -> bool {
        match alert.state {
            AlertState::Raised => !self.told.contains(&alert.level),
            AlertState::Over => !self.told.is_empty() && !self.told_over,
        }
    }

    /// Whether somebody has seen it at its level.
    #[must_use]
    pub fn is_acknowledged(&self) -> bool {
        self.acknowledged.as_ref().is_some_and(|seen| seen.level >= self.alert.level)
    }

    /// A reminder that did not leave yet is of no use once there is another, or the alert is acknowledged or over.
    pub(super) fn drop_reminders(&mut self) {
        self.letters.retain(|letter| !matches!(letter.occasion, Occasion::Reminder { .. }));
    }

    /// Forgets deliveries to outputs that are not there; returns whether there were any.
    pub(super) fn forget_outputs(&mut self, is_there: impl Fn(&str) -> bool) -> bool {
        let count = |letters: &[Letter]| letters.iter().map(|letter| letter.to.len()).sum::<usize>();
        let before = count(&self.letters);
        for letter in &mut self.letters {
            letter.to.retain(|delivery| is_there(&delivery.output));
        }
        self.letters.retain(|letter| !letter.to.is_empty());
        count(&self.letters) != before
    }
}

/// RFC 3339 in UTC with microseconds, as all times of ours are written.
pub(super) fn micros<S: Serializer>(time: &DateTime<Utc>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&time.to_rfc3339_opts(SecondsFormat::Micros, true))
}

/// The same for a time that may be missing.
pub(super) fn micros_or_null<S: Serializer>(
    time: &Option<DateTime<Utc>>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match time {
        Some(time) => micros(time, serializer),
        None => serializer.serialize_none(),
    }
}

/// The alert within bounds: one line each, nothing longer than people read. Samples and regions are texts of the stream.
pub(super) fn bounded(mut alert: Alert) -> Alert {
    let line = |text: &mut String, most: usize| *text = one_line(text, most);
    line(&mut alert.text, MOST_TEXT);
    line(&mut alert.advice, MOST_TEXT);
    for name in [&mut alert.signal, &mut alert.of, &mut alert.key.rule, &mut alert.key.scan_id] {
        line(name, MOST_NAME);
    }
    for name in [&mut alert.sample, &mut alert.region].into_iter().flatten() {
        line(name, MOST_NAME);
    }
    for list in [&mut alert.evidence_for, &mut alert.evidence_against] {
        list.truncate(MOST_ITEMS);
        list.iter_mut().for_each(|item| line(item, MOST_TEXT));
    }
    if alert.numbers.len() > MOST_NUMBERS {
        alert.numbers = std::mem::take(&mut alert.numbers).into_iter().take(MOST_NUMBERS).collect();
    }
    alert
}

/// The text in one line of at most `most` characters.
pub(super) fn one_line(text: &str, most: usize) -> String {
    let plain = |c: char| if c.is_control() { ' ' } else { c };
    if text.chars().count() <= most {
        return text.chars().map(plain).collect();
    }
    text.chars().take(most - 1).map(plain).chain(['…']).collect()
}
