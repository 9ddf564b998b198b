//! What was found, in words.

use crate::scan::{Outcome, ScanKind};
use crate::source::sniff::{Finding, ScanFinding, SeriesFinding};

/// One line, for while it goes on.
pub(super) fn progress(finding: &Finding) -> String {
    let format = finding.formats.first().map_or("no format known yet", |format| &format.format);
    let mut line = format!("{format}: {} messages, {}", finding.messages, bytes(finding.bytes));
    if let Some(scan) = finding.scans.last() {
        line += &format!("; {}", scan.scan_id);
        if let (Some(at), Some(energies)) = (scan.at_energy, scan.energies) {
            line += &format!(", energy {} of {energies}", at + 1);
        }
        if let Some(share) = scan.progress {
            line += &format!(", {:.1} %", 100.0 * share);
        }
    } else if let Some(series) = finding.series.last() {
        line += &format!("; series {}: {} images", series.series, series.images);
    }
    if !finding.problems.is_empty() {
        line += &format!("; {} things to say", finding.problems.len());
    }
    line
}

/// The report.
pub(super) fn lines(finding: &Finding, address: &str, bind: bool, pull: bool) -> Vec<String> {
    let mut lines = Vec::new();
    let rate = if finding.seconds > 0.0 {
        let per_s = finding.messages as f64 / finding.seconds;
        format!(" in {:.1} s ({per_s:.1} a second)", finding.seconds)
    } else {
        String::new()
    };
    lines.push(format!("{} messages, {}{rate}", finding.messages, bytes(finding.bytes)));
    for format in &finding.formats {
        lines.push(format!("format    {}  ({} messages)", format.format, format.messages));
    }
    if finding.idle > 0 {
        lines.push(format!("          {} of them say nothing about a scan", finding.idle));
    }
    for scan in &finding.scans {
        lines.push(format!("scan      {}", scan.scan_id));
        lines.extend(of_scan(scan).into_iter().map(|line| format!("          {line}")));
    }
    lines.extend(finding.series.iter().map(of_series));
    for problem in &finding.problems {
        let of = problem.of.as_ref().map(|of| format!("{of}: ")).unwrap_or_default();
        lines.push(format!("problem   {of}{}", problem.text));
    }
    if let Some(format) = finding.formats.first() {
        lines.push(String::new());
        lines.push("For the configuration:".to_owned());
        lines.push("  [[source]]".to_owned());
        lines.push(format!("  kind = \"{}\"", format.kind));
        if format.kind == "stxm-stream" && !pull {
            lines.push("  socket = \"sub\"".to_owned());
        }
        lines.push(format!("  {} = \"{address}\"", if bind { "bind" } else { "connect" }));
    }
    lines
}

fn of_scan(scan: &ScanFinding) -> Vec<String> {
    let Some(kind) = scan.scan_kind else {
        return vec![format!("start not heard; {} values so far", scan.values)];
    };
    let mut lines = Vec::new();
    let mut grid = String::new();
    if let Some([ny, nx]) = scan.shape {
        grid = format!("{nx} × {ny} pixels");
    }
    if let (Some([width, height]), Some(unit)) = (scan.field, &scan.unit) {
        grid += &format!(", {width:.4} × {height:.4} {unit}");
    }
    if let Some([h, w]) = scan.frame_shape {
        grid += &format!(", frames of {w} × {h}");
    }
    let kind = if kind == ScanKind::Stack {
        String::new()
    } else {
        format!("{kind:?} (only stacks are mapped), ").to_lowercase()
    };
    lines.push(format!("{kind}{grid}"));
    if let (Some(energies), Some([first, last])) = (scan.energies, scan.energy_range_ev) {
        let dwell = scan.dwell_ms.map(|[least, most]| {
            if least < most { format!(", dwell {least} to {most} ms") } else { format!(", dwell {least} ms") }
        });
        lines.push(format!("{energies} energies, {first:.2} to {last:.2} eV{}", dwell.unwrap_or_default()));
    }
    let mut state = match &scan.outcome {
        None => "running".to_owned(),
        Some(Outcome::Complete) => "complete".to_owned(),
        Some(Outcome::Aborted { reason }) => {
            format!("aborted{}", reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default())
        }
        Some(Outcome::Partial { reason }) => format!("partial: {reason}"),
    };
    if let (Some(at), Some(energies)) = (scan.at_energy, scan.energies) {
        state += &format!(", at energy {} of {energies}", at + 1);
    }
    if let Some(share) = scan.progress {
        state += &format!(", {:.1} % of it heard", 100.0 * share);
    }
    if scan.simulated {
        state += ", simulated";
    }
    lines.push(state);
    lines
}

fn of_series(series: &SeriesFinding) -> String {
    let planned = series.planned.map(|planned| format!(" of {planned}")).unwrap_or_default();
    let state = if series.ended { "ended" } else { "running" };
    format!("series    {}: {}{planned} images, {state}", series.series, series.images)
}

fn bytes(bytes: u64) -> String {
    match bytes {
        0..10_000 => format!("{bytes} bytes"),
        10_000..10_000_000 => format!("{:.1} kB", bytes as f64 / 1e3),
        _ => format!("{:.1} MB", bytes as f64 / 1e6),
    }
}
