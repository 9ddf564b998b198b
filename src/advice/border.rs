//! Pixels that the rest of the scan would make background, or no longer background.
//!
//! A pixel is background where its edge jump is small. The jump is a mean over windows: while a window is measured in
//! part it is another number than it will be, by a factor that the references know, and it is noisier than it will be.

use super::Situation;
use super::axis::Axis;
use super::beam::Beam;
use super::crowd::Crowd;
use super::odds::normal_cdf;
use crate::classify::{NO_PHASE, Status};

/// How the edge jumps of a map may still move.
pub(super) struct Border<'a> {
    situation: &'a Situation<'a>,
    /// Jump with all energies over the jump now, per phase.
    ratios: Vec<f64>,
    /// Their mean.
    ratio: f64,
    /// Standard deviation of what is still to come, OD.
    sigma: f64,
}

impl<'a> Border<'a> {
    pub(super) fn new(situation: &'a Situation<'a>, crowd: &Crowd, axis: &Axis, beam: &Beam) -> Self {
        let targets = situation.targets;
        let all = vec![true; situation.measured.len()];
        let inside = |window: &[bool], which: &[bool]| -> Vec<usize> {
            (0..which.len()).filter(|&e| which[e] && window[e] && targets.used[e]).collect()
        };
        let windows = [&targets.white_line, &targets.pre_edge];
        let jump = |which: &[bool], phase: usize| {
            let [white, pre] = windows.map(|window| {
                let list = inside(window, which);
                list.iter().map(|&e| targets.at(e)[phase]).sum::<f64>() / list.len() as f64
            });
            white - pre
        };
        let [amplitude, base] = crowd.typical;
        let variance = |which: &[bool]| -> f64 {
            let of = |window: &Vec<bool>| {
                let list = inside(window, which);
                let each = list.iter().map(|&e| {
                    let od = base + amplitude * axis.od(e, 0);
                    beam.variance(axis.energies_ev[e], axis.dwell_ms[e], od)
                });
                each.sum::<f64>() / (list.len() * list.len()) as f64
            };
            windows.iter().map(|window| of(window)).sum::<f64>() * crowd.census.misfit.max(1.0)
        };
        let ratios: Vec<f64> =
            (0..targets.phases()).map(|k| jump(&all, k) / jump(situation.measured, k)).collect();
        let ratio = ratios.iter().sum::<f64>() / ratios.len().max(1) as f64;
        let sigma = (variance(situation.measured) - variance(&all)).max(0.0).sqrt();
        Self { situation, ratios, ratio, sigma }
    }

    /// Expected number of pixels that cross the border either way once the plan is measured; 0 while a window is empty.
    pub(super) fn crossings(&self) -> f64 {
        if !(self.ratio > 0.0 && self.ratio.is_finite() && self.sigma.is_finite()) {
            return 0.0;
        }
        let map = self.situation.map;
        let least = f64::from(self.situation.recipe.triage.background_edge_jump);
        // A whole plan has no noise to come: a step then, without dividing by nothing.
        let sigma = self.sigma.max(1e-9);
        let above = |jump: f64, ratio: f64| normal_cdf((jump * ratio - least) / (sigma * ratio));
        let crosses = |pixel: usize| {
            let (jump, phase) = (f64::from(map.edge_jump[pixel]), map.phase[pixel]);
            if jump.is_nan() {
                return 0.0;
            }
            match map.status[pixel] {
                Status::Background => above(jump, self.ratio),
                Status::Classified | Status::Mixture | Status::Ambiguous if phase != NO_PHASE => {
                    1.0 - above(jump, self.ratios[phase as usize])
                }
                _ => 0.0,
            }
        };
        (0..map.len()).map(crosses).filter(|p| p.is_finite()).sum()
    }
}
