//! What is told of a planned scan: the JSON of `--json`, and what the words are made of.

use serde::Serialize;

use super::DoseArgs;
use crate::classify::{DoseKind, DoseNumbers};
use crate::damage::{Depths, FluxSource, PlannedDose, Prior, lost, spot_warning};
use crate::evaluation::halving::{FIELD, MISMATCH, Measured, Saving, Setup, recommend};
use crate::reference::ReferenceSet;

/// All of it.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    phasewatch: &'static str,
    pub(super) scan_id: String,
    pub(super) beamline: String,
    pub(super) sample: Option<String>,
    pub(super) region: Option<String>,
    pub(super) shape: [usize; 2],
    pub(super) pixel_nm: f64,
    pub(super) spot_nm: Option<f64>,
    /// Where the references come from.
    pub(super) references: String,
    pub(super) references_sha256: String,
    pub(super) composition: Option<String>,
    /// Who says how many photons there are.
    pub(super) flux: FluxSource,
    pub(super) kind: DoseKind,
    /// `MGy`, or what a relative dose is relative to.
    pub(super) unit: String,
    /// At which depth doses are told, by `damage.dose`.
    pub(super) depth: &'static str,
    /// Thickness of the sample, over that of the references.
    pub(super) thickness: f64,
    /// The same by the absorption tables, nm; null where no density is known.
    pub(super) thickness_nm: Option<f64>,
    pub(super) energies: Vec<Energy>,
    pub(super) per_energy_least: Depths,
    pub(super) per_energy_most: Depths,
    pub(super) per_pass: Vec<Depths>,
    pub(super) scan: Depths,
    pub(super) sentinels: Depths,
    pub(super) earlier: Earlier,
    /// Earlier scans and this one, at `depth`; where most was left before.
    pub(super) in_all: f64,
    pub(super) exposure_s: f64,
    pub(super) total_s: f64,
    pub(super) critical: Option<Critical>,
    /// What is not known, or should be looked at.
    pub(super) warnings: Vec<String>,
    pub(super) halving: Halving,
}

/// One entry of the plan.
#[derive(Debug, Serialize)]
pub(super) struct Energy {
    pub(super) energy_ev: f64,
    pub(super) dwell_ms: f64,
    #[serde(flatten)]
    pub(super) dose: Depths,
    /// Photons on a pixel; null where the flux is not known.
    pub(super) photons: Option<f64>,
    /// Photons that the detector counts in a pixel without sample.
    pub(super) detected: f64,
    /// Typical optical density.
    pub(super) od: f64,
    pub(super) sentinel: bool,
    pub(super) pass: usize,
}

/// What earlier scans left where the plan goes.
#[derive(Debug, Default, Serialize)]
pub(super) struct Earlier {
    /// Over the field; null where nothing is known of any.
    pub(super) dose: Option<DoseNumbers>,
    pub(super) scans: Vec<String>,
    pub(super) remarks: Vec<String>,
}

impl Earlier {
    pub(super) fn unknown(why: impl Into<String>) -> Self {
        Self { remarks: vec![why.into()], ..Self::default() }
    }

    pub(super) fn of(prior: Prior) -> Self {
        let pixels: Vec<usize> = (0..prior.dose.len()).collect();
        Self {
            dose: Some(DoseNumbers::of(&prior.dose, &pixels)),
            scans: prior.scans.into_iter().map(|scan| scan.scan_id).collect(),
            remarks: prior.remarks,
        }
    }
}

/// What first-order kinetics would do to the white line.
#[derive(Debug, Serialize)]
pub(super) struct Critical {
    pub(super) critical_mgy: f64,
    /// Share that earlier scans have taken.
    pub(super) lost_before: f64,
    /// Share that will be gone in the end.
    pub(super) lost_in_all: f64,
}

/// How the dose could be halved.
#[derive(Debug, Serialize)]
pub(super) struct Halving {
    pub(super) draws: usize,
    pub(super) seed: u64,
    /// Rows and columns of the simulated field, in pixels of the plan.
    pub(super) field: usize,
    /// Largest shift, eV, and relative change of the specimen's spectra against the references.
    pub(super) mismatch: (f64, f64),
    pub(super) remarks: Vec<String>,
    /// The plan first.
    pub(super) rows: Vec<Row>,
}

/// A setting.
#[derive(Debug, Serialize)]
pub(super) struct Row {
    pub(super) name: String,
    /// Dose of the scan, at the depth of the report.
    pub(super) dose: f64,
    /// The same over that of the plan.
    pub(super) share: f64,
    pub(super) reaches_half: bool,
    pub(super) exposure_s: f64,
    pub(super) total_s: f64,
    pub(super) energies_ev: Vec<f64>,
    pub(super) dwell: f64,
    pub(super) flux: f64,
    pub(super) pixel_nm: f64,
    /// Whether energies were left out.
    #[serde(skip)]
    pub(super) is_shorter: bool,
    #[serde(flatten)]
    pub(super) measured: Option<Measured>,
    pub(super) recommended: bool,
}

impl Row {
    /// The plan and every saving.
    pub(super) fn list(
        setup: &Setup,
        planned: &PlannedDose,
        list: &[Saving],
        measured: &[Measured],
    ) -> Vec<Self> {
        let total = planned.total().at(setup.dose.depth);
        let none = crate::evaluation::halving::Change::none(setup.plan.energies_ev.len());
        let plan = Saving { name: "the plan".to_owned(), change: none, share: 1.0 };
        let energies = setup.plan.energies_ev.len();
        let row = |(index, saving): (usize, &Saving)| {
            let after = setup.after(&saving.change);
            let [exposure_s, total_s] = after.seconds();
            Self {
                name: saving.name.clone(),
                dose: total * saving.share,
                share: saving.share,
                reaches_half: index > 0 && saving.reaches_half(),
                exposure_s,
                total_s,
                pixel_nm: after.step_nm(),
                is_shorter: after.plan.energies_ev.len() < energies,
                energies_ev: after.plan.energies_ev,
                dwell: saving.change.dwell,
                flux: saving.change.flux,
                measured: measured.get(index).filter(|one| one.pixels > 0).cloned(),
                recommended: false,
            }
        };
        let mut rows: Vec<Self> = std::iter::once(&plan).chain(list).enumerate().map(row).collect();
        let seconds: Vec<f64> = rows.iter().skip(1).map(|row| row.total_s).collect();
        let of_savings = measured.get(1..).unwrap_or_default();
        if let Some(best) = recommend(list, of_savings, &seconds) {
            rows[best + 1].recommended = true;
        }
        rows
    }
}

impl Report {
    pub(super) fn new(
        args: &DoseArgs,
        setup: &Setup,
        planned: &PlannedDose,
        (references, source): (&ReferenceSet, String),
        earlier: Earlier,
        (rows, remarks, detected): (Vec<Row>, Vec<String>, &[f64]),
    ) -> Self {
        let (plan, model, depth) = (&setup.plan, &planned.model, setup.dose.depth);
        let is_known = model.kind == DoseKind::Absolute;
        let energies = (0..plan.energies_ev.len())
            .map(|entry| Energy {
                energy_ev: plan.energies_ev[entry],
                dwell_ms: plan.dwell_ms[entry],
                dose: planned.per_energy[entry],
                photons: (model.flux != FluxSource::Nominal).then(|| model.photons[entry]),
                detected: detected[entry],
                od: planned.od[entry],
                sentinel: planned.outline.is_sentinel[entry],
                pass: planned.outline.pass[entry],
            })
            .collect();
        let [per_energy_least, per_energy_most] = planned.range();
        let [exposure_s, total_s] = setup.seconds();
        let scan = planned.total();
        let before = earlier.dose.unwrap_or_default().max;
        let in_all = before + scan.at(depth);
        let critical = args.critical_mgy.filter(|_| is_known).map(|critical_mgy| Critical {
            critical_mgy,
            lost_before: lost(before, critical_mgy),
            lost_in_all: lost(in_all, critical_mgy),
        });
        let mut warnings = model.remarks.clone();
        warnings.extend(spot_warning(&model.lattice, setup.dose.spot_nm));
        match args.critical_mgy {
            Some(_) if !is_known => {
                warnings.push("the dose is relative: --critical-mgy cannot be compared with it".to_owned());
            }
            Some(critical_mgy) if in_all > critical_mgy => warnings.push(format!(
                "the dose in all, {in_all:.3} MGy, exceeds the critical dose of {critical_mgy} MGy"
            )),
            _ => {}
        }
        warnings.extend(earlier.remarks.iter().filter(|_| earlier.dose.is_some()).cloned());
        Self {
            phasewatch: env!("CARGO_PKG_VERSION"),
            scan_id: plan.scan_id.clone(),
            beamline: plan.beamline.clone(),
            sample: plan.sample.clone(),
            region: plan.region.clone(),
            shape: plan.grid.shape,
            pixel_nm: setup.step_nm(),
            spot_nm: setup.dose.spot_nm,
            references: source,
            references_sha256: references.sha256.clone(),
            composition: model.material.as_ref().map(|material| material.text.clone()),
            flux: model.flux,
            kind: model.kind,
            unit: if is_known { "MGy" } else { "relative, by 1e6 photons per second" }.to_owned(),
            depth: depth.name(),
            thickness: setup.thickness,
            thickness_nm: planned.thickness_nm(references).map(|nm| nm * setup.thickness),
            energies,
            per_energy_least,
            per_energy_most,
            per_pass: planned.per_pass(),
            scan,
            sentinels: planned.of_sentinels(),
            earlier,
            in_all,
            exposure_s,
            total_s,
            critical,
            warnings,
            halving: Halving {
                draws: args.draws,
                seed: args.seed,
                field: FIELD,
                mismatch: MISMATCH,
                remarks,
                rows,
            },
        }
    }
}
