//! The machine: its clock, who may read what, and how much there is of it.

use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;
use std::time::{Duration, SystemTime};

use super::Finding;
use crate::settings::Settings;

/// Before that no such program was there: the clock is wrong.
const EARLIEST: Duration = Duration::from_secs(1_750_000_000);
/// How far the clocks of this machine and of the archive's server may differ.
const SKEW_S: f64 = 5.0;
/// Open files that many subscribers and mounts need.
const FILES: u64 = 1024;

/// Whether the clock can be right, is kept so, and agrees with that of the archive.
pub(super) fn clock(archive: &Path) -> Vec<Finding> {
    let now = SystemTime::now();
    let since = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    if since < EARLIEST {
        let seen = format!("it is {} here", chrono::DateTime::<chrono::Utc>::from(now).format("%F %T UTC"));
        return vec![Finding::bad("clock", seen, "set it: folders of the archive are named by date")];
    }
    let mut found = Vec::new();
    let mtime = archive.ancestors().find(|dir| dir.is_dir()).and_then(|dir| {
        let file = tempfile::NamedTempFile::new_in(dir).ok()?;
        file.as_file().metadata().ok()?.modified().ok()
    });
    if let Some(mtime) = mtime {
        let skew_s = match mtime.duration_since(now) {
            Ok(ahead) => ahead.as_secs_f64(),
            Err(behind) => -behind.duration().as_secs_f64(),
        };
        if skew_s.abs() > SKEW_S {
            found.push(Finding::doubtful(
                "clock",
                format!("the clock of the archive's file system differs by {skew_s:.0} s"),
                "have both follow one time server",
            ));
        }
    }
    let keepers = [
        "/run/systemd/timesync/synchronized",
        "/run/chrony",
        "/run/chronyd.pid",
        "/run/ntpd.pid",
        "/var/run/ntpd.pid",
    ];
    if keepers.iter().any(|path| Path::new(path).exists()) {
        found.push(Finding::good("clock", "it is kept by a time server"));
    } else {
        found.push(Finding::doubtful(
            "clock",
            "nothing is seen to keep it",
            "install chrony or systemd-timesyncd, unless the host of this machine keeps it. A clock that jumps costs no scan, but dates are wrong",
        ));
    }
    found
}

/// Who runs this, and who may read secrets.
pub(super) fn permissions(file: &Path, settings: &Settings) -> Vec<Finding> {
    let mut found = Vec::new();
    if rustix::process::geteuid().is_root() {
        found.push(Finding::doubtful(
            "permissions",
            "this is run as root",
            "the daemon needs no rights: run it, and doctor, as a user of its own (the package makes phasewatch)",
        ));
    }
    let secrets = [file.to_owned(), settings.daemon.state_dir.join("http-token")];
    for (path, is_token) in secrets.iter().zip([false, true]) {
        let Ok(metadata) = std::fs::metadata(path) else { continue };
        let mode = metadata.permissions().mode();
        if is_token && mode & 0o077 != 0 {
            found.push(Finding::bad(
                "permissions",
                format!("{} can be read by others (mode {:o})", path.display(), mode & 0o777),
                format!("chmod 600 {}; whoever has it may silence alerts", path.display()),
            ));
        }
        if !is_token && mode & 0o022 != 0 {
            found.push(Finding::doubtful(
                "permissions",
                format!(
                    "{} can be changed by others (mode {:o}, user {})",
                    path.display(),
                    mode & 0o777,
                    metadata.uid()
                ),
                "chmod go-w: it names programs that alerts run",
            ));
        }
    }
    if !found.iter().any(|own| own.advice.is_some()) {
        found.push(Finding::good("permissions", "configuration and token are as they should be"));
    }
    found
}

/// Memory and open files.
pub(super) fn limits(settings: &Settings) -> Vec<Finding> {
    let mut found = Vec::new();
    let limits = &settings.limits;
    let most = limits.total_bytes
        + limits.queue_bytes
        + limits.held_bytes
        + limits.kept_bytes
        + settings.publish.queue_bytes;
    let total = std::fs::read_to_string("/proc/meminfo").ok().and_then(|text| {
        let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
        Some(line.trim().trim_end_matches(" kB").parse::<u64>().ok()? * 1024)
    });
    if let Some(total) = total {
        let seen =
            format!("{:.1} GB; stacks and queues may take {:.1} GB", total as f64 / 1e9, most as f64 / 1e9);
        found.push(if most as u64 > total / 10 * 8 {
            let advice = "lower limits.total_bytes and limits.stack_bytes: scans beyond it are refused in words, while a machine without memory kills the daemon";
            Finding::doubtful("memory", seen, advice)
        } else {
            Finding::good("memory", seen)
        });
    }
    let files = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    if files.is_some_and(|files| files < FILES) {
        let seen = format!("{} files may be open", files.unwrap_or_default());
        found.push(Finding::doubtful(
            "limits",
            seen,
            "LimitNOFILE= in the unit, or ulimit -n: 1024 and more",
        ));
    }
    found
}
