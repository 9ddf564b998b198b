//! Which of several corrections describes the pixels best, mixtures considered.
//!
//! A mixture of two phases may look like one phase that is moved. So before references are moved, every candidate is
//! held against the same pixels with all compositions allowed: phases alone and pairs. A pixel's likelihood is that of the fit of
//! [`super::super::moments`], averaged over the compositions (one part of the pixels pure, as large as suits all best). The
//! noise is that which the best candidate leaves, the same for all; beyond twice that, chi² counts by its logarithm, so that
//! foreign pixels do not decide. A gain is worth as much as [`INDEPENDENT_PIXELS`] pixels make it, at most: neighbouring
//! pixels share the errors of the references.

use rayon::prelude::*;

use super::correction::Correction;
use crate::classify::Targets;
use crate::classify::composition::Compositions;
use crate::classify::moments::Moments;
use crate::classify::spectrum::Spectrum;
use crate::classify::view::DensityView;
use crate::reference::ReferenceSet;

/// As many pixels of independent error, at most, are counted.
const INDEPENDENT_PIXELS: f64 = 40.0;
/// chi² over its expectation from which it counts by its logarithm.
const KNEE: f64 = 2.0;
/// Free values of the best composition: amplitude, share, constant.
const FITTED: usize = 3;
/// Steps toward the share of pure pixels.
const PURITY_STEPS: usize = 20;

/// The log evidence of every candidate over the first, for `pixels` of `view`.
pub(super) fn weigh(
    view: &DensityView<'_>,
    pixels: &[usize],
    references: &ReferenceSet,
    energies_ev: &[f64],
    candidates: &[&Correction],
) -> Vec<f64> {
    let compositions = &Compositions::new(references.len());
    let rows: Vec<Vec<Row>> = candidates
        .iter()
        .map(|candidate| {
            let targets = Targets::corrected(references, energies_ev, candidate);
            let state = || (Spectrum::default(), Moments::default(), vec![0.0; compositions.len()]);
            let read = |(spectrum, moments, out): &mut (Spectrum, Moments, Vec<f32>), &pixel: &usize| {
                view.gather(pixel, spectrum);
                Row::read(spectrum, moments, &targets, compositions, out)
            };
            pixels.par_iter().map_init(state, read).flatten_iter().collect()
        })
        .collect();
    let scale = rows.iter().map(|rows| median_ratio(rows)).fold(f64::INFINITY, f64::min).max(1.0);
    let worth: Vec<f64> = rows.iter().map(|rows| mean(rows, compositions.phases(), scale)).collect();
    let count = INDEPENDENT_PIXELS.min(pixels.len() as f64);
    worth.iter().map(|value| count * (value - worth[0])).collect()
}

/// What one pixel says of every composition.
struct Row {
    /// chi² over the degrees of freedom.
    ratios: Vec<f64>,
    freedom: f64,
}

impl Row {
    fn read(
        spectrum: &Spectrum,
        moments: &mut Moments,
        targets: &Targets,
        compositions: &Compositions,
        out: &mut [f32],
    ) -> Option<Self> {
        let energies = moments.load(spectrum, targets, 0.0);
        if energies <= FITTED {
            return None;
        }
        let chi2 = moments.log_likelihoods(compositions, out);
        let freedom = (energies - FITTED) as f64;
        Some(Self { ratios: out.iter().map(|l| (chi2 - 2.0 * f64::from(*l)) / freedom).collect(), freedom })
    }

    fn log_likelihood(&self, ratio: f64, scale: f64) -> f64 {
        let ratio = ratio / scale;
        let counted = if ratio <= KNEE { ratio } else { KNEE * (1.0 + (ratio / KNEE).ln()) };
        -0.5 * self.freedom * counted
    }
}

fn median_ratio(rows: &[Row]) -> f64 {
    let least = |row: &Row| row.ratios.iter().copied().fold(f64::INFINITY, f64::min);
    let mut ratios: Vec<f64> = rows.iter().map(least).collect();
    ratios.sort_by(f64::total_cmp);
    ratios.get(ratios.len() / 2).copied().unwrap_or(1.0)
}

/// Mean log-likelihood of the pixels, under the share of pure ones that suits them best.
fn mean(rows: &[Row], phases: usize, scale: f64) -> f64 {
    let parts: Vec<[f64; 3]> = rows
        .iter()
        .map(|row| {
            let logs: Vec<f64> = row.ratios.iter().map(|ratio| row.log_likelihood(*ratio, scale)).collect();
            let top = logs.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let average = |logs: &[f64]| {
                logs.iter().map(|log| (log - top).exp()).sum::<f64>() / logs.len().max(1) as f64
            };
            [top, average(&logs[..phases]), average(&logs[phases..])]
        })
        .collect();
    let count = parts.len().max(1) as f64;
    let mut purity: f64 = 0.5;
    for _ in 0..PURITY_STEPS {
        let pure = |&[_, pure, mixed]: &[f64; 3]| purity * pure / (purity * pure + (1.0 - purity) * mixed);
        purity = (parts.iter().map(pure).sum::<f64>() / count).clamp(0.02, 0.98);
    }
    let log = |&[top, pure, mixed]: &[f64; 3]| top + (purity * pure + (1.0 - purity) * mixed).ln();
    parts.iter().map(log).sum::<f64>() / count
}
