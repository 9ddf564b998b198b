//! The monitor of one scan: looks whenever another visit of a sentinel is complete, and says what has to be said.
//!
//! It keeps nothing but its episodes: every look reads all visits anew from the stack, under the estimates and with the groups of that
//! moment. So a look at the same stack and map says the same, whatever was looked at before.

use super::alert::{Alert, AlertKey, AlertState, Level, Verdict};
use super::cause::{Cause, Change, Circumstances, dose_and_time, is_operando};
use super::contrast::{self, ByPlace, Contrast};
use super::episodes::{Episodes, Heights, Step};
use super::finding::{DoseUnit, Finding, Forecast};
use super::groups::{Groups, Of};
use super::kinetics::Kinetics;
use super::reads::{self, Found, Reader, empty_change};
use super::report::DamageReport;
use super::sentinels::{Images, Progress, Sentinels, Signal};
use super::telling::{MonitorSettings, Told};
use super::template::Templates;
use crate::classify::{DensityView, PhaseMap};
use crate::reference::ReferenceSet;
use crate::scan::ScanPlan;
use chrono::{DateTime, Utc};

/// What keeps a level, as a share of what reaches it.
pub(super) const KEPT: f64 = 0.7;
/// Share of the false alarms that comparing places of different earlier dose may have.
const OF_PLACES: f64 = 0.1;
/// How far a registered sample may lie from where it is taken to lie, and one that was not registered, pixels.
const UNMOVED_PX: (f64, f64) = (0.1, 0.15);

/// What is looked at.
#[derive(Clone, Copy)]
pub struct Look<'a> {
    /// The stack as optical densities.
    pub view: &'a DensityView<'a>,
    /// The map that goes with it.
    pub map: &'a PhaseMap,
    /// Mean dose of pixels when each energy of the plan was, or will be, half measured, in `unit`.
    pub doses: &'a dyn Fn(&[usize]) -> Vec<f64>,
    /// What doses are counted in.
    pub unit: DoseUnit,
    /// When an energy of the plan was measured, s after the start of the scan, where it was.
    pub elapsed_s: &'a dyn Fn(usize) -> Option<f64>,
    /// How many pixels of the image at an energy of the plan were measured.
    pub measured: &'a dyn Fn(usize) -> usize,
}

/// The monitor of one scan.
#[derive(Clone, Debug)]
pub struct Monitor {
    settings: MonitorSettings,
    references: std::sync::Arc<ReferenceSet>,
    episodes: Episodes,
    /// How far the sentinels were at the last look.
    progress: Progress,
    findings: Vec<Finding>,
    last: Vec<Alert>,
    /// How places of different earlier dose differed last.
    contrast: Option<Contrast>,
}

impl Monitor {
    /// A monitor that has not looked yet.
    #[must_use]
    pub fn new(settings: MonitorSettings, references: std::sync::Arc<ReferenceSet>) -> Self {
        Self {
            settings,
            references,
            episodes: Episodes::default(),
            progress: Progress::default(),
            findings: Vec::new(),
            last: Vec::new(),
            contrast: None,
        }
    }

    /// Compares places of a map that had different doses before this scan, `before` by pixel; returns what that gives reason to tell. What
    /// is looked at after that takes it for evidence.
    pub fn compare(
        &mut self,
        map: &PhaseMap,
        (before, unit): (&[f32], DoseUnit),
        now: DateTime<Utc>,
    ) -> Option<Alert> {
        let templates = Templates::new(&self.references, self.settings.reduces_to.as_deref(), &[]);
        let last = self.contrast.take();
        self.contrast = Contrast::of(&ByPlace {
            map,
            before,
            unit,
            references: &self.references,
            reduced_state: templates.reduced_state(),
            false_alarms: OF_PLACES * self.settings.false_alarms,
        });
        let stands = |own: &Contrast, ease: f64| own.is_paired && own.z >= ease * own.z_limit;
        let level = |ease: f64| self.contrast.as_ref().filter(|own| stands(own, ease)).map(|_| Level::Notice);
        let heights = Heights { reached: level(1.0), kept: level(KEPT) };
        let (episode, state) = match self.episodes.step(contrast::RULE, heights) {
            Step::Quiet => return None,
            Step::At(episode, _) => (episode, AlertState::Raised),
            Step::Over(episode, _) => (episode, AlertState::Over),
        };
        let scan_id = map.plan.scan_id.clone();
        let key = AlertKey { scan_id, rule: contrast::RULE.to_owned(), episode };
        // Where nothing can be compared any more, what was seen last is what is over.
        let told = self.contrast.as_ref().or(last.as_ref())?;
        Some(told.alert(key, state, &map.plan, now))
    }

    /// What is said after the last look at a scan.
    #[must_use]
    pub fn report(&self, plan: &ScanPlan, first_entries: &[usize], unit: DoseUnit) -> DamageReport {
        let sentinels = Sentinels::of(&plan.energies_ev, first_entries, &self.references);
        let reduced = Templates::new(&self.references, self.settings.reduces_to.as_deref(), &[]);
        let mut report =
            DamageReport::new(plan, unit, &sentinels, self.findings.clone(), reduced.knows_reduced());
        report.contrast.clone_from(&self.contrast);
        report
    }

    /// What was found at the last look, signal by signal and group by group.
    #[must_use]
    pub fn findings(&self) -> &[Finding] {
        &self.findings
    }

    /// Whether another visit of a sentinel is there since the last look; `measured` says how many pixels of an image are.
    #[must_use]
    pub fn is_due(
        &self,
        plan: &ScanPlan,
        first_entries: &[usize],
        measured: &dyn Fn(usize) -> usize,
    ) -> bool {
        let sentinels = Sentinels::of(&plan.energies_ev, first_entries, &self.references);
        sentinels.progress(plan.energies_ev.len(), measured).is_due_after(&self.progress)
    }

    /// Looks. Every open alert comes with its newest numbers; what is over comes once more, and says so.
    pub fn look(&mut self, look: &Look<'_>, now: DateTime<Utc>) -> Vec<Alert> {
        let plan = &look.map.plan;
        let mut sentinels = Sentinels::of(&plan.energies_ev, &look.view.first_entries(), &self.references);
        let planned: Vec<usize> = sentinels.signals.iter().map(|(_, _, visits)| visits.len()).collect();
        self.progress = sentinels.progress(plan.energies_ev.len(), look.measured);
        sentinels.keep_done(plan.energies_ev.len(), look.measured);
        let groups = Groups::of(look.map, self.settings.least_pixels);
        let field = groups.groups.iter().find(|group| group.of == Of::Field);
        let matter = field.map_or(&[][..], |field| &field.pixels);
        // The doses are those of the pixels, whatever the signal.
        let doses: Vec<Vec<f64>> = groups.groups.iter().map(|group| (look.doses)(&group.pixels)).collect();
        let mut alerts = Vec::new();
        self.findings = Vec::new();
        let false_alarms = self.settings.false_alarms / sentinels.signals.len().max(1) as f64;
        let rules = sentinels.rules();
        for (((signal, energy_ev, visits), rule), planned) in
            sentinels.signals.iter().zip(&rules).zip(planned)
        {
            let images = Images::of(look.view, visits, plan.grid.nx(), matter);
            let budget = (false_alarms, planned);
            let (found, circumstances) =
                self.read(look, (*signal, *energy_ev), &images, (&groups, &doses), budget);
            alerts.extend(self.judge(look, rule, &found, &circumstances, now));
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
        (groups, doses): (&Groups, &[Vec<f64>]),
        budget: (f64, usize),
    ) -> (Vec<Found>, Circumstances) {
        let drift = &look.map.origin.drift;
        let unmoved_px =
            if drift.is_applied() { UNMOVED_PX.0 } else { UNMOVED_PX.1.max(drift.largest().min(1.0)) };
        let templates = Templates::new(
            &self.references,
            self.settings.reduces_to.as_deref(),
            &look.map.origin.corrected_ev,
        );
        let mut circumstances = Circumstances {
            operando: is_operando(look.map.plan.context.as_ref()),
            registered: drift.is_applied(),
            toward: templates.toward(),
            contrast: self.contrast.clone(),
            ..Circumstances::default()
        };
        let reader = Reader {
            images,
            templates: &templates,
            doses,
            elapsed_s: look.elapsed_s,
            unmoved_px,
            floor_od: self.settings.floor_od,
            plateau_known: self.settings.plateau_known,
        };
        let reads = reader.read(groups);
        if let Some(field) = reads.iter().find(|read| read.of == Of::Field) {
            circumstances.empty = empty_change(&field.means);
            circumstances.apart = dose_and_time(&field.series);
            circumstances.span = field.series.span();
        }
        let mut found = reads::findings(reads, (signal, energy_ev), look.unit, budget);
        for found in &mut found {
            found.finding.forecast = self.forecast(look, &found.doses, &found.finding, &found.kinetics);
        }
        (found, circumstances)
    }

    /// The energy at which a share that matters is lost, if it goes on like this.
    fn forecast(
        &self,
        look: &Look<'_>,
        doses: &[f64],
        finding: &Finding,
        kinetics: &Kinetics,
    ) -> Option<Forecast> {
        let energies = doses.len();
        let first = finding.series.readings.first()?.dose;
        let lost_at = |energy: usize| (kinetics.loss(first, doses[energy]).middle / finding.scale).abs();
        let share = self.settings.warn_loss;
        if !finding.is_real || finding.lost.middle.abs() >= share {
            return None;
        }
        // What is left to be measured, in the order of the plan: what is lost grows with it.
        let (measured, left): (Vec<usize>, Vec<usize>) =
            (0..energies).partition(|&energy| (look.elapsed_s)(energy).is_some());
        let after = left.partition_point(|&energy| lost_at(energy) < share);
        let energy = *left.get(after)?;
        let times: Vec<f64> = measured.iter().filter_map(|&energy| (look.elapsed_s)(energy)).collect();
        let (start, last) =
            times.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(a, b), &t| (a.min(t), b.max(t)));
        let pace_s = (last - start) / times.len().saturating_sub(1).max(1) as f64;
        let minutes = (pace_s > 0.0).then(|| pace_s * (after + 1) as f64 / 60.0);
        Some(Forecast { share, energy, energies, minutes })
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
        let lead = real.iter().copied().max_by(|a, b| {
            let (a, b) = (rank(&a.finding), rank(&b.finding));
            a.0.cmp(&b.0).then(a.1.total_cmp(&b.1))
        });
        let cause = lead.map(|_| Cause::of(&changes(found), circumstances));
        let verdict = cause.as_ref().map_or(Verdict::Undecided, |cause| cause.verdict);
        let level = |ease: f64| {
            lead.map(|lead| self.settings.level(&lead.finding, verdict, circumstances.operando, ease))
        };
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
        let name = |found: &&Found| match found.finding.signal {
            Signal::Reduction => format!("reduction of {}", found.finding.of),
            _ => found.finding.of.clone(),
        };
        let others = real.iter().filter(|found| !std::ptr::eq(**found, lead)).map(name);
        let told = Told { finding: &lead.finding, others: others.collect(), cause };
        Some(told.alert(key, (level, state), &look.map.plan, now))
    }
}

/// Which finding leads: of the signals themselves the one that loses most for sure; what is made of them where none is beyond chance.
fn rank(finding: &Finding) -> (bool, f64) {
    (finding.signal != Signal::Reduction, finding.sure())
}

/// The changes that are held against causes: of the phases, where there are any; else of the particles, else of the field.
fn changes(found: &[Found]) -> Vec<Change> {
    let of = |is: fn(&Of) -> bool| -> Vec<Change> {
        found.iter().filter(|found| is(&found.of)).filter_map(|found| found.change).collect()
    };
    let (phases, particles) = (of(|of| matches!(of, Of::Phase(_))), of(|of| matches!(of, Of::Particle(_))));
    if !phases.is_empty() {
        phases
    } else if !particles.is_empty() {
        particles
    } else {
        found.iter().filter_map(|found| found.change).collect()
    }
}

#[cfg(test)]
#[path = "monitor_tests.rs"]
mod tests;
