//! The live map: running sums that follow the stack as it grows, and generations made from them.
//!
//! The map is told what changed in the stack; it converts those values, old and new, and updates the sums. Where
//! an estimate moved far enough (another empty region, another I0 of a plane) the planes concerned are taken out
//! and put in again. What it holds is always what the two-pass values of [`super::settle`] would be, to the
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
use super::settled::{Recipe, name_model, origin};
use super::view::DensityView;
use super::{Correction, EnergyScale, PhaseMap, RevisionReason, Targets, estimate_energies};
use crate::absorption::{Conversion, Intensity, PlaneIntensity, energies_ev, noise_factor};
use crate::stack::{PlaneChange, Stack};

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
    intensity: Intensity,
    /// The I0 that the sums were made with.
    applied: Vec<PlaneIntensity>,
    noise_factor: f64,
    compositions: Compositions,
    /// What the pixels say together, since the last search for an empty region.
    population: Option<Population>,
    scale: EnergyScale,
    energies_done: usize,
    /// Number of complete planes at the last search for an empty region.
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
            intensity: Intensity::default(),
            applied: vec![PlaneIntensity::Unknown; plan.energies_ev.len()],
            noise_factor: 1.0,
            compositions: Compositions::new(targets.phases()),
            population: None,
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
        map.estimate(stack, true, &[]);
        map.generation = generation;
        map.rebuild(stack, &map.scale.applied(map.recipe.offset));
        map
    }

    /// Makes all sums anew, under the estimates as they are, with the energies corrected by `correction`.
    fn rebuild(&mut self, stack: &Stack, correction: &Correction) {
        let energies_ev = energies_ev(stack, self.recipe.absorption.read_back);
        self.targets = Targets::corrected(&self.recipe.references, &energies_ev, correction);
        let pixels = self.seen.len();
        self.correlator = Correlator::new(pixels, &self.targets, self.recipe.baseline);
        self.evidence = Evidence::new(pixels, self.targets.phases());
        self.seen.fill(0);
        self.measured.fill(0);
        self.applied.fill(PlaneIntensity::Unknown);
        (0..self.applied.len()).for_each(|energy| self.apply_plane(stack, energy, Work::All));
    }

    /// The stack under the estimates of this map.
    #[must_use]
    pub fn view<'a>(&self, stack: &'a Stack) -> DensityView<'a> {
        DensityView::new(stack, &self.intensity, self.recipe.absorption.max_od, self.noise_factor)
    }

    /// The references at the energies of the plan, as the sums have them.
    #[must_use]
    pub fn targets(&self) -> &Targets {
        &self.targets
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
        let changed: Vec<usize> = changes.iter().map(|change| change.energy).collect();
        let replaced = self.estimate(stack, late, &changed);
        if let Some(correction) = self.other_correction(stack) {
            self.rebuild(stack, &correction);
            return RevisionReason::Offset;
        }
        let mut pending = changes.iter().peekable();
        for energy in 0..energies {
            let change = pending.next_if(|change| change.energy == energy);
            if let Some(change) = change {
                self.apply_plane(stack, energy, Work::Changed(change));
            } else if !same_intensity(self.applied[energy], self.intensity.plane(energy)) {
                self.apply_plane(stack, energy, Work::Revised);
            }
        }
        match (replaced, late) {
            (true, _) => RevisionReason::I0,
            (false, true) => RevisionReason::LateData,
            (false, false) => RevisionReason::Energy,
        }
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
    fn estimate(&mut self, stack: &Stack, late: bool, changed_planes: &[usize]) -> bool {
        let complete = stack.planes().iter().filter(|p| p.measured() == stack.plan().grid.pixels()).count();
        // At first after each energy, later each time the stack has grown by an eighth; once more when it is
        // whole, so that the live map ends where the settled one is; and when values were replaced.
        let whole = complete > self.searched_at && complete == stack.plan().energies_ev.len();
        let due = late || whole || complete >= self.searched_at + 1 + self.searched_at / 8;
        let mut changed = false;
        if self.generation == 0 || due {
            let estimate = Intensity::estimate(stack, &self.recipe.absorption);
            changed = self.generation > 0
                && (estimate.source() != self.intensity.source()
                    || estimate.region() != self.intensity.region());
            self.intensity = estimate;
            self.searched_at = complete;
        } else {
            self.intensity.refresh(stack, &self.recipe.absorption, changed_planes);
        }
        let energies_done = stack.energies_done();
        if energies_done != self.energies_done || changed || whole {
            self.energies_done = energies_done;
            self.noise_factor = noise_factor(stack, &self.intensity, self.recipe.absorption.max_od);
        }
        if due {
            self.population = None;
            let energies_ev = energies_ev(stack, self.recipe.absorption.read_back);
            let (view, recipe) = (self.view(stack), &self.recipe);
            self.scale = estimate_energies(
                &view,
                &recipe.references,
                &energies_ev,
                &recipe.triage,
                recipe.calibration.as_ref(),
            );
        }
        changed
    }

    /// Brings the sums of one plane up to date: the pixels that changed, or all where its I0 moved.
    fn apply_plane(&mut self, stack: &Stack, energy: usize, work: Work<'_>) {
        let plane = stack.plane(energy);
        if plane.measured() == 0 {
            return;
        }
        let moved = !same_intensity(self.applied[energy], self.intensity.plane(energy));
        let intensity = if moved { self.intensity.plane(energy) } else { self.applied[energy] };
        let max_od = self.recipe.absorption.max_od;
        let before = Conversion::new(stack.plan(), energy, self.applied[energy], max_od);
        let now = Conversion::new(stack.plan(), energy, intensity, max_od);
        let (span, displaced) = match work {
            Work::Changed(change) if !moved => (span(change), &change.displaced[..]),
            Work::Changed(change) => (0..plane.values().len(), &change.displaced[..]),
            Work::All | Work::Revised => (0..plane.values().len(), &[][..]),
        };
        let buffers = &mut self.buffers;
        buffers.reset(span.len());
        let held = |pixel: usize| match work {
            Work::All => false,
            Work::Changed(change) => !change.pixels.contains(pixel),
            Work::Revised => true,
        };
        buffers.par_chunks().enumerate().for_each(|(chunk, (old_od, old_variance, od, variance))| {
            for i in 0..od.len() {
                let pixel = span.start + chunk * CHUNK + i;
                let (value, i0) = (plane.value(pixel), plane.i0_at(pixel));
                let density = now.apply(value, i0);
                (od[i], variance[i]) = (density.od, density.variance);
                if held(pixel) {
                    let density = before.apply(value, i0);
                    (old_od[i], old_variance[i]) = (density.od, density.variance);
                }
            }
        });
        for displaced in displaced {
            let i = displaced.pixel as usize - span.start;
            let density = before.apply(displaced.value, displaced.i0);
            (buffers.old_od[i], buffers.old_variance[i]) = (density.od, density.variance);
            self.measured[displaced.pixel as usize] -= 1;
        }
        for (i, pixel) in span.clone().enumerate() {
            if !held(pixel) && !plane.value(pixel).is_nan() {
                self.measured[pixel] += 1;
            }
            let grown =
                u16::from(!buffers.od[i].is_nan()).wrapping_sub(u16::from(!buffers.old_od[i].is_nan()));
            self.seen[pixel] = self.seen[pixel].wrapping_add(grown);
        }
        let Buffers { old_od, old_variance, od, variance } = buffers;
        self.correlator.replace(&self.targets, energy, span.start, old_od, od);
        let old = Values { od: old_od, variance: old_variance };
        self.evidence.replace(&self.targets, energy, span.start, Some(old), Values { od, variance });
        self.applied[energy] = intensity;
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
                let seen = self.seen[pixel];
                let contrast = match contrast.last(reader.all_the_same()) {
                    Some(table) => Arc::clone(table),
                    None => Arc::clone(contrast.of(targets, reader.energies(pixel))),
                };
                Measured { sums, seen, masked: self.measured[pixel] - seen, contrast }
            },
        );
        let mut origin =
            origin(stack, &self.recipe, targets, (&self.intensity, self.noise_factor, self.scale.offset));
        origin.generation = self.generation;
        origin.revision_reason = reason;
        origin.complete = false;
        name_model(&mut origin, model.as_deref());
        let (mut map, open) = measured.judge(plan.clone(), targets, triage, origin);
        let view = DensityView::new(stack, &self.intensity, self.recipe.absorption.max_od, self.noise_factor);
        let compositions = &self.compositions;
        let scene = Scene { measured: &measured, view: &view, targets, compositions, settings: triage };
        let outcome = consult(&mut map, &open, &mut self.population, &scene, model.take());
        (map, outcome.err())
    }
}

fn same_intensity(a: PlaneIntensity, b: PlaneIntensity) -> bool {
    match (a, b) {
        (PlaneIntensity::One { i0: a, .. }, PlaneIntensity::One { i0: b, .. }) => {
            (a - b).abs() <= I0_TOLERANCE * a.abs()
        }
        (a, b) => a == b,
    }
}

/// The pixels from the first that changed to the last.
fn span(change: &PlaneChange) -> std::ops::Range<usize> {
    let mut pixels = change.pixels.iter();
    let Some(first) = pixels.next() else { return 0..0 };
    first..pixels.last().unwrap_or(first) + 1
}
