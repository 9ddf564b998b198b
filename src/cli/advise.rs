//! `phasewatch advise`: which energies to plan for a set of references, and what following the live advice saves.
//!
//! The first is a list; the second a study over simulated scans, or over the energies of a recorded stack.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use rayon::prelude::*;
use serde::Serialize;

use super::{Failure, load_recording, print, say};
use crate::advice::study::{Order, Step, Study, Trial, TrialSettings, course};
use crate::advice::{AdviceSettings, DesignSettings, design};
use crate::classify::Recipe;
use crate::pipeline::{advice, recipe};
use crate::reference::ReferenceSet;
use crate::settings::Settings;

/// Numbers of energies that a plan is listed for.
const PLANS: [usize; 3] = [8, 12, 20];

/// Arguments of `phasewatch advise`.
#[derive(Debug, Args)]
pub struct AdviseArgs {
    /// Directory of reference spectra.
    #[arg(long, value_name = "DIR")]
    references: PathBuf,
    /// Photons of the empty beam per pixel and energy.
    #[arg(long, value_name = "N", default_value_t = 3000.0)]
    counts: f64,
    /// Energies of the simulated plan, evenly spaced.
    #[arg(long, value_name = "N", default_value_t = 30)]
    energies: usize,
    /// Simulated scans; 0: only list which energies to plan.
    #[arg(long, value_name = "N", default_value_t = 5)]
    draws: usize,
    /// Rows and columns of a simulated scan.
    #[arg(long, value_name = "N", default_value_t = 80)]
    size: usize,
    /// Simulate a sample whose spectra differ from the references: shifted by up to 0.1 eV, changed by up to 10 %.
    #[arg(long)]
    mismatch: bool,
    /// Seed of the simulations.
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// Measure the energies of this recorded stack instead, against a fit of all of them.
    #[arg(long, value_name = "FILE")]
    stack: Option<PathBuf>,
    /// Folder that gets `advise.json`.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Configuration file, for [i0], [classify] and [advice].
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

/// What is written to `--out`.
#[derive(Serialize)]
struct Report<'a> {
    phasewatch: &'a str,
    references_sha256: &'a str,
    counts: f64,
    mismatch: bool,
    seed: u64,
    stack: Option<&'a Path>,
    /// Energies to plan, eV, the most useful first, by their number.
    plans_ev: Vec<Vec<f64>>,
    /// Energies of the plan that was studied, eV.
    energies_ev: Vec<f64>,
    study: Option<&'a Study>,
}

/// Runs it.
///
/// # Errors
/// 64 for wrong arguments, 65 for references or a stack that cannot be used, 69 where the report cannot be written.
pub(super) fn run(args: &AdviseArgs) -> Result<(), Failure> {
    if !(1.0..=1e9).contains(&args.counts) || !(8..=1000).contains(&args.energies) {
        return Err(Failure::usage("--counts must be 1 to 1e9, --energies 8 to 1000"));
    }
    if args.draws > 1000 || !(32..=1024).contains(&args.size) {
        return Err(Failure::usage("--draws must be at most 1000, --size 32 to 1024"));
    }
    let settings = Settings::load(args.config.as_deref()).map_err(Failure::usage)?;
    let references = Arc::new(ReferenceSet::load(&args.references).map_err(super::references::failure)?);
    let recipe = recipe(&settings, Arc::clone(&references)).map_err(Failure::data)?;
    let plans_ev = plans(&references, args.counts, recipe.absorption.max_od);
    let advice = advice(&settings);
    let (study, energies_ev) = match &args.stack {
        Some(path) => {
            let trial = recorded(path, &recipe)?;
            let energies_ev = trial.plan.energies_ev.clone();
            (Some(of_trials(&[trial], &recipe, &advice)?), energies_ev)
        }
        None if args.draws == 0 => (None, Vec::new()),
        None => {
            let trials = simulated(args, &references)?;
            let energies_ev = trials.first().map_or_else(Vec::new, |trial| trial.plan.energies_ev.clone());
            (Some(of_trials(&trials, &recipe, &advice)?), energies_ev)
        }
    };
    if let Some(study) = &study {
        show(study, energies_ev.len());
    }
    if let Some(folder) = &args.out {
        let report = Report {
            phasewatch: env!("CARGO_PKG_VERSION"),
            references_sha256: &references.sha256,
            counts: args.counts,
            mismatch: args.mismatch,
            seed: args.seed,
            stack: args.stack.as_deref(),
            plans_ev,
            energies_ev,
            study: study.as_ref(),
        };
        write(folder, &report)?;
    }
    Ok(())
}

/// Lists which energies to plan.
fn plans(references: &ReferenceSet, photons: f64, max_od: f64) -> Vec<Vec<f64>> {
    let settings = DesignSettings { photons, max_od, ..DesignSettings::default() };
    print("energies to plan, eV, for these references (each list in order of energy):");
    let plan = |count: usize| {
        let mut energies_ev = design(references, count, &settings);
        let list = energies_ev.clone();
        energies_ev.sort_by(f64::total_cmp);
        let words: Vec<String> = energies_ev.iter().map(|energy_ev| format!("{energy_ev:.2}")).collect();
        print(format_args!("{count:>4}: {}", words.join(" ")));
        list
    };
    PLANS.map(plan).to_vec()
}

fn simulated(args: &AdviseArgs, references: &ReferenceSet) -> Result<Vec<Trial>, Failure> {
    let trial = |draw: usize| {
        let settings = TrialSettings {
            photons: args.counts,
            energies: args.energies,
            shape: [args.size; 2],
            mismatch: args.mismatch,
            seed: args.seed.wrapping_add(draw as u64),
        };
        Trial::simulated(references, &settings).map_err(Failure::data)
    };
    (0..args.draws).map(trial).collect()
}

fn recorded(path: &Path, recipe: &Recipe) -> Result<Trial, Failure> {
    let recording = load_recording(path)?;
    let trial = Trial::recorded(&recording, recipe).map_err(Failure::data)?;
    let energies = trial.plan.energies_ev.len();
    say(format_args!("{} pixels are scored, against a fit of all {energies} energies", trial.scored()));
    Ok(trial)
}

fn of_trials(trials: &[Trial], recipe: &Recipe, settings: &AdviceSettings) -> Result<Study, Failure> {
    let bar = ProgressBar::new((trials.len() * Order::ALL.len()) as u64);
    let style = ProgressStyle::with_template("measuring [{bar:40}] {pos}/{len}  {eta} left");
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    let jobs: Vec<(Order, &Trial)> =
        Order::ALL.iter().flat_map(|&order| trials.iter().map(move |trial| (order, trial))).collect();
    let steps: Result<Vec<Vec<Step>>, _> = jobs
        .par_iter()
        .map(|(order, trial)| {
            let steps = course(trial, recipe, settings, *order, usize::MAX);
            bar.inc(1);
            steps
        })
        .collect();
    bar.finish_and_clear();
    let mut steps = steps.map_err(Failure::data)?.into_iter();
    let courses: Vec<_> =
        Order::ALL.iter().map(|&order| (order, steps.by_ref().take(trials.len()).collect())).collect();
    Ok(Study::of(&courses))
}

fn show(study: &Study, energies: usize) {
    print(format_args!(
        "\n{} scan(s) of {energies} energies, {:.0} s each; right with all of them: {:.3}. Medians.",
        study.draws, study.seconds, study.final_accuracy
    ));
    print(
        "                    energies / time s / dose % until the accuracy stays at that share of the final one",
    );
    print("order               95 %                98 %                99 %");
    for course in &study.courses {
        let cells: Vec<String> = course
            .reached
            .iter()
            .map(|r| format!("{:>4.0} {:>6.0} {:>5.1}", r.energies, r.seconds, 100.0 * r.dose))
            .collect();
        print(format_args!("{:<16}  {}", course.order.name(), cells.join("    ")));
    }
    print("\naccuracy (balanced) after so many energies");
    let counts: Vec<usize> = [6, 8, 10, 12, 16, 20, 30].into_iter().filter(|&n| n <= energies).collect();
    let head: Vec<String> = counts.iter().map(|n| format!("{n:>13}")).collect();
    print(format_args!("{:<16}{}", "order", head.concat()));
    for course in &study.courses {
        let cell = |&n: &usize| {
            let at = |list: &[f64]| list.get(n - 1).copied().unwrap_or(f64::NAN);
            format!("  {:.3} ({:.3})", at(&course.accuracy), at(&course.balanced)).replace("0.", ".")
        };
        let cells: Vec<String> = counts.iter().map(|n| format!("{:>13}", cell(n))).collect();
        print(format_args!("{:<16}{}", course.order.name(), cells.concat()));
    }
    print(
        "\nstop advice: draws it came in, energies and dose by then, accuracy lost, change by the rest (worst)",
    );
    for course in &study.courses {
        let held = match (course.forecast_held, course.forecast_passed) {
            (Some(held), Some(passed)) => format!(
                "forecast held in {:.0} % of the steps, passed in {:.0} %",
                100.0 * held,
                100.0 * passed
            ),
            _ => String::new(),
        };
        match &course.stopped {
            Some(s) => print(format_args!(
                "{:<16}  {:>3.0} %  {:>4.0} energies  {:>3.0} % dose  {:+.4} lost  {:.4} ({:.4}) changed; {held}",
                course.order.name(),
                100.0 * s.draws,
                s.energies,
                100.0 * s.dose,
                s.lost,
                s.changed,
                s.worst_changed
            )),
            None => print(format_args!("{:<16}  never; {held}", course.order.name())),
        }
    }
}

fn write(folder: &Path, report: &Report<'_>) -> Result<(), Failure> {
    let path = folder.join("advise.json");
    let fail = |error: std::io::Error| {
        Failure::unavailable(format_args!("cannot write {}: {error}", path.display()))
    };
    let mut text = serde_json::to_string_pretty(report).map_err(Failure::bug)?;
    text.push('\n');
    std::fs::create_dir_all(folder).and_then(|()| std::fs::write(&path, text)).map_err(fail)?;
    say(format_args!("wrote {}", path.display()));
    Ok(())
}
