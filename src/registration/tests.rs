//! Drift of a small analytic sample: found, trusted, taken out.

use super::*;
use crate::scan::{Channel, I0, Pixels, SampleBatch};
use crate::stack::{Stack, test_plan};

pub(super) const NY: usize = 56;
pub(super) const NX: usize = 60;

/// Optical density of the sample at a point; `amount` is that of the second half of its blobs.
fn density(y: f64, x: f64, amount: f64) -> f64 {
    // Places in no order, each with a radius of its own.
    let blobs =
        [(12.0, 15.0, 5.0), (30.0, 40.0, 7.0), (44.0, 18.0, 4.0), (20.0, 48.0, 3.5), (38.0, 28.0, 3.0)];
    let blob = |(index, (v, u, radius)): (usize, &(f64, f64, f64))| {
        let inside = 1.0 / (1.0 + (((y - v).hypot(x - u) - radius) / 0.5).exp());
        inside * if index % 2 == 0 { 0.8 } else { amount }
    };
    blobs.iter().enumerate().map(blob).sum()
}

/// The image at a displacement, noise of `counts` from a fixed sequence.
pub(super) fn image(shift: [f64; 2], amount: f64, counts: f64, seed: u64) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut noise = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((state >> 11) as f64 / (1_u64 << 53) as f64 - 0.5) * 12_f64.sqrt()
    };
    (0..NY * NX)
        .map(|p| {
            let od = density((p / NX) as f64 - shift[0], (p % NX) as f64 - shift[1], amount);
            let mean = counts * (-od).exp();
            (mean + mean.sqrt() * noise() + 1.0) as f32
        })
        .collect()
}

pub(super) fn batch(energy: usize, first: usize, values: Vec<f32>) -> SampleBatch {
    SampleBatch {
        energy_index: energy as u32,
        pixels: Pixels::Run { first: first as u32, count: values.len() as u32 },
        channel: Channel::Intensity,
        others: Vec::new(),
        values,
        i0: I0::None,
        ring_current_ma: None,
        energy_ev: None,
        time: None,
    }
}

/// A path of `count` images up to `reach` pixels away, in curves.
fn path(count: usize, reach: f64) -> Vec<[f64; 2]> {
    let place = |i: usize| {
        let t = i as f64 / (count - 1) as f64;
        [reach * t * (2.5 * t).cos(), 0.7 * reach * (3.0 * t).sin() * t]
    };
    (0..count).map(place).collect()
}

fn stack(path: &[[f64; 2]], amount: impl Fn(usize) -> f64, counts: f64) -> Stack {
    let mut stack = Stack::new(test_plan(NY, NX, path.len()));
    for (energy, shift) in path.iter().enumerate() {
        let values = image(*shift, amount(energy), counts, energy as u64 + 7);
        stack.push(energy as u64 + 1, &batch(energy, 0, values)).unwrap();
    }
    stack
}

fn sound(_: usize, _: usize) -> bool {
    true
}

fn worst(drift: &Drift, path: &[[f64; 2]]) -> f64 {
    let wrong = |(energy, [y, x]): (usize, &[f64; 2])| {
        drift.shift(energy).map_or(f64::NAN, |s| (s.y - y).hypot(s.x - x))
    };
    path.iter().enumerate().map(wrong).fold(0.0, |worst: f64, w| if w.is_nan() { w } else { worst.max(w) })
}

#[test]
fn a_drift_is_found_though_contrast_changes_its_sign() {
    let path = path(16, 6.0);
    // Half of the blobs turn from darker than the field to brighter than it and back.
    let drift = estimate(&stack(&path, |e| 0.7 * (e as f64 * 0.5).cos(), 1000.0), &sound);
    assert!(drift.is_applied(), "{drift:?}");
    assert!(worst(&drift, &path) < 0.25, "{} {drift:?}", worst(&drift, &path));
    assert_eq!(drift.shift(0).map(|s| (s.y, s.x)), Some((0.0, 0.0)));
}

#[test]
fn what_does_not_drift_or_shows_nothing_is_left_alone() {
    let still = vec![[0.0; 2]; 12];
    let drift = estimate(&stack(&still, |e| 0.3 + 0.05 * e as f64, 1000.0), &sound);
    assert!(drift.describe().contains("no drift seen"), "{drift:?}");
    assert!(worst(&drift, &still) < 0.15);
    let mut noise = Stack::new(test_plan(NY, NX, 8));
    for energy in 0..8 {
        let values: Vec<f32> = image([500.0, 0.0], 0.0, 900.0, 31 * energy as u64 + 5);
        noise.push(energy as u64 + 1, &batch(energy, 0, values)).unwrap();
    }
    let drift = estimate(&noise, &sound);
    assert!(drift.describe().starts_with("not applied"), "{drift:?}");
}

#[test]
fn scans_without_whole_images_are_not_registered_and_say_why() {
    let mut few = Stack::new(test_plan(NY, NX, 6));
    for energy in 0..6 {
        let values = image([0.0; 2], 0.5, 1000.0, 1)[..4 * NX].to_vec();
        few.push(energy as u64 + 1, &batch(energy, 0, values)).unwrap();
    }
    assert!(estimate(&few, &sound).describe().contains("too few images"));
    assert!(estimate(&Stack::new(test_plan(10, 60, 6)), &sound).describe().contains("too small"));
}

#[test]
fn an_image_that_is_not_whole_lies_where_its_neighbour_does() {
    let path = path(10, 4.0);
    let full = stack(&path, |_| 0.5, 1000.0);
    let mut part = Stack::new(test_plan(NY, NX, 10));
    for energy in 0..10 {
        let lines = if energy == 9 { 10 } else { NY };
        let values = full.plane(energy).values()[..lines * NX].to_vec();
        part.push(energy as u64 + 1, &batch(energy, 0, values)).unwrap();
    }
    let drift = estimate(&part, &sound);
    let (last, before) = (drift.shift(9).unwrap(), drift.shift(8).unwrap());
    assert!((last.y, last.x) == (before.y, before.x) && !last.measured && last.error_y > 0.5, "{last:?}");
}

#[test]
fn the_registered_stack_is_the_one_that_lay_still() {
    let path = path(12, 5.0);
    let raw = stack(&path, |_| 0.5, 1e6);
    let drift = estimate(&raw, &sound);
    let registered = register(&raw, &drift, &sound).unwrap();
    let still = image([0.0; 2], 0.5, 1e6, 8);
    let (mut wrong, mut before, mut missing) = (0.0_f64, 0.0_f64, 0);
    for (p, value) in registered.plane(11).values().iter().enumerate() {
        if value.is_nan() {
            missing += 1;
            continue;
        }
        wrong += f64::from(value / still[p]).ln().powi(2);
        before += f64::from(raw.plane(11).value(p) / still[p]).ln().powi(2);
    }
    assert!(wrong < 0.02 * before, "{wrong} {before}");
    // What drifted out: some five rows and columns.
    assert!((NX..8 * (NX + NY)).contains(&missing), "{missing}");
    assert_eq!(registered.plane(11).measured(), NY * NX - missing);
    assert!((0.3..1.0).contains(&registered.plane(11).variance_factor()));
    assert!(std::sync::Arc::ptr_eq(&registered.planes()[0], &raw.planes()[0]), "the first is shared");
}

#[test]
fn whole_displacements_change_no_value_and_flaws_go_along() {
    let raw = stack(&[[0.0; 2], [2.0, -3.0]], |_| 0.5, 1000.0);
    let shift = Shift { y: 2.0, x: -3.0, ..Shift::default() };
    let drift = Drift { shifts: vec![Some(Shift::default()), Some(shift)], verdict: Verdict::Applied };
    let flawed = 20 * NX + 30;
    let registered = register(&raw, &drift, &|energy, pixel| energy == 0 || pixel != flawed).unwrap();
    let plane = registered.plane(1);
    for y in 0..NY {
        for x in 0..NX {
            let inside = y + 2 < NY && x >= 3;
            let source = (y + 2) * NX + x.saturating_sub(3);
            let value = plane.value(y * NX + x);
            if inside && source != flawed {
                assert_eq!(value, raw.plane(1).value(source), "{y} {x}");
            } else {
                assert!(value.is_nan(), "{y} {x}");
            }
        }
    }
    assert_eq!(plane.variance_factor(), 1.0);
}
