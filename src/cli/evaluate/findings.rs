//! `phasewatch evaluate --findings`: what is said of particles and boundaries, on scans and maps whose truth is known.

use std::sync::Arc;
use std::time::Instant;

use indicatif::ProgressBar;
use serde::Serialize;

use super::{EvaluateArgs, failure, style, tell, write};
use crate::cli::{Failure, say};
use crate::evaluation::findings::{FindingsReport, FindingsStudy, study};
use crate::pipeline::recipe;
use crate::reference::ReferenceSet;
use crate::settings::Settings;
use crate::simulate::nvpf;

/// Scans of each class, where nothing else is asked for.
const SCANS: usize = 100;

/// Runs it.
///
/// # Errors
/// 64 for arguments and files that cannot be read, 65 for references that cannot be simulated with, 69 where nothing can be written.
pub(super) fn run(args: &EvaluateArgs) -> Result<(), Failure> {
    let scans = args.scans.unwrap_or(SCANS);
    if !(1..=100_000).contains(&scans) {
        return Err(Failure::usage(format_args!("--scans is {scans}: it is 1 to 100000")));
    }
    let settings = Settings::load(args.config.as_deref()).map_err(Failure::usage)?;
    let references = match &args.references {
        Some(dir) => ReferenceSet::load(dir).map_err(crate::cli::references::failure)?,
        None => nvpf::reference_set(),
    };
    let recipe = recipe(&settings, Arc::new(references)).map_err(Failure::data)?;
    let asked = FindingsStudy { scans, seed: args.seed, case: args.case.clone() };
    let bar = ProgressBar::new(0).with_style(style());
    let started = Instant::now();
    let scores = study(&asked, &recipe, &mut |done, total| {
        bar.set_length(total as u64);
        bar.set_position(done as u64);
    });
    bar.finish_and_clear();
    let scores = scores.map_err(failure)?;
    let mut command = format!("phasewatch evaluate --findings --scans {scans} --seed {}", args.seed);
    if let Some(case) = &args.case {
        command.push_str(&format!(" --case {case:?}"));
    }
    let report = FindingsReport::of(asked, &scores);
    tell(args, "findings", &report.markdown(&command), &report)?;
    if let Some(folder) = &args.out {
        write(folder, "findings-scans.jsonl", &lines(&scores.scans)?)?;
        write(folder, "findings-series.jsonl", &lines(&scores.series)?)?;
    }
    let all = scores.scans.len() + scores.series.len();
    say(format_args!("{all} scans and series in {:.0} s", started.elapsed().as_secs_f64()));
    Ok(())
}

/// One line of JSON for each.
fn lines<T: Serialize>(scores: &[T]) -> Result<String, Failure> {
    let lines: Result<Vec<String>, _> = scores.iter().map(serde_json::to_string).collect();
    let mut text = lines.map_err(Failure::bug)?.join("\n");
    text.push('\n');
    Ok(text)
}
