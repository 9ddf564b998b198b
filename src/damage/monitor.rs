//! The monitor of one scan: looks whenever another visit of a sentinel is complete, and says what has to be said.
//!
//! It keeps nothing but its episodes: every look reads all visits anew from the stack, under the estimates and with the groups of that
//! moment. So a look at the same stack and map says the same, whatever was looked at before.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::alert::{Alert, AlertKey, AlertState, Level, Verdict};
use super::cause::{Cause, Change, Circumstances, dose_and_time, is_operando};
use super::episodes::{Episodes, Heights, Step};
use super::finding::{DoseUnit, Finding, Forecast};
use super::groups::{Groups, Of};
use super::kinetics::Kinetics;
use super::sentinels::{Images, Mean, Sentinels, Signal, Visit, series};
use super::series::Plateau;
use super::template::Templates;
use super::trend::{Trend, Vigilance};
use crate::classify::{DensityView, PhaseMap};
use crate::reference::ReferenceSet;
use crate::scan::ScanPlan;

/// What keeps a level, as a share of what reaches it.
const KEPT: f64 = 0.7;
/// A signal smaller than this has no percents, OD.
const LEAST_SCALE: f64 = 0.05;
/// How far a registered sample may lie from where it is taken to lie, and one that was not registered, pixels.
const UNMOVED_PX: (f64, f64) = (0.1, 0.15);

/// What the monitor is told.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MonitorSettings {
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
    /// Whether all of a phase ends as that reference: then critical doses can be told early.
    pub plateau_known: bool,
}

impl Default for MonitorSettings {
    fn default() -> Self {
        Self {
            false_alarms: 0.005,
            warn_loss: 0.1,
            critical_loss: 0.25,
            floor_od: 0.003,
            least_pixels: 40,
            reduces_to: None,
            plateau_known: false,
        }
    }
}

/// What is looked at.
#[derive(Clone, Copy)]
pub struct Look<'a> {
    /// The stack as optical densities.
    pub view: &'a DensityView<'a>,
    /// The map that goes with it.
    pub map: &'a PhaseMap,
    /// Mean dose of pixels when an energy of the plan was, or will be, half measured, in `unit`.
    pub dose: &'a dyn Fn(&[usize], usize) -> f64,
    /// What doses are counted in.
    pub unit: DoseUnit,
    /// When an energy of the plan was measured, s after the start of the scan, where it was.
    pub elapsed_s: &'a dyn Fn(usize) -> Option<f64>,
}

/// The monitor of one scan.
#[derive(Clone, Debug)]
pub struct Monitor {
    settings: MonitorSettings,
    references: std::sync::Arc<ReferenceSet>,
    episodes: Episodes,
    visits: usize,
    findings: Vec<Finding>,
    last: Vec<Alert>,
}

impl Monitor {
    /// A monitor that has not looked yet.
    #[must_use]
    pub fn new(settings: MonitorSettings, references: std::sync::Arc<ReferenceSet>) -> Self {
        Self {
            settings,
            references,
            episodes: Episodes::default(),
            visits: 0,
            findings: Vec::new(),
            last: Vec::new(),
        }
    }

    /// What was found at the last look, signal by signal and group by group.
    #[must_use]
    pub fn findings(&self) -> &[Finding] {
        &self.findings
    }

    /// Whether another visit of a sentinel is complete since the last look; `done` says it of an energy of the plan.
    #[must_use]
    pub fn is_due(&self, plan: &ScanPlan, first_entries: &[usize], done: impl Fn(usize) -> bool) -> bool {
        let sentinels = Sentinels::of(&plan.energies_ev, first_entries, &self.references);
        let visits = sentinels.visits_done(done);
        visits > self.visits && visits >= 2
    }

    /// Looks. Every open alert comes with its newest numbers; what is over comes once more, and says so.
    pub fn look(&mut self, look: &Look<'_>, now: DateTime<Utc>) -> Vec<Alert> {
        let plan = &look.map.plan;
        let sentinels = Sentinels::of(&plan.energies_ev, &look.view.first_entries(), &self.references);
        let groups = Groups::of(look.map, self.settings.least_pixels);
        let mut alerts = Vec::new();
        (self.visits, self.findings) = (0, Vec::new());
        let series = groups.groups.len() * sentinels.signals.len();
        for (signal, energy_ev, visits) in &sentinels.signals {
            let images = Images::of(look.view, visits, plan.grid.nx());
            self.visits += images.visits().len();
            let vigilance =
                Vigilance { false_alarms: self.settings.false_alarms, series, readings: visits.len() };
            let rule = if sentinels.is_alone(*signal) {
                signal.name().to_owned()
            } else {
                format!("{}@{energy_ev}", signal.name())
            };
            let (found, circumstances) = self.read(look, (*signal, *energy_ev), &images, &groups, &vigilance);
            alerts.extend(self.judge(look, &rule, &found, &circumstances, now));
            self.findings.extend(found.into_iter().map(|found| found.finding));
        }
        self.last.clone_from(&alerts);
        alerts
    }

    /// Reads a signal of every group.
    fn read(
        &self,
        look: &Look<'_>,
        (signal, energy_ev): (Signal, f64),
        images: &Images,
        groups: &Groups,
        vigilance: &Vigilance,
    ) -> (Vec<Found>, Circumstances) {
        let drift = &look.map.origin.drift;
        let unmoved_px =
            if drift.is_applied() { UNMOVED_PX.0 } else { UNMOVED_PX.1.max(drift.largest().min(1.0)) };
        let templates = Templates::new(
            &self.references,
            self.settings.reduces_to.as_deref(),
            &look.map.origin.corrected_ev,
        );
        let mut found = Vec::new();
        let mut circumstances = Circumstances {
            operando: is_operando(look.map.plan.context.as_ref()),
            registered: drift.is_applied(),
            toward: templates.toward(),
            ..Circumstances::default()
        };
        for group in &groups.groups {
            let (visits, means) = images.read(group, &groups.empty, unmoved_px);
            let dose = |visit: &Visit| (look.dose)(&group.pixels, visit.energy);
            let time_s = |visit: &Visit| (look.elapsed_s)(visit.energy).unwrap_or(visit.energy as f64);
            let mut readings = series(&visits, &means, dose, time_s, self.settings.floor_od);
            let (Some(first), Some(mean), Some(visit)) = (readings.first(), means.first(), visits.first())
            else {
                continue;
            };
            let template = group.phase.and_then(|phase| templates.of(phase, *visit, first));
            if self.settings.plateau_known && matches!(group.of, Of::Phase(_)) {
                readings.plateau = template.and_then(|template| {
                    let value = first + template.reduction?;
                    // Amplitudes of references are good to a tenth or so.
                    Some(Plateau { value, sigma: 0.1 * template.reduction?.abs() })
                });
            }
            let pixels = &group.pixels;
            let end = look.map.plan.energies_ev.len().checked_sub(1).map(|last| (look.dose)(pixels, last));
            let names = (signal, Some(energy_ev), group.of.to_string());
            let scale = if first.abs() < LEAST_SCALE { LEAST_SCALE } else { first.abs() };
            let Some((mut finding, trend, kinetics)) =
                Finding::of(names, look.unit, readings, scale, end, vigilance)
            else {
                continue;
            };
            finding.forecast = self.forecast(look, pixels, &finding, &kinetics);
            if group.of == Of::Field {
                circumstances.empty = empty_change(&means);
                circumstances.apart = dose_and_time(&finding.series);
            }
            let change = Change {
                change: trend.at_last - trend.at_first,
                sigma: change_error(&finding, &trend),
                reduction: template.and_then(|template| template.reduction),
                loss: -first,
                per_ev: template.and_then(|template| template.per_ev),
                per_px: mean.tilt,
            };
            found.push(Found { of: group.of.clone(), finding, change });
        }
        (found, circumstances)
    }

    /// The energy at which a share that matters is lost, if it goes on like this.
    fn forecast(
        &self,
        look: &Look<'_>,
        pixels: &[usize],
        finding: &Finding,
        kinetics: &Kinetics,
    ) -> Option<Forecast> {
        let energies = look.map.plan.energies_ev.len();
        let first = finding.series.readings.first()?.dose;
        let lost_at =
            |energy: usize| (kinetics.loss(first, (look.dose)(pixels, energy)).middle / finding.scale).abs();
        let measured = |energy: &usize| (look.elapsed_s)(*energy).is_some();
        let last = (0..energies).rev().find(measured)?;
        let share = self.settings.warn_loss;
        if !finding.is_real
            || finding.lost.middle.abs() >= share
            || energies <= last + 1
            || lost_at(energies - 1) < share
        {
            return None;
        }
        // What is lost grows with the dose.
        let (mut low, mut high) = (last, energies - 1);
        while high - low > 1 {
            let middle = usize::midpoint(low, high);
            if lost_at(middle) < share { low = middle } else { high = middle }
        }
        let start = (0..energies).find(measured)?;
        let pace_s = ((look.elapsed_s)(last)? - (look.elapsed_s)(start)?) / (last - start).max(1) as f64;
        let minutes = (last > start && pace_s > 0.0).then(|| pace_s * (high - last) as f64 / 60.0);
        Some(Forecast { share, energy: high, energies, minutes })
    }

    /// What a signal has to say, group by group taken together: one alert at most.
    fn judge(
        &mut self,
        look: &Look<'_>,
        rule: &str,
        found: &[Found],
        circumstances: &Circumstances,
        now: DateTime<Utc>,
    ) -> Option<Alert> {
        let real: Vec<&Found> = found.iter().filter(|found| found.finding.is_real).collect();
        let lead =
            real.iter().copied().max_by(|a, b| self.rank(&a.finding).total_cmp(&self.rank(&b.finding)));
        let cause = lead.map(|_| Cause::of(&changes(found), circumstances));
        let verdict = cause.as_ref().map_or(Verdict::Undecided, |cause| cause.verdict);
        let level =
            |ease: f64| lead.map(|lead| self.level(&lead.finding, verdict, circumstances.operando, ease));
        // What is barely beyond chance is kept for a while.
        let nearly = found.iter().any(|found| found.finding.z.abs() >= KEPT * found.finding.z_limit);
        let heights = Heights { reached: level(1.0), kept: level(KEPT).or(nearly.then_some(Level::Notice)) };
        let (episode, level, state) = match self.episodes.step(rule, heights) {
            Step::Quiet => return None,
            Step::At(episode, level) => (episode, level, AlertState::Raised),
            Step::Over(episode, level) => (episode, level, AlertState::Over),
        };
        let key = AlertKey { scan_id: look.map.plan.scan_id.clone(), rule: rule.to_owned(), episode };
        let (Some(lead), Some(cause)) = (lead, cause) else {
            // It is kept, or over, with nothing new to say: what was said last stands.
            let last = self.last.iter().find(|alert| alert.key == key)?;
            let text =
                if state == AlertState::Over { format!("over: {}", last.text) } else { last.text.clone() };
            return Some(Alert { level, state, text, time: now, ..last.clone() });
        };
        let others: Vec<&str> =
            real.iter().map(|found| found.finding.of.as_str()).filter(|of| *of != lead.finding.of).collect();
        let mut numbers = lead.finding.numbers();
        if !others.is_empty() {
            numbers.insert("also_in".to_owned(), serde_json::json!(others));
        }
        let plan = &look.map.plan;
        Some(Alert {
            key,
            level,
            state,
            time: now,
            sample: plan.sample.clone(),
            region: plan.region.clone(),
            signal: lead.finding.signal.name().to_owned(),
            of: lead.finding.of.clone(),
            text: lead.finding.text(),
            verdict,
            advice: advice(verdict, level).to_owned(),
            evidence_for: cause.evidence_for,
            evidence_against: cause.evidence_against,
            numbers,
            simulated: plan.simulated,
        })
    }

    /// Which finding leads: the one that loses most, by what is sure of it.
    fn rank(&self, finding: &Finding) -> f64 {
        let sure = finding.lost.low.abs().min(finding.lost.high.abs());
        if finding.lost.low * finding.lost.high > 0.0 { sure } else { 0.0 }
    }

    fn level(&self, finding: &Finding, verdict: Verdict, operando: bool, ease: f64) -> Level {
        let (now, end) = finding.shares();
        let height = if now >= ease * self.settings.critical_loss {
            Level::Critical
        } else if end >= ease * self.settings.warn_loss {
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

    /// The scan has ended: what is open is over. A damage that was done stays done, and the text keeps saying so.
    pub fn end(&mut self, now: DateTime<Utc>) -> Vec<Alert> {
        let open: Vec<Alert> =
            self.last.drain(..).filter(|alert| alert.state == AlertState::Raised).collect();
        open.into_iter()
            .map(|alert| Alert {
                state: AlertState::Over,
                time: now,
                text: format!("the scan has ended: {}", alert.text),
                ..alert
            })
            .collect()
    }
}

/// A finding, and what it says to the search for its cause.
struct Found {
    of: Of,
    finding: Finding,
    change: Change,
}

/// The changes that are held against causes: of the phases, where there are any; else of the particles, else of the field.
fn changes(found: &[Found]) -> Vec<Change> {
    let of = |is: fn(&Of) -> bool| -> Vec<Change> {
        found.iter().filter(|found| is(&found.of)).map(|found| found.change).collect()
    };
    let (phases, particles) = (of(|of| matches!(of, Of::Phase(_))), of(|of| matches!(of, Of::Particle(_))));
    if !phases.is_empty() {
        phases
    } else if !particles.is_empty() {
        particles
    } else {
        found.iter().map(|found| found.change).collect()
    }
}

/// Standard error of the change from the first reading to the last, as the line has it.
fn change_error(finding: &Finding, trend: &Trend) -> f64 {
    let doses = finding.series.readings.first().zip(finding.series.readings.last());
    doses.map_or(f64::NAN, |(first, last)| trend.slope_error * (last.dose - first.dose))
}

/// Change of the empty pixels from the first visit to the last, and its error.
fn empty_change(means: &[Mean]) -> Option<(f64, f64)> {
    let (first, last) = (means.first()?, means.last()?);
    Some((last.empty? - first.empty?, first.sigma.hypot(last.sigma)))
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

#[cfg(test)]
#[path = "monitor_tests.rs"]
mod tests;
