//! A view of a map in which the pixels that were not measured are filled from those that were: for the eye only.
//!
//! A pixel that was not measured gets the verdict that is most frequent among the measured pixels about as near as the
//! nearest one (each counts less with the square of its distance; of equal ones the nearest's). So the fill keeps
//! edges, invents no verdict that is not there, and says nothing of its own. Tables never hold it; who draws it marks
//! it.

use crate::classify::{PhaseMap, Status};
use crate::scan::nearest;

/// Verdicts for every pixel of a map, row-major.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inpainted {
    /// Verdict.
    pub status: Vec<Status>,
    /// Index of the phase, as in the map.
    pub phase: Vec<u8>,
    /// Index of the second best, as in the map.
    pub runner_up: Vec<u8>,
    /// Whether the pixel was not measured, and what is said of it is its neighbours'.
    pub filled: Vec<bool>,
}

/// What makes two verdicts the same.
type Verdict = (Status, u8, u8);

impl Inpainted {
    /// Fills the unmeasured pixels of `map`; of a map without a measured pixel nothing is filled.
    #[must_use]
    pub fn of(map: &PhaseMap) -> Self {
        let shape = map.plan.grid.shape;
        let measured: Vec<bool> = map.status.iter().map(|&status| status != Status::Unmeasured).collect();
        let near = nearest(&measured, shape);
        let mut view = Self {
            status: map.status.clone(),
            phase: map.phase.clone(),
            runner_up: map.runner_up.clone(),
            filled: measured.iter().zip(&near).map(|(&measured, near)| !measured && near.is_some()).collect(),
        };
        let mut votes = Vec::new();
        for pixel in (0..measured.len()).filter(|&pixel| !measured[pixel]) {
            let Some(near) = near[pixel] else { continue };
            let (status, phase, runner_up) =
                likeliest(map, &measured, (pixel, near as usize), shape, &mut votes);
            (view.status[pixel], view.phase[pixel], view.runner_up[pixel]) = (status, phase, runner_up);
        }
        view
    }
}

/// The verdict with most weight around a pixel whose nearest measured one is `near`.
fn likeliest(
    map: &PhaseMap,
    measured: &[bool],
    (pixel, near): (usize, usize),
    [ny, nx]: [usize; 2],
    votes: &mut Vec<(Verdict, f64)>,
) -> Verdict {
    let verdict = |pixel: usize| (map.status[pixel], map.phase[pixel], map.runner_up[pixel]);
    let square = |other: usize| {
        let (dy, dx) = ((pixel / nx).abs_diff(other / nx), (pixel % nx).abs_diff(other % nx));
        (dy * dy + dx * dx) as f64
    };
    // A diagonal step is about one and a half of those along the rows and columns.
    let reach = square(near).sqrt() as usize + 1;
    let (y, x) = (pixel / nx, pixel % nx);
    votes.clear();
    votes.push((verdict(near), 0.0));
    for row in y.saturating_sub(reach)..(y + reach + 1).min(ny) {
        for column in x.saturating_sub(reach)..(x + reach + 1).min(nx) {
            let other = row * nx + column;
            if !measured[other] {
                continue;
            }
            let (what, weight) = (verdict(other), 1.0 / square(other));
            match votes.iter_mut().find(|(held, _)| *held == what) {
                Some((_, sum)) => *sum += weight,
                None => votes.push((what, weight)),
            }
        }
    }
    // The first of the heaviest: that of the nearest, where it is as heavy as any.
    let mut best = votes[0];
    for vote in &votes[1..] {
        if vote.1 > best.1 {
            best = *vote;
        }
    }
    best.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::classify::NO_PHASE;
    use crate::publish::table::tests::map;

    #[test]
    fn what_was_measured_stays_and_the_rest_is_its_neighbours() {
        let mut map = map(6, 8, &[]);
        for pixel in 0..48 {
            let (y, x) = (pixel / 8, pixel % 8);
            let seen = (x + y) % 2 == 0;
            map.status[pixel] = if seen { Status::Classified } else { Status::Unmeasured };
            map.phase[pixel] = if !seen { NO_PHASE } else { u8::from(x >= 4) };
        }
        let view = Inpainted::of(&map);
        for pixel in 0..48 {
            let (y, x) = (pixel / 8, pixel % 8);
            assert_eq!(view.filled[pixel], (x + y) % 2 == 1);
            assert_eq!(view.status[pixel], Status::Classified);
            if !(3..=4).contains(&x) || !view.filled[pixel] {
                assert_eq!(view.phase[pixel], u8::from(x >= 4), "{y} {x}");
            }
        }
        assert_eq!(map.status[1], Status::Unmeasured, "the map is what it was");
    }

    #[test]
    fn a_map_without_a_measured_pixel_is_not_filled() {
        let mut map = map(3, 3, &[]);
        map.status.fill(Status::Unmeasured);
        let view = Inpainted::of(&map);
        assert!(view.filled.iter().all(|filled| !filled));
        assert_eq!(view.status, map.status);
    }
}
