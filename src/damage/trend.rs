//! Whether a signal changes with the dose: a straight line through its readings, a median of slopes, and a cumulative sum that
//! notices a change that is no line.
//!
//! Both tests look at every reading as it comes, and at many series, so each is held to a share of the false alarms that a whole
//! scan may have ([`Vigilance`]). What they assume: readings scatter about a constant by their standard errors where nothing happens. Where they scatter more
//! about any smooth curve, the errors are taken as larger by as much.
//!
//! Cumulative sum: the recursive residuals `w_k = (x_k - mean before) / sqrt(var_k + var of that mean)` (Brown, Durbin and Evans 1975)
//! are independent standard normal variables while nothing changes; `S = max(0, S ± w - 1/2)` (Page 1954) is compared with a limit
//! that follows from the wanted average run length by Siegmund's approximation (1985).

use super::normal::exceeded_with;
use super::series::Series;

/// Allowance of the cumulative sum, in standard errors: best for changes of one.
const ALLOWANCE: f64 = 0.5;

/// How many false alarms there may be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Vigilance {
    /// Probability of any false alarm in a scan.
    pub false_alarms: f64,
    /// Series that are looked at.
    pub series: usize,
    /// Readings that a series will have.
    pub readings: usize,
}

impl Vigilance {
    /// Share of one test of one series.
    fn share(&self) -> f64 {
        0.5 * self.false_alarms / self.series.max(1) as f64
    }

    /// Standard errors that a slope must have: every look is counted as if it were another test, which errs on the quiet side.
    #[must_use]
    pub fn slope_limit(&self) -> f64 {
        exceeded_with(0.5 * self.share() / self.readings.saturating_sub(1).max(1) as f64)
    }

    /// Limit of the cumulative sum.
    #[must_use]
    pub fn sum_limit(&self) -> f64 {
        // Alarms of a quiet series come as a Poisson process: P = 1 - exp(-readings / run length).
        let run_length = self.readings.max(2) as f64 / -(1.0 - self.share()).ln();
        let (mut low, mut high) = (0.0, 60.0);
        for _ in 0..60 {
            let middle = 0.5 * (low + high);
            if average_run_length(middle) < run_length { low = middle } else { high = middle }
        }
        0.5 * (low + high)
    }
}

/// Average number of readings until a two-sided cumulative sum with that limit speaks though nothing changes (Siegmund).
fn average_run_length(limit: f64) -> f64 {
    let b = limit + 1.166;
    let one_sided = ((2.0 * ALLOWANCE * b).exp() - 2.0 * ALLOWANCE * b - 1.0) / (2.0 * ALLOWANCE * ALLOWANCE);
    0.5 * one_sided
}

/// What readings say of a change.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Trend {
    /// Change per unit of dose, of the straight line.
    pub slope: f64,
    /// Its standard error.
    pub slope_error: f64,
    /// Median of the slopes between any two readings: one bad reading does not move it.
    pub robust_slope: f64,
    /// `slope` in standard errors.
    pub z: f64,
    /// The cumulative sum at its highest so far, in standard errors.
    pub sum: f64,
    /// By how much the readings scatter more about a smooth curve than their errors say; 1 or more.
    pub excess: f64,
    /// Value of the line at the first reading.
    pub at_first: f64,
    /// Value of the line at the last reading.
    pub at_last: f64,
}

impl Trend {
    /// What two readings or more say; `None` with fewer, or where the dose is the same in all.
    #[must_use]
    pub fn of(series: &Series) -> Option<Self> {
        let line = Line::through(series)?;
        let excess = excess(series, &line);
        let slope_error = line.slope_error * excess;
        let z = line.slope / slope_error;
        let at = |dose: f64| line.mean + line.slope * (dose - line.mean_dose);
        let (first, last) = (series.readings.first()?, series.readings.last()?);
        Some(Self {
            slope: line.slope,
            slope_error,
            robust_slope: median_slope(series).unwrap_or(line.slope),
            z,
            sum: highest_sum(series) / excess,
            excess,
            at_first: at(first.dose),
            at_last: at(last.dose),
        })
    }

    /// Whether the change is beyond chance.
    #[must_use]
    pub fn is_real(&self, vigilance: &Vigilance) -> bool {
        self.z.abs() >= vigilance.slope_limit() || self.sum >= vigilance.sum_limit()
    }
}

/// A straight line of least squares.
struct Line {
    slope: f64,
    slope_error: f64,
    mean: f64,
    mean_dose: f64,
}

impl Line {
    fn through(series: &Series) -> Option<Self> {
        let weight = |reading| 1.0 / series.variance(reading);
        let total: f64 = series.readings.iter().map(weight).sum();
        let mean_dose = series.readings.iter().map(|r| weight(r) * r.dose).sum::<f64>() / total;
        let mean = series.readings.iter().map(|r| weight(r) * r.value).sum::<f64>() / total;
        let spread: f64 = series.readings.iter().map(|r| weight(r) * (r.dose - mean_dose).powi(2)).sum();
        if series.len() < 2 || spread.is_nan() || spread <= 0.0 {
            return None;
        }
        let along: f64 =
            series.readings.iter().map(|r| weight(r) * (r.dose - mean_dose) * (r.value - mean)).sum();
        Some(Self { slope: along / spread, slope_error: spread.sqrt().recip(), mean, mean_dose })
    }
}

/// By how much the readings scatter more than they should: about the line, or about a parabola where that is closer, since damage slows down.
fn excess(series: &Series, line: &Line) -> f64 {
    let misfit: f64 = series
        .readings
        .iter()
        .map(|r| (r.value - line.mean - line.slope * (r.dose - line.mean_dose)).powi(2) / series.variance(r))
        .sum();
    let free = series.len().saturating_sub(2);
    let about_line = if free > 0 { misfit / free as f64 } else { 0.0 };
    let about_curve = match (series.len().saturating_sub(3), curve_misfit(series, line)) {
        (free @ 1.., Some(misfit)) => misfit / free as f64,
        _ => f64::INFINITY,
    };
    // Of three readings nobody can tell a bend from scatter: a bend there is what damage does, and costs nothing.
    let about = if series.len() <= 3 { 0.0 } else { about_line.min(about_curve) };
    about.max(1.0).sqrt()
}

/// Misfit of a parabola: that of the line less what the bend takes out of it.
fn curve_misfit(series: &Series, line: &Line) -> Option<f64> {
    // The part of dose² that is neither constant nor linear, by weighted projection.
    let points: Vec<(f64, f64, f64)> = series
        .readings
        .iter()
        .map(|r| {
            let x = r.dose - line.mean_dose;
            (1.0 / series.variance(r), x, r.value - line.mean - line.slope * x)
        })
        .collect();
    let sum = |of: &dyn Fn(f64) -> f64| points.iter().map(|(w, x, _)| w * of(*x)).sum::<f64>();
    let (total, second) = (sum(&|_| 1.0), sum(&|x| x * x));
    let (mean2, tilt) = (second / total, sum(&|x| x * x * x) / second);
    let bend = |x: f64| x * x - mean2 - tilt * x;
    let norm = sum(&|x| bend(x).powi(2));
    let along: f64 = points.iter().map(|(w, x, rest)| w * bend(*x) * rest).sum();
    let misfit: f64 = points.iter().map(|(w, _, rest)| w * rest * rest).sum();
    (norm > 0.0).then(|| (misfit - along * along / norm).max(0.0))
}

/// Median of the slopes between all pairs of readings (Theil and Sen).
fn median_slope(series: &Series) -> Option<f64> {
    let readings = &series.readings;
    let mut slopes: Vec<f64> = (0..readings.len())
        .flat_map(|i| (0..i).map(move |j| (i, j)))
        .filter(|&(i, j)| readings[i].dose > readings[j].dose)
        .map(|(i, j)| (readings[i].value - readings[j].value) / (readings[i].dose - readings[j].dose))
        .collect();
    slopes.sort_by(f64::total_cmp);
    let middle = slopes.len() / 2;
    let upper = *slopes.get(middle)?;
    Some(if slopes.len() % 2 == 1 { upper } else { 0.5 * (upper + slopes[middle - 1]) })
}

/// The highest that either cumulative sum came.
fn highest_sum(series: &Series) -> f64 {
    let (mut weight, mut mean) = (0.0, 0.0);
    let (mut up, mut down, mut highest) = (0.0_f64, 0.0_f64, 0.0_f64);
    for reading in &series.readings {
        let variance = series.variance(reading);
        if weight > 0.0 {
            let w = (reading.value - mean) / (variance + 1.0 / weight).sqrt();
            up = (up + w - ALLOWANCE).max(0.0);
            down = (down - w - ALLOWANCE).max(0.0);
            highest = highest.max(up).max(down);
        }
        let own = 1.0 / variance;
        mean = (mean * weight + reading.value * own) / (weight + own);
        weight += own;
    }
    highest
}

#[cfg(test)]
#[path = "trend_tests.rs"]
mod tests;
