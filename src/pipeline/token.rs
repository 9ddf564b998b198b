//! The token that whoever changes something over HTTP has to show.
//!
//! It comes from the environment variable that `http.token_env` names, or `alerts.token_env`; where neither is given, the daemon makes one and keeps it in
//! [`FILE`] of its state directory, readable by its own user alone: who may read that may act as the operator. It is never logged.

use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use rand::RngCore as _;

use crate::settings::Settings;

/// The file in the state directory.
pub const FILE: &str = "http-token";
/// Fewest characters of a token in the file; a shorter text is not one that was written whole.
const FEWEST: usize = 32;

/// What is known of the token.
#[derive(Clone, PartialEq, Eq)]
pub(super) enum Token {
    /// This is it, and where it can be read.
    Known(String, Option<PathBuf>),
    /// There is none, so that nobody can change anything: why.
    Unknown(String),
}

impl Token {
    /// As the settings have it.
    pub(super) fn of(settings: &Settings) -> Self {
        let named = settings.http.token_env.as_ref().or(settings.alerts.token_env.as_ref());
        if let Some(name) = named {
            return match std::env::var(name).ok().filter(|token| !token.is_empty()) {
                Some(token) => Self::Known(token, None),
                None => Self::Unknown(format!(
                    "the environment variable {name} is not set: nobody can acknowledge or silence alerts, archive a scan or load a model over HTTP"
                )),
            };
        }
        if !settings.journal.enabled {
            // The state directory is not ours alone then.
            let what = "without a journal no token is kept: set http.token_env to change anything over HTTP";
            return Self::Unknown(what.to_owned());
        }
        let path = settings.daemon.state_dir.join(FILE);
        match kept(&path) {
            Ok(token) => Self::Known(token, Some(path)),
            Err(error) => Self::Unknown(format!("{}: {error}; set http.token_env instead", path.display())),
        }
    }
}

/// The token in a file, for a command beside the daemon; `None` where there is none to be read.
#[must_use]
pub fn read(state_dir: &Path) -> Option<String> {
    let token = std::fs::read_to_string(state_dir.join(FILE)).ok()?;
    Some(token.trim().to_owned()).filter(|token| token.len() >= FEWEST)
}

/// The token in the file, which is made where it is not there.
fn kept(path: &Path) -> std::io::Result<String> {
    if let Some(token) = path.parent().and_then(read) {
        return Ok(token);
    }
    let mut bytes = [0; 16];
    rand::rng().fill_bytes(&mut bytes);
    let token: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    let part = path.with_extension("part");
    // What a crash left has perhaps not our mode.
    _ = std::fs::remove_file(&part);
    let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&part)?;
    writeln!(file, "{token}")?;
    file.sync_all()?;
    std::fs::rename(&part, path)?;
    Ok(token)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_token_is_made_once_and_for_its_owner_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(FILE);
        assert_eq!(read(folder.path()), None);
        let token = kept(&path).unwrap();
        assert_eq!((token.len(), kept(&path).unwrap() == token), (32, true));
        assert_eq!(read(folder.path()).as_ref(), Some(&token));
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        std::fs::write(&path, "half").unwrap();
        let other = kept(&path).unwrap();
        assert!(other != token && other.len() == 32);
        assert!(kept(&folder.path().join("not/there")).is_err());
    }
}
