//! `phasewatch report`: what the scans of a sample in the archive say, on one page.

use std::path::PathBuf;

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};

use super::{Failure, print, say};
use crate::archive::ArchiveError;
use crate::report::{Report, ReportError, Wanted, gather};

/// Arguments of `phasewatch report`.
#[derive(Debug, Args)]
pub struct ReportArgs {
    /// The archive, or the folder of one scan.
    #[arg(long, value_name = "DIR")]
    archive: PathBuf,
    /// The sample; may be left out where the archive has one only.
    #[arg(long, value_name = "NAME")]
    sample: Option<String>,
    /// Scans of this region only.
    #[arg(long, value_name = "NAME")]
    region: Option<String>,
    /// These scans only, by id.
    #[arg(long, value_name = "ID,ID", value_delimiter = ',')]
    scans: Vec<String>,
    /// Directory of the references that the scans were mapped with; left out: the one that they were mapped from.
    #[arg(long, value_name = "DIR")]
    references: Option<PathBuf>,
    /// The page; the numbers of its figures go into <name>-data beside it.
    #[arg(long, value_name = "FILE", default_value = "report.html")]
    out: PathBuf,
}

/// Runs the command.
///
/// # Errors
/// 64 where it is not clear which scans are meant, 65 where none can be read, 69 where archive, sample or scan are not there or nothing can be written.
pub(super) fn run(args: ReportArgs) -> Result<(), Failure> {
    let wanted =
        Wanted { sample: args.sample, region: args.region, scans: args.scans, references: args.references };
    let bar = ProgressBar::new(0).with_style(style());
    let gathered = gather(&args.archive, &wanted, &mut |done, total, name| {
        bar.set_length(total as u64);
        bar.set_position(done as u64);
        bar.set_message(name.to_owned());
    });
    bar.finish_and_clear();
    let gathered = gathered.map_err(failure)?;
    for (name, why) in &gathered.unreadable {
        say(format_args!("{name} is left out: {why}"));
    }
    let report = Report::of(&gathered).map_err(failure)?;
    let folder = report.write(&args.out).map_err(failure)?;
    report.lead.iter().for_each(print);
    // What leads as it stands is not said again.
    let rest =
        report.claims.iter().filter(|claim| !report.lead.iter().any(|own| claim.ends_with(own.as_str())));
    rest.for_each(print);
    if report.claims.is_empty() {
        print("Nothing is claimed of these scans.");
    }
    say(format_args!("{} with {} not claimed", args.out.display(), report.not_claimed.len()));
    say(format_args!("numbers of its figures: {}", folder.display()));
    Ok(())
}

fn style() -> ProgressStyle {
    ProgressStyle::with_template("reading [{bar:40}] {pos}/{len}  {msg}  {eta} left")
        .unwrap_or_else(|_| ProgressStyle::default_bar())
}

fn failure(error: ReportError) -> Failure {
    match error {
        ReportError::Unclear(_) | ReportError::References(_) => Failure::usage(error),
        ReportError::Missing(_) | ReportError::Io { .. } | ReportError::Archive(ArchiveError::Io { .. }) => {
            Failure::unavailable(error)
        }
        ReportError::Archive(_) | ReportError::Unreadable(_) => Failure::data(error),
        ReportError::Table { .. } | ReportError::Picture(_) => Failure::bug(error),
    }
}
