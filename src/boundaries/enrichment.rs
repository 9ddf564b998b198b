//! How much likelier doubtful pixels are near a boundary than elsewhere.
//!
//! Near and elsewhere are compared within strata, each a third by thickness of one particle, and taken together after Mantel and Haenszel: so neither thin
//! pixels, which are noisier, nor particles that differ by themselves make a ratio. Half a pixel is added on either side, so that a ratio stays a number where
//! nothing doubtful lies elsewhere.
//!
//! Doubtful pixels lie together, whatever the reason, and counting them as if each were drawn by itself claims too much. So the verdicts of each
//! particle are moved along a curve that fills it, by a random part of its length, round its end: neighbours stay together, and only how they lie to the boundary changes. What
//! ratios come of [`MOVES`] such moves is what chance makes. How much they scatter, over what counting alone would, is how much wider than by
//! counting an interval has to be; or how much the tiles of the sample differ in what each adds to the ratio, where that is more: a
//! curve cuts clusters that are wide, and scatters less than they do (in drawn maps, by a tenth to a half).

use std::collections::BTreeMap;

use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use serde::Serialize;

use super::curve::{WAYS, order};
use super::spot::Spot;
use super::{Interval, Regions, is_doubtful, is_doubtful_without_noise};
use crate::classify::{PhaseMap, Status};
use crate::particles::Amounts;

/// How far near is, pixels.
const NEAR_PX: f64 = 2.0;
/// Upper ends of the distances at which the ratio is told, pixels.
const DISTANCES_PX: [f64; 5] = [1.0, 2.0, 3.0, 4.0, 6.0];
/// How far from the rim a pixel has to lie to be compared for its distance to a boundary, pixels.
const INSIDE_PX: f32 = 1.0;
/// Pixels that have to be near, and elsewhere.
const LEAST_PIXELS: usize = 20;
/// Doubtful pixels from which there is anything to compare.
const LEAST_DOUBTFUL: f64 = 4.0;
/// Moves.
const MOVES: usize = 499;
/// Where their chance begins.
const SEED: u64 = 9;
/// Side of the tiles whose doubt is taken to be one another's business, pixels.
const TILE_PX: u32 = 8;
/// Tiles at which the variance is taken twice.
const FEW_TILES: f64 = 10.0;
/// Chance at which an enrichment is claimed, and the standard errors of that.
const CLAIM: (f64, f64) = (0.01, 2.326);
/// Standard errors on either side of a 90 % interval, where these are known from no more than some fifteen tiles (Student): with those of the normal
/// distribution 89 of 100 known enrichments lay within.
const Z90: f64 = 1.753;

/// The ratio at one distance.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct AtDistance {
    /// From here, pixels.
    pub from_px: f64,
    /// To here, pixels.
    pub to_px: f64,
    /// Pixels there.
    pub pixels: usize,
    /// Doubtful ones of them.
    pub doubtful: usize,
    /// Over the probability elsewhere, with 90 %; none where there is too little.
    pub ratio: Option<Interval>,
    /// The ratio that the beam alone would make.
    pub explained: Option<f64>,
}

/// How much likelier doubtful (ambiguous or mixed) pixels are near a boundary than elsewhere.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Enrichment {
    /// How far near is, pixels; elsewhere is all that lies farther in particles that have a boundary.
    pub near_px: f64,
    /// Pixels near, and doubtful ones of them.
    pub near: [usize; 2],
    /// Pixels elsewhere, and doubtful ones of them.
    pub elsewhere: [usize; 2],
    /// Probability near over that elsewhere, with 90 %.
    pub ratio: Interval,
    /// The middle 90 % of the ratios that chance makes.
    pub by_chance: [f64; 2],
    /// Probability that chance makes as large a ratio.
    pub p: f64,
    /// How many times larger the variance of the ratio is than by counting: pixels lie together. The larger of what moves and tiles say.
    pub together: f64,
    /// Whether it is claimed that they gather there.
    pub is_enriched: bool,
    /// The ratio that the beam alone would make, were the boundary sharp.
    pub explained: f64,
    /// The ratio over that, with 90 %.
    pub beyond: Interval,
    /// Whether it is claimed that they gather there by more than the beam explains.
    pub is_beyond: bool,
    /// As a function of distance.
    pub by_distance: Vec<AtDistance>,
}

/// A pixel that is compared.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    pub(super) particle: u32,
    pub(super) stratum: u32,
    pub(super) y: u32,
    pub(super) x: u32,
    pub(super) distance_px: f64,
    pub(super) is_doubtful: bool,
}

impl Enrichment {
    /// Near boundaries between phases; none where there is too little to compare.
    #[must_use]
    pub fn between_phases(map: &PhaseMap, regions: &Regions, amounts: &Amounts, spot: &Spot) -> Option<Self> {
        let od = |pixel: usize| f64::from(amounts.od[pixel]);
        let nx = regions.shape[1];
        let mut places = Vec::new();
        let mut thicknesses: BTreeMap<u32, Vec<f64>> = BTreeMap::new();
        for pixel in (0..map.len()).filter(|&pixel| is_compared(map, pixel)) {
            let distance = regions.to_boundary_px[pixel];
            if regions.particle[pixel] == 0 || !distance.is_finite() || regions.to_rim_px[pixel] <= INSIDE_PX
            {
                continue;
            }
            let particle = regions.particle[pixel];
            thicknesses.entry(particle).or_default().push(od(pixel));
            places.push((pixel, particle, distance));
        }
        thicknesses.values_mut().for_each(|values| values.sort_by(f64::total_cmp));
        let third = |particle: u32, pixel: usize| {
            let values = &thicknesses[&particle];
            let below = values.partition_point(|value| *value < od(pixel));
            (3 * below / values.len()) as u32
        };
        let places: Vec<Place> = places
            .into_iter()
            .map(|(pixel, particle, distance)| Place {
                particle,
                stratum: 3 * particle + third(particle, pixel),
                y: (pixel / nx) as u32,
                x: (pixel % nx) as u32,
                distance_px: f64::from(distance),
                is_doubtful: is_doubtful(map, pixel),
            })
            .collect();
        compare(&places, &|distance_px| spot.doubt(distance_px))
    }

    /// Near the rims of particles, away from boundaries between phases, of pixels whose doubt is not the noise's; none where there is
    /// too little to compare.
    #[must_use]
    pub fn at_rim(map: &PhaseMap, regions: &Regions) -> Option<Self> {
        let nx = regions.shape[1];
        let places: Vec<Place> = (0..map.len())
            .filter(|&pixel| is_compared(map, pixel) && regions.particle[pixel] > 0)
            .filter(|&pixel| f64::from(regions.to_boundary_px[pixel]) > NEAR_PX)
            .map(|pixel| Place {
                particle: regions.particle[pixel],
                stratum: regions.particle[pixel],
                y: (pixel / nx) as u32,
                x: (pixel % nx) as u32,
                distance_px: f64::from(regions.to_rim_px[pixel]),
                is_doubtful: is_doubtful_without_noise(map, pixel),
            })
            .collect();
        // Beside a rim there is no other phase that the beam could bring in.
        let seen = compare(&places, &|_| 0.0)?;
        // Never claimed: of simulated maps without any gathering a third showed as much (docs/reports/findings.md). Thin pixels are
        // doubtful in more ways than are taken out here.
        Some(Self { is_enriched: false, is_beyond: false, ..seen })
    }
}

fn is_compared(map: &PhaseMap, pixel: usize) -> bool {
    matches!(map.status[pixel], Status::Classified | Status::Mixture | Status::Unknown | Status::Ambiguous)
}

/// Compares places; `doubt` is what the beam makes at a distance.
pub(super) fn compare(places: &[Place], doubt: &dyn Fn(f64) -> f64) -> Option<Enrichment> {
    let is_near = |place: &Place| place.distance_px <= NEAR_PX;
    let near: Vec<usize> = (0..places.len()).filter(|&i| is_near(&places[i])).collect();
    if near.len().min(places.len() - near.len()) < LEAST_PIXELS {
        return None;
    }
    let observed: Vec<f64> = places.iter().map(|place| f64::from(u8::from(place.is_doubtful))).collect();
    if observed.iter().sum::<f64>() < LEAST_DOUBTFUL {
        return None;
    }
    let far: Vec<bool> = places.iter().map(|place| !is_near(place)).collect();
    let contrast = Contrast::new(places, |place| is_near(place), |place| !is_near(place))?;
    let ratio = contrast.ratio(&observed);
    let (chance, moved) = by_chance(places, &contrast, &observed);
    let [count_near, count_far] = contrast.counts(&observed);
    let counting = 1.0 / (count_near + 0.5) + 1.0 / (count_far + 0.5);
    let together = moved.max(tile_by_tile(places, &contrast, &observed) / counting);
    let log_sigma = (together * counting).sqrt();
    let larger = chance.iter().filter(|own| **own >= ratio).count();
    let p = (larger + 1) as f64 / (chance.len() + 1) as f64;
    let explained = explained(places, &contrast, &observed, &far, doubt);
    let beyond = ratio / explained;
    // What lies elsewhere is in both ratios.
    let beyond_sigma = (together / (count_near + 0.5)).sqrt();
    let by_distance = by_distance(places, &observed, &far, together, doubt);
    let quantile = |part: f64| chance[((chance.len() - 1) as f64 * part).round() as usize];
    let is_enriched = p <= CLAIM.0 && ratio.ln() > CLAIM.1 * log_sigma;
    Some(Enrichment {
        near_px: NEAR_PX,
        near: [near.len(), count_near as usize],
        elsewhere: [places.len() - near.len(), count_far as usize],
        ratio: interval(ratio, log_sigma),
        by_chance: [quantile(0.05), quantile(0.95)],
        p,
        together,
        is_enriched,
        explained,
        beyond: interval(beyond, beyond_sigma),
        is_beyond: is_enriched && beyond.ln() > CLAIM.1 * beyond_sigma,
        by_distance,
    })
}

fn interval(middle: f64, log_sigma: f64) -> Interval {
    let factor = (Z90 * log_sigma).exp();
    Interval { low: middle / factor, middle, high: middle * factor }
}

/// The weights with which doubtful pixels of two groups count.
struct Contrast {
    /// Of each place: the weight of one near, or elsewhere; 0 in strata that have only one of them.
    near: Vec<f64>,
    far: Vec<f64>,
    /// Half a pixel in each group.
    half: [f64; 2],
}

impl Contrast {
    fn new(
        places: &[Place],
        is_near: impl Fn(&Place) -> bool,
        is_far: impl Fn(&Place) -> bool,
    ) -> Option<Self> {
        let mut strata: BTreeMap<u32, [f64; 2]> = BTreeMap::new();
        for place in places {
            let counts = strata.entry(place.stratum).or_default();
            counts[0] += f64::from(u8::from(is_near(place)));
            counts[1] += f64::from(u8::from(is_far(place)));
        }
        let weight = |place: &Place, of: usize, is: bool| {
            let [near, far] = strata[&place.stratum];
            let other = if of == 0 { far } else { near };
            if is && near > 0.0 && far > 0.0 { other / (near + far) } else { 0.0 }
        };
        let near: Vec<f64> = places.iter().map(|place| weight(place, 0, is_near(place))).collect();
        let far: Vec<f64> = places.iter().map(|place| weight(place, 1, is_far(place))).collect();
        let mean = |weights: &[f64]| {
            let count = weights.iter().filter(|weight| **weight > 0.0).count();
            (count > 0).then(|| weights.iter().sum::<f64>() / count as f64)
        };
        let half = [0.5 * mean(&near)?, 0.5 * mean(&far)?];
        Some(Self { near, far, half })
    }

    fn sums(&self, doubtful: &[f64]) -> [f64; 2] {
        let sum =
            |weights: &[f64]| weights.iter().zip(doubtful).map(|(weight, own)| weight * own).sum::<f64>();
        [sum(&self.near), sum(&self.far)]
    }

    fn ratio(&self, doubtful: &[f64]) -> f64 {
        let [near, far] = self.sums(doubtful);
        (near + self.half[0]) / (far + self.half[1])
    }

    /// Doubtful pixels of each group that count.
    fn counts(&self, doubtful: &[f64]) -> [f64; 2] {
        let count = |weights: &[f64]| {
            weights.iter().zip(doubtful).filter(|(weight, _)| **weight > 0.0).map(|(_, own)| own).sum()
        };
        [count(&self.near), count(&self.far)]
    }
}

/// The ratios that moves make, ascending, and how many times more they scatter than by counting.
fn by_chance(places: &[Place], contrast: &Contrast, observed: &[f64]) -> (Vec<f64>, f64) {
    let mut particles: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
    for (place, index) in places.iter().zip(0..) {
        particles.entry(place.particle).or_default().push(index);
    }
    // Each particle's places in the order of each way of the curve.
    let curves: Vec<Vec<Vec<u32>>> = particles
        .values()
        .map(|own| {
            let at: Vec<(u32, u32)> =
                own.iter().map(|&i| (places[i as usize].y, places[i as usize].x)).collect();
            (0..WAYS)
                .map(|way| order(&at, way).into_iter().map(|index| own[index as usize]).collect())
                .collect()
        })
        .collect();
    let mut rng = ChaCha8Rng::seed_from_u64(SEED);
    let mut moved = vec![0.0; places.len()];
    let mut ratios = Vec::with_capacity(MOVES);
    let mut counting = 0.0;
    for _ in 0..MOVES {
        for curves in &curves {
            // From one way of the curve to another as well, forth or back: so that the moves are more than there are pixels.
            let (from, to) = (&curves[rng.random_range(0..WAYS)], &curves[rng.random_range(0..WAYS)]);
            let (n, back): (usize, bool) = (from.len(), rng.random());
            let by = rng.random_range(0..n);
            for (index, &place) in from.iter().enumerate() {
                let index = if back { n - 1 - index } else { index };
                moved[to[(index + by) % n] as usize] = observed[place as usize];
            }
        }
        ratios.push(contrast.ratio(&moved));
        let [near, far] = contrast.counts(&moved);
        counting += 1.0 / (near + 0.5) + 1.0 / (far + 0.5);
    }
    let logs: Vec<f64> = ratios.iter().map(|ratio| ratio.ln()).collect();
    let mean = logs.iter().sum::<f64>() / logs.len() as f64;
    let scatter = logs.iter().map(|log| (log - mean).powi(2)).sum::<f64>() / (logs.len() - 1) as f64;
    let together = (scatter / (counting / MOVES as f64)).max(1.0);
    ratios.sort_by(f64::total_cmp);
    (ratios, together)
}

/// Variance of the logarithm of the ratio, were other tiles of the sample looked at: the scatter of what each adds.
fn tile_by_tile(places: &[Place], contrast: &Contrast, observed: &[f64]) -> f64 {
    let [near, far] = contrast.sums(observed);
    let (near, far) = (near + contrast.half[0], far + contrast.half[1]);
    let mut tiles: BTreeMap<(u32, u32, u32), f64> = BTreeMap::new();
    for (index, place) in places.iter().enumerate() {
        let tile = tiles.entry((place.particle, place.y / TILE_PX, place.x / TILE_PX)).or_default();
        *tile += observed[index] * (contrast.near[index] / near - contrast.far[index] / far);
    }
    let n = tiles.len() as f64;
    // Few tiles do not say well how they scatter.
    let few = 1.0 + FEW_TILES / n;
    few * tiles.values().map(|own| own * own).sum::<f64>()
}

/// The ratio that the beam alone would make: the probability elsewhere, and besides what the beam puts in doubt.
fn explained(
    places: &[Place],
    contrast: &Contrast,
    observed: &[f64],
    far: &[bool],
    doubt: &dyn Fn(f64) -> f64,
) -> f64 {
    let elsewhere = rate_elsewhere(places, observed, far);
    let expected: Vec<f64> = places
        .iter()
        .zip(far)
        .zip(observed)
        .map(|((place, is_far), own)| {
            if *is_far {
                return *own;
            }
            let of_beam = doubt(place.distance_px);
            of_beam + (1.0 - of_beam) * elsewhere.get(&place.stratum).copied().unwrap_or(0.0)
        })
        .collect();
    contrast.ratio(&expected).max(1.0)
}

/// Probability of doubt elsewhere in each stratum.
fn rate_elsewhere(places: &[Place], observed: &[f64], far: &[bool]) -> BTreeMap<u32, f64> {
    let mut sums: BTreeMap<u32, (f64, f64)> = BTreeMap::new();
    for ((place, _), own) in places.iter().zip(far).zip(observed).filter(|((_, is_far), _)| **is_far) {
        let (count, sum) = sums.entry(place.stratum).or_default();
        (*count, *sum) = (*count + 1.0, *sum + own);
    }
    sums.into_iter().map(|(stratum, (count, sum))| (stratum, sum / count)).collect()
}

fn by_distance(
    places: &[Place],
    observed: &[f64],
    far: &[bool],
    together: f64,
    doubt: &dyn Fn(f64) -> f64,
) -> Vec<AtDistance> {
    let mut from_px = 0.0;
    let mut rows = Vec::with_capacity(DISTANCES_PX.len());
    for to_px in DISTANCES_PX {
        let from = from_px;
        // The first reaches as far in as there is anything.
        let is_here =
            move |place: &Place| place.distance_px <= to_px && (place.distance_px > from || from == 0.0);
        let here = || places.iter().zip(observed).filter(|(place, _)| is_here(place));
        // Elsewhere is the same for all: what is not near, and for distances beyond that, what is not here.
        let rest = |place: &Place| place.distance_px > NEAR_PX && !is_here(place);
        let contrast = Contrast::new(places, is_here, rest);
        let row = contrast.map(|contrast| {
            let [near, other] = contrast.counts(observed);
            let sigma = (together * (1.0 / (near + 0.5) + 1.0 / (other + 0.5))).sqrt();
            let of_beam = explained(places, &contrast, observed, far, doubt);
            (interval(contrast.ratio(observed), sigma), of_beam)
        });
        rows.push(AtDistance {
            from_px: from,
            to_px,
            pixels: here().count(),
            doubtful: here().map(|(_, own)| *own as usize).sum(),
            ratio: row.map(|(ratio, _)| ratio),
            explained: row.map(|(_, explained)| explained),
        });
        from_px = to_px;
    }
    rows
}
