//! `phasewatch replay JOURNAL`: maps once more what a journal holds, with what the scan began with: the same bytes of phase map.
//!
//! As it is, the journal is read and its settled map written. With `--speed` the messages are sent over ZeroMQ to a daemon in this
//! process at the pace at which they came, times X, with page, live maps and archive, as `demo` does it. A recording of the wire
//! (`journal.record_bytes`, `phasewatch sniff --record`) is played the same way, as raw as it was and in its own format; or, with `--bind` or `--connect`, to whoever
//! listens there.

mod stage;
mod wire;

use std::path::PathBuf;
use std::time::Duration;

use chrono::Utc;
use clap::Args;
use indicatif::ProgressBar;
use tokio_util::sync::CancellationToken;

use super::demo::watch;
use super::run::{failure, runtime, stop_on_signal};
use super::{Failure, print, say};
use crate::archive::{self, ArchiveJob};
use crate::classify::{PosteriorModel, settle};
use crate::pipeline::replayed::Replayed;
use crate::pipeline::{App, archiver, findings_of, kept_place, look_at_settled, settle_dose};
use crate::publish::board::ScanState;
use crate::scan::Outcome;
use crate::simulate::{Endpoint, PublishEvent, PublishSettings, publish};
use crate::telemetry::{self, LogFormat, LogLevel, LogPriority};
use stage::Stage;
use wire::Wire;

/// Arguments of `phasewatch replay`.
#[derive(Debug, Args)]
pub struct ReplayArgs {
    /// Folder of a journal (<daemon.state_dir>/journal/<scan>), or a recording of the wire
    /// (<daemon.state_dir>/raw/<source>.arrows, or of `phasewatch sniff --record`).
    journal: PathBuf,
    /// Folder that gets the result, as the folder of one archived scan; with --speed the root of an archive.
    #[arg(long, value_name = "DIR", default_value = "phasewatch-replay")]
    out: PathBuf,
    /// Play it through a daemon of its own, with page and live maps. 1: at the pace at which it came; X: so many times faster; 0: as
    /// fast as possible.
    #[arg(long, value_name = "X")]
    speed: Option<f64>,
    /// Directory of reference spectra instead of those that the scan began with; needed for a recording of the wire.
    #[arg(long, value_name = "DIR")]
    references: Option<PathBuf>,
    /// ONNX model instead of the one that was asked.
    #[arg(long, value_name = "FILE")]
    model: Option<PathBuf>,
    /// Configuration file whose settings are taken instead of those that the scan began with.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Send a recording of the wire to whoever listens at this address, as its sender did, instead of to a daemon of its own: bind the
    /// address.
    #[arg(long, value_name = "ADDR", conflicts_with_all = ["keep_serving", "model", "references"])]
    bind: Option<String>,
    /// As --bind, but connect to the address.
    #[arg(long, value_name = "ADDR", conflicts_with_all = ["bind", "keep_serving", "model", "references"])]
    connect: Option<String>,
    /// Keep page and API open at the end, until interrupted; with --speed.
    #[arg(long, requires = "speed")]
    keep_serving: bool,
}

/// Replays.
///
/// # Errors
/// [`Failure`]: what cannot be read or written.
pub(super) fn run(args: &ReplayArgs, log_format: Option<LogFormat>) -> Result<(), Failure> {
    if args.speed.is_some_and(|speed| !speed.is_finite() || speed < 0.0) {
        return Err(Failure::usage("--speed must be 0 or more"));
    }
    telemetry::init(LogLevel::Warn, log_format.unwrap_or(LogFormat::Text), LogPriority::Auto)
        .map_err(Failure::bug)?;
    if args.bind.is_some() || args.connect.is_some() {
        return send(args);
    }
    if args.journal.is_file() && args.speed.is_none() {
        return Err(Failure::usage(
            "a recording of the wire is played to a daemon: give --speed, 0 for as fast as possible",
        ));
    }
    if args.speed.is_some() { play(args) } else { settled(args) }
}

/// Reads the journal and writes its settled map.
fn settled(args: &ReplayArgs) -> Result<(), Failure> {
    let bar = ProgressBar::new_spinner().with_message("reading the journal");
    bar.enable_steady_tick(Duration::from_millis(100));
    let replayed = Replayed::read(&args.journal).map_err(Failure::data)?;
    for what in replayed.contents.damaged.iter().take(20) {
        say(format_args!("damaged, left out: {what}"));
    }
    let mut stage = Stage::of_journal(args, &replayed.pinned)?;
    let Some(stack) = &replayed.stack else {
        return Err(Failure::data(format_args!("{}: the journal has no plan", args.journal.display())));
    };
    bar.set_message("mapping");
    let model = stage.oracle.as_mut().map(|oracle| oracle as &mut dyn PosteriorModel);
    let mut settled = settle(stack, &stage.recipe, model);
    if let Some(failure) = &settled.model_failure {
        return Err(Failure::data(format_args!("the model failed: {failure}")));
    }
    let basis = settle_dose(stack, &mut settled, &stage.recipe, &stage.dose, Some(&args.journal));
    let seen = look_at_settled(
        stack,
        &settled,
        &stage.recipe,
        &stage.watch,
        basis.as_ref(),
        kept_place(&args.journal),
    );
    let spectra = archiver::spectra_of(stack, &settled, stage.recipe.absorption.max_od);
    let findings = findings_of(stack, &settled, &stage.recipe, stage.dose.spot_nm);
    let job = ArchiveJob {
        stack,
        map: &settled.map,
        spectra: &spectra,
        findings: &findings,
        damage: seen.as_ref().and_then(|seen| seen.to_json().ok()),
        energies: archiver::energy_rows(stack, &settled),
        outcome: replayed.outcome.clone(),
        provisional: matches!(replayed.outcome, Outcome::Partial { .. }),
        settings: replayed.pinned.settings.clone(),
        reopen: false,
        archived_at: Utc::now(),
    };
    let folder = archive::write_folder(&args.out, &job).map_err(Failure::unavailable)?;
    bar.finish_and_clear();
    super::classify::tell_map(&settled.map);
    let missing = stack.sequence().missing();
    print(format_args!(
        "{} lines, {} of {} values, {missing} messages missing",
        replayed.contents.lines,
        stack.measured(),
        stack.plan().planned_values()
    ));
    say(format_args!("written to {}", folder.display()));
    Ok(())
}

/// Sends a recording to whoever listens.
fn send(args: &ReplayArgs) -> Result<(), Failure> {
    if !args.journal.is_file() {
        return Err(Failure::usage(
            "only a recording of the wire is sent as it was: --bind and --connect are for those",
        ));
    }
    let wire = Wire::open(&args.journal).map_err(Failure::data)?;
    let (endpoint, socket) = match (&args.bind, &args.connect) {
        (Some(address), _) => (Endpoint::Bind(address.clone()), wire.as_it_was()),
        (None, address) => (Endpoint::Connect(address.clone().unwrap_or_default()), wire.as_it_was()),
    };
    say(format_args!("replaying {} ({})", args.journal.display(), wire.kind()));
    let settings = PublishSettings {
        data: None,
        endpoint,
        socket,
        speed: args.speed.unwrap_or(1.0),
        wait_for_peer: true,
        linger: Duration::from_secs(2),
    };
    let sent = runtime()?.block_on(async {
        let stop = CancellationToken::new();
        tokio::spawn(stop_on_signal(stop.clone()));
        let tell = |event| match event {
            PublishEvent::Bound(address) => say(format_args!("bound to {address}")),
            PublishEvent::Waiting => say("waiting for a receiver"),
            _ => {}
        };
        publish(settings, wire.messages(false), stop, tell).await.map_err(Failure::unavailable)
    })?;
    print(format_args!("sent {} messages, {} bytes", sent.messages, sent.bytes));
    Ok(())
}

/// Plays the messages to a daemon of its own.
fn play(args: &ReplayArgs) -> Result<(), Failure> {
    let metrics = telemetry::install().map_err(Failure::bug)?;
    runtime()?.block_on(async {
        let stage = Stage::of(args)?;
        let app = App::build(stage.settings.clone(), stage.recipe.references.clone(), metrics).await;
        let app = app.map_err(|error| failure(&error))?.with_recipe(stage.recipe.clone());
        let (addresses, board) = (app.addresses().clone(), app.board().clone());
        say(format_args!("replaying {}", args.journal.display()));
        say(format_args!("  page     http://{}/", addresses.http));
        say(format_args!(
            "  maps     {} (ZeroMQ SUB, topics phase_map/, spectra/, scan/)",
            addresses.publish
        ));
        let stop = CancellationToken::new();
        tokio::spawn(stop_on_signal(stop.clone()));
        let running = tokio::spawn(app.run(stop.clone()));
        let settings = PublishSettings {
            data: None,
            endpoint: Endpoint::Connect(addresses.sources[0].clone()),
            socket: stage.socket,
            speed: args.speed.unwrap_or(0.0),
            wait_for_peer: true,
            linger: Duration::from_secs(2),
        };
        let scan_id = stage.scan_id.clone();
        let bar = super::demo::bar(stage.energies);
        let sending = publish(settings, stage.messages, stop.clone(), |_: PublishEvent| {});
        let watching = async {
            match &scan_id {
                Some(scan_id) => watch(&board, scan_id, &bar, &stop).await,
                None => None,
            }
        };
        let (sent, entry) = tokio::join!(sending, watching);
        bar.finish_and_clear();
        let sent = sent.map_err(Failure::unavailable);
        if let Some(entry) = entry.filter(|entry| entry.summary.state == ScanState::Archived) {
            super::demo::tell(&entry, None, &addresses);
        }
        if args.keep_serving && !stop.is_cancelled() {
            say(format_args!("serving http://{}/ until interrupted (Ctrl-C)", addresses.http));
            stop.cancelled().await;
        }
        // What is open is archived as it is.
        stop.cancel();
        let report = running.await.map_err(Failure::bug)?.map_err(|error| failure(&error))?;
        report.unfinished.iter().for_each(say);
        let sent = sent?;
        print(format_args!("{} messages, {:.1} MB over ZeroMQ", sent.messages, sent.bytes as f64 / 1e6));
        say(format_args!("archive: {}", args.out.display()));
        Ok(())
    })
}
