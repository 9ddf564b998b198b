//! What is said of the damage of a scan: `damage.json` in its archive, and the same live over HTTP.

use serde::Serialize;

use super::finding::{DoseUnit, Finding};
use super::history::ScanRecord;
use super::sentinels::Sentinels;

/// Name and version of the format.
pub const REPORT_FORMAT: &str = "phasewatch-damage/1";

/// What is said of the damage of a scan.
#[derive(Clone, Debug, Serialize)]
pub struct DamageReport {
    /// [`REPORT_FORMAT`].
    pub format: &'static str,
    /// The scan.
    pub scan_id: String,
    /// Whether it was simulated.
    pub simulated: bool,
    /// What doses are counted in.
    pub unit: DoseUnit,
    /// The unit in words.
    pub unit_text: &'static str,
    /// Energies that are measured more than once, eV, and how often.
    pub sentinels: Vec<(f64, usize)>,
    /// What cannot be said, and why.
    pub remarks: Vec<String>,
    /// What the sentinels say, signal by signal and group by group.
    pub findings: Vec<Finding>,
    /// What the whole scan says of each group; in an archive.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub record: Option<ScanRecord>,
}

impl DamageReport {
    /// Of findings.
    #[must_use]
    pub fn new(
        scan_id: &str,
        simulated: bool,
        unit: DoseUnit,
        sentinels: &Sentinels,
        findings: Vec<Finding>,
    ) -> Self {
        let mut remarks = Vec::new();
        if sentinels.is_empty() {
            remarks.push(
                "no energy is measured more than once: damage within the scan cannot be seen; two sentinels, one before the edge and one on the white line, would show it"
                    .to_owned(),
            );
        }
        match unit {
            DoseUnit::Mgy => {}
            DoseUnit::Relative => {
                remarks.push("the flux or the composition is not known: doses are relative".to_owned())
            }
            DoseUnit::Seconds => {
                remarks.push("the dose is not known: seconds of exposure stand for it".to_owned())
            }
        }
        let sentinels =
            sentinels.signals.iter().map(|(_, energy_ev, visits)| (*energy_ev, visits.len())).collect();
        Self {
            format: REPORT_FORMAT,
            scan_id: scan_id.to_owned(),
            simulated,
            unit,
            unit_text: unit.name(),
            sentinels,
            remarks,
            findings,
            record: None,
        }
    }
}
