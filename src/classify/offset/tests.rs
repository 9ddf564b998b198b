//! Offsets of simulated scans.

use std::sync::Arc;

use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution as _, Poisson};

use super::*;
use crate::absorption::{AbsorptionSettings, Intensity, noise_factor};
use crate::classify::correlation::Baseline;
use crate::classify::{PhaseMap, PosteriorModel, Recipe, settle};
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
        values,
        i0: I0::None,
        ring_current_ma: None,
        energy_ev: None,
        time: None,
    }
}

/// The offset of a stack, estimated as for a settled map.
pub(super) fn estimate(stack: &Stack, set: &ReferenceSet) -> EnergyOffset {
    let absorption = AbsorptionSettings { max_od: 4.0, ..AbsorptionSettings::default() };
    let intensity = Intensity::estimate(stack, &crate::screening::Screen::default(), &absorption);
    let noise = noise_factor(stack, &intensity, absorption.max_od);
    let view = DensityView::new(stack, &intensity, absorption.max_od, noise);
    estimate_offset(&view, set, &stack.plan().energies_ev, &TriageSettings::default())
}

#[test]
fn an_offset_is_recovered_where_the_references_are_exact() {
    let set = nvpf::reference_set();
    for (seed, offset_ev) in [0.0, 0.1, 0.3, -0.7, 1.0].into_iter().enumerate() {
        let (stack, _) = Scene::new(seed as u64, 30, 1000.0, offset_ev).stack(&set);
        let found = estimate(&stack, &set);
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
    let found = estimate(&stack, &set);
    assert!((found.offset_ev + 0.4).abs() < 0.03 && found.is_trusted(), "{found:?}");
    let targets = Targets::corrected(&set, &scene.energies_ev, found.offset_ev);
    assert!(targets.used.iter().all(|used| *used) && targets.unused_ev().is_empty());
    let beyond = Targets::corrected(&set, &[505.0, 515.0], 0.1);
    assert_eq!((beyond.used, beyond.energies_ev), (vec![false, true], vec![505.1, 515.1]));
}

#[test]
fn an_offset_is_not_trusted_where_nothing_tells_it() {
    let set = nvpf::reference_set();
    let doubt = |scene: &Scene| estimate(&scene.stack(&set).0, &set).doubt;
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
    assert_eq!(foreign.correction_ev(OffsetMode::Correct), 0.0, "{foreign:?}");
}

/// Run by hand: accuracy of the settled map by offset, corrected and not.
#[test]
#[ignore = "a measurement, not a test: some minutes"]
fn accuracy_by_offset() {
    let set = Arc::new(nvpf::reference_set());
    let draws: u64 = std::env::var("DRAWS").ok().and_then(|d| d.parse().ok()).unwrap_or(4);
    for mismatched in [false, true] {
        for energies in [8, 12, 30] {
            for counts in [300.0, 1000.0, 3000.0] {
                let mut line = format!("{mismatched:8} {energies:8} {counts:6} |");
                for offset_ev in [0.0, 0.1, 0.2, 0.3] {
                    let mut sums = [0.0; 2];
                    for draw in 0..draws {
                        let mut scene = Scene::new(100 + draw, energies, counts, offset_ev);
                        scene.mismatched = mismatched;
                        sums[0] += accuracy(&scene, &set, OffsetMode::Report).0;
                        sums[1] += accuracy(&scene, &set, OffsetMode::Correct).0;
                    }
                    let [reported, corrected] = sums.map(|sum| sum / draws as f64);
                    line += &format!("  {offset_ev}: {reported:.3} {corrected:.3}");
                }
                eprintln!("{line}");
            }
        }
    }
}

/// Run by hand: how well offsets are recovered, by counts and energies.
#[test]
#[ignore = "a measurement, not a test: some minutes"]
fn recovery() {
    let set = nvpf::reference_set();
    let draws: u64 = std::env::var("DRAWS").ok().and_then(|d| d.parse().ok()).unwrap_or(10);
    let subsets: [&[usize]; 4] = [&[0, 1, 2, 3, 4], &[0, 2], &[1], &[2, 3, 4]];
    eprintln!(
        "mismatch phases energies counts | rms   worst  error | in 1s in 2s | untrusted, wrong-but-trusted"
    );
    for mismatched in [false, true] {
        for (index, phases) in subsets.iter().enumerate() {
            for energies in [8, 12, 30] {
                for counts in [300.0, 1000.0, 3000.0] {
                    let mut found = Vec::new();
                    for draw in 0..draws {
                        for (i, size) in [0.0, 0.1, 0.3, 0.7, 1.0].into_iter().enumerate() {
                            let seed = draw * 1000 + 10 * i as u64 + index as u64;
                            let offset_ev = if draw % 2 == 0 { size } else { -size };
                            let mut scene = Scene::new(seed, energies, counts, offset_ev);
                            (scene.mismatched, scene.phases) = (mismatched, phases.to_vec());
                            let estimate = estimate(&scene.stack(&set).0, &set);
                            found.push((estimate.offset_ev - offset_ev, estimate));
                        }
                    }
                    tell(mismatched, phases, energies, counts, &found);
                }
            }
        }
    }
}

fn tell(mismatched: bool, phases: &[usize], energies: usize, counts: f64, found: &[(f64, EnergyOffset)]) {
    let trusted: Vec<_> = found.iter().filter(|(_, e)| e.is_trusted()).collect();
    let n = trusted.len().max(1) as f64;
    let rms = (trusted.iter().map(|(d, _)| d * d).sum::<f64>() / n).sqrt();
    let worst = trusted.iter().map(|(d, _)| d.abs()).fold(0.0, f64::max);
    let error = trusted.iter().map(|(_, e)| e.error_ev).sum::<f64>() / n;
    let within = |k: f64| trusted.iter().filter(|(d, e)| d.abs() <= k * e.error_ev).count() as f64 / n;
    let wrong = trusted.iter().filter(|(d, _)| d.abs() > 0.1).count();
    let phases: String = phases.iter().map(|k| k.to_string()).collect();
    eprintln!(
        "{mismatched:8} {phases:>6} {energies:8} {counts:6} | {rms:.3} {worst:.3} {error:.3} | {:.2} {:.2} | {} {} of {}",
        within(1.0),
        within(2.0),
        found.len() - trusted.len(),
        wrong,
        found.len()
    );
    if std::env::var("EACH").is_ok() {
        for (error, estimate) in found {
            eprintln!("    {error:+.3} {}", estimate.describe());
        }
    }
}

/// Run by hand: the time an estimate takes.
#[test]
#[ignore = "a measurement, not a test"]
fn time_of_an_estimate() {
    let set = nvpf::reference_set();
    for energies in [30, 75] {
        let mut scene = Scene::new(1, energies, 1000.0, 0.2);
        scene.size = 256;
        let stack = scene.stack(&set).0;
        let absorption = AbsorptionSettings { max_od: 4.0, ..AbsorptionSettings::default() };
        let intensity = Intensity::estimate(&stack, &crate::screening::Screen::default(), &absorption);
        let view = DensityView::new(&stack, &intensity, absorption.max_od, 1.0);
        let mut times = Vec::new();
        for _ in 0..9 {
            let started = std::time::Instant::now();
            let found = estimate_offset(&view, &set, &stack.plan().energies_ev, &TriageSettings::default());
            times.push((started.elapsed().as_secs_f64() * 1e3, found.offset_ev));
        }
        times.sort_by(|a, b| a.0.total_cmp(&b.0));
        eprintln!("{energies} energies: {:?} ms (fastest, median, slowest)", [times[0], times[4], times[8]]);
    }
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
    let found = estimate(&stack, &set);
    eprintln!("{}", found.describe());
    for n in [6, 8, 12, 20] {
        let energies =
            crate::recording::select_energies(&recording.plan.energies_ev, &format!("count:{n}")).unwrap();
        let sparse = estimate(&stack_of(&recording.subset(&energies)), &set);
        eprintln!("{n}: {}", sparse.describe());
        // Corrected or not, it must not be moved far.
        assert!(sparse.correction_ev(OffsetMode::Correct).abs() < 0.1, "{n}: {sparse:?}");
    }
    assert!(found.offset_ev.abs() < 0.05, "{found:?}");
    for moved_ev in [-0.5, 0.3, 1.0] {
        let mut moved = set.clone();
        for reference in &mut moved.references {
            reference.energies_ev.iter_mut().for_each(|e| *e += moved_ev);
        }
        let found = estimate(&stack, &moved);
        eprintln!("{moved_ev}: {}", found.describe());
        assert!((found.offset_ev - moved_ev).abs() < 0.05, "{moved_ev}: {found:?}");
    }
}

/// Run by hand: what the correction costs by itself. The same counts, with the set-points as they were and with those
/// where the beam really was.
#[test]
#[ignore = "a measurement, not a test"]
fn accuracy_against_true_energies() {
    let set = Arc::new(nvpf::reference_set());
    for counts in [300.0, 1000.0, 3000.0] {
        for energies in [12, 30] {
            let mut sums = [0.0; 2];
            for draw in 0..4 {
                let scene = Scene::new(100 + draw, energies, counts, 0.3);
                let real_ev = scene.energies_ev.iter().map(|e| e + 0.3).collect();
                let known = Scene { energies_ev: real_ev, offset_ev: 0.0, ..scene.clone() };
                sums[0] += accuracy(&scene, &set, OffsetMode::Correct).0;
                sums[1] += accuracy(&known, &set, OffsetMode::Report).0;
            }
            let [corrected, known] = sums.map(|sum| sum / 4.0);
            eprintln!("{energies} {counts} | corrected {corrected:.4} true energies {known:.4}");
        }
    }
}
