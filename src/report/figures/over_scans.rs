//! Figures of a series of scans: the field, from rim to core, each particle against the others.

use super::{Figure, INK, MOST_LINES, OTHER};
use crate::kinetics::{Interval, Kinetics};
use crate::report::Gathered;
use crate::report::chart::{Chart, Mark, Point};
use crate::report::picture::css;
use crate::report::table::Table;

/// What stands along the axis of a series, and its name: the state of charge where every scan has one, else hours.
fn axis(kinetics: &Kinetics) -> (Vec<f64>, &'static str) {
    let charges: Option<Vec<f64>> = kinetics.scans.iter().map(|scan| scan.state_of_charge).collect();
    match charges {
        Some(charges) if charges.iter().any(|charge| *charge != charges[0]) => (charges, "state of charge"),
        _ => (kinetics.scans.iter().map(|scan| scan.hours).collect(), "hours since the first scan"),
    }
}

pub(super) fn series(gathered: &Gathered, kinetics: &Kinetics) -> Vec<Figure> {
    let (at, axis) = axis(kinetics);
    let variable = kinetics.variable.clone().unwrap_or_default();
    let ends = |own: Interval| Some([own.low, own.high]);
    let mut shares = Chart::new("Shares of the phases in the field", axis, "share");
    let scans = || kinetics.scans.iter();
    let mut table = Table::default()
        .text("scan", scans().map(|own| own.scan_id.clone()))
        .number("hours", scans().map(|own| own.hours))
        .numbers("state_of_charge", scans().map(|own| own.state_of_charge))
        .numbers("state_low", scans().map(|own| own.x.map(|x| x.low)))
        .numbers("state", scans().map(|own| own.x.map(|x| x.middle)))
        .numbers("state_high", scans().map(|own| own.x.map(|x| x.high)))
        .numbers("nominal", scans().map(|own| own.nominal.map(|own| own.x)))
        .number("unknown", scans().map(|own| own.unknown));
    for (index, id) in kinetics.phases.iter().enumerate() {
        let of = |own: &crate::kinetics::ScanState| own.shares.get(index).copied();
        table = table
            .numbers(&format!("share_{id}"), scans().map(|own| of(own).map(|share| share.value)))
            .numbers(&format!("share_{id}_error"), scans().map(|own| of(own).map(|share| share.sigma)));
        let points = scans().zip(&at).filter_map(|(own, &x)| {
            let share = of(own)?;
            let half = 1.645 * share.sigma;
            Some(Point { x, y: share.value, ends: Some([share.value - half, share.value + half]) })
        });
        let label = gathered.scans.iter().flat_map(|scan| scan.map.phases.iter()).find(|own| own.id == *id);
        if let Some(label) = label {
            shares = shares.with(&label.title, &css(label.colour), Mark::Line, points.collect());
        }
    }
    let field: Vec<Point> = scans()
        .zip(&at)
        .filter_map(|(own, &x)| own.x.map(|own| Point { x, y: own.middle, ends: ends(own) }))
        .collect();
    let nominal: Vec<Point> = scans()
        .zip(&at)
        .filter_map(|(own, &x)| own.nominal.map(|own| Point { x, y: own.x, ends: None }))
        .collect();
    let measured = Chart::new(&format!("{variable} of the field"), axis, &variable)
        .with("measured", INK, Mark::Line, field)
        .with("by the state of charge, not taken to be right", OTHER, Mark::Guide, nominal);
    let mut each = Chart::new(&format!("{variable} of each particle"), axis, &variable);
    each.size = [780.0, 260.0];
    for track in kinetics.tracks.iter().take(MOST_LINES) {
        let points = kinetics
            .paces
            .iter()
            .filter(|own| own.track == track.id)
            .filter_map(|own| Some(Point { x: *at.get(own.scan)?, y: own.x.middle, ends: ends(own.x) }));
        each = each.with("", &line_colour(track.id), Mark::Line, points.collect());
    }
    vec![
        Figure::new(
            "Kinetics",
            "The field over the series",
            "Shares are of the matter that can be named; the mean of the state variable takes what cannot as not known, which widens its interval (90 %).",
        )
        .chart(&shares)
        .chart(&measured)
        .chart(&each)
        .table("kinetics_field", table),
    ]
}

/// Of the particle with this number.
fn line_colour(track: u32) -> String {
    let hue = (f64::from(track) * 137.508) % 360.0;
    format!("hsl({hue:.0} 60% 48%)")
}

pub(super) fn profiles(kinetics: &Kinetics) -> Figure {
    let variable = kinetics.variable.clone().unwrap_or_default();
    let mut figure = Figure::new(
        "Kinetics",
        "From rim to core",
        "Mean of the state variable against depth below the rim, for each particle that is deep enough. The outermost pixel is left out. The front is where the profile passes the middle between rim and core; \
         it is told only where core and rim differ by more than their errors. Domains of several phases within a particle can pass for a gradient: the maps show whether what differs lies in shells.",
    );
    for (index, scan) in kinetics.scans.iter().enumerate() {
        let mut chart = Chart::new(&scan.scan_id, "depth below the rim, pixels", &variable);
        for own in kinetics.gradients.iter().filter(|own| own.scan == index).take(MOST_LINES) {
            let point = |shell: &crate::kinetics::Shell| Point {
                x: shell.depth_px,
                y: shell.x.middle,
                ends: own.is_real.then_some([shell.x.low, shell.x.high]),
            };
            chart =
                chart.with("", &line_colour(own.track), Mark::Line, own.shells.iter().map(point).collect());
        }
        figure = figure.chart(&chart);
    }
    let (at, axis) = axis(kinetics);
    let mut fronts = Chart::new("Depth of the front", axis, "pixels below the rim");
    fronts.holds = vec![0.0];
    for track in &kinetics.tracks {
        let points = kinetics.gradients.iter().filter(|own| own.track == track.id).filter_map(|own| {
            let (front, x) = (own.front_px?, *at.get(own.scan)?);
            let half = 1.645 * front.sigma;
            Some(Point { x, y: front.value, ends: Some([front.value - half, front.value + half]) })
        });
        fronts = fronts.with("", &line_colour(track.id), Mark::Line, points.collect());
    }
    let rows: Vec<_> =
        kinetics.gradients.iter().flat_map(|own| own.shells.iter().map(move |shell| (own, shell))).collect();
    let shells = Table::default()
        .text("scan", rows.iter().map(|(own, _)| kinetics.scan_id(own.scan)))
        .count("track", rows.iter().map(|(own, _)| own.track as usize))
        .number("depth_px", rows.iter().map(|(_, shell)| shell.depth_px))
        .count("pixels", rows.iter().map(|(_, shell)| shell.pixels))
        .number("state_low", rows.iter().map(|(_, shell)| shell.x.low))
        .number("state", rows.iter().map(|(_, shell)| shell.x.middle))
        .number("state_high", rows.iter().map(|(_, shell)| shell.x.high));
    let own = || kinetics.gradients.iter();
    let gradients = Table::default()
        .text("scan", own().map(|own| kinetics.scan_id(own.scan)))
        .count("track", own().map(|own| own.track as usize))
        .number("rim", own().map(|own| own.rim.middle))
        .number("core", own().map(|own| own.core.middle))
        .number("core_less_rim_low", own().map(|own| own.contrast.low))
        .number("core_less_rim", own().map(|own| own.contrast.middle))
        .number("core_less_rim_high", own().map(|own| own.contrast.high))
        .count("sectors", own().map(|own| own.sectors[1]))
        .count("sectors_alike", own().map(|own| own.sectors[0]))
        .is("claimed", own().map(|own| own.is_real))
        .numbers("front_px", own().map(|own| own.front_px.map(|own| own.value)))
        .numbers("front_px_error", own().map(|own| own.front_px.map(|own| own.sigma)))
        .numbers("front_um", own().map(|own| own.front_um.map(|own| own.value)));
    let own = || kinetics.speeds.iter();
    let speeds = Table::default()
        .count("track", own().map(|own| own.track as usize))
        .text("from_scan", own().map(|own| kinetics.scan_id(own.scans[0])))
        .text("to_scan", own().map(|own| kinetics.scan_id(own.scans[1])))
        .number("hours", own().map(|own| own.hours))
        .number("px_per_h_low", own().map(|own| own.px_per_h.low))
        .number("px_per_h", own().map(|own| own.px_per_h.middle))
        .number("px_per_h_high", own().map(|own| own.px_per_h.high))
        .numbers("um_per_h", own().map(|own| own.um_per_h.map(|own| own.middle)))
        .is("claimed", own().map(|own| own.is_real));
    figure.chart(&fronts).table("profiles", shells).table("gradients", gradients).table("speeds", speeds)
}

pub(super) fn paces(kinetics: &Kinetics) -> Figure {
    let variable = kinetics.variable.clone().unwrap_or_default();
    let mut figure = Figure::new(
        "Kinetics",
        "Each particle against the others",
        "Mean of the state variable of a particle less the median of the others in the same scan, with 90 %. Filled in the second colour: more than errors explain, with all particles and scans taken into account.",
    );
    for (index, scan) in kinetics.scans.iter().enumerate() {
        let (mut among, mut out) = (Vec::new(), Vec::new());
        for own in kinetics.paces.iter().filter(|own| own.scan == index) {
            let ends = Some([own.less_others.low, own.less_others.high]);
            let point = Point { x: f64::from(own.track), y: own.less_others.middle, ends };
            if own.place == crate::kinetics::Place::Among { among.push(point) } else { out.push(point) }
        }
        let mut chart = Chart::new(&scan.scan_id, "particle", &format!("{variable} less that of the others"));
        chart.holds = vec![0.0];
        let chart =
            chart.with("within errors", INK, Mark::Dots, among).with("lags or leads", OTHER, Mark::Dots, out);
        figure = figure.chart(&chart);
    }
    let own = || kinetics.paces.iter();
    let table = Table::default()
        .text("scan", own().map(|own| kinetics.scan_id(own.scan)))
        .count("track", own().map(|own| own.track as usize))
        .number("state", own().map(|own| own.x.middle))
        .number("others", own().map(|own| own.others))
        .number("less_others_low", own().map(|own| own.less_others.low))
        .number("less_others", own().map(|own| own.less_others.middle))
        .number("less_others_high", own().map(|own| own.less_others.high))
        .text("place", own().map(|own| own.place.words()));
    figure.table("pace", table)
}
