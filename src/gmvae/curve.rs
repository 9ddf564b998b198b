//! References as smooth curves that can be asked at any energy, sharper or broader, or with their white line washed out.

use crate::reference::{Reference, ReferenceSet};

/// Step of the curves, eV.
const STEP_EV: f64 = 0.05;
/// Width (standard deviation) of the broadened curve, eV.
const BROADENING_EV: f64 = 0.25;
/// Same of the curve whose white line is washed out.
const WASHING_EV: f64 = 1.5;

/// A reference over the energies that all references share, and the same broadened.
#[derive(Clone, Debug)]
pub(crate) struct Curve {
    start_ev: f64,
    values: Vec<f32>,
    broadened: Vec<f32>,
    washed: Vec<f32>,
    floor: f32,
    spread: f32,
}

impl Curve {
    fn new(reference: &Reference, from_ev: f64, to_ev: f64) -> Self {
        let n = ((to_ev - from_ev) / STEP_EV).ceil() as usize + 1;
        let at = |i: usize| (from_ev + i as f64 * STEP_EV).min(to_ev);
        let values: Vec<f32> = (0..n).map(|i| reference.od_at(at(i)).unwrap_or(0.0) as f32).collect();
        let (broadened, washed) = (smoothed(&values, BROADENING_EV), smoothed(&values, WASHING_EV));
        let floor = values.iter().copied().fold(f32::INFINITY, f32::min);
        let spread = spread(&values);
        Self { start_ev: from_ev, values, broadened, washed, floor, spread }
    }

    /// OD at `energy_ev`; beyond the ends the value of the end. `broadening` 0 is the reference as it is, 1 the
    /// broadened one, below 0 a sharper one.
    pub(crate) fn at(&self, energy_ev: f64, broadening: f32) -> f32 {
        let (lower, t) = self.place(energy_ev);
        let value = between(&self.values, lower, t);
        if broadening == 0.0 {
            value
        } else {
            value + broadening * (between(&self.broadened, lower, t) - value)
        }
    }

    /// OD at `energy_ev` with the white line washed out.
    pub(crate) fn washed_at(&self, energy_ev: f64) -> f32 {
        let (lower, t) = self.place(energy_ev);
        between(&self.washed, lower, t)
    }

    fn place(&self, energy_ev: f64) -> (usize, f32) {
        let place = ((energy_ev - self.start_ev) / STEP_EV).clamp(0.0, (self.values.len() - 1) as f64);
        let lower = (place as usize).min(self.values.len() - 2);
        (lower, (place - lower as f64) as f32)
    }

    /// The smallest value.
    pub(crate) fn floor(&self) -> f32 {
        self.floor
    }
}

/// The references as curves over their common range.
#[derive(Clone, Debug)]
pub(crate) struct Curves {
    /// Start of the common range, eV.
    pub(crate) from_ev: f64,
    /// End of the common range, eV.
    pub(crate) to_ev: f64,
    /// One per reference.
    pub(crate) curves: Vec<Curve>,
    /// Typical spread of a reference over the range, OD.
    pub(crate) spread_od: f32,
    telling_ev: (f64, f64),
}

impl Curves {
    /// Curves of `set`, or why it cannot be learnt from.
    pub(crate) fn new(set: &ReferenceSet) -> Result<Self, super::TrainError> {
        use super::TrainError::References;
        if set.len() < 2 {
            return Err(References(format!("{} of them, at least two are needed", set.len())));
        }
        let end = |pick: fn(&Reference) -> Option<&f64>, fold: fn(f64, f64) -> f64, start: f64| {
            set.references.iter().filter_map(pick).copied().fold(start, fold)
        };
        let from_ev = end(|r| r.energies_ev.first(), f64::max, f64::NEG_INFINITY);
        let to_ev = end(|r| r.energies_ev.last(), f64::min, f64::INFINITY);
        if !(from_ev.is_finite() && to_ev.is_finite() && to_ev - from_ev >= 1.0) {
            return Err(References(format!(
                "they share no range of at least 1 eV: the highest start is {from_ev} eV, the lowest end {to_ev} eV"
            )));
        }
        let curves: Vec<Curve> = set.references.iter().map(|r| Curve::new(r, from_ev, to_ev)).collect();
        let shapes: Vec<Vec<f64>> = curves.iter().map(|curve| shape(&curve.values)).collect();
        for (a, first) in shapes.iter().enumerate() {
            let id = &set.references[a].label.id;
            if first.iter().all(|v| *v == 0.0) {
                return Err(References(format!("`{id}` is constant over the common range")));
            }
            for (b, second) in shapes.iter().enumerate().skip(a + 1) {
                let r: f64 = first.iter().zip(second).map(|(x, y)| x * y).sum::<f64>() / first.len() as f64;
                if r > 0.999_99 {
                    let other = &set.references[b].label.id;
                    return Err(References(format!(
                        "`{id}` and `{other}` are the same spectrum (correlation {r:.6}) over the common range"
                    )));
                }
            }
        }
        let spread_od = curves.iter().map(|curve| curve.spread).sum::<f32>() / curves.len() as f32;
        let mut curves = Self { from_ev, to_ev, curves, spread_od, telling_ev: (from_ev, to_ev) };
        curves.telling_ev = curves.find_telling_ev();
        Ok(curves)
    }

    /// Where the references differ by more than a quarter of the most they do, and 1.5 eV around it.
    pub(crate) fn telling_range_ev(&self) -> (f64, f64) {
        self.telling_ev
    }

    fn find_telling_ev(&self) -> (f64, f64) {
        let steps = ((self.to_ev - self.from_ev) / STEP_EV) as usize;
        let at = |i: usize| self.from_ev + i as f64 * STEP_EV;
        let differ: Vec<f32> = (0..=steps).map(|i| self.contrast(at(i)).0).collect();
        let limit = 0.25 * differ.iter().copied().fold(0.0, f32::max);
        let first = differ.iter().position(|d| *d > limit).unwrap_or(0);
        let last = differ.iter().rposition(|d| *d > limit).unwrap_or(steps);
        ((at(first) - 1.5).max(self.from_ev), (at(last) + 1.5).min(self.to_ev))
    }

    /// How much the references, each standardised, differ at `energy_ev`, and how steep their mean is there (per eV).
    pub(crate) fn contrast(&self, energy_ev: f64) -> (f32, f32) {
        let n = self.curves.len() as f32;
        let mean = |e: f64| self.curves.iter().map(|c| c.at(e, 0.0)).sum::<f32>() / n;
        let at: Vec<f32> =
            self.curves.iter().map(|c| (c.at(energy_ev, 0.0) - c.floor) / c.spread.max(1e-6)).collect();
        let centre = at.iter().sum::<f32>() / n;
        let differ = (at.iter().map(|v| (v - centre).powi(2)).sum::<f32>() / n).sqrt();
        (differ, (mean(energy_ev + 0.1) - mean(energy_ev - 0.1)).abs() / 0.2)
    }
}

/// `values` under a Gaussian of standard deviation `width_ev`.
fn smoothed(values: &[f32], width_ev: f64) -> Vec<f32> {
    let n = values.len();
    let reach = (3.0 * width_ev / STEP_EV) as usize;
    let kernel: Vec<f32> = (0..=2 * reach)
        .map(|i| (i as f64 - reach as f64) * STEP_EV / width_ev)
        .map(|z| (-0.5 * z * z).exp() as f32)
        .collect();
    let total: f32 = kernel.iter().sum();
    let near = |i: usize, j: usize| values[(i + j).saturating_sub(reach).min(n - 1)];
    (0..n).map(|i| kernel.iter().enumerate().map(|(j, k)| k * near(i, j)).sum::<f32>() / total).collect()
}

fn between(list: &[f32], lower: usize, t: f32) -> f32 {
    list[lower] + t * (list[lower + 1] - list[lower])
}

fn spread(values: &[f32]) -> f32 {
    let n = values.len() as f32;
    let mean = values.iter().sum::<f32>() / n;
    (values.iter().map(|v| (v - mean).powi(2)).sum::<f32>() / n).sqrt()
}

/// Standardised values; zeros for a constant.
fn shape(values: &[f32]) -> Vec<f64> {
    let n = values.len() as f64;
    let mean = values.iter().map(|v| f64::from(*v)).sum::<f64>() / n;
    let std = (values.iter().map(|v| (f64::from(*v) - mean).powi(2)).sum::<f64>() / n).sqrt();
    values.iter().map(|v| if std > 1e-9 { (f64::from(*v) - mean) / std } else { 0.0 }).collect()
}
