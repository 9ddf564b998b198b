//! One signal read of all groups, and what the phases say of it together.
//!
//! Beside each group stands what is *not reduced yet*: the phases' changes, each held against what complete reduction would do to it, taken
//! together with the weights that are best if all are reduced alike. It sees what the mean of the field dilutes.

use super::calm::{Calm, End};
use super::cause::Change;
use super::finding::{DoseUnit, Finding};
use super::groups::{Groups, Of};
use super::kinetics::Kinetics;
use super::sentinels::{Images, Mean, Signal, Visit, series};
use super::series::{Reading, Series};
use super::template::{Template, Templates};
use super::trend::{Trend, Vigilance};

/// A signal smaller than this has no percents, OD.
const LEAST_SCALE: f64 = 0.05;
/// Share of a signal that every reading is uncertain by: the beam is not the same twice.
const RELATIVE_FLOOR: f64 = 0.005;

/// A signal of one group.
pub(super) struct Read {
    pub(super) of: Of,
    pub(super) ragged: bool,
    pub(super) series: Series,
    pub(super) means: Vec<Mean>,
    pub(super) template: Option<Template>,
    /// The same readings with the mass kept apart, of a white line from which anything was taken off.
    pub(super) calm: Option<Calm>,
    /// Dose when each energy of the plan was, or will be, half measured.
    pub(super) doses: Vec<f64>,
}

/// A finding, and what it says to the search for its cause.
pub(super) struct Found {
    pub(super) of: Of,
    pub(super) finding: Finding,
    /// `None` for what is made of other groups.
    pub(super) change: Option<Change>,
    pub(super) kinetics: Kinetics,
    pub(super) doses: Vec<f64>,
}

/// How a signal is read.
pub(super) struct Reader<'a> {
    pub(super) images: &'a Images,
    pub(super) templates: &'a Templates<'a>,
    /// For each group.
    pub(super) doses: &'a [Vec<f64>],
    pub(super) elapsed_s: &'a dyn Fn(usize) -> Option<f64>,
    pub(super) unmoved_px: f64,
    pub(super) floor_od: f64,
    /// Whether all of a phase ends reduced.
    pub(super) plateau_known: bool,
}

impl Reader<'_> {
    /// Reads every group; groups that were not measured are left out.
    pub(super) fn read(&self, groups: &Groups) -> Vec<Read> {
        groups
            .groups
            .iter()
            .zip(self.doses)
            .filter_map(|(group, doses)| {
                let (visits, means) = self.images.read(group, &groups.empty, self.unmoved_px);
                let dose = |visit: &Visit| doses.get(visit.energy).copied().unwrap_or(f64::NAN);
                let time_s = |visit: &Visit| (self.elapsed_s)(visit.energy).unwrap_or(visit.energy as f64);
                // By dose, whatever the order in which the plan names them.
                let mut seen: Vec<(Visit, Mean)> = visits.into_iter().zip(means).collect();
                seen.sort_by(|(a, _), (b, _)| dose(a).total_cmp(&dose(b)));
                let (visits, means): (Vec<Visit>, Vec<Mean>) = seen.into_iter().unzip();
                let mut series = series(&visits, &means, dose, time_s, 0.0);
                let (first, visit) = (series.first()?, visits.first()?);
                series.floor = self.floor_od.hypot(RELATIVE_FLOOR * first);
                let template = group.phase.and_then(|phase| self.templates.of(phase, *visit, first));
                let at = |energy: usize| doses.get(energy).copied().unwrap_or(f64::NAN);
                let phase = group.phase.filter(|_| matches!(group.of, Of::Phase(_)));
                let end = (self.templates, End { known: self.plateau_known, phase });
                let calm = Calm::of(&series, (&visits, &means), at, end);
                Some(Read {
                    of: group.of.clone(),
                    ragged: group.ragged,
                    series,
                    means,
                    template,
                    calm,
                    doses: doses.clone(),
                })
            })
            .collect()
    }
}

/// What of the phases is not reduced yet, relative to the first visit; `None` where no phase could be, or they were not visited alike.
fn not_reduced(reads: &[Read]) -> Option<(Series, Vec<f64>)> {
    let phases: Vec<(&Read, f64)> = reads
        .iter()
        .filter(|read| matches!(read.of, Of::Phase(_)))
        .filter_map(|read| Some((read, read.template?.reduction?)))
        .filter(|(_, reduction)| reduction.abs() > LEAST_SCALE)
        .collect();
    let visits = phases.iter().map(|(read, _)| read.series.len()).max()?;
    let phases: Vec<(&Read, f64)> =
        phases.into_iter().filter(|(read, _)| read.series.len() == visits).collect();
    // Weights that are best where all are reduced alike: what is expected over its variance.
    let variance = |read: &Read| {
        read.series.readings.iter().map(|reading| read.series.variance(reading)).sum::<f64>() / visits as f64
    };
    let norm: f64 = phases.iter().map(|(read, reduction)| reduction * reduction / variance(read)).sum();
    let weights: Vec<f64> =
        phases.iter().map(|(read, reduction)| reduction / variance(read) / norm).collect();
    let importance: Vec<f64> =
        phases.iter().map(|(read, reduction)| reduction * reduction / variance(read) / norm).collect();
    let mean = |of: &dyn Fn(&Read) -> f64| -> f64 {
        phases.iter().zip(&importance).map(|((read, _), weight)| weight * of(read)).sum()
    };
    let readings = (0..visits).map(|visit| {
        let of = |read: &Read| read.series.readings[visit];
        let change: f64 = phases
            .iter()
            .zip(&weights)
            .map(|((read, _), weight)| weight * (of(read).value - read.series.readings[0].value))
            .sum();
        let variance: f64 = phases
            .iter()
            .zip(&weights)
            .map(|((read, _), weight)| weight * weight * read.series.variance(&of(read)))
            .sum();
        Reading {
            dose: mean(&|read| of(read).dose),
            time_s: mean(&|read| of(read).time_s),
            value: 1.0 - change,
            sigma: variance.sqrt(),
        }
    });
    let energies = phases.first()?.0.doses.len();
    let doses = (0..energies)
        .map(|energy| mean(&|read| read.doses.get(energy).copied().unwrap_or(f64::NAN)))
        .collect();
    Some((Series { readings: readings.collect(), plateau: None, floor: 0.0 }, doses))
}

/// The findings of a signal: of every group, and for a white line of what is not reduced. `false_alarms` is what all of them may have together; the field
/// and what is not reduced have half of that, all others the other half.
pub(super) fn findings(
    reads: Vec<Read>,
    (signal, energy_ev): (Signal, f64),
    unit: DoseUnit,
    (false_alarms, readings): (f64, usize),
) -> Vec<Found> {
    let reduction = if signal == Signal::WhiteLine { not_reduced(&reads) } else { None };
    let leads = 1 + usize::from(reduction.is_some());
    let others = reads.iter().filter(|read| read.of != Of::Field).count();
    let vigilance = |of: &Of| {
        let series = if *of == Of::Field { leads } else { others };
        Vigilance { false_alarms: 0.5 * false_alarms, series, readings }
    };
    let mut found = Vec::new();
    for read in reads {
        let Read { of, series, means, template, calm, doses, ragged } = read;
        let (Some(first), Some(mean)) = (series.first(), means.first()) else { continue };
        let scale = first.abs().max(LEAST_SCALE);
        let names = (signal, Some(energy_ev), of.to_string());
        let (end, own) = (doses.iter().copied().reduce(f64::max), vigilance(&of));
        let Some((mut finding, trend, mut kinetics)) = Finding::of(names, unit, series, scale, end, &own)
        else {
            continue;
        };
        if let Some(said) = calm.and_then(|calm| calm.said(scale)) {
            finding.set_kinetics(&said.kinetics, end);
            finding.initial_rate = finding.initial_rate.widened(said.apart);
            finding.critical_dose =
                said.reduction.and_then(|(kinetics, apart)| kinetics.critical_dose(apart));
            finding.series.plateau = said.plateau;
            kinetics = said.kinetics;
        }
        // Borders alone are no ground for an alarm.
        finding.is_real &= !ragged;
        let change = Change {
            change: trend.at_last - trend.at_first,
            sigma: change_error(&finding, &trend),
            reduction: template.and_then(|template| template.reduction),
            loss: -first,
            per_ev: template.and_then(|template| template.per_ev),
            per_px: mean.tilt,
        };
        found.push(Found { of, finding, change: Some(change), kinetics, doses });
    }
    if let Some((series, doses)) = reduction {
        let names = (Signal::Reduction, Some(energy_ev), Of::Field.to_string());
        let end = doses.iter().copied().reduce(f64::max);
        let of_all = Finding::of(names, unit, series, 1.0, end, &vigilance(&Of::Field));
        found.extend(of_all.map(|(finding, _, kinetics)| Found {
            of: Of::Field,
            finding,
            change: None,
            kinetics,
            doses,
        }));
    }
    found
}

/// Standard error of the change from the first reading to the last, as the line has it.
fn change_error(finding: &Finding, trend: &Trend) -> f64 {
    let doses = finding.series.readings.first().zip(finding.series.readings.last());
    doses.map_or(f64::NAN, |(first, last)| trend.slope_error * (last.dose - first.dose))
}

/// Change of the empty pixels from the first visit to the last, and its error.
pub(super) fn empty_change(means: &[Mean]) -> Option<(f64, f64)> {
    let (first, last) = (means.first()?.empty?, means.last()?.empty?);
    Some((last.0 - first.0, first.1.hypot(last.1)))
}
