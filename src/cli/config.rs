//! `phasewatch config`: check a configuration, or show what is in effect.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Subcommand;

use super::run::references;
use super::{Failure, print, say};
use crate::pipeline::recipe;
use crate::settings::Settings;

/// The things to do with a configuration.
#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// Tell whether the daemon could run with FILE, and read the references that it names. Exit code as that of `run`.
    Check {
        /// The configuration file.
        file: PathBuf,
    },
    /// Show every setting in effect and where it came from.
    Show {
        /// A configuration file over the defaults and /etc/phasewatch/phasewatch.toml.
        #[arg(long)]
        config: Option<PathBuf>,
    },
}

/// Runs it.
///
/// # Errors
/// 64 where something is wrong with the configuration, 65 with the references or the I0 spectrum.
pub(super) fn run(command: &ConfigCommand) -> Result<(), Failure> {
    match command {
        ConfigCommand::Check { file } => check(file),
        ConfigCommand::Show { config } => show(config.as_deref()),
    }
}

fn check(file: &Path) -> Result<(), Failure> {
    let settings = Settings::load(Some(file)).map_err(Failure::usage)?;
    settings.check_runnable().map_err(|error| Failure::usage(format_args!("{}: {error}", file.display())))?;
    warn(&settings);
    let references = Arc::new(references(&settings)?);
    // The I0 spectrum is read, too.
    recipe(&settings, references).map_err(|error| Failure::data(format_args!("i0.spectrum: {error}")))?;
    // The daemon runs without a model, and says so.
    if let Some(path) = settings.model.path.as_ref().filter(|path| !path.is_file()) {
        say(format_args!(
            "warning: model.path = {} is no file: maps are made without a model",
            path.display()
        ));
    }
    print(format_args!("{} is good", file.display()));
    Ok(())
}

fn show(file: Option<&Path>) -> Result<(), Failure> {
    let settings = Settings::load(file).map_err(Failure::usage)?;
    for entry in settings.provenance() {
        let value = entry.value.as_deref().unwrap_or("(not set)");
        print(format_args!("{} = {value}  # {}", entry.key, entry.origin));
    }
    warn(&settings);
    Ok(())
}

fn warn(settings: &Settings) {
    for warning in &settings.warnings {
        say(format_args!("warning: {warning}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn check_says_64_and_where_the_fault_is() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("site.toml");
        std::fs::write(&file, "[http]\nlisten = \"0.0.0.0:1\"\n").unwrap();
        let failure = check(&file).unwrap_err();
        assert_eq!(failure.code, 64);
        assert!(failure.message.contains("site.toml line 2: http.listen"), "{}", failure.message);
        assert_eq!(check(&dir.path().join("absent")).unwrap_err().code, 64);
    }

    #[test]
    fn check_accepts_what_could_run() {
        let dir = tempfile::tempdir().unwrap();
        let refs = dir.path().join("refs");
        crate::simulate::nvpf::write(&refs).unwrap();
        let file = dir.path().join("site.toml");
        let text = "references.dir = \"refs\"\nmodel.path = \"absent.onnx\"\n[[source]]\nkind = \"stxm-stream\"\nbind = \"tcp://127.0.0.1:0\"\n";
        std::fs::write(&file, text).unwrap();
        check(&file).unwrap();
        // What `run` would end with, this does.
        let toml = std::fs::read_to_string(refs.join("references.toml")).unwrap();
        std::fs::write(refs.join("references.toml"), format!("{toml}[phases.\"na9\"]\ntitle = \"x\"\n"))
            .unwrap();
        let failure = check(&file).unwrap_err();
        assert!(failure.code == 65 && failure.message.contains("na9"), "{failure}");
        std::fs::write(refs.join("references.toml"), toml).unwrap();
        std::fs::write(refs.join("na2.0.csv"), "energy_ev,od\n510,0.1\n511,abc\n").unwrap();
        let failure = check(&file).unwrap_err();
        assert!(failure.code == 65 && failure.message.contains("na2.0.csv line 3"), "{failure}");
    }
}
