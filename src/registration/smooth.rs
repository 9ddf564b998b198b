//! A displacement that is smooth in time: what an image says by itself, weighed against its neighbours.
//!
//! The sample wanders at random from image to image, by steps whose variance is estimated from the measured ones; each
//! measurement has its error. A Kalman filter forward and a smoother backward (H. Rauch, F. Tung, C. Striebel, AIAA J. 3,
//! 1445 (1965)) give the mean of what all of them together say. Where images measure well, that is what they measured;
//! an image without contrast gets what lies between its neighbours, with an error that tells.

/// Smallest step from image to image, pixels.
const LEAST_STEP: f64 = 0.05;
/// Largest, pixels: where nothing is measured well.
const LARGEST_STEP: f64 = 1.0;
/// A measurement this many deviations from its neighbours, and not well measured, loses weight.
const OUTLYING: f64 = 3.0;
/// Rounds of weighing again.
const ROUNDS: usize = 4;

/// Smooths values in the order of time. Returns each with its error; all errors infinite where nothing was measured.
pub(super) fn smoothed(measured: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let step = typical_step(measured);
    let mut weighed = measured.to_vec();
    let mut result = filtered(&weighed, step);
    for _ in 0..ROUNDS {
        let others = without_own(&weighed, step);
        let mut changed = false;
        for (index, &(value, error)) in measured.iter().enumerate() {
            let (expected, spread) = others[index];
            if !error.is_finite() || !spread.is_finite() {
                continue;
            }
            // What lies this far from what all others expect is no measurement but a mistake, unless it is sharp.
            let far = (value - expected).abs() / (spread * spread + error * error).sqrt();
            let inflated = if far > OUTLYING { error * far / OUTLYING } else { error };
            changed |= (inflated - weighed[index].1).abs() > 1e-3 * error;
            weighed[index].1 = inflated;
        }
        if !changed {
            break;
        }
        result = filtered(&weighed, step);
    }
    result
}

/// Deviation of the steps from one well-measured image to the next, less what the errors make of them.
fn typical_step(measured: &[(f64, f64)]) -> f64 {
    let good: Vec<&(f64, f64)> = measured.iter().filter(|(_, error)| *error < 0.5).collect();
    let mut steps: Vec<f64> = good
        .windows(2)
        .map(|pair| {
            let noise = pair[0].1.powi(2) + pair[1].1.powi(2);
            ((pair[1].0 - pair[0].0).powi(2) - noise).max(0.0)
        })
        .collect();
    if steps.len() < 3 {
        return LARGEST_STEP;
    }
    steps.sort_by(f64::total_cmp);
    // The median of squares of a normal number is .455 of its variance.
    let median = steps[steps.len() / 2] / 0.455;
    let mean = steps.iter().take(steps.len() * 9 / 10).sum::<f64>() / (steps.len() * 9 / 10).max(1) as f64;
    median.max(mean).sqrt().clamp(LEAST_STEP, LARGEST_STEP)
}

/// Means and their variances.
type Course = Vec<(f64, f64)>;

/// Mean and variance after each measurement, going forward; and before it.
fn forward(measured: &[(f64, f64)], step: f64) -> (Course, Course) {
    let (mut after, mut before) = (Vec::with_capacity(measured.len()), Vec::with_capacity(measured.len()));
    let (mut mean, mut variance) = (0.0, f64::INFINITY);
    for &(value, error) in measured {
        variance += step * step;
        before.push((mean, variance));
        if error.is_finite() {
            let noise = error * error;
            if variance.is_finite() {
                let gain = variance / (variance + noise);
                (mean, variance) = (mean + gain * (value - mean), gain * noise);
            } else {
                (mean, variance) = (value, noise);
            }
        }
        after.push((mean, variance));
    }
    (after, before)
}

/// Combines two independent opinions, mean and variance.
fn combined(a: (f64, f64), b: (f64, f64)) -> (f64, f64) {
    match (a.1.is_finite(), b.1.is_finite()) {
        (true, true) => {
            let weight = b.1 / (a.1 + b.1);
            (weight * a.0 + (1.0 - weight) * b.0, weight * a.1)
        }
        (true, false) => a,
        _ => b,
    }
}

/// What the others expect of each: mean and deviation.
fn without_own(measured: &[(f64, f64)], step: f64) -> Vec<(f64, f64)> {
    let (_, before) = forward(measured, step);
    let reversed: Vec<(f64, f64)> = measured.iter().rev().copied().collect();
    let (_, after) = forward(&reversed, step);
    let both = before.iter().zip(after.iter().rev());
    both.map(|(a, b)| combined(*a, *b)).map(|(mean, variance)| (mean, variance.sqrt())).collect()
}

fn filtered(measured: &[(f64, f64)], step: f64) -> Vec<(f64, f64)> {
    let (after, _) = forward(measured, step);
    let reversed: Vec<(f64, f64)> = measured.iter().rev().copied().collect();
    let (_, later) = forward(&reversed, step);
    let both = after.iter().zip(later.iter().rev());
    both.map(|(a, b)| combined(*a, *b)).map(|(mean, variance)| (mean, variance.sqrt())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_measured_well_stays() {
        let measured: Vec<(f64, f64)> =
            (0..20).map(|i| (f64::from(i) * 0.3 + f64::from(i % 3) * 0.1, 0.01)).collect();
        for (a, b) in smoothed(&measured).iter().zip(&measured) {
            assert!((a.0 - b.0).abs() < 0.01 && a.1 <= 0.0101, "{a:?} {b:?}");
        }
    }

    #[test]
    fn what_is_not_measured_borrows_and_says_so() {
        let mut measured: Vec<(f64, f64)> = (0..20).map(|i| (f64::from(i) * 0.2, 0.02)).collect();
        measured[7] = (55.0, f64::INFINITY);
        measured[12] = (-30.0, 0.6);
        let smooth = smoothed(&measured);
        assert!((smooth[7].0 - 1.4).abs() < 0.02 && smooth[7].1 > 0.05, "{:?}", smooth[7]);
        assert!((smooth[12].0 - 2.4).abs() < 0.15, "{:?}", smooth[12]);
        assert!(smoothed(&[(1.0, f64::INFINITY)])[0].1.is_infinite());
    }
}
