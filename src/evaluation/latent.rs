//! The latent space as a picture: the islands of the phases, the places of the references, and a scan's pixels, on the two principal
//! components of the latent mean.
//!
//! The components are those of the pure pixels of a drawn scan (3000 counts, 30 energies, no offset); everything else is put on the
//! same two. The model is asked directly, with the daemon's optical densities.

use serde::Serialize;

use super::EvaluationError;
use super::draw::{Conditions, Drawer, Filling, Truth, od_near};
use super::methods::Densities;
use crate::classify::Recipe;
use crate::model::{Batch, Model, Projection};

/// Most pixels of each kind that are drawn.
const MOST: usize = 700;
/// Rounds of power iteration.
const ROUNDS: usize = 300;

/// Points of one kind.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Cloud {
    /// A phase's identifier, `mixture` or `foreign`.
    pub name: String,
    /// Places on the two components.
    pub points: Vec<[f64; 2]>,
}

/// The picture's figures.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Latent {
    /// Share of the variance of the pure pixels on each of the two components.
    pub explained: [f64; 2],
    /// Where each reference lies.
    pub references: Vec<Cloud>,
    /// Pixels of good scans: pure ones, mixtures, foreign ones.
    pub islands: Vec<Cloud>,
    /// Pixels of a sparse scan: 1000 counts, 12 energies, an offset of 0.1 eV.
    pub sparse: Vec<Cloud>,
}

/// Asks `model` for the latent means of drawn scans.
///
/// # Errors
/// References that cannot be drawn from, or a model that fails.
pub fn latent(model: &mut Model, recipe: &Recipe, seed: u64) -> Result<Latent, EvaluationError> {
    let references = &recipe.references;
    let drawer = Drawer::new(references)?;
    let good =
        |filling| Conditions { counts: 3000.0, energies: 30, offset_ev: 0.0, mismatched: false, filling };
    let mut islands = Vec::new();
    for filling in [Filling::Pure, Filling::Mixtures, Filling::Foreign] {
        for cloud in clouds(model, recipe, &drawer, &good(filling), seed)? {
            // Pure pixels of the other scans are no news.
            if filling == Filling::Pure || cloud.0 == "mixture" || cloud.0 == "foreign" {
                islands.push(cloud);
            }
        }
    }
    let conditions = Conditions { counts: 1000.0, energies: 12, offset_ev: 0.1, ..good(Filling::Pure) };
    let sparse = clouds(model, recipe, &drawer, &conditions, seed)?;
    let pure: Vec<&[f64]> = islands
        .iter()
        .filter(|cloud| cloud.0 != "mixture" && cloud.0 != "foreign")
        .flat_map(|cloud| cloud.1.iter().map(Vec::as_slice))
        .collect();
    let basis = Basis::of(&pure);
    let energies_ev = drawer.energies_ev(75);
    let mut places = Vec::new();
    for reference in &references.references {
        let od: Vec<f32> = energies_ev.iter().map(|&e| od_near(reference, e) as f32).collect();
        let sigma = vec![0.01; od.len()];
        let means = ask(model, &energies_ev, &[(&od, &sigma)])?;
        let points = means.iter().map(|mean| basis.place(mean).map(round)).collect();
        places.push(Cloud { name: reference.label.id.clone(), points });
    }
    let placed = |clouds: Vec<Means>| -> Vec<Cloud> {
        let place = |(name, means): Means| Cloud {
            name,
            points: means.iter().map(|mean| basis.place(mean).map(round)).collect(),
        };
        clouds.into_iter().map(place).collect()
    };
    Ok(Latent {
        explained: basis.explained,
        references: places,
        islands: placed(islands),
        sparse: placed(sparse),
    })
}

/// Latent means of pixels of one kind, and its name.
type Means = (String, Vec<Vec<f64>>);

/// Latent means of some pixels of a drawn scan, by what they are.
fn clouds(
    model: &mut Model,
    recipe: &Recipe,
    drawer: &Drawer<'_>,
    conditions: &Conditions,
    seed: u64,
) -> Result<Vec<Means>, EvaluationError> {
    let scan = drawer.draw(conditions, seed)?;
    let densities = Densities::new(&scan.stack, recipe);
    let mut names: Vec<String> = recipe.references.references.iter().map(|r| r.label.id.clone()).collect();
    names.extend(["mixture".to_owned(), "foreign".to_owned()]);
    let phases = recipe.references.len();
    let kind = |pixel: usize| match scan.truth[pixel] {
        Truth::Empty => None,
        Truth::Phase(phase) => Some(usize::from(phase)),
        Truth::Mixture { .. } => Some(phases),
        Truth::Foreign => Some(phases + 1),
    };
    let mut clouds = Vec::new();
    for (index, name) in names.into_iter().enumerate() {
        let all: Vec<usize> = (0..scan.truth.len()).filter(|&pixel| kind(pixel) == Some(index)).collect();
        let chosen: Vec<(&[f32], &[f32])> =
            all.iter().step_by(all.len().div_ceil(MOST).max(1)).map(|&p| densities.pixel(p)).collect();
        if !chosen.is_empty() {
            clouds.push((name, ask(model, &densities.energies_ev, &chosen)?));
        }
    }
    Ok(clouds)
}

fn ask(
    model: &mut Model,
    energies_ev: &[f64],
    spectra: &[(&[f32], &[f32])],
) -> Result<Vec<Vec<f64>>, EvaluationError> {
    let axis = model.metadata().axis.clone();
    let projection = Projection::new(&axis, energies_ev)?;
    let mut batch = Batch::with_capacity(&axis, spectra.len());
    for (od, sigma) in spectra {
        batch.push(&projection, od, sigma);
    }
    if batch.is_empty() {
        return Ok(Vec::new());
    }
    let output = model.run(&batch)?;
    let rows = output.latent.chunks_exact(output.latent_len.max(1));
    Ok(rows.map(|row| row.iter().map(|v| f64::from(*v)).collect()).collect())
}

/// The two principal components.
struct Basis {
    mean: Vec<f64>,
    components: [Vec<f64>; 2],
    explained: [f64; 2],
}

impl Basis {
    fn of(points: &[&[f64]]) -> Self {
        let size = points.first().map_or(0, |point| point.len());
        let n = points.len().max(1) as f64;
        let mean: Vec<f64> = (0..size).map(|j| points.iter().map(|p| p[j]).sum::<f64>() / n).collect();
        let mut covariance: Vec<Vec<f64>> = (0..size)
            .map(|i| {
                let of =
                    |j: usize| points.iter().map(|p| (p[i] - mean[i]) * (p[j] - mean[j])).sum::<f64>() / n;
                (0..size).map(of).collect()
            })
            .collect();
        let total: f64 = (0..size).map(|i| covariance[i][i]).sum();
        let (mut components, mut explained) = ([Vec::new(), Vec::new()], [0.0; 2]);
        for (component, share) in components.iter_mut().zip(&mut explained) {
            let (vector, value) = leading(&covariance);
            for i in 0..size {
                for j in 0..size {
                    covariance[i][j] -= value * vector[i] * vector[j];
                }
            }
            *share = value / total.max(1e-300);
            *component = vector;
        }
        Self { mean, components, explained }
    }

    fn place(&self, point: &[f64]) -> [f64; 2] {
        [0, 1].map(|c| {
            let component = &self.components[c];
            point.iter().zip(&self.mean).zip(component).map(|((p, m), v)| (p - m) * v).sum()
        })
    }
}

/// Four decimals are more than a picture shows.
fn round(value: f64) -> f64 {
    (value * 1e4).round() / 1e4
}

/// Leading eigenvector and eigenvalue of a symmetric matrix, by power iteration; its largest entry is positive.
fn leading(matrix: &[Vec<f64>]) -> (Vec<f64>, f64) {
    // Unequal entries, so that no start is at right angles to the answer by symmetry.
    let mut vector: Vec<f64> = (0..matrix.len()).map(|i| 1.0 + 0.1 * i as f64).collect();
    let mut value = 0.0;
    for _ in 0..ROUNDS {
        let next: Vec<f64> =
            matrix.iter().map(|row| row.iter().zip(&vector).map(|(a, b)| a * b).sum()).collect();
        value = next.iter().map(|v| v * v).sum::<f64>().sqrt();
        if value <= 1e-300 {
            break;
        }
        vector = next.iter().map(|v| v / value).collect();
    }
    let largest = vector.iter().copied().max_by(|a, b| a.abs().total_cmp(&b.abs())).unwrap_or(1.0);
    if largest < 0.0 {
        vector.iter_mut().for_each(|v| *v = -*v);
    }
    (vector, value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_components_are_those_of_the_spread() {
        // Spread 3 along (3, 4)/5, spread 1 across it, none along the third axis.
        let along = [(-3.0, 0.0), (3.0, 0.0), (0.0, -1.0), (0.0, 1.0)];
        let points: Vec<Vec<f64>> =
            along.iter().map(|(a, b)| vec![7.0 + 0.6 * a - 0.8 * b, 0.8 * a + 0.6 * b, 2.0]).collect();
        let basis = Basis::of(&points.iter().map(Vec::as_slice).collect::<Vec<_>>());
        assert!((basis.explained[0] - 0.9).abs() < 1e-9 && (basis.explained[1] - 0.1).abs() < 1e-9);
        assert!((basis.components[0][0] - 0.6).abs() < 1e-6 && (basis.components[0][1] - 0.8).abs() < 1e-6);
        let place = basis.place(&points[1]);
        assert!((place[0] - 3.0).abs() < 1e-6 && place[1].abs() < 1e-6);
    }
}
