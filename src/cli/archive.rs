//! `phasewatch archive list | show SCAN | verify --root DIR`: what the archive holds, and whether it still does.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};

use super::{Failure, print, say};
use crate::archive::{self, ArchiveError, Catalogued, Manifest};
use crate::scan::Outcome;

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
    /// Everything the manifest says of a scan.
    Show {
        /// The scan's id, or the name of its folder (`<id>~2`).
        scan: String,
        #[command(flatten)]
        root: Root,
    },
    /// Check size and checksum of every file; exit code 65 if anything is wrong.
    Verify {
        #[command(flatten)]
        root: Root,
    },
}

#[derive(Debug, Args)]
struct Root {
    /// The archive, or the folder of one scan.
    #[arg(long = "root", value_name = "DIR")]
    root: PathBuf,
}

/// Runs the command.
///
/// # Errors
/// 65 where the archive is not as it was written, 69 where it or the scan is not there.
pub(super) fn run(args: ArchiveArgs) -> Result<(), Failure> {
    match args.command {
        ArchiveCommand::List { root } => list(&root.root),
        ArchiveCommand::Show { scan, root } => show(&scan, &root.root),
        ArchiveCommand::Verify { root } => verify(&root.root),
    }
}

fn failure(error: ArchiveError) -> Failure {
    match error {
        ArchiveError::Io { .. } => Failure::unavailable(error),
        other => Failure::data(other),
    }
}

fn list(root: &Path) -> Result<(), Failure> {
    let scans = archive::list(root).map_err(failure)?;
    if scans.is_empty() {
        say(format_args!("no scans under {}", root.display()));
        return Ok(());
    }
    let header = ["SCAN", "BEAMLINE", "STARTED (UTC)", "OUTCOME", "ENERGIES", "SIZE", "PHASES"];
    let mut rows = vec![header.map(str::to_owned).to_vec()];
    let mut unreadable = 0;
    for scan in &scans {
        match &scan.manifest {
            Ok(manifest) => rows.push(line(&scan.name, manifest)),
            Err(error) => {
                unreadable += 1;
                say(format_args!("{}: {error}", scan.path.display()));
            }
        }
    }
    table(&rows).iter().for_each(print);
    if unreadable > 0 {
        return Err(Failure::data(format_args!("{unreadable} of {} manifests cannot be read", scans.len())));
    }
    Ok(())
}

fn line(name: &str, manifest: &Manifest) -> Vec<String> {
    let plan = &manifest.plan;
    let mut shares: Vec<_> = manifest.map.fractions.iter().filter(|(_, share)| **share > 0.0).collect();
    shares.sort_by(|a, b| b.1.total_cmp(a.1));
    let shares = shares.iter().map(|(phase, share)| format!("{phase} {:.1} %", 100.0 * **share));
    vec![
        name.to_owned(),
        plan.beamline.clone(),
        plan.started.format("%Y-%m-%d %H:%M").to_string(),
        outcome(manifest),
        format!("{}/{}", manifest.map.energies_done, plan.energies_ev.len()),
        size(manifest.bytes()),
        shares.collect::<Vec<_>>().join(", "),
    ]
}

fn outcome(manifest: &Manifest) -> String {
    let mut words = match manifest.outcome {
        Outcome::Complete => "complete",
        Outcome::Aborted { .. } => "aborted",
        Outcome::Partial { .. } => "partial",
    }
    .to_owned();
    for (is, word) in [(manifest.provisional, "provisional"), (manifest.plan.simulated, "simulated")] {
        if is {
            words.push_str(", ");
            words.push_str(word);
        }
    }
    words
}

fn size(bytes: u64) -> String {
    match bytes {
        0..10_000 => format!("{bytes} B"),
        10_000..10_000_000 => format!("{:.0} kB", bytes as f64 / 1e3),
        10_000_000..10_000_000_000 => format!("{:.0} MB", bytes as f64 / 1e6),
        _ => format!("{:.1} GB", bytes as f64 / 1e9),
    }
}

/// Columns as wide as their widest cell; the last is not filled up.
fn table(rows: &[Vec<String>]) -> Vec<String> {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<_> = (0..columns).map(width).collect();
    rows.iter()
        .map(|row| {
            let cells = row.iter().zip(&widths).map(|(cell, &width)| format!("{cell:width$}"));
            cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
        })
        .collect()
}

fn show(scan: &str, root: &Path) -> Result<(), Failure> {
    let found = archive::show(root, scan).map_err(failure)?;
    if found.is_empty() {
        let hint = "`phasewatch archive list` names what is there";
        return Err(Failure::unavailable(format_args!("no scan {scan:?} under {}; {hint}", root.display())));
    }
    let mut broken = None;
    for found in found {
        match found.manifest {
            Ok(manifest) => describe(&found.path, &manifest),
            Err(error) => broken = Some(error),
        }
    }
    broken.map_or(Ok(()), |error| Err(Failure::data(error)))
}

fn describe(path: &Path, manifest: &Manifest) {
    let (plan, map) = (&manifest.plan, &manifest.map);
    let some = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
    let [ny, nx] = plan.grid.shape;
    let counts = map.status_counts.iter().filter(|(_, count)| **count > 0);
    let counts: Vec<_> = counts.map(|(status, count)| format!("{count} {status}")).collect();
    let missing: u64 = manifest.gaps.iter().map(|gap| gap.last - gap.first + 1).sum();
    let mut rows = vec![
        ("scan", plan.scan_id.clone()),
        ("folder", path.display().to_string()),
        ("beamline", plan.beamline.clone()),
        ("sample", some(&plan.sample)),
        ("region", some(&plan.region)),
        ("started", plan.started.to_rfc3339()),
        ("archived", manifest.archived_at.to_rfc3339()),
        ("outcome", outcome(manifest)),
        (
            "grid",
            format!("{ny} x {nx} pixels of {} x {} {}", plan.grid.y.step, plan.grid.x.step, plan.grid.unit),
        ),
        ("energies", format!("{} of {}", map.energies_done, plan.energies_ev.len())),
        ("messages missing", format!("{missing} in {} gaps", manifest.gaps.len())),
        ("generation", map.generation.to_string()),
        ("pixels", counts.join(", ")),
    ];
    if let Outcome::Aborted { reason: Some(reason) } | Outcome::Partial { reason } = &manifest.outcome {
        rows.push(("reason", reason.clone()));
    }
    let pairs = rows.into_iter().map(|(name, value)| vec![name.to_owned(), value]);
    let phases = map
        .fractions
        .iter()
        .map(|(id, share)| vec![format!("phase {id}"), format!("{:.2} %", 100.0 * share)]);
    let files = manifest
        .files
        .iter()
        .map(|(name, file)| vec![name.clone(), format!("{:>8}  {}", size(file.bytes), file.sha256)]);
    table(&pairs.chain(phases).chain(files).collect::<Vec<_>>()).iter().for_each(print);
    print("");
}

fn verify(root: &Path) -> Result<(), Failure> {
    let scans = archive::list(root).map_err(failure)?;
    let mut faults = Vec::new();
    let mut files = 0;
    for scan in &scans {
        let found = archive::verify(scan).map_err(failure)?;
        files += scan.manifest.as_ref().map_or(0, |manifest| manifest.files.len());
        print(verdict(scan, found.len()));
        for fault in &found {
            say(format_args!("{}: {}", fault.path.display(), fault.what));
        }
        faults.extend(found);
    }
    if faults.is_empty() {
        print(format_args!("{files} files of {} scans are as they were written", scans.len()));
        return Ok(());
    }
    Err(Failure::data(format_args!("{} faults in the archive {}", faults.len(), root.display())))
}

fn verdict(scan: &Catalogued, faults: usize) -> String {
    let word = if faults == 0 { "ok   " } else { "WRONG" };
    format!("{word}  {}", scan.path.display())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up() {
        let rows = [["a", "bb", "c"], ["aaaa", "µ", ""]].map(|row| row.map(str::to_owned).to_vec());
        assert_eq!(table(&rows), ["a     bb  c", "aaaa  µ"]);
    }

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
