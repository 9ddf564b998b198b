//! `archive verify`, `push` and `prune`: whether what there is is whole, here and at the remote, and what is done by hand
//! that the daemon does by itself. Both may run at once: changes of the archive exclude each other.

use std::path::Path;

use chrono::Utc;
use tokio_util::sync::CancellationToken;

use super::failure;
use super::listing::{size, table};
use crate::archive::ledger::Record;
use crate::archive::remote::{Remote, Whose};
use crate::archive::retention::{Rules, describe};
use crate::archive::{self, Catalogued, FaultKind, ScanPath, remote};
use crate::cli::run::runtime;
use crate::cli::{Failure, print, say};
use crate::pipeline::caretaker::{Caretaker, check_copy};
use crate::pipeline::copies;
use crate::pipeline::uploads::{UploadHand, send};
use crate::settings::ArchiveSettings;

/// Checks every scan here.
pub(super) fn verify(root: &Path) -> Result<(), Failure> {
    let scans = archive::list(root).map_err(failure)?;
    let (files, faults) = verify_here(&scans)?;
    verdict(root, &scans, files, faults)
}

fn verdict(root: &Path, scans: &[Catalogued], files: usize, faults: usize) -> Result<(), Failure> {
    if scans.is_empty() {
        print(format_args!("nothing to verify: no scans under {}", root.display()));
        return Ok(());
    }
    if faults == 0 {
        print(format_args!("{files} files of {} scans are as they were written", scans.len()));
        return Ok(());
    }
    Err(Failure::data(format_args!("{faults} faults in the archive {}", root.display())))
}

/// How many files there are, and how many faults.
fn verify_here(scans: &[Catalogued]) -> Result<(usize, usize), Failure> {
    let (mut files, mut faults) = (0, 0);
    for scan in scans {
        let found = archive::verify(scan).map_err(failure)?;
        // What lies in the quarantine is known to be damaged; it is told, and is no news.
        let quarantined = scan.scan.as_ref().is_some_and(ScanPath::is_quarantined);
        let here = |manifest: &archive::Manifest| {
            manifest.files.len() - manifest.pruned.as_ref().map_or(0, |pruned| pruned.files.len())
        };
        files += scan.manifest.as_ref().map_or(0, here);
        print(line(scan, &found, quarantined));
        for fault in &found {
            say(fault.text());
        }
        faults += if quarantined { 0 } else { found.len() };
    }
    Ok((files, faults))
}

fn line(scan: &Catalogued, faults: &[archive::Fault], quarantined: bool) -> String {
    let path = scan.path.display();
    let damaged = faults.iter().any(|fault| fault.kind != FaultKind::Foreign);
    match (&scan.manifest, faults.is_empty()) {
        (Ok(manifest), true) => match &manifest.pruned {
            None => format!("ok     {path}"),
            Some(pruned) => {
                let at =
                    pruned.copy.as_deref().map_or("no copy is known".to_owned(), |copy| format!("at {copy}"));
                format!(
                    "ok     {path} (pruned {}: {}, {at})",
                    pruned.at.format("%Y-%m-%d"),
                    pruned.files.join(", ")
                )
            }
        },
        _ if quarantined && damaged => format!("AWAY   {path}"),
        _ => format!("WRONG  {path}"),
    }
}

/// Checks every scan here, and its copy.
pub(super) fn verify_with_copies(root: &Path, settings: &ArchiveSettings) -> Result<(), Failure> {
    let remote = open(settings)?;
    let scans = archive::list(root).map_err(failure)?;
    let (files, mut faults) = verify_here(&scans)?;
    let runtime = runtime()?;
    let (mut copies, mut waiting) = (0, 0);
    for scan in &scans {
        let Some(path) = scan.scan.as_ref().filter(|path| !path.is_quarantined()) else { continue };
        let known = Record::read(root, path);
        if known.verified_at(remote.address(), &scan.sha256).is_none() {
            waiting += 1;
            let problem =
                known.copy.and_then(|copy| copy.problem).map_or(String::new(), |what| format!(": {what}"));
            print(format_args!("WAITS  {}/{path}{problem}", remote.address()));
            continue;
        }
        let found = runtime.block_on(check_copy(&remote, root, path, &scan.sha256));
        let found = found.map_err(Failure::unavailable)?;
        print(format_args!(
            "{} {}/{path}",
            if found.is_empty() { "ok    " } else { "WRONG " },
            remote.address()
        ));
        found.iter().for_each(say);
        faults += found.len();
        copies += usize::from(found.is_empty());
    }
    print(format_args!("{copies} copies at {} are whole", remote.address()));
    if faults > 0 {
        say(
            "what is damaged at the remote and whole here is sent again by the daemon, or by `phasewatch archive push`",
        );
    }
    verdict(root, &scans, files, faults)?;
    if waiting > 0 {
        let what = format_args!("{waiting} scans are not at {} yet", remote.address());
        return Err(Failure::unavailable(what));
    }
    Ok(())
}

fn open(settings: &ArchiveSettings) -> Result<Remote, Failure> {
    let remote = copies::remote(settings, |name| std::env::var(name).ok()).map_err(Failure::usage)?;
    remote.ok_or_else(|| Failure::usage("archive.remote is not set: name a configuration with --config"))
}

/// Copies what is not at the remote yet.
pub(super) fn push(root: &Path, settings: &ArchiveSettings) -> Result<(), Failure> {
    let remote = open(settings)?;
    let scans = remote::pending(root, remote.address()).map_err(failure)?;
    let runtime = runtime()?;
    let (mut sent, mut failed) = (0, 0);
    for scan in &scans {
        match runtime.block_on(send(&remote, root, scan)) {
            Ok(Some(delivered)) => {
                sent += 1;
                let (sent, all) = (size(delivered.sent_bytes), size(delivered.bytes));
                print(format_args!("copied  {scan}, {sent} of {all} sent"));
            }
            Ok(None) => {}
            Err(error) if error.whose() == Whose::Remote => {
                let left = scans.len() - sent - failed;
                return Err(Failure::unavailable(format_args!("{scan}: {error}; {left} scans are left")));
            }
            Err(error) => {
                failed += 1;
                say(format_args!("{scan}: {error}"));
            }
        }
    }
    print(format_args!("{sent} scans copied to {}, every file read back", remote.address()));
    if failed > 0 {
        return Err(Failure::data(format_args!("{failed} scans could not be copied")));
    }
    Ok(())
}

/// Carries out the rules, or tells what they come to.
pub(super) fn prune(root: &Path, settings: &ArchiveSettings, dry_run: bool) -> Result<(), Failure> {
    let remote = match &settings.remote {
        Some(_) => Some(open(settings)?),
        None => None,
    };
    // Looking through everything is what `verify` is for.
    let rules = Rules { verify_every: None, ..copies::rules(settings) };
    if rules.prune_after.is_none() && rules.quarantine_partial_after.is_none() && !rules.quarantine_damaged {
        say(
            "the configuration keeps everything: archive.prune_stacks_after_days is 0, and nothing goes to the quarantine",
        );
    }
    let (runtime, now) = (runtime()?, Utc::now());
    let uploads = UploadHand::new(root.to_owned());
    let caretaker = Caretaker::new(root.to_owned(), rules, remote, uploads, runtime.handle().clone());
    if dry_run {
        let planned = caretaker.plan(now).map_err(failure)?;
        let rows: Vec<_> = planned.iter().map(|(scan, action)| vec![describe(scan, action)]).collect();
        table(&rows).iter().for_each(print);
        print(format_args!("{} scans; nothing was touched", planned.len()));
        return Ok(());
    }
    let pass = caretaker.pass(now, &CancellationToken::new()).map_err(failure)?;
    pass.done.iter().for_each(print);
    pass.failed.iter().for_each(say);
    print(format_args!("{} things done", pass.done.len()));
    if pass.failed.is_empty() {
        return Ok(());
    }
    Err(Failure::unavailable(format_args!("{} could not be done", pass.failed.len())))
}
