//! Which saving to take.

use super::measure::{Figure, Measured};
use super::savings::Saving;

/// Differences of shares up to this count as none, whatever their standard error.
pub const ALIKE: f64 = 0.005;

/// The index of the saving to take, of those that reach half the dose; `None` where none does.
///
/// The rule: the one that names most pixels right. Those that fall short of it by no more than one standard error of the difference, draw by draw, or
/// half a percentage point, name as many; of these the one that classifies most. Of those that are as near to that again, the one whose
/// scan takes the least time (`seconds`), and of these the first in the list.
#[must_use]
pub fn recommend(savings: &[Saving], measured: &[Measured], seconds: &[f64]) -> Option<usize> {
    let known = savings.len().min(measured.len()).min(seconds.len());
    let mut left: Vec<usize> =
        (0..known).filter(|&index| savings[index].reaches_half() && measured[index].pixels > 0).collect();
    for figure in [0, 1] {
        let mean = |index: usize| Figure::of(&values(&measured[index], figure)).mean;
        let best = left.iter().copied().max_by(|&a, &b| mean(a).total_cmp(&mean(b)).then(b.cmp(&a)))?;
        left.retain(|&index| is_as_good(&measured[index], &measured[best], figure));
    }
    left.into_iter().min_by(|&a, &b| seconds[a].total_cmp(&seconds[b]).then(a.cmp(&b)))
}

/// Accuracies, or coverages, draw by draw.
fn values(of: &Measured, figure: usize) -> Vec<f64> {
    of.draws.iter().map(|draw| draw[figure]).collect()
}

/// Whether a saving falls short of the best one by no more than chance.
fn is_as_good(one: &Measured, best: &Measured, figure: usize) -> bool {
    let pairs = best.draws.iter().zip(&one.draws);
    let short = Figure::of(&pairs.map(|(best, one)| best[figure] - one[figure]).collect::<Vec<_>>());
    short.mean <= short.error.unwrap_or(0.0).max(ALIKE)
}
