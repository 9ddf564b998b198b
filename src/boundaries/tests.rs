use std::sync::Arc;

use proptest::prelude::*;

use super::curve::{WAYS, along, order};
use super::enrichment::{Place, compare};
use super::meeting::{Profile, Sums, transition};
use super::spot::normal;
use super::step::{Point, fit};
use super::*;
use crate::particles::Amounts;
use crate::registration::Drift;
use crate::scan::test_plan;
use crate::simulate::nvpf::reference_set;

const SHARP: Spot = Spot { fwhm_px: 0.0, is_known: true, drift_px: 0.0 };

/// A disc of two phases, the second to the right of `boundary`.
fn halves(boundary: usize) -> (PhaseMap, Particles) {
    let references = reference_set();
    let labels: Vec<_> = references.references.iter().map(|reference| reference.label.clone()).collect();
    let plan = Arc::new(test_plan(40, 40, 4));
    let mut map = PhaseMap::unmeasured(plan, labels.into(), crate::classify::Origin::default());
    let mut od = vec![0.0; 1600];
    for (pixel, od) in od.iter_mut().enumerate() {
        let (y, x) = (pixel / 40, pixel % 40);
        let inside = (y as f64 - 20.0).hypot(x as f64 - 20.0) < 15.0;
        *od = if inside { 0.8 } else { 0.001 * (pixel % 7) as f32 };
        map.status[pixel] = if inside { Status::Classified } else { Status::Background };
        map.phase[pixel] = if !inside { u8::MAX } else { 2 * u8::from(x >= boundary) };
        map.confidence[pixel] = 1.0;
    }
    let amounts = Amounts::with_empty(&map, od, vec![1e-5; 1600]);
    let particles = Particles::of_amounts(&map, amounts, &references);
    (map, particles)
}

#[test]
fn regions_come_from_classified_pixels_alone() {
    let (mut map, particles) = halves(20);
    let sharp = Regions::of(&map, &particles);
    let at = |y: usize, x: usize| y * 40 + x;
    assert_eq!((sharp.phase[at(20, 19)], sharp.phase[at(20, 20)]), (Some(0), Some(2)));
    assert_eq!((sharp.to_boundary_px[at(20, 19)], sharp.to_boundary_px[at(20, 22)]), (0.5, 2.5));
    assert_eq!((sharp.beyond[at(20, 10)], sharp.beyond[at(20, 30)]), (Some(2), Some(0)));
    assert_eq!((sharp.particle[at(2, 2)], sharp.phase[at(2, 2)]), (0, None));
    assert!((sharp.to_rim_px[at(20, 20)] - 14.5).abs() < 0.6);
    // Doubt along the boundary, a stray verdict, and doubt elsewhere move nothing.
    for y in 8..32 {
        for x in 18..22 {
            (map.status[at(y, x)], map.phase[at(y, x)]) = (Status::Ambiguous, 4);
        }
    }
    (map.phase[at(20, 10)], map.phase[at(20, 11)], map.phase[at(30, 30)]) = (3, 3, 0);
    map.status[at(12, 28)] = Status::Mixture;
    assert_eq!(Regions::of(&map, &particles).phase[at(10, 10)..], sharp.phase[at(10, 10)..]);
    // One phase: no boundary.
    let (map, particles) = halves(0);
    assert!(Regions::of(&map, &particles).to_boundary_px.iter().all(|to| to.is_infinite()));
}

#[test]
fn a_beam_widens_a_boundary_by_its_width() {
    let wide = Spot { fwhm_px: 3.0, ..SHARP };
    assert_eq!((SHARP.part_beyond(0.0), SHARP.part_beyond(0.5), SHARP.part_beyond(-2.0)), (0.5, 0.0, 1.0));
    assert!((wide.part_beyond(0.0) - 0.5).abs() < 1e-6 && (wide.part_beyond(1.5) - 0.127).abs() < 0.01);
    for distance in [0.0, 0.7, 2.3] {
        assert!((wide.part_beyond(distance) + wide.part_beyond(-distance) - 1.0).abs() < 1e-6);
    }
    assert!(SHARP.doubt(0.5) < 0.5 && SHARP.doubt(1.5) == 0.0);
    assert!(wide.doubt(0.5) == 1.0 && wide.doubt(1.5) > 0.4 && wide.doubt(4.5) == 0.0);
    assert!((normal(0.0) - 0.5).abs() < 1e-7 && (normal(1.959_964) - 0.975).abs() < 1e-6);
    assert!(!Spot::of(None, &Drift::default()).is_known);
    assert_eq!(Spot::of(Some(0.4), &Drift::default()).fwhm_px, 0.4);
}

/// A square of 40 × 40 pixels with a boundary down its middle; `is_doubtful` by row and distance.
fn square(is_doubtful: impl Fn(u32, u32, f64) -> bool) -> Vec<Place> {
    let place = |y: u32, x: u32| {
        let distance_px = (f64::from(x) - 19.5).abs();
        Place { particle: 1, stratum: 3, y, x, distance_px, is_doubtful: is_doubtful(y, x, distance_px) }
    };
    (0..40).flat_map(|y| (0..40).map(move |x| place(y, x))).collect()
}

#[test]
fn an_enrichment_is_found_with_its_ratio() {
    // One in two near, one in eight elsewhere.
    let places = square(|y, x, distance| {
        let scattered = (y * 7 + x * 13) % 8;
        if distance <= 2.0 { scattered < 4 } else { scattered == 0 }
    });
    let found = compare(&places, &|distance| SHARP.doubt(distance)).unwrap();
    assert!((found.ratio.middle - 4.0).abs() < 0.3, "{found:?}");
    assert!(found.ratio.low < 4.0 && found.ratio.high > 4.0 && found.ratio.low > 1.2, "{found:?}");
    assert!(found.is_enriched && found.p < 0.01 && found.by_chance[0] < 1.0 && found.by_chance[1] > 1.0);
    assert!(found.explained > 1.5 && found.explained < 4.0, "{}", found.explained);
    assert!((found.beyond.middle - found.ratio.middle / found.explained).abs() < 1e-9);
    let at: Vec<f64> = found.by_distance.iter().map(|row| row.ratio.unwrap().middle).collect();
    assert!(at[0] > 3.0 && at[1] > 3.0 && at[2] < 1.5 && at[4] < 1.5, "{at:?}");
    assert_eq!(found.near, [160, 80]);
}

#[test]
fn what_lies_together_is_no_enrichment_by_itself() {
    // One patch of doubt, across the boundary, as large as what the other test has near it.
    let places = square(|y, x, _| (4..13).contains(&y) && (15..24).contains(&x));
    let patch = compare(&places, &|_| 0.0).unwrap();
    assert!(patch.ratio.middle > 2.0 && !patch.is_enriched && patch.together > 3.0, "{patch:?}");
    // As many one by one: then it is one.
    let places = square(|y, x, distance| distance <= 2.0 && y % 2 == 0 && x % 2 == 0 || (y + x) % 40 == 0);
    assert!(compare(&places, &|_| 0.0).unwrap().is_enriched);
}

#[test]
fn too_little_is_not_compared() {
    assert!(compare(&square(|_, _, _| false), &|_| 0.0).is_none());
    assert!(compare(&[], &|_| 0.0).is_none());
    let near = |place: &Place| place.distance_px > 2.0 || place.y < 3;
    let few: Vec<Place> = square(|_, x, _| x % 3 == 0).into_iter().filter(near).collect();
    assert!(compare(&few, &|_| 0.0).is_none(), "twelve pixels near it");
}

#[test]
fn a_step_is_found_with_its_width() {
    for (sigma, middle) in [(0.5, 0.0), (1.5, 0.4), (3.0, -0.7)] {
        let point = |i: i32| {
            let distance_px = f64::from(i) + 0.5;
            let value = 0.1 + 0.8 * normal((distance_px - middle) / sigma);
            Point { distance_px, value, weight: 10.0 }
        };
        let points: Vec<Point> = (-6..6).map(point).collect();
        let step = fit(&points).unwrap();
        assert!(
            (step.sigma_px - sigma).abs() < 0.1 * sigma && (step.middle_px - middle).abs() < 0.1,
            "{step:?}"
        );
        assert!((step.low - 0.1).abs() < 0.04 && (step.high - 0.9).abs() < 0.04, "{step:?}");
    }
    assert!(fit(&[]).is_none());
}

/// A piece of boundary with a step of this width, seen at whole pixels from its middle.
fn piece(sigma_px: f64) -> Profile {
    let at = |i: i32| {
        let distance = f64::from(i) + 0.5;
        let second = 4.0 * (0.1 + 0.8 * normal(distance / sigma_px));
        (i, Sums { pixels: 4.0, distance: 4.0 * distance, both: 4.0, second })
    };
    (-6..6).map(at).collect()
}

#[test]
fn the_error_of_a_width_is_not_lost_between_the_widths_that_are_tried() {
    // Widths that differ by 2 % from piece to piece: leaving one out moves that of all by a quarter of a per cent, a 24th of the grid's step.
    let sigmas = [1.96, 2.04, 1.97, 2.03, 1.98, 2.02, 2.0, 2.0];
    let pieces = sigmas.map(piece);
    let found = transition(&pieces, &SHARP).unwrap();
    let error = (sigmas.iter().map(|own| (own - 2.0_f64).powi(2)).sum::<f64>() / 56.0).sqrt();
    let [seen, of_error] = [2.0, error].map(|sigma_px| 2.5631 * sigma_px);
    assert!((found.seen_px.value - seen).abs() < 0.01, "{found:?}");
    assert!((found.seen_px.sigma / of_error - 1.0).abs() < 0.2, "{found:?}, {of_error}");
    let own = found.own_px.unwrap();
    assert!(own.low < own.middle && own.middle < own.high, "{own:?}");
}

#[test]
fn a_width_without_an_error_is_not_told() {
    let none = |pieces: &[Profile]| transition(pieces, &SHARP).is_none();
    // Pieces so alike that nothing moves, pieces that are too few, widths beyond those that are tried.
    assert!(none(&[2.0; 6].map(piece)) && none(&[1.8, 2.0, 2.2].map(piece)));
    assert!(none(&[11.0, 12.0, 13.0, 14.0, 15.0].map(piece)));
    // One piece without which the others have no width.
    assert!(none(&[piece(2.0), Profile::new(), Profile::new(), Profile::new()]));
    // Narrower than a sharp boundary would look through the beam.
    let wide = Spot { fwhm_px: 8.0, ..SHARP };
    let found = transition(&[1.8, 1.9, 2.0, 2.1, 2.2].map(piece), &wide).unwrap();
    assert!(found.own_px.is_none() && found.seen_px.sigma > 0.0, "{found:?}");
}

#[test]
fn the_curve_takes_one_step_at_a_time() {
    for way in 0..WAYS {
        let mut places: Vec<(u64, u32, u32)> =
            (0..256).map(|i| (along(i / 16, i % 16, 16, way), i / 16, i % 16)).collect();
        places.sort_unstable();
        assert!(places.iter().zip(0..).all(|(place, index)| place.0 == index));
        let step = |pair: &[(u64, u32, u32)]| pair[0].1.abs_diff(pair[1].1) + pair[0].2.abs_diff(pair[1].2);
        assert!(places.windows(2).all(|pair| step(pair) == 1), "way {way}");
    }
}

proptest! {
    #[test]
    fn every_pixel_is_on_the_curve_once(
        places in proptest::collection::btree_set((0_u32..40, 0_u32..40), 1..60),
        way in 0..WAYS,
    ) {
        let places: Vec<(u32, u32)> = places.into_iter().collect();
        let mut found = order(&places, way);
        found.sort_unstable();
        prop_assert_eq!(found, (0..places.len() as u32).collect::<Vec<_>>());
    }

    #[test]
    fn whatever_is_compared_gives_numbers(doubtful in proptest::collection::vec(any::<bool>(), 1600)) {
        let places = square(|y, x, _| doubtful[(y * 40 + x) as usize]);
        let found = compare(&places, &|distance| SHARP.doubt(distance)).unwrap();
        prop_assert!(found.ratio.low > 0.0 && found.ratio.high.is_finite() && found.explained >= 1.0);
        prop_assert!((0.0..=1.0).contains(&found.p) && (found.is_enriched || !found.is_beyond));
    }
}
