//! What operators do not want to be told.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::super::Alert;
use super::record::{micros, micros_or_null};

/// Which alerts: those that agree with everything that is named.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Matcher {
    /// One alert.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// Those of a scan.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scan_id: Option<String>,
    /// Those of a sample.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sample: Option<String>,
    /// Those of a region.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,
    /// Those of a rule.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rule: Option<String>,
    /// Those of a signal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signal: Option<String>,
}

impl Matcher {
    /// Whether it matches.
    #[must_use]
    pub fn matches(&self, alert: &Alert) -> bool {
        let agrees = |wanted: &Option<String>, is: Option<&str>| match wanted {
            Some(wanted) => is == Some(wanted.as_str()),
            None => true,
        };
        agrees(&self.id, Some(&alert.key.id()))
            && agrees(&self.scan_id, Some(&alert.key.scan_id))
            && agrees(&self.sample, alert.sample.as_deref())
            && agrees(&self.region, alert.region.as_deref())
            && agrees(&self.rule, Some(&alert.key.rule))
            && agrees(&self.signal, Some(&alert.signal))
    }
}

/// A silence.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Silence {
    /// Its number.
    pub number: u32,
    /// What is silenced.
    pub what: Matcher,
    /// Until when; `None`: as long as its scan is known.
    #[serde(serialize_with = "micros_or_null")]
    pub until: Option<DateTime<Utc>>,
    /// Who wants it.
    pub by: String,
    /// Why.
    pub note: Option<String>,
    /// Since when.
    #[serde(serialize_with = "micros")]
    pub since: DateTime<Utc>,
}

impl Silence {
    /// Whether it silences `alert` at `now`.
    #[must_use]
    pub fn holds(&self, alert: &Alert, now: DateTime<Utc>) -> bool {
        self.until.is_none_or(|until| now < until) && self.what.matches(alert)
    }
}
