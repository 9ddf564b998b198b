//! Writes a trained network as ONNX, reads the file back, and compares it with the network it was written from.

use super::candidate::{Candidate, Task};
use super::network::{self, PosteriorSource};
use super::tape::Tape;
use super::{TrainError, onnx, training};
use crate::model::{BackendChoice, Model};

/// Most that the exported file may differ from what was trained, in posterior, latent mean and reconstruction, relative to the larger of
/// 1 and the value. Engines sum in another order, which single precision and the log evidence turn into some 1e-3 at worst; a mistake in
/// the graph would show as 1e-1 and more.
pub(super) const EXPORT_TOLERANCE: f32 = 5e-3;

/// What is written beside the weights.
pub(super) struct Label<'a> {
    pub(super) references_sha256: &'a str,
    pub(super) trained_with: &'a str,
    pub(super) posterior: PosteriorSource,
    /// What the model says of its accuracy, JSON.
    pub(super) competence: Option<String>,
}

/// The bytes of the file, the model read from them, and by how much its outputs differ at most.
pub(super) fn export(
    task: &Task<'_>,
    candidate: &Candidate,
    label: Label<'_>,
) -> Result<(Vec<u8>, Model, f32), TrainError> {
    let mut trainer = task.examiner();
    let description = onnx::Description {
        axis: task.axis,
        clusters: task.clusters,
        references_sha256: label.references_sha256,
        trained_with: label.trained_with,
        posterior: label.posterior,
        layout: &trainer.layout,
        competence: label.competence,
    };
    let bytes = onnx::write(&candidate.weights, &description);
    let mut model = Model::load(&bytes, &BackendChoice::default(), Some(label.references_sha256))?;
    let batch = trainer.check_batch()?;
    let mut tape = Tape::new(&candidate.weights)?;
    let input = training::input(&batch)?;
    let ours = network::answer(&mut tape, &input, label.posterior, &trainer.layout)?;
    let theirs = model.run(&batch)?;
    let mut largest = 0.0_f32;
    let pairs = [
        ("cluster_posterior", &ours.posterior, Some(&theirs.posterior)),
        ("latent_mean", &ours.latent_mean, Some(&theirs.latent)),
        ("reconstruction", &ours.reconstruction, theirs.reconstruction.as_ref()),
    ];
    for (output, ours, theirs) in pairs {
        let ours: Vec<f32> = ours.flatten_all()?.to_vec1()?;
        let theirs = theirs.map_or(&[][..], Vec::as_slice);
        let difference = if ours.len() == theirs.len() {
            ours.iter().zip(theirs).map(|(a, b)| (a - b).abs() / a.abs().max(1.0)).fold(0.0, f32::max)
        } else {
            f32::INFINITY
        };
        tracing::info!(output, difference, "exported model compared with the trained one");
        largest = largest.max(difference);
        if difference.is_nan() || difference > EXPORT_TOLERANCE {
            return Err(TrainError::Differs { output, difference });
        }
    }
    Ok((bytes, model, largest))
}
