//! How much of each pixel at the rim a particle covers.
//!
//! A pixel at the rim has an optical density between that of the empty field and that of the particle just inside. Which that is, is
//! carried on from the two rows of pixels inside of it, since particles are thinner at their rims. Pixels outside that touch the particle count, too,
//! below zero as well: what the noise adds there it takes away elsewhere.

use super::Labels;
use super::amounts::Amounts;
use super::watershed::distances;
use crate::particles::amounts::beside;

/// Distance to the outside up to which a pixel belongs to the rim, pixels.
const RIM_PX: f32 = 1.5;
/// The pixels inside that say what the rim would have: how far they lie from the outside, and where the two rows part, pixels.
const INSIDE_PX: [f32; 2] = [2.5, 3.5];
/// How far they are looked for, pixels.
const WINDOW: usize = 3;
/// Distance to the outside at which the middle of what is covered at the rim lies, pixels: found by trial on domes, whose
/// thickness falls ever more steeply toward the rim, under beams of none to 1.6 pixels.
const RIM_MIDDLE_PX: f64 = 0.8;
/// Least part of the inner row that the rim is taken to have.
const LEAST: f64 = 0.4;

/// The covered part of each pixel and the particle that covers it; 0 where there is none.
pub(super) fn coverage(labels: &Labels, amounts: &Amounts) -> Vec<(u32, f64)> {
    let [ny, nx] = labels.shape;
    let matter: Vec<bool> = labels.of_pixel.iter().map(|&label| label > 0).collect();
    let distance = distances(&matter, ny, nx);
    (0..matter.len())
        .map(|pixel| {
            let own = labels.of_pixel[pixel];
            if own > 0 && distance[pixel] > RIM_PX {
                return (own, 1.0);
            }
            // Outside, the particle with most pixels beside it.
            let label = if own > 0 { own } else { most_beside(labels, pixel) };
            if label == 0 {
                return (0, 0.0);
            }
            let od = amounts.at(pixel);
            match level(labels, amounts, &distance, label, pixel) {
                Some(level) if od.is_finite() => (label, (od / level).clamp(-0.5, 1.0)),
                _ => (label, f64::from(u8::from(own > 0))),
            }
        })
        .collect()
}

fn most_beside(labels: &Labels, pixel: usize) -> u32 {
    let [ny, nx] = labels.shape;
    let near: Vec<u32> =
        beside(pixel, ny, nx).map(|other| labels.of_pixel[other]).filter(|&label| label > 0).collect();
    let count = |label: u32| near.iter().filter(|&&own| own == label).count();
    near.iter().copied().max_by_key(|&label| (count(label), std::cmp::Reverse(label))).unwrap_or(0)
}

/// What a pixel would have if the particle covered it all.
fn level(labels: &Labels, amounts: &Amounts, distance: &[f32], label: u32, pixel: usize) -> Option<f64> {
    let [ny, nx] = labels.shape;
    let (y, x) = (pixel / nx, pixel % nx);
    let mut rows = [(0.0, 0.0, 0.0); 2];
    let mut most = f64::NEG_INFINITY;
    for yy in y.saturating_sub(WINDOW)..=(y + WINDOW).min(ny - 1) {
        for xx in x.saturating_sub(WINDOW)..=(x + WINDOW).min(nx - 1) {
            let other = yy * nx + xx;
            let od = amounts.at(other);
            if labels.of_pixel[other] != label || !od.is_finite() {
                continue;
            }
            most = most.max(od);
            let depth = distance[other];
            let row = match depth {
                depth if depth <= RIM_PX => continue,
                depth if depth <= INSIDE_PX[0] => 0,
                depth if depth <= INSIDE_PX[1] => 1,
                _ => continue,
            };
            let (n, sum, depths) = &mut rows[row];
            (*n, *sum, *depths) = (*n + 1.0, *sum + od, *depths + f64::from(depth));
        }
    }
    let [outer, inner] = rows;
    let level = match (outer.0 > 0.0, inner.0 > 0.0) {
        (true, true) => {
            let [(d1, od1), (d2, od2)] = [outer, inner].map(|(n, sum, depths)| (depths / n, sum / n));
            let slope = (od2 - od1) / (d2 - d1);
            (od1 - slope.max(0.0) * (d1 - RIM_MIDDLE_PX)).clamp(LEAST * od1, od1)
        }
        (true, false) => outer.1 / outer.0,
        // As thin as it is wide: the thickest pixel near is what there is.
        _ => most,
    };
    (level.is_finite() && level > 0.0).then_some(level)
}
