//! `phasewatch run --config FILE`: the daemon.

use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use tokio_util::sync::CancellationToken;

use super::{Failure, say};
use crate::pipeline::reload::Reloads;
use crate::pipeline::{App, AppError};
use crate::reference::ReferenceSet;
use crate::settings::Settings;
use crate::telemetry::{self, LogFormat};

/// Arguments of `phasewatch run`.
#[derive(Debug, Args)]
pub struct RunArgs {
    /// Configuration file; on top of the built-in defaults and /etc/phasewatch/phasewatch.toml.
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
}

/// Runs the daemon until SIGINT or SIGTERM.
///
/// # Errors
/// [`Failure`]: configuration, references, or a port that is taken.
pub(super) fn run(args: &RunArgs, log_format: Option<LogFormat>) -> Result<(), Failure> {
    let settings = Settings::load(Some(&args.config)).map_err(Failure::usage)?;
    settings.check_runnable().map_err(Failure::usage)?;
    let format = log_format.unwrap_or(settings.log.format);
    let relevel = telemetry::init(settings.log.level, format, settings.log.priority).map_err(Failure::bug)?;
    // Before any thread is there: threads stand back as those that they come from.
    step_back(settings.daemon.nice);
    let metrics = telemetry::install().map_err(Failure::bug)?;
    for warning in &settings.warnings {
        tracing::warn!("{warning}");
    }
    let references = Arc::new(references(&settings)?);
    let runtime = runtime()?;
    let ended = runtime.block_on(async {
        let wishes = reload_on_signal();
        let app = App::build(settings, references, metrics).await.map_err(|error| failure(&error))?;
        let config = args.config.clone();
        let load = Box::new(move || Settings::load(Some(&config)));
        let app = app.with_reloads(Reloads { load, relevel, wishes });
        let stop = CancellationToken::new();
        tokio::spawn(stop_on_signal(stop.clone()));
        let report = app.run(stop).await.map_err(|error| failure(&error))?;
        // What could not be done in time was said in the log; the data were drained as far as they could be.
        for what in &report.unfinished {
            say(format_args!("phasewatch: {what}"));
        }
        if report.broken {
            return Err(Failure::bug("a part of the daemon broke; the log says which"));
        }
        Ok(())
    });
    // What waits for a mount that stalled would be waited for otherwise, for ever.
    runtime.shutdown_background();
    ended
}

/// The references that `settings` name, held against what else the settings say of them.
///
/// # Errors
/// [`Failure`]: 64 where the settings are wrong, 65 where the references are.
pub(super) fn references(settings: &Settings) -> Result<ReferenceSet, Failure> {
    let Some(dir) = &settings.references.dir else {
        return Err(Failure::usage("references.dir is not set: name a directory of reference spectra"));
    };
    let references = ReferenceSet::load(dir).map_err(Failure::data)?;
    settings.damage.watch.check(&references).map_err(Failure::usage)?;
    Ok(references)
}

/// The runtime for everything that waits; numbers are crunched elsewhere.
pub(super) fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    builder.worker_threads(2).enable_all().build().map_err(Failure::unavailable)
}

/// Lets other programs go first: the acquisition, where it runs on the same machine. A daemon that was told to stand back farther stays there.
fn step_back(nice: usize) {
    use rustix::process::{getpriority_process, setpriority_process};
    let nice = i32::try_from(nice).unwrap_or(19);
    let own = getpriority_process(None).unwrap_or(0);
    if own < nice
        && let Err(error) = setpriority_process(None, nice)
    {
        tracing::warn!("the daemon cannot stand back behind other programs (daemon.nice): {error}");
    }
}

/// A wish for each SIGHUP; one that comes while another waits is the same wish. Signals are caught from this call on.
fn reload_on_signal() -> tokio::sync::mpsc::Receiver<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let (wish, wishes) = tokio::sync::mpsc::channel(1);
    match signal(SignalKind::hangup()) {
        Ok(mut hangup) => {
            tokio::spawn(async move {
                while hangup.recv().await.is_some() {
                    tracing::info!("SIGHUP: reading the configuration again");
                    // Full: it is going to be read anyway.
                    _ = wish.try_send(());
                }
            });
        }
        Err(error) => tracing::error!("cannot listen for SIGHUP: {error}"),
    }
    wishes
}

/// Cancels `stop` at SIGINT or SIGTERM; a second one ends the process at once. Signals are caught from this call on, not
/// only once what it returns runs: a daemon that says it is ready can be stopped.
pub(super) fn stop_on_signal(stop: CancellationToken) -> impl Future<Output = ()> + Send + 'static {
    use tokio::signal::unix::{SignalKind, signal};
    let signals = (signal(SignalKind::interrupt()), signal(SignalKind::terminate()));
    async move {
        let (Ok(mut interrupt), Ok(mut terminate)) = signals else {
            tracing::error!("cannot listen for signals");
            return;
        };
        let mut next = async || {
            tokio::select! {
                _ = interrupt.recv() => "SIGINT",
                _ = terminate.recv() => "SIGTERM",
            }
        };
        let name = next().await;
        tracing::info!("{name}: stopping; once more to stop at once");
        stop.cancel();
        next().await;
        #[expect(
            clippy::exit,
            reason = "asked for twice: whoever asks does not want to wait for the archive"
        )]
        std::process::exit(130);
    }
}

/// What the exit code of an error is.
pub(super) fn failure(error: &AppError) -> Failure {
    match error {
        AppError::Spectrum(_) => Failure::data(error),
        AppError::Publish(crate::publish::zmq::PublisherError::Address(_)) => Failure::usage(error),
        _ => Failure::unavailable(error),
    }
}
