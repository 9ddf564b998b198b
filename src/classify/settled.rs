//! The settled map: what is archived. A pure function of a stack and a recipe: every energy in the order of the
//! plan, every pixel from its whole spectrum in `f64`, every estimate from the whole stack.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::composition::Compositions;
use super::confidence::CALIBRATED_ON;
use super::consult::{PosteriorModel, consult};
use super::contrast::Contrast;
use super::correlation::Baseline;
use super::judged::{Measured, MeasuredPixels};
use super::look::Scene;
use super::spectrum::Spectrum;
use super::view::DensityView;
use super::{
    Correction, EnergyOffset, OffsetMode, Optics, Origin, PhaseMap, RevisionReason, Targets, TriageSettings,
    estimate_energies,
};
use crate::absorption::{AbsorptionSettings, IncidentSummary, Intensity, energies_ev, noise_factor};
use crate::reference::{ReferenceSet, Window};
use crate::registration::{self, Drift, RegistrationMode};
use crate::screening::Screen;
use crate::stack::Stack;

/// Everything that turns a stack into a map, but the stack and the model.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Recipe {
    /// The references; they are kept by themselves, by their content.
    #[serde(skip, default = "no_references")]
    pub references: Arc<ReferenceSet>,
    /// How counts become optical densities.
    pub absorption: AbsorptionSettings,
    /// What is taken out of a spectrum before it is correlated.
    pub baseline: Baseline,
    /// The limits of triage.
    pub triage: TriageSettings,
    /// What is done about an energy offset.
    pub offset: OffsetMode,
    /// Whether drift is looked for, and taken out where that is trusted.
    pub registration: RegistrationMode,
    /// A measured calibration of the energies; where there is one, it is applied instead of the estimate.
    pub calibration: Option<Correction>,
}

fn no_references() -> Arc<ReferenceSet> {
    let nowhere = Window { from_ev: 0.0, to_ev: 0.0 };
    Arc::new(ReferenceSet {
        references: Vec::new(),
        pre_edge: nowhere,
        white_line: nowhere,
        sha256: String::new(),
    })
}

/// The settled map and the estimates behind it.
#[derive(Clone, Debug)]
pub struct Settled {
    /// The map.
    pub map: PhaseMap,
    /// The stack as it was mapped, where a drift was taken out; else it was mapped as it was measured.
    pub registered: Option<Stack>,
    /// The incident intensity of every plane.
    pub intensity: Intensity,
    /// Factor between the noise of the values and that of Poisson counts.
    pub noise_factor: f64,
    /// The energies at which the references were taken, eV.
    pub energies_ev: Vec<f64>,
    /// What the model said where it failed; the map is then one without it.
    pub model_failure: Option<String>,
}

/// Makes the settled map of a stack. Its generation is 0: it follows from the stack alone, not from what was
/// published before.
#[must_use]
pub fn settle(raw: &Stack, recipe: &Recipe, mut model: Option<&mut (dyn PosteriorModel + '_)>) -> Settled {
    let plan = raw.plan();
    let Estimates { drift, offset, optics } = estimates(raw, recipe);
    let view = optics.view(raw);
    let targets = Targets::corrected(&recipe.references, &optics.uncorrected_ev, &optics.correction);
    let measured = MeasuredPixels::collect(
        plan.grid.pixels(),
        &targets,
        &recipe.triage,
        plan.detector.counts_per_photon.is_some(),
        || (Spectrum::default(), Contrast::default()),
        |(spectrum, contrast), pixel, correlations, chi2| {
            let masked = view.gather(pixel, spectrum);
            let seen = spectrum.len() as u16;
            let sums = spectrum.read(&targets, recipe.baseline, correlations, chi2);
            let contrast = Arc::clone(contrast.of(&targets, spectrum.energies.iter().copied()));
            Measured { sums, seen, masked, void: view.void(pixel), contrast }
        },
    );
    let mut origin = origin(raw, recipe, &targets, (&optics.intensity, optics.noise_factor, offset), &drift);
    name_model(&mut origin, model.as_deref());
    let (mut map, open) = measured.judge(plan.clone(), &targets, &recipe.triage, origin);
    let compositions = Compositions::new(targets.phases());
    let scene = Scene {
        measured: &measured,
        view: &view,
        targets: &targets,
        compositions: &compositions,
        settings: &recipe.triage,
    };
    let outcome = consult(&mut map, &open, &mut None, &scene, model.take());
    let energies_ev = targets.energies_ev;
    let Optics { registered, intensity, noise_factor, .. } = optics;
    Settled { map, registered, intensity, noise_factor, energies_ev, model_failure: outcome.err() }
}

/// What is estimated of a whole stack before any pixel is judged.
struct Estimates {
    drift: Drift,
    offset: EnergyOffset,
    optics: Optics,
}

fn estimates(raw: &Stack, recipe: &Recipe) -> Estimates {
    let screen = Screen::of(raw, &recipe.absorption.detector);
    let (drift, registered) = registration(raw, recipe, &screen);
    let stack = registered.as_ref().unwrap_or(raw);
    let uncorrected_ev = energies_ev(stack, recipe.absorption.read_back);
    let intensity = Intensity::estimate(stack, &screen.on(raw, stack), &recipe.absorption);
    let max_od = recipe.absorption.max_od;
    let noise_factor = noise_factor(stack, &intensity, max_od);
    let view = DensityView::new(stack, &intensity, max_od, noise_factor);
    let calibration = recipe.calibration.as_ref();
    let scale = estimate_energies(&view, &recipe.references, &uncorrected_ev, &recipe.triage, calibration);
    let correction = scale.applied(recipe.offset);
    let references = Arc::clone(&recipe.references);
    let optics =
        Optics { registered, intensity, max_od, noise_factor, uncorrected_ev, correction, references };
    Estimates { drift, offset: scale.offset, optics }
}

impl Optics {
    /// What turns a whole stack into optical densities, as its settled map has it.
    #[must_use]
    pub fn of(raw: &Stack, recipe: &Recipe) -> Self {
        estimates(raw, recipe).optics
    }
}

/// The drift of a stack, and the stack without it where it is to be taken out.
fn registration(raw: &Stack, recipe: &Recipe, screen: &Screen) -> (Drift, Option<Stack>) {
    let sound = |energy: usize, pixel: usize| screen.usable(energy, pixel);
    let drift = match recipe.registration {
        RegistrationMode::Off => Drift::default(),
        RegistrationMode::Auto => registration::estimate(raw, &sound),
    };
    let registered = registration::register(raw, &drift, &sound);
    (drift, registered)
}

/// Notes which model speaks.
pub(super) fn name_model(origin: &mut Origin, model: Option<&(dyn PosteriorModel + '_)>) {
    if let Some(model) = model {
        origin.clusters = model.clusters().to_vec();
        origin.model_sha256 = model.sha256().to_owned();
    }
}

/// What a map made from `stack`, as it was measured, says of its making.
pub(super) fn origin(
    stack: &Stack,
    recipe: &Recipe,
    targets: &Targets,
    (intensity, noise_factor, offset): (&Intensity, f64, EnergyOffset),
    drift: &Drift,
) -> Origin {
    let plan = stack.plan();
    let noise = if plan.detector.counts_per_photon.is_some() {
        "poisson".to_owned()
    } else {
        format!("{noise_factor:.4} times the variance of poisson counts, estimated from the data")
    };
    let unused = targets.unused_ev();
    let outside = if unused.is_empty() {
        "none".to_owned()
    } else {
        let list: Vec<String> = unused.iter().map(|e| format!("{e:.3}")).collect();
        list.join(" ")
    };
    let mut normalisation = intensity.normalisation(stack, &recipe.absorption);
    normalisation.extend([
        ("energies", if recipe.absorption.read_back { "read-back" } else { "set-points" }.to_owned()),
        ("energy_offset", offset.report(&targets.correction)),
        ("registration", drift.describe()),
        ("noise", noise),
        (
            "baseline",
            if recipe.baseline == Baseline::Linear { "straight line in energy" } else { "none" }.to_owned(),
        ),
        ("energies_outside_references_ev", outside),
    ]);
    Origin {
        generation: 0,
        energies_done: stack.energies_done(),
        clusters: Vec::new(),
        references_sha256: recipe.references.sha256.clone(),
        model_sha256: String::new(),
        complete: stack.is_full(),
        settled: true,
        normalisation: normalisation.into_iter().map(|(name, value)| (name.to_owned(), value)).collect(),
        incident: Arc::new(IncidentSummary::new(stack, intensity)),
        energy_offset: offset,
        drift: drift.clone(),
        correction_ev: targets.correction.offset_ev,
        correction: targets.correction.clone(),
        corrected_ev: targets.energies_ev.clone(),
        population: super::population::Population::default(),
        calibrated_on: CALIBRATED_ON.to_owned(),
        revision_reason: RevisionReason::Energy,
        dose: None,
        channels: stack.others(),
    }
}
