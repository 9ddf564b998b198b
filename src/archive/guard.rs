//! One change of the archive at a time: what puts a scan in its place, prunes it or moves it away holds the guard
//! meanwhile, for milliseconds; nothing waits for a network or reads a large file under it.
//!
//! Within the process it is a lock; against other processes (`phasewatch archive prune` beside the daemon) the root
//! is locked with the operating system, as far as its file system can: where it cannot, as on some network mounts,
//! the change goes on, since a scan has to be archived.

use std::fs::File;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

static CHANGES: Mutex<()> = Mutex::new(());

/// Held during a change.
#[derive(Debug)]
pub(super) struct Guard {
    // Released in this order: other processes first.
    _root: Option<File>,
    _changes: MutexGuard<'static, ()>,
}

impl Guard {
    /// Waits for its turn.
    pub(super) fn take(root: &Path) -> Self {
        let changes = CHANGES.lock().unwrap_or_else(PoisonError::into_inner);
        let locked = File::open(root).and_then(|root| root.lock().map(|()| root));
        let root = locked
            .inspect_err(|error| {
                tracing::debug!(root = %root.display(), %error, "the archive cannot be locked against others");
            })
            .ok();
        Self { _root: root, _changes: changes }
    }
}
