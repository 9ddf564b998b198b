//! `phasewatch model`: checks an ONNX model against the contract, or runs it on spectra from a file.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand, ValueEnum};
use serde::{Deserialize, Serialize};

use super::{Failure, print, say};
use crate::model::{Backend, BackendChoice, BackendError, Batch, Model, ModelError, Projection};

/// What to do with a model.
#[derive(Debug, Subcommand)]
pub enum ModelCommand {
    /// Check a model against the contract, probe it, and print what it says of itself.
    Check(CheckArgs),
    /// Run a model on spectra and print its outputs as JSON.
    Run(RunArgs),
}

/// Which model, and with what.
#[derive(Debug, Args)]
pub struct CheckArgs {
    /// The ONNX file.
    model: PathBuf,
    /// What to run it with.
    #[arg(long, value_enum, default_value_t)]
    backend: BackendName,
    /// Path of libonnxruntime.
    #[arg(long)]
    library: Option<PathBuf>,
    /// Digest of the references that the model must have been trained on.
    #[arg(long)]
    references_sha256: Option<String>,
}

/// Which model on what.
#[derive(Debug, Args)]
pub struct RunArgs {
    /// The model.
    #[command(flatten)]
    check: CheckArgs,
    /// JSON file: {"energies_ev": […], "od": [[…], …], "sigma": [[…], …]}, one inner list per pixel, null where not measured.
    #[arg(long)]
    input: PathBuf,
}

/// The engines by name.
#[derive(Clone, Copy, Debug, Default, ValueEnum)]
pub enum BackendName {
    /// ONNX Runtime where it is found, else tract.
    #[default]
    Auto,
    /// ONNX Runtime.
    Onnxruntime,
    /// The embedded engine.
    Tract,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Spectra {
    energies_ev: Vec<f64>,
    od: Vec<Vec<Option<f32>>>,
    sigma: Vec<Vec<Option<f32>>>,
}

/// Outputs by pixel; null where the model was not asked.
#[derive(Serialize)]
struct Answers {
    engine: String,
    clusters: Vec<String>,
    cluster_posterior: Vec<Option<Vec<f32>>>,
    latent_mean: Vec<Option<Vec<f32>>>,
    reconstruction: Option<Vec<Option<Vec<f32>>>>,
    log_density: Option<Vec<Option<Vec<f32>>>>,
}

/// Runs it.
///
/// # Errors
/// 64 for arguments and files that cannot be read, 65 for a model or spectra that are wrong, 69 where there is no engine.
pub(super) fn run(command: &ModelCommand) -> Result<(), Failure> {
    match command {
        ModelCommand::Check(args) => check(args),
        ModelCommand::Run(args) => answer(args),
    }
}

fn load(args: &CheckArgs) -> Result<Model, Failure> {
    let backend = match args.backend {
        BackendName::Auto => Backend::Auto,
        BackendName::Onnxruntime => Backend::OnnxRuntime,
        BackendName::Tract => Backend::Tract,
    };
    let choice = BackendChoice { backend, library: args.library.clone() };
    Model::open(&args.model, &choice, args.references_sha256.as_deref()).map_err(|error| {
        let text = format!("{}: {error}", args.model.display());
        match error {
            ModelError::Read { .. } => Failure::usage(error),
            ModelError::Backend(
                BackendError::NoFile(_) | BackendError::NotFound | BackendError::Start { .. },
            ) => Failure::unavailable(error),
            ModelError::Backend(BackendError::AlreadyChosen { .. }) => Failure::bug(error),
            _ => Failure::data(text),
        }
    })
}

fn check(args: &CheckArgs) -> Result<(), Failure> {
    let model = load(args)?;
    let metadata = model.metadata();
    let energies_ev = metadata.axis.energies_ev();
    print(format_args!("sha256             {}", model.sha256()));
    print(format_args!("references_sha256  {}", metadata.references_sha256));
    print(format_args!("trained with       {}", metadata.trained_with));
    print(format_args!("clusters           {}", metadata.clusters.join(", ")));
    print(format_args!(
        "channels           {} from {} to {} eV, gaps up to {} eV are bridged",
        energies_ev.len(),
        energies_ev[0],
        energies_ev[energies_ev.len() - 1],
        metadata.axis.max_gap_ev()
    ));
    print(format_args!("takes sigma        {}", metadata.takes_sigma));
    print(format_args!("reconstruction     {}", metadata.gives_reconstruction));
    print(format_args!("log density        {}", metadata.gives_log_density));
    print(format_args!("latent             {}", model.latent_len()));
    print(format_args!("engine             {}", model.engine()));
    say("the model keeps the contract");
    Ok(())
}

fn answer(args: &RunArgs) -> Result<(), Failure> {
    let spectra = read(&args.input)?;
    let mut model = load(&args.check)?;
    let axis = model.metadata().axis.clone();
    let projection = Projection::new(&axis, &spectra.energies_ev)
        .map_err(|error| Failure::data(format_args!("{}: {error}", args.input.display())))?;
    let mut batch = Batch::with_capacity(&axis, spectra.od.len());
    let mut rows = Vec::with_capacity(spectra.od.len());
    let number = |list: &[Option<f32>]| -> Vec<f32> { list.iter().map(|v| v.unwrap_or(f32::NAN)).collect() };
    for (od, sigma) in spectra.od.iter().zip(&spectra.sigma) {
        let row = batch.len();
        rows.push(batch.push(&projection, &number(od), &number(sigma)).then_some(row));
    }
    let output = model.run(&batch).map_err(Failure::data)?;
    let split = |values: &[f32]| -> Vec<Option<Vec<f32>>> {
        let size = values.len() / output.rows.max(1);
        rows.iter().map(|row| row.map(|row| values[row * size..(row + 1) * size].to_vec())).collect()
    };
    let answers = Answers {
        engine: model.engine().to_owned(),
        clusters: model.metadata().clusters.clone(),
        cluster_posterior: split(&output.posterior),
        latent_mean: split(&output.latent),
        reconstruction: output.reconstruction.as_deref().map(split),
        log_density: output.log_density.as_deref().map(split),
    };
    print(serde_json::to_string(&answers).map_err(Failure::bug)?);
    Ok(())
}

fn read(path: &Path) -> Result<Spectra, Failure> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| Failure::usage(format_args!("cannot read {}: {error}", path.display())))?;
    let spectra: Spectra = serde_json::from_str(&text)
        .map_err(|error| Failure::data(format_args!("{}: {error}", path.display())))?;
    let n = spectra.energies_ev.len();
    let fits = spectra.od.len() == spectra.sigma.len()
        && spectra.od.iter().chain(&spectra.sigma).all(|list| list.len() == n);
    if fits {
        Ok(spectra)
    } else {
        let path = path.display();
        Err(Failure::data(format_args!("{path}: od and sigma need one list per pixel, with {n} values each")))
    }
}
