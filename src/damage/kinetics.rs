//! Kinetics of damage: how fast a signal falls with the dose, where it ends, and how sure that is.
//!
//! Two laws: first order, `A(D) = A0 - a (1 - exp(-b D))`, and hyperbolic, `A(D) = A0 - a (1 - 1 / (1 + b D))`, which is
//! `c + a' / (b' + D)` in other letters. `A0` is the value without dose, `a` what can be lost, `A0 - a` the plateau. For both the initial rate is
//! `a b`, and the critical dose `1/b`: at the initial rate all that can be lost would be lost then. In first order 1/e of it is left there,
//! with the hyperbolic law half.
//!
//! Early in a damage nobody can know `a` and `b` apart, only their product; a fit that pretends otherwise is confidently wrong. So nothing is
//! fitted: for each law and each `b` of a grid, evenly spaced in its logarithm, `A0` and `a` have an exact Gaussian posterior, and
//! all of these together, weighted by their evidence, say what is known of the rate, of the future, and of the critical dose. What is believed beforehand: any `b`
//! is as likely as any other in the logarithm, but less and less so where all would be over within half of the dose, `a` is of the size of the signal or less, any `A0` goes.
//! Where the plateau is known, that counts as a reading at an endless dose.
//!
//! A critical dose is claimed only where the plateau is known or most of the change was seen, and its error is a fifth or less.

use super::series::Series;

/// Values of `b` per law.
const GRID: usize = 120;
/// The smallest and largest `b`, in units of one over the largest dose seen. At the smallest one a twentieth of what can be lost is gone in the end,
/// which is a straight line already; smaller ones would only say over and over that nothing happens, and pull what is seen early on toward that.
const RANGE: (f64, f64) = (0.05, 40.0);
/// `b`, in the same units, above which it becomes less and less likely beforehand: damage that is over before anybody looks is not what scans are planned for.
const FAST: f64 = 2.0;
/// Share of what can be lost that must be gone for a critical dose without a known plateau.
const MOST: f64 = 0.63;
/// Largest standard error of the logarithm of a critical dose that is claimed.
const CLAIM: f64 = 0.2;
/// Standard errors to each side within which 90 % lie.
const TAIL: f64 = 1.645;
/// Standard deviations beyond which nothing is left of a component.
const FAR: f64 = 7.0;

/// A law of damage.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Law {
    /// Every part is as likely to be damaged next, whatever was before.
    FirstOrder,
    /// Damage that slows down as products protect what is left.
    Hyperbolic,
}

impl Law {
    /// Share of what can be lost that is left, at `x` = b D.
    #[must_use]
    pub fn left(self, x: f64) -> f64 {
        match self {
            Self::FirstOrder => (-x).exp(),
            Self::Hyperbolic => 1.0 / (1.0 + x),
        }
    }
}

/// A quantity: the value in the middle, and between which ones it lies with 90 %.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Interval {
    /// 5 % lie below.
    pub low: f64,
    /// The median.
    pub middle: f64,
    /// 5 % lie above.
    pub high: f64,
}

/// One law and one `b`, with what the readings say of `A0` and `a` then.
#[derive(Clone, Copy, Debug)]
struct Component {
    weight: f64,
    law: Law,
    b: f64,
    /// Means of `A0` and `a`.
    mean: [f64; 2],
    /// Their variances, and covariance.
    covariance: [f64; 3],
}

impl Interval {
    /// The same, where the value is uncertain by a share of itself for another reason, too; `share` is a standard error.
    #[must_use]
    pub fn widened(self, share: f64) -> Self {
        let more = TAIL * share * self.middle;
        Self {
            low: self.middle - (self.middle - self.low).hypot(more),
            middle: self.middle,
            high: self.middle + (self.high - self.middle).hypot(more),
        }
    }
}

impl Component {
    /// Mean and variance of `A0 · x + a · y`.
    fn combine(&self, x: f64, y: f64) -> (f64, f64) {
        let [v0, v1, cross] = self.covariance;
        (self.mean[0] * x + self.mean[1] * y, (v0 * x * x + v1 * y * y + 2.0 * cross * x * y).max(0.0))
    }

    fn lost(&self, dose: f64) -> f64 {
        1.0 - self.law.left(self.b * dose)
    }
}

/// What readings say of the kinetics.
#[derive(Clone, Debug)]
pub struct Kinetics {
    components: Vec<Component>,
    last_dose: f64,
    plateau_known: bool,
}

impl Kinetics {
    /// From two readings or more. `scale` is the size of the signal: what could be lost at most. `excess` is by what the
    /// errors of the readings are multiplied.
    #[must_use]
    pub fn of(series: &Series, scale: f64, excess: f64) -> Option<Self> {
        let last_dose = series.readings.iter().map(|r| r.dose).fold(0.0, f64::max);
        let usable = scale.is_finite() && scale > 0.0 && last_dose.is_finite() && last_dose > 0.0;
        if series.len() < 2 || !usable {
            return None;
        }
        let step = step();
        let mut components = Vec::with_capacity(2 * GRID);
        for law in [Law::FirstOrder, Law::Hyperbolic] {
            for i in 0..GRID {
                let b = RANGE.0 * (step * i as f64).exp() / last_dose;
                let mut component = component(series, law, b, scale, excess);
                component.weight -= (1.0 + (b * last_dose / FAST).powi(2)).ln();
                components.push(component);
            }
        }
        let highest = components.iter().map(|c| c.weight).fold(f64::NEG_INFINITY, f64::max);
        let mut total = 0.0;
        for component in &mut components {
            component.weight = (component.weight - highest).exp();
            total += component.weight;
        }
        components.iter_mut().for_each(|component| component.weight /= total);
        components.retain(|component| component.weight > 1e-9);
        let finite = total.is_finite() && !components.is_empty();
        finite.then_some(Self { components, last_dose, plateau_known: series.plateau.is_some() })
    }

    /// Initial rate, `a b`: what is lost per unit of dose at dose 0; positive where the signal falls.
    #[must_use]
    pub fn initial_rate(&self) -> Interval {
        self.interval(|component| component.combine(0.0, component.b))
    }

    /// The change from one dose to another; positive where the signal falls.
    #[must_use]
    pub fn loss(&self, from: f64, to: f64) -> Interval {
        self.interval(|component| component.combine(0.0, component.lost(to) - component.lost(from)))
    }

    /// The change from one dose to another as its mean and variance; positive where the signal falls.
    #[must_use]
    pub(super) fn fall(&self, from: f64, to: f64) -> (f64, f64) {
        self.moments(|component| component.combine(0.0, component.lost(to) - component.lost(from)))
    }

    /// The value without dose, its mean and variance.
    #[must_use]
    pub(super) fn start(&self) -> (f64, f64) {
        self.moments(|component| component.combine(1.0, 0.0))
    }

    /// What can be lost, its mean and variance.
    #[must_use]
    pub(super) fn to_lose(&self) -> (f64, f64) {
        self.moments(|component| component.combine(0.0, 1.0))
    }

    /// The likelier law, and how likely it is.
    #[must_use]
    pub fn law(&self) -> (Law, f64) {
        let first_order = self.weight_of(Law::FirstOrder);
        if first_order >= 0.5 { (Law::FirstOrder, first_order) } else { (Law::Hyperbolic, 1.0 - first_order) }
    }

    fn weight_of(&self, law: Law) -> f64 {
        self.components
            .iter()
            .filter(|component| component.law == law)
            .map(|component| component.weight)
            .sum()
    }

    /// Share of what can be lost that is gone at the last dose.
    #[must_use]
    pub fn seen(&self) -> f64 {
        self.components.iter().map(|component| component.weight * component.lost(self.last_dose)).sum()
    }

    /// The critical dose, `1/b`; `None` where it cannot be told. `apart` is what its logarithm is uncertain by for other reasons than the
    /// readings, a standard error.
    #[must_use]
    pub fn critical_dose(&self, apart: f64) -> Option<Interval> {
        if !self.plateau_known && self.seen() < MOST {
            return None;
        }
        let logarithms: Vec<(f64, f64)> =
            self.components.iter().map(|component| (-component.b.ln(), component.weight)).collect();
        let mean: f64 = logarithms.iter().map(|(ln, weight)| weight * ln).sum();
        let variance: f64 = logarithms.iter().map(|(ln, weight)| weight * (ln - mean).powi(2)).sum();
        // A value of the grid stands for those around it, half a step to each side.
        let step = step();
        let sure = (variance + step * step / 12.0).sqrt().hypot(apart) <= CLAIM;
        if !sure {
            return None;
        }
        let below = |value: f64| -> f64 {
            logarithms.iter().map(|(ln, weight)| weight * ((value - ln) / step + 0.5).clamp(0.0, 1.0)).sum()
        };
        let ends = (mean - 6.0 * CLAIM - step, mean + 6.0 * CLAIM + step);
        let quantile = |share: f64| bisect(ends, 1e-6, |value| below(value) < share);
        let (low, middle, high) = (quantile(0.05), quantile(0.5), quantile(0.95));
        let more = TAIL * apart;
        Some(Interval {
            low: (middle - (middle - low).hypot(more)).exp(),
            middle: middle.exp(),
            high: (middle + (high - middle).hypot(more)).exp(),
        })
    }

    /// Mean and variance of a quantity that is Gaussian in each component.
    fn moments(&self, of: impl Fn(&Component) -> (f64, f64)) -> (f64, f64) {
        let parts: Vec<(f64, f64, f64)> = self
            .components
            .iter()
            .map(|component| {
                let (mean, variance) = of(component);
                (component.weight, mean, variance)
            })
            .collect();
        let mean: f64 = parts.iter().map(|(weight, mean, _)| weight * mean).sum();
        let variance = parts.iter().map(|(weight, own, v)| weight * (v + (own - mean).powi(2))).sum();
        (mean, variance)
    }

    /// Quantiles of a quantity that is Gaussian in each component.
    fn interval(&self, of: impl Fn(&Component) -> (f64, f64)) -> Interval {
        let parts: Vec<(f64, f64, f64)> = self
            .components
            .iter()
            .map(|component| {
                let (mean, variance) = of(component);
                (component.weight, mean, variance.sqrt().max(1e-12 * mean.abs()).max(1e-300))
            })
            .collect();
        let low = parts.iter().map(|(_, mean, sd)| mean - 9.0 * sd).fold(f64::INFINITY, f64::min);
        let high = parts.iter().map(|(_, mean, sd)| mean + 9.0 * sd).fold(f64::NEG_INFINITY, f64::max);
        let below = |value: f64| -> f64 {
            parts
                .iter()
                .map(|(weight, mean, sd)| match (mean - value) / sd {
                    z if z > FAR => 0.0,
                    z if z < -FAR => *weight,
                    z => weight * super::normal::upper_tail(z),
                })
                .sum()
        };
        // A thousandth of what the surest of the likelier components leaves open is near enough.
        let likelier = parts.iter().filter(|(weight, ..)| *weight > 1e-3);
        let near = 1e-3 * likelier.map(|(_, _, sd)| *sd).fold(f64::INFINITY, f64::min);
        let quantile = |share: f64| bisect((low, high), near, |value| below(value) < share);
        Interval { low: quantile(0.05), middle: quantile(0.5), high: quantile(0.95) }
    }
}

/// Step of the grid of `b`, in its logarithm.
fn step() -> f64 {
    (RANGE.1 / RANGE.0).ln() / (GRID - 1) as f64
}

/// Where `is_below` ends to be true, as near as asked for.
fn bisect((mut low, mut high): (f64, f64), near: f64, is_below: impl Fn(f64) -> bool) -> f64 {
    for _ in 0..60 {
        if high - low <= near {
            break;
        }
        let middle = 0.5 * (low + high);
        if is_below(middle) { low = middle } else { high = middle }
    }
    0.5 * (low + high)
}

/// The posterior of `A0` and `a` for one law and one `b`, its logarithm of evidence in `weight`.
fn component(series: &Series, law: Law, b: f64, scale: f64, excess: f64) -> Component {
    // Values are taken relative to the first, so that a weak belief about A0 costs no digits.
    let origin = series.first().unwrap_or(0.0);
    let (mut m00, mut m01, mut m11, mut h0, mut h1, mut xx) = (0.0, 0.0, 0.0, 0.0, 0.0, 0.0);
    let mut take = |left: f64, value: f64, w: f64| {
        let (v, x) = (left - 1.0, value - origin);
        (m00, m01, m11) = (m00 + w, m01 + w * v, m11 + w * v * v);
        (h0, h1, xx) = (h0 + w * x, h1 + w * v * x, xx + w * x * x);
    };
    for reading in &series.readings {
        take(law.left(b * reading.dose), reading.value, 1.0 / (series.variance(reading) * excess * excess));
    }
    if let Some(plateau) = series.plateau {
        // What is known of the plateau is as good as a reading where nothing is left.
        take(0.0, plateau.value, 1.0 / plateau.sigma.max(1e-6 * scale).powi(2));
    }
    let (prior0, prior1) = ((10.0 * scale).powi(-2), scale.powi(-2));
    (m00, m11) = (m00 + prior0, m11 + prior1);
    let det = m00 * m11 - m01 * m01;
    let covariance = [m11 / det, m00 / det, -m01 / det];
    let mean = [(m11 * h0 - m01 * h1) / det, (m00 * h1 - m01 * h0) / det];
    let weight = 0.5 * ((prior0 * prior1).ln() - det.ln()) + 0.5 * (mean[0] * h0 + mean[1] * h1 - xx);
    Component { weight, law, b, mean: [mean[0] + origin, mean[1]], covariance }
}

#[cfg(test)]
#[path = "kinetics_tests.rs"]
mod tests;
