//! Copies in a folder, and in the in-memory store of `object_store`.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use chrono::{DateTime, Utc};
use futures_core::stream::BoxStream;
use object_store::memory::InMemory;
use object_store::path::Path as Key;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMultipartOptions, PutOptions, PutPayload, PutResult,
};

use super::*;
use crate::archive::ledger::{CopyState, Record};
use crate::archive::tests::archive;
use crate::archive::{Manifest, ScanPath, retention};

fn now() -> DateTime<Utc> {
    DateTime::from_timestamp(1_790_000_000, 0).unwrap()
}

fn credentials() -> Credentials {
    Credentials { access_key_id: "id".into(), secret_access_key: "secret".into(), session_token: None }
}

fn remotes() -> (tempfile::TempDir, Vec<Remote>) {
    let folder = tempfile::tempdir().unwrap();
    let bucket =
        Remote::of_store(Arc::new(InMemory::new()), "prefix/a=b".into(), credentials(), "s3://b".into());
    let remotes = vec![Remote::folder(folder.path().to_owned(), "file:///f".into()), bucket];
    (folder, remotes)
}

fn run<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(future)
}

/// An archive with one scan of a second name: `~` must not be written otherwise in keys.
fn archived(root: &Path) -> ScanPath {
    archive(root, |_, _, _| {});
    let second = archive(root, |plan, _, _| plan.energies_ev[3] += 0.25);
    ScanPath::below(root, second.path()).unwrap()
}

#[test]
fn a_scan_is_sent_once_and_its_copy_found_whole() {
    let (_folder, remotes) = remotes();
    for remote in remotes {
        let root = tempfile::tempdir().unwrap();
        let scan = archived(root.path());
        assert!(scan.as_str().ends_with("~2"));
        assert_eq!(pending(root.path(), remote.address()).unwrap().len(), 2);
        assert_eq!(run(check(&remote, root.path(), &scan)).unwrap().len(), 9, "nothing is there");
        let first = run(deliver(&remote, root.path(), &scan)).unwrap();
        assert_eq!((first.sent_bytes, first.bytes > 0), (first.bytes, true));
        assert_eq!(run(check(&remote, root.path(), &scan)).unwrap(), Vec::<String>::new());
        let again = run(deliver(&remote, root.path(), &scan)).unwrap();
        assert_eq!(again.sent_bytes, 0);
        Record::update(root.path(), &scan, |record| {
            record.set_verified(remote.address(), &first.manifest_sha256, now());
        })
        .unwrap();
        assert_eq!(pending(root.path(), remote.address()).unwrap().len(), 1);
        assert_eq!(pending(root.path(), "s3://other").unwrap().len(), 2, "another remote has none");
    }
}

#[test]
fn what_is_damaged_here_is_not_sent_and_what_is_damaged_there_is_put_right() {
    let (_folder, remotes) = remotes();
    for remote in remotes {
        let root = tempfile::tempdir().unwrap();
        let scan = archived(root.path());
        let stack = scan.folder(root.path()).join("stack.parquet");
        let good = std::fs::read(&stack).unwrap();
        let mut bad = good.clone();
        bad[100] ^= 1;
        std::fs::write(&stack, bad).unwrap();
        let error = run(deliver(&remote, root.path(), &scan)).unwrap_err();
        assert!(matches!(error, CopyError::Damaged { .. }) && error.whose() == Whose::Scan, "{error}");
        let faults = run(check(&remote, root.path(), &scan)).unwrap();
        assert!(faults.iter().any(|fault| fault.contains("manifest.json")), "no manifest without its files");
        std::fs::write(&stack, good).unwrap();
        let sha256 = run(deliver(&remote, root.path(), &scan)).unwrap().manifest_sha256;
        let was = |record: &mut Record| record.set_verified(remote.address(), &sha256, now());
        Record::update(root.path(), &scan, was).unwrap();
        for name in ["stack.parquet", "manifest.json", "phase_map.png"] {
            let key = format!("{scan}/{name}");
            let size = run(remote.size(&key)).unwrap().unwrap();
            let mut bytes = run(remote.read(&key, 0..size)).unwrap().unwrap().to_vec();
            // In a manifest: another year in its plan, so that it reads as another scan's.
            let text = String::from_utf8_lossy(&bytes).replace("2026-", "2025-");
            bytes = if name == "manifest.json" {
                text.into_bytes()
            } else {
                bytes.iter().map(|b| b ^ 1).collect()
            };
            run(remote.put(&key, bytes.into())).unwrap();
            let faults = run(check(&remote, root.path(), &scan)).unwrap();
            assert!(faults.len() == 1 && faults[0].contains(name), "{faults:?}");
            Record::update(root.path(), &scan, |record| {
                record.set_pending(remote.address(), &sha256, now(), Some(faults[0].clone()));
            })
            .unwrap();
            assert!(run(deliver(&remote, root.path(), &scan)).unwrap().sent_bytes > 0);
            assert!(run(check(&remote, root.path(), &scan)).unwrap().is_empty());
        }
    }
}

#[test]
fn another_scan_at_the_remote_stays() {
    let (_folder, remotes) = remotes();
    for remote in remotes {
        let [one, other] = [(); 2].map(|()| tempfile::tempdir().unwrap());
        let placed = archive(one.path(), |_, _, _| {});
        let scan = ScanPath::below(one.path(), placed.path()).unwrap();
        run(deliver(&remote, one.path(), &scan)).unwrap();
        archive(other.path(), |plan, _, _| plan.energies_ev[3] += 0.25);
        let error = run(deliver(&remote, other.path(), &scan)).unwrap_err();
        assert!(matches!(error, CopyError::Taken { .. }) && error.whose() == Whose::Scan, "{error}");
        assert!(run(check(&remote, one.path(), &scan)).unwrap().is_empty());
        // The same scan, archived anew after late data: in its place.
        let placed = archive(one.path(), |plan, _, reopen| {
            *reopen = true;
            plan.energies_ev.push(900.0);
            plan.dwell_ms.push(1.0);
        });
        assert!(matches!(placed, crate::archive::Placed::Replaced(_)));
        run(deliver(&remote, one.path(), &scan)).unwrap();
        assert!(run(check(&remote, one.path(), &scan)).unwrap().is_empty());
    }
}

#[test]
fn a_pruned_scan_is_compared_put_right_where_it_can_be_and_told_where_it_cannot() {
    let (_folder, remotes) = remotes();
    for remote in remotes {
        let root = tempfile::tempdir().unwrap();
        let scan = archived(root.path());
        let sha256 = run(deliver(&remote, root.path(), &scan)).unwrap().manifest_sha256;
        retention::prune(root.path(), &scan, &sha256, Some(remote.address()), now()).unwrap();
        assert!(run(check(&remote, root.path(), &scan)).unwrap().is_empty());
        assert!(is_pending(root.path(), &scan, remote.address()));
        assert!(
            !is_pending(root.path(), &scan, "s3://new"),
            "what is pruned cannot be sent to another remote"
        );
        run(remote.put(&format!("{scan}/manifest.json"), "{".into())).unwrap();
        assert_eq!(run(check(&remote, root.path(), &scan)).unwrap().len(), 1);
        run(deliver(&remote, root.path(), &scan)).unwrap();
        assert!(run(check(&remote, root.path(), &scan)).unwrap().is_empty());
        run(remote.put(&format!("{scan}/stack.parquet"), "x".into())).unwrap();
        let error = run(deliver(&remote, root.path(), &scan)).unwrap_err();
        assert!(matches!(error, CopyError::Lost { .. }), "{error}");
    }
}

#[test]
fn large_files_go_in_parts() {
    let (_folder, remotes) = remotes();
    for remote in remotes {
        let root = tempfile::tempdir().unwrap();
        let scan = archived(root.path());
        let folder = scan.folder(root.path());
        let large: Vec<u8> =
            (0..20_000_000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
        std::fs::write(folder.join("stack.parquet"), &large).unwrap();
        let mut manifest = Manifest::read(&folder).unwrap();
        let entry = manifest.files.get_mut("stack.parquet").unwrap();
        entry.bytes = large.len() as u64;
        entry.sha256 = crate::archive::durable::sha256(&large);
        std::fs::write(folder.join("manifest.json"), manifest.to_bytes().unwrap()).unwrap();
        run(deliver(&remote, root.path(), &scan)).unwrap();
        let key = format!("{scan}/stack.parquet");
        assert_eq!(run(remote.size(&key)).unwrap(), Some(large.len() as u64));
        assert!(run(check(&remote, root.path(), &scan)).unwrap().is_empty());
        // Damaged here after it was found at the remote to be gone: given up in the middle, nothing is there.
        std::fs::write(folder.join("stack.parquet"), vec![0; large.len()]).unwrap();
        run(remote.put(&key, "x".into())).unwrap();
        assert!(matches!(run(deliver(&remote, root.path(), &scan)), Err(CopyError::Damaged { .. })));
        assert_eq!(run(remote.size(&key)).unwrap(), Some(1));
    }
}

#[test]
fn a_folder_that_is_not_mounted_is_not_made_and_one_on_the_same_disk_is_not_elsewhere() {
    let root = tempfile::tempdir().unwrap();
    let scan = archived(root.path());
    let absent = root.path().join("absent");
    let remote = Remote::folder(absent.clone(), "file:///absent".into());
    let error = run(deliver(&remote, root.path(), &scan)).unwrap_err();
    assert_eq!(error.whose(), Whose::Remote, "{error}");
    assert!(!absent.exists());
    assert!(!remote.is_elsewhere(root.path()));
    assert!(!Remote::folder(root.path().to_owned(), String::new()).is_elsewhere(root.path()));
    assert!(Remote::folder("/proc".into(), String::new()).is_elsewhere(root.path()));
}

/// A store that answers so many calls and no more.
#[derive(Debug, Default)]
struct Cut {
    inner: InMemory,
    calls_left: AtomicUsize,
}

impl Cut {
    fn call(&self) -> object_store::Result<()> {
        let less = |left: usize| left.checked_sub(1);
        let answered = self.calls_left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less);
        answered.map(drop).map_err(|_| object_store::Error::Generic { store: "test", source: "cut".into() })
    }
}

impl std::fmt::Display for Cut {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("cut")
    }
}

type Answer<T> = object_store::Result<T>;

#[async_trait::async_trait]
impl ObjectStore for Cut {
    async fn put_opts(&self, at: &Key, payload: PutPayload, options: PutOptions) -> Answer<PutResult> {
        self.call()?;
        self.inner.put_opts(at, payload, options).await
    }

    async fn put_multipart_opts(
        &self,
        at: &Key,
        options: PutMultipartOptions,
    ) -> Answer<Box<dyn MultipartUpload>> {
        self.call()?;
        self.inner.put_multipart_opts(at, options).await
    }

    async fn get_opts(&self, at: &Key, options: GetOptions) -> Answer<GetResult> {
        self.call()?;
        self.inner.get_opts(at, options).await
    }

    fn delete_stream(&self, at: BoxStream<'static, Answer<Key>>) -> BoxStream<'static, Answer<Key>> {
        self.inner.delete_stream(at)
    }

    fn list(&self, prefix: Option<&Key>) -> BoxStream<'static, Answer<ObjectMeta>> {
        self.inner.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Key>) -> Answer<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Key, to: &Key, options: CopyOptions) -> Answer<()> {
        self.inner.copy_opts(from, to, options).await
    }
}

#[test]
fn wherever_the_line_is_cut_a_manifest_means_a_whole_scan_and_the_next_attempt_ends_it() {
    let [earlier, later] = [(); 2].map(|()| tempfile::tempdir().unwrap());
    let placed = archive(earlier.path(), |_, provisional, _| *provisional = true);
    let scan = ScanPath::below(earlier.path(), placed.path()).unwrap();
    archive(later.path(), |plan, _, _| {
        plan.energies_ev.push(900.0);
        plan.dwell_ms.push(1.0);
    });
    let text = std::fs::read(scan.folder(later.path()).join("manifest.json")).unwrap();
    let (mut calls, mut ended) = (0, false);
    while !ended {
        let store = Arc::new(Cut::default());
        let remote = Remote::of_store(store.clone(), String::new(), credentials(), "s3://b".into());
        let answer = |calls| store.calls_left.store(calls, Ordering::Relaxed);
        let whole = || run(check(&remote, later.path(), &scan)).unwrap().is_empty();
        answer(usize::MAX);
        run(deliver(&remote, earlier.path(), &scan)).unwrap();
        answer(calls);
        ended = run(deliver(&remote, later.path(), &scan)).is_ok();
        answer(usize::MAX);
        let key = format!("{scan}/manifest.json");
        let size = run(remote.size(&key)).unwrap().unwrap();
        let is_new = run(remote.read(&key, 0..size)).unwrap().unwrap() == text;
        assert!(!is_new || whole(), "a manifest without its files after {calls} calls");
        assert!(is_new || !ended);
        run(deliver(&remote, later.path(), &scan)).unwrap();
        assert!(whole());
        calls += 1;
    }
    assert!(calls > 20, "{calls} calls");
}

#[test]
fn a_copy_stays_known_through_a_new_attempt_and_not_for_another_archive() {
    let mut record = Record::default();
    record.set_pending("s3://b", "aa", now(), None);
    assert!(!record.copy.as_ref().unwrap().made);
    record.set_verified("s3://b", "aa", now());
    record.set_pending("s3://b", "aa", now(), Some("damaged".into()));
    let copy = record.copy.clone().unwrap();
    assert_eq!((copy.state, copy.made, copy.problem.as_deref()), (CopyState::Pending, true, Some("damaged")));
    assert_eq!(record.verified_at("s3://b", "aa"), None);
    record.set_pending("s3://b", "bb", now(), None);
    assert!(!record.copy.unwrap().made);
}
