//! Alerts from one scan of a place to the next.
//!
//! The rules are `scans/white_line` and so on; each scan of a place has its own, and one episode of it.

use chrono::{DateTime, Utc};

use super::alert::{Alert, AlertKey, AlertState, Level, Verdict};
use super::cause::{Cause, Change, Circumstances, dose_and_time};
use super::contrast::Contrast;
use super::finding::Finding;
use super::history::{History, ScanRecord};
use super::sentinels::Signal;
use super::telling::{MonitorSettings, Told};
use super::template::Templates;
use crate::reference::ReferenceSet;
use crate::scan::ScanPlan;

/// Changes of optical density smaller than this are nobody's fault, OD.
const LEAST_SIGMA: f64 = 1e-4;

/// Phases whose shares an alert names, those that changed most.
const MOST_SHARES: usize = 3;

impl History {
    /// What the scan of `plan`, which was taken in, gives reason to tell. `contrast`: how places of it that had different doses before differ.
    #[must_use]
    pub fn alerts(
        &self,
        plan: &ScanPlan,
        references: &ReferenceSet,
        settings: &MonitorSettings,
        contrast: Option<&Contrast>,
        now: DateTime<Utc>,
    ) -> Vec<Alert> {
        let findings = self.findings((&plan.scan_id, plan.started), settings.false_alarms);
        let Some(record) = self.records.iter().find(|record| record.is(&plan.scan_id, plan.started)) else {
            return Vec::new();
        };
        let templates = Templates::new(references, settings.reduces_to.as_deref(), &record.window_ev);
        let mut circumstances = self.circumstances(record, &findings, &templates);
        circumstances.contrast = contrast.cloned();
        let mut alerts = Vec::new();
        for signal in [Signal::WhiteLine, Signal::Mass, Signal::State, Signal::Residual] {
            let own: Vec<&Finding> = findings.iter().filter(|finding| finding.signal == signal).collect();
            let real: Vec<&Finding> = own.iter().copied().filter(|finding| finding.is_real).collect();
            let Some(lead) = real.iter().copied().max_by(|a, b| a.sure().total_cmp(&b.sure())) else {
                continue;
            };
            let cause = match signal {
                Signal::WhiteLine | Signal::Mass | Signal::State => {
                    Cause::of(&changes(&own, references, &templates), &circumstances)
                }
                // A fit that becomes worse has many causes; what dose and time say counts.
                Signal::Reduction | Signal::Fraction | Signal::Residual => Cause::of(&[], &circumstances),
            };
            let verdict = cause.verdict;
            let level = match signal {
                Signal::Residual => Level::Notice,
                // A state has no percents; what it comes to is told, and the white line says how bad it is.
                Signal::State if verdict == Verdict::Beam => Level::Warning,
                Signal::State => Level::Notice,
                _ => settings.level(lead, verdict, circumstances.operando, 1.0),
            };
            let rule = format!("scans/{}", signal.name());
            let key = AlertKey { scan_id: plan.scan_id.clone(), rule, episode: 1 };
            let others = real.iter().map(|finding| finding.of.clone()).filter(|of| *of != lead.of).collect();
            let mut alert =
                Told { finding: lead, others, cause }.alert(key, (level, AlertState::Raised), plan, now);
            alert.text = format!("over {} scans of this place: {}", lead.series.len(), alert.text);
            if signal == Signal::State {
                name_shares(&mut alert, &findings, &lead.of);
            }
            alerts.push(alert);
        }
        alerts
    }

    fn circumstances(
        &self,
        record: &ScanRecord,
        findings: &[Finding],
        templates: &Templates<'_>,
    ) -> Circumstances {
        // The first that it is compared with.
        let first = self.records.iter().find(|other| other.is_comparable(record));
        let between = |of: &dyn Fn(&ScanRecord) -> Option<(f64, f64)>| {
            let (then, now) = (of(first?)?, of(record)?);
            Some((now.0 - then.0, then.1.hypot(now.1)))
        };
        let field =
            |signal| findings.iter().find(|finding| finding.of == "field" && finding.signal == signal);
        let field = field(Signal::WhiteLine).or(field(Signal::State));
        Circumstances {
            empty: between(&|record| record.empty.map(|empty| (empty.value, empty.sigma))),
            moved_ev: between(&|record| record.offset_ev),
            operando: record.operando,
            registered: true,
            apart: field.and_then(|finding| dose_and_time(&finding.series)),
            span: field.and_then(|finding| finding.series.span()),
            contrast: None,
            toward: templates.toward(),
        }
    }
}

/// Names the phases whose shares changed beyond chance: in the group itself, or for a phase, which has no shares, in the field.
fn name_shares(alert: &mut Alert, findings: &[Finding], of: &str) {
    let of = if of.starts_with("phase ") { "field" } else { of };
    let changed =
        |finding: &&Finding| finding.signal == Signal::Fraction && finding.of == of && finding.is_real;
    let mut changed: Vec<&Finding> = findings.iter().filter(changed).collect();
    let change = |finding: &Finding| finding.lost.middle.abs();
    changed.sort_by(|a, b| change(b).total_cmp(&change(a)));
    changed.truncate(MOST_SHARES);
    if changed.is_empty() {
        return;
    }
    let courses: Vec<String> = changed.iter().map(|finding| finding.course()).collect();
    let told = courses.join(", ");
    alert.text +=
        &format!("; {told}{}", if of == alert.of { String::new() } else { format!(" of the {of}") });
    alert.evidence_for.push(format!("the shares of the phases change with it: {told}"));
    for finding in changed {
        let (Some(phase), Some(first), Some(last)) =
            (&finding.phase, finding.series.first(), finding.series.readings.last())
        else {
            continue;
        };
        for (when, value) in [("first", first), ("now", last.value), ("now_error", last.sigma)] {
            let percent = serde_json::json!(100.0 * value);
            alert.numbers.insert(format!("share_{phase}_{when}_percent"), percent);
        }
    }
}

/// What each phase went through, and what causes would do to it.
fn changes(findings: &[&Finding], references: &ReferenceSet, templates: &Templates<'_>) -> Vec<Change> {
    let change = |finding: &&Finding| -> Option<Change> {
        let id = finding.of.strip_prefix("phase ")?;
        let phase = references.references.iter().position(|reference| reference.label.id == id)?;
        let (first, last) = (finding.series.readings.first()?, finding.series.readings.last()?);
        let template =
            if finding.signal == Signal::WhiteLine { templates.of_windows(phase, first.value) } else { None };
        Some(Change {
            change: last.value - first.value,
            sigma: first.sigma.hypot(last.sigma).max(LEAST_SIGMA),
            reduction: match finding.signal {
                Signal::State => templates.reduced_state().map(|state| state - first.value),
                _ => template.and_then(|template| template.reduction),
            },
            loss: if finding.signal == Signal::State { 0.0 } else { -first.value },
            per_ev: template.and_then(|template| template.per_ev),
            per_px: [0.0; 2],
        })
    };
    findings.iter().filter_map(change).collect()
}
