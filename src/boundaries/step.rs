//! A smooth step fitted to a profile across a boundary.
//!
//! Widths and places are tried on a grid, and the best is then made finer than any error of a profile: what is left out of a profile moves its width by less than a
//! grid's step, and an error made of such moves would be zero or the grid's. A profile that no step within the grid fits best has no step.

use super::spot::normal;

/// Widths that are tried, pixels: from the least by this factor to the most.
const WIDTHS_PX: (f64, f64, f64) = (0.1, 8.0, 1.06);
/// Places of the middle that are tried, pixels either way, and the step between them.
const PLACES_PX: (f64, f64) = (2.0, 0.1);
/// How finely the width is found, in parts of it.
pub(super) const FINE: f64 = 1e-5;

/// Mean of a profile at one distance.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Point {
    pub(super) distance_px: f64,
    pub(super) value: f64,
    pub(super) weight: f64,
}

/// A step: `low` far on the one side, `high` on the other.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Step {
    pub(super) low: f64,
    pub(super) high: f64,
    /// Where it is half done, pixels.
    pub(super) middle_px: f64,
    /// Standard deviation of its slope, pixels.
    pub(super) sigma_px: f64,
    misfit: f64,
}

/// The step that fits best; `None` with fewer points than it takes, and where the best lies at the end of what is tried: the profile has no width
/// that it could tell.
pub(super) fn fit(points: &[Point]) -> Option<Step> {
    if points.len() < 5 {
        return None;
    }
    let (least, most, factor) = WIDTHS_PX;
    let (reach, step) = PLACES_PX;
    let places = (2.0 * reach / step).round() as i32;
    let mut best: Option<Step> = None;
    let mut sigma_px = least;
    while sigma_px <= most {
        for place in 0..=places {
            let middle_px = f64::from(place) * step - reach;
            let Some(own) = levels(points, middle_px, sigma_px) else { continue };
            if best.is_none_or(|best| own.misfit < best.misfit) {
                best = Some(own);
            }
        }
        sigma_px *= factor;
    }
    let best = finer(points, best?);
    let is_within = best.sigma_px > least * (1.0 + FINE) && best.sigma_px < most * (1.0 - FINE);
    (is_within && best.middle_px.abs() < reach - FINE).then_some(best)
}

/// The best step about one of the grid: moves of width and place, halved where none is better.
fn finer(points: &[Point], mut best: Step) -> Step {
    let (least, most, factor) = WIDTHS_PX;
    let (reach, step) = PLACES_PX;
    let mut part = 1.0;
    while part * (factor - 1.0) > FINE {
        let (wider, aside) = (1.0 + part * (factor - 1.0), part * step);
        let tried = [(wider, 0.0), (1.0 / wider, 0.0), (1.0, aside), (1.0, -aside)].map(|(by, aside)| {
            let middle_px = (best.middle_px + aside).clamp(-reach, reach);
            levels(points, middle_px, (best.sigma_px * by).clamp(least, most))
        });
        match tried.into_iter().flatten().min_by(|a, b| a.misfit.total_cmp(&b.misfit)) {
            Some(own) if own.misfit < best.misfit => best = own,
            _ => part *= 0.5,
        }
    }
    best
}

/// The two levels for a place and a width.
fn levels(points: &[Point], middle_px: f64, sigma_px: f64) -> Option<Step> {
    let (mut s, mut st, mut stt, mut sy, mut sty, mut syy) = (0.0, 0.0, 0.0, 0.0, 0.0, 0.0);
    for Point { distance_px, value, weight } in points {
        let t = normal((distance_px - middle_px) / sigma_px);
        (s, st, stt) = (s + weight, st + weight * t, stt + weight * t * t);
        (sy, sty, syy) = (sy + weight * value, sty + weight * t * value, syy + weight * value * value);
    }
    let determinant = s * stt - st * st;
    if determinant <= 1e-9 * s * stt.max(1e-9) {
        return None;
    }
    let slope = (s * sty - st * sy) / determinant;
    let low = (sy - slope * st) / s;
    let misfit = syy - low * sy - slope * sty;
    Some(Step { low, high: low + slope, middle_px, sigma_px, misfit })
}
