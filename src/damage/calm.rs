//! The white line of what is there: readings in which the optical density before the edge is a smooth curve, and mass no longer counts.
//!
//! A white line is the difference of two images, and the noise of the one before the edge is nearly half of that of the difference. Mass is either
//! kept or lost smoothly, so its readings are replaced by what their own kinetics say ([`Kinetics`], which average over *nothing lost* and
//! everything that the readings allow). Two series come of it:
//!
//! - **line**: the optical density at the sentinel less that smooth curve; of it are the initial rate, the losses and the law;
//! - **reduction**: the same for the mass that there was at first, `line · M(0)/M(D)`; of it is the critical dose. Loss of mass takes both alike and
//!   cancels, and where all ends as the reduced reference, it ends at `M(0)` times the ratio of that reference's own line and density before the edge,
//!   whatever the pixels were: no phase has to be known for it.
//!
//! Assumed: before the edge all phases of a sample absorb alike, gram by gram (there is no vanadium in it yet, and sodium counts little), and the
//! references have their pre-edge. Where they were put to zero there, or no energy before the edge is repeated, there is a series without a plateau.

use super::kinetics::Kinetics;
use super::sentinels::{Mean, Visit};
use super::series::{Plateau, Reading, Series};
use super::template::{InReference, Templates};
use super::trend::Trend;

/// Share of the mass whose loss is of the usual size.
const USUAL_LOSS: f64 = 0.2;
/// An optical density before the edge below this says nothing of the amount, OD.
const LEAST_BEFORE: f64 = 0.02;
/// What the optical density of a reference is off that of the sample at one energy, as a share.
const MISMATCH: f64 = 0.03;
/// What the energies are off, eV.
const OFF_EV: f64 = 0.04;
/// What the logarithm of a critical dose of a phase is uncertain by though its pixels look like it.
const UNSEEN: f64 = 0.07;
/// Share of a signal that may belong to other phases, where nothing says how much.
const UNKNOWN: f64 = 0.3;

/// What is known of the end of a white line.
#[derive(Clone, Copy, Debug)]
pub(super) struct End {
    /// Whether all ends as the reduced reference.
    pub(super) known: bool,
    /// The phase that a group is called, where it is one.
    pub(super) phase: Option<usize>,
}

/// A white line with its mass kept apart.
#[derive(Clone, Debug)]
pub(super) struct Calm {
    /// The white line.
    line: Series,
    /// The same for the mass that there was at first; none where that cannot be told.
    reduction: Option<Series>,
    /// The value that it has where the pixels are of the phase that they are called; none where that cannot be told, or they are called nothing.
    as_called: Option<f64>,
    /// Whether they are called something.
    is_phase: bool,
}

/// What the two series say.
pub(super) struct Said {
    /// Of the white line.
    pub(super) kinetics: Kinetics,
    /// What is uncertain about its initial rate beside the readings, as a share.
    pub(super) apart: f64,
    /// Of the reduction, and what is uncertain about the logarithm of its critical dose beside the readings.
    pub(super) reduction: Option<(Kinetics, f64)>,
    /// Where the reduction ends.
    pub(super) plateau: Option<Plateau>,
}

impl Calm {
    /// Of the readings of a white line and what was taken off them; `dose` is that of an image. `None` where nothing was taken off.
    pub(super) fn of(
        series: &Series,
        (visits, means): (&[Visit], &[Mean]),
        dose: impl Fn(usize) -> f64,
        (templates, end): (&Templates<'_>, End),
    ) -> Option<Self> {
        let before = Before::of(series, (visits, means), dose)?;
        let excess = Trend::of(&before.series)?.excess;
        let mass = Kinetics::of(&before.series, USUAL_LOSS * before.size(), excess)?;
        let middle = before.series.readings.iter().map(|reading| reading.dose).sum::<f64>()
            / before.series.len() as f64;
        let at_first = mass.start().0;
        let mut line = Series::default();
        let mut reduction = Series::default();
        for ((reading, mean), share) in series.readings.iter().zip(means).zip(&before.shares) {
            let (fallen, variance) = mass.fall(middle, reading.dose);
            let now = at_first - mass.fall(0.0, middle).0 - fallen;
            let value = reading.value + mean.before?.value - now;
            let own = series.variance(reading) * (1.0 - share);
            line.readings.push(Reading { value, sigma: (own + variance).sqrt(), ..*reading });
            // The mass counts twice here: in what is taken off, and in what is divided by.
            let (scale, twice) = (at_first / now, (value + now) / now);
            let sigma = scale.abs() * (own + twice * twice * variance).sqrt();
            reduction.readings.push(Reading { value: scale * value, sigma, ..*reading });
        }
        let first = *visits.first()?;
        // What a reference has where there is so much of it that its density before the edge is that of the group.
        let of_reference = |heights: InReference| {
            (heights.before >= LEAST_BEFORE).then_some((heights, at_first / heights.before))
        };
        let in_amount = at_first >= LEAST_BEFORE;
        let plateau = templates.reduced_heights(first).and_then(of_reference).map(|(heights, amount)| {
            let value = amount * heights.line;
            let on_line = amount * MISMATCH * (heights.line + heights.before);
            let energy = amount * OFF_EV * heights.per_ev;
            Plateau { value, sigma: on_line.hypot(energy).hypot(MISMATCH * value) }
        });
        let as_called = end.phase.and_then(|phase| templates.heights(phase, first)).and_then(of_reference);
        reduction.plateau = plateau.filter(|_| end.known);
        Some(Self {
            line,
            reduction: in_amount.then_some(reduction),
            as_called: as_called.map(|(heights, amount)| amount * heights.line).filter(|_| in_amount),
            is_phase: end.phase.is_some(),
        })
    }

    /// What they say; `scale` is the size of the signal.
    pub(super) fn said(&self, scale: f64) -> Option<Said> {
        let kinetics = of_series(&self.line, scale)?;
        let reduction = self.reduction.as_ref().and_then(|series| of_series(series, scale));
        let of_signal = reduction.as_ref().zip(self.as_called).map(|(own, value)| self.apart(own, value));
        let apart = if self.is_phase { of_signal.flatten().unwrap_or(UNKNOWN) } else { 0.0 };
        let with_apart = |own: Kinetics| {
            let apart = self.apart(&own, own.to_lose().0)?;
            Some((own, apart))
        };
        let plateau = self.reduction.as_ref().and_then(|series| series.plateau);
        Some(Said { kinetics, apart, reduction: reduction.and_then(with_apart), plateau })
    }

    /// What is uncertain because pixels may not be the phase that they are called: by how much the signal that they began with is another one, as a
    /// share of `whole`. `None` where that cannot be told.
    fn apart(&self, reduction: &Kinetics, whole: f64) -> Option<f64> {
        if !self.is_phase {
            return Some(0.0);
        }
        let off = (reduction.start().0 - self.as_called?).abs();
        Some(UNSEEN.hypot(off / whole.abs().max(f64::MIN_POSITIVE)))
    }
}

/// Kinetics of a series by itself.
fn of_series(series: &Series, scale: f64) -> Option<Kinetics> {
    Kinetics::of(series, scale, Trend::of(series)?.excess)
}

/// The density before the edge as it was read.
struct Before {
    series: Series,
    /// For each reading of the white line the share of its variance that is due to it.
    shares: Vec<f64>,
}

impl Before {
    fn of(line: &Series, (visits, means): (&[Visit], &[Mean]), dose: impl Fn(usize) -> f64) -> Option<Self> {
        let (mut series, mut shares, mut seen) = (Series::default(), Vec::new(), Vec::new());
        for ((visit, mean), reading) in visits.iter().zip(means).zip(&line.readings) {
            let (energy, before) = (visit.less?, mean.before?);
            let share = before.share.clamp(0.0, 1.0);
            shares.push(share);
            // An image that serves several visits was read once.
            if seen.contains(&energy) {
                continue;
            }
            seen.push(energy);
            let sigma = (line.variance(reading) * share).sqrt();
            series.readings.push(Reading { dose: dose(energy), value: before.value, sigma, ..*reading });
        }
        Some(Self { series, shares })
    }

    /// Its size.
    fn size(&self) -> f64 {
        self.series.first().map_or(0.0, f64::abs)
    }
}

#[cfg(test)]
#[path = "calm_tests.rs"]
mod tests;
