//! The incident intensity of a scan as people are shown it: its source, its course from energy to energy, and what
//! could not be used.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{Beam, I0Source, Intensity, PlaneIntensity};
use crate::scan::ValueUnit;
use crate::screening::Flaw;
use crate::stack::{PlaneI0, Stack};

/// Values of a plane that the mean of a stream's I0 is taken over, at most.
const MOST_VALUES: usize = 4096;

/// What there is to be said of I0; `i0` of a scan in `/api/v1/scans`.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct IncidentSummary {
    /// Where it comes from.
    pub source: I0Source,
    /// Pixels of the empty region, where it comes from one.
    pub region_pixels: Option<usize>,
    /// What is wrong with it, and what is done then.
    pub problem: Option<String>,
    /// Values that are not usable, by reason.
    pub flawed: BTreeMap<&'static str, usize>,
    /// Lines that are not usable as a whole, by reason.
    pub flawed_lines: BTreeMap<&'static str, usize>,
    /// I0 and what goes with it, energy by energy.
    pub curve: IncidentCurve,
}

/// One list item per energy of the plan; null where there is nothing to say.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct IncidentCurve {
    /// Set-point, eV.
    pub energy_ev: Vec<f64>,
    /// I0 less dark, per ms, in the unit of the counts; its mean where it differs from pixel to pixel.
    pub i0_per_ms: Vec<Option<f64>>,
    /// Ring current, mA.
    pub ring_current_ma: Vec<Option<f64>>,
    /// Relative scatter of the beam from line to line that was taken out; 0 where it was taken as steady.
    pub flicker: Vec<f64>,
    /// Values that are not usable.
    pub flawed: Vec<usize>,
}

impl IncidentSummary {
    /// Why there is none, so that no optical density can be told; nothing where there is one, or where it is not known, as of maps out of the archive.
    #[must_use]
    pub fn missing(&self) -> Option<&str> {
        self.problem.as_deref().filter(|_| self.source == I0Source::None)
    }

    /// The summary of a stack under an intensity.
    #[must_use]
    pub fn new(stack: &Stack, intensity: &Intensity) -> Self {
        let counts = intensity.screen().counts();
        let named = |counts: &[usize]| {
            let all = Flaw::ALL.iter().map(|flaw| flaw.name()).zip(counts.iter().copied());
            all.filter(|(_, count)| *count > 0).collect::<BTreeMap<_, _>>()
        };
        Self {
            source: intensity.source(),
            region_pixels: intensity.region().map(|region| region.pixels.len()),
            problem: intensity.problem().map(str::to_owned),
            flawed: named(&counts.values),
            flawed_lines: named(&counts.lines),
            curve: IncidentCurve::new(stack, intensity),
        }
    }
}

impl IncidentCurve {
    fn new(stack: &Stack, intensity: &Intensity) -> Self {
        let plan = stack.plan();
        let energies = 0..plan.energies_ev.len();
        let per_ms = |energy: usize| match plan.value_unit {
            ValueUnit::Counts => 1.0 / plan.dwell_ms[energy],
            ValueUnit::CountsPerS => 1e-3,
        };
        let light =
            |energy: usize| mean_i0(stack, intensity, energy).map(|i0| (i0 - plan.dark()) * per_ms(energy));
        Self {
            energy_ev: plan.energies_ev.clone(),
            i0_per_ms: energies.clone().map(light).collect(),
            ring_current_ma: stack.planes().iter().map(|plane| plane.ring_current_ma()).collect(),
            flicker: energies.clone().map(|energy| flicker(intensity.plane(energy))).collect(),
            flawed: energies.map(|e| intensity.screen().found(e).map_or(0, |flaws| flaws.values())).collect(),
        }
    }
}

/// I0 of a plane, dark included, in the unit of the values; its mean where it differs from pixel to pixel. `None` where
/// the plane has no value yet, or no I0.
#[must_use]
pub fn mean_i0(stack: &Stack, intensity: &Intensity, energy: usize) -> Option<f64> {
    let plane = stack.plane(energy);
    if plane.measured() == 0 {
        return None;
    }
    match (intensity.plane(energy), plane.i0()) {
        (PlaneIntensity::Unknown, _) | (PlaneIntensity::Stream, PlaneI0::None) => None,
        (PlaneIntensity::One { i0, .. }, _) => Some(*i0),
        (PlaneIntensity::Stream, PlaneI0::One(i0)) => Some(f64::from(i0)),
        (PlaneIntensity::Stream, PlaneI0::Each(list)) => {
            let stride = list.len().div_ceil(MOST_VALUES).max(1) | 1;
            let some = list.iter().step_by(stride).map(|i0| f64::from(*i0)).filter(|i0| !i0.is_nan());
            let (sum, count) = some.fold((0.0, 0_u32), |(sum, count), i0| (sum + i0, count + 1));
            (count > 0).then(|| sum / f64::from(count))
        }
    }
}

fn flicker(intensity: &PlaneIntensity) -> f64 {
    let PlaneIntensity::One { beam: Beam::Lines(factors), .. } = intensity else { return 0.0 };
    let squares: f64 = factors.iter().map(|factor| (f64::from(*factor) - 1.0).powi(2)).sum();
    (squares / factors.len().max(1) as f64).sqrt()
}
