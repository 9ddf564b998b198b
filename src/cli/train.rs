//! `phasewatch train`: trains a GMVAE on a set of references, writes it as ONNX, and says what it is worth.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::Instant;

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;

use super::{Failure, print, say};
use crate::evaluation::{Evaluation, evaluate};
use crate::gmvae::{TrainError, TrainOptions, Trained, parse_axis, train};
use crate::model::{BackendChoice, Model};
use crate::reference::ReferenceSet;

/// Pixels per row of the table.
const PIXELS: usize = 600;

/// What to train.
#[derive(Debug, Args)]
pub struct TrainArgs {
    /// Directory with one <phase>.csv per phase.
    #[arg(long)]
    references: PathBuf,
    /// Energies of the model's channels, eV: a JSON list, or numbers separated by white space or commas. Chosen from the
    /// references where it is not given.
    #[arg(long)]
    axis: Option<PathBuf>,
    /// Where everything random begins: the same seed gives the same model.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Length of the training; 1 takes a minute or two.
    #[arg(long, default_value_t = 1.0)]
    effort: f64,
    /// The ONNX file to write; an existing one is replaced once the new one is complete.
    #[arg(long)]
    out: PathBuf,
    /// Where to write the report (JSON); beside it go a page of tables (.md) and pictures (.svg). Takes a minute or so.
    #[arg(long)]
    report: Option<PathBuf>,
}

/// What is written to `--report`.
#[derive(Serialize)]
struct Report<'a> {
    phasewatch: &'a str,
    model_sha256: &'a str,
    model_bytes: usize,
    training: &'a Trained,
    training_seconds: f64,
    evaluation: &'a Evaluation,
    /// Whole maps that consult the model.
    maps: &'a crate::evaluation::Report,
}

/// Runs it.
///
/// # Errors
/// 64 for arguments and files that cannot be read, 65 for references that cannot be learnt from, 69 where the model cannot be written.
pub(super) fn run(args: &TrainArgs) -> Result<(), Failure> {
    if !(0.01..=100.0).contains(&args.effort) {
        return Err(Failure::usage(format_args!("--effort is {}: it is 0.01 to 100", args.effort)));
    }
    let axis = match &args.axis {
        None => None,
        Some(path) => {
            let text = std::fs::read_to_string(path)
                .map_err(|error| Failure::usage(format_args!("cannot read {}: {error}", path.display())))?;
            let axis =
                parse_axis(&text).map_err(|why| Failure::data(format_args!("{}: {why}", path.display())))?;
            Some(axis)
        }
    };
    let references = ReferenceSet::load(&args.references).map_err(super::references::failure)?;
    let options = TrainOptions { seed: args.seed, effort: args.effort, axis };
    let started = Instant::now();
    let bar = ProgressBar::new(0).with_style(style());
    let trained = train(&references, &options, &mut |progress| {
        bar.set_length(progress.total as u64);
        bar.set_position(progress.done as u64);
        bar.set_message(format!("loss {:.3}  accuracy {:.3}", progress.loss, progress.accuracy));
    });
    bar.finish_and_clear();
    let trained = trained.map_err(failure)?;
    let seconds = started.elapsed().as_secs_f64();
    say(format_args!(
        "trained on {} spectra per run in {seconds:.1} s: {} channels, {} clusters, posterior of the {:?}, run {} of {}",
        trained.draws,
        trained.channels,
        trained.clusters.len(),
        trained.posterior,
        trained.run + 1,
        trained.runs.len()
    ));
    tell(&trained);
    let mut model = Model::load(&trained.bytes, &BackendChoice::default(), Some(&references.sha256))
        .map_err(Failure::bug)?;
    let evaluation = evaluate(&mut model, &references, args.seed, PIXELS).map_err(Failure::bug)?;
    write(&args.out, &trained.bytes)?;
    if let Some(path) = &args.report {
        let maps = super::evaluate::beside(&trained.bytes, &references, args.seed, path)?;
        let report = Report {
            phasewatch: env!("CARGO_PKG_VERSION"),
            model_sha256: model.sha256(),
            model_bytes: trained.bytes.len(),
            training: &trained,
            training_seconds: (seconds * 10.0).round() / 10.0,
            evaluation: &evaluation,
            maps: &maps,
        };
        let mut json = serde_json::to_string_pretty(&report).map_err(Failure::bug)?;
        json.push('\n');
        write(path, json.as_bytes())?;
    }
    show(&evaluation);
    say(format_args!(
        "wrote {} ({} bytes, sha256 {})",
        args.out.display(),
        trained.bytes.len(),
        model.sha256()
    ));
    Ok(())
}

/// Says how the runs went and what the held-out draws gave.
fn tell(trained: &Trained) {
    for run in &trained.runs {
        let fate = match &run.collapsed {
            Some(reason) => format!("collapsed: {reason}"),
            None if run.run == trained.run => "kept".to_owned(),
            None => "not kept".to_owned(),
        };
        say(format_args!(
            "run {}: held-out loss {:.3}, accuracy {:.3}, {fate}",
            run.run + 1,
            run.held_out_loss,
            run.held_out_accuracy
        ));
    }
    let held_out = &trained.held_out;
    say(format_args!(
        "calibration error {:.3} with exact references, {:.3} with a sample that is off them",
        held_out.calibration_error_exact, held_out.calibration_error_mismatched
    ));
    for foreign in &held_out.foreign {
        let kind =
            if foreign.mismatched { "a sample that is off the references" } else { "exact references" };
        say(format_args!(
            "foreign spectra told from known ones, {kind}: area under the curve {:.3} by log density, {:.3} by probability",
            foreign.log_density, foreign.probability
        ));
    }
}

fn style() -> ProgressStyle {
    ProgressStyle::with_template("training [{bar:40}] {pos}/{len}  {msg}  {eta} left")
        .unwrap_or_else(|_| ProgressStyle::default_bar())
}

fn failure(error: TrainError) -> Failure {
    match error {
        TrainError::References(_) | TrainError::Axis(_) | TrainError::Collapsed { .. } => {
            Failure::data(error)
        }
        TrainError::Compute(_) | TrainError::Export(_) | TrainError::Differs { .. } | TrainError::Thread => {
            Failure::bug(error)
        }
    }
}

/// Writes a file whole: beside its place first, then renamed.
fn write(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    let fail = |error: std::io::Error| {
        Failure::unavailable(format_args!("cannot write {}: {error}", path.display()))
    };
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder).map_err(fail)?;
    let mut file = tempfile::NamedTempFile::new_in(folder).map_err(fail)?;
    file.write_all(bytes).map_err(fail)?;
    // A temporary file is its owner's alone; a model is for everybody to read.
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        file.as_file().set_permissions(std::fs::Permissions::from_mode(0o644)).map_err(fail)?;
    }
    file.as_file().sync_all().map_err(fail)?;
    file.persist(path).map_err(|error| fail(error.error))?;
    Ok(())
}

/// Prints the table.
fn show(evaluation: &Evaluation) {
    print(format_args!(
        "{} fresh synthesised pixels per cell, energies spread evenly from {:.1} to {:.1} eV.",
        evaluation.pixels, evaluation.from_ev, evaluation.to_ev
    ));
    print(
        "Pure pixels: share whose phase is right, share called a mixture (÷mix); then the share of mixtures",
    );
    print("(30 to 70 %) and of foreign spectra that is found.");
    print(
        "offset  energies  counts | pearson    fit  gmvae | fit÷mix gmvae÷mix | mix:fit mix:gmvae | foreign:gmvae",
    );
    for (p, m) in evaluation.phases.iter().zip(&evaluation.mixtures) {
        print(format_args!(
            "{:6.1}  {:8}  {:6.0} |   {:.3}  {:.3}  {:.3} |   {:.3}     {:.3} |   {:.3}     {:.3} |         {:.3}",
            p.offset_ev,
            p.energies,
            p.counts,
            p.pearson,
            p.fit,
            p.gmvae,
            p.fit_false_mixture,
            p.gmvae_false_mixture,
            m.fit_found,
            m.gmvae_found,
            m.gmvae_foreign_found
        ));
    }
}
