//! One series of scans of a specimen with a front, or without: what was found, beside what is true.
//!
//! Two or three scans, half an hour to two hours apart, of up to seven particles of radius 10.5 to 16 pixels; drift, noise and energy offset of their own, and a
//! stage that comes back within two pixels; else as the scans of the other classes ([`super::draw`]). *Fronts* move by 0.4 to 1.5 pixels an hour and begin at a
//! depth of 2 to 4; in half of the series one particle is behind, by three pixels or all. *Still* ones have a front at one depth at all times, *flat* ones are
//! of one phase. Half of the series tell a state of charge that is not the true one, by 0.2 to 0.4.

use chrono::DateTime;
use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use super::draw::{Class, scenario};
use super::measured::Measured;
use crate::classify::Recipe;
use crate::evaluation::EvaluationError;
use crate::kinetics::{Estimate, Interval, Kinetics, Moment, Place};
use crate::particles::{Particle, Particles};
use crate::reference::ReferenceSet;
use crate::simulate::{Front, Microscope, ParticleTruth, Scenario, Series, SeriesTruth, Specimen};

/// Phases of shell and core that are drawn.
const PAIRS: [[&str; 2]; 6] = [
    ["na1.0", "na3.0"],
    ["na3.0", "na1.0"],
    ["na2.0", "na3.0"],
    ["na1.0", "na2.4"],
    ["na2.4", "na1.0"],
    ["na1minus", "na2.0"],
];
/// Random streams, above those of the scans.
const STREAM: u64 = 1 << 60;

/// What a series is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SeriesClass {
    /// A front that moves.
    Fronts,
    /// A front that does not.
    Still,
    /// No front.
    Flat,
}

impl SeriesClass {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Fronts, Self::Still, Self::Flat];

    /// The word in tables.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Fronts => "fronts that move",
            Self::Still => "fronts that stand still",
            Self::Flat => "no fronts",
        }
    }
}

/// A particle in one scan of a series.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct FrontScore {
    /// The scan.
    pub scan: usize,
    /// Where its front is, pixels below its outline; none where it has none, or none any more.
    pub front_px: Option<f64>,
    /// Greatest depth, pixels.
    pub depth_px: Option<f64>,
    /// Whether a gradient is claimed.
    pub is_claimed: bool,
    /// Whether one could be told: a rim and a core are there.
    pub is_told: bool,
    /// Whether x is larger in the core, as found.
    pub rises: Option<bool>,
    /// Whether there is a gradient with that sign.
    pub is_right: bool,
    /// The front as it was found.
    pub found_px: Option<Estimate>,
    /// True mean x.
    pub x: f64,
    /// As it was found.
    pub x_found: Option<Interval>,
    /// True x less the median of the others.
    pub less_others: f64,
    /// As it was found.
    pub less_found: Option<Interval>,
    /// Whether it is behind.
    pub is_lagging: bool,
    /// Where it is said to stand.
    pub place: Option<Place>,
}

/// How fast a front is, and how fast it was found to be.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct SpeedScore {
    /// True.
    pub px_per_h: f64,
    /// As it was found.
    pub found: Interval,
    /// Whether it is claimed that it moves.
    pub is_claimed: bool,
}

/// Nominal against measured, of one scan.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct NominalScore {
    /// True mean x less the nominal one.
    pub off: f64,
    /// Whether the state of charge that is told is not the true one.
    pub is_off: bool,
    /// Measured less nominal as it was found.
    pub found: Interval,
    /// Whether it is claimed that they differ.
    pub is_claimed: bool,
}

/// What came of a series.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SeriesScore {
    /// What it is of.
    pub class: SeriesClass,
    /// Its number among those.
    pub number: usize,
    /// Phases of shell and core.
    pub phases: [String; 2],
    /// Every particle that was found, in every scan.
    pub particles: Vec<FrontScore>,
    /// Speeds.
    pub speeds: Vec<SpeedScore>,
    /// The scans with a state of charge.
    pub nominal: Vec<NominalScore>,
}

/// The scenarios of a series, and whether the state of charge that they tell is off.
fn draw(class: SeriesClass, number: usize, seed: u64) -> (Vec<Scenario>, f64) {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    rng.set_stream(STREAM + ((class as u64) << 32) + number as u64);
    let (like, _) = scenario(Class::Single, number, rng.random());
    let [shell, core] = PAIRS[rng.random_range(0..PAIRS.len())].map(str::to_owned);
    let speed_px_per_h = rng.random_range(0.4..1.5);
    let (lagging, lag_px) = (usize::from(rng.random::<bool>()), rng.random::<bool>().then_some(3.0));
    let depth_px = rng.random_range(2.0..4.0);
    let front = Front {
        shell,
        core,
        depth_px: if class == SeriesClass::Flat { 0.0 } else { depth_px },
        speed_px_per_h: if class == SeriesClass::Fronts { speed_px_per_h } else { 0.0 },
        lagging: if class == SeriesClass::Fronts { lagging } else { 0 },
        lag_px,
    };
    let mut hours = vec![0.0];
    for _ in 0..rng.random_range(1..3) {
        hours.push(hours.last().copied().unwrap_or(0.0) + rng.random_range(0.5..2.0));
    }
    let off = if rng.random() { rng.random_range(0.2..0.4) } else { 0.0 };
    let off = if rng.random() { off } else { -off };
    let specimen = Specimen {
        particles: 7,
        radius: [0.11, 0.17],
        boundary_px: rng.random_range(0.0..1.5),
        front: Some(front),
        ..like.specimen.clone()
    };
    let series = Series { hours, state_of_charge: Vec::new(), stage_px: 2.0 };
    let whole = Scenario { region: Some("field".to_owned()), specimen, series: Some(series), ..like };
    (whole.scans(), off)
}

pub(super) fn examine(
    class: SeriesClass,
    number: usize,
    seed: u64,
    recipe: &Recipe,
) -> Result<SeriesScore, EvaluationError> {
    let references = &recipe.references;
    let (scenarios, off) = draw(class, number, seed);
    let phases = scenarios[0].specimen.front.as_ref().map(|own| [own.shell.clone(), own.core.clone()]);
    let phases = phases.unwrap_or_default();
    let (mut measured, mut truths, mut off_by) = (Vec::new(), Vec::new(), Vec::new());
    for (index, scenario) in scenarios.into_iter().enumerate() {
        let (microscope, truth, own_off) = told(scenario, index, off, references)?;
        let own = Measured::of(&microscope, recipe)?;
        let particles = Particles::of(own.map(), &own.view(), references);
        measured.push((own, particles));
        truths.push(truth);
        off_by.push(own_off);
    }
    let moments: Vec<Moment<'_>> =
        measured.iter().map(|(own, particles)| Moment { map: own.map(), particles, references }).collect();
    let found = Kinetics::of(&moments);
    let is_rising = state(&phases[1], references) > state(&phases[0], references);
    // The true particle of each label, by scan.
    let names: Vec<Vec<Option<usize>>> =
        truths.iter().zip(&measured).map(|(truth, (_, own))| named(&truth.particles, own)).collect();
    let mut particles = Vec::new();
    for (scan, truth) in truths.iter().enumerate() {
        let named = names[scan].iter().enumerate();
        for (place, particle) in named.filter_map(|(place, own)| Some((place, (*own)?))) {
            let x_found = measured[scan].1.particles[place].x;
            let score = FrontScore { x_found, ..judged(truth, particle, (scan, place as u32 + 1), &found) };
            let is_right = score.front_px.is_some() && score.rises == Some(is_rising);
            particles.push(FrontScore { is_right, ..score });
        }
    }
    let speeds = found.speeds.iter().filter_map(|own| {
        let track = found.tracks.iter().find(|track| track.id == own.track)?;
        let front = |scan: usize| {
            let particle = (*names[scan].get(track.label(scan)? as usize - 1)?)?;
            within(&truths[scan].particles[particle])
        };
        let px_per_h = (front(own.scans[1])? - front(own.scans[0])?) / own.hours;
        Some(SpeedScore { px_per_h, found: own.px_per_h, is_claimed: own.is_real })
    });
    let nominal = found.scans.iter().zip(off_by).filter_map(|(own, off)| {
        let nominal = own.nominal?;
        let (found, is_claimed) = (nominal.measured_less, nominal.is_real);
        Some(NominalScore { off, is_off: off.abs() > 1e-9, found, is_claimed })
    });
    Ok(SeriesScore { class, number, speeds: speeds.collect(), nominal: nominal.collect(), particles, phases })
}

/// A scan whose plan tells the state of charge that is true, or one that is off; what is true of it; and by how much x is more than would go with it.
fn told(
    mut scenario: Scenario,
    index: usize,
    off: f64,
    references: &ReferenceSet,
) -> Result<(Microscope, SeriesTruth, f64), EvaluationError> {
    let make = |scenario: Scenario| {
        Microscope::new(scenario, references, &format!("series-{index}"), DateTime::UNIX_EPOCH)
    };
    let mut microscope = make(scenario.clone())?;
    let truth = microscope.truth().series.clone().unwrap_or_default();
    let states = || references.references.iter().filter_map(|own| Some(own.composition.state.as_ref()?.1));
    let [least, most] = [states().fold(f64::INFINITY, f64::min), states().fold(f64::NEG_INFINITY, f64::max)];
    let mut own_off = 0.0;
    if let Some(x) = truth.mean_state {
        let charge = ((most - x) / (most - least) + off).clamp(0.0, 1.0);
        scenario.scan.state_of_charge = Some(charge);
        own_off = x - (most - charge * (most - least));
        microscope = make(scenario)?;
    }
    Ok((microscope, truth, own_off))
}

/// What was found of a particle in a scan, but for its x.
fn judged(truth: &SeriesTruth, particle: usize, (scan, label): (usize, u32), found: &Kinetics) -> FrontScore {
    let gradient = found.gradients.iter().find(|own| own.scan == scan && own.label == label);
    let pace = found.paces.iter().find(|own| own.scan == scan && own.label == label);
    let states: Vec<f64> = truth.states.iter().map(|x| x.unwrap_or(f64::NAN)).collect();
    FrontScore {
        scan,
        front_px: within(&truth.particles[particle]),
        depth_px: truth.particles[particle].depth_px,
        is_told: gradient.is_some(),
        is_claimed: gradient.is_some_and(|own| own.is_real),
        rises: gradient.map(|own| own.contrast.middle > 0.0),
        is_right: false,
        found_px: gradient.and_then(|own| own.front_px),
        x: states[particle],
        x_found: None,
        less_others: less_others(&states, particle),
        less_found: pace.map(|own| own.less_others),
        is_lagging: truth.particles[particle].is_lagging,
        place: pace.map(|own| own.place),
    }
}

/// Where the front of a particle is, unless it has swept all of it.
fn within(own: &ParticleTruth) -> Option<f64> {
    own.front_px.filter(|&front_px| own.depth_px.is_some_and(|depth_px| front_px < depth_px))
}

fn state(id: &str, references: &ReferenceSet) -> f64 {
    let own = references.references.iter().find(|own| own.label.id == id);
    own.and_then(|own| Some(own.composition.state.as_ref()?.1)).unwrap_or(f64::NAN)
}

/// The true particle of each that was found: the one whose centre lies nearest, within half a radius of it.
fn named(truth: &[ParticleTruth], found: &Particles) -> Vec<Option<usize>> {
    let nearest = |own: &Particle| {
        let distance = |truth: &ParticleTruth| {
            (own.centre_px[0] - truth.centre_px[0]).hypot(own.centre_px[1] - truth.centre_px[1])
        };
        let (index, nearest) =
            truth.iter().enumerate().min_by(|a, b| distance(a.1).total_cmp(&distance(b.1)))?;
        (distance(nearest) < 0.5 * (nearest.area_px / std::f64::consts::PI).sqrt()).then_some(index)
    };
    found.particles.iter().map(nearest).collect()
}

/// x of one less the median of the others.
fn less_others(states: &[f64], own: usize) -> f64 {
    let mut others: Vec<f64> =
        states.iter().enumerate().filter(|(index, _)| *index != own).map(|(_, x)| *x).collect();
    others.sort_by(f64::total_cmp);
    let n = others.len();
    if n == 0 { f64::NAN } else { states[own] - 0.5 * (others[(n - 1) / 2] + others[n / 2]) }
}
