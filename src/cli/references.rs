//! `phasewatch references`: look at a directory of reference spectra, or convert one to CSV.

use std::path::{Path, PathBuf};

use clap::Subcommand;

use super::{Failure, print, say};
use crate::reference::{ReferenceError, ReferenceSet, Window};

/// The things to do with references.
#[derive(Debug, Subcommand)]
pub enum ReferencesCommand {
    /// Show the phases, their ranges and windows, and how much they resemble each other.
    Show {
        /// Directory with one <phase>.csv (or .r) per phase.
        dir: PathBuf,
    },
    /// Write the references of DIR as CSV files.
    Convert {
        /// Directory with one .r or .csv per phase.
        dir: PathBuf,
        /// Directory to write to; made where it is missing, nothing is overwritten.
        #[arg(long)]
        out: PathBuf,
    },
}

/// Runs it.
///
/// # Errors
/// 65 where the references are wrong, 69 where a file cannot be written.
pub(super) fn run(command: &ReferencesCommand) -> Result<(), Failure> {
    match command {
        ReferencesCommand::Show { dir } => show(dir),
        ReferencesCommand::Convert { dir, out } => convert(dir, out),
    }
}

fn load(dir: &Path) -> Result<ReferenceSet, Failure> {
    ReferenceSet::load(dir).map_err(failure)
}

pub(super) fn failure(error: ReferenceError) -> Failure {
    match error {
        ReferenceError::Write { .. } => Failure::unavailable(error),
        ReferenceError::Read { .. } => Failure::usage(error),
        ReferenceError::Line { .. } | ReferenceError::Whole { .. } => Failure::data(error),
    }
}

fn convert(dir: &Path, out: &Path) -> Result<(), Failure> {
    let set = load(dir)?;
    let comment = "Converted by phasewatch; energy in eV, optical density.";
    for path in set.write_csv(out, comment).map_err(failure)? {
        print(path.display());
    }
    say(format_args!("wrote {} references to {}", set.len(), out.display()));
    Ok(())
}

fn show(dir: &Path) -> Result<(), Failure> {
    let set = load(dir)?;
    print(format_args!("references_sha256  {}", set.sha256));
    print(format_args!("pre-edge           {}", window(set.pre_edge)));
    print(format_args!("white line         {}", window(set.white_line)));
    if let Some((from, to)) = set.shared_range_ev() {
        print(format_args!("shared range       {from:.3} to {to:.3} eV"));
    }
    print("");
    let width = set.references.iter().map(|r| r.label.id.len()).max().unwrap_or(0).max(5);
    print(format_args!("{:width$}  colour   energies  from eV   to eV     title", "phase"));
    for r in &set.references {
        let [red, green, blue] = r.label.colour;
        let (from, to) =
            (r.energies_ev.first().unwrap_or(&f64::NAN), r.energies_ev.last().unwrap_or(&f64::NAN));
        print(format_args!(
            "{:width$}  #{red:02x}{green:02x}{blue:02x}  {:8}  {from:8.3}  {to:8.3}  {}",
            r.label.id,
            r.energies_ev.len(),
            r.label.title
        ));
    }
    print("\nPearson correlation of each two, over the energies both reach:");
    for (index, a) in set.references.iter().enumerate() {
        let row: String = set.references[..=index]
            .iter()
            .map(|b| a.correlation_with(b).map_or_else(|| "       -".to_owned(), |r| format!("  {r:6.4}")))
            .collect();
        print(format_args!("{:width$}{row}", a.label.id));
    }
    Ok(())
}

fn window(window: Window) -> String {
    format!("{:.3} to {:.3} eV", window.from_ev, window.to_ev)
}
