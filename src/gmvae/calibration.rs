//! Whether a posterior is right as often as it says, and the temperature that makes it so.

/// How often the winner of a posterior is right, by what the posterior says of it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Calibration {
    /// Per tenth of probability: draws, sum of the probabilities, right ones.
    tenths: [(f64, f64, f64); 10],
}

impl Calibration {
    pub(crate) fn push(&mut self, posterior: &[f32], label: usize) {
        let best = (0..posterior.len()).max_by(|&a, &b| posterior[a].total_cmp(&posterior[b]));
        if let Some(best) = best {
            let p = f64::from(posterior[best]);
            let tenth = &mut self.tenths[((p * 10.0) as usize).min(9)];
            *tenth = (tenth.0 + 1.0, tenth.1 + p, tenth.2 + f64::from(u8::from(best == label)));
        }
    }

    /// Mean distance between what is said and what is, weighted by draws.
    pub(crate) fn error(&self) -> f64 {
        let total: f64 = self.tenths.iter().map(|t| t.0).sum();
        self.tenths.iter().map(|t| (t.1 - t.2).abs()).sum::<f64>() / total.max(1.0)
    }
}

/// Probabilities of logits divided by a temperature.
pub(super) fn softmax(logits: &[f32], temperature: f64) -> Vec<f32> {
    let most = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let parts: Vec<f64> = logits.iter().map(|v| (f64::from(v - most) / temperature).exp()).collect();
    let sum: f64 = parts.iter().sum();
    parts.into_iter().map(|part| (part / sum) as f32).collect()
}

/// The temperature between 0.3 and 3 under which the labels are most probable, by golden section (the loss has one minimum).
pub(super) fn temperature(logits: &[&[f32]], labels: &[u32]) -> f64 {
    let loss = |log_temperature: f64| -> f64 {
        let temperature = log_temperature.exp();
        let one = |(row, label): (&&[f32], &u32)| -> f64 {
            let most = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            let sum: f64 = row.iter().map(|v| (f64::from(v - most) / temperature).exp()).sum();
            let own = row.get(*label as usize).map_or(0.0, |v| f64::from(v - most));
            sum.ln() - own / temperature
        };
        logits.iter().zip(labels).map(one).sum()
    };
    let golden = 0.5 * (5.0_f64.sqrt() - 1.0);
    let (mut low, mut high) = (0.3_f64.ln(), 3.0_f64.ln());
    for _ in 0..20 {
        let (a, b) = (high - golden * (high - low), low + golden * (high - low));
        if loss(a) < loss(b) { high = b } else { low = a }
    }
    (0.5 * (low + high)).exp()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn overconfidence_is_seen_and_cooled() {
        let rows: Vec<[f32; 2]> = vec![[3.0, 0.0]; 100];
        let labels: Vec<u32> = (0..100).map(|i| u32::from(i >= 75)).collect();
        let mut calibration = Calibration::default();
        rows.iter()
            .zip(&labels)
            .for_each(|(row, label)| calibration.push(&softmax(row, 1.0), *label as usize));
        assert!((calibration.error() - 0.2026).abs() < 1e-3, "{}", calibration.error());
        let logits: Vec<&[f32]> = rows.iter().map(<[f32; 2]>::as_slice).collect();
        let temperature = temperature(&logits, &labels);
        let p = softmax(&rows[0], temperature)[0];
        assert!((p - 0.75).abs() < 0.01, "{temperature} {p}");
    }
}
