//! The energies that can be advised, and what the references look like there.

use crate::reference::ReferenceSet;
use crate::scan::MAX_ENERGIES;

/// Half the width over which a slope is taken, eV: a step of a finely measured reference.
const SLOPE_EV: f64 = 0.15;

/// References and their slopes at a list of energies.
#[derive(Clone, Debug)]
pub(super) struct Axis {
    phases: usize,
    /// As the references have it, eV.
    pub energies_ev: Vec<f64>,
    /// Whether all references reach the energy.
    pub used: Vec<bool>,
    /// Exposure per pixel, ms.
    pub dwell_ms: Vec<f64>,
    /// `[energy * phases + phase]`.
    od: Vec<f64>,
    slope: Vec<f64>,
}

impl Axis {
    /// References at `energies_ev`, each exposed for `dwell_ms(energy)`.
    pub(super) fn new(
        references: &ReferenceSet,
        energies_ev: Vec<f64>,
        dwell_ms: impl Fn(f64) -> f64,
    ) -> Self {
        let phases = references.len();
        let mut axis = Self {
            phases,
            dwell_ms: energies_ev.iter().map(|&e| dwell_ms(e)).collect(),
            used: Vec::new(),
            od: Vec::new(),
            slope: Vec::new(),
            energies_ev: Vec::new(),
        };
        for &energy_ev in &energies_ev {
            let here = references.od_at(energy_ev);
            axis.used.push(here.is_some());
            let here = here.unwrap_or_else(|| vec![0.0; phases]);
            let side = |offset_ev: f64| match references.od_at(energy_ev + offset_ev) {
                Some(od) => (offset_ev, od),
                None => (0.0, here.clone()),
            };
            let ((low_ev, low), (high_ev, high)) = (side(-SLOPE_EV), side(SLOPE_EV));
            let width_ev = (high_ev - low_ev).max(SLOPE_EV);
            axis.slope.extend(low.iter().zip(&high).map(|(low, high)| (high - low) / width_ev));
            axis.od.extend(here);
        }
        axis.energies_ev = energies_ev;
        axis
    }

    /// Energies `step_ev` apart over the range that all references share, at multiples of the step.
    pub(super) fn fine(references: &ReferenceSet, step_ev: f64, dwell_ms: impl Fn(f64) -> f64) -> Self {
        let Some((from_ev, to_ev)) = references.shared_range_ev() else {
            return Self::new(references, Vec::new(), dwell_ms);
        };
        let (first, last) = ((from_ev / step_ev).ceil(), (to_ev / step_ev).floor());
        let count = (last - first + 1.0).clamp(0.0, MAX_ENERGIES as f64) as usize;
        // Rounded to 1 µeV, so that an energy reads as it is meant.
        let energy = |i: usize| ((first + i as f64) * step_ev * 1e6).round() / 1e6;
        Self::new(references, (0..count).map(energy).collect(), dwell_ms)
    }

    pub(super) fn len(&self) -> usize {
        self.energies_ev.len()
    }

    pub(super) fn phases(&self) -> usize {
        self.phases
    }

    #[inline]
    pub(super) fn od(&self, energy: usize, phase: usize) -> f64 {
        self.od[energy * self.phases + phase]
    }

    #[inline]
    pub(super) fn slope(&self, energy: usize, phase: usize) -> f64 {
        self.slope[energy * self.phases + phase]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::classify::tests::references;

    #[test]
    fn the_fine_axis_covers_the_shared_range_at_round_energies() {
        let axis = Axis::fine(&references(), 0.25, |_| 1.0);
        assert_eq!((axis.energies_ev[0], axis.energies_ev[axis.len() - 1]), (505.0, 535.0));
        assert!(axis.used.iter().all(|used| *used));
        let at = axis.energies_ev.iter().position(|e| *e == 515.0).unwrap();
        assert!(axis.slope(at, 0) > 0.3, "rises towards its peak at 515.5 eV");
    }

    #[test]
    fn an_energy_outside_the_references_is_not_used() {
        let axis = Axis::new(&references(), vec![400.0, 516.0], |_| 1.0);
        assert_eq!(axis.used, [false, true]);
    }
}
