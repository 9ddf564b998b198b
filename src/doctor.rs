//! What a beamline checks before it leaves the daemon alone: `phasewatch doctor`.
//!
//! Each check looks at one thing that has to be right on this machine and says what it found; where that is not good, what to do. Nothing is changed but for a file that is
//! written and removed again in the state directory and in the archive, and nothing is sent to the beamline: of addresses that are connected to, it is
//! only seen whether they answer. A check never fails, it finds.

mod disk;
mod host;
mod network;
mod science;

use std::path::Path;

use serde::Serialize;

use crate::settings::Settings;

/// How good something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Grade {
    /// As it should be.
    Good,
    /// The daemon runs; somebody should know.
    Doubtful,
    /// The daemon does not run, or does not do its job.
    Bad,
}

impl Grade {
    /// A word of five letters at most.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Doubtful => "doubt",
            Self::Bad => "bad",
        }
    }
}

/// What a check found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What was looked at: `configuration`, `ports`, …
    pub what: String,
    /// How good it is.
    pub grade: Grade,
    /// What was seen.
    pub seen: String,
    /// What to do; none where it is good.
    pub advice: Option<String>,
}

impl Finding {
    fn good(what: &str, seen: impl Into<String>) -> Self {
        Self { what: what.to_owned(), grade: Grade::Good, seen: seen.into(), advice: None }
    }

    fn doubtful(what: &str, seen: impl Into<String>, advice: impl Into<String>) -> Self {
        let advice = Some(advice.into());
        Self { what: what.to_owned(), grade: Grade::Doubtful, seen: seen.into(), advice }
    }

    fn bad(what: &str, seen: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { grade: Grade::Bad, ..Self::doubtful(what, seen, advice) }
    }
}

/// Checks everything that the configuration in `file` asks for. It waits for files and, for some seconds, for hosts.
#[must_use]
pub fn examine(file: &Path) -> Vec<Finding> {
    let name = file.display();
    let settings = match Settings::load(Some(file)) {
        Ok(settings) => settings,
        Err(error) => {
            let advice = "mend it; `phasewatch config show` lists every key with its default. Nothing else was checked";
            return vec![Finding::bad("configuration", error.to_string(), advice)];
        }
    };
    let mut found = Vec::new();
    match settings.check_runnable() {
        Ok(()) => found.push(Finding::good("configuration", format!("{name} can be run"))),
        Err(error) => found.push(Finding::bad("configuration", format!("{name}: {error}"), "add it")),
    }
    for warning in &settings.warnings {
        found.push(Finding::doubtful(
            "configuration",
            warning.clone(),
            "see the comment on that key in config/default.toml",
        ));
    }
    let holder = network::holder(&settings);
    found.extend(network::ports(&settings, holder.as_deref()));
    found.extend(network::daemon(&settings, holder.as_deref()));
    found.extend(network::sources(&settings, holder.as_deref()));
    let references = science::references(&settings, &mut found);
    found.extend(science::model(&settings, references.as_ref()));
    found.extend(disk::places(&settings));
    found.extend(host::clock(&settings.archive.root));
    found.extend(host::permissions(file, &settings));
    found.extend(host::limits(&settings));
    found
}

#[cfg(test)]
mod tests;
