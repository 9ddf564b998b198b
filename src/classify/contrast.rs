//! How far the energies that were seen can tell the references apart at all, whatever the counts.
//!
//! Evidence of phase b over phase k grows with the counts; the certainty that it is worth does not, because
//! references are never exact: the energy scale is off by some hundredths of an eV, and peaks are higher or lower
//! by some per cent. With b true and an error e of its spectrum, chi² of k less chi² of b is
//! `|b|²(1 - ρ²) + 2|b|·⟨e, v⟩`, where `v = b/|b| - ρ k/|k|` and ρ is the correlation of the two. Two hypotheses whose
//! difference D is blurred by noise and by such an error have log odds `D / 2 / (1 + q D)` with
//! `q = ⟨e, v⟩² / (|b| (1 - ρ²))²`: evidence saturates at 1/q. Where the energies miss what tells two references
//! apart, 1/q is small, and no number of counts makes a verdict.
//!
//! Everything here follows from the energies and the references alone. Fewer than 3 energies: nothing can be told,
//! q is infinite.

use std::sync::Arc;

use super::Targets;

/// What is left of an energy offset once it was estimated, and what is never noticed, eV.
const ENERGY_ERROR_EV: f64 = 0.05;
/// Relative error of a reference, energy by energy.
const AMPLITUDE_ERROR: f64 = 0.05;

/// The q of every pair of phases for the energies that were seen last.
#[derive(Clone, Debug, Default)]
pub(super) struct Contrast {
    energies: Vec<usize>,
    next: Vec<usize>,
    table: Arc<[f32]>,
}

impl Contrast {
    /// The table of the last pixel, where there was one and all pixels have seen the same.
    pub(super) fn last(&self, all_the_same: bool) -> Option<&Arc<[f32]>> {
        (all_the_same && !self.table.is_empty()).then_some(&self.table)
    }

    /// The table for a pixel that has seen `energies`, ascending: `[true phase * phases + rival]`, 1/evidence.
    pub(super) fn of(&mut self, targets: &Targets, energies: impl Iterator<Item = usize>) -> &Arc<[f32]> {
        self.next.clear();
        self.next.extend(energies.filter(|&energy| targets.used[energy]));
        if self.next != self.energies || self.table.is_empty() {
            std::mem::swap(&mut self.next, &mut self.energies);
            self.table = table(targets, &self.energies);
        }
        &self.table
    }
}

fn table(targets: &Targets, energies: &[usize]) -> Arc<[f32]> {
    let k = targets.phases();
    let n = energies.len() as f64;
    let centred = |value: &dyn Fn(usize) -> f64| -> Vec<f64> {
        let mean = energies.iter().map(|&e| value(e)).sum::<f64>() / n;
        energies.iter().map(|&e| value(e) - mean).collect()
    };
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(x, y)| x * y).sum::<f64>();
    let shapes: Vec<Vec<f64>> = (0..k).map(|p| centred(&|e| targets.at(e)[p])).collect();
    let slopes: Vec<Vec<f64>> = (0..k).map(|p| centred(&|e| targets.slope(e)[p])).collect();
    let norms: Vec<f64> = shapes.iter().map(|shape| dot(shape, shape).sqrt()).collect();
    let q = |b: usize, rival: usize| {
        if b == rival {
            return 0.0;
        }
        if energies.len() < 3 || norms[b] <= 0.0 || norms[rival] <= 0.0 {
            return f64::INFINITY;
        }
        let rho = dot(&shapes[b], &shapes[rival]) / (norms[b] * norms[rival]);
        let apart = 1.0 - rho * rho;
        let v = |i: usize| shapes[b][i] / norms[b] - rho * shapes[rival][i] / norms[rival];
        let shift: f64 = (0..energies.len()).map(|i| slopes[b][i] * v(i)).sum::<f64>() * ENERGY_ERROR_EV;
        let height: f64 = (0..energies.len())
            .map(|i| (AMPLITUDE_ERROR * targets.height(energies[i])[b] * v(i)).powi(2))
            .sum();
        (shift * shift + height) / (norms[b] * apart).powi(2).max(f64::MIN_POSITIVE)
    };
    (0..k * k).map(|i| q(i / k, i % k) as f32).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::classify::tests::references;

    fn limits(energies_ev: &[f64]) -> Vec<f32> {
        let targets = Targets::new(&references(), energies_ev);
        Contrast::default().of(&targets, 0..energies_ev.len()).iter().map(|q| 1.0 / q).collect()
    }

    #[test]
    fn energies_on_the_peaks_tell_and_those_beside_them_do_not() {
        let good = limits(&[508.0, 511.0, 514.0, 515.1, 515.9, 516.7, 517.5, 520.0]);
        let bad = limits(&[506.0, 508.0, 510.0, 512.0, 522.0, 525.0, 528.0, 531.0]);
        for pair in [1, 2, 5] {
            assert!(good[pair] > 10.0 * bad[pair], "{good:?} {bad:?}");
        }
    }

    #[test]
    fn two_energies_tell_nothing() {
        assert!(limits(&[510.0, 516.0])[1] == 0.0);
    }

    #[test]
    fn the_table_follows_the_energies() {
        let energies_ev = [508.0, 511.0, 514.0, 515.1, 515.9, 516.7, 517.5, 520.0];
        let targets = Targets::new(&references(), &energies_ev);
        let mut contrast = Contrast::default();
        let all = Arc::clone(contrast.of(&targets, 0..8));
        assert!(Arc::ptr_eq(&all, contrast.of(&targets, 0..8)), "the same energies, the same table");
        assert_ne!(all, *contrast.of(&targets, 0..5));
    }
}
