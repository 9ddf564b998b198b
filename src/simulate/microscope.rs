//! The microscope: how much light each pixel gets, and what the detector says of it.
//!
//! At a point of optical density OD there are N = N0(E, t)·[(1 - h)·exp(-OD(E)) + h·exp(-OD(2E))] photons; a pixel is
//! the mean over its points. N0 follows the ring current, which decays and may be topped up, and varies smoothly with
//! the energy. OD(E) is that of the phases' reference spectra (or of spectra somewhat off them), scaled by thickness;
//! OD(2E) is a power law, the same for all phases. Where the beam damages the specimen, or it changes by itself, the
//! phases have other densities in every image ([`exposure`]). A specimen that has drifted is looked at where it is then, not
//! interpolated. What the detector makes of the light is in [`counting`].
//!
//! Every line has a random stream of its own, taken from seed, energy and row: what a line holds depends on
//! nothing that was asked before.

mod counting;
mod exposure;
mod plan;
mod still;

use chrono::{DateTime, TimeDelta, Utc};
use rand::SeedableRng as _;
use rand_chacha::ChaCha8Rng;

use super::drift::{self, gaussian};
use super::flaws;
use super::mismatch::mismatched;
use super::nvpf::THICKNESS_NM;
use super::sampling::{Sampling, some_of};
use super::scenario::{IncidentSource, Scenario};
use super::specimen::{Matter, Part, ParticleTruth, SeriesTruth, Truth, mean_state};
use super::{SimulationError, specimen::LineFlaw};
use crate::reference::ReferenceSet;
use crate::scan::{DetectorKind, ScanPlan};
use counting::bright_field;
use exposure::{Exposure, MS_PER_H, Unexposed};
use plan::{beamline_shape, middle_ev, plan, range_ev};
use still::Still;

/// Optical density of [`THICKNESS_NM`] at 1040 eV, and the exponent of its fall with energy.
const SECOND_ORDER_OD: (f64, f64) = (0.16, -2.7);
/// Random streams: the specimen has one of its own, above those of the lines.
const SPECIMEN_STREAM: u64 = u64::MAX;
/// So has the detector.
const DETECTOR_STREAM: u64 = u64::MAX - 4;
/// Added to the stream of a line, it gives that of its flicker.
const FLICKER_STREAM: u64 = 1 << 62;

/// A simulated microscope: pure, everything random comes from the seed of its scenario.
#[derive(Clone, Debug)]
pub struct Microscope {
    scenario: Scenario,
    plan: ScanPlan,
    truth: Truth,
    matter: Matter,
    /// What lies along the beam, where nothing moves.
    still: Option<Still>,
    sampling: Sampling,
    /// Optical density of what was once [`THICKNESS_NM`] of each phase, per energy.
    od: Vec<Vec<f64>>,
    /// Share of the thickness that is left, per energy.
    thickness: Vec<f64>,
    /// Photons that a pixel without sample gets at the first ring current, per energy, where they are given.
    photons: Option<Vec<f64>>,
    /// Share of the photons that each frame pixel gets; one share of 1 for a point detector.
    bright_field: Vec<f64>,
    /// Frame pixels that are hot, and those that are dead.
    broken: [Vec<usize>; 2],
}

impl Microscope {
    /// Builds specimen and plan.
    ///
    /// # Errors
    /// A scenario out of range, an identifier that is not allowed, an energy (with the offset of the beam) outside the
    /// references, or damage to a phase that is not among them.
    pub fn new(
        scenario: Scenario,
        references: &ReferenceSet,
        scan_id: &str,
        started: DateTime<Utc>,
    ) -> Result<Self, SimulationError> {
        scenario.check()?;
        if references.is_empty() || references.len() > 64 {
            return Err(SimulationError::References(references.len()));
        }
        let (settings, seed, shape) = (&scenario.specimen, scenario.seed, scenario.scan.shape);
        let off = settings.mismatch_ev > 0.0 || settings.mismatch > 0.0;
        let own_seed = settings.seed.unwrap_or(seed);
        let sample = off.then(|| mismatched(references, settings.mismatch_ev, settings.mismatch, own_seed));
        let sample = sample.as_ref().unwrap_or(references);
        let energies_ev = scenario.energies_ev();
        let od = od_of(&scenario, sample, &energies_ev)?;
        let mut rng = ChaCha8Rng::seed_from_u64(own_seed);
        rng.set_stream(SPECIMEN_STREAM);
        let mut matter =
            Matter::grow(settings, references.len(), shape, &mut rng).moved(scenario.scan.offset_px);
        if let Some(front) = &settings.front {
            matter = matter.with_front(front, front.phases(references)?, scenario.scan.hours);
        }
        let phases = references.labels().iter().map(|label| label.id.clone()).collect();
        let mut truth = Truth::of(&matter, phases, shape, [0.0; 2]);
        scan_id.clone_into(&mut truth.scan_id);
        truth.drift_px = drift::curve(&scenario.drift, &energies_ev, seed);
        truth.flaws = flaws::draw(&scenario.flaws, energies_ev.len(), shape[0], seed);
        let middle_ev = middle_ev(&energies_ev);
        truth.energy_offset_ev = energies_ev.iter().map(|&e| scenario.beam.offset_at(e, middle_ev)).collect();
        truth.energies_ev = energies_ev;
        let plan = plan(&scenario, scan_id, started);
        plan.validate()?;
        let exposure = exposure(&scenario, sample, &plan, &truth.energy_offset_ev, &od, &matter)?;
        let (od, thickness) = match exposure {
            Some(exposure) => {
                truth.damage = Some(exposure.truth);
                (exposure.od, exposure.thickness)
            }
            None => (od, vec![1.0; plan.energies_ev.len()]),
        };
        let bright_field = match scenario.detector.kind {
            DetectorKind::Point => vec![1.0],
            DetectorKind::Area => bright_field(scenario.detector.frame_shape),
        };
        let mut microscope = Self {
            still: Still::of(&matter, shape, &truth.drift_px),
            sampling: Sampling::draw(&scenario),
            broken: broken(&scenario, bright_field.len()),
            scenario,
            plan,
            truth,
            matter,
            od,
            thickness,
            photons: None,
            bright_field,
        };
        microscope.note_i0();
        microscope.truth.series = microscope.series_truth(references);
        Ok(microscope)
    }

    /// The same with as many detected photons per pixel without sample at each energy, at the first ring current; by default
    /// they follow the shape of a beamline. What is missing in the list stays so. The flux of the plan, and doses that follow from
    /// it, stay as they were.
    #[must_use]
    pub fn with_photons(mut self, photons: Vec<f64>) -> Self {
        self.photons = Some(photons);
        self.note_i0();
        self
    }

    /// What the scan shows of a series.
    fn series_truth(&self, references: &ReferenceSet) -> Option<SeriesTruth> {
        self.scenario.specimen.front.as_ref()?;
        let particles = self.particles();
        let mut all = vec![0.0; references.len()];
        particles.iter().for_each(|own| all.iter_mut().zip(&own.amounts).for_each(|(sum, own)| *sum += own));
        let states = particles.iter().map(|own| own.state(references)).collect();
        let scan = &self.scenario.scan;
        Some(SeriesTruth {
            hours: scan.hours,
            state_of_charge: scan.state_of_charge,
            offset_px: scan.offset_px,
            particles,
            states,
            mean_state: mean_state(&all, references),
        })
    }

    /// Writes down in the truth how bright the empty beam is.
    fn note_i0(&mut self) {
        let detector = &self.scenario.detector;
        let counts = |photons: f64| detector.gain * photons + detector.dark;
        let energies = 0..self.plan.energies_ev.len();
        self.truth.i0 = energies.clone().map(|energy| counts(self.open_beam(energy, 0))).collect();
        let full = |energy| counts(self.full_beam(energy)) / self.scenario.scan.dwell_ms;
        self.truth.i0_spectrum = energies.map(full).collect();
    }

    /// The plan of the scan, the energies of a second pass included.
    #[must_use]
    pub fn plan(&self) -> &ScanPlan {
        &self.plan
    }

    /// Number of energies of the plan as it is announced; the rest is added by `plan_extend`.
    #[must_use]
    pub fn first_energies(&self) -> usize {
        self.scenario.scan.first_energies()
    }

    /// The plan as it is announced, before any second pass.
    #[must_use]
    pub fn announced_plan(&self) -> ScanPlan {
        super::messages::first_energies(self.plan.clone(), self.first_energies())
    }

    /// What is really there, where it is at the first energy.
    #[must_use]
    pub fn truth(&self) -> &Truth {
        &self.truth
    }

    /// The particles of the specimen by themselves, where they are at the first energy, in the order in which they were placed.
    #[must_use]
    pub fn particles(&self) -> Vec<ParticleTruth> {
        /// Points of a pixel along each axis.
        const POINTS: usize = 5;
        self.matter.particles(self.truth.phases.len(), self.plan.grid.shape, POINTS)
    }

    /// What lies at each pixel when the specimen has moved by `shift_px`; only the columns of pixels are told.
    #[must_use]
    pub fn truth_at(&self, shift_px: [f64; 2]) -> Truth {
        Truth::of(&self.matter, self.truth.phases.clone(), self.plan.grid.shape, shift_px)
    }

    /// The scenario.
    #[must_use]
    pub fn scenario(&self) -> &Scenario {
        &self.scenario
    }

    /// What the next scan of the same specimen is, with other noise, drift and flaws, after the dose and the time of
    /// this one.
    #[must_use]
    pub fn scenario_after(&self) -> Scenario {
        let mut next = self.scenario.clone();
        next.specimen.seed = Some(next.specimen.seed.unwrap_or(next.seed));
        next.seed = next.seed.wrapping_add(1);
        if let (Some(damage), Some(truth)) = (&mut next.damage, &self.truth.damage) {
            damage.dose_before_mgy = truth.dose_mgy.last().copied().unwrap_or(damage.dose_before_mgy);
            damage.chemistry_before_h += self.line_start_ms(self.plan.energies_ev.len(), 0) / MS_PER_H;
        }
        next
    }

    /// Time that a line takes, ms.
    #[must_use]
    pub fn line_ms(&self) -> f64 {
        line_ms(&self.scenario)
    }

    /// Milliseconds from the start of the scan to the start of a line.
    #[must_use]
    pub fn line_start_ms(&self, energy: usize, row: usize) -> f64 {
        (energy * self.plan.grid.ny() + row) as f64 * self.line_ms()
    }

    /// Ring current at the start of a line, mA.
    #[must_use]
    pub fn ring_current_ma(&self, energy: usize, row: usize) -> f64 {
        self.scenario.beam.ring_current_ma(self.line_start_ms(energy, row))
    }

    /// Photons that a pixel without sample gets at the first ring current, on average.
    fn full_beam(&self, energy: usize) -> f64 {
        if let Some(photons) = self.photons.as_ref().and_then(|photons| photons.get(energy)) {
            return *photons;
        }
        let true_ev = self.plan.energies_ev[energy] + self.truth.energy_offset_ev[energy];
        self.scenario.beam.photons * beamline_shape(true_ev)
    }

    /// Photons that a pixel without sample gets, on average, dark not included.
    #[must_use]
    pub fn open_beam(&self, energy: usize, row: usize) -> f64 {
        let beam = &self.scenario.beam;
        let decay = self.ring_current_ma(energy, row) / beam.ring_current_ma;
        let flicker = if beam.flicker > 0.0 {
            let mut rng = self.line_rng(energy, row, FLICKER_STREAM);
            1.0 + beam.flicker * gaussian(&mut rng)
        } else {
            1.0
        };
        decay * flicker * self.full_beam(energy)
    }

    /// Optical density of a pixel at an energy, for first-order light, of the mean along the beam of its points.
    #[must_use]
    pub fn optical_density(&self, energy: usize, pixel: usize) -> f64 {
        let (mut sum, mut points) = (0.0, 0);
        self.at_points(energy, pixel, |parts| {
            sum += self.density(energy, parts);
            points += 1;
        });
        sum / f64::from(points)
    }

    fn density(&self, energy: usize, parts: &[Part]) -> f64 {
        let of_part = |part: &Part| self.od[energy][part.phase] * part.thickness_nm;
        parts.iter().map(of_part).sum::<f64>() / THICKNESS_NM
    }

    /// Photons and dark counts that a pixel gets on average, where nothing goes wrong.
    #[must_use]
    pub fn expected(&self, energy: usize, pixel: usize) -> f64 {
        let row = pixel / self.plan.grid.nx();
        self.open_beam(energy, row) * self.transmitted(energy, pixel) + self.scenario.detector.dark
    }

    /// Share of the light that passes a pixel.
    fn transmitted(&self, energy: usize, pixel: usize) -> f64 {
        let h = self.scenario.beam.second_order;
        let second_ev = 2.0 * (self.plan.energies_ev[energy] + self.truth.energy_offset_ev[energy]);
        let second_per_nm = SECOND_ORDER_OD.0 * (second_ev / 1040.0).powf(SECOND_ORDER_OD.1) / THICKNESS_NM;
        let second_per_nm = second_per_nm * self.thickness[energy];
        let (mut sum, mut points) = (0.0, 0);
        self.at_points(energy, pixel, |parts| {
            let thickness_nm: f64 = parts.iter().map(|part| part.thickness_nm).sum();
            let second = h * (-second_per_nm * thickness_nm).exp();
            sum += (1.0 - h) * (-self.density(energy, parts)).exp() + second;
            points += 1;
        });
        sum / f64::from(points)
    }

    /// Visits what lies along the beam at each point of a pixel.
    fn at_points(&self, energy: usize, pixel: usize, mut each: impl FnMut(&[Part])) {
        if let Some(still) = &self.still {
            return still.points(pixel).for_each(each);
        }
        let nx = self.plan.grid.nx();
        let [dy, dx] = self.truth.drift_px[energy];
        let mut parts = Vec::with_capacity(8);
        for point in 0..self.matter.points() {
            let (y, x) = self.matter.point(point, (pixel / nx) as f64 - dy, (pixel % nx) as f64 - dx);
            parts.clear();
            self.matter.along_beam(y, x, &mut parts);
            each(&parts);
        }
    }

    /// The random stream of a line.
    fn line_rng(&self, energy: usize, row: usize, offset: u64) -> ChaCha8Rng {
        let mut rng = ChaCha8Rng::seed_from_u64(self.scenario.seed);
        rng.set_stream(offset + (energy * self.plan.grid.ny() + row) as u64);
        rng
    }

    /// What goes wrong with a line.
    fn flaw(&self, energy: usize, row: usize) -> Option<LineFlaw> {
        let flaws = &self.truth.flaws;
        let found = flaws.binary_search_by_key(&(energy, row), |line| (line.energy, line.row)).ok()?;
        Some(flaws[found].flaw)
    }
}

/// Time that a line takes, ms.
fn line_ms(scenario: &Scenario) -> f64 {
    scenario.scan.dwell_ms * scenario.scan.shape[1] as f64 + scenario.scan.line_overhead_ms
}

/// What dose and time make of the phases, where the scenario says anything of them.
fn exposure(
    scenario: &Scenario,
    sample: &ReferenceSet,
    plan: &ScanPlan,
    offset_ev: &[f64],
    od: &[Vec<f64>],
    matter: &Matter,
) -> Result<Option<Exposure>, SimulationError> {
    let Some(damage) = &scenario.damage else { return Ok(None) };
    let amounts = matter.amounts(sample.len(), scenario.scan.shape);
    let image_ms = line_ms(scenario) * scenario.scan.shape[0] as f64;
    let unexposed =
        Unexposed { scenario, references: sample, plan, offset_ev, od, amounts: &amounts, image_ms };
    unexposed.expose(damage).map(Some)
}

/// Optical densities of the phases at the true energies.
fn od_of(
    scenario: &Scenario,
    sample: &ReferenceSet,
    energies_ev: &[f64],
) -> Result<Vec<Vec<f64>>, SimulationError> {
    let middle_ev = middle_ev(energies_ev);
    energies_ev
        .iter()
        .map(|&energy_ev| energy_ev + scenario.beam.offset_at(energy_ev, middle_ev))
        .map(|energy_ev| sample.od_at(energy_ev).ok_or(SimulationError::Energy(energy_ev)))
        .collect()
}

/// Frame pixels that are hot, and those that are dead.
fn broken(scenario: &Scenario, frame_pixels: usize) -> [Vec<usize>; 2] {
    let [hot, dead] = [scenario.detector.hot_pixels, scenario.detector.dead_pixels];
    let mut rng = ChaCha8Rng::seed_from_u64(scenario.seed);
    rng.set_stream(DETECTOR_STREAM);
    let mut list = some_of(frame_pixels, hot + dead, &mut rng);
    let dead = list.split_off(hot.min(list.len()));
    [list, dead]
}

/// `ms` milliseconds after `start`.
pub(super) fn after(start: DateTime<Utc>, ms: f64) -> DateTime<Utc> {
    start + TimeDelta::microseconds((ms * 1e3) as i64)
}

impl Scenario {
    /// The plan of a scan by this scenario, a second pass included, without building the specimen.
    ///
    /// # Errors
    /// A scenario out of range, or an identifier that is not allowed.
    pub fn plan(&self, scan_id: &str, started: DateTime<Utc>) -> Result<ScanPlan, SimulationError> {
        self.check()?;
        let plan = plan(self, scan_id, started);
        plan.validate()?;
        Ok(plan)
    }
}

#[cfg(test)]
mod tests;
