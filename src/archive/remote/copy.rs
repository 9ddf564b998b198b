//! One scan: sent to the remote and read back, or only read back.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use sha2::{Digest as _, Sha256};

use super::outbox::Whose;
use super::store::{PART_BYTES, Remote, RemoteError, part_bytes};
use crate::archive::durable::{hex, sha256};
use crate::archive::ledger::Record;
use crate::archive::place::same_scan;
use crate::archive::{ArchiveError, FileEntry, Identified, MANIFEST, Manifest, ScanPath};
use crate::scan::is_valid_id;

/// Most bytes of a manifest at a remote.
const MOST_MANIFEST: u64 = 64 * 1024 * 1024;

/// Why a scan could not be copied, or a copy not be looked at.
#[derive(Debug, thiserror::Error)]
pub enum CopyError {
    /// The remote does not answer, or refuses.
    #[error(transparent)]
    Remote(#[from] RemoteError),
    /// The scan cannot be read here.
    #[error(transparent)]
    Here(#[from] ArchiveError),
    /// A file here is not what the manifest says: it is not sent.
    #[error("{path} {what}; not sent")]
    Damaged {
        /// Which.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// Something else lies at the remote under this name, and stays.
    #[error("{key}: {what}; left as it is")]
    Taken {
        /// The key of its manifest.
        key: String,
        /// What it is.
        what: &'static str,
    },
    /// A file that was pruned here is not whole at the remote either.
    #[error("{key} {what}, and was pruned here: it is lost unless there is another copy")]
    Lost {
        /// The key of the file.
        key: String,
        /// What is wrong with it.
        what: String,
    },
    /// What was sent is not what is read back.
    #[error("{key} {what} after it was sent")]
    Spoilt {
        /// The key of the file.
        key: String,
        /// What is wrong with it.
        what: String,
    },
}

impl CopyError {
    /// Whether the remote did what it was asked all the same.
    #[must_use]
    pub fn was_answered(&self) -> bool {
        matches!(self, Self::Taken { .. } | Self::Lost { .. } | Self::Damaged { .. })
    }

    /// Whether the others should wait, too.
    #[must_use]
    pub fn whose(&self) -> Whose {
        match self {
            Self::Remote(_) | Self::Spoilt { .. } => Whose::Remote,
            _ => Whose::Scan,
        }
    }
}

/// A scan that lies at the remote, every file read back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivered {
    /// Which archive of it.
    pub manifest_sha256: String,
    /// Bytes that were sent; what was there already was not.
    pub sent_bytes: u64,
    /// Bytes of the copy.
    pub bytes: u64,
}

/// A scan as it is to lie at the remote.
struct Local {
    found: Identified,
    /// The manifest as it was first written; `None` where a pruned one cannot be made again.
    text: Option<Bytes>,
}

impl Local {
    async fn read(root: &Path, scan: &ScanPath) -> Result<Self, CopyError> {
        let folder = scan.folder(root);
        let path = folder.join(MANIFEST);
        let read = tokio::task::spawn_blocking(move || {
            let found = Manifest::identify(&folder)?;
            let first = Manifest { pruned: None, ..found.manifest.clone() };
            let text = match &found.manifest.pruned {
                None => {
                    Some(std::fs::read(folder.join(MANIFEST)).map_err(ArchiveError::io("reading", &folder))?)
                }
                Some(_) => first.to_bytes().ok(),
            };
            let text = text.filter(|text| sha256(text) == found.sha256).map(Bytes::from);
            Ok::<_, ArchiveError>(Self { found, text })
        });
        let local = read.await.unwrap_or_else(|error| {
            Err(ArchiveError::Io { doing: "reading", path, error: std::io::Error::other(error) })
        })?;
        match local.found.manifest.files.keys().find(|name| !is_valid_id(name)) {
            Some(name) => Err(CopyError::Damaged {
                path: scan.folder(root).join(MANIFEST),
                what: format!("names {name:?}, which is not the name of a file"),
            }),
            None => Ok(local),
        }
    }

    fn files(&self) -> impl Iterator<Item = (&String, &FileEntry)> {
        self.found.manifest.files.iter()
    }

    fn manifest_entry(&self, bytes: u64) -> FileEntry {
        FileEntry { sha256: self.found.sha256.clone(), bytes }
    }
}

/// Sends what of a scan is not at the remote yet, its manifest last, and reads all of it back.
///
/// # Errors
/// [`CopyError`]. What was sent until then is not sent again the next time.
pub async fn deliver(remote: &Remote, root: &Path, scan: &ScanPath) -> Result<Delivered, CopyError> {
    let local = Local::read(root, scan).await?;
    let key = |name: &str| format!("{scan}/{name}");
    let there = read_manifest(remote, &key(MANIFEST)).await?;
    let sha256 = &local.found.sha256;
    let same = there.as_ref().is_some_and(|there| sha256_of(there) == *sha256);
    if let Some(there) = there.filter(|_| !same) {
        // One that this very archive was once verified with is ours, and damaged.
        let made = Record::read(root, scan).copy.is_some_and(|copy| {
            copy.remote == remote.address() && copy.manifest_sha256 == *sha256 && copy.made
        });
        if let (false, Ok(there)) = (made, serde_json::from_slice::<Manifest>(&there)) {
            may_replace(&there, &local.found.manifest)
                .map_err(|what| CopyError::Taken { key: key(MANIFEST), what })?;
        }
    }
    let mut delivered = Delivered { manifest_sha256: sha256.clone(), sent_bytes: 0, bytes: 0 };
    for (name, entry) in local.files() {
        let key = key(name);
        if let Some(what) = compare(remote, &key, entry).await? {
            if local.found.manifest.is_pruned(name) {
                return Err(CopyError::Lost { key, what });
            }
            send(remote, &scan.folder(root).join(name), &key, entry).await?;
            delivered.sent_bytes += entry.bytes;
            if let Some(what) = compare(remote, &key, entry).await? {
                return Err(CopyError::Spoilt { key, what });
            }
        }
        delivered.bytes += entry.bytes;
    }
    if !same {
        let Some(text) = local.text.clone() else {
            let what = "is not the one of the scan".to_owned();
            return Err(CopyError::Lost { key: key(MANIFEST), what });
        };
        let entry = local.manifest_entry(text.len() as u64);
        remote.put(&key(MANIFEST), text).await?;
        delivered.sent_bytes += entry.bytes;
        if let Some(what) = compare(remote, &key(MANIFEST), &entry).await? {
            return Err(CopyError::Spoilt { key: key(MANIFEST), what });
        }
        delivered.bytes += entry.bytes;
    }
    Ok(delivered)
}

/// What is wrong with the copy of a scan, every file of which is read; nothing where it is whole.
///
/// # Errors
/// [`CopyError`] where that cannot be told.
pub async fn check(remote: &Remote, root: &Path, scan: &ScanPath) -> Result<Vec<String>, CopyError> {
    let local = Local::read(root, scan).await?;
    let shown = |name: &str| format!("{}/{scan}/{name}", remote.address());
    let mut faults = Vec::new();
    match read_manifest(remote, &format!("{scan}/{MANIFEST}")).await? {
        None => faults.push(format!("{}: is missing", shown(MANIFEST))),
        Some(text) if sha256_of(&text) != local.found.sha256 => {
            faults.push(format!("{}: is not the one of the scan here", shown(MANIFEST)));
        }
        Some(_) => {}
    }
    for (name, entry) in local.files() {
        if let Some(what) = compare(remote, &format!("{scan}/{name}"), entry).await? {
            faults.push(format!("{}: {what}", shown(name)));
        }
    }
    Ok(faults)
}

/// Whether the archive `here` may take the place of the one that lies `there`.
fn may_replace(there: &Manifest, here: &Manifest) -> Result<(), &'static str> {
    if !same_scan(&there.plan, &here.plan) {
        return Err("another scan lies there under this name");
    }
    if here.provisional && !there.provisional {
        return Err("a final archive of the scan lies there, and here a provisional one");
    }
    if here.archived_at < there.archived_at {
        return Err("a later archive of the scan lies there");
    }
    Ok(())
}

fn sha256_of(text: &Bytes) -> String {
    sha256(text)
}

async fn read_manifest(remote: &Remote, key: &str) -> Result<Option<Bytes>, RemoteError> {
    match remote.size(key).await? {
        None => Ok(None),
        Some(size) if size > MOST_MANIFEST => Ok(Some(Bytes::new())),
        Some(size) => remote.read(key, 0..size).await,
    }
}

/// What is wrong with the object `key`, read whole, if anything.
async fn compare(remote: &Remote, key: &str, entry: &FileEntry) -> Result<Option<String>, RemoteError> {
    match remote.size(key).await? {
        None => return Ok(Some("is missing".to_owned())),
        Some(size) if size != entry.bytes => {
            return Ok(Some(format!("has {size} bytes instead of {}", entry.bytes)));
        }
        Some(_) => {}
    }
    let (mut digest, mut at) = (Sha256::new(), 0);
    while at < entry.bytes {
        let end = (at + PART_BYTES).min(entry.bytes);
        let Some(bytes) = remote.read(key, at..end).await? else {
            return Ok(Some("is missing".to_owned()));
        };
        if bytes.len() as u64 != end - at {
            return Ok(Some(format!("gives {} bytes where {} were asked for", bytes.len(), end - at)));
        }
        digest = digested(digest, bytes).await;
        at = end;
    }
    let found = hex(&digest.finalize());
    Ok((found != entry.sha256).then(|| format!("has SHA-256 {found} instead of {}", entry.sha256)))
}

/// Digests off the threads that wait for others.
async fn digested(mut digest: Sha256, bytes: Bytes) -> Sha256 {
    let done = tokio::task::spawn_blocking(move || {
        digest.update(&bytes);
        digest
    });
    // A broken one agrees with nothing.
    done.await.unwrap_or_default()
}

/// Sends a file if it is what the manifest says; what lies at the remote stays until then.
async fn send(remote: &Remote, path: &Path, key: &str, entry: &FileEntry) -> Result<(), CopyError> {
    let damaged = |what: String| CopyError::Damaged { path: path.to_owned(), what };
    let opened = open(path.to_owned()).await.map_err(ArchiveError::io("opening", path))?;
    let Some((file, bytes)) = opened else { return Err(damaged("is not a file".to_owned())) };
    if bytes != entry.bytes {
        return Err(damaged(format!("has {bytes} bytes instead of {}", entry.bytes)));
    }
    let (file, wrong) = (Arc::new(file), "has another SHA-256 than the manifest says");
    let reading = |error| CopyError::Here(ArchiveError::io("reading", path)(error));
    let step = part_bytes(bytes);
    if bytes <= step {
        let (read, digest) = part(&file, 0, bytes, Sha256::new()).await.map_err(reading)?;
        if hex(&digest.finalize()) != entry.sha256 {
            return Err(damaged(wrong.to_owned()));
        }
        return Ok(remote.put(key, read).await?);
    }
    let mut writer = remote.writer(key).await?;
    let (mut digest, mut at) = (Sha256::new(), 0);
    while at < bytes {
        let length = step.min(bytes - at);
        let sent = match part(&file, at, length, digest).await {
            Ok((read, further)) => {
                digest = further;
                writer.part(read).await.map_err(CopyError::from)
            }
            Err(error) => {
                writer.abort().await;
                return Err(reading(error));
            }
        };
        if let Err(error) = sent {
            writer.abort().await;
            return Err(error);
        }
        at += length;
    }
    if hex(&digest.finalize()) != entry.sha256 {
        writer.abort().await;
        return Err(damaged(wrong.to_owned()));
    }
    Ok(writer.complete().await?)
}

/// Opens a file that is one, and says how long it is.
async fn open(path: PathBuf) -> std::io::Result<Option<(File, u64)>> {
    blocking(move || {
        if !std::fs::symlink_metadata(&path)?.is_file() {
            return Ok(None);
        }
        let file = File::open(&path)?;
        let bytes = file.metadata()?.len();
        Ok(Some((file, bytes)))
    })
    .await
}

/// `length` bytes of the file from `at`, and the digest with them.
async fn part(
    file: &Arc<File>,
    at: u64,
    length: u64,
    mut digest: Sha256,
) -> std::io::Result<(Bytes, Sha256)> {
    let file = Arc::clone(file);
    blocking(move || {
        let mut bytes = vec![0; length as usize];
        file.read_exact_at(&mut bytes, at)?;
        digest.update(&bytes);
        Ok((Bytes::from(bytes), digest))
    })
    .await
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> std::io::Result<T> + Send + 'static,
) -> std::io::Result<T> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| Err(std::io::Error::other(error)))
}

#[cfg(test)]
mod tests {
    use chrono::{TimeDelta, Utc};

    use super::*;
    use crate::archive::tests::manifest;

    #[test]
    fn only_an_older_or_provisional_archive_of_the_same_scan_gives_way_at_the_remote() {
        let there = manifest("s", Utc::now());
        let with = |change: &dyn Fn(&mut Manifest)| {
            let mut here = there.clone();
            change(&mut here);
            may_replace(&there, &here).is_ok()
        };
        assert!(with(&|_| {}));
        assert!(with(&|here| here.archived_at += TimeDelta::days(1)));
        assert!(with(&|here| here.plan.energies_ev.truncate(3)), "energies were appended");
        assert!(!with(&|here| here.archived_at -= TimeDelta::days(1)));
        assert!(!with(&|here| here.provisional = true));
        assert!(!with(&|here| here.plan.started += TimeDelta::seconds(1)));
    }
}
