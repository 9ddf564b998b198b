//! What a trained model is held against: the noise-weighted, non-negative fit of one reference or two, with a free constant.

/// A pair is believed over a single reference where chi² falls by more than this (two standard deviations of two parameters).
const PAIR_CHI2: f64 = 11.8;
/// Smallest share of a phase in a believed pair.
const LEAST_SHARE: f64 = 0.2;

/// What a fit says.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Fitted {
    /// Best single reference.
    pub(crate) phase: usize,
    /// chi² of the second best less that of the best.
    pub(crate) evidence: f64,
    /// Whether two references together are believed.
    pub(crate) mixture: bool,
}

/// Fits `shapes` (`[phase][energy]`) to a spectrum; `None` under three values.
pub(crate) fn fit(shapes: &[Vec<f64>], od: &[f32], sigma: &[f32]) -> Option<Fitted> {
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
    let gain: Vec<f64> = (0..r.len()).map(|k| with_x[k].max(0.0).powi(2) / own[k]).collect();
    let phase = (0..gain.len()).max_by(|&a, &b| gain[a].total_cmp(&gain[b]))?;
    let second = (0..gain.len()).filter(|&k| k != phase).map(|k| gain[k]).fold(0.0, f64::max);
    let pair_gain = |a: usize, b: usize| -> Option<f64> {
        let cross = dot(&r[a], &r[b]);
        let determinant = own[a] * own[b] - cross * cross;
        if determinant <= 1e-9 * own[a] * own[b] {
            return None;
        }
        let amount_a = (with_x[a] * own[b] - with_x[b] * cross) / determinant;
        let amount_b = (with_x[b] * own[a] - with_x[a] * cross) / determinant;
        let least = amount_a.min(amount_b) / (amount_a + amount_b);
        (amount_a > 0.0 && amount_b > 0.0 && least >= LEAST_SHARE)
            .then(|| amount_a * with_x[a] + amount_b * with_x[b])
    };
    let mut pairs = (0..r.len()).flat_map(|a| (a + 1..r.len()).map(move |b| (a, b)));
    let mixture = pairs.any(|(a, b)| pair_gain(a, b).is_some_and(|g| g - gain[phase] > PAIR_CHI2));
    Some(Fitted { phase, evidence: gain[phase] - second, mixture })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reference_finds_itself_and_a_mixture_is_one_where_the_noise_allows() {
        let shapes = vec![vec![0.0, 1.0, 3.0, 1.0, 0.5, 0.5], vec![0.0, 0.5, 1.0, 3.0, 1.0, 0.5]];
        for (phase, shape) in shapes.iter().enumerate() {
            let od: Vec<f32> = shape.iter().map(|v| (0.3 + 0.7 * v) as f32).collect();
            let fitted = fit(&shapes, &od, &[0.01; 6]).unwrap();
            assert!(fitted.phase == phase && !fitted.mixture && fitted.evidence > 9.0);
        }
        let od: Vec<f32> = (0..6).map(|i| (0.5 * (shapes[0][i] + shapes[1][i])) as f32).collect();
        assert!(fit(&shapes, &od, &[0.01; 6]).unwrap().mixture);
        assert!(!fit(&shapes, &od, &[2.0; 6]).unwrap().mixture);
        assert_eq!(fit(&shapes, &[0.1, f32::NAN, 0.2, f32::NAN, f32::NAN, f32::NAN], &[0.1; 6]), None);
    }
}
