//! Deliveries: what goes to which output when, and what becomes of what fails.

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::Value;

use super::record::Letter;
use super::view::AlertView;
use super::{Desk, MOST_WAITING};

/// The first pause after a failure, and the longest.
const SHORTEST: TimeDelta = TimeDelta::seconds(1);
const LONGEST: TimeDelta = TimeDelta::minutes(10);
/// The longest pause that an output may ask for.
const LONGEST_ASKED: TimeDelta = TimeDelta::hours(1);
/// What could not be delivered for so long is given up.
const GIVE_UP_AFTER: TimeDelta = TimeDelta::hours(24);

/// Something to be delivered.
#[derive(Clone, Debug, PartialEq)]
pub struct Parcel {
    /// Of which alert.
    pub id: String,
    /// What a receiver tells it from others by.
    pub key: String,
    /// The alert as it was told.
    pub view: AlertView,
    /// Why it was told.
    pub occasion: super::Occasion,
}

impl Parcel {
    /// The alert as JSON, as it is sent.
    #[must_use]
    pub fn header(&self) -> Value {
        self.view.header(self.occasion, &self.key)
    }
}

/// How a delivery went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The output has it.
    Delivered,
    /// The output does not take anything now.
    Failed {
        /// What it wants to be left alone for.
        retry_after: Option<TimeDelta>,
        /// What went wrong, without secrets.
        error: String,
    },
    /// The output does not want this one.
    Refused {
        /// What it said, without secrets.
        error: String,
    },
}

/// Why something is not delivered any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// It was tried for a day.
    Age,
    /// The output refused it for its content.
    Refused,
    /// It failed, and this output is not tried again.
    Failed,
    /// Too much was waiting.
    Overflow,
}

impl Why {
    /// Every one.
    pub const ALL: [Self; 4] = [Self::Age, Self::Refused, Self::Failed, Self::Overflow];

    /// The word in metrics.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Age => "age",
            Self::Refused => "refused",
            Self::Failed => "failed",
            Self::Overflow => "overflow",
        }
    }
}

/// Something that is not delivered any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GivenUp {
    /// To whom.
    pub output: String,
    /// What.
    pub key: String,
    /// Why.
    pub why: Why,
}

/// How an output does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Depth {
    /// Its name.
    pub output: String,
    /// Letters that wait, the one under way among them.
    pub waiting: usize,
    /// Failures in a row.
    pub failures: u32,
    /// Given up since something was delivered.
    pub given_up: u32,
    /// What went wrong last, as long as nothing was delivered since.
    pub last_error: Option<String>,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Schedule {
    under_way: Option<String>,
    failures: u32,
    given_up: u32,
    resume: Option<DateTime<Utc>>,
    last_error: Option<String>,
}

impl Desk {
    /// The next thing that `output` shall get, if it may get one now; it is under way until [`Desk::settle`] says how it went.
    pub fn take_parcel(&mut self, output: &str, now: DateTime<Utc>) -> Option<Parcel> {
        let schedule = self.schedules.get(output)?;
        if schedule.under_way.is_some() || schedule.resume.is_some_and(|resume| now < resume) {
            return None;
        }
        let (id, letter) = self.letters_of(output).min_by_key(|(_, letter)| letter.time)?;
        let view = AlertView::of_letter(self.records.get(id)?, letter);
        let parcel = Parcel { id: id.clone(), key: letter.key(), view, occasion: letter.occasion };
        if let Some(schedule) = self.schedules.get_mut(output) {
            schedule.under_way = Some(parcel.key.clone());
        }
        Some(parcel)
    }

    /// Notes how the delivery under way to `output` went. `random`, from 0 to 1, spreads the next try, so that several
    /// daemons do not come back together.
    pub fn settle(&mut self, output: &str, outcome: &Outcome, now: DateTime<Utc>, random: f64) {
        let retries = self.rules.outputs.iter().any(|rule| rule.name == output && rule.retries);
        let Some(schedule) = self.schedules.get_mut(output) else { return };
        let Some(key) = schedule.under_way.take() else { return };
        match outcome {
            Outcome::Delivered => {
                *schedule = Schedule::default();
                self.strike(output, |letter| letter.key() == key);
            }
            Outcome::Refused { error } => {
                // It answers: the others go on.
                (schedule.failures, schedule.resume) = (0, None);
                schedule.last_error = Some(error.clone());
                self.give_up(output, Why::Refused, |letter| letter.key() == key);
            }
            Outcome::Failed { error, .. } if !retries => {
                schedule.failures += 1;
                schedule.last_error = Some(error.clone());
                self.give_up(output, Why::Failed, |letter| letter.key() == key);
            }
            Outcome::Failed { retry_after, error } => {
                let pause = SHORTEST * 2_i32.pow(schedule.failures.min(10));
                let pause = pause.min(LONGEST).as_seconds_f64() * (0.5 + random.clamp(0.0, 1.0));
                let pause = TimeDelta::milliseconds((1000.0 * pause) as i64);
                let asked = retry_after.map_or(pause, |asked| asked.min(LONGEST_ASKED));
                schedule.failures = schedule.failures.saturating_add(1);
                schedule.resume = Some(now + pause.max(asked));
                schedule.last_error = Some(error.clone());
                let old = |letter: &Letter| letter.time + GIVE_UP_AFTER <= now;
                self.note_attempt(output, &key);
                self.give_up(output, Why::Age, old);
            }
        }
    }

    /// When the next delivery may be tried, of those that wait for a time.
    #[must_use]
    pub fn next_delivery(&self) -> Option<DateTime<Utc>> {
        let waits = |(output, schedule): (&String, &Schedule)| {
            let idle = schedule.under_way.is_none() && self.letters_of(output).next().is_some();
            schedule.resume.filter(|_| idle)
        };
        self.schedules.iter().filter_map(waits).min()
    }

    /// Whether anything waits that may go at once, or is under way.
    #[must_use]
    pub fn is_busy(&self) -> bool {
        self.schedules.iter().any(|(output, schedule)| {
            schedule.under_way.is_some()
                || schedule.resume.is_none() && self.letters_of(output).next().is_some()
        })
    }

    /// How the outputs do.
    #[must_use]
    pub fn depths(&self) -> Vec<Depth> {
        let depth = |(output, schedule): (&String, &Schedule)| Depth {
            output: output.clone(),
            waiting: self.letters_of(output).count(),
            failures: schedule.failures,
            given_up: schedule.given_up,
            last_error: schedule.last_error.clone(),
        };
        self.schedules.iter().map(depth).collect()
    }

    /// What is not delivered any more; once.
    pub fn take_given_up(&mut self) -> Vec<GivenUp> {
        std::mem::take(&mut self.given_up)
    }

    fn letters_of<'a>(&'a self, output: &'a str) -> impl Iterator<Item = (&'a String, &'a Letter)> {
        let is_to = move |letter: &&Letter| letter.to.iter().any(|delivery| delivery.output == output);
        self.records
            .iter()
            .flat_map(move |(id, record)| record.letters.iter().filter(is_to).map(move |letter| (id, letter)))
    }

    /// Takes `output` off the letters that are meant; returns their keys.
    fn strike(&mut self, output: &str, meant: impl Fn(&Letter) -> bool) -> Vec<String> {
        let mut struck = Vec::new();
        for (id, record) in &mut self.records {
            let before = struck.len();
            for letter in record.letters.iter_mut().filter(|letter| meant(letter)) {
                let addresses = letter.to.len();
                letter.to.retain(|delivery| delivery.output != output);
                if letter.to.len() < addresses {
                    struck.push(letter.key());
                }
            }
            if struck.len() > before {
                record.letters.retain(|letter| !letter.to.is_empty());
                self.changed.insert(id.clone());
            }
        }
        struck
    }

    fn give_up(&mut self, output: &str, why: Why, meant: impl Fn(&Letter) -> bool) {
        let struck = self.strike(output, meant);
        if let Some(schedule) = self.schedules.get_mut(output) {
            schedule.given_up = schedule.given_up.saturating_add(struck.len() as u32);
        }
        let gone = struck.into_iter().map(|key| GivenUp { output: output.to_owned(), key, why });
        self.given_up.extend(gone);
    }

    fn note_attempt(&mut self, output: &str, key: &str) {
        for letter in self.records.values_mut().flat_map(|record| &mut record.letters) {
            if letter.key() == key {
                letter.to.iter_mut().filter(|to| to.output == output).for_each(|to| to.attempts += 1);
            }
        }
    }

    /// Gives up the oldest of the least urgent letters to `output` while there are too many.
    pub(super) fn bound_letters(&mut self, output: &str) {
        while self.letters_of(output).count() > MOST_WAITING {
            let least = self.letters_of(output).min_by_key(|(_, letter)| (letter.alert.level, letter.time));
            let Some(key) = least.map(|(_, letter)| letter.key()) else { return };
            self.give_up(output, Why::Overflow, |letter| letter.key() == key);
        }
    }
}
