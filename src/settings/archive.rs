//! The section `[archive]`: the folder, its second copy, and what is kept for how long.

use super::error::SettingsError;
use super::reader::Reader;
use super::remote::{RemoteAddress, endpoint_scheme};
use super::sections::ArchiveSettings;

type Result<T> = std::result::Result<T, SettingsError>;

/// A hundred years: who writes more means for ever, which is 0.
const MOST_DAYS: f64 = 36_500.0;

pub(super) fn archive(reader: &mut Reader) -> Result<ArchiveSettings> {
    let root = reader.need_path("archive.root")?;
    let remote = remote(reader)?;
    let remote_endpoint = endpoint(reader)?;
    let remote_region = reader.text("archive.remote_region")?.unwrap_or_default();
    let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'-';
    if remote_region.is_empty() || remote_region.len() > 64 || !remote_region.bytes().all(plain) {
        return Err(
            reader.refuse("archive.remote_region", "it must be the name of a region such as us-east-1")
        );
    }
    let remote_allow_http = reader.flag("archive.remote_allow_http")?;
    if remote_endpoint.as_deref().and_then(endpoint_scheme) == Some("http") && !remote_allow_http {
        return Err(reader.refuse(
            "archive.remote_endpoint",
            "what is sent over http can be read on the way; use https, or set archive.remote_allow_http = true on \
             a closed network",
        ));
    }
    Ok(ArchiveSettings {
        root,
        remote,
        remote_endpoint,
        remote_region,
        remote_allow_http,
        remote_credentials: credentials(reader)?,
        verify_every_days: reader.number("archive.verify_every_days", 0.0, MOST_DAYS)?,
        prune_stacks_after_days: reader.number("archive.prune_stacks_after_days", 0.0, MOST_DAYS)?,
        prune_unverified: reader.flag("archive.prune_unverified")?,
        quarantine_damaged: reader.flag("archive.quarantine_damaged")?,
        quarantine_partial_after_days: reader.number(
            "archive.quarantine_partial_after_days",
            0.0,
            MOST_DAYS,
        )?,
    })
}

/// What is accepted, but may not be meant.
pub(super) fn warnings(archive: &ArchiveSettings) -> impl Iterator<Item = &'static str> {
    let prunes = archive.prune_stacks_after_days > 0.0;
    [
        (
            prunes && archive.prune_unverified,
            "archive.prune_unverified = true: what was measured is removed also where no copy is known to be good",
        ),
        (
            prunes && archive.remote.is_none() && !archive.prune_unverified,
            "archive.prune_stacks_after_days: nothing is removed, since archive.remote is not set and nothing is copied",
        ),
        (
            archive.remote_endpoint.as_deref().and_then(endpoint_scheme) == Some("http"),
            "archive.remote_endpoint: what is sent over http can be read on the way",
        ),
    ]
    .into_iter()
    .filter_map(|(is, what)| is.then_some(what))
}

fn remote(reader: &mut Reader) -> Result<Option<RemoteAddress>> {
    const KEY: &str = "archive.remote";
    let Some(text) = reader.text(KEY)? else { return Ok(None) };
    // Someone may have put a key and its secret into the address, as some programs want it.
    RemoteAddress::parse(&text).map(Some).ok_or_else(|| {
        reader.refuse_unseen(KEY, "it must be s3://bucket/prefix or file:///folder, without credentials")
    })
}

fn endpoint(reader: &mut Reader) -> Result<Option<String>> {
    const KEY: &str = "archive.remote_endpoint";
    let Some(text) = reader.text(KEY)? else { return Ok(None) };
    let text = text.trim_end_matches('/').to_owned();
    if endpoint_scheme(&text).is_none() {
        return Err(reader.refuse_unseen(KEY, "it must be https://host:port, without credentials or a path"));
    }
    Ok(Some(text))
}

/// The beginning of names of variables. Whoever writes the secret itself here shall not read it in a log.
fn credentials(reader: &mut Reader) -> Result<String> {
    const KEY: &str = "archive.remote_credentials";
    let text = reader.text(KEY)?.unwrap_or_default();
    let plain = |b: u8| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_';
    let good = text.len() <= 32 && text.bytes().next().is_some_and(|b| b.is_ascii_uppercase());
    if good && text.bytes().all(plain) {
        return Ok(text);
    }
    Err(reader.refuse_unseen(
        KEY,
        "it must be what the names of the environment variables begin with, such as AWS; never the credentials",
    ))
}
