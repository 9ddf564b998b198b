//! From findings to alerts: how high, and in which words.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::alert::{Alert, AlertKey, AlertState, Level, Verdict};
use super::cause::Cause;
use super::finding::Finding;
use crate::reference::ReferenceSet;
use crate::scan::ScanPlan;

/// What is watched, and what is worth which alert; the part of `[damage]` that is about alerts, under the same names, so that it can be read out
/// of the settings that a journal was begun with.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct MonitorSettings {
    /// Whether anything is watched.
    pub watch: bool,
    /// Probability of any alert in a scan in which nothing happens.
    pub false_alarms: f64,
    /// Share of a signal that is worth a warning, lost by the end of the scan.
    pub warn_loss: f64,
    /// Share of a signal whose loss is critical, lost by now.
    pub critical_loss: f64,
    /// What a reading is uncertain by that photons do not account for, OD.
    pub floor_od: f64,
    /// Pixels that a group must have.
    pub least_pixels: usize,
    /// The reference that damage leads to; the one with the largest state variable where nothing is said.
    pub reduces_to: Option<String>,
    /// Whether everything ends as that reference: then critical doses can be told early.
    pub plateau_known: bool,
}

impl Default for MonitorSettings {
    fn default() -> Self {
        Self {
            watch: true,
            false_alarms: 0.005,
            warn_loss: 0.1,
            critical_loss: 0.25,
            floor_od: 0.001,
            least_pixels: 40,
            reduces_to: None,
            plateau_known: false,
        }
    }
}

impl MonitorSettings {
    /// Whether the reference that stands for what is reduced is one of `references`.
    ///
    /// # Errors
    /// That it is none, and which there are.
    pub fn check(&self, references: &ReferenceSet) -> Result<(), String> {
        let Some(id) = &self.reduces_to else { return Ok(()) };
        let ids: Vec<&str> = references.references.iter().map(|own| own.label.id.as_str()).collect();
        if ids.contains(&id.as_str()) {
            return Ok(());
        }
        Err(format!("damage.reduces_to = {id:?} is no reference; there are {}", ids.join(", ")))
    }

    /// How high a finding stands; `ease` below 1 lowers the limits.
    pub(super) fn level(&self, finding: &Finding, verdict: Verdict, operando: bool, ease: f64) -> Level {
        let (now, end) = finding.shares();
        let height = if now >= ease * self.critical_loss {
            Level::Critical
        } else if end >= ease * self.warn_loss {
            Level::Warning
        } else {
            Level::Notice
        };
        match verdict {
            Verdict::Beam => height,
            Verdict::Undecided if !operando => height,
            Verdict::Undecided | Verdict::Chemistry | Verdict::Instrument => Level::Notice,
        }
    }
}

impl Alert {
    /// The same, once its scan has ended: what was lost stays lost, and the text keeps saying so.
    #[must_use]
    pub fn after_the_scan(self, now: DateTime<Utc>) -> Self {
        Self {
            state: AlertState::Over,
            time: now,
            text: format!("the scan has ended: {}", self.text),
            ..self
        }
    }
}

impl Finding {
    /// What is lost for sure, as a share, whatever the direction: 0 where it may be nothing.
    pub(super) fn sure(&self) -> f64 {
        let least = self.lost.low.abs().min(self.lost.high.abs());
        if self.lost.low * self.lost.high > 0.0 { least } else { 0.0 }
    }
}

/// What an alert tells.
pub(super) struct Told<'a> {
    /// The finding that leads.
    pub(super) finding: &'a Finding,
    /// Other groups in which the same was found.
    pub(super) others: Vec<String>,
    /// What lies behind it.
    pub(super) cause: Cause,
}

impl Told<'_> {
    /// The alert.
    pub(super) fn alert(
        self,
        key: AlertKey,
        (level, state): (Level, AlertState),
        plan: &ScanPlan,
        now: DateTime<Utc>,
    ) -> Alert {
        let Self { finding, others, cause } = self;
        let mut numbers = finding.numbers();
        if !others.is_empty() {
            numbers.insert("also_in".to_owned(), serde_json::json!(others));
        }
        Alert {
            key,
            level,
            state,
            time: now,
            sample: plan.sample.clone(),
            region: plan.region.clone(),
            signal: finding.signal.name().to_owned(),
            of: finding.of.clone(),
            text: finding.text(),
            verdict: cause.verdict,
            advice: advice(cause.verdict, level).to_owned(),
            evidence_for: cause.evidence_for,
            evidence_against: cause.evidence_against,
            numbers,
            simulated: plan.simulated,
        }
    }
}

fn advice(verdict: Verdict, level: Level) -> &'static str {
    match (verdict, level) {
        (Verdict::Beam, Level::Critical) => {
            "stop, and go on at a fresh region with less dose: fewer energies, shorter dwell, larger pixels (`phasewatch dose` says what that costs)"
        }
        (Verdict::Beam, _) => {
            "leave out energies that decide little, shorten the dwell, or go on at a fresh region; `phasewatch dose` says what that costs"
        }
        (Verdict::Chemistry, _) => "none for the beam: the sample changes by itself",
        (Verdict::Instrument, _) => {
            "look at the energy calibration, I0 and the stage before blaming the sample"
        }
        (Verdict::Undecided, _) => {
            "blank the beam for some minutes and look again: damage rests with the beam, chemistry goes on; or compare with a place that was not exposed"
        }
    }
}
