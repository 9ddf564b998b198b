//! Where the front between rim and core lies, and how fast it moves.
//!
//! A smooth step over depth is fitted to the pixels, with a level on either side of it; the front is its middle. Its error is that of leaving out one
//! sector of the particle after the other, since pixels beside each other err together, and what the outline itself may be off by.

use super::gradient::{Deep, LEAST_SECTORS, SECTORS};
use super::{Estimate, Gradient, Interval, Moment, Speed, excludes_zero, interval, limit};
use crate::damage::unit_um;
use crate::particles::States;

/// Places that are tried, pixels.
const STEP_PX: f64 = 0.1;
/// Widths of the step that are tried, standard deviations in pixels.
const WIDTHS_PX: [f64; 5] = [0.4, 0.7, 1.2, 2.0, 3.2];
/// Standard error above which it is no front that goes all round, but domains here and there, pixels.
const MOST_SIGMA_PX: f64 = 1.0;
/// How far the outline of a particle may be off, pixels: fronts of simulated particles lie where they are but for 0.09 under a narrow beam, and one of more than
/// a pixel moves the outline by up to 0.3.
const OUTLINE_PX: f64 = 0.2;
/// How much of that differs from one scan to the next: of simulated particles 0.07.
const AGAIN_PX: f64 = 0.07;

/// A pixel for the fit: depth, state, weight, sector.
#[derive(Clone, Copy, Debug)]
struct Point {
    depth_px: f64,
    x: f64,
    weight: f64,
    sector: usize,
}

/// Depth of the front, pixels; none where it lies at one of the ends, or elsewhere in each sector.
pub(super) fn front(moment: &Moment<'_>, states: &States, pixels: &[Deep]) -> Option<Estimate> {
    let points: Vec<Point> = pixels
        .iter()
        .filter_map(|own| {
            let weight = moment.particles.amounts.at(own.pixel as usize);
            let weight = if weight.is_finite() { weight.max(0.0) } else { 1.0 };
            let x = states.pixel(moment.map, own.pixel as usize).x?;
            Some(Point { depth_px: own.depth_px, x, weight, sector: own.sector })
        })
        .collect();
    let value = fit(&points)?;
    let left: Vec<f64> = (0..SECTORS)
        .filter(|&sector| points.iter().any(|own| own.sector == sector))
        .filter_map(|sector| {
            let rest: Vec<Point> = points.iter().filter(|own| own.sector != sector).copied().collect();
            fit(&rest)
        })
        .collect();
    if left.len() < LEAST_SECTORS {
        return None;
    }
    let n = left.len() as f64;
    let mean = left.iter().sum::<f64>() / n;
    let chance = ((n - 1.0) / n * left.iter().map(|own| (own - mean).powi(2)).sum::<f64>()).sqrt();
    let sigma = chance.hypot(OUTLINE_PX);
    (sigma <= MOST_SIGMA_PX).then_some(Estimate { value, sigma })
}

/// The middle of the step that fits best.
fn fit(points: &[Point]) -> Option<f64> {
    let least = points.iter().map(|own| own.depth_px).fold(f64::INFINITY, f64::min);
    let most = points.iter().map(|own| own.depth_px).fold(0.0, f64::max);
    // By depth, since many pixels have the same: sums of weight, state and its square at a tenth of a pixel.
    let mut bins: std::collections::BTreeMap<i64, [f64; 2]> = std::collections::BTreeMap::new();
    for own in points {
        let [weight, sum] = bins.entry((own.depth_px / STEP_PX).round() as i64).or_default();
        (*weight, *sum) = (*weight + own.weight, *sum + own.weight * own.x);
    }
    let bins: Vec<(f64, f64, f64)> = bins
        .into_iter()
        .filter(|(_, [weight, _])| *weight > 0.0)
        .map(|(bin, [weight, sum])| (bin as f64 * STEP_PX, weight, sum / weight))
        .collect();
    let places = ((most - least) / STEP_PX).floor() as usize;
    let mut best: Option<(f64, f64)> = None;
    for width_px in WIDTHS_PX {
        for place in 1..places {
            let at = least + place as f64 * STEP_PX;
            let misfit = misfit(&bins, at, width_px);
            if best.is_none_or(|(least, _)| misfit < least) {
                best = Some((misfit, at));
            }
        }
    }
    let (_, at) = best?;
    let margin = 0.5_f64.min(0.1 * (most - least));
    (at > least + margin && at < most - margin).then_some(at)
}

fn misfit(bins: &[(f64, f64, f64)], at: f64, width_px: f64) -> f64 {
    let (mut s, mut st, mut stt, mut sy, mut sty, mut syy) = (0.0, 0.0, 0.0, 0.0, 0.0, 0.0);
    for &(depth_px, weight, x) in bins {
        // A logistic step has nearly the shape of a normal one whose deviation is 1.7 times its scale.
        let t = 1.0 / (1.0 + (-1.702 * (depth_px - at) / width_px).exp());
        (s, st, stt) = (s + weight, st + weight * t, stt + weight * t * t);
        (sy, sty, syy) = (sy + weight * x, sty + weight * t * x, syy + weight * x * x);
    }
    let determinant = s * stt - st * st;
    if determinant <= 1e-9 * s * s {
        return f64::INFINITY;
    }
    let slope = (s * sty - st * sy) / determinant;
    let level = (sy - slope * st) / s;
    syy - level * sy - slope * sty
}

/// The error of a place that is not the same in another scan of the particle.
fn change(front: Estimate) -> f64 {
    (front.sigma.powi(2) - OUTLINE_PX.powi(2)).max(0.0).sqrt().hypot(AGAIN_PX)
}

/// Between each scan of a particle and the next in which its front can be told.
pub(super) fn speeds(moments: &[Moment<'_>], gradients: &[Gradient]) -> Vec<Speed> {
    let mut speeds = Vec::new();
    let with_front: Vec<(&Gradient, Estimate)> =
        gradients.iter().filter_map(|own| Some((own, own.front_px?))).collect();
    for (index, (later, now)) in with_front.iter().enumerate() {
        let same = |(own, _): &&(&Gradient, Estimate)| {
            own.track == later.track && own.contrast.middle.signum() == later.contrast.middle.signum()
        };
        let Some((earlier, before)) = with_front[..index].iter().rev().find(same) else { continue };
        let started = |own: &Gradient| moments[own.scan].map.plan.started;
        let hours = (started(later) - started(earlier)).as_seconds_f64() / 3600.0;
        let steps = [earlier, later].map(|own| {
            let grid = &moments[own.scan].map.plan.grid;
            (grid.y.step * grid.x.step).abs().sqrt()
        });
        let is_alike = (steps[0] - steps[1]).abs() <= 1e-3 * steps[0];
        if hours <= 0.0 || !is_alike {
            continue;
        }
        let px_per_h =
            interval((now.value - before.value) / hours, change(*now).hypot(change(*before)) / hours);
        let um = unit_um(&moments[later.scan].map.plan.grid.unit).map(|um| um * steps[1]);
        let um_per_h = um.map(|um| Interval {
            low: um * px_per_h.low,
            middle: um * px_per_h.middle,
            high: um * px_per_h.high,
        });
        let scans = [earlier.scan, later.scan];
        speeds.push(Speed { track: later.track, scans, hours, px_per_h, um_per_h, is_real: false });
    }
    let limit = limit(speeds.len());
    speeds.iter_mut().for_each(|own| own.is_real = excludes_zero(own.px_per_h, limit));
    speeds
}
