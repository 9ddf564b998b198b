use std::sync::Arc;

use proptest::prelude::*;

use super::thickness::Thickness;
use super::watershed::distances;
use super::*;
use crate::classify::{NO_PHASE, Origin, Status};
use crate::scan::test_plan;
use crate::simulate::nvpf::reference_set;

/// A disc: row, column, radius, optical density in its middle.
type Disc = (f64, f64, f64, f64);

/// A field of flat discs, where they overlap the thicker one counts, each pixel the mean over 8 × 8 points.
pub(crate) fn field(ny: usize, nx: usize, discs: &[Disc]) -> (PhaseMap, Amounts) {
    let references = reference_set();
    let labels: Vec<_> = references.references.iter().map(|reference| reference.label.clone()).collect();
    let mut map = PhaseMap::unmeasured(Arc::new(test_plan(ny, nx, 4)), labels.into(), Origin::default());
    let mut od = vec![0.0; ny * nx];
    for (pixel, od) in od.iter_mut().enumerate() {
        for point in 0..64 {
            let at = |from: usize, step: usize| from as f64 + (step as f64 + 0.5) / 8.0 - 0.5;
            let (y, x) = (at(pixel / nx, point / 8), at(pixel % nx, point % 8));
            let own = |&(cy, cx, r, od): &Disc| if (y - cy).hypot(x - cx) < r { od } else { 0.0 };
            *od += discs.iter().map(own).fold(0.0, f64::max) as f32 / 64.0;
        }
        (map.status[pixel], map.phase[pixel], map.confidence[pixel]) =
            if *od > 0.2 { (Status::Classified, 0, 1.0) } else { (Status::Background, NO_PHASE, f32::NAN) };
    }
    // A little of what the empty field always has.
    let od: Vec<f32> =
        od.iter().enumerate().map(|(i, od)| od + 0.002 * ((i * 37 % 11) as f32 - 5.0)).collect();
    let amounts = Amounts::with_empty(&map, od, vec![1e-4; ny * nx]);
    (map, amounts)
}

fn measured((map, amounts): &(PhaseMap, Amounts)) -> Particles {
    Particles::measured(map, amounts.clone(), &Thickness::default(), &reference_set())
}

#[test]
fn discs_are_found_with_place_and_area() {
    let discs = [(14.3, 15.8, 7.5, 0.8), (40.0, 44.5, 12.2, 1.2), (48.0, 12.0, 4.1, 0.5)];
    let found = measured(&field(64, 64, &discs));
    assert_eq!(found.particles.len(), 3);
    for (particle, disc) in found.particles.iter().zip([discs[1], discs[0], discs[2]]) {
        let area = std::f64::consts::PI * disc.2 * disc.2;
        let off = particle.area_px.value - area;
        assert!(off.abs() < 0.03 * area, "{} for {area}", particle.area_px.value);
        assert!(off.abs() < 2.0 * particle.area_px.sigma && particle.area_px.sigma < 0.1 * area);
        let [y, x] = particle.centre_px;
        assert!((y - disc.0).hypot(x - disc.1) < 0.2);
        assert!((particle.centre[0] - 0.1 * disc.0).abs() < 0.02, "steps of 0.1 um");
        assert!((particle.area_um2.unwrap().value - 0.01 * particle.area_px.value).abs() < 1e-9);
        assert!(!particle.at_border && particle.touches.is_empty());
        assert_eq!(particle.x.unwrap().middle, 3.0);
        assert_eq!((particle.entropy_bits, particle.x_spread), (Some(0.0), Some(0.0)));
    }
    assert_eq!(found.particles.iter().map(|own| own.id).collect::<Vec<_>>(), [1, 2, 3]);
    assert_eq!(found.variable.as_deref(), Some("na_x"));
}

#[test]
fn what_touches_is_cut_at_the_neck_and_what_is_uneven_is_not() {
    let two = measured(&field(40, 60, &[(20.0, 20.0, 10.0, 0.8), (20.0, 36.5, 9.0, 0.8)]));
    assert_eq!(two.particles.len(), 2);
    assert_eq!((&two.particles[0].touches, &two.particles[1].touches), (&vec![2], &vec![1]));
    let middle = |own: &Particle| own.centre_px[1];
    assert!((middle(&two.particles[0]) - 20.0).abs() < 0.7 && (middle(&two.particles[1]) - 36.5).abs() < 0.7);
    // A blob of two discs with hardly a neck.
    let one = measured(&field(40, 60, &[(20.0, 20.0, 10.0, 0.8), (20.0, 28.0, 9.0, 0.8)]));
    assert_eq!(one.particles.len(), 1);
}

/// A field of domes that lie over each other, as one looks through them: row, column, radius, density at the rim and more in the middle.
fn domes(ny: usize, nx: usize, domes: &[(f64, f64, f64, f64, f64)]) -> (PhaseMap, Amounts) {
    let discs: Vec<Disc> = domes.iter().map(|&(y, x, r, thin, thick)| (y, x, r, thin + thick)).collect();
    let (map, flat) = field(ny, nx, &discs);
    let od = (0..ny * nx).map(|pixel| {
        let point = |point: usize| {
            let at = |from: usize, step: usize| from as f64 + (step as f64 + 0.5) / 8.0 - 0.5;
            let (y, x) = (at(pixel / nx, point / 8), at(pixel % nx, point % 8));
            let own = |&(cy, cx, r, thin, thick): &(f64, f64, f64, f64, f64)| {
                let t = (y - cy).hypot(x - cx) / r;
                if t < 1.0 { thin + thick * (1.0 - t * t).sqrt() } else { 0.0 }
            };
            domes.iter().map(own).sum::<f64>() / 64.0
        };
        (0..64).map(point).sum::<f64>() as f32 + 0.002 * ((pixel * 37 % 11) as f32 - 5.0)
    });
    let amounts = Amounts::with_empty(&map, od.collect(), flat.variance);
    (map, amounts)
}

#[test]
fn what_lies_over_another_is_said_and_what_touches_or_is_alone_is_not() {
    let overlaps = |field: &(PhaseMap, Amounts)| -> Vec<bool> {
        measured(field).particles.iter().map(|own| own.overlaps).collect()
    };
    // One by itself, two that touch, of either shape.
    assert_eq!(overlaps(&domes(40, 40, &[(20.0, 20.0, 12.0, 0.1, 0.6)])), [false]);
    let touch = [(20.0, 20.0, 10.0, 0.1, 0.5), (20.0, 39.5, 9.5, 0.1, 0.7)];
    assert_eq!(overlaps(&domes(40, 60, &touch)), [false; 2]);
    assert_eq!(overlaps(&field(40, 60, &[(20.0, 20.0, 10.0, 0.8), (20.0, 36.5, 9.0, 0.8)])), [false; 2]);
    // Over each other by a third; and one wholly over the other, without any neck.
    let third = [(20.0, 20.0, 11.0, 0.1, 0.5), (20.0, 35.0, 10.0, 0.1, 0.7)];
    let found = overlaps(&domes(40, 60, &third));
    assert!(!found.is_empty() && found.iter().all(|own| *own), "{found:?}");
    let wholly = [(24.0, 24.0, 16.0, 0.1, 0.5), (22.0, 27.0, 8.0, 0.1, 0.4)];
    assert_eq!(overlaps(&domes(48, 48, &wholly)), [true]);
    // A particle by itself beside them is not drawn in.
    let three = [third[0], third[1], (52.0, 20.0, 9.0, 0.1, 0.6)];
    let field = domes(70, 60, &three);
    let found = measured(&field);
    let alone = found.particles.iter().find(|own| own.centre_px[0] > 45.0).unwrap();
    assert!(!alone.overlaps && found.particles.iter().filter(|own| own.overlaps).count() >= 1);
}

#[test]
fn what_is_small_is_counted_and_a_field_without_matter_has_nothing() {
    let found = measured(&field(40, 40, &[(10.0, 10.0, 1.4, 0.8), (26.0, 26.0, 6.0, 0.8)]));
    assert_eq!(found.particles.len(), 1);
    assert_eq!(found.left_out.pieces, 1);
    assert!((4..12).contains(&found.left_out.pixels));
    let empty = measured(&field(40, 40, &[]));
    assert!(empty.particles.is_empty() && empty.spread.is_none());
    let (mut map, _) = field(20, 20, &[]);
    map.status.fill(Status::Unmeasured);
    let nothing = Amounts::with_empty(&map, vec![f32::NAN; 400], vec![f32::NAN; 400]);
    assert!(measured(&(map, nothing)).particles.is_empty());
}

#[test]
fn lines_without_values_do_not_cut_a_particle() {
    let (mut map, mut amounts) = field(50, 50, &[(25.0, 25.0, 14.0, 0.8)]);
    for x in 0..50 {
        let pixel = 24 * 50 + x;
        (map.status[pixel], amounts.od[pixel]) = (Status::Unmeasured, f32::NAN);
    }
    let found = measured(&(map, amounts));
    assert_eq!(found.particles.len(), 1);
    let own = &found.particles[0];
    assert!((own.area_px.value - std::f64::consts::PI * 196.0).abs() < 0.04 * own.area_px.value);
    // Those at either end are covered in part.
    assert_eq!(own.status_counts[Status::Unmeasured as usize], 29);
    assert!(own.unknown > 0.03 && own.x.unwrap().low < 2.95, "what was not measured widens it");
}

#[test]
fn the_mean_state_knows_its_doubts() {
    let sound = field(40, 40, &[(20.0, 20.0, 10.0, 0.8)]);
    let of = |change: &dyn Fn(&mut PhaseMap, usize)| {
        let (mut map, amounts) = sound.clone();
        for pixel in (0..1600).filter(|pixel| sound.0.status[*pixel].is_sample()) {
            change(&mut map, pixel);
        }
        measured(&(map, amounts)).particles.remove(0)
    };
    // Half x = 3, half x = 2.
    let halves = of(&|map, pixel| map.phase[pixel] = if pixel % 40 < 20 { 0 } else { 2 });
    let x = halves.x.unwrap();
    assert!((x.middle - 2.5).abs() < 0.04 && x.high - x.low < 0.12, "{x:?}");
    assert!(
        (halves.entropy_bits.unwrap() - 1.0).abs() < 0.01 && (halves.x_spread.unwrap() - 0.5).abs() < 0.01
    );
    let width = |own: &Particle| own.x.map(|x| x.high - x.low).unwrap();
    // Half of it like no reference: could be anything.
    let unknown = of(&|map, pixel| {
        if pixel % 40 < 20 {
            map.status[pixel] = Status::Unknown;
        }
    });
    assert!((unknown.unknown - 0.5).abs() < 0.04 && unknown.x.unwrap().low < 2.1, "{:?}", unknown.x);
    // All between 3 and 2.4.
    let ambiguous = of(&|map, pixel| {
        (map.status[pixel], map.runner_up[pixel], map.confidence[pixel]) = (Status::Ambiguous, 1, 0.5);
    });
    let x = ambiguous.x.unwrap();
    assert!((x.middle - 2.7).abs() < 1e-6 && x.low <= 2.4 + 1e-6 && x.high >= 3.0 - 1e-6, "{x:?}");
    // Mixtures whose shares are known well.
    let mixed = of(&|map, pixel| {
        (map.status[pixel], map.runner_up[pixel]) = (Status::Mixture, 2);
        (map.share[pixel], map.share_error[pixel]) = (0.7, 0.02);
    });
    assert!((mixed.x.unwrap().middle - 2.7).abs() < 1e-6);
    assert!(width(&mixed) > 0.1 && width(&mixed) < 0.4, "{:?}", mixed.x);
    let nothing = of(&|map, pixel| map.status[pixel] = Status::Unknown);
    assert_eq!((nothing.x, nothing.unknown), (None, 1.0));
    assert!(nothing.shares.is_empty() && nothing.entropy_bits.is_none());
}

#[test]
fn spread_inside_is_told_from_spread_between() {
    let discs =
        [(12.0, 12.0, 8.0, 0.8), (12.0, 40.0, 8.0, 0.8), (40.0, 12.0, 8.0, 0.8), (40.0, 40.0, 8.0, 0.8)];
    let (map, amounts) = field(56, 56, &discs);
    let with = |phase: &dyn Fn(usize, usize) -> u8| {
        let mut map = map.clone();
        for pixel in (0..map.len()).filter(|&pixel| map.status[pixel].is_sample()).collect::<Vec<_>>() {
            map.phase[pixel] = phase(pixel / 56, pixel % 56);
        }
        measured(&(map, amounts.clone())).spread.unwrap()
    };
    let between = with(&|_, x| if x < 28 { 0 } else { 2 });
    assert!(between.share_within.unwrap() < 0.01 && between.between > 0.5);
    let within = with(&|_, x| if x % 28 < 12 { 0 } else { 2 });
    assert!(within.share_within.unwrap() > 0.95 && (within.within - 0.5).abs() < 0.02, "{within:?}");
}

#[test]
fn particles_keep_their_numbers() {
    let discs = [(14.0, 14.0, 8.0, 0.8), (40.0, 44.0, 9.0, 0.8), (44.0, 12.0, 5.0, 0.8)];
    let grid = test_plan(64, 64, 1).grid;
    let mut follower = Follower::default();
    let ids = |found: &Particles| found.particles.iter().map(|own| own.id).collect::<Vec<_>>();
    let mut first = measured(&field(64, 64, &discs));
    follower.name(&mut first, &grid);
    assert_eq!(ids(&first), [1, 2, 3]);
    // One grows, one goes, one comes: the order by size is another one.
    let later = [(14.0, 14.0, 9.6, 0.8), (40.0, 44.0, 9.0, 0.8), (14.0, 50.0, 6.0, 0.8)];
    let mut second = measured(&field(64, 64, &later));
    follower.name(&mut second, &grid);
    assert_eq!(ids(&second), [2, 1, 4]);
    let mut third = measured(&field(64, 64, &discs));
    follower.name(&mut third, &grid);
    assert_eq!(ids(&third), [1, 2, 5], "who was gone is new");
}

#[test]
fn particles_of_two_scans_are_matched_in_the_sample_plane() {
    let before = measured(&field(64, 64, &[(14.0, 14.0, 8.0, 0.8), (40.0, 44.0, 9.0, 0.8)]));
    let after = measured(&field(64, 64, &[(24.0, 9.0, 8.0, 0.8), (50.0, 39.0, 9.0, 0.8)]));
    let grid = test_plan(64, 64, 1).grid;
    let shift = [10.0 * grid.y.step, -5.0 * grid.x.step];
    let found = matched((&before.labels, &grid), (&after.labels, &grid), shift);
    assert_eq!(found.iter().map(|own| (own.before, own.now)).collect::<Vec<_>>(), [(1, 1), (2, 2)]);
    assert!(found.iter().all(|own| own.overlap > 0.95));
    // The same place in half as many pixels.
    let mut coarse = grid.clone();
    (coarse.shape, coarse.x.step, coarse.y.step) = ([32, 32], 0.2, 0.2);
    let half = measured(&field(32, 32, &[(7.0, 7.0, 4.0, 0.8), (20.0, 22.0, 4.5, 0.8)]));
    assert_eq!(matched((&before.labels, &grid), (&half.labels, &coarse), [0.0; 2]).len(), 2);
    // Another place.
    let mut away = grid.clone();
    away.x.start += 100.0;
    assert!(matched((&before.labels, &grid), (&before.labels, &away), [0.0; 2]).is_empty());
}

proptest! {
    #[test]
    fn distances_are_those_to_the_nearest_pixel_outside(mask in proptest::collection::vec(any::<bool>(), 63)) {
        let (ny, nx) = (7, 9);
        let found = distances(&mask, ny, nx);
        for (pixel, found) in found.iter().enumerate() {
            let to = |other: usize| {
                let (dy, dx) = ((pixel / nx).abs_diff(other / nx), (pixel % nx).abs_diff(other % nx));
                ((dy * dy + dx * dx) as f32).sqrt()
            };
            let outside = (0..63).filter(|&other| !mask[other]);
            let nearest = outside.map(to).reduce(f32::min).unwrap_or(((ny * ny + nx * nx) as f32).sqrt());
            prop_assert!((found - nearest).abs() < 1e-4);
        }
    }

    #[test]
    fn every_pixel_of_matter_is_in_one_particle_or_left_out(mask in proptest::collection::vec(any::<bool>(), 240)) {
        let labels = Labels::cut(&mask, [12, 20]);
        let inside = labels.of_pixel.iter().filter(|&&label| label > 0).count();
        prop_assert_eq!(inside + labels.left_out.pixels, mask.iter().filter(|&&matter| matter).count());
        let sizes: Vec<usize> = labels.pixels().iter().map(Vec::len).collect();
        prop_assert!(sizes.iter().all(|&size| size >= LEAST_PIXELS));
        prop_assert!(sizes.windows(2).all(|pair| pair[0] >= pair[1]));
    }
}
