//! `phasewatch archive`: what the archive holds, whether it still does, and by hand what the daemon does with it.

mod keeping;
mod listing;

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::Failure;
use crate::archive::ArchiveError;
use crate::settings::Settings;

/// Arguments of `phasewatch archive`.
#[derive(Debug, Args)]
pub struct ArchiveArgs {
    /// What to do.
    #[command(subcommand)]
    command: ArchiveCommand,
}

#[derive(Debug, Subcommand)]
enum ArchiveCommand {
    /// One line for each scan.
    List {
        #[command(flatten)]
        root: Root,
    },
    /// Everything the manifest says of a scan, and what is known of its copy.
    Show {
        /// The scan's id, or the name of its folder (`<id>~2`).
        scan: String,
        #[command(flatten)]
        root: Root,
    },
    /// Check size and checksum of every file; exit code 65 if anything is wrong.
    Verify {
        /// The copies at [archive] remote, too; 69 if one is not made yet.
        #[arg(long)]
        remote: bool,
        #[command(flatten)]
        root: Root,
    },
    /// Copy to [archive] remote what is not there yet, and read it back, as the daemon does.
    Push {
        #[command(flatten)]
        root: Root,
    },
    /// Remove and move away what the rules of [archive] say, as the daemon does once a day.
    Prune {
        /// Only tell what would be done.
        #[arg(long)]
        dry_run: bool,
        #[command(flatten)]
        root: Root,
    },
}

#[derive(Debug, Args)]
struct Root {
    /// The archive, or the folder of one scan; left out: [archive] root of the configuration.
    #[arg(long = "root", value_name = "DIR")]
    root: Option<PathBuf>,
    /// Configuration file, on top of the built-in defaults and /etc/phasewatch/phasewatch.toml.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

impl Root {
    /// The folder. A configuration is read only where it has to say it.
    fn folder(self) -> Result<PathBuf, Failure> {
        if let (Some(root), None) = (&self.root, &self.config) {
            return Ok(root.clone());
        }
        self.with_settings().map(|(root, _)| root)
    }

    /// The folder, and the configuration.
    fn with_settings(self) -> Result<(PathBuf, Settings), Failure> {
        let settings = Settings::load(self.config.as_deref()).map_err(Failure::usage)?;
        Ok((self.root.unwrap_or_else(|| settings.archive.root.clone()), settings))
    }
}

/// Runs the command.
///
/// # Errors
/// 65 where the archive is not as it was written, 69 where it, the scan or the remote is not there.
pub(super) fn run(args: ArchiveArgs) -> Result<(), Failure> {
    match args.command {
        ArchiveCommand::List { root } => listing::list(&root.folder()?),
        ArchiveCommand::Show { scan, root } => listing::show(&scan, &root.folder()?),
        ArchiveCommand::Verify { remote: false, root } => keeping::verify(&root.folder()?),
        ArchiveCommand::Verify { remote: true, root } => {
            let (root, settings) = root.with_settings()?;
            keeping::verify_with_copies(&root, &settings.archive)
        }
        ArchiveCommand::Push { root } => {
            let (root, settings) = root.with_settings()?;
            keeping::push(&root, &settings.archive)
        }
        ArchiveCommand::Prune { dry_run, root } => {
            let (root, settings) = root.with_settings()?;
            keeping::prune(&root, &settings.archive, dry_run)
        }
    }
}

fn failure(error: ArchiveError) -> Failure {
    match error {
        ArchiveError::Io { .. } => Failure::unavailable(error),
        other => Failure::data(other),
    }
}

#[cfg(test)]
mod tests {
    use super::keeping::verify;
    use super::listing::{list, show};

    #[test]
    fn an_archive_that_is_not_there_is_unavailable() {
        let root = tempfile::tempdir().unwrap();
        let absent = root.path().join("absent");
        assert_eq!(list(&absent).unwrap_err().code, 69);
        assert_eq!(show("s1", root.path()).unwrap_err().code, 69);
        assert!(verify(root.path()).is_ok(), "an empty archive is in order");
    }

    #[test]
    fn a_scan_without_a_manifest_is_bad_data() {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(root.path().join("beamline=b/date=2026-09-21/scan=s1")).unwrap();
        assert_eq!(verify(root.path()).unwrap_err().code, 65);
        assert_eq!(list(root.path()).unwrap_err().code, 65);
        assert_eq!(show("s1", root.path()).unwrap_err().code, 65);
    }
}
