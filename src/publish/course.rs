//! The course of a scan: what its maps said, one after the other, in numbers that make curves.
//!
//! One point per map that has more values than the one before. Where there are [`MOST`] the course is thinned to every second one, so that it
//! always reaches from the first map to the last; the last one is always there.

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::ScanSummary;
use crate::classify::PhaseMap;

/// Most points of a course.
pub const MOST: usize = 1000;

/// What one map said.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct CoursePoint {
    /// When it was made.
    pub time: DateTime<Utc>,
    /// Its generation.
    pub generation: u64,
    /// Energies with any value.
    pub energies_done: usize,
    /// Values measured.
    pub measured_values: usize,
    /// Shares of the phases among the classified pixels.
    pub fractions: Vec<f64>,
    /// Pixels of each status.
    pub status_counts: std::collections::BTreeMap<&'static str, usize>,
    /// Mean confidence of the pixels that have one.
    pub confidence: Option<f64>,
    /// Mean accumulated dose of the sample, MGy.
    pub dose_mgy: Option<f64>,
    /// Energy offset, eV.
    pub offset_ev: Option<f64>,
    /// Its standard error, eV.
    pub offset_error_ev: Option<f64>,
}

/// The course of a scan.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Course {
    /// The first map first.
    pub points: Vec<CoursePoint>,
}

impl CoursePoint {
    /// What `map` says; `summary` is what the board says of its scan.
    #[must_use]
    pub fn of(summary: &ScanSummary, map: &PhaseMap) -> Self {
        let some = map.confidence.iter().filter(|confidence| confidence.is_finite());
        let (sum, count) = some.fold((0.0, 0_usize), |(sum, count), c| (sum + f64::from(*c), count + 1));
        let dosed = map
            .dose_mgy
            .iter()
            .zip(&map.status)
            .filter(|(dose, status)| status.is_sample() && dose.is_finite());
        let (dose, pixels) =
            dosed.fold((0.0, 0_usize), |(sum, count), (d, _)| (sum + f64::from(*d), count + 1));
        let mean = |sum: f64, count: usize| (count > 0).then(|| sum / count as f64);
        let offset = summary.energy_offset.as_ref();
        Self {
            time: summary.last_update,
            generation: map.origin.generation,
            energies_done: map.origin.energies_done,
            measured_values: summary.measured_values,
            fractions: map.fractions(),
            status_counts: summary.status_counts.clone(),
            confidence: mean(sum, count),
            dose_mgy: mean(dose, pixels),
            offset_ev: offset.and_then(|offset| offset.offset_ev),
            offset_error_ev: offset.and_then(|offset| offset.error_ev),
        }
    }
}

impl Course {
    /// Takes in another map.
    pub fn push(&mut self, point: CoursePoint) {
        // Another look at the same values takes the place of the one before.
        if self.points.last().is_some_and(|last| last.measured_values == point.measured_values) {
            self.points.pop();
        }
        if self.points.len() >= MOST {
            let mut keep = false;
            self.points.retain(|_| {
                keep = !keep;
                keep
            });
        }
        self.points.push(point);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::publish::table::tests::map;

    fn course(values: impl Iterator<Item = usize>) -> Course {
        let mut map = map(6, 7, &[]);
        map.confidence[5..8].copy_from_slice(&[0.5, 0.75, 1.0]);
        let mut summary = ScanSummary::started(&map.plan, map.plan.started);
        summary.describe(&map);
        let mut course = Course::default();
        for measured in values {
            summary.measured_values = measured;
            course.push(CoursePoint::of(&summary, &map));
        }
        course
    }

    #[test]
    fn a_long_course_is_thinned_and_keeps_its_ends() {
        let course = course(1..=5000);
        assert!((MOST / 2..=MOST).contains(&course.points.len()));
        assert_eq!(course.points[0].measured_values, 1);
        assert_eq!(course.points.last().unwrap().measured_values, 5000);
        assert!(course.points.is_sorted_by_key(|point| point.measured_values));
    }

    #[test]
    fn another_look_at_the_same_values_is_no_other_point() {
        let course = course([10, 20, 20, 20].into_iter());
        assert_eq!(course.points.iter().map(|point| point.measured_values).collect::<Vec<_>>(), [10, 20]);
        let point = &course.points[0];
        assert!((point.fractions.iter().sum::<f64>() - 1.0).abs() < 1e-9);
        assert_eq!(point.confidence, Some(0.75));
    }
}
