//! What all scans of a study come to.

use std::collections::BTreeMap;

use serde::Serialize;

use super::DamageStudy;
use super::draw::Class;
use super::scan::{ScanRecord, Verified};
use crate::damage::{Level, Verdict};
use crate::evaluation::metrics::{median, quantile, ratio};
use crate::simulate::Kinetics;

/// Share of all that the beam can do, before which damage is to be found.
pub(super) const EARLY: f64 = 0.25;
/// Relative error of a rate that is near enough, and that of a critical dose.
pub(super) const NEAR: (f64, f64) = (0.3, 0.2);
/// Share of what can be lost from which on most of the change was seen.
pub(super) const MOST: f64 = 0.63;
/// Ends of the ranges of change in the end.
const CHANGES: [(f64, f64); 3] = [(0.0, 0.25), (0.25, 0.5), (0.5, 1.0)];
/// Scans that are named at most.
const NAMED: usize = 30;

/// So many of so many, and between which shares that lies with 90 %.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct ShareOf {
    /// So many.
    pub part: usize,
    /// Of so many.
    pub whole: usize,
    /// The share; NaN of none.
    pub share: f64,
    /// With 95 % it is no smaller (Clopper and Pearson).
    pub low: f64,
    /// With 95 % it is no larger.
    pub high: f64,
}

impl ShareOf {
    /// So many of so many.
    #[must_use]
    pub fn of(part: usize, whole: usize) -> Self {
        Self {
            part,
            whole,
            share: ratio(part, whole),
            low: 1.0 - upper(whole - part, whole),
            high: upper(part, whole),
        }
    }
}

/// The share at which so few or fewer of so many are seen in one of twenty tries.
fn upper(part: usize, whole: usize) -> f64 {
    if part >= whole {
        return 1.0;
    }
    // P(X <= part) falls with the share; its terms by their ratio, as logarithms.
    let seen = |share: f64| -> f64 {
        let odds = (share / (1.0 - share)).ln();
        let mut term = whole as f64 * (1.0 - share).ln();
        let mut sum = term.exp();
        for k in 0..part {
            term += ((whole - k) as f64 / (k + 1) as f64).ln() + odds;
            sum += term.exp();
        }
        sum
    };
    let (mut low, mut high) = (part as f64 / whole as f64, 1.0);
    for _ in 0..60 {
        let middle = 0.5 * (low + high);
        if seen(middle) > 0.05 { low = middle } else { high = middle }
    }
    high
}

/// Undamaged scans with an alert.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct AlarmRow {
    /// Of this level or above.
    pub level: Level,
    /// Scans with one.
    pub scans: ShareOf,
    /// Scans with one that says that it may be damage.
    pub may_be_damage: ShareOf,
    /// What spoke first, and in how many scans.
    pub by_signal: BTreeMap<String, usize>,
}

/// Damaged scans of one kind.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FoundRow {
    /// Which ones.
    pub kind: String,
    /// Those in which damage was found.
    pub found: ShareOf,
    /// Those in which it was found before a quarter of all that the beam can do was done.
    pub early: ShareOf,
    /// Those in which it was found before a quarter of what was done in this scan was done.
    pub early_of_scan: ShareOf,
    /// Those in which it was found before a quarter of the white line was lost.
    pub early_of_line: ShareOf,
    /// Those in which a quarter of all that the beam can do was not done yet when every sentinel had had its second visit.
    pub in_time: ShareOf,
    /// Of those, the ones in which it was found early.
    pub early_in_time: ShareOf,
    /// Share of all that the beam can do which was done when it was found: median, and what one in ten exceeds.
    pub done: [f64; 2],
    /// Visits until then, median.
    pub visits: f64,
}

/// One visit of the sentinels.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct VisitRow {
    /// So many visits were complete.
    pub visits: usize,
    /// Whether the scan was over.
    pub over: bool,
    /// Undamaged scans with an alert by then.
    pub undamaged: usize,
    /// Damaged scans with an alert by then, of each level or above.
    pub damaged: [usize; 3],
    /// What was done by then in damaged scans, mean.
    pub done: f64,
}

/// Initial rates that were told.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RateRow {
    /// When, and of what.
    pub when: String,
    /// Rates that are not 0.
    pub rates: usize,
    /// Those for which one was told.
    pub told: usize,
    /// Told over true, median.
    pub ratio: f64,
    /// Relative error, median of the magnitude.
    pub error: f64,
    /// Those within 30 %.
    pub near: ShareOf,
    /// 90 % intervals that hold the truth.
    pub holds: ShareOf,
    /// Half the width of the intervals over the truth, median.
    pub width: f64,
}

/// Critical doses that were claimed.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct CriticalRow {
    /// Of what.
    pub kind: String,
    /// Those for which one was claimed.
    pub claimed: ShareOf,
    /// Relative error, median of the magnitude.
    pub error: f64,
    /// Those within 20 %.
    pub near: ShareOf,
    /// 90 % intervals that hold the truth.
    pub holds: ShareOf,
}

/// What was said to lie behind a change.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct VerdictRow {
    /// Scans of this kind.
    pub class: Class,
    /// How many.
    pub scans: usize,
    /// With an alert, by what it says.
    pub verdicts: BTreeMap<String, usize>,
}

/// Everything that was measured.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct DamageReport {
    /// What was asked for.
    pub study: DamageStudy,
    /// False alarms, level by level.
    pub alarms: Vec<AlarmRow>,
    /// Damage that was found, kind by kind.
    pub found: Vec<FoundRow>,
    /// Visit by visit.
    pub visits: Vec<VisitRow>,
    /// Initial rates.
    pub rates: Vec<RateRow>,
    /// Critical doses.
    pub critical: Vec<CriticalRow>,
    /// Verdicts.
    pub verdicts: Vec<VerdictRow>,
    /// Undamaged scans with an alert, by number.
    pub false_alarms: Vec<usize>,
    /// Damaged scans that were not found, or late, by number.
    pub missed: Vec<usize>,
}

/// Sums up.
#[must_use]
pub fn report(study: DamageStudy, records: &[ScanRecord]) -> DamageReport {
    let of = |class: Class| -> Vec<&ScanRecord> { records.iter().filter(|r| r.class == class).collect() };
    let (undamaged, damaged) = (of(Class::Undamaged), of(Class::Damaged));
    DamageReport {
        study,
        alarms: (0..).zip(Level::ALL).map(|(i, level)| alarms(&undamaged, level, i)).collect(),
        found: kinds().into_iter().map(|(kind, is)| found(kind, &damaged, &*is)).collect(),
        visits: visits(&undamaged, &damaged),
        rates: rates(&undamaged, &damaged),
        critical: critical(&damaged, &of(Class::Often)),
        verdicts: Class::ALL.into_iter().map(|class| verdicts(class, &of(class))).collect(),
        false_alarms: undamaged
            .iter()
            .filter(|r| r.first_of_any[0].is_some())
            .map(|r| r.number)
            .take(NAMED)
            .collect(),
        missed: damaged.iter().filter(|r| !is_early(r)).map(|r| r.number).take(NAMED).collect(),
    }
}

fn alarms(undamaged: &[&ScanRecord], level: Level, index: usize) -> AlarmRow {
    let spoken: Vec<_> = undamaged.iter().filter_map(|record| record.first_of_any[index].as_ref()).collect();
    let mut by_signal = BTreeMap::new();
    for first in &spoken {
        // Which particle does not matter.
        let of = first.of.split(' ').next().unwrap_or_default();
        *by_signal.entry(format!("{} of {of}", first.signal)).or_insert(0) += 1;
    }
    let may_be = undamaged.iter().filter(|record| record.first[index].is_some()).count();
    AlarmRow {
        level,
        scans: ShareOf::of(spoken.len(), undamaged.len()),
        may_be_damage: ShareOf::of(may_be, undamaged.len()),
        by_signal,
    }
}

fn is_early(record: &ScanRecord) -> bool {
    record.first[0].as_ref().is_some_and(|first| first.done < EARLY)
}

type Kind = (String, Box<dyn Fn(&ScanRecord) -> bool>);

/// Kinds of damaged scans.
fn kinds() -> Vec<Kind> {
    let kind = |name: &str, is: fn(&ScanRecord) -> bool| -> Kind { (name.to_owned(), Box::new(is)) };
    let mut kinds = vec![kind("all", |_| true)];
    for (low, high) in CHANGES {
        let name = format!("{:.0} to {:.0} % done in the end", 100.0 * low, 100.0 * high);
        kinds.push((name, Box::new(move |r| r.done >= low && r.done < high)));
    }
    kinds.extend([
        kind("first order", |r| r.kinetics == Kinetics::FirstOrder),
        kind("hyperbolic", |r| r.kinetics == Kinetics::Hyperbolic),
        kind("one rate for all phases", |r| !r.own_rates),
        kind("each phase its own rate", |r| r.own_rates),
        kind("mass is lost, too", |r| r.loses_mass),
        kind("no mass is lost", |r| !r.loses_mass),
        kind("phases are their references", |r| !r.off_references),
        kind("phases are off their references", |r| r.off_references),
    ]);
    kinds
}

fn found(kind: String, damaged: &[&ScanRecord], is: &dyn Fn(&ScanRecord) -> bool) -> FoundRow {
    let scans: Vec<_> = damaged.iter().filter(|record| is(record)).collect();
    let spoken: Vec<_> = scans.iter().filter_map(|record| record.first[0].as_ref()).collect();
    let share = |part: usize| ShareOf::of(part, scans.len());
    let done: Vec<f64> = spoken.iter().map(|first| first.done).collect();
    let visits: Vec<f64> = spoken.iter().map(|first| first.visits as f64).collect();
    let in_time = |record: &&&&ScanRecord| {
        let second = record.asked.iter().find(|asked| asked.visits >= 2);
        second.is_some_and(|asked| asked.done < EARLY)
    };
    let possible: Vec<_> = scans.iter().filter(in_time).collect();
    FoundRow {
        kind,
        found: share(spoken.len()),
        early: share(spoken.iter().filter(|first| first.done < EARLY).count()),
        early_of_scan: share(spoken.iter().filter(|first| first.done_of_scan < EARLY).count()),
        early_of_line: share(spoken.iter().filter(|first| first.lost < EARLY).count()),
        in_time: share(possible.len()),
        early_in_time: ShareOf::of(possible.iter().filter(|r| is_early(r)).count(), possible.len()),
        done: [quantile(&done, 0.5), quantile(&done, 0.9)],
        visits: median(&visits),
    }
}

fn visits(undamaged: &[&ScanRecord], damaged: &[&ScanRecord]) -> Vec<VisitRow> {
    let Some(one) = damaged.first().or(undamaged.first()) else { return Vec::new() };
    let by = |look: usize, first: &Option<super::Spoken>| {
        usize::from(first.as_ref().is_some_and(|first| first.look <= look))
    };
    let looks = one.asked.iter().enumerate();
    let row = |(look, asked): (usize, &super::Asked)| {
        let done: f64 = damaged.iter().filter_map(|r| Some(r.asked.get(look)?.done)).sum();
        VisitRow {
            visits: asked.visits,
            over: asked.over,
            undamaged: undamaged.iter().map(|r| by(look, &r.first_of_any[0])).sum(),
            damaged: [0, 1, 2].map(|level| damaged.iter().map(|r| by(look, &r.first[level])).sum()),
            done: done / damaged.len() as f64,
        }
    };
    // Of the looks with as many visits the last one.
    let last = |(look, asked): &(usize, &super::Asked)| {
        one.asked.get(look + 1).is_none_or(|next| next.visits > asked.visits || next.over)
    };
    looks.filter(last).map(row).collect()
}

fn rates(undamaged: &[&ScanRecord], damaged: &[&ScanRecord]) -> Vec<RateRow> {
    let mut rows = Vec::new();
    let looks = damaged.first().map_or(&[][..], |record| &record.asked);
    for (look, asked) in looks.iter().enumerate() {
        let is_last = looks.get(look + 1).is_none_or(|next| next.visits > asked.visits || next.over);
        if asked.visits < 2 || !is_last {
            continue;
        }
        let when =
            if asked.over { "field, settled".to_owned() } else { format!("field, {} visits", asked.visits) };
        let told: Vec<&Verified> = damaged.iter().filter_map(|r| Some(&r.asked.get(look)?.rate)).collect();
        rows.push(rate(when, &told));
    }
    let at_alert: Vec<&Verified> = damaged
        .iter()
        .filter_map(|record| Some(&record.asked.get(record.first[0].as_ref()?.look)?.rate))
        .collect();
    rows.push(rate("field, when first told".to_owned(), &at_alert));
    let phases: Vec<&Verified> = damaged.iter().flat_map(|record| &record.rates_of_phases).collect();
    rows.push(rate("phases, settled".to_owned(), &phases));
    let nothing: Vec<&Verified> = undamaged.iter().filter_map(|r| Some(&r.asked.last()?.rate)).collect();
    let holds = nothing.iter().filter_map(|v| v.told).map(|told| told.low <= 0.0 && told.high >= 0.0);
    let holds: Vec<bool> = holds.collect();
    rows.push(RateRow {
        rates: 0,
        told: holds.len(),
        holds: ShareOf::of(holds.iter().filter(|holds| **holds).count(), holds.len()),
        ..rate("field, settled, undamaged (the rate is 0)".to_owned(), &[])
    });
    rows
}

fn rate(when: String, all: &[&Verified]) -> RateRow {
    let known: Vec<&&Verified> = all.iter().filter(|verified| verified.truth > 0.0).collect();
    let Told { ratios, errors, near, holds, widths } = Told::of(&known, NEAR.0);
    RateRow {
        when,
        rates: known.len(),
        told: ratios.len(),
        ratio: median(&ratios),
        error: median(&errors),
        near,
        holds,
        width: median(&widths),
    }
}

/// How well what was told fits.
struct Told {
    ratios: Vec<f64>,
    errors: Vec<f64>,
    near: ShareOf,
    holds: ShareOf,
    widths: Vec<f64>,
}

impl Told {
    fn of(known: &[&&Verified], enough: f64) -> Self {
        let told: Vec<_> = known.iter().filter_map(|v| Some((v.told?, v.truth))).collect();
        let ratios: Vec<f64> = told.iter().map(|(told, truth)| told.middle / truth).collect();
        let errors: Vec<f64> = ratios.iter().map(|ratio| (ratio - 1.0).abs()).collect();
        let holds = told.iter().filter(|(told, truth)| (told.low..=told.high).contains(truth)).count();
        let near = errors.iter().filter(|error| **error <= enough).count();
        Self {
            near: ShareOf::of(near, told.len()),
            holds: ShareOf::of(holds, told.len()),
            widths: told.iter().map(|(told, truth)| 0.5 * (told.high - told.low) / truth).collect(),
            ratios,
            errors,
        }
    }
}

fn critical(damaged: &[&ScanRecord], often: &[&ScanRecord]) -> Vec<CriticalRow> {
    let mut rows = Vec::new();
    let mut put =
        |records: &[&ScanRecord], known: bool, kind: &str, is: &dyn Fn(&ScanRecord, &Verified) -> bool| {
            for (name, is_field) in [("field", true), ("phases", false)] {
                let told = |record: &&'_ ScanRecord| -> Vec<Verified> {
                    let all = if known { &record.critical_doses_known } else { &record.critical_doses };
                    let wanted = |v: &&Verified| (v.of == "field") == is_field && is(record, v);
                    all.iter().filter(wanted).cloned().collect()
                };
                let of: Vec<Verified> = records.iter().flat_map(told).collect();
                let of: Vec<&Verified> = of.iter().collect();
                let of: Vec<&&Verified> = of.iter().collect();
                let Told { ratios, errors, near, holds, .. } = Told::of(&of, NEAR.1);
                let claimed = ShareOf::of(ratios.len(), of.len());
                rows.push(CriticalRow {
                    kind: format!("{name}{kind}"),
                    claimed,
                    error: median(&errors),
                    near,
                    holds,
                });
            }
        };
    put(damaged, false, "", &|_, _| true);
    put(damaged, false, ", most of the change seen", &|_, v| v.lost >= MOST);
    put(damaged, false, ", less seen", &|_, v| v.lost < MOST);
    put(often, false, ", seen often", &|_, _| true);
    put(often, false, ", seen often, most of the change seen", &|_, v| v.lost >= MOST);
    put(damaged, true, ", plateau known", &|_, _| true);
    put(damaged, true, ", plateau known, one rate for all phases", &|r, _| !r.own_rates);
    put(damaged, true, ", plateau known, each phase its own rate", &|r, _| r.own_rates);
    put(damaged, true, ", plateau known, mass is lost, too", &|r, _| r.loses_mass);
    put(damaged, true, ", plateau known, phases are off their references", &|r, _| r.off_references);
    put(often, true, ", plateau known, seen often", &|_, _| true);
    rows
}

fn verdicts(class: Class, records: &[&ScanRecord]) -> VerdictRow {
    let mut verdicts = BTreeMap::new();
    for verdict in records.iter().filter_map(|record| record.verdict) {
        *verdicts.entry(name(verdict).to_owned()).or_insert(0) += 1;
    }
    VerdictRow { class, scans: records.len(), verdicts }
}

/// The word in tables.
pub(super) fn name(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Beam => "beam",
        Verdict::Chemistry => "chemistry",
        Verdict::Instrument => "instrument",
        Verdict::Undecided => "undecided",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_have_the_bounds_of_the_textbook() {
        // None of 300: the rule of three, 1 - 0.05^(1/300).
        let none = ShareOf::of(0, 300);
        assert!((none.high - (1.0 - 0.05_f64.powf(1.0 / 300.0))).abs() < 1e-9 && none.low == 0.0);
        let all = ShareOf::of(300, 300);
        assert!((all.low - 0.05_f64.powf(1.0 / 300.0)).abs() < 1e-9 && all.high == 1.0);
        // 1 of 10: P(X <= 1) = 0.05 at 0.39416.
        assert!((ShareOf::of(1, 10).high - 0.394_163).abs() < 1e-5);
        assert!(ShareOf::of(0, 0).share.is_nan());
        let many = ShareOf::of(5, 1000);
        assert!((0.0103..0.0106).contains(&many.high), "{}", many.high);
    }
}
