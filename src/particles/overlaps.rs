//! Which particles lie over each other.
//!
//! In projection the outline of a particle goes on where it lies over another one, as a step of density inside. A particle by itself rises ever less steeply
//! from its rim to its middle, so that nowhere inside is the slope steeper than on both sides along it: where it is, along a line of some pixels, something lies over something.
//! Between particles that touch there is a valley: it rises again beyond. A crack or a terrace makes such a line, too; a boundary between phases hardly, as the mean density over an edge differs little between them.
//!
//! Where most of one particle lies over another and its rim is thin against it, the step drowns in the noise and nothing is said.

use super::Labels;
use super::amounts::{Amounts, beside};
use super::watershed::distances;

/// Distance to the outside from which a pixel is inside, pixels: the rim itself is a step.
const INSIDE_PX: f32 = 2.5;
/// Slope from which there is a step: part of the particle's median density in a pixel.
const STEP: f64 = 0.11;
/// How much steeper a step is than what lies two pixels from it, on either side.
const STEEPER: f64 = 1.25;
/// How steeply, of its own slope, it rises again downhill of the rim of a particle that touches another: what lies between them is a valley, no step.
const VALLEY: f64 = 0.4;
/// How far downhill, pixels.
const DOWNHILL: [f64; 4] = [2.0, 3.0, 4.0, 5.0];
/// Deviations of the noise that a step exceeds.
const SIGMAS: f64 = 4.0;
/// Pixels of a line.
const LEAST_LINE: usize = 5;
/// Variance of a slope over that of a pixel: squares of the nine weights.
const OF_WEIGHTS: f64 = 12.0 / 64.0;

/// Whether each particle, in the order of its label, lies over another one or under it.
pub(super) fn overlapping(labels: &Labels, amounts: &Amounts) -> Vec<bool> {
    let [ny, nx] = labels.shape;
    let levels = levels(labels, amounts);
    let matter: Vec<bool> = labels.of_pixel.iter().map(|&label| label > 0).collect();
    let distance = distances(&matter, ny, nx);
    let slopes: Vec<[f64; 2]> = (0..matter.len()).map(|pixel| slope(amounts, pixel, ny, nx)).collect();
    let is_step = |pixel: usize| {
        distance[pixel] >= INSIDE_PX
            && rises(&slopes, pixel, ny, nx, {
                let noise = SIGMAS * (OF_WEIGHTS * f64::from(amounts.variance[pixel])).sqrt();
                (STEP * levels[labels.of_pixel[pixel] as usize - 1]).max(noise)
            })
    };
    let steps: Vec<bool> = (0..matter.len()).map(is_step).collect();
    let mut found = vec![false; labels.count];
    let mut seen = vec![false; steps.len()];
    for first in 0..steps.len() {
        if !steps[first] || seen[first] {
            continue;
        }
        let (mut line, mut next) = (vec![first], 0);
        seen[first] = true;
        while let Some(&pixel) = line.get(next) {
            next += 1;
            for other in beside(pixel, ny, nx).filter(|&other| steps[other]) {
                if !std::mem::replace(&mut seen[other], true) {
                    line.push(other);
                }
            }
        }
        if line.len() >= LEAST_LINE {
            // The cut between the two lies beside the step, and the step is in either.
            let near = line.iter().flat_map(|&pixel| beside(pixel, ny, nx));
            for label in near.map(|pixel| labels.of_pixel[pixel]).filter(|&label| label > 0) {
                found[label as usize - 1] = true;
            }
        }
    }
    found
}

/// Median density of each particle.
fn levels(labels: &Labels, amounts: &Amounts) -> Vec<f64> {
    let of = |pixels: Vec<u32>| {
        let mut known: Vec<f64> =
            pixels.into_iter().map(|pixel| amounts.at(pixel as usize)).filter(|od| od.is_finite()).collect();
        if known.is_empty() {
            return f64::INFINITY;
        }
        let middle = known.len() / 2;
        *known.select_nth_unstable_by(middle, f64::total_cmp).1
    };
    labels.pixels().into_iter().map(of).collect()
}

/// How steeply density rises along y and x, over three by three pixels; not a number beside one without a value and at the border.
fn slope(amounts: &Amounts, pixel: usize, ny: usize, nx: usize) -> [f64; 2] {
    let (y, x) = (pixel / nx, pixel % nx);
    if y == 0 || x == 0 || y + 1 >= ny || x + 1 >= nx {
        return [f64::NAN; 2];
    }
    let at = |dy: usize, dx: usize| amounts.at((y + dy - 1) * nx + x + dx - 1);
    let line = |a: f64, b: f64, c: f64| (a + 2.0 * b + c) / 8.0;
    [
        line(at(2, 0), at(2, 1), at(2, 2)) - line(at(0, 0), at(0, 1), at(0, 2)),
        line(at(0, 2), at(1, 2), at(2, 2)) - line(at(0, 0), at(1, 0), at(2, 0)),
    ]
}

/// Whether density rises by more than `least` here, and less steeply on either side, uphill and downhill.
fn rises(slopes: &[[f64; 2]], pixel: usize, ny: usize, nx: usize, least: f64) -> bool {
    let [along_y, along_x] = slopes[pixel];
    let own = along_y.hypot(along_x);
    if own.is_nan() || own <= least {
        return false;
    }
    let along = |steps: f64| {
        let y = (pixel / nx) as f64 + (steps * along_y / own).round();
        let x = (pixel % nx) as f64 + (steps * along_x / own).round();
        let is_inside = y >= 0.0 && x >= 0.0 && y < ny as f64 && x < nx as f64;
        let [sy, sx] = if is_inside { slopes[y as usize * nx + x as usize] } else { [f64::NAN; 2] };
        (sy * along_y + sx * along_x) / own
    };
    // Only what rises the same way counts as steep: beyond a ridge it falls.
    let is_steepest = [-2.0, 2.0].into_iter().all(|steps| own >= STEEPER * along(steps).max(0.0))
        && [-1.0, 1.0].into_iter().all(|steps| own >= along(steps).max(0.0));
    is_steepest && !DOWNHILL.into_iter().any(|steps| along(-steps) < -VALLEY * own)
}
