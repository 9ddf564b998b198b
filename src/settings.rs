//! Configuration: layers of TOML and environment variables, checked once, then plain values.
//!
//! Later layers win: the embedded `config/default.toml`, `/etc/phasewatch/phasewatch.toml` where it is there,
//! the file named on the command line, environment variables `PHASEWATCH__SECTION__KEY`. `[[source]]` is
//! replaced as a whole (`PHASEWATCH__SOURCE` holds it as a TOML list). An empty text unsets an optional key.
//! Relative paths in a file are relative to its directory; in a variable, to the working directory.
//!
//! Anything wrong is an error that names the key, where it stands, the value, and what is allowed; an unknown
//! key, also of a variable with our prefix, names the nearest known one. Nothing is guessed or clamped.

mod alerts;
mod archive;
mod endpoint;
mod error;
mod keys;
mod layer;
mod reader;
mod remote;
mod secret;
mod sections;
mod source;
mod validate;

use std::io::Read as _;
use std::path::{Path, PathBuf};

use serde::Serialize;

pub use endpoint::Endpoint;
pub(crate) use endpoint::{is_loopback, tcp};
pub use error::{Origin, SettingsError};
pub use reader::Effective;
pub use remote::RemoteAddress;
pub use secret::SecretUrl;
pub(crate) use secret::is_numeric;
pub use sections::*;

/// The built-in defaults, with every key explained.
pub const DEFAULT_TOML: &str = include_str!("../config/default.toml");
/// The file of the machine.
pub const SYSTEM_FILE: &str = "/etc/phasewatch/phasewatch.toml";

/// All settings, checked. They hold no secrets: serialised they may go into manifests.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Settings {
    /// `[daemon]`.
    pub daemon: DaemonSettings,
    /// `[journal]`.
    pub journal: JournalSettings,
    /// `[[source]]`.
    pub sources: Vec<SourceSettings>,
    /// `[references]`.
    pub references: ReferencesSettings,
    /// `[model]`.
    pub model: ModelSettings,
    /// `[i0]`.
    pub i0: I0Settings,
    /// `[detector]`.
    pub detector: DetectorSection,
    /// `[registration]`.
    pub registration: RegistrationSettings,
    /// `[energy]`.
    pub energy: EnergySettings,
    /// `[classify]`.
    pub classify: ClassifySettings,
    /// `[advice]`.
    pub advice: AdviceSettings,
    /// `[damage]`.
    pub damage: DamageSettings,
    /// `[limits]`.
    pub limits: LimitsSettings,
    /// `[publish]`.
    pub publish: PublishSettings,
    /// `[http]`.
    pub http: HttpSettings,
    /// `[archive]`.
    pub archive: ArchiveSettings,
    /// `[alerts]`.
    pub alerts: AlertsSettings,
    /// `[log]`.
    pub log: LogSettings,
    /// What is accepted but not applied, in plain words; to be logged at the start.
    pub warnings: Vec<String>,
    #[serde(skip)]
    effective: Vec<Effective>,
}

impl Settings {
    /// Reads all layers; `path` is the file named on the command line.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn load(path: Option<&Path>) -> Result<Self, SettingsError> {
        let mut files = Vec::new();
        let system = Path::new(SYSTEM_FILE);
        for path in system.exists().then_some(system).into_iter().chain(path) {
            let text = read(path)?;
            files.push((path.to_owned(), text));
        }
        // A variable that is not UTF-8 cannot be one of ours, or is shown as it can be and refused.
        let variables = std::env::vars_os()
            .map(|(name, value)| (name.to_string_lossy().into_owned(), value.to_string_lossy().into_owned()));
        Self::from_layers(&files, variables)
    }

    /// The settings from the texts of files, later ones winning, and environment variables; nothing else is
    /// looked at.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn from_layers(
        files: &[(PathBuf, String)],
        variables: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, SettingsError> {
        let mut layers = layer::Layers::new();
        layer::add_file(&mut layers, None, DEFAULT_TOML)?;
        for (path, text) in files {
            layer::add_file(&mut layers, Some(path), text)?;
        }
        layer::add_environment(&mut layers, variables)?;
        validate::settings(layers)
    }

    /// The built-in defaults alone: for commands that need no configuration, and for tests.
    ///
    /// # Errors
    /// None, unless the program was built with a broken `default.toml`.
    pub fn defaults() -> Result<Self, SettingsError> {
        Self::from_layers(&[], [])
    }

    /// Each key with its value in effect and where that came from, in the order of `config/default.toml`.
    #[must_use]
    pub fn provenance(&self) -> &[Effective] {
        &self.effective
    }

    /// Whether the daemon can run with these: there is a source and a directory of references, and every file
    /// that is named exists. Not the model: without it maps are made all the same, and say so, and one that is
    /// put in place later is used from then on.
    ///
    /// # Errors
    /// The first thing that is missing.
    pub fn check_runnable(&self) -> Result<(), SettingsError> {
        let missing = |key: &str, hint: String| Err(SettingsError::Missing { key: key.to_owned(), hint });
        if self.sources.is_empty() {
            return missing(
                "source",
                "write a block [[source]] with kind = \"stxm-stream\" and connect or bind".into(),
            );
        }
        match &self.references.dir {
            None => return missing("references.dir", "name a directory of reference spectra".into()),
            Some(dir) if !dir.is_dir() => {
                return missing("references.dir", format!("{} is not a directory", dir.display()));
            }
            Some(_) => {}
        }
        let spectrum = match &self.i0 {
            I0Settings::Spectrum { spectrum, .. } => Some(spectrum),
            _ => None,
        };
        for (key, file) in [("model.library", self.model.library.as_ref()), ("i0.spectrum", spectrum)] {
            if let Some(file) = file.filter(|file| !file.is_file()) {
                return missing(key, format!("{} is not a file", file.display()));
            }
        }
        Ok(())
    }
}

/// The text of a configuration file.
fn read(path: &Path) -> Result<String, SettingsError> {
    /// Far above any configuration; what is larger is something else, by mistake.
    const MOST_BYTES: u64 = 16 << 20;
    let failed = |source| SettingsError::Read { path: path.to_owned(), source };
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path).map_err(failed)?;
    file.take(MOST_BYTES + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > MOST_BYTES {
        return Err(failed(std::io::Error::other(format!(
            "it is larger than {MOST_BYTES} bytes: no configuration is"
        ))));
    }
    String::from_utf8(bytes).map_err(|error| {
        let good = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        let line = 1 + good.iter().filter(|byte| **byte == b'\n').count();
        let message = "this is no text: not UTF-8".to_owned();
        SettingsError::Syntax { path: path.to_owned(), line, message }
    })
}

#[cfg(test)]
mod tests;
