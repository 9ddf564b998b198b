//! Mean thickness, from the optical density before the edge and the absorption of the phases there.
//!
//! Before the edge the tables of free atoms hold, and all phases are much alike. A phase without formula or density in `references.toml` takes no part;
//! a particle that no phase of it has both for has no thickness. What the tables may be off by is [`TABLES`].

use crate::classify::{DensityView, PhaseMap};
use crate::damage::{Estimate, Material};
use crate::reference::ReferenceSet;

/// Relative error of an absorption coefficient before an edge.
const TABLES: f64 = 0.1;

/// Optical densities before the edge, and what makes thicknesses of them.
#[derive(Clone, Debug, Default)]
pub(super) struct Thickness {
    /// Mean optical density of each pixel before the edge and its variance; NaN where there is none. Empty without absorption.
    pre_edge: Vec<(f32, f32)>,
    /// Absorption of each phase before the edge, per nm.
    per_nm: Vec<Option<f64>>,
}

impl Thickness {
    pub(super) fn of(map: &PhaseMap, view: &DensityView<'_>, references: &ReferenceSet) -> Self {
        let at_ev = &map.origin.corrected_ev;
        let before: Vec<usize> = (0..view.energies().min(at_ev.len()))
            .filter(|&energy| references.pre_edge.contains(at_ev[energy]))
            .collect();
        let energies_ev: Vec<f64> = before.iter().map(|&energy| at_ev[energy]).collect();
        let per_nm = |id: &str| -> Option<f64> {
            let reference = references.references.iter().find(|reference| reference.label.id == id)?;
            let composition = &reference.composition;
            let material =
                Material::parse(composition.formula.as_ref()?, composition.density_g_per_cm3).ok()?;
            let per_um = material.absorption_per_um(&energies_ev).ok()??;
            let mean = per_um.iter().sum::<f64>() / per_um.len() as f64 * 1e-3;
            (mean > 0.0).then_some(mean)
        };
        if before.is_empty() {
            return Self::default();
        }
        let per_nm: Vec<Option<f64>> = map.phases.iter().map(|label| per_nm(&label.id)).collect();
        if per_nm.iter().all(Option::is_none) {
            return Self::default();
        }
        let mut sums = vec![(0.0_f32, 0.0_f32, 0.0_f32); map.len()];
        for &energy in &before {
            view.visit_plane(energy, |pixel, density| {
                let (n, od, variance) = &mut sums[pixel];
                (*n, *od, *variance) = (*n + 1.0, *od + density.od, *variance + density.variance);
            });
        }
        let pre_edge = sums.into_iter().map(|(n, od, variance)| (od / n, variance / (n * n))).collect();
        Self { pre_edge, per_nm }
    }

    /// Of pixels with these shares of the phases; `empty` is what the empty field has before the edge.
    pub(super) fn mean(&self, pixels: &[u32], shares: &[Estimate], empty: f64) -> Option<Estimate> {
        let known = || self.per_nm.iter().zip(shares).filter_map(|(mu, share)| Some(((*mu)?, share.value)));
        let whole: f64 = known().map(|(_, share)| share).sum();
        let per_nm = known().map(|(mu, share)| mu * share).sum::<f64>() / whole;
        let values: Vec<(f32, f32)> = pixels
            .iter()
            .filter_map(|&pixel| self.pre_edge.get(pixel as usize).copied())
            .filter(|(od, _)| od.is_finite())
            .collect();
        if values.is_empty() || !per_nm.is_finite() {
            return None;
        }
        let n = values.len() as f64;
        let od = values.iter().map(|(od, _)| f64::from(*od)).sum::<f64>() / n - empty;
        let noise = values.iter().map(|(_, variance)| f64::from(*variance)).sum::<f64>().sqrt() / n;
        let value = od / per_nm;
        Some(Estimate { value, sigma: (noise / per_nm).hypot(TABLES * value) })
    }

    /// What the empty field has before the edge.
    pub(super) fn empty(&self, is_empty: impl Fn(usize) -> bool) -> f64 {
        let mut values: Vec<f32> = (0..self.pre_edge.len())
            .filter(|&pixel| is_empty(pixel))
            .map(|pixel| self.pre_edge[pixel].0)
            .filter(|od| od.is_finite())
            .collect();
        if values.is_empty() {
            return 0.0;
        }
        let middle = values.len() / 2;
        f64::from(*values.select_nth_unstable_by(middle, f32::total_cmp).1)
    }
}
