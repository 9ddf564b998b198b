//! A sample whose phases are not quite the references.

use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

use crate::reference::ReferenceSet;

/// Distance of the nodes between which the relative change is interpolated, eV.
const NODE_EV: f64 = 3.0;

/// The spectra of a sample that is not quite the references: each phase shifted by up to `most_ev` and changed by a
/// factor of up to 1 ± `most`, smoothly over some eV. Everything random comes from `seed`.
#[must_use]
pub fn mismatched(references: &ReferenceSet, most_ev: f64, most: f64, seed: u64) -> ReferenceSet {
    let mut rng = ChaCha8Rng::seed_from_u64(seed ^ 0x006d_6973_6d61_7463);
    let mut set = references.clone();
    for reference in &mut set.references {
        let shift_ev = rng.random_range(-most_ev..=most_ev);
        let first = reference.energies_ev.first().copied().unwrap_or(0.0);
        let last = reference.energies_ev.last().copied().unwrap_or(0.0);
        let nodes: Vec<f64> = (0..((last - first) / NODE_EV).ceil() as usize + 2)
            .map(|_| 1.0 + rng.random_range(-most..=most))
            .collect();
        let factor = |energy_ev: f64| {
            let at = ((energy_ev - first) / NODE_EV).max(0.0);
            let node = (at as usize).min(nodes.len() - 2);
            nodes[node] + (at - node as f64).clamp(0.0, 1.0) * (nodes[node + 1] - nodes[node])
        };
        let od = |energy_ev: f64| {
            let shifted = (energy_ev - shift_ev).clamp(first, last);
            reference.od_at(shifted).unwrap_or(0.0) * factor(energy_ev)
        };
        reference.od = reference.energies_ev.iter().map(|&energy_ev| od(energy_ev)).collect();
    }
    set
}
