//! The report: everything that was measured, as JSON and as a page of tables.

use std::fmt::Write as _;

use serde::Serialize;

use super::cells::{CellRow, MethodScore};
use super::latent::Latent;
use super::metrics::Reliability;
use super::offsets;
use super::plots::Picture;
use super::recorded::{RecordedReport, RecordedRow};
use super::study::Study;
use super::targets::{self, Target, name_of};

/// Everything that was measured.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Version of the program.
    pub phasewatch: &'static str,
    /// Digest of the references.
    pub references_sha256: String,
    /// Digest of the model, where there is one.
    pub model_sha256: Option<String>,
    /// Drawn scans.
    pub study: Option<Study>,
    /// A recorded stack.
    pub recorded: Option<RecordedReport>,
    /// The latent space of the model.
    pub latent: Option<Latent>,
    /// The targets that there is a figure for.
    pub targets: Vec<Target>,
}

impl Report {
    /// Puts a report together; the targets follow from what was measured.
    #[must_use]
    pub fn new(
        references_sha256: String,
        model_sha256: Option<String>,
        study: Option<Study>,
        recorded: Option<RecordedReport>,
        latent: Option<Latent>,
    ) -> Self {
        let mut targets = study.as_ref().map(targets::of_study).unwrap_or_default();
        targets.extend(recorded.as_ref().map(targets::of_recorded).unwrap_or_default());
        let phasewatch = env!("CARGO_PKG_VERSION");
        Self { phasewatch, references_sha256, model_sha256, study, recorded, latent, targets }
    }

    /// The report as Markdown; `pictures` are put in by file name.
    #[must_use]
    pub fn markdown(&self, pictures: &[Picture]) -> String {
        let mut page = Page::default();
        page.line("# Evaluation");
        page.line("");
        let model = self.model_sha256.as_deref().unwrap_or("none");
        page.line(format_args!(
            "phasewatch {}, references {}, model {model}",
            self.phasewatch, self.references_sha256
        ));
        page.targets(&self.targets);
        if let Some(study) = &self.study {
            page.study(study);
        }
        if let Some(recorded) = &self.recorded {
            page.recorded(recorded);
        }
        if !pictures.is_empty() {
            page.line("\n## Pictures");
        }
        for picture in pictures {
            page.line(format_args!("\n![{}]({})", picture.title, picture.file));
        }
        page.text
    }
}

/// A figure; a dash where there is none.
fn figure(value: f64) -> String {
    if value.is_nan() { "–".to_owned() } else { format!("{value:.3}") }
}

#[derive(Default)]
struct Page {
    text: String,
}

impl Page {
    fn line(&mut self, line: impl std::fmt::Display) {
        // Writing to a String cannot fail.
        _ = writeln!(self.text, "{line}");
    }

    /// The head of a table: names, and the rule beneath.
    fn head(&mut self, names: &[&str]) {
        self.line("");
        self.line(format_args!("| {} |", names.join(" | ")));
        self.line(format_args!("|{}", "---|".repeat(names.len())));
    }

    fn targets(&mut self, targets: &[Target]) {
        self.line("\n## Targets");
        self.head(&["target", "limit", "measured", "", "where"]);
        for t in targets {
            let met = if t.met { "met" } else { "**not met**" };
            self.line(format_args!(
                "| {} | {} | {} | {met} | {} |",
                t.target,
                figure(t.limit),
                figure(t.measured),
                t.at
            ));
        }
    }

    fn study(&mut self, study: &Study) {
        self.line("\n## Accuracy");
        self.line(format_args!(
            "\n{} scans per cell, seed {}, energies spread evenly from {:.2} to {:.2} eV. Share of pixels whose phase is right: median \
             over the scans, and in brackets the worst tenth. `fit_offset` is the fit after the offset was estimated from all pixels.",
            study.plan.draws, study.plan.seed, study.from_ev, study.to_ev
        ));
        for mismatched in [false, true] {
            let cells: Vec<&CellRow> =
                study.cells.iter().filter(|cell| cell.conditions.mismatched == mismatched).collect();
            if cells.is_empty() {
                continue;
            }
            let title = if mismatched { "B: mismatched references" } else { "A: known references" };
            self.line(format_args!("\n### {title}"));
            self.accuracy(&cells);
            self.line("\nThe pipeline's verdicts: coverage is the share called classified.");
            self.verdicts(&cells);
        }
        self.line("\n## Calibration");
        self.line(format_args!(
            "\nThe maps say that their confidence was calibrated on: {}.",
            study.calibrated_on
        ));
        for (reliability, title) in
            study.reliability.iter().zip(["known references", "mismatched references"])
        {
            self.reliability(title, reliability);
        }
        self.text += &offsets::markdown(&study.energy_offset);
        self.mixtures(study);
        self.foreign(study);
    }

    fn accuracy(&mut self, cells: &[&CellRow]) {
        let mut names = vec!["offset eV", "energies", "counts"];
        names.extend(cells[0].methods.iter().map(|score| score.method));
        names.extend(["pipeline inside", "at boundaries", "fit_offset inside", "at boundaries"]);
        self.head(&names);
        for cell in cells {
            let c = &cell.conditions;
            let mut row = format!("| {} | {} | {} |", c.offset_ev, c.energies, c.counts);
            for score in &cell.methods {
                _ = write!(row, " {} ({}) |", figure(score.median), figure(score.worst_tenth));
            }
            for method in ["pipeline", "fit_offset"] {
                let score: Option<&MethodScore> = cell.methods.iter().find(|s| s.method == method);
                let [inside, boundary] = score.map_or([f64::NAN; 2], |s| [s.inside, s.boundary]);
                _ = write!(row, " {} | {} |", figure(inside), figure(boundary));
            }
            self.line(row);
        }
    }

    fn verdicts(&mut self, cells: &[&CellRow]) {
        self.head(&[
            "offset eV",
            "energies",
            "counts",
            "coverage",
            "right of these",
            "coverage at 97 %",
            "mixture",
            "unknown",
            "ECE",
            "smoothed right",
            "smoothed wrong",
            "offset error eV",
        ]);
        for cell in cells {
            let (c, p) = (&cell.conditions, &cell.pipeline);
            self.line(format_args!(
                "| {} | {} | {} | {} ({}) | {} | {} | {} | {} | {} | {} | {} | {} |",
                c.offset_ev,
                c.energies,
                c.counts,
                figure(p.coverage),
                figure(p.coverage_worst_tenth),
                figure(p.right_of_classified),
                figure(p.coverage_at_97),
                figure(p.called_mixture),
                figure(p.called_unknown),
                figure(p.ece),
                figure(p.smoothed_right),
                figure(p.smoothed_wrong),
                figure(cell.offset_error_ev)
            ));
        }
    }

    fn reliability(&mut self, title: &str, reliability: &Reliability) {
        if reliability.pixels() == 0 {
            return;
        }
        self.line(format_args!("\n{title}: expected calibration error {}", figure(reliability.ece())));
        self.head(&["confidence", "right", "pixels"]);
        for bin in reliability.bins.iter().filter(|bin| bin.pixels > 0) {
            let n = bin.pixels as f64;
            self.line(format_args!(
                "| {} | {} | {} |",
                figure(bin.confidence / n),
                figure(bin.right as f64 / n),
                bin.pixels
            ));
        }
    }

    fn mixtures(&mut self, study: &Study) {
        if study.mixtures.is_empty() {
            return;
        }
        self.line("\n## Mixtures");
        self.line(
            "\nShares of the pixels of each pair (30 to 70 % of either). Separable: the nearest single reference is at least chi² 16 away \
             (thickness 1.2, known offset, the least favourable share). pair_fit: the best pair of a fit after the offset was \
             estimated, a yardstick.",
        );
        for cell in &study.mixtures {
            self.line(format_args!(
                "\n{}; of the pure pixels of the same scans, {} are called a mixture (pair_fit: {}).",
                name_of(&cell.conditions),
                figure(cell.false_mixture),
                figure(cell.pair_fit_false)
            ));
            self.head(&[
                "pair",
                "separable",
                "found",
                "pair_fit",
                "other pair",
                "a third phase",
                "one of two",
                "indistinguishable",
                "both named",
                "ambiguous",
                "unknown",
                "Pearson third",
                "share error",
                "pull",
                "nearest single",
                "nearest pair",
            ]);
            for r in cell.pairs.iter().filter(|row| row.pixels > 0) {
                self.line(format_args!(
                    "| {} | {} | {} | {} | {} | {} | {} | {} | {} | {} | {} | {} | {} | {} | {} ({:.1}) | {} |",
                    r.pair.join(" with "),
                    if r.separable { "yes" } else { "no" },
                    figure(r.found),
                    figure(r.pair_fit_found),
                    figure(r.other_pair),
                    figure(r.called_third),
                    figure(r.called_one_of_two),
                    figure(r.indistinguishable),
                    figure(r.both_named),
                    figure(r.ambiguous),
                    figure(r.unknown),
                    figure(r.pearson_third),
                    figure(r.share_error),
                    figure(r.share_pull),
                    r.nearest_single,
                    r.single_chi2,
                    if r.pair_chi2.is_finite() {
                        format!("{} ({:.1})", r.nearest_pair.join(" with "), r.pair_chi2)
                    } else {
                        "–".to_owned()
                    }
                ));
            }
        }
    }

    fn foreign(&mut self, study: &Study) {
        let Some(first) = study.foreign.first() else { return };
        self.line("\n## Foreign matter");
        self.line(
            "\nArea under the ROC by score, over whole scans half of whose domains are in no reference; and what the statuses say: foreign \
             pixels called unknown, known pixels called unknown, foreign pixels called one phase.",
        );
        let mut names = vec!["references", "offset eV", "energies", "counts"];
        names.extend(first.scores.iter().map(|score| score.score));
        names.extend(["unknown", "false unknown", "classified", "background"]);
        self.head(&names);
        for row in &study.foreign {
            let c = &row.conditions;
            let references = if c.mismatched { "mismatched" } else { "known" };
            let mut line = format!("| {references} | {} | {} | {} |", c.offset_ev, c.energies, c.counts);
            for score in &row.scores {
                _ = write!(line, " {} |", figure(score.auc));
            }
            for value in [row.unknown_found, row.unknown_false, row.classified, row.background] {
                _ = write!(line, " {} |", figure(value));
            }
            self.line(line);
        }
    }

    fn recorded(&mut self, report: &RecordedReport) {
        self.line(format_args!("\n## Recorded stack {}", report.scan_id));
        let shares: Vec<String> = report
            .phases
            .iter()
            .zip(&report.shares)
            .map(|(id, share)| format!("{} {id}", figure(*share)))
            .collect();
        self.line(format_args!(
            "\nTruth is the label of a non-negative fit to all {} energies: {}. Odd and even energies agree in {} of the pixels. \
             Confidence calibrated on: {}.",
            report.energies,
            shares.join(", "),
            figure(report.ceiling),
            report.calibrated_on
        ));
        for (rows, title) in [
            (&report.rows, "All pixels with an edge jump above 0.1"),
            (
                &report.clear_rows,
                "Of these, the clear ones: amounts that differ by more than a fifth of their sum",
            ),
        ] {
            self.line(format_args!("\n### {title}"));
            self.recorded_rows(rows);
        }
    }

    fn recorded_rows(&mut self, rows: &[RecordedRow]) {
        self.head(&[
            "energies",
            "pixels",
            "method",
            "plain",
            "balanced",
            "coverage at 97 %",
            "classified",
            "right of these",
            "unnamed",
            "right of named",
            "ECE",
        ]);
        for row in rows {
            for method in &row.methods {
                let ece = if method.method == "pipeline" { row.reliability.ece() } else { f64::NAN };
                self.line(format_args!(
                    "| {} | {} | {} | {} | {} | {} | {} | {} | {} | {} | {} |",
                    row.energies,
                    row.pixels,
                    method.method,
                    figure(method.plain),
                    figure(method.balanced),
                    figure(method.coverage_at_97),
                    figure(method.classified),
                    figure(method.right_of_classified),
                    figure(method.unnamed),
                    figure(method.right_of_named),
                    figure(ece)
                ));
            }
        }
    }
}
