//! Charts as SVG: axes with ticks, lines, points and bars, several panels to a sheet, one legend.
//!
//! Only what the reports need, and no dependency: text in the reader's own sans-serif, coordinates to a tenth of a pixel, the same
//! bytes for the same figures.

use std::fmt::Write as _;

/// Colours of Okabe and Ito that read well on white, in print and without colour vision.
pub(super) const COLOURS: [&str; 7] =
    ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000"];
const MARGIN: (f64, f64, f64, f64) = (52.0, 14.0, 28.0, 44.0);
const FONT: &str = "font-family=\"Helvetica, Arial, sans-serif\"";

/// How a series is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mark {
    /// A line.
    Line,
    /// A line with a dot at each point.
    Dotted,
    /// A dashed, thin line without a legend.
    Guide,
    /// Small dots.
    Dots,
    /// Crosses.
    Crosses,
    /// Large diamonds with an outline, each with its name beside it.
    Diamonds,
    /// Bars from the bottom, as wide as the distance of the first two points.
    Bars,
}

/// One series.
#[derive(Clone, Debug)]
pub(super) struct Series {
    pub(super) name: String,
    pub(super) colour: String,
    pub(super) mark: Mark,
    pub(super) points: Vec<[f64; 2]>,
}

/// An axis.
#[derive(Clone, Debug)]
pub(super) struct Axis {
    pub(super) label: String,
    pub(super) from: f64,
    pub(super) to: f64,
    pub(super) log: bool,
    /// Whether numbers are written at the ticks.
    pub(super) numbers: bool,
}

impl Axis {
    /// A linear axis.
    pub(super) fn linear(label: &str, from: f64, to: f64) -> Self {
        Self { label: label.to_owned(), from, to, log: false, numbers: true }
    }

    /// A logarithmic axis.
    pub(super) fn log(label: &str, from: f64, to: f64) -> Self {
        Self { log: true, ..Self::linear(label, from, to) }
    }

    /// 0 at the start, 1 at the end.
    fn place(&self, value: f64) -> f64 {
        if self.log {
            (value / self.from).ln() / (self.to / self.from).ln()
        } else {
            (value - self.from) / (self.to - self.from)
        }
    }

    fn ticks(&self) -> Vec<f64> {
        if self.log {
            let decades = (self.from.log10().floor() as i32)..=(self.to.log10().ceil() as i32);
            let all = decades.flat_map(|d| [1.0, 3.0].map(|m| m * 10_f64.powi(d)));
            return all.filter(|v| *v >= self.from * 0.999 && *v <= self.to * 1.001).collect();
        }
        let raw = (self.to - self.from) / 5.0;
        let power = 10_f64.powf(raw.log10().floor());
        let step = [1.0, 2.0, 5.0, 10.0].into_iter().map(|m| m * power).find(|s| *s >= raw * 0.999);
        let step = step.unwrap_or(10.0 * power);
        let first = (self.from / step - 1e-9).ceil() as i64;
        (first..).map(|i| i as f64 * step).take_while(|v| *v <= self.to + 1e-9 * step).collect()
    }

    fn number(&self, value: f64) -> String {
        if self.log && value >= 1.0 {
            return format!("{value:.0}");
        }
        let digits = if (self.to - self.from) < 0.5 { 2 } else { 1 };
        if self.to - self.from > 10.0 { format!("{value:.0}") } else { format!("{value:.digits$}") }
    }
}

/// One panel.
#[derive(Clone, Debug)]
pub(super) struct Panel {
    pub(super) title: String,
    pub(super) x: Axis,
    pub(super) y: Axis,
    pub(super) series: Vec<Series>,
}

/// Several panels, row by row, with one legend beneath.
pub(super) fn sheet(title: &str, panels: &[Panel], columns: usize, [width, height]: [f64; 2]) -> String {
    let columns = columns.clamp(1, panels.len().max(1));
    let rows = panels.len().div_ceil(columns);
    let legend = legend_of(panels);
    let total_width = width * columns as f64;
    let legend_rows = layout(&legend, total_width - 24.0);
    let legend_height = 20.0 * legend_rows.iter().map(|(row, _)| row + 1).max().unwrap_or(0) as f64;
    let total_height = 34.0 + height * rows as f64 + legend_height + 10.0;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{total_width:.0}\" height=\"{total_height:.0}\" viewBox=\"0 0 \
         {total_width:.0} {total_height:.0}\" {FONT}>\n<rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n\
         <text x=\"14\" y=\"23\" font-size=\"15\" font-weight=\"bold\">{}</text>\n",
        escape(title)
    );
    for (index, panel) in panels.iter().enumerate() {
        let left = (index % columns) as f64 * width;
        let top = 34.0 + (index / columns) as f64 * height;
        // Writing to a String cannot fail.
        _ = writeln!(svg, "<g transform=\"translate({left:.1} {top:.1})\">");
        draw(&mut svg, panel, [width, height], index);
        svg.push_str("</g>\n");
    }
    let top = 34.0 + height * rows as f64 + 12.0;
    for (series, (row, x)) in legend.iter().zip(&legend_rows) {
        let y = top + 20.0 * *row as f64;
        let x = x + 14.0;
        sample(&mut svg, series, x, y);
        _ = writeln!(
            svg,
            "<text x=\"{:.1}\" y=\"{:.1}\" font-size=\"12\">{}</text>",
            x + 30.0,
            y + 4.0,
            escape(&series.name)
        );
    }
    svg.push_str("</svg>\n");
    svg
}

/// One entry for each name, in the order of appearance.
fn legend_of(panels: &[Panel]) -> Vec<Series> {
    let mut legend: Vec<Series> = Vec::new();
    for series in panels.iter().flat_map(|panel| &panel.series) {
        let silent = matches!(series.mark, Mark::Guide | Mark::Bars) || series.name.is_empty();
        if !silent && legend.iter().all(|known| known.name != series.name) {
            legend.push(Series { points: Vec::new(), ..series.clone() });
        }
    }
    legend
}

/// Row and x of each entry of the legend.
fn layout(legend: &[Series], width: f64) -> Vec<(usize, f64)> {
    let (mut row, mut x) = (0, 0.0);
    legend
        .iter()
        .map(|series| {
            let own = 48.0 + 6.8 * series.name.chars().count() as f64;
            if x > 0.0 && x + own > width {
                (row, x) = (row + 1, 0.0);
            }
            let place = (row, x);
            x += own;
            place
        })
        .collect()
}

fn sample(svg: &mut String, series: &Series, x: f64, y: f64) {
    let colour = &series.colour;
    match series.mark {
        Mark::Line | Mark::Dotted | Mark::Guide | Mark::Bars => {
            _ = writeln!(
                svg,
                "<line x1=\"{x:.1}\" y1=\"{y:.1}\" x2=\"{:.1}\" y2=\"{y:.1}\" stroke=\"{colour}\" stroke-width=\"2\"/>",
                x + 24.0
            );
            if series.mark == Mark::Dotted {
                _ = writeln!(svg, "<circle cx=\"{:.1}\" cy=\"{y:.1}\" r=\"3\" fill=\"{colour}\"/>", x + 12.0);
            }
        }
        Mark::Dots => {
            _ = writeln!(svg, "<circle cx=\"{:.1}\" cy=\"{y:.1}\" r=\"4\" fill=\"{colour}\"/>", x + 14.0);
        }
        Mark::Crosses => cross(svg, x + 14.0, y, colour),
        Mark::Diamonds => diamond(svg, x + 14.0, y, colour),
    }
}

fn cross(svg: &mut String, x: f64, y: f64, colour: &str) {
    let (l, r, t, b) = (x - 2.5, x + 2.5, y - 2.5, y + 2.5);
    _ = writeln!(
        svg,
        "<path d=\"M{l:.1} {t:.1}L{r:.1} {b:.1}M{l:.1} {b:.1}L{r:.1} {t:.1}\" stroke=\"{colour}\" stroke-width=\"1\"/>"
    );
}

fn diamond(svg: &mut String, x: f64, y: f64, colour: &str) {
    let (l, r, t, b) = (x - 7.0, x + 7.0, y - 7.0, y + 7.0);
    _ = writeln!(
        svg,
        "<path d=\"M{x:.1} {t:.1}L{r:.1} {y:.1}L{x:.1} {b:.1}L{l:.1} {y:.1}Z\" fill=\"{colour}\" stroke=\"black\" stroke-width=\"1.5\"/>"
    );
}

fn draw(svg: &mut String, panel: &Panel, [width, height]: [f64; 2], index: usize) {
    let (left, right, top, bottom) = MARGIN;
    let (w, h) = (width - left - right, height - top - bottom);
    let x_of = |value: f64| left + w * panel.x.place(value);
    let y_of = |value: f64| top + h * (1.0 - panel.y.place(value));
    _ = writeln!(
        svg,
        "<clipPath id=\"panel{index}\"><rect x=\"{left:.1}\" y=\"{top:.1}\" width=\"{w:.1}\" height=\"{h:.1}\"/></clipPath>\n\
         <text x=\"{:.1}\" y=\"{:.1}\" font-size=\"12\" font-weight=\"bold\" text-anchor=\"middle\">{}</text>",
        left + w / 2.0,
        top - 8.0,
        escape(&panel.title)
    );
    draw_grid(svg, panel, [left, top, w, h]);
    _ = writeln!(
        svg,
        "<text x=\"{:.1}\" y=\"{:.1}\" font-size=\"12\" text-anchor=\"middle\">{}</text>\n\
         <text transform=\"translate(14 {:.1}) rotate(-90)\" font-size=\"12\" text-anchor=\"middle\">{}</text>\n\
         <g clip-path=\"url(#panel{index})\">",
        left + w / 2.0,
        top + h + 33.0,
        escape(&panel.x.label),
        top + h / 2.0,
        escape(&panel.y.label)
    );
    for series in &panel.series {
        let points: Vec<[f64; 2]> = series
            .points
            .iter()
            .map(|p| [x_of(p[0]), y_of(p[1])])
            .filter(|p| p.iter().all(|v| v.is_finite()))
            .collect();
        draw_series(svg, series, &points, top + h);
    }
    _ = writeln!(
        svg,
        "</g>\n<rect x=\"{left:.1}\" y=\"{top:.1}\" width=\"{w:.1}\" height=\"{h:.1}\" fill=\"none\" stroke=\"black\"/>"
    );
    // Diamonds and their names go on top of everything, clipped by nothing; at the right edge the name is to the left.
    for series in panel.series.iter().filter(|series| series.mark == Mark::Diamonds) {
        for p in series.points.iter().filter(|p| p.iter().all(|v| v.is_finite())) {
            let (x, y) = (x_of(p[0]), y_of(p[1]));
            diamond(svg, x, y, &series.colour);
            let (shift, anchor) = if panel.x.place(p[0]) > 0.8 { (-11.0, "end") } else { (11.0, "start") };
            _ = writeln!(
                svg,
                "<text x=\"{:.1}\" y=\"{:.1}\" font-size=\"12\" font-weight=\"bold\" text-anchor=\"{anchor}\" stroke=\"white\" \
                 stroke-width=\"3\" paint-order=\"stroke\">{}</text>",
                x + shift,
                y + 4.0,
                escape(&series.name)
            );
        }
    }
}

/// Lines and numbers at the ticks of both axes; the field is given by left, top, width and height.
fn draw_grid(svg: &mut String, panel: &Panel, [left, top, w, h]: [f64; 4]) {
    let x_of = |value: f64| left + w * panel.x.place(value);
    let y_of = |value: f64| top + h * (1.0 - panel.y.place(value));
    for tick in panel.x.ticks() {
        let x = x_of(tick);
        _ = writeln!(
            svg,
            "<line x1=\"{x:.1}\" y1=\"{top:.1}\" x2=\"{x:.1}\" y2=\"{:.1}\" stroke=\"#e4e4e4\"/>",
            top + h
        );
        if panel.x.numbers {
            _ = writeln!(
                svg,
                "<text x=\"{x:.1}\" y=\"{:.1}\" font-size=\"11\" text-anchor=\"middle\">{}</text>",
                top + h + 15.0,
                panel.x.number(tick)
            );
        }
    }
    for tick in panel.y.ticks() {
        let y = y_of(tick);
        _ = writeln!(
            svg,
            "<line x1=\"{left:.1}\" y1=\"{y:.1}\" x2=\"{:.1}\" y2=\"{y:.1}\" stroke=\"#e4e4e4\"/>",
            left + w
        );
        if panel.y.numbers {
            _ = writeln!(
                svg,
                "<text x=\"{:.1}\" y=\"{:.1}\" font-size=\"11\" text-anchor=\"end\">{}</text>",
                left - 6.0,
                y + 4.0,
                panel.y.number(tick)
            );
        }
    }
}

fn draw_series(svg: &mut String, series: &Series, points: &[[f64; 2]], bottom: f64) {
    let colour = &series.colour;
    if matches!(series.mark, Mark::Line | Mark::Dotted | Mark::Guide) {
        let path: Vec<String> = points.iter().map(|[x, y]| format!("{x:.1},{y:.1}")).collect();
        let style = if series.mark == Mark::Guide {
            "stroke-width=\"1\" stroke-dasharray=\"5 4\""
        } else {
            "stroke-width=\"2\" stroke-linejoin=\"round\""
        };
        _ = writeln!(
            svg,
            "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" {style}/>",
            path.join(" ")
        );
    }
    let bar = points.get(1).map_or(1.0, |second| second[0] - points[0][0]) * 0.9;
    for &[x, y] in points {
        match series.mark {
            Mark::Dotted => {
                _ = writeln!(svg, "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3\" fill=\"{colour}\"/>");
            }
            Mark::Dots => {
                _ = writeln!(
                    svg,
                    "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"1.6\" fill=\"{colour}\" fill-opacity=\"0.55\"/>"
                );
            }
            Mark::Crosses => cross(svg, x, y, colour),
            Mark::Bars => {
                _ = writeln!(
                    svg,
                    "<rect x=\"{:.1}\" y=\"{y:.1}\" width=\"{bar:.1}\" height=\"{:.1}\" fill=\"{colour}\"/>",
                    x - bar / 2.0,
                    bottom - y
                );
            }
            Mark::Line | Mark::Guide | Mark::Diamonds => {}
        }
    }
}

/// One bar per row, from 0 to 1, of the parts that add up to it; a tick marks a yardstick.
pub(super) fn stacked(
    title: &str,
    names: &[(&str, &str)],
    yardstick: &str,
    rows: &[(String, Vec<f64>, f64)],
) -> String {
    let (label, width, step) = (190.0, 520.0, 26.0);
    let bottom = 40.0 + step * rows.len() as f64;
    let (total_width, total_height) = (label + width + 30.0, bottom + 86.0);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{total_width:.0}\" height=\"{total_height:.0}\" viewBox=\"0 0 \
         {total_width:.0} {total_height:.0}\" {FONT}>\n<rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n\
         <text x=\"14\" y=\"23\" font-size=\"15\" font-weight=\"bold\">{}</text>\n",
        escape(title)
    );
    for (index, (name, parts, mark)) in rows.iter().enumerate() {
        let top = 40.0 + step * index as f64;
        _ = writeln!(
            svg,
            "<text x=\"{:.1}\" y=\"{:.1}\" font-size=\"12\" text-anchor=\"end\">{}</text>",
            label - 8.0,
            top + 15.0,
            escape(name)
        );
        let mut left = label;
        for (part, (_, colour)) in parts.iter().zip(names) {
            let long = width * part.clamp(0.0, 1.0);
            _ = writeln!(
                svg,
                "<rect x=\"{left:.1}\" y=\"{top:.1}\" width=\"{long:.1}\" height=\"20\" fill=\"{colour}\"/>"
            );
            left += long;
        }
        if mark.is_finite() {
            let x = label + width * mark;
            _ = writeln!(
                svg,
                "<line x1=\"{x:.1}\" y1=\"{:.1}\" x2=\"{x:.1}\" y2=\"{:.1}\" stroke=\"black\" stroke-width=\"3\"/>",
                top - 3.0,
                top + 23.0
            );
        }
    }
    for tick in 0..=5 {
        let share = f64::from(tick) / 5.0;
        let x = label + width * share;
        _ = writeln!(
            svg,
            "<line x1=\"{x:.1}\" y1=\"36\" x2=\"{x:.1}\" y2=\"{bottom:.1}\" stroke=\"black\" stroke-opacity=\"0.15\"/>\n\
             <text x=\"{x:.1}\" y=\"{:.1}\" font-size=\"11\" text-anchor=\"middle\">{share:.1}</text>",
            bottom + 14.0
        );
    }
    let entries = names.iter().map(|(name, colour)| (*name, *colour)).chain([(yardstick, "black")]);
    for (index, (name, colour)) in entries.enumerate() {
        let (x, y) = (14.0 + 180.0 * (index % 4) as f64, bottom + 36.0 + 20.0 * (index / 4) as f64);
        let thin = if colour == "black" { 3.0 } else { 14.0 };
        _ = writeln!(
            svg,
            "<rect x=\"{:.1}\" y=\"{:.1}\" width=\"{thin:.0}\" height=\"14\" fill=\"{colour}\"/>\n\
             <text x=\"{:.1}\" y=\"{y:.1}\" font-size=\"12\">{}</text>",
            x + 14.0 - thin,
            y - 11.0,
            x + 20.0,
            escape(name)
        );
    }
    svg.push_str("</svg>\n");
    svg
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_within_the_axis() {
        let ticks = Axis::linear("", 0.4, 1.0).ticks();
        let wanted = [0.4, 0.6, 0.8, 1.0];
        assert_eq!(ticks.len(), wanted.len(), "{ticks:?}");
        assert!(ticks.iter().zip(wanted).all(|(a, b)| (a - b).abs() < 1e-9), "{ticks:?}");
        let ticks = Axis::log("", 300.0, 10_000.0).ticks();
        assert_eq!(ticks.iter().map(|v| v.round()).collect::<Vec<_>>(), [300.0, 1000.0, 3000.0, 10_000.0]);
    }

    #[test]
    fn a_sheet_has_its_panels_and_one_entry_per_name() {
        let series = |name: &str, mark: Mark| Series {
            name: name.to_owned(),
            colour: COLOURS[0].to_owned(),
            mark,
            points: vec![[0.0, 0.5], [1.0, f64::NAN], [0.5, 1.0]],
        };
        let panel = Panel {
            title: "a < b".to_owned(),
            x: Axis::linear("x", 0.0, 1.0),
            y: Axis::linear("y", 0.0, 1.0),
            series: vec![series("one", Mark::Dotted), series("guide", Mark::Guide)],
        };
        let svg = sheet("title", &[panel.clone(), panel], 2, [300.0, 200.0]);
        assert_eq!(svg.matches("<clipPath").count(), 2);
        assert_eq!(svg.matches(">one</text>").count(), 1);
        assert!(!svg.contains("guide<") && !svg.contains("NaN") && svg.contains("a &lt; b"));
    }
}
