//! The whole daemon: built first, with every socket bound and nothing running, then run.
//!
//! Shutdown goes with the data: the sources stop, the receiving thread takes what is in the queue and ends every
//! open scan, the mapping thread hands them over, the archiving thread writes them, and only then the outputs
//! close. What is not done when [`Settings`]' `daemon.drain_s` is over is named in the [`RunReport`].

use std::sync::Arc;
use std::sync::mpsc::sync_channel;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use chrono::Utc;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::archiver::Archiver;
use super::ingest::{Ingest, SourceLine};
use super::mapper::{Mapper, MapperSettings, Outlet};
use super::queue::{Limits, bounded};
use super::receive::run_source;
use super::scans::{Patience, ScanLimits, Scans};
use super::shelf::{Checked, ModelHand, Reader, Shelf};
use super::uploads::UploadHand;
use super::workboard::Workboard;
use super::{advice, backend, copies, recipe};
use crate::archive::{self, ArchiveError};
use crate::classify::Recipe;
use crate::detector::FrameSettings;
use crate::publish::board::Board;
use crate::publish::http::{self, HttpState};
use crate::publish::zmq::{Publisher, PublisherError, PublisherHandle, PublisherSettings};
use crate::recording::RecordingError;
use crate::reference::ReferenceSet;
use crate::settings::{Endpoint as Attachment, Settings, SocketKind as Socket, SourceSettings};
use crate::source::frames::{Attach, Endpoint, FrameError, SocketKind, SourceStatus, ZmqFrameSource};
use crate::source::stxm_stream::Framing;
use crate::telemetry::MetricsHandle;

/// Why the daemon cannot start.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    /// A source.
    #[error("source {name:?}: {error}")]
    Source {
        /// Its name.
        name: String,
        /// What is wrong with it.
        error: FrameError,
    },
    /// The ZeroMQ output.
    #[error(transparent)]
    Publish(#[from] PublisherError),
    /// The HTTP listener.
    #[error("http.listen {address}: {error}")]
    Http {
        /// The address.
        address: std::net::SocketAddr,
        /// What the operating system said.
        error: std::io::Error,
    },
    /// The archive.
    #[error("archive.root: {0}")]
    Archive(#[from] ArchiveError),
    /// The I0 spectrum.
    #[error("i0.spectrum: {0}")]
    Spectrum(#[from] RecordingError),
    /// A thread.
    #[error("cannot start a thread: {0}")]
    Thread(std::io::Error),
}

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
    sources: Vec<(ZmqFrameSource, Arc<SourceStatus>)>,
    publisher: Publisher,
    handle: PublisherHandle,
    listener: TcpListener,
    http: HttpState,
    board: Board,
    shelf: Arc<Shelf>,
    recipe: Recipe,
    metrics: MetricsHandle,
    uploads: UploadHand,
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
        std::fs::create_dir_all(&settings.archive.root)
            .map_err(|error| ArchiveError::io("creating", &settings.archive.root)(error))?;
        let recovered = archive::recover(&settings.archive.root)?;
        for path in recovered.restored.iter().chain(&recovered.removed) {
            tracing::warn!(path = %path.display(), "put the archive right after an interrupted write");
        }
        let mut sources = Vec::new();
        let mut source_addresses = Vec::new();
        for source in &settings.sources {
            let opened = ZmqFrameSource::open(endpoint(source)).await;
            let (opened, address) =
                opened.map_err(|error| AppError::Source { name: source.name.clone(), error })?;
            tracing::info!(source = source.name, address, "listening to the beamline");
            source_addresses.push(address);
            sources.push((opened, Arc::new(SourceStatus::new(source.name.clone()))));
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
        let render = metrics.clone();
        let http = HttpState::new(board.clone(), Utc::now().timestamp() as u64, move || render.render());
        let shelf = Arc::new(Shelf::new(
            settings.model.path.clone(),
            backend(&settings.model),
            references.sha256.clone(),
            settings.model.batch,
        ));
        // Before the first scan can begin: what is archived must not depend on who was faster.
        let first = Arc::clone(&shelf);
        tell(&tokio::task::spawn_blocking(move || first.check()).await.unwrap_or(Checked::Unchanged));
        let uploads = UploadHand::new(settings.archive.root.clone());
        Ok(Self {
            uploads,
            settings,
            addresses,
            sources,
            publisher,
            handle,
            listener,
            http,
            board,
            shelf,
            recipe,
            metrics,
        })
    }

    /// Where the daemon can be reached.
    #[must_use]
    pub fn addresses(&self) -> &Addresses {
        &self.addresses
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
    pub async fn run(self, stop: CancellationToken) -> Result<RunReport, AppError> {
        let outputs = CancellationToken::new();
        let limits = Limits { bytes: self.settings.limits.queue_bytes, items: 1 << 20 };
        let (queue, receiver) = bounded(limits);
        let threads = Threads::start(&self, receiver, &stop)?;
        copies::start(
            &self.settings.archive,
            self.uploads.clone(),
            self.http.health().clone(),
            outputs.clone(),
        );
        let publisher = tokio::spawn(self.publisher.run(outputs.clone()));
        let http = tokio::spawn(http::serve(self.listener, self.http.clone(), outputs.clone()));
        let tick = tokio::spawn(tick(Arc::clone(&self.shelf), self.metrics, outputs.clone()));
        let sources: Vec<_> = self
            .sources
            .into_iter()
            .enumerate()
            .map(|(index, (source, status))| {
                tokio::spawn(run_source(index, source, queue.clone(), stop.clone(), status))
            })
            .collect();
        drop(queue);
        self.http.set_ready(true);
        tracing::info!(
            publish = self.addresses.publish,
            http = %self.addresses.http,
            archive = %self.settings.archive.root.display(),
            references = self.recipe.references.len(),
            "ready"
        );
        stop.cancelled().await;
        tracing::info!("stopping: open scans are archived as they are");
        let mut report = RunReport::default();
        for source in sources {
            if source.await.is_err() {
                report.unfinished.push("the task of a source broke".to_owned());
            }
        }
        let patience = Duration::from_secs_f64(self.settings.daemon.drain_s);
        let joined = tokio::task::spawn_blocking(move || threads.join());
        match tokio::time::timeout(patience, joined).await {
            Ok(Ok(broken)) => {
                report.broken = !broken.is_empty();
                report.unfinished.extend(broken);
            }
            Ok(Err(_)) => report.unfinished.push("waiting for the threads broke".to_owned()),
            Err(_) => {
                report
                    .unfinished
                    .push(format!("not everything was archived within {} s", patience.as_secs_f64()));
            }
        }
        outputs.cancel();
        for task in [
            tokio::spawn(async move { drop(publisher.await) }),
            tokio::spawn(async move { drop(http.await) }),
        ] {
            if task.await.is_err() {
                report.unfinished.push("an output broke".to_owned());
            }
        }
        tick.abort();
        for what in &report.unfinished {
            tracing::error!("{what}");
        }
        tracing::info!("stopped");
        Ok(report)
    }
}

/// Housekeeping: the model file is looked at, metrics are kept up.
async fn tick(shelf: Arc<Shelf>, metrics: MetricsHandle, stop: CancellationToken) {
    let mut interval = tokio::time::interval(Duration::from_secs(2));
    while stop.run_until_cancelled(interval.tick()).await.is_some() {
        metrics.run_upkeep();
        let shelf = Arc::clone(&shelf);
        match tokio::task::spawn_blocking(move || shelf.check()).await {
            Ok(checked) => tell(&checked),
            Err(_) => tracing::error!("loading the model broke"),
        }
    }
}

fn tell(checked: &Checked) {
    match checked {
        Checked::Swapped { sha256, engine } => tracing::info!(sha256, engine, "model in use"),
        Checked::Refused(reason) => {
            tracing::error!("model refused, the one before stays in use (if any): {reason}");
        }
        Checked::Unchanged => {}
    }
}

fn endpoint(source: &SourceSettings) -> Endpoint {
    let kind = match source.socket {
        Socket::Pull => SocketKind::Pull,
        Socket::Sub => SocketKind::Sub,
    };
    let attach = match &source.endpoint {
        Attachment::Connect(address) => Attach::Connect(address.clone()),
        Attachment::Bind(address) => Attach::Bind(address.clone()),
    };
    Endpoint { topic: source.topic.clone(), ..Endpoint::new(kind, attach) }
}

/// The threads that do the work.
struct Threads {
    handles: Vec<(&'static str, JoinHandle<()>)>,
}

impl Threads {
    fn start(
        app: &App,
        receiver: super::queue::QueueReceiver<crate::source::frames::RawMessage>,
        stop: &CancellationToken,
    ) -> Result<Self, AppError> {
        let settings = &app.settings;
        let workboard = Arc::new(Workboard::default());
        let (orders, ordered) = sync_channel(settings.limits.open_scans.max(1));
        let outlet = Outlet::new(app.board.clone(), app.handle.clone());
        let archiver = Archiver::new(
            settings.archive.root.clone(),
            serde_json::to_value(settings).unwrap_or_default(),
            outlet,
            ModelHand::new(Arc::clone(&app.shelf), Reader::Archive),
        )
        .with_uploads(app.uploads.clone());
        let mapper = Mapper::new(
            MapperSettings {
                min_interval: Duration::from_millis(settings.publish.min_interval_ms as u64),
                recipe: app.recipe.clone(),
                advice: advice(settings),
                sources: settings.sources.iter().map(|source| source.name.clone()).collect(),
            },
            Arc::clone(&workboard),
            app.board.clone(),
            app.handle.clone(),
            ModelHand::new(Arc::clone(&app.shelf), Reader::Live),
            orders,
        );
        let ingest = Ingest::new(lines(settings), scans(settings), workboard);
        let handles = vec![
            ("archive", spawn("archive", stop, move || archiver.run(&ordered))?),
            ("map", spawn("map", stop, move || mapper.run())?),
            ("receive", spawn("receive", stop, move || ingest.run(receiver))?),
        ];
        Ok(Self { handles })
    }

    /// Waits for all threads, those before first; returns what broke.
    fn join(self) -> Vec<String> {
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

fn spawn(
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

fn lines(settings: &Settings) -> Vec<SourceLine> {
    let line = |source: &SourceSettings| SourceLine {
        name: source.name.clone(),
        framing: if source.socket == Socket::Sub { Framing::Topic } else { Framing::Bare },
        beamline: source.beamline.clone(),
    };
    settings.sources.iter().map(line).collect()
}

fn scans(settings: &Settings) -> Scans {
    let limits = ScanLimits {
        pixels: settings.limits.pixels,
        stack_bytes: settings.limits.stack_bytes,
        total_bytes: settings.limits.total_bytes,
        open_scans: settings.limits.open_scans,
        held_bytes: settings.limits.held_bytes,
        kept_bytes: settings.limits.kept_bytes,
    };
    let patience = |source: &SourceSettings| Patience {
        silence: Duration::from_secs_f64(source.silence_s),
        grace: Duration::from_secs_f64(source.grace_s),
        reopen: Duration::from_secs_f64(source.reopen_s),
    };
    let frames = FrameSettings {
        mask: settings.detector.mask.clone(),
        find_bad_pixels: settings.detector.find_bad_pixels,
    };
    Scans::new(limits, settings.sources.iter().map(patience).collect()).with_frames(frames)
}
