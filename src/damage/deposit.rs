//! What a scan has deposited so far, pixel by pixel, where the sample really lay.
//!
//! Every value that was measured is an exposure, whether it is usable or not, and every visit of an energy counts. The map is that of the
//! first image: what drift moved is brought back, in shares of pixels, where the drift is taken out of the map, too. A beam wider than the step
//! deposits over its width, evenly: inside the field the mean stays what it was, at the border some lands outside, and is kept in the margin of
//! the [`Layer`]. Under a beam narrower than the step, spots that drift moved beside each other are taken as one place: the dose is then
//! an upper bound.
//!
//! A line that was lost on the way was exposed, too. It counts where messages are missing, more than half of its image is there, and lines
//! before and behind it. What was lost otherwise is not counted: the dose is then a lower bound.

use chrono::{DateTime, Utc};
use rayon::prelude::*;

use super::lattice::Lattice;
use super::model::DoseModel;
use crate::classify::DensityView;
use crate::registration::Drift;
use crate::stack::{Plane, Stack};

/// A scan under the estimates of its map.
#[derive(Clone, Copy, Debug)]
pub struct Exposed<'a> {
    /// The stack as it was measured.
    pub raw: &'a Stack,
    /// Its optical densities, as the map has them: registered where drift was taken out.
    pub view: &'a DensityView<'a>,
    /// The drift, and whether it was taken out.
    pub drift: &'a Drift,
}

/// Doses of the rectangles of a lattice.
#[derive(Clone, Debug, PartialEq)]
pub struct Layer {
    /// Where they lie.
    pub lattice: Lattice,
    /// MGy or relative, row-major; 0 where nothing was deposited.
    pub dose: Vec<f32>,
}

impl Layer {
    /// The same on another lattice: see [`super::resample`].
    #[must_use]
    pub fn onto(&self, target: &Lattice) -> Vec<f32> {
        if self.lattice == *target {
            return self.dose.clone();
        }
        super::resample(&self.dose, &self.lattice, target)
    }
}

/// The dose of some pixels, energy by energy, in the order in which they were measured.
#[derive(Clone, Debug, PartialEq)]
pub struct DoseCourse {
    /// Energies with any value, in that order.
    pub order: Vec<usize>,
    /// Mean over the pixels of what each of them deposited; as long as `order`.
    pub dose: Vec<f64>,
}

impl DoseCourse {
    /// The mean dose that the pixels had when `energy` was measured, half of its own exposure with it; that of all, where `energy` has no
    /// value.
    #[must_use]
    pub fn before(&self, energy: usize) -> f64 {
        let mut sum = 0.0;
        for (at, dose) in self.order.iter().zip(&self.dose) {
            if *at == energy {
                return sum + 0.5 * dose;
            }
            sum += dose;
        }
        sum
    }

    /// The mean dose of all exposures.
    #[must_use]
    pub fn total(&self) -> f64 {
        self.dose.iter().sum()
    }
}

/// Energies with any value, in the order in which they were measured: by the time of their first exposure where all say it, else by index.
#[must_use]
pub fn measured_order(stack: &Stack) -> Vec<usize> {
    let mut order: Vec<(Option<DateTime<Utc>>, usize)> = stack
        .planes()
        .iter()
        .enumerate()
        .filter(|(_, plane)| plane.measured() > 0)
        .map(|(energy, plane)| (plane.first_time(), energy))
        .collect();
    if order.iter().all(|(time, _)| time.is_some()) {
        order.sort_unstable();
    }
    order.into_iter().map(|(_, energy)| energy).collect()
}

impl DoseModel {
    /// What was deposited so far, with the margin into which beam and drift reach.
    #[must_use]
    pub fn deposit(&self, exposed: &Exposed<'_>) -> Layer {
        let margin = self.margin(exposed.drift);
        let lattice = self.lattice.with_margin(margin);
        let [ny, nx] = self.lattice.shape;
        let width = lattice.shape[1];
        let mut sums = vec![0.0_f64; lattice.cells()];
        let (mut open, mut spread) = (Vec::new(), Vec::new());
        for energy in 0..exposed.raw.planes().len().min(self.per_energy.len()) {
            let Some(exposure) = Exposure::of(exposed.raw, energy) else { continue };
            let [along_y, along_x] = self.kernels(exposed.drift.applied(energy));
            let fx = along_x.fully([nx, margin[1]]);
            if let Exposure::Part(plane) = exposure {
                fill_open(exposed.raw, plane, &mut open);
                along_x.spread(&open, [nx, margin[1]], &mut spread);
            }
            let is_full = matches!(exposure, Exposure::Full);
            let densities = exposed.view.plane(energy);
            let dose = self.per_energy[energy];
            let fy = along_y.fully([ny, margin[0]]);
            let rows = sums.par_chunks_mut(width).enumerate();
            rows.for_each_init(
                || vec![0.0_f64; width],
                |share, (row, sums)| {
                    if is_full {
                        share.iter_mut().zip(&fx).for_each(|(share, fx)| *share = fy[row] * fx);
                    } else {
                        share.fill(0.0);
                        for (at, weight) in along_y.sources(row, [ny, margin[0]]) {
                            let line = &spread[at * width..(at + 1) * width];
                            share.iter_mut().zip(line).for_each(|(share, part)| *share += weight * part);
                        }
                    }
                    let inside = row.checked_sub(margin[0]).filter(|row| *row < ny);
                    for (column, (sum, share)) in sums.iter_mut().zip(share.iter()).enumerate() {
                        if *share == 0.0 {
                            continue;
                        }
                        let column = column.checked_sub(margin[1]).filter(|column| *column < nx);
                        let factor = match (inside, column, &densities) {
                            (Some(row), Some(column), Some(densities)) => {
                                self.depth_factor(densities.od(row * nx + column))
                            }
                            _ => 1.0,
                        };
                        *sum += dose * share * factor;
                    }
                },
            );
        }
        Layer { lattice, dose: sums.into_iter().map(|dose| dose as f32).collect() }
    }

    /// What was deposited in the pixels of the map so far, row-major.
    #[must_use]
    pub fn of_stack(&self, exposed: &Exposed<'_>) -> Vec<f32> {
        self.within(&self.deposit(exposed))
    }

    /// A layer of this scan without its margin.
    #[must_use]
    pub fn within(&self, layer: &Layer) -> Vec<f32> {
        let [ny, nx] = self.lattice.shape;
        let width = layer.lattice.shape[1];
        let margin = [(layer.lattice.shape[0] - ny) / 2, (width - nx) / 2];
        let row = |row: usize| {
            let from = (row + margin[0]) * width + margin[1];
            &layer.dose[from..from + nx]
        };
        (0..ny).flat_map(row).copied().collect()
    }

    /// The mean dose of some pixels of the map, energy by energy.
    #[must_use]
    pub fn course(&self, exposed: &Exposed<'_>, pixels: &[usize]) -> DoseCourse {
        let order = measured_order(exposed.raw);
        let [ny, nx] = self.lattice.shape;
        let mut open = Vec::new();
        let of = |energy: &usize| {
            let (Some(exposure), Some(dose)) =
                (Exposure::of(exposed.raw, *energy), self.per_energy.get(*energy))
            else {
                return 0.0;
            };
            let [along_y, along_x] = self.kernels(exposed.drift.applied(*energy));
            let part = match exposure {
                Exposure::Full => None,
                Exposure::Part(plane) => {
                    fill_open(exposed.raw, plane, &mut open);
                    Some(&open)
                }
            };
            let densities = exposed.view.plane(*energy);
            let share = |pixel: usize| -> f64 {
                let columns = || along_x.sources(pixel % nx, [nx, 0]);
                along_y
                    .sources(pixel / nx, [ny, 0])
                    .map(|(y, of_row)| {
                        let open = |x: usize| part.is_none_or(|open| open[y * nx + x]);
                        of_row * columns().filter(|(x, _)| open(*x)).map(|(_, weight)| weight).sum::<f64>()
                    })
                    .sum()
            };
            let factor = |pixel: usize| {
                densities.as_ref().map_or(1.0, |densities| self.depth_factor(densities.od(pixel)))
            };
            let sum: f64 = pixels.iter().map(|pixel| share(*pixel) * factor(*pixel)).sum();
            dose * sum / pixels.len().max(1) as f64
        };
        let dose = order.iter().map(of).collect();
        DoseCourse { order, dose }
    }

    /// The mean dose that `pixels` had when `energy` was measured. For several energies take [`DoseModel::course`] once.
    #[must_use]
    pub fn mean_dose_before(&self, exposed: &Exposed<'_>, pixels: &[usize], energy: usize) -> f64 {
        self.course(exposed, pixels).before(energy)
    }

    fn kernels(&self, shift: [f64; 2]) -> [Kernel; 2] {
        [0, 1].map(|axis| Kernel::new(shift[axis], self.spread[axis]))
    }

    /// Rows and columns beyond the field that beam or drift reach; at most as many as the field has, and what is beyond is not kept.
    fn margin(&self, drift: &Drift) -> [usize; 2] {
        [0, 1].map(|axis| {
            let most = self.lattice.shape[axis];
            let reach = |energy: usize| drift.applied(energy)[axis].abs();
            let drifted = (0..self.per_energy.len()).map(reach).fold(0.0, f64::max);
            let beyond = (drifted + 0.5 * (self.spread[axis] - 1.0) - 1e-9).ceil();
            (beyond.max(0.0) as usize).min(most)
        })
    }
}

/// Which pixels of an image were exposed.
#[derive(Clone, Copy)]
enum Exposure<'a> {
    /// All.
    Full,
    /// Some.
    Part(&'a Plane),
}

impl<'a> Exposure<'a> {
    fn of(stack: &'a Stack, energy: usize) -> Option<Self> {
        let plane = stack.plane(energy);
        match plane.measured() {
            0 => None,
            all if all == plane.values().len() => Some(Self::Full),
            _ => Some(Self::Part(plane)),
        }
    }
}

/// Says of each pixel of an image whether it was exposed: measured, or in a line that was lost.
fn fill_open(stack: &Stack, plane: &Plane, open: &mut Vec<bool>) {
    open.clear();
    open.extend(plane.values().iter().map(|value| !value.is_nan()));
    if stack.sequence().missing() == 0 || 2 * plane.measured() <= open.len() {
        return;
    }
    let nx = stack.plan().grid.nx().max(1);
    let there: Vec<bool> = open.chunks(nx).map(|line| line.contains(&true)).collect();
    let ends = there.iter().position(|line| *line).zip(there.iter().rposition(|line| *line));
    let Some((first, last)) = ends else { return };
    for line in (first..last).filter(|line| !there[*line]) {
        open[line * nx..(line + 1) * nx].fill(true);
    }
}

/// How an exposure spreads along one axis: which neighbours of a pixel of the map reach into it, and with which share.
#[derive(Debug)]
struct Kernel {
    first: isize,
    shares: Vec<f64>,
}

impl Kernel {
    /// Exposure `i` lies `width` wide around `i - shift`, in steps.
    fn new(shift: f64, width: f64) -> Self {
        let reach = 0.5 * (width + 1.0);
        let (first, last) = ((shift - reach).floor() as isize, (shift + reach).ceil() as isize);
        let share = |offset: isize| {
            let common = (reach - (offset as f64 - shift).abs()).clamp(0.0, width.min(1.0));
            common / width
        };
        let mut shares: Vec<(isize, f64)> = (first..=last).map(|offset| (offset, share(offset))).collect();
        shares.retain(|(_, share)| *share > 1e-9);
        let first = shares.first().map_or(0, |(offset, _)| *offset);
        Self { first, shares: shares.into_iter().map(|(_, share)| share).collect() }
    }

    /// The exposures that reach into `index` of a lattice with a margin: of `[count, margin]`.
    fn sources(&self, index: usize, [count, margin]: [usize; 2]) -> impl Iterator<Item = (usize, f64)> + '_ {
        let at = index as isize - margin as isize + self.first;
        (at..)
            .zip(self.shares.iter().copied())
            .filter(move |(at, _)| (0..count as isize).contains(at))
            .map(|(at, share)| (at as usize, share))
    }

    /// The sum of the shares at each index, where every pixel is exposed.
    fn fully(&self, [count, margin]: [usize; 2]) -> Vec<f64> {
        let sum = |index| self.sources(index, [count, margin]).map(|(_, share)| share).sum();
        (0..count + 2 * margin).map(sum).collect()
    }

    /// Spreads each line of `open`.
    fn spread(&self, open: &[bool], [count, margin]: [usize; 2], out: &mut Vec<f64>) {
        let width = count + 2 * margin;
        out.clear();
        out.resize(open.len() / count.max(1) * width, 0.0);
        out.par_chunks_mut(width).zip(open.par_chunks(count)).for_each(|(out, open)| {
            for (index, out) in out.iter_mut().enumerate() {
                *out = self
                    .sources(index, [count, margin])
                    .filter(|(at, _)| open[*at])
                    .map(|(_, share)| share)
                    .sum();
            }
        });
    }
}

#[cfg(test)]
mod tests;
