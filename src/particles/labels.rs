//! Which pixel belongs to which particle.
//!
//! Matter is what lies [`SIGMAS`] deviations of the empty field above it, and above [`LEAST_PART`] of what the sample has at the median. A pixel without a
//! value is what its nearest neighbour within [`REACH`] is, so that sparse scans and lost lines do not cut particles up. Opaque pixels are matter.
//! Where nothing is empty all of the field may be one piece.

use std::collections::VecDeque;

use serde::Serialize;

use super::LEAST_PIXELS;
use super::amounts::{Amounts, beside};
use super::watershed::{basins, distances};
use crate::classify::{PhaseMap, Status};

/// Deviations of the empty field above which there is matter.
const SIGMAS: f64 = 5.0;
/// Part of the median of the sample below which nothing is matter.
const LEAST_PART: f64 = 0.15;
/// How far a pixel without a value looks for one, steps.
const REACH: u16 = 3;

/// Pieces of matter that are too small to be particles.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct LeftOut {
    /// How many.
    pub pieces: usize,
    /// Their pixels.
    pub pixels: usize,
}

/// The particle of each pixel, row-major: 0 where there is none, else its place in the list of particles, from 1.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Labels {
    /// Rows and columns.
    pub shape: [usize; 2],
    /// One for each pixel.
    pub of_pixel: Vec<u32>,
    /// How many particles there are.
    pub count: usize,
    /// What is too small.
    pub left_out: LeftOut,
}

impl Labels {
    /// Of a map with these amounts; the largest particle is the first.
    #[must_use]
    pub fn of(map: &PhaseMap, amounts: &Amounts) -> Self {
        let matter = matter(map, amounts);
        Self::cut(&matter, map.plan.grid.shape)
    }

    /// Of pixels that hold matter.
    pub(super) fn cut(matter: &[bool], [ny, nx]: [usize; 2]) -> Self {
        let basin = basins(&distances(matter, ny, nx), ny, nx);
        let mut sizes = vec![0_usize; basin.iter().copied().max().unwrap_or(0) as usize + 1];
        let mut first = vec![usize::MAX; sizes.len()];
        for (pixel, &label) in basin.iter().enumerate() {
            let label = label as usize;
            sizes[label] += 1;
            first[label] = first[label].min(pixel);
        }
        let mut order: Vec<usize> = (1..sizes.len()).filter(|&label| sizes[label] > 0).collect();
        order.sort_by_key(|&label| (std::cmp::Reverse(sizes[label]), first[label]));
        let (large, small): (Vec<usize>, Vec<usize>) =
            order.into_iter().partition(|&label| sizes[label] >= LEAST_PIXELS);
        let mut numbers = vec![0_u32; sizes.len()];
        large.iter().zip(1..).for_each(|(&label, number)| numbers[label] = number);
        let left_out = LeftOut { pieces: small.len(), pixels: small.iter().map(|&label| sizes[label]).sum() };
        let of_pixel = basin.into_iter().map(|label| numbers[label as usize]).collect();
        Self { shape: [ny, nx], of_pixel, count: large.len(), left_out }
    }

    /// The pixels of each particle, ascending.
    #[must_use]
    pub fn pixels(&self) -> Vec<Vec<u32>> {
        let mut pixels = vec![Vec::new(); self.count];
        for (pixel, &label) in self.of_pixel.iter().enumerate().filter(|(_, label)| **label > 0) {
            pixels[label as usize - 1].push(pixel as u32);
        }
        pixels
    }
}

/// Which pixels hold matter.
fn matter(map: &PhaseMap, amounts: &Amounts) -> Vec<bool> {
    let [ny, nx] = map.plan.grid.shape;
    let mut sample: Vec<f64> = (0..map.len())
        .filter(|&pixel| map.status[pixel].is_sample())
        .map(|pixel| amounts.at(pixel))
        .filter(|od| od.is_finite())
        .collect();
    let typical = if sample.is_empty() {
        0.0
    } else {
        let middle = sample.len() / 2;
        *sample.select_nth_unstable_by(middle, f64::total_cmp).1
    };
    let limit = (SIGMAS * amounts.empty.sigma).max(LEAST_PART * typical);
    let known = |pixel: usize| {
        let od = amounts.at(pixel);
        if map.status[pixel] == Status::Saturated {
            Some(true)
        } else if od.is_finite() {
            // Without any sample the noise alone would make specks.
            Some(typical > 0.0 && od > limit)
        } else {
            None
        }
    };
    let mut found: Vec<Option<bool>> = (0..map.len()).map(known).collect();
    let mut open: VecDeque<(usize, u16)> =
        (0..map.len()).filter(|&pixel| found[pixel].is_some()).map(|pixel| (pixel, 0)).collect();
    while let Some((pixel, steps)) = open.pop_front() {
        if steps == REACH {
            continue;
        }
        for other in beside(pixel, ny, nx) {
            if found[other].is_none() {
                found[other] = found[pixel];
                open.push_back((other, steps + 1));
            }
        }
    }
    found.into_iter().map(|matter| matter.unwrap_or(false)).collect()
}
