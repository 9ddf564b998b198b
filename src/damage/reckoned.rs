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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::classify::{DensityView, Origin, Status};
    use crate::damage::{Region, ScanRef};
    use crate::registration::Drift;
    use crate::scan::{Channel, I0, Pixels, SampleBatch, test_plan};
    use crate::simulate::nvpf;
    use crate::stack::Stack;

    fn reckoned(flux_ph_per_s: Option<f64>) -> (Reckoned, PhaseMap) {
        let mut plan = test_plan(1, 3, 1);
        plan.sample = Some("s".into());
        let mut stack = Stack::new(plan);
        let batch = SampleBatch {
            energy_index: 0,
            pixels: Pixels::Run { first: 0, count: 2 },
            channel: Channel::Intensity,
            others: Vec::new(),
            values: vec![10.0, 10.0],
            i0: I0::None,
            ring_current_ma: None,
            energy_ev: None,
            time: None,
        };
        stack.push(0, &batch).unwrap();
        let intensity = Intensity::default();
        let view = DensityView::new(&stack, &intensity, 3.0, 1.0);
        let exposed = Exposed { raw: &stack, view: &view, drift: &Drift::default() };
        let settings = DoseSettings { flux_ph_per_s, ..DoseSettings::default() };
        let set = nvpf::reference_set();
        let reckoned =
            Reckoned::of(&exposed, &intensity, &DetectorSettings::default(), &set, &settings).unwrap();
        let map = PhaseMap::unmeasured(stack.plan().clone(), set.labels(), Origin::default());
        (reckoned, map)
    }

    #[test]
    fn a_map_is_told_the_dose_of_this_scan_and_of_those_before_it() {
        let (reckoned, mut map) = reckoned(Some(1e7));
        assert!(Region::of(&map.plan).is_some());
        let scans = vec![ScanRef::of(&map.plan)];
        let prior = Prior { dose: vec![1.0, 2.0, 3.0], scans, remarks: vec!["one is missing".into()] };
        map.status[1] = Status::Ambiguous;
        reckoned.tell(&mut map, &prior);
        let own = reckoned.model.per_energy[0] as f32;
        assert_eq!(map.dose_mgy, [1.0 + own, 2.0 + own, 3.0]);
        assert!(map.dose_relative.is_empty());
        let told = map.origin.dose.clone().unwrap();
        assert_eq!((told.over.as_str(), told.pixels, told.prior.max), ("particle", 1, 2.0));
        assert!((told.total.mean - f64::from(2.0 + own)).abs() < 1e-6);
        assert_eq!((told.flux.as_str(), told.remarks.len(), told.prior_scans.len()), ("configured", 1, 1));
        // Nothing is known to be sample: the field.
        map.status[1] = Status::Background;
        reckoned.tell(&mut map, &Prior::default());
        let told = map.origin.dose.clone().unwrap();
        assert_eq!((told.over.as_str(), told.pixels, told.prior.max), ("field", 3, 0.0));
    }

    #[test]
    fn a_relative_dose_has_a_column_of_its_own() {
        let (reckoned, mut map) = reckoned(None);
        reckoned.tell(&mut map, &Prior::default());
        assert!(map.dose_mgy.is_empty() && map.dose_relative[0] > 0.0);
        let told = map.origin.dose.clone().unwrap();
        assert_eq!((told.kind, told.flux.as_str()), (DoseKind::Relative, "nominal"));
        assert!(told.unit.starts_with("relative"));
    }
}
