//! A remote that is a folder: files built beside their place, synced, and renamed into it. The blocking calls run on
//! threads of their own, since a network mount may stall.

use std::fs::File;
use std::io::{self, ErrorKind, Write as _};
use std::ops::Range;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;

use super::RemoteError;
use crate::archive::durable::{create_folders, sync_folder};

async fn blocking<T: Send + 'static>(
    doing: &'static str,
    path: &Path,
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> Result<T, RemoteError> {
    let done = tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| Err(io::Error::other(error)));
    done.map_err(|error| RemoteError { doing, what: path.display().to_string(), error: error.to_string() })
}

/// What is not there is none; all else is an error. The root has to be there.
fn there<T>(root: &Path, found: io::Result<T>) -> io::Result<Option<T>> {
    match found {
        Ok(found) => Ok(Some(found)),
        Err(error) if error.kind() == ErrorKind::NotFound => std::fs::metadata(root).map(|_| None),
        Err(error) => Err(error),
    }
}

pub(super) async fn size(root: &Path, key: &str) -> Result<Option<u64>, RemoteError> {
    let (root, path) = (root.to_owned(), root.join(key));
    blocking("looking at", &path.clone(), move || {
        let found = there(&root, std::fs::symlink_metadata(&path))?;
        match found {
            Some(metadata) if !metadata.is_file() => Err(io::Error::other("is not a file")),
            found => Ok(found.map(|metadata| metadata.len())),
        }
    })
    .await
}

pub(super) async fn read(root: &Path, key: &str, range: Range<u64>) -> Result<Option<Bytes>, RemoteError> {
    let (root, path) = (root.to_owned(), root.join(key));
    blocking("reading", &path.clone(), move || {
        let Some(file) = there(&root, File::open(&path))? else { return Ok(None) };
        let mut bytes = vec![0; (range.end - range.start) as usize];
        file.read_exact_at(&mut bytes, range.start)?;
        Ok(Some(Bytes::from(bytes)))
    })
    .await
}

/// A file under construction; it is removed where it is not completed.
#[derive(Debug)]
pub(super) struct Building {
    root: PathBuf,
    part: PathBuf,
    path: PathBuf,
    file: Option<File>,
}

impl Building {
    pub(super) async fn begin(root: &Path, key: &str) -> Result<Self, RemoteError> {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let path = root.join(key);
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let part = path.with_file_name(format!(".tmp-{name}-{}-{number}", std::process::id()));
        let (root, new) = (root.to_owned(), part.clone());
        let mut building = Self { root: root.clone(), part, path: path.clone(), file: None };
        let file = blocking("creating", &path, move || {
            // What is not mounted is not made.
            std::fs::metadata(&root)?;
            if let Some(parent) = new.parent() {
                create_folders(&root, parent).map_err(io::Error::other)?;
            }
            File::create(&new)
        })
        .await?;
        building.file = Some(file);
        Ok(building)
    }

    pub(super) async fn part(&mut self, bytes: Bytes) -> Result<(), RemoteError> {
        let Some(mut file) = self.file.take() else { return Ok(()) };
        let written = blocking("writing", &self.path, move || file.write_all(&bytes).map(|()| file)).await?;
        self.file = Some(written);
        Ok(())
    }

    pub(super) async fn complete(mut self) -> Result<(), RemoteError> {
        let Some(file) = self.file.take() else { return Ok(()) };
        let (root, part, path) = (self.root.clone(), self.part.clone(), self.path.clone());
        blocking("completing", &self.path, move || {
            file.sync_all()?;
            std::fs::rename(&part, &path)?;
            sync_folder(path.parent().unwrap_or(&root)).map_err(io::Error::other)
        })
        .await
    }
}

impl Drop for Building {
    fn drop(&mut self) {
        // Not there any more where it was completed.
        drop(std::fs::remove_file(&self.part));
    }
}
