//! The templates: every reference at several energy offsets, and mixtures of two.

use super::curve::Curves;
use super::weights::{Matrix, Weights};
use crate::model::ModelAxis;

/// Energy offsets of the templates of a phase, eV, and how likely each is.
const OFFSETS: [(f64, f64); 7] =
    [(-0.3, 0.04), (-0.2, 0.06), (-0.1, 0.12), (0.0, 0.56), (0.1, 0.12), (0.2, 0.06), (0.3, 0.04)];
/// Same for the templates of mixtures.
const PAIR_OFFSETS: [(f64, f64); 3] = [(-0.18, 0.2), (0.0, 0.6), (0.18, 0.2)];
/// Shares of the first phase in the templates of mixtures.
const PAIR_SHARES: [f64; 3] = [0.3, 0.5, 0.7];
/// Most templates: each costs 5 multiply-adds per channel and pixel.
const MOST_TEMPLATES: usize = 192;

/// A spectrum to compare with.
struct Template {
    /// Index of its phase; mixtures come after the last.
    group: usize,
    /// Two phases and their shares.
    parts: [(usize, f64); 2],
    offset_ev: f64,
    /// Within its group.
    prior: f64,
}

/// Every template for as many phases.
fn list(phases: usize) -> Vec<Template> {
    let mut templates = Vec::new();
    let offsets: &[(f64, f64)] =
        if phases * OFFSETS.len() <= MOST_TEMPLATES / 2 { &OFFSETS } else { &PAIR_OFFSETS };
    for phase in 0..phases {
        for &(offset_ev, prior) in offsets {
            templates.push(Template { group: phase, parts: [(phase, 1.0), (phase, 0.0)], offset_ev, prior });
        }
    }
    let pairs: Vec<(usize, usize)> = (0..phases).flat_map(|a| (a + 1..phases).map(move |b| (a, b))).collect();
    let room = MOST_TEMPLATES.saturating_sub(templates.len());
    let (shares, offsets): (&[f64], &[(f64, f64)]) = if pairs.len() * 9 <= room {
        (&PAIR_SHARES, &PAIR_OFFSETS)
    } else if pairs.len() * 3 <= room {
        (&PAIR_SHARES, &PAIR_OFFSETS[1..2])
    } else {
        (&PAIR_SHARES[1..2], &PAIR_OFFSETS[1..2])
    };
    // With very many phases only some pairs have a template; the others are left to the learnt layers.
    let stride = (pairs.len() * shares.len() * offsets.len()).div_ceil(room.max(1)).max(1);
    let kept: Vec<(usize, usize)> = pairs.into_iter().step_by(stride).collect();
    let each = 1.0 / (kept.len() * shares.len()) as f64;
    for (a, b) in kept {
        for &share in shares {
            for &(offset_ev, prior) in offsets {
                let parts = [(a, share), (b, 1.0 - share)];
                templates.push(Template { group: phases, parts, offset_ev, prior: prior * each });
            }
        }
    }
    templates
}

/// Adds the fixed arrays that compare a spectrum with every template: templates less the mean reference, both standardised over the
/// axis, their squares, groups, log priors and offsets.
pub(super) fn insert(weights: &mut Weights, curves: &Curves, axis: &ModelAxis) {
    let phases = curves.curves.len();
    let templates = list(phases);
    let shape = |parts: &[(usize, f64)], offset_ev: f64| -> Vec<f64> {
        let od = |e: f64| -> f64 {
            parts.iter().map(|(p, share)| share * f64::from(curves.curves[*p].at(e - offset_ev, 0.2))).sum()
        };
        standardised(axis.energies_ev().iter().map(|&e| od(e)).collect())
    };
    let (count, channels) = (templates.len(), axis.channels());
    let pure: Vec<Vec<f64>> = (0..phases).map(|phase| shape(&[(phase, 1.0)], 0.0)).collect();
    let mean: Vec<f64> =
        (0..channels).map(|i| pure.iter().map(|shape| shape[i]).sum::<f64>() / phases as f64).collect();
    let mut differences = Matrix::zeros(channels, count);
    let mut squares = Matrix::zeros(channels, count);
    let mut groups = Matrix::zeros(count, phases + 1);
    for (t, template) in templates.iter().enumerate() {
        groups.data[t * (phases + 1) + template.group] = 1.0;
        for (i, value) in shape(&template.parts, template.offset_ev).into_iter().enumerate() {
            let difference = value - mean[i];
            differences.data[i * count + t] = difference as f32;
            squares.data[i * count + t] = (difference * difference) as f32;
        }
    }
    let log_prior = templates.iter().map(|template| template.prior.ln() as f32).collect();
    let offsets = templates.iter().map(|template| template.offset_ev as f32).collect();
    let mean = mean.into_iter().map(|v| v as f32).collect();
    let arrays = [
        ("mean", Matrix::row(mean)),
        ("difference", differences),
        ("square", squares),
        ("group", groups),
        ("log_prior", Matrix::row(log_prior)),
        ("offset", Matrix::new(count, 1, offsets)),
    ];
    weights.extend(arrays.map(|(name, matrix)| (format!("template.{name}"), matrix)));
}

fn standardised(values: Vec<f64>) -> Vec<f64> {
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    let std = (values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / n).sqrt().max(1e-9);
    values.into_iter().map(|v| (v - mean) / std).collect()
}
