//! The pixels of one generation: what was measured of each, the verdicts, and the phase map they make.

use std::sync::Arc;

use rayon::prelude::*;

use super::correlation::{BLOCK, PixelSums};
use super::misfit::Pool;
use super::triage::prejudge;
use super::{NO_PHASE, Origin, PhaseMap, Reading, Status, Targets, TriageSettings, Verdict, judge};
use crate::scan::ScanPlan;

/// The misfit, squared, that may hide where the noise had to be estimated from the same spectra.
const HIDDEN_MISFIT: f64 = 0.02;

/// Pixels that are judged before their verdicts are written down.
const PART: usize = 32 * BLOCK;

/// What was measured of one pixel.
#[derive(Clone, Debug, Default)]
pub(super) struct Measured {
    pub sums: PixelSums,
    pub seen: u16,
    pub masked: u16,
    /// How many of the masked say nothing of the sample: without beam, or of a spoilt line.
    pub void: u16,
    /// What the energies it has seen can tell, see [`super::contrast`].
    pub contrast: Arc<[f32]>,
}

/// Every pixel of one generation, before any verdict.
#[derive(Clone, Debug)]
pub(super) struct MeasuredPixels {
    pub pixels: Vec<Measured>,
    /// `[pixel * phases + phase]`.
    pub correlations: Vec<f32>,
    /// `[pixel * phases + phase]`.
    chi2: Vec<f32>,
    /// Relative misfit of the references in this scan, squared.
    pub misfit: f64,
    phases: usize,
}

impl MeasuredPixels {
    /// Reads all pixels, block by block in parallel, then estimates the misfit of the references. `noise_is_known`: it
    /// follows from the counts and was not estimated. `read` gets the
    /// pixel, room for its correlations and for its chi²; `state` makes what it keeps from pixel to pixel.
    pub(super) fn collect<S>(
        pixels: usize,
        targets: &Targets,
        settings: &TriageSettings,
        noise_is_known: bool,
        state: impl Fn() -> S + Sync + Send,
        read: impl Fn(&mut S, usize, &mut [f32], &mut [f32]) -> Measured + Sync + Send,
    ) -> Self {
        let phases = targets.phases();
        let mut correlations = vec![f32::NAN; pixels * phases];
        let mut chi2 = vec![f32::NAN; pixels * phases];
        let mut measured = vec![Measured::default(); pixels];
        measured
            .par_chunks_mut(BLOCK)
            .zip(correlations.par_chunks_mut(BLOCK * phases))
            .zip(chi2.par_chunks_mut(BLOCK * phases))
            .enumerate()
            .for_each_init(&state, |state, (block, ((measured, correlations), chi2))| {
                let rows = correlations.chunks_exact_mut(phases).zip(chi2.chunks_exact_mut(phases));
                for (i, (measured, (r, chi2))) in measured.iter_mut().zip(rows).enumerate() {
                    *measured = read(state, block * BLOCK + i, r, chi2);
                }
            });
        let pixels = measured;
        let mut measured = Self { pixels, correlations, chi2, misfit: 0.0, phases };
        let least = if noise_is_known { 0.0 } else { HIDDEN_MISFIT };
        measured.misfit = measured.estimate_misfit(targets, settings).max(least);
        measured
    }

    /// One pixel, as triage wants it.
    pub(super) fn reading(&self, pixel: usize) -> Reading<'_> {
        let row = pixel * self.phases..(pixel + 1) * self.phases;
        let Measured { sums, seen, masked, void, contrast } = &self.pixels[pixel];
        Reading {
            correlations: &self.correlations[row.clone()],
            chi2: &self.chi2[row.clone()],
            sums: *sums,
            seen: *seen,
            masked: *masked,
            void: *void,
            misfit: self.misfit,
            contrast,
        }
    }

    /// From every pixel that may be one phase: in order, so that the estimate is always the same.
    fn estimate_misfit(&self, targets: &Targets, settings: &TriageSettings) -> f64 {
        let mut pool = Pool::new(self.phases);
        for pixel in 0..self.pixels.len() {
            let reading = self.reading(pixel);
            let fits = reading.correlations.iter().any(|&r| r >= settings.min_correlation);
            if fits && prejudge(&reading, targets, settings).is_none() {
                pool.push(reading.chi2, reading.sums.signal, reading.scale().freedom);
            }
        }
        pool.relative()
    }

    /// The map of the first verdicts, and the pixels that are to be looked at again, in order: those with a best
    /// guess.
    pub(super) fn judge(
        &self,
        plan: Arc<ScanPlan>,
        targets: &Targets,
        settings: &TriageSettings,
        origin: Origin,
    ) -> (PhaseMap, Vec<usize>) {
        let mut map = PhaseMap::unmeasured(plan, targets.labels.clone(), origin);
        map.correlations.copy_from_slice(&self.correlations);
        let mut open = Vec::new();
        let mut verdicts: Vec<Verdict> = Vec::new();
        // In parts, to bound the memory of what is in between.
        for first in (0..self.pixels.len()).step_by(PART) {
            let part = first..(first + PART).min(self.pixels.len());
            part.into_par_iter()
                .with_min_len(BLOCK)
                .map(|pixel| judge(&self.reading(pixel), targets, settings))
                .collect_into_vec(&mut verdicts);
            for (pixel, verdict) in (first..).zip(&verdicts) {
                let measured = &self.pixels[pixel];
                map.edge_jump[pixel] = measured.sums.edge_jump;
                map.energies_seen[pixel] = measured.seen;
                map.energies_masked[pixel] = measured.masked;
                set_verdict(&mut map, pixel, verdict);
                let is_open = matches!(verdict.status, Status::Ambiguous | Status::Classified);
                if is_open && verdict.phase != NO_PHASE {
                    open.push(pixel);
                }
            }
        }
        (map, open)
    }
}

/// Writes a verdict into the map; `correlation` and `margin` follow from its phases.
pub(super) fn set_verdict(map: &mut PhaseMap, pixel: usize, verdict: &Verdict) {
    let k = map.phases.len();
    let r = |phase: u8| {
        if phase == NO_PHASE { f32::NAN } else { map.correlations[pixel * k + phase as usize] }
    };
    let (correlation, second) = (r(verdict.phase), r(verdict.runner_up));
    map.status[pixel] = verdict.status;
    map.phase[pixel] = verdict.phase;
    map.runner_up[pixel] = verdict.runner_up;
    map.method[pixel] = verdict.method;
    map.correlation[pixel] = correlation;
    map.margin[pixel] = correlation - second;
    map.delta_chi2[pixel] = verdict.delta_chi2;
    map.confidence[pixel] = verdict.confidence;
    map.fit_chi2[pixel] = verdict.fit_chi2;
    map.ambiguity[pixel] = verdict.ambiguity;
    map.smoothed[pixel] = verdict.smoothed;
    map.readings[pixel] = verdict.readings;
}
