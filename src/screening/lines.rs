//! Lines that the acquisition spoilt.
//!
//! A line is compared with the same line at two energies beside it, its peers: the logarithm of the ratio, in four
//! segments across the line, the median of each. A sample changes that ratio smoothly from line to line, or in some
//! segments, or in steps that stay; drift does so at its edges. A bad line departs from the running median over
//! eleven lines in every segment, to the same side, against both peers, by more than a tenth and by more than the
//! lines of this image scatter; and it departs from the lines around it in its own image as well, which the edge of a
//! sample that drifted does not: there the lines on one side are like it. Where the ratio falls to a tenth of that of the better lines, the beam was lost.
//!
//! A stuck line needs no peer: photons never count the same twice. The chance that a whole line repeats is that of
//! Poisson numbers, at most `(0.28 / √λ)` a pixel for a mean of λ photons. Where a quarter of the lines repeat, in
//! this image and in a peer, the data have no noise, and nothing is said.

use super::{Flaw, PlaneFlaws, Response};
use crate::scan::Signal;
use crate::stack::{Plane, Stack};

/// Segments of a line.
const SEGMENTS: usize = 4;
/// Fewest values in a segment, and most that are looked at.
const SEGMENT: (usize, usize) = (4, 32);
/// Lines on either side of the running median.
const REACH: usize = 5;
/// Fewest lines within that reach.
const FEWEST: usize = 5;
/// Logarithm by which a bad line departs at least, as a whole and in every segment.
const BAD: (f64, f64) = (0.1, 0.05);
/// Scatter of the lines, in deviations, that every segment of a bad line departs by.
const BAD_SIGMA: f64 = 3.0;
/// Share of its departure by which it departs in its own image, too.
const ALONE: f64 = 0.5;
/// Logarithm of the ratio to the better lines below which the beam was lost: a tenth.
const LOST: f64 = -2.3;
/// Place of the better lines among all, sorted.
const BETTER: f64 = 0.93;
/// Chance below which a line did not repeat by chance.
const CHANCE: f64 = 1e-9;

/// The planes one plane is compared with: at most two.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Peers([Option<usize>; 2]);

impl Peers {
    pub(super) fn contains(&self, energy: usize) -> bool {
        self.0.contains(&Some(energy))
    }

    fn iter(&self) -> impl Iterator<Item = usize> + '_ {
        self.0.iter().flatten().copied()
    }
}

/// What is needed to judge the lines of one plane.
pub(super) struct Scene<'a> {
    pub stack: &'a Stack,
    pub responses: &'a [Response],
    pub energy: usize,
    pub peers: &'a Peers,
}

impl Scene<'_> {
    pub(super) fn plane(&self) -> &Plane {
        self.stack.plane(self.energy)
    }

    pub(super) fn response(&self) -> &Response {
        &self.responses[self.energy]
    }
}

/// Bright level of a plane: nine tenths of its values, dark taken off, lie below it. NaN where nothing was measured.
pub(super) fn level(plane: &Plane, response: &Response) -> f64 {
    let values = plane.values();
    let stride = values.len().div_ceil(4096).max(1);
    // Neither a column nor a diagonal of an image of usual width.
    let stride = if stride > 1 { stride | 1 } else { 1 };
    let mut some: Vec<f32> = values.iter().copied().step_by(stride).filter(|v| !v.is_nan()).collect();
    if some.is_empty() {
        some = values.iter().copied().filter(|v| !v.is_nan()).collect();
    }
    if some.is_empty() {
        return f64::NAN;
    }
    let place = some.len() * 9 / 10;
    let (_, value, _) = some.select_nth_unstable_by(place, f32::total_cmp);
    (f64::from(*value) - response.dark).max(0.0)
}

/// The nearest planes below and above each one in energy, or the two nearest where there is only one side. Planes
/// without beam, or with much less in them than the fullest, are no peers.
pub(super) fn peers(stack: &Stack, order: &[usize], lost: &[bool]) -> Vec<Peers> {
    let fullest = order.iter().map(|&energy| stack.plane(energy).measured()).max().unwrap_or(0);
    let fit: Vec<usize> = order
        .iter()
        .copied()
        .filter(|&energy| !lost[energy] && stack.plane(energy).measured() * 4 >= fullest * 3)
        .collect();
    let mut peers = vec![Peers::default(); lost.len()];
    let mut below = 0;
    for &energy in order {
        // Places in `fit` before and after this plane.
        while below < fit.len() && rank(stack, fit[below]) < rank(stack, energy) {
            below += 1;
        }
        let above = below + usize::from(fit.get(below) == Some(&energy));
        let near = |place: Option<usize>| place.and_then(|place| fit.get(place).copied());
        let (down, up) = (near(below.checked_sub(1)), near(Some(above)));
        peers[energy] = Peers(match (down, up) {
            (None, up) => [up, near(Some(above + 1))],
            (down, None) => [down, near(below.checked_sub(2))],
            both => [both.0, both.1],
        });
    }
    peers
}

/// Order of energy, then of the plan.
fn rank(stack: &Stack, energy: usize) -> (u64, usize) {
    // Energies are positive: their bits are in their order.
    (stack.plan().energies_ev[energy].to_bits(), energy)
}

/// Marks the spoilt lines of a plane.
pub(super) fn find(scene: &Scene<'_>, flaws: &mut PlaneFlaws) {
    let [ny, nx] = scene.stack.plan().grid.shape;
    let segments = SEGMENTS.min(nx / SEGMENT.0);
    if segments < 2 || scene.stack.plan().detector.signal != Signal::Transmission {
        find_stuck(scene, flaws);
        return;
    }
    let own = Lines::of(scene, scene.energy, segments);
    let ratios: Vec<Ratios> =
        scene.peers.iter().map(|peer| Ratios::new(&own, &Lines::of(scene, peer, segments), ny)).collect();
    // A line without beam may be the same throughout; that is not what is wrong with it.
    let lost = |y: &usize| !ratios.is_empty() && ratios.iter().all(|ratio| ratio.is_lost(*y));
    (0..ny).filter(lost).for_each(|y| flaws.add_line(scene.plane(), y, Flaw::BeamLoss));
    find_stuck(scene, flaws);
    let [one, other] = &ratios[..] else { return };
    let own_departures: Vec<Vec<f64>> =
        (0..segments).map(|segment| departures(&own.medians(segment, ny))).collect();
    for y in (0..ny).filter(|&y| one.side(y).0 != 0) {
        let (side, by) = one.side(y);
        let alone = own_departures.iter().map(|d| f64::from(side) * d[y]).sum::<f64>() / segments as f64;
        if !flaws.has_line(y) && other.side(y).0 == side && alone > ALONE * by {
            flaws.add_line(scene.plane(), y, Flaw::BadLine);
        }
    }
}

/// Logarithms of the light of a plane, at the columns that are looked at, `[(row * segments + segment) * width + i]`.
struct Lines {
    logs: Vec<f32>,
    segments: usize,
    width: usize,
}

impl Lines {
    fn of(scene: &Scene<'_>, energy: usize, segments: usize) -> Self {
        let [ny, nx] = scene.stack.plan().grid.shape;
        let (plane, response) = (scene.stack.plane(energy), &scene.responses[energy]);
        let length = nx / segments;
        let width = length.min(SEGMENT.1);
        // Half a photon stands in for none: a line without light must differ.
        let least = 0.5 / response.counts_per_value;
        let ceiling = response.ceiling();
        let log = |pixel: usize| {
            let value = f64::from(plane.value(pixel));
            // What has no number compares false.
            let light = if value < ceiling { response.linear(value) - response.dark } else { f64::NAN };
            let i0 = f64::from(plane.i0_at(pixel)) - response.dark;
            let beam = if i0 > 0.0 { i0.ln() } else { 0.0 };
            if light.is_nan() { f32::NAN } else { (light.max(least).ln() - beam) as f32 }
        };
        let mut logs = Vec::with_capacity(ny * segments * width);
        for y in 0..ny {
            for segment in 0..segments {
                let start = y * nx + segment * nx / segments;
                logs.extend((0..width).map(|i| log(start + i * length / width)));
            }
        }
        Self { logs, segments, width }
    }

    /// Median of one segment in every row.
    fn medians(&self, segment: usize, ny: usize) -> Vec<f64> {
        let mut some = Vec::with_capacity(self.width);
        let median = |y: usize| {
            some.clear();
            let logs = self.segment(y * self.segments + segment).iter();
            some.extend(logs.filter(|log| !log.is_nan()).map(|log| f64::from(*log)));
            if some.len() < SEGMENT.0 { f64::NAN } else { quantile(&mut some, 0.5) }
        };
        (0..ny).map(median).collect()
    }

    fn segment(&self, index: usize) -> &[f32] {
        &self.logs[index * self.width..(index + 1) * self.width]
    }
}

/// The lines of a plane against those of a peer, `[segment][row]`.
struct Ratios {
    /// What each segment departs by from the running median of its neighbours.
    departures: Vec<Vec<f64>>,
    /// What each departs by from the better lines.
    falls: Vec<Vec<f64>>,
    /// Least departure that means something, of each segment.
    least: Vec<f64>,
}

impl Ratios {
    fn new(own: &Lines, peer: &Lines, ny: usize) -> Self {
        let mut ratios = Self { departures: Vec::new(), falls: Vec::new(), least: Vec::new() };
        let mut some = Vec::with_capacity(own.width.max(ny));
        for segment in 0..own.segments {
            let medians: Vec<f64> = (0..ny)
                .map(|y| {
                    let index = y * own.segments + segment;
                    some.clear();
                    let pairs = own.segment(index).iter().zip(peer.segment(index));
                    some.extend(pairs.map(|(a, b)| f64::from(a - b)).filter(|d| !d.is_nan()));
                    if some.len() < SEGMENT.0 { f64::NAN } else { quantile(&mut some, 0.5) }
                })
                .collect();
            some.clear();
            some.extend(medians.iter().filter(|m| !m.is_nan()));
            let better = if some.len() < FEWEST { f64::NAN } else { quantile(&mut some, BETTER) };
            let departures = departures(&medians);
            some.clear();
            some.extend(departures.iter().filter(|d| !d.is_nan()).map(|d| d.abs()));
            // The median of the magnitude is 0.6745 deviations.
            let sigma = if some.is_empty() { f64::NAN } else { quantile(&mut some, 0.5) / 0.6745 };
            ratios.falls.push(medians.iter().map(|m| m - better).collect());
            ratios.departures.push(departures);
            ratios.least.push(BAD.1.max(BAD_SIGMA * sigma));
        }
        ratios
    }

    /// Whether the beam was lost in line `y`.
    fn is_lost(&self, y: usize) -> bool {
        self.falls.iter().all(|falls| falls[y] < LOST)
    }

    /// To which side line `y` departs, 1 or -1, and by how much; 0 where it does not.
    fn side(&self, y: usize) -> (i32, f64) {
        let mean = self.departures.iter().map(|d| d[y]).sum::<f64>() / self.departures.len() as f64;
        let departs = |sign: f64| {
            let all = self
                .departures
                .iter()
                .zip(&self.least)
                .all(|(departures, least)| sign * departures[y] > *least);
            all && sign * mean > BAD.0
        };
        (i32::from(departs(1.0)) - i32::from(departs(-1.0)), mean.abs())
    }
}

/// What each value departs by from the median of those within reach; NaN where these are few.
fn departures(medians: &[f64]) -> Vec<f64> {
    let mut window = Vec::with_capacity(2 * REACH + 1);
    (0..medians.len())
        .map(|y| {
            window.clear();
            let near = &medians[y.saturating_sub(REACH)..(y + REACH + 1).min(medians.len())];
            window.extend(near.iter().filter(|m| !m.is_nan()));
            if window.len() < FEWEST { f64::NAN } else { medians[y] - quantile(&mut window, 0.5) }
        })
        .collect()
}

/// The value at `share` of the sorted list, which is not empty.
fn quantile(list: &mut [f64], share: f64) -> f64 {
    let place = ((list.len() - 1) as f64 * share) as usize;
    *list.select_nth_unstable_by(place, f64::total_cmp).1
}

/// Marks lines that are one number throughout, or a copy of the line before or of the same line before.
fn find_stuck(scene: &Scene<'_>, flaws: &mut PlaneFlaws) {
    let ny = scene.stack.plan().grid.ny();
    let repeats = repeats(scene, scene.energy);
    if repeats.is_empty() {
        return;
    }
    if repeats.len() * 4 > ny {
        let quiet = |peer: usize| self::repeats(scene, peer).len() * 4 <= ny;
        if scene.peers.iter().count() < 2 || !scene.peers.iter().all(quiet) {
            return;
        }
    }
    for (y, flaw) in repeats {
        flaws.add_line(scene.plane(), y, flaw);
    }
}

/// The lines of a plane that repeat something, and what is to be said of them.
fn repeats(scene: &Scene<'_>, energy: usize) -> Vec<(usize, Flaw)> {
    let [ny, nx] = scene.stack.plan().grid.shape;
    let (plane, response) = (scene.stack.plane(energy), &scene.responses[energy]);
    let before = energy.checked_sub(1).map(|before| scene.stack.plane(before));
    let photons = photons_per_value(scene, energy);
    let mut found: Vec<(usize, Flaw)> = Vec::new();
    for y in 0..ny {
        let row = y * nx..(y + 1) * nx;
        let Some(first) = row.clone().map(|p| plane.value(p)).find(|v| !v.is_nan()) else { continue };
        let all_the_same = row.clone().map(|p| plane.value(p)).all(|v| v.is_nan() || v == first);
        if all_the_same {
            let values = row.clone().filter(|&p| !plane.value(p).is_nan()).count();
            let value = f64::from(first);
            if value < response.ceiling() && is_no_chance(values - 1, value * photons) {
                let flaw = if value <= response.dark { Flaw::BeamLoss } else { Flaw::Stuck };
                found.push((y, flaw));
            }
            continue;
        }
        let mean = |values: usize| {
            let sum: f64 = row.clone().map(|p| f64::from(plane.value(p))).filter(|v| !v.is_nan()).sum();
            sum / values.max(1) as f64
        };
        let copies = |other: &Plane, shift: usize| {
            let same = same_values(plane, other, row.clone(), shift);
            same > 0 && is_no_chance(same, mean(same) * photons)
        };
        if y > 0 && copies(plane, nx) {
            found.push((copy_of(scene, energy, y), Flaw::Stuck));
        } else if before.is_some_and(|before| copies(before, 0)) {
            found.push((y, Flaw::Stuck));
        }
    }
    found.dedup_by_key(|(y, _)| *y);
    found
}

/// How many values of a row another plane repeats `shift` pixels before; 0 as soon as one differs.
fn same_values(plane: &Plane, other: &Plane, row: std::ops::Range<usize>, shift: usize) -> usize {
    let mut same = 0;
    for pixel in row {
        let (a, b) = (plane.value(pixel), other.value(pixel - shift));
        if a.is_nan() || b.is_nan() {
            continue;
        }
        if a != b {
            return 0;
        }
        same += 1;
    }
    same
}

/// Of line `y` and the one before, which are the same, the one that is less like its peer.
fn copy_of(scene: &Scene<'_>, energy: usize, y: usize) -> usize {
    let nx = scene.stack.plan().grid.nx();
    let Some(peer) = scene.peers.iter().find(|peer| *peer != energy) else { return y };
    let (plane, peer) = (scene.stack.plane(energy), scene.stack.plane(peer));
    // The common factor of the two energies, from both lines.
    let logs = |y: usize| {
        (y * nx..(y + 1) * nx)
            .map(|p| f64::from(plane.value(p)).max(0.5).ln() - f64::from(peer.value(p)).max(0.5).ln())
            .filter(|d| !d.is_nan())
            .collect::<Vec<f64>>()
    };
    let spread = |mut logs: Vec<f64>| {
        if logs.is_empty() {
            return 0.0;
        }
        let middle = quantile(&mut logs, 0.5);
        logs.iter().map(|d| (d - middle).abs()).sum::<f64>() / logs.len() as f64
    };
    // As a rule lines come in their order, and the later one is the copy.
    if spread(logs(y - 1)) > 1.1 * spread(logs(y)) { y - 1 } else { y }
}

/// Photons that a value of 1 stands for, as far as is known.
fn photons_per_value(scene: &Scene<'_>, energy: usize) -> f64 {
    let gain = scene.stack.plan().detector.counts_per_photon.as_ref().map_or(1.0, |list| list[energy]);
    scene.responses[energy].counts_per_value / gain
}

/// Whether so many values do not repeat by chance at a mean of so many photons.
fn is_no_chance(values: usize, photons: f64) -> bool {
    let each = (0.28 / photons.max(1e-3).sqrt()).min(0.9);
    values as f64 * each.ln() < CHANCE.ln()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_is_no_departure_and_a_block_is() {
        let mut rows = vec![0.0; 40];
        rows[20..].fill(0.3);
        assert!(departures(&rows).iter().all(|d| *d == 0.0));
        rows[30..33].fill(-1.0);
        let departures = departures(&rows);
        assert!((30..33).all(|y| (departures[y] + 1.3).abs() < 1e-12) && departures[29] == 0.0);
    }

    #[test]
    fn few_photons_repeat_by_chance() {
        assert!(!is_no_chance(20, 0.5) && is_no_chance(60, 10.0) && is_no_chance(12, 1000.0));
        assert!(!is_no_chance(3, 1000.0));
    }
}
