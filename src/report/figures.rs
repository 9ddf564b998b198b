//! The figures: each with what it shows, what it is drawn from, and its numbers.

mod over_scans;

use std::collections::BTreeMap;

use over_scans::{paces, profiles, series};

use super::chart::{Chart, Mark, Point, escaped};
use super::picture::{colour, css, gradient, image, outlines};
use super::table::Table;
use super::{Gathered, OpenScan, ReportError};
use crate::classify::{PhaseMap, Status};
use crate::kinetics::{Interval, Kinetics};

/// Colours of scans, from the first to the last.
const INK: &str = "var(--one)";
const OTHER: &str = "var(--two)";
/// Particles whose lines are drawn by themselves.
const MOST_LINES: usize = 60;

/// A figure.
#[derive(Debug)]
pub(super) struct Figure {
    /// Part of the page that it is in.
    pub(super) part: &'static str,
    pub(super) title: String,
    pub(super) body: String,
    pub(super) caption: String,
    pub(super) tables: Vec<(String, Table)>,
}

impl Figure {
    fn new(part: &'static str, title: &str, caption: &str) -> Self {
        Self { part, title: title.into(), body: String::new(), caption: caption.into(), tables: Vec::new() }
    }

    fn chart(mut self, chart: &Chart) -> Self {
        if !chart.is_empty() {
            self.body.push_str(&format!(
                "<div class=\"panel\"><h4>{}</h4>{}{}</div>",
                escaped(&chart.title),
                chart.svg(),
                chart.legend()
            ));
        }
        self
    }

    fn table(mut self, name: &str, table: Table) -> Self {
        self.tables.push((name.to_owned(), table));
        self
    }
}

/// All of them, in the order of the page.
pub(super) fn figures(gathered: &Gathered, kinetics: &Kinetics) -> Result<Vec<Figure>, ReportError> {
    let tracks = track_names(gathered, kinetics);
    let mut figures = vec![maps(gathered, &tracks)?, particles(gathered, &tracks), boundaries(gathered)];
    figures.extend(series(gathered, kinetics));
    figures.push(profiles(kinetics));
    figures.push(paces(kinetics));
    figures.push(dose(gathered));
    figures.push(references(gathered));
    Ok(figures)
}

/// Numbers of tracks by scan and label.
fn track_names(gathered: &Gathered, kinetics: &Kinetics) -> BTreeMap<(String, u32), u32> {
    let place: BTreeMap<&str, &str> =
        gathered.scans.iter().map(|scan| (scan.map.plan.scan_id.as_str(), scan.name.as_str())).collect();
    let mut names = BTreeMap::new();
    for track in &kinetics.tracks {
        for member in &track.members {
            let id = kinetics.scan_id(member.scan);
            let name = place.get(id).copied().unwrap_or(id);
            names.insert((name.to_owned(), member.label), track.id);
        }
    }
    names
}

fn track(names: &BTreeMap<(String, u32), u32>, scan: &OpenScan, label: u32) -> u32 {
    names.get(&(scan.name.clone(), label)).copied().unwrap_or(label)
}

/// The colour of a pixel in the map of phases: paler where the verdict is a guess.
fn phase_colour(map: &PhaseMap, pixel: usize) -> Option<[u8; 3]> {
    let mixed = |a: [u8; 3], b: [u8; 3]| {
        let mut both = a;
        both.iter_mut().zip(b).for_each(|(a, b)| *a = ((u16::from(*a) + u16::from(b)) / 2) as u8);
        both
    };
    let of = |phase: u8| map.phases.get(usize::from(phase)).map(|label| label.colour);
    let (own, other) = (of(map.phase[pixel]), of(map.runner_up[pixel]));
    match map.status[pixel] {
        Status::Unmeasured | Status::Background => None,
        Status::Classified => own,
        Status::Mixture => own.zip(other).map(|(a, b)| mixed(a, b)).or(own),
        Status::Ambiguous => own.map(|own| mixed(own, [255; 3])).or(Some([170; 3])),
        Status::Saturated => Some([20; 3]),
        Status::Unknown => Some([120; 3]),
    }
}

fn maps(gathered: &Gathered, tracks: &BTreeMap<(String, u32), u32>) -> Result<Figure, ReportError> {
    let mut figure = Figure::new(
        "Maps",
        "Maps of all scans",
        "Left the phases: a mixture has the mean colour of its two phases, an ambiguous pixel its best guess, paler; grey is unknown, black saturated. Right the state variable, \
         all scans in one scale; outlines and numbers are the particles, the same number for the same particle in every scan of a region.",
    );
    let spans: Vec<[f64; 2]> = gathered.scans.iter().filter_map(|scan| scan.states.span()).collect();
    let span = spans.iter().copied().reduce(|a, b| [a[0].min(b[0]), a[1].max(b[1])]).filter(|[a, b]| a < b);
    for scan in &gathered.scans {
        let grid = &scan.map.plan.grid;
        let [ny, nx] = grid.shape;
        let names: Vec<(u32, [f64; 2], String)> = scan
            .particles
            .iter()
            .flat_map(|own| (1..).zip(&own.particles))
            .map(|(label, own)| (label, own.centre_px, track(tracks, scan, label).to_string()))
            .collect();
        let lines =
            scan.particles.as_ref().map(|own| outlines(grid, &own.labels, &names)).unwrap_or_default();
        let aspect = (grid.y.step / grid.x.step).abs();
        let panel = |title: &str, image: &str| {
            let (width, height) = (320.0, 320.0 * ny as f64 * aspect / nx as f64);
            format!(
                "<div class=\"panel\"><h4>{}</h4><svg class=\"map\" role=\"img\" viewBox=\"0 0 {nx} {ny}\" width=\"{width:.0}\" height=\"{height:.0}\" \
                 preserveAspectRatio=\"none\"><title>{0}</title><image href=\"{image}\" width=\"{nx}\" height=\"{ny}\" preserveAspectRatio=\"none\"/>{lines}</svg></div>",
                escaped(title)
            )
        };
        let plan = &scan.map.plan;
        let mut title = format!("{}, {}", scan.name, plan.started.format("%Y-%m-%d %H:%M"));
        if let Some(charge) = plan.state_of_charge {
            title.push_str(&format!(", state of charge {charge}"));
        }
        if !scan.is_trusted() {
            title.push_str(", not to be trusted");
        }
        let phases = image(grid, |pixel| phase_colour(&scan.map, pixel))?;
        figure.body.push_str("<div class=\"pair\">");
        figure.body.push_str(&panel(&title, &phases));
        if let Some(span) = span {
            let x = image(grid, |pixel| scan.states.pixel(&scan.map, pixel).x.map(|x| colour(x, span)))?;
            let variable = scan.states.variable.clone().unwrap_or_default();
            figure.body.push_str(&panel(&format!("{}: {variable}", scan.name), &x));
        }
        figure.body.push_str("</div>");
    }
    let mut labels: Vec<(String, [u8; 3])> = Vec::new();
    for label in gathered.scans.iter().flat_map(|scan| scan.map.phases.iter()) {
        if labels.iter().all(|(title, _)| *title != label.title) {
            labels.push((label.title.clone(), label.colour));
        }
    }
    let entry = |(title, colour): &(String, [u8; 3])| {
        format!("<li><i style=\"background:{}\"></i>{}</li>", css(*colour), escaped(title))
    };
    figure
        .body
        .push_str(&format!("<ul class=\"legend\">{}</ul>", labels.iter().map(entry).collect::<String>()));
    if let Some([low, high]) = span {
        figure.body.push_str(&format!(
            "<p class=\"scale\"><span>{low}</span><i style=\"background:{}\"></i><span>{high}</span></p>",
            gradient()
        ));
    }
    let scans = &gathered.scans;
    let mut table = Table::default()
        .text("scan", scans.iter().map(|own| own.name.clone()))
        .texts("region", scans.iter().map(|own| own.map.plan.region.clone()))
        .text("started", scans.iter().map(|own| own.map.plan.started.to_rfc3339()))
        .numbers("state_of_charge", scans.iter().map(|own| own.map.plan.state_of_charge))
        .is("trusted", scans.iter().map(OpenScan::is_trusted))
        .is("complete", scans.iter().map(|own| own.manifest.map.complete));
    for status in Status::ALL {
        table = table.count(status.name(), scans.iter().map(|own| own.map.status_counts()[status as usize]));
    }
    let pixels: Vec<(&OpenScan, usize)> = scans
        .iter()
        .flat_map(|scan| scan.map.particle_pixels().into_iter().map(move |pixel| (scan, pixel)))
        .collect();
    let own = || pixels.iter();
    let pixel_table = Table::default()
        .text("scan", own().map(|(scan, _)| scan.name.clone()))
        .count("y", own().map(|(scan, pixel)| pixel / scan.map.plan.grid.nx()))
        .count("x", own().map(|(scan, pixel)| pixel % scan.map.plan.grid.nx()))
        .text("status", own().map(|(scan, pixel)| scan.map.status[*pixel].name()))
        .texts(
            "phase",
            own().map(|(scan, pixel)| {
                scan.map.phases.get(usize::from(scan.map.phase[*pixel])).map(|label| label.id.clone())
            }),
        )
        .numbers("state", own().map(|(scan, pixel)| scan.states.pixel(&scan.map, *pixel).x));
    Ok(figure.table("scans", table).table("maps", pixel_table))
}

/// A histogram as bars: the middle of each bin and how many lie in it; and the width of the bins.
fn histogram(values: &[f64]) -> (Vec<Point>, f64) {
    let low = values.iter().copied().fold(f64::INFINITY, f64::min);
    let high = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    if values.is_empty() || !(high - low).is_finite() {
        return (Vec::new(), 1.0);
    }
    let bins = ((values.len() as f64).sqrt().ceil() as usize * 2).clamp(5, 24);
    let width = if high > low { (high - low) / bins as f64 } else { 0.1 * high.abs().max(1.0) };
    let mut counts = vec![0_usize; bins];
    for value in values {
        counts[(((value - low) / width) as usize).min(bins - 1)] += 1;
    }
    let bar = |(bin, count): (usize, &usize)| Point {
        x: low + (bin as f64 + 0.5) * width,
        y: *count as f64,
        ends: None,
    };
    (counts.iter().enumerate().map(bar).collect(), width)
}

fn particles(gathered: &Gathered, tracks: &BTreeMap<(String, u32), u32>) -> Figure {
    let list: Vec<_> = gathered
        .scans
        .iter()
        .flat_map(|scan| {
            let own = scan.particles.iter().flat_map(|own| (1..).zip(&own.particles));
            own.map(move |(label, particle)| (scan, label, particle))
        })
        .collect();
    let in_um = list.iter().all(|(.., own)| own.area_um2.is_some());
    let area = |own: &crate::particles::Particle| own.area_um2.map_or(own.area_px.value, |area| area.value);
    let (bars, bar) = histogram(&list.iter().map(|(.., own)| area(own)).collect::<Vec<_>>());
    let mut of_area =
        Chart::new("Area of particles", if in_um { "area, µm²" } else { "area, pixels" }, "particles");
    (of_area.bar, of_area.size) = (bar, [380.0, 240.0]);
    let of_area = of_area.with("", INK, Mark::Bars, bars.clone());
    let xs: Vec<f64> = list.iter().filter_map(|(.., own)| own.x.map(|x| x.middle)).collect();
    let variable = gathered.scans.iter().find_map(|scan| scan.states.variable.clone()).unwrap_or_default();
    let (x_bars, x_bar) = histogram(&xs);
    let mut of_x = Chart::new(&format!("Mean {variable} of particles"), &variable, "particles");
    (of_x.bar, of_x.size) = (x_bar, [380.0, 240.0]);
    let of_x = of_x.with("", INK, Mark::Bars, x_bars.clone());
    let own = || list.iter();
    let phases: Vec<String> = gathered
        .scans
        .first()
        .map(|scan| scan.map.phases.iter().map(|own| own.id.clone()).collect())
        .unwrap_or_default();
    let mut table = Table::default()
        .text("scan", own().map(|(scan, ..)| scan.name.clone()))
        .count("track", own().map(|(scan, label, _)| track(tracks, scan, *label) as usize))
        .count("particle", own().map(|(_, label, _)| *label as usize))
        .number("centre_y_px", own().map(|(.., own)| own.centre_px[0]))
        .number("centre_x_px", own().map(|(.., own)| own.centre_px[1]))
        .count("pixels", own().map(|(.., own)| own.pixels.len()))
        .number("area_px", own().map(|(.., own)| own.area_px.value))
        .number("area_px_error", own().map(|(.., own)| own.area_px.sigma))
        .numbers("area_um2", own().map(|(.., own)| own.area_um2.map(|area| area.value)))
        .numbers("area_um2_error", own().map(|(.., own)| own.area_um2.map(|area| area.sigma)))
        .numbers("thickness_nm", own().map(|(.., own)| own.thickness_nm.map(|own| own.value)))
        .numbers("state_low", own().map(|(.., own)| own.x.map(|x| x.low)))
        .numbers("state", own().map(|(.., own)| own.x.map(|x| x.middle)))
        .numbers("state_high", own().map(|(.., own)| own.x.map(|x| x.high)))
        .numbers("state_spread", own().map(|(.., own)| own.x_spread))
        .numbers("entropy_bits", own().map(|(.., own)| own.entropy_bits))
        .number("unknown", own().map(|(.., own)| own.unknown));
    let mut shares = Chart::new("Share of each phase in each particle", "particle", "share");
    shares.size = [780.0, 240.0];
    for (index, id) in phases.iter().enumerate() {
        let share = |own: &crate::particles::Particle| own.shares.get(index).copied();
        table = table
            .numbers(&format!("share_{id}"), own().map(|(.., own)| share(own).map(|share| share.value)))
            .numbers(
                &format!("share_{id}_error"),
                own().map(|(.., own)| share(own).map(|share| share.sigma)),
            );
        let label = gathered.scans.first().and_then(|scan| scan.map.phases.get(index));
        let points = own()
            .filter(|(scan, ..)| scan.map.phases.get(index).is_some_and(|own| own.id == *id))
            .filter_map(|(scan, label, own)| {
                let (share, ends) = (share(own)?, 1.645);
                let x = f64::from(track(tracks, scan, *label))
                    + 0.12 * (index as f64 - 0.5 * phases.len() as f64);
                let ends = [share.value - ends * share.sigma, share.value + ends * share.sigma];
                Some(Point { x, y: share.value, ends: Some(ends.map(|end| end.clamp(0.0, 1.0))) })
            });
        if let Some(label) = label {
            shares = shares.with(&label.title, &css(label.colour), Mark::Dots, points.collect());
        }
    }
    let bins = |bars: &[Point], width: f64| {
        Table::default()
            .number("from", bars.iter().map(|own| own.x - 0.5 * width))
            .number("to", bars.iter().map(|own| own.x + 0.5 * width))
            .count("particles", bars.iter().map(|own| own.y as usize))
    };
    Figure::new(
        "Particles",
        "Particles",
        "Every particle of every scan. Means of the state variable weigh each pixel by its amount of matter; errors have 90 %. A particle with a share near one is of one phase; \
         one with shares between holds several, or its pixels cannot be told apart: the errors say which.",
    )
    .chart(&of_area)
    .chart(&of_x)
    .chart(&shares)
    .table("particles", table)
    .table("histogram_area", bins(&bars, bar))
    .table("histogram_state", bins(&x_bars, x_bar))
}

fn boundaries(gathered: &Gathered) -> Figure {
    let mut figure = Figure::new(
        "Boundaries",
        "Ambiguity against the distance from boundaries",
        "How much likelier ambiguous and mixed pixels are at a distance than elsewhere in the same particles, with 90 % by moves that leave neighbours together; dashed what a beam of the width given \
         would make of a sharp boundary. Where the interval holds 1 nothing gathers.",
    );
    /// Scan, which boundary, from and to, pixels, doubtful ones, ratio, what the beam explains.
    type Row = (String, String, [f64; 2], f64, f64, Option<Interval>, Option<f64>);
    let mut rows: Vec<Row> = Vec::new();
    for scan in &gathered.scans {
        for (key, title) in [("between_phases", "between phases"), ("at_rim", "at the rim")] {
            let list = scan.findings["boundaries"][key]["by_distance"].as_array();
            let (mut seen, mut beam) = (Vec::new(), Vec::new());
            for own in list.into_iter().flatten() {
                let of = |name: &str| own[name].as_f64();
                let (Some(from), Some(to)) = (of("from_px"), of("to_px")) else { continue };
                let ratio = &own["ratio"];
                let ratio = ratio["middle"].as_f64().map(|middle| Interval {
                    low: ratio["low"].as_f64().unwrap_or(middle),
                    middle,
                    high: ratio["high"].as_f64().unwrap_or(middle),
                });
                let x = 0.5 * (from + to);
                seen.extend(ratio.map(|own| Point { x, y: own.middle, ends: Some([own.low, own.high]) }));
                beam.extend(of("explained").map(|y| Point { x, y, ends: None }));
                let (pixels, doubtful) = (of("pixels").unwrap_or(0.0), of("doubtful").unwrap_or(0.0));
                rows.push((
                    scan.name.clone(),
                    key.to_owned(),
                    [from, to],
                    pixels,
                    doubtful,
                    ratio,
                    of("explained"),
                ));
            }
            let mut chart =
                Chart::new(&format!("{}, {title}", scan.name), "distance, pixels", "times as likely");
            (chart.holds, chart.size) = (vec![0.0, 1.0], [380.0, 240.0]);
            let one = [0.0, 6.0].map(|x| Point { x, y: 1.0, ends: None }).to_vec();
            let one = if seen.is_empty() { Vec::new() } else { one };
            let chart = chart.with("as found", INK, Mark::Line, seen).with(
                "by the beam alone",
                OTHER,
                Mark::Guide,
                beam,
            );
            figure = figure.chart(&chart.with("", "currentColor", Mark::Guide, one));
        }
    }
    let own = || rows.iter();
    let table = Table::default()
        .text("scan", own().map(|row| row.0.clone()))
        .text("of", own().map(|row| row.1.clone()))
        .number("from_px", own().map(|row| row.2[0]))
        .number("to_px", own().map(|row| row.2[1]))
        .number("pixels", own().map(|row| row.3))
        .number("doubtful", own().map(|row| row.4))
        .numbers("ratio_low", own().map(|row| row.5.map(|own| own.low)))
        .numbers("ratio", own().map(|row| row.5.map(|own| own.middle)))
        .numbers("ratio_high", own().map(|row| row.5.map(|own| own.high)))
        .numbers("explained", own().map(|row| row.6));
    figure.table("boundaries", table)
}

fn dose(gathered: &Gathered) -> Figure {
    let list: Vec<_> =
        gathered.scans.iter().filter_map(|scan| Some((scan, scan.map.origin.dose.as_deref()?))).collect();
    let unit = list.first().map_or("dose", |(_, dose)| dose.unit.as_str());
    let mut chart = Chart::new("Accumulated dose of the particles", "scan, in the order of time", unit);
    chart.bar = 0.8;
    let bar = |(index, (_, dose)): (usize, &(&OpenScan, &crate::classify::DoseSummary))| Point {
        x: index as f64 + 1.0,
        y: dose.total.mean,
        ends: None,
    };
    let bars = list.iter().enumerate().filter(|(_, (_, dose))| dose.unit == unit).map(bar).collect();
    let caption = list.last().map_or_else(
        || "No dose is known of these scans.".to_owned(),
        |(_, dose)| {
            let remarks = if dose.remarks.is_empty() {
                String::new()
            } else {
                format!(" {}.", dose.remarks.join("; "))
            };
            format!("{} Depth: {}; flux: {}.{remarks}", dose.formula, dose.depth, dose.flux)
        },
    );
    let table = Table::default()
        .text("scan", list.iter().map(|(scan, _)| scan.name.clone()))
        .text("unit", list.iter().map(|(_, dose)| dose.unit.clone()))
        .number("total", list.iter().map(|(_, dose)| dose.total.mean))
        .number("own", list.iter().map(|(_, dose)| dose.own.mean))
        .number("prior", list.iter().map(|(_, dose)| dose.prior.mean));
    Figure::new("Dose", "Dose", &caption).chart(&chart.with("", INK, Mark::Bars, bars)).table("dose", table)
}

fn references(gathered: &Gathered) -> Figure {
    let Some(set) = gathered.scans.iter().rev().find_map(|scan| scan.references.as_deref()) else {
        return Figure::new("References", "References", "The references are not at hand.");
    };
    let mut chart = Chart::new("Reference spectra", "energy, eV", "optical density");
    chart.size = [780.0, 280.0];
    for own in &set.references {
        let points = own.energies_ev.iter().zip(&own.od).map(|(&x, &y)| Point { x, y, ends: None }).collect();
        chart = chart.with(&own.label.title, &css(own.label.colour), Mark::Curve, points);
    }
    let rows: Vec<_> = set
        .references
        .iter()
        .flat_map(|own| own.energies_ev.iter().zip(&own.od).map(move |point| (own, point)))
        .collect();
    let table = Table::default()
        .text("phase", rows.iter().map(|(own, _)| own.label.id.clone()))
        .number("energy_ev", rows.iter().map(|(_, (energy, _))| **energy))
        .number("od", rows.iter().map(|(_, (_, od))| **od));
    Figure::new("References", "References", &format!("Digest {}.", set.sha256))
        .chart(&chart)
        .table("references", table)
}
