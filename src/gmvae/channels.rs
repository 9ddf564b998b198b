//! Chooses the model's axis from the references: 0.1 eV where they are steep or differ, coarser elsewhere.

use super::curve::Curves;
use crate::model::{AxisError, ModelAxis};

/// Step where the references are steep or differ, eV.
const FINE_STEP_EV: f64 = 0.1;
/// Most channels of a chosen axis: more cost time and tell nothing.
const MOST_CHANNELS: usize = 256;
/// Widest gap that is interpolated, eV. Small on purpose: an interpolated channel repeats the noise of its neighbours, and a
/// model that weighs channels by their noise would count it as new evidence.
const MAX_GAP_EV: f64 = 0.3;

/// An axis for `curves`: the common range, at most 256 channels.
pub(crate) fn choose(curves: &Curves) -> Result<ModelAxis, AxisError> {
    let steps = ((curves.to_ev - curves.from_ev) / FINE_STEP_EV + 1e-6) as usize;
    let contrast: Vec<(f32, f32)> =
        (0..=steps).map(|i| curves.contrast(curves.from_ev + i as f64 * FINE_STEP_EV)).collect();
    let most = contrast.iter().fold((1e-6_f32, 1e-6_f32), |m, c| (m.0.max(c.0), m.1.max(c.1)));
    let score: Vec<f32> = contrast.iter().map(|c| (c.0 / most.0).max(c.1 / most.1)).collect();
    // Every channel of a coarse stretch stands for its best point.
    let best_near =
        |i: usize| score[i.saturating_sub(5)..(i + 6).min(score.len())].iter().copied().fold(0.0, f32::max);
    let reach: Vec<f32> = (0..score.len()).map(best_near).collect();
    let pick = |threshold: f32, stride: usize| -> Vec<f64> {
        let mut places = Vec::new();
        let mut last = 0;
        for (i, &near) in reach.iter().enumerate() {
            if i == 0 || i + 1 == reach.len() || near >= threshold || i - last >= stride {
                places.push(i);
                last = i;
            }
        }
        places.iter().map(|&i| round(curves.from_ev + i as f64 * FINE_STEP_EV)).collect()
    };
    let mut energies_ev = pick(0.0, 1);
    'search: for stride in [2, 3, 5, 10, 20, 50, 100, 1000] {
        for tenths in 1..=9 {
            if energies_ev.len() <= MOST_CHANNELS {
                break 'search;
            }
            energies_ev = pick(tenths as f32 / 10.0, stride);
        }
    }
    even_out(&mut energies_ev);
    ModelAxis::new(energies_ev, MAX_GAP_EV)
}

/// Takes channels out of the coarsest stretches until their number is a multiple of 16: engines compute in vectors.
fn even_out(energies_ev: &mut Vec<f64>) {
    while energies_ev.len() > 16 && !energies_ev.len().is_multiple_of(16) {
        let gap = |i: usize| energies_ev[i + 1] - energies_ev[i - 1];
        // The ends stay, so that the axis spans the whole range; of equal ones the last goes.
        let widest = (1..energies_ev.len() - 1).max_by(|&a, &b| gap(a).total_cmp(&gap(b)));
        match widest {
            Some(index) => drop(energies_ev.remove(index)),
            None => break,
        }
    }
}

fn round(energy_ev: f64) -> f64 {
    (energy_ev * 1e4).round() / 1e4
}

/// An axis from a file: energies in eV, as a JSON list or separated by white space or commas, `#` begins a comment.
///
/// # Errors
/// A word that is no number, or energies that are no axis.
pub fn parse_axis(text: &str) -> Result<ModelAxis, String> {
    let energies_ev: Vec<f64> = match serde_json::from_str(text) {
        Ok(list) => list,
        Err(_) => {
            let words = text.lines().enumerate().flat_map(|(line, text)| {
                let content = text.split('#').next().unwrap_or("");
                content.split(|c: char| c == ',' || c.is_whitespace()).map(move |word| (line + 1, word))
            });
            words
                .filter(|(_, word)| !word.is_empty())
                .map(|(line, word)| {
                    word.parse().map_err(|_| format!("line {line}: `{word}` is not an energy in eV"))
                })
                .collect::<Result<_, _>>()?
        }
    };
    ModelAxis::new(energies_ev, MAX_GAP_EV).map_err(|error| error.to_string())
}
