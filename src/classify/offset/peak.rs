//! The maximum of the summed log-likelihood, its width, and its rivals.

use super::likelihood::Table;

/// Where the maximum is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Peak {
    pub offset_ev: f64,
    pub error_ev: f64,
}

/// Least error, eV: that of the interpolation of the references.
const FLOOR_EV: f64 = 0.003;
/// A phase's own offset counts from this many pixels on.
const PHASE_PIXELS: usize = 12;

/// Index of the largest value; `None` where one is NaN or there is none.
pub(super) fn maximum(curve: &[f64]) -> Option<usize> {
    if curve.iter().any(|value| value.is_nan()) {
        return None;
    }
    (0..curve.len()).reduce(|best, i| if curve[i] > curve[best] { i } else { best })
}

/// The highest other local maximum at least `apart` steps from `best`, where it is lower by less than `contrast`.
pub(super) fn rival(curve: &[f64], best: usize, apart: usize, contrast: f64) -> Option<usize> {
    let is_top =
        |i: usize| (i == 0 || curve[i - 1] < curve[i]) && (i + 1 == curve.len() || curve[i + 1] <= curve[i]);
    (0..curve.len())
        .filter(|&i| i.abs_diff(best) >= apart && is_top(i) && curve[best] - curve[i] < contrast)
        .reduce(|top, i| if curve[i] > curve[top] { i } else { top })
}

/// Offset of the top of the parabola through three points about `at`, in steps from `at`, and its curvature per
/// step squared (positive at a maximum).
pub(super) fn parabola(curve: &[f64], at: usize) -> (f64, f64) {
    let (a, b, c) = (curve[at - 1], curve[at], curve[at + 1]);
    let curvature = 2.0 * b - a - c;
    let shift = if curvature > 0.0 { ((c - a) / (2.0 * curvature)).clamp(-1.0, 1.0) } else { 0.0 };
    (shift, curvature)
}

/// The maximum on a fine grid, and its error.
pub(super) fn refine(table: &Table, temper: f64, prior_ev: f64) -> Peak {
    let offsets = table.offsets();
    let step = offsets[1] - offsets[0];
    let prior = |offset: f64| -0.5 * (offset / prior_ev).powi(2) / temper;
    let curve: Vec<f64> =
        table.total().iter().zip(offsets).map(|(sum, &offset)| sum + prior(offset)).collect();
    let Some(top) = maximum(&curve) else { return Peak { offset_ev: f64::NAN, error_ev: f64::NAN } };
    let at = top.clamp(1, curve.len() - 2);
    let (shift, curvature) = parabola(&curve, at);
    let offset_ev = offsets[at] + shift * step;
    let pixels = scatter_of_pixels(table, at, shift, curvature) * step;
    let phases = spread_of_phases(table, at, offset_ev);
    let error_ev = (pixels * pixels + phases * phases + FLOOR_EV * FLOOR_EV).sqrt();
    Peak { offset_ev, error_ev }
}

/// Standard error from the scatter of the pixels' slopes, in steps.
fn scatter_of_pixels(table: &Table, at: usize, shift: f64, curvature: f64) -> f64 {
    let rows = table.at(at - 1).iter().zip(table.at(at)).zip(table.at(at + 1));
    let squares: f64 = rows
        .map(|((before, here), after)| {
            let (slope, bend) = (0.5 * (after - before), 2.0 * here - before - after);
            (slope - bend * shift).powi(2)
        })
        .sum();
    if curvature > 0.0 { squares.sqrt() / curvature } else { f64::NAN }
}

/// Standard error of the offset from the differences between the phases' own offsets, eV: those of the pixels that
/// are most likely of that phase, each weighted with its share in the estimate.
fn spread_of_phases(table: &Table, at: usize, offset_ev: f64) -> f64 {
    let (offsets, phases) = (table.offsets(), table.phases());
    let step = offsets[1] - offsets[0];
    let mut curves = vec![vec![0.0; offsets.len()]; phases];
    let mut counts = vec![0_usize; phases];
    for pixel in 0..table.pixels() {
        let best = table.best_phase(pixel, at);
        counts[best] += 1;
        for (offset, sum) in curves[best].iter_mut().enumerate() {
            *sum += table.of_phase(pixel, best, offset);
        }
    }
    let own: Vec<(f64, f64)> = (0..phases)
        .filter(|&k| counts[k] >= PHASE_PIXELS)
        .filter_map(|k| {
            let top = maximum(&curves[k])?.clamp(1, offsets.len() - 2);
            let (shift, curvature) = parabola(&curves[k], top);
            (curvature > 0.0).then_some((offsets[top] + shift * step, curvature))
        })
        .collect();
    let total: f64 = own.iter().map(|(_, information)| information).sum();
    if own.len() < 2 {
        return 0.0;
    }
    let squares: f64 =
        own.iter().map(|(own, information)| (information / total * (own - offset_ev)).powi(2)).sum();
    (squares * own.len() as f64 / (own.len() as f64 - 1.0)).sqrt()
}

/// Standard error from leaving out parts of the energies, eV. `whole` and `parts` are curves at three offsets `step`
/// apart, the middle one near the maximum: of all energies, and with each part left out.
pub(super) fn jackknife(whole: &[f64; 3], parts: &[[f64; 3]], step: f64) -> f64 {
    let top = |curve: &[f64; 3]| {
        let curvature = 2.0 * curve[1] - curve[0] - curve[2];
        // A part without which nothing is left to tell: as far as the grid of the maximum reaches.
        if curvature > 0.0 { ((curve[2] - curve[0]) / (2.0 * curvature)).clamp(-5.0, 5.0) } else { 5.0 }
    };
    let centre = top(whole);
    let n = parts.len() as f64;
    let squares: f64 = parts.iter().map(|part| (top(part) - centre).powi(2)).sum();
    step * (squares * (n - 1.0) / n).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rival_is_another_maximum_that_is_nearly_as_high() {
        let curve = [0.0, 5.0, 1.0, 0.0, 3.0, 2.0, 4.5];
        assert_eq!(maximum(&curve), Some(1));
        assert_eq!(rival(&curve, 1, 2, 1.0), Some(6));
        assert_eq!(rival(&curve, 1, 2, 0.3), None);
        assert_eq!(rival(&curve[..6], 1, 2, 3.0), Some(4));
        assert_eq!(rival(&curve[..6], 1, 4, 3.0), None, "too near to be another reading");
        assert_eq!(maximum(&[0.0, f64::NAN]), None);
    }

    #[test]
    fn a_parabola_has_its_top_where_it_was_put() {
        let curve: Vec<f64> = (0..5).map(|i| 7.0 - 3.0 * (f64::from(i) - 2.3).powi(2)).collect();
        let (shift, curvature) = parabola(&curve, 2);
        assert!((shift - 0.3).abs() < 1e-12 && (curvature - 6.0).abs() < 1e-12);
    }

    #[test]
    fn the_jackknife_measures_what_the_parts_do() {
        let about = |top: f64| [-(-1.0 - top).powi(2), -top.powi(2), -(1.0 - top).powi(2)];
        assert!(jackknife(&about(0.2), &[about(0.2); 4], 0.03) < 1e-9);
        let moved = jackknife(&about(0.0), &[about(0.5), about(-0.5)], 0.03);
        assert!((moved - 0.03 * 0.5).abs() < 1e-9, "{moved}");
    }
}
