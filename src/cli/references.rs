//! `phasewatch references`: look at a directory of reference spectra, or convert one to CSV.

use std::path::{Path, PathBuf};

use clap::Subcommand;

use super::{Failure, print, say};
use crate::reference::{Composition, ReferenceError, ReferenceSet, Window};

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
        ReferenceError::Write { path, source } if source.kind() == std::io::ErrorKind::AlreadyExists => {
            Failure::unavailable(format_args!(
                "{} is there already, and nothing is overwritten: remove it, or name another folder with --out",
                path.display()
            ))
        }
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
    let columns = ["formula", "density", "state"];
    let known: Vec<[String; 3]> = set.references.iter().map(|own| known(&own.composition)).collect();
    let wide = |column: usize| {
        let cells = known.iter().map(|cells| cells[column].chars().count());
        cells.chain([columns[column].len()]).max().unwrap_or(0)
    };
    let [formula, density, state] = [wide(0), wide(1), wide(2)];
    let row = |[a, b, c]: [&str; 3]| format!("{a:formula$}  {b:density$}  {c:state$}");
    print(format_args!("{:width$}  colour   energies  from eV   to eV     {}  title", "phase", row(columns)));
    for (r, known) in set.references.iter().zip(&known) {
        let [red, green, blue] = r.label.colour;
        let (from, to) =
            (r.energies_ev.first().unwrap_or(&f64::NAN), r.energies_ev.last().unwrap_or(&f64::NAN));
        print(format_args!(
            "{:width$}  #{red:02x}{green:02x}{blue:02x}  {:8}  {from:8.3}  {to:8.3}  {}  {}",
            r.label.id,
            r.energies_ev.len(),
            row([&known[0], &known[1], &known[2]]),
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

/// Formula, density in g/cm³ and state of a phase; `-` is what `references.toml` does not say.
fn known(composition: &Composition) -> [String; 3] {
    let none = || "-".to_owned();
    [
        composition.formula.clone().unwrap_or_else(none),
        composition.density_g_per_cm3.map_or_else(none, |density| density.to_string()),
        composition.state.as_ref().map_or_else(none, |(name, value)| format!("{name} = {value}")),
    ]
}

fn window(window: Window) -> String {
    format!("{:.3} to {:.3} eV", window.from_ev, window.to_ev)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_conversion_says_what_to_do() {
        let dir = tempfile::tempdir().unwrap();
        let (from, to) = (dir.path().join("references"), dir.path().join("converted"));
        crate::simulate::nvpf::write(&from).unwrap();
        convert(&from, &to).unwrap();
        let again = convert(&from, &to).unwrap_err();
        assert_eq!(again.code, 69);
        assert!(again.message.contains("--out") && again.message.contains("converted"), "{again}");
    }

    #[test]
    fn what_a_phase_does_not_say_is_seen() {
        let composition = Composition { formula: Some("VO2".to_owned()), ..Composition::default() };
        assert_eq!(known(&composition), ["VO2", "-", "-"]);
    }
}
