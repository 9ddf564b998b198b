//! References as they look on the energies of a scan.

use super::{Reference, ReferenceSet};

/// A set of references on the energies of a scan, in the order of the scan.
#[derive(Clone, Debug, PartialEq)]
pub struct GridReferences {
    /// The energies, eV, as they were asked for.
    pub energies_ev: Vec<f64>,
    /// Whether every reference reaches the energy; only then it takes part in a comparison.
    pub used: Vec<bool>,
    /// Optical density, `[phase][energy]`; NaN where the energy is not used.
    pub od: Vec<Vec<f64>>,
    /// Whether the energy is used and lies in the pre-edge window.
    pub pre_edge: Vec<bool>,
    /// Whether the energy is used and lies in the white-line window.
    pub white_line: Vec<bool>,
}

impl GridReferences {
    /// Number of energies that are used.
    #[must_use]
    pub fn used_count(&self) -> usize {
        self.used.iter().filter(|used| **used).count()
    }

    /// Each energy that is not used, in plain words.
    #[must_use]
    pub fn unused(&self) -> Vec<String> {
        self.energies_ev
            .iter()
            .zip(&self.used)
            .enumerate()
            .filter(|(_, (_, used))| !**used)
            .map(|(index, (energy, _))| {
                format!("energy {index} ({energy:.3} eV) is outside the references' range")
            })
            .collect()
    }
}

impl ReferenceSet {
    /// The references on `energies_ev`, interpolated linearly. Any order, repeated energies too.
    #[must_use]
    pub fn on_energies(&self, energies_ev: &[f64]) -> GridReferences {
        let mut od = vec![vec![f64::NAN; energies_ev.len()]; self.len()];
        let mut used = vec![false; energies_ev.len()];
        for (index, &energy) in energies_ev.iter().enumerate() {
            let Some(values) = self.od_at(energy).filter(|values| !values.is_empty()) else { continue };
            used[index] = true;
            for (row, value) in od.iter_mut().zip(values) {
                row[index] = value;
            }
        }
        let inside = |window: super::Window| {
            energies_ev.iter().zip(&used).map(|(energy, used)| *used && window.contains(*energy)).collect()
        };
        GridReferences {
            pre_edge: inside(self.pre_edge),
            white_line: inside(self.white_line),
            energies_ev: energies_ev.to_vec(),
            used,
            od,
        }
    }

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
