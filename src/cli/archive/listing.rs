//! `archive list` and `archive show`: what there is.

use std::path::Path;

use super::failure;
use crate::archive::ledger::{CopyState, Record};
use crate::archive::{self, Catalogued, Manifest, ScanPath};
use crate::cli::{Failure, print, say};
use crate::scan::Outcome;

pub(super) fn list(root: &Path) -> Result<(), Failure> {
    let scans = by_time(archive::list(root).map_err(failure)?);
    if scans.is_empty() {
        say(format_args!("no scans under {}", root.display()));
        return Ok(());
    }
    let header = ["SCAN", "BEAMLINE", "STARTED (UTC)", "STATE", "ENERGIES", "SIZE", "COPY", "PHASES"];
    let mut rows = vec![header.map(str::to_owned).to_vec()];
    let mut unreadable = 0;
    for scan in &scans {
        match &scan.manifest {
            Ok(manifest) => rows.push(line(root, scan, manifest)),
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

/// The newest last, within a beamline; what cannot be read is told of by itself.
fn by_time(mut scans: Vec<Catalogued>) -> Vec<Catalogued> {
    scans.sort_by_key(|scan| {
        let plan = scan.manifest.as_ref().ok().map(|manifest| &manifest.plan);
        (is_quarantined(scan), plan.map(|plan| (plan.beamline.clone(), plan.started)))
    });
    scans
}

fn line(root: &Path, scan: &Catalogued, manifest: &Manifest) -> Vec<String> {
    let plan = &manifest.plan;
    let mut shares: Vec<_> = manifest.map.fractions.iter().filter(|(_, share)| **share > 0.0).collect();
    shares.sort_by(|a, b| b.1.total_cmp(a.1));
    let shares = shares.iter().map(|(phase, share)| format!("{phase} {:.1} %", 100.0 * **share));
    vec![
        scan.name.clone(),
        plan.beamline.clone(),
        plan.started.format("%Y-%m-%d %H:%M").to_string(),
        state(scan, manifest),
        format!("{}/{}", manifest.map.energies_done, plan.energies_ev.len()),
        size(manifest.bytes()),
        copy(&record(root, scan), &scan.sha256).to_owned(),
        shares.collect::<Vec<_>>().join(", "),
    ]
}

/// How the scan ended, and what became of it since.
fn state(scan: &Catalogued, manifest: &Manifest) -> String {
    let mut words = vec![match manifest.outcome {
        Outcome::Complete => "complete",
        Outcome::Aborted { .. } => "aborted",
        Outcome::Partial { .. } => "partial",
    }];
    // A scan that came to its end may have lost messages on the way, or never have meant to visit every pixel.
    let gaps = !manifest.gaps.is_empty();
    let complete = manifest.outcome == Outcome::Complete;
    for (is, word) in [
        (gaps, "gaps"),
        (complete && !gaps && !manifest.map.complete, "values missing"),
        (manifest.provisional, "provisional"),
        (manifest.plan.simulated, "simulated"),
        (manifest.pruned.is_some(), "pruned"),
        (is_quarantined(scan), "quarantined"),
    ] {
        words.extend(is.then_some(word));
    }
    words.join(", ")
}

fn is_quarantined(scan: &Catalogued) -> bool {
    scan.scan.as_ref().is_some_and(ScanPath::is_quarantined)
}

/// What the ledger says of a scan.
fn record(root: &Path, scan: &Catalogued) -> Record {
    scan.scan.as_ref().map_or_else(Record::default, |path| Record::read(root, path))
}

/// How the copy of archive `sha256` is, in a word.
fn copy(record: &Record, sha256: &str) -> &'static str {
    match &record.copy {
        None => "-",
        Some(copy) if copy.state == CopyState::Verified && copy.manifest_sha256 == sha256 => "verified",
        Some(copy) if copy.problem.is_some() => "failing",
        Some(_) => "pending",
    }
}

pub(super) fn size(bytes: u64) -> String {
    match bytes {
        0..10_000 => format!("{bytes} B"),
        10_000..10_000_000 => format!("{:.0} kB", bytes as f64 / 1e3),
        10_000_000..10_000_000_000 => format!("{:.0} MB", bytes as f64 / 1e6),
        _ => format!("{:.1} GB", bytes as f64 / 1e9),
    }
}

/// Columns as wide as their widest cell; the last is not filled up.
pub(super) fn table(rows: &[Vec<String>]) -> Vec<String> {
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

pub(super) fn show(scan: &str, root: &Path) -> Result<(), Failure> {
    let found = archive::show(root, scan).map_err(failure)?;
    if found.is_empty() {
        let hint = "`phasewatch archive list` names what is there";
        return Err(Failure::unavailable(format_args!("no scan {scan:?} under {}; {hint}", root.display())));
    }
    let mut broken = None;
    for found in found {
        match found.manifest {
            Ok(ref manifest) => describe(root, &found, manifest),
            Err(error) => broken = Some(error),
        }
    }
    broken.map_or(Ok(()), |error| Err(Failure::data(error)))
}

fn describe(root: &Path, scan: &Catalogued, manifest: &Manifest) {
    let record = record(root, scan);
    let (plan, map) = (&manifest.plan, &manifest.map);
    let some = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
    let [ny, nx] = plan.grid.shape;
    let counts = map.status_counts.iter().filter(|(_, count)| **count > 0);
    let counts: Vec<_> = counts.map(|(status, count)| format!("{count} {status}")).collect();
    let missing: u64 = manifest.gaps.iter().map(|gap| gap.last - gap.first + 1).sum();
    let mut rows = vec![
        ("scan", plan.scan_id.clone()),
        ("folder", scan.path.display().to_string()),
        ("beamline", plan.beamline.clone()),
        ("sample", some(&plan.sample)),
        ("region", some(&plan.region)),
        ("started", plan.started.to_rfc3339()),
        ("archived", manifest.archived_at.to_rfc3339()),
        ("state", state(scan, manifest)),
        (
            "grid",
            format!("{ny} x {nx} pixels of {} x {} {}", plan.grid.y.step, plan.grid.x.step, plan.grid.unit),
        ),
        ("energies", format!("{} of {}", map.energies_done, plan.energies_ev.len())),
        ("messages missing", format!("{missing} in {} gaps", manifest.gaps.len())),
        ("generation", map.generation.to_string()),
        ("pixels", counts.join(", ")),
    ];
    if let Some(problem) = &map.no_i0 {
        rows.push(("not mapped", problem.clone()));
    }
    if let Outcome::Aborted { reason: Some(reason) } | Outcome::Partial { reason } = &manifest.outcome {
        rows.push(("reason", reason.clone()));
    }
    if let Some(pruned) = &manifest.pruned {
        let copy = pruned.copy.as_deref().unwrap_or("nowhere that is known");
        let files = pruned.files.join(", ");
        rows.push(("pruned", format!("{}: {files}; a whole copy at {copy}", pruned.at.to_rfc3339())));
    }
    if let Some(found) = &record.copy {
        let at =
            format!("{} since {} at {}", copy(&record, &scan.sha256), found.at.to_rfc3339(), found.remote);
        rows.push(("copy", at));
        rows.extend(found.problem.clone().map(|problem| ("copy problem", problem)));
    }
    if let Some(checked) = &record.checked {
        let found = checked.damage.first().map_or("whole", String::as_str);
        rows.push(("checked", format!("{}: {found}", checked.at.to_rfc3339())));
    }
    if let Some(moved) = &record.quarantined {
        rows.push(("quarantined", format!("{}: {}", moved.at.to_rfc3339(), moved.why)));
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::archive::tests::archive;
    use crate::stack::SeqRange;

    #[test]
    fn the_newest_is_last_whatever_its_name() {
        let root = tempfile::tempdir().unwrap();
        for (hours, scan_id) in [(1, "zulu"), (3, "alpha"), (2, "mike")] {
            archive(root.path(), |plan, _, _| {
                plan.scan_id = scan_id.into();
                plan.started += chrono::TimeDelta::hours(hours);
            });
        }
        let names = by_time(archive::list(root.path()).unwrap()).into_iter().map(|scan| scan.name);
        assert_eq!(names.collect::<Vec<_>>(), ["zulu", "mike", "alpha"]);
    }

    #[test]
    fn a_scan_that_lacks_something_is_not_called_complete_alone() {
        let root = tempfile::tempdir().unwrap();
        archive(root.path(), |_, _, _| {});
        let scan = archive::list(root.path()).unwrap().remove(0);
        let mut held = scan.manifest.as_ref().unwrap().clone();
        (held.provisional, held.outcome, held.plan.simulated) = (false, Outcome::Complete, false);
        (held.map.complete, held.gaps) = (true, Vec::new());
        assert_eq!(state(&scan, &held), "complete");
        held.map.complete = false;
        assert_eq!(state(&scan, &held), "complete, values missing");
        held.gaps = vec![SeqRange { first: 3, last: 4 }];
        assert_eq!(state(&scan, &held), "complete, gaps");
    }

    #[test]
    fn columns_line_up() {
        let rows = [["a", "bb", "c"], ["aaaa", "µ", ""]].map(|row| row.map(str::to_owned).to_vec());
        assert_eq!(table(&rows), ["a     bb  c", "aaaa  µ"]);
    }
}
