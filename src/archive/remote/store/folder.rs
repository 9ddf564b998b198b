//! A remote that is a folder: files built beside their place, synced, and renamed into it.
//!
//! The blocking calls run on threads of their own and are waited for as long as a request to a server would be: a network
//! mount may stall. A thread that hangs there cannot be ended; when a few do, nothing more is tried until one comes back.

use std::fs::File;
use std::io::{self, ErrorKind, Write as _};
use std::ops::Range;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;

use super::RemoteError;
use crate::archive::durable::{create_folders, sync_folder};

/// Most calls under way at once, hanging ones included; good ones are a handful.
const MOST_CALLS: usize = 16;

/// The folder. Clones share the count of calls.
#[derive(Clone, Debug)]
pub(super) struct Folder {
    root: PathBuf,
    patience: Duration,
    calls: Arc<AtomicUsize>,
}

/// A call under way.
struct Call(Arc<AtomicUsize>);

impl Drop for Call {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Folder {
    pub(super) fn new(root: PathBuf, patience: Duration) -> Self {
        Self { root, patience, calls: Arc::default() }
    }

    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    pub(super) async fn size(&self, key: &str) -> Result<Option<u64>, RemoteError> {
        let path = self.root.join(key);
        self.call("looking at", &path.clone(), move |root| {
            match there(root, std::fs::symlink_metadata(&path))? {
                Some(metadata) if !metadata.is_file() => Err(io::Error::other("is not a file")),
                found => Ok(found.map(|metadata| metadata.len())),
            }
        })
        .await
    }

    pub(super) async fn read(&self, key: &str, range: Range<u64>) -> Result<Option<Bytes>, RemoteError> {
        let path = self.root.join(key);
        self.call("reading", &path.clone(), move |root| {
            let Some(file) = there(root, File::open(&path))? else { return Ok(None) };
            let mut bytes = vec![0; (range.end - range.start) as usize];
            file.read_exact_at(&mut bytes, range.start)?;
            Ok(Some(Bytes::from(bytes)))
        })
        .await
    }

    pub(super) async fn begin(&self, key: &str) -> Result<Building, RemoteError> {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let path = self.root.join(key);
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let part = path.with_file_name(format!(".tmp-{name}-{}-{number}", std::process::id()));
        let begun = self.call("creating", &path, move |root| {
            // What is not mounted is not made.
            std::fs::metadata(root)?;
            create_folders(root, part.parent().unwrap_or(root)).map_err(io::Error::other)?;
            let file = File::create(&part)?;
            Ok((file, Unfinished(part)))
        });
        let (file, part) = begun.await?;
        Ok(Building { folder: self.clone(), path, part, file: Some(file) })
    }

    async fn call<T: Send + 'static>(
        &self,
        doing: &'static str,
        path: &Path,
        work: impl FnOnce(&Path) -> io::Result<T> + Send + 'static,
    ) -> Result<T, RemoteError> {
        let failed = |error: String| RemoteError { doing, what: path.display().to_string(), error };
        let call = Call(Arc::clone(&self.calls));
        if self.calls.fetch_add(1, Ordering::Relaxed) >= MOST_CALLS {
            return Err(failed(format!("{MOST_CALLS} calls have not come back; is the mount stalled?")));
        }
        let root = self.root.clone();
        let done = tokio::task::spawn_blocking(move || {
            let done = work(&root);
            drop(call);
            done
        });
        let Ok(done) = tokio::time::timeout(self.patience, done).await else {
            let patience_s = self.patience.as_secs_f64();
            return Err(failed(format!("no answer in {patience_s} s; is the mount stalled?")));
        };
        let done = done.unwrap_or_else(|error| Err(io::Error::other(error)));
        done.map_err(|error| failed(error.to_string()))
    }
}

/// What is not there is none; all else is an error. The root has to be there.
fn there<T>(root: &Path, found: io::Result<T>) -> io::Result<Option<T>> {
    match found {
        Ok(found) => Ok(Some(found)),
        Err(error) if error.kind() == ErrorKind::NotFound => std::fs::metadata(root).map(|_| None),
        Err(error) => Err(error),
    }
}

/// A file under construction; it is removed where it is not completed.
#[derive(Debug)]
pub(super) struct Building {
    folder: Folder,
    path: PathBuf,
    part: Unfinished,
    file: Option<File>,
}

#[derive(Debug)]
struct Unfinished(PathBuf);

impl Drop for Unfinished {
    fn drop(&mut self) {
        // Not there any more where it was completed.
        drop(std::fs::remove_file(&self.0));
    }
}

impl Building {
    pub(super) async fn part(&mut self, bytes: Bytes) -> Result<(), RemoteError> {
        let Some(mut file) = self.file.take() else { return Ok(()) };
        let written = self.folder.call("writing", &self.path, move |_| file.write_all(&bytes).map(|()| file));
        self.file = Some(written.await?);
        Ok(())
    }

    pub(super) async fn complete(mut self) -> Result<(), RemoteError> {
        let Some(file) = self.file.take() else { return Ok(()) };
        let (part, path) = (self.part, self.path.clone());
        let done = self.folder.call("completing", &self.path, move |root| {
            file.sync_all()?;
            std::fs::rename(&part.0, &path)?;
            sync_folder(path.parent().unwrap_or(root)).map_err(io::Error::other)
        });
        done.await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn calls_that_hang_are_not_waited_for_and_not_heaped_up() {
        let root = tempfile::tempdir().unwrap();
        let folder = Folder::new(root.path().to_owned(), Duration::from_millis(1));
        let (ends, end) = std::sync::mpsc::channel::<()>();
        let end = Arc::new(std::sync::Mutex::new(end));
        for number in 0..MOST_CALLS + 3 {
            let end = Arc::clone(&end);
            let hung = folder.call("reading", root.path(), move |_| end.lock().unwrap().recv().or(Ok(())));
            let error = hung.await.unwrap_err().to_string();
            let wanted = if number < MOST_CALLS { "no answer" } else { "have not come back" };
            assert!(error.contains(wanted), "{number}: {error}");
        }
        drop(ends);
        while folder.calls.load(Ordering::Relaxed) > 0 {
            tokio::task::yield_now().await;
        }
        let patient = Folder { patience: Duration::from_secs(60), ..folder };
        assert_eq!(patient.size("absent").await.unwrap(), None);
    }
}
