//! From the rim of a particle to its core.
//!
//! The depth of a pixel is its distance from the nearest place without matter: the cut to a particle that it touches, and the edge of the field, are no rim.
//! Pixels within [`SKIN_PX`] are left out: half of them is empty, and thin pixels are noisy. *Rim* is the next [`RIM_PX`],
//! *core* the innermost [`CORE_PX`], neither more than a third of the depth; each has a mean with the interval that particles have, in which pixels without a clear verdict count as not known. A gradient is
//! claimed where the two differ by more than these intervals allow, and the difference goes round: in every sector, as seen from the middle of the particle, the rim
//! differs from the core the same way, and by half as much as all of it at least. Domains, which lie on some side, are no gradient.

use serde::Serialize;

use super::front::front;
use super::{Estimate, Interval, Moment, Track, difference, excludes_zero, limit};
use crate::damage::unit_um;
use crate::particles::{Particle, States, distances};

/// How far the middle of the nearest pixel outside lies beyond the outline: half a pixel at a straight side, less where the nearest of several counts.
/// Chosen between simulated particles (0.39), and drawn ones of whole pixels, where it is less.
const OUTSIDE_PX: f64 = 0.35;
/// The outermost pixels, which are not looked at, pixels.
const SKIN_PX: f64 = 1.0;
/// How deep the rim is, at most, pixels.
const RIM_PX: f64 = 2.0;
/// How deep the core is, at most, pixels.
const CORE_PX: f64 = 3.0;
/// Pixels that rim and core need, each.
const LEAST_PIXELS: usize = 12;
/// Least depth of a particle that has a rim and a core, pixels.
const LEAST_DEPTH_PX: f64 = 4.0;

/// Sectors of a particle.
pub(super) const SECTORS: usize = 8;
/// Pixels of its rim that a sector needs.
const LEAST_OF_SECTOR: usize = 2;
/// Sectors that have to be there.
pub(super) const LEAST_SECTORS: usize = 6;
/// Part of the difference between core and rim that every sector has to have.
const LEAST_PART: f64 = 0.5;

/// The mean at one depth.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Shell {
    /// Mean depth, pixels.
    pub depth_px: f64,
    /// Pixels.
    pub pixels: usize,
    /// Mean of the state variable.
    pub x: Interval,
}

/// One particle in one scan, from rim to core.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Gradient {
    /// The particle, by the number of its track.
    pub track: u32,
    /// The scan, by its place in the series.
    pub scan: usize,
    /// Its label in the scan.
    pub label: u32,
    /// Greatest depth, pixels.
    pub depth_px: f64,
    /// By depth, a pixel each.
    pub shells: Vec<Shell>,
    /// Mean of the rim.
    pub rim: Interval,
    /// Mean of the core.
    pub core: Interval,
    /// Core less rim.
    pub contrast: Interval,
    /// Sectors of the rim that differ from the core as the whole rim does, of those that are there.
    pub sectors: [usize; 2],
    /// Whether it is claimed that they differ, all round.
    pub is_real: bool,
    /// Depth at which x passes the middle between rim and core, pixels; where a gradient is claimed, and the place can be told.
    pub front_px: Option<Estimate>,
    /// The same, µm.
    pub front_um: Option<Estimate>,
}

/// A pixel with its depth and its sector.
#[derive(Clone, Copy, Debug)]
pub(super) struct Deep {
    pub(super) pixel: u32,
    pub(super) depth_px: f64,
    pub(super) sector: usize,
}

pub(super) fn gradients(moments: &[Moment<'_>], tracks: &[Track]) -> Vec<Gradient> {
    let mut found = Vec::new();
    for (scan, moment) in moments.iter().enumerate() {
        let states = moment.states();
        if states.span().is_none_or(|[least, most]| least >= most) {
            continue;
        }
        let labels = &moment.particles.labels;
        let [ny, nx] = labels.shape;
        let matter: Vec<bool> = labels.of_pixel.iter().map(|label| *label > 0).collect();
        let depths = distances(&matter, ny, nx);
        for track in tracks {
            let Some(label) = track.label(scan) else { continue };
            let Some(particle) = moment.particles.particles.get(label as usize - 1) else { continue };
            // What lies over another has neither a rim nor a core of its own.
            if particle.overlaps {
                continue;
            }
            if let Some(own) = gradient(moment, &states, particle, &depths) {
                found.push((Gradient { track: track.id, scan, label, ..own.0 }, own.1));
            }
        }
    }
    let limit = limit(found.len());
    found
        .into_iter()
        .map(|(mut own, pixels)| {
            own.is_real = excludes_zero(own.contrast, limit) && own.goes_round();
            if own.is_real {
                let moment = &moments[own.scan];
                own.front_px = front(moment, &moment.states(), &pixels);
                let grid = &moment.map.plan.grid;
                let px_um = unit_um(&grid.unit).map(|um| um * (grid.y.step * grid.x.step).abs().sqrt());
                own.front_um = own
                    .front_px
                    .zip(px_um)
                    .map(|(front, um)| Estimate { value: front.value * um, sigma: front.sigma * um });
            }
            own
        })
        .collect()
}

impl Gradient {
    /// Whether the difference is there in every direction.
    fn goes_round(&self) -> bool {
        let [alike, all] = self.sectors;
        all >= LEAST_SECTORS && alike == all
    }
}

/// The sector of a pixel, as seen from the middle of a particle.
fn sectors(particle: &Particle, nx: usize) -> impl Fn(u32) -> usize {
    let [cy, cx] = particle.centre_px;
    move |pixel| {
        let (y, x) = ((pixel as usize / nx) as f64, (pixel as usize % nx) as f64);
        let turn = (y - cy).atan2(x - cx) / std::f64::consts::TAU + 0.5;
        ((turn * SECTORS as f64) as usize).min(SECTORS - 1)
    }
}

fn gradient(
    moment: &Moment<'_>,
    states: &States,
    particle: &Particle,
    depths: &[f32],
) -> Option<(Gradient, Vec<Deep>)> {
    let depth = |pixel: u32| f64::from(depths[pixel as usize]) - OUTSIDE_PX;
    let sector = sectors(particle, moment.map.plan.grid.nx());
    let mut pixels: Vec<Deep> = particle
        .pixels
        .iter()
        .map(|&pixel| Deep { pixel, depth_px: depth(pixel), sector: sector(pixel) })
        .filter(|own| own.depth_px > SKIN_PX)
        .collect();
    pixels.sort_by(|a, b| a.depth_px.total_cmp(&b.depth_px).then(a.pixel.cmp(&b.pixel)));
    let deepest = pixels.last()?.depth_px;
    if deepest < LEAST_DEPTH_PX {
        return None;
    }
    let third = (deepest - SKIN_PX) / 3.0;
    let mean = |own: &[Deep]| {
        let pixels: Vec<u32> = own.iter().map(|own| own.pixel).collect();
        states.mean(moment.map, &pixels, &moment.particles.amounts).x
    };
    let outer = pixels.partition_point(|own| own.depth_px <= SKIN_PX + third.min(RIM_PX));
    let inner = pixels.partition_point(|own| own.depth_px < deepest - third.min(CORE_PX));
    if outer < LEAST_PIXELS || pixels.len() - inner < LEAST_PIXELS {
        return None;
    }
    let (rim, core) = (mean(&pixels[..outer])?, mean(&pixels[inner..])?);
    let mut shells = Vec::new();
    let mut from = 0;
    while from < pixels.len() {
        let shell = pixels[from].depth_px.floor();
        let to = pixels.partition_point(|own| own.depth_px < shell + 1.0);
        let own = &pixels[from..to];
        if let Some(x) = mean(own) {
            let depth_px = own.iter().map(|own| own.depth_px).sum::<f64>() / own.len() as f64;
            shells.push(Shell { depth_px, pixels: own.len(), x });
        }
        from = to;
    }
    let contrast = difference(core, rim);
    let rims: Vec<f64> = (0..SECTORS)
        .filter_map(|sector| {
            let own: Vec<Deep> = pixels[..outer].iter().filter(|own| own.sector == sector).copied().collect();
            if own.len() < LEAST_OF_SECTOR { None } else { mean(&own).map(|x| x.middle) }
        })
        .collect();
    let is_alike = |rim: f64| (core.middle - rim) / contrast.middle >= LEAST_PART;
    let own = Gradient {
        track: 0,
        scan: 0,
        label: particle.id,
        depth_px: deepest,
        shells,
        rim,
        core,
        contrast,
        sectors: [rims.iter().filter(|x| is_alike(**x)).count(), rims.len()],
        is_real: false,
        front_px: None,
        front_um: None,
    };
    Some((own, pixels))
}
