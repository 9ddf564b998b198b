//! Signals within a scan: energies that it measures again and again.
//!
//! An energy that the plan has more than once is a *sentinel*; each time it is measured is a *visit*. Two signals come of them:
//!
//! - **white line**: optical density at a sentinel above the edge less that at a sentinel before the edge, visited next to it;
//! - **mass**: optical density at a sentinel before the edge.
//!
//! A reading is the mean over the pixels of a group that were measured at every visit, less that over the empty pixels of the same images, in
//! which what is wrong with I0 cancels. Its error is taken from the data, line by line: what a line has in common (flicker of the beam)
//! is counted as one, not as many pixels; what the photons alone make counts where that is more. The images of a sentinel are brought to where the
//! first of them has the sample ([`super::still`]), and what is left of the displacement would do to this very group is added to the error.

use std::collections::BTreeMap;

use super::groups::Group;
use super::series::{Reading, Series};
use super::still;
use crate::classify::DensityView;
use crate::reference::ReferenceSet;

/// Share of a group's pixels that a visit must have measured to count.
const MEASURED: f64 = 0.8;
/// Empty pixels needed to compare with.
pub(super) const LEAST_EMPTY: usize = 100;
/// Change of blur from visit to visit that may stay unnoticed, pixels²: half the variance that it adds to the spot. Resampling makes as much.
const BLUR_PX2: f64 = 0.04;
/// Displacement that stays whatever the images tell, pixels.
const LEAST_ERROR_PX: f64 = 0.025;
/// Times that an energy must be planned to be a sentinel.
const LEAST_VISITS: usize = 2;
/// Most bytes of the images of one signal at once, and visits that are kept whatever they take.
const MOST_BYTES: usize = 256 << 20;
/// See [`MOST_BYTES`].
const LEAST_KEPT: usize = 8;

/// A signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Signal {
    /// White line above the pre-edge.
    WhiteLine,
    /// Optical density before the edge.
    Mass,
    /// What of all phases is not reduced yet, by the references.
    Reduction,
    /// Mean of the state variable, such as the sodium content.
    State,
    /// Share of one phase.
    Fraction,
    /// What no reference explains.
    Residual,
}

impl Signal {
    /// The word in rules and messages.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::WhiteLine => "white_line",
            Self::Mass => "mass",
            Self::Reduction => "reduction",
            Self::State => "state",
            Self::Fraction => "fraction",
            Self::Residual => "residual",
        }
    }
}

/// One visit of a signal: the image, and the one that is taken off it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Visit {
    /// Index of the energy in the plan.
    pub energy: usize,
    /// Index of the visit of the pre-edge sentinel that it is compared with.
    pub less: Option<usize>,
}

/// The sentinels of a plan.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sentinels {
    /// Of each signal, the visits in the order of the plan.
    pub signals: Vec<(Signal, f64, Vec<Visit>)>,
}

impl Sentinels {
    /// Those of a plan with these energies; `first_entries` names for each the first entry of the same energy. Two entries side by side, as where
    /// two ranges meet, are one visit, and no sentinel.
    #[must_use]
    pub fn of(energies_ev: &[f64], first_entries: &[usize], references: &ReferenceSet) -> Self {
        let mut visits: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        for (entry, &first) in first_entries.iter().enumerate().take(energies_ev.len()) {
            visits.entry(first).or_default().push(entry);
        }
        visits.retain(|first, visits| visits.last().is_some_and(|last| last - first > 1));
        let is_before = |entry: usize| energies_ev[entry] <= references.pre_edge.to_ev;
        let before = visits.iter().filter(|(first, _)| is_before(**first));
        let mut partners: Vec<usize> = before.flat_map(|(_, visits)| visits.iter().copied()).collect();
        partners.sort_unstable();
        let nearest = |energy: usize| {
            let after = partners.partition_point(|&partner| partner < energy);
            let beside = [after.checked_sub(1), Some(after)].into_iter().flatten();
            beside.filter_map(|i| partners.get(i).copied()).min_by_key(|partner| partner.abs_diff(energy))
        };
        let signals = visits.iter().map(|(&first, visits)| {
            let (signal, less): (_, &dyn Fn(usize) -> Option<usize>) =
                if is_before(first) { (Signal::Mass, &|_| None) } else { (Signal::WhiteLine, &nearest) };
            let visit = |&energy: &usize| Visit { energy, less: less(energy) };
            (signal, energies_ev[first], visits.iter().map(visit).collect())
        });
        Self { signals: signals.collect() }
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.signals.is_empty()
    }

    /// Name of the rule of each signal: that of the signal for its first sentinel, with the energy for every other, so that a plan that grows
    /// changes no name.
    #[must_use]
    pub fn rules(&self) -> Vec<String> {
        let is_first = |i: usize| self.signals[..i].iter().all(|(signal, ..)| *signal != self.signals[i].0);
        let rule = |(i, (signal, energy_ev, _)): (usize, &(Signal, f64, Vec<Visit>))| {
            if is_first(i) { signal.name().to_owned() } else { format!("{}@{energy_ev}", signal.name()) }
        };
        self.signals.iter().enumerate().map(rule).collect()
    }
}

/// How far the sentinels of a scan are: what was looked at, and what there is now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Visits that are there, or nearly.
    pub visits: usize,
    /// Values of all visits.
    pub values: usize,
}

impl Progress {
    /// Whether there is so much more than at an earlier look that another is due: a visit, or where images grow side by side, a quarter.
    #[must_use]
    pub fn is_due_after(&self, earlier: &Self) -> bool {
        self.visits >= LEAST_VISITS
            && (self.visits > earlier.visits || 4 * self.values >= 5 * earlier.values.max(1))
    }
}

impl Sentinels {
    /// How far they are; `measured` says how many pixels of an image were.
    #[must_use]
    pub fn progress(&self, energies: usize, measured: &dyn Fn(usize) -> usize) -> Progress {
        let fullest = (0..energies).map(measured).max().unwrap_or(0);
        let mut progress = Progress::default();
        for visit in self.signals.iter().flat_map(|(_, _, visits)| visits) {
            progress.visits += usize::from(is_done(visit, fullest, measured));
            progress.values += measured(visit.energy);
        }
        progress
    }

    /// Leaves out the visits that are not there, or nearly.
    pub fn keep_done(&mut self, energies: usize, measured: &dyn Fn(usize) -> usize) {
        let fullest = (0..energies).map(measured).max().unwrap_or(0);
        for (_, _, visits) in &mut self.signals {
            visits.retain(|visit| is_done(visit, fullest, measured));
        }
    }
}

/// Whether both images of a visit have as many pixels as the fullest of the scan, or nearly.
fn is_done(visit: &Visit, fullest: usize, measured: &dyn Fn(usize) -> usize) -> bool {
    let done = |energy: usize| measured(energy) > 0 && 20 * measured(energy) >= 19 * fullest;
    done(visit.energy) && visit.less.is_none_or(done)
}

/// The images of a signal's visits, ready to be averaged over any group.
#[derive(Debug, Default)]
pub struct Images {
    visits: Vec<Visit>,
    /// Optical density of each pixel at each visit, pre-edge taken off; NaN where there is none.
    od: Vec<Vec<f32>>,
    /// Its variance.
    variance: Vec<Vec<f32>>,
    /// What was taken off it, where anything was.
    before: Vec<Option<Before>>,
    /// What all pixels of a visit have in common.
    common: Vec<f64>,
    /// How far the sample may lie from where the first visit has it, pixels; NaN where that was not told.
    error_px: Vec<f64>,
    columns: usize,
}

/// What was taken off an image: its optical density and variance, pixel by pixel.
#[derive(Clone, Debug)]
struct Before {
    od: Vec<f32>,
    variance: Vec<f32>,
}

/// One image.
#[derive(Clone, Debug)]
struct Plane {
    od: Vec<f32>,
    variance: Vec<f32>,
    common: f64,
    error_px: f64,
}

/// The images of one energy as they are asked for.
struct Planes<'a> {
    columns: usize,
    pixels: &'a [usize],
    first: Option<Vec<f32>>,
    last: Option<(usize, Plane)>,
}

impl<'a> Planes<'a> {
    fn new(columns: usize, pixels: &'a [usize]) -> Self {
        Self { columns, pixels, first: None, last: None }
    }

    /// The image at an entry of the plan; `None` where nothing of it was measured.
    fn take(&mut self, view: &DensityView<'_>, energy: usize) -> Option<Plane> {
        if let Some((_, plane)) = self.last.as_ref().filter(|(last, _)| *last == energy) {
            return Some(plane.clone());
        }
        let (mut od, mut variance) = (vec![f32::NAN; view.pixels()], vec![f32::NAN; view.pixels()]);
        view.visit_plane(energy, |pixel, density| {
            (od[pixel], variance[pixel]) = (density.od, density.variance)
        });
        if od.iter().all(|od| od.is_nan()) {
            return None;
        }
        let mut error_px = 0.0;
        match &self.first {
            None => self.first = Some(od.clone()),
            Some(first) => {
                let still = still::settle(first, od, self.columns, self.pixels);
                (od, error_px) = (still.od, still.error_px);
            }
        }
        let plane = Plane { od, variance, common: view.common_variance(energy), error_px };
        self.last = Some((energy, plane.clone()));
        Some(plane)
    }
}

impl Images {
    /// The images of the visits that were measured, brought to where the first visit has the sample, which is somewhere in `pixels`.
    #[must_use]
    pub fn of(view: &DensityView<'_>, visits: &[Visit], columns: usize, pixels: &[usize]) -> Self {
        let mut images = Self { columns, ..Self::default() };
        // A scan may do nothing but repeat an energy: then some visits stand for all.
        let most = (MOST_BYTES / (16 * view.pixels().max(1))).max(LEAST_KEPT);
        let thinned = (0..visits.len().min(most)).map(|i| match visits.len() {
            all if all <= most => visits[i],
            all => visits[i * (all - 1) / (most - 1)],
        });
        // Visits of the energy before the edge may serve several of the others.
        let (mut line, mut before) = (Planes::new(columns, pixels), Planes::new(columns, pixels));
        for visit in thinned {
            let Some(mut image) = line.take(view, visit.energy) else { continue };
            let mut taken_off = None;
            if let Some(less) = visit.less {
                let Some(less) = before.take(view, less) else { continue };
                image.od.iter_mut().zip(&less.od).for_each(|(od, less)| *od -= less);
                image.variance.iter_mut().zip(&less.variance).for_each(|(variance, less)| *variance += less);
                image.common += less.common;
                image.error_px = image.error_px.max(less.error_px);
                taken_off = Some(Before { od: less.od, variance: less.variance });
            }
            if image.od.iter().any(|od| !od.is_nan()) {
                images.visits.push(visit);
                images.od.push(image.od);
                images.variance.push(image.variance);
                images.before.push(taken_off);
                images.common.push(image.common);
                images.error_px.push(image.error_px);
            }
        }
        images
    }

    /// What the means over a group are, visit by visit, with the visits that they are of. `empty` pixels are compared with; `unmoved_px` is how far the
    /// sample may lie from where it is taken to lie, where its own images do not tell.
    #[must_use]
    pub fn read(&self, group: &Group, empty: &[usize], unmoved_px: f64) -> (Vec<Visit>, Vec<Mean>) {
        let measured =
            |visit: usize| group.pixels.iter().filter(|&&pixel| !self.od[visit][pixel].is_nan()).count();
        let counts: Vec<usize> = (0..self.visits.len()).map(measured).collect();
        let most = counts.iter().copied().max().unwrap_or(0);
        let used: Vec<usize> = (0..self.visits.len())
            .filter(|&visit| counts[visit] as f64 >= MEASURED * most as f64 && most > 0)
            .collect();
        let pixels = self.measured_at_all(&used, &group.pixels);
        let empty = self.measured_at_all(&used, empty);
        let compare = empty.len() >= LEAST_EMPTY;
        if pixels.len() < group.matter.min(group.pixels.len()) / 2 || pixels.is_empty() {
            return (Vec::new(), Vec::new());
        }
        let (own, none) = (self.means(&used, &pixels), self.means(&used, &empty));
        let before = |visit: usize| -> Option<TakenOff> {
            let before = self.before[visit].as_ref()?;
            let rest = if compare { mean(&before.od, &empty) } else { 0.0 };
            let share = mean(&before.variance, &pixels) / mean(&self.variance[visit], &pixels);
            let taken = TakenOff { value: mean(&before.od, &pixels) - rest, share };
            (taken.value.is_finite() && taken.share.is_finite()).then_some(taken)
        };
        let [down, right] = self.tilt(used.first().copied(), &pixels);
        let blurred = (BLUR_PX2 * self.bulge(used.first().copied(), &pixels)).powi(2);
        let means = used
            .iter()
            .enumerate()
            .map(|(i, &visit)| {
                let (mut value, mut variance) = own[i];
                let error_px = if self.error_px[visit].is_nan() { unmoved_px } else { self.error_px[visit] };
                let displaced = (down.hypot(right) * error_px.max(LEAST_ERROR_PX)).powi(2) + blurred;
                if compare {
                    (value, variance) = (value - none[i].0, variance + none[i].1);
                } else {
                    variance += self.common[visit];
                }
                Mean {
                    value,
                    sigma: (variance + displaced).sqrt(),
                    empty: compare.then(|| (none[i].0, none[i].1.sqrt())),
                    tilt: [down, right],
                    before: before(visit),
                }
            })
            .collect();
        (used.iter().map(|&visit| self.visits[visit]).collect(), means)
    }

    fn measured_at_all(&self, used: &[usize], pixels: &[usize]) -> Vec<usize> {
        let all = |&&pixel: &&usize| used.iter().all(|&visit| !self.od[visit][pixel].is_nan());
        pixels.iter().filter(all).copied().collect()
    }

    /// Mean over pixels, and variance of the mean, for each visit.
    fn means(&self, used: &[usize], pixels: &[usize]) -> Vec<(f64, f64)> {
        let n = pixels.len().max(1) as f64;
        let sum = |values: &[f32]| pixels.iter().map(|&pixel| f64::from(values[pixel])).sum::<f64>();
        let photons: Vec<f64> = used.iter().map(|&visit| sum(&self.variance[visit]) / (n * n)).collect();
        let scatter: Vec<f64> = used.windows(2).map(|pair| self.scatter(pair[0], pair[1], pixels)).collect();
        (0..used.len())
            .map(|i| {
                // Of both neighbours in time the calmer one: the other one's scatter may be its own.
                let beside = [i.checked_sub(1).map(|before| scatter[before]), scatter.get(i).copied()];
                let seen = beside.into_iter().flatten().fold(f64::INFINITY, f64::min);
                let seen = if seen.is_finite() { seen } else { 0.0 };
                (sum(&self.od[used[i]]) / n, photons[i].max(seen))
            })
            .collect()
    }

    /// Half the variance of the mean difference between two visits, each line being one observation.
    fn scatter(&self, one: usize, other: usize, pixels: &[usize]) -> f64 {
        let difference = |pixel: usize| f64::from(self.od[one][pixel]) - f64::from(self.od[other][pixel]);
        let n = pixels.len() as f64;
        let mean = pixels.iter().map(|&pixel| difference(pixel)).sum::<f64>() / n;
        let (mut lines, mut sum) = (0_usize, 0.0);
        for line in pixels.chunk_by(|a, b| a / self.columns == b / self.columns) {
            let own: f64 = line.iter().map(|&pixel| difference(pixel) - mean).sum();
            (lines, sum) = (lines + 1, sum + own * own);
        }
        // Few lines say little of their scatter.
        if lines < 4 { 0.0 } else { 0.5 * sum / (n * n) * lines as f64 / (lines - 1) as f64 }
    }

    /// By how much the mean over the pixels changes per pixel² of blur: the mean of the second derivatives, which for a group with a rim is
    /// nothing.
    fn bulge(&self, visit: Option<usize>, pixels: &[usize]) -> f64 {
        let Some(od) = visit.map(|visit| &self.od[visit]) else { return 0.0 };
        let bulge = |&pixel: &usize| -> Option<f64> {
            let column = pixel % self.columns;
            if column == 0 || column + 1 == self.columns {
                return None;
            }
            let around = [pixel.checked_sub(self.columns)?, pixel + self.columns, pixel - 1, pixel + 1];
            let sum: f64 = around
                .into_iter()
                .map(|other| od.get(other).map(|od| f64::from(*od)))
                .sum::<Option<f64>>()?;
            let bulge = sum - 4.0 * f64::from(od[pixel]);
            bulge.is_finite().then_some(bulge)
        };
        pixels.iter().filter_map(bulge).sum::<f64>() / pixels.len().max(1) as f64
    }

    /// By how much the mean over the pixels changes per pixel of displacement, down and to the right.
    fn tilt(&self, visit: Option<usize>, pixels: &[usize]) -> [f64; 2] {
        let Some(od) = visit.map(|visit| &self.od[visit]) else { return [0.0; 2] };
        let slopes = pixels.iter().filter_map(|&pixel| still::slopes(od, pixel, self.columns));
        let sum = slopes.fold([0.0; 2], |sum, [down, right]| [sum[0] + down, sum[1] + right]);
        // What lies further down has at a pixel the value of the pixel above.
        sum.map(|sum| -sum / pixels.len().max(1) as f64)
    }
}

/// A mean over a group at one visit.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Mean {
    /// The mean, that of the empty pixels taken off.
    pub value: f64,
    /// Its standard error.
    pub sigma: f64,
    /// The mean of the empty pixels and its standard error, where there are enough.
    pub empty: Option<(f64, f64)>,
    /// Change of the mean per pixel of displacement, down and to the right.
    pub tilt: [f64; 2],
    /// What was taken off: the optical density before the edge.
    pub before: Option<TakenOff>,
}

/// The mean of what was taken off a signal.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TakenOff {
    /// The mean, that of the empty pixels taken off.
    pub value: f64,
    /// Share of the variance of the signal that it makes, 0 to 1.
    pub share: f64,
}

/// Mean over pixels.
fn mean(od: &[f32], pixels: &[usize]) -> f64 {
    pixels.iter().map(|&pixel| f64::from(od[pixel])).sum::<f64>() / pixels.len().max(1) as f64
}

/// The series of means, at the doses and times of their visits.
#[must_use]
pub(super) fn series(
    visits: &[Visit],
    means: &[Mean],
    dose: impl Fn(&Visit) -> f64,
    time_s: impl Fn(&Visit) -> f64,
    floor: f64,
) -> Series {
    let reading = |(visit, mean): (&Visit, &Mean)| Reading {
        dose: dose(visit),
        time_s: time_s(visit),
        value: mean.value,
        sigma: mean.sigma,
    };
    Series { readings: visits.iter().zip(means).map(reading).collect(), plateau: None, floor }
}

#[cfg(test)]
#[path = "sentinels_tests.rs"]
mod tests;
