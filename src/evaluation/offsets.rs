//! The energy offset as the daemon estimates it, against the true one, on drawn scans.
//!
//! Known and mismatched references, samples of all phases, of two and of one, offsets up to 1 eV of either sign, and scans whose
//! offset changes with energy. Maps are not made: the estimate is that of a settled map. Of an offset in mismatched samples
//! there is no more to be known than the references' own displacements leave: their deviation (0.06 eV) over the root of the
//! number of phases.

use std::fmt::Write as _;

use serde::Serialize;

use super::EvaluationError;
use super::draw::{Conditions, Drawer, Filling};
use super::metrics::ratio;
use crate::absorption::{Intensity, noise_factor};
use crate::classify::{DensityView, EnergyScale, OffsetMode, Recipe, estimate_energies};
use crate::screening::Screen;
use crate::stack::Stack;

/// Incident counts of the scans.
const COUNTS: f64 = 1000.0;
/// Magnitudes of the offset, eV.
const OFFSETS_EV: [f64; 5] = [0.0, 0.1, 0.3, 0.7, 1.0];
/// Slopes, eV per eV; those other than 0 with an offset of 0.2 eV only.
const SLOPES: [f64; 3] = [0.0, 0.005, 0.015];
const SLOPING_EV: f64 = 0.2;
/// An estimate that is trusted and farther off than this is wrong, eV.
const WRONG_EV: f64 = 0.1;

/// How well the offset is found under some conditions.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct OffsetRow {
    /// Whether the sample's spectra differ from the references.
    pub mismatched: bool,
    /// The phases of the sample.
    pub phases: Vec<String>,
    /// Number of energies.
    pub energies: usize,
    /// Largest magnitude of the offset, eV: of several from 0 on.
    pub up_to_ev: f64,
    /// Slope of the offset, eV per eV.
    pub slope: f64,
    /// Scans.
    pub scans: usize,
    /// Share of them whose estimate is trusted.
    pub trusted: f64,
    /// Of these: root mean square of the estimate less the true offset at the middle energy, eV.
    pub rms_ev: f64,
    /// The largest, eV.
    pub worst_ev: f64,
    /// Mean of the standard error as it is stated, eV.
    pub stated_ev: f64,
    /// Share within one standard error …
    pub within_one: f64,
    /// … and within two.
    pub within_two: f64,
    /// How many are farther off than 0.1 eV.
    pub wrong: usize,
    /// Of all scans: share whose slope was told.
    pub sloping: f64,
    /// Of these: root mean square of the slope less the true one, eV per eV.
    pub slope_rms: f64,
    /// Largest deviation, over the energies, of the corrected energies from the true ones, root mean square over all scans, eV.
    pub left_ev: f64,
}

/// How a row is drawn.
struct Case<'a> {
    mismatched: bool,
    phases: &'a [u8],
    energies: usize,
    offsets_ev: &'a [f64],
    slope: f64,
}

/// Scans of one row.
pub(super) fn scans(energies: &[usize], draws: usize, phases: usize) -> usize {
    let of = |case: &Case<'_>| case.offsets_ev.len() * draws;
    cases(energies, &samples(phases)).iter().map(of).sum()
}

/// Every row.
pub(super) fn measure(
    recipe: &Recipe,
    drawer: &Drawer<'_>,
    energies: &[usize],
    seeds: &[u64],
    tick: &mut dyn FnMut(),
) -> Result<Vec<OffsetRow>, EvaluationError> {
    let samples = samples(recipe.references.len());
    let mut rows = Vec::new();
    for case in cases(energies, &samples) {
        let drawer = drawer.clone().with_phases(case.phases).with_slope(case.slope);
        let mut sums = Sums::default();
        for &offset_ev in case.offsets_ev {
            for &seed in seeds {
                let conditions = Conditions {
                    counts: COUNTS,
                    energies: case.energies,
                    offset_ev,
                    mismatched: case.mismatched,
                    filling: Filling::Pure,
                };
                let scan = drawer.draw(&conditions, seed)?;
                let scale = estimate(&scan.stack, recipe);
                sums.add(&scale, scan.offset_ev, case.slope, &scan.stack.plan().energies_ev);
                tick();
            }
        }
        let ids = case.phases.iter().map(|&k| recipe.references.references[usize::from(k)].label.id.clone());
        rows.push(sums.row(&case, ids.collect()));
    }
    Ok(rows)
}

/// All phases, the first with the one in the middle, and that alone.
fn samples(phases: usize) -> [Vec<u8>; 3] {
    let middle = (phases / 2) as u8;
    [(0..phases as u8).collect(), vec![0, middle], vec![middle]]
}

fn cases<'a>(energies: &[usize], samples: &'a [Vec<u8>]) -> Vec<Case<'a>> {
    let mut cases = Vec::new();
    for mismatched in [false, true] {
        for phases in samples {
            for &energies in energies {
                cases.push(Case { mismatched, phases, energies, offsets_ev: &OFFSETS_EV, slope: 0.0 });
            }
        }
        for &slope in SLOPES.iter().filter(|slope| **slope != 0.0) {
            let phases = &samples[0];
            cases.extend(energies.iter().map(|&energies| Case {
                mismatched,
                phases,
                energies,
                offsets_ev: std::slice::from_ref(&SLOPING_EV),
                slope,
            }));
        }
    }
    cases
}

/// The estimate of a settled map.
fn estimate(stack: &Stack, recipe: &Recipe) -> EnergyScale {
    let intensity =
        Intensity::estimate(stack, &Screen::of(stack, &recipe.absorption.detector), &recipe.absorption);
    let max_od = recipe.absorption.max_od;
    let view = DensityView::new(stack, &intensity, max_od, noise_factor(stack, &intensity, max_od));
    let energies_ev = &stack.plan().energies_ev;
    estimate_energies(&view, &recipe.references, energies_ev, &recipe.triage, recipe.calibration.as_ref())
}

#[derive(Default)]
struct Sums {
    scans: usize,
    /// Of the trusted: error and stated error.
    errors: Vec<(f64, f64)>,
    slopes: Vec<f64>,
    left: f64,
}

impl Sums {
    fn add(&mut self, scale: &EnergyScale, offset_ev: f64, slope: f64, energies_ev: &[f64]) {
        self.scans += 1;
        if scale.offset.is_trusted() {
            self.errors.push((scale.offset.offset_ev - offset_ev, scale.offset.error_ev));
        }
        if !scale.offset.slope_error.is_nan() {
            self.slopes.push(scale.offset.slope - slope);
        }
        let middle_ev = 0.5 * (energies_ev.first().unwrap_or(&0.0) + energies_ev.last().unwrap_or(&0.0));
        let applied = scale.applied(OffsetMode::Correct);
        let left = |&e: &f64| (applied.at(e) - offset_ev - slope * (e - middle_ev)).abs();
        self.left += energies_ev.iter().map(left).fold(0.0, f64::max).powi(2);
    }

    fn row(self, case: &Case<'_>, phases: Vec<String>) -> OffsetRow {
        let n = self.errors.len();
        let count =
            |keep: &dyn Fn(f64, f64) -> bool| self.errors.iter().filter(|(d, e)| keep(d.abs(), *e)).count();
        let rms = |sum: f64, n: usize| if n == 0 { f64::NAN } else { (sum / n as f64).sqrt() };
        let mean = |sum: f64, n: usize| if n == 0 { f64::NAN } else { sum / n as f64 };
        OffsetRow {
            mismatched: case.mismatched,
            phases,
            energies: case.energies,
            up_to_ev: case.offsets_ev.iter().copied().fold(0.0, f64::max),
            slope: case.slope,
            scans: self.scans,
            trusted: ratio(n, self.scans),
            rms_ev: rms(self.errors.iter().map(|(d, _)| d * d).sum(), n),
            worst_ev: self.errors.iter().map(|(d, _)| d.abs()).fold(f64::NAN, f64::max),
            stated_ev: mean(self.errors.iter().map(|(_, e)| e).sum(), n),
            within_one: ratio(count(&|d, e| d <= e), n),
            within_two: ratio(count(&|d, e| d <= 2.0 * e), n),
            wrong: count(&|d, _| d > WRONG_EV),
            sloping: ratio(self.slopes.len(), self.scans),
            slope_rms: rms(self.slopes.iter().map(|d| d * d).sum(), self.slopes.len()),
            left_ev: rms(self.left, self.scans),
        }
    }
}

/// The rows as a section of the report.
pub(super) fn markdown(rows: &[OffsetRow]) -> String {
    let mut text = String::new();
    if rows.is_empty() {
        return text;
    }
    // Writing to a String cannot fail.
    _ = writeln!(
        text,
        "\n## Energy offset\n\nWhat the daemon's estimate is off by, {COUNTS} counts, true offsets of either sign up to the one told. \
         *Left* is the largest deviation of the corrected energies from the true ones (root mean square over all scans, trusted or \
         not); in mismatched samples a correction follows the references' displacements, which are no error of the beam.\n"
    );
    _ = writeln!(
        text,
        "| references | phases | energies | offsets up to eV | slope eV/eV | scans | trusted | rms eV | worst eV | stated error eV | within \
         1 | within 2 | off by more than {WRONG_EV} eV | slope told | slope rms | left eV |\n|{}",
        "---|".repeat(16)
    );
    let figure = |value: f64| if value.is_nan() { "–".to_owned() } else { format!("{value:.3}") };
    for r in rows {
        _ = writeln!(
            text,
            "| {} | {} | {} | {} | {} | {} | {} | {} | {} | {} | {} | {} | {} | {} | {} | {} |",
            if r.mismatched { "mismatched" } else { "known" },
            r.phases.join(" "),
            r.energies,
            r.up_to_ev,
            r.slope,
            r.scans,
            figure(r.trusted),
            figure(r.rms_ev),
            figure(r.worst_ev),
            figure(r.stated_ev),
            figure(r.within_one),
            figure(r.within_two),
            r.wrong,
            figure(r.sloping),
            if r.slope_rms.is_nan() { "–".to_owned() } else { format!("{:.4}", r.slope_rms) },
            figure(r.left_ev),
        );
    }
    text
}
