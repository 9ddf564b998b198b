//! The islands of the model's latent space: pixels with matter as points in a plane, near each other where the model finds them alike.
//!
//! The plane is that of the two principal components of the latent means of the pixels shown. Signs follow from the largest part of each axis, so that
//! a growing scan does not flip. Which pixels are shown is a fixed spread, so that points stay the same while the map grows.

use serde_json::{Value, json};

use crate::classify::spectrum::Spectrum;
use crate::classify::{Optics, PhaseMap};
use crate::stack::Stack;

/// Pixels that are shown, where nobody asks for more or fewer.
pub(super) const USUAL: usize = 3000;
/// Most pixels.
pub(super) const MOST: usize = 20_000;
/// Fewest points that make a plane.
const FEWEST: usize = 3;
/// Steps of the power iteration for one axis.
const STEPS: usize = 200;

/// Whoever has a model that says where a spectrum lies.
pub trait Latents: Send + Sync {
    /// Why there is none; `None` where there is.
    fn why_not(&self) -> Option<String>;

    /// What the model is called.
    fn name(&self) -> String;

    /// Which content it has: another model of the same name has another.
    fn version(&self) -> String;

    /// Latent means, row-major, NaN for a spectrum of which the model says nothing, with the length of a row. `od` and `sigma` hold one row of
    /// `energies_ev.len()` per pixel, NaN where there is no value.
    ///
    /// # Errors
    /// What the model says.
    fn latent(&self, energies_ev: &[f64], od: &[f32], sigma: &[f32]) -> Result<(usize, Vec<f32>), String>;
}

/// No model.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoLatents;

impl Latents for NoLatents {
    fn why_not(&self) -> Option<String> {
        Some("no model is in use".to_owned())
    }

    fn name(&self) -> String {
        String::new()
    }

    fn version(&self) -> String {
        String::new()
    }

    fn latent(&self, _: &[f64], _: &[f32], _: &[f32]) -> Result<(usize, Vec<f32>), String> {
        Err("no model is in use".to_owned())
    }
}

/// Pixels with matter, spread evenly over all of them.
fn chosen(map: &PhaseMap, limit: usize) -> Vec<usize> {
    let matter: Vec<usize> = (0..map.len()).filter(|&pixel| map.status[pixel].is_sample()).collect();
    // A stride that hardly shares a factor with the width of a map leaves no stripes.
    let n = matter.len();
    let golden = (n as f64 * 0.618_033_988_75) as usize;
    let stride = (golden.max(1)..).find(|&stride| divisor(stride, n) <= 1).unwrap_or(1);
    let mut pixels: Vec<usize> = (0..n.min(limit)).map(|i| matter[i.wrapping_mul(stride) % n]).collect();
    pixels.sort_unstable();
    pixels
}

/// Greatest common divisor.
fn divisor(a: usize, b: usize) -> usize {
    if b == 0 { a } else { divisor(b, a % b) }
}

/// `latent.json`.
///
/// # Errors
/// Why there is nothing to be shown.
pub(super) fn of(
    map: &PhaseMap,
    stack: &Stack,
    optics: &Optics,
    latents: &dyn Latents,
    limit: usize,
) -> Result<Value, String> {
    let pixels = chosen(map, limit);
    let energies_ev = optics.corrected_ev();
    let view = optics.view(stack);
    let n = energies_ev.len();
    let (mut od, mut sigma) = (vec![f32::NAN; n * pixels.len()], vec![f32::NAN; n * pixels.len()]);
    let mut spectrum = Spectrum::default();
    for (row, &pixel) in pixels.iter().enumerate() {
        view.gather(pixel, &mut spectrum);
        for (i, &energy) in spectrum.energies.iter().enumerate().filter(|(_, energy)| **energy < n) {
            od[row * n + energy] = spectrum.od[i] as f32;
            sigma[row * n + energy] = spectrum.variance[i].sqrt() as f32;
        }
    }
    // The references as if they were pixels, with the noise that pixels usually have.
    let usual = median(&sigma);
    for reference in &optics.references().references {
        let values =
            energies_ev.iter().map(|&energy_ev| reference.od_at(energy_ev).map_or(f32::NAN, |od| od as f32));
        let values: Vec<f32> = values.collect();
        sigma.extend(values.iter().map(|od| if od.is_nan() { f32::NAN } else { usual }));
        od.extend(values);
    }
    let (dims, latent) = latents.latent(&energies_ev, &od, &sigma)?;
    let known: Vec<usize> = (0..pixels.len())
        .filter(|&row| latent[row * dims..(row + 1) * dims].iter().all(|value| value.is_finite()))
        .collect();
    let points: Vec<&[f32]> = known.iter().map(|&row| &latent[row * dims..(row + 1) * dims]).collect();
    let plane = Plane::of(&points, dims).ok_or("too few pixels have enough energies for the model yet")?;
    let (u, v): (Vec<f64>, Vec<f64>) = points.iter().map(|point| plane.project(point)).unzip();
    let axes: Vec<String> =
        (0..2).map(|axis| format!("axis {} ({:.0} %)", axis + 1, 100.0 * plane.shares[axis])).collect();
    let ids = optics.references().references.iter().map(|reference| reference.label.id.as_str());
    let references: Vec<Value> = ids
        .zip(latent[pixels.len() * dims..].chunks_exact(dims.max(1)))
        .filter(|(_, point)| point.iter().all(|value| value.is_finite()))
        .map(|(id, point)| {
            let (u, v) = plane.project(point);
            json!({ "phase": id, "u": u, "v": v })
        })
        .collect();
    let pixels: Vec<usize> = known.iter().map(|&row| pixels[row]).collect();
    let phase: Vec<u8> = pixels.iter().map(|&pixel| map.phase[pixel]).collect();
    Ok(json!({
        "model": latents.name(),
        "axes": axes,
        "pixels": pixels,
        "u": u,
        "v": v,
        "phase": phase,
        "references": references,
    }))
}

/// The median of the numbers among these; 0.05, which is some noise, where there are none.
fn median(values: &[f32]) -> f32 {
    let mut some: Vec<f32> = values.iter().copied().filter(|value| value.is_finite()).collect();
    if some.is_empty() {
        return 0.05;
    }
    let middle = some.len() / 2;
    *some.select_nth_unstable_by(middle, f32::total_cmp).1
}

/// The plane of two principal components.
struct Plane {
    mean: Vec<f64>,
    axes: [Vec<f64>; 2],
    /// What share of the scatter each axis has.
    shares: [f64; 2],
}

impl Plane {
    fn of(points: &[&[f32]], dims: usize) -> Option<Self> {
        if points.len() < FEWEST || dims == 0 {
            return None;
        }
        let n = points.len() as f64;
        let mean: Vec<f64> =
            (0..dims).map(|d| points.iter().map(|point| f64::from(point[d])).sum::<f64>() / n).collect();
        let mut scatter = vec![0.0; dims * dims];
        for point in points {
            for i in 0..dims {
                let own = f64::from(point[i]) - mean[i];
                (0..dims).for_each(|j| scatter[i * dims + j] += own * (f64::from(point[j]) - mean[j]) / n);
            }
        }
        let total: f64 = (0..dims).map(|d| scatter[d * dims + d]).sum();
        let (one, first) = leading(&scatter, dims);
        for i in 0..dims {
            (0..dims).for_each(|j| scatter[i * dims + j] -= first * one[i] * one[j]);
        }
        let (two, second) = leading(&scatter, dims);
        let share = |value: f64| if total > 0.0 { (value / total).clamp(0.0, 1.0) } else { 0.0 };
        Some(Self { mean, axes: [one, two], shares: [share(first), share(second)] })
    }

    fn project(&self, point: &[f32]) -> (f64, f64) {
        let along = |axis: &[f64]| {
            axis.iter().zip(point).zip(&self.mean).map(|((a, x), mean)| a * (f64::from(*x) - mean)).sum()
        };
        (along(&self.axes[0]), along(&self.axes[1]))
    }
}

/// The leading eigenvector of a symmetric matrix and its value, its largest part positive.
fn leading(matrix: &[f64], dims: usize) -> (Vec<f64>, f64) {
    // Something that is at right angles to no axis in particular.
    let mut vector: Vec<f64> = (0..dims).map(|d| 1.0 + 0.1 * d as f64).collect();
    let mut value = 0.0;
    for _ in 0..STEPS {
        let next: Vec<f64> =
            (0..dims).map(|i| (0..dims).map(|j| matrix[i * dims + j] * vector[j]).sum()).collect();
        let length = next.iter().map(|part| part * part).sum::<f64>().sqrt();
        if length <= 1e-300 {
            return (vec![0.0; dims], 0.0);
        }
        value = length;
        vector = next.into_iter().map(|part| part / length).collect();
    }
    let largest = vector.iter().copied().fold(0.0_f64, |a, b| if b.abs() > a.abs() { b } else { a });
    if largest < 0.0 {
        vector.iter_mut().for_each(|part| *part = -*part);
    }
    (vector, value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_plane_is_where_points_scatter_most() {
        // Far along the third dimension, half as far along the first, little along the second.
        let points: Vec<Vec<f32>> = (0..100)
            .map(|i| {
                let t = i as f32 / 10.0;
                vec![2.0 * (3.0 * t).sin(), 0.1 * (7.0 * t).cos(), 4.0 * t.cos()]
            })
            .collect();
        let rows: Vec<&[f32]> = points.iter().map(Vec::as_slice).collect();
        let plane = Plane::of(&rows, 3).unwrap();
        assert!(plane.axes[0][2] > 0.99 && plane.axes[1][0] > 0.9, "{:?}", plane.axes);
        assert!(plane.shares[0] > plane.shares[1] && plane.shares.iter().sum::<f64>() > 0.99);
        assert!(Plane::of(&rows[..2], 3).is_none());
        let alike: Vec<&[f32]> = vec![&[1.0, 2.0, 3.0]; 5];
        assert_eq!(Plane::of(&alike, 3).unwrap().project(&[1.0, 2.0, 3.0]), (0.0, 0.0));
    }

    #[test]
    fn shown_pixels_stay_and_are_spread() {
        let mut map = crate::publish::table::tests::map(40, 50, &[]);
        map.status.fill(crate::classify::Status::Classified);
        let pixels = chosen(&map, 100);
        assert!(pixels.len() == 100 && pixels.is_sorted_by(|a, b| a < b) && pixels == chosen(&map, 100));
        let columns: std::collections::BTreeSet<usize> = pixels.iter().map(|pixel| pixel % 50).collect();
        assert!(columns.len() > 30, "{}", columns.len());
        map.status.fill(crate::classify::Status::Background);
        assert!(chosen(&map, 100).is_empty());
    }
}
