//! The same particle under the same number: from one generation of a map to the next, and in two scans of one region.
//!
//! Two are the same where more than half of the smaller one lies in the other, laid over each other in the sample plane. Each has one partner at most;
//! those with most in common find each other first. A particle that was cut in two keeps its number in the part that shares most with it.

use std::collections::BTreeMap;

use super::{Labels, Particles};
use crate::scan::Grid;

/// Part of the smaller of two particles that both have in common, at least.
const LEAST_PART: f64 = 0.5;

/// Two particles that are the same.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Match {
    /// Label in the earlier one, from 1.
    pub before: u32,
    /// Label in the later one, from 1.
    pub now: u32,
    /// Part of the smaller that both have in common.
    pub overlap: f64,
}

/// The particles that two scans of one region have in common. `shift` is by how much the sample lies farther along y and x in
/// the later one, in the unit of the grids.
#[must_use]
pub fn matched(before: (&Labels, &Grid), now: (&Labels, &Grid), shift: [f64; 2]) -> Vec<Match> {
    let ((old, old_grid), (new, new_grid)) = (before, now);
    let index = |at: f64, axis: &crate::scan::Axis, n: usize| {
        let index = ((at - axis.start) / axis.step).round();
        (index >= 0.0 && index < n as f64).then_some(index as usize)
    };
    let mut common: BTreeMap<(u32, u32), usize> = BTreeMap::new();
    let (mut old_sizes, mut new_sizes) = (vec![0_usize; old.count + 1], vec![0_usize; new.count + 1]);
    let [ny, nx] = new.shape;
    // Only what both fields show can be in common.
    for pixel in 0..ny * nx {
        let y = index(new_grid.y.centre(pixel / nx) - shift[0], &old_grid.y, old.shape[0]);
        let x = index(new_grid.x.centre(pixel % nx) - shift[1], &old_grid.x, old.shape[1]);
        let Some((y, x)) = y.zip(x) else { continue };
        let (a, b) = (old.of_pixel[y * old.shape[1] + x], new.of_pixel[pixel]);
        old_sizes[a as usize] += 1;
        new_sizes[b as usize] += 1;
        if a > 0 && b > 0 {
            *common.entry((a, b)).or_default() += 1;
        }
    }
    let mut pairs: Vec<((u32, u32), usize)> = common.into_iter().collect();
    pairs.sort_by_key(|&(labels, pixels)| (std::cmp::Reverse(pixels), labels));
    let (mut old_taken, mut new_taken) = (vec![false; old.count + 1], vec![false; new.count + 1]);
    let mut matches = Vec::new();
    for ((before, now), pixels) in pairs {
        let smaller = old_sizes[before as usize].min(new_sizes[now as usize]);
        let overlap = pixels as f64 / smaller.max(1) as f64;
        let is_free = !old_taken[before as usize] && !new_taken[now as usize];
        if is_free && overlap > LEAST_PART {
            (old_taken[before as usize], new_taken[now as usize]) = (true, true);
            matches.push(Match { before, now, overlap });
        }
    }
    matches.sort_by_key(|found| found.now);
    matches
}

/// Keeps the numbers of particles from one generation of a map to the next.
#[derive(Clone, Debug, Default)]
pub struct Follower {
    before: Option<(Labels, Grid)>,
    /// The number of each label.
    numbers: Vec<u32>,
    last: u32,
}

impl Follower {
    /// Gives particles the numbers that they had; those that are new get numbers that none had before.
    pub fn name(&mut self, particles: &mut Particles, grid: &Grid) {
        let mut numbers = vec![0_u32; particles.particles.len()];
        if let Some((labels, old_grid)) = &self.before {
            for found in matched((labels, old_grid), (&particles.labels, grid), [0.0; 2]) {
                numbers[found.now as usize - 1] = self.numbers[found.before as usize - 1];
            }
        }
        for number in numbers.iter_mut().filter(|number| **number == 0) {
            self.last += 1;
            *number = self.last;
        }
        for (particle, &number) in particles.particles.iter_mut().zip(&numbers) {
            particle.id = number;
            particle.touches.iter_mut().for_each(|label| *label = numbers[*label as usize - 1]);
            particle.touches.sort_unstable();
        }
        self.before = Some((particles.labels.clone(), grid.clone()));
        self.numbers = numbers;
    }
}
