//! `phasewatch evaluate`: what the maps are worth, on drawn scans with known answers, on a recorded stack, or on the
//! scenarios of the simulator; and what the watch for beam damage is worth.

mod damage;
mod findings;
mod scenarios;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;

use super::{Failure, load_recording, print, say};
use crate::classify::Oracle;
use crate::evaluation::{
    self, DriftStudy, EvaluationError, Report, StudyPlan, Subject, latent, pictures, recorded, study,
};
use crate::model::{BackendChoice, Model};
use crate::pipeline::{backend, recipe};
use crate::reference::ReferenceSet;
use crate::settings::Settings;

/// Scans per cell, where nothing else is asked for.
const DRAWS: usize = 5;
/// Scans per cell of the quick version.
const QUICK_DRAWS: usize = 2;
/// Numbers of energies of a recorded stack, where nothing else is asked for.
const RECORDED_ENERGIES: [usize; 4] = [6, 8, 12, 20];

/// The same for moved copies of it.
const DRIFT_ENERGIES: [usize; 3] = [12, 30, usize::MAX];

/// What to evaluate.
#[derive(Debug, Args)]
pub struct EvaluateArgs {
    /// Directory of reference spectra; with --scenario, --damage or --findings the synthetic NVPF set where it is not given.
    #[arg(long, value_name = "DIR", required_unless_present_any = ["scenario", "damage", "findings"])]
    references: Option<PathBuf>,
    /// Run scenarios of the simulator instead: all, names of built-in ones, or .toml files, separated by commas.
    #[arg(long, value_name = "LIST", value_delimiter = ',',
          conflicts_with_all = ["stack", "energies", "counts", "offsets", "range", "parts", "quick"])]
    scenario: Vec<String>,
    /// Kept table of scenarios (config/scenarios/expected.toml): exit with 65 where one is worse than it was.
    #[arg(long, value_name = "FILE", requires = "scenario")]
    check: Option<PathBuf>,
    /// Kept table of scenarios to show beside the figures of now.
    #[arg(long, value_name = "FILE", requires = "scenario")]
    before: Option<PathBuf>,
    /// ONNX model that the maps consult; without one, maps are made without.
    #[arg(long, value_name = "FILE")]
    model: Option<PathBuf>,
    /// Configuration file, for [i0], [energy], [classify] and [model].
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// A recorded stack to evaluate on, instead of drawn scans.
    #[arg(long, value_name = "STACK")]
    stack: Option<PathBuf>,
    /// Numbers of energies, separated by commas.
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    energies: Vec<usize>,
    /// Incident counts, separated by commas.
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    counts: Vec<f64>,
    /// Magnitudes of the energy offset, eV, separated by commas.
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    offsets: Vec<f64>,
    /// First and last energy of drawn scans, eV, separated by a comma; by default where the references differ, from the pre-edge on.
    #[arg(long, value_name = "FROM,TO", value_delimiter = ',')]
    range: Vec<f64>,
    /// What to measure: accuracy, mixtures, foreign, offset; everything where it is not given.
    #[arg(long, value_name = "LIST", value_delimiter = ',', value_enum)]
    parts: Vec<Part>,
    /// Scans per cell or scenario [default: 5, with --quick or --scenario 2].
    #[arg(long, value_name = "N")]
    draws: Option<usize>,
    /// Measure registration instead: on drawn scans whose sample drifts, or with --stack on moved copies of it.
    #[arg(long)]
    drift: bool,
    /// Measure instead what flicker, top-up, dead time, spoilt lines and counts that are no photons cost, and what is won back.
    #[arg(long, conflicts_with_all = ["drift", "stack"])]
    beam: bool,
    /// Measure instead the watch for beam damage: false alarms, what is found when, rates, critical doses, causes; on simulated scans.
    #[arg(long, conflicts_with_all = ["drift", "beam", "stack", "scenario", "model", "energies", "counts", "offsets", "range",
          "parts", "quick", "draws"])]
    damage: bool,
    /// Measure instead what is said of particles and boundaries: areas, x, enrichment, false claims; on simulated scans and drawn maps.
    #[arg(long, conflicts_with_all = ["damage", "drift", "beam", "stack", "scenario", "model", "energies", "counts", "offsets", "range",
          "parts", "quick", "draws"])]
    findings: bool,
    /// With --damage: so many scans without damage, three tenths as many with it, a tenth as many operando, and six in
    /// a hundred as many that are damaged and seen often [default: 1000]. With --findings: so many of each class [default: 100].
    #[arg(long, value_name = "N")]
    scans: Option<usize>,
    /// With --drift or --findings: only the cases or classes whose names hold this.
    #[arg(long, value_name = "TEXT")]
    case: Option<String>,
    /// Only a few telling cells: a minute or so.
    #[arg(long)]
    quick: bool,
    /// Where everything random begins.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Folder for report.json, report.md and the pictures; made where it is missing.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

/// The parts of an evaluation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Part {
    /// The tables of accuracy, and the calibration.
    Accuracy,
    /// Mixtures, pair by pair.
    Mixtures,
    /// Foreign matter.
    Foreign,
    /// The estimate of the energy offset by itself.
    Offset,
}

/// Runs it.
///
/// # Errors
/// 64 for arguments and files that cannot be read, 65 for references, models and stacks that are wrong, 69 where nothing can be written.
pub(super) fn run(args: &EvaluateArgs) -> Result<(), Failure> {
    if args.damage {
        return damage::run(args);
    }
    if args.findings {
        return findings::run(args);
    }
    if args.case.is_some() && !args.drift {
        return Err(Failure::usage("--case is for --drift and --findings"));
    }
    if args.scans.is_some() {
        return Err(Failure::usage("--scans is for --damage and --findings"));
    }
    let Some(references) = args.references.as_deref().filter(|_| args.scenario.is_empty()) else {
        return scenarios::run(args);
    };
    let settings = Settings::load(args.config.as_deref()).map_err(Failure::usage)?;
    let references = Arc::new(ReferenceSet::load(references).map_err(super::references::failure)?);
    let plan = plan(args)?;
    let mut subject = Subject {
        recipe: recipe(&settings, Arc::clone(&references)).map_err(Failure::data)?,
        oracle: args.model.as_deref().map(|path| oracle(path, &settings, &references)).transpose()?,
    };
    if args.beam {
        return beam(args, &subject);
    }
    if args.drift {
        return drift(args, &mut subject);
    }
    let model_sha256 = subject.oracle.as_ref().map(|oracle| oracle.model().sha256().to_owned());
    let bar = ProgressBar::new(0).with_style(style());
    let mut progress = |done: usize, total: usize| {
        bar.set_length(total as u64);
        bar.set_position(done as u64);
    };
    let (study, recorded) = match &args.stack {
        Some(path) => {
            let recording = load_recording(path)?;
            let counts =
                if args.energies.is_empty() { RECORDED_ENERGIES.to_vec() } else { args.energies.clone() };
            let measured = recording.planes.len();
            if let Some(count) = counts.iter().find(|count| **count > measured) {
                let text = format!("--energies has {count}: the stack has {measured} energies");
                return Err(Failure::usage(text));
            }
            let report = recorded(&mut subject, &recording, &counts, &mut progress).map_err(failure)?;
            (None, Some(report))
        }
        None => (Some(study(&mut subject, plan, &mut progress).map_err(failure)?), None),
    };
    bar.finish_and_clear();
    let latent = match &args.model {
        Some(path) if args.stack.is_none() => {
            let mut model = open(path, &settings, &references)?;
            Some(latent(&mut model, &subject.recipe, args.seed).map_err(failure)?)
        }
        _ => None,
    };
    let report = Report::new(references.sha256.clone(), model_sha256, study, recorded, latent);
    let pictures = pictures(&report, &references);
    let markdown = report.markdown(&pictures);
    print(&markdown);
    if let Some(folder) = &args.out {
        let mut json = serde_json::to_string_pretty(&report).map_err(Failure::bug)?;
        json.push('\n');
        write(folder, "report.json", &json)?;
        write(folder, "report.md", &markdown)?;
        for picture in &pictures {
            write(folder, &picture.file, &picture.svg)?;
        }
        say(format_args!("written to {}", folder.display()));
    }
    Ok(())
}

/// Measures what beam and detector cost.
fn beam(args: &EvaluateArgs, subject: &Subject) -> Result<(), Failure> {
    let bar = ProgressBar::new(0).with_style(style());
    let mut progress = |done: usize, total: usize| {
        bar.set_length(total as u64);
        bar.set_position(done as u64);
    };
    let draws = args.draws.unwrap_or(if args.quick { 1 } else { 3 });
    let report = evaluation::beam(subject, draws, args.seed, &mut progress).map_err(failure)?;
    bar.finish_and_clear();
    tell(args, "beam", &report.markdown(), &report)
}

/// Prints a report, and writes it into the folder where there is one.
fn tell(args: &EvaluateArgs, name: &str, markdown: &str, report: &impl Serialize) -> Result<(), Failure> {
    print(markdown);
    if let Some(folder) = &args.out {
        let mut json = serde_json::to_string_pretty(report).map_err(Failure::bug)?;
        json.push('\n');
        write(folder, &format!("{name}.json"), &json)?;
        write(folder, &format!("{name}.md"), markdown)?;
        say(format_args!("written to {}", folder.display()));
    }
    Ok(())
}

/// Measures registration.
fn drift(args: &EvaluateArgs, subject: &mut Subject) -> Result<(), Failure> {
    let bar = ProgressBar::new(0).with_style(style());
    let mut progress = |done: usize, total: usize| {
        bar.set_length(total as u64);
        bar.set_position(done as u64);
    };
    let draws = args.draws.unwrap_or(if args.quick { 1 } else { 3 });
    let report = match &args.stack {
        Some(path) => {
            let recording = load_recording(path)?;
            let measured = recording.planes.len();
            let counts = if args.energies.is_empty() {
                DRIFT_ENERGIES.iter().map(|&count| count.min(measured)).collect()
            } else {
                args.energies.clone()
            };
            evaluation::recorded_drift(subject, &recording, &counts, draws, args.seed, &mut progress)
        }
        None => {
            let counts = args.counts.first().copied().unwrap_or(1000.0);
            let study = DriftStudy { counts, draws, seed: args.seed };
            evaluation::drift(subject, study, args.case.as_deref(), &mut progress)
        }
    }
    .map_err(failure)?;
    bar.finish_and_clear();
    tell(args, "drift", &report.markdown(), &report)
}

/// The quick study of a model that was just trained, with the settings as they come; a page of tables and pictures go beside `report`,
/// under its name.
///
/// # Errors
/// 65 for references that cannot be drawn from, 69 where the files cannot be written.
pub(super) fn beside(
    model: &[u8],
    references: &ReferenceSet,
    seed: u64,
    report: &Path,
) -> Result<Report, Failure> {
    let load =
        || Model::load(model, &BackendChoice::default(), Some(&references.sha256)).map_err(Failure::bug);
    let settings = Settings::defaults().map_err(Failure::bug)?;
    let mut subject = Subject {
        recipe: recipe(&settings, Arc::new(references.clone())).map_err(Failure::bug)?,
        oracle: Some(Oracle::new(load()?, settings.model.batch).with_copy(load()?)),
    };
    let bar = ProgressBar::new(0).with_style(style());
    let plan = StudyPlan::quick(1, seed);
    let outcome = study(&mut subject, plan, &mut |done, total| {
        bar.set_length(total as u64);
        bar.set_position(done as u64);
    });
    bar.finish_and_clear();
    let mut single = load()?;
    let latent = latent(&mut single, &subject.recipe, seed).map_err(failure)?;
    let sha256 = Some(single.sha256().to_owned());
    let whole =
        Report::new(references.sha256.clone(), sha256, Some(outcome.map_err(failure)?), None, Some(latent));
    let stem = report.file_stem().map_or_else(|| "report".into(), |stem| stem.to_string_lossy());
    let folder = report.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut pictures = pictures(&whole, references);
    for picture in &mut pictures {
        picture.file = format!("{stem}-{}", picture.file);
        write(folder, &picture.file, &picture.svg)?;
    }
    write(folder, &format!("{stem}.md"), &whole.markdown(&pictures))?;
    Ok(whole)
}

fn plan(args: &EvaluateArgs) -> Result<StudyPlan, Failure> {
    let draws = args.draws.unwrap_or(if args.quick { QUICK_DRAWS } else { DRAWS });
    if !(1..=1000).contains(&draws) {
        return Err(Failure::usage(format_args!("--draws is {draws}: it is 1 to 1000")));
    }
    let mut plan =
        if args.quick { StudyPlan::quick(draws, args.seed) } else { StudyPlan::whole(draws, args.seed) };
    let bad = |what: &str, value: f64, range: &str| {
        Err(Failure::usage(format_args!("--{what} has {value}: it is {range}")))
    };
    if let Some(&n) = args.energies.iter().find(|n| !(2..=1000).contains(*n)) {
        return bad("energies", n as f64, "2 to 1000");
    }
    if let Some(&n) = args.counts.iter().find(|n| !(1.0..=1e7).contains(*n)) {
        return bad("counts", n, "1 to 10000000");
    }
    if let Some(&n) = args.offsets.iter().find(|n| !(0.0..=2.0).contains(*n)) {
        return bad("offsets", n, "0 to 2 eV");
    }
    if !args.energies.is_empty() {
        plan.energies.clone_from(&args.energies);
    }
    if !args.counts.is_empty() {
        plan.counts.clone_from(&args.counts);
    }
    if !args.offsets.is_empty() {
        plan.offsets_ev.clone_from(&args.offsets);
    }
    match args.range.as_slice() {
        [] => {}
        &[from_ev, to_ev] => plan.range_ev = Some((from_ev, to_ev)),
        list => {
            return Err(Failure::usage(format_args!("--range has {} energies: give FROM,TO", list.len())));
        }
    }
    if !args.parts.is_empty() {
        plan.pure = args.parts.contains(&Part::Accuracy);
        plan.mixtures = args.parts.contains(&Part::Mixtures);
        plan.foreign = args.parts.contains(&Part::Foreign);
        plan.energy_offset = args.parts.contains(&Part::Offset);
    }
    Ok(plan)
}

/// The model, one copy per thread.
fn oracle(path: &Path, settings: &Settings, references: &ReferenceSet) -> Result<Oracle, Failure> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let first = Oracle::new(open(path, settings, references)?, settings.model.batch);
    (1..threads.min(8)).try_fold(first, |oracle, _| Ok(oracle.with_copy(open(path, settings, references)?)))
}

fn open(path: &Path, settings: &Settings, references: &ReferenceSet) -> Result<Model, Failure> {
    Model::open(path, &backend(&settings.model), Some(&references.sha256))
        .map_err(|error| Failure::data(format_args!("{}: {error}", path.display())))
}

fn style() -> ProgressStyle {
    ProgressStyle::with_template("evaluating [{bar:40}] {pos}/{len}  {elapsed}  {eta} left")
        .unwrap_or_else(|_| ProgressStyle::default_bar())
}

fn failure(error: EvaluationError) -> Failure {
    match error {
        EvaluationError::References(_)
        | EvaluationError::Axis(_)
        | EvaluationError::Recording(_)
        | EvaluationError::Range(..)
        | EvaluationError::Simulation(_)
        | EvaluationError::Plan(_) => Failure::data(error),
        EvaluationError::Model(_) | EvaluationError::Engine(_) => Failure::data(error),
        EvaluationError::Stack(_) | EvaluationError::Detector(_) => Failure::bug(error),
    }
}

fn write(folder: &Path, name: &str, text: &str) -> Result<(), Failure> {
    let path = folder.join(name);
    std::fs::create_dir_all(folder)
        .and_then(|()| std::fs::write(&path, text))
        .map_err(|error| Failure::unavailable(format_args!("cannot write {}: {error}", path.display())))
}
