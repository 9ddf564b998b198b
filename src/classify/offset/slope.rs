//! A slope of the offset within a scan: a monochromator whose scale is wrong, not only its zero.
//!
//! For slopes on a grid the offset is fitted anew around the one without a slope, about the energy where the references change
//! most, so that the two hardly depend on each other; the log-likelihood at the best offset is a curve over the slope, whose
//! maximum is taken where it lies inside the grid and is narrow. Whether it is applied, is for the evidence to say.

use super::correction::Correction;
use super::likelihood::{Form, ShiftedReferences, Table};
use super::peak;
use super::sample::Sample;
use crate::reference::ReferenceSet;

/// Largest slope that is looked for, eV per eV, and how many steps that is.
const MOST: f64 = 0.07;
const STEPS: usize = 14;
/// Step of the offsets at each slope, eV, and how many either way.
const OFFSET_EV: f64 = 0.03;
const OFFSET_STEPS: usize = 2;
/// Deviation of the slopes that are expected, eV per eV.
const WIDTH: f64 = 0.02;
/// Largest standard error of a slope that is told, eV per eV.
const MOST_ERROR: f64 = 0.005;
/// A slope is clear where it is larger than this many standard errors.
const CLEAR: f64 = 3.0;
/// Fewest energies, and the least range of them, eV.
const FEWEST: (usize, f64) = (12, 8.0);
/// As many pixels of independent error, at most, are counted.
const INDEPENDENT_PIXELS: f64 = 40.0;

/// A slope with the offset that belongs to it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Slope {
    /// Energy at which the offset holds, eV.
    pub pivot_ev: f64,
    /// The offset there, eV.
    pub offset_ev: f64,
    /// How much larger it is per eV.
    pub slope: f64,
    /// The standard error of the slope.
    pub error: f64,
}

impl Slope {
    /// As a correction about `middle_ev`.
    pub(super) fn correction(&self, middle_ev: f64) -> Correction {
        let offset_ev = self.offset_ev + self.slope * (middle_ev - self.pivot_ev);
        Correction { offset_ev, slope: self.slope, middle_ev, own_ev: Vec::new() }
    }

    /// The energies with it, eV.
    pub(super) fn tilt(&self, energies_ev: &[f64]) -> Vec<f64> {
        energies_ev.iter().map(|e| e + self.offset_ev + self.slope * (e - self.pivot_ev)).collect()
    }

    /// With the error that ranges of energies contradict each other by, even with the slope (`energy_error_ev`, over a scan of
    /// `range_ev`): references that miss look like a slope, too. `None` where it is then no more than its error.
    pub(super) fn widened(self, energy_error_ev: f64, range_ev: f64) -> Option<Self> {
        // The energies' deviation from their middle is about a quarter of the range.
        let error = self.error.hypot(4.0 * energy_error_ev / range_ev);
        (error <= MOST_ERROR && self.slope.abs() > CLEAR * error).then_some(Self { error, ..self })
    }

    /// Minus the logarithm of how likely it was beforehand.
    pub(super) fn cost(&self) -> f64 {
        0.5 * (self.slope / WIDTH).powi(2)
    }
}

/// The slope of the offset around `offset_ev`; `None` where the scan does not tell one from none.
pub(super) fn search(
    sample: &Sample,
    references: &ReferenceSet,
    energies_ev: &[f64],
    offset_ev: f64,
) -> Option<Slope> {
    let range_ev = energies_ev.last()? - energies_ev.first()?;
    if energies_ev.len() < FEWEST.0 || range_ev < FEWEST.1 {
        return None;
    }
    let pivot_ev = pivot(references, energies_ev, offset_ev)?;
    let temper = (INDEPENDENT_PIXELS / sample.pixels() as f64).min(1.0);
    let slopes: Vec<f64> = (0..=2 * STEPS).map(|i| MOST * (i as f64 - STEPS as f64) / STEPS as f64).collect();
    let tops: Vec<(f64, f64)> = slopes
        .iter()
        .map(|slope| {
            let tilted: Vec<f64> = energies_ev.iter().map(|e| e + slope * (e - pivot_ev)).collect();
            let shifted = ShiftedReferences::new(references, &tilted, offset_ev, OFFSET_EV, OFFSET_STEPS);
            let curve = Table::new(sample, &shifted, Form::Own).total();
            let best = peak::maximum(&curve)?.clamp(1, curve.len() - 2);
            let (shift, curvature) = peak::parabola(&curve, best);
            let top = curve[best] + 0.5 * curvature * shift * shift;
            Some((temper * top, offset_ev + (best as f64 - OFFSET_STEPS as f64 + shift) * OFFSET_EV))
        })
        .collect::<Option<_>>()?;
    let curve: Vec<f64> =
        tops.iter().zip(&slopes).map(|((top, _), slope)| top - 0.5 * (slope / WIDTH).powi(2)).collect();
    let best = peak::maximum(&curve)?;
    if best == 0 || best + 1 == curve.len() {
        return None;
    }
    let (shift, curvature) = peak::parabola(&curve, best);
    let step = MOST / STEPS as f64;
    // The curve is tempered for the references' errors, which the jackknife tells; the noise is that of all pixels.
    let error = step / curvature.max(0.0).sqrt() * temper.sqrt();
    let slope = slopes[best] + shift * step;
    let next = if shift < 0.0 { best - 1 } else { best + 1 };
    let offset_ev = tops[best].1 + shift.abs() * (tops[next].1 - tops[best].1);
    (error <= MOST_ERROR && slope.abs() > CLEAR * error).then_some(Slope {
        pivot_ev,
        offset_ev,
        slope,
        error,
    })
}

/// The energy about which the references change, eV: the mean, weighted by the squares of their slopes.
fn pivot(references: &ReferenceSet, energies_ev: &[f64], offset_ev: f64) -> Option<f64> {
    /// Half of the step over which a slope is taken, eV.
    const HALF_EV: f64 = 0.1;
    let weight = |energy_ev: f64| -> f64 {
        let square = |reference: &crate::reference::Reference| {
            let of = |by_ev: f64| reference.od_held_at(energy_ev + offset_ev + by_ev).unwrap_or(0.0);
            (of(HALF_EV) - of(-HALF_EV)).powi(2)
        };
        references.references.iter().map(square).sum()
    };
    let weights: Vec<f64> = energies_ev.iter().map(|&e| weight(e)).collect();
    let total: f64 = weights.iter().sum();
    let sum: f64 = weights.iter().zip(energies_ev).map(|(weight, e)| weight * e).sum();
    (total > 0.0).then(|| sum / total)
}
