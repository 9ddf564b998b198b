//! Whether a registration is to be believed: never worse than none.
//!
//! It is applied where images do tell where they lie, where the displacements are larger than their errors and large
//! enough to matter, and where the images then fit each other better than they did as they lay, by more than chance and
//! interpolation could make them. Everything else is left as it was measured, with the reason in words.

use super::drift::{Shift, Verdict};

/// An image whose error is above this tells nothing by itself, pixels.
pub(super) const TELLING: f64 = 0.5;
/// Scatter of the displacements below which nothing is taken out, pixels: interpolation would cost as much.
const LEAST_SCATTER: f64 = 0.1;
/// The same, in median errors.
const LEAST_ERRORS: f64 = 2.0;
/// Gain in log-likelihood per image that has to be passed.
const LEAST_GAIN: f64 = 8.0;
/// Displacements beyond this share of the shorter side leave too little of the field.
const LARGEST_SHARE: f64 = 0.35;

/// The verdict on displacements, in the order of time, in a field whose shorter side has `side` pixels. `gains` tells the
/// gain in log-likelihood of each image; it is asked only where all else speaks for the registration.
pub(super) fn judge(shifts: &[Shift], side: f64, gains: impl FnOnce() -> Vec<f64>) -> Verdict {
    let count = shifts.len();
    let telling = shifts.iter().filter(|shift| shift.measured).count();
    if 2 * telling < count {
        return refused(format!("too little contrast: {telling} of {count} images tell where they lie"));
    }
    let error = median(shifts.iter().map(|s| s.error_y.max(s.error_x)).collect());
    let scatter = scatter(shifts);
    if scatter < LEAST_SCATTER.max(LEAST_ERRORS * error) {
        return refused(format!("no drift seen: displacements scatter by {scatter:.2} pixels"));
    }
    let largest = shifts.iter().map(Shift::length).fold(0.0, f64::max);
    if largest > LARGEST_SHARE * side {
        return refused(format!("not trusted: displacements up to {largest:.0} pixels"));
    }
    let gains = gains();
    let gain = gains.iter().sum::<f64>() / gains.len().max(1) as f64;
    if gain.is_nan() || gain < LEAST_GAIN {
        return refused(format!(
            "not trusted: the images fit each other no better with displacements up to {largest:.2} pixels"
        ));
    }
    Verdict::Applied
}

fn refused(reason: String) -> Verdict {
    Verdict::NotApplied(reason)
}

/// Root mean square distance from the middle, pixels.
fn scatter(shifts: &[Shift]) -> f64 {
    let (y, x) = (median(shifts.iter().map(|s| s.y).collect()), median(shifts.iter().map(|s| s.x).collect()));
    let sum: f64 = shifts.iter().map(|s| (s.y - y).powi(2) + (s.x - x).powi(2)).sum();
    (sum / shifts.len().max(1) as f64).sqrt()
}

fn median(mut list: Vec<f64>) -> f64 {
    list.sort_by(f64::total_cmp);
    list.get(list.len() / 2).copied().unwrap_or(f64::INFINITY)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn case(step: f64, error: f64, measured: bool, gain: f64) -> Verdict {
        let shifts: Vec<Shift> = (0..12)
            .map(|i| Shift { y: step * f64::from(i), x: 0.0, error_y: error, error_x: error, measured })
            .collect();
        judge(&shifts, 100.0, || vec![gain; 12])
    }

    fn reason(verdict: Verdict) -> String {
        match verdict {
            Verdict::NotApplied(reason) => reason,
            other => format!("{other:?}"),
        }
    }

    #[test]
    fn what_is_seen_clearly_is_applied_and_nothing_else() {
        assert_eq!(case(0.4, 0.03, true, 100.0), Verdict::Applied);
        assert!(reason(case(0.4, 0.03, false, 100.0)).contains("too little contrast"));
        assert!(reason(case(0.01, 0.003, true, 100.0)).contains("no drift seen"));
        assert!(reason(case(0.4, 0.9, true, 100.0)).contains("no drift seen"));
        assert!(reason(case(0.4, 0.03, true, 1.0)).contains("no better"));
        assert!(reason(case(5.0, 0.03, true, 100.0)).contains("not trusted"));
    }
}
