//! The references on the energies of one scan.

use std::sync::Arc;

use super::PhaseLabel;
use crate::reference::ReferenceSet;

/// The references of a set at the energies of one scan. Where any reference does not reach, the energy is not
/// used: a correlation over different energies for different references would compare the incomparable.
#[derive(Clone, Debug)]
pub struct Targets {
    /// The phases.
    pub labels: Arc<[PhaseLabel]>,
    /// Energies, eV, in the order of the plan, corrected by `offset_ev`.
    pub energies_ev: Vec<f64>,
    /// What the energies were corrected by, eV.
    pub offset_ev: f64,
    /// Whether the energy is used.
    pub used: Vec<bool>,
    /// Whether the energy is in the pre-edge window.
    pub pre_edge: Vec<bool>,
    /// Whether the energy is in the white-line window.
    pub white_line: Vec<bool>,
    /// Whether the plan has a used energy on the near side of the edge, and on the far side.
    pub sides: [bool; 2],
    /// Optical densities less each reference's mean over the used energies: `[energy * phases + phase]`.
    od: Vec<f64>,
    /// Energies less their mean over the used ones.
    centred_ev: Vec<f64>,
    /// Edge jump of each reference over the energies of the scan; NaN where a window has none.
    pub edge_jump: Vec<f64>,
    pre_edge_to_ev: f64,
    white_line_from_ev: f64,
}

impl Targets {
    /// The references of `set` at `energies_ev`.
    #[must_use]
    pub fn new(set: &ReferenceSet, energies_ev: &[f64]) -> Self {
        Self::corrected(set, energies_ev, 0.0)
    }

    /// The references of `set` at `energies_ev`, each corrected by `offset_ev`. An energy that the references reach
    /// is not lost by its correction: beyond an end, the value at the end is taken.
    #[must_use]
    pub fn corrected(set: &ReferenceSet, uncorrected_ev: &[f64], offset_ev: f64) -> Self {
        let phases = set.len();
        let columns: Vec<Option<Vec<f64>>> =
            uncorrected_ev.iter().map(|&e| column(set, e, offset_ev)).collect();
        let energies_ev: Vec<f64> = uncorrected_ev.iter().map(|e| e + offset_ev).collect();
        let used: Vec<bool> = columns.iter().map(Option::is_some).collect();
        let count = used.iter().filter(|&&used| used).count().max(1) as f64;
        let mean: Vec<f64> =
            (0..phases).map(|k| columns.iter().flatten().map(|od| od[k]).sum::<f64>() / count).collect();
        let od = columns
            .iter()
            .flat_map(|column| (0..phases).map(|k| column.as_ref().map_or(0.0, |od| od[k] - mean[k])))
            .collect();
        let used_energies = || energies_ev.iter().zip(&used).filter(|(_, used)| **used).map(|(e, _)| *e);
        let centre = used_energies().sum::<f64>() / count;
        let mut targets = Self {
            labels: set.labels(),
            pre_edge: energies_ev.iter().map(|&e| set.pre_edge.contains(e)).collect(),
            white_line: energies_ev.iter().map(|&e| set.white_line.contains(e)).collect(),
            sides: [false; 2],
            od,
            centred_ev: energies_ev.iter().map(|e| e - centre).collect(),
            edge_jump: Vec::new(),
            pre_edge_to_ev: set.pre_edge.to_ev,
            white_line_from_ev: set.white_line.from_ev,
            energies_ev,
            offset_ev,
            used,
        };
        targets.sides = targets.sides_of((0..targets.used.len()).filter(|&e| targets.used[e]));
        targets.edge_jump = (0..phases).map(|k| targets.jump_of(k)).collect();
        targets
    }

    fn jump_of(&self, phase: usize) -> f64 {
        let mean = |window: &[bool]| {
            let inside: Vec<f64> = (0..self.energies_ev.len())
                .filter(|&e| window[e] && self.used[e])
                .map(|e| self.at(e)[phase])
                .collect();
            inside.iter().sum::<f64>() / inside.len() as f64
        };
        mean(&self.white_line) - mean(&self.pre_edge)
    }

    /// Number of phases.
    #[must_use]
    #[inline]
    pub fn phases(&self) -> usize {
        self.labels.len()
    }

    /// Optical density of every phase at energy `energy`, each less its mean.
    #[must_use]
    #[inline]
    pub fn at(&self, energy: usize) -> &[f64] {
        &self.od[energy * self.phases()..(energy + 1) * self.phases()]
    }

    /// Energy `energy` less the mean energy, eV.
    #[must_use]
    #[inline]
    pub fn centred_ev(&self, energy: usize) -> f64 {
        self.centred_ev[energy]
    }

    /// Whether any of the energies lies before the edge, and any behind its rise.
    #[must_use]
    pub fn sides_of(&self, mut energies: impl Iterator<Item = usize>) -> [bool; 2] {
        energies.by_ref().fold([false; 2], |[before, behind], e| {
            let energy_ev = self.energies_ev[e];
            [before || energy_ev <= self.pre_edge_to_ev, behind || energy_ev >= self.white_line_from_ev]
        })
    }

    /// The energies that are not used because a reference does not reach them, eV, as they were before the
    /// correction.
    #[must_use]
    pub fn unused_ev(&self) -> Vec<f64> {
        {
            let energies = self.energies_ev.iter().zip(&self.used);
            energies.filter(|(_, used)| !**used).map(|(e, _)| e - self.offset_ev).collect()
        }
    }
}

/// Optical density of every reference at one energy; `None` where any does not reach it, corrected or not.
fn column(set: &ReferenceSet, energy_ev: f64, offset_ev: f64) -> Option<Vec<f64>> {
    let corrected_ev = energy_ev + offset_ev;
    set.od_at(corrected_ev).or_else(|| {
        set.od_at(energy_ev)?;
        set.references.iter().map(|reference| reference.od_held_at(corrected_ev)).collect()
    })
}
