//! `phasewatch evaluate --scenario`: the regression table over the scenarios of the simulator.

use std::path::Path;
use std::sync::Arc;

use indicatif::ProgressBar;

use super::{EvaluateArgs, failure, oracle, style, write};
use crate::cli::{Failure, print, say};
use crate::evaluation::{
    Expected, ScenarioJob, ScenarioRow, Subject, Tolerance, scenario_markdown, scenarios,
};
use crate::pipeline::recipe;
use crate::reference::ReferenceSet;
use crate::settings::Settings;
use crate::simulate::{Scenario, nvpf};

/// Scans per scenario, where nothing else is asked for.
const SEEDS: usize = 2;

/// Runs it.
///
/// # Errors
/// 64 for arguments and files that cannot be read, 65 for scenarios that cannot be simulated and where `--check`
/// finds a scenario worse than it was, 69 where nothing can be written.
pub(super) fn run(args: &EvaluateArgs) -> Result<(), Failure> {
    let settings = Settings::load(args.config.as_deref()).map_err(Failure::usage)?;
    let references = match &args.references {
        Some(dir) => ReferenceSet::load(dir).map_err(crate::cli::references::failure)?,
        None => nvpf::reference_set(),
    };
    let references = Arc::new(references);
    let jobs = jobs(&args.scenario, args.seed)?;
    let (check, before) = (kept(args.check.as_deref())?, kept(args.before.as_deref())?);
    let seeds = args.draws.unwrap_or(SEEDS);
    if !(1..=1000).contains(&seeds) {
        return Err(Failure::usage(format_args!("--draws is {seeds}: it is 1 to 1000")));
    }
    let mut subject = Subject {
        recipe: recipe(&settings, Arc::clone(&references)).map_err(Failure::data)?,
        oracle: args.model.as_deref().map(|path| oracle(path, &settings, &references)).transpose()?,
    };
    let bar = ProgressBar::new(0).with_style(style());
    let rows = scenarios(&mut subject, &jobs, seeds, &mut |done, total| {
        bar.set_length(total as u64);
        bar.set_position(done as u64);
    });
    bar.finish_and_clear();
    let rows = rows.map_err(failure)?;
    let markdown = scenario_markdown(&rows, before.as_ref());
    print(&markdown);
    if let Some(folder) = &args.out {
        let mut json = serde_json::to_string_pretty(&rows).map_err(Failure::bug)?;
        json.push('\n');
        write(folder, "scenarios.json", &json)?;
        write(folder, "scenarios.md", &markdown)?;
        write(folder, "expected.toml", &Expected::of(&rows).to_toml())?;
        say(format_args!("written to {}", folder.display()));
    }
    check.map_or(Ok(()), |expected| compare(&expected, &rows))
}

fn compare(expected: &Expected, rows: &[ScenarioRow]) -> Result<(), Failure> {
    let shortfalls = expected.compare(rows, Tolerance::default()).map_err(Failure::usage)?;
    if shortfalls.is_empty() {
        say(format_args!("{} scenarios are as good as they were", rows.len()));
        return Ok(());
    }
    let list: Vec<String> = shortfalls.iter().map(|shortfall| format!("\n  {shortfall}")).collect();
    Err(Failure::data(format_args!("worse than what is kept:{}", list.concat())))
}

/// The scenarios that are asked for: `all`, names, or files.
fn jobs(asked: &[String], seed: u64) -> Result<Vec<ScenarioJob>, Failure> {
    let library = Scenario::library().map_err(Failure::bug)?;
    let mut jobs: Vec<ScenarioJob> = Vec::new();
    for name in asked {
        let found = library.iter().filter(|(known, _)| name == "all" || name == known);
        let found: Vec<(String, Scenario)> =
            found.map(|(name, scenario)| ((*name).to_owned(), scenario.clone())).collect();
        let found = if found.is_empty() { vec![read(name, &library)?] } else { found };
        jobs.extend(found.into_iter().map(|(name, mut scenario)| {
            scenario.seed = scenario.seed.wrapping_add(seed).wrapping_sub(1);
            ScenarioJob { name, scenario }
        }));
    }
    Ok(jobs)
}

/// A scenario from a file.
fn read(name: &str, library: &[(&str, Scenario)]) -> Result<(String, Scenario), Failure> {
    let path = Path::new(name);
    if path.extension().is_none_or(|extension| extension != "toml") {
        let known: Vec<&str> = library.iter().map(|(name, _)| *name).collect();
        let known = known.join(", ");
        return Err(Failure::usage(format_args!(
            "--scenario {name}: there are {known}; or give all, or a .toml file"
        )));
    }
    let scenario = crate::cli::simulate::read_scenario(path)?;
    let stem = path.file_stem().map_or_else(|| name.into(), |stem| stem.to_string_lossy());
    Ok((stem.into_owned(), scenario))
}

fn kept(path: Option<&Path>) -> Result<Option<Expected>, Failure> {
    let Some(path) = path else { return Ok(None) };
    let text = std::fs::read_to_string(path)
        .map_err(|error| Failure::usage(format_args!("cannot read {}: {error}", path.display())))?;
    let expected = Expected::parse(&text);
    expected.map(Some).map_err(|error| Failure::usage(format_args!("{}: {error}", path.display())))
}
