//! The damage monitor between the maps and the dose: how both are put before it.

use std::path::Path;
use std::sync::Arc;

use chrono::{DateTime, Utc};

use super::doses::Basis;
use crate::classify::{DensityView, DoseKind, PhaseMap, Recipe, Settled};
use crate::damage::{
    Alert, DamageReport, DoseModel, DoseUnit, Exposed, Groups, History, Look, Monitor, MonitorSettings,
    ScanRecord,
};
use crate::journal::Pinned;
use crate::stack::Stack;

/// The dose of pixels, energy by energy, of a scan whose dose is known, or of which only the dwell is.
#[derive(Clone, Copy)]
pub(super) struct Course<'a> {
    /// The model, where there is one.
    pub(super) model: Option<&'a DoseModel>,
    /// What lay there before, by pixel; empty where nothing did.
    pub(super) prior: &'a [f32],
    /// What was exposed.
    pub(super) exposed: Exposed<'a>,
}

impl Course<'_> {
    /// What the doses are counted in.
    pub(super) fn unit(&self) -> DoseUnit {
        match self.model.map(|model| model.kind) {
            Some(DoseKind::Absolute) => DoseUnit::Mgy,
            Some(DoseKind::Relative) => DoseUnit::Relative,
            None => DoseUnit::Seconds,
        }
    }

    /// Mean dose of pixels when each energy of the plan was, or will be, half measured.
    pub(super) fn of(&self, pixels: &[usize]) -> Vec<f64> {
        let plan = self.exposed.raw.plan();
        let own: Vec<f64> = match self.model {
            Some(model) => model.per_energy.clone(),
            None => plan.dwell_ms.iter().map(|dwell_ms| 1e-3 * dwell_ms).collect(),
        };
        let known = pixels.iter().filter_map(|&pixel| self.prior.get(pixel)).map(|&dose| f64::from(dose));
        let before = known.sum::<f64>() / pixels.len().max(1) as f64;
        let mut doses = vec![f64::NAN; own.len()];
        let mut sum = before;
        let mut put = |energy: usize, dose: f64| {
            if let Some(slot) = doses.get_mut(energy) {
                *slot = sum + 0.5 * dose;
                sum += dose;
            }
        };
        let (mut taken, mut nominal) = (0.0, 0.0);
        let mut measured = vec![false; own.len()];
        let order = match self.model {
            Some(model) => {
                let course = model.course(&self.exposed, pixels);
                course.order.into_iter().zip(course.dose).collect::<Vec<_>>()
            }
            None => {
                crate::damage::measured_order(self.exposed.raw).into_iter().map(|e| (e, own[e])).collect()
            }
        };
        for (energy, dose) in order {
            put(energy, dose);
            (taken, nominal) = (taken + dose, nominal + own[energy]);
            measured[energy] = true;
        }
        // What is still to come is absorbed as what came.
        let share = if nominal > 0.0 { taken / nominal } else { 1.0 };
        for energy in (0..own.len()).filter(|&energy| !measured[energy]) {
            put(energy, own[energy] * share);
        }
        doses
    }
}

/// When each energy was measured, s after the start of the scan: by what the sender says, else by dwell and pixels.
pub(super) fn elapsed_s(stack: &Stack) -> Vec<Option<f64>> {
    let plan = stack.plan();
    let image_s = |dwell_ms: &f64| 1e-3 * dwell_ms * plan.grid.pixels() as f64;
    let mut planned = 0.0;
    let times = stack.planes().iter().zip(&plan.dwell_ms).map(|(plane, dwell_ms)| {
        let at = planned;
        planned += image_s(dwell_ms);
        let said = plane.first_time().map(|time| (time - plan.started).as_seconds_f64());
        (plane.measured() > 0).then(|| said.unwrap_or(at))
    });
    times.collect()
}

/// Lets a monitor look at a map; `measured` says how many pixels of an image count.
pub(super) fn look(
    monitor: &mut Monitor,
    (map, view): (&PhaseMap, &DensityView<'_>),
    course: &Course<'_>,
    measured: &dyn Fn(usize) -> usize,
    now: DateTime<Utc>,
) -> Vec<Alert> {
    let times = elapsed_s(course.exposed.raw);
    let doses = |pixels: &[usize]| course.of(pixels);
    let elapsed_s = |energy: usize| times.get(energy).copied().flatten();
    let unit = course.unit();
    let look = Look { view, map, doses: &doses, unit, elapsed_s: &elapsed_s, measured };
    monitor.look(&look, now)
}

/// What is said of a settled map, with the alerts that it gives reason for.
#[derive(Debug)]
pub struct SettledLook {
    /// The report.
    pub report: DamageReport,
    /// The alerts.
    pub(super) alerts: Vec<Alert>,
    /// What it says of the groups of its place, and of which place.
    pub(super) placed: Option<(History, ScanRecord)>,
}

impl SettledLook {
    /// The file in the archive; the same bytes for the same scan.
    ///
    /// # Errors
    /// None for numbers that came through this crate.
    pub fn to_json(&self) -> serde_json::Result<Vec<u8>> {
        let mut bytes = serde_json::to_vec_pretty(&self.report)?;
        bytes.push(b'\n');
        Ok(bytes)
    }
}

/// Looks at a settled map as a monitor that has not looked before: a pure function of what is given. `place`: what scans before it said of its
/// place.
#[must_use]
pub fn look_at_settled(
    stack: &Stack,
    settled: &Settled,
    recipe: &Recipe,
    settings: &MonitorSettings,
    basis: Option<&Basis>,
    place: Option<History>,
) -> Option<SettledLook> {
    if !settings.watch {
        return None;
    }
    let mapped = settled.registered.as_ref().unwrap_or(stack);
    let view = DensityView::new(mapped, &settled.intensity, recipe.absorption.max_od, settled.noise_factor);
    let exposed = Exposed { raw: stack, view: &view, drift: &settled.map.origin.drift };
    let (model, prior) = (basis.map(|basis| &basis.model), basis.map_or(&[][..], |basis| &basis.prior));
    let course = Course { model, prior, exposed };
    let mut monitor = Monitor::new(settings.clone(), Arc::clone(&recipe.references));
    let plan = stack.plan();
    let of_places = monitor.compare(&settled.map, (prior, course.unit()), plan.started);
    let measured = |energy: usize| stack.plane(energy).measured();
    let mut alerts = look(&mut monitor, (&settled.map, &view), &course, &measured, plan.started);
    alerts.extend(of_places);
    let mut report = monitor.report(plan, &view.first_entries(), course.unit());
    let groups = Groups::of(&settled.map, settings.least_pixels).groups;
    let named = groups.into_iter().map(|group| (group.of.to_string(), group.pixels)).collect::<Vec<_>>();
    report.record = Some(record(settled, &view, recipe, &named, course.unit()));
    let placed = place.map(|place| {
        let record = record(settled, &view, recipe, &place.labels.on(&settled.map), course.unit());
        (place, record)
    });
    if let Some((place, record)) = &placed {
        let mut history = place.clone();
        history.take(record.clone());
        report.over_scans = history.findings((&plan.scan_id, plan.started), settings.false_alarms);
    }
    Some(SettledLook { report, alerts, placed })
}

/// What a settled map says of groups of pixels.
pub(super) fn record(
    settled: &Settled,
    view: &DensityView<'_>,
    recipe: &Recipe,
    groups: &[(String, Vec<usize>)],
    unit: DoseUnit,
) -> ScanRecord {
    let map = &settled.map;
    let seconds: Vec<f32>;
    let dose = match unit {
        DoseUnit::Mgy => &map.dose_mgy,
        DoseUnit::Relative => &map.dose_relative,
        DoseUnit::Seconds => {
            let exposure_s = 1e-3 * map.plan.dwell_ms.iter().sum::<f64>();
            seconds = vec![exposure_s as f32; map.len()];
            &seconds
        }
    };
    ScanRecord::of(map, view, &recipe.references, groups, (dose, unit))
}

/// The settings that a journal was begun with, as they stand in it.
pub(super) fn settings_in(journal: Option<&Path>) -> Option<serde_json::Value> {
    Pinned::read(journal?).ok().map(|pinned| pinned.settings)
}

/// What a scan is watched with: what was in the settings when its journal was begun, else `own`.
pub(super) fn settings_of(journal: Option<&Path>, own: &MonitorSettings) -> MonitorSettings {
    let pinned = journal.and_then(|folder| Pinned::read(folder).ok());
    pinned.as_ref().and_then(pinned_watch).unwrap_or_else(|| own.clone())
}

/// What the settings that a journal was begun with say of watching; what they do not say is as by default, and `None` where there is no such section.
#[must_use]
pub fn pinned_watch(pinned: &Pinned) -> Option<MonitorSettings> {
    serde_json::from_value(pinned.settings.get("damage")?.clone()).ok()
}
