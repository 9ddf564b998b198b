//! Many scans in a row through one daemon, with whatever goes wrong on the way: nothing is lost, and nothing grows.

use std::fmt::Write as _;
use std::path::Path;
use std::time::Instant;

use serde_json::Value;

use super::daemon::{Daemon, PATIENCE, Site, free_address, seen};
use super::judge::{manifest, missing, settled, verified};
use super::number;
use super::sender::{MESSAGES, Sender, said_number, write_scenario};

/// What goes wrong with a scan, and what it has to be in the archive.
struct Fault {
    name: &'static str,
    args: &'static [&'static str],
    /// Whether the sender offers to send again.
    offers: bool,
    status: &'static str,
}

const FAULTS: [Fault; 10] = [
    Fault { name: "none", args: &[], offers: false, status: "complete" },
    Fault { name: "a fifth lost, sent again", args: &["--drop", "0.2"], offers: true, status: "complete" },
    Fault { name: "a third twice", args: &["--duplicate", "0.3"], offers: false, status: "complete" },
    Fault { name: "out of order", args: &["--reorder", "12"], offers: false, status: "complete" },
    Fault { name: "as much garbage again", args: &["--garbage", "1"], offers: false, status: "complete" },
    Fault {
        name: "aborted after 5 energies",
        args: &["--abort-after", "5"],
        offers: false,
        status: "aborted",
    },
    Fault { name: "no end", args: &["--no-end"], offers: false, status: "partial" },
    Fault { name: "a fifth lost for good", args: &["--drop", "0.2"], offers: false, status: "complete" },
    Fault { name: "joined late, sent again", args: &["--late-start", "5"], offers: true, status: "complete" },
    Fault {
        name: "all of it, sent again",
        args: &["--drop", "0.1", "--duplicate", "0.1", "--reorder", "8", "--garbage", "0.3"],
        offers: true,
        status: "complete",
    },
];

/// What a daemon takes, after a scan.
#[derive(Clone, Copy)]
struct Sample {
    at_s: f64,
    resident_mb: f64,
    files: usize,
    threads: usize,
    state_mb: f64,
    journals: usize,
}

impl Sample {
    fn of(daemon: &Daemon, site: &Site, began: Instant) -> Self {
        let process = format!("/proc/{}", daemon.pid());
        let status = std::fs::read_to_string(format!("{process}/status")).unwrap();
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
            line.trim().trim_end_matches(" kB").parse::<f64>().unwrap()
        };
        let count = |folder: &Path| std::fs::read_dir(folder).map_or(0, Iterator::count);
        let state = site.path().join("state");
        Self {
            at_s: began.elapsed().as_secs_f64(),
            resident_mb: field("VmRSS:") * 1024.0 / 1e6,
            files: count(Path::new(&format!("{process}/fd"))),
            threads: field("Threads:") as usize,
            state_mb: bytes(&state) as f64 / 1e6,
            journals: count(&state.join("journal")),
        }
    }
}

/// Bytes of all files below; what goes away meanwhile is not there.
fn bytes(folder: &Path) -> u64 {
    let entries = std::fs::read_dir(folder).into_iter().flatten().filter_map(Result::ok);
    let size = |entry: std::fs::DirEntry| match entry.metadata() {
        Ok(meta) if meta.is_dir() => bytes(&entry.path()),
        meta => meta.map_or(0, |meta| meta.len()),
    };
    entries.map(size).sum()
}

/// The median of the slopes between any two values (Theil and Sen): a few that lie far off do not count.
fn slope(values: &[f64]) -> f64 {
    let mut slopes = Vec::new();
    for (first, one) in values.iter().enumerate() {
        slopes.extend(
            values[first + 1..].iter().zip(1..).map(|(other, steps)| (other - one) / f64::from(steps)),
        );
    }
    median(&mut slopes)
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}

/// Sends one scan and waits until it lies in the archive as it has to. Returns its messages that were lost for good.
fn scan(number: usize, site: &Site, daemon: &Daemon, addresses: &[String; 3], scenario: &str) -> u64 {
    let fault = &FAULTS[number % FAULTS.len()];
    let scan_id = format!("soak-{number:04}");
    let [beam, late, offer] = addresses;
    let is_late = fault.args.contains(&"--late-start");
    let seed = number.to_string();
    let address = if is_late { late } else { beam };
    let mut args = vec!["--connect", address, "--speed", "0", "--seed", &seed, "--scan-id", &scan_id];
    args.extend(["--scenario", scenario]);
    args.extend(fault.args);
    if fault.offers {
        args.extend(["--resend", if is_late { offer } else { "tcp://127.0.0.1:0" }, "--linger", "600"]);
    }
    let sender = Sender::start(args);
    let (mut sender, mut said) = (Some(sender), String::new());
    if !fault.offers {
        said = sender.take().map(Sender::end).unwrap_or_default();
    }
    // A fifth that is lost for good is the only loss there is.
    let is_lossy = !fault.offers && fault.args.contains(&"--drop");
    let lost = if is_lossy { MESSAGES - said_number(&said, "sent ", " messages,") } else { 0 };
    let is_good = |manifest: &Value| {
        manifest["outcome"]["status"] == fault.status && missing(manifest).len() as u64 == lost
    };
    let found = seen(PATIENCE, || {
        settled(site, &scan_id).filter(|folder| manifest(folder).is_some_and(|m| is_good(&m)))
    });
    let there = || settled(site, &scan_id).and_then(|folder| manifest(&folder));
    let folder = found.unwrap_or_else(|| {
        let found = there().map(|m| (m["outcome"].clone(), m["gaps"].clone()));
        let text = daemon.log.text();
        let last: Vec<_> = text.lines().rev().take(60).collect();
        let said = sender.take().map_or(said.clone(), Sender::last_words);
        panic!(
            "{scan_id} ({}) is {found:?}, lost {lost}; the sender said: {said}\n{}",
            fault.name,
            last.into_iter().rev().collect::<Vec<_>>().join("\n")
        )
    });
    let planned = manifest(&folder).unwrap()["map"]["complete"] == true;
    assert_eq!(planned, lost == 0 && fault.status != "aborted", "{scan_id}: {}", fault.name);
    if let Some(sender) = sender {
        sender.interrupt();
    }
    lost
}

#[test]
fn many_scans_with_faults_lose_nothing_and_leave_nothing() {
    let scans = number("PHASEWATCH_SOAK", FAULTS.len());
    let addresses = [(); 3].map(|()| free_address());
    let [beam, late, offer] = &addresses;
    let patience = "silence_s = 1.5\ngrace_s = 0.2\nreopen_s = 5\nresend_after_s = 0.1\n";
    let source = |name: &str, address: &str| {
        format!("[[source]]\nkind = \"stxm-stream\"\nname = {name:?}\nbind = {address:?}\n{patience}")
    };
    let sources = format!("{}{}resend = {offer:?}\n", source("beam", beam), source("late", late));
    // Few stacks of ended scans are kept, so that what is kept is full early.
    let site = Site::new(&sources, "[limits]\nkept_bytes = 1_000_000\n");
    let scenario = write_scenario(site.path());
    let mut daemon = site.start();
    daemon.ready();
    let began = Instant::now();
    let mut samples = vec![Sample::of(&daemon, &site, began)];
    let mut lost = 0;
    for number in 1..=scans {
        lost += scan(number, &site, &daemon, &addresses, &scenario);
        assert!(daemon.is_alive(), "{}", daemon.log.text());
        samples.push(Sample::of(&daemon, &site, began));
        if number % 10 == 0 {
            println!("{number} scans, {:.1} MB", samples[number].resident_mb);
        }
    }
    assert_eq!(site.archived().len(), scans);
    assert_eq!(verified(&site), Ok(()));
    assert_eq!(
        std::fs::read_dir(site.path().join("state/held")).unwrap().count(),
        0,
        "something is held still"
    );
    assert_eq!(daemon.log.errors(), Vec::<String>::new());
    assert_eq!(daemon.stop(), Some(0));
    let text = report(scans, &samples, lost);
    println!("{text}");
    if let Ok(path) = std::env::var("PHASEWATCH_REPORT") {
        std::fs::write(path, text).unwrap();
    }
    if scans >= 200 {
        let later = &samples[scans / 2..];
        let grown = growth(later);
        assert!(grown.abs() < 0.05, "memory grew by {:.1} % in the second half", grown * 100.0);
        let most = |part: &[Sample], of: fn(&Sample) -> usize| part.iter().map(of).max().unwrap_or_default();
        assert!(most(later, |s| s.files) <= most(&samples[..scans / 2], |s| s.files) + 4, "open files");
        assert!(most(later, |s| s.threads) <= most(&samples[..scans / 2], |s| s.threads) + 4, "threads");
    }
}

/// By how much memory grew over these samples, as a share of what it was, without the noise.
fn growth(samples: &[Sample]) -> f64 {
    let resident: Vec<f64> = samples.iter().map(|sample| sample.resident_mb).collect();
    slope(&resident) * resident.len() as f64 / median(&mut resident.clone())
}

fn report(scans: usize, samples: &[Sample], lost: u64) -> String {
    let mut text = format!(
        "{scans} scans of 12 energies and 16 × 24 pixels through one daemon, one after the other, each with one of these on \
         the way:\n\n"
    );
    for (index, fault) in FAULTS.iter().enumerate() {
        let times = (1..=scans).filter(|number| number % FAULTS.len() == index).count();
        writeln!(text, "- {} ({times}): archived as {}", fault.name, fault.status).unwrap();
    }
    writeln!(
        text,
        "\nEvery scan was archived as it had to be, every file as its checksum says. Messages that were lost for good: {lost}, \
         each of them in the gaps of its scan; no other is missing.\n\n\
         | scans | s | resident MB | most since MB | open files | threads | state MB | journals |\n\
         | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |"
    )
    .unwrap();
    let step = (scans / 10).max(1);
    for (row, number) in (0..=scans).step_by(step).enumerate() {
        let Sample { at_s, resident_mb, files, threads, state_mb, journals } = samples[number];
        let since = if row == 0 { &samples[..1] } else { &samples[number + 1 - step..=number] };
        let most_mb = since.iter().map(|sample| sample.resident_mb).fold(0.0, f64::max);
        writeln!(
            text,
            "| {number} | {at_s:.0} | {resident_mb:.1} | {most_mb:.1} | {files} | {threads} | {state_mb:.2} | {journals} |"
        )
        .unwrap();
    }
    let later: Vec<f64> = samples[scans / 2..].iter().map(|sample| sample.resident_mb).collect();
    let grown = growth(&samples[scans / 2..]);
    let verdict = if grown.abs() < 0.05 { "flat" } else { "not flat" };
    writeln!(
        text,
        "\nMemory over the second half: slope {:.1} kB a scan (median of the slopes between any two scans), {:.1} % over {} \
         scans: {verdict}.",
        slope(&later) * 1e3,
        grown * 100.0,
        later.len() - 1
    )
    .unwrap();
    text
}
