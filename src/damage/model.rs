//! The dose of one scan: what one exposure deposits at each energy, and the part of the beam in it.
//!
//! A photon that is absorbed leaves all of its energy. The front of a sample takes, in one exposure,
//!
//! ```text
//! D = n E mu_m / A        n photons on the area A, each of energy E; mu_m: mass absorption coefficient
//! ```
//!
//! which is Jacobsen's `6.74e5 phi t f2 / (pixel² A_mol)` with `n = phi t / eta`. Behind, the beam is weaker; the mean over the depth is
//! `D (1 - exp(-OD)) / OD`. The area is the step squared, or the spot where that is smaller. Nothing here knows a density: what counts is
//! the mass that the beam goes through, and the optical density is measured.

use super::fluence::{Fluence, FluxSource};
use super::lattice::Lattice;
use super::material::{Material, MaterialError};
use super::{DoseDepth, DoseSettings};
use crate::classify::DoseKind;
use crate::reference::ReferenceSet;
use crate::scan::{ScanPlan, Signal};

/// MGy of a photon of 1 eV on 1 µm² with a mass absorption coefficient of 1 cm²/g.
const MGY: f64 = 1.602_176_634e-14;
/// What stands in for a mass absorption coefficient that is not known, cm²/g: that of a solid of light elements at some 500 eV.
pub const NOMINAL_CM2_PER_G: f64 = 1e4;

/// Why there is no dose, not even a relative one.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum NoDose {
    /// The settings say so.
    #[error("damage.enabled is false")]
    Off,
    /// Nobody knows how large a pixel is.
    #[error("the grid is in {0:?}, which is no unit of length; known are um, nm, mm and m")]
    Unit(String),
    /// The tables are broken; a bug of ours.
    #[error(transparent)]
    Material(#[from] MaterialError),
}

/// What each energy of a plan deposits.
#[derive(Clone, Debug, PartialEq)]
pub struct DoseModel {
    /// Whether it is a dose.
    pub kind: DoseKind,
    /// Dose of the front surface in one exposure of a pixel, one number per energy of the plan, MGy or relative.
    pub per_energy: Vec<f64>,
    /// Photons of that exposure, one number per energy.
    pub photons: Vec<f64>,
    /// Who says how many.
    pub flux: FluxSource,
    /// Mass absorption coefficient at each energy, cm²/g.
    pub mass_absorption: Vec<f64>,
    /// What the sample is made of, where that is known.
    pub material: Option<Material>,
    /// At which depth pixels tell their dose.
    pub depth: DoseDepth,
    /// Where the pixels lie, and which part of them is in the beam.
    pub lattice: Lattice,
    /// Width of the beam over the step, at least 1: y, x.
    pub spread: [f64; 2],
    /// What is not known, and what was left out, in words.
    pub remarks: Vec<String>,
    /// Whether densities are optical densities of what the beam goes through.
    pub(super) transmitted: bool,
}

/// The dose of a whole plan, as far as it is known beforehand.
#[derive(Clone, Debug, PartialEq)]
pub struct DoseSchedule {
    /// Dose of the front surface in one exposure, one number per energy of the plan, MGy or relative; energies that are not measured
    /// yet have the flux of the nearest that was.
    pub per_energy: Vec<f64>,
}

impl DoseSchedule {
    /// The dose of all of it.
    #[must_use]
    pub fn total(&self) -> f64 {
        self.per_energy.iter().sum()
    }
}

impl DoseModel {
    /// The model of a plan. `light`: I0 of each energy where it is known, see [`super::light`]; it may be empty before anything came.
    ///
    /// # Errors
    /// [`NoDose`].
    pub fn new(
        plan: &ScanPlan,
        light: &[Option<f64>],
        references: &ReferenceSet,
        settings: &DoseSettings,
    ) -> Result<Self, NoDose> {
        if !settings.enabled {
            return Err(NoDose::Off);
        }
        let spot_um = settings.spot_nm.map(|spot_nm| spot_nm * 1e-3);
        let lattice =
            Lattice::of_grid(&plan.grid, spot_um).ok_or_else(|| NoDose::Unit(plan.grid.unit.clone()))?;
        let (material, wrong) = Material::of_sample(references, settings);
        let fluence = Fluence::of(plan, light, settings);
        let mut remarks: Vec<String> = wrong.iter().map(MaterialError::to_string).collect();
        remarks.extend(fluence.unknown.map(str::to_owned));
        let known = material.is_some() && fluence.source != FluxSource::Nominal;
        let fluence = if known {
            fluence
        } else {
            // Relative doses are all at the same flux, so that those of two scans are alike.
            let nominal = DoseSettings { flux_ph_per_s: Some(super::NOMINAL_PH_PER_S), ..settings.clone() };
            Fluence { source: FluxSource::Nominal, ..Fluence::of(plan, light, &nominal) }
        };
        let mass_absorption = match &material {
            Some(material) => material.mass_absorption(&plan.energies_ev)?,
            None => {
                remarks.push(
                    "what the sample is made of is not known: damage.composition, or formulas in references.toml, \
                     say it"
                        .to_owned(),
                );
                vec![NOMINAL_CM2_PER_G; plan.energies_ev.len()]
            }
        };
        if plan.energies_ev.iter().any(|ev| *ev < super::LOWEST_EV) {
            remarks
                .push(format!("below {} eV the absorption tables are not to be relied on", super::LOWEST_EV));
        }
        let area_um2 = lattice.cell_um[0] * lattice.cell_um[1];
        let per_energy = (0..plan.energies_ev.len())
            .map(|energy| {
                MGY * fluence.photons[energy] * plan.energies_ev[energy] * mass_absorption[energy] / area_um2
            })
            .collect();
        let width = |axis: usize| {
            let step = lattice.step_um[axis].abs();
            spot_um.map_or(1.0, |spot| (spot / step).max(1.0))
        };
        let transmitted = matches!(plan.detector.signal, Signal::Transmission | Signal::OpticalDensity);
        if settings.depth == DoseDepth::Mean && !transmitted {
            remarks.push(
                "a yield does not tell the optical density: the dose is that of the surface".to_owned(),
            );
        }
        Ok(Self {
            kind: if known { DoseKind::Absolute } else { DoseKind::Relative },
            per_energy,
            photons: fluence.photons,
            flux: fluence.source,
            mass_absorption,
            material,
            depth: settings.depth,
            lattice,
            spread: [width(0), width(1)],
            remarks,
            transmitted,
        })
    }

    /// The dose of the plan, measured or not.
    #[must_use]
    pub fn schedule(&self) -> DoseSchedule {
        DoseSchedule { per_energy: self.per_energy.clone() }
    }

    /// Dose of a pixel over that of its surface; `od`: its optical density, NaN where that is not known, which counts as the surface.
    #[must_use]
    #[inline]
    pub fn depth_factor(&self, od: f32) -> f64 {
        if self.depth == DoseDepth::Surface || !self.transmitted {
            return 1.0;
        }
        depth_mean(od)
    }

    /// What doses of two scans have to have in common to be added up.
    #[must_use]
    pub fn basis(&self) -> String {
        let depth = self.depth.name();
        match (self.kind, &self.material) {
            (DoseKind::Absolute, _) => format!("MGy, {depth}"),
            (DoseKind::Relative, Some(material)) => format!("relative, {depth}, {}", material.text),
            (DoseKind::Relative, None) => format!("relative, {depth}, composition unknown"),
        }
    }
}

/// Mean of exp(-x) for x from 0 to `od`; 1 where that is below 0 or not known.
#[inline]
pub(super) fn depth_mean(od: f32) -> f64 {
    let od = f64::from(od);
    if od > 1e-2 {
        (1.0 - (-od).exp()) / od
    } else if od > 0.0 {
        // Where the difference would lose its digits.
        1.0 - od * (0.5 - od * (1.0 / 6.0 - od / 24.0))
    } else {
        1.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scan::{Axis, test_plan};
    use crate::simulate::nvpf;

    fn plan(step_nm: f64, energy_ev: f64) -> ScanPlan {
        let mut plan = test_plan(4, 4, 1);
        let axis = Axis { start: 0.0, step: step_nm };
        (plan.grid.x, plan.grid.y, plan.grid.unit) = (axis, axis, "nm".into());
        (plan.energies_ev, plan.detector.dark) = (vec![energy_ev], 0.0);
        plan
    }

    fn nvpf_settings() -> DoseSettings {
        DoseSettings {
            composition: Some("Na3V2(PO4)2F3".into()),
            detector_efficiency: Some(0.3),
            ..DoseSettings::default()
        }
    }

    fn model(plan: &ScanPlan, settings: &DoseSettings) -> DoseModel {
        DoseModel::new(plan, &[Some(1e4)], &nvpf::reference_set(), settings).unwrap()
    }

    #[test]
    fn nvpf_at_ten_thousand_counts_has_the_doses_that_were_computed_before() {
        for (step_nm, wanted_mgy) in [(30.0, 2.7), (50.0, 1.0), (100.0, 0.24)] {
            let model = model(&plan(step_nm, 530.0), &nvpf_settings());
            assert_eq!((model.kind, model.flux), (DoseKind::Absolute, FluxSource::Counts));
            let found = model.per_energy[0];
            assert!((found - wanted_mgy).abs() < 0.1 * wanted_mgy, "{found} for {wanted_mgy}");
        }
    }

    #[test]
    fn the_dose_is_that_of_a_calculation_by_hand() {
        // 1e4 counts at 0.3 are 33333 photons of 520 eV, 8.331e-17 J each, on (50 nm)².
        let model = model(&plan(50.0, 520.0), &nvpf_settings());
        let joule_per_m2 = 33_333.333 * 520.0 * 1.602_176_634e-19 / (50e-9 * 50e-9);
        let wanted_mgy = joule_per_m2 * model.mass_absorption[0] * 0.1 * 1e-6;
        assert!((model.per_energy[0] / wanted_mgy - 1.0).abs() < 1e-6);
    }

    #[test]
    fn the_dose_is_that_of_jacobsens_formula_with_scattering_factors() {
        // f2 of the elements, summed over the formula unit; eta 0.3, 1e4 counts in 1 ms: 1e4 per ms.
        let tables = xraydb::XrayDb::try_new().unwrap();
        let unit = [("Na", 3.0), ("V", 2.0), ("P", 2.0), ("O", 8.0), ("F", 3.0)];
        for energy_ev in [500.0, 560.0, 650.0] {
            let sum =
                |of: &dyn Fn(&str) -> f64| unit.iter().map(|(symbol, count)| count * of(symbol)).sum::<f64>();
            let f2 = sum(&|symbol| tables.f2_chantler_at(symbol, energy_ev).unwrap());
            let grams = sum(&|symbol| tables.molar_mass(symbol).unwrap());
            assert!((grams - 417.8).abs() < 0.2);
            let gray = 6.74e5 / (0.3 * 50.0 * 50.0 * grams) * (1e4 * 1.0) * f2;
            let found = model(&plan(50.0, energy_ev), &nvpf_settings()).per_energy[0];
            assert!((found / (gray * 1e-6) - 1.0).abs() < 0.03, "{energy_ev} eV: {found} {}", gray * 1e-6);
            // Other tables say the same, away from the edges.
            let kind = xraydb::CrossSectionKind::Photo;
            let elam = sum(&|symbol| {
                tables.molar_mass(symbol).unwrap() * tables.mu_elam_at(symbol, energy_ev, kind).unwrap()
            });
            let chantler = model(&plan(50.0, energy_ev), &nvpf_settings()).mass_absorption[0];
            assert!((elam / grams / chantler - 1.0).abs() < 0.12, "{energy_ev} eV: {chantler}");
        }
    }

    #[test]
    fn the_constant_of_jacobsens_formula_follows_from_ours() {
        // mu_m = 2 r_e lambda N_A f2 / A_mol, so f2 = 1 of a formula unit of 1 g is 4.2e8 cm²/g over the energy in eV.
        let (r_e_cm, avogadro, hc_ev_cm) = (2.817_940e-13, 6.022_141e23, 1.239_842e-4);
        let mass_absorption_ev = 2.0 * r_e_cm * hc_ev_cm * avogadro;
        // One photon a ms for 1 ms on 1 nm².
        let gray = MGY * mass_absorption_ev / 1e-6 * 1e6;
        assert!((gray / 6.74e5 - 1.0).abs() < 1e-3, "{gray}");
    }

    #[test]
    fn behind_the_front_there_is_less() {
        assert!((depth_mean(2.0) - 0.4323).abs() < 1e-4);
        assert_eq!([-0.3, 0.0, f32::NAN].map(depth_mean), [1.0; 3]);
        for od in [1e-9_f32, 1e-3, 0.9999e-2, 1.0001e-2, 0.5] {
            let exact = -(-f64::from(od)).exp_m1() / f64::from(od);
            assert!((depth_mean(od) - exact).abs() < 1e-10, "{od}");
        }
        let surface = DoseSettings { depth: DoseDepth::Surface, ..nvpf_settings() };
        assert_eq!(model(&plan(50.0, 520.0), &surface).depth_factor(2.0), 1.0);
        let mut yields = plan(50.0, 520.0);
        (yields.detector.signal, yields.flux_ph_per_s) = (Signal::ElectronYield, Some(vec![1e6]));
        let yields = model(&yields, &nvpf_settings());
        assert_eq!((yields.kind, yields.depth_factor(2.0)), (DoseKind::Absolute, 1.0));
    }

    #[test]
    fn a_spot_smaller_than_the_step_takes_all_of_it_a_larger_one_shares() {
        let of =
            |spot_nm: Option<f64>| model(&plan(50.0, 520.0), &DoseSettings { spot_nm, ..nvpf_settings() });
        let (step, small, large) = (of(None), of(Some(25.0)), of(Some(100.0)));
        assert!((small.per_energy[0] / step.per_energy[0] - 4.0).abs() < 1e-9);
        assert_eq!(large.per_energy, step.per_energy);
        assert_eq!((step.spread, small.spread, large.spread), ([1.0; 2], [1.0; 2], [2.0; 2]));
    }

    #[test]
    fn without_flux_or_composition_it_is_relative_and_says_why() {
        let plan = plan(50.0, 520.0);
        let unknown = DoseSettings { detector_efficiency: None, ..nvpf_settings() };
        let relative = model(&plan, &unknown);
        assert_eq!((relative.kind, relative.flux), (DoseKind::Relative, FluxSource::Nominal));
        assert!((relative.photons[0] - 1e3).abs() < 1e-9, "1e6 a second for a millisecond");
        assert!(relative.remarks.iter().any(|remark| remark.contains("efficiency")));
        let mut set = nvpf::reference_set();
        set.references.iter_mut().for_each(|reference| reference.composition.formula = None);
        let known_flux = DoseSettings { composition: None, ..nvpf_settings() };
        let model = DoseModel::new(&plan, &[Some(1e4)], &set, &known_flux).unwrap();
        assert_eq!((model.kind, model.flux), (DoseKind::Relative, FluxSource::Nominal));
        assert!(model.remarks.iter().any(|remark| remark.contains("made of")));
        assert_ne!(model.basis(), relative.basis());
    }

    #[test]
    fn without_a_length_there_is_no_dose_at_all() {
        let mut plan = plan(50.0, 520.0);
        plan.grid.unit = "px".into();
        let set = nvpf::reference_set();
        assert_eq!(
            DoseModel::new(&plan, &[], &set, &nvpf_settings()).unwrap_err(),
            NoDose::Unit("px".into())
        );
        let off = DoseSettings { enabled: false, ..nvpf_settings() };
        assert_eq!(DoseModel::new(&plan, &[], &set, &off).unwrap_err(), NoDose::Off);
    }
}
