//! Charts as inline SVG: points with intervals, lines and bars. Text and axes take the colour of the page, so that they read in light and dark and
//! on paper; colours of series are given. The same figures give the same bytes.

use std::fmt::Write as _;

const LEFT: f64 = 54.0;
const RIGHT: f64 = 14.0;
const TOP: f64 = 12.0;
const BOTTOM: f64 = 44.0;

/// How a series is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mark {
    /// Dots, joined.
    Line,
    /// A line alone.
    Curve,
    /// Dots alone.
    Dots,
    /// Thin and dashed, without dots.
    Guide,
    /// From zero, as wide as given.
    Bars,
}

/// A point; low and high are its interval.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Point {
    pub(super) x: f64,
    pub(super) y: f64,
    pub(super) ends: Option<[f64; 2]>,
}

/// A series.
#[derive(Clone, Debug)]
pub(super) struct Series {
    pub(super) name: String,
    /// As CSS has it.
    pub(super) colour: String,
    pub(super) mark: Mark,
    pub(super) points: Vec<Point>,
}

/// A chart.
#[derive(Clone, Debug)]
pub(super) struct Chart {
    pub(super) title: String,
    pub(super) x: String,
    pub(super) y: String,
    pub(super) series: Vec<Series>,
    /// Width of bars in the unit of x.
    pub(super) bar: f64,
    /// Values that have to be within the chart, along y.
    pub(super) holds: Vec<f64>,
    pub(super) size: [f64; 2],
}

impl Chart {
    pub(super) fn new(title: &str, x: &str, y: &str) -> Self {
        let [title, x, y] = [title, x, y].map(str::to_owned);
        Self { title, x, y, series: Vec::new(), bar: 1.0, holds: Vec::new(), size: [420.0, 260.0] }
    }

    pub(super) fn with(mut self, name: &str, colour: &str, mark: Mark, points: Vec<Point>) -> Self {
        let sound = |own: &Point| own.x.is_finite() && own.y.is_finite();
        let points = points.into_iter().filter(sound).collect();
        self.series.push(Series { name: name.to_owned(), colour: colour.to_owned(), mark, points });
        self
    }

    pub(super) fn is_empty(&self) -> bool {
        self.series.iter().all(|series| series.points.is_empty())
    }

    /// The chart; a reader that does not see it hears its title.
    pub(super) fn svg(&self) -> String {
        let [width, height] = self.size;
        let all =
            || self.series.iter().flat_map(|series| series.points.iter().map(move |own| (series.mark, own)));
        let half = |mark: Mark| if mark == Mark::Bars { 0.5 * self.bar } else { 0.0 };
        let xs = range(all().flat_map(|(mark, own)| [own.x - half(mark), own.x + half(mark)]));
        let bars = all().filter(|(mark, _)| *mark == Mark::Bars).map(|_| 0.0);
        let ends =
            |own: &Point| own.ends.unwrap_or([own.y; 2]).map(|y| if y.is_finite() { y } else { own.y });
        let ys = range(
            all()
                .flat_map(|(_, own)| [own.y, ends(own)[0], ends(own)[1]])
                .chain(bars)
                .chain(self.holds.iter().copied()),
        );
        let px = |x: f64| LEFT + (x - xs[0]) / (xs[1] - xs[0]) * (width - LEFT - RIGHT);
        let py = |y: f64| height - BOTTOM - (y - ys[0]) / (ys[1] - ys[0]) * (height - TOP - BOTTOM);
        let mut svg = format!(
            "<svg class=\"chart\" role=\"img\" viewBox=\"0 0 {width:.0} {height:.0}\" width=\"{width:.0}\" height=\"{height:.0}\"><title>{}</title>",
            escaped(&self.title)
        );
        let (bottom, right) = (height - BOTTOM, width - RIGHT);
        // Writing to a String cannot fail.
        for tick in ticks(xs) {
            let x = px(tick);
            _ = write!(
                svg,
                "<path class=\"grid\" d=\"M{x:.1} {TOP:.1}V{bottom:.1}\"/><text x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>",
                bottom + 15.0,
                number(tick, xs)
            );
        }
        for tick in ticks(ys) {
            let y = py(tick);
            _ = write!(
                svg,
                "<path class=\"grid\" d=\"M{LEFT:.1} {y:.1}H{right:.1}\"/><text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
                LEFT - 6.0,
                y + 3.5,
                number(tick, ys)
            );
        }
        for series in &self.series {
            let colour = escaped(&series.colour);
            if matches!(series.mark, Mark::Line | Mark::Curve | Mark::Guide) && series.points.len() > 1 {
                let path: Vec<String> =
                    series.points.iter().map(|own| format!("{:.1} {:.1}", px(own.x), py(own.y))).collect();
                let class = if series.mark == Mark::Guide { "guide" } else { "line" };
                _ = write!(svg, "<path class=\"{class}\" stroke=\"{colour}\" d=\"M{}\"/>", path.join("L"));
            }
            for own in &series.points {
                let (x, y) = (px(own.x), py(own.y));
                if series.mark == Mark::Bars {
                    let (left, wide) = (px(own.x - 0.5 * self.bar), px(self.bar) - px(0.0));
                    let (high, low) = (y.min(py(0.0)), y.max(py(0.0)));
                    _ = write!(
                        svg,
                        "<rect x=\"{:.1}\" y=\"{high:.1}\" width=\"{:.1}\" height=\"{:.1}\" fill=\"{colour}\"/>",
                        left + 0.5,
                        (wide - 1.0).max(1.0),
                        low - high
                    );
                }
                if own.ends.is_some() {
                    let [low, high] = ends(own).map(py);
                    let (l, r) = (x - 3.0, x + 3.0);
                    _ = write!(
                        svg,
                        "<path class=\"error\" stroke=\"{colour}\" d=\"M{x:.1} {low:.1}V{high:.1}M{l:.1} {low:.1}H{r:.1}M{l:.1} {high:.1}H{r:.1}\"/>"
                    );
                }
                if matches!(series.mark, Mark::Line | Mark::Dots) {
                    _ = write!(svg, "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3.2\" fill=\"{colour}\"/>");
                }
            }
        }
        _ = write!(
            svg,
            "<path class=\"axis\" d=\"M{LEFT:.1} {TOP:.1}V{bottom:.1}H{right:.1}\"/>\
             <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>\
             <text transform=\"translate(13 {:.1}) rotate(-90)\" text-anchor=\"middle\">{}</text></svg>",
            0.5 * (LEFT + right),
            height - 8.0,
            escaped(&self.x),
            0.5 * (TOP + bottom),
            escaped(&self.y)
        );
        svg
    }

    /// Names of the series with their colours, where there are several.
    pub(super) fn legend(&self) -> String {
        let named: Vec<&Series> = self.series.iter().filter(|series| !series.name.is_empty()).collect();
        if named.len() < 2 {
            return String::new();
        }
        let entry = |series: &&Series| {
            let (colour, name) = (escaped(&series.colour), escaped(&series.name));
            format!("<li><i style=\"background:{colour}\"></i>{name}</li>")
        };
        format!("<ul class=\"legend\">{}</ul>", named.iter().map(entry).collect::<String>())
    }
}

/// What holds all values, with some room.
fn range(values: impl Iterator<Item = f64>) -> [f64; 2] {
    let finite: Vec<f64> = values.filter(|value| value.is_finite()).collect();
    let low = finite.iter().copied().fold(f64::INFINITY, f64::min);
    let high = finite.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    if low > high {
        return [0.0, 1.0];
    }
    let room = if high > low { 0.05 * (high - low) } else { 0.5 * low.abs().max(1.0) * 0.2 };
    // What begins at zero stays there.
    [if low == 0.0 { 0.0 } else { low - room }, high + room]
}

fn step([from, to]: [f64; 2]) -> f64 {
    let raw = (to - from) / 5.0;
    let power = 10_f64.powf(raw.log10().floor());
    [1.0, 2.0, 5.0].into_iter().map(|m| m * power).find(|step| *step >= raw * 0.999).unwrap_or(10.0 * power)
}

fn ticks(range: [f64; 2]) -> Vec<f64> {
    let step = step(range);
    let first = (range[0] / step - 1e-9).ceil() as i64;
    (first..first + 12).map(|i| i as f64 * step).take_while(|tick| *tick <= range[1] + 1e-9 * step).collect()
}

fn number(value: f64, range: [f64; 2]) -> String {
    let digits = (-step(range).log10().floor()).clamp(0.0, 6.0) as usize;
    let text = format!("{value:.digits$}");
    if text.trim_start_matches('-').chars().all(|c| c == '0' || c == '.') {
        text.replace('-', "")
    } else {
        text
    }
}

/// For text and attributes alike.
pub(super) fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            // Not allowed in documents, whatever is written for them.
            c if c.is_control() && c != '\n' && c != '\t' => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn any_numbers_make_a_chart_without_infinities(
            points in prop::collection::vec((any::<f64>(), any::<f64>(), any::<f64>()), 0..6), bars: bool,
        ) {
            // Beyond this differences overflow, and no quantity here comes near.
            let small = |value: f64| if value.abs() < 1e100 { value } else { f64::NAN };
            let points = points.into_iter().map(|(x, y, e)| Point {
                x: small(x), y: small(y), ends: Some([small(y - e), small(y + e)]),
            });
            let mark = if bars { Mark::Bars } else { Mark::Line };
            let svg = Chart::new("<t>", "x", "y").with("a", "red", mark, points.collect()).svg();
            prop_assert!(!svg.contains("NaN") && !svg.contains("inf") && svg.contains("&lt;t&gt;"));
        }
    }

    #[test]
    fn ticks_are_round_and_named_as_finely_as_they_lie() {
        assert_eq!(ticks([0.0, 1.05]), [0.0, 0.5, 1.0]);
        assert_eq!(number(0.25, [0.0, 0.25]), "0.25");
        assert_eq!(number(-1e-17, [-1.0, 1.0]), "0.0");
    }
}
