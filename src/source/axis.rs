//! One axis of a grid, however it was told.
//!
//! Beamlines tell the same axis in two ways: from centre to centre, with n - 1 steps between first and last, or from edge to edge, with
//! n. Where the step is told as well it decides which of the two was meant; where it fits neither, the axis is taken from centre to
//! centre, and whoever asks is told to say so.

use crate::scan::Axis;

/// How far a step may be from what follows from the ends, as a share of it.
const TOLERANCE: f64 = 0.02;

/// An axis, and what is doubtful about it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Told {
    pub(super) axis: Axis,
    pub(super) doubt: Option<String>,
}

/// The axis of `points` pixels from `start` to `stop`; `step`, where it is told, says whether those are centres or edges.
pub(super) fn from_ends(name: &str, start: f64, stop: f64, points: usize, step: Option<f64>) -> Told {
    let (range, n) = (stop - start, points as f64);
    let step = step.filter(|step| step.is_finite() && *step != 0.0);
    if points < 2 {
        let step = step.unwrap_or(if range == 0.0 { 1.0 } else { range });
        // One pixel from edge to edge lies in the middle.
        let centre = if close(range.abs(), step.abs()) { start + 0.5 * range } else { start };
        return Told { axis: Axis { start: centre, step }, doubt: None };
    }
    let (between, within) = (range / (n - 1.0), range / n);
    let size = step.map_or(between.abs(), f64::abs);
    // Of a long axis both are near: the nearer one counts.
    let [off_between, off_within] = [between, within].map(|meant| (size - meant.abs()).abs());
    if off_between <= off_within && close(size, between.abs()) {
        return Told { axis: Axis { start, step: between }, doubt: None };
    }
    if close(size, within.abs()) {
        return Told { axis: Axis { start: start + 0.5 * within, step: within }, doubt: None };
    }
    let doubt = format!(
        "{points} pixels along {name} from {start} to {stop} do not fit a step of {size}: the step is taken as {}",
        between.abs()
    );
    Told { axis: Axis { start, step: between }, doubt: Some(doubt) }
}

/// `points` set-points from `start` to `stop`, both included.
pub(super) fn set_points(start: f64, stop: f64, points: usize) -> impl Iterator<Item = f64> {
    let step = if points > 1 { (stop - start) / (points - 1) as f64 } else { 0.0 };
    (0..points)
        .map(move |index| if index + 1 == points && points > 1 { stop } else { start + step * index as f64 })
}

fn close(a: f64, b: f64) -> bool {
    (a - b).abs() <= TOLERANCE * b.abs()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn centres_and_edges_give_the_same_axis(
            start in -500.0..500.0_f64, step in 0.001..10.0_f64, points in 1_usize..300, down in any::<bool>(),
            tells_direction in any::<bool>(),
        ) {
            let step = if down { -step } else { step };
            let told = if tells_direction { step } else { step.abs() };
            let last = start + step * (points as f64 - 1.0);
            let centres = from_ends("x", start, last, points, Some(told));
            prop_assert!(centres.doubt.is_none());
            let edges = from_ends("x", start - 0.5 * step, last + 0.5 * step, points, Some(told));
            prop_assert!(edges.doubt.is_none());
            for told in [&centres, &edges] {
                let first = (told.axis.start - start).abs();
                let end = (told.axis.centre(points - 1) - last).abs();
                prop_assert!(first < 1e-6 && end < 1e-6, "{told:?} {start} {step}");
                prop_assert!(points == 1 || told.axis.step.is_sign_negative() == down);
            }
        }

        #[test]
        fn nothing_finite_makes_a_step_that_is_none(
            start in -1e6..1e6_f64, range in 1e-6..1e6_f64, points in 1_usize..20_000, step in proptest::option::of(-1e3..1e3_f64),
        ) {
            let told = from_ends("x", start, start + range, points, step);
            prop_assert!(told.axis.step.is_finite() && told.axis.step != 0.0, "{told:?}");
        }
    }

    #[test]
    fn what_fits_neither_is_doubted() {
        let told = from_ends("y", 0.0, 10.0, 11, Some(0.5));
        assert_eq!(told.axis, Axis { start: 0.0, step: 1.0 });
        assert!(told.doubt.is_some_and(|doubt| doubt.contains("11 pixels along y")));
    }

    #[test]
    fn set_points_include_both_ends() {
        assert_eq!(set_points(510.0, 512.0, 3).collect::<Vec<_>>(), [510.0, 511.0, 512.0]);
        assert_eq!(set_points(510.0, 530.0, 1).collect::<Vec<_>>(), [510.0]);
        assert_eq!(set_points(510.0, 530.0, 0).count(), 0);
    }
}
