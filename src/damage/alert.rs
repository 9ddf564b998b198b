//! What an operator is told: one alert per scan, rule and episode.
//!
//! An episode begins when a rule first speaks and is over when it has nothing to say any more; what changes within an
//! episode (a higher level, newer numbers) is the same alert again, with the same identifier.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

/// How urgent an alert is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// Something is measurably changing; nothing has to be done at once.
    Notice,
    /// It will matter before the scan is over, or does already.
    Warning,
    /// The sample is being lost.
    Critical,
}

impl Level {
    /// Every level, the least urgent first.
    pub const ALL: [Self; 3] = [Self::Notice, Self::Warning, Self::Critical];

    /// The word in messages.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Notice => "notice",
            Self::Warning => "warning",
            Self::Critical => "critical",
        }
    }
}

/// Whether an alert still holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AlertState {
    /// It does.
    Raised,
    /// Its cause is gone, or its scan is over.
    Over,
}

/// What most likely lies behind a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// The beam damages the sample.
    Beam,
    /// The sample changes by itself, as an operando experiment makes it.
    Chemistry,
    /// The instrument: drift, I0 or energies.
    Instrument,
    /// What there is does not tell.
    Undecided,
}

/// Which alert it is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct AlertKey {
    /// The scan.
    pub scan_id: String,
    /// The rule that speaks, with what it speaks of, e.g. `white_line`, `scans/state`.
    pub rule: String,
    /// Counts from 1 within scan and rule.
    pub episode: u32,
}

impl AlertKey {
    /// The identifier in messages: `scan_id:rule:episode`.
    #[must_use]
    pub fn id(&self) -> String {
        format!("{}:{}:{}", self.scan_id, self.rule, self.episode)
    }
}

/// What an operator is told.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Alert {
    /// Which alert it is.
    pub key: AlertKey,
    /// How urgent.
    pub level: Level,
    /// Whether it still holds.
    pub state: AlertState,
    /// When it came to this level or state.
    pub time: DateTime<Utc>,
    /// The sample, where the scan names one.
    pub sample: Option<String>,
    /// The region, where the scan names one.
    pub region: Option<String>,
    /// What was seen to change, e.g. `white_line`.
    pub signal: String,
    /// Of what: `field`, `phase na2.0`, `particle 3`.
    pub of: String,
    /// One line for a person: what happens, how fast, and what will be lost when.
    pub text: String,
    /// What most likely lies behind it.
    pub verdict: Verdict,
    /// What speaks for that.
    pub evidence_for: Vec<String>,
    /// What speaks against it.
    pub evidence_against: Vec<String>,
    /// What could be done.
    pub advice: String,
    /// The numbers behind the text, by name, names with units; NaN never: a number that is not known is left out.
    pub numbers: serde_json::Map<String, serde_json::Value>,
    /// Whether the scan was simulated.
    pub simulated: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_are_ordered_and_named_as_they_are_written() {
        assert!(Level::Notice < Level::Warning && Level::Warning < Level::Critical);
        for level in Level::ALL {
            assert_eq!(serde_json::to_value(level).unwrap(), level.name());
        }
    }

    #[test]
    fn an_identifier_names_scan_rule_and_episode() {
        let key = AlertKey { scan_id: "s1".into(), rule: "white_line/field".into(), episode: 2 };
        assert_eq!(key.id(), "s1:white_line/field:2");
    }
}
