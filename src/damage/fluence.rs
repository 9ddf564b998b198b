//! Photons that hit a pixel in one exposure, energy by energy, and who says so.
//!
//! In this order: the flux that the settings name; the flux of the stream; counts. Flux is per second and on the sample; an exposure lasts
//! the dwell times `exposure_factor`, which is above 1 where the shutter stays open while the stage turns round. Counts are I0 less dark
//! of one dwell over the counts that a photon makes and the share of the photons that the detector sees. An energy of which nothing is
//! known borrows from the nearest one, per second. Where nothing is known of any, [`NOMINAL_PH_PER_S`] stands in, and what is made of it
//! is no dose.

use serde::{Deserialize, Serialize};

use super::DoseSettings;
use crate::absorption::{Intensity, PlaneIntensity, mean_i0};
use crate::scan::{ScanPlan, Signal, ValueUnit};
use crate::screening::{DetectorSettings, Response};
use crate::stack::Stack;

/// What stands in for a flux that is not known, photons per second.
pub const NOMINAL_PH_PER_S: f64 = 1e6;

/// Who says how many photons there were.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FluxSource {
    /// The settings.
    Configured,
    /// The stream, in its plan.
    Stream,
    /// Counts of the open beam, with the efficiency of the detector.
    Counts,
    /// Nobody: [`NOMINAL_PH_PER_S`] stands in.
    Nominal,
}

/// Photons of one exposure of a pixel.
#[derive(Clone, Debug, PartialEq)]
pub struct Fluence {
    /// Who says so.
    pub source: FluxSource,
    /// Photons, one number per energy of the plan.
    pub photons: Vec<f64>,
    /// Why it is not known, in words, where it is not.
    pub unknown: Option<&'static str>,
}

impl Fluence {
    /// The fluence of a plan; `light`: I0 of each energy, less dark and without dead time, in the unit of the values, where it is
    /// known (see [`light`]).
    #[must_use]
    pub fn of(plan: &ScanPlan, light: &[Option<f64>], settings: &DoseSettings) -> Self {
        let exposure_s = |energy: usize| plan.dwell_ms[energy] * 1e-3 * settings.exposure_factor;
        let of = |source, unknown, rate: &dyn Fn(usize) -> f64| Self {
            source,
            photons: (0..plan.energies_ev.len()).map(|energy| rate(energy) * exposure_s(energy)).collect(),
            unknown,
        };
        if let Some(flux) = settings.flux_ph_per_s {
            return of(FluxSource::Configured, None, &|_| flux);
        }
        if let Some(flux) = &plan.flux_ph_per_s {
            return of(FluxSource::Stream, None, &|energy| flux[energy]);
        }
        match counted(plan, light, settings) {
            Ok(rates) => of(FluxSource::Counts, None, &|energy| rates[energy]),
            Err(unknown) => of(FluxSource::Nominal, Some(unknown), &|_| NOMINAL_PH_PER_S),
        }
    }
}

/// Photons per second at each energy, by the counts of the open beam.
fn counted(
    plan: &ScanPlan,
    light: &[Option<f64>],
    settings: &DoseSettings,
) -> Result<Vec<f64>, &'static str> {
    if plan.detector.signal != Signal::Transmission {
        return Err("a yield or an optical density does not count the photons on the sample");
    }
    let Some(efficiency) = settings.detector_efficiency.or(plan.detector.efficiency) else {
        return Err("neither a flux nor the efficiency of the detector is known");
    };
    if plan.detector.counts_per_photon.is_none() && settings.detector_efficiency.is_none() {
        return Err("neither a flux nor the counts that a photon makes are known");
    }
    let rate = |energy: usize| {
        let light = light.get(energy).copied().flatten().filter(|light| *light > 0.0)?;
        let per_s = match plan.value_unit {
            ValueUnit::Counts => 1e3 / plan.dwell_ms[energy],
            ValueUnit::CountsPerS => 1.0,
        };
        let counts_per_photon = plan.detector.counts_per_photon.as_ref().map_or(1.0, |list| list[energy]);
        Some(light * per_s / counts_per_photon / efficiency)
    };
    let energies_ev = &plan.energies_ev;
    let own: Vec<Option<f64>> = (0..energies_ev.len()).map(rate).collect();
    let known: Vec<(f64, f64)> =
        own.iter().zip(energies_ev).filter_map(|(rate, ev)| Some((*ev, (*rate)?))).collect();
    let nearest = |ev: f64| {
        let distance = |known: &&(f64, f64)| (known.0 - ev).abs();
        known.iter().min_by(|a, b| distance(a).total_cmp(&distance(b))).map(|(_, rate)| *rate)
    };
    own.iter()
        .zip(energies_ev)
        .map(|(rate, ev)| rate.or_else(|| nearest(*ev)))
        .collect::<Option<Vec<f64>>>()
        .ok_or("there is no I0 to count photons in")
}

/// I0 of each energy of a stack, less dark and without dead time, in the unit of the values; `None` where there is none (yet). Of an I0 that
/// came with lines or pixels it is the mean.
#[must_use]
pub fn light(stack: &Stack, intensity: &Intensity, detector: &DetectorSettings) -> Vec<Option<f64>> {
    let plan = stack.plan();
    let of = |energy: usize| {
        let i0 = mean_i0(stack, intensity, energy)?;
        let linear = match intensity.plane(energy) {
            PlaneIntensity::Stream => Response::of(plan, energy, detector).linear_i0(i0)?,
            _ => i0,
        };
        Some(linear - plan.dark())
    };
    (0..plan.energies_ev.len()).map(of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scan::test_plan;

    fn photons(plan: &ScanPlan, light: &[Option<f64>], settings: &DoseSettings) -> (FluxSource, Vec<f64>) {
        let fluence = Fluence::of(plan, light, settings);
        assert_eq!(fluence.unknown.is_some(), fluence.source == FluxSource::Nominal);
        (fluence.source, fluence.photons)
    }

    #[test]
    fn settings_win_over_the_stream_and_that_over_counts() {
        let mut plan = test_plan(1, 1, 2);
        (plan.dwell_ms, plan.detector.efficiency) = (vec![1.0, 2.0], Some(0.5));
        plan.detector.counts_per_photon = Some(vec![1.0, 4.0]);
        let light = [Some(1000.0), Some(8000.0)];
        let mut settings = DoseSettings { exposure_factor: 1.5, ..DoseSettings::default() };
        // 1000 counts are 2000 photons in a dwell; 8000 are 2000 seen, 4000 in all. The shutter is open half as long again.
        assert_eq!(photons(&plan, &light, &settings), (FluxSource::Counts, vec![3000.0, 6000.0]));
        plan.flux_ph_per_s = Some(vec![1e6, 2e6]);
        assert_eq!(photons(&plan, &light, &settings), (FluxSource::Stream, vec![1500.0, 6000.0]));
        settings.flux_ph_per_s = Some(4e6);
        assert_eq!(photons(&plan, &light, &settings), (FluxSource::Configured, vec![6000.0, 12000.0]));
    }

    #[test]
    fn rates_and_counts_say_the_same() {
        let mut plan = test_plan(1, 1, 1);
        (plan.dwell_ms, plan.value_unit) = (vec![2.0], ValueUnit::CountsPerS);
        let settings = DoseSettings { detector_efficiency: Some(0.3), ..DoseSettings::default() };
        let by_rate = photons(&plan, &[Some(5e6)], &settings).1[0];
        plan.value_unit = ValueUnit::Counts;
        assert!((by_rate - 1e4 / 0.3).abs() < 1e-6);
        assert_eq!(photons(&plan, &[Some(1e4)], &settings).1[0], by_rate);
    }

    #[test]
    fn an_energy_without_i0_borrows_from_the_nearest_per_second() {
        let mut plan = test_plan(1, 1, 4);
        plan.dwell_ms = vec![1.0, 1.0, 3.0, 1.0];
        let settings = DoseSettings { detector_efficiency: Some(1.0), ..DoseSettings::default() };
        let light = [None, Some(100.0), None, Some(500.0)];
        let (source, photons) = photons(&plan, &light, &settings);
        assert_eq!((source, photons), (FluxSource::Counts, vec![100.0, 100.0, 300.0, 500.0]));
    }

    #[test]
    fn the_light_of_a_stream_is_without_dark_and_dead_time() {
        use crate::absorption::AbsorptionSettings;
        use crate::scan::{Channel, I0, Pixels, SampleBatch};
        let mut plan = test_plan(1, 2, 2);
        (plan.detector.dark, plan.detector.dead_time_s) = (100.0, Some(1e-8));
        let mut stack = Stack::new(plan);
        // 1e7 a second are 1e4 in a dwell of 1 ms, of which a tenth is not seen.
        let seen = 1e4_f32 / 1.1;
        let batch = SampleBatch {
            energy_index: 1,
            pixels: Pixels::Run { first: 0, count: 2 },
            channel: Channel::Intensity,
            others: Vec::new(),
            values: vec![1000.0, 2000.0],
            i0: I0::Each(vec![seen, seen]),
            ring_current_ma: None,
            energy_ev: None,
            time: None,
        };
        stack.push(0, &batch).unwrap();
        let settings = AbsorptionSettings { max_od: 3.0, ..AbsorptionSettings::default() };
        let intensity = Intensity::estimate(&stack, &crate::screening::Screen::default(), &settings);
        let found = light(&stack, &intensity, &settings.detector);
        assert_eq!(found[0], None);
        assert!((found[1].unwrap() - 9900.0).abs() < 0.5, "{found:?}");
    }

    #[test]
    fn what_nobody_knows_is_not_made_up() {
        let mut plan = test_plan(1, 1, 1);
        let light = [Some(1000.0)];
        let unknown = |plan: &ScanPlan, light: &[Option<f64>], settings: &DoseSettings| {
            photons(plan, light, settings) == (FluxSource::Nominal, vec![1000.0])
        };
        let settings = DoseSettings::default();
        assert!(unknown(&plan, &light, &settings));
        // Counts that may not be photons.
        plan.detector.efficiency = Some(0.5);
        assert!(unknown(&plan, &light, &settings));
        plan.detector.counts_per_photon = Some(vec![1.0]);
        assert!(!unknown(&plan, &light, &settings));
        assert!(unknown(&plan, &[None], &settings));
        plan.detector.signal = Signal::Fluorescence;
        assert!(unknown(&plan, &light, &settings));
    }
}
