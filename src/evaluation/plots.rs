//! The pictures of a report, as SVG files.

use super::cells::{CellRow, RIGHT};
use super::chart::{Axis, COLOURS, Mark, Panel, Series, sheet, stacked};
use super::latent::{Cloud, Latent};
use super::metrics::Reliability;
use super::recorded::RecordedReport;
use super::report::Report;
use super::study::Study;
use super::targets::name_of;
use crate::reference::ReferenceSet;

/// A picture: file name, title, content.
#[derive(Clone, Debug)]
pub struct Picture {
    /// File name.
    pub file: String,
    /// Title.
    pub title: String,
    /// SVG.
    pub svg: String,
}

/// All pictures that the report has figures for.
#[must_use]
pub fn pictures(report: &Report, references: &ReferenceSet) -> Vec<Picture> {
    let mut pictures = Vec::new();
    if let Some(study) = &report.study {
        pictures.extend([false, true].into_iter().filter_map(|mismatched| accuracy(study, mismatched)));
        pictures.extend(risk_coverage(study));
        pictures.extend(reliability(
            "reliability.svg",
            &[("known references", &study.reliability[0]), ("mismatched references", &study.reliability[1])],
        ));
        pictures.extend(mixtures(study));
        pictures.extend(roc(study));
    }
    if let Some(recorded) = &report.recorded {
        pictures.push(recorded_agreement(recorded));
        pictures.push(recorded_coverage(recorded));
    }
    if let Some(latent) = &report.latent {
        pictures.push(latent_space(latent, references));
    }
    pictures
}

fn picture(file: &str, title: &str, panels: &[Panel], columns: usize, size: [f64; 2]) -> Picture {
    Picture { file: file.to_owned(), title: title.to_owned(), svg: sheet(title, panels, columns, size) }
}

fn series(name: &str, colour: &str, mark: Mark, points: Vec<[f64; 2]>) -> Series {
    Series { name: name.to_owned(), colour: colour.to_owned(), mark, points }
}

/// Distinct values, ascending.
fn distinct(values: impl Iterator<Item = f64>) -> Vec<f64> {
    let mut list: Vec<f64> = values.collect();
    list.sort_by(f64::total_cmp);
    list.dedup();
    list
}

fn accuracy(study: &Study, mismatched: bool) -> Option<Picture> {
    let cells: Vec<&CellRow> =
        study.cells.iter().filter(|cell| cell.conditions.mismatched == mismatched).collect();
    let counts = distinct(cells.iter().map(|cell| cell.conditions.counts));
    let (low, high) = (counts.first().copied()?, counts.last().copied()?);
    let energies = distinct(cells.iter().map(|cell| cell.conditions.energies as f64));
    let offsets = distinct(cells.iter().map(|cell| cell.conditions.offset_ev));
    let mut panels = Vec::new();
    for &n in &energies {
        for &offset_ev in &offsets {
            let here = || {
                cells.iter().filter(move |cell| {
                    cell.conditions.energies as f64 == n && cell.conditions.offset_ev == offset_ev
                })
            };
            let of = |(index, method): (usize, &&'static str)| {
                let points: Vec<[f64; 2]> =
                    here().map(|cell| [cell.conditions.counts, cell.median_of(method)]).collect();
                let known = points.iter().any(|p| !p[1].is_nan());
                known.then(|| series(method, COLOURS[COLOUR_OF[index]], Mark::Dotted, points))
            };
            panels.push(Panel {
                title: format!("{n} energies, offset {offset_ev} eV"),
                x: Axis::log("incident counts", low.min(high * 0.5) * 0.85, high * 1.18),
                y: Axis::linear("right phase", 0.3, 1.01),
                series: study.methods.iter().enumerate().filter_map(of).collect(),
            });
        }
    }
    let (file, title) = if mismatched {
        ("accuracy_mismatched.svg", "Share of pixels with the right phase: mismatched references")
    } else {
        ("accuracy_known.svg", "Share of pixels with the right phase: known references")
    };
    Some(picture(file, title, &panels, offsets.len(), [280.0, 230.0]))
}

/// Colour of each method: the pipeline black, the others apart from each other.
const COLOUR_OF: [usize; 5] = [0, 5, 2, 4, 6];

fn risk_coverage(study: &Study) -> Option<Picture> {
    let counts = distinct(study.cells.iter().map(|cell| cell.conditions.counts));
    let nearest = counts.iter().copied().min_by(|a, b| (a - 3000.0).abs().total_cmp(&(b - 3000.0).abs()))?;
    let offsets = distinct(study.cells.iter().map(|cell| cell.conditions.offset_ev));
    let mut panels = Vec::new();
    for mismatched in [false, true] {
        for &offset_ev in &offsets {
            let here = study.cells.iter().filter(|cell| {
                let c = &cell.conditions;
                c.mismatched == mismatched && c.offset_ev == offset_ev && c.counts == nearest
            });
            let mut list = vec![series("", "#888888", Mark::Guide, vec![[0.0, RIGHT], [1.0, RIGHT]])];
            list.extend(here.enumerate().map(|(i, cell)| {
                let name = format!("{} energies", cell.conditions.energies);
                series(&name, COLOURS[i % 5], Mark::Line, cell.pipeline.risk_coverage.clone())
            }));
            let references = if mismatched { "mismatched" } else { "known" };
            panels.push(Panel {
                title: format!("{references}, offset {offset_ev} eV"),
                x: Axis::linear("coverage", 0.0, 1.0),
                y: Axis::linear("right of these", 0.6, 1.005),
                series: list,
            });
        }
    }
    let title = format!("Risk against coverage of the pipeline, {nearest} counts (dashed: 97 % right)");
    Some(picture("risk_coverage.svg", &title, &panels, offsets.len(), [280.0, 230.0]))
}

fn reliability(file: &str, tables: &[(&str, &Reliability)]) -> Option<Picture> {
    let panels: Vec<Panel> = tables
        .iter()
        .filter(|(_, reliability)| reliability.pixels() > 0)
        .map(|(name, reliability)| {
            let most = reliability.bins.iter().map(|bin| bin.pixels).max().unwrap_or(1).max(1) as f64;
            let bins = reliability.bins.len() as f64;
            let share = |(i, bin): (usize, &super::metrics::ReliabilityBin)| {
                // Share of the pixels, on a root scale so that small bins are seen.
                [(i as f64 + 0.5) / bins, 0.3 * (bin.pixels as f64 / most).sqrt()]
            };
            let filled = reliability.bins.iter().filter(|bin| bin.pixels > 0);
            let points = filled
                .map(|bin| [bin.confidence / bin.pixels as f64, bin.right as f64 / bin.pixels as f64])
                .collect();
            Panel {
                title: format!("{name}: error {:.3}", reliability.ece()),
                x: Axis::linear("confidence", 0.0, 1.0),
                y: Axis::linear("right", 0.0, 1.0),
                series: vec![
                    series(
                        "",
                        "#dddddd",
                        Mark::Bars,
                        reliability.bins.iter().enumerate().map(share).collect(),
                    ),
                    series("", "#888888", Mark::Guide, vec![[0.0, 0.0], [1.0, 1.0]]),
                    series("pixels of that confidence", COLOURS[0], Mark::Dotted, points),
                ],
            }
        })
        .collect();
    let title = "Reliability of confidence (bars: how many pixels, root scale)";
    (!panels.is_empty()).then(|| picture(file, title, &panels, 2, [360.0, 340.0]))
}

fn mixtures(study: &Study) -> Option<Picture> {
    let cell = study
        .mixtures
        .iter()
        .filter(|cell| !cell.conditions.mismatched && cell.conditions.offset_ev == 0.0)
        .max_by_key(|cell| {
            let c = &cell.conditions;
            (c.energies == 30, c.counts == 3000.0)
        })?;
    let rows: Vec<(String, Vec<f64>, f64)> = cell
        .pairs
        .iter()
        .filter(|row| row.pixels > 0)
        .map(|row| {
            let sign = if row.separable { "" } else { " *" };
            let parts = vec![
                row.found,
                row.indistinguishable,
                row.ambiguous,
                row.unknown,
                row.called_one_of_two,
                row.other_pair,
                row.called_third,
            ];
            (format!("{}{sign}", row.pair.join(" + ")), parts, row.pair_fit_found)
        })
        .collect();
    let names = [
        ("right pair", "#009e73"),
        ("indistinguishable", "#56b4e9"),
        ("ambiguous", "#cccccc"),
        ("unknown", "#888888"),
        ("one of the two", "#f0e442"),
        ("another pair", "#e69f00"),
        ("a third phase", "#d55e00"),
    ];
    let title = format!("Mixtures, {} (*: not separable)", name_of(&cell.conditions));
    let svg = stacked(&title, &names, "right pair, by a fit", &rows);
    Some(Picture { file: "mixtures.svg".to_owned(), title, svg })
}

fn roc(study: &Study) -> Option<Picture> {
    let hardest = |mismatched: bool| {
        let here = study.foreign.iter().filter(move |row| row.conditions.mismatched == mismatched);
        let worst = |row: &super::foreign::ForeignRow| row.scores.first().map_or(1.0, |score| score.auc);
        here.min_by(|a, b| worst(a).total_cmp(&worst(b)))
    };
    let panels: Vec<Panel> = [false, true]
        .into_iter()
        .filter_map(hardest)
        .map(|row| {
            let mut list = vec![series("", "#888888", Mark::Guide, vec![[0.0, 0.0], [1.0, 1.0]])];
            list.extend(
                row.scores
                    .iter()
                    .enumerate()
                    .map(|(i, score)| series(score.score, COLOURS[i], Mark::Line, score.roc.clone())),
            );
            let point = vec![[row.unknown_false, row.unknown_found]];
            list.push(series("status unknown", "#000000", Mark::Diamonds, point));
            Panel {
                title: name_of(&row.conditions),
                x: Axis::linear("known pixels called foreign", 0.0, 1.0),
                y: Axis::linear("foreign pixels found", 0.0, 1.0),
                series: list,
            }
        })
        .collect();
    let title = "Foreign matter against known, in the hardest cell";
    (!panels.is_empty()).then(|| picture("roc.svg", title, &panels, 2, [420.0, 400.0]))
}

fn recorded_agreement(report: &RecordedReport) -> Picture {
    let names: Vec<&'static str> =
        report.rows.first().map(|row| row.methods.iter().map(|m| m.method).collect()).unwrap_or_default();
    let most = report.rows.iter().map(|row| row.energies).max().unwrap_or(1) as f64;
    let panel = |title: &str, balanced: bool| Panel {
        title: title.to_owned(),
        x: Axis::linear("energies", 0.0, most * 1.1),
        y: Axis::linear("agreement", 0.5, 1.0),
        series: names
            .iter()
            .enumerate()
            .map(|(i, name)| {
                let of = |m: &super::recorded::RecordedMethod| if balanced { m.balanced } else { m.plain };
                let points = report
                    .rows
                    .iter()
                    .filter_map(|row| {
                        let method = row.methods.iter().find(|m| m.method == *name)?;
                        Some([row.energies as f64, of(method)])
                    })
                    .collect();
                let colour = if *name == "pipeline" { COLOURS[6] } else { COLOURS[i % 6] };
                series(name, colour, Mark::Dotted, points)
            })
            .collect(),
    };
    let title = format!("{}: agreement with all {} energies", report.scan_id, report.energies);
    let panels = [panel("plain", false), panel("balanced", true)];
    picture("recorded_agreement.svg", &title, &panels, 2, [380.0, 320.0])
}

fn recorded_coverage(report: &RecordedReport) -> Picture {
    let panels: Vec<Panel> = report
        .rows
        .iter()
        .map(|row| {
            let mut list = vec![series("", "#888888", Mark::Guide, vec![[0.0, RIGHT], [1.0, RIGHT]])];
            list.extend(row.methods.iter().enumerate().map(|(i, method)| {
                let colour = if method.method == "pipeline" { COLOURS[6] } else { COLOURS[i % 6] };
                series(method.method, colour, Mark::Line, method.risk_coverage.clone())
            }));
            Panel {
                title: format!("{} energies", row.energies),
                x: Axis::linear("coverage", 0.0, 1.0),
                y: Axis::linear("right of these", 0.6, 1.005),
                series: list,
            }
        })
        .collect();
    let title = format!("{}: risk against coverage (dashed: 97 % right)", report.scan_id);
    picture("recorded_coverage.svg", &title, &panels, 2, [380.0, 300.0])
}

fn latent_space(latent: &Latent, references: &ReferenceSet) -> Picture {
    let colour = |name: &str| {
        let known = references.references.iter().find(|reference| reference.label.id == name);
        known.map_or_else(
            || if name == "mixture" { "#aaaaaa".to_owned() } else { "#333333".to_owned() },
            |reference| {
                let [r, g, b] = reference.label.colour;
                format!("#{r:02x}{g:02x}{b:02x}")
            },
        )
    };
    let places: Vec<[f64; 2]> = [&latent.islands, &latent.sparse, &latent.references]
        .into_iter()
        .flatten()
        .flat_map(|cloud| cloud.points.iter().copied())
        .collect();
    // The axes hold 98 of 100 points and every reference: a few far ones must not make all others small.
    let axis = |c: usize, label: &str| {
        let values: Vec<f64> = places.iter().map(|p| p[c]).filter(|v| v.is_finite()).collect();
        let own = latent.references.iter().flat_map(|cloud| cloud.points.iter().map(|p| p[c]));
        let (mut low, mut high) =
            (super::metrics::quantile(&values, 0.01), super::metrics::quantile(&values, 0.99));
        own.for_each(|v| (low, high) = (low.min(v), high.max(v)));
        let room = 0.12 * (high - low).max(1e-9);
        let share = 100.0 * latent.explained[c];
        Axis::linear(&format!("{label} ({share:.0} % of the variance)"), low - room, high + room)
    };
    let panel =
        |title: &str, clouds: &[Cloud]| {
            let mark = |name: &str| if name == "foreign" { Mark::Crosses } else { Mark::Dots };
            // What is drawn later lies on top: the phases over mixtures and foreign matter.
            let of = |cloud: &Cloud, points: Vec<[f64; 2]>| {
                series(&cloud.name, &colour(&cloud.name), mark(&cloud.name), points)
            };
            // Without points at first, for the order of the legend.
            let mut list: Vec<Series> = clouds.iter().map(|cloud| of(cloud, Vec::new())).collect();
            list.extend(clouds.iter().rev().map(|cloud| of(cloud, cloud.points.clone())));
            list.extend(latent.references.iter().map(|cloud| {
                series(&cloud.name, &colour(&cloud.name), Mark::Diamonds, cloud.points.clone())
            }));
            Panel {
                title: title.to_owned(),
                x: axis(0, "first component"),
                y: axis(1, "second component"),
                series: list,
            }
        };
    let panels = [
        panel("islands: 3000 counts, 30 energies", &latent.islands),
        panel("a sparse scan: 1000 counts, 12 energies, offset 0.1 eV", &latent.sparse),
    ];
    picture("latent.svg", "Latent space (diamonds: the references)", &panels, 2, [520.0, 460.0])
}
