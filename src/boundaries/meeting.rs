//! Which phases meet, along what length, and how wide the transition is.
//!
//! Every pixel within [`REACH_PX`] of a boundary, away from the rim, is fitted with the two phases that meet there and a constant, not bound to be
//! positive: so what noise adds to one it takes from the other, and the sums over all pixels at one distance are right. Their share as a function of distance gets a smooth step. Its error is that of leaving
//! out one piece of boundary after the other. From its width that of the map (beam, drift, pixel) is taken in squares.

use std::collections::BTreeMap;

use rayon::prelude::*;
use serde::Serialize;

use super::spot::Spot;
use super::step::{FINE, Point, fit};
use super::{Estimate, Interval, Regions};
use crate::classify::spectrum::Spectrum;
use crate::classify::{DensityView, PhaseMap};
use crate::reference::ReferenceSet;

/// How far from a boundary pixels are looked at.
const REACH_PX: f32 = 6.0;
/// How far from the rim they have to lie.
const INSIDE_PX: f32 = 1.0;
/// Side of the pieces that are left out one by one, pixels.
const PIECE_PX: usize = 8;
/// Pixels at a distance from which it counts.
const LEAST_PIXELS: f64 = 3.0;
/// Pieces from which there is an error.
const LEAST_PIECES: usize = 4;
/// Least step of the share that has a width.
const LEAST_STEP: f64 = 0.3;
/// Least error of a width, in parts of it: less is the fit's own coarseness.
const LEAST_ERROR: f64 = 10.0 * FINE;
/// Sides of pixels over the length of a line in any direction.
const OF_SIDES: f64 = std::f64::consts::FRAC_PI_4;
/// From 10 to 90 % of a normal distribution, in standard deviations.
const TEN_TO_NINETY: f64 = 2.563_1;
/// Standard errors on either side of a 90 % interval.
const Z90: f64 = 1.645;

/// Two phases that meet.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Meeting {
    /// Identifiers of the phases, in the order of the map.
    pub phases: [String; 2],
    /// Length of the boundary between them in all particles, pixels.
    pub length_px: f64,
    /// Particles in which they meet.
    pub particles: usize,
    /// The transition; none where there is too little boundary to tell its width, or no error of it is to be had.
    pub transition: Option<Transition>,
}

/// How one phase becomes the other.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Transition {
    /// From 10 to 90 % of the step, as it looks in the map, pixels.
    pub seen_px: Estimate,
    /// What a sharp boundary would look like, pixels: beam, drift and pixel.
    pub of_spot_px: f64,
    /// Its own width, with 90 %, pixels: 0 at the low end where it may be sharp. None where it looks narrower than a sharp boundary would, for all its error: then
    /// the beam is narrower than it is taken to be, and nothing is told of the width.
    pub own_px: Option<Interval>,
    /// Share of the second phase on either side.
    pub levels: [f64; 2],
    /// Share of the second phase by distance; the first phase's side is negative.
    pub profile: Vec<AcrossBoundary>,
}

/// A point of a profile.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct AcrossBoundary {
    /// Mean distance from the boundary, pixels.
    pub distance_px: f64,
    /// Share of the second phase.
    pub share: f64,
    /// Pixels.
    pub pixels: usize,
}

/// Sums at one distance.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Sums {
    pub(super) pixels: f64,
    pub(super) distance: f64,
    pub(super) both: f64,
    pub(super) second: f64,
}

impl Sums {
    fn add(&mut self, other: &Self, sign: f64) {
        self.pixels += sign * other.pixels;
        self.distance += sign * other.distance;
        self.both += sign * other.both;
        self.second += sign * other.second;
    }
}

type Pair = (u8, u8);
/// By distance, in whole pixels, of one piece of boundary.
pub(super) type Profile = BTreeMap<i32, Sums>;

pub(super) fn meetings(
    map: &PhaseMap,
    view: &DensityView<'_>,
    references: &ReferenceSet,
    regions: &Regions,
    spot: &Spot,
) -> Vec<Meeting> {
    let [ny, nx] = regions.shape;
    let mut lengths: BTreeMap<Pair, (usize, Vec<u32>)> = BTreeMap::new();
    for pixel in 0..ny * nx {
        let beside = [(pixel % nx + 1 < nx).then(|| pixel + 1), (pixel / nx + 1 < ny).then(|| pixel + nx)];
        for other in beside.into_iter().flatten() {
            let is_within = regions.particle[pixel] == regions.particle[other];
            if let (true, Some(a), Some(b)) = (is_within, regions.phase[pixel], regions.phase[other])
                && a != b
            {
                let (sides, particles) = lengths.entry((a.min(b), a.max(b))).or_default();
                *sides += 1;
                particles.push(regions.particle[pixel]);
            }
        }
    }
    let profiles = profiles(map, view, references, regions);
    let id = |phase: u8| map.phases[usize::from(phase)].id.clone();
    let mut meetings: Vec<Meeting> = lengths
        .into_iter()
        .map(|((a, b), (sides, mut particles))| {
            particles.sort_unstable();
            particles.dedup();
            Meeting {
                phases: [id(a), id(b)],
                length_px: sides as f64 * OF_SIDES,
                particles: particles.len(),
                transition: profiles.get(&(a, b)).and_then(|pieces| transition(pieces, spot)),
            }
        })
        .collect();
    meetings.sort_by(|a, b| b.length_px.total_cmp(&a.length_px));
    meetings
}

/// The profile of each piece of each pair's boundary.
fn profiles(
    map: &PhaseMap,
    view: &DensityView<'_>,
    references: &ReferenceSet,
    regions: &Regions,
) -> BTreeMap<Pair, Vec<Profile>> {
    let nx = regions.shape[1];
    let near: Vec<(usize, Pair)> = (0..map.len())
        .filter(|&pixel| regions.to_boundary_px[pixel] <= REACH_PX && regions.to_rim_px[pixel] > INSIDE_PX)
        .filter_map(|pixel| Some((pixel, (regions.phase[pixel]?, regions.beyond[pixel]?))))
        .collect();
    let curves = Curves::of(map, references);
    let amounts: Vec<Option<[f64; 2]>> = near
        .par_iter()
        .map_init(Spectrum::default, |spectrum, &(pixel, (a, b))| {
            view.gather(pixel, spectrum);
            curves.amounts(spectrum, a.min(b), a.max(b))
        })
        .collect();
    let mut pieces: BTreeMap<(Pair, u32, usize), Profile> = BTreeMap::new();
    for (&(pixel, (own, beyond)), amounts) in near.iter().zip(&amounts) {
        let Some([first, second]) = amounts else { continue };
        let pair = (own.min(beyond), own.max(beyond));
        let piece = (pixel / nx / PIECE_PX) * nx.div_ceil(PIECE_PX) + pixel % nx / PIECE_PX;
        let to = f64::from(regions.to_boundary_px[pixel]);
        let distance = if own < beyond { -to } else { to };
        let profile = pieces.entry((pair, regions.particle[pixel], piece)).or_default();
        let sums = profile.entry(distance.floor() as i32).or_default();
        sums.add(&Sums { pixels: 1.0, distance, both: first + second, second: *second }, 1.0);
    }
    let mut profiles: BTreeMap<Pair, Vec<Profile>> = BTreeMap::new();
    for ((pair, ..), profile) in pieces {
        profiles.entry(pair).or_default().push(profile);
    }
    profiles
}

/// The transition across a boundary in pieces; `None` where its width cannot be told with an error: too few pieces, too small a step, one that fits no width,
/// with all pieces or without one of them, or pieces so alike that leaving one out moves nothing.
pub(super) fn transition(pieces: &[Profile], spot: &Spot) -> Option<Transition> {
    let mut whole = Profile::new();
    for (&distance, sums) in pieces.iter().flatten() {
        whole.entry(distance).or_default().add(sums, 1.0);
    }
    let step = fit(&points(&whole))?;
    if step.high - step.low < LEAST_STEP || pieces.len() < LEAST_PIECES {
        return None;
    }
    let without = |piece: &Profile| {
        let mut rest = whole.clone();
        for (distance, sums) in piece {
            rest.entry(*distance).or_default().add(sums, -1.0);
        }
        fit(&points(&rest)).map(|step| step.sigma_px)
    };
    let left: Vec<f64> = pieces.par_iter().map(without).collect::<Option<_>>()?;
    let n = left.len() as f64;
    let mean = left.iter().sum::<f64>() / n;
    let sigma = ((n - 1.0) / n * left.iter().map(|own| (own - mean).powi(2)).sum::<f64>()).sqrt();
    if !sigma.is_finite() || sigma < LEAST_ERROR * step.sigma_px {
        return None;
    }
    let of_spot = spot.of_map_px();
    let own = |sigma_px: f64| TEN_TO_NINETY * (sigma_px.max(0.0).powi(2) - of_spot * of_spot).max(0.0).sqrt();
    let own_px = Interval {
        low: own(step.sigma_px - Z90 * sigma),
        middle: own(step.sigma_px),
        high: own(step.sigma_px + Z90 * sigma),
    };
    Some(Transition {
        seen_px: Estimate { value: TEN_TO_NINETY * step.sigma_px, sigma: TEN_TO_NINETY * sigma },
        of_spot_px: TEN_TO_NINETY * of_spot,
        own_px: (own_px.high > 0.0).then_some(own_px),
        levels: [step.low, step.high],
        profile: whole
            .values()
            .filter(|sums| sums.pixels >= LEAST_PIXELS)
            .map(|sums| AcrossBoundary {
                distance_px: sums.distance / sums.pixels,
                share: sums.second / sums.both,
                pixels: sums.pixels as usize,
            })
            .collect(),
    })
}

fn points(profile: &Profile) -> Vec<Point> {
    let sound = |sums: &&Sums| sums.pixels >= LEAST_PIXELS && sums.both > 0.0;
    let point = |sums: &Sums| Point {
        distance_px: sums.distance / sums.pixels,
        value: sums.second / sums.both,
        weight: sums.both,
    };
    profile.values().filter(sound).map(point).collect()
}

/// The references at the energies of a map.
struct Curves {
    /// Of each energy of the plan those of all phases.
    at: Vec<Vec<f64>>,
}

impl Curves {
    fn of(map: &PhaseMap, references: &ReferenceSet) -> Self {
        let own = |phase: usize, energy_ev: f64| {
            let reference = references.references.iter().find(|own| own.label.id == map.phases[phase].id);
            let moved_ev = energy_ev + map.origin.correction.own(phase);
            reference.and_then(|reference| reference.od_at(moved_ev)).unwrap_or(f64::NAN)
        };
        let column = |energy_ev: &f64| (0..map.phases.len()).map(|phase| own(phase, *energy_ev)).collect();
        Self { at: map.origin.corrected_ev.iter().map(column).collect() }
    }

    /// The amounts of two phases in a spectrum, with a free constant.
    fn amounts(&self, spectrum: &Spectrum, a: u8, b: u8) -> Option<[f64; 2]> {
        let (a, b) = (usize::from(a), usize::from(b));
        let mut sums = [0.0; 9];
        let values = spectrum.energies.iter().zip(&spectrum.od).zip(&spectrum.variance);
        for ((&energy, &od), &variance) in values {
            let Some(at) = self.at.get(energy) else { continue };
            let (ra, rb, weight) = (at[a], at[b], 1.0 / variance);
            if !(ra.is_finite() && rb.is_finite() && weight.is_finite() && od.is_finite()) {
                continue;
            }
            let terms = [1.0, ra, rb, od, ra * ra, ra * rb, rb * rb, ra * od, rb * od];
            sums.iter_mut().zip(terms).for_each(|(sum, term)| *sum += weight * term);
        }
        let [w, ra, rb, od, aa, ab, bb, ao, bo] = sums;
        let (aa, ab, bb) = (aa - ra * ra / w, ab - ra * rb / w, bb - rb * rb / w);
        let (ao, bo) = (ao - ra * od / w, bo - rb * od / w);
        let determinant = aa * bb - ab * ab;
        (determinant > 1e-9 * aa * bb)
            .then(|| [(ao * bb - bo * ab) / determinant, (bo * aa - ao * ab) / determinant])
    }
}
