//! The pixels that are still open, gathered into groups that look at the energy axis alike.
//!
//! A case is one open pixel: its best guess, the readings it could still turn out to be, and how probable each is. The
//! probabilities follow from a weighted fit of every reference (amplitude and constant free), scaled by the misfit as
//! triage does it, and are then brought to the confidence that the map states, so that whatever else went into the map
//! (calibration, a model, neighbours) counts here, too. Cases of one phase and about one thickness form a group; a
//! group has one [`Contrast`] per other phase.
//!
//! Before the map has any guess all phases are taken as equally likely, at three thicknesses.

use super::axis::Axis;
use super::beam::{Beam, BeamSums};
use super::contrast::{Contrast, Sight};
use super::odds::Odds;
use crate::classify::spectrum::Spectrum;
use crate::classify::{Ambiguity, DensityView, NO_PHASE, PhaseMap, Status};

/// Open pixels that are looked at, evenly taken; more would not change the shares.
const MAX_CASES: usize = 2048;
/// Doubt (1 - confidence) below which a pixel counts as settled.
const SETTLED: f64 = 1e-4;
/// Other readings kept of each case.
const RIVALS: usize = 4;
/// Amplitudes assumed while nothing is known, in those of the references.
const GUESSED_AMPLITUDES: [f64; 3] = [0.4, 0.8, 1.4];

/// One open pixel, or several alike.
#[derive(Clone, Copy, Debug)]
pub(super) struct Case {
    pub group: usize,
    /// Distances of this pixel over those of its group.
    pub scale: f64,
    /// How many pixels it stands for.
    pub weight: f64,
    /// Probability of the best guess.
    pub first: f64,
    /// Other phases and their probabilities; [`NO_PHASE`] pads.
    pub rivals: [(u8, f64); RIVALS],
    /// Two phases along the beam are the better reading.
    pub mixed: bool,
}

impl Case {
    pub(super) fn rivals(&self) -> impl Iterator<Item = (usize, Odds)> + '_ {
        let known = self.rivals.iter().filter(|rival| rival.0 != NO_PHASE);
        known.map(|&(phase, second)| (phase as usize, Odds { first: self.first, second }))
    }
}

/// Cases of one phase and about one thickness.
#[derive(Clone, Debug)]
pub(super) struct Group {
    pub phase: usize,
    /// In those of the reference.
    pub amplitude: f64,
    /// OD of what is not the reference.
    pub base: f64,
    /// Reduced chi² of the fits, 1 at least.
    pub dispersion: f64,
    /// One per phase; that of the group's own phase is not used.
    pub contrasts: Vec<Contrast>,
    /// For each phase the sum of sqrt(P Q), the weight of that pair in what is worth measuring.
    pub mass: Vec<f64>,
    /// For each phase the sum of Q, the pixels that would turn out to be it.
    pub wrong: Vec<f64>,
}

impl Group {
    pub(super) fn od(&self, axis: &Axis, energy: usize) -> f64 {
        self.base + self.amplitude * axis.od(energy, self.phase)
    }

    /// What an energy shows of this group against phase `rival`; `None` where nothing can be measured.
    pub(super) fn sight(
        &self,
        axis: &Axis,
        beam: &Beam,
        max_od: f64,
        energy: usize,
        rival: usize,
    ) -> Option<Sight> {
        let od = self.od(axis, energy);
        if !axis.used[energy] || od > max_od {
            return None;
        }
        let variance = beam.variance(axis.energies_ev[energy], axis.dwell_ms[energy], od) * self.dispersion;
        Some(Sight {
            difference: axis.od(energy, self.phase) - axis.od(energy, rival),
            second: axis.od(energy, rival),
            slope: axis.slope(energy, rival),
            weight: self.amplitude * self.amplitude / variance,
        })
    }

    /// The phases that any of its cases could still turn out to be.
    pub(super) fn rivals(&self) -> impl Iterator<Item = usize> + '_ {
        (0..self.mass.len()).filter(|&rival| rival != self.phase && self.mass[rival] > 0.0)
    }

    /// The contrasts after one more energy.
    pub(super) fn measure(&mut self, axis: &Axis, beam: &Beam, max_od: f64, energy: usize) {
        for rival in 0..self.contrasts.len() {
            if rival != self.phase
                && let Some(sight) = self.sight(axis, beam, max_od, energy, rival)
            {
                self.contrasts[rival].add(&sight);
            }
        }
    }
}

/// Shares of the sample pixels.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Census {
    /// Pixels with a best guess.
    pub pixels: usize,
    /// Those whose doubt is above [`SETTLED`].
    pub open: usize,
    /// Ambiguous ones, by cause, in the order of [`Ambiguity::ALL`].
    pub ambiguous: [usize; 5],
    /// Sum of the doubts of those that count as settled.
    pub settled_doubt: f64,
    /// Median reduced chi² of the fits; NaN where there is none.
    pub misfit: f64,
}

/// All that is open.
#[derive(Clone, Debug)]
pub(super) struct Crowd {
    pub cases: Vec<Case>,
    pub groups: Vec<Group>,
    pub census: Census,
    pub max_od: f64,
    /// Nothing is guessed yet: all phases are equally likely.
    pub prior: bool,
    /// Typical amplitude and base.
    pub typical: [f64; 2],
}

impl Crowd {
    /// The open pixels of `map`, whose spectra `view` has; `axis` holds the energies of the plan.
    pub(super) fn of(map: &PhaseMap, view: &DensityView<'_>, axis: &Axis, max_od: f64) -> (Self, Beam) {
        let census = census(map);
        let mut sums = BeamSums::new(&map.plan);
        let mut spectrum = Spectrum::default();
        for pixel in every(&particle(map), 128) {
            view.gather(pixel, &mut spectrum);
            sums.add(&spectrum);
        }
        let open: Vec<usize> =
            particle(map).into_iter().filter(|&pixel| doubt(map, pixel) > SETTLED).collect();
        let sample = every(&open, MAX_CASES);
        let weight = open.len() as f64 / sample.len().max(1) as f64;
        let mut fits = Fits::new(axis.phases());
        let mut entries = Vec::with_capacity(sample.len());
        for pixel in sample {
            view.gather(pixel, &mut spectrum);
            sums.add(&spectrum);
            if fits.load(&spectrum, axis) {
                entries.extend(entry(map, pixel, &fits, weight));
            }
        }
        let beam = sums.into_beam(&map.plan, &axis.energies_ev);
        if census.pixels == 0 {
            return (Self { census, ..Self::prior(axis.phases(), max_od) }, beam);
        }
        let (cases, groups, typical) = grouped(entries, axis.phases());
        (Self { cases, groups, census, max_od, prior: false, typical }, beam)
    }

    /// Nothing known: every phase at every guessed thickness, as likely as any other.
    pub(super) fn prior(phases: usize, max_od: f64) -> Self {
        let group = |phase: usize, amplitude: f64| Group {
            phase,
            amplitude,
            base: 0.0,
            dispersion: 1.0,
            contrasts: vec![Contrast::default(); phases],
            mass: vec![1.0; phases],
            wrong: vec![0.0; phases],
        };
        let groups = (0..phases).flat_map(|k| GUESSED_AMPLITUDES.map(|amplitude| group(k, amplitude)));
        Self {
            cases: Vec::new(),
            groups: groups.collect(),
            census: Census { misfit: f64::NAN, ..Census::default() },
            max_od,
            prior: true,
            typical: [GUESSED_AMPLITUDES[1], 0.0],
        }
    }

    /// Takes in the energies measured so far.
    pub(super) fn measured(&mut self, axis: &Axis, beam: &Beam, measured: &[bool]) {
        for energy in (0..axis.len()).filter(|&e| measured[e]) {
            self.groups.iter_mut().for_each(|group| group.measure(axis, beam, self.max_od, energy));
        }
        if self.prior {
            // What is known is how well the phases could have been told apart by now.
            for group in &mut self.groups {
                for (mass, contrast) in group.mass.iter_mut().zip(&group.contrasts) {
                    *mass = (-contrast.distance() / 8.0).exp();
                }
            }
        }
    }
}

/// Whether the map itself says that two phases lie over each other, or could.
pub(super) fn is_mixed(map: &PhaseMap, pixel: usize) -> bool {
    map.status[pixel] == Status::Mixture
        || matches!(map.ambiguity[pixel], Ambiguity::Mixture | Ambiguity::Indistinguishable)
}

fn doubt(map: &PhaseMap, pixel: usize) -> f64 {
    let confidence = f64::from(map.confidence[pixel]);
    if confidence.is_nan() { 1.0 } else { (1.0 - confidence).clamp(0.0, 1.0) }
}

/// Pixels with a best guess among the phases.
fn particle(map: &PhaseMap) -> Vec<usize> {
    let guessed = |status: Status| matches!(status, Status::Classified | Status::Mixture | Status::Ambiguous);
    (0..map.len()).filter(|&p| map.phase[p] != NO_PHASE && guessed(map.status[p])).collect()
}

/// At most `most` of `pixels`, evenly taken.
fn every(pixels: &[usize], most: usize) -> Vec<usize> {
    pixels.iter().copied().step_by(pixels.len().div_ceil(most).max(1)).collect()
}

fn census(map: &PhaseMap) -> Census {
    let mut census = Census::default();
    let mut misfits = Vec::new();
    for pixel in particle(map) {
        census.pixels += 1;
        let doubt = doubt(map, pixel);
        if doubt > SETTLED {
            census.open += 1;
        } else {
            census.settled_doubt += doubt;
        }
        if map.status[pixel] == Status::Ambiguous {
            census.ambiguous[map.ambiguity[pixel] as usize] += 1;
        }
        if map.fit_chi2[pixel].is_finite() {
            misfits.push(f64::from(map.fit_chi2[pixel]));
        }
    }
    census.misfit = median(&mut misfits);
    census
}

/// NaN of nothing.
fn median(values: &mut [f64]) -> f64 {
    if values.is_empty() {
        return f64::NAN;
    }
    let middle = values.len() / 2;
    *values.select_nth_unstable_by(middle, f64::total_cmp).1
}

/// Weighted fits of every reference to one spectrum.
struct Fits {
    phases: usize,
    mean: Vec<f64>,
    rr: Vec<f64>,
    xr: Vec<f64>,
    mean_x: f64,
    xx: f64,
}

impl Fits {
    fn new(phases: usize) -> Self {
        let zeros = vec![0.0; phases];
        Self { phases, mean: zeros.clone(), rr: zeros.clone(), xr: zeros, mean_x: 0.0, xx: 0.0 }
    }

    /// Returns whether there are enough energies.
    fn load(&mut self, spectrum: &Spectrum, axis: &Axis) -> bool {
        for list in [&mut self.mean, &mut self.rr, &mut self.xr] {
            list.fill(0.0);
        }
        (self.mean_x, self.xx) = (0.0, 0.0);
        let used = || (0..spectrum.len()).filter(|&i| axis.used[spectrum.energies[i]]);
        let mut weights = 0.0;
        for i in used() {
            let w = 1.0 / spectrum.variance[i];
            weights += w;
            self.mean_x += w * spectrum.od[i];
            for k in 0..self.phases {
                self.mean[k] += w * axis.od(spectrum.energies[i], k);
            }
        }
        self.mean_x /= weights;
        self.mean.iter_mut().for_each(|mean| *mean /= weights);
        for i in used() {
            let (w, x) = (1.0 / spectrum.variance[i], spectrum.od[i] - self.mean_x);
            self.xx += w * x * x;
            for k in 0..self.phases {
                let r = axis.od(spectrum.energies[i], k) - self.mean[k];
                self.rr[k] += w * r * r;
                self.xr[k] += w * r * x;
            }
        }
        used().count() >= 3 && weights.is_finite()
    }

    fn chi2(&self, phase: usize) -> f64 {
        let explained =
            if self.rr[phase] > 0.0 { self.xr[phase].max(0.0).powi(2) / self.rr[phase] } else { 0.0 };
        (self.xx - explained).max(0.0)
    }

    /// Amplitude and base.
    fn amplitude(&self, phase: usize) -> [f64; 2] {
        let amplitude = self.xr[phase] / self.rr[phase];
        [amplitude, self.mean_x - amplitude * self.mean[phase]]
    }
}

/// A case that has no group yet.
struct Entry {
    phase: usize,
    amplitude: f64,
    base: f64,
    dispersion: f64,
    case: Case,
}

fn entry(map: &PhaseMap, pixel: usize, fits: &Fits, weight: f64) -> Option<Entry> {
    let phase = map.phase[pixel] as usize;
    let [amplitude, base] = fits.amplitude(phase);
    if !(amplitude > 0.0 && amplitude.is_finite()) {
        return None;
    }
    let dispersion = f64::from(map.fit_chi2[pixel]).max(1.0);
    let odds = |k: usize| (-0.5 * (fits.chi2(k) - fits.chi2(phase)) / dispersion).exp().min(1.0);
    let mut rivals: Vec<(u8, f64)> =
        (0..fits.phases).filter(|&k| k != phase).map(|k| (k as u8, odds(k))).collect();
    rivals.sort_by(|a, b| b.1.total_cmp(&a.1));
    rivals.truncate(RIVALS);
    let all: f64 = rivals.iter().map(|rival| rival.1).sum();
    // The map's own word, where it has one.
    let stated = f64::from(map.confidence[pixel]);
    let first = if stated.is_nan() { 1.0 / (1.0 + all) } else { stated }.clamp(1e-6, 1.0 - 1e-9);
    let mut kept = [(NO_PHASE, 0.0); RIVALS];
    for (kept, (phase, odds)) in kept.iter_mut().zip(rivals) {
        let share = if all > 0.0 { odds / all } else { 0.0 };
        *kept = (phase, ((1.0 - first) * share).min(first));
    }
    let case = Case { group: 0, scale: 1.0, weight, first, rivals: kept, mixed: is_mixed(map, pixel) };
    Some(Entry { phase, amplitude, base, dispersion, case })
}

/// Cases, groups, and typical amplitude and base.
fn grouped(entries: Vec<Entry>, phases: usize) -> (Vec<Case>, Vec<Group>, [f64; 2]) {
    // Thicknesses within a factor of 2 look alike.
    let class = |entry: &Entry| (entry.phase, entry.amplitude.log2().round() as i64);
    let mut order: Vec<usize> = (0..entries.len()).collect();
    order.sort_by_key(|&i| class(&entries[i]));
    let middle = |members: &[usize], value: &dyn Fn(&Entry) -> f64| {
        median(&mut members.iter().map(|&i| value(&entries[i])).collect::<Vec<f64>>())
    };
    let (mut cases, mut groups) = (Vec::with_capacity(entries.len()), Vec::new());
    for members in order.chunk_by(|&a, &b| class(&entries[a]) == class(&entries[b])) {
        let mut group = Group {
            phase: entries[members[0]].phase,
            amplitude: middle(members, &|entry| entry.amplitude),
            base: middle(members, &|entry| entry.base),
            dispersion: middle(members, &|entry| entry.dispersion),
            contrasts: vec![Contrast::default(); phases],
            mass: vec![0.0; phases],
            wrong: vec![0.0; phases],
        };
        for entry in members.iter().map(|&i| &entries[i]) {
            let ratio = entry.amplitude / group.amplitude;
            let scale = ratio * ratio * group.dispersion / entry.dispersion;
            let case = Case { group: groups.len(), scale, ..entry.case };
            for (rival, odds) in case.rivals() {
                group.wrong[rival] += case.weight * odds.second;
                // What two phases along the beam leave open, more energies do not resolve.
                if !case.mixed {
                    group.mass[rival] += case.weight * (odds.first * odds.second).sqrt();
                }
            }
            cases.push(case);
        }
        groups.push(group);
    }
    let all: Vec<usize> = (0..entries.len()).collect();
    let typical = if all.is_empty() {
        [GUESSED_AMPLITUDES[1], 0.0]
    } else {
        [middle(&all, &|entry| entry.amplitude), middle(&all, &|entry| entry.base)]
    };
    (cases, groups, typical)
}
