//! Draws whole scans with known answers: several particles whose domains are the phases, and enough empty field for a region I0.
//!
//! A scan is 100 by 112 pixels: an empty strip of 22 columns, and six particles of three by two, each a disc with a wavy rim, cut
//! into domains by the Voronoi cells of random seeds. Thickness is a plane tilted over each particle, 0.6 to 1.8 in the unit of the
//! references (or so much thinner that no optical density is above 2.3). Counts are Poisson numbers of `I0 exp(-thickness · OD(E + offset))`: energies of the plan are nominal, the beam is at
//! nominal plus offset, and beyond the ends of a reference its last value goes on. A mismatched sample has spectra of its own, drawn
//! for every scan: each phase shifted by up to 0.1 eV, and its structure (what is above its lowest value) scaled by a factor that
//! wanders smoothly between 0.9 and 1.1 from one 2 eV knot to the next. Everything follows from the seed.

use chrono::DateTime;
use rand::{Rng as _, SeedableRng as _, seq::SliceRandom as _};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution as _, Poisson};
use rayon::prelude::*;
use serde::Serialize;

use super::EvaluationError;
use super::field::{Field, NX, NY, PARTICLES, Place, THICKNESS};
use super::foreign_curve::ForeignCurve;
use crate::gmvae::{Synthesis, even};
use crate::reference::{Reference, ReferenceSet};
use crate::scan::{
    Axis, Channel, Detector, Grid, I0, I0Kind, Pixels, SampleBatch, ScanKind, ScanPlan, ValueUnit,
};
use crate::stack::Stack;

/// Largest shift of a mismatched phase, eV, either way.
const SHIFT_EV: f64 = 0.1;
/// Largest relative change of its structure, either way.
const JITTER: f64 = 0.1;
/// A scan begins this far below the end of the pre-edge window, or farther, eV.
const BEFORE_EV: f64 = 0.2;
/// Highest optical density of a scan: nobody measures samples that let nothing through.
const HIGHEST_OD: f64 = 2.3;
/// Distance of the knots between which that change is interpolated, eV.
const KNOT_EV: f64 = 2.0;
/// Shares of the first phase of a mixture.
const SHARES: std::ops::Range<f64> = 0.3..0.7;

/// What the domains of a scan are made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Filling {
    /// One phase each.
    Pure,
    /// Every other domain two phases along the beam, all pairs in turn; the rest one phase.
    Mixtures,
    /// Every other domain something that is in no reference, each another; the rest one phase.
    Foreign,
}

/// How a scan is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Conditions {
    /// Incident counts.
    pub counts: f64,
    /// Number of energies, evenly over the range of the study.
    pub energies: usize,
    /// Magnitude of the energy offset of the scan, eV; its sign is drawn.
    pub offset_ev: f64,
    /// Whether the sample's spectra differ from the references.
    pub mismatched: bool,
    /// What the domains are made of.
    pub filling: Filling,
}

/// What a pixel really is.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Truth {
    /// Nothing.
    #[default]
    Empty,
    /// One phase, by its index.
    Phase(u8),
    /// Two phases along the beam.
    Mixture {
        /// Their indices, ascending.
        pair: [u8; 2],
        /// Share of the first.
        share: f32,
    },
    /// Something that is in no reference.
    Foreign,
}

impl Truth {
    /// Whether both are the same matter, whatever the shares.
    fn is_like(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Mixture { pair: a, .. }, Self::Mixture { pair: b, .. }) => a == b,
            _ => self == other,
        }
    }
}

/// A scan as the daemon would have it, and the answers.
#[derive(Clone, Debug)]
pub struct ScanDraw {
    /// The counts.
    pub stack: Stack,
    /// What each pixel is, row-major.
    pub truth: Vec<Truth>,
    /// Whether a pixel lies within 1.5 pixels of one of another domain's matter.
    pub boundary: Vec<bool>,
    /// The energy offset, eV.
    pub offset_ev: f64,
}

/// Draws scans from a set of references.
#[derive(Clone, Debug)]
pub struct Drawer<'a> {
    references: &'a ReferenceSet,
    from_ev: f64,
    to_ev: f64,
    /// Factor on all thicknesses.
    thin: f64,
    /// The phases that the sample has, by their indices.
    phases: Vec<u8>,
    /// How much larger the energy offset is per eV above the middle of the range.
    slope: f64,
}

impl<'a> Drawer<'a> {
    /// A drawer for `references`, with energies over the range where they differ and from 0.2 eV below the end of the pre-edge window.
    ///
    /// # Errors
    /// References that cannot be drawn from: fewer than two, no common range, two that are the same.
    pub fn new(references: &'a ReferenceSet) -> Result<Self, EvaluationError> {
        let synthesis = Synthesis::new(references)?;
        let (telling_ev, to_ev) = synthesis.telling_range_ev();
        let before_ev = references.pre_edge.to_ev - BEFORE_EV;
        let from_ev = telling_ev.min(before_ev.max(references.pre_edge.from_ev).max(synthesis.range_ev().0));
        Self::over(references, (from_ev, to_ev))
    }

    /// A drawer for `references` with energies over a range of one's own, eV.
    ///
    /// # Errors
    /// As [`Drawer::new`], or a range that is none.
    pub fn over(references: &'a ReferenceSet, (from_ev, to_ev): (f64, f64)) -> Result<Self, EvaluationError> {
        Synthesis::new(references)?;
        if !(from_ev > 0.0 && to_ev - from_ev >= 1.0 && to_ev.is_finite()) {
            return Err(EvaluationError::Range(from_ev, to_ev));
        }
        let inside = |reference: &Reference| {
            let energies = reference.energies_ev.iter().zip(&reference.od);
            energies.filter(|(e, _)| (from_ev..=to_ev).contains(*e)).map(|(_, od)| *od).fold(0.0, f64::max)
        };
        let highest = references.references.iter().map(inside).fold(0.0, f64::max);
        let thin = (HIGHEST_OD / (THICKNESS.1 * highest)).min(1.0);
        let phases = (0..references.len() as u8).collect();
        Ok(Self { references, from_ev, to_ev, thin, phases, slope: 0.0 })
    }

    /// The same for samples that have only `phases` of the references, by their indices; without any of them, all.
    #[must_use]
    pub fn with_phases(mut self, phases: &[u8]) -> Self {
        let known = phases.iter().copied().filter(|phase| usize::from(*phase) < self.references.len());
        self.phases = known.collect();
        if self.phases.is_empty() {
            self.phases = (0..self.references.len() as u8).collect();
        }
        self
    }

    /// The same for scans whose offset grows by `slope` per eV: what is drawn as the offset is that in the middle.
    #[must_use]
    pub fn with_slope(mut self, slope: f64) -> Self {
        self.slope = slope;
        self
    }

    /// The range over which energies are spread, eV.
    #[must_use]
    pub fn range_ev(&self) -> (f64, f64) {
        (self.from_ev, self.to_ev)
    }

    /// Factor on all thicknesses, 1 or below.
    pub(super) fn thin(&self) -> f64 {
        self.thin
    }

    /// The nominal energies of a scan with `energies` of them, eV.
    #[must_use]
    pub fn energies_ev(&self, energies: usize) -> Vec<f64> {
        even(self.from_ev, self.to_ev, energies)
    }

    /// Draws a scan.
    ///
    /// # Errors
    /// Counts that make no stack; none for positive counts and offsets below an eV.
    pub fn draw(&self, conditions: &Conditions, seed: u64) -> Result<ScanDraw, EvaluationError> {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let offset_ev = if rng.random_bool(0.5) { conditions.offset_ev } else { -conditions.offset_ev };
        let energies_ev = self.energies_ev(conditions.energies);
        let middle_ev = 0.5 * (self.from_ev + self.to_ev);
        let beam_ev: Vec<f64> =
            energies_ev.iter().map(|e| e + offset_ev + self.slope * (e - middle_ev)).collect();
        let domains = match conditions.filling {
            Filling::Pure => 5,
            Filling::Mixtures | Filling::Foreign => 8,
        };
        let field = Field::grow(&mut rng, domains);
        let matter = self.matter(&mut rng, conditions.filling, PARTICLES * domains);
        let spectra = self.phase_spectra(&mut rng, conditions.mismatched, &beam_ev);
        let truth: Vec<Truth> = field
            .places
            .iter()
            .map(|place| place.map_or(Truth::Empty, |p| matter[p.domain].at(p.across)))
            .collect();
        let foreign: Vec<Vec<f64>> =
            matter.iter().map(|matter| self.foreign(&mut rng, *matter, &beam_ev)).collect();
        let od_of = |pixel: usize, place: &Place, energy: usize| match truth[pixel] {
            Truth::Empty => 0.0,
            Truth::Phase(phase) => spectra[usize::from(phase)][energy],
            Truth::Mixture { pair: [a, b], share } => {
                let share = f64::from(share);
                share * spectra[usize::from(a)][energy] + (1.0 - share) * spectra[usize::from(b)][energy]
            }
            Truth::Foreign => foreign[place.domain][energy],
        };
        let plan = plan(energies_ev);
        plan.validate()?;
        let planes: Vec<Vec<f32>> = (0..beam_ev.len())
            .into_par_iter()
            .map(|energy| {
                let mut rng = ChaCha8Rng::seed_from_u64(seed);
                rng.set_stream(energy as u64 + 1);
                let light = |(pixel, place): (usize, &Option<Place>)| {
                    let od = |place: &Place| self.thin * place.thickness * od_of(pixel, place, energy);
                    let od = place.as_ref().map_or(0.0, od);
                    poisson(conditions.counts * (-od).exp(), &mut rng) as f32
                };
                field.places.iter().enumerate().map(light).collect()
            })
            .collect();
        let mut stack = Stack::new(plan);
        stack.note_seq(0);
        for (energy, values) in planes.into_iter().enumerate() {
            let seq = energy as u64 + 1;
            stack.note_seq(seq);
            stack.push(seq, &batch(energy as u32, values))?;
        }
        let boundary = boundaries(&truth);
        Ok(ScanDraw { stack, truth, boundary, offset_ev })
    }

    /// What each domain is made of.
    fn matter(&self, rng: &mut ChaCha8Rng, filling: Filling, domains: usize) -> Vec<Matter> {
        let phases = &self.phases;
        let pairs: Vec<[u8; 2]> = (0..phases.len())
            .flat_map(|a| (a + 1..phases.len()).map(move |b| [phases[a], phases[b]]))
            .collect();
        let mut matter: Vec<Matter> = (0..domains)
            .map(|domain| match filling {
                Filling::Pure => Matter::Phase(phases[domain % phases.len()]),
                _ if domain % 2 == 0 => Matter::Phase(phases[domain / 2 % phases.len()]),
                Filling::Mixtures if !pairs.is_empty() => {
                    let pair = pairs[domain / 2 % pairs.len()];
                    Matter::Mixture { pair, rising: rng.random_bool(0.5) }
                }
                Filling::Mixtures => Matter::Phase(phases[0]),
                Filling::Foreign => Matter::Foreign,
            })
            .collect();
        matter.shuffle(rng);
        matter
    }

    /// The spectrum of every phase of this sample at the energies of the beam.
    fn phase_spectra(&self, rng: &mut ChaCha8Rng, mismatched: bool, beam_ev: &[f64]) -> Vec<Vec<f64>> {
        self.references
            .references
            .iter()
            .map(|reference| {
                let floor = reference.od.iter().copied().fold(f64::INFINITY, f64::min);
                let shift_ev = if mismatched { rng.random_range(-SHIFT_EV..=SHIFT_EV) } else { 0.0 };
                let knots: Vec<f64> = (0..=((self.to_ev - self.from_ev + 4.0) / KNOT_EV) as usize + 1)
                    .map(|_| if mismatched { rng.random_range(-JITTER..=JITTER) } else { 0.0 })
                    .collect();
                let factor = |e: f64| {
                    let place = ((e - self.from_ev + 2.0) / KNOT_EV).clamp(0.0, (knots.len() - 1) as f64);
                    let lower = (place as usize).min(knots.len() - 2);
                    let t = place - lower as f64;
                    // A smooth step from knot to knot: no kinks, and never beyond them.
                    let t = t * t * (3.0 - 2.0 * t);
                    1.0 + knots[lower] + t * (knots[lower + 1] - knots[lower])
                };
                beam_ev
                    .iter()
                    .map(|&e| floor + (od_near(reference, e - shift_ev) - floor) * factor(e))
                    .collect()
            })
            .collect()
    }

    /// The spectrum of a foreign domain; empty for others.
    fn foreign(&self, rng: &mut ChaCha8Rng, matter: Matter, beam_ev: &[f64]) -> Vec<f64> {
        if matter != Matter::Foreign {
            return Vec::new();
        }
        let curve = ForeignCurve::draw(rng, self.references, (self.from_ev, self.to_ev));
        beam_ev.iter().map(|&e| curve.od_at(e)).collect()
    }
}

/// What a domain is made of.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Matter {
    Phase(u8),
    /// Two phases; their shares change from one side of the particle to the other.
    Mixture {
        pair: [u8; 2],
        rising: bool,
    },
    Foreign,
}

impl Matter {
    fn at(self, across: f64) -> Truth {
        match self {
            Self::Phase(phase) => Truth::Phase(phase),
            Self::Mixture { pair, rising } => {
                let place = if rising { across } else { 1.0 - across };
                let share = SHARES.start + (SHARES.end - SHARES.start) * place;
                Truth::Mixture { pair, share: share as f32 }
            }
            Self::Foreign => Truth::Foreign,
        }
    }
}

/// Optical density of `reference` at an energy; beyond its ends the value of the end.
pub(super) fn od_near(reference: &Reference, energy_ev: f64) -> f64 {
    let ends = reference.energies_ev.first().zip(reference.energies_ev.last());
    let inside = ends.map_or(energy_ev, |(&from, &to)| energy_ev.clamp(from, to));
    reference.od_at(inside).unwrap_or(0.0)
}

/// A Poisson number; 0 for a mean that is not above 0.
pub(super) fn poisson(mean: f64, rng: &mut ChaCha8Rng) -> f64 {
    Poisson::new(mean).map_or(0.0, |distribution| distribution.sample(rng))
}

/// Whether any pixel within 1.5 pixels is of other matter; the empty field is none.
pub(super) fn boundaries(truth: &[Truth]) -> Vec<bool> {
    let other = |pixel: usize, y: usize, x: usize| {
        let there = truth[y * NX + x];
        there != Truth::Empty && !there.is_like(&truth[pixel])
    };
    (0..truth.len())
        .map(|pixel| {
            let (y, x) = (pixel / NX, pixel % NX);
            let (rows, columns) =
                (y.saturating_sub(1)..(y + 2).min(NY), x.saturating_sub(1)..(x + 2).min(NX));
            let mut near = rows.flat_map(|y| columns.clone().map(move |x| (y, x)));
            truth[pixel] != Truth::Empty && near.any(|(y, x)| other(pixel, y, x))
        })
        .collect()
}

pub(super) fn batch(energy_index: u32, values: Vec<f32>) -> SampleBatch {
    SampleBatch {
        energy_index,
        pixels: Pixels::Run { first: 0, count: values.len() as u32 },
        channel: Channel::Intensity,
        others: Vec::new(),
        values,
        i0: I0::None,
        ring_current_ma: None,
        energy_ev: None,
        time: None,
    }
}

pub(super) fn plan(energies_ev: Vec<f64>) -> ScanPlan {
    let axis = Axis { start: 0.0, step: 0.05 };
    let energies = energies_ev.len();
    ScanPlan {
        scan_id: "evaluation".to_owned(),
        scan_kind: ScanKind::Stack,
        grid: Grid { shape: [NY, NX], x: axis, y: axis, unit: "um".to_owned() },
        energies_ev,
        dwell_ms: vec![1.0; energies],
        value_unit: ValueUnit::Counts,
        detector: Detector { counts_per_photon: Some(vec![1.0; energies]), ..Detector::default() },
        i0_kind: I0Kind::OpenBeam,
        beamline: "simulated".to_owned(),
        sample: None,
        region: None,
        operator: None,
        proposal: None,
        group: None,
        region_index: None,
        polarization: None,
        state_of_charge: None,
        context: None,
        flux_ph_per_s: None,
        simulated: true,
        started: DateTime::UNIX_EPOCH,
        resend: None,
        recall: None,
    }
}

#[cfg(test)]
mod tests;
