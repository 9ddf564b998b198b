//! What is said of the damage of a scan: `damage.json` in its archive, and the same live over HTTP.

use serde::Serialize;

use super::contrast::Contrast;
use super::finding::{DoseUnit, Finding};
use super::history::ScanRecord;
use super::sentinels::Sentinels;
use crate::scan::ScanPlan;

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
    /// How places of the field that had different doses before differ, where there are such.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub contrast: Option<Contrast>,
    /// What this scan and the earlier ones of its place say together, signal by signal and group by group; in an archive.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub over_scans: Vec<Finding>,
    /// What the whole scan says of each group; in an archive.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub record: Option<ScanRecord>,
}

impl DamageReport {
    /// Of findings. `knows_reduced`: whether it is known what is most reduced.
    pub(super) fn new(
        plan: &ScanPlan,
        unit: DoseUnit,
        sentinels: &Sentinels,
        findings: Vec<Finding>,
        knows_reduced: bool,
    ) -> Self {
        let mut remarks = Vec::new();
        if !knows_reduced {
            remarks.push(
                "it is not known which reference is the most reduced (damage.reduces_to, or a state variable in references.toml): damage is not told from other changes"
                    .to_owned(),
            );
        }
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
            scan_id: plan.scan_id.clone(),
            simulated: plan.simulated,
            unit,
            unit_text: unit.name(),
            sentinels,
            remarks,
            findings,
            contrast: None,
            over_scans: Vec::new(),
            record: None,
        }
    }
}
