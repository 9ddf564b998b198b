//! Figures of merit: quantiles over draws, risk against coverage, expected calibration error, receiver operating characteristic.
//!
//! Pure functions over scores and answers. Equal scores are never told apart: a threshold takes all of them or none.

use serde::Serialize;

/// Bins of a reliability diagram.
const BINS: usize = 15;

/// The `q` quantile, 0 to 1, interpolated between order statistics; NaN of nothing.
#[must_use]
pub fn quantile(values: &[f64], q: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let Some(last) = sorted.len().checked_sub(1) else { return f64::NAN };
    let place = q.clamp(0.0, 1.0) * last as f64;
    let lower = place as usize;
    let upper = (lower + 1).min(last);
    sorted[lower] + (place - lower as f64) * (sorted[upper] - sorted[lower])
}

/// The middle value.
#[must_use]
pub fn median(values: &[f64]) -> f64 {
    quantile(values, 0.5)
}

/// What one draw in ten falls below; close to the worst draw where there are few.
#[must_use]
pub fn worst_tenth(values: &[f64]) -> f64 {
    quantile(values, 0.1)
}

/// A part over a whole; NaN over nothing.
#[must_use]
pub fn ratio(part: usize, whole: usize) -> f64 {
    if whole == 0 { f64::NAN } else { part as f64 / whole as f64 }
}

/// How often what is said with a confidence is right.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Reliability {
    /// Per bin of confidence, of equal width from 0 to 1.
    pub bins: Vec<ReliabilityBin>,
}

/// One bin of a reliability diagram.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct ReliabilityBin {
    /// Pixels.
    pub pixels: usize,
    /// Sum of their confidences.
    pub confidence: f64,
    /// How many are right.
    pub right: usize,
}

impl Reliability {
    /// Adds a pixel; one whose confidence is NaN does not count.
    pub fn push(&mut self, confidence: f64, right: bool) {
        if confidence.is_nan() {
            return;
        }
        if self.bins.is_empty() {
            self.bins = vec![ReliabilityBin::default(); BINS];
        }
        let bin = &mut self.bins[((confidence * BINS as f64) as usize).min(BINS - 1)];
        bin.pixels += 1;
        bin.confidence += confidence;
        bin.right += usize::from(right);
    }

    /// Adds everything of another.
    pub fn add(&mut self, other: &Self) {
        if self.bins.is_empty() {
            self.bins.clone_from(&other.bins);
            return;
        }
        for (bin, more) in self.bins.iter_mut().zip(&other.bins) {
            bin.pixels += more.pixels;
            bin.confidence += more.confidence;
            bin.right += more.right;
        }
    }

    /// Pixels that count.
    #[must_use]
    pub fn pixels(&self) -> usize {
        self.bins.iter().map(|bin| bin.pixels).sum()
    }

    /// Expected calibration error: the distance between mean confidence and share of right ones, averaged over the bins by
    /// their pixels; NaN without any.
    #[must_use]
    pub fn ece(&self) -> f64 {
        let distance: f64 = self.bins.iter().map(|bin| (bin.confidence - bin.right as f64).abs()).sum();
        if self.pixels() == 0 { f64::NAN } else { distance / self.pixels() as f64 }
    }
}

/// Accuracy of the most confident, against how many those are.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RiskCoverage {
    /// Coverage and accuracy at every threshold, from the strictest on.
    points: Vec<(f64, f64)>,
}

impl RiskCoverage {
    /// Of pixels with a confidence each (NaN: never covered) and whether they are right.
    #[must_use]
    pub fn new(mut pixels: Vec<(f32, bool)>) -> Self {
        let total = pixels.len();
        pixels.retain(|(confidence, _)| !confidence.is_nan());
        pixels.sort_by(|a, b| b.0.total_cmp(&a.0));
        let (mut points, mut right) = (Vec::new(), 0);
        for (index, (confidence, is_right)) in pixels.iter().enumerate() {
            right += usize::from(*is_right);
            if pixels.get(index + 1).is_none_or(|next| next.0 != *confidence) {
                points.push((ratio(index + 1, total), ratio(right, index + 1)));
            }
        }
        Self { points }
    }

    /// The largest coverage at which at least `accuracy` are right; 0 where there is none.
    #[must_use]
    pub fn coverage_at(&self, accuracy: f64) -> f64 {
        self.points.iter().rev().find(|point| point.1 >= accuracy).map_or(0.0, |point| point.0)
    }

    /// At most `count` points of the curve, evenly over the coverage, the last one included.
    #[must_use]
    pub fn thinned(&self, count: usize) -> Vec<[f64; 2]> {
        let mut thinned: Vec<[f64; 2]> = Vec::new();
        for (index, &(coverage, accuracy)) in self.points.iter().enumerate() {
            let next = thinned.last().map_or(0.0, |last| last[0]) + 1.0 / count as f64;
            if coverage >= next || index + 1 == self.points.len() {
                thinned.push([coverage, accuracy]);
            }
        }
        thinned
    }
}

/// Receiver operating characteristic of a score that should be higher for the positive.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Roc {
    /// False and true positive rate, from (0, 0) to (1, 1).
    points: Vec<(f64, f64)>,
}

impl Roc {
    /// Of scores, each with whether it belongs to a positive; NaN counts as lowest.
    #[must_use]
    pub fn new(scores: &[(f64, bool)]) -> Self {
        let mut sorted: Vec<(f64, bool)> =
            scores.iter().map(|&(s, p)| (if s.is_nan() { f64::NEG_INFINITY } else { s }, p)).collect();
        sorted.sort_by(|a, b| b.0.total_cmp(&a.0));
        let positives = sorted.iter().filter(|s| s.1).count();
        let negatives = sorted.len() - positives;
        let (mut points, mut hits, mut alarms) = (vec![(0.0, 0.0)], 0, 0);
        for (index, (score, positive)) in sorted.iter().enumerate() {
            if *positive {
                hits += 1
            } else {
                alarms += 1
            }
            if sorted.get(index + 1).is_none_or(|next| next.0 != *score) {
                points.push((ratio(alarms, negatives), ratio(hits, positives)));
            }
        }
        Self { points }
    }

    /// Area under the curve: the chance that a positive scores higher than a negative, equal ones counting half.
    #[must_use]
    pub fn auc(&self) -> f64 {
        self.points.windows(2).map(|w| (w[1].0 - w[0].0) * (w[1].1 + w[0].1) / 2.0).sum()
    }

    /// True positive rate at a false positive rate of at most `rate`.
    #[must_use]
    pub fn hits_at(&self, rate: f64) -> f64 {
        self.points.iter().filter(|p| p.0 <= rate).map(|p| p.1).fold(0.0, f64::max)
    }

    /// About `count` points of the curve.
    #[must_use]
    pub fn thinned(&self, count: usize) -> Vec<[f64; 2]> {
        let mut thinned: Vec<[f64; 2]> = Vec::new();
        for (index, &(x, y)) in self.points.iter().enumerate() {
            let far = thinned.last().is_none_or(|last| (x - last[0]) + (y - last[1]) >= 2.0 / count as f64);
            if far || index + 1 == self.points.len() {
                thinned.push([x, y]);
            }
        }
        thinned
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_interpolate() {
        let values = [3.0, 1.0, 2.0, 4.0];
        assert_eq!(median(&values), 2.5);
        assert_eq!(quantile(&values, 0.0), 1.0);
        assert!((worst_tenth(&values) - 1.3).abs() < 1e-12);
        assert!(median(&[]).is_nan());
    }

    #[test]
    fn calibration_error_by_hand() {
        let mut reliability = Reliability::default();
        // Ten at 0.9, nine of them right: 0. Four at 0.5, one right: 0.25 off.
        (0..10).for_each(|i| reliability.push(0.9, i > 0));
        (0..4).for_each(|i| reliability.push(0.5, i == 0));
        reliability.push(f64::NAN, true);
        assert_eq!(reliability.pixels(), 14);
        assert!((reliability.ece() - 4.0 * 0.25 / 14.0).abs() < 1e-12);
        let mut twice = reliability.clone();
        twice.add(&reliability);
        assert!((twice.ece() - reliability.ece()).abs() < 1e-12);
        assert!(Reliability::default().ece().is_nan());
    }

    #[test]
    fn coverage_takes_equal_confidences_together() {
        let pixels = vec![(0.9, true), (0.9, true), (0.8, false), (0.8, true), (0.7, true), (f32::NAN, true)];
        let curve = RiskCoverage::new(pixels);
        assert_eq!(curve.points, [(2.0 / 6.0, 1.0), (4.0 / 6.0, 0.75), (5.0 / 6.0, 0.8)]);
        assert_eq!(curve.coverage_at(0.97), 2.0 / 6.0);
        assert_eq!(curve.coverage_at(0.8), 5.0 / 6.0);
        assert_eq!(RiskCoverage::new(vec![(0.5, false)]).coverage_at(0.9), 0.0);
    }

    #[test]
    fn the_area_is_the_chance_of_a_right_order() {
        // Positives 3, 1; negatives 2, 1: of four pairs 3>2, 3>1, 1<2, 1=1: 2.5 of 4.
        let roc = Roc::new(&[(3.0, true), (1.0, true), (2.0, false), (1.0, false)]);
        assert!((roc.auc() - 2.5 / 4.0).abs() < 1e-12);
        assert_eq!(roc.hits_at(0.1), 0.5);
        assert_eq!(Roc::new(&[(1.0, true), (0.0, false), (f64::NAN, false)]).auc(), 1.0);
    }
}
