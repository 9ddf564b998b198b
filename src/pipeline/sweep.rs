//! Removes journals that nobody needs any more: of scans that are archived and can no longer be opened again, and, beyond a number
//! of bytes, the oldest of archived scans. A journal whose scan is not archived is never removed.

use std::path::{Path, PathBuf};
use std::time::Duration;

use chrono::{DateTime, Utc};

use super::resume::{closed_at, is_done};
use crate::journal::{Archived, EVENTS, Found, JournalError, LEDGER, Pinned, Place, Store};

/// Later than this after the last moment a scan may be opened again, so that nobody just does.
const MARGIN: Duration = Duration::from_secs(60);

/// A journal of an archived scan.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Kept {
    folder: PathBuf,
    closed: DateTime<Utc>,
    bytes: u64,
    reopen: Duration,
}

/// Removes what may go; `reopen` says how long scans of a source may be opened again, and `in_use` names the copies that the next
/// journal is going to need. Returns the folders.
///
/// # Errors
/// Where the state directory cannot be read. A journal that cannot be removed is logged and left.
pub fn sweep(
    store: &Store,
    reopen: impl Fn(&str) -> Duration,
    kept_bytes: u64,
    in_use: Vec<String>,
    now: DateTime<Utc>,
) -> Result<Vec<PathBuf>, JournalError> {
    let mut kept = Vec::new();
    let mut pinned = Vec::new();
    let mut all_known = true;
    for Found { folder, pinned: own, archived } in store.found(Place::Scans)? {
        let Ok(own) = own else {
            all_known = false;
            continue;
        };
        if is_done(&folder, archived.as_ref()).unwrap_or(false)
            && let Some(closed) = closed_at(&folder)
        {
            let bytes = [EVENTS, LEDGER].iter().map(|name| size(&folder.join(name))).sum();
            kept.push(Kept { folder: folder.clone(), closed, bytes, reopen: reopen(&own.source) });
        }
        pinned.push((folder, own, archived));
    }
    let mut gone = Vec::new();
    for folder in surplus(kept, kept_bytes, now) {
        let scan_id =
            pinned.iter().find(|(own, ..)| *own == folder).map(|(_, pinned, _)| pinned.scan_id.as_str());
        match store.remove_unless_held(&folder, scan_id.unwrap_or_default()) {
            Ok(true) => gone.push(folder),
            Ok(false) => {}
            Err(error) => tracing::warn!("a journal that is not needed any more stays: {error}"),
        }
    }
    pinned.retain(|(folder, ..)| !gone.contains(folder));
    if all_known {
        let mut needed = needed(&pinned, store)?;
        needed.extend(in_use);
        store.release_content(&needed)?;
    }
    Ok(gone)
}

fn size(path: &Path) -> u64 {
    std::fs::metadata(path).map_or(0, |meta| meta.len())
}

/// Digests of the copies that journals need.
fn needed(
    pinned: &[(PathBuf, Pinned, Option<Archived>)],
    store: &Store,
) -> Result<Vec<String>, JournalError> {
    let held = store.found(Place::Held)?;
    let held = held.iter().filter_map(|found| found.pinned.as_ref().ok());
    let of = |pinned: &Pinned| [Some(pinned.references.clone()), pinned.model.clone()];
    let asked = pinned.iter().filter_map(|(_, _, archived)| archived.as_ref()?.model.clone());
    Ok(pinned.iter().map(|(_, pinned, _)| pinned).chain(held).flat_map(of).flatten().chain(asked).collect())
}

/// Which of the journals may go: the old ones, then the oldest until the rest is small enough.
fn surplus(mut kept: Vec<Kept>, kept_bytes: u64, now: DateTime<Utc>) -> Vec<PathBuf> {
    kept.sort_by_key(|journal| journal.closed);
    let mut bytes: u64 = kept.iter().map(|journal| journal.bytes).sum();
    let mut gone = Vec::new();
    for journal in kept {
        let age = (now - journal.closed).to_std().unwrap_or_default();
        if age > journal.reopen + MARGIN || bytes > kept_bytes {
            bytes -= journal.bytes;
            gone.push(journal.folder);
        }
    }
    gone
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;

    fn journal(name: &str, hours_ago: i64, bytes: u64, now: DateTime<Utc>) -> Kept {
        let reopen = Duration::from_secs(12 * 3600);
        Kept { folder: name.into(), closed: now - TimeDelta::hours(hours_ago), bytes, reopen }
    }

    #[test]
    fn the_old_go_and_then_the_oldest_until_the_rest_is_small() {
        let now = Utc::now();
        let all = || vec![journal("b", 5, 10, now), journal("a", 13, 10, now), journal("c", 1, 10, now)];
        assert_eq!(surplus(all(), 100, now), [PathBuf::from("a")]);
        assert_eq!(surplus(all(), 19, now), [PathBuf::from("a"), "b".into()]);
        assert_eq!(surplus(all(), 0, now).len(), 3);
        // A clock that was set back makes nothing old.
        assert_eq!(surplus(all(), 100, now - TimeDelta::days(2)), Vec::<PathBuf>::new());
    }

    #[test]
    fn copies_that_are_in_use_stay_also_while_no_journal_needs_them() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        let [used, other] = ["used", "other"].map(|what| store.keep(&what).unwrap());
        let copy = |sha256: &str| dir.path().join(format!("content/{sha256}.json"));
        for sha256 in [&used, &other] {
            let old = std::time::SystemTime::now() - Duration::from_secs(2 * 3600);
            std::fs::File::options().write(true).open(copy(sha256)).unwrap().set_modified(old).unwrap();
        }
        sweep(&store, |_| Duration::ZERO, 0, vec![used.clone()], Utc::now()).unwrap();
        assert!(copy(&used).exists() && !copy(&other).exists());
        // One that was damaged is put right.
        std::fs::write(copy(&used), "[]").unwrap();
        assert_eq!(store.keep(&"used").unwrap(), used);
        assert_eq!(std::fs::read(copy(&used)).unwrap(), b"\"used\"");
    }
}
