//! Reading and writing at a remote: whole objects or parts of them, by key.
//!
//! A file counts as written in a bucket when the server said so, in a folder when it is synced and renamed to its name.

mod folder;

use std::fmt;
use std::ops::Range;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use object_store::aws::AmazonS3Builder;
use object_store::path::Path as Key;
use object_store::{
    BackoffConfig, ClientOptions, MultipartUpload, ObjectStore, ObjectStoreExt as _, RetryConfig,
};

/// Bytes of a part: what is in memory of a file under way.
pub(super) const PART_BYTES: u64 = 8 * 1024 * 1024;
/// Most parts of an object, by the rules of S3.
const MOST_PARTS: u64 = 10_000;
/// A part at 1 Mbit/s takes about a minute.
const REQUEST: Duration = Duration::from_secs(120);
const CONNECT: Duration = Duration::from_secs(10);
/// Longest text of an error that is kept.
const MOST_TEXT: usize = 500;

/// What a remote said, or did not.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{doing} {what}: {error}")]
pub struct RemoteError {
    /// What was being done.
    pub doing: &'static str,
    /// With which object.
    pub what: String,
    /// What went wrong, without credentials.
    pub error: String,
}

/// What a bucket is opened with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BucketSettings {
    /// Its name.
    pub bucket: String,
    /// What keys begin with, without `/` at the ends; may be empty.
    pub prefix: String,
    /// The server; `None`: Amazon's.
    pub endpoint: Option<String>,
    /// The region.
    pub region: String,
    /// Whether the server may be spoken to without TLS.
    pub allow_http: bool,
}

/// What a bucket lets us in with. Its debug form shows none of it.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// Name of the key.
    pub access_key_id: String,
    /// The key.
    pub secret_access_key: String,
    /// Token of a temporary key.
    pub session_token: Option<String>,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credentials")
    }
}

impl Credentials {
    /// Credentials from the variables `<prefix>_ACCESS_KEY_ID`, `<prefix>_SECRET_ACCESS_KEY` and
    /// `<prefix>_SESSION_TOKEN`, as `variable` reads them.
    ///
    /// # Errors
    /// The name of a variable that is needed and not set.
    pub fn from_variables(prefix: &str, variable: impl Fn(&str) -> Option<String>) -> Result<Self, String> {
        let get = |name: &str| variable(&format!("{prefix}_{name}")).filter(|value| !value.is_empty());
        let need = |name: &str| get(name).ok_or_else(|| format!("{prefix}_{name}"));
        Ok(Self {
            access_key_id: need("ACCESS_KEY_ID")?,
            secret_access_key: need("SECRET_ACCESS_KEY")?,
            session_token: get("SESSION_TOKEN"),
        })
    }

    /// `text` without anything of these, on one line and cut.
    fn redact(&self, text: &str) -> String {
        let secrets = [Some(&self.access_key_id), Some(&self.secret_access_key), self.session_token.as_ref()];
        let text =
            secrets.into_iter().flatten().fold(text.to_owned(), |text, secret| text.replace(secret, "***"));
        let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
        text.chars().take(MOST_TEXT).collect()
    }
}

/// A second root of the archive. Clones share it.
#[derive(Clone, Debug)]
pub struct Remote {
    place: Place,
    shown: String,
}

#[derive(Clone, Debug)]
enum Place {
    Bucket { store: Arc<dyn ObjectStore>, prefix: String, credentials: Arc<Credentials> },
    Folder(folder::Folder),
}

impl Remote {
    /// A bucket. Nothing is asked of the server yet. `shown` is the address for people and the ledger.
    ///
    /// # Errors
    /// Settings that make no address.
    pub fn bucket(
        settings: &BucketSettings,
        credentials: Credentials,
        shown: String,
    ) -> Result<Self, RemoteError> {
        let client = ClientOptions::new()
            .with_allow_http(settings.allow_http)
            .with_timeout(REQUEST)
            .with_connect_timeout(CONNECT);
        // The outbox tries again for ever; in here only what may pass in a moment is tried again.
        let backoff = BackoffConfig { max_backoff: Duration::from_secs(2), ..BackoffConfig::default() };
        let retry = RetryConfig { backoff, max_retries: 2, retry_timeout: REQUEST };
        let mut builder = AmazonS3Builder::new()
            .with_bucket_name(&settings.bucket)
            .with_region(&settings.region)
            .with_access_key_id(&credentials.access_key_id)
            .with_secret_access_key(&credentials.secret_access_key)
            .with_client_options(client)
            .with_retry(retry);
        if let Some(token) = &credentials.session_token {
            builder = builder.with_token(token);
        }
        if let Some(endpoint) = &settings.endpoint {
            builder = builder.with_endpoint(endpoint);
        }
        let store = builder.build().map_err(|error| RemoteError {
            doing: "opening",
            what: shown.clone(),
            error: credentials.redact(&error.to_string()),
        })?;
        Ok(Self::of_store(Arc::new(store), settings.prefix.clone(), credentials, shown))
    }

    pub(super) fn of_store(
        store: Arc<dyn ObjectStore>,
        prefix: String,
        credentials: Credentials,
        shown: String,
    ) -> Self {
        Self { place: Place::Bucket { store, prefix, credentials: Arc::new(credentials) }, shown }
    }

    /// A folder. It has to be there: one that is not mounted shall not be made.
    #[must_use]
    pub fn folder(path: PathBuf, shown: String) -> Self {
        Self { place: Place::Folder(folder::Folder::new(path, REQUEST)), shown }
    }

    /// Its address.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.shown
    }

    /// Whether what lies there is lost with another disk than `root`: a folder on the same file system is not elsewhere.
    #[must_use]
    pub fn is_elsewhere(&self, root: &Path) -> bool {
        let Place::Folder(folder) = &self.place else { return true };
        let device = |path: &Path| std::fs::metadata(path).map(|metadata| metadata.dev());
        device(folder.root()).is_ok_and(|there| device(root).is_ok_and(|here| here != there))
    }

    /// Size of the object `key`, if it is there.
    ///
    /// # Errors
    /// [`RemoteError`] where that cannot be told.
    pub async fn size(&self, key: &str) -> Result<Option<u64>, RemoteError> {
        match &self.place {
            Place::Folder(folder) => folder.size(key).await,
            Place::Bucket { store, .. } => {
                let found = store.head(&self.key(key)?).await;
                Ok(self.there("looking at", key, found)?.map(|meta| meta.size))
            }
        }
    }

    /// Bytes `range` of the object `key`, if it is there. An empty range asks nothing.
    ///
    /// # Errors
    /// [`RemoteError`] where they cannot be had.
    pub async fn read(&self, key: &str, range: Range<u64>) -> Result<Option<Bytes>, RemoteError> {
        if range.is_empty() {
            return Ok(Some(Bytes::new()));
        }
        match &self.place {
            Place::Folder(folder) => folder.read(key, range).await,
            Place::Bucket { store, .. } => {
                let found = store.get_range(&self.key(key)?, range).await;
                self.there("reading", key, found)
            }
        }
    }

    /// Writes the whole object `key`, in the place of what is there.
    ///
    /// # Errors
    /// [`RemoteError`]; what was there may be there still.
    pub async fn put(&self, key: &str, bytes: Bytes) -> Result<(), RemoteError> {
        match &self.place {
            Place::Folder(_) => {
                let mut writer = self.writer(key).await?;
                writer.part(bytes).await?;
                writer.complete().await
            }
            Place::Bucket { store, .. } => {
                let put = store.put(&self.key(key)?, bytes.into()).await;
                put.map(drop).map_err(|error| self.error("writing", key, &error))
            }
        }
    }

    /// Begins to write the object `key` part by part; what is there stays until the end.
    ///
    /// # Errors
    /// [`RemoteError`].
    pub async fn writer(&self, key: &str) -> Result<Writer, RemoteError> {
        let parts = match &self.place {
            Place::Folder(folder) => Parts::Folder(folder.begin(key).await?),
            Place::Bucket { store, .. } => {
                let begun = store.put_multipart(&self.key(key)?).await;
                Parts::Bucket(begun.map_err(|error| self.error("writing", key, &error))?)
            }
        };
        Ok(Writer { remote: self.clone(), key: key.to_owned(), parts })
    }

    fn key(&self, key: &str) -> Result<Key, RemoteError> {
        let Place::Bucket { prefix, .. } = &self.place else { return Ok(Key::default()) };
        // Not `from`, which would write another name for `~`.
        Key::parse(format!("{prefix}/{key}")).map_err(|error| RemoteError {
            doing: "naming",
            what: key.to_owned(),
            error: error.to_string(),
        })
    }

    fn there<T>(
        &self,
        doing: &'static str,
        key: &str,
        found: object_store::Result<T>,
    ) -> Result<Option<T>, RemoteError> {
        match found {
            Ok(found) => Ok(Some(found)),
            // A bucket that is not there is no object that is not there.
            Err(error @ object_store::Error::NotFound { .. })
                if !error.to_string().contains("NoSuchBucket") =>
            {
                Ok(None)
            }
            Err(error) => Err(self.error(doing, key, &error)),
        }
    }

    fn error(&self, doing: &'static str, key: &str, error: &object_store::Error) -> RemoteError {
        let text = error.to_string();
        let error = match &self.place {
            Place::Bucket { credentials, .. } => credentials.redact(&text),
            Place::Folder(_) => text,
        };
        RemoteError { doing, what: format!("{}/{key}", self.shown), error }
    }
}

/// Bytes of a part of an object of so many.
pub(super) fn part_bytes(total: u64) -> u64 {
    PART_BYTES.max(total.div_ceil(MOST_PARTS))
}

/// An object that is being written.
#[derive(Debug)]
pub struct Writer {
    remote: Remote,
    key: String,
    parts: Parts,
}

#[derive(Debug)]
enum Parts {
    Bucket(Box<dyn MultipartUpload>),
    Folder(folder::Building),
}

impl Writer {
    /// Writes the next part.
    ///
    /// # Errors
    /// [`RemoteError`].
    pub async fn part(&mut self, bytes: Bytes) -> Result<(), RemoteError> {
        match &mut self.parts {
            Parts::Folder(building) => building.part(bytes).await,
            Parts::Bucket(upload) => {
                let sent = upload.put_part(bytes.into()).await;
                sent.map_err(|error| self.remote.error("writing a part of", &self.key, &error))
            }
        }
    }

    /// All parts are there: the object takes its place.
    ///
    /// # Errors
    /// [`RemoteError`]; what was there may be there still.
    pub async fn complete(self) -> Result<(), RemoteError> {
        match self.parts {
            Parts::Folder(building) => building.complete().await,
            Parts::Bucket(mut upload) => {
                let done = upload.complete().await;
                done.map(drop).map_err(|error| self.remote.error("completing", &self.key, &error))
            }
        }
    }

    /// Gives it up; what was there stays. Where that fails, too, parts are left for the bucket's own rules to remove.
    pub async fn abort(self) {
        if let Parts::Bucket(mut upload) = self.parts
            && let Err(error) = upload.abort().await
        {
            let error = self.remote.error("giving up", &self.key, &error);
            tracing::warn!("parts of an upload are left: {error}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_never_shown() {
        let read = |name: &str| match name {
            "SITE_ACCESS_KEY_ID" => Some("AKID1".to_owned()),
            "SITE_SECRET_ACCESS_KEY" => Some("hush/+1".to_owned()),
            "SITE_SESSION_TOKEN" => Some("token".to_owned()),
            _ => None,
        };
        let credentials = Credentials::from_variables("SITE", read).unwrap();
        assert_eq!(format!("{credentials:?}"), "Credentials");
        assert_eq!(credentials.redact("key AKID1\n says hush/+1 with token"), "key *** says *** with ***");
        assert_eq!(Credentials::from_variables("AWS", read).unwrap_err(), "AWS_ACCESS_KEY_ID");
        let settings = BucketSettings {
            bucket: "bucket".into(),
            prefix: String::new(),
            endpoint: Some("https://s3.example".into()),
            region: "us-east-1".into(),
            allow_http: false,
        };
        let remote = Remote::bucket(&settings, credentials, "s3://bucket".into()).unwrap();
        let shown = format!("{remote:?}");
        assert!(!shown.contains("hush"), "{shown}");
    }

    #[test]
    fn the_largest_file_has_no_more_parts_than_allowed() {
        assert_eq!(part_bytes(0), PART_BYTES);
        for total in [1_u64 << 30, 1 << 40, (1 << 40) + 1] {
            assert!(total.div_ceil(part_bytes(total)) <= MOST_PARTS);
        }
    }
}
