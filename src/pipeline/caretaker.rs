//! The thread that looks at the rules of what is kept ([`retention`]): at the start and daily, one scan at a time.
//!
//! Everything it does is in the log with its path. What cannot be done now, because the remote does not answer, say, is
//! left for the next time.

use std::path::PathBuf;
use std::time::Instant;

use chrono::{DateTime, Utc};
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;

use super::uploads::UploadHand;
use crate::archive::ledger::{Checked, Record};
use crate::archive::remote::{self, CopyError, Remote};
use crate::archive::retention::{self, Action, Daily, Known, Proof, Rules, State, decide, describe};
use crate::archive::{self, ArchiveError, Fault, FaultKind, ScanPath};
use crate::telemetry::{Health, names};

/// Most things that are done with one scan in one pass; three are the most that rules ask for.
const MOST_STEPS: usize = 5;
/// The part of the daemon that it speaks as under `/readyz`.
const PART: &str = "retention";

/// Carries out the rules.
#[derive(Debug)]
pub struct Caretaker {
    root: PathBuf,
    rules: Rules,
    remote: Option<Remote>,
    uploads: UploadHand,
    runtime: Handle,
}

/// What a pass came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pass {
    /// What was done, in order.
    pub done: Vec<String>,
    /// What could not be done, and why.
    pub failed: Vec<String>,
    /// Scans that are damaged, outside the quarantine.
    pub damaged: Vec<ScanPath>,
}

impl Caretaker {
    /// One for the archive under `root`.
    #[must_use]
    pub fn new(
        root: PathBuf,
        rules: Rules,
        remote: Option<Remote>,
        uploads: UploadHand,
        runtime: Handle,
    ) -> Self {
        Self { root, rules, remote, uploads, runtime }
    }

    /// Runs until `stop`.
    pub(super) fn run(&self, health: &Health, stop: &CancellationToken) {
        let _guard = TellOnPanic(health);
        let mut daily = Daily::default();
        loop {
            let wait = daily.wait(Instant::now());
            // Made within, since a sleep needs the runtime's clock.
            let waited =
                self.runtime.block_on(stop.run_until_cancelled(async { tokio::time::sleep(wait).await }));
            if waited.is_none() {
                return;
            }
            daily.begun(Instant::now());
            match self.pass(Utc::now(), stop) {
                Ok(pass) => tell(&pass, health),
                Err(error) => tracing::error!(%error, "cannot look through the archive"),
            }
        }
    }

    /// What would be done at `now`, as far as that is known without doing it.
    ///
    /// # Errors
    /// [`ArchiveError::Io`] where the archive cannot be read.
    pub fn plan(&self, now: DateTime<Utc>) -> Result<Vec<(ScanPath, Action)>, ArchiveError> {
        let scans = archive::scans(&self.root)?;
        let decided = scans.into_iter().filter_map(|scan| {
            let action = decide(&self.rules, &self.known(&scan), now)?;
            Some((scan, action))
        });
        Ok(decided.collect())
    }

    /// Looks at every scan and does what the rules say.
    ///
    /// # Errors
    /// [`ArchiveError::Io`] where the archive cannot be read. What fails for one scan is in the [`Pass`].
    pub fn pass(&self, now: DateTime<Utc>, stop: &CancellationToken) -> Result<Pass, ArchiveError> {
        let mut pass = Pass::default();
        for scan in archive::scans(&self.root)? {
            for _ in 0..MOST_STEPS {
                if stop.is_cancelled() {
                    return Ok(pass);
                }
                let Some(action) = decide(&self.rules, &self.known(&scan), now) else { break };
                let what = describe(&scan, &action);
                match self.act(&scan, &action, now, stop) {
                    Ok(done) => {
                        tracing::info!(path = %scan.folder(&self.root).display(), done, "done: {what}");
                        pass.done.push(format!("{what}: {done}"));
                    }
                    Err(error) => {
                        tracing::warn!(path = %scan.folder(&self.root).display(), error, "not done: {what}");
                        pass.failed.push(format!("{what}: {error}"));
                        break;
                    }
                }
            }
            let known = self.known(&scan);
            if matches!(known.state, State::Damaged { .. })
                && !scan.is_quarantined()
                && known_there(self, &scan)
            {
                pass.damaged.push(scan.clone());
            }
            // Also what `archive verify` found while the daemon ran.
            if self.remote.as_ref().is_some_and(|to| remote::is_pending(&self.root, &scan, to.address())) {
                self.uploads.put((!scan.is_quarantined()).then_some(scan));
            }
        }
        Ok(pass)
    }

    /// A copy on the disk that the archive is on does not count as one elsewhere.
    fn known(&self, scan: &ScanPath) -> Known {
        let elsewhere = self.remote.as_ref().filter(|remote| remote.is_elsewhere(&self.root));
        Known::read(&self.root, scan, elsewhere.map(Remote::address))
    }

    fn act(
        &self,
        scan: &ScanPath,
        action: &Action,
        now: DateTime<Utc>,
        stop: &CancellationToken,
    ) -> Result<String, String> {
        let known = self.known(scan);
        let text = |error: ArchiveError| error.to_string();
        match action {
            Action::Check => self.check(scan, now, stop),
            Action::FinishPrune => self.prune(scan, &known.sha256, None, now),
            Action::Prune(Proof::None) => self.prune(scan, &known.sha256, None, now),
            Action::Prune(Proof::ReadBack) => {
                let remote = self.remote.as_ref().ok_or("there is no remote")?;
                match self.check_copy(remote, scan, &known.sha256, stop)?.first() {
                    None => self.prune(scan, &known.sha256, Some(remote.address()), now),
                    Some(fault) => Err(format!("its copy is not whole: {fault}")),
                }
            }
            // It may have been put right since it was last looked at.
            Action::Quarantine { .. } if self.is_whole_again(scan, &known, now) => {
                Ok("it is whole again".to_owned())
            }
            Action::Quarantine { why } => {
                let moved = retention::quarantine(&self.root, scan, &known.sha256, why, now).map_err(text)?;
                metrics::counter!(names::ARCHIVE_QUARANTINED).increment(1);
                Ok(moved.folder(&self.root).display().to_string())
            }
        }
    }

    /// Whether a scan that is known as damaged is not; that is noted then.
    fn is_whole_again(&self, scan: &ScanPath, known: &Known, now: DateTime<Utc>) -> bool {
        if !matches!(known.state, State::Damaged { .. }) {
            return false;
        }
        let found = archive::read(&self.root, scan);
        let whole = archive::verify(&found)
            .is_ok_and(|faults| faults.iter().all(|fault| fault.kind == FaultKind::Foreign));
        let checked = Checked::new(now, &found.sha256, []);
        whole && Record::update(&self.root, scan, |record| record.checked = Some(checked)).is_ok()
    }

    fn prune(
        &self,
        scan: &ScanPath,
        sha256: &str,
        copy: Option<&str>,
        now: DateTime<Utc>,
    ) -> Result<String, String> {
        let removed = retention::prune(&self.root, scan, sha256, copy, now).map_err(|e| e.to_string())?;
        metrics::counter!(names::ARCHIVE_PRUNED_BYTES).increment(removed.bytes);
        Ok(format!("removed {}, {} bytes", removed.files.join(", "), removed.bytes))
    }

    /// Compares files here, and at the remote if they are to be there, with their checksums, and notes what is found.
    fn check(&self, scan: &ScanPath, now: DateTime<Utc>, stop: &CancellationToken) -> Result<String, String> {
        let found = archive::read(&self.root, scan);
        let faults = archive::verify(&found).map_err(|error| error.to_string())?;
        let of = |kind| faults.iter().filter(move |fault| fault.kind == kind).map(Fault::text);
        if let Some(fault) = of(FaultKind::Unreadable).next() {
            return Err(fault);
        }
        for fault in of(FaultKind::Foreign) {
            tracing::warn!("{fault}");
        }
        let damage: Vec<String> = of(FaultKind::Damage).collect();
        for fault in &damage {
            tracing::error!("damaged: {fault}");
        }
        let mut said = if damage.is_empty() { "whole".to_owned() } else { damage.join("; ") };
        let checked = Checked::new(now, &found.sha256, damage);
        let record = Record::update(&self.root, scan, |record| record.checked = Some(checked));
        let record = record.map_err(|error| error.to_string())?;
        if let Some(remote) = &self.remote
            && record.verified_at(remote.address(), &found.sha256).is_some()
        {
            let faults = self.check_copy(remote, scan, &found.sha256, stop)?;
            said.push_str("; its copy: ");
            said.push_str(&if faults.is_empty() { "whole".to_owned() } else { faults.join("; ") });
        }
        Ok(said)
    }

    /// Reads the copy back; notes what is found, and has it sent again where it is damaged.
    fn check_copy(
        &self,
        remote: &Remote,
        scan: &ScanPath,
        sha256: &str,
        stop: &CancellationToken,
    ) -> Result<Vec<String>, String> {
        let checked = stop.run_until_cancelled(check_copy(remote, &self.root, scan, sha256));
        let Some(checked) = self.runtime.block_on(checked) else { return Err("stopping".to_owned()) };
        let faults = checked.map_err(|error| error.to_string())?;
        if !faults.is_empty() {
            faults.iter().for_each(|fault| tracing::error!("copy damaged: {fault}"));
            self.uploads.put([scan.clone()]);
        }
        Ok(faults)
    }
}

/// Reads the copy of archive `sha256` back and notes what is found: verified, or to be sent again.
///
/// # Errors
/// [`CopyError`] where it cannot be told, or not be noted.
pub async fn check_copy(
    remote: &Remote,
    root: &std::path::Path,
    scan: &ScanPath,
    sha256: &str,
) -> Result<Vec<String>, CopyError> {
    let faults = remote::check(remote, root, scan).await?;
    Record::update(root, scan, |record| match faults.first() {
        None => record.set_verified(remote.address(), sha256, Utc::now()),
        Some(fault) => record.set_pending(remote.address(), sha256, Utc::now(), Some(fault.clone())),
    })?;
    Ok(faults)
}

/// The daemon goes on without this thread, but not in silence.
struct TellOnPanic<'a>(&'a Health);

impl Drop for TellOnPanic<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let what =
                "nothing is checked, pruned or moved to the quarantine any more: a bug; the log says which";
            self.0.trouble(PART, false, what);
        }
    }
}

/// Whether the folder is there still; one that was moved is not damaged any more.
fn known_there(caretaker: &Caretaker, scan: &ScanPath) -> bool {
    std::fs::symlink_metadata(scan.folder(&caretaker.root)).is_ok()
}

fn tell(pass: &Pass, health: &Health) {
    metrics::gauge!(names::ARCHIVE_DAMAGED).set(pass.damaged.len() as f64);
    match pass.damaged.first() {
        None => drop(health.well(PART)),
        Some(first) => {
            let number = pass.damaged.len();
            let what = format!(
                "{number} damaged scans in the archive, {first} the first; see `phasewatch archive verify`"
            );
            health.trouble(PART, false, what);
        }
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;
    use crate::archive::tests::archive;

    fn caretaker(
        root: &std::path::Path,
        rules: Rules,
        remote: Option<Remote>,
        runtime: &Handle,
    ) -> Caretaker {
        let uploads = UploadHand::new(root.to_owned());
        Caretaker::new(root.to_owned(), rules, remote, uploads, runtime.clone())
    }

    #[test]
    fn a_copy_on_the_same_disk_is_none_to_prune_for() {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let (root, second) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let folder = archive(root.path(), |_, _, _| {}).path().to_owned();
        let scan = ScanPath::below(root.path(), &folder).unwrap();
        let remote = Remote::folder(second.path().to_owned(), "file:///second".into());
        runtime.block_on(crate::pipeline::uploads::send(&remote, root.path(), &scan)).unwrap().unwrap();
        let rules = Rules { prune_after: Some(TimeDelta::days(1)), ..Rules::default() };
        let same_disk = caretaker(root.path(), rules.clone(), Some(remote), runtime.handle());
        let pass = same_disk.pass(Utc::now(), &CancellationToken::new()).unwrap();
        assert_eq!(pass, Pass::default());
        assert!(folder.join("stack.parquet").exists());
        let told = caretaker(root.path(), Rules { prune_unverified: true, ..rules }, None, runtime.handle());
        assert_eq!(told.plan(Utc::now()).unwrap(), [(scan, Action::Prune(Proof::None))]);
        assert_eq!(told.pass(Utc::now(), &CancellationToken::new()).unwrap().done.len(), 1);
        assert!(!folder.join("stack.parquet").exists());
    }

    #[test]
    fn an_archive_of_a_newer_version_is_not_taken_for_a_damaged_one() {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let root = tempfile::tempdir().unwrap();
        let folder = archive(root.path(), |_, _, _| {}).path().to_owned();
        let manifest = folder.join("manifest.json");
        let newer = std::fs::read_to_string(&manifest)
            .unwrap()
            .replace("phasewatch-archive/1", "phasewatch-archive/2");
        // Files that only the newer one knows, and one that is not as the manifest says, as far as we could read it.
        std::fs::write(&manifest, &newer).unwrap();
        std::fs::write(folder.join("phase_map.png"), "x").unwrap();
        let rules = Rules {
            quarantine_damaged: true,
            verify_every: Some(TimeDelta::days(30)),
            prune_after: Some(TimeDelta::days(1)),
            prune_unverified: true,
            quarantine_partial_after: Some(TimeDelta::days(1)),
        };
        let caretaker = caretaker(root.path(), rules, None, runtime.handle());
        let later = Utc::now() + TimeDelta::days(400);
        let pass = caretaker.pass(later, &CancellationToken::new()).unwrap();
        assert!(pass.done.is_empty() && pass.damaged.is_empty(), "{pass:?}");
        assert_eq!(std::fs::read_to_string(&manifest).unwrap(), newer);
        assert!(folder.join("stack.parquet").exists());
    }

    #[test]
    fn what_was_put_right_by_hand_is_not_moved_away() {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let root = tempfile::tempdir().unwrap();
        let folder = archive(root.path(), |_, _, _| {}).path().to_owned();
        let picture = folder.join("phase_map.png");
        let good = std::fs::read(&picture).unwrap();
        std::fs::write(&picture, "x").unwrap();
        let stop = CancellationToken::new();
        let check = Rules { verify_every: Some(TimeDelta::days(30)), ..Rules::default() };
        let pass = caretaker(root.path(), check, None, runtime.handle()).pass(Utc::now(), &stop).unwrap();
        assert_eq!(pass.damaged.len(), 1);
        std::fs::write(&picture, good).unwrap();
        let away = Rules { quarantine_damaged: true, ..Rules::default() };
        let away = caretaker(root.path(), away, None, runtime.handle());
        let pass = away.pass(Utc::now(), &stop).unwrap();
        assert!(pass.damaged.is_empty() && folder.exists(), "{pass:?}");
        std::fs::remove_file(&picture).unwrap();
        std::fs::write(folder.join("manifest.json"), "{").unwrap();
        away.pass(Utc::now(), &stop).unwrap();
        assert!(!folder.exists());
    }
}
