//! A model that was read, checked and probed, and runs batches.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use ort::session::Session;
use ort::session::builder::GraphOptimizationLevel;
use ort::value::TensorRef;
use sha2::{Digest as _, Sha256};

use super::backend::{self, BackendChoice, BackendError};
use super::batch::Batch;
use super::metadata::{ContractError, MAX_FILE_BYTES, Metadata};
use super::projection::Projection;
use super::rehearsal;

/// How far the sum of a row of the posterior may be from 1.
const SUM_TOLERANCE: f32 = 1e-4;
/// Longest latent vector taken.
const MAX_LATENT: usize = 4096;

/// Why a model does not load or run.
#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    /// The file cannot be read.
    #[error("cannot read the model {}: {source}", path.display())]
    Read {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// It breaks the contract.
    #[error("the model breaks the contract: {0}")]
    Contract(#[from] ContractError),
    /// It belongs to other references.
    #[error(
        "the model was trained on references {model}, but the references in use are {expected}: train one for these"
    )]
    References {
        /// Digest in the model.
        model: String,
        /// Digest of the references in use.
        expected: String,
    },
    /// There is nothing to run it with.
    #[error(transparent)]
    Backend(#[from] BackendError),
    /// The engine refuses it.
    #[error("{engine} does not run the model: {reason}")]
    Engine {
        /// Which engine.
        engine: String,
        /// What it says.
        reason: String,
    },
    /// Its answer has another size.
    #[error("output `{name}` has {actual} values for {rows} rows; expected {expected}")]
    Shape {
        /// Which output.
        name: String,
        /// Values it gave.
        actual: usize,
        /// Rows asked for.
        rows: usize,
        /// What was expected.
        expected: String,
    },
    /// Its answer to the probe is wrong.
    #[error("the model failed its probe: {0}")]
    Probe(String),
    /// A batch of another axis.
    #[error("the batch has {actual} channels, the model {expected}")]
    Channels {
        /// Of the batch.
        actual: usize,
        /// Of the model.
        expected: usize,
    },
}

/// What a model says of a batch; everything row-major.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Output {
    /// Number of rows.
    pub rows: usize,
    /// Number of clusters.
    pub clusters: usize,
    /// Length of the latent vector.
    pub latent_len: usize,
    /// Probability of each cluster, `[rows * clusters]`; NaN in a row where the model gave none.
    pub posterior: Vec<f32>,
    /// Latent mean, `[rows * latent_len]`.
    pub latent: Vec<f32>,
    /// Reconstruction of the standardised spectrum, `[rows * channels]`.
    pub reconstruction: Option<Vec<f32>>,
    /// Log density, `[rows]`.
    pub log_density: Option<Vec<f32>>,
    /// Rows whose posterior was not finite or did not sum to 1.
    pub invalid_rows: usize,
}

impl Output {
    /// Posterior of a row, one value per cluster.
    ///
    /// # Panics
    /// When `row` is not in the batch.
    #[must_use]
    pub fn posterior_of(&self, row: usize) -> &[f32] {
        &self.posterior[row * self.clusters..(row + 1) * self.clusters]
    }
}

/// A model, ready to run.
pub struct Model {
    metadata: Metadata,
    sha256: String,
    engine: String,
    session: Session,
    latent_len: usize,
}

impl std::fmt::Debug for Model {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Model")
            .field("sha256", &self.sha256)
            .field("engine", &self.engine)
            .finish_non_exhaustive()
    }
}

impl Model {
    /// Reads a model file, at most [`MAX_FILE_BYTES`] of it; see [`Model::load`].
    ///
    /// # Errors
    /// As [`Model::load`], or where the file cannot be read.
    pub fn open(
        path: &Path,
        choice: &BackendChoice,
        expected_references_sha256: Option<&str>,
    ) -> Result<Self, ModelError> {
        let read = || -> std::io::Result<Vec<u8>> {
            let mut bytes = Vec::new();
            std::fs::File::open(path)?.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes)?;
            Ok(bytes)
        };
        let bytes = read().map_err(|source| ModelError::Read { path: path.to_owned(), source })?;
        Self::load(&bytes, choice, expected_references_sha256)
    }

    /// Checks the bytes of a model file against the contract, starts the engine and probes the model.
    ///
    /// # Errors
    /// The rule it breaks; other references than expected; an engine that does not start or refuses the model; a wrong
    /// answer to the probe.
    pub fn load(
        bytes: &[u8],
        choice: &BackendChoice,
        expected_references_sha256: Option<&str>,
    ) -> Result<Self, ModelError> {
        let metadata = Metadata::read(bytes)?;
        if let Some(expected) = expected_references_sha256
            && !expected.eq_ignore_ascii_case(&metadata.references_sha256)
        {
            let (model, expected) = (metadata.references_sha256, expected.to_owned());
            return Err(ModelError::References { model, expected });
        }
        let (environment, engine) = backend::start(choice)?;
        if engine == backend::EMBEDDED {
            rehearsal::rehearse(bytes, &probe_batch(&metadata), metadata.takes_sigma)
                .map_err(|reason| ModelError::Engine { engine: engine.clone(), reason })?;
        }
        let session = build(&environment, bytes)
            .map_err(|error| ModelError::Engine { engine: engine.clone(), reason: error.to_string() })?;
        let sha256 = sha256_hex(bytes);
        let mut model = Self { metadata, sha256, engine, session, latent_len: 0 };
        model.probe()?;
        Ok(model)
    }

    /// What the model says of itself.
    #[must_use]
    pub fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    /// Digest of the file, lowercase hexadecimal.
    #[must_use]
    pub fn sha256(&self) -> &str {
        &self.sha256
    }

    /// Name of the engine that runs it.
    #[must_use]
    pub fn engine(&self) -> &str {
        &self.engine
    }

    /// Length of the latent vector.
    #[must_use]
    pub fn latent_len(&self) -> usize {
        self.latent_len
    }

    /// Runs a batch. An empty batch gives an empty output. A row whose posterior is not finite, or does not sum to 1, comes
    /// back as NaN and is counted.
    ///
    /// # Errors
    /// A batch of another axis, a failing engine, or outputs of another size than the contract's.
    pub fn run(&mut self, batch: &Batch) -> Result<Output, ModelError> {
        let channels = self.metadata.axis.channels();
        if batch.channels() != channels {
            return Err(ModelError::Channels { actual: batch.channels(), expected: channels });
        }
        let clusters = self.metadata.clusters.len();
        if batch.is_empty() {
            return Ok(Output { clusters, latent_len: self.latent_len, ..Output::default() });
        }
        let raw = self.run_engine(batch)?;
        let rows = batch.len();
        let mut output = Output { rows, clusters, ..Output::default() };
        for (name, values) in raw {
            let per_row = match name.as_str() {
                "cluster_posterior" => clusters,
                "reconstruction" => channels,
                "log_density" => 1,
                _ if self.latent_len > 0 => self.latent_len,
                _ => (values.len() / rows).clamp(1, MAX_LATENT),
            };
            if values.len() != rows * per_row {
                let expected = format!("{per_row} per row");
                return Err(ModelError::Shape { name, actual: values.len(), rows, expected });
            }
            match name.as_str() {
                "cluster_posterior" => output.posterior = values,
                "reconstruction" => output.reconstruction = Some(values),
                "log_density" => output.log_density = Some(values),
                _ => (output.latent_len, output.latent) = (per_row, values),
            }
        }
        for row in output.posterior.chunks_mut(clusters) {
            let sum: f32 = row.iter().sum();
            let valid =
                (sum - 1.0).abs() <= SUM_TOLERANCE && row.iter().all(|p| (-1e-6..=1.0 + 1e-4).contains(p));
            if !valid {
                row.fill(f32::NAN);
                output.invalid_rows += 1;
            }
        }
        Ok(output)
    }

    fn run_engine(&mut self, batch: &Batch) -> Result<Vec<(String, Vec<f32>)>, ModelError> {
        let shape = [batch.len(), batch.channels()];
        let engine = &self.engine;
        let fail =
            |error: ort::Error| ModelError::Engine { engine: engine.clone(), reason: error.to_string() };
        let mut inputs = vec![
            ("spectrum", TensorRef::from_array_view((shape, batch.spectrum())).map_err(fail)?),
            ("mask", TensorRef::from_array_view((shape, batch.mask())).map_err(fail)?),
        ];
        if self.metadata.takes_sigma {
            inputs.push(("sigma", TensorRef::from_array_view((shape, batch.sigma())).map_err(fail)?));
        }
        let outputs = self.session.run(inputs).map_err(fail)?;
        let mut taken = Vec::with_capacity(self.metadata.outputs.len());
        for name in &self.metadata.outputs {
            let missing =
                || ModelError::Engine { engine: engine.clone(), reason: format!("no output `{name}`") };
            let (_, values) =
                outputs.get(name).ok_or_else(missing)?.try_extract_tensor::<f32>().map_err(fail)?;
            taken.push((name.clone(), values.to_vec()));
        }
        Ok(taken)
    }

    /// Asks the model about made-up spectra, twice, and judges the form of its answers.
    fn probe(&mut self) -> Result<(), ModelError> {
        let batch = probe_batch(&self.metadata);
        let first = self.run(&batch)?;
        self.latent_len = first.latent_len;
        let fail = |why: &str| Err(ModelError::Probe(why.to_owned()));
        if first.invalid_rows > 0 {
            return fail("a row of cluster_posterior is not finite or does not sum to 1 within 1e-4");
        }
        let others = [Some(&first.latent), first.reconstruction.as_ref(), first.log_density.as_ref()];
        if others.into_iter().flatten().flatten().any(|value| !value.is_finite()) {
            return fail("an output is not finite");
        }
        if self.run(&batch)? != first {
            return fail("two runs of the same batch differ; the contract allows no sampling");
        }
        Ok(())
    }
}

fn build(environment: &ort::environment::Environment, bytes: &[u8]) -> ort::Result<Session> {
    // Level 3 also switches the embedded engine's optimiser on, which is off by default and worth a factor of 50.
    let builder = Session::builder(environment)?;
    let builder = builder.with_optimization_level(GraphOptimizationLevel::Level3)?;
    builder.with_intra_threads(1)?.commit_from_memory(bytes)
}

/// Three pixels: a full one, one with every third channel, one with the first three channels only.
fn probe_batch(metadata: &Metadata) -> Batch {
    let energies_ev = metadata.axis.energies_ev();
    let mut batch = Batch::with_capacity(&metadata.axis, 3);
    // The axis itself is a valid list of energies, so that this cannot fail.
    if let Ok(projection) = Projection::new(&metadata.axis, energies_ev) {
        let od = |keep: &dyn Fn(usize) -> bool| -> Vec<f32> {
            let wave = |i: usize| (0.3 + 0.2 * (i as f64 * 0.37).sin()) as f32;
            (0..energies_ev.len()).map(|i| if keep(i) { wave(i) } else { f32::NAN }).collect()
        };
        let sigma = vec![0.02; energies_ev.len()];
        batch.push(&projection, &od(&|_| true), &sigma);
        batch.push(&projection, &od(&|i| i % 3 == 0), &sigma);
        batch.push(&projection, &od(&|i| i < 3), &sigma);
    }
    batch
}

/// SHA-256 of `bytes`, lowercase hexadecimal.
#[must_use]
pub fn sha256_hex(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}
