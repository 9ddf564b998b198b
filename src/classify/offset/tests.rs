//! Offsets of simulated scans.

use std::sync::Arc;

use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution as _, Poisson};

use super::*;
use crate::absorption::{AbsorptionSettings, Intensity, noise_factor};
use crate::classify::correlation::Baseline;
use crate::classify::{PhaseMap, PosteriorModel, Recipe, settle};
use crate::reference::ReferenceSet;
use crate::scan::{Channel, I0, Pixels, SampleBatch};
use crate::simulate::nvpf;
use crate::stack::{Stack, test_plan};

/// A scan to be simulated.
#[derive(Clone, Debug)]
pub(super) struct Scene {
    pub seed: u64,
    pub energies_ev: Vec<f64>,
    pub counts: f64,
    pub offset_ev: f64,
    /// Whether the sample's spectra differ from the references: each phase by up to 0.1 eV and its lines by 10 %.
    pub mismatched: bool,
    /// The phases that are there.
    pub phases: Vec<usize>,
    pub size: usize,
    /// Share of pixels that are two phases along the beam, and of foreign ones.
    pub mixed: f64,
    pub foreign: f64,
}

impl Scene {
    pub(super) fn new(seed: u64, energies: usize, counts: f64, offset_ev: f64) -> Self {
        Self {
            seed,
            energies_ev: even(energies, 509.0, 529.0),
            counts,
            offset_ev,
            mismatched: false,
            phases: (0..5).collect(),
            size: 40,
            mixed: 0.0,
            foreign: 0.0,
        }
    }

    /// The stack, and the phase of each pixel (`None` where it is empty, mixed or foreign). The eight first columns
    /// are empty.
    pub(super) fn stack(&self, set: &ReferenceSet) -> (Stack, Vec<Option<usize>>) {
        let mut rng = ChaCha8Rng::seed_from_u64(self.seed);
        let sample = self.sample(set, &mut rng);
        let mut plan = test_plan(self.size, self.size, self.energies_ev.len());
        plan.energies_ev = self.energies_ev.clone();
        plan.detector.dark = 0.0;
        plan.detector.saturation = None;
        plan.detector.counts_per_photon = Some(vec![1.0; self.energies_ev.len()]);
        let pixels = self.size * self.size;
        let mut spectra: Vec<Vec<f64>> = Vec::with_capacity(pixels);
        let mut truth = Vec::with_capacity(pixels);
        for pixel in 0..pixels {
            let thickness = rng.random_range(0.5..1.4);
            let phase = self.phases[rng.random_range(0..self.phases.len())];
            let (other, share) = (self.phases[rng.random_range(0..self.phases.len())], rng.random::<f64>());
            let kind = rng.random::<f64>();
            if pixel % self.size < 8 {
                spectra.push(vec![0.0; self.energies_ev.len()]);
                truth.push(None);
            } else if kind < self.mixed {
                let od = |e: usize| share * sample[phase][e] + (1.0 - share) * sample[other][e];
                spectra.push((0..self.energies_ev.len()).map(|e| thickness * od(e)).collect());
                truth.push(None);
            } else if kind < self.mixed + self.foreign {
                let line = |e: f64| 0.3 + 1.2 / (1.0 + ((e - 519.6) / 0.9).powi(2));
                spectra.push(self.energies_ev.iter().map(|&e| thickness * line(e)).collect());
                truth.push(None);
            } else {
                spectra.push(sample[phase].iter().map(|od| thickness * od).collect());
                truth.push(Some(phase));
            }
        }
        let mut stack = Stack::new(plan);
        for energy in 0..self.energies_ev.len() {
            let values = spectra
                .iter()
                .map(|od| Poisson::new(self.counts * (-od[energy]).exp()).unwrap().sample(&mut rng) as f32)
                .collect();
            stack.push(energy as u64 + 1, &whole(energy, pixels, values)).unwrap();
        }
        (stack, truth)
    }

    /// The spectra of the sample at the energies where the beam really was.
    fn sample(&self, set: &ReferenceSet, rng: &mut ChaCha8Rng) -> Vec<Vec<f64>> {
        set.references
            .iter()
            .map(|reference| {
                let (width, height) = if self.mismatched { (0.1, 0.1) } else { (0.0, 0.0) };
                let shift: f64 = width * rng.random_range(-1.0..1.0);
                let lines: Vec<f64> = (0..14).map(|_| height * rng.random_range(-1.0..1.0)).collect();
                let factor = |e: f64| -> f64 {
                    let bump = |(i, line): (usize, &f64)| {
                        line * (-((e - 512.0 - 1.2 * i as f64) / 0.85).powi(2)).exp()
                    };
                    1.0 + lines.iter().enumerate().map(bump).sum::<f64>()
                };
                let at = |e: &f64| {
                    let real = e + self.offset_ev;
                    reference.od_at(real - shift).unwrap() * factor(real)
                };
                self.energies_ev.iter().map(at).collect()
            })
            .collect()
    }
}

pub(super) fn even(count: usize, from: f64, to: f64) -> Vec<f64> {
    (0..count).map(|i| from + (to - from) * i as f64 / (count as f64 - 1.0)).collect()
}

fn whole(energy: usize, pixels: usize, values: Vec<f32>) -> SampleBatch {
    SampleBatch {
        energy_index: energy as u32,
        pixels: Pixels::Run { first: 0, count: pixels as u32 },
        channel: Channel::Intensity,
        others: Vec::new(),
        values,
        i0: I0::None,
        ring_current_ma: None,
        energy_ev: None,
        time: None,
    }
}

/// The offset of a stack, estimated as for a settled map.
pub(super) fn estimate(stack: &Stack, set: &ReferenceSet) -> EnergyScale {
    let absorption = AbsorptionSettings { max_od: 4.0, ..AbsorptionSettings::default() };
    let intensity = Intensity::estimate(stack, &crate::screening::Screen::default(), &absorption);
    let noise = noise_factor(stack, &intensity, absorption.max_od);
    let view = DensityView::new(stack, &intensity, absorption.max_od, noise);
    estimate_energies(&view, set, &stack.plan().energies_ev, &TriageSettings::default(), None)
}

#[test]
fn an_offset_is_recovered_where_the_references_are_exact() {
    let set = nvpf::reference_set();
    for (seed, offset_ev) in [0.0, 0.1, 0.3, -0.7, 1.0].into_iter().enumerate() {
        let (stack, _) = Scene::new(seed as u64, 30, 1000.0, offset_ev).stack(&set);
        let found = estimate(&stack, &set).offset;
        assert!((found.offset_ev - offset_ev).abs() < 0.03, "{offset_ev}: {found:?}");
        assert!(found.is_trusted() && found.error_ev < 0.03, "{offset_ev}: {found:?}");
    }
}

fn recipe(set: &Arc<ReferenceSet>, mode: OffsetMode) -> Recipe {
    Recipe {
        references: set.clone(),
        absorption: AbsorptionSettings { max_od: 4.0, ..AbsorptionSettings::default() },
        baseline: Baseline::None,
        triage: TriageSettings::default(),
        offset: mode,
        registration: crate::registration::RegistrationMode::default(),
        calibration: None,
    }
}

/// The settled map of a scene, and the share of its pixels whose best phase is right.
fn accuracy(scene: &Scene, set: &Arc<ReferenceSet>, mode: OffsetMode) -> (f64, PhaseMap) {
    let (stack, truth) = scene.stack(set);
    let map = settle(&stack, &recipe(set, mode), None).map;
    let sample: Vec<(usize, usize)> =
        truth.iter().enumerate().filter_map(|(pixel, truth)| Some((pixel, (*truth)?))).collect();
    let right = sample.iter().filter(|(pixel, phase)| usize::from(map.phase[*pixel]) == *phase).count();
    (right as f64 / sample.len() as f64, map)
}

#[test]
fn corrected_an_offset_costs_nothing() {
    let set = Arc::new(nvpf::reference_set());
    let (without, map) = accuracy(&Scene::new(5, 30, 3000.0, 0.0), &set, OffsetMode::Correct);
    assert!(without > 0.98 && map.origin.correction_ev.abs() < 0.01, "{without} {:?}", map.origin);
    let scene = Scene::new(5, 30, 3000.0, 0.3);
    let (corrected, map) = accuracy(&scene, &set, OffsetMode::Correct);
    assert!(corrected > without - 0.01, "{corrected} {without}");
    assert!((map.origin.correction_ev - 0.3).abs() < 0.03);
    let told = |map: &PhaseMap| {
        let mut entries = map.origin.normalisation.iter();
        entries.find(|(name, _)| name == "energy_offset").unwrap().1.clone()
    };
    assert!(told(&map).ends_with("eV corrected"), "{}", told(&map));
    let (reported, map) = accuracy(&scene, &set, OffsetMode::Report);
    assert!(reported < 0.8 && map.origin.correction_ev == 0.0, "{reported}");
    assert!(told(&map).ends_with("reported, not corrected"), "{}", told(&map));
    assert!(map.origin.energy_offset.is_alarming());
}

/// A model that only notes which energies it is asked with.
struct Spy {
    clusters: Vec<String>,
    asked_ev: Vec<f64>,
}

impl PosteriorModel for Spy {
    fn clusters(&self) -> &[String] {
        &self.clusters
    }

    fn sha256(&self) -> &str {
        ""
    }

    fn posteriors(&mut self, energies_ev: &[f64], od: &[f32], _: &[f32]) -> Result<Vec<f32>, String> {
        self.asked_ev = energies_ev.to_vec();
        Ok(vec![f32::NAN; od.len() / energies_ev.len()])
    }
}

#[test]
fn the_model_is_asked_with_corrected_energies() {
    let set = Arc::new(nvpf::reference_set());
    let scene = Scene::new(6, 20, 300.0, -0.5);
    let mut spy = Spy { clusters: vec!["mixture".to_owned()], asked_ev: Vec::new() };
    let settled = settle(&scene.stack(&set).0, &recipe(&set, OffsetMode::Correct), Some(&mut spy));
    let correction_ev = settled.map.origin.correction_ev;
    assert!((correction_ev + 0.5).abs() < 0.05, "{correction_ev}");
    let corrected: Vec<f64> = scene.energies_ev.iter().map(|e| e + correction_ev).collect();
    assert_eq!(spy.asked_ev, corrected);
    assert_eq!(settled.energies_ev, corrected);
    assert_eq!(settled.map.plan.energies_ev, scene.energies_ev, "the plan keeps what was asked for");
}

#[test]
fn the_end_of_the_references_is_no_end_of_the_scan() {
    // The references end where the scan ends: corrected by 0.4 eV, the last energy would be beyond them.
    let mut set = nvpf::reference_set();
    let mut scene = Scene::new(8, 30, 3000.0, -0.4);
    scene.energies_ev = even(30, 509.5, 529.0);
    let (stack, _) = scene.stack(&set);
    for reference in &mut set.references {
        let inside: Vec<_> = (0..reference.od.len())
            .filter(|&i| (509.5..=529.0).contains(&reference.energies_ev[i]))
            .collect();
        reference.od = inside.iter().map(|&i| reference.od[i]).collect();
        reference.energies_ev = inside.iter().map(|&i| reference.energies_ev[i]).collect();
    }
    let found = estimate(&stack, &set).offset;
    assert!((found.offset_ev + 0.4).abs() < 0.03 && found.is_trusted(), "{found:?}");
    let targets = Targets::corrected(&set, &scene.energies_ev, &Correction::constant(found.offset_ev));
    assert!(targets.used.iter().all(|used| *used) && targets.unused_ev().is_empty());
    let beyond = Targets::corrected(&set, &[505.0, 515.0], &Correction::constant(0.1));
    assert_eq!((beyond.used, beyond.energies_ev), (vec![false, true], vec![505.1, 515.1]));
}

#[test]
fn an_offset_is_not_trusted_where_nothing_tells_it() {
    let set = nvpf::reference_set();
    let doubt = |scene: &Scene| estimate(&scene.stack(&set).0, &set).offset.doubt;
    let base = Scene::new(3, 30, 1000.0, 0.2);
    let few = Scene { energies_ev: even(5, 510.0, 520.0), ..base.clone() };
    assert_eq!(doubt(&few), Some(OffsetDoubt::FewEnergies));
    let before = Scene { energies_ev: even(20, 507.0, 511.5), ..base.clone() };
    assert_eq!(doubt(&before), Some(OffsetDoubt::FewEnergies));
    let empty = Scene { mixed: 0.0, foreign: 1.0, ..base.clone() };
    let stack = empty.stack(&set).0;
    // The field alone: the first eight columns, cut out.
    let flat = Scene { size: 8, ..empty };
    assert_eq!(doubt(&flat), Some(OffsetDoubt::FewPixels));
    // Something that is none of the references.
    let foreign = estimate(&stack, &set);
    assert!(foreign.applied(OffsetMode::Correct).is_none(), "{foreign:?}");
}

/// The real stack: its references were cut from it, so that there is no offset; and the same with the references moved.
#[test]
fn the_real_stack_has_no_offset() {
    let dir = concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/data/als-fe-l-71214078");
    let Some(header) = std::fs::read_dir(dir).ok().and_then(|mut entries| {
        entries.find_map(|entry| {
            let path = entry.ok()?.path();
            (path.extension()? == "hdr").then_some(path)
        })
    }) else {
        eprintln!("SKIPPED: no real stack at {dir}");
        return;
    };
    let recording = crate::recording::Recording::load(&header).unwrap();
    let set = crate::reference::ReferenceSet::load(std::path::Path::new(dir)).unwrap();
    let stack_of = |recording: &crate::recording::Recording| {
        let mut stack = Stack::new(recording.plan.clone());
        for (seq, batch) in recording.batches() {
            stack.push(seq, &batch).unwrap();
        }
        stack
    };
    let stack = stack_of(&recording);
    let found = estimate(&stack, &set).offset;
    for n in [6, 8, 12, 20] {
        let energies =
            crate::recording::select_energies(&recording.plan.energies_ev, &format!("count:{n}")).unwrap();
        let sparse = estimate(&stack_of(&recording.subset(&energies)), &set);
        // Corrected or not, it must not be moved far.
        let correction = sparse.applied(OffsetMode::Correct);
        assert!(correction.distance_ev(&Correction::none(), &[705.0, 725.0]) < 0.1, "{n}: {sparse:?}");
    }
    assert!(found.offset_ev.abs() < 0.05, "{found:?}");
    for moved_ev in [-0.5, 0.3, 1.0] {
        let mut moved = set.clone();
        for reference in &mut moved.references {
            reference.energies_ev.iter_mut().for_each(|e| *e += moved_ev);
        }
        let found = estimate(&stack, &moved).offset;
        assert!((found.offset_ev - moved_ev).abs() < 0.05, "{moved_ev}: {found:?}");
    }
}

#[test]
fn references_that_lie_apart_are_brought_to_the_sample() {
    // Every reference is displaced by its own; 0.12 eV too low on average.
    let exact = nvpf::reference_set();
    let own_ev = [0.18, 0.06, 0.15, 0.03, 0.18];
    let mut set = exact.clone();
    for (reference, own_ev) in set.references.iter_mut().zip(own_ev) {
        reference.energies_ev.iter_mut().for_each(|e| *e += own_ev);
    }
    let stack = Scene::new(11, 30, 3000.0, 0.0).stack(&exact).0;
    let scale = estimate(&stack, &set);
    assert!((scale.offset.offset_ev - 0.12).abs() < 0.03 && scale.offset.is_trusted(), "{scale:?}");
    for (phase, own_ev) in own_ev.iter().enumerate() {
        let found_ev = scale.correction.offset_ev + scale.correction.own(phase);
        assert!((found_ev - own_ev).abs() < 0.03, "{phase}: {scale:?}");
    }
    // The offset's own error holds what displacements have in common.
    assert!(scale.offset.error_ev > 0.015, "{scale:?}");
}

#[test]
fn a_slope_is_found_where_there_is_one_and_the_references_are_exact() {
    let set = nvpf::reference_set();
    let flat = estimate(&Scene::new(12, 30, 3000.0, 0.2).stack(&set).0, &set);
    assert_eq!((flat.offset.slope, flat.correction.slope), (0.0, 0.0), "{flat:?}");
    let scene = Scene::new(13, 30, 3000.0, 0.2);
    let (mut stack, _) = scene.stack(&set);
    // The same counts under set-points that are farther off the higher they are.
    let slope = 0.012;
    let mut plan = stack.plan().as_ref().clone();
    plan.energies_ev.iter_mut().for_each(|e| *e -= slope * (*e - 519.0));
    let mut tilted = Stack::new(plan);
    for energy in 0..scene.energies_ev.len() {
        let values = stack.plane(energy).values().to_vec();
        tilted.push(energy as u64 + 1, &whole(energy, values.len(), values)).unwrap();
    }
    stack = tilted;
    let scale = estimate(&stack, &set);
    for (nominal_ev, true_ev) in stack.plan().energies_ev.iter().zip(&scene.energies_ev) {
        let left_ev = nominal_ev + scale.correction.at(*nominal_ev) - true_ev - 0.2;
        assert!(left_ev.abs() < 0.03, "{nominal_ev}: {left_ev} {scale:?}");
    }
    assert!((scale.offset.slope - slope).abs() < 3.0 * scale.offset.slope_error, "{scale:?}");
}

#[test]
fn a_measured_calibration_beats_the_fit() {
    let set = Arc::new(nvpf::reference_set());
    let scene = Scene::new(14, 30, 3000.0, 0.3);
    let (stack, _) = scene.stack(&set);
    let calibrated = |true_ev: f64, mode: OffsetMode| {
        let calibration = Correction::calibrated(&[[515.0, true_ev]]);
        settle(&stack, &Recipe { calibration, ..recipe(&set, mode) }, None).map.origin
    };
    let right = calibrated(515.3, OffsetMode::Report);
    assert!((right.correction_ev - 0.3).abs() < 1e-9 && !right.energy_offset.is_at_odds(), "{right:?}");
    assert!((right.energy_offset.offset_ev - 0.3).abs() < 0.03, "the fit tells the whole");
    assert!((right.corrected_ev[0] - scene.energies_ev[0] - 0.3).abs() < 1e-9);
    let wrong = calibrated(515.1, OffsetMode::Correct);
    assert!((wrong.correction_ev - 0.1).abs() < 1e-9, "{wrong:?}");
    assert!(wrong.energy_offset.is_at_odds() && wrong.energy_offset.is_alarming());
    let told = &wrong.normalisation.iter().find(|(name, _)| name == "energy_offset").unwrap().1;
    assert!(told.contains("at odds"), "{told}");
}
