//! Makes spectra as a microscope would measure them, from references, with known answers.
//!
//! I = Poisson(N0 ((1-h) exp(-OD) + h exp(-0.35 OD) + d)), OD' = ln(N0 / I): counts N0, second-order light h, dark
//! counts d. Before that each reference is shifted in energy, broadened or sharpened, its amplitude varied smoothly over
//! energy, scaled by thickness, and a slope added. A pixel without counts has no OD. The noise that goes along is 1/sqrt(I), as
//! known from the counts, itself wrong by some per cent. Everything is drawn from the generator handed in.
//!
//! **Damage** is a way from a phase toward the most reduced one (the highest state variable, where every reference has one; else the
//! average of all), along which the white line also loses up to 60 % of what stands above its surroundings within 1.5 eV.

use rand::Rng;
use rand_distr::{Distribution as _, Poisson, StandardNormal};

use super::curve::Curves;
use super::foreign::{self, Peak};

/// Share of one phase from which a mixture is called by its name.
pub const PURE_SHARE: f64 = 0.8;
/// How far on the way of damage a pixel is called damaged.
pub const DAMAGED_FROM: f64 = 0.3;
/// Amplitude variation is a sum of this many cosines.
const WAVES: usize = 3;
/// White line lost at the end of the way of damage.
const WHITE_LINE_LOSS: f64 = 0.6;

/// What a pixel is made of.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Matter {
    /// One phase, by its index.
    Phase(usize),
    /// Two phases along the beam, and the share of the first.
    Mixture(usize, usize, f64),
    /// A phase that the beam has damaged, and how far, 0 to 1.
    Damaged(usize, f64),
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
    /// How far the sample's phases are from the references: amplitude variation over energy (relative, root mean square), and the
    /// shift of each phase (eV, standard deviation). 0.058 is what ±10 % and ±0.1 eV, evenly spread, amount to.
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
    /// Conditions of training: the whole range of what happens. In a third the references are exact, in an eighth the offset was not
    /// corrected, else references are off by up to ±10 % and ±0.1 eV, and a small offset remains.
    pub fn of_training(rng: &mut impl Rng) -> Self {
        let kind = rng.random_range(0..24);
        let normal = |rng: &mut dyn rand::RngCore| -> f64 { rng.sample(StandardNormal) };
        let (offset_ev, jitter, broadening) = match kind {
            0..8 => (0.01 * normal(rng), rng.random_range(0.0..0.01), 0.1 * normal(rng)),
            8..21 => (0.04 * normal(rng), rng.random_range(0.01..0.08), 0.7 * normal(rng)),
            _ => (rng.random_range(-0.3..0.3), rng.random_range(0.0..0.06), 0.4 * normal(rng)),
        };
        let exact = kind < 8;
        let sometimes = |rng: &mut dyn rand::RngCore, most: f64| {
            if rng.random_bool(0.5) {
                0.0
            } else {
                rng.random_range(0.0..if exact { 0.5 * most } else { most })
            }
        };
        Self {
            counts: (rng.random_range(300_f64.ln()..30_000_f64.ln())).exp(),
            thickness: rng.random_range(0.3..2.0),
            offset_ev: f64::clamp(offset_ev, -0.35, 0.35),
            broadening: f64::clamp(broadening, -1.5, 1.5),
            jitter,
            dark: sometimes(rng, 0.03),
            second_order: sometimes(rng, 0.06),
            slope_od: if exact { 0.01 } else { 0.04 } * normal(rng),
            sigma_error: (0.15 * normal(rng)).exp(),
        }
    }

    /// A spectrum as the reference has it.
    pub(super) fn of_reference() -> Self {
        Self {
            counts: 1.0,
            thickness: 1.0,
            offset_ev: 0.0,
            broadening: 0.0,
            jitter: 0.0,
            dark: 0.0,
            second_order: 0.0,
            slope_od: 0.0,
            sigma_error: 1.0,
        }
    }

    /// Conditions of tests with references that are exactly known: the given counts and offset, everything else mild.
    pub fn of_test(rng: &mut impl Rng, counts: f64, offset_ev: f64) -> Self {
        Self {
            counts,
            thickness: rng.random_range(0.6..1.8),
            offset_ev: if rng.random_bool(0.5) { offset_ev } else { -offset_ev },
            broadening: 0.0,
            jitter: 0.0,
            dark: rng.random_range(0.0..0.01),
            second_order: rng.random_range(0.0..0.02),
            slope_od: 0.01 * rng.sample::<f64, _>(StandardNormal),
            sigma_error: 1.0,
        }
    }

    /// Conditions of tests with a sample that is not quite that of the references: ±0.1 eV per phase, ±10 % of amplitude and of width,
    /// and 0.03 eV of offset that remained.
    pub fn of_mismatch(rng: &mut impl Rng, counts: f64) -> Self {
        let offset_ev = 0.03 * rng.sample::<f64, _>(StandardNormal);
        // A width of 1.5 eV grows by 7.5 % with a broadening of 1.
        let broadening = rng.random_range(-1.3..1.3);
        Self { offset_ev, broadening, jitter: 0.058, ..Self::of_test(rng, counts, 0.0) }
    }
}

/// Draws spectra.
#[derive(Clone, Debug)]
pub struct Synthesis {
    pub(crate) curves: Curves,
    /// The most reduced phase; the average of all where it is not known.
    reduced: Option<usize>,
}

impl Synthesis {
    /// A synthesis from `set`.
    ///
    /// # Errors
    /// References that cannot be learnt from: fewer than two, no common range, two that are the same.
    pub fn new(set: &crate::reference::ReferenceSet) -> Result<Self, super::TrainError> {
        let state = |index: usize| set.references[index].composition.state.as_ref().map(|state| state.1);
        let known = (0..set.len()).all(|index| state(index).is_some_and(f64::is_finite));
        let value = |index: &usize| state(*index).unwrap_or(f64::NEG_INFINITY);
        let highest = (0..set.len()).max_by(|a, b| value(a).total_cmp(&value(b)));
        Ok(Self { curves: Curves::new(set)?, reduced: highest.filter(|_| known) })
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
        let c = conditions;
        let mut measured = (Vec::with_capacity(energies_ev.len()), Vec::with_capacity(energies_ev.len()));
        self.light(rng, matter, c, energies_ev, |rng, light| {
            let counts = count(rng, c.counts * light);
            let (od, sigma) = if counts < 1.0 {
                (f32::NAN, f32::NAN)
            } else {
                ((c.counts / counts).ln() as f32, (c.sigma_error / counts.sqrt()) as f32)
            };
            measured.0.push(od);
            measured.1.push(sigma);
        });
        measured
    }

    /// The same without noise.
    pub(super) fn shape(
        &self,
        rng: &mut impl Rng,
        matter: Matter,
        conditions: &Conditions,
        energies_ev: &[f64],
    ) -> Vec<f64> {
        let mut od = Vec::with_capacity(energies_ev.len());
        self.light(rng, matter, conditions, energies_ev, |_, light| od.push(-light.ln()));
        od
    }

    /// Light behind the sample, relative to the incident, at each energy.
    fn light<R: Rng>(
        &self,
        rng: &mut R,
        matter: Matter,
        c: &Conditions,
        energies_ev: &[f64],
        mut take: impl FnMut(&mut R, f64),
    ) {
        let sample = Sample::new(rng, self, matter, c);
        let half_ev = (self.curves.to_ev - self.curves.from_ev) / 2.0;
        let middle_ev = self.curves.from_ev + half_ev;
        for &energy_ev in energies_ev {
            let slope = c.slope_od * (energy_ev - middle_ev) / half_ev;
            let od = c.thickness * f64::from(sample.od(energy_ev - c.offset_ev)) + slope;
            let light = (1.0 - c.second_order) * (-od).exp() + c.second_order * (-0.35 * od).exp() + c.dark;
            take(rng, light);
        }
    }

    /// Phases and shares that `matter` is made of, before white lines are washed out.
    fn parts(&self, matter: Matter) -> Vec<(usize, f32)> {
        match matter {
            Matter::Phase(phase) => vec![(phase, 1.0)],
            Matter::Mixture(a, b, share) => vec![(a, share as f32), (b, (1.0 - share) as f32)],
            Matter::Damaged(phase, extent) => {
                let targets = match self.reduced {
                    Some(target) => target..target + 1,
                    None => 0..self.phases(),
                };
                let each = extent as f32 / targets.len() as f32;
                std::iter::once((phase, 1.0 - extent as f32)).chain(targets.map(|t| (t, each))).collect()
            }
            Matter::Foreign => Vec::new(),
        }
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

/// One pixel's true spectrum at thickness 1.
struct Sample<'a> {
    curves: &'a Curves,
    /// Phase, share, shift in eV.
    parts: Vec<(usize, f32, f64)>,
    waves: [[f64; 3]; WAVES],
    broadening: f32,
    /// How much of the white line is lost.
    washed: f32,
    peaks: Vec<Peak>,
}

impl<'a> Sample<'a> {
    fn new(rng: &mut impl Rng, synthesis: &'a Synthesis, matter: Matter, c: &Conditions) -> Self {
        let wave = |rng: &mut dyn rand::RngCore| -> [f64; 3] {
            let amplitude = c.jitter * (2.0 / WAVES as f64).sqrt() * rng.sample::<f64, _>(StandardNormal);
            let per_ev: f64 = rng.random_range(0.03..0.4);
            [amplitude, std::f64::consts::TAU * per_ev, rng.random_range(0.0..std::f64::consts::TAU)]
        };
        let waves = [wave(rng), wave(rng), wave(rng)];
        let curves = &synthesis.curves;
        let mut own_shift = |_: &(usize, f32)| c.jitter * rng.sample::<f64, _>(StandardNormal);
        let parts = synthesis.parts(matter);
        let shifts: Vec<f64> = parts.iter().map(&mut own_shift).collect();
        let parts = parts.into_iter().zip(shifts).map(|((phase, share), shift_ev)| (phase, share, shift_ev));
        let mut sample = Self {
            curves,
            parts: parts.collect(),
            waves,
            broadening: c.broadening as f32,
            washed: 0.0,
            peaks: Vec::new(),
        };
        match matter {
            Matter::Damaged(_, extent) => sample.washed = (WHITE_LINE_LOSS * extent) as f32,
            Matter::Foreign => (sample.parts, sample.peaks) = foreign::draw(rng, curves),
            Matter::Phase(_) | Matter::Mixture(..) => {}
        }
        sample
    }

    fn od(&self, energy_ev: f64) -> f32 {
        let added = self.peaks.iter().map(|peak| peak.at(energy_ev)).sum::<f64>() as f32;
        if self.parts.is_empty() {
            return added;
        }
        let wave = |[a, k, phase]: &[f64; 3]| if *a == 0.0 { 0.0 } else { a * (k * energy_ev + phase).cos() };
        let varied = 1.0 + self.waves.iter().map(wave).sum::<f64>() as f32;
        let part = |&(phase, share, shift_ev): &(usize, f32, f64)| {
            let curve = &self.curves.curves[phase];
            let mut od = curve.at(energy_ev - shift_ev, self.broadening);
            if self.washed > 0.0 {
                od += self.washed * (curve.washed_at(energy_ev - shift_ev) - od);
            }
            share * (curve.floor() + (od - curve.floor()) * varied)
        };
        added + self.parts.iter().map(part).sum::<f32>()
    }
}
