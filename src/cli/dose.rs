//! `phasewatch dose`: what a planned scan will deposit, and which settings would halve that at what cost in accuracy.

mod plan;
mod report;
mod words;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use chrono::Utc;
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};

use super::{Failure, print};
use crate::damage::{Ledger, PlannedDose, Prior, Question, Region, ScanRef};
use crate::evaluation::halving::{Change, Measured, Saving, Setup, measure, savings};
use crate::pipeline::{advice, dose, recipe};
use crate::reference::ReferenceSet;
use crate::settings::Settings;
use crate::simulate::nvpf;
use report::{Earlier, Report, Row};

/// Most simulated specimens.
const MOST_DRAWS: usize = 100;

/// What is planned.
#[derive(Debug, Args)]
#[command(after_help = "\
Options win over the configuration ([damage]), and that over the plan. The dose of each exposure is
reckoned as the daemon does (docs/dose.md), with optical densities of the references.

Examples:
  phasewatch dose --plan scan_start.json --references references/fe-l
  phasewatch dose --energies 508:512:1,513:520:0.5,521:530:1 --sentinels 508,517 \\
      --dwell-ms 1 --pixel-nm 50 --counts 1000 --efficiency 0.3")]
pub struct DoseArgs {
    /// The plan: JSON of a scan_start header (stxm-stream/1), or a scenario of the simulator (TOML).
    #[arg(long, value_name = "FILE", required_unless_present = "energies")]
    plan: Option<PathBuf>,
    /// Energies, eV, separated by commas; FROM:TO:STEP is a run.
    #[arg(long, value_name = "LIST", conflicts_with = "plan")]
    energies: Option<String>,
    /// Energies that are measured again and again, eV, separated by commas; spread over the scan, at its start and end, too.
    #[arg(long, value_name = "LIST", value_delimiter = ',', requires = "energies")]
    sentinels: Vec<f64>,
    /// How often each sentinel is measured.
    #[arg(long, value_name = "N", default_value_t = 5)]
    sentinel_visits: usize,
    /// Exposure per pixel, ms [needed without --plan].
    #[arg(long, value_name = "MS", required_unless_present = "plan")]
    dwell_ms: Option<f64>,
    /// Distance between pixels, nm [needed without --plan].
    #[arg(long, value_name = "NM", required_unless_present = "plan")]
    pixel_nm: Option<f64>,
    /// Rows and columns [default without --plan: 128,128].
    #[arg(long, value_name = "NY,NX", value_delimiter = ',')]
    shape: Vec<usize>,
    /// Centre of the field, µm: where earlier doses are looked for [default: the plan's, else 0,0].
    #[arg(long, value_name = "Y,X", value_delimiter = ',', allow_negative_numbers = true)]
    centre_um: Vec<f64>,
    /// Flux on the sample, photons per second.
    #[arg(long, value_name = "N", conflicts_with = "counts")]
    flux: Option<f64>,
    /// Counts of the empty beam in one dwell, less dark; with the efficiency of the detector they tell the flux.
    #[arg(long, value_name = "N")]
    counts: Option<f64>,
    /// Share of the photons that the detector counts, 0 to 1.
    #[arg(long, value_name = "SHARE")]
    efficiency: Option<f64>,
    /// Side of the spot of the beam, nm [default: the pixel].
    #[arg(long, value_name = "NM")]
    spot_nm: Option<f64>,
    /// Name of the sample: with the region it finds earlier doses.
    #[arg(long, value_name = "NAME")]
    sample: Option<String>,
    /// Name of the region.
    #[arg(long, value_name = "NAME")]
    region: Option<String>,
    /// Name of the beamline.
    #[arg(long, value_name = "NAME")]
    beamline: Option<String>,
    /// Directory of reference spectra [default: references.dir of --config, else the synthetic NVPF set].
    #[arg(long, value_name = "DIR")]
    references: Option<PathBuf>,
    /// Sum formula of the sample [default: the mean over the references that have one].
    #[arg(long, value_name = "FORMULA")]
    composition: Option<String>,
    /// Thickness of the sample, in thicknesses of the references.
    #[arg(long, value_name = "X", default_value_t = 1.0)]
    thickness: f64,
    /// Configuration file, for [damage], [references], [daemon], [classify] and [advice].
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// State directory of the daemon, whose ledger knows earlier doses [default: daemon.state_dir]; it is only read.
    #[arg(long, value_name = "DIR")]
    state_dir: Option<PathBuf>,
    /// Critical dose of the white line, MGy: says what share of it first-order kinetics would take.
    #[arg(long, value_name = "MGY")]
    critical_mgy: Option<f64>,
    /// Simulated specimens per setting; 0: none.
    #[arg(long, value_name = "N", default_value_t = 10)]
    draws: usize,
    /// Where everything random begins.
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// Runs it.
///
/// # Errors
/// 64 for wrong arguments and files that cannot be read, 65 for a plan or references that are wrong.
pub(super) fn run(args: &DoseArgs) -> Result<(), Failure> {
    check(args)?;
    let settings = Settings::load(args.config.as_deref()).map_err(Failure::usage)?;
    let (references, source) = references(args, &settings)?;
    let references = Arc::new(references);
    let mut reckoned_with = dose(&settings);
    // Who asks for a dose wants one.
    reckoned_with.enabled = true;
    if let Some(formula) = &args.composition {
        crate::damage::Material::parse(formula, None)
            .map_err(|error| Failure::usage(format_args!("--composition: {error}")))?;
        reckoned_with.composition = Some(formula.clone());
    }
    reckoned_with.spot_nm = args.spot_nm.or(reckoned_with.spot_nm);
    reckoned_with.detector_efficiency = args.efficiency.or(reckoned_with.detector_efficiency);
    let plan = plan::read(args, Utc::now())?;
    let advice = advice(&settings);
    let setup = plan::setup(args, plan, reckoned_with, (advice.move_ms_per_ev, advice.settle_ms));
    let planned = setup.planned(&references).map_err(Failure::data)?;
    let earlier = earlier(args, &settings, &setup, &planned)?;
    let recipe = recipe(&settings, Arc::clone(&references)).map_err(Failure::data)?;
    let (detected, remarks) = setup.detected();
    let photons = detected.iter().sum::<f64>() / detected.len().max(1) as f64;
    let list = savings(&setup, &planned, &references, photons, recipe.triage.min_energies as usize);
    let measured = simulate(args, &setup, &list, &recipe)?;
    let rows = Row::list(&setup, &planned, &list, &measured);
    let report =
        Report::new(args, &setup, &planned, (&references, source), earlier, (rows, remarks, &detected));
    if args.json {
        print(serde_json::to_string_pretty(&report).map_err(Failure::bug)?);
    } else {
        words::show(&report);
    }
    Ok(())
}

fn check(args: &DoseArgs) -> Result<(), Failure> {
    let numbers = [
        ("--dwell-ms", args.dwell_ms, 1e-3, 1e6),
        ("--pixel-nm", args.pixel_nm, 0.1, 1e6),
        ("--flux", args.flux, 1.0, 1e16),
        ("--counts", args.counts, 1.0, 1e9),
        ("--efficiency", args.efficiency, 1e-6, 1.0),
        ("--spot-nm", args.spot_nm, 0.1, 1e6),
        ("--thickness", Some(args.thickness), 1e-3, 100.0),
        ("--critical-mgy", args.critical_mgy, 1e-6, 1e9),
    ];
    for (name, value, low, high) in numbers {
        if let Some(value) = value.filter(|value| !(low..=high).contains(value)) {
            return Err(Failure::usage(format_args!("{name} is {value}: it is {low} to {high}")));
        }
    }
    if args.draws > MOST_DRAWS {
        return Err(Failure::usage(format_args!("--draws is {}: it is 0 to {MOST_DRAWS}", args.draws)));
    }
    if !matches!(args.shape.len(), 0 | 2) {
        return Err(Failure::usage("--shape is rows and columns, such as 128,128"));
    }
    if !matches!(args.centre_um.as_slice(), [] | [_, _]) || args.centre_um.iter().any(|um| !um.is_finite()) {
        return Err(Failure::usage("--centre-um is the place of the middle in y and x, such as 12.5,-3"));
    }
    Ok(())
}

/// The references, and where they come from, in words.
fn references(args: &DoseArgs, settings: &Settings) -> Result<(ReferenceSet, String), Failure> {
    match args.references.as_deref().or(settings.references.dir.as_deref()) {
        Some(dir) => {
            let set = ReferenceSet::load(dir).map_err(super::references::failure)?;
            Ok((set, dir.display().to_string()))
        }
        None => Ok((
            nvpf::reference_set(),
            "the synthetic NVPF set, 200 nm thick; --references names others".to_owned(),
        )),
    }
}

/// What earlier scans left where the plan goes.
fn earlier(
    args: &DoseArgs,
    settings: &Settings,
    setup: &Setup,
    planned: &PlannedDose,
) -> Result<Earlier, Failure> {
    let folder = args.state_dir.as_deref().unwrap_or(&settings.daemon.state_dir);
    if args.state_dir.is_some() && !folder.is_dir() {
        return Err(Failure::usage(format_args!(
            "--state-dir {}: there is no such directory",
            folder.display()
        )));
    }
    let Some(region) = Region::of(&setup.plan) else {
        return Ok(Earlier::unknown("no sample is named, so that earlier doses are not known"));
    };
    let root = folder.join("dose");
    if !root.is_dir() {
        return Ok(Earlier::unknown(format!("no dose was kept in {} yet", folder.display())));
    }
    let ledger = Ledger::visit(root);
    let scan = ScanRef::of(&setup.plan);
    let basis = planned.model.basis();
    let question = Question {
        region: &region,
        scan: &scan,
        kind: planned.model.kind,
        basis: &basis,
        lattice: &planned.model.lattice,
    };
    let mut prior: Prior = ledger.prior(&question);
    let damaged = ledger.damaged();
    if let Some(first) = damaged.first() {
        prior
            .remarks
            .push(format!("{} files of the ledger are damaged and count as nothing: {first}", damaged.len()));
    }
    Ok(Earlier::of(prior))
}

/// Measures the plan and every saving; nothing where that is not wanted, or cannot be.
fn simulate(
    args: &DoseArgs,
    setup: &Setup,
    list: &[Saving],
    recipe: &crate::classify::Recipe,
) -> Result<Vec<Measured>, Failure> {
    if args.draws == 0 {
        return Ok(Vec::new());
    }
    let reach = |energy_ev: &&f64| recipe.references.od_at(**energy_ev).is_some();
    if !setup.plan.energies_ev.iter().any(|energy_ev| reach(&energy_ev)) {
        return Ok(Vec::new());
    }
    let none = Change::none(setup.plan.energies_ev.len());
    let changes: Vec<&Change> =
        std::iter::once(&none).chain(list.iter().map(|saving| &saving.change)).collect();
    let bar = ProgressBar::new(0);
    let style = ProgressStyle::with_template("simulating [{bar:40}] {pos}/{len}  {eta} left");
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    let progress = |done: usize, total: usize| {
        bar.set_length(total as u64);
        bar.set_position(done as u64);
    };
    let measured = measure(setup, &changes, recipe, (args.draws, args.seed), &progress);
    bar.finish_and_clear();
    measured.map_err(Failure::data)
}

/// Reads a text file.
fn read_text(path: &Path) -> Result<String, Failure> {
    std::fs::read_to_string(path)
        .map_err(|error| Failure::usage(format_args!("cannot read {}: {error}", path.display())))
}
