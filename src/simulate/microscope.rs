//! The microscope: how many photons each pixel gets, and what the detector says of them.
//!
//! A pixel of optical density OD gets N = N0(E, t)·[(1 - h)·exp(-OD(E)) + h·exp(-OD(2E))] photons and the dark
//! counts on top; the detector says a Poisson number of that mean. N0 follows the ring current, which decays,
//! and varies smoothly with the energy. OD(E) is that of the phases' reference spectra, scaled by thickness and
//! shares; OD(2E) is a power law, the same for all phases.
//!
//! Every line has a random stream of its own, taken from seed, energy and row: what a line holds depends on
//! nothing that was asked before.

use chrono::{DateTime, TimeDelta, Utc};
use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution as _, Poisson};

use super::SimulationError;
use super::nvpf::THICKNESS_NM;
use super::scenario::Scenario;
use super::specimen::Truth;
use crate::reference::ReferenceSet;
use crate::scan::{
    Axis, Channel, Detector, DetectorKind, Grid, I0, I0Kind, Pixels, SampleBatch, ScanKind, ScanPlan,
    ValueUnit,
};

/// Optical density of [`THICKNESS_NM`] at 1040 eV, and the exponent of its fall with energy.
const SECOND_ORDER_OD: (f64, f64) = (0.16, -2.7);
/// Standard deviation of the energy read back, eV.
const READ_BACK_NOISE_EV: f64 = 0.004;
/// Radius of the bright field, as a share of the shorter side of the frame.
const BRIGHT_FIELD: f64 = 0.35;
/// Random streams: the specimen has one of its own, above those of the lines.
const SPECIMEN_STREAM: u64 = u64::MAX;

/// A simulated microscope: pure, everything random comes from the seed of its scenario.
#[derive(Clone, Debug)]
pub struct Microscope {
    scenario: Scenario,
    plan: ScanPlan,
    truth: Truth,
    /// Optical density of [`THICKNESS_NM`] of each phase, per energy.
    od: Vec<Vec<f64>>,
    /// Share of the photons that each frame pixel gets; one share of 1 for a point detector.
    bright_field: Vec<f64>,
}

impl Microscope {
    /// Builds specimen and plan.
    ///
    /// # Errors
    /// A scenario out of range, an identifier that is not allowed, or an energy (with the offset of the beam)
    /// outside the references.
    pub fn new(
        scenario: Scenario,
        references: &ReferenceSet,
        scan_id: &str,
        started: DateTime<Utc>,
    ) -> Result<Self, SimulationError> {
        scenario.check()?;
        let od = scenario
            .energies_ev()
            .into_iter()
            .map(|energy_ev| energy_ev + scenario.beam.energy_offset_ev)
            .map(|energy_ev| references.od_at(energy_ev).ok_or(SimulationError::Energy(energy_ev)))
            .collect::<Result<Vec<_>, _>>()?;
        if references.is_empty() || references.len() > 64 {
            return Err(SimulationError::References(references.len()));
        }
        let mut rng = ChaCha8Rng::seed_from_u64(scenario.seed);
        rng.set_stream(SPECIMEN_STREAM);
        let phases = references.labels().iter().map(|label| label.id.clone()).collect();
        let mut truth = Truth::grow(&scenario.specimen, phases, scenario.scan.shape, &mut rng);
        scan_id.clone_into(&mut truth.scan_id);
        let plan = plan(&scenario, scan_id, started);
        plan.validate()?;
        let bright_field = match scenario.detector.kind {
            DetectorKind::Point => vec![1.0],
            DetectorKind::Area => bright_field(scenario.detector.frame_shape),
        };
        Ok(Self { scenario, plan, truth, od, bright_field })
    }

    /// The plan of the scan.
    #[must_use]
    pub fn plan(&self) -> &ScanPlan {
        &self.plan
    }

    /// What is really there.
    #[must_use]
    pub fn truth(&self) -> &Truth {
        &self.truth
    }

    /// The scenario.
    #[must_use]
    pub fn scenario(&self) -> &Scenario {
        &self.scenario
    }

    /// Time that a line takes, ms.
    #[must_use]
    pub fn line_ms(&self) -> f64 {
        self.scenario.scan.dwell_ms * self.plan.grid.nx() as f64 + self.scenario.scan.line_overhead_ms
    }

    /// Milliseconds from the start of the scan to the start of a line.
    #[must_use]
    pub fn line_start_ms(&self, energy: usize, row: usize) -> f64 {
        (energy * self.plan.grid.ny() + row) as f64 * self.line_ms()
    }

    /// Ring current at the start of a line, mA.
    #[must_use]
    pub fn ring_current_ma(&self, energy: usize, row: usize) -> f64 {
        let beam = &self.scenario.beam;
        let hours = self.line_start_ms(energy, row) / 3.6e6;
        beam.ring_current_ma * (-hours / beam.ring_lifetime_h).exp()
    }

    /// Photons that a pixel without sample gets, on average, dark not included.
    #[must_use]
    pub fn open_beam(&self, energy: usize, row: usize) -> f64 {
        let beam = &self.scenario.beam;
        let decay = self.ring_current_ma(energy, row) / beam.ring_current_ma;
        beam.photons * decay * beamline_shape(self.plan.energies_ev[energy] + beam.energy_offset_ev)
    }

    /// Optical density of a pixel at an energy.
    #[must_use]
    pub fn optical_density(&self, energy: usize, pixel: usize) -> f64 {
        let of_phases: f64 =
            self.truth.shares(pixel).map(|(phase, share)| share * self.od[energy][phase]).sum();
        of_phases * f64::from(self.truth.thickness_nm[pixel]) / THICKNESS_NM
    }

    /// Mean of what the detector says of a pixel: photons and dark counts.
    #[must_use]
    pub fn expected(&self, energy: usize, pixel: usize) -> f64 {
        let beam = &self.scenario.beam;
        let row = pixel / self.plan.grid.nx();
        let (reference_od, exponent) = SECOND_ORDER_OD;
        let second_ev = 2.0 * (self.plan.energies_ev[energy] + beam.energy_offset_ev);
        let second_od =
            reference_od * (second_ev / 1040.0).powf(exponent) * f64::from(self.truth.thickness_nm[pixel])
                / THICKNESS_NM;
        let first = (1.0 - beam.second_order) * (-self.optical_density(energy, pixel)).exp();
        let transmitted = first + beam.second_order * (-second_od).exp();
        self.open_beam(energy, row) * transmitted + self.scenario.detector.dark
    }

    /// Measures one line. For an area detector the values are the sums over the frames.
    #[must_use]
    pub fn line(&self, energy: usize, row: usize) -> SampleBatch {
        let (mut batch, mut rng) = self.blank(energy, row);
        if self.plan.detector.kind == DetectorKind::Area {
            let frames = self.frames(energy, row);
            let sum = |frame: &[u16]| frame.iter().map(|&value| u64::from(value)).sum::<u64>() as f32;
            batch.values = frames.chunks_exact(self.bright_field.len()).map(sum).collect();
        } else {
            batch.values = batch
                .pixels
                .iter()
                .map(|pixel| poisson(self.expected(energy, pixel), &mut rng) as f32)
                .collect();
        }
        batch
    }

    /// Measures one line of an area detector: frames one after the other, each row-major.
    #[must_use]
    pub fn frames(&self, energy: usize, row: usize) -> Vec<u16> {
        let (batch, mut rng) = self.blank(energy, row);
        let dark = self.plan.detector.dark;
        let mut frames = Vec::with_capacity(batch.pixels.len() * self.bright_field.len());
        for pixel in batch.pixels.iter() {
            let photons = self.expected(energy, pixel) - self.scenario.detector.dark;
            frames.extend(self.bright_field.iter().map(|share| {
                // A counter that is full stays full; the plan says so as `saturation`.
                poisson(photons * share + dark, &mut rng).min(f64::from(u16::MAX)) as u16
            }));
        }
        frames
    }

    /// A line without values, and its random stream, which has given what else is random in it.
    pub(super) fn blank(&self, energy: usize, row: usize) -> (SampleBatch, ChaCha8Rng) {
        let (ny, nx) = (self.plan.grid.ny(), self.plan.grid.nx());
        let mut rng = ChaCha8Rng::seed_from_u64(self.scenario.seed);
        rng.set_stream((energy * ny + row) as u64);
        // Twelve uniform numbers less six have a variance of 1.
        let gaussian = (0..12).map(|_| rng.random::<f64>()).sum::<f64>() - 6.0;
        let monitor = poisson(self.open_beam(energy, row) * nx as f64, &mut rng) / nx as f64;
        let batch = SampleBatch {
            energy_index: energy as u32,
            pixels: Pixels::Run { first: (row * nx) as u32, count: nx as u32 },
            channel: Channel::Intensity,
            values: Vec::new(),
            i0: if self.scenario.detector.send_i0 && monitor > 0.0 {
                I0::One((monitor + self.scenario.detector.dark) as f32)
            } else {
                I0::None
            },
            ring_current_ma: Some((self.ring_current_ma(energy, row) * 1e3).round() / 1e3),
            energy_ev: Some(
                ((self.plan.energies_ev[energy] + gaussian * READ_BACK_NOISE_EV) * 1e4).round() / 1e4,
            ),
            time: Some(after(self.plan.started, self.line_start_ms(energy, row))),
        };
        (batch, rng)
    }
}

/// `ms` milliseconds after `start`.
pub(super) fn after(start: DateTime<Utc>, ms: f64) -> DateTime<Utc> {
    start + TimeDelta::microseconds((ms * 1e3) as i64)
}

/// A Poisson number; 0 for a mean that is not above 0.
fn poisson(mean: f64, rng: &mut ChaCha8Rng) -> f64 {
    Poisson::new(mean).map_or(0.0, |distribution| distribution.sample(rng))
}

/// Flux of the beamline over energy: a wide hump, the ripple of the mirrors, and the dip of their oxide.
fn beamline_shape(energy_ev: f64) -> f64 {
    let hump = 1.0 / (1.0 + ((energy_ev - 522.0) / 45.0).powi(2));
    let ripple = 1.0 + 0.01 * (energy_ev / 3.0).sin();
    let oxide = 1.0 - 0.04 * (-((energy_ev - 532.0) / 2.5).powi(2)).exp();
    hump * ripple * oxide / 1.01
}

/// Shares of a disc, which add up to 1.
fn bright_field([h, w]: [usize; 2]) -> Vec<f64> {
    let radius = (BRIGHT_FIELD * h.min(w) as f64).max(0.75);
    let weight = |y: usize, x: usize| {
        let (dy, dx) = (y as f64 - (h - 1) as f64 / 2.0, x as f64 - (w - 1) as f64 / 2.0);
        // The rim falls off over one frame pixel.
        (radius + 0.5 - dy.hypot(dx)).clamp(0.0, 1.0)
    };
    let weights: Vec<f64> = (0..h).flat_map(|y| (0..w).map(move |x| weight(y, x))).collect();
    let total: f64 = weights.iter().sum();
    weights.into_iter().map(|weight| weight / total).collect()
}

fn plan(scenario: &Scenario, scan_id: &str, started: DateTime<Utc>) -> ScanPlan {
    let (scan, beam, detector) = (&scenario.scan, &scenario.beam, &scenario.detector);
    let energies_ev = scenario.energies_ev();
    let flux = |energy_ev: &f64| {
        beam.photons * beamline_shape(energy_ev + beam.energy_offset_ev)
            / (detector.efficiency * scan.dwell_ms * 1e-3)
    };
    let axis =
        |pixels: usize| Axis { start: -0.5 * (pixels - 1) as f64 * scan.pixel_um, step: scan.pixel_um };
    let area = detector.kind == DetectorKind::Area;
    let [h, w] = detector.frame_shape;
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
            saturation: area.then_some(f64::from(u16::MAX)),
            counts_per_photon: Some(vec![1.0; energies_ev.len()]),
            efficiency: Some(detector.efficiency),
            ..Detector::default()
        },
        i0_kind: I0Kind::OpenBeam,
        beamline: scenario.beamline.clone(),
        sample: scenario.sample.clone(),
        region: scenario.region.clone(),
        operator: None,
        proposal: None,
        group: None,
        region_index: None,
        polarization: None,
        state_of_charge: None,
        context: None,
        flux_ph_per_s: Some(energies_ev.iter().map(flux).collect()),
        energies_ev,
        simulated: true,
        started,
        resend: None,
    }
}

#[cfg(test)]
mod tests;
