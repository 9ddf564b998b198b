//! An alert that says that it is none: to see whether the outputs work.

use chrono::{DateTime, Utc};

use crate::damage::desk::{Desk, Occasion, Parcel, Rules, TEST_RULE};
use crate::damage::{Alert, AlertKey, AlertState, Level, Verdict};

/// The scan that tests are of.
const SCAN: &str = "alert-test";

/// A test alert. The same `name` is the same alert.
#[must_use]
pub fn test_alert(level: Level, name: &str, now: DateTime<Utc>) -> Alert {
    let mut numbers = serde_json::Map::new();
    numbers.insert("dose_mgy".into(), 12.5.into());
    numbers.insert("white_line_loss".into(), 0.1.into());
    Alert {
        key: AlertKey { scan_id: SCAN.into(), rule: format!("{TEST_RULE}/{name}"), episode: 1 },
        level,
        state: AlertState::Raised,
        time: now,
        sample: None,
        region: None,
        signal: TEST_RULE.into(),
        of: "nothing".into(),
        text: format!("this is a test of phasewatch's alerts ({}): no sample is in danger", level.name()),
        verdict: Verdict::Undecided,
        evidence_for: vec!["somebody asked for a test".into()],
        evidence_against: vec!["there is no scan".into()],
        advice: "nothing has to be done".into(),
        numbers,
        simulated: true,
    }
}

/// A test alert as an output gets it, past every desk that keeps anything.
#[must_use]
pub fn test_parcel(level: Level, name: &str, now: DateTime<Utc>) -> Option<Parcel> {
    let rules = Rules { remind_after: None, keep: chrono::TimeDelta::days(1), outputs: Vec::new() };
    let mut desk = Desk::new(rules, Vec::new(), Vec::new());
    desk.hear(test_alert(level, name, now), now);
    let view = desk.take_tellings().into_iter().next()?.view;
    let key = view.key(Occasion::Raised);
    Some(Parcel { id: view.id.clone(), key, view, occasion: Occasion::Raised })
}
