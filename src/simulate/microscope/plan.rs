//! The plan of a simulated scan, and how bright its beam is.

use chrono::{DateTime, TimeDelta, Utc};

use crate::scan::{Axis, Detector, DetectorKind, Grid, I0Kind, ScanKind, ScanPlan, ValueUnit};
use crate::simulate::scenario::{IncidentSource, Scenario};

/// Flux of the beamline over energy: a wide hump, the ripple of the mirrors, and the dip of their oxide.
pub(super) fn beamline_shape(energy_ev: f64) -> f64 {
    let hump = 1.0 / (1.0 + ((energy_ev - 522.0) / 45.0).powi(2));
    let ripple = 1.0 + 0.01 * (energy_ev / 3.0).sin();
    let oxide = 1.0 - 0.04 * (-((energy_ev - 532.0) / 2.5).powi(2)).exp();
    hump * ripple * oxide / 1.01
}

/// The middle of the range of energies, eV.
pub(super) fn middle_ev(energies_ev: &[f64]) -> f64 {
    let (low, high) = range_ev(energies_ev);
    0.5 * (low + high)
}

/// Lowest and highest energy, eV.
pub(super) fn range_ev(energies_ev: &[f64]) -> (f64, f64) {
    energies_ev.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), &e| (low.min(e), high.max(e)))
}

/// The whole plan, a second pass included.
pub(super) fn plan(scenario: &Scenario, scan_id: &str, started: DateTime<Utc>) -> ScanPlan {
    let (scan, beam, detector) = (&scenario.scan, &scenario.beam, &scenario.detector);
    let energies_ev = scenario.energies_ev();
    let area = detector.kind == DetectorKind::Area;
    let [h, w] = detector.frame_shape;
    let middle_ev = middle_ev(&energies_ev);
    let flux = |energy_ev: &f64| {
        beam.photons * beamline_shape(energy_ev + beam.offset_at(*energy_ev, middle_ev))
            / (detector.efficiency * scan.dwell_ms * 1e-3)
    };
    let level = if area && detector.saturation == 0.0 { f64::from(u16::MAX) } else { detector.saturation };
    let saturation = (level > 0.0 && detector.saturation_known).then_some(level);
    // What the noise of the counts is over that of as many photons.
    let counts_per_photon = detector.gain * (1.0 + detector.excess_noise.powi(2));
    let axis =
        |pixels: usize| Axis { start: -0.5 * (pixels - 1) as f64 * scan.pixel_um, step: scan.pixel_um };
    ScanPlan {
        scan_id: scan_id.to_owned(),
        scan_kind: ScanKind::Stack,
        grid: Grid {
            shape: scan.shape,
            x: axis(scan.shape[1]),
            y: axis(scan.shape[0]),
            unit: "um".to_owned(),
        },
        dwell_ms: vec![scan.dwell_ms; energies_ev.len()],
        value_unit: ValueUnit::Counts,
        detector: Detector {
            kind: detector.kind,
            frame_shape: area.then_some(detector.frame_shape),
            dark: if area { detector.dark / (h * w) as f64 } else { detector.dark },
            saturation,
            dead_time_s: (detector.dead_time_s > 0.0 && detector.dead_time_known)
                .then_some(detector.dead_time_s),
            counts_per_photon: detector.gain_known.then(|| vec![counts_per_photon; energies_ev.len()]),
            efficiency: Some(detector.efficiency),
            ..Detector::default()
        },
        i0_kind: match detector.i0 {
            IncidentSource::Monitor => I0Kind::Monitor,
            _ => I0Kind::OpenBeam,
        },
        beamline: scenario.beamline.clone(),
        sample: scenario.sample.clone(),
        region: scenario.region.clone(),
        operator: None,
        proposal: None,
        group: None,
        region_index: None,
        polarization: None,
        state_of_charge: scan.state_of_charge,
        context: scenario.context.clone(),
        flux_ph_per_s: Some(energies_ev.iter().map(flux).collect()),
        energies_ev,
        simulated: true,
        started: started + TimeDelta::milliseconds((scan.hours * 3.6e6).round() as i64),
        resend: None,
        recall: None,
    }
}
