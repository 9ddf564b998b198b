//! What is wrong, in words that say what to do about it.

use serde::Serialize;

use super::Sniffer;

/// Something that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// A short name that stays the same: `unknown_format`, `several_formats`, `refused`, `untrusted`, `missing_start`, `gaps`,
    /// `stride`, `zero_lines`, `nan`, `duplicates`, `remark`.
    pub what: &'static str,
    /// How often.
    pub count: u64,
    /// The scan, or the series, that it is about.
    pub of: Option<String>,
    /// In words.
    pub text: String,
}

impl Problem {
    fn new(what: &'static str, count: u64, of: Option<&str>, text: String) -> Self {
        Self { what, count, of: of.map(str::to_owned), text }
    }
}

/// Orders by how serious it is.
const ORDER: [&str; 11] = [
    "untrusted",
    "stride",
    "missing_start",
    "refused",
    "gaps",
    "several_formats",
    "unknown_format",
    "zero_lines",
    "nan",
    "duplicates",
    "remark",
];

impl Sniffer {
    pub(super) fn problems(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        self.of_scans(&mut problems);
        self.of_series(&mut problems);
        let mut kinds: Vec<_> = self.formats.keys().map(|spoken| spoken.kind()).collect();
        kinds.dedup();
        if kinds.len() > 1 {
            let text =
                format!("several formats on one address: {}; a source takes one of them", kinds.join(", "));
            problems.push(Problem::new("several_formats", kinds.len() as u64, None, text));
        }
        let framings = self.formats.keys().filter(|spoken| spoken.kind() == "stxm-stream").count();
        if framings > 1 {
            let text = "stxm-stream/1 both with a topic and without: two senders, or one that is mistaken"
                .to_owned();
            problems.push(Problem::new("several_formats", framings as u64, None, text));
        }
        if self.unknown > 0 {
            let example = self.example.as_deref().unwrap_or_default();
            let text = format!("{} messages of no known format; the first: {example}", self.unknown);
            problems.push(Problem::new("unknown_format", self.unknown, None, text));
        }
        for ((format, reason), (count, last)) in &self.refused {
            let (what, text) = if *reason == "no_start" {
                (
                    "missing_start",
                    format!(
                        "{count} messages of a scan that began before we listened ({format}): its start is told once"
                    ),
                )
            } else {
                ("refused", format!("{count} messages refused as {reason:?} ({format}); the last: {last}"))
            };
            problems.push(Problem::new(what, *count, None, text));
        }
        if self.zero_lines > 0 {
            let text = format!(
                "{} lines of zeros (pystxmcontrol): triggers that were missed; they are taken as not measured",
                self.zero_lines
            );
            problems.push(Problem::new("zero_lines", self.zero_lines, None, text));
        }
        problems.sort_by_key(|problem| ORDER.iter().position(|what| *what == problem.what));
        problems
    }

    fn of_scans(&self, problems: &mut Vec<Problem>) {
        for scan in &self.scans {
            let of = Some(scan.scan_id.as_str());
            let mut tell = |what, count: u64, text: String| {
                if count > 0 {
                    problems.push(Problem::new(what, count, of, text));
                }
            };
            for remark in &scan.remarks {
                let what = if remark.untrusted { "untrusted" } else { "remark" };
                tell(what, 1, remark.text.clone());
            }
            if !scan.is_started() {
                let text = format!(
                    "{} messages of values, and no start: it began before we listened, or its start was lost",
                    scan.before_start
                );
                tell("missing_start", scan.before_start.max(1), text);
            }
            tell(
                "gaps",
                scan.missing(),
                format!("{} messages are missing, by their numbers", scan.missing()),
            );
            tell(
                "zero_lines",
                scan.zero_lines,
                format!(
                    "{} lines are all zeros: a closed shutter, or a detector that counts nothing",
                    scan.zero_lines
                ),
            );
            let share = 100.0 * scan.nan as f64 / scan.values.max(1) as f64;
            tell("nan", scan.nan, format!("{share:.1} % of the values are NaN, not measured"));
            tell(
                "duplicates",
                scan.duplicates,
                format!("{} messages came twice; the second is ignored", scan.duplicates),
            );
        }
    }

    fn of_series(&self, problems: &mut Vec<Problem>) {
        for series in &self.series {
            let of = format!("series {}", series.number);
            let mut tell = |what, count: u64, text: String| {
                if count > 0 {
                    problems.push(Problem::new(what, count, Some(&of), text));
                }
            };
            if let Some(stride) = series.stride().filter(|stride| *stride > 1) {
                let text = format!(
                    "image ids come in steps of {stride}: somebody else pulls from this detector, and each gets a share of the \
                     images. Put `phasewatch tee` between"
                );
                tell("stride", stride, text);
            } else {
                tell("gaps", series.missing(), format!("{} images are missing", series.missing()));
            }
            if !series.started {
                tell(
                    "missing_start",
                    series.images.max(1),
                    "images, and no start: the series began before we listened".to_owned(),
                );
            }
            tell("duplicates", series.duplicates, format!("{} images came twice", series.duplicates));
        }
    }
}
