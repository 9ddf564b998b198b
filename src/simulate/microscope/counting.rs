//! What the detector makes of the light: counts with their noise, dead time, saturation, broken frame pixels, and
//! lines that go wrong.
//!
//! A point detector counts photons and dark together. With a gain or excess noise a photon makes `gain` counts, give
//! or take; dead time takes a share of the counts away; what is above saturation stays there. Of an area detector
//! every frame pixel counts for itself.

use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution as _, Poisson};

use super::{IncidentSource, LineFlaw, Microscope, after, gaussian, middle_ev, range_ev};
use crate::scan::{Channel, DType, DetectorKind, FrameBatch, I0, SampleBatch};
use crate::simulate::flaws;

/// Standard deviation of the energy read back, eV.
const READ_BACK_NOISE_EV: f64 = 0.004;
/// Radius of the bright field, as a share of the shorter side of the frame.
const BRIGHT_FIELD: f64 = 0.35;
/// Counts of an upstream monitor per photon of the open beam, in the middle of the scan's range.
const MONITOR_GAIN: f64 = 3.0;
/// Added to the stream of a line, it gives that of what goes wrong with it.
const FLAW_STREAM: u64 = 1 << 61;

impl Microscope {
    /// Measures one line; of a sparse scan there may be no pixel in it. For an area detector the values are the
    /// sums over the frames.
    #[must_use]
    pub fn line(&self, energy: usize, row: usize) -> SampleBatch {
        let (mut batch, mut rng) = self.blank(energy, row);
        batch.values = if self.plan.detector.kind == DetectorKind::Area {
            let frames = self.frames(energy, row);
            let sum = |frame: &[u16]| frame.iter().map(|&value| u64::from(value)).sum::<u64>() as f32;
            frames.chunks_exact(self.bright_field.len()).map(sum).collect()
        } else {
            batch.pixels.iter().map(|pixel| self.count(self.light(energy, pixel), &mut rng)).collect()
        };
        self.spoil(energy, row, &mut batch);
        batch
    }

    /// Measures one line of an area detector: frames one after the other, each row-major.
    #[must_use]
    pub fn frames(&self, energy: usize, row: usize) -> Vec<u16> {
        let (batch, mut rng) = self.blank(energy, row);
        let detector = &self.scenario.detector;
        let dark = self.plan.detector.dark;
        let level = if detector.saturation > 0.0 { detector.saturation } else { f64::from(u16::MAX) };
        // A counter that is full stays full.
        let level = level.min(f64::from(u16::MAX));
        let mut frames = Vec::with_capacity(batch.pixels.len() * self.bright_field.len());
        for pixel in batch.pixels.iter() {
            let photons = self.light(energy, pixel);
            let first = frames.len();
            frames.extend(
                self.bright_field
                    .iter()
                    .map(|share| poisson(photons * share + dark, &mut rng).min(level) as u16),
            );
            let [hot, dead] = &self.broken;
            for &index in hot {
                frames[first + index] = poisson(detector.hot_counts, &mut rng).min(level) as u16;
            }
            dead.iter().for_each(|&index| frames[first + index] = 0);
        }
        frames
    }

    /// The frames of a line as a source hands them over.
    #[must_use]
    pub fn frame_batch(&self, energy: usize, row: usize) -> FrameBatch {
        let bytes: Vec<u8> = self.frames(energy, row).iter().flat_map(|value| value.to_le_bytes()).collect();
        FrameBatch::raw(self.blank(energy, row).0, DType::Uint16, &bytes.into())
    }

    /// Photons that a pixel gets on average, with what goes wrong with the beam.
    fn light(&self, energy: usize, pixel: usize) -> f64 {
        let row = pixel / self.plan.grid.nx();
        self.open_beam(energy, row) * self.left_of_beam(energy, row) * self.transmitted(energy, pixel)
    }

    fn left_of_beam(&self, energy: usize, row: usize) -> f64 {
        match self.flaw(energy, row) {
            Some(LineFlaw::BeamLoss) => self.scenario.flaws.beam_loss_level,
            _ => 1.0,
        }
    }

    /// What a point detector says of so many photons on average.
    fn count(&self, photons: f64, rng: &mut ChaCha8Rng) -> f32 {
        let detector = &self.scenario.detector;
        let rate = detector.dead_time_s / (self.scenario.scan.dwell_ms * 1e-3);
        let alive = |n: f64| n / (1.0 + n * rate);
        let value = if detector.counts_are_whole() {
            let counts = poisson(photons + detector.dark, rng);
            if rate > 0.0 { alive(counts).round() } else { counts }
        } else {
            let seen = alive(poisson(photons, rng));
            let excess = detector.excess_noise * seen.sqrt() * gaussian(rng);
            (detector.gain * (seen + excess)).max(0.0) + poisson(detector.dark, rng)
        };
        let level = if detector.saturation > 0.0 { detector.saturation } else { f64::INFINITY };
        value.min(level) as f32
    }

    /// Lets go wrong what goes wrong with the values of a line.
    fn spoil(&self, energy: usize, row: usize, batch: &mut SampleBatch) {
        let Some(flaw) = self.flaw(energy, row) else { return };
        let mut rng = self.line_rng(energy, row, FLAW_STREAM);
        match flaw {
            LineFlaw::BeamLoss => {}
            LineFlaw::Constant => {
                let held = batch.values.first().copied().unwrap_or_default();
                batch.values.fill(held);
            }
            LineFlaw::Repeated => {
                let nx = self.plan.grid.nx();
                let (_, mut above) = self.blank(energy, row - 1);
                let mut again = |pixel: usize| self.count(self.light(energy, pixel - nx), &mut above);
                batch.values = batch.pixels.iter().map(&mut again).collect();
            }
            LineFlaw::Factor => {
                let factor = flaws::factor(&mut rng) as f32;
                let whole = self.scenario.detector.counts_are_whole();
                let wrong = |value: f32| if whole { (factor * value).round() } else { factor * value };
                batch.values.iter_mut().for_each(|value| *value = wrong(*value));
            }
        }
    }

    /// A line without values, and its random stream, which has given what else is random in it.
    pub(in crate::simulate) fn blank(&self, energy: usize, row: usize) -> (SampleBatch, ChaCha8Rng) {
        let nx = self.plan.grid.nx();
        let mut rng = self.line_rng(energy, row, 0);
        let read_back = gaussian(&mut rng) * READ_BACK_NOISE_EV;
        let beam = self.open_beam(energy, row) * self.left_of_beam(energy, row);
        let monitor = poisson(beam * nx as f64, &mut rng) / nx as f64;
        let batch = SampleBatch {
            energy_index: energy as u32,
            pixels: self.sampling.line(energy, row, nx),
            channel: Channel::Intensity,
            values: Vec::new(),
            i0: self.incident(energy, monitor),
            ring_current_ma: Some((self.ring_current_ma(energy, row) * 1e3).round() / 1e3),
            energy_ev: Some(((self.plan.energies_ev[energy] + read_back) * 1e4).round() / 1e4),
            time: Some(after(self.plan.started, self.line_start_ms(energy, row))),
        };
        (batch, rng)
    }

    /// What comes with a line whose empty beam has so many photons.
    fn incident(&self, energy: usize, photons: f64) -> I0 {
        let detector = &self.scenario.detector;
        match detector.i0 {
            IncidentSource::Stream if photons > 0.0 => {
                I0::One((detector.gain * photons + detector.dark) as f32)
            }
            IncidentSource::Monitor => {
                let energies_ev = &self.plan.energies_ev;
                let (low, high) = range_ev(energies_ev);
                let place = (energies_ev[energy] - middle_ev(energies_ev)) / (high - low).max(1e-9);
                I0::One((MONITOR_GAIN * photons * (1.0 + detector.monitor_slope * place)) as f32)
            }
            _ => I0::None,
        }
    }
}

/// A Poisson number; 0 for a mean that is not above 0.
fn poisson(mean: f64, rng: &mut ChaCha8Rng) -> f64 {
    Poisson::new(mean).map_or(0.0, |distribution| distribution.sample(rng))
}

/// Shares of a disc, which add up to 1.
pub(super) fn bright_field([h, w]: [usize; 2]) -> Vec<f64> {
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
