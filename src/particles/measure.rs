//! What each particle is measured to be.

use super::coverage::coverage;
use super::overlaps::overlapping;
use super::thickness::Thickness;
use super::{Amounts, Estimate, Labels, Particle, Particles, Spread, States};
use crate::classify::{PhaseMap, Status};
use crate::damage::{shares, unit_um};
use crate::particles::amounts::beside;
use crate::reference::ReferenceSet;

/// How far the outline as a whole may lie off, pixels: where the rim is carried on, and what the beam's width does to it.
const OUTLINE_PX: f64 = 0.1;
/// How far the cut to a particle that is touched may lie off, pixels.
const CUT_PX: f64 = 0.3;
/// What the part of one pixel of the rim that is covered may be off by, beside the noise.
const OF_PIXEL: f64 = 0.15;

impl Particles {
    /// The particles of a map whose amounts are known.
    pub(super) fn measured(
        map: &PhaseMap,
        amounts: Amounts,
        thickness: &Thickness,
        references: &ReferenceSet,
    ) -> Self {
        let labels = Labels::of(map, &amounts);
        let states = States::of(map, references);
        let covered = coverage(&labels, &amounts);
        let mut area = vec![Area::default(); labels.count + 1];
        for (pixel, &(label, part)) in covered.iter().enumerate() {
            area[label as usize].add(part, &amounts, pixel);
            let [ny, nx] = labels.shape;
            let is_other = |other: usize| labels.of_pixel[other] > 0 && labels.of_pixel[other] != label;
            if labels.of_pixel[pixel] > 0 && beside(pixel, ny, nx).any(is_other) {
                area[label as usize].cut += 1.0;
            }
        }
        let before_edge =
            thickness.empty(|pixel| map.status[pixel] == Status::Background && covered[pixel].0 == 0);
        let scene =
            Scene { map, amounts: &amounts, labels: &labels, states: &states, thickness, before_edge };
        let particles: Vec<Particle> = labels
            .pixels()
            .into_iter()
            .zip(&area[1..])
            .zip(overlapping(&labels, &amounts))
            .zip(1..)
            .map(|(((pixels, area), overlaps), id)| Particle { overlaps, ..scene.particle(id, pixels, area) })
            .collect();
        Self {
            scan_id: map.plan.scan_id.clone(),
            generation: map.origin.generation,
            phases: map.phases.iter().map(|label| label.id.clone()).collect(),
            variable: states.variable,
            spread: spread(&particles),
            particles,
            left_out: labels.left_out,
            empty: amounts.empty,
            labels,
            amounts,
        }
    }
}

/// An area as it is summed up.
#[derive(Clone, Copy, Debug, Default)]
struct Area {
    covered: f64,
    rim: f64,
    cut: f64,
    noise: f64,
}

impl Area {
    fn add(&mut self, part: f64, amounts: &Amounts, pixel: usize) {
        self.covered += part;
        if part < 1.0 {
            self.rim += 1.0;
            // In parts of the pixel: a rim has hardly less than a few deviations of the empty field.
            let od = amounts.at(pixel).abs().max(5.0 * amounts.empty.sigma);
            let sigma = f64::from(amounts.variance[pixel]).sqrt() / od;
            self.noise += if sigma.is_finite() { sigma.min(1.0).powi(2) } else { 1.0 };
        }
    }

    /// Of the rim's pixels, about two lie side by side for each pixel of its length.
    fn estimate(&self) -> Estimate {
        let chance = (OF_PIXEL * OF_PIXEL * self.rim + self.noise).sqrt();
        Estimate {
            value: self.covered,
            sigma: chance.hypot(OUTLINE_PX * 0.5 * self.rim).hypot(CUT_PX * self.cut),
        }
    }
}

struct Scene<'a> {
    map: &'a PhaseMap,
    amounts: &'a Amounts,
    labels: &'a Labels,
    states: &'a States,
    thickness: &'a Thickness,
    before_edge: f64,
}

impl Scene<'_> {
    fn particle(&self, id: u32, pixels: Vec<u32>, area: &Area) -> Particle {
        let (map, grid) = (self.map, &self.map.plan.grid);
        let [ny, nx] = grid.shape;
        let n = pixels.len().max(1) as f64;
        let places = || pixels.iter().map(|&pixel| (pixel as usize / nx, pixel as usize % nx));
        let centre_px = [
            places().map(|(y, _)| y as f64).sum::<f64>() / n,
            places().map(|(_, x)| x as f64).sum::<f64>() / n,
        ];
        let centre = [grid.y.start + grid.y.step * centre_px[0], grid.x.start + grid.x.step * centre_px[1]];
        let area_px = area.estimate();
        let area_um2 = unit_um(&grid.unit).map(|um| {
            let pixel_um2 = (grid.x.step * grid.y.step).abs() * um * um;
            Estimate { value: pixel_um2 * area_px.value, sigma: pixel_um2 * area_px.sigma }
        });
        let mut touches: Vec<u32> = pixels
            .iter()
            .flat_map(|&pixel| beside(pixel as usize, ny, nx))
            .map(|other| self.labels.of_pixel[other])
            .filter(|&label| label > 0 && label != id)
            .collect();
        touches.sort_unstable();
        touches.dedup();
        let mut status_counts = [0; 7];
        pixels.iter().for_each(|&pixel| status_counts[map.status[pixel as usize] as usize] += 1);
        let own: Vec<usize> = pixels.iter().map(|&pixel| pixel as usize).collect();
        let shares = shares(map, &own);
        let state = self.states.mean(map, &pixels, self.amounts);
        Particle {
            id,
            centre_px,
            centre,
            area_px,
            area_um2,
            at_border: places().any(|(y, x)| y == 0 || x == 0 || y + 1 == ny || x + 1 == nx),
            touches,
            overlaps: false,
            mean_od: self.mean_od(&own),
            thickness_nm: self.thickness.mean(&pixels, &shares, self.before_edge),
            x: state.x,
            unknown: state.unknown,
            x_spread: state.spread,
            entropy_bits: (!shares.is_empty()).then(|| entropy_bits(&shares)),
            shares,
            status_counts,
            pixels,
        }
    }

    fn mean_od(&self, pixels: &[usize]) -> Estimate {
        let known = || pixels.iter().filter(|&&pixel| self.amounts.at(pixel).is_finite());
        let n = known().count().max(1) as f64;
        let value = known().map(|&pixel| self.amounts.at(pixel)).sum::<f64>() / n;
        let noise = known().map(|&pixel| f64::from(self.amounts.variance[pixel])).sum::<f64>().sqrt() / n;
        // The empty field is common to all pixels, and known as well as its own pixels say.
        let empty = self.amounts.empty.sigma / (self.amounts.empty.pixels.max(1) as f64).sqrt();
        Estimate { value, sigma: noise.hypot(empty) }
    }
}

fn entropy_bits(shares: &[Estimate]) -> f64 {
    let term = |share: f64| if share > 0.0 { -share * share.log2() } else { 0.0 };
    shares.iter().map(|share| term(share.value.clamp(0.0, 1.0))).sum()
}

fn spread(particles: &[Particle]) -> Option<Spread> {
    /// Standard errors on either side of an interval.
    const HALF: f64 = 1.645;
    let known: Vec<(f64, f64, f64)> = particles
        .iter()
        .filter_map(|particle| {
            let x = particle.x?;
            Some((x.middle, (x.high - x.low) / 2.0 / HALF, particle.x_spread?))
        })
        .collect();
    if known.len() < 2 {
        return None;
    }
    let n = known.len() as f64;
    let mean = known.iter().map(|(x, ..)| x).sum::<f64>() / n;
    let scatter = known.iter().map(|(x, ..)| (x - mean).powi(2)).sum::<f64>() / (n - 1.0);
    let errors = known.iter().map(|(_, sigma, _)| sigma * sigma).sum::<f64>() / n;
    let between = (scatter - errors).max(0.0);
    let within = known.iter().map(|(.., inside)| inside * inside).sum::<f64>() / n;
    let all = within + between;
    Some(Spread {
        within: within.sqrt(),
        between: between.sqrt(),
        share_within: (all > 0.0).then(|| within / all),
    })
}
