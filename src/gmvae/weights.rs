//! The arrays of a network: learnt ones and fixed ones, by name.

use std::collections::BTreeMap;

use rand::Rng;
use rand_distr::StandardNormal;

use super::synthesis::Synthesis;
use super::template::{self, Layout};
use crate::model::ModelAxis;

/// Length of the latent vector.
pub(super) const LATENT: usize = 6;
/// Widths of the hidden layers.
const HIDDEN: [usize; 3] = [80, 56, 48];
/// Number of local averages of the spectrum.
pub(super) const BINS: usize = 28;

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

    pub(super) fn row(data: Vec<f32>) -> Self {
        Self::new(1, data.len(), data)
    }

    pub(super) fn zeros(rows: usize, columns: usize) -> Self {
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
    2 * groups + 6 + 2 * BINS
}

/// The arrays of an untrained network: templates of the references, and small random weights.
pub(super) fn initial(
    rng: &mut impl Rng,
    synthesis: &Synthesis,
    axis: &ModelAxis,
    clusters: usize,
) -> Weights {
    let mut weights = Weights::new();
    let groups = Layout::new(synthesis.phases()).groups();
    let window = windows(axis);
    template::insert(&mut weights, rng, synthesis, axis, &window);
    let channels = axis.channels();
    let layers = [
        ("encoder1", features(groups), HIDDEN[0], 1.0),
        ("encoder2", HIDDEN[0], HIDDEN[1], 1.0),
        ("cluster", HIDDEN[1], clusters, 0.1),
        ("temper", HIDDEN[1], 1, 0.1),
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
    // At first mixture and damage believe their own evidence; a foreign spectrum has none.
    let mut trust = Matrix::zeros(groups, clusters);
    (synthesis.phases()..groups).for_each(|g| trust.data[g * clusters + g] = 0.9);
    weights.insert("learnt.trust.weight".to_owned(), trust);
    let means = (0..LATENT * clusters).map(|_| rng.sample(StandardNormal)).collect();
    weights.insert("learnt.prior.mean".to_owned(), Matrix::new(LATENT, clusters, means));
    weights.insert("learnt.prior.log_variance".to_owned(), Matrix::zeros(LATENT, clusters));
    weights.insert("latent.ones".to_owned(), Matrix::row(vec![1.0; LATENT]));
    weights
}

/// Divides the logits of the clusters by `temperature`.
pub(super) fn cool(weights: &mut Weights, temperature: f32) {
    for name in ["learnt.cluster.weight", "learnt.cluster.bias", "learnt.trust.weight", "template.own"] {
        if let Some(matrix) = weights.get_mut(name) {
            matrix.data.iter_mut().for_each(|value| *value /= temperature);
        }
    }
}

/// Triangular windows over the axis, half overlapping.
fn windows(axis: &ModelAxis) -> Matrix {
    let channels = axis.channels();
    // Windows are as dense as the channels are, so that a white line gets more of them.
    let place = |i: usize| i as f64 / (channels - 1) as f64 * (BINS - 1) as f64;
    let mut kernel = Matrix::zeros(channels, BINS);
    for i in 0..channels {
        for b in 0..BINS {
            kernel.data[i * BINS + b] = (1.0 - (place(i) - b as f64).abs()).max(0.0) as f32;
        }
    }
    kernel
}
