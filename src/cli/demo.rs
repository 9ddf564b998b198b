//! `phasewatch demo`: the whole thing on one machine. A simulated microscope, or a recorded stack, is published
//! over real ZeroMQ on loopback; the daemon maps it live; a page shows it; the archive lands in a folder.

mod stage;
mod truth;

use std::io::IsTerminal as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use chrono::Utc;
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use tokio_util::sync::CancellationToken;

use super::run::{failure, runtime, stop_on_signal};
use super::{Failure, print, say};
use crate::pipeline::{Addresses, App};
use crate::publish::board::{Board, BoardEntry, ScanState, ScanSummary};
use crate::simulate::{
    Endpoint, MessageSettings, PublishEvent, PublishSettings, ScanMessages, SocketKind, publish,
};
use crate::telemetry::{self, LogFormat, LogLevel, LogPriority};
use stage::Stage;
pub(super) use stage::port as free_or_any;

/// About how long a demo takes where no speed is asked for.
const DEFAULT_DURATION_S: f64 = 20.0;
/// Longest wait for the archive once everything was sent.
const ARCHIVE_PATIENCE: Duration = Duration::from_secs(600);

/// Arguments of `phasewatch demo`.
#[derive(Debug, Args)]
pub struct DemoArgs {
    /// Replay this recorded stack (an ALS .hdr, an NXstxm or Mantis HDF5, or a stack.parquet of the archive) instead of a
    /// simulation.
    #[arg(long, value_name = "FILE", requires = "references")]
    stack: Option<PathBuf>,
    /// Directory of reference spectra; needed with --stack, else the built-in synthetic NVPF set.
    #[arg(long, value_name = "DIR")]
    references: Option<PathBuf>,
    /// ONNX model to ask about ambiguous pixels; the built-in one serves the built-in references.
    #[arg(long, value_name = "FILE")]
    model: Option<PathBuf>,
    /// Folder that gets the archive.
    #[arg(long, value_name = "DIR", default_value = "phasewatch-demo")]
    out: PathBuf,
    /// 1: as fast as the microscope; X: so many times faster; 0: as fast as possible [default: about 20 s in all].
    #[arg(long, value_name = "X")]
    speed: Option<f64>,
    /// Seed of the simulation.
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// Keep page and API open at the end, until interrupted.
    #[arg(long)]
    keep_serving: bool,
}

/// Runs the demo.
///
/// # Errors
/// [`Failure`]: bad files, or a port that cannot be had.
pub(super) fn run(args: &DemoArgs, log_format: Option<LogFormat>) -> Result<(), Failure> {
    if args.speed.is_some_and(|speed| !speed.is_finite() || speed < 0.0) {
        return Err(Failure::usage("--speed must be 0 or more"));
    }
    let level = if std::io::stderr().is_terminal() { LogLevel::Warn } else { LogLevel::Info };
    telemetry::init(level, log_format.unwrap_or(LogFormat::Text), LogPriority::Auto).map_err(Failure::bug)?;
    let metrics = telemetry::install().map_err(Failure::bug)?;
    let stage = Stage::set(args, Utc::now())?;
    runtime()?.block_on(async {
        let references = Arc::clone(&stage.references);
        let app =
            App::build(stage.settings.clone(), references, metrics).await.map_err(|error| failure(&error))?;
        let (addresses, board) = (app.addresses().clone(), app.board().clone());
        greet(&stage, &addresses, app.token());
        let stop = CancellationToken::new();
        tokio::spawn(stop_on_signal(stop.clone()));
        let running = tokio::spawn(app.run(stop.clone()));
        let played = play(args, stage, &addresses, &board, &stop).await;
        if played.is_ok() && args.keep_serving && !stop.is_cancelled() {
            say(format_args!("serving http://{}/ until interrupted (Ctrl-C)", addresses.http));
            stop.cancelled().await;
        }
        stop.cancel();
        let report = running.await.map_err(Failure::bug)?.map_err(|error| failure(&error))?;
        report.unfinished.iter().for_each(say);
        played
    })
}

fn greet(stage: &Stage, addresses: &Addresses, token: Option<&str>) {
    say(format_args!("{}", stage.title));
    // Of a demonstration on this machine the token is no secret; the page takes it from its own address.
    let token = token.map_or_else(String::new, |token| format!("#token={token}"));
    say(format_args!("  page     http://{}/{token}", addresses.http));
    say(format_args!("  maps     {} (ZeroMQ SUB, topics phase_map/, spectra/, scan/)", addresses.publish));
    say(format_args!("  archive  {}", stage.settings.archive.root.display()));
}

/// Sends the scan and shows how its map grows; then tells what came of it.
async fn play(
    args: &DemoArgs,
    stage: Stage,
    addresses: &Addresses,
    board: &Board,
    stop: &CancellationToken,
) -> Result<(), Failure> {
    let Stage { source, truth, plan, .. } = stage;
    let messages = ScanMessages::new(source, MessageSettings::default());
    let exposure_s: f64 =
        plan.dwell_ms.iter().map(|dwell_ms| dwell_ms * 1e-3 * plan.grid.pixels() as f64).sum();
    let speed = args.speed.unwrap_or((exposure_s / DEFAULT_DURATION_S).max(1.0));
    let settings = PublishSettings {
        data: None,
        endpoint: Endpoint::Connect(addresses.sources[0].clone()),
        socket: SocketKind::Push,
        speed,
        wait_for_peer: true,
        linger: Duration::from_secs(2),
    };
    let bar = bar(plan.energies_ev.len());
    let sending = publish(settings, messages, stop.clone(), |_: PublishEvent| {});
    let watching = watch(board, &plan.scan_id, &bar, stop);
    let (sent, entry) = tokio::join!(sending, watching);
    bar.finish_and_clear();
    let sent = sent.map_err(Failure::unavailable)?;
    let Some(entry) = entry.filter(|entry| entry.summary.state == ScanState::Archived) else {
        return if stop.is_cancelled() {
            say("interrupted; what was measured is archived as partial");
            Ok(())
        } else {
            Err(Failure::unavailable("the scan was not archived; the log above says why"))
        };
    };
    print(format_args!("{} messages, {:.1} MB over ZeroMQ", sent.messages, sent.bytes as f64 / 1e6));
    tell(&entry, truth.as_ref(), addresses);
    Ok(())
}

/// Prints what came of a scan.
pub(super) fn tell(entry: &BoardEntry, truth: Option<&crate::simulate::Truth>, addresses: &Addresses) {
    if let Some(map) = &entry.map {
        super::classify::tell_map(map);
        if let Some(truth) = truth {
            truth::compare(map, truth).iter().for_each(print);
        }
    }
    for note in &entry.summary.notes {
        say(format_args!("note: {note}"));
    }
    if let Some(path) = &entry.summary.archive_path {
        print(format_args!("archive: {path}"));
        print(format_args!("picture: {path}/phase_map.png"));
    }
    print(format_args!(
        "api:     http://{}/api/v1/scans/{} (while the demo serves)",
        addresses.http, entry.summary.scan_id
    ));
}

/// A bar of energies.
pub(super) fn bar(energies: usize) -> ProgressBar {
    let bar = ProgressBar::new(energies as u64);
    let style = ProgressStyle::with_template("{bar:30} energy {pos}/{len}  {elapsed}  {msg}");
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar
}

/// Follows the scan on the board until it is archived. Without a terminal it prints a line per energy instead.
pub(super) async fn watch(
    board: &Board,
    scan_id: &str,
    bar: &ProgressBar,
    stop: &CancellationToken,
) -> Option<BoardEntry> {
    let mut tick = tokio::time::interval(Duration::from_millis(100));
    let (mut shown, mut ended) = (None, None);
    loop {
        tick.tick().await;
        let Some(entry) = board.get(scan_id) else {
            if stop.is_cancelled() {
                return None;
            }
            continue;
        };
        let state = (entry.summary.energies_done, entry.summary.generation);
        if shown != Some(state) {
            let line = line(&entry.summary);
            bar.set_position(state.0 as u64);
            let advice = entry.summary.advice.as_ref().map(|advice| advice.text.clone());
            if bar.is_hidden() && shown.is_none_or(|(energies, _)| energies != state.0) {
                say(format_args!("energy {}/{}  {line}", state.0, entry.summary.energies_total));
                advice.iter().for_each(|advice| say(format_args!("  {advice}")));
            }
            bar.set_message(match advice {
                Some(advice) => format!("{line}\n  {advice}"),
                None => line,
            });
            shown = Some(state);
        }
        let over = entry.summary.state.is_finished() || stop.is_cancelled();
        if over && ended.is_none() {
            ended = Some(tokio::time::Instant::now());
        }
        let failed = entry.summary.notes.iter().any(|note| note.starts_with("not archived"));
        let patience = if stop.is_cancelled() { Duration::from_secs(30) } else { ARCHIVE_PATIENCE };
        if entry.summary.state == ScanState::Archived
            || failed
            || ended.is_some_and(|since: tokio::time::Instant| since.elapsed() > patience)
        {
            return Some(entry);
        }
    }
}

/// One line about a generation: what is decided, and the fractions.
fn line(summary: &ScanSummary) -> String {
    let count = |status: &str| summary.status_counts.get(status).copied().unwrap_or(0);
    let sample = count("classified") + count("mixture") + count("unknown") + count("ambiguous");
    let fractions: Vec<String> = summary
        .fractions
        .iter()
        .filter(|fraction| fraction.fraction > 0.0)
        .map(|fraction| format!("{} {:.0} %", fraction.phase, 100.0 * fraction.fraction))
        .collect();
    format!(
        "map {}: {} of {sample} decided  {}",
        summary.generation,
        count("classified") + count("mixture"),
        fractions.join(", ")
    )
}
