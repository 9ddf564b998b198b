//! What the beam does within an image, beside an I0 that is one number for the image.
//!
//! Two things can tell. A *monitor* upstream, where the stream carries one: its ratio to its own mean in the image, taken by
//! the share that the signal is seen to follow. That share is the slope between differences of log signal and of log
//! monitor, from each line to the next, with the sample's edges left out; noise of the monitor lowers it by just as
//! much as using that noise would cost. And the *empty region*, where it spans the lines: the means of its lines,
//! where they scatter beyond what the values within the lines do (F test), each drawn toward the mean by the share of its
//! own noise (the empirical Bayes estimate; W. James, C. Stein, Proc. 4th Berkeley Symp. 1, 361 (1961)). A top-up within an image,
//! or a beam that flickers from line to line, is taken out so; a steady beam is left alone.

use std::sync::Arc;

use super::EmptyRegion;
use crate::screening::{PlaneFlaws, Response};
use crate::stack::Plane;

/// Fewest region pixels in a line that say something of it.
const FEWEST_PIXELS: usize = 3;
/// Share of the measured lines that the region has to span.
const SPANNED: f64 = 0.9;
/// Standard errors by which the scatter of the lines is beyond chance.
const SIGNIFICANT: f64 = 5.0;
/// Relative scatter of the beam that is worth correcting.
const WORTH: f64 = 0.003;
/// Pairs of values that are looked at for the share of a monitor.
const PAIRS: usize = 20_000;

/// Course of the beam within one image, relative to its I0.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Beam {
    /// As far as can be told, it was steady.
    #[default]
    Steady,
    /// A factor for every row.
    Lines(Arc<[f32]>),
    /// The monitor's reading, dark taken off, over `level`, by `share` of its departure from 1.
    Monitor {
        /// What the monitor reads, dark taken off, where the factor is 1.
        level: f64,
        /// Share of its fluctuations that the signal follows, 0 to 1.
        share: f64,
    },
}

impl Beam {
    /// Factor on the I0 of the image at a row and a reading of the monitor, dark taken off (NaN where there is none).
    #[must_use]
    #[inline]
    pub fn factor(&self, row: usize, monitor: f64) -> f64 {
        match self {
            Self::Steady => 1.0,
            Self::Lines(factors) => factors.get(row).map_or(1.0, |factor| f64::from(*factor)),
            Self::Monitor { level, share } if monitor > 0.0 => 1.0 + share * (monitor / level - 1.0),
            Self::Monitor { .. } => 1.0,
        }
    }
}

/// One plane and what is known of its detector.
#[derive(Clone, Copy)]
pub(super) struct Light<'a> {
    pub plane: &'a Plane,
    pub response: &'a Response,
    pub flaws: Option<&'a PlaneFlaws>,
    pub columns: usize,
}

impl Light<'_> {
    /// The light at a pixel, dark taken off; `None` where it was not measured or is not usable.
    fn at(&self, pixel: usize) -> Option<f64> {
        let value = f64::from(self.plane.value(pixel));
        let usable = value < self.response.ceiling() && self.flaws.is_none_or(|flaws| !flaws.contains(pixel));
        usable.then(|| self.response.linear(value) - self.response.dark)
    }

    /// What the monitor reads at a pixel, dark taken off.
    fn monitor(&self, pixel: usize) -> Option<f64> {
        let reading = f64::from(self.plane.i0_at(pixel)) - self.response.dark;
        (reading > 0.0).then_some(reading)
    }
}

/// Mean light of the region, dark taken off, and what its lines say of the beam.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct RegionLight {
    /// The mean.
    pub mean: f64,
    /// How many measurements an I0 at a line is the mean of.
    pub pixels: f64,
    /// The beam.
    pub beam: Beam,
}

/// The light of a region; `None` where none of its pixels was measured, or nothing came through.
pub(super) fn region_light(light: &Light<'_>, region: &EmptyRegion, lines: bool) -> Option<RegionLight> {
    let rows = rows(light, region);
    let pixels: usize = rows.iter().map(|row| row.count).sum();
    let mean = rows.iter().map(|row| row.sum).sum::<f64>() / pixels as f64;
    if pixels == 0 || mean <= 0.0 {
        return None;
    }
    let steady = RegionLight { mean, pixels: pixels as f64, beam: Beam::Steady };
    let flickers = if lines { flicker(light, &rows, mean) } else { None };
    Some(flickers.map_or(steady, |(factors, pixels)| RegionLight {
        mean,
        pixels,
        beam: Beam::Lines(factors.into()),
    }))
}

/// What the region holds in one row.
#[derive(Clone, Copy, Debug, Default)]
struct Row {
    count: usize,
    sum: f64,
    squares: f64,
}

fn rows(light: &Light<'_>, region: &EmptyRegion) -> Vec<Row> {
    let mut rows = vec![Row::default(); light.plane.values().len().div_ceil(light.columns.max(1))];
    // Squares about a first value, so that they keep their digits.
    let first = region.pixels.iter().find_map(|pixel| light.at(pixel)).unwrap_or(0.0);
    for pixel in region.pixels.iter() {
        let (Some(value), Some(row)) = (light.at(pixel), rows.get_mut(pixel / light.columns)) else {
            continue;
        };
        row.count += 1;
        row.sum += value;
        row.squares += (value - first) * (value - first);
    }
    for row in rows.iter_mut().filter(|row| row.count > 0) {
        let away = row.sum - row.count as f64 * first;
        row.squares = (row.squares - away * away / row.count as f64).max(0.0);
    }
    rows
}

/// Factors of the rows and how many values each stands on, where the beam is seen to change from row to row.
fn flicker(light: &Light<'_>, rows: &[Row], mean: f64) -> Option<(Vec<f32>, f64)> {
    let told = |row: &&Row| row.count >= FEWEST_PIXELS;
    let spanned = rows.iter().filter(told).count();
    let is_measured =
        |y: usize| (y * light.columns..(y + 1) * light.columns).any(|pixel| light.at(pixel).is_some());
    let measured = (0..rows.len()).filter(|&y| is_measured(y)).count();
    if spanned < 8 || (spanned as f64) < SPANNED * measured as f64 {
        return None;
    }
    let freedom: usize = rows.iter().filter(told).map(|row| row.count - 1).sum();
    let within = rows.iter().filter(told).map(|row| row.squares).sum::<f64>() / freedom as f64;
    let own_mean = |row: &Row| row.sum / row.count as f64;
    let between =
        rows.iter().filter(told).map(|row| row.count as f64 * (own_mean(row) - mean).powi(2)).sum::<f64>()
            / (spanned - 1) as f64;
    let usual = rows.iter().filter(told).map(|row| row.count as f64).sum::<f64>() / spanned as f64;
    let excess = (between - within) / usual;
    let by_chance = 1.0 + SIGNIFICANT * (2.0 / (spanned - 1) as f64 + 2.0 / freedom as f64).sqrt();
    if between <= by_chance * within || excess.max(0.0).sqrt() < WORTH * mean {
        return None;
    }
    // Rows that the region does not reach go with the row before, the first ones with the first that it does.
    let factor = |row: &Row| {
        let noise = within / row.count as f64;
        1.0 + excess / (excess + noise) * (own_mean(row) / mean - 1.0)
    };
    let mut last = rows.iter().find(told).map_or(1.0, &factor);
    let factors: Vec<f32> = rows
        .iter()
        .map(|row| {
            if told(&row) {
                last = factor(row);
            }
            last as f32
        })
        .collect();
    let noise = within / usual;
    // Each line stands on its own values, and leans on all the others.
    Some((factors, usual * (excess + noise) / excess))
}

/// The beam as a monitor sees it, relative to its mean over `pixels`; steady where it says nothing.
pub(super) fn monitor(light: &Light<'_>, pixels: impl Iterator<Item = usize>) -> Beam {
    let readings = pixels.filter(|&pixel| light.at(pixel).is_some()).filter_map(|pixel| light.monitor(pixel));
    let (sum, count) = readings.fold((0.0, 0_usize), |(sum, count), reading| (sum + reading, count + 1));
    if count == 0 {
        return Beam::Steady;
    }
    Beam::Monitor { level: sum / count as f64, share: share(light) }
}

/// Share of the fluctuations of a monitor that the signal follows.
fn share(light: &Light<'_>) -> f64 {
    let pixels = light.plane.values().len().saturating_sub(light.columns);
    let stride = pixels.div_ceil(PAIRS).max(1) | 1;
    let log = |pixel: usize| {
        let (value, reading) = (light.at(pixel).filter(|v| *v > 0.0)?, light.monitor(pixel)?);
        Some((value.ln(), reading.ln()))
    };
    let pair = |pixel: usize| {
        let ((a, m), (b, n)) = (log(pixel)?, log(pixel + light.columns)?);
        Some((a - b, m - n))
    };
    let pairs: Vec<(f64, f64)> = (0..pixels).step_by(stride).filter_map(pair).collect();
    if pairs.is_empty() {
        return 1.0;
    }
    let mut sizes: Vec<f64> = pairs.iter().map(|(signal, _)| signal.abs()).collect();
    let middle = sizes.len() / 2;
    let limit = 6.0 * *sizes.select_nth_unstable_by(middle, f64::total_cmp).1;
    let kept = pairs.iter().filter(|(signal, _)| signal.abs() <= limit);
    let (along, square) = kept.fold((0.0, 0.0), |(along, square), (signal, reading)| {
        (along + signal * reading, square + reading * reading)
    });
    if square > 0.0 { (along / square).clamp(0.0, 1.0) } else { 1.0 }
}

#[cfg(test)]
mod tests;
