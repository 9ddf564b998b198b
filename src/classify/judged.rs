//! The judged pixels of one generation, and the phase map they make.

use std::sync::Arc;

use rayon::prelude::*;

use super::correlation::BLOCK;
use super::{NO_PHASE, Origin, PhaseMap, Status, Targets, Verdict};
use crate::scan::ScanPlan;

/// What a generation says of one pixel.
#[derive(Clone, Copy, Debug)]
pub(super) struct Judged {
    pub verdict: Verdict,
    pub edge_jump: f32,
    pub seen: u16,
    pub masked: u16,
}

/// Every pixel of one generation.
#[derive(Clone, Debug)]
pub(super) struct JudgedPixels {
    pub pixels: Vec<Judged>,
    /// `[pixel * phases + phase]`.
    pub correlations: Vec<f32>,
}

impl JudgedPixels {
    /// Judges all pixels, block by block in parallel. `judge` gets the pixel, room for its correlations and for
    /// its chi²; `state` makes what it keeps from pixel to pixel.
    pub(super) fn collect<S>(
        pixels: usize,
        phases: usize,
        state: impl Fn() -> S + Sync + Send,
        judge: impl Fn(&mut S, usize, &mut [f32], &mut [f32]) -> Judged + Sync + Send,
    ) -> Self {
        let mut correlations = vec![f32::NAN; pixels * phases];
        let blocks: Vec<Vec<Judged>> = correlations
            .par_chunks_mut(BLOCK * phases)
            .enumerate()
            .map_init(
                || (state(), vec![0.0_f32; phases]),
                |(state, chi2), (block, correlations)| {
                    let each = correlations.chunks_exact_mut(phases).enumerate();
                    each.map(|(i, r)| judge(state, block * BLOCK + i, r, chi2)).collect()
                },
            )
            .collect();
        Self { pixels: blocks.into_iter().flatten().collect(), correlations }
    }

    /// The pixels that have a best guess but no verdict, or a doubtful one, in order.
    pub(super) fn open(&self) -> Vec<usize> {
        let open =
            |judged: &Judged| judged.verdict.status == Status::Ambiguous && judged.verdict.phase != NO_PHASE;
        (0..self.pixels.len()).filter(|&pixel| open(&self.pixels[pixel])).collect()
    }

    /// The map, without what only some pixels have.
    pub(super) fn into_map(self, plan: Arc<ScanPlan>, targets: &Targets, origin: Origin) -> PhaseMap {
        let mut map = PhaseMap::unmeasured(plan, targets.labels.clone(), origin);
        for (pixel, judged) in self.pixels.iter().enumerate() {
            map.edge_jump[pixel] = judged.edge_jump;
            map.energies_seen[pixel] = judged.seen;
            map.energies_masked[pixel] = judged.masked;
        }
        map.correlations = self.correlations;
        for (pixel, judged) in self.pixels.iter().enumerate() {
            set_verdict(&mut map, pixel, &judged.verdict);
        }
        map
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
}
