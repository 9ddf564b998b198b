//! The legend: what each colour means, and how much of it there is.

use embedded_graphics::mono_font::iso_8859_1::{FONT_7X13, FONT_9X15, FONT_9X15_BOLD};

use super::canvas::Canvas;
use super::field::{hatched, pattern};
use super::{INK, Inpainted, LEGEND_WIDTH, QUIET, RULE};
use crate::classify::{PhaseMap, Status};

const ROW: usize = 27;
const HEADING: usize = 46;
const SWATCH: [usize; 2] = [26, 18];
/// Where the text of a row starts.
const INDENT: usize = 38;
/// Width of a percentage, in characters.
const PERCENT: usize = 7;

/// What is not one phase, in the order of the legend.
const OTHERS: [(Status, &str); 6] = [
    (Status::Mixture, "mixture of two"),
    (Status::Ambiguous, "ambiguous"),
    (Status::Unknown, "unknown"),
    (Status::Background, "background"),
    (Status::Saturated, "saturated"),
    (Status::Unmeasured, "not measured"),
];

/// What pixels are called that cannot be used, where there is no incident intensity.
const NO_I0: &str = "no I0: not mapped";

/// What is drawn and was not measured.
const INPAINTED: &str = "in-painted: not measured";

/// Height of the legend of `map`.
pub(super) fn height(map: &PhaseMap, inpainted: Option<&Inpainted>) -> usize {
    2 * HEADING + ROW * (map.phases.len() + OTHERS.len() + usize::from(inpainted.is_some())) + 16
}

/// Draws it with its upper left corner at `[x, y]`.
pub(super) fn draw(canvas: &mut Canvas, [x, y]: [usize; 2], map: &PhaseMap, inpainted: Option<&Inpainted>) {
    let counts = map.status_counts();
    let classified = counts[Status::Classified as usize];
    let mut y = heading(canvas, [x, y], "Phases", &format!("% of {classified} classified pixels"));
    for (label, fraction) in map.phases.iter().zip(map.fractions()) {
        swatch(canvas, [x, y], |at| pattern(Status::Classified, Some(label.colour), None, at));
        let share = if classified == 0 { "-".to_owned() } else { percent(fraction) };
        row(canvas, [x, y], &label.title, &share);
        y += ROW;
    }
    y = heading(canvas, [x, y + 16], "Not one phase", &format!("% of {} pixels", map.len()));
    // Any two phases will do to show what dots and stripes mean.
    let colour = |index: usize| map.phases.get(index).map(|phase| phase.colour);
    for (status, words) in OTHERS {
        // Without an incident intensity no value can be used; that it is missing is what has to be seen.
        let has_no_i0 = map.origin.incident.missing().is_some() && status == Status::Saturated;
        let words = if has_no_i0 { NO_I0 } else { words };
        swatch(canvas, [x, y], |at| pattern(status, colour(0), colour(1), at));
        row(canvas, [x, y], words, &percent(counts[status as usize] as f64 / map.len().max(1) as f64));
        y += ROW;
    }
    if let Some(view) = inpainted {
        swatch(canvas, [x, y], |at| hatched(pattern(Status::Classified, colour(0), None, at), at));
        let filled = view.filled.iter().filter(|&&filled| filled).count();
        row(canvas, [x, y], INPAINTED, &percent(filled as f64 / map.len().max(1) as f64));
    }
}

fn heading(canvas: &mut Canvas, [x, y]: [usize; 2], words: &str, unit: &str) -> usize {
    canvas.text([x, y], words, &FONT_9X15_BOLD, INK);
    canvas.text([x, y + 17], unit, &FONT_7X13, QUIET);
    canvas.fill([x, y + 34], [LEGEND_WIDTH, 1], RULE);
    y + HEADING
}

fn swatch(
    canvas: &mut Canvas,
    [x, y]: [usize; 2],
    colour: impl Fn([usize; 2]) -> embedded_graphics::pixelcolor::Rgb888,
) {
    for dy in 0..SWATCH[1] {
        (0..SWATCH[0]).for_each(|dx| canvas.set([x + 1 + dx, y + dy], colour([dx, dy])));
    }
    canvas.frame([x + 1, y], SWATCH, RULE);
}

fn row(canvas: &mut Canvas, [x, y]: [usize; 2], words: &str, share: &str) {
    let room = LEGEND_WIDTH - INDENT - 9 * PERCENT;
    canvas.text_within([x + INDENT, y + 2], room, words, &FONT_9X15, INK);
    canvas.text_right(x + LEGEND_WIDTH, y + 2, share, &FONT_9X15, INK);
}

fn percent(fraction: f64) -> String {
    format!("{:.1} %", 100.0 * fraction)
}
