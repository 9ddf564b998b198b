//! Housekeeping: the model file is looked at, metrics are kept up, disks are measured, journals that are not needed go, a stalled archive is told of, and sources that nobody answers for.

use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::Utc;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::absent::Absent;
use super::at_work::AtWork;
use super::in_use::InUse;
use super::queue::QueueWatch;
use super::shelf::{Checked, Shelf};
use super::sweep::sweep;
use crate::journal::Store;
use crate::settings::Settings;
use crate::source::frames::RawMessage;
use crate::telemetry::{Health, MetricsHandle, names};

/// Between two looks at the model.
const LOOK: Duration = Duration::from_secs(2);
/// Between two sweeps of the journals: the shortest and the longest time.
const SWEEP_S: (f64, f64) = (10.0, 300.0);

/// Looks at the model for each sweep of the journals: often, where journals are soon not needed any more.
fn looks_a_sweep(reopen_s: impl Iterator<Item = f64>) -> u64 {
    let sweep_s = reopen_s.fold(f64::INFINITY, f64::min) / 10.0;
    let sweep = Duration::from_secs_f64(sweep_s.clamp(SWEEP_S.0, SWEEP_S.1));
    sweep.div_duration_f64(LOOK).round() as u64
}

/// What has to be done every now and then.
pub(super) struct Household {
    pub(super) shelf: Arc<Shelf>,
    pub(super) metrics: MetricsHandle,
    pub(super) health: Health,
    pub(super) at_work: [AtWork; 2],
    pub(super) queue: QueueWatch<RawMessage>,
    pub(super) store: Option<Arc<Store>>,
    /// What is in use.
    pub(super) in_use: Arc<InUse>,
    pub(super) settings: Settings,
}

impl Household {
    /// Does it until `stop`; `absent` looks for sources that nobody answers for.
    pub(super) async fn keep(self, mut absent: Absent, stop: CancellationToken) {
        let patience = Duration::from_secs_f64(self.settings.daemon.stalled_s);
        let mut interval = tokio::time::interval(LOOK);
        let sweep_every = looks_a_sweep(self.settings.sources.iter().map(|source| source.reopen_s));
        let this = Arc::new(self);
        let mut round = 0_u64;
        let mut under_way: Option<JoinHandle<()>> = None;
        let mut measuring: Option<JoinHandle<()>> = None;
        let mut waited_us = 0;
        while stop.run_until_cancelled(interval.tick()).await.is_some() {
            waited_us = this.look_at_queue(waited_us);
            this.metrics.run_upkeep();
            absent.look(&this.health, Instant::now());
            for at_work in &this.at_work {
                at_work.watch(&this.health, patience, Instant::now());
            }
            if let Some(done) = under_way.take_if(|work| work.is_finished())
                && done.await.is_err()
            {
                tracing::error!("housekeeping broke");
            }
            // By itself: a mount that does not answer shall not keep the rest from being done.
            if measuring.as_ref().is_none_or(JoinHandle::is_finished) {
                let this = Arc::clone(&this);
                measuring = Some(tokio::task::spawn_blocking(move || this.measure_disks()));
            }
            // The disk it looks at may be the one that stalls; that is told of all the same.
            if under_way.is_none() {
                let (work, sweeps) = (Arc::clone(&this), round.is_multiple_of(sweep_every));
                round += 1;
                under_way = Some(tokio::task::spawn_blocking(move || {
                    tell(&work.shelf.check());
                    if sweeps {
                        work.sweep();
                    }
                }));
            }
        }
    }

    /// Not the receiving thread does it: that one waits for the disk, where senders wait for long. Takes how long they had waited at the
    /// last look, and returns how long they have now, in µs.
    fn look_at_queue(&self, waited_before_us: u64) -> u64 {
        let stats = self.queue.stats();
        metrics::gauge!(names::QUEUE_BYTES, "queue" => "receive").set(stats.bytes as f64);
        if stats.waited_us > waited_before_us {
            let waited_s = (stats.waited_us - waited_before_us) as f64 * 1e-6;
            metrics::histogram!(names::QUEUE_WAIT_SECONDS, "queue" => "receive").record(waited_s);
        }
        stats.waited_us
    }

    fn measure_disks(&self) {
        let state = self.store.is_some().then_some(("state", &self.settings.daemon.state_dir));
        for (disk, path) in [("archive", &self.settings.archive.root)].into_iter().chain(state) {
            // What cannot be asked keeps its last value; that it is in trouble is said by who writes there.
            let Ok(space) = rustix::fs::statvfs(path) else { continue };
            let bytes = |blocks: u64| blocks.saturating_mul(space.f_frsize) as f64;
            metrics::gauge!(names::DISK_FREE_BYTES, "disk" => disk).set(bytes(space.f_bavail));
            metrics::gauge!(names::DISK_SIZE_BYTES, "disk" => disk).set(bytes(space.f_blocks));
        }
    }

    fn sweep(&self) {
        let Some(store) = &self.store else { return };
        let longest = self.settings.sources.iter().map(|source| source.reopen_s).fold(0.0, f64::max);
        let reopen = |name: &str| {
            let of = self.settings.sources.iter().find(|source| source.name == name);
            Duration::from_secs_f64(of.map_or(longest, |source| source.reopen_s))
        };
        let in_use = self.in_use.needed().into_iter().chain(self.shelf.in_use()).collect();
        match sweep(store, reopen, self.settings.journal.kept_bytes as u64, in_use, Utc::now()) {
            Ok(gone) => {
                for folder in gone {
                    tracing::info!(journal = %folder.display(), "removed: its scan is archived");
                }
            }
            Err(error) => tracing::warn!("journals are not swept: {error}"),
        }
    }
}

/// Says what a look at the model led to.
pub(super) fn tell(checked: &Checked) {
    match checked {
        Checked::Swapped { sha256, engine } => tracing::info!(sha256, engine, "model in use"),
        Checked::Refused(reason) => {
            tracing::error!("model refused, the one before stays in use (if any): {reason}");
        }
        Checked::Unchanged => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sweeps_as_often_as_the_shortest_time_to_open_scans_again_asks_for() {
        assert_eq!(looks_a_sweep([43_200.0, 86_400.0].into_iter()), 150);
        assert_eq!(looks_a_sweep([43_200.0, 600.0].into_iter()), 30);
        assert_eq!(looks_a_sweep([0.0].into_iter()), 5);
        assert_eq!(looks_a_sweep(std::iter::empty()), 150);
    }
}
