//! The page: findings first, then the figures, part by part, and how it was done.

use super::Gathered;
use super::chart::escaped;
use super::figures::Figure;
use super::lead::Findings;
use super::sentences::between;
use crate::kinetics::Kinetics;

const STYLE: &str = include_str!("page.css");
const METHOD: &str = include_str!("method.html");

pub(super) fn page(
    gathered: &Gathered,
    kinetics: &Kinetics,
    figures: &[Figure],
    findings: &Findings,
    not_claimed: &[String],
) -> String {
    let sample = gathered.sample.as_deref().unwrap_or("scans without a sample");
    let simulated = gathered.scans.iter().any(|scan| scan.manifest.plan.simulated);
    let title = match &gathered.region {
        Some(region) => format!("{sample}, {region}"),
        None => sample.to_owned(),
    };
    let not: String = not_claimed.iter().map(|own| format!("<li>{}</li>", escaped(own))).collect();
    let not = if not.is_empty() {
        String::new()
    } else {
        format!("<div class=\"findings not\"><h3>Not claimed, and why</h3><ul>{not}</ul></div>")
    };
    let mut html = format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; img-src data:; style-src 'unsafe-inline'\">\
         <title>{0}: what the maps say</title><style>{STYLE}</style></head><body>\
         <h1>{0}</h1><p class=\"quiet\">{1}{2}. Made by phasewatch {3}.</p>\
         <section class=\"findings\"><h3>Findings</h3>{4}</section>{not}{5}",
        escaped(&title),
        summary(gathered),
        if simulated { ", simulated" } else { "" },
        env!("CARGO_PKG_VERSION"),
        paragraphs(findings),
        scans(gathered, kinetics),
    );
    let mut part = "";
    for figure in figures {
        if figure.part != part {
            html.push_str(&format!("<h2>{}</h2>", figure.part));
            part = figure.part;
        }
        let files: Vec<String> =
            figure.tables.iter().map(|(name, _)| format!("{name}.csv, {name}.parquet")).collect();
        let nothing =
            if figure.body.is_empty() { "<p class=\"quiet\">There is nothing to show.</p>" } else { "" };
        html.push_str(&format!(
            "<section><h3>{}</h3><div class=\"panels\">{}</div>{nothing}<p class=\"caption\">{} Numbers: {}.</p></section>",
            escaped(&figure.title),
            figure.body,
            escaped(&figure.caption),
            escaped(&files.join("; "))
        ));
    }
    html.push_str(&references(gathered));
    html.push_str(&format!("<h2>Method</h2>{METHOD}</body></html>\n"));
    html
}

/// What matters most, then the rest, scan by scan.
fn paragraphs(findings: &Findings) -> String {
    let text = |sentences: &[String]| {
        escaped(&sentences.iter().map(|own| capital(own)).collect::<Vec<_>>().join(" "))
    };
    let Findings { lead, series, scans } = findings;
    let mut html = String::new();
    let first = if lead.is_empty() && series.is_empty() && scans.is_empty() {
        "Nothing is claimed of these scans; why, stands below.".to_owned()
    } else {
        text(lead)
    };
    for (class, text) in [(" class=\"lead\"", first), ("", text(series))] {
        if !text.is_empty() {
            html.push_str(&format!("<p{class}>{text}</p>"));
        }
    }
    for (name, sentences) in scans {
        html.push_str(&format!("<h4>{}</h4><p>{}</p>", escaped(name), text(sentences)));
    }
    html
}

fn summary(gathered: &Gathered) -> String {
    let n = gathered.scans.len();
    let started = |scan: &super::OpenScan| scan.map.plan.started.format("%Y-%m-%d %H:%M UTC").to_string();
    match (gathered.scans.first(), gathered.scans.last()) {
        (Some(first), Some(last)) if n > 1 => {
            format!(
                "{n} scans, {} to {}, {}",
                started(first),
                started(last),
                escaped(&first.map.plan.beamline)
            )
        }
        (Some(only), _) => format!("1 scan, {}, {}", started(only), escaped(&only.map.plan.beamline)),
        _ => String::new(),
    }
}

/// One line for each scan.
fn scans(gathered: &Gathered, kinetics: &Kinetics) -> String {
    let variable = kinetics.variable.as_deref().unwrap_or("state");
    let mut rows = String::new();
    for scan in &gathered.scans {
        let plan = &scan.map.plan;
        let state = kinetics.scans.iter().find(|own| own.scan_id == plan.scan_id).and_then(|own| own.x);
        let x = state.map_or_else(|| "–".to_owned(), |x| between(x, 2));
        let mut notes: Vec<&str> = Vec::new();
        notes.extend((!scan.is_trusted()).then_some("not to be trusted: left out"));
        notes.extend((!scan.manifest.map.complete).then_some("not whole"));
        notes.extend(scan.manifest.provisional.then_some("provisional"));
        notes.extend(plan.simulated.then_some("simulated"));
        let cells = [
            escaped(&scan.name),
            escaped(plan.region.as_deref().unwrap_or("–")),
            plan.started.format("%Y-%m-%d %H:%M").to_string(),
            plan.state_of_charge.map_or_else(|| "–".to_owned(), |charge| charge.to_string()),
            scan.particles.as_ref().map_or_else(|| "–".to_owned(), |own| own.particles.len().to_string()),
            x,
            notes.join(", "),
        ];
        let cells: String = cells.iter().map(|cell| format!("<td>{cell}</td>")).collect();
        rows.push_str(&format!("<tr>{cells}</tr>"));
    }
    format!(
        "<h2>Scans</h2><div class=\"wide\"><table><tr><th>scan</th><th>region</th><th>started (UTC)</th><th>state of charge</th><th>particles</th><th>mean {}, 90 %</th><th></th></tr>{rows}</table></div>",
        escaped(variable)
    )
}

fn references(gathered: &Gathered) -> String {
    let Some(set) = gathered.scans.iter().rev().find_map(|scan| scan.references.as_deref()) else {
        return String::new();
    };
    let mut rows = String::new();
    for own in &set.references {
        let (from, made) = (&own.provenance, &own.composition);
        let state =
            made.state.as_ref().map_or_else(|| "–".to_owned(), |(name, value)| format!("{name} = {value}"));
        let or = |text: &Option<String>| text.clone().unwrap_or_else(|| "–".to_owned());
        let cells = [
            own.label.title.clone(),
            or(&made.formula),
            state,
            or(&from.beamline),
            or(&from.polarisation),
            or(&from.calibration),
        ];
        let cells: String = cells.iter().map(|cell| format!("<td>{}</td>", escaped(cell))).collect();
        rows.push_str(&format!("<tr>{cells}</tr>"));
    }
    format!(
        "<div class=\"wide\"><table><tr><th>phase</th><th>formula</th><th>state</th><th>from</th><th>polarisation</th><th>calibration</th></tr>{rows}</table></div>"
    )
}

fn capital(text: &str) -> String {
    // Names of phases and of state variables stay as they are.
    let begins = ["of ", "mean ", "ambiguous ", "the ", "between ", "particle ", "particles "];
    if begins.iter().any(|word| text.starts_with(word)) {
        let mut chars = text.chars();
        return chars
            .next()
            .map_or_else(String::new, |first| first.to_uppercase().collect::<String>() + chars.as_str());
    }
    text.to_owned()
}
