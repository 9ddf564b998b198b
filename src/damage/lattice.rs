//! Places in the sample plane, in µm, and what of one lattice of cells lies in another.
//!
//! A pixel of a scan is a rectangle around its centre, as large as the spot of the beam where that is smaller than the step, else as
//! the step: what the pixel says is said of that rectangle. What lies between the rectangles was not in the beam.

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::scan::Grid;

/// Length of a unit of a grid, µm; `None` where it is none.
#[must_use]
pub fn unit_um(unit: &str) -> Option<f64> {
    match unit.trim() {
        "um" | "\u{b5}m" | "\u{3bc}m" | "micron" | "microns" | "micrometer" | "micrometre" => Some(1.0),
        "nm" | "nanometer" | "nanometre" => Some(1e-3),
        "mm" | "millimeter" | "millimetre" => Some(1e3),
        "m" | "meter" | "metre" => Some(1e6),
        _ => None,
    }
}

/// Equal rectangles in rows and columns.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Lattice {
    /// Rows and columns.
    pub shape: [usize; 2],
    /// Centre of the first rectangle, µm: y, x.
    pub start_um: [f64; 2],
    /// From one centre to the next, µm: y, x; may be negative.
    pub step_um: [f64; 2],
    /// Sides of a rectangle, µm: y, x; above 0, at most the step.
    pub cell_um: [f64; 2],
}

impl Lattice {
    /// That of a scan with a spot of `spot_um`, which is the step where it is not given. `None` where the unit of the grid is unknown.
    #[must_use]
    pub fn of_grid(grid: &Grid, spot_um: Option<f64>) -> Option<Self> {
        let unit = unit_um(&grid.unit)?;
        let step_um = [grid.y.step * unit, grid.x.step * unit];
        let cell = |step: f64| spot_um.map_or(step.abs(), |spot| spot.min(step.abs()));
        Some(Self {
            shape: grid.shape,
            start_um: [grid.y.start * unit, grid.x.start * unit],
            step_um,
            cell_um: step_um.map(cell),
        })
    }

    /// The same with `margin` more rows and columns on every side.
    #[must_use]
    pub fn with_margin(&self, margin: [usize; 2]) -> Self {
        let start_um = [0, 1].map(|axis| self.start_um[axis] - margin[axis] as f64 * self.step_um[axis]);
        Self { shape: [0, 1].map(|axis| self.shape[axis] + 2 * margin[axis]), start_um, ..*self }
    }

    /// Number of rectangles.
    #[must_use]
    pub fn cells(&self) -> usize {
        self.shape[0].saturating_mul(self.shape[1])
    }

    /// Whether all numbers are what they have to be; for lattices that were read.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        let good = |axis: usize| {
            let (start, step, cell) = (self.start_um[axis], self.step_um[axis], self.cell_um[axis]);
            let reach = start.abs() + step.abs() * self.shape[axis] as f64;
            // Beyond a kilometre no number tells one pixel from the next.
            reach.is_finite() && reach < 1e9 && step != 0.0 && cell > 0.0 && cell <= step.abs() * (1.0 + 1e-9)
        };
        good(0) && good(1)
    }

    fn centre_um(&self, axis: usize, index: usize) -> f64 {
        self.start_um[axis] + self.step_um[axis] * index as f64
    }
}

/// Which rectangles of another lattice lie in one rectangle, along one axis, and how much of it each fills.
#[derive(Debug)]
struct Overlaps {
    /// Of each rectangle: the first of the other lattice, and where its shares begin.
    rows: Vec<(usize, usize)>,
    shares: Vec<f64>,
}

impl Overlaps {
    fn of(target: &Lattice, source: &Lattice, axis: usize) -> Self {
        let (own, other) = (target.cell_um[axis], source.cell_um[axis]);
        let reach = 0.5 * (own + other);
        let (start, step, count) = (source.start_um[axis], source.step_um[axis], source.shape[axis]);
        let mut overlaps = Self { rows: Vec::with_capacity(target.shape[axis] + 1), shares: Vec::new() };
        for index in 0..target.shape[axis] {
            let centre = target.centre_um(axis, index);
            let ends = [(centre - reach - start) / step, (centre + reach - start) / step];
            let first = ends[0].min(ends[1]).ceil().max(0.0) as usize;
            // One after the last.
            let end = ((ends[0].max(ends[1]).floor() + 1.0).max(0.0) as usize).min(count);
            overlaps.rows.push((first, overlaps.shares.len()));
            for other_index in first..end {
                let between = (source.centre_um(axis, other_index) - centre).abs();
                let common = (reach - between).clamp(0.0, own.min(other));
                overlaps.shares.push(common / own);
            }
        }
        overlaps.rows.push((0, overlaps.shares.len()));
        overlaps
    }

    fn at(&self, index: usize) -> impl Iterator<Item = (usize, f64)> + '_ {
        let ((first, from), (_, to)) = (self.rows[index], self.rows[index + 1]);
        (first..).zip(self.shares[from..to].iter().copied())
    }
}

/// `values` of the rectangles of `source`, one each, row-major, as the rectangles of `target` see them: the mean over each, where nothing lies
/// 0. Where the rectangles of `target` lie side by side and cover `source`, the sum of value times area stays what it was.
#[must_use]
pub fn resample(values: &[f32], source: &Lattice, target: &Lattice) -> Vec<f32> {
    let [rows, columns] = [0, 1].map(|axis| Overlaps::of(target, source, axis));
    let width = source.shape[1];
    let mut result = vec![0.0; target.cells()];
    result.par_chunks_mut(target.shape[1].max(1)).enumerate().for_each_init(
        || vec![0.0_f64; width],
        |sums, (row, out)| {
            let mut any = false;
            sums.fill(0.0);
            for (source_row, share) in rows.at(row).filter(|(_, share)| *share > 0.0) {
                any = true;
                let line = &values[source_row * width..(source_row + 1) * width];
                sums.iter_mut().zip(line).for_each(|(sum, value)| *sum += share * f64::from(*value));
            }
            if any {
                for (column, out) in out.iter_mut().enumerate() {
                    *out = columns.at(column).map(|(at, share)| share * sums[at]).sum::<f64>() as f32;
                }
            }
        },
    );
    result
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scan::Axis;
    use proptest::prelude::*;

    fn lattice(shape: [usize; 2], start: [f64; 2], step: [f64; 2]) -> Lattice {
        Lattice { shape, start_um: start, step_um: step, cell_um: step.map(f64::abs) }
    }

    fn total(values: &[f32], lattice: &Lattice) -> f64 {
        values.iter().map(|value| f64::from(*value)).sum::<f64>() * lattice.cell_um[0] * lattice.cell_um[1]
    }

    #[test]
    fn units_are_lengths_or_nothing() {
        assert_eq!(
            ["um", "µm", "μm", "nm", "mm", "px", ""].map(unit_um),
            [Some(1.0), Some(1.0), Some(1.0), Some(1e-3), Some(1e3), None, None]
        );
        let axis = Axis { start: 500.0, step: -50.0 };
        let grid = Grid { shape: [2, 3], x: axis, y: axis, unit: "nm".into() };
        let found = Lattice::of_grid(&grid, Some(0.03)).unwrap();
        assert!((found.start_um[0] - 0.5).abs() < 1e-12 && (found.step_um[1] + 0.05).abs() < 1e-12);
        assert_eq!(found.cell_um, [0.03; 2]);
        assert!((Lattice::of_grid(&grid, Some(0.2)).unwrap().cell_um[0] - 0.05).abs() < 1e-12);
        assert!(Lattice::of_grid(&Grid { unit: "steps".into(), ..grid }, None).is_none());
    }

    #[test]
    fn the_same_lattice_sees_the_same_and_a_shifted_one_what_it_covers() {
        let source = lattice([1, 4], [0.0, 0.0], [0.1, 0.1]);
        let values = [1.0, 2.0, 3.0, 4.0];
        assert_eq!(resample(&values, &source, &source), values);
        let half = lattice([1, 4], [0.0, 0.05], [0.1, 0.1]);
        for (found, wanted) in resample(&values, &source, &half).iter().zip([1.5, 2.5, 3.5, 2.0]) {
            assert!((found - wanted).abs() < 1e-6);
        }
        let mirrored = lattice([1, 4], [0.0, 0.3], [0.1, -0.1]);
        for (found, wanted) in resample(&values, &source, &mirrored).iter().zip([4.0, 3.0, 2.0, 1.0]) {
            assert!((found - wanted).abs() < 1e-6);
        }
        let coarse = lattice([1, 2], [0.0, 0.05], [0.1, 0.2]);
        for (found, wanted) in resample(&values, &source, &coarse).iter().zip([1.5, 3.5]) {
            assert!((found - wanted).abs() < 1e-6);
        }
        assert_eq!(resample(&values, &source, &lattice([2, 2], [50.0, 50.0], [0.1, 0.1])), [0.0; 4]);
    }

    #[test]
    fn small_spots_that_fall_between_each_other_share_nothing() {
        let spots = |start: f64| Lattice { cell_um: [0.03; 2], ..lattice([1, 3], [0.0, start], [0.1, 0.1]) };
        assert_eq!(resample(&[6.0; 3], &spots(0.0), &spots(0.05)), [0.0; 3]);
        let near = resample(&[6.0; 3], &spots(0.0), &spots(0.01));
        near.iter().for_each(|dose| assert!((dose - 4.0).abs() < 1e-4, "{near:?}"));
    }

    proptest! {
        #[test]
        fn totals_are_conserved_whatever_the_steps_and_offsets(
            shape in (1_usize..8, 1_usize..8),
            step in (0.02_f64..0.2, 0.02_f64..0.2),
            signs in (proptest::bool::ANY, proptest::bool::ANY),
            target_step in (0.02_f64..0.3, 0.02_f64..0.3),
            offset in (0.0_f64..0.3, 0.0_f64..0.3),
            seed in proptest::collection::vec(0.0_f32..10.0, 64),
        ) {
            let sign = |flag: bool| if flag { -1.0 } else { 1.0 };
            let source = lattice(
                [shape.0, shape.1],
                [1.0, -2.0],
                [step.0 * sign(signs.0), step.1 * sign(signs.1)],
            );
            let values = &seed[..source.cells()];
            // Covers all that the source can reach.
            let target = lattice(
                [4.2_f64, 4.2].map(|span| (span / target_step.0.min(target_step.1)).ceil() as usize),
                [1.0 - 2.0 + offset.0 * 0.5, -2.0 - 2.0 + offset.1 * 0.5],
                [target_step.0, target_step.1],
            );
            let seen = resample(values, &source, &target);
            let (before, after) = (total(values, &source), total(&seen, &target));
            prop_assert!((before - after).abs() <= 1e-5 * before.max(1e-9), "{before} {after}");
        }
    }
}
