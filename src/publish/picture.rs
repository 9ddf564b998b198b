//! The phase map as a picture for the logbook: the map, a scale bar, a legend with fractions, and what it is of.
//!
//! +x points right and +y up, whatever the sign of the steps. Each pixel of the map is a whole number of screen
//! pixels wide and high, in about the proportion of the steps; a map of more than a thousand rows or columns is
//! thinned out. It looks as on the page: one phase is its colour; a mixture that of its larger phase, dotted
//! with the other's; an ambiguous pixel is its best guess, paler and striped; unknown is grey and crossed, saturated black,
//! background a light grey; unmeasured is white with faint lines. The same map gives the same bytes: there is no time in
//! it but the scan's own.
//!
//! [`inpainted_png`] draws pixels that were not measured as their neighbours, paler and hatched, and says so above the
//! map and in the legend.
//!
//! Text beyond Latin-1 is drawn as `?`: the fonts have no more. Texts that are too long end in `...`.

mod canvas;
mod field;
mod legend;
mod ruler;

use std::io::Write;

use chrono::Utc;
use embedded_graphics::mono_font::iso_8859_1::{FONT_7X13, FONT_9X15, FONT_10X20};
use embedded_graphics::pixelcolor::Rgb888;
use png::{BitDepth, ColorType, Encoder};

use super::{Inpainted, PublishError};
use crate::classify::PhaseMap;
use canvas::Canvas;
use field::Field;

const MARGIN: usize = 24;
const HEADER: usize = 62;
const FOOTER: usize = 62;
const LEGEND_WIDTH: usize = 300;

const PAPER: Rgb888 = Rgb888::new(255, 255, 255);
const INK: Rgb888 = Rgb888::new(26, 29, 33);
const QUIET: Rgb888 = Rgb888::new(104, 112, 120);
const RULE: Rgb888 = Rgb888::new(176, 182, 188);
const WARNING: Rgb888 = Rgb888::new(255, 214, 102);

/// The picture as PNG bytes.
///
/// # Errors
/// [`PublishError::Length`] where a column it draws is not as long as the grid has pixels, [`PublishError::Png`].
pub fn png(map: &PhaseMap) -> Result<Vec<u8>, PublishError> {
    check(map)?;
    encode(map, &draw(map, None), false)
}

/// The same with the pixels that were not measured filled from those that were, and marked.
///
/// # Errors
/// As [`png`].
pub fn inpainted_png(map: &PhaseMap) -> Result<Vec<u8>, PublishError> {
    check(map)?;
    encode(map, &draw(map, Some(&Inpainted::of(map))), true)
}

/// The map alone, at most `longest` pixels wide and high, as PNG bytes: for a list.
///
/// # Errors
/// As [`png`].
pub fn thumbnail(map: &PhaseMap, longest: usize) -> Result<Vec<u8>, PublishError> {
    check(map)?;
    let field = Field::small(&map.plan.grid, longest.max(1));
    let mut canvas = Canvas::new([field.width(), field.height()], PAPER);
    field.draw(&mut canvas, [0, 0], map, None);
    encode(map, &canvas, false)
}

fn check(map: &PhaseMap) -> Result<(), PublishError> {
    let n = map.plan.grid.pixels();
    for (column, found) in
        [("status", map.status.len()), ("phase", map.phase.len()), ("runner_up", map.runner_up.len())]
    {
        if found != n {
            return Err(PublishError::Length { column, found, wanted: n });
        }
    }
    Ok(())
}

fn draw(map: &PhaseMap, inpainted: Option<&Inpainted>) -> Canvas {
    let field = Field::of(&map.plan.grid);
    let height = field.height().max(legend::height(map, inpainted));
    // Narrow maps still leave room for the lines above and below.
    let map_width = field.width().max(360);
    let size = [MARGIN + map_width + MARGIN + LEGEND_WIDTH + MARGIN, HEADER + height + FOOTER];
    let mut canvas = Canvas::new(size, PAPER);
    header(&mut canvas, map, inpainted.is_some());
    field.draw(&mut canvas, [MARGIN, HEADER], map, inpainted);
    legend::draw(&mut canvas, [MARGIN + map_width + MARGIN, HEADER], map, inpainted);
    let below = HEADER + field.height();
    ruler::draw(&mut canvas, [MARGIN, below + 12], &field, &map.plan.grid);
    footer(&mut canvas, map, HEADER + height + FOOTER - 20);
    canvas
}

fn header(canvas: &mut Canvas, map: &PhaseMap, inpainted: bool) {
    let plan = &map.plan;
    let mut right = canvas.width() - MARGIN;
    let words = [
        // Of a scan that is not over nobody knows yet whether it is complete, were all its energies there.
        (!map.origin.settled, "not archived yet"),
        (map.origin.settled && !map.origin.complete, "incomplete"),
        (plan.simulated, "simulated"),
        (inpainted, "in-painted"),
    ];
    for (shown, word) in words {
        if shown {
            let width = 9 * word.len() + 16;
            right -= width;
            canvas.fill([right, 11], [width, 23], WARNING);
            canvas.text([right + 8, 15], word, &FONT_9X15, INK);
            right -= 8;
        }
    }
    let title = [Some(&plan.scan_id), plan.sample.as_ref(), plan.region.as_ref()];
    let title = title.into_iter().flatten().map(String::as_str).collect::<Vec<_>>().join("   ");
    canvas.text_within([MARGIN, 12], right - MARGIN, &title, &FONT_10X20, INK);
    let started = plan.started.with_timezone(&Utc).format("%Y-%m-%d %H:%M UTC");
    let (low, high) =
        plan.energies_ev.iter().fold((f64::INFINITY, 0.0_f64), |(l, h), &e| (l.min(e), h.max(e)));
    let line = format!(
        "{}   {started}   {} of {} energies   {low:.1} to {high:.1} eV",
        plan.beamline,
        map.origin.energies_done,
        plan.energies_ev.len(),
    );
    canvas.text_within([MARGIN, 38], canvas.width() - 2 * MARGIN, &line, &FONT_9X15, QUIET);
}

fn footer(canvas: &mut Canvas, map: &PhaseMap, y: usize) {
    let origin = &map.origin;
    let short = |sha256: &str| sha256.get(..8).unwrap_or("none").to_owned();
    let line = format!(
        "{}   references {}   model {}   confidence: {}   phasewatch {}",
        if origin.generation == 0 {
            "settled map".to_owned()
        } else {
            format!("generation {}", origin.generation)
        },
        short(&origin.references_sha256),
        short(&origin.model_sha256),
        if origin.calibrated_on.is_empty() { "uncalibrated" } else { &origin.calibrated_on },
        env!("CARGO_PKG_VERSION"),
    );
    canvas.text_within([MARGIN, y], canvas.width() - 2 * MARGIN, &line, &FONT_7X13, QUIET);
}

fn encode(map: &PhaseMap, canvas: &Canvas, inpainted: bool) -> Result<Vec<u8>, PublishError> {
    let mut bytes = Vec::new();
    let mut encoder = Encoder::new(&mut bytes, canvas.width() as u32, canvas.height() as u32);
    encoder.set_color(ColorType::Rgb);
    encoder.set_depth(BitDepth::Eight);
    let pairs = [
        ("Title", format!("phase map of {}", map.plan.scan_id)),
        ("Software", format!("phasewatch {}", env!("CARGO_PKG_VERSION"))),
        ("phasewatch.scan_id", map.plan.scan_id.clone()),
        ("phasewatch.generation", map.origin.generation.to_string()),
        ("phasewatch.simulated", map.plan.simulated.to_string()),
        ("phasewatch.complete", map.origin.complete.to_string()),
        ("phasewatch.references_sha256", map.origin.references_sha256.clone()),
    ];
    let marked = inpainted.then(|| ("phasewatch.inpainted", "true".to_owned()));
    for (key, value) in pairs.into_iter().chain(marked) {
        encoder.add_text_chunk(key.to_owned(), canvas::latin1(&value))?;
    }
    let mut writer = encoder.write_header()?;
    let mut stream = writer.stream_writer()?;
    stream.write_all(canvas.bytes()).map_err(png::EncodingError::from)?;
    stream.finish()?;
    drop(writer);
    Ok(bytes)
}

#[cfg(test)]
mod tests;
