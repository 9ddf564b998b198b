//! The methods a model is measured against: Pearson correlation, and noise-weighted fits of one or two references.

/// References at the energies of a scan, `[phase][energy]`.
pub(super) type Shapes = Vec<Vec<f64>>;

/// A pair is believed over a single reference where chi² falls by more than this (two standard deviations of two parameters).
const PAIR_CHI2: f64 = 11.8;
/// Smallest share of a phase in a believed pair.
const LEAST_SHARE: f64 = 0.2;

/// What a fit says.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Verdict {
    /// Best single reference.
    pub(super) phase: usize,
    /// Whether two references together are believed.
    pub(super) mixture: bool,
}

/// Phase of the highest Pearson coefficient; `None` under three values.
pub(super) fn pearson(shapes: &Shapes, od: &[f32]) -> Option<usize> {
    let seen: Vec<usize> = (0..od.len()).filter(|&i| od[i].is_finite()).collect();
    if seen.len() < 3 {
        return None;
    }
    let r = |shape: &Vec<f64>| {
        let n = seen.len() as f64;
        let mean = |f: &dyn Fn(usize) -> f64| seen.iter().map(|&i| f(i)).sum::<f64>() / n;
        let (mx, mr) = (mean(&|i| f64::from(od[i])), mean(&|i| shape[i]));
        let sxr = mean(&|i| (f64::from(od[i]) - mx) * (shape[i] - mr));
        let srr = mean(&|i| (shape[i] - mr).powi(2));
        sxr / srr.sqrt().max(1e-12)
    };
    best(shapes.iter().map(r))
}

/// Weighted least squares of each reference, and of each pair, with a free constant; amounts not negative.
pub(super) fn fit(shapes: &Shapes, od: &[f32], sigma: &[f32]) -> Option<Verdict> {
    let seen: Vec<(usize, f64)> = (0..od.len())
        .filter(|&i| od[i].is_finite() && sigma[i].is_finite())
        .map(|i| (i, 1.0 / f64::from(sigma[i] * sigma[i])))
        .collect();
    if seen.len() < 3 {
        return None;
    }
    let total: f64 = seen.iter().map(|s| s.1).sum();
    let centred = |value: &dyn Fn(usize) -> f64| -> Vec<f64> {
        let mean = seen.iter().map(|&(i, w)| w * value(i)).sum::<f64>() / total;
        seen.iter().map(|&(i, _)| value(i) - mean).collect()
    };
    let dot = |a: &[f64], b: &[f64]| -> f64 {
        seen.iter().zip(a.iter().zip(b)).map(|((_, w), (x, y))| w * x * y).sum()
    };
    let x = centred(&|i| f64::from(od[i]));
    let r: Vec<Vec<f64>> = shapes.iter().map(|shape| centred(&|i| shape[i])).collect();
    let with_x: Vec<f64> = r.iter().map(|r| dot(r, &x)).collect();
    let own: Vec<f64> = r.iter().map(|r| dot(r, r).max(1e-12)).collect();
    let gain = |k: usize| with_x[k].max(0.0).powi(2) / own[k];
    let phase = best((0..r.len()).map(gain))?;
    let mut mixture = false;
    for a in 0..r.len() {
        for b in a + 1..r.len() {
            let cross = dot(&r[a], &r[b]);
            let determinant = own[a] * own[b] - cross * cross;
            if determinant <= 1e-9 * own[a] * own[b] {
                continue;
            }
            let share_a = (with_x[a] * own[b] - with_x[b] * cross) / determinant;
            let share_b = (with_x[b] * own[a] - with_x[a] * cross) / determinant;
            let least = share_a.min(share_b) / (share_a + share_b);
            let pair_gain = share_a * with_x[a] + share_b * with_x[b];
            mixture |=
                share_a > 0.0 && share_b > 0.0 && least >= LEAST_SHARE && pair_gain - gain(phase) > PAIR_CHI2;
        }
    }
    Some(Verdict { phase, mixture })
}

fn best(values: impl Iterator<Item = f64>) -> Option<usize> {
    let list: Vec<f64> = values.collect();
    (0..list.len()).max_by(|&a, &b| list[a].total_cmp(&list[b]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shapes() -> Shapes {
        vec![vec![0.0, 1.0, 3.0, 1.0, 0.5, 0.5], vec![0.0, 0.5, 1.0, 3.0, 1.0, 0.5]]
    }

    #[test]
    fn each_reference_finds_itself_whatever_scale_and_constant() {
        for (phase, shape) in shapes().iter().enumerate() {
            let od: Vec<f32> = shape.iter().map(|v| (0.3 + 0.7 * v) as f32).collect();
            assert_eq!(pearson(&shapes(), &od), Some(phase));
            assert_eq!(fit(&shapes(), &od, &[0.01; 6]), Some(Verdict { phase, mixture: false }));
        }
    }

    #[test]
    fn half_and_half_is_a_mixture_only_where_the_noise_allows_to_say_so() {
        let od: Vec<f32> = (0..6).map(|i| (0.5 * (shapes()[0][i] + shapes()[1][i])) as f32).collect();
        assert!(fit(&shapes(), &od, &[0.01; 6]).unwrap().mixture);
        assert!(!fit(&shapes(), &od, &[2.0; 6]).unwrap().mixture);
    }

    #[test]
    fn two_values_tell_nothing() {
        let od = [0.1, f32::NAN, 0.2, f32::NAN, f32::NAN, f32::NAN];
        assert_eq!(pearson(&shapes(), &od), None);
        assert_eq!(fit(&shapes(), &od, &[0.1; 6]), None);
    }
}
