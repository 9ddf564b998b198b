use proptest::prelude::*;
use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use rand_distr::StandardNormal;

use super::*;
use crate::damage::series::Reading;

fn series(values: &[f64], sigma: f64) -> Series {
    let reading = |(i, &value): (usize, &f64)| Reading { dose: i as f64, time_s: i as f64, value, sigma };
    Series { readings: values.iter().enumerate().map(reading).collect(), ..Series::default() }
}

#[test]
fn a_line_is_found_with_the_error_that_follows_from_its_readings() {
    let trend = Trend::of(&series(&[1.0, 0.9, 0.8, 0.7], 0.01)).unwrap();
    // The doses 0, 1, 2, 3 have a spread of 5.
    assert!((trend.slope + 0.1).abs() < 1e-12 && (trend.slope_error - 0.01 / 5_f64.sqrt()).abs() < 1e-12);
    assert!((trend.z + 0.1 / 0.01 * 5_f64.sqrt()).abs() < 1e-9);
    assert!((trend.at_first - 1.0).abs() < 1e-12 && (trend.at_last - 0.7).abs() < 1e-12);
    assert_eq!(trend.excess, 1.0);
}

#[test]
fn one_bad_reading_does_not_move_the_robust_slope_and_makes_the_line_careful() {
    let trend = Trend::of(&series(&[1.0, 0.99, 0.98, 0.97, 0.56, 0.95], 0.002)).unwrap();
    assert!((trend.robust_slope + 0.01).abs() < 0.001, "{trend:?}");
    assert!(trend.excess > 20.0, "{trend:?}");
    let vigilance = Vigilance { false_alarms: 0.005, series: 20, readings: 6 };
    assert!(!trend.is_real(&vigilance), "{trend:?}");
}

#[test]
fn nothing_is_said_of_one_reading_or_of_one_dose() {
    assert_eq!(Trend::of(&series(&[1.0], 0.1)), None);
    let mut same = series(&[1.0, 2.0], 0.1);
    same.readings[1].dose = 0.0;
    assert_eq!(Trend::of(&same), None);
}

#[test]
fn the_floor_counts_in_every_reading() {
    let mut two = series(&[1.0, 0.9], 0.003);
    two.floor = 0.004;
    // 0.1 over sqrt(2) times the hypotenuse of 3 and 4.
    assert!((Trend::of(&two).unwrap().z + 0.1 / (0.005 * 2_f64.sqrt())).abs() < 1e-9);
}

#[test]
fn a_step_is_noticed_by_the_sum() {
    let mut values = vec![0.0; 30];
    values[15..].fill(2.0);
    let trend = Trend::of(&series(&values, 1.0)).unwrap();
    let vigilance = Vigilance { false_alarms: 0.01, series: 1, readings: 30 };
    assert!(trend.sum > vigilance.sum_limit(), "{} {}", trend.sum, vigilance.sum_limit());
}

#[test]
fn quiet_series_are_called_real_no_more_often_than_promised() {
    const DRAWS: usize = 4_000;
    let mut rng = ChaCha8Rng::seed_from_u64(7);
    for readings in [2, 6, 25] {
        let vigilance = Vigilance { false_alarms: 0.05, series: 1, readings };
        let (slope, sum) = (vigilance.slope_limit(), vigilance.sum_limit());
        let is_real = |trend: Trend| trend.z.abs() >= slope || trend.sum >= sum;
        let mut alarms = 0;
        for _ in 0..DRAWS {
            let values: Vec<f64> = (0..readings).map(|_| rng.sample(StandardNormal)).collect();
            // Looked at as it grows: any look may alarm.
            let any = (2..=readings).any(|k| Trend::of(&series(&values[..k], 1.0)).is_some_and(is_real));
            alarms += usize::from(any);
        }
        let share = alarms as f64 / DRAWS as f64;
        assert!(share < 0.06 && share > 0.002, "{readings} readings: {share}");
    }
}

proptest! {
    #[test]
    fn scaling_and_shifting_the_values_changes_nothing_but_the_units(
        values in prop::collection::vec(-1.0..1.0_f64, 2..12), factor in 0.1..10.0_f64, shift in -5.0..5.0_f64
    ) {
        let one = Trend::of(&series(&values, 0.1)).unwrap();
        let moved: Vec<f64> = values.iter().map(|v| shift + factor * v).collect();
        let other = Trend::of(&series(&moved, 0.1 * factor)).unwrap();
        prop_assert!((one.z - other.z).abs() < 1e-6 * (1.0 + one.z.abs()));
        prop_assert!((one.sum - other.sum).abs() < 1e-6 * (1.0 + one.sum));
        prop_assert!((one.slope * factor - other.slope).abs() < 1e-9 * (1.0 + other.slope.abs()));
    }
}
