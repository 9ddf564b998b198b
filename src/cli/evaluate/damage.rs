//! `phasewatch evaluate --damage`: what the watch for beam damage is worth, on simulated scans.

use std::sync::Arc;
use std::time::Instant;

use indicatif::ProgressBar;

use super::{EvaluateArgs, failure, style, tell, write};
use crate::cli::{Failure, say};
use crate::damage::MonitorSettings;
use crate::evaluation::damage::{DamageStudy, Watch, report, study};
use crate::pipeline::recipe;
use crate::reference::ReferenceSet;
use crate::settings::Settings;
use crate::simulate::nvpf;

/// Undamaged scans, where nothing else is asked for.
const SCANS: usize = 1000;

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
    let references = Arc::new(references);
    let recipe = recipe(&settings, Arc::clone(&references)).map_err(Failure::data)?;
    let asked = DamageStudy::of(scans, args.seed);
    let bar = ProgressBar::new(0).with_style(style());
    let started = Instant::now();
    let watch = |_: &_| Watch::new(MonitorSettings::default(), Arc::clone(&references));
    let records = study(&asked, &recipe, watch, &mut |done, total| {
        bar.set_length(total as u64);
        bar.set_position(done as u64);
    });
    bar.finish_and_clear();
    let records = records.map_err(failure)?;
    let command = format!("phasewatch evaluate --damage --scans {scans} --seed {}", args.seed);
    let report = report(asked, &records);
    tell(args, "damage", &report.markdown(&command), &report)?;
    if let Some(folder) = &args.out {
        let lines: Result<Vec<String>, _> = records.iter().map(serde_json::to_string).collect();
        let mut text = lines.map_err(Failure::bug)?.join("\n");
        text.push('\n');
        write(folder, "damage-scans.jsonl", &text)?;
    }
    say(format_args!("{} scans in {:.0} s", asked.scans(), started.elapsed().as_secs_f64()));
    Ok(())
}
