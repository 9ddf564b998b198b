//! From measured energies to a model's axis.
//!
//! The rules, in this order: values at the same energy (within [`SAME_ENERGY_EV`]) are averaged; a channel within half a step of a
//! measured energy takes the value of the nearest one (of two equally near, the lower); a channel between two measured
//! energies at most `max_gap_ev` apart is interpolated linearly; every other channel is masked. A value that is NaN or infinite, or
//! whose noise is, was not measured. Noise goes along as that of independent values: over n repeats sqrt(sum s²)/n, between two
//! values sqrt((1-t)² s0² + t² s1²).

use super::axis::{AxisError, ModelAxis};

/// Energies closer than this, eV, are the same energy.
pub(super) const SAME_ENERGY_EV: f64 = 1e-6;

/// A channel as a mixture of two measured energies: `(1 - t) * lower + t * upper`.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Tap {
    channel: u32,
    lower: u32,
    upper: u32,
    t: f32,
}

/// The values of one energy: `members` is a range of `Projection::order`.
#[derive(Clone, Debug)]
struct Group {
    energy_ev: f64,
    start: usize,
    end: usize,
}

/// A list of measured energies, ready to be brought onto an axis, pixel by pixel.
///
/// The table of weights is made once, for pixels that have every energy; a pixel that lacks some gets its own, by the same
/// rules and without allocating.
#[derive(Clone, Debug)]
pub struct Projection {
    axis: ModelAxis,
    order: Vec<u32>,
    groups: Vec<Group>,
    taps: Vec<Tap>,
}

/// Room for one pixel's work; made once per batch.
#[derive(Clone, Debug, Default)]
pub(super) struct Scratch {
    energies_ev: Vec<f64>,
    values: Vec<f32>,
    variances: Vec<f32>,
}

impl Projection {
    /// A projection of `energies_ev` (eV, any order, repeats allowed) onto `axis`.
    ///
    /// # Errors
    /// An energy that is not finite and positive.
    pub fn new(axis: &ModelAxis, energies_ev: &[f64]) -> Result<Self, AxisError> {
        if let Some((index, &value)) =
            energies_ev.iter().enumerate().find(|(_, e)| !e.is_finite() || **e <= 0.0)
        {
            return Err(AxisError::Energy { index, value });
        }
        let mut order: Vec<u32> = (0..energies_ev.len() as u32).collect();
        order.sort_by(|&a, &b| energies_ev[a as usize].total_cmp(&energies_ev[b as usize]));
        let mut groups: Vec<Group> = Vec::new();
        for (place, &index) in order.iter().enumerate() {
            let energy_ev = energies_ev[index as usize];
            match groups.last_mut() {
                Some(group) if energy_ev - group.energy_ev <= SAME_ENERGY_EV => group.end = place + 1,
                _ => groups.push(Group { energy_ev, start: place, end: place + 1 }),
            }
        }
        let measured: Vec<f64> = groups.iter().map(|group| group.energy_ev).collect();
        let mut taps = Vec::with_capacity(axis.channels());
        for_each_tap(axis, &measured, |tap| taps.push(tap));
        Ok(Self { axis: axis.clone(), order, groups, taps })
    }

    /// The axis it projects onto.
    #[must_use]
    pub fn axis(&self) -> &ModelAxis {
        &self.axis
    }

    /// Number of measured energies, repeats included: the length of a pixel's spectrum.
    #[must_use]
    pub fn measured(&self) -> usize {
        self.order.len()
    }

    /// Number of channels that a pixel with every energy has.
    #[must_use]
    pub fn channels_covered(&self) -> usize {
        self.taps.len()
    }

    /// Writes value and noise of every observed channel and sets its mask to 1; the rows come zeroed. Returns how many.
    pub(super) fn project(
        &self,
        od: &[f32],
        sigma: &[f32],
        scratch: &mut Scratch,
        (values, mask, noise): (&mut [f32], &mut [f32], &mut [f32]),
    ) -> usize {
        scratch.clear();
        for group in &self.groups {
            if let Some((value, variance)) = self.average(group, od, sigma) {
                scratch.energies_ev.push(group.energy_ev);
                scratch.values.push(value);
                scratch.variances.push(variance);
            }
        }
        let mut observed = 0;
        let mut put = |tap: Tap| {
            let (lower, upper, channel) = (tap.lower as usize, tap.upper as usize, tap.channel as usize);
            let (near, far) = (1.0 - tap.t, tap.t);
            values[channel] = near * scratch.values[lower] + far * scratch.values[upper];
            noise[channel] = if lower == upper {
                scratch.variances[lower].sqrt()
            } else {
                (near * near * scratch.variances[lower] + far * far * scratch.variances[upper]).sqrt()
            };
            mask[channel] = 1.0;
            observed += 1;
        };
        if scratch.values.len() == self.groups.len() {
            self.taps.iter().copied().for_each(&mut put);
        } else {
            for_each_tap(&self.axis, &scratch.energies_ev, &mut put);
        }
        observed
    }

    /// Mean and its variance over the measured members of a group.
    fn average(&self, group: &Group, od: &[f32], sigma: &[f32]) -> Option<(f32, f32)> {
        let (mut count, mut sum, mut variance) = (0_u32, 0.0_f64, 0.0_f64);
        for &index in &self.order[group.start..group.end] {
            let (value, noise) = (od.get(index as usize)?, sigma.get(index as usize)?);
            if value.is_finite() && noise.is_finite() {
                count += 1;
                sum += f64::from(*value);
                variance += f64::from(*noise) * f64::from(*noise);
            }
        }
        let n = f64::from(count);
        (count > 0).then(|| ((sum / n) as f32, (variance / (n * n)) as f32))
    }
}

impl Scratch {
    fn clear(&mut self) {
        self.energies_ev.clear();
        self.values.clear();
        self.variances.clear();
    }
}

/// Walks axis and measured energies (both ascending) together, and hands out the taps of the channels that are observed.
fn for_each_tap(axis: &ModelAxis, measured_ev: &[f64], mut put: impl FnMut(Tap)) {
    let mut upper = 0;
    for (channel, &energy_ev) in axis.energies_ev().iter().enumerate() {
        while upper < measured_ev.len() && measured_ev[upper] < energy_ev {
            upper += 1;
        }
        let lower = upper.checked_sub(1);
        let (reach_below, reach_above) = axis.reach_ev(channel);
        // The slack takes in a measured energy that lies on the border but for rounding.
        let below = lower.map(|l| energy_ev - measured_ev[l]).filter(|d| *d <= reach_below + SAME_ENERGY_EV);
        let above =
            measured_ev.get(upper).map(|m| m - energy_ev).filter(|d| *d <= reach_above + SAME_ENERGY_EV);
        let take =
            |index: usize| Tap { channel: channel as u32, lower: index as u32, upper: index as u32, t: 0.0 };
        match (lower, below, above) {
            (Some(lower), Some(below), Some(above)) if below <= above + SAME_ENERGY_EV => put(take(lower)),
            (_, _, Some(_)) => put(take(upper)),
            (Some(lower), Some(_), None) => put(take(lower)),
            (Some(lower), None, None) if upper < measured_ev.len() => {
                let gap_ev = measured_ev[upper] - measured_ev[lower];
                if gap_ev <= axis.max_gap_ev() + SAME_ENERGY_EV {
                    let t = ((energy_ev - measured_ev[lower]) / gap_ev) as f32;
                    put(Tap { channel: channel as u32, lower: lower as u32, upper: upper as u32, t });
                }
            }
            _ => {}
        }
    }
}
