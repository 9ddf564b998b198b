//! The references on the energies of one scan.

use std::sync::Arc;

use super::products::Products;
use super::repeats::Repeats;
use super::{Correction, PhaseLabel};
use crate::reference::{Reference, ReferenceSet, Window};

/// The references of a set at the energies of one scan. Where any reference does not reach, the energy is not
/// used: a correlation over different energies for different references would compare the incomparable.
#[derive(Clone, Debug)]
pub struct Targets {
    /// The phases.
    pub labels: Arc<[PhaseLabel]>,
    /// Energies, eV, in the order of the plan, corrected.
    pub energies_ev: Vec<f64>,
    /// The same before the correction.
    pub uncorrected_ev: Vec<f64>,
    /// What the energies were corrected by.
    pub correction: Correction,
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
    /// Change of optical density with energy, per eV, laid out as `od`.
    slope: Vec<f64>,
    /// Optical densities above each reference's lowest, laid out as `od`.
    height: Vec<f64>,
    /// Energies less their mean over the used ones.
    centred_ev: Vec<f64>,
    /// Edge jump of each reference over the energies of the scan; NaN where a window has none.
    pub edge_jump: Vec<f64>,
    /// Edge jump of each reference over its own energies.
    pub full_jump: Vec<f64>,
    /// Whether the energies of the scan show a pixel's edge jump as its references have it: enough of them in the
    /// white line, and on its peak.
    pub jump_is_told: bool,
    pre_edge_to_ev: f64,
    white_line_from_ev: f64,
    /// What fits of spectra need of the references.
    pub(super) products: Products,
}

impl Targets {
    /// The references of `set` at `energies_ev`.
    #[must_use]
    pub fn new(set: &ReferenceSet, energies_ev: &[f64]) -> Self {
        Self::corrected(set, energies_ev, &Correction::none())
    }

    /// The references of `set` at the energies `uncorrected_ev`, corrected. An energy that the references reach
    /// is not lost by its correction: beyond an end, the value at the end is taken.
    #[must_use]
    pub fn corrected(set: &ReferenceSet, uncorrected_ev: &[f64], correction: &Correction) -> Self {
        let phases = set.len();
        let columns: Vec<Option<Vec<f64>>> =
            uncorrected_ev.iter().map(|&e| column(set, e, correction)).collect();
        let energies_ev = correction.apply(uncorrected_ev);
        let used: Vec<bool> = columns.iter().map(Option::is_some).collect();
        let count = used.iter().filter(|&&used| used).count().max(1) as f64;
        let mean: Vec<f64> =
            (0..phases).map(|k| columns.iter().flatten().map(|od| od[k]).sum::<f64>() / count).collect();
        let od = columns
            .iter()
            .flat_map(|column| (0..phases).map(|k| column.as_ref().map_or(0.0, |od| od[k] - mean[k])))
            .collect();
        let (slope, height) = errors(set, &energies_ev, correction, &columns);
        let used_energies = || energies_ev.iter().zip(&used).filter(|(_, used)| **used).map(|(e, _)| *e);
        let centre = used_energies().sum::<f64>() / count;
        let mut targets = Self {
            labels: set.labels(),
            pre_edge: energies_ev.iter().map(|&e| set.pre_edge.contains(e)).collect(),
            white_line: energies_ev.iter().map(|&e| set.white_line.contains(e)).collect(),
            sides: [false; 2],
            od,
            slope,
            height,
            centred_ev: energies_ev.iter().map(|e| e - centre).collect(),
            edge_jump: Vec::new(),
            full_jump: set.references.iter().map(|reference| full_jump(set, reference)).collect(),
            jump_is_told: true,
            pre_edge_to_ev: set.pre_edge.to_ev,
            white_line_from_ev: set.white_line.from_ev,
            energies_ev,
            uncorrected_ev: uncorrected_ev.to_vec(),
            correction: correction.clone(),
            used,
            products: Products::default(),
        };
        targets.products = Products::new(&targets);
        targets.sides = targets.sides_of((0..targets.used.len()).filter(|&e| targets.used[e]));
        targets.edge_jump = (0..phases).map(|k| targets.jump_of(k)).collect();
        targets.jump_is_told = targets.is_jump_told();
        targets
    }

    fn is_jump_told(&self) -> bool {
        /// Fewest energies in the white line, and least part of the references' own jump.
        const TOLD: (usize, f64) = (8, 0.7);
        // An energy that is measured again tells no more of the white line's shape.
        let repeats = Repeats::of(&self.energies_ev);
        let inside = (0..self.energies_ev.len())
            .filter(|&e| self.white_line[e] && self.used[e] && repeats.first_of(e) == e)
            .count();
        let part = self.edge_jump.iter().sum::<f64>() / self.full_jump.iter().sum::<f64>();
        inside >= TOLD.0 && (part.is_nan() || part >= TOLD.1)
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

    /// Change of every phase's optical density with energy at energy `energy`, per eV.
    #[must_use]
    #[inline]
    pub fn slope(&self, energy: usize) -> &[f64] {
        &self.slope[energy * self.phases()..(energy + 1) * self.phases()]
    }

    /// Optical density of every phase at energy `energy` above the lowest of that phase.
    #[must_use]
    #[inline]
    pub fn height(&self, energy: usize) -> &[f64] {
        &self.height[energy * self.phases()..(energy + 1) * self.phases()]
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
        let energies = self.uncorrected_ev.iter().zip(&self.used);
        energies.filter(|(_, used)| !**used).map(|(e, _)| *e).collect()
    }
}

/// Optical density of every reference at one energy; `None` where any does not reach it, corrected or not.
fn column(set: &ReferenceSet, energy_ev: f64, correction: &Correction) -> Option<Vec<f64>> {
    let corrected_ev = energy_ev + correction.at(energy_ev);
    set.od_at(corrected_ev).or_else(|| set.od_at(energy_ev))?;
    let references = set.references.iter().enumerate();
    references.map(|(k, reference)| reference.od_held_at(corrected_ev + correction.own(k))).collect()
}

/// Edge jump of a reference over its own energies; NaN where a window has none.
fn full_jump(set: &ReferenceSet, reference: &Reference) -> f64 {
    let mean = |window: Window| {
        let inside = || {
            let points = reference.energies_ev.iter().zip(&reference.od);
            points.filter(move |(energy_ev, _)| window.contains(**energy_ev)).map(|(_, od)| *od)
        };
        inside().sum::<f64>() / inside().count() as f64
    };
    mean(set.white_line) - mean(set.pre_edge)
}

/// Slopes and heights of the references, `[energy * phases + phase]`: what an error of the energy or of the
/// amplitude would change.
fn errors(
    set: &ReferenceSet,
    energies_ev: &[f64],
    correction: &Correction,
    columns: &[Option<Vec<f64>>],
) -> (Vec<f64>, Vec<f64>) {
    /// Half of the step over which a slope is taken, eV.
    const HALF_EV: f64 = 0.05;
    let phases = set.len();
    let lowest: Vec<f64> = set
        .references
        .iter()
        .map(|reference| reference.od.iter().copied().fold(f64::INFINITY, f64::min))
        .collect();
    let (mut slope, mut height) = (Vec::new(), Vec::new());
    for (&energy_ev, column) in energies_ev.iter().zip(columns) {
        let Some(od) = column else {
            slope.resize(slope.len() + phases, 0.0);
            height.resize(height.len() + phases, 0.0);
            continue;
        };
        for (k, reference) in set.references.iter().enumerate() {
            let energy_ev = energy_ev + correction.own(k);
            // At an end of a reference the step goes to one side only.
            let at = |energy_ev: f64| reference.od_at(energy_ev).map(|od| (energy_ev, od));
            let (e0, od0) = at(energy_ev - HALF_EV).unwrap_or((energy_ev, od[k]));
            let (e1, od1) = at(energy_ev + HALF_EV).unwrap_or((energy_ev, od[k]));
            slope.push(if e1 > e0 { (od1 - od0) / (e1 - e0) } else { 0.0 });
            height.push(od[k] - lowest[k]);
        }
    }
    (slope, height)
}
