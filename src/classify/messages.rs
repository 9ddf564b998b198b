//! What one pixel's belief says of its neighbour's composition.
//!
//! Most neighbours are made of nearly the same: the likelier, the nearer their shares lie. Of a share of
//! neighbours that is not so: half of these have a phase in common, the other half may be anything.

use super::composition::Compositions;

/// Difference of shares over which the likeness of neighbours falls by a factor e.
const LIKENESS: f32 = 0.1;
/// Probabilities below this are left out of a message: they change nothing that is shown.
const NEGLIGIBLE: f32 = 1e-4;

/// How compositions of neighbours go together: the probability of b next to a, over that of b anywhere.
#[derive(Clone, Debug)]
pub(super) struct Kernel {
    len: usize,
    /// `[b * len + a]`.
    ratio: Vec<f32>,
    /// The messages of pixels that are one phase beyond doubt, `[phase * len + a]`.
    of_phases: Vec<f32>,
}

impl Kernel {
    /// Half of the unrelated neighbours keep a phase in common, the other half may be anything.
    pub(super) fn new(compositions: &Compositions, log_prior: &[f32], unrelated: f32) -> Self {
        let len = compositions.len();
        let prior: Vec<f32> = log_prior.iter().map(|p| p.exp()).collect();
        let mut ratio = vec![0.0; len * len];
        for a in 0..len {
            let like = |b: usize| (-compositions.distance(a, b) / LIKENESS).exp();
            let common = |b: usize| f32::from(u8::from(compositions.share_a_phase(a, b)));
            let sum = |weight: &dyn Fn(usize) -> f32| (0..len).map(|b| weight(b) * prior[b]).sum::<f32>();
            let (all_like, all_common) = (sum(&like), sum(&common));
            for b in 0..len {
                ratio[b * len + a] =
                    (1.0 - unrelated) * like(b) / all_like + 0.5 * unrelated * (common(b) / all_common + 1.0);
            }
        }
        if unrelated >= 1.0 {
            ratio.fill(1.0);
        }
        let of_phases = ratio[..compositions.phases() * len].iter().map(|&ratio| log(ratio)).collect();
        Self { len, ratio, of_phases }
    }

    /// The message of a pixel that is `phase` beyond doubt.
    pub(super) fn of_phase(&self, phase: u8) -> &[f32] {
        &self.of_phases[usize::from(phase) * self.len..(usize::from(phase) + 1) * self.len]
    }

    /// Writes the message of a pixel with `belief` into `out`: logarithms of the ratios.
    pub(super) fn message(&self, belief: &[f32], out: &mut [f32]) {
        self.ratios(belief, out);
        out.iter_mut().for_each(|ratio| *ratio = log(*ratio));
    }

    /// Writes, for each composition of a pixel, how much likelier a neighbour's `belief` is than without it.
    pub(super) fn ratios(&self, belief: &[f32], out: &mut [f32]) {
        out.fill(0.0);
        for (b, &p) in belief.iter().enumerate() {
            if p > NEGLIGIBLE {
                let row = &self.ratio[b * self.len..(b + 1) * self.len];
                out.iter_mut().zip(row).for_each(|(out, ratio)| *out += p * ratio);
            }
        }
    }
}

fn log(ratio: f32) -> f32 {
    ratio.max(1e-12).ln()
}

/// Turns logarithms, known up to a constant, into probabilities.
pub(super) fn normalise(logs: &mut [f32]) {
    let largest = logs.iter().fold(f32::NEG_INFINITY, |a, &b| a.max(b));
    let mut sum = 0.0;
    for value in logs.iter_mut() {
        let below = *value - largest;
        // What is smaller changes no sum in `f32`, and most are.
        *value = if below > -25.0 { below.exp() } else { 0.0 };
        sum += *value;
    }
    logs.iter_mut().for_each(|value| *value /= sum);
}
