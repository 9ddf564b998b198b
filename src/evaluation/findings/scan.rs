//! One scan or map: what was found, beside what is true.

use chrono::DateTime;
use serde::Serialize;

use super::draw::{Class, INCLINED_PX, scenario};
use super::drawn;
use super::measured::Measured;
use crate::boundaries::{Boundaries, Enrichment, Regions, Spot};
use crate::classify::Recipe;
use crate::evaluation::EvaluationError;
use crate::kinetics::{Kinetics, Moment};
use crate::particles::{Interval, Particles};
use crate::reference::ReferenceSet;
use crate::simulate::{Microscope, ParticleTruth};

/// From 10 to 90 % of a linear transition, over its half width.
const TEN_TO_NINETY: f64 = 1.6;

/// A particle that is there, and what was found of it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct ParticleScore {
    /// Its true area, pixels.
    pub area_px: f64,
    /// Found over true; none where it was not found.
    pub area_ratio: Option<f64>,
    /// How far that is off, in its standard errors.
    pub area_z: Option<f64>,
    /// True mean x.
    pub x: f64,
    /// As it was found.
    pub x_found: Option<Interval>,
    /// Whether it was said to lie over another one.
    pub overlaps: bool,
}

/// A transition that is there, and what was found of it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct WidthScore {
    /// True width, pixels.
    pub width_px: f64,
    /// As it was found.
    pub found: Interval,
}

/// What came of a scan.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ScanScore {
    /// What it is of.
    pub class: Class,
    /// Its number among those.
    pub number: usize,
    /// The particles that are there.
    pub particles: Vec<ParticleScore>,
    /// Particles that were found.
    pub found: usize,
    /// Those of them that were said to lie over others.
    pub overlapping: usize,
    /// True factor on the probability of doubt near boundaries, of drawn maps.
    pub factor: Option<f64>,
    /// What was said of boundaries between phases.
    pub between_phases: Option<Enrichment>,
    /// What was said of rims.
    pub at_rim: Option<Enrichment>,
    /// Transitions.
    pub widths: Vec<WidthScore>,
    /// Gradients from rim to core that are claimed, of those that could be told.
    pub gradients: [usize; 2],
}

pub(super) fn examine(
    class: Class,
    number: usize,
    seed: u64,
    recipe: &Recipe,
) -> Result<ScanScore, EvaluationError> {
    let (scenario, mut rng) = scenario(class, number, seed);
    let microscope = Microscope::new(scenario, &recipe.references, "findings", DateTime::UNIX_EPOCH)?;
    if matches!(class, Class::DrawnNull | Class::DrawnEnriched) {
        let is_enriched = class == Class::DrawnEnriched;
        let drawn = drawn::draw(&microscope, &recipe.references, is_enriched, &mut rng);
        let regions = Regions::of(&drawn.map, &drawn.particles);
        let spot = Spot::of(None, &drawn.map.origin.drift);
        let between_phases =
            Enrichment::between_phases(&drawn.map, &regions, &drawn.particles.amounts, &spot);
        return Ok(ScanScore {
            class,
            number,
            particles: Vec::new(),
            found: drawn.particles.particles.len(),
            overlapping: 0,
            factor: Some(drawn.factor),
            between_phases,
            at_rim: Enrichment::at_rim(&drawn.map, &regions),
            widths: Vec::new(),
            gradients: [0; 2],
        });
    }
    let measured = Measured::of(&microscope, recipe)?;
    let (map, view) = (measured.map(), measured.view());
    let particles = Particles::of(map, &view, &recipe.references);
    let moment = Moment { map, particles: &particles, references: &recipe.references };
    let gradients = Kinetics::of(&[moment]).gradients;
    let boundaries = Boundaries::of(map, &view, &recipe.references, &particles, None);
    let width_px = if class == Class::Inclined { TEN_TO_NINETY * INCLINED_PX } else { 0.0 };
    let transitions = boundaries.meetings.iter().filter_map(|meeting| meeting.transition.as_ref()?.own_px);
    Ok(ScanScore {
        class,
        number,
        particles: score_particles(&microscope.particles(), &particles, &recipe.references),
        found: particles.particles.len(),
        overlapping: particles.particles.iter().filter(|own| own.overlaps).count(),
        factor: None,
        gradients: [gradients.iter().filter(|own| own.is_real).count(), gradients.len()],
        widths: transitions.map(|found| WidthScore { width_px, found }).collect(),
        between_phases: boundaries.between_phases,
        at_rim: boundaries.at_rim,
    })
}

/// Holds what was found against what is there: each true particle against the one whose centre lies nearest to its own, within a half of its radius.
fn score_particles(
    truth: &[ParticleTruth],
    found: &Particles,
    references: &ReferenceSet,
) -> Vec<ParticleScore> {
    let state = |phase: usize| references.references[phase].composition.state.as_ref().map(|(_, x)| *x);
    truth
        .iter()
        .map(|own| {
            let distance =
                |centre: [f64; 2]| (centre[0] - own.centre_px[0]).hypot(centre[1] - own.centre_px[1]);
            let radius = (own.area_px / std::f64::consts::PI).sqrt();
            let nearest = found
                .particles
                .iter()
                .filter(|particle| distance(particle.centre_px) < 0.5 * radius)
                .min_by(|a, b| distance(a.centre_px).total_cmp(&distance(b.centre_px)));
            let whole: f64 = own.amounts.iter().sum();
            let part = |(phase, amount): (usize, &f64)| state(phase).unwrap_or(f64::NAN) * amount / whole;
            ParticleScore {
                area_px: own.area_px,
                area_ratio: nearest.map(|particle| particle.area_px.value / own.area_px),
                area_z: nearest
                    .map(|particle| (particle.area_px.value - own.area_px) / particle.area_px.sigma),
                x: own.amounts.iter().enumerate().map(part).sum(),
                x_found: nearest.and_then(|particle| particle.x),
                overlaps: nearest.is_some_and(|particle| particle.overlaps),
            }
        })
        .collect()
}
