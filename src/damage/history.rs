//! Scans of one place, one after the other: what each found of every phase and particle, at the dose that the place had by then.
//!
//! The first scan of a place says which pixels are looked at together ([`Labels`]): a pixel that changes its phase because the beam
//! damages it stays with its group. Later scans find these pixels by position, whatever their grid, after the sample was moved to
//! where the first scan had it, by whole pixels of that.
//!
//! Scans are compared only where they measured the same energies within the windows of the edge: other energies make other means.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::finding::{DoseUnit, Finding};
use super::groups::{Groups, Of};
use super::sentinels::{LEAST_EMPTY, Signal};
use super::series::{Reading, Series};
use super::shares::shares;
use super::trend::Vigilance;
use crate::classify::{DensityView, PhaseMap, Status};
use crate::reference::{ReferenceSet, Window};
use crate::scan::Grid;

/// How far the sample may have been moved between scans, pixels of the first one.
const FARTHEST_PX: isize = 12;
/// Scans of a place that are kept, the first and the newest ones.
const MOST_RECORDS: usize = 200;
/// Energies closer than this are the same, eV.
const SAME_EV: f64 = 0.05;
/// What scans differ by though nothing happens: optical density as a share and at least, state, misfit as a share.
const FLOORS: (f64, f64, f64, f64) = (0.01, 0.004, 0.03, 0.1);

/// What scans of one place are compared in and may be told of; beside them the shares of the phases.
const SIGNALS: [Signal; 4] = [Signal::WhiteLine, Signal::Mass, Signal::State, Signal::Residual];

/// A value and its standard error.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Estimate {
    /// The value.
    pub value: f64,
    /// Its standard error.
    pub sigma: f64,
}

/// Ascending pixels, as pairs of a first one and how many follow each other from there.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Runs(Vec<(u32, u32)>);

impl Runs {
    /// Of ascending pixels.
    #[must_use]
    pub fn of(pixels: impl Iterator<Item = usize>) -> Self {
        let mut runs: Vec<(u32, u32)> = Vec::new();
        for pixel in pixels {
            match runs.last_mut() {
                Some((first, count)) if *first as usize + *count as usize == pixel => *count += 1,
                _ => runs.push((pixel as u32, 1)),
            }
        }
        Self(runs)
    }

    /// The pixels.
    pub fn pixels(&self) -> impl Iterator<Item = usize> {
        self.0.iter().flat_map(|&(first, count)| (0..count as usize).map(move |i| first as usize + i))
    }
}

/// Which pixels are looked at together, on the grid of the first scan.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Labels {
    /// Its grid.
    pub grid: Grid,
    /// For each group its name, and its pixels.
    pub groups: Vec<(String, Runs)>,
    /// The pixels that hold matter.
    pub matter: Runs,
}

impl Labels {
    /// Those of the groups of a first scan.
    #[must_use]
    pub fn of(map: &PhaseMap, groups: &Groups) -> Self {
        let name = |of: &Of| of.to_string();
        Self {
            grid: map.plan.grid.clone(),
            groups: groups
                .groups
                .iter()
                .map(|group| (name(&group.of), Runs::of(group.pixels.iter().copied())))
                .collect(),
            matter: Runs::of((0..map.len()).filter(|&pixel| map.status[pixel].is_sample())),
        }
    }

    /// The groups on the grid of another scan, wherever its sample lies.
    #[must_use]
    pub fn on(&self, map: &PhaseMap) -> Vec<(String, Vec<usize>)> {
        let grid = &map.plan.grid;
        let mut is_matter = vec![false; self.grid.pixels()];
        self.matter.pixels().filter_map(|pixel| is_matter.get_mut(pixel).map(|is| *is = true)).for_each(drop);
        let place = |pixel: usize| self.place(grid, pixel);
        let places: Vec<Option<[isize; 2]>> = (0..map.len()).map(place).collect();
        let [ny, nx] = self.grid.shape.map(|n| n as isize);
        let at = |[y, x]: [isize; 2], [dy, dx]: [isize; 2]| -> Option<usize> {
            let (y, x) = (y - dy, x - dx);
            ((0..ny).contains(&y) && (0..nx).contains(&x)).then(|| (y * nx + x) as usize)
        };
        let matter: Vec<[isize; 2]> = (0..map.len())
            .filter(|&pixel| map.status[pixel].is_sample())
            .filter_map(|pixel| places[pixel])
            .collect();
        let common = |shift: [isize; 2]| {
            matter.iter().filter(|&&place| at(place, shift).is_some_and(|pixel| is_matter[pixel])).count()
        };
        let shifts =
            (-FARTHEST_PX..=FARTHEST_PX).flat_map(|dy| (-FARTHEST_PX..=FARTHEST_PX).map(move |dx| [dy, dx]));
        // Of equally good ones the nearest: a field full of matter fits everywhere.
        let shift = shifts
            .max_by_key(|&shift| (common(shift), -(shift[0] * shift[0] + shift[1] * shift[1])))
            .unwrap_or([0, 0]);
        let mut of_pixel: Vec<Vec<usize>> = vec![Vec::new(); is_matter.len()];
        for (pixel, place) in places.iter().enumerate() {
            if let Some(own) = place.and_then(|place| at(place, shift)) {
                of_pixel[own].push(pixel);
            }
        }
        self.groups
            .iter()
            .map(|(name, pixels)| {
                let mut own: Vec<usize> =
                    pixels.pixels().filter_map(|pixel| of_pixel.get(pixel)).flatten().copied().collect();
                own.sort_unstable();
                (name.clone(), own)
            })
            .collect()
    }

    /// Row and column of a pixel of another grid on this one; outside they are below 0, or beyond the end.
    fn place(&self, grid: &Grid, pixel: usize) -> Option<[isize; 2]> {
        let [_, nx] = grid.shape;
        let (y, x) = ((pixel / nx) as f64, (pixel % nx) as f64);
        let index = |own: crate::scan::Axis, other: crate::scan::Axis, i: f64| {
            let index = ((other.start + other.step * i - own.start) / own.step).round();
            (index.abs() < 1e6).then_some(index as isize)
        };
        Some([index(self.grid.y, grid.y, y)?, index(self.grid.x, grid.x, x)?])
    }
}

/// What a scan found of one group.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct GroupRecord {
    /// The group: `field`, `phase na2.0`, `particle 3`.
    pub of: String,
    /// Pixels of it that were measured.
    pub pixels: usize,
    /// Mean dose by the end of the scan.
    pub dose: f64,
    /// Optical density before the edge.
    pub mass: Option<Estimate>,
    /// White line less pre-edge, OD.
    pub white_line: Option<Estimate>,
    /// Mean state variable, where the references have one.
    pub state: Option<Estimate>,
    /// Mean reduced chi² of the fits.
    pub residual: Option<Estimate>,
    /// Share of each phase, in the order of the references: what the map believes of the pixels that can be named, on average.
    pub fractions: Vec<f64>,
    /// Standard errors of those; none in what earlier versions kept, whose shares were those among the classified pixels.
    #[serde(default)]
    pub fraction_errors: Vec<f64>,
}

impl GroupRecord {
    /// The share of a phase with its error, where both are known.
    #[must_use]
    pub fn fraction(&self, phase: usize) -> Option<Estimate> {
        let (value, sigma) = (*self.fractions.get(phase)?, *self.fraction_errors.get(phase)?);
        Some(Estimate { value, sigma })
    }

    /// Whether it is a phase: by itself all of it is that phase.
    fn is_phase(&self) -> bool {
        self.of.starts_with("phase ")
    }
}

/// What a scan found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ScanRecord {
    /// The scan.
    pub scan_id: String,
    /// Start of its exposure.
    pub started: DateTime<Utc>,
    /// What doses are counted in.
    pub unit: DoseUnit,
    /// The energies within the windows of the edge, eV.
    pub window_ev: Vec<f64>,
    /// The references it was mapped with.
    pub references_sha256: String,
    /// Their phases, in the order of the fractions; none in what earlier versions kept.
    #[serde(default)]
    pub phases: Vec<String>,
    /// The energy offset, eV, and its error, where it could be estimated.
    pub offset_ev: Option<(f64, f64)>,
    /// Optical density before the edge of the empty pixels, where there are enough.
    pub empty: Option<Estimate>,
    /// Whether its context says operando.
    pub operando: bool,
    /// The groups, those of the place's first scan.
    pub groups: Vec<GroupRecord>,
}

impl ScanRecord {
    /// What a settled map says of groups of pixels; `dose` is by pixel, in `unit`.
    #[must_use]
    pub fn of(
        map: &PhaseMap,
        view: &DensityView<'_>,
        references: &ReferenceSet,
        groups: &[(String, Vec<usize>)],
        (dose, unit): (&[f32], DoseUnit),
    ) -> Self {
        let pre = WindowMeans::of(view, &map.plan.energies_ev, references.pre_edge);
        let line = WindowMeans::of(view, &map.plan.energies_ev, references.white_line);
        let of_group = |(of, pixels): &(String, Vec<usize>)| -> GroupRecord {
            let seen: Vec<usize> = pixels
                .iter()
                .copied()
                .filter(|&pixel| pre.count[pixel] > 0 && line.count[pixel] > 0)
                .collect();
            let mean = |of: &dyn Fn(usize) -> (f64, f64)| -> Option<Estimate> {
                let n = seen.len() as f64;
                let (sum, variance) = seen
                    .iter()
                    .map(|&pixel| of(pixel))
                    .fold((0.0, 0.0), |(s, v), (own, var)| (s + own, v + var));
                (!seen.is_empty()).then(|| Estimate { value: sum / n, sigma: variance.sqrt() / n })
            };
            let doses = pixels.iter().filter_map(|&pixel| dose.get(pixel)).filter(|dose| dose.is_finite());
            let (sum, count) =
                doses.fold((0.0, 0_usize), |(sum, count), &dose| (sum + f64::from(dose), count + 1));
            let shares = shares(map, pixels);
            GroupRecord {
                of: of.clone(),
                pixels: seen.len(),
                dose: sum / count.max(1) as f64,
                mass: mean(&|pixel| pre.at(pixel)),
                white_line: mean(&|pixel| {
                    let ((line, a), (pre, b)) = (line.at(pixel), pre.at(pixel));
                    (line - pre, a + b)
                }),
                state: state(map, references, pixels),
                residual: residual(map, pixels),
                fractions: shares.iter().map(|share| share.value).collect(),
                fraction_errors: shares.iter().map(|share| share.sigma).collect(),
            }
        };
        let offset = &map.origin.energy_offset;
        let mut window_ev: Vec<f64> = map
            .plan
            .energies_ev
            .iter()
            .copied()
            .filter(|&e| references.pre_edge.contains(e) || references.white_line.contains(e))
            .collect();
        window_ev.sort_by(f64::total_cmp);
        window_ev.dedup_by(|a, b| (*a - *b).abs() < SAME_EV);
        Self {
            scan_id: map.plan.scan_id.clone(),
            started: map.plan.started,
            unit,
            window_ev,
            references_sha256: references.sha256.clone(),
            phases: map.phases.iter().map(|label| label.id.clone()).collect(),
            offset_ev: (offset.offset_ev.is_finite() && offset.error_ev.is_finite())
                .then_some((offset.offset_ev, offset.error_ev)),
            empty: empty(map, &pre),
            operando: super::cause::is_operando(map.plan.context.as_ref()),
            groups: groups.iter().map(of_group).collect(),
        }
    }

    /// Whether it is of that scan: identifiers may be used again.
    pub(super) fn is(&self, scan_id: &str, started: DateTime<Utc>) -> bool {
        self.scan_id == scan_id && self.started == started
    }

    pub(super) fn is_comparable(&self, other: &Self) -> bool {
        self.unit == other.unit
            && self.references_sha256 == other.references_sha256
            && self.window_ev.len() == other.window_ev.len()
            && self.window_ev.iter().zip(&other.window_ev).all(|(a, b)| (a - b).abs() < SAME_EV)
    }
}

/// Mean optical density of each pixel over the energies of a window, and its variance.
struct WindowMeans {
    sum: Vec<f32>,
    variance: Vec<f32>,
    count: Vec<u16>,
}

impl WindowMeans {
    fn of(view: &DensityView<'_>, energies_ev: &[f64], window: Window) -> Self {
        let n = view.pixels();
        let mut means = Self { sum: vec![0.0; n], variance: vec![0.0; n], count: vec![0; n] };
        for energy in (0..energies_ev.len()).filter(|&energy| window.contains(energies_ev[energy])) {
            view.visit_plane(energy, |pixel, density| {
                means.sum[pixel] += density.od;
                means.variance[pixel] += density.variance;
                means.count[pixel] += 1;
            });
        }
        means
    }

    fn at(&self, pixel: usize) -> (f64, f64) {
        let n = f64::from(self.count[pixel]);
        (f64::from(self.sum[pixel]) / n, f64::from(self.variance[pixel]) / (n * n))
    }
}

/// What empty pixels say before the edge: nothing, unless I0 is off.
fn empty(map: &PhaseMap, pre: &WindowMeans) -> Option<Estimate> {
    let is_empty = |pixel: &usize| map.status[*pixel] == Status::Background && pre.count[*pixel] > 0;
    let values: Vec<f64> = (0..map.len()).filter(is_empty).map(|pixel| pre.at(pixel).0).collect();
    of_values(&values).filter(|_| values.len() >= LEAST_EMPTY)
}

/// Mean and standard error of what pixels say, each one observation.
fn of_values(values: &[f64]) -> Option<Estimate> {
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    let spread = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / (n - 1.0);
    (values.len() > 1).then(|| Estimate { value: mean, sigma: (spread / n).sqrt() })
}

/// Mean of the state variable over pixels, each with its phase and runner-up in their shares; without a state variable the share of the
/// most reduced phase cannot be known, and there is none.
fn state(map: &PhaseMap, references: &ReferenceSet, pixels: &[usize]) -> Option<Estimate> {
    let of_phase: Vec<Option<f64>> = references
        .references
        .iter()
        .map(|reference| reference.composition.state.as_ref().map(|(_, value)| *value))
        .collect();
    let of = |phase: u8| of_phase.get(usize::from(phase)).copied().flatten();
    let of_pixel = |&pixel: &usize| -> Option<f64> {
        let first = of(map.phase[pixel])?;
        match map.status[pixel] {
            Status::Classified => Some(first),
            Status::Mixture => {
                let (second, share) = (of(map.runner_up[pixel])?, f64::from(map.share[pixel]));
                share.is_finite().then_some(share * first + (1.0 - share) * second)
            }
            _ => None,
        }
    };
    of_values(&pixels.iter().filter_map(of_pixel).collect::<Vec<_>>())
}

fn residual(map: &PhaseMap, pixels: &[usize]) -> Option<Estimate> {
    let matter = pixels.iter().filter(|&&pixel| map.status[pixel].is_sample());
    let values: Vec<f64> =
        matter.map(|&pixel| f64::from(map.fit_chi2[pixel])).filter(|chi2| chi2.is_finite()).collect();
    of_values(&values)
}

/// All that is known of one place.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct History {
    /// The groups, from the first scan.
    pub labels: Labels,
    /// The scans, by their start.
    pub records: Vec<ScanRecord>,
}

impl History {
    /// Whether any of its scans was mapped with these references.
    #[must_use]
    pub fn is_comparable_with(&self, references_sha256: &str) -> bool {
        self.records.iter().any(|record| record.references_sha256 == references_sha256)
    }

    /// Takes in a scan, in the place of an earlier record of it.
    pub fn take(&mut self, record: ScanRecord) {
        self.records.retain(|own| !own.is(&record.scan_id, record.started));
        self.records.push(record);
        self.records.sort_by(|a, b| (a.started, &a.scan_id).cmp(&(b.started, &b.scan_id)));
        if self.records.len() > MOST_RECORDS {
            self.records.remove(1);
        }
    }

    /// What was there before a scan: the groups, and the records of other scans that had started before it.
    #[must_use]
    pub fn before(mut self, scan_id: &str, started: DateTime<Utc>) -> Self {
        self.records.retain(|own| own.started <= started && !own.is(scan_id, started));
        self
    }

    /// What the scans up to and including one, by its identifier and start, say of every signal of every group, those that can be compared with it; nothing with fewer
    /// than two.
    #[must_use]
    pub fn findings(&self, (scan_id, started): (&str, DateTime<Utc>), false_alarms: f64) -> Vec<Finding> {
        let Some(last) = self.records.iter().position(|record| record.is(scan_id, started)) else {
            return Vec::new();
        };
        let now = &self.records[last];
        let records: Vec<&ScanRecord> =
            self.records[..=last].iter().filter(|record| record.is_comparable(now)).collect();
        // A place may be scanned again and again: each scan is another look.
        let readings = records.len().next_power_of_two().max(8);
        let vigilance = |series: usize| Vigilance { false_alarms, series, readings };
        let own = vigilance(now.groups.len() * SIGNALS.len());
        // Shares raise no alert by themselves, and so take nothing from what those that do may claim.
        let wide = now.groups.iter().filter(|group| !group.is_phase());
        let of_shares = vigilance(wide.count() * now.phases.len());
        let mut findings = Vec::new();
        for group in &now.groups {
            for signal in SIGNALS {
                let series = series_of(&records, &group.of, (signal, 0));
                let scale = match signal {
                    Signal::State => 1.0,
                    _ => series.first().unwrap_or(f64::NAN).abs().max(0.05),
                };
                let names = (signal, None, group.of.clone());
                findings.extend(
                    Finding::of(names, now.unit, series, scale, None, &own).map(|(finding, ..)| finding),
                );
            }
            for (phase, id) in now.phases.iter().enumerate().filter(|_| !group.is_phase()) {
                let series = series_of(&records, &group.of, (Signal::Fraction, phase));
                let names = (Signal::Fraction, None, group.of.clone());
                let found = Finding::of(names, now.unit, series, 1.0, None, &of_shares);
                findings.extend(found.map(|(finding, ..)| Finding { phase: Some(id.clone()), ..finding }));
            }
        }
        findings
    }
}

/// `phase` is that of a fraction.
fn series_of(records: &[&ScanRecord], of: &str, (signal, phase): (Signal, usize)) -> Series {
    let start = records.first().map(|record| record.started);
    let (share, least, state, misfit) = FLOORS;
    let reading = |record: &&ScanRecord| -> Option<Reading> {
        let group = record.groups.iter().find(|group| group.of == of)?;
        let (estimate, floor) = match signal {
            Signal::WhiteLine => (group.white_line?, (share * group.white_line?.value).hypot(least)),
            Signal::Mass => (group.mass?, (share * group.mass?.value).hypot(least)),
            Signal::State => (group.state?, state),
            // What it is off by between scans is in its error.
            Signal::Fraction => (group.fraction(phase)?, 0.0),
            Signal::Reduction => return None,
            Signal::Residual => (group.residual?, misfit * group.residual?.value),
        };
        let time_s = (record.started - start?).as_seconds_f64();
        Some(Reading { dose: group.dose, time_s, value: estimate.value, sigma: estimate.sigma.hypot(floor) })
    };
    let mut readings: Vec<Reading> = records.iter().filter_map(reading).collect();
    if records.first().is_some_and(|record| record.unit == DoseUnit::Seconds) {
        // Nobody added these up before.
        readings.iter_mut().fold(0.0, |sum, reading| {
            reading.dose += sum;
            reading.dose
        });
    }
    Series { readings, plateau: None, floor: 0.0 }
}

#[cfg(test)]
#[path = "history_tests.rs"]
mod tests;
