//! The whole daemon: built first, with every socket bound and nothing running, then run.
//!
//! Shutdown goes with the data: the sources stop, the receiving thread takes what is in the queue and ends every
//! open scan, the mapping thread hands them over, the archiving thread writes them, and only then the outputs
//! close. What is not done when [`Settings`]' `daemon.drain_s` is over is named in the [`RunReport`].

mod error;
mod threads;

use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender};
use std::time::{Duration, Instant};

use chrono::Utc;
use tokio::net::TcpListener;
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use super::absent::Absent;
use super::alerts::{AlertHand, Clerk};
use super::at_work::AtWork;
use super::errands::{Errand, OperatorsHand};
use super::household::{Household, tell};
use super::in_use::InUse;
use super::keeper::Pins;
use super::pulse::Pulses;
use super::queue::{Limits, bounded};
use super::receive::run_source;
use super::reload::{self, Reloader, Reloads};
use super::screen::{ArchiveLibrary, Parts};
use super::shelf::{Checked, Shelf};
use super::supervisor::{self, Word};
use super::uploads::UploadHand;
use super::wiring::{alerting, endpoints, http_state, open_journal, source_parts, warn_of_journals};
use super::{backend, copies, recipe};
use crate::classify::Recipe;
use crate::damage::Ledger;
use crate::journal::Store;
use crate::publish::board::Board;
use crate::publish::http::{self, HttpState};
use crate::publish::zmq::{Publisher, PublisherHandle, PublisherSettings};
use crate::reference::ReferenceSet;
use crate::settings::Settings;
use crate::source::frames::{SourceStatus, ZmqFrameSource};
use crate::telemetry::MetricsHandle;
pub use error::AppError;
use threads::{Threads, spawn, task};

/// Longest wait for alerts to be written down and tried once, when everything else is done.
const ALERTS_PATIENCE: Duration = Duration::from_secs(10);

/// Where the daemon can be reached.
#[derive(Clone, Debug)]
pub struct Addresses {
    /// The sources, `tcp://host:port`, in the order of the settings.
    pub sources: Vec<String>,
    /// The ZeroMQ output, `tcp://host:port`.
    pub publish: String,
    /// HTTP, `host:port`.
    pub http: std::net::SocketAddr,
}

/// How a run ended.
#[derive(Clone, Debug, Default)]
pub struct RunReport {
    /// What was not done in time, or went wrong in a thread; empty after a clean run.
    pub unfinished: Vec<String>,
    /// Whether a thread broke: a bug of ours.
    pub broken: bool,
}

/// The daemon, built and not running.
pub struct App {
    settings: Settings,
    addresses: Addresses,
    /// The sockets of each.
    sources: Vec<Vec<(ZmqFrameSource, Arc<SourceStatus>)>>,
    publisher: Publisher,
    handle: PublisherHandle,
    listener: TcpListener,
    http: HttpState,
    board: Board,
    shelf: Arc<Shelf>,
    in_use: Arc<InUse>,
    library: Arc<ArchiveLibrary>,
    /// Other references, outputs of alerts and the like, while it runs.
    reloads: Option<Reloads>,
    /// The state directory, and what goes into every journal.
    journal: Option<(Arc<Store>, Pins)>,
    /// What was deposited in every region; where there is a journal.
    ledger: Option<Arc<Ledger>>,
    metrics: MetricsHandle,
    uploads: UploadHand,
    /// What operators wish of scans that are received, from where to where.
    errands: Option<Receiver<Errand>>,
    wishes: SyncSender<Errand>,
    /// What whoever changes something over HTTP has to show.
    token: Option<String>,
    /// Where alerts are told, and who sees to them.
    alerts: (AlertHand, Clerk),
}

impl std::fmt::Debug for App {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("App").field("addresses", &self.addresses).finish_non_exhaustive()
    }
}

impl App {
    /// Binds every socket and reads every file that `settings` name. A model that cannot be used is no error:
    /// maps are then made without, and say so.
    ///
    /// # Errors
    /// What cannot be bound or read.
    pub async fn build(
        settings: Settings,
        references: Arc<ReferenceSet>,
        metrics: MetricsHandle,
    ) -> Result<Self, AppError> {
        let recipe = recipe(&settings, Arc::clone(&references))?;
        // The lock comes first: nothing of another daemon's is touched.
        let journal = match settings.journal.enabled {
            true => Some(open_journal(&settings, &references, &recipe)?),
            false => {
                // The token and recordings go there all the same.
                Store::check_format(&settings.daemon.state_dir)?;
                warn_of_journals(&settings);
                None
            }
        };
        let mut sources = Vec::new();
        let mut source_addresses = Vec::new();
        for source in &settings.sources {
            let mut sockets = Vec::new();
            for (name, endpoint) in endpoints(source, settings.limits.message_bytes) {
                let opened = ZmqFrameSource::open(endpoint).await;
                let (opened, address) =
                    opened.map_err(|error| AppError::Source { name: name.clone(), error })?;
                tracing::info!(source = name, address, "listening to the beamline");
                if sockets.is_empty() {
                    source_addresses.push(address);
                }
                sockets.push((opened, Arc::new(SourceStatus::new(name))));
            }
            sources.push(sockets);
        }
        let bounds = PublisherSettings { queue_bytes: settings.publish.queue_bytes, ..Default::default() };
        let (publisher, handle) = Publisher::bind(&settings.publish.bind, bounds).await?;
        let address = settings.http.listen;
        let failed = |error| AppError::Http { address, error };
        let listener = TcpListener::bind(address).await.map_err(failed)?;
        let addresses = Addresses {
            sources: source_addresses,
            publish: publisher.endpoint().to_owned(),
            http: listener.local_addr().map_err(failed)?,
        };
        let board = Board::new(256).with_map_bytes(settings.limits.kept_bytes / 4);
        let (alerting, clerk, token) = alerting(&settings, addresses.http, &handle);
        let hand = alerting.alerts.clone();
        let shelf = Shelf::new(
            settings.model.path.clone(),
            backend(&settings.model),
            references.sha256.clone(),
            settings.model.batch,
        );
        let shelf = Arc::new(shelf.keeping(journal.as_ref().map(|(store, _)| Arc::clone(store))));
        let kept = journal.as_ref().map(|(_, pins)| pins.references.clone());
        let in_use = Arc::new(InUse::new(recipe, kept));
        let library = ArchiveLibrary::new(
            settings.archive.root.clone(),
            Arc::clone(&in_use),
            settings.limits.stack_bytes,
        );
        let library = Arc::new(library.telling(alerting.health.clone()));
        let parts = Parts {
            sources: source_parts(&settings, &sources, &addresses.sources),
            shelf: Arc::clone(&shelf),
            in_use: Arc::clone(&in_use),
            settings: settings.clone(),
            publish: addresses.publish.clone(),
            metrics: metrics.clone(),
            started: Utc::now(),
            library: Arc::clone(&library),
        };
        let (operators, errands) = OperatorsHand::new(Arc::clone(&shelf));
        let wishes = operators.errands();
        let http = http_state(&board, alerting, parts, operators);
        // Before the first scan can begin: what is archived must not depend on who was faster.
        let first = Arc::clone(&shelf);
        let checked = tokio::task::spawn_blocking(move || first.check()).await.unwrap_or(Checked::Unchanged);
        tell(&checked);
        let ledger = match &journal {
            Some((store, _)) => {
                let root = store.root().join("dose");
                tokio::task::spawn_blocking(move || Arc::new(Ledger::open(root))).await.ok()
            }
            None => None,
        };
        let uploads = UploadHand::new(settings.archive.root.clone());
        Ok(Self {
            ledger,
            uploads,
            token,
            errands: Some(errands),
            wishes,
            reloads: None,
            in_use,
            library,
            alerts: (hand, clerk),
            settings,
            addresses,
            sources,
            publisher,
            handle,
            listener,
            http,
            board,
            shelf,
            journal,
            metrics,
        })
    }

    /// The same, making maps by another recipe, with its references.
    #[must_use]
    pub fn with_recipe(self, recipe: Recipe) -> Self {
        self.in_use.set(recipe, self.in_use.kept());
        self
    }

    /// The same, reading its configuration again when that is wished.
    #[must_use]
    pub fn with_reloads(self, reloads: Reloads) -> Self {
        Self { reloads: Some(reloads), ..self }
    }

    /// Where the daemon can be reached.
    #[must_use]
    pub fn addresses(&self) -> &Addresses {
        &self.addresses
    }

    /// What whoever changes something over HTTP has to show; `None` where nobody can.
    #[must_use]
    pub fn token(&self) -> Option<&str> {
        self.token.as_deref()
    }

    /// What HTTP shows.
    #[must_use]
    pub fn board(&self) -> &Board {
        &self.board
    }

    /// Runs until `stop`, then drains.
    ///
    /// # Errors
    /// Where a thread cannot be started.
    pub async fn run(mut self, stop: CancellationToken) -> Result<RunReport, AppError> {
        let outputs = CancellationToken::new();
        let limits = Limits { bytes: self.settings.limits.queue_bytes, items: 1 << 20 };
        let (queue, receiver) = bounded(limits);
        let at_work = [AtWork::on_the_archive(), AtWork::on_the_journal()];
        let (resumed, was_resumed) = oneshot::channel();
        let errands = self.errands.take();
        let pulses = Pulses::new(at_work.clone(), Instant::now());
        let threads = Threads::start(&self, receiver, &stop, resumed, pulses.clone(), errands)?;
        let (alerts, clerk) = self.alerts;
        let routes = clerk.routes();
        let runtime = Handle::current();
        let clerk = spawn("alerts", &stop, move || clerk.run(&runtime))?;
        copies::start(
            &self.settings.archive,
            self.uploads.clone(),
            self.http.health().clone(),
            outputs.clone(),
        );
        let publisher = task(&stop, self.publisher.run(outputs.clone()));
        let http = task(&stop, http::serve(self.listener, self.http.clone(), outputs.clone()));
        let household = Household {
            shelf: Arc::clone(&self.shelf),
            metrics: self.metrics,
            health: self.http.health().clone(),
            at_work,
            queue: queue.watch(),
            store: self.journal.as_ref().map(|(store, _)| Arc::clone(store)),
            in_use: Arc::clone(&self.in_use),
            settings: self.settings.clone(),
        };
        let statuses = self.sources.iter().map(|sockets| sockets.iter().map(|(_, status)| status).collect());
        let absent = Absent::new(&self.settings, statuses);
        let tick = task(&stop, household.keep(absent, outputs.clone()));
        let references = self.in_use.recipe().references.len();
        if let Some(Reloads { load, relevel, wishes }) = self.reloads {
            let reloader = Reloader {
                load,
                relevel,
                last: self.settings.clone(),
                settings: self.settings.clone(),
                in_use: self.in_use,
                awaited: None,
                renewals: (0, 0),
                journal: self.journal,
                shelf: self.shelf,
                library: self.library,
                errands: self.wishes,
                routes,
                health: self.http.health().clone(),
            };
            let shows = format!("http://{}/ shows what it does", self.addresses.http);
            task(&stop, reload::keep(reloader, wishes, shows, stop.clone()));
        }
        let sources: Vec<_> = self
            .sources
            .into_iter()
            .enumerate()
            .flat_map(|(index, sockets)| sockets.into_iter().map(move |socket| (index, socket)))
            .map(|(index, (source, status))| {
                task(&stop, run_source(index, source, queue.clone(), stop.clone(), status))
            })
            .collect();
        drop(queue);
        // It fails where the thread broke, which stops the daemon.
        if stop.run_until_cancelled(was_resumed).await.is_some() {
            self.http.set_ready(true);
            let stuck_s = Duration::from_secs_f64(self.settings.daemon.stuck_s);
            task(&stop, supervisor::watch(pulses, stuck_s, self.http.health().clone(), stop.clone()));
            supervisor::tell(Word::Ready(&format!("http://{}/ shows what it does", self.addresses.http)));
            tracing::info!(
                publish = self.addresses.publish,
                http = %self.addresses.http,
                archive = %self.settings.archive.root.display(),
                references,
                "ready"
            );
            stop.cancelled().await;
        }
        supervisor::tell(Word::Stopping);
        tracing::info!("stopping: open scans are archived as they are");
        let mut report = RunReport::default();
        for source in sources {
            if source.await.is_err() {
                report.broken = true;
                report.unfinished.push("the task of a source broke; this is a bug".to_owned());
            }
        }
        let patience = Duration::from_secs_f64(self.settings.daemon.drain_s);
        let joined = tokio::task::spawn_blocking(move || threads.join());
        match tokio::time::timeout(patience, joined).await {
            Ok(Ok(broken)) => {
                report.broken |= !broken.is_empty();
                report.unfinished.extend(broken);
            }
            Ok(Err(_)) => report.unfinished.push("waiting for the threads broke".to_owned()),
            Err(_) => {
                report
                    .unfinished
                    .push(format!("not everything was archived within {} s", patience.as_secs_f64()));
            }
        }
        // Whoever told alerts is done, or is not waited for.
        alerts.close();
        let told = tokio::task::spawn_blocking(move || clerk.join());
        match tokio::time::timeout(ALERTS_PATIENCE, told).await {
            Ok(Ok(Ok(()))) => {}
            Err(_) => report.unfinished.push("alerts could not be written down".to_owned()),
            Ok(_) => {
                report.broken = true;
                report.unfinished.push("the alerts thread broke; this is a bug".to_owned());
            }
        }
        outputs.cancel();
        let (published, served) = tokio::join!(publisher, http);
        for (what, is_broken) in [("publishing", published.is_err()), ("http", served.is_err())] {
            if is_broken {
                report.broken = true;
                report.unfinished.push(format!("the task of {what} broke; this is a bug"));
            }
        }
        if let Ok(Err(error)) = served {
            report.unfinished.push(format!("http ended: {error}"));
        }
        tick.abort();
        for what in &report.unfinished {
            tracing::error!("{what}");
        }
        tracing::info!("stopped");
        Ok(report)
    }
}
