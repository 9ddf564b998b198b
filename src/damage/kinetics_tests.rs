use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use rand_distr::StandardNormal;

use super::*;
use crate::damage::series::{Plateau, Reading};

fn series(law: Law, (a0, a, b): (f64, f64, f64), doses: &[f64], sigma: f64, rng: &mut ChaCha8Rng) -> Series {
    let value = |dose: f64, rng: &mut ChaCha8Rng| {
        a0 - a * (1.0 - law.left(b * dose)) + sigma * rng.sample::<f64, _>(StandardNormal)
    };
    let readings =
        doses.iter().map(|&dose| Reading { dose, time_s: dose, value: value(dose, rng), sigma }).collect();
    Series { readings, ..Series::default() }
}

#[test]
fn a_whole_damage_is_read_as_it_is() {
    let doses: Vec<f64> = (0..20).map(|i| 1.0 + 3.0 * f64::from(i)).collect();
    for law in [Law::FirstOrder, Law::Hyperbolic] {
        let mut rng = ChaCha8Rng::seed_from_u64(3);
        let kinetics =
            Kinetics::of(&series(law, (0.8, 0.5, 0.1), &doses, 0.002, &mut rng), 0.8, 1.0).unwrap();
        assert_eq!(kinetics.law().0, law);
        let critical = kinetics.critical_dose(0.0).unwrap();
        let truth = 1.0 / 0.1;
        assert!((critical.middle / truth - 1.0).abs() < 0.1, "{law:?}: {critical:?}");
        let rate = kinetics.initial_rate();
        assert!((rate.middle / 0.05 - 1.0).abs() < 0.1, "{rate:?}");
        assert!((kinetics.loss(0.0, 30.0).middle - 0.5 * (1.0 - law.left(3.0))).abs() < 0.01);
    }
}

#[test]
fn early_on_the_rate_is_told_and_no_critical_dose() {
    let mut rng = ChaCha8Rng::seed_from_u64(5);
    let doses: Vec<f64> = (0..6).map(f64::from).collect();
    // A tenth of what can be lost is gone at the end.
    let early = series(Law::FirstOrder, (0.8, 0.5, 0.02), &doses, 0.002, &mut rng);
    let kinetics = Kinetics::of(&early, 0.8, 1.0).unwrap();
    assert_eq!(kinetics.critical_dose(0.0), None);
    let rate = kinetics.initial_rate();
    assert!(rate.low < 0.01 && 0.01 < rate.high, "{rate:?}");
    assert!((rate.middle / 0.01 - 1.0).abs() < 0.3, "{rate:?}");
    // With the plateau known there is one, where the readings are good enough.
    let mut known = series(Law::FirstOrder, (0.8, 0.5, 0.02), &doses, 0.0005, &mut rng);
    known.plateau = Some(Plateau { value: 0.3, sigma: 0.005 });
    let critical = Kinetics::of(&known, 0.8, 1.0).unwrap().critical_dose(0.0).unwrap();
    assert!(critical.low < 50.0 && 50.0 < critical.high, "{critical:?}");
}

#[test]
fn intervals_hold_as_often_as_they_say() {
    let mut rng = ChaCha8Rng::seed_from_u64(11);
    let (mut rates, mut claims, mut claimed_right, mut late) = (0, 0, 0, 0);
    const DRAWS: usize = 600;
    for _ in 0..DRAWS {
        let law = if rng.random_bool(0.5) { Law::FirstOrder } else { Law::Hyperbolic };
        let doses: Vec<f64> = (0..8).map(|i| 0.2 + f64::from(i)).collect();
        let b = (rng.random_range(0.02_f64.ln()..2.0_f64.ln())).exp();
        let a = rng.random_range(0.1..0.6);
        let readings = series(law, (0.8, a, b), &doses, 0.004, &mut rng);
        let kinetics = Kinetics::of(&readings, 0.8, 1.0).unwrap();
        let rate = kinetics.initial_rate();
        rates += usize::from(rate.low <= a * b && a * b <= rate.high);
        if let Some(critical) = kinetics.critical_dose(0.0) {
            let truth = 1.0 / b;
            claims += 1;
            claimed_right += usize::from(critical.low <= truth && truth <= critical.high);
            late += usize::from((critical.middle / truth).ln().abs() > 0.5);
        }
    }
    let share = rates as f64 / DRAWS as f64;
    assert!((0.85..0.96).contains(&share), "{share}");
    assert!(claims > 60, "{claims}");
    assert!(claimed_right as f64 / claims as f64 > 0.82, "{claimed_right} of {claims}");
    assert!(late as f64 / (claims as f64) < 0.03, "{late} of {claims}");
}

#[test]
fn what_is_no_series_gives_nothing() {
    let one = Series {
        readings: vec![Reading { dose: 1.0, time_s: 0.0, value: 1.0, sigma: 0.1 }],
        ..Series::default()
    };
    assert!(Kinetics::of(&one, 1.0, 1.0).is_none());
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let still = series(Law::FirstOrder, (0.8, 0.5, 0.1), &[0.0, 0.0], 0.01, &mut rng);
    assert!(Kinetics::of(&still, 0.8, 1.0).is_none());
    assert!(
        Kinetics::of(&series(Law::FirstOrder, (0.8, 0.5, 0.1), &[0.0, 1.0], 0.01, &mut rng), f64::NAN, 1.0)
            .is_none()
    );
}

#[test]
fn what_is_uncertain_for_other_reasons_widens_what_is_told_and_may_forbid_it() {
    let mut rng = ChaCha8Rng::seed_from_u64(3);
    let doses: Vec<f64> = (0..20).map(|i| 1.0 + 3.0 * f64::from(i)).collect();
    let whole = series(Law::FirstOrder, (0.8, 0.5, 0.1), &doses, 0.002, &mut rng);
    let kinetics = Kinetics::of(&whole, 0.8, 1.0).unwrap();
    let (sure, less) = (kinetics.critical_dose(0.0).unwrap(), kinetics.critical_dose(0.15).unwrap());
    assert_eq!(sure.middle, less.middle);
    let width = |told: Interval| (told.high / told.low).ln();
    assert!((width(less) / 2.0 / 1.645 - 0.15).abs() < 0.02, "{less:?}");
    assert_eq!(kinetics.critical_dose(0.25), None);
    let rate = Interval { low: 1.0, middle: 2.0, high: 4.0 };
    let wide = rate.widened(0.5);
    assert!((wide.middle - wide.low - 1.0_f64.hypot(1.645)).abs() < 1e-12 && wide.high > rate.high);
    assert_eq!(rate.widened(0.0), rate);
    // Moments are those of the readings where these say all.
    let (start, variance) = kinetics.start();
    assert!((start - 0.8).abs() < 0.01 && variance.sqrt() < 0.02);
    assert!((kinetics.to_lose().0 - 0.5).abs() < 0.02);
    assert!((kinetics.fall(0.0, 10.0).0 - kinetics.loss(0.0, 10.0).middle).abs() < 0.005);
}
