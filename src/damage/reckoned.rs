//! The dose of a scan into its map: columns, and the few numbers that say what they come to.

use std::sync::Arc;

use super::deposit::{Exposed, Layer};
use super::ledger::Prior;
use super::model::{DoseModel, NoDose};
use super::{DoseDepth, DoseSettings, FluxSource, light};
use crate::absorption::Intensity;
use crate::classify::{DoseKind, DoseNumbers, DoseSummary, PhaseMap};
use crate::reference::ReferenceSet;
use crate::screening::DetectorSettings;

/// What one scan deposited.
#[derive(Clone, Debug, PartialEq)]
pub struct Reckoned {
    /// What it was reckoned with.
    pub model: DoseModel,
    /// Where, with the margin of the field.
    pub own: Layer,
}

impl Reckoned {
    /// Reckons the dose of a scan so far.
    ///
    /// # Errors
    /// [`NoDose`].
    pub fn of(
        exposed: &Exposed<'_>,
        intensity: &Intensity,
        detector: &DetectorSettings,
        references: &ReferenceSet,
        settings: &DoseSettings,
    ) -> Result<Self, NoDose> {
        let light = light(exposed.raw, intensity, detector);
        let model = DoseModel::new(exposed.raw.plan(), &light, references, settings)?;
        let own = model.deposit(exposed);
        Ok(Self { model, own })
    }

    /// Fills the columns of a map, which is of the same grid, with what lay there before, and with what this scan deposited.
    pub fn tell(&self, map: &mut PhaseMap, prior: &Prior) {
        let own = self.model.within(&self.own);
        if own.len() != map.len() || !(prior.dose.is_empty() || prior.dose.len() == own.len()) {
            return;
        }
        let total: Vec<f32> = if prior.dose.is_empty() {
            own.clone()
        } else {
            own.iter().zip(&prior.dose).map(|(own, prior)| own + prior).collect()
        };
        let particle = map.particle_pixels();
        let (over, pixels) =
            if particle.is_empty() { ("field", (0..map.len()).collect()) } else { ("particle", particle) };
        map.origin.dose = Some(Arc::new(DoseSummary {
            over: over.to_owned(),
            pixels: pixels.len(),
            total: DoseNumbers::of(&total, &pixels),
            own: DoseNumbers::of(&own, &pixels),
            prior: DoseNumbers::of(&prior.dose, &pixels),
            prior_scans: prior.scans.iter().map(|scan| scan.scan_id.clone()).collect(),
            remarks: self.model.remarks.iter().chain(&prior.remarks).cloned().collect(),
            ..self.model.summary()
        }));
        match self.model.kind {
            DoseKind::Absolute => (map.dose_mgy, map.dose_relative) = (total, Vec::new()),
            DoseKind::Relative => (map.dose_mgy, map.dose_relative) = (Vec::new(), total),
        }
    }
}

impl DoseModel {
    /// What a map says of it, without numbers of pixels.
    fn summary(&self) -> DoseSummary {
        let unit = match self.kind {
            DoseKind::Absolute => "MGy",
            DoseKind::Relative => {
                "relative: what 1e6 photons per second would deposit, in MGy of the composition named"
            }
        };
        let is_mean = self.depth == DoseDepth::Mean && self.transmitted;
        let formula = if is_mean {
            "D = n E mu_m / A * (1 - exp(-OD)) / OD, summed over the exposures"
        } else {
            "D = n E mu_m / A, summed over the exposures"
        };
        let flux = match self.flux {
            FluxSource::Configured => "configured",
            FluxSource::Stream => "stream",
            FluxSource::Counts => "counts",
            FluxSource::Nominal => "nominal",
        };
        DoseSummary {
            kind: self.kind,
            unit: unit.to_owned(),
            formula: formula.to_owned(),
            depth: if is_mean { DoseDepth::Mean } else { DoseDepth::Surface }.name().to_owned(),
            flux: flux.to_owned(),
            composition: self.material.as_ref().map(|material| material.text.clone()),
            density_g_per_cm3: self.material.as_ref().and_then(|material| material.density_g_per_cm3),
            area_um2: self.lattice.cell_um[0] * self.lattice.cell_um[1],
            per_energy: self.per_energy.clone(),
            over: String::new(),
            pixels: 0,
            total: DoseNumbers::default(),
            own: DoseNumbers::default(),
            prior: DoseNumbers::default(),
            prior_scans: Vec::new(),
            remarks: Vec::new(),
        }
    }
}
