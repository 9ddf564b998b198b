//! The part of the page about series.

use std::fmt::Write as _;

use serde::Serialize;

use super::report::{figure, parts, quantile};
use super::{FrontScore, SeriesClass, SeriesScore};
use crate::evaluation::damage::ShareOf;
use crate::kinetics::{Interval, Place};

/// By how much x differs at least where a particle is truly not among the others.
const APART: f64 = 0.02;

/// What was said of the series of one class.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SeriesRow {
    /// The class.
    pub class: SeriesClass,
    /// Gradients that are claimed, of particles with a front that is there.
    pub gradients: ShareOf,
    /// Of the claimed ones, those that are there and have the sign that is claimed.
    pub right: ShareOf,
    /// Series in which a gradient is claimed that is not there, or the other way round.
    pub wrong_gradient: ShareOf,
    /// Fronts whose place is told and whose 90 % interval holds it.
    pub places: ShareOf,
    /// Error of the place: mean and root mean square, pixels; half of the interval, median.
    pub place_error: [f64; 3],
    /// Speeds whose 90 % interval holds it.
    pub speeds: ShareOf,
    /// Error of the speed: mean and root mean square, pixels per hour; half of the interval, median.
    pub speed_error: [f64; 3],
    /// Speeds that are claimed.
    pub moving: ShareOf,
    /// Series in which a speed is claimed that is not there, or the other way round.
    pub wrong_speed: ShareOf,
    /// x of particles within their 90 % intervals.
    pub x: ShareOf,
    /// x less the others within its interval.
    pub less_others: ShareOf,
    /// Particles behind that are named in the last scan, of those that lag by 0.2 or more in x then.
    pub laggards: ShareOf,
    /// Series in which a particle is named that is not apart from the others, or is on the other side.
    pub wrong_pace: ShareOf,
    /// Measured less nominal within its interval.
    pub nominal: ShareOf,
    /// Claimed discrepancies, of scans whose state of charge is off by 0.2 or more of x.
    pub nominal_off: ShareOf,
    /// Series that tell the true state of charge in which a discrepancy is claimed.
    pub nominal_wrong: ShareOf,
}

impl SeriesRow {
    pub(super) fn of(class: SeriesClass, scores: &[&SeriesScore]) -> Self {
        let all: Vec<FrontScore> = scores.iter().flat_map(|own| own.particles.iter().copied()).collect();
        let series =
            |is: &dyn Fn(&SeriesScore) -> bool| share(scores.iter().map(|score| is(score)).collect());
        let claimed = || all.iter().filter(|own| own.is_claimed);
        let places: Vec<(f64, f64)> = all
            .iter()
            .filter_map(|own| Some((own.found_px?.value - own.front_px?, 1.645 * own.found_px?.sigma)))
            .collect();
        let speeds: Vec<_> = scores.iter().flat_map(|own| own.speeds.iter().copied()).collect();
        let speed_errors: Vec<(f64, f64)> = speeds
            .iter()
            .map(|own| (own.found.middle - own.px_per_h, 0.5 * (own.found.high - own.found.low)))
            .collect();
        let lagging = scores.iter().flat_map(|own| {
            let last = own.particles.iter().map(|own| own.scan).max();
            let is = move |particle: &&FrontScore| {
                particle.is_lagging && Some(particle.scan) == last && particle.less_others.abs() >= 0.2
            };
            own.particles.iter().filter(is).map(|own| own.place == Some(Place::Behind))
        });
        let nominal: Vec<_> = scores.iter().flat_map(|own| own.nominal.iter().copied()).collect();
        Self {
            class,
            gradients: share(
                all.iter()
                    .filter(|own| own.is_told && own.front_px.is_some())
                    .map(|own| own.is_claimed)
                    .collect(),
            ),
            right: share(claimed().map(|own| own.is_right).collect()),
            wrong_gradient: series(&|own| own.particles.iter().any(|own| own.is_claimed && !own.is_right)),
            places: share(places.iter().map(|(error, half)| error.abs() <= *half).collect()),
            place_error: errors(&places),
            speeds: share(speeds.iter().map(|own| holds(own.found, own.px_per_h)).collect()),
            speed_error: errors(&speed_errors),
            moving: share(speeds.iter().map(|own| own.is_claimed).collect()),
            wrong_speed: series(&|own| {
                own.speeds.iter().any(|own| own.is_claimed && own.found.middle * own.px_per_h <= 0.0)
            }),
            x: share(all.iter().filter_map(|own| Some(holds(own.x_found?, own.x))).collect()),
            less_others: share(
                all.iter().filter_map(|own| Some(holds(own.less_found?, own.less_others))).collect(),
            ),
            laggards: share(lagging.collect()),
            wrong_pace: series(&|own| own.particles.iter().any(is_misplaced)),
            nominal: share(nominal.iter().map(|own| holds(own.found, own.off)).collect()),
            nominal_off: share(
                nominal.iter().filter(|own| own.off.abs() >= 0.2).map(|own| own.is_claimed).collect(),
            ),
            nominal_wrong: share(
                scores
                    .iter()
                    .filter(|own| !own.nominal.is_empty() && own.nominal.iter().all(|own| !own.is_off))
                    .map(|own| own.nominal.iter().any(|own| own.is_claimed))
                    .collect(),
            ),
        }
    }
}

/// Whether a particle is said to stand apart from the others on a side where it does not.
fn is_misplaced(own: &FrontScore) -> bool {
    let is_said = own.place.is_some_and(|place| place != Place::Among);
    let found = own.less_found.map_or(0.0, |found| found.middle);
    is_said && (own.less_others.abs() < APART || found * own.less_others < 0.0)
}

fn holds(found: Interval, truth: f64) -> bool {
    (found.low..=found.high).contains(&truth)
}

fn share(list: Vec<bool>) -> ShareOf {
    ShareOf::of(list.iter().filter(|is| **is).count(), list.len())
}

/// Mean and root mean square of errors, and the median of halves of intervals.
fn errors(list: &[(f64, f64)]) -> [f64; 3] {
    let n = list.len() as f64;
    let mean = list.iter().map(|(error, _)| error).sum::<f64>() / n;
    let square = list.iter().map(|(error, _)| error * error).sum::<f64>() / n;
    [mean, square.sqrt(), quantile(list.iter().map(|(_, half)| *half).collect(), 0.5)]
}

/// The tables.
pub(super) fn markdown(rows: &[SeriesRow]) -> String {
    let mut text = "\n## Series\n\nTwo or three scans of up to seven particles of radius 10.5 to 16 pixels. *Wrong*: series in which any is claimed that is not there, or with the other sign.\n\n\
         | series | gradients claimed, of those there | claimed gradients that are there | wrong | place of the front within 90 % | at least | error: mean | root mean square | half the interval, median | speed within 90 % | at least | error: mean | root mean square | half the interval, median | speeds told from zero | wrong |\n\
         |---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|\n"
        .to_owned();
    for row in rows {
        let cells = [
            row.class.name().to_owned(),
            parts(&row.gradients),
            parts(&row.right),
            parts(&row.wrong_gradient),
            parts(&row.places),
            percent_low(&row.places),
            figure(row.place_error[0]),
            figure(row.place_error[1]),
            figure(row.place_error[2]),
            parts(&row.speeds),
            percent_low(&row.speeds),
            figure(row.speed_error[0]),
            figure(row.speed_error[1]),
            figure(row.speed_error[2]),
            parts(&row.moving),
            parts(&row.wrong_speed),
        ];
        _ = writeln!(text, "| {} |", cells.join(" | "));
    }
    text += "\n| series | x of particles within 90 % | x less the others within 90 % | laggards named, of those 0.2 behind | wrong | measured less nominal within 90 % | discrepancies claimed, of those of 0.2 | series with the true state of charge in which one is claimed |\n\
             |---|---:|---:|---:|---:|---:|---:|---:|\n";
    for row in rows {
        let shares = [
            &row.x,
            &row.less_others,
            &row.laggards,
            &row.wrong_pace,
            &row.nominal,
            &row.nominal_off,
            &row.nominal_wrong,
        ];
        let cells: Vec<String> = shares.into_iter().map(parts).collect();
        _ = writeln!(text, "| {} | {} |", row.class.name(), cells.join(" | "));
    }
    text
}

fn percent_low(share: &ShareOf) -> String {
    if share.whole > 0 { format!("{:.1} %", 100.0 * share.low) } else { "-".to_owned() }
}
