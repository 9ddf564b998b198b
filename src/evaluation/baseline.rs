//! Pearson correlation, the other method that a model is measured against beside the noise-weighted fit ([`crate::gmvae::fit`]).

/// References at the energies of a scan, `[phase][energy]`.
pub(super) type Shapes = Vec<Vec<f64>>;

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
        }
    }

    #[test]
    fn two_values_tell_nothing() {
        let od = [0.1, f32::NAN, 0.2, f32::NAN, f32::NAN, f32::NAN];
        assert_eq!(pearson(&shapes(), &od), None);
    }
}
