//! A recorded stack whose images are moved, and what registration makes of it.

use std::f64::consts::PI;

use rayon::prelude::*;

use super::super::recorded::{Images, stack_of};
use super::super::{EvaluationError, Subject};
use super::{DriftReport, Tally, path, share_right, staying, three_maps};
use crate::recording::{RecordedPlane, Recording, select_energies};

/// Rows and columns at each side that are left out, so that every moved image is measured throughout.
const MARGIN: usize = 13;
/// Half the length of the interpolating kernel, pixels.
const HALF: isize = 5;

/// Measures registration on moved copies of a recorded stack, with each of `counts` numbers of energies; displacements
/// are counted from those found in the stack as it is.
///
/// # Errors
/// A stack that is no transmission stack, or too small; a model that fails.
pub fn recorded_drift(
    subject: &mut Subject,
    recording: &Recording,
    counts: &[usize],
    draws: usize,
    seed: u64,
    progress: &mut dyn FnMut(usize, usize),
) -> Result<DriftReport, EvaluationError> {
    let [ny, nx] = recording.plan.grid.shape;
    if ny.min(nx) < 4 * MARGIN {
        return Err(EvaluationError::Recording(format!("{ny} by {nx} pixels are too few to move images")));
    }
    let references = std::sync::Arc::clone(&subject.recipe.references);
    let all = vec![[0.0; 2]; recording.planes.len()];
    let whole = moved(recording, &all);
    let images = Images::new(&whole, &references)?;
    let labels = images.fit(&images.od, &(0..all.len()).collect::<Vec<_>>());
    let reaches = [0.0, 2.0, 8.0];
    let mut rows = Vec::new();
    for (index, &count) in counts.iter().enumerate() {
        let indices = select_energies(&recording.plan.energies_ev, &format!("count:{count}"))
            .map_err(|error| EvaluationError::Recording(error.to_string()))?;
        let chosen = recording.subset(&indices);
        let still = stack_of(&moved(&chosen, &vec![[0.0; 2]; count]))?;
        let own = crate::registration::estimate(&still, &|_, _| true);
        for (which, &reach) in reaches.iter().enumerate() {
            let draws = if reach > 0.0 { draws } else { 1 };
            let mut tally = Tally::default();
            for draw in 0..draws {
                progress(
                    (index * reaches.len() + which) * draws + draw,
                    counts.len() * reaches.len() * draws,
                );
                let path =
                    path(count, reach, seed.wrapping_mul(31).wrapping_add((which * 100 + draw) as u64));
                let moving = stack_of(&moved(&chosen, &path))?;
                let maps = three_maps(subject, &still, &moving)?;
                let said = |drift: &crate::registration::Drift, energy: usize| {
                    let (shift, own) = (drift.shift(energy)?, own.shift(energy)?);
                    Some([shift.y - own.y, shift.x - own.x])
                };
                let stays = staying(&path, still.plan().grid.shape);
                let clear = |p: &usize| labels.difference[*p] > 0.2 * labels.sum[*p];
                tally.push(&maps, &path, said, |map, interior| {
                    let scored = images
                        .clear_of_limit
                        .iter()
                        .copied()
                        .filter(|p| stays[*p] && (!interior || clear(p)));
                    share_right(map, scored.map(|p| (p, labels.phase[p])))
                });
            }
            rows.push(tally.row(format!("{}, {reach} pixels", recording.plan.scan_id), count, reach, draws));
        }
    }
    Ok(DriftReport { study: None, scan_id: Some(recording.plan.scan_id.clone()), rows })
}

/// The recording with each image moved along `path`, without its margin.
fn moved(recording: &Recording, path: &[[f64; 2]]) -> Recording {
    let [ny, nx] = recording.plan.grid.shape;
    let mut plan = recording.plan.clone();
    plan.grid.shape = [ny - 2 * MARGIN, nx - 2 * MARGIN];
    let planes = recording
        .planes
        .par_iter()
        .zip(path)
        .map(|(plane, [y, x])| RecordedPlane {
            values: if plane.values.is_empty() {
                Vec::new()
            } else {
                moved_image(&plane.values, [ny, nx], [*y, *x])
            },
            i0: Vec::new(),
            ..plane.clone()
        })
        .collect();
    Recording { plan, planes, i0: recording.i0.clone(), warnings: recording.warnings.clone() }
}

/// The inner part of `image` with what is in it displaced by `shift`.
fn moved_image(image: &[f32], [ny, nx]: [usize; 2], shift: [f64; 2]) -> Vec<f32> {
    let taps = shift.map(|shift| {
        let floor = (-shift).floor();
        let t = -shift - floor;
        let weights: Vec<f64> = (1 - HALF..=HALF).map(|k| lanczos(k as f64 - t)).collect();
        let total: f64 = weights.iter().sum();
        (floor as isize, weights.into_iter().map(|w| w / total).collect::<Vec<f64>>())
    });
    let [(down, weights_y), (along, weights_x)] = &taps;
    let at = |i: isize, n: usize| i.clamp(0, n as isize - 1) as usize;
    let mut out = Vec::with_capacity((ny - 2 * MARGIN) * (nx - 2 * MARGIN));
    for y in MARGIN..ny - MARGIN {
        for x in MARGIN..nx - MARGIN {
            let mut sum = 0.0;
            for (i, weight_y) in (1 - HALF..=HALF).zip(weights_y) {
                let row = at(y as isize + down + i, ny) * nx;
                for (j, weight_x) in (1 - HALF..=HALF).zip(weights_x) {
                    sum += weight_y * weight_x * f64::from(image[row + at(x as isize + along + j, nx)]);
                }
            }
            out.push(sum as f32);
        }
    }
    out
}

fn lanczos(t: f64) -> f64 {
    let sinc = |t: f64| if t.abs() < 1e-9 { 1.0 } else { (PI * t).sin() / (PI * t) };
    if t.abs() >= HALF as f64 { 0.0 } else { sinc(t) * sinc(t / HALF as f64) }
}
