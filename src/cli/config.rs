//! `phasewatch config`: check a configuration, or show what is in effect.

use std::path::{Path, PathBuf};

use clap::Subcommand;

use super::{Failure, print, say};
use crate::settings::Settings;

/// The things to do with a configuration.
#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// Tell whether the daemon could run with FILE.
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
/// 64 where something is wrong with the configuration.
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
