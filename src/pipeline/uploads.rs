//! The task that sends scans to the remote: [`Outbox`] decides what and when, this does it and tells how it went.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use chrono::Utc;
use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::copies::PART;
use crate::archive::ledger::Record;
use crate::archive::remote::{CopyError, Delivered, Outbox, Remote, Whose, deliver, is_pending, pending};
use crate::archive::{ArchiveError, Manifest, ScanPath};
use crate::telemetry::{Health, names};

/// Failures of the remote in a row after which people are told.
const TROUBLE_AFTER: u32 = 3;

/// Nothing is to be done until something happens; it is looked at now and then all the same.
const LONG: Duration = Duration::from_secs(600);

/// Says what there is to send; clones share the queue. Nothing here waits for the remote.
#[derive(Clone, Debug)]
pub struct UploadHand {
    root: PathBuf,
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    outbox: Mutex<Outbox>,
    news: Notify,
}

impl UploadHand {
    /// A queue of its own, for the archive under `root`.
    #[must_use]
    pub fn new(root: PathBuf) -> Self {
        Self { root, shared: Arc::default() }
    }

    /// A scan lies in `folder` now.
    pub fn placed(&self, folder: &Path) {
        if let Some(scan) = ScanPath::below(&self.root, folder) {
            self.put([scan]);
        }
    }

    pub(super) fn put(&self, scans: impl IntoIterator<Item = ScanPath>) {
        let mut outbox = self.outbox();
        scans.into_iter().for_each(|scan| outbox.put(scan));
        drop(outbox);
        self.shared.news.notify_one();
    }

    fn outbox(&self) -> MutexGuard<'_, Outbox> {
        self.shared.outbox.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Sends what there is to send until `stop`; what is under way then goes on at the next start.
pub(super) async fn run(remote: Remote, hand: UploadHand, health: Health, stop: CancellationToken) {
    let seed = Utc::now().timestamp_subsec_nanos().wrapping_add(std::process::id());
    let random = ChaCha8Rng::seed_from_u64(u64::from(seed));
    tracing::info!(remote = remote.address(), "archived scans are copied");
    let (place, root) = (remote.clone(), hand.root.clone());
    // Not waited for: a mount may stall.
    tokio::task::spawn_blocking(move || {
        if !place.is_elsewhere(&root) {
            tracing::warn!(
                remote = place.address(),
                "is not there, or on the same file system as the archive: copies in it do not count when scans are pruned"
            );
        }
    });
    let mut task = Task { remote, hand, health, random, last_error: String::new() };
    stop.run_until_cancelled(task.run()).await;
}

struct Task {
    remote: Remote,
    hand: UploadHand,
    health: Health,
    random: ChaCha8Rng,
    last_error: String,
}

type Sent = (ScanPath, Result<Option<Delivered>, CopyError>);

impl Task {
    async fn run(&mut self) {
        self.look_through().await;
        let mut under_way = JoinSet::new();
        loop {
            let wait = self.begin(&mut under_way);
            self.tell();
            let more = Arc::clone(&self.hand.shared);
            tokio::select! {
                () = more.news.notified() => {}
                () = tokio::time::sleep(wait) => {}
                Some(sent) = under_way.join_next() => match sent {
                    Ok(sent) => self.note(sent),
                    Err(error) => tracing::error!(%error, "an upload broke; this is a bug"),
                },
            }
            if self.hand.outbox().take_overflow() {
                self.look_through().await;
            }
        }
    }

    /// Queues whatever in the archive is not at the remote.
    async fn look_through(&self) {
        let (root, remote) = (self.hand.root.clone(), self.remote.address().to_owned());
        match tokio::task::spawn_blocking(move || pending(&root, &remote)).await {
            Ok(Ok(scans)) => {
                if !scans.is_empty() {
                    tracing::info!(scans = scans.len(), "scans of before are to be copied");
                }
                self.hand.put(scans);
            }
            Ok(Err(error)) => tracing::error!(%error, "cannot tell what is to be copied"),
            Err(error) => tracing::error!(%error, "looking for what is to be copied broke"),
        }
    }

    /// Begins what may begin; returns how long to wait for the next.
    fn begin(&self, under_way: &mut JoinSet<Sent>) -> Duration {
        let now = Instant::now();
        let mut outbox = self.hand.outbox();
        while let Some(scan) = outbox.take(now) {
            let (remote, root) = (self.remote.clone(), self.hand.root.clone());
            under_way.spawn(async move {
                let sent = send(&remote, &root, &scan).await;
                (scan, sent)
            });
        }
        // What is due and was not taken waits for one under way to end, which wakes us.
        outbox.wait(now).filter(|wait| !wait.is_zero()).unwrap_or(LONG)
    }

    fn note(&mut self, (scan, sent): Sent) {
        match sent {
            Ok(sent) => {
                self.hand.outbox().done(&scan);
                let Some(sent) = sent else { return };
                self.hand.outbox().answered();
                metrics::counter!(names::SCANS_UPLOADED).increment(1);
                metrics::counter!(names::UPLOADED_BYTES).increment(sent.sent_bytes);
                metrics::gauge!(names::UPLOAD_LAST_SUCCESS).set(Utc::now().timestamp() as f64);
                let (scan, remote) = (scan.as_str(), self.remote.address());
                tracing::info!(
                    scan,
                    remote,
                    bytes = sent.bytes,
                    sent = sent.sent_bytes,
                    "copied and verified"
                );
            }
            Err(error) => {
                let whose = error.whose();
                let cause = if whose == Whose::Remote { "remote" } else { "scan" };
                metrics::counter!(names::UPLOAD_FAILURES, "cause" => cause).increment(1);
                tracing::warn!(scan = scan.as_str(), cause, %error, "not copied; tried again later");
                self.last_error = error.to_string();
                if error.was_answered() {
                    self.hand.outbox().answered();
                }
                self.hand.outbox().failed(&scan, whose, Instant::now(), self.random.random());
            }
        }
    }

    fn tell(&self) {
        let (waiting, failures, stuck) = {
            let outbox = self.hand.outbox();
            (outbox.pending(), outbox.failures(), outbox.stuck())
        };
        metrics::gauge!(names::UPLOADS_PENDING).set(waiting as f64);
        let (remote, error) = (self.remote.address(), &self.last_error);
        if failures >= TROUBLE_AFTER {
            let what = format!("{waiting} scans wait to be copied to {remote}, which fails: {error}");
            self.health.trouble(PART, false, what);
        } else if stuck > 0 {
            let what = format!("{stuck} scans cannot be copied to {remote}: {error}");
            self.health.trouble(PART, false, what);
        } else if failures == 0 && self.health.well(PART) {
            tracing::info!(remote, "copies go on");
        }
    }
}

/// Sends a scan, and writes down before and after what is known of its copy; `None` where there was nothing to do.
///
/// # Errors
/// [`CopyError`]; it is in the ledger, too.
pub async fn send(remote: &Remote, root: &Path, scan: &ScanPath) -> Result<Option<Delivered>, CopyError> {
    let address = remote.address().to_owned();
    let begun = blocking(root, scan, move |root, scan| {
        if !is_pending(root, scan, &address) {
            return Ok(None);
        }
        let sha256 = Manifest::identify(&scan.folder(root))?.sha256;
        Record::update(root, scan, |record| record.set_pending(&address, &sha256, Utc::now(), None))?;
        Ok(Some(sha256))
    });
    let Some(sha256) = begun.await? else { return Ok(None) };
    let sent = deliver(remote, root, scan).await;
    let problem = sent.as_ref().err().map(ToString::to_string);
    let delivered = sent.as_ref().ok().map(|sent| sent.manifest_sha256.clone());
    let address = remote.address().to_owned();
    let noted = blocking(root, scan, move |root, scan| {
        // Archived anew meanwhile: the archive thread has said so, and it is sent again.
        let now_sha256 = Manifest::identify(&scan.folder(root)).map(|found| found.sha256).ok();
        Record::update(root, scan, |record| match delivered {
            Some(sha256) if now_sha256.as_ref() == Some(&sha256) => {
                record.set_verified(&address, &sha256, Utc::now());
            }
            _ => record.set_pending(&address, &now_sha256.unwrap_or(sha256), Utc::now(), problem),
        })
        .map(drop)
    });
    let noted = noted.await;
    let sent = sent?;
    noted?;
    Ok(Some(sent))
}

async fn blocking<T: Send + 'static>(
    root: &Path,
    scan: &ScanPath,
    work: impl FnOnce(&Path, &ScanPath) -> Result<T, ArchiveError> + Send + 'static,
) -> Result<T, CopyError> {
    let (root, scan) = (root.to_owned(), scan.clone());
    let path = scan.folder(&root);
    let done = tokio::task::spawn_blocking(move || work(&root, &scan)).await;
    let broken = |error| ArchiveError::io("noting", &path)(std::io::Error::other(error));
    Ok(done.unwrap_or_else(|error| Err(broken(error)))?)
}
