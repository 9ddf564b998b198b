//! An alert as it is shown and sent: one shape for the API, the ZeroMQ topic, webhooks and commands.

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::{Map, Value};

use super::record::{self, Letter, Occasion, Record};
use super::silence::Silence;
use super::{Acknowledgement, TEST_RULE};
use crate::damage::{Alert, AlertState, Level, Verdict};

/// An alert, and what is known of it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct AlertView {
    /// `scan_id:rule:episode`.
    pub id: String,
    /// How urgent.
    pub level: Level,
    /// Whether it still holds.
    pub state: AlertState,
    /// When it came to this level or state.
    #[serde(serialize_with = "record::micros")]
    pub time: DateTime<Utc>,
    /// The scan.
    pub scan_id: String,
    /// The rule that speaks.
    pub rule: String,
    /// Counts from 1 within scan and rule.
    pub episode: u32,
    /// The sample.
    pub sample: Option<String>,
    /// The region.
    pub region: Option<String>,
    /// What was seen to change.
    pub signal: String,
    /// Of what.
    pub of: String,
    /// One line for a person.
    pub text: String,
    /// What most likely lies behind it.
    pub verdict: Verdict,
    /// What speaks for that.
    pub evidence_for: Vec<String>,
    /// What speaks against it.
    pub evidence_against: Vec<String>,
    /// What could be done.
    pub advice: String,
    /// The numbers behind the text.
    pub numbers: Map<String, Value>,
    /// Where the picture of its map is; `null` where that is not known.
    pub picture: Option<String>,
    /// Whether the scan was simulated.
    pub simulated: bool,
    /// Whether it is a test of the outputs.
    pub test: bool,
    /// Whether somebody has seen it at this level.
    pub acknowledged: bool,
    /// Who.
    pub acknowledgement: Option<Acknowledgement>,
    /// Whether it is silenced now.
    pub silenced: bool,
    /// The silence that holds.
    pub silence: Option<Silence>,
    /// When it was heard first.
    #[serde(serialize_with = "record::micros")]
    pub raised: DateTime<Utc>,
    /// When it was heard last.
    #[serde(serialize_with = "record::micros")]
    pub heard: DateTime<Utc>,
}

impl AlertView {
    pub(super) fn of(record: &Record, silence: Option<&Silence>) -> Self {
        let alert = &record.alert;
        Self {
            id: record.id(),
            level: alert.level,
            state: alert.state,
            time: alert.time,
            scan_id: alert.key.scan_id.clone(),
            rule: alert.key.rule.clone(),
            episode: alert.key.episode,
            sample: alert.sample.clone(),
            region: alert.region.clone(),
            signal: alert.signal.clone(),
            of: alert.of.clone(),
            text: alert.text.clone(),
            verdict: alert.verdict,
            evidence_for: alert.evidence_for.clone(),
            evidence_against: alert.evidence_against.clone(),
            advice: alert.advice.clone(),
            numbers: alert.numbers.clone(),
            picture: None,
            simulated: alert.simulated,
            test: alert.key.rule.starts_with(TEST_RULE),
            acknowledged: record.is_acknowledged(),
            acknowledgement: record.acknowledged.clone(),
            silenced: silence.is_some(),
            silence: silence.cloned(),
            raised: record.raised,
            heard: record.heard,
        }
    }

    /// The view of a letter: the alert as it was when it was told, with what is known now.
    pub(super) fn of_letter(record: &Record, letter: &Letter) -> Self {
        let mut view = Self::of(record, None);
        view.retell(&letter.alert);
        view
    }

    /// Shows `alert`, which may be older than what was heard last.
    pub(super) fn retell(&mut self, alert: &Alert) {
        (self.level, self.state, self.time) = (alert.level, alert.state, alert.time);
        (self.text, self.advice) = (alert.text.clone(), alert.advice.clone());
        (self.verdict, self.numbers) = (alert.verdict, alert.numbers.clone());
        self.evidence_for.clone_from(&alert.evidence_for);
        self.evidence_against.clone_from(&alert.evidence_against);
        self.acknowledged = self.acknowledgement.as_ref().is_some_and(|seen| seen.level >= alert.level);
    }

    /// Whether it holds still.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.state == AlertState::Raised
    }

    /// With the address of its picture below `public_url`, as the HTTP side serves it. A test has none.
    #[must_use]
    pub fn with_picture(mut self, public_url: &str) -> Self {
        let scan_id = &self.scan_id;
        self.picture = (!self.test).then(|| format!("{public_url}/api/v1/scans/{scan_id}/phase_map.png"));
        self
    }

    /// The header of a message, with why it is told and what tells it from others.
    #[must_use]
    pub fn header(&self, occasion: Occasion, idempotency_key: &str) -> Value {
        let mut header = serde_json::to_value(self).unwrap_or_default();
        if let Some(fields) = header.as_object_mut() {
            fields.insert("occasion".into(), occasion.name().into());
            fields.insert("idempotency_key".into(), idempotency_key.into());
            if let Occasion::Reminder { number } = occasion {
                fields.insert("reminder".into(), number.into());
            }
        }
        header
    }

    /// What tells a message of it from others.
    #[must_use]
    pub fn key(&self, occasion: Occasion) -> String {
        record::key_of(&self.id, self.level, occasion)
    }
}
