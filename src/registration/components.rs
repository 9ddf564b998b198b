//! The few pictures that all images of a scan are made of.
//!
//! By absorption's additivity a prepared image is, but for noise, a sum of few pictures: thickness, and what tells the
//! phases apart. They are the first principal components of the images, each moved to its displacement. An image is
//! never compared with components that it took part in: its own noise would hold it where it is. So the images are
//! dealt into groups, and each group has the components of all others.
//!
//! Images that lie wrongly make a gradient look like a component, which would then take up the displacement it should
//! show; so the gradients of the first component are taken out of the others.

use rayon::prelude::*;

use super::fine::{MOST, Registered};
use super::prepared::Frame;

/// Groups, where there are images enough.
const GROUPS: usize = 4;
/// With fewer images every one is a group of its own.
const SINGLE: usize = 12;
/// Rounds of orthogonal iteration.
const ROUNDS: usize = 24;
/// Share of the images that have to know a pixel.
const KNOWN: f64 = 0.7;
/// A component that explains less than this share of the first one is noise.
const LEAST_SHARE: f64 = 2e-3;

/// Components for the images of one group.
#[derive(Clone, Debug, Default)]
pub(super) struct Components {
    pub(super) images: Vec<Vec<f32>>,
    /// 1 where they are known, else 0.
    pub(super) weights: Vec<f32>,
}

/// The group of each image, by its place in time.
pub(super) fn group(place: usize, images: usize) -> usize {
    if images <= SINGLE { place } else { place % GROUPS }
}

/// The components of every group.
pub(super) fn components(images: &[Registered], frame: Frame) -> Vec<Components> {
    let gram = products(images);
    let groups = if images.len() <= SINGLE { images.len() } else { GROUPS };
    (0..groups)
        .into_par_iter()
        .map(|own| {
            let others: Vec<usize> = (0..images.len()).filter(|&i| group(i, images.len()) != own).collect();
            of_others(images, &others, &gram, frame)
        })
        .collect()
}

/// Scalar products of all pairs.
fn products(images: &[Registered]) -> Vec<Vec<f64>> {
    (0..images.len())
        .into_par_iter()
        .map(|i| (0..=i).map(|j| product(&images[i].values, &images[j].values)).collect())
        .collect()
}

/// In four interleaved sums, always the same.
fn product(a: &[f32], b: &[f32]) -> f64 {
    let mut sums = [0.0_f64; 8];
    for (a, b) in a.chunks_exact(8).zip(b.chunks_exact(8)) {
        for k in 0..8 {
            sums[k] += f64::from(a[k]) * f64::from(b[k]);
        }
    }
    let rest = a.len() / 8 * 8;
    let tail: f64 = a[rest..].iter().zip(&b[rest..]).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum();
    sums.iter().sum::<f64>() + tail
}

fn of_others(images: &[Registered], others: &[usize], gram: &[Vec<f64>], frame: Frame) -> Components {
    let at = |i: usize, j: usize| if i >= j { gram[i][j] } else { gram[j][i] };
    let count = MOST.min(others.len() / 2).max(1);
    let matrix: Vec<Vec<f64>> = others.iter().map(|&i| others.iter().map(|&j| at(i, j)).collect()).collect();
    let vectors = leading(&matrix, count);
    let mut known = vec![0.0_f32; frame.pixels()];
    for &i in others {
        known.iter_mut().zip(&images[i].weights).for_each(|(k, w)| *k += w);
    }
    let least = (KNOWN * others.len() as f64) as f32;
    let weights: Vec<f32> = known.iter().map(|k| if *k >= least { 1.0 } else { 0.0 }).collect();
    let mut pictures: Vec<Vec<f32>> =
        vectors.iter().map(|vector| picture(images, others, vector, frame)).collect();
    for p in &mut pictures {
        p.iter_mut().zip(&weights).for_each(|(v, w)| *v *= w);
    }
    without_gradients(&mut pictures, frame);
    Components { images: pictures, weights }
}

/// The leading eigenvectors of a symmetric matrix, largest first; those that are noise against the first are left out.
fn leading(matrix: &[Vec<f64>], count: usize) -> Vec<Vec<f64>> {
    let n = matrix.len();
    // Any start that is no eigenvector's complement does; this one is always the same.
    let mut vectors: Vec<Vec<f64>> = (0..count)
        .map(|k| (0..n).map(|i| (((i + 1) * (k + 1)) as f64 * 0.7).cos() + 0.1).collect())
        .collect();
    if let Some(first) = vectors.first_mut() {
        first.fill(1.0);
    }
    let mut sizes = vec![0.0; count];
    for _ in 0..ROUNDS {
        for k in 0..count {
            let moved: Vec<f64> =
                matrix.iter().map(|row| row.iter().zip(&vectors[k]).map(|(a, b)| a * b).sum()).collect();
            vectors[k] = moved;
            for j in 0..k {
                let (before, rest) = vectors.split_at_mut(k);
                let along: f64 = before[j].iter().zip(&rest[0]).map(|(a, b)| a * b).sum();
                rest[0].iter_mut().zip(&before[j]).for_each(|(r, b)| *r -= along * b);
            }
            sizes[k] = vectors[k].iter().map(|v| v * v).sum::<f64>().sqrt();
            let size = sizes[k].max(f64::MIN_POSITIVE);
            vectors[k].iter_mut().for_each(|v| *v /= size);
        }
    }
    let largest = sizes.first().copied().unwrap_or(0.0);
    let kept = sizes.iter().take_while(|size| **size > LEAST_SHARE * largest).count().max(1);
    vectors.truncate(kept);
    vectors
}

/// The sum of the images in these amounts, made up for those that do not know a pixel.
fn picture(images: &[Registered], others: &[usize], vector: &[f64], frame: Frame) -> Vec<f32> {
    let mut sum = vec![0.0_f32; frame.pixels()];
    let mut weight = vec![0.0_f32; frame.pixels()];
    for (&i, &amount) in others.iter().zip(vector) {
        let (amount, square) = (amount as f32, (amount * amount) as f32);
        for ((s, w), (v, known)) in
            sum.iter_mut().zip(&mut weight).zip(images[i].values.iter().zip(&images[i].weights))
        {
            *s += amount * v * known;
            *w += square * known;
        }
    }
    sum.iter_mut().zip(&weight).for_each(|(s, w)| *s = if *w > 0.3 { *s / w } else { 0.0 });
    sum
}

/// Takes the gradients of the first picture out of the others.
fn without_gradients(pictures: &mut [Vec<f32>], frame: Frame) {
    let Some((first, others)) = pictures.split_first_mut() else { return };
    let nx = frame.nx;
    let inner = || (1..frame.ny - 1).flat_map(|y| y * nx + 1..(y + 1) * nx - 1);
    let slope = |p: usize| (f64::from(first[p + nx] - first[p - nx]), f64::from(first[p + 1] - first[p - 1]));
    let (mut yy, mut yx, mut xx) = (0.0, 0.0, 0.0);
    for p in inner() {
        let (y, x) = slope(p);
        (yy, yx, xx) = (yy + y * y, yx + y * x, xx + x * x);
    }
    let determinant = yy * xx - yx * yx;
    if determinant <= 1e-12 * yy * xx || determinant.is_nan() {
        return;
    }
    for picture in others {
        let (mut y, mut x) = (0.0, 0.0);
        for p in inner() {
            let (slope_y, slope_x) = slope(p);
            (y, x) = (y + slope_y * f64::from(picture[p]), x + slope_x * f64::from(picture[p]));
        }
        let (along_y, along_x) = ((y * xx - x * yx) / determinant, (x * yy - y * yx) / determinant);
        for p in inner() {
            let (slope_y, slope_x) = slope(p);
            picture[p] -= (along_y * slope_y + along_x * slope_x) as f32;
        }
    }
}
