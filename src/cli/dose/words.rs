//! A planned scan as people read it.

use super::report::{Halving, Report, Row};
use crate::classify::DoseKind;
use crate::cli::print;
use crate::damage::{Depths, FluxSource};
use crate::evaluation::halving::Figure;

/// Energies that are listed by name.
const LISTED: usize = 48;

/// Prints it.
pub(super) fn show(report: &Report) {
    head(report);
    doses(report);
    if !report.warnings.is_empty() {
        print("");
        report.warnings.iter().for_each(|warning| print(format_args!("! {warning}")));
    }
    halving(&report.halving, report.kind);
}

fn head(report: &Report) {
    let [ny, nx] = report.shape;
    let energies = &report.energies;
    let ends = energies
        .iter()
        .fold((f64::INFINITY, 0.0_f64), |(low, high), one| (low.min(one.energy_ev), high.max(one.energy_ev)));
    let [low_ms, high_ms] = range(energies.iter().map(|one| one.dwell_ms));
    let dwell = if low_ms == high_ms { format!("{low_ms} ms") } else { format!("{low_ms} to {high_ms} ms") };
    let spot =
        report.spot_nm.map_or_else(|| "taken as the pixel".to_owned(), |spot_nm| format!("{spot_nm} nm"));
    print(format_args!(
        "scan         {} exposures from {:.2} to {:.2} eV, {ny} x {nx} pixels of {} nm, {dwell} each; spot {spot}",
        energies.len(),
        ends.0,
        ends.1,
        (report.pixel_nm * 1e3).round() / 1e3
    ));
    let name = |name: &Option<String>| name.clone().unwrap_or_else(|| "not named".to_owned());
    print(format_args!(
        "place        beamline {}, sample {}, region {}",
        report.beamline,
        name(&report.sample),
        name(&report.region)
    ));
    print(format_args!("references   {}", report.references));
    print(format_args!("made of      {}", report.composition.as_deref().unwrap_or("not known")));
    let flux = match report.flux {
        FluxSource::Configured => "by setting or option",
        FluxSource::Stream => "by the plan",
        FluxSource::Counts => "by counts and efficiency",
        FluxSource::Nominal => "not known",
    };
    let photons = range(energies.iter().filter_map(|one| one.photons));
    let on_sample =
        if photons[0].is_finite() { format!("{} on the sample, ", span(photons)) } else { String::new() };
    let detected = span(range(energies.iter().map(|one| one.detected)));
    let behind = span(range(energies.iter().map(|one| one.detected * (-one.od).exp())));
    print(format_args!(
        "photons      flux {flux}; a pixel and exposure: {on_sample}{detected} counted without sample, {behind} behind it"
    ));
    print(format_args!(
        "time         {} in the beam; about {} with the moves of the monochromator",
        time(report.exposure_s),
        time(report.total_s)
    ));
}

fn doses(report: &Report) {
    let od = range(report.energies.iter().map(|one| one.od));
    let unit = if report.kind == DoseKind::Absolute { "MGy" } else { "relative" };
    let nm = report
        .thickness_nm
        .map_or_else(String::new, |nm| format!(", about {nm:.0} nm by the absorption tables"));
    print(format_args!("\n{:<44}{:>12}{:>12}", format!("dose, {unit}"), "surface", "mean",));
    let line = |name: &str, dose: Depths| {
        print(format_args!("{name:<44}{:>12}{:>12}", number(dose.surface), number(dose.mean)));
    };
    print(format_args!(
        "  (mean: over the depth, {}thick as the references{nm}, which is OD {:.2} to {:.2})",
        if report.thickness == 1.0 { "as ".to_owned() } else { format!("{} times as ", report.thickness) },
        od[0],
        od[1]
    ));
    line("one energy, the least", report.per_energy_least);
    line("one energy, the most", report.per_energy_most);
    if report.per_pass.len() > 1 {
        for (pass, dose) in report.per_pass.iter().enumerate() {
            line(&format!("pass {} of {}", pass + 1, report.per_pass.len()), *dose);
        }
    }
    line("the whole scan", report.scan);
    let visits = report.energies.iter().filter(|one| one.sentinel).count();
    if visits > 0 {
        let share = 100.0 * report.sentinels.surface / report.scan.surface;
        line(&format!("  of it sentinels, {visits} visits ({share:.0} %)"), report.sentinels);
    }
    let told = |name: String, dose: f64| {
        let [surface, mean] = if report.depth == "surface" {
            [number(dose), String::new()]
        } else {
            [String::new(), number(dose)]
        };
        print(format_args!("{name:<44}{surface:>12}{mean:>12}"));
    };
    match &report.earlier.dose {
        Some(before) => {
            let scans = match report.earlier.scans.len() {
                0 => "no earlier scan here".to_owned(),
                1 => format!("earlier, most: {}", report.earlier.scans[0]),
                more => format!("earlier, most: {more} scans"),
            };
            told(scans, before.max);
            told("in all, where most was left before".to_owned(), report.in_all);
        }
        None => report.earlier.remarks.iter().for_each(|why| print(format_args!("earlier scans: {why}"))),
    }
    if let Some(critical) = &report.critical {
        print(format_args!(
            "first-order kinetics with a critical dose of {} MGy take {:.1} % of the white line ({:.1} % before this scan)",
            critical.critical_mgy,
            100.0 * critical.lost_in_all,
            100.0 * critical.lost_before
        ));
    }
}

fn halving(halving: &Halving, kind: DoseKind) {
    let rows = &halving.rows;
    let is_measured = rows.iter().any(|row| row.measured.is_some());
    let unit = if kind == DoseKind::Absolute { "MGy" } else { "rel." };
    let width = rows.iter().map(|row| row.name.chars().count()).max().unwrap_or(0).max(12);
    print("\nwhat would halve it");
    let mut title = format!("  {:width$}  {unit:>8}  share     time", "setting");
    if is_measured {
        title.push_str("   named right, %        change   classified, %        change");
    }
    print(title);
    for row in rows {
        let mark = if row.recommended { '>' } else { ' ' };
        let mut line = format!(
            "{mark} {:width$}  {:>8}  {:>3.0} %  {:>7}",
            row.name,
            number(row.dose),
            100.0 * row.share,
            time(row.total_s)
        );
        if let Some(one) = &row.measured {
            let is_plan = row.share == 1.0;
            let change = |change: Figure| if is_plan { String::new() } else { signed(change) };
            line.push_str(&format!(
                "  {:>14}  {:>12}  {:>14}  {:>12}",
                figure(one.accuracy),
                change(one.accuracy_change),
                figure(one.coverage),
                change(one.coverage_change)
            ));
        }
        print(line.trim_end());
    }
    if !is_measured {
        print(if halving.draws == 0 {
            "accuracies were not measured: --draws says on how many specimens"
        } else {
            "accuracies cannot be measured: the references reach too few of the energies"
        });
        return;
    }
    let pixels = rows.first().and_then(|row| row.measured.as_ref()).map_or(0, |one| one.pixels);
    print(format_args!(
        "{} simulated specimen(s) of {n} x {n} pixels, {pixels} of one phase, whose spectra are off the references by up to {} eV and {:.0} %; \
         mean and standard error",
        halving.draws,
        halving.mismatch.0,
        100.0 * halving.mismatch.1,
        n = halving.field
    ));
    halving.remarks.iter().for_each(|remark| print(format_args!("! {remark}")));
    recommendation(rows);
}

fn recommendation(rows: &[Row]) {
    let Some(row) = rows.iter().find(|row| row.recommended) else {
        print("\nno setting listed reaches half of the dose");
        return;
    };
    let Some(one) = &row.measured else { return };
    print(format_args!("\nrecommended: {}", row.name));
    print(
        "  of the settings that reach half of the dose it names most pixels right, and classifies most of them, to within one\n  \
         standard error or half a percent; of those that do as well it takes the least time",
    );
    print(format_args!(
        "  against the plan: {} points named right, {} points classified",
        signed(one.accuracy_change),
        signed(one.coverage_change)
    ));
    let energies = listed(&row.energies_ev);
    if row.is_shorter && energies.len() <= LISTED {
        print(format_args!("  its energies, eV: {}", energies.join(" ")));
    }
}

/// Energies in ascending order, with the number of their visits where that is not one.
fn listed(energies_ev: &[f64]) -> Vec<String> {
    let mut ascending = energies_ev.to_vec();
    ascending.sort_by(f64::total_cmp);
    ascending
        .chunk_by(|a, b| a == b)
        .map(|same| match same.len() {
            1 => format!("{:.2}", same[0]),
            visits => format!("{:.2} ({visits} times)", same[0]),
        })
        .collect()
}

/// A share in percent, with its standard error.
fn figure(figure: Figure) -> String {
    with_error(format!("{:.1}", 100.0 * figure.mean), figure)
}

/// A change of it, with its sign.
fn signed(figure: Figure) -> String {
    let text = format!("{:+.1}", 100.0 * figure.mean);
    // Nothing has no sign.
    with_error(if text == "-0.0" || text == "+0.0" { "0.0".to_owned() } else { text }, figure)
}

fn with_error(mean: String, figure: Figure) -> String {
    match figure.error {
        Some(error) => format!("{mean} ± {:.1}", 100.0 * error),
        None => mean,
    }
}

/// Three digits.
fn number(value: f64) -> String {
    let size = value.abs();
    if size == 0.0 {
        "0".to_owned()
    } else if !(1e-3..1e5).contains(&size) {
        format!("{value:.2e}")
    } else if size >= 100.0 {
        format!("{value:.0}")
    } else if size >= 10.0 {
        format!("{value:.1}")
    } else if size >= 1.0 {
        format!("{value:.2}")
    } else {
        format!("{value:.3}")
    }
}

fn range(values: impl Iterator<Item = f64>) -> [f64; 2] {
    values.fold([f64::INFINITY, f64::NEG_INFINITY], |[low, high], value| [low.min(value), high.max(value)])
}

fn span([low, high]: [f64; 2]) -> String {
    let (low, high) = (number(low), number(high));
    if low == high { low } else { format!("{low} to {high}") }
}

fn time(seconds: f64) -> String {
    match seconds {
        s if s < 100.0 => format!("{s:.0} s"),
        s if s < 600.0 => format!("{:.1} min", s / 60.0),
        s if s < 6000.0 => format!("{:.0} min", s / 60.0),
        s => format!("{:.1} h", s / 3600.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_three_digits_and_changes_their_sign() {
        let numbers = [0.0, 5e-4, 0.05, 1.234, 43.21, 123.4, 2e6].map(number);
        assert_eq!(numbers, ["0", "5.00e-4", "0.050", "1.23", "43.2", "123", "2.00e6"]);
        let of = |mean: f64, error: Option<f64>| signed(Figure { mean, error });
        assert_eq!(of(-0.041, Some(0.012)), "-4.1 ± 1.2");
        assert_eq!(of(-1e-5, None), "0.0");
        assert_eq!(of(0.02, None), "+2.0");
        assert_eq!(figure(Figure { mean: 0.987, error: Some(0.004) }), "98.7 ± 0.4");
        assert_eq!([30.0, 130.0, 1500.0, 7200.0].map(time), ["30 s", "2.2 min", "25 min", "2.0 h"]);
    }

    #[test]
    fn energies_are_listed_once_each_with_their_visits() {
        assert_eq!(listed(&[508.0, 517.0, 510.5, 508.0]), ["508.00 (2 times)", "510.50", "517.00"]);
    }
}
