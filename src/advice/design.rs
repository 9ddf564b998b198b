//! Which energies to plan before a beamtime, from the references alone.

use super::axis::Axis;
use super::beam::Beam;
use super::crowd::Crowd;
use super::next::{Travel, sequence};
use crate::reference::ReferenceSet;

/// What a plan is made for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct DesignSettings {
    /// Photons of the empty beam in one exposure.
    pub photons: f64,
    /// Step of the energies that may be chosen, eV.
    pub step_ev: f64,
    /// Highest optical density that is used.
    pub max_od: f64,
}

impl Default for DesignSettings {
    fn default() -> Self {
        Self { photons: 3000.0, step_ev: 0.25, max_od: 2.5 }
    }
}

/// The `count` energies that tell the references apart best, eV, the most useful first: each is chosen as if those
/// before had been measured, all phases equally likely, at three thicknesses. The first two are one before the edge
/// and one behind its rise, without which there is no verdict.
#[must_use]
pub fn design(references: &ReferenceSet, count: usize, settings: &DesignSettings) -> Vec<f64> {
    let axis = Axis::fine(references, settings.step_ev, |_| 1.0);
    chosen(references, &axis, count, settings).into_iter().map(|energy| axis.energies_ev[energy]).collect()
}

/// The energies of a plan, by index, in the order that [`design`] would choose them, all with so many photons; those outside the
/// references last.
#[must_use]
pub fn order(references: &ReferenceSet, energies_ev: &[f64], photons: f64) -> Vec<usize> {
    let axis = Axis::new(references, energies_ev.to_vec(), |_| 1.0);
    let settings = DesignSettings { photons, ..DesignSettings::default() };
    let mut order = chosen(references, &axis, energies_ev.len(), &settings);
    order.extend((0..energies_ev.len()).filter(|energy| !axis.used[*energy]));
    order
}

fn chosen(references: &ReferenceSet, axis: &Axis, count: usize, settings: &DesignSettings) -> Vec<usize> {
    let beam = Beam::flat(settings.photons, 1.0);
    let crowd = Crowd::prior(references.len(), settings.max_od);
    let travel = Travel { from_ev: None, move_ms_per_ev: 0.0, settle_ms: 0.0, pixels: 1.0 };
    let before = |energy: usize| axis.energies_ev[energy] <= references.pre_edge.to_ev;
    let behind = |energy: usize| axis.energies_ev[energy] >= references.white_line.from_ev;
    let allowed = |energy: usize, chosen: &[usize]| match chosen.len() {
        0 if (0..axis.len()).any(before) => before(energy),
        1 if (0..axis.len()).any(behind) => behind(energy),
        _ => !chosen.contains(&energy),
    };
    sequence(&crowd, axis, &beam, &travel, count, allowed)
}
