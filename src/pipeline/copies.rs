//! The second copy of the archive, beside the stages: a task that sends what was archived, and a thread that looks at the
//! rules of what is kept. Neither is ever waited for: the archive thread only says what it placed.
//!
//! What cannot be opened (credentials that are not set, say) is told in the log and under `/readyz`; the daemon maps
//! and archives all the same, and what is to be sent waits in the archive for the next start.

use chrono::TimeDelta;
use tokio_util::sync::CancellationToken;

use super::caretaker::Caretaker;
use super::uploads::{self, UploadHand};
use crate::archive::remote::{BucketSettings, Credentials, Remote};
use crate::archive::retention::Rules;
use crate::settings::{ArchiveSettings, RemoteAddress};
use crate::telemetry::Health;

/// The part of the daemon that uploads speak as under `/readyz`.
pub(super) const PART: &str = "uploads";

/// Starts both; they end with `stop`.
pub(super) fn start(settings: &ArchiveSettings, hand: UploadHand, health: Health, stop: CancellationToken) {
    let remote = match remote(settings, |name| std::env::var(name).ok()) {
        Ok(remote) => remote,
        Err(what) => {
            tracing::error!("nothing is copied to the remote: {what}");
            health.trouble(PART, false, format!("nothing is copied to the remote: {what}"));
            None
        }
    };
    if let Some(remote) = &remote {
        tokio::spawn(uploads::run(remote.clone(), hand.clone(), health.clone(), stop.clone()));
    }
    let rules = rules(settings);
    if rules == Rules::default() && remote.is_none() {
        return;
    }
    let runtime = tokio::runtime::Handle::current();
    let caretaker = Caretaker::new(settings.root.clone(), rules, remote, hand, runtime);
    let spawned =
        std::thread::Builder::new().name("caretaker".to_owned()).spawn(move || caretaker.run(&health, &stop));
    if let Err(error) = spawned {
        tracing::error!(%error, "cannot start a thread: nothing is checked, pruned or moved to the quarantine");
    }
}

/// The remote that `settings` name, with credentials from what `variable` reads; `None` where they name none.
///
/// # Errors
/// What is missing, in words.
pub fn remote(
    settings: &ArchiveSettings,
    variable: impl Fn(&str) -> Option<String>,
) -> Result<Option<Remote>, String> {
    let Some(address) = &settings.remote else { return Ok(None) };
    let shown = address.to_string();
    match address {
        RemoteAddress::Folder(path) => Ok(Some(Remote::folder(path.clone(), shown))),
        RemoteAddress::Bucket { bucket, prefix } => {
            let credentials = Credentials::from_variables(&settings.remote_credentials, variable)
                .map_err(|name| format!("the environment variable {name} is not set"))?;
            let bucket = BucketSettings {
                bucket: bucket.clone(),
                prefix: prefix.clone(),
                endpoint: settings.remote_endpoint.clone(),
                region: settings.remote_region.clone(),
                allow_http: settings.remote_allow_http,
            };
            Remote::bucket(&bucket, credentials, shown).map(Some).map_err(|error| error.to_string())
        }
    }
}

/// What `settings` say is kept for how long.
#[must_use]
pub fn rules(settings: &ArchiveSettings) -> Rules {
    let days = |days: f64| (days > 0.0).then(|| TimeDelta::milliseconds((days * 86_400e3).ceil() as i64));
    Rules {
        verify_every: days(settings.verify_every_days),
        prune_after: days(settings.prune_stacks_after_days),
        prune_unverified: settings.prune_unverified,
        quarantine_damaged: settings.quarantine_damaged,
        quarantine_partial_after: days(settings.quarantine_partial_after_days),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::Settings;

    fn settings(lines: &str) -> ArchiveSettings {
        let text = format!("[archive]\n{lines}\n");
        Settings::from_layers(&[("/site/pw.toml".into(), text)], []).unwrap().archive
    }

    #[test]
    fn the_default_keeps_everything_and_sends_nothing() {
        let settings = settings("");
        assert_eq!(rules(&settings), Rules { prune_unverified: false, ..Rules::default() });
        assert!(remote(&settings, |_| None).unwrap().is_none());
    }

    #[test]
    fn credentials_come_from_the_variables_that_are_named() {
        let settings = settings("remote = \"s3://bucket/a\"\nremote_credentials = \"SITE\"");
        let missing = remote(&settings, |_| None).unwrap_err();
        assert!(missing.contains("SITE_ACCESS_KEY_ID"), "{missing}");
        let opened = remote(&settings, |_| Some("x".to_owned())).unwrap().unwrap();
        assert_eq!(opened.address(), "s3://bucket/a");
    }

    #[test]
    fn days_become_times() {
        let rules = rules(&settings("prune_stacks_after_days = 30\nverify_every_days = 0.5"));
        assert_eq!(rules.prune_after, Some(TimeDelta::days(30)));
        assert_eq!(rules.verify_every, Some(TimeDelta::hours(12)));
        assert_eq!(rules.quarantine_partial_after, None);
    }
}
