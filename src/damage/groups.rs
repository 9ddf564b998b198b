//! Which pixels are looked at together: all that hold matter, those of each phase, and each particle.
//!
//! The field and the particles have a rim of empty pixels around them: what an edge loses where the sample lies half a pixel further
//! the rim wins, so that their means hold still while the sample does not. A phase has no rim; what its means owe to the place
//! of the sample is reckoned with where they are read. It is taken without its borders where enough of it is left: a border belongs half to another
//! phase, and moves with the sample.

use crate::classify::{PhaseMap, Status};

/// Empty pixels around matter that belong to it.
const RIM: usize = 3;
/// Particles that are followed, the largest ones.
const MOST_PARTICLES: usize = 16;

/// What a group is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Of {
    /// All matter in the field.
    Field,
    /// All pixels of a phase, by its identifier.
    Phase(String),
    /// A particle, counted from 1, the largest first.
    Particle(usize),
}

impl std::fmt::Display for Of {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Field => write!(f, "field"),
            Self::Phase(id) => write!(f, "phase {id}"),
            Self::Particle(number) => write!(f, "particle {number}"),
        }
    }
}

/// Pixels that are looked at together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// What they are.
    pub of: Of,
    /// The pixels, ascending; the rim included.
    pub pixels: Vec<usize>,
    /// How many pixels of matter it has; of a phase, its borders included.
    pub matter: usize,
    /// Index of the phase that most of them have.
    pub phase: Option<usize>,
    /// Whether it is a phase of which hardly anything is left without its borders: its mean is read with them.
    pub ragged: bool,
}

/// All groups of a map, and its empty pixels.
#[derive(Clone, Debug, Default)]
pub struct Groups {
    /// The field first, then phases, then particles; those with fewer pixels than asked for are not there.
    pub groups: Vec<Group>,
    /// Measured pixels without matter, away from it.
    pub empty: Vec<usize>,
}

impl Groups {
    /// The groups of a map that have at least `least` pixels of matter.
    #[must_use]
    pub fn of(map: &PhaseMap, least: usize) -> Self {
        let [ny, nx] = map.plan.grid.shape;
        let matter: Vec<bool> = map.status.iter().map(|&status| status.is_sample()).collect();
        let labels = components(&matter, ny, nx);
        let count = labels.iter().copied().max().unwrap_or(0);
        let mut sizes = vec![0_usize; count + 1];
        labels.iter().for_each(|&label| sizes[label] += 1);
        let mut order: Vec<usize> = (1..=count).filter(|&label| sizes[label] >= least).collect();
        order.sort_by_key(|&label| (std::cmp::Reverse(sizes[label]), label));
        order.truncate(MOST_PARTICLES);
        let wide = grown(&labels, ny, nx);
        let measured = |pixel: usize| map.status[pixel] != Status::Unmeasured;
        let of_labels = |wanted: &dyn Fn(usize) -> bool| -> Vec<usize> {
            (0..wide.len()).filter(|&pixel| wanted(wide[pixel]) && measured(pixel)).collect()
        };
        let mut groups = Vec::new();
        let all = matter.iter().filter(|&&is| is).count();
        if all >= least {
            let pixels = of_labels(&|label| label > 0);
            groups.push(Group {
                of: Of::Field,
                phase: common_phase(map, &pixels),
                pixels,
                matter: all,
                ragged: false,
            });
        }
        for (phase, label) in map.phases.iter().enumerate() {
            // The best guess counts: what the beam changes is the first to be no longer classified.
            let is = |&pixel: &usize| matter[pixel] && usize::from(map.phase[pixel]) == phase;
            let pixels: Vec<usize> = (0..map.len()).filter(is).collect();
            let is_core = |&pixel: &usize| {
                let (y, x) = (pixel / nx, pixel % nx);
                let inside = y > 0 && y + 1 < ny && x > 0 && x + 1 < nx;
                let own = |other: usize| usize::from(map.phase[other]) == phase && matter[other];
                inside && [pixel - nx, pixel + nx, pixel - 1, pixel + 1].into_iter().all(own)
            };
            let core: Vec<usize> = pixels.iter().copied().filter(is_core).collect();
            let ragged = core.len() < least;
            if pixels.len() >= least {
                let (of, matter) = (Of::Phase(label.id.clone()), pixels.len());
                let pixels = if ragged { pixels } else { core };
                groups.push(Group { of, pixels, matter, phase: Some(phase), ragged });
            }
        }
        for (number, &label) in order.iter().enumerate() {
            let pixels = of_labels(&|own| own == label);
            let phase = common_phase(map, &pixels);
            groups.push(Group {
                of: Of::Particle(number + 1),
                pixels,
                matter: sizes[label],
                phase,
                ragged: false,
            });
        }
        let is_empty = |&pixel: &usize| wide[pixel] == 0 && map.status[pixel] == Status::Background;
        Self { groups, empty: (0..map.len()).filter(is_empty).collect() }
    }
}

/// The phase that most of `pixels` have, as far as it is known.
fn common_phase(map: &PhaseMap, pixels: &[usize]) -> Option<usize> {
    let mut counts = vec![0_usize; map.phases.len()];
    for &pixel in pixels {
        if map.status[pixel].is_sample()
            && let Some(count) = counts.get_mut(usize::from(map.phase[pixel]))
        {
            *count += 1;
        }
    }
    let (phase, &most) = counts.iter().enumerate().max_by_key(|(_, count)| **count)?;
    (most > 0).then_some(phase)
}

/// Connected parts, corners included: 0 where there is none, else counted from 1 in the order of their first pixel.
pub(crate) fn components(matter: &[bool], ny: usize, nx: usize) -> Vec<usize> {
    let mut labels = vec![0_usize; matter.len()];
    let (mut next, mut open) = (0, Vec::new());
    for first in 0..matter.len() {
        if !matter[first] || labels[first] != 0 {
            continue;
        }
        next += 1;
        labels[first] = next;
        open.push(first);
        while let Some(pixel) = open.pop() {
            let (y, x) = (pixel / nx, pixel % nx);
            for yy in y.saturating_sub(1)..=(y + 1).min(ny - 1) {
                for xx in x.saturating_sub(1)..=(x + 1).min(nx - 1) {
                    let other = yy * nx + xx;
                    if matter[other] && labels[other] == 0 {
                        labels[other] = next;
                        open.push(other);
                    }
                }
            }
        }
    }
    labels
}

/// The same parts with a rim; where two rims meet the lower number wins.
fn grown(labels: &[usize], ny: usize, nx: usize) -> Vec<usize> {
    let mut wide = labels.to_vec();
    for _ in 0..RIM {
        let before = wide.clone();
        for pixel in (0..wide.len()).filter(|&pixel| before[pixel] == 0) {
            let (y, x) = (pixel / nx, pixel % nx);
            let beside = [
                (y > 0).then(|| pixel - nx),
                (y + 1 < ny).then(|| pixel + nx),
                (x > 0).then(|| pixel - 1),
                (x + 1 < nx).then(|| pixel + 1),
            ];
            let label =
                beside.into_iter().flatten().map(|other| before[other]).filter(|&label| label > 0).min();
            wide[pixel] = label.unwrap_or(0);
        }
    }
    wide
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::classify::Origin;
    use crate::reference::PhaseLabel;
    use crate::scan::test_plan;

    fn map(picture: &[&str]) -> PhaseMap {
        let plan = test_plan(picture.len(), picture[0].len(), 1);
        let label = |id: &str| PhaseLabel { id: id.to_owned(), title: id.to_owned(), colour: [0; 3] };
        let phases: Arc<[PhaseLabel]> = ["a", "b"].map(label).into();
        let mut map = PhaseMap::unmeasured(Arc::new(plan), phases, Origin::default());
        for (pixel, letter) in picture.concat().chars().enumerate() {
            (map.status[pixel], map.phase[pixel]) = match letter {
                'a' => (Status::Classified, 0),
                'b' => (Status::Classified, 1),
                '?' => (Status::Ambiguous, 0),
                '.' => (Status::Background, crate::classify::NO_PHASE),
                _ => (Status::Unmeasured, crate::classify::NO_PHASE),
            };
        }
        map
    }

    #[test]
    fn field_phases_and_particles_are_found_with_their_rims() {
        let map = map(&[
            "..............",
            ".aa...........",
            ".ab...........",
            "..............",
            ".............b",
            "..........?bbb",
            "..............",
        ]);
        let Groups { groups, empty } = Groups::of(&map, 2);
        let names: Vec<String> = groups.iter().map(|group| group.of.to_string()).collect();
        assert_eq!(names, ["field", "phase a", "phase b", "particle 1", "particle 2"]);
        let matter: Vec<usize> = groups.iter().map(|group| group.matter).collect();
        assert_eq!(matter, [9, 4, 5, 5, 4]);
        assert_eq!(groups[1].pixels, [15, 16, 29, 80]);
        assert_eq!(
            groups.iter().map(|group| group.phase).collect::<Vec<_>>(),
            [Some(1), Some(0), Some(1), Some(1), Some(0)]
        );
        // The particle at the border: a rim of three all around, cut off by the field.
        assert!(groups[3].pixels.contains(&(5 * 14 + 7)) && !groups[3].pixels.contains(&(5 * 14 + 6)));
        let rims: usize = groups[3].pixels.len() + groups[4].pixels.len();
        assert_eq!((groups[0].pixels.len(), empty.len()), (rims, 7 * 14 - rims));
    }

    #[test]
    fn small_groups_and_unmeasured_pixels_are_left_out() {
        let map = map(&["aa ", "   ", "   "]);
        assert!(Groups::of(&map, 3).groups.is_empty());
        let Groups { groups, empty } = Groups::of(&map, 2);
        assert_eq!((groups[0].pixels.len(), empty.len()), (2, 0));
    }
}
