//! The whole field of each scan: shares and mean state, and what its state of charge would give.

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::{Estimate, Interval, Moment, difference, excludes_zero, limit};
use crate::damage::shares;

/// One scan.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ScanState {
    /// Its identifier.
    pub scan_id: String,
    /// Its region.
    pub region: Option<String>,
    /// When it started.
    pub started: DateTime<Utc>,
    /// Hours since the first one.
    pub hours: f64,
    /// As the plan says.
    pub state_of_charge: Option<f64>,
    /// Particles in it.
    pub particles: usize,
    /// Share of each phase in the matter that can be named, in the order of the phases; empty where none can.
    pub shares: Vec<Estimate>,
    /// Mean state variable of all particles, each pixel by its amount.
    pub x: Option<Interval>,
    /// Part of the matter that no phase could be given.
    pub unknown: f64,
    /// What the state of charge would give.
    pub nominal: Option<Nominal>,
}

/// Nominal against measured.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Nominal {
    /// State variable, were the sample as its state of charge says, from the largest of the references at 0 to the least at 1.
    pub x: f64,
    /// Measured less nominal.
    pub measured_less: Interval,
    /// Whether it is claimed that they differ.
    pub is_real: bool,
}

pub(super) fn scans(moments: &[Moment<'_>]) -> Vec<ScanState> {
    let first = moments.first().map(|own| own.map.plan.started);
    let told = moments.iter().filter(|own| own.map.plan.state_of_charge.is_some()).count();
    moments
        .iter()
        .map(|moment| {
            let plan = &moment.map.plan;
            let states = moment.states();
            let pixels: Vec<u32> =
                moment.particles.particles.iter().flat_map(|own| own.pixels.iter().copied()).collect();
            let places: Vec<usize> = pixels.iter().map(|&pixel| pixel as usize).collect();
            let mean = states.mean(moment.map, &pixels, &moment.particles.amounts);
            // Any scalar that orders a series may stand there; only a share can be turned into a state.
            let charge = plan.state_of_charge.filter(|charge| (0.0..=1.0).contains(charge));
            let ends = states.span().filter(|[least, most]| least < most);
            let nominal = charge.zip(ends).zip(mean.x).map(|((charge, [least, most]), measured)| {
                let x = most - charge * (most - least);
                let measured_less = difference(measured, Interval { low: x, middle: x, high: x });
                Nominal { x, measured_less, is_real: excludes_zero(measured_less, limit(told)) }
            });
            ScanState {
                scan_id: plan.scan_id.clone(),
                region: plan.region.clone(),
                started: plan.started.to_utc(),
                hours: first.map_or(0.0, |first| (plan.started - first).as_seconds_f64() / 3600.0),
                state_of_charge: plan.state_of_charge,
                particles: moment.particles.particles.len(),
                shares: shares(moment.map, &places),
                x: mean.x,
                unknown: mean.unknown,
                nominal,
            }
        })
        .collect()
}
