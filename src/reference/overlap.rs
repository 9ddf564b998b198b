//! What the references of a set have in common: the energies they share, how alike they are.

use super::{Reference, ReferenceSet};

impl ReferenceSet {
    /// The energies every reference reaches, eV; `None` where there are none.
    #[must_use]
    pub fn shared_range_ev(&self) -> Option<(f64, f64)> {
        let from =
            self.references.iter().filter_map(|r| r.energies_ev.first().copied()).fold(f64::MIN, f64::max);
        let to =
            self.references.iter().filter_map(|r| r.energies_ev.last().copied()).fold(f64::MAX, f64::min);
        (!self.is_empty() && from <= to).then_some((from, to))
    }
}

impl Reference {
    /// Pearson coefficient with `other` over the energies of either that both reach; `None` where these are
    /// fewer than two or one of them is constant there.
    #[must_use]
    pub fn correlation_with(&self, other: &Self) -> Option<f64> {
        let mut energies: Vec<f64> = self.energies_ev.iter().chain(&other.energies_ev).copied().collect();
        energies.sort_by(f64::total_cmp);
        energies.dedup();
        let pairs: Vec<(f64, f64)> =
            energies.iter().filter_map(|&energy| Some((self.od_at(energy)?, other.od_at(energy)?))).collect();
        let n = pairs.len() as f64;
        let mean_a = pairs.iter().map(|pair| pair.0).sum::<f64>() / n;
        let mean_b = pairs.iter().map(|pair| pair.1).sum::<f64>() / n;
        let (mut aa, mut bb, mut ab) = (0.0, 0.0, 0.0);
        for (a, b) in pairs.iter().map(|pair| (pair.0 - mean_a, pair.1 - mean_b)) {
            aa += a * a;
            bb += b * b;
            ab += a * b;
        }
        let scale = (aa * bb).sqrt();
        (pairs.len() >= 2 && scale > 0.0).then(|| (ab / scale).clamp(-1.0, 1.0))
    }
}
