//! What a study found, over its draws.

use serde::Serialize;

use super::{Order, Step};

/// Shares of the final accuracy that are looked for.
const SHARES: [f64; 3] = [0.95, 0.98, 0.99];

/// What it took to reach a share of the final accuracy, and to stay there; medians over the draws.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Reached {
    /// Share of the final accuracy.
    pub share: f64,
    /// Energies.
    pub energies: f64,
    /// Time, s.
    pub seconds: f64,
    /// Share of the dose of the whole plan.
    pub dose: f64,
}

/// Where stopping was advised, and what that lost; medians over the draws that it was advised in.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Stopped {
    /// Share of the draws in which it was advised before the end.
    pub draws: f64,
    /// Energies by then.
    pub energies: f64,
    /// Share of the dose by then.
    pub dose: f64,
    /// Accuracy by then, less the final one.
    pub lost: f64,
    /// The rest changed this share of best guesses.
    pub changed: f64,
    /// The largest such share over the draws.
    pub worst_changed: f64,
}

/// One order over all draws.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Course {
    /// The order.
    pub order: Order,
    /// What it took.
    pub reached: Vec<Reached>,
    /// Where stopping was advised.
    pub stopped: Option<Stopped>,
    /// Median accuracy by number of energies, from 1 on.
    pub accuracy: Vec<f64>,
    /// Median balanced accuracy by number of energies.
    pub balanced: Vec<f64>,
    /// Of all steps with a forecast, the share whose true change lies within the interval.
    pub forecast_held: Option<f64>,
    /// Of all steps with a forecast, the share whose true change is above the interval.
    pub forecast_passed: Option<f64>,
    /// Step by step, of the first draw.
    pub first_draw: Vec<Step>,
}

/// All orders over all draws.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Study {
    /// Number of draws.
    pub draws: usize,
    /// Median accuracy with all energies.
    pub final_accuracy: f64,
    /// Median time of the whole plan as planned, s.
    pub seconds: f64,
    /// The orders.
    pub courses: Vec<Course>,
}

impl Study {
    /// Sums up: for every order the steps of each draw.
    #[must_use]
    pub fn of(courses: &[(Order, Vec<Vec<Step>>)]) -> Self {
        let last = |value: fn(&Step) -> f64| {
            let draws = courses.first().map_or(&[][..], |(_, draws)| &draws[..]);
            median(draws.iter().filter_map(|steps| steps.last()).map(value))
        };
        Self {
            draws: courses.first().map_or(0, |(_, draws)| draws.len()),
            final_accuracy: last(|step| step.accuracy),
            seconds: last(|step| step.seconds),
            courses: courses.iter().map(|(order, draws)| summed(*order, draws)).collect(),
        }
    }
}

fn summed(order: Order, draws: &[Vec<Step>]) -> Course {
    let reached = SHARES.map(|share| {
        let first: Vec<&Step> = draws.iter().filter_map(|steps| reached(steps, share)).collect();
        let of = |value: fn(&Step) -> f64| median(first.iter().map(|step| value(step)));
        Reached {
            share,
            energies: of(|step| step.energies as f64),
            seconds: of(|step| step.seconds),
            dose: of(|step| step.dose),
        }
    });
    let length = draws.iter().map(Vec::len).min().unwrap_or(0);
    let at = |value: fn(&Step) -> f64| {
        (0..length).map(|index| median(draws.iter().map(|steps| value(&steps[index])))).collect()
    };
    let told: Vec<Told> = draws
        .iter()
        .flatten()
        .filter(|step| step.energies < length)
        .filter_map(|step| Some((step.changed, step.interval?)))
        .collect();
    let share = |good: &dyn Fn(&Told) -> bool| {
        (!told.is_empty()).then(|| told.iter().filter(|told| good(told)).count() as f64 / told.len() as f64)
    };
    Course {
        order,
        reached: reached.to_vec(),
        stopped: stopped(draws),
        accuracy: at(|step| step.accuracy),
        balanced: at(|step| step.balanced),
        forecast_held: share(&|(changed, [low, high])| (*low..=*high).contains(changed)),
        forecast_passed: share(&|(changed, [_, high])| changed > high),
        first_draw: draws.first().cloned().unwrap_or_default(),
    }
}

/// What changed, and the interval that was told.
type Told = (f64, [f64; 2]);

/// The step from which on the accuracy is at least `share` of the last one.
fn reached(steps: &[Step], share: f64) -> Option<&Step> {
    let wanted = share * steps.last()?.accuracy;
    let below = steps.iter().rposition(|step| step.accuracy < wanted);
    steps.get(below.map_or(0, |index| index + 1))
}

fn stopped(draws: &[Vec<Step>]) -> Option<Stopped> {
    let ends: Vec<(&Step, &Step)> = draws
        .iter()
        .filter_map(|steps| Some((steps.iter().find(|step| step.stop)?, steps.last()?)))
        .collect();
    if ends.is_empty() {
        return None;
    }
    Some(Stopped {
        draws: ends.len() as f64 / draws.len() as f64,
        energies: median(ends.iter().map(|(stop, _)| stop.energies as f64)),
        dose: median(ends.iter().map(|(stop, _)| stop.dose)),
        lost: median(ends.iter().map(|(stop, last)| last.accuracy - stop.accuracy)),
        changed: median(ends.iter().map(|(stop, _)| stop.changed)),
        worst_changed: ends.iter().map(|(stop, _)| stop.changed).fold(0.0, f64::max),
    })
}

/// The middle one, of two middle ones their mean; NaN of nothing.
fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    let n = values.len();
    if n == 0 { f64::NAN } else { 0.5 * (values[(n - 1) / 2] + values[n / 2]) }
}
