//! Where particles that touch are cut: distances to the rim, and the basins of a watershed on them.
//!
//! Pixels are taken from the innermost out. One beside no other begins a particle; where two meet they stay apart if the neck between
//! them is clearly narrower than the smaller of them, else they are one: what is uneven, not what touches. So there is no
//! smoothing to be chosen, and nothing depends on the order of pixels but ties.

use super::amounts::beside;

/// Half the width of a neck over that of the smaller particle, below which the two are apart.
const NECK: f64 = 0.75;
/// By how much the neck is narrower, at least, pixels: outlines of pixels are uneven by themselves.
const LEAST_PX: f64 = 1.0;

/// Distance of each pixel to the nearest one outside, pixels; 0 outside. Beyond the field nothing is known, and it is not outside.
pub(crate) fn distances(mask: &[bool], ny: usize, nx: usize) -> Vec<f32> {
    /// Farther than any pixel; squares of it are exact.
    const FAR: f64 = 1e8;
    let mut squares: Vec<f64> = mask.iter().map(|&inside| if inside { FAR } else { 0.0 }).collect();
    let mut line = Vec::new();
    for y in 0..ny {
        line.clear();
        line.extend_from_slice(&squares[y * nx..(y + 1) * nx]);
        squares[y * nx..(y + 1) * nx].copy_from_slice(&lowest(&line));
    }
    for x in 0..nx {
        line.clear();
        line.extend((0..ny).map(|y| squares[y * nx + x]));
        for (y, square) in lowest(&line).into_iter().enumerate() {
            squares[y * nx + x] = square;
        }
    }
    let most = (ny * ny + nx * nx) as f64;
    squares.into_iter().map(|square| square.min(most).sqrt() as f32).collect()
}

/// For each place the least of value plus squared distance (Felzenszwalb and Huttenlocher 2012).
fn lowest(values: &[f64]) -> Vec<f64> {
    let n = values.len();
    let (mut places, mut from) = (vec![0_usize; n], vec![f64::NEG_INFINITY; n + 1]);
    let mut last = 0;
    from[1] = f64::INFINITY;
    for q in 1..n {
        let meets = |p: usize| {
            let (q_, p_) = (q as f64, p as f64);
            ((values[q] + q_ * q_) - (values[p] + p_ * p_)) / (2.0 * (q_ - p_))
        };
        let mut at = meets(places[last]);
        while at <= from[last] {
            last -= 1;
            at = meets(places[last]);
        }
        last += 1;
        (places[last], from[last], from[last + 1]) = (q, at, f64::INFINITY);
    }
    let mut k = 0;
    (0..n)
        .map(|q| {
            while from[k + 1] < q as f64 {
                k += 1;
            }
            (q as f64 - places[k] as f64).powi(2) + values[places[k]]
        })
        .collect()
}

/// The basins: 0 outside, else numbers from 1 in no order that means anything.
pub(super) fn basins(distance: &[f32], ny: usize, nx: usize) -> Vec<u32> {
    let mut order: Vec<usize> = (0..distance.len()).filter(|&pixel| distance[pixel] > 0.0).collect();
    order.sort_by(|&a, &b| distance[b].total_cmp(&distance[a]).then(a.cmp(&b)));
    let mut labels = vec![0_u32; distance.len()];
    // Of each basin the one that it has become, and its greatest distance.
    let (mut parent, mut peak) = (vec![0_u32], vec![0.0_f64]);
    for pixel in order {
        let own = f64::from(distance[pixel]);
        let near: Vec<usize> = beside(pixel, ny, nx).filter(|&other| labels[other] > 0).collect();
        let steepest =
            near.iter().copied().max_by(|&a, &b| distance[a].total_cmp(&distance[b]).then(b.cmp(&a)));
        let Some(steepest) = steepest else {
            labels[pixel] = parent.len() as u32;
            parent.push(labels[pixel]);
            peak.push(own);
            continue;
        };
        labels[pixel] = root(&parent, labels[steepest]);
        for other in near {
            let (a, b) = (root(&parent, labels[pixel]), root(&parent, labels[other]));
            let (high, low) = if peak[a as usize] >= peak[b as usize] { (a, b) } else { (b, a) };
            let lower = peak[low as usize];
            if a != b && (own > NECK * lower || lower - own < LEAST_PX) {
                parent[low as usize] = high;
            }
        }
    }
    labels.iter().map(|&label| root(&parent, label)).collect()
}

fn root(parent: &[u32], mut label: u32) -> u32 {
    while parent[label as usize] != label {
        label = parent[label as usize];
    }
    label
}
