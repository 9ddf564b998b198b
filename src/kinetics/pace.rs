//! Which particles are ahead of the others, or behind.
//!
//! Each particle is held against the median of the others in the same scan. Which way is ahead, the series says by itself: where its mean state goes. A
//! single scan, or a series that goes nowhere, has particles above and below the others only.

use serde::Serialize;

use super::{Interval, Moment, ScanState, Track, difference, excludes_zero, limit};

/// Particles with a state from which there is a middle to compare with.
const LEAST_PARTICLES: usize = 4;
/// By how much the median of normal values scatters more than their mean.
const OF_MEDIAN: f64 = 1.2533;

/// How a particle stands against the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Place {
    /// Within what errors explain.
    Among,
    /// Farther on the way that the series goes.
    Ahead,
    /// Less far.
    Behind,
    /// Larger state than the others; the series has no direction.
    Above,
    /// Smaller.
    Below,
}

impl Place {
    /// In words.
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            Self::Among => "among the others",
            Self::Ahead => "ahead of the others",
            Self::Behind => "behind the others",
            Self::Above => "above the others",
            Self::Below => "below the others",
        }
    }
}

/// One particle in one scan against the others.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Pace {
    /// The particle, by the number of its track.
    pub track: u32,
    /// The scan, by its place in the series.
    pub scan: usize,
    /// Its label in the scan.
    pub label: u32,
    /// Its state.
    pub x: Interval,
    /// Median of the others.
    pub others: f64,
    /// Its state less that.
    pub less_others: Interval,
    /// Where it stands; [`Place::Among`] unless the errors are too small for that.
    pub place: Place,
}

pub(super) fn paces(moments: &[Moment<'_>], scans: &[ScanState], tracks: &[Track]) -> Vec<Pace> {
    let mut paces = Vec::new();
    for (scan, moment) in moments.iter().enumerate() {
        let known: Vec<(u32, u32, Interval)> = tracks
            .iter()
            .filter_map(|track| {
                let label = track.label(scan)?;
                let particle =
                    moment.particles.particles.get(label as usize - 1).filter(|own| !own.overlaps)?;
                let x = particle.x?;
                Some((track.id, label, x))
            })
            .collect();
        if known.len() < LEAST_PARTICLES {
            continue;
        }
        for &(track, label, x) in &known {
            let others: Vec<Interval> = known.iter().filter(|own| own.0 != track).map(|own| own.2).collect();
            let middle = middle(&others);
            let less_others = difference(x, middle);
            paces.push(Pace {
                track,
                scan,
                label,
                x,
                others: middle.middle,
                less_others,
                place: Place::Among,
            });
        }
    }
    let limit = limit(paces.len());
    let direction = direction(scans);
    for own in &mut paces {
        if excludes_zero(own.less_others, limit) {
            let is_above = own.less_others.middle > 0.0;
            own.place = match direction {
                Some(is_rising) if is_rising == is_above => Place::Ahead,
                Some(_) => Place::Behind,
                None if is_above => Place::Above,
                None => Place::Below,
            };
        }
    }
    paces
}

/// The median, with what its values may be off by.
fn middle(values: &[Interval]) -> Interval {
    let mut sorted: Vec<f64> = values.iter().map(|own| own.middle).collect();
    sorted.sort_by(f64::total_cmp);
    let n = sorted.len();
    let middle = 0.5 * (sorted[(n - 1) / 2] + sorted[n / 2]);
    let root = |of: &dyn Fn(&Interval) -> f64| {
        (values.iter().map(|own| of(own).powi(2)).sum::<f64>() / n as f64).sqrt() * OF_MEDIAN
            / (n as f64).sqrt()
    };
    Interval {
        low: middle - root(&|own| own.middle - own.low),
        middle,
        high: middle + root(&|own| own.high - own.middle),
    }
}

/// Whether the mean state rises over the series; none where that cannot be told.
fn direction(scans: &[ScanState]) -> Option<bool> {
    let known: Vec<Interval> = scans.iter().filter_map(|own| own.x).collect();
    let change = difference(*known.last()?, *known.first()?);
    (known.len() > 1 && excludes_zero(change, limit(1))).then_some(change.middle > 0.0)
}
