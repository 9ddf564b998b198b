//! Kinetics: how a sample goes from one state to the next, over scans of it at several times or states of charge.
//!
//! - [`ScanState`]: shares of the phases and mean state variable (the sodium content x) of each scan, and what its state of charge would give
//!   ([`Nominal`]), which is compared and never taken to be right.
//! - [`Track`]: one particle over the scans of a region, laid over each other by the shift in which their particles agree best.
//! - [`Gradient`]: x from the rim of a particle to its core, whether they differ, and where the front between them lies.
//! - [`Speed`]: how fast a front moves between two scans.
//! - [`Pace`]: which particles are ahead of the others, or behind, against what their errors explain.
//!
//! Pure functions of maps and their particles. Intervals have 90 %. What is *claimed* (`is_real`) is claimed at the level at which all tests of its kind in
//! the series together claim anything in at most 5 % of series where there is nothing: the more particles, the more each has to show.
//!
//! A series whose references have no state variable has shares only, and says so; a particle without enough pixels in rim and core has no gradient; scans
//! whose order nobody told (the same time twice) have no speeds.

mod field;
mod front;
mod gradient;
mod pace;
#[cfg(test)]
mod tests;
mod track;

use serde::Serialize;

use crate::classify::PhaseMap;
pub use crate::particles::{Estimate, Interval};
use crate::particles::{Particles, States};
use crate::reference::ReferenceSet;

pub use field::{Nominal, ScanState};
pub use gradient::{Gradient, Shell};
pub use pace::{Pace, Place};
pub use track::{Member, Track};

/// Probability that a series without anything claims something, for each kind of claim.
const FALSE_CLAIMS: f64 = 0.05;
/// Standard errors on either side of a 90 % interval.
const Z90: f64 = 1.645;

/// One scan of a series.
#[derive(Clone, Copy, Debug)]
pub struct Moment<'a> {
    /// Its map.
    pub map: &'a PhaseMap,
    /// The particles in it.
    pub particles: &'a Particles,
    /// The references that it was mapped with.
    pub references: &'a ReferenceSet,
}

impl Moment<'_> {
    fn states(&self) -> States {
        States::of(self.map, self.references)
    }
}

/// How fast a front moves.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Speed {
    /// The particle, by the number of its track.
    pub track: u32,
    /// Scans, by their place in [`Kinetics::scans`].
    pub scans: [usize; 2],
    /// Time between them, h.
    pub hours: f64,
    /// Pixels per hour; positive away from the rim.
    pub px_per_h: Interval,
    /// The same in µm per hour, where the size of a pixel is known.
    pub um_per_h: Option<Interval>,
    /// Whether it is claimed that the front moves.
    pub is_real: bool,
}

/// What a series of scans says.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Kinetics {
    /// Name of the state variable, `na_x`.
    pub variable: Option<String>,
    /// Identifiers of the phases, in the order of the shares.
    pub phases: Vec<String>,
    /// The scans, in the order of their time.
    pub scans: Vec<ScanState>,
    /// The particles, over the scans in which they are seen.
    pub tracks: Vec<Track>,
    /// From rim to core, of every particle in every scan that is large enough.
    pub gradients: Vec<Gradient>,
    /// How fast fronts move between one scan and the next.
    pub speeds: Vec<Speed>,
    /// How each particle stands against the others.
    pub paces: Vec<Pace>,
    /// What cannot be said, and why.
    pub remarks: Vec<String>,
}

impl Kinetics {
    /// Of scans of one sample, in any order.
    #[must_use]
    pub fn of(moments: &[Moment<'_>]) -> Self {
        let mut moments = moments.to_vec();
        moments.sort_by(|a, b| {
            let key = |own: &Moment<'_>| (own.map.plan.started, own.map.plan.scan_id.clone());
            key(a).cmp(&key(b))
        });
        let Some(first) = moments.first() else { return Self::default() };
        let mut remarks = Vec::new();
        let phases: Vec<String> = first.map.phases.iter().map(|label| label.id.clone()).collect();
        let is_alike = |own: &Moment<'_>| own.map.phases.iter().map(|label| &label.id).eq(phases.iter());
        let before = moments.len();
        moments.retain(is_alike);
        if moments.len() < before {
            let left = before - moments.len();
            remarks
                .push(format!("{left} scans were mapped with other phases and are left out of the series"));
        }
        let variable = moments[0].states().variable;
        if variable.is_none() {
            remarks
                .push("the references have no state variable (state in references.toml): shares only".into());
        }
        let scans = field::scans(&moments);
        let tracks = track::tracks(&moments, &mut remarks);
        let gradients = gradient::gradients(&moments, &tracks);
        let speeds = front::speeds(&moments, &gradients);
        let paces = if variable.is_some() { pace::paces(&moments, &scans, &tracks) } else { Vec::new() };
        Self { variable, phases, scans, tracks, gradients, speeds, paces, remarks }
    }

    /// The scan at a place in the series.
    #[must_use]
    pub fn scan_id(&self, scan: usize) -> &str {
        self.scans.get(scan).map_or("", |own| &own.scan_id)
    }
}

/// Standard errors that a claim needs where so many tests are made.
fn limit(tests: usize) -> f64 {
    one_sided(FALSE_CLAIMS / (2.0 * tests.max(1) as f64))
}

/// Standard errors above which so much of a normal distribution lies.
pub(crate) fn one_sided(tail: f64) -> f64 {
    // Of the tail of the normal distribution, by halving: its logarithm falls evenly.
    let (mut low, mut high) = (0.0, 40.0);
    for _ in 0..80 {
        let middle = 0.5 * (low + high);
        if upper_tail(middle) > tail { low = middle } else { high = middle }
    }
    high
}

/// Probability above `z` (Abramowitz and Stegun 26.2.17, within 1e-7 of the whole near 0; far out by the continued fraction).
fn upper_tail(z: f64) -> f64 {
    let density = (-0.5 * z * z).exp() / std::f64::consts::TAU.sqrt();
    if z > 3.0 {
        let fraction = (1..=40).rev().fold(z, |below, k| z + f64::from(k) / below);
        return density / fraction;
    }
    let t = 1.0 / (1.0 + 0.231_641_9 * z);
    let terms = [0.319_381_530, -0.356_563_782, 1.781_477_937, -1.821_255_978, 1.330_274_429];
    density * terms.iter().rev().fold(0.0, |sum, term| (sum + term) * t)
}

/// One interval less another that knows nothing of it.
fn difference(a: Interval, b: Interval) -> Interval {
    let middle = a.middle - b.middle;
    Interval {
        low: middle - (a.middle - a.low).hypot(b.high - b.middle),
        middle,
        high: middle + (a.high - a.middle).hypot(b.middle - b.low),
    }
}

/// Whether an interval of 90 %, stretched to so many standard errors, leaves zero out.
fn excludes_zero(own: Interval, sigmas: f64) -> bool {
    let stretch = sigmas / Z90;
    let half = if own.middle > 0.0 { own.middle - own.low } else { own.high - own.middle };
    own.middle != 0.0 && own.middle.abs() > stretch * half
}

/// A normal estimate as an interval of 90 %.
fn interval(middle: f64, sigma: f64) -> Interval {
    Interval { low: middle - Z90 * sigma, middle, high: middle + Z90 * sigma }
}
