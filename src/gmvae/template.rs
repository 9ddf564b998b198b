//! The templates: what a pixel of each phase looks like, and in which ways it may differ from the reference.
//!
//! For each phase, and for damaged matter, many spectra are synthesised without noise, with a sample that is off its references and an
//! offset that remains. What they have beyond a constant and the template itself has principal directions: the few ways in which the
//! reference may be wrong, with their sizes. The rest is an error of each channel. All of it is standardised over the axis.

use rand::Rng;
use rand_distr::StandardNormal;

use super::synthesis::{Conditions, DAMAGED_FROM, Matter, Synthesis};
use super::weights::{BINS, Matrix, Weights};
use crate::model::ModelAxis;

/// Spectra per template.
const DRAWS: usize = 120;
/// Rounds of the power method.
const ROUNDS: usize = 25;
/// Most pairs of phases that have columns of their own.
const MOST_PAIRS: usize = 66;
/// Sizes of the errors of a template, relative to those expected, and how likely each is; the first is none at all.
const SIZES: [(f64, f64); 3] = [(0.0, 0.52), (1.0, 0.4), (2.5, 0.08)];
/// Least error of a channel, in units of the standardised template.
const LEAST_ERROR: f64 = 0.01;

/// How many of everything there are, and where it stands in the one matrix that all sums come from.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Layout {
    /// Phases of the references.
    pub(super) phases: usize,
    /// Directions in which a template may be wrong.
    pub(super) directions: usize,
    /// Pairs of phases.
    pub(super) pairs: Vec<(usize, usize)>,
}

impl Layout {
    pub(super) fn new(phases: usize) -> Self {
        let all = (0..phases).flat_map(|a| (a + 1..phases).map(move |b| (a, b)));
        let all: Vec<(usize, usize)> = all.collect();
        // With very many phases only some pairs have columns; the others are left to the learnt layers.
        let stride = all.len().div_ceil(MOST_PAIRS).max(1);
        let pairs = all.into_iter().step_by(stride).collect();
        Self { phases, directions: if phases <= 12 { 3 } else { 2 }, pairs }
    }

    /// Number of templates: the phases, and damaged matter.
    pub(super) fn templates(&self) -> usize {
        self.phases + 1
    }

    /// Groups of hypotheses that have evidence: the phases, mixture, damaged.
    pub(super) fn groups(&self) -> usize {
        self.phases + 2
    }

    /// Elements of a template: its directions, then itself.
    pub(super) fn elements(&self) -> usize {
        self.directions + 1
    }

    /// First column and number of columns of the sums with the constant; the mean template and its square follow it, then the local
    /// windows, and the mean template in them.
    pub(super) fn constant(&self) -> (usize, usize) {
        (0, 1)
    }

    /// Same of the local windows.
    pub(super) fn windows(&self) -> (usize, usize) {
        (3, BINS)
    }

    /// Same of the mean template in the local windows.
    pub(super) fn mean_windows(&self) -> (usize, usize) {
        (3 + BINS, BINS)
    }

    /// Same of an element of every template.
    pub(super) fn linear(&self, element: usize) -> (usize, usize) {
        (3 + 2 * BINS + element * self.templates(), self.templates())
    }

    /// Columns that are multiplied with the spectrum as well.
    pub(super) fn linear_columns(&self) -> usize {
        3 + 2 * BINS + self.elements() * self.templates()
    }

    /// Columns of the product of two elements of every template, `first <= second`.
    pub(super) fn product(&self, first: usize, second: usize) -> (usize, usize) {
        let index = second * (second + 1) / 2 + first;
        (self.linear_columns() + index * self.templates(), self.templates())
    }

    /// Columns of the product of an element of the first of every pair with the second of it.
    pub(super) fn cross(&self, element: usize) -> (usize, usize) {
        let products = self.elements() * (self.elements() + 1) / 2 * self.templates();
        (self.linear_columns() + products + element * self.pairs.len(), self.pairs.len())
    }

    /// All columns.
    pub(super) fn columns(&self) -> usize {
        self.cross(self.elements()).0
    }
}

/// A template and the ways in which it may be wrong; the template itself comes last.
struct Template {
    elements: Vec<Vec<f64>>,
    /// Mean square of what the directions do not describe.
    error: Vec<f64>,
}

/// Adds the fixed arrays that compare a spectrum with every template.
pub(super) fn insert(
    weights: &mut Weights,
    rng: &mut impl Rng,
    synthesis: &Synthesis,
    axis: &ModelAxis,
    windows: &Matrix,
) {
    let layout = Layout::new(synthesis.phases());
    let templates: Vec<Template> =
        (0..layout.templates()).map(|index| template(rng, synthesis, axis, &layout, index)).collect();
    let channels = axis.channels();
    let own = |t: &Template, i: usize| t.elements[layout.directions][i];
    let mut all = Matrix::zeros(channels, layout.columns());
    let mut error = Vec::with_capacity(channels);
    for i in 0..channels {
        let row = &mut all.data[i * layout.columns()..(i + 1) * layout.columns()];
        let mean = templates[..layout.phases].iter().map(|t| own(t, i)).sum::<f64>() / layout.phases as f64;
        (row[0], row[1], row[2]) = (1.0, mean as f32, (mean * mean) as f32);
        for (t, template) in templates.iter().enumerate() {
            for (second, b) in template.elements.iter().enumerate() {
                row[layout.linear(second).0 + t] = b[i] as f32;
                for (first, a) in template.elements[..=second].iter().enumerate() {
                    row[layout.product(first, second).0 + t] = (a[i] * b[i]) as f32;
                }
            }
        }
        for (p, &(a, b)) in layout.pairs.iter().enumerate() {
            for (element, value) in templates[a].elements.iter().enumerate() {
                row[layout.cross(element).0 + p] = (value[i] * own(&templates[b], i)) as f32;
            }
        }
        for (bin, window) in windows.data[i * BINS..(i + 1) * BINS].iter().enumerate() {
            row[layout.windows().0 + bin] = *window;
            row[layout.mean_windows().0 + bin] = *window * mean as f32;
        }
        let mean_error =
            templates[..layout.phases].iter().map(|t| t.error[i]).sum::<f64>() / layout.phases as f64;
        error.push((mean_error + LEAST_ERROR * LEAST_ERROR) as f32);
    }
    let linear = columns(&all, layout.linear_columns());
    insert_hypotheses(weights, &layout);
    weights.insert("template.all".to_owned(), all);
    weights.insert("template.moments".to_owned(), columns(&linear, 3));
    weights.insert("template.linear".to_owned(), linear);
    weights.insert("template.error".to_owned(), Matrix::row(error));
}

/// Which template or pair stands for which group, and how likely each is beforehand.
fn insert_hypotheses(weights: &mut Weights, layout: &Layout) {
    let (templates, groups, pairs) = (layout.templates(), layout.groups(), layout.pairs.len());
    // Every template thrice, for the three sizes of error, then the pairs.
    let count = 3 * templates + pairs;
    let mut group = Matrix::zeros(count, groups);
    let size = |h: usize| SIZES[h / templates];
    let single = (0..3 * templates).map(|h| size(h).1.ln() as f32);
    let log_prior: Vec<f32> = single.chain((0..pairs).map(|_| -(pairs as f32).ln())).collect();
    let ridge: Vec<f32> = (templates..3 * templates).map(|h| size(h).0.powi(-2) as f32).collect();
    for h in 0..3 * templates {
        let t = h % templates;
        group.data[h * groups + if t < layout.phases { t } else { layout.phases + 1 }] = 1.0;
    }
    (0..pairs).for_each(|p| group.data[(3 * templates + p) * groups + layout.phases] = 1.0);
    // The evidence of a phase goes to its cluster as it is; what is learnt is for the free clusters, and for where much is known.
    let clusters = groups + 1;
    let mut own = Matrix::zeros(groups, clusters);
    (0..layout.phases).for_each(|phase| own.data[phase * clusters + phase] = 1.0);
    let is_phase = (0..clusters).map(|cluster| f32::from(u8::from(cluster < layout.phases)));
    let (phase, free): (Vec<f32>, Vec<f32>) = is_phase.map(|is| (is, 1.0 - is)).unzip();
    let arrays = [
        ("group", group),
        ("log_prior", Matrix::row(log_prior)),
        ("ridge", Matrix::new(2 * templates, 1, ridge)),
        ("own", own),
        ("phase", Matrix::row(phase)),
        ("free", Matrix::row(free)),
    ];
    weights.extend(arrays.map(|(name, matrix)| (format!("template.{name}"), matrix)));
}

fn columns(matrix: &Matrix, count: usize) -> Matrix {
    let rows = matrix.data.chunks_exact(matrix.columns);
    Matrix::new(matrix.rows, count, rows.flat_map(|row| row[..count].iter().copied()).collect())
}

fn template(
    rng: &mut impl Rng,
    synthesis: &Synthesis,
    axis: &ModelAxis,
    layout: &Layout,
    index: usize,
) -> Template {
    let energies_ev = axis.energies_ev();
    let pure =
        |rng: &mut _, matter, conditions: &Conditions| synthesis.shape(rng, matter, conditions, energies_ev);
    let mut draws: Vec<Vec<f64>> = Vec::with_capacity(DRAWS);
    for _ in 0..DRAWS {
        let matter = if index < layout.phases {
            Matter::Phase(index)
        } else {
            Matter::Damaged(rng.random_range(0..layout.phases), rng.random_range(DAMAGED_FROM + 0.1..1.0))
        };
        let conditions = Conditions {
            counts: 1.0,
            thickness: rng.random_range(0.4..2.0),
            offset_ev: 0.045 * rng.sample::<f64, _>(StandardNormal),
            broadening: 0.7 * rng.sample::<f64, _>(StandardNormal),
            jitter: 0.055,
            dark: rng.random_range(0.0..0.015),
            second_order: rng.random_range(0.0..0.03),
            slope_od: 0.02 * rng.sample::<f64, _>(StandardNormal),
            sigma_error: 1.0,
        };
        let mut draw = pure(rng, matter, &conditions);
        standardise(&mut draw);
        draws.push(draw);
    }
    let mut own = if index < layout.phases {
        pure(rng, Matter::Phase(index), &Conditions::of_reference())
    } else {
        (0..energies_ev.len()).map(|i| draws.iter().map(|draw| draw[i]).sum()).collect()
    };
    standardise(&mut own);
    for draw in &mut draws {
        // In units of the template: what is there beside it, relative to how much of it is there.
        let amount = dot(draw, &own) / dot(&own, &own);
        draw.iter_mut().zip(&own).for_each(|(v, o)| *v = *v / amount - o);
    }
    let mut elements: Vec<Vec<f64>> = (0..layout.directions).map(|_| principal(rng, &mut draws)).collect();
    let mean_square = |i: usize| draws.iter().map(|draw| draw[i] * draw[i]).sum::<f64>() / DRAWS as f64;
    let error = (0..energies_ev.len()).map(mean_square).collect();
    elements.push(own);
    Template { elements, error }
}

/// The direction along which `draws` vary most, times its standard deviation; it is taken out of them.
fn principal(rng: &mut impl Rng, draws: &mut [Vec<f64>]) -> Vec<f64> {
    let channels = draws.first().map_or(0, Vec::len);
    let mut direction: Vec<f64> = (0..channels).map(|_| rng.sample(StandardNormal)).collect();
    for _ in 0..ROUNDS {
        let length = dot(&direction, &direction).sqrt().max(1e-12);
        direction.iter_mut().for_each(|v| *v /= length);
        let mut next = vec![0.0; channels];
        for draw in draws.iter() {
            let along = dot(draw, &direction);
            next.iter_mut().zip(draw).for_each(|(n, v)| *n += along * v);
        }
        direction = next;
    }
    let length = dot(&direction, &direction).sqrt().max(1e-12);
    direction.iter_mut().for_each(|v| *v /= length);
    let mut square = 0.0;
    for draw in draws.iter_mut() {
        let along = dot(draw, &direction);
        square += along * along;
        draw.iter_mut().zip(&direction).for_each(|(v, d)| *v -= along * d);
    }
    let size = (square / draws.len().max(1) as f64).sqrt();
    direction.iter().map(|v| v * size).collect()
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(x, y)| x * y).sum()
}

fn standardise(values: &mut [f64]) {
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    let std = (values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / n).sqrt().max(1e-9);
    values.iter_mut().for_each(|v| *v = (*v - mean) / std);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_columns_of_the_layout_neither_overlap_nor_leave_gaps() {
        for phases in [2, 5, 12, 40] {
            let layout = Layout::new(phases);
            let mut taken = vec![0; layout.columns()];
            let mut take =
                |(start, count): (usize, usize)| taken[start..start + count].iter_mut().for_each(|t| *t += 1);
            take((0, 3));
            take(layout.windows());
            take(layout.mean_windows());
            (0..layout.elements()).for_each(|e| take(layout.linear(e)));
            (0..layout.elements()).for_each(|b| (0..=b).for_each(|a| take(layout.product(a, b))));
            (0..layout.elements()).for_each(|e| take(layout.cross(e)));
            assert!(taken.iter().all(|t| *t == 1), "{phases} phases");
            assert!(layout.pairs.len() <= MOST_PAIRS);
        }
    }
}
