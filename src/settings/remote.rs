//! Where the second copy of the archive lies.

use std::fmt;
use std::path::{Path, PathBuf};

use serde::{Serialize, Serializer};

/// A second root of the archive. It is written as it is read, `s3://bucket/prefix` or `file:///folder`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RemoteAddress {
    /// A bucket of object storage that speaks S3.
    Bucket {
        /// Its name.
        bucket: String,
        /// What the names of objects begin with, without `/` at either end; may be empty.
        prefix: String,
    },
    /// A folder, on another file system if it shall be of use.
    Folder(PathBuf),
}

impl RemoteAddress {
    /// The address in `text`; `None` where it is none. A user or a password in it makes it none.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        if let Some(path) = text.strip_prefix("file://") {
            let path = Path::new(path);
            let plain = path.components().all(|part| !matches!(part, std::path::Component::ParentDir));
            return (path.is_absolute() && plain).then(|| Self::Folder(path.to_owned()));
        }
        let (bucket, prefix) = {
            let rest = text.strip_prefix("s3://")?;
            rest.split_once('/').unwrap_or((rest, ""))
        };
        let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'.' | b'-');
        let is_bucket = (3..=63).contains(&bucket.len()) && bucket.bytes().all(plain);
        let prefix = prefix.trim_end_matches('/');
        let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-' | b'=');
        let is_part = |part: &str| !matches!(part, "" | "." | "..") && part.bytes().all(plain);
        let is_prefix = prefix.is_empty() || prefix.len() <= 512 && prefix.split('/').all(is_part);
        (is_bucket && is_prefix)
            .then(|| Self::Bucket { bucket: bucket.to_owned(), prefix: prefix.to_owned() })
    }
}

impl fmt::Display for RemoteAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bucket { bucket, prefix } if prefix.is_empty() => write!(f, "s3://{bucket}"),
            Self::Bucket { bucket, prefix } => write!(f, "s3://{bucket}/{prefix}"),
            Self::Folder(path) => write!(f, "file://{}", path.display()),
        }
    }
}

impl Serialize for RemoteAddress {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Whether `text` is `http(s)://host[:port]`, with nothing else: no user, no password, no path. The scheme is returned.
pub(super) fn endpoint_scheme(text: &str) -> Option<&str> {
    let (scheme, host) = text.split_once("://")?;
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b':' | b'[' | b']' | b'_');
    let good = matches!(scheme, "http" | "https") && !host.is_empty() && host.bytes().all(plain);
    good.then_some(scheme)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_told_from_what_is_none() {
        for (text, shown) in [
            ("s3://bucket", "s3://bucket"),
            ("s3://bucket/", "s3://bucket"),
            ("s3://my.bucket-1/a/b=c/", "s3://my.bucket-1/a/b=c"),
            ("file:///mnt/second", "file:///mnt/second"),
        ] {
            assert_eq!(RemoteAddress::parse(text).unwrap().to_string(), shown);
        }
        for wrong in [
            "",
            "bucket",
            "s3://",
            "s3://b",
            "s3://KEY:secret@bucket/prefix",
            "s3://bucket/a//b",
            "s3://bucket/../other",
            "s3://bucket/a?secret=1",
            "file://relative",
            "file:///mnt/../etc",
            "https://bucket",
        ] {
            assert_eq!(RemoteAddress::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn an_endpoint_is_a_host_and_nothing_else() {
        assert_eq!(endpoint_scheme("https://s3.example:9000"), Some("https"));
        assert_eq!(endpoint_scheme("http://[::1]:9000"), Some("http"));
        for wrong in ["s3.example", "ftp://s3", "https://", "https://key:secret@s3", "https://s3/path"] {
            assert_eq!(endpoint_scheme(wrong), None, "{wrong}");
        }
    }
}
