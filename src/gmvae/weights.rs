//! The arrays of a network: learnt ones and fixed ones, by name.

use std::collections::BTreeMap;

use rand::Rng;
use rand_distr::StandardNormal;

use super::curve::Curves;
use crate::model::ModelAxis;

/// Length of the latent vector.
pub(super) const LATENT: usize = 6;
/// Widths of the hidden layers.
const HIDDEN: [usize; 3] = [96, 64, 64];
/// Number of local averages of the spectrum.
const BINS: usize = 36;
/// Energy offsets of the templates of a phase, eV, and how likely each is.
const OFFSETS: [(f64, f64); 7] =
    [(-0.3, 0.04), (-0.2, 0.06), (-0.1, 0.12), (0.0, 0.56), (0.1, 0.12), (0.2, 0.06), (0.3, 0.04)];
/// Same for the templates of mixtures.
const PAIR_OFFSETS: [(f64, f64); 3] = [(-0.18, 0.2), (0.0, 0.6), (0.18, 0.2)];
/// Shares of the first phase in the templates of mixtures.
const PAIR_SHARES: [f64; 3] = [0.3, 0.5, 0.7];
/// Most templates: each costs 5 multiply-adds per channel and pixel.
const MOST_TEMPLATES: usize = 192;

/// A matrix, row-major.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Matrix {
    pub(super) rows: usize,
    pub(super) columns: usize,
    pub(super) data: Vec<f32>,
}

impl Matrix {
    pub(super) fn new(rows: usize, columns: usize, data: Vec<f32>) -> Self {
        debug_assert_eq!(rows * columns, data.len());
        Self { rows, columns, data }
    }

    fn row(data: Vec<f32>) -> Self {
        Self::new(1, data.len(), data)
    }

    fn zeros(rows: usize, columns: usize) -> Self {
        Self::new(rows, columns, vec![0.0; rows * columns])
    }
}

/// Every array of a network; learnt ones have names that begin with `learnt.`.
pub(super) type Weights = BTreeMap<String, Matrix>;

/// Whether an array is learnt.
pub(super) fn is_learnt(name: &str) -> bool {
    name.starts_with("learnt.")
}

/// Number of features for `groups` groups of templates; [`super::network`] makes them.
fn features(groups: usize) -> usize {
    2 * groups + 7 + 2 * BINS
}

/// The arrays of an untrained network: templates of the references, and small random weights.
pub(super) fn initial(rng: &mut impl Rng, curves: &Curves, axis: &ModelAxis, clusters: usize) -> Weights {
    let mut weights = Weights::new();
    let groups = curves.curves.len() + 1;
    templates(&mut weights, curves, axis);
    bins(&mut weights, axis);
    let channels = axis.channels();
    let layers = [
        ("encoder1", features(groups), HIDDEN[0], 1.0),
        ("encoder2", HIDDEN[0], HIDDEN[1], 1.0),
        ("cluster", HIDDEN[1], clusters, 0.1),
        ("mean", HIDDEN[1], LATENT, 1.0),
        ("spread", HIDDEN[1], LATENT, 0.1),
        ("decoder1", LATENT, HIDDEN[2], 1.0),
        ("decoder2", HIDDEN[2], channels, 1.0),
    ];
    for (name, from, to, scale) in layers {
        let std = scale / (from as f32).sqrt();
        let data = (0..from * to).map(|_| std * rng.sample::<f32, _>(StandardNormal)).collect();
        weights.insert(format!("learnt.{name}.weight"), Matrix::new(from, to, data));
        weights.insert(format!("learnt.{name}.bias"), Matrix::zeros(1, to));
    }
    // At first every cluster believes the evidence of its own templates; a foreign spectrum has none.
    let mut trust = Matrix::zeros(groups, clusters);
    (0..groups.min(clusters)).for_each(|g| trust.data[g * clusters + g] = 0.5);
    weights.insert("learnt.trust.weight".to_owned(), trust);
    let means = (0..LATENT * clusters).map(|_| rng.sample(StandardNormal)).collect();
    weights.insert("learnt.prior.mean".to_owned(), Matrix::new(LATENT, clusters, means));
    weights.insert("learnt.prior.log_variance".to_owned(), Matrix::zeros(LATENT, clusters));
    weights.insert("latent.ones".to_owned(), Matrix::row(vec![1.0; LATENT]));
    weights
}

/// The fixed arrays that compare a spectrum with every reference and mixture at every offset.
fn templates(weights: &mut Weights, curves: &Curves, axis: &ModelAxis) {
    let phases = curves.curves.len();
    let mut specs: Vec<(usize, [(usize, f64); 2], f64, f64)> = Vec::new();
    for phase in 0..phases {
        let offsets: &[(f64, f64)] =
            if phases * OFFSETS.len() <= MOST_TEMPLATES / 2 { &OFFSETS } else { &PAIR_OFFSETS };
        for &(offset_ev, prior) in offsets {
            specs.push((phase, [(phase, 1.0), (phase, 0.0)], offset_ev, prior));
        }
    }
    let pairs: Vec<(usize, usize)> = (0..phases).flat_map(|a| (a + 1..phases).map(move |b| (a, b))).collect();
    let room = MOST_TEMPLATES.saturating_sub(specs.len());
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
                specs.push((phases, [(a, share), (b, 1.0 - share)], offset_ev, prior * each));
            }
        }
    }
    let shape = |parts: &[(usize, f64); 2], offset_ev: f64| -> Vec<f64> {
        let od = |e: f64| -> f64 {
            parts.iter().map(|(p, share)| share * f64::from(curves.curves[*p].at(e - offset_ev, 0.2))).sum()
        };
        standardised(axis.energies_ev().iter().map(|&e| od(e)).collect())
    };
    let count = specs.len();
    let channels = axis.channels();
    let shapes: Vec<Vec<f64>> =
        specs.iter().map(|(_, parts, offset_ev, _)| shape(parts, *offset_ev)).collect();
    let mean: Vec<f64> = (0..channels)
        .map(|i| (0..phases).map(|p| shape(&[(p, 1.0), (p, 0.0)], 0.0)[i]).sum::<f64>() / phases as f64)
        .collect();
    let mut differences = Matrix::zeros(channels, count);
    let mut squares = Matrix::zeros(channels, count);
    let mut groups = Matrix::zeros(count, phases + 1);
    for (t, (group, ..)) in specs.iter().enumerate() {
        groups.data[t * (phases + 1) + group] = 1.0;
        for i in 0..channels {
            let difference = shapes[t][i] - mean[i];
            differences.data[i * count + t] = difference as f32;
            squares.data[i * count + t] = (difference * difference) as f32;
        }
    }
    let log_prior = specs.iter().map(|spec| spec.3.ln() as f32).collect();
    let offsets = specs.iter().map(|spec| spec.2 as f32).collect();
    weights.insert("template.mean".to_owned(), Matrix::row(mean.iter().map(|v| *v as f32).collect()));
    weights.insert("template.difference".to_owned(), differences);
    weights.insert("template.square".to_owned(), squares);
    weights.insert("template.group".to_owned(), groups);
    weights.insert("template.log_prior".to_owned(), Matrix::row(log_prior));
    weights.insert("template.offset".to_owned(), Matrix::new(count, 1, offsets));
}

/// Triangular windows over the axis, half overlapping, and the position of each channel from -1 to 1.
fn bins(weights: &mut Weights, axis: &ModelAxis) {
    let energies_ev = axis.energies_ev();
    let channels = axis.channels();
    // Windows are as dense as the channels are, so that a white line gets more of them.
    let place = |i: usize| i as f64 / (channels - 1) as f64 * (BINS - 1) as f64;
    let mut kernel = Matrix::zeros(channels, BINS);
    for i in 0..channels {
        for b in 0..BINS {
            kernel.data[i * BINS + b] = (1.0 - (place(i) - b as f64).abs()).max(0.0) as f32;
        }
    }
    let (first, last) = (energies_ev[0], energies_ev[channels - 1]);
    let position = energies_ev.iter().map(|e| (2.0 * (e - first) / (last - first) - 1.0) as f32).collect();
    weights.insert("axis.window".to_owned(), kernel);
    weights.insert("axis.position".to_owned(), Matrix::row(position));
}

fn standardised(values: Vec<f64>) -> Vec<f64> {
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    let std = (values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / n).sqrt().max(1e-9);
    values.into_iter().map(|v| (v - mean) / std).collect()
}
