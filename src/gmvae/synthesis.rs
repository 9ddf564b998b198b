//! Makes spectra as a microscope would measure them, from references, with known answers.
//!
//! I = Poisson(N0 ((1-h) exp(-OD) + h exp(-0.35 OD) + d)), OD' = ln(N0 / I): counts N0, second-order light h, dark
//! counts d. Before that the reference is shifted in energy, broadened or sharpened, its amplitude varied smoothly over
//! energy, scaled by thickness, and a slope added. A pixel without counts has no OD. The noise that goes along is 1/sqrt(I), as
//! known from the counts, itself wrong by some per cent. Everything is drawn from the generator handed in.

use rand::Rng;
use rand_distr::{Distribution as _, Poisson, StandardNormal};

use super::curve::Curves;

/// Share of one phase from which a mixture is called by its name.
pub const PURE_SHARE: f64 = 0.8;
/// Amplitude variation is a sum of this many cosines.
const WAVES: usize = 3;

/// What a pixel is made of.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Matter {
    /// One phase, by its index.
    Phase(usize),
    /// Two phases along the beam, and the share of the first.
    Mixture(usize, usize, f64),
    /// Something that is in no reference.
    Foreign,
}

/// How it is measured.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Conditions {
    /// Incident counts.
    pub counts: f64,
    /// Thickness in units of the references'.
    pub thickness: f64,
    /// Energy offset, eV.
    pub offset_ev: f64,
    /// 0: as the references, 1: broadened by 0.25 eV, below 0: sharper.
    pub broadening: f64,
    /// Relative amplitude variation over energy, root mean square.
    pub jitter: f64,
    /// Dark counts, relative to the incident.
    pub dark: f64,
    /// Second-order light, relative to the incident.
    pub second_order: f64,
    /// OD added at the upper end of the range, taken off at the lower.
    pub slope_od: f64,
    /// Factor of the noise that is told over the true one.
    pub sigma_error: f64,
}

impl Conditions {
    /// Conditions of training: the whole range of what happens.
    pub fn of_training(rng: &mut impl Rng) -> Self {
        // Mostly the offset was estimated from all pixels and corrected, and what remains is small; sometimes not.
        let offset_ev: f64 = if rng.random_bool(0.65) {
            0.04 * rng.sample::<f64, _>(StandardNormal)
        } else {
            rng.random_range(-0.3..0.3)
        };
        Self {
            counts: (rng.random_range(300_f64.ln()..30_000_f64.ln())).exp(),
            thickness: rng.random_range(0.3..2.0),
            offset_ev: offset_ev.clamp(-0.35, 0.35),
            broadening: rng.random_range(-0.3..0.8),
            jitter: rng.random_range(0.0..0.04),
            dark: if rng.random_bool(0.5) { 0.0 } else { rng.random_range(0.0..0.03) },
            second_order: if rng.random_bool(0.5) { 0.0 } else { rng.random_range(0.0..0.06) },
            slope_od: 0.04 * rng.sample::<f64, _>(StandardNormal),
            sigma_error: (0.15 * rng.sample::<f64, _>(StandardNormal)).exp(),
        }
    }

    /// Conditions of tests: the given counts and offset, everything else mild and never the same.
    pub fn of_test(rng: &mut impl Rng, counts: f64, offset_ev: f64) -> Self {
        Self {
            counts,
            thickness: rng.random_range(0.6..1.8),
            offset_ev: if rng.random_bool(0.5) { offset_ev } else { -offset_ev },
            broadening: rng.random_range(-0.1..0.3),
            jitter: 0.02,
            dark: rng.random_range(0.0..0.01),
            second_order: rng.random_range(0.0..0.02),
            slope_od: 0.01 * rng.sample::<f64, _>(StandardNormal),
            sigma_error: 1.0,
        }
    }
}

/// Draws spectra.
#[derive(Clone, Debug)]
pub struct Synthesis {
    pub(crate) curves: Curves,
}

impl Synthesis {
    /// A synthesis from `set`.
    ///
    /// # Errors
    /// References that cannot be learnt from: fewer than two, no common range, two that are the same.
    pub fn new(set: &crate::reference::ReferenceSet) -> Result<Self, super::TrainError> {
        Ok(Self { curves: Curves::new(set)? })
    }

    /// Number of phases.
    #[must_use]
    pub fn phases(&self) -> usize {
        self.curves.curves.len()
    }

    /// The energies that all references share, eV.
    #[must_use]
    pub fn range_ev(&self) -> (f64, f64) {
        (self.curves.from_ev, self.curves.to_ev)
    }

    /// The part of that range where the references differ by more than a quarter of the most they do, and 1.5 eV
    /// around it.
    #[must_use]
    pub fn telling_range_ev(&self) -> (f64, f64) {
        self.curves.telling_range_ev()
    }

    /// Measures `matter` at `energies_ev`: OD and its noise, NaN where nothing came through.
    pub fn measure(
        &self,
        rng: &mut impl Rng,
        matter: Matter,
        conditions: &Conditions,
        energies_ev: &[f64],
    ) -> (Vec<f32>, Vec<f32>) {
        let sample = Sample::new(rng, &self.curves, matter, conditions);
        let half_ev = (self.curves.to_ev - self.curves.from_ev) / 2.0;
        let middle_ev = self.curves.from_ev + half_ev;
        let c = conditions;
        let mut measured = (Vec::with_capacity(energies_ev.len()), Vec::with_capacity(energies_ev.len()));
        for &energy_ev in energies_ev {
            let slope = c.slope_od * (energy_ev - middle_ev) / half_ev;
            let od = c.thickness * f64::from(sample.od(energy_ev - c.offset_ev)) + slope;
            let light = (1.0 - c.second_order) * (-od).exp() + c.second_order * (-0.35 * od).exp() + c.dark;
            let counts = count(rng, c.counts * light);
            let (od, sigma) = if counts < 1.0 {
                (f32::NAN, f32::NAN)
            } else {
                ((c.counts / counts).ln() as f32, (c.sigma_error / counts.sqrt()) as f32)
            };
            measured.0.push(od);
            measured.1.push(sigma);
        }
        measured
    }
}

/// A Poisson number; a rounded normal one where that is as good and much faster.
fn count(rng: &mut impl Rng, mean: f64) -> f64 {
    if mean > 200.0 {
        let normal: f64 = rng.sample(StandardNormal);
        (mean + normal * mean.sqrt()).round()
    } else {
        Poisson::new(mean).map_or(0.0, |poisson| poisson.sample(rng))
    }
}

struct Peak {
    centre_ev: f64,
    width_ev: f64,
    height: f64,
    is_step: bool,
}

/// One pixel's true spectrum at thickness 1.
struct Sample<'a> {
    curves: &'a Curves,
    parts: [(usize, f32); 2],
    waves: [[f64; 3]; WAVES],
    broadening: f32,
    shift_ev: f64,
    peaks: Vec<Peak>,
}

impl<'a> Sample<'a> {
    fn new(rng: &mut impl Rng, curves: &'a Curves, matter: Matter, c: &Conditions) -> Self {
        let wave = |rng: &mut dyn rand::RngCore| -> [f64; 3] {
            let amplitude = c.jitter * (2.0 / WAVES as f64).sqrt() * rng.sample::<f64, _>(StandardNormal);
            let per_ev: f64 = rng.random_range(0.03..0.35);
            [amplitude, std::f64::consts::TAU * per_ev, rng.random_range(0.0..std::f64::consts::TAU)]
        };
        let waves = [wave(rng), wave(rng), wave(rng)];
        let mut sample = Self {
            curves,
            parts: [(0, 1.0), (0, 0.0)],
            waves,
            broadening: c.broadening as f32,
            shift_ev: 0.0,
            peaks: Vec::new(),
        };
        match matter {
            Matter::Phase(phase) => sample.parts[0].0 = phase,
            Matter::Mixture(a, b, share) => sample.parts = [(a, share as f32), (b, (1.0 - share) as f32)],
            Matter::Foreign if rng.random_bool(0.25) => {
                // A known shape at a wrong place is foreign, too.
                sample.parts[0].0 = rng.random_range(0..curves.curves.len());
                let far = rng.random_range(1.0..3.0);
                sample.shift_ev = if rng.random_bool(0.5) { far } else { -far };
            }
            Matter::Foreign => sample.peaks = foreign(rng, curves),
        }
        sample
    }

    fn od(&self, energy_ev: f64) -> f32 {
        if !self.peaks.is_empty() {
            return self.peaks.iter().map(|peak| peak.at(energy_ev)).sum::<f64>() as f32;
        }
        let varied =
            1.0 + self.waves.iter().map(|[a, k, phase]| a * (k * energy_ev + phase).cos()).sum::<f64>();
        let part = |(phase, share): (usize, f32)| {
            if share == 0.0 {
                return 0.0;
            }
            let curve = &self.curves.curves[phase];
            let od = curve.at(energy_ev - self.shift_ev, self.broadening);
            share * (curve.floor() + (od - curve.floor()) * varied as f32)
        };
        part(self.parts[0]) + part(self.parts[1])
    }
}

impl Peak {
    fn at(&self, energy_ev: f64) -> f64 {
        let z = (energy_ev - self.centre_ev) / self.width_ev;
        let form = if self.is_step {
            0.5 + z.atan() / std::f64::consts::PI
        } else {
            0.5 / (1.0 + z * z) + 0.5 * (-z * z * std::f64::consts::LN_2).exp()
        };
        self.height * form
    }
}

/// Two to six peaks and a step anywhere, about as high as the references; sometimes only a step.
fn foreign(rng: &mut impl Rng, curves: &Curves) -> Vec<Peak> {
    let scale = f64::from(curves.spread_od);
    let height = (2.0 + rng.sample::<f64, _>(StandardNormal)).abs() * scale;
    let step = Peak {
        centre_ev: rng.random_range(curves.from_ev..curves.to_ev),
        width_ev: rng.random_range(0.3..2.0),
        height: rng.random_range(0.0..2.0) * scale,
        is_step: true,
    };
    let mut peaks = vec![step];
    for _ in 0..rng.random_range(0..6) {
        peaks.push(Peak {
            centre_ev: rng.random_range(curves.from_ev..curves.to_ev),
            width_ev: rng.random_range(0.4..2.0),
            height: height * rng.random_range(0.2..1.0),
            is_step: false,
        });
    }
    peaks
}
