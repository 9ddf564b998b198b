//! The threads that do the work: made with all that they need, started, and waited for.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use chrono::Utc;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use super::{App, AppError};
use crate::pipeline::archiver::Archiver;
use crate::pipeline::doses::Doses;
use crate::pipeline::errands::Errand;
use crate::pipeline::ingest::{Ingest, Journal};
use crate::pipeline::keeper::{Keeper, KeeperSettings};
use crate::pipeline::mapper::{Mapper, MapperSettings, Outlet};
use crate::pipeline::orders::Orders;
use crate::pipeline::places::Places;
use crate::pipeline::pulse::Pulses;
use crate::pipeline::queue::QueueReceiver;
use crate::pipeline::resume::{Recipes, Resumer};
use crate::pipeline::shelf::{ModelHand, Reader};
use crate::pipeline::sync::syncer;
use crate::pipeline::wiring::{lines, raw_logs, resend_office, scans};
use crate::pipeline::workboard::Workboard;
use crate::pipeline::{advice, dose, monitor};
use crate::settings::SourceSettings;
use crate::source::frames::RawMessage;

/// The threads that do the work.
pub(super) struct Threads {
    handles: Vec<(&'static str, JoinHandle<()>)>,
}

impl Threads {
    pub(super) fn start(
        app: &App,
        receiver: QueueReceiver<RawMessage>,
        stop: &CancellationToken,
        resumed: oneshot::Sender<()>,
        pulses: Pulses,
        errands: Option<Receiver<Errand>>,
    ) -> Result<Self, AppError> {
        let settings = &app.settings;
        let health = app.http.health();
        let Pulses { threads: [receiving, mapping, archiving], at_work: [on_the_archive, on_the_journal] } =
            pulses;
        let workboard = Arc::new(Workboard::default());
        let orders = Orders::new(settings.limits.open_scans);
        let recipes = Recipes::default();
        let sources: Vec<String> = settings.sources.iter().map(|source| source.name.clone()).collect();
        let outlet = Outlet::new(app.board.clone(), app.handle.clone());
        let doses =
            Arc::new(Doses::new(dose(settings), app.ledger.clone(), app.board.clone(), health.clone()));
        let places =
            app.journal.as_ref().map(|(store, _)| Places::new(store.root().join("damage"), health.clone()));
        let archiver = Archiver::new(
            settings.archive.root.clone(),
            serde_json::to_value(settings).unwrap_or_default(),
            outlet,
            ModelHand::new(Arc::clone(&app.shelf), Reader::Archive),
            health.clone(),
            on_the_archive,
        )
        .with_uploads(app.uploads.clone())
        .with_doses(Arc::clone(&doses))
        .with_watch(monitor(settings), places)
        .with_alerts(app.alerts.0.clone());
        let mapper = Mapper::new(
            MapperSettings {
                min_interval: Duration::from_millis(settings.publish.min_interval_ms as u64),
                recipe: app.in_use.recipe(),
                advice: advice(settings),
                sources: sources.clone(),
                recipes: recipes.clone(),
                journals: app.journal.as_ref().map(|(store, _)| Arc::clone(store)),
                doses,
                watch: monitor(settings),
            },
            Arc::clone(&workboard),
            app.board.clone(),
            app.handle.clone(),
            ModelHand::new(Arc::clone(&app.shelf), Reader::Live),
            orders.clone(),
        )
        .with_alerts(app.alerts.0.clone());
        let mut ingest = Ingest::new(lines(settings), scans(settings), workboard)
            .with_resend(resend_office(settings, stop));
        let mut handles = Vec::new();
        if let Some((store, pins)) = &app.journal {
            let (syncer, work) = syncer(Duration::from_secs_f64(settings.journal.sync_s), health.clone());
            handles.push(("sync", spawn("sync", stop, move || work.run())?));
            let resumer = Resumer {
                sources,
                references: pins.references.clone(),
                recipe: pins.recipe.clone(),
                recipes,
                health: health.clone(),
                left: Arc::default(),
            };
            let shelf = Arc::clone(&app.shelf);
            let keeping = KeeperSettings {
                pins: pins.clone(),
                model: Box::new(move || shelf.in_use()),
                limit_bytes: settings.limits.queue_bytes,
            };
            let now = (Instant::now(), Utc::now());
            let keeper = Keeper::new(Arc::clone(store), keeping, syncer, health.clone(), now)
                .seen_through(on_the_journal);
            let seconds = |source: &SourceSettings| Duration::from_secs_f64(source.reopen_s);
            let reopen = settings.sources.iter().map(seconds).collect();
            ingest = ingest.with_journal(Journal { keeper, resumer, reopen, looked_for: HashMap::new() });
        }
        if let Some(errands) = errands {
            ingest = ingest.with_errands(errands);
        }
        if settings.journal.record_bytes > 0 {
            ingest = ingest.with_raw_logs(raw_logs(settings));
        }
        handles.push(("archive", spawn("archive", stop, move || archiver.run(&orders, &archiving))?));
        handles.push(("map", spawn("map", stop, move || mapper.run(&mapping))?));
        let receive = move || {
            ingest.resume();
            // Nobody waits any more where the daemon was stopped meanwhile.
            _ = resumed.send(());
            ingest.run(receiver, &receiving);
        };
        handles.push(("receive", spawn("receive", stop, receive)?));
        Ok(Self { handles })
    }

    /// Waits for all threads, those before first; returns what broke.
    pub(super) fn join(self) -> Vec<String> {
        let broken = |(name, handle): (&str, JoinHandle<()>)| {
            handle.join().is_err().then(|| format!("the {name} thread broke; this is a bug"))
        };
        self.handles.into_iter().rev().filter_map(broken).collect()
    }
}

/// Stops the daemon when the thread that holds it panics: whoever supervises it starts it again, where otherwise
/// it would stay, look well and do nothing.
struct StopOnPanic(CancellationToken);

impl Drop for StopOnPanic {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.cancel();
        }
    }
}

/// Starts a task of the runtime, whose end by a panic stops the daemon, too: a source that nobody hears any more would else look well for ever.
pub(super) fn task<T: Send + 'static>(
    stop: &CancellationToken,
    work: impl Future<Output = T> + Send + 'static,
) -> tokio::task::JoinHandle<T> {
    let guard = StopOnPanic(stop.clone());
    tokio::spawn(async move {
        let _guard = guard;
        work.await
    })
}

pub(super) fn spawn(
    name: &str,
    stop: &CancellationToken,
    work: impl FnOnce() + Send + 'static,
) -> Result<JoinHandle<()>, AppError> {
    let guard = StopOnPanic(stop.clone());
    let work = move || {
        let _guard = guard;
        work();
    };
    thread::Builder::new().name(name.to_owned()).spawn(work).map_err(AppError::Thread)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_task_that_panics_stops_the_daemon_and_one_that_ends_does_not() {
        let stop = CancellationToken::new();
        assert_eq!(task(&stop, async { 7 }).await.ok(), Some(7));
        assert!(!stop.is_cancelled());
        let broken = task(&stop, async {
            tokio::task::yield_now().await;
            assert!(stop_is_far(), "a bug");
        });
        assert!(broken.await.is_err() && stop.is_cancelled());
    }

    fn stop_is_far() -> bool {
        false
    }
}
