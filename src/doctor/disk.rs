//! Directories: whether they can be written to, and have room.

use std::io::Write as _;
use std::path::Path;

use super::Finding;
use crate::journal::Store;
use crate::settings::{RemoteAddress, Settings};

/// Stacks that should find room in the archive.
const STACKS: u64 = 10;

/// The state directory, the archive, and its copy where that is a folder.
pub(super) fn places(settings: &Settings) -> Vec<Finding> {
    let stack = settings.limits.stack_bytes as u64;
    let mut found = Vec::new();
    if let Err(error) = Store::check_format(&settings.daemon.state_dir) {
        // Nothing is tried there: it is to stay as it is.
        let advice =
            "run the phasewatch that wrote it, or name another daemon.state_dir (docs/formats-versions.md)";
        found.push(Finding::bad("disk", format!("daemon.state_dir: {error}"), advice));
    } else if settings.journal.enabled {
        found.extend(place("daemon.state_dir", &settings.daemon.state_dir, 2 * stack));
        found.extend(local(&settings.daemon.state_dir));
    }
    found.extend(place("archive.root", &settings.archive.root, STACKS * stack));
    if let Some(RemoteAddress::Folder(folder)) = &settings.archive.remote {
        found.extend(place("archive.remote", folder, STACKS * stack));
    }
    found
}

fn place(key: &str, dir: &Path, wanted: u64) -> Vec<Finding> {
    let shown = dir.display();
    // It is made at the start; what can be tried until then is the nearest directory that is there.
    let mut nearest =
        dir.ancestors().map(|own| if own.as_os_str().is_empty() { Path::new(".") } else { own });
    let Some(there) = nearest.find(|dir| dir.is_dir()) else {
        return vec![Finding::bad(
            "disk",
            format!("{key} = {shown}: no part of that is a directory"),
            "make it",
        )];
    };
    let written = tempfile::NamedTempFile::new_in(there).and_then(|mut file| {
        file.write_all(b"phasewatch doctor\n")?;
        file.as_file().sync_all()
    });
    if let Err(error) = written {
        return vec![Finding::bad(
            "disk",
            format!("{key} = {shown} cannot be written to: {error}"),
            "run doctor as the user of the daemon (`sudo -u phasewatch phasewatch doctor …`); give that user the directory, and name it in ReadWritePaths= of the unit",
        )];
    }
    let Ok(space) = rustix::fs::statvfs(there) else { return Vec::new() };
    let free = space.f_bavail.saturating_mul(space.f_frsize);
    let seen = format!("{key} = {shown}: can be written to, {} free", gigabytes(free));
    if free < wanted {
        let advice = format!(
            "make room: {} are what the largest scans that limits.stack_bytes allows may need. archive.prune_stacks_after_days and journal.kept_bytes bound what is kept",
            gigabytes(wanted)
        );
        return vec![Finding::doubtful("disk", seen, advice)];
    }
    vec![Finding::good("disk", seen)]
}

/// Whether the journal lies on a disk of this machine.
fn local(dir: &Path) -> Option<Finding> {
    /// Of NFS, SMB, CIFS and FUSE.
    const REMOTE: [i64; 5] = [0x6969, 0x517b, 0xff53_4d42, 0xfe53_4d42, 0x6573_5546];
    let there = dir.ancestors().find(|dir| dir.is_dir())?;
    #[allow(clippy::unnecessary_cast, reason = "its type is not the same on every machine")]
    let kind = rustix::fs::statfs(there).ok()?.f_type as i64;
    REMOTE.contains(&kind).then(|| {
        Finding::doubtful(
            "disk",
            format!("daemon.state_dir = {} is on a network file system", dir.display()),
            "put it on a local disk: nothing is received while it does not answer",
        )
    })
}

fn gigabytes(bytes: u64) -> String {
    format!("{:.1} GB", bytes as f64 / 1e9)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Grade;

    #[test]
    fn a_relative_place_that_is_not_there_yet_begins_here() {
        let found = place("daemon.state_dir", Path::new("not-there-yet/state"), 1);
        assert!(found.len() == 1 && found[0].grade == Grade::Good, "{found:?}");
    }
}
