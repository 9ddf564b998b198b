//! The targets, and whether they are met.

use serde::Serialize;

use super::cells::CellRow;
use super::draw::Conditions;
use super::offsets::OffsetRow;
use super::recorded::RecordedReport;
use super::study::Study;

/// Paired on the same pixels, two methods that differ by less than this are equal.
const EQUAL: f64 = 0.002;

/// One target.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Target {
    /// What is asked for.
    pub target: String,
    /// The figure that has to be reached; for a limit from above, not to be passed.
    pub limit: f64,
    /// What was measured.
    pub measured: f64,
    /// Whether that is enough.
    pub met: bool,
    /// Where it was measured: the worst cell.
    pub at: String,
}

fn at_least(target: &str, limit: f64, worst: Option<(f64, String)>) -> Option<Target> {
    let (measured, at) = worst?;
    Some(Target { target: target.to_owned(), limit, measured, met: measured >= limit, at })
}

fn at_most(target: &str, limit: f64, worst: Option<(f64, String)>) -> Option<Target> {
    let (measured, at) = worst?;
    Some(Target { target: target.to_owned(), limit, measured, met: measured <= limit, at })
}

fn lowest(values: impl Iterator<Item = (f64, String)>) -> Option<(f64, String)> {
    values.filter(|v| !v.0.is_nan()).min_by(|a, b| a.0.total_cmp(&b.0))
}

/// A cell in a few words.
#[must_use]
pub fn name_of(c: &Conditions) -> String {
    let references = if c.mismatched { "mismatched" } else { "known" };
    format!("{references}, {} counts, {} energies, offset {} eV", c.counts, c.energies, c.offset_ev)
}

impl CellRow {
    /// Median accuracy of a method; NaN where it was not asked.
    #[must_use]
    pub fn median_of(&self, method: &str) -> f64 {
        self.methods.iter().find(|score| score.method == method).map_or(f64::NAN, |score| score.median)
    }
}

/// Every target that `study` has a figure for.
#[must_use]
pub fn of_study(study: &Study) -> Vec<Target> {
    let cells = |keep: fn(&CellRow) -> bool| study.cells.iter().filter(move |cell| keep(cell));
    let named = |cell: &CellRow, value: f64| (value, name_of(&cell.conditions));
    let never_worse = cells(|_| true)
        .map(|c| named(c, c.median_of("pipeline") - c.median_of("pearson").max(c.median_of("fit"))));
    let thirty = |c: &CellRow| {
        !c.conditions.mismatched && c.conditions.energies == 30 && c.conditions.counts >= 3000.0
    };
    let twelve = |c: &CellRow| {
        !c.conditions.mismatched && c.conditions.energies == 12 && c.conditions.counts == 3000.0
    };
    let right = cells(thirty).map(|c| named(c, c.median_of("pipeline")));
    let mismatched = cells(|c| c.conditions.mismatched)
        .map(|c| named(c, c.median_of("pipeline") - c.median_of("fit_offset")));
    let coverage = cells(twelve).map(|c| named(c, c.pipeline.coverage_at_97));
    let no_offset =
        cells(twelve).filter(|c| c.conditions.offset_ev == 0.0).map(|c| named(c, c.pipeline.coverage_at_97));
    let mut targets = vec![
        at_least("pipeline less the better of Pearson and fit, every cell", -0.01, lowest(never_worse)),
        at_least("known references, 30 energies, 3000 and 10000 counts: accuracy", 0.99, lowest(right)),
        at_least("mismatched: pipeline less the fit after the offset", -EQUAL, lowest(mismatched)),
        at_least("12 energies, 3000 counts, no offset: coverage at 97 % right", 0.9, lowest(no_offset)),
        at_least("12 energies, 3000 counts, any offset: coverage at 97 % right", 0.9, lowest(coverage)),
    ];
    targets.push(offset_costs_nothing(study));
    targets.extend(of_offsets(&study.energy_offset));
    for (index, references) in ["known", "mismatched"].into_iter().enumerate() {
        let ece = study.reliability[index].ece();
        let worst = (!ece.is_nan()).then(|| (ece, format!("{references} references, all cells")));
        let text = format!("{references} references: expected calibration error of confidence");
        targets.push(at_most(&text, 0.05, worst));
    }
    targets.extend(of_mixtures(study));
    for cell in
        study.foreign.iter().filter(|row| row.conditions.counts >= 3000.0 && row.conditions.energies == 30)
    {
        let best =
            cell.scores.iter().filter(|s| !s.score.contains("alone")).max_by(|a, b| a.auc.total_cmp(&b.auc));
        let worst = best.map(|s| (s.auc, format!("{}: {}", name_of(&cell.conditions), s.score)));
        targets.push(at_least("foreign spectra: area under the ROC, best published score", 0.95, worst));
    }
    targets.into_iter().flatten().collect()
}

/// Known references: what an offset of 0.3 eV costs where it is corrected.
fn offset_costs_nothing(study: &Study) -> Option<Target> {
    let known = |offset_ev: f64| {
        let is = move |c: &Conditions| !c.mismatched && (c.offset_ev - offset_ev).abs() < 1e-9;
        study.cells.iter().filter(move |cell| is(&cell.conditions))
    };
    let differences = known(0.3).filter_map(|cell| {
        let c = &cell.conditions;
        let same =
            |other: &&CellRow| (other.conditions.energies, other.conditions.counts) == (c.energies, c.counts);
        let without = known(0.0).find(same)?;
        Some((cell.median_of("pipeline") - without.median_of("pipeline"), name_of(c)))
    });
    at_least("known references: accuracy at 0.3 eV less that without an offset", -0.01, lowest(differences))
}

/// What is asked of the estimate of the energy offset.
fn of_offsets(rows: &[OffsetRow]) -> Vec<Option<Target>> {
    let name = |row: &OffsetRow| format!("{} energies, phases {}", row.energies, row.phases.join(" "));
    let worst = |keep: &dyn Fn(&OffsetRow) -> bool, of: fn(&OffsetRow) -> f64| {
        let values = rows.iter().filter(|row| row.slope == 0.0 && keep(row)).map(|row| (of(row), name(row)));
        values.filter(|value| !value.0.is_nan()).max_by(|a, b| a.0.total_cmp(&b.0))
    };
    let known = |row: &OffsetRow| !row.mismatched && row.energies >= 30;
    let several = |row: &OffsetRow| row.mismatched && row.energies >= 30 && row.phases.len() > 2;
    vec![
        at_most(
            "energy offset up to 1 eV, known references, 30 energies or more: largest error, eV",
            0.03,
            worst(&known, |row| row.worst_ev),
        ),
        at_most(
            "energy offset up to 1 eV, mismatched, all phases, 30 energies or more: largest error, eV",
            0.1,
            worst(&several, |row| row.worst_ev),
        ),
        at_least(
            "energy offset, mismatched: share within two stated errors, any number of energies and phases",
            0.9,
            worst(&|row| row.mismatched, |row| -row.within_two).map(|(value, at)| (-value, at)),
        ),
    ]
}

fn of_mixtures(study: &Study) -> Vec<Option<Target>> {
    let cell = |offset: bool| {
        study.mixtures.iter().find(move |cell| {
            let c = &cell.conditions;
            !c.mismatched && c.counts == 3000.0 && c.energies == 30 && (c.offset_ev > 0.0) == offset
        })
    };
    let mut targets = Vec::new();
    for (offset, text) in [(false, "no offset"), (true, "with an offset")] {
        let Some(cell) = cell(offset) else { continue };
        let separable = || cell.pairs.iter().filter(|row| row.separable && row.pixels > 0);
        let worst = lowest(separable().map(|row| (row.found, row.pair.join(" with "))));
        let target = format!("separable pairs, 3000 counts, 30 energies, {text}: right pair found");
        targets.push(at_least(&target, 0.8, worst));
        let is_twin = |row: &&super::pairs::PairRow| {
            !row.separable && row.pixels > 0 && !row.pair.contains(&row.nearest_single)
        };
        let twins = || cell.pairs.iter().filter(is_twin);
        let called = lowest(twins().map(|row| (row.both_named, row.pair.join(" with "))));
        let target =
            format!("pairs that are like a third phase, {text}: called indistinguishable, both named");
        targets.push(at_least(&target, 0.5, called));
    }
    targets
}

/// Every target that a recorded stack has a figure for.
#[must_use]
pub fn of_recorded(report: &RecordedReport) -> Vec<Target> {
    let mut targets = Vec::new();
    for row in &report.rows {
        let Some(pipeline) = row.methods.iter().find(|m| m.method == "pipeline") else { continue };
        let others = || row.methods.iter().filter(|m| m.method != "pipeline" && m.method != "gmvae");
        let at = || Some(format!("{} energies", row.energies));
        if row.energies == 6 {
            let worst = at().map(|at| (pipeline.classified, at));
            targets.push(at_most("recorded stack: classified, where both peaks are missed", 0.1, worst));
            continue;
        }
        for (kind, of) in [("plain", 0), ("balanced", 1)] {
            let value = |m: &super::recorded::RecordedMethod| if of == 0 { m.plain } else { m.balanced };
            let best = others().map(value).fold(0.0, f64::max);
            let worst = at().map(|at| (value(pipeline), at));
            let text =
                format!("recorded stack: {kind} agreement above the best of Pearson, fit and smoothed fit");
            targets.push(at_least(&text, best, worst));
        }
        let limit = match row.energies {
            8 => 0.35,
            12 => 0.75,
            20 => 0.9,
            _ => continue,
        };
        let worst = at().map(|at| (pipeline.coverage_at_97, at));
        targets.push(at_least("recorded stack: coverage at 97 % right", limit, worst));
    }
    targets.into_iter().flatten().collect()
}
