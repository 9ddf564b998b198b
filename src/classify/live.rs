//! The live map: running sums that follow the stack as it grows, and generations made from them.
//!
//! The map is told what changed in the stack; it converts those values, old and new, and updates the sums. Where
//! an estimate moved far enough (another empty region, another I0 of a plane) the planes concerned are taken out
//! and put in again. Where the sample drifts the planes are those of the registered stack: one that moves is taken
//! out as it was and put in as it is now. What it holds is always what the two-pass values of [`super::settle`] would be, to the
//! digits of `f32`.

use std::sync::Arc;

use rayon::prelude::*;

use super::composition::Compositions;
use super::consult::{PosteriorModel, consult};
use super::contrast::Contrast;
use super::correlation::Correlator;
use super::evidence::{Evidence, Values};
use super::judged::{Measured, MeasuredPixels};
use super::look::Scene;
use super::population::Population;
use super::repeats::{Change, RunningMeans};
use super::settled::{Recipe, name_model, origin};
use super::view::DensityView;
use super::{Correction, EnergyScale, PhaseMap, RevisionReason, Targets, estimate_energies};
use crate::absorption::{
    AbsorptionSettings, Conversion, Intensity, PlaneIntensity, Treatment, energies_ev, noise_factor,
};
use crate::registration::{Moved, Registrar};
use crate::screening::Screen;
use crate::stack::{Plane, PlaneChange, Stack};

mod optics;
mod refined;

/// Relative change of a plane's I0 below which its optical densities stay as they are: a tenth of the noise of a
/// pixel of 10^6 photons.
const I0_TOLERANCE: f64 = 1e-4;

/// Change of a read-back energy below which the references stay as they are: a fifth of the finest step of a scan.
const ENERGY_TOLERANCE_EV: f64 = 0.01;

/// Change of the correction of the energies below which a growing map stays as it is, eV: as well as a scan of 30
/// energies tells it.
const OFFSET_TOLERANCE_EV: f64 = 0.02;

/// Running state of one scan's map.
#[derive(Debug)]
pub struct LiveMap {
    recipe: Recipe,
    targets: Targets,
    correlator: Correlator,
    evidence: Evidence,
    seen: Vec<u16>,
    measured: Vec<u16>,
    /// Energies that were measured more than once.
    means: RunningMeans,
    intensity: Intensity,
    screen: Screen,
    /// The I0 and the mask that the sums were made with.
    applied: Vec<Treatment>,
    noise_factor: f64,
    compositions: Compositions,
    /// What the pixels say together, since the last search for an empty region.
    population: Option<Population>,
    registrar: Registrar,
    /// Energies that changed since all displacements were due to be estimated; `None` where they are not.
    overdue: Option<Vec<usize>>,
    scale: EnergyScale,
    energies_done: usize,
    /// Number of values at the last search for an empty region.
    searched_at: usize,
    generation: u64,
    buffers: Buffers,
}

/// What is to be done with a plane.
#[derive(Clone, Copy)]
enum Work<'a> {
    /// Nothing of it is in the sums yet.
    All,
    /// These pixels are new or other ones.
    Changed(&'a PlaneChange),
    /// Its I0 moved.
    Revised,
    /// It was this one before.
    Exchanged(&'a Plane),
}

/// Pixels that one thread converts at a time.
const CHUNK: usize = 8192;

/// Optical densities of one plane before and after, kept from plane to plane.
#[derive(Debug, Default)]
struct Buffers {
    old_od: Vec<f32>,
    old_variance: Vec<f32>,
    od: Vec<f32>,
    variance: Vec<f32>,
}

type BufferChunk<'a> = (&'a mut [f32], &'a mut [f32], &'a mut [f32], &'a mut [f32]);

impl Buffers {
    fn reset(&mut self, pixels: usize) {
        for buffer in [&mut self.old_od, &mut self.old_variance, &mut self.od, &mut self.variance] {
            buffer.clear();
            buffer.resize(pixels, f32::NAN);
        }
    }

    fn par_chunks(&mut self) -> impl IndexedParallelIterator<Item = BufferChunk<'_>> {
        let old = self.old_od.par_chunks_mut(CHUNK).zip(self.old_variance.par_chunks_mut(CHUNK));
        let new = self.od.par_chunks_mut(CHUNK).zip(self.variance.par_chunks_mut(CHUNK));
        old.zip(new).map(|((old_od, old_variance), (od, variance))| (old_od, old_variance, od, variance))
    }
}

impl LiveMap {
    /// An empty map for the plan of `stack`.
    #[must_use]
    pub fn new(stack: &Stack, recipe: Recipe) -> Self {
        let plan = stack.plan();
        let energies_ev = energies_ev(stack, recipe.absorption.read_back);
        let targets = Targets::new(&recipe.references, &energies_ev);
        let pixels = plan.grid.pixels();
        Self {
            correlator: Correlator::new(pixels, &targets, recipe.baseline),
            evidence: Evidence::new(pixels, targets.phases()),
            seen: vec![0; pixels],
            measured: vec![0; pixels],
            means: RunningMeans::new(&plan.energies_ev, pixels),
            intensity: Intensity::default(),
            screen: Screen::default(),
            applied: vec![Treatment::default(); plan.energies_ev.len()],
            noise_factor: 1.0,
            compositions: Compositions::new(targets.phases()),
            population: None,
            registrar: Registrar::new(stack, recipe.registration),
            overdue: None,
            scale: EnergyScale::default(),
            energies_done: 0,
            searched_at: 0,
            generation: 0,
            buffers: Buffers::default(),
            targets,
            recipe,
        }
    }

    /// The map of everything that `stack` holds, its changes taken or not; `generation` were made before.
    #[must_use]
    pub fn of(stack: &Stack, recipe: Recipe, generation: u64) -> Self {
        let mut map = Self::new(stack, recipe);
        let all: Vec<usize> = (0..map.applied.len()).filter(|&e| stack.plane(e).measured() > 0).collect();
        map.screen.refresh(stack, &map.recipe.absorption.detector, &all);
        map.step(stack, &all, true);
        map.estimate(stack, true, &[]);
        map.generation = generation;
        map.rebuild(stack, &map.scale.applied(map.recipe.offset));
        map
    }

    /// Makes all sums anew, under the estimates as they are, with the energies corrected by `correction`.
    fn rebuild(&mut self, raw: &Stack, correction: &Correction) {
        let registrar = std::mem::take(&mut self.registrar);
        let stack = registrar.stack(raw);
        let energies_ev = energies_ev(stack, self.recipe.absorption.read_back);
        self.targets = Targets::corrected(&self.recipe.references, &energies_ev, correction);
        let pixels = self.seen.len();
        self.correlator = Correlator::new(pixels, &self.targets, self.recipe.baseline);
        self.evidence = Evidence::new(pixels, self.targets.phases());
        self.seen.fill(0);
        self.measured.fill(0);
        self.means = RunningMeans::new(&stack.plan().energies_ev, pixels);
        self.applied.fill(Treatment::default());
        (0..self.applied.len()).for_each(|energy| self.apply_plane(stack, energy, Work::All));
        self.registrar = registrar;
    }

    /// The number of values, and whether estimates of the whole stack are due: at first after each image, later each
    /// time the stack has grown by an eighth; once more when it is whole, so that the live map ends where the settled
    /// one is; and when values were replaced.
    fn due(&self, raw: &Stack, late: bool) -> (usize, bool) {
        let measured = raw.measured();
        let whole = measured > self.searched_at && raw.is_full();
        let (now, then) = (images(raw, measured), images(raw, self.searched_at));
        (measured, late || whole || now >= then + 1 + then / 8)
    }

    /// The stack, as it was measured, under the estimates of this map.
    #[must_use]
    pub fn view<'a>(&'a self, raw: &'a Stack) -> DensityView<'a> {
        let stack = self.registrar.stack(raw);
        DensityView::new(stack, &self.intensity, self.recipe.absorption.max_od, self.noise_factor)
    }

    /// The references at the energies of the plan, as the sums have them.
    #[must_use]
    pub fn targets(&self) -> &Targets {
        &self.targets
    }

    /// Whether the image at an energy lies where it belongs, as well as can be told of it.
    #[must_use]
    pub fn is_in_place(&self, energy: usize) -> bool {
        self.registrar.is_in_place(energy)
    }

    /// Number of the last generation.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// The intensity as it is estimated now.
    #[must_use]
    pub fn intensity(&self) -> &Intensity {
        &self.intensity
    }

    /// Takes in what changed; `stack` already has the changes. Returns why the next generation will differ.
    pub fn advance(&mut self, stack: &Stack, changes: &[PlaneChange]) -> RevisionReason {
        let energies = stack.plan().energies_ev.len();
        if energies != self.applied.len() || self.energies_moved(stack) {
            // The references are centred over the scan's energies: other energies, other sums.
            *self = Self::of(stack, self.recipe.clone(), self.generation);
            return RevisionReason::Energy;
        }
        let late = changes.iter().any(|change| !change.displaced.is_empty());
        let mut changed: Vec<usize> = changes.iter().map(|change| change.energy).collect();
        changed.extend(self.screen.refresh(stack, &self.recipe.absorption.detector, &changed));
        changed.sort_unstable();
        changed.dedup();
        let moved = self.register(stack, late, &changed);
        if let Moved::Planes(planes) = &moved {
            changed.extend(planes.iter().map(|(energy, _)| *energy));
            changed.sort_unstable();
            changed.dedup();
        }
        self.take_in(stack, changes, &moved, &changed)
    }

    /// Brings the sums of all planes up to date.
    fn apply(&mut self, raw: &Stack, changes: &[PlaneChange], moved: &Moved) {
        let registrar = std::mem::take(&mut self.registrar);
        let stack = registrar.stack(raw);
        let exchanged: &[(usize, Arc<Plane>)] = if let Moved::Planes(planes) = moved { planes } else { &[] };
        let (mut pending, mut exchanged) = (changes.iter().peekable(), exchanged.iter().peekable());
        for energy in 0..self.applied.len() {
            let change = pending.next_if(|change| change.energy == energy);
            let before = exchanged.next_if(|(exchanged, _)| *exchanged == energy);
            if let Some((_, before)) = before {
                self.apply_plane(stack, energy, Work::Exchanged(before));
            } else if let Some(change) = change {
                self.apply_plane(stack, energy, Work::Changed(change));
            } else if !same_treatment(&self.applied[energy], &self.intensity.treatment(energy)) {
                self.apply_plane(stack, energy, Work::Revised);
            }
        }
        self.registrar = registrar;
    }

    /// Whether the read-back energies, where they are used, are others than those of the sums.
    fn energies_moved(&self, stack: &Stack) -> bool {
        self.recipe.absorption.read_back
            && energies_ev(stack, true)
                .iter()
                .zip(&self.targets.uncorrected_ev)
                .any(|(now, before)| (now - before).abs() > ENERGY_TOLERANCE_EV)
    }

    /// What the energies are to be corrected by, where that is other than what they are corrected by.
    ///
    /// While the scan grows, small moves wait, and so do those within the error; when it is whole, the correction is
    /// that of the settled map.
    fn other_correction(&self, stack: &Stack) -> Option<Correction> {
        let now = self.scale.applied(self.recipe.offset);
        if stack.is_full() {
            return (now != self.targets.correction).then_some(now);
        }
        let moved_ev = now.distance_ev(&self.targets.correction, &self.targets.uncorrected_ev);
        let offset = &self.scale.offset;
        let within = moved_ev <= offset.error_ev && offset.calibrated_ev.is_none();
        let far = moved_ev > OFFSET_TOLERANCE_EV && (now.is_none() || !within);
        far.then_some(now)
    }

    /// Estimates I0 and noise anew where that is due. Returns whether an estimate that was in use was replaced.
    fn estimate(&mut self, raw: &Stack, late: bool, changed_planes: &[usize]) -> bool {
        let (measured, due) = self.due(raw, late);
        let whole = measured > self.searched_at && raw.is_full();
        let registrar = std::mem::take(&mut self.registrar);
        let stack = registrar.stack(raw);
        let mut changed = false;
        let (absorption, screen) = (&self.recipe.absorption, self.screen.on(raw, stack));
        if self.generation == 0 || due {
            // Only a whole stack is searched as the settled map searches it; until then a good region is kept.
            let estimate = if whole || self.generation == 0 {
                Intensity::estimate(stack, &screen, absorption)
            } else {
                Intensity::follow(stack, &screen, absorption, &self.intensity)
            };
            changed = self.generation > 0
                && (estimate.source() != self.intensity.source()
                    || estimate.region() != self.intensity.region());
            self.intensity = estimate;
            self.searched_at = measured;
        } else {
            self.intensity.refresh(stack, &screen, absorption, changed_planes);
        }
        let energies_done = stack.energies_done();
        if energies_done != self.energies_done || changed || due {
            self.energies_done = energies_done;
            self.noise_factor = noise_factor(stack, &self.intensity, self.recipe.absorption.max_od);
        }
        if due {
            self.population = None;
            let energies_ev = energies_ev(stack, self.recipe.absorption.read_back);
            let max_od = self.recipe.absorption.max_od;
            let view = DensityView::new(stack, &self.intensity, max_od, self.noise_factor);
            let recipe = &self.recipe;
            self.scale = estimate_energies(
                &view,
                &recipe.references,
                &energies_ev,
                &recipe.triage,
                recipe.calibration.as_ref(),
            );
        }
        self.registrar = registrar;
        changed
    }

    /// Brings the sums of one plane up to date: the pixels that changed, or all where its I0 moved.
    fn apply_plane(&mut self, stack: &Stack, energy: usize, work: Work<'_>) {
        let plane = stack.plane(energy);
        let former = if let Work::Exchanged(former) = work { former } else { plane };
        if plane.measured() == 0 && former.measured() == 0 {
            return;
        }
        let moved = !same_treatment(&self.applied[energy], &self.intensity.treatment(energy));
        let was = self.applied[energy].clone();
        let treatment = if moved { self.intensity.treatment(energy) } else { was.clone() };
        let AbsorptionSettings { max_od, detector, .. } = &self.recipe.absorption;
        let before = Conversion::new(stack.plan(), energy, was, detector, *max_od).of_plane(former);
        let now = Conversion::new(stack.plan(), energy, treatment.clone(), detector, *max_od).of_plane(plane);
        let (span, displaced) = match work {
            Work::Changed(change) if !moved => (span(change), &change.displaced[..]),
            Work::Changed(change) => (0..plane.values().len(), &change.displaced[..]),
            Work::All | Work::Revised => (0..plane.values().len(), &[][..]),
            Work::Exchanged(_) => (0..stack.plan().grid.pixels(), &[][..]),
        };
        let buffers = &mut self.buffers;
        buffers.reset(span.len());
        let held = |pixel: usize| match work {
            Work::All => false,
            Work::Changed(change) => !change.pixels.contains(pixel),
            Work::Revised | Work::Exchanged(_) => true,
        };
        buffers.par_chunks().enumerate().for_each(|(chunk, (old_od, old_variance, od, variance))| {
            for i in 0..od.len() {
                let pixel = span.start + chunk * CHUNK + i;
                let (value, i0) = (plane.value(pixel), plane.i0_at(pixel));
                let density = now.apply(pixel, value, i0);
                (od[i], variance[i]) = (density.od, density.variance);
                if held(pixel) {
                    let (value, i0) = (former.value(pixel), former.i0_at(pixel));
                    let density = before.apply(pixel, value, i0);
                    (old_od[i], old_variance[i]) = (density.od, density.variance);
                }
            }
        });
        for displaced in displaced {
            let i = displaced.pixel as usize - span.start;
            let density = before.apply(displaced.pixel as usize, displaced.value, displaced.i0);
            (buffers.old_od[i], buffers.old_variance[i]) = (density.od, density.variance);
            self.measured[displaced.pixel as usize] -= 1;
        }
        for (i, pixel) in span.clone().enumerate() {
            let known = held(pixel) && !former.value(pixel).is_nan();
            match (known, !plane.value(pixel).is_nan()) {
                (false, true) => self.measured[pixel] += 1,
                (true, false) => self.measured[pixel] -= 1,
                _ => {}
            }
            let grown =
                u16::from(!buffers.od[i].is_nan()).wrapping_sub(u16::from(!buffers.old_od[i].is_nan()));
            self.seen[pixel] = self.seen[pixel].wrapping_add(grown);
        }
        let Buffers { old_od, old_variance, od, variance } = buffers;
        // Of an energy that is there more than once the sums hold the mean.
        let at = self.means.take(energy, span.start, Change { old_od, old_variance, od, variance });
        self.correlator.replace(&self.targets, at, span.start, old_od, od);
        let old = Values { od: old_od, variance: old_variance };
        self.evidence.replace(&self.targets, at, span.start, Some(old), Values { od, variance });
        self.applied[energy] = treatment;
    }

    /// Makes the next generation of the map. `model` looks at the ambiguous pixels.
    ///
    /// Returns what the model said where it failed, beside a map without it.
    pub fn generation_of(
        &mut self,
        stack: &Stack,
        reason: RevisionReason,
        mut model: Option<&mut (dyn PosteriorModel + '_)>,
    ) -> (PhaseMap, Option<String>) {
        self.generation += 1;
        let plan = stack.plan();
        let noise = self.noise_factor as f32;
        let (correlator, targets) = (&self.correlator, &self.targets);
        let triage = &self.recipe.triage;
        let max_od = self.recipe.absorption.max_od;
        let view = DensityView::new(self.registrar.stack(stack), &self.intensity, max_od, self.noise_factor);
        let measured = MeasuredPixels::collect(
            plan.grid.pixels(),
            targets,
            triage,
            plan.detector.counts_per_photon.is_some(),
            || (correlator.reader(targets), Contrast::default()),
            |(reader, contrast), pixel, correlations, chi2| {
                let mut sums = reader.read(pixel, correlations);
                let (signal, amount) = self.evidence.read(pixel, chi2);
                (sums.signal, sums.amount) = (signal / noise, amount);
                chi2.iter_mut().for_each(|chi2| *chi2 /= noise);
                let (seen, masked) =
                    (self.seen[pixel] - self.means.excess(pixel), self.measured[pixel] - self.seen[pixel]);
                let contrast = match contrast.last(reader.all_the_same()) {
                    Some(table) => Arc::clone(table),
                    None => Arc::clone(contrast.of(targets, reader.energies(pixel))),
                };
                Measured { sums, seen, masked, void: view.void(pixel), contrast }
            },
        );
        let drift = self.registrar.drift();
        let mut origin = origin(
            stack,
            &self.recipe,
            targets,
            (&self.intensity, self.noise_factor, self.scale.offset),
            drift,
        );
        origin.generation = self.generation;
        origin.revision_reason = reason;
        (origin.complete, origin.settled) = (false, false);
        name_model(&mut origin, model.as_deref());
        let (mut map, open) = measured.judge(plan.clone(), targets, triage, origin);
        let compositions = &self.compositions;
        let scene = Scene { measured: &measured, view: &view, targets, compositions, settings: triage };
        let outcome = consult(&mut map, &open, &mut self.population, &scene, model.take());
        (map, outcome.err())
    }
}

/// How many images so many values come to. An image of a sparse scan has as many as the fullest one, once there are
/// others to compare with.
fn images(stack: &Stack, values: usize) -> usize {
    let fullest = stack.planes().iter().map(|plane| plane.measured()).max().unwrap_or(0);
    let image = if stack.energies_done() > 1 { fullest } else { stack.plan().grid.pixels() };
    values / image.max(1)
}

fn same_treatment(a: &Treatment, b: &Treatment) -> bool {
    use PlaneIntensity::One;
    let same_i0 = match (&a.intensity, &b.intensity) {
        (One { i0: a, beam: x, .. }, One { i0: b, beam: y, .. }) => {
            (a - b).abs() <= I0_TOLERANCE * a.abs() && x == y
        }
        (a, b) => a == b,
    };
    same_i0 && a.flaws == b.flaws && a.quiet_dark == b.quiet_dark
}

/// The pixels from the first that changed to the last.
fn span(change: &PlaneChange) -> std::ops::Range<usize> {
    let mut pixels = change.pixels.iter();
    let Some(first) = pixels.next() else { return 0..0 };
    first..pixels.last().unwrap_or(first) + 1
}
