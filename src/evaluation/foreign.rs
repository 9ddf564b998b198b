//! Foreign matter: how well what is in no reference is told from what is.

use serde::Serialize;

use super::EvaluationError;
use super::draw::{Conditions, Drawer, ScanDraw, Truth};
use super::metrics::{Roc, ratio};
use super::subject::{Readings, Subject};
use crate::classify::Status;
use crate::model::Metadata;

/// Points of a curve in the report.
const CURVE: usize = 40;
/// False positive rate at which hits are told.
const ALARMS: f64 = 0.05;

/// Foreign against known pixels of one cell.
#[derive(Clone, Debug, Serialize)]
pub struct ForeignRow {
    /// How the scans were drawn.
    pub conditions: Conditions,
    /// Foreign pixels.
    pub foreign: usize,
    /// Known pixels.
    pub known: usize,
    /// Share of the foreign pixels called unknown.
    pub unknown_found: f64,
    /// Share of the known pixels called unknown.
    pub unknown_false: f64,
    /// Share of the foreign pixels called one phase.
    pub classified: f64,
    /// Share of the foreign pixels called background.
    pub background: f64,
    /// How well each score tells them apart.
    pub scores: Vec<ScoreRow>,
}

/// One score.
#[derive(Clone, Debug, Serialize)]
pub struct ScoreRow {
    /// What it is made of.
    pub score: &'static str,
    /// Area under the receiver operating characteristic.
    pub auc: f64,
    /// Foreign pixels found where one known pixel in twenty is a false alarm.
    pub found_at_5: f64,
    /// False and true positive rate.
    pub roc: Vec<[f64; 2]>,
}

/// The scores, all higher for the foreign.
const SCORES: [&str; 6] = [
    "fit_chi2",
    "1 - correlation",
    "fit_chi2 · (1 - correlation)",
    "1 - confidence",
    "posterior of other:*",
    "gmvae alone: posterior of other:*",
];

/// What a cell adds up over its scans; of two, known and foreign pixels.
#[derive(Default)]
struct Tally {
    scores: [Vec<(f64, bool)>; SCORES.len()],
    total: [usize; 2],
    unknown: [usize; 2],
    classified: usize,
    background: usize,
}

impl Tally {
    fn add(&mut self, scan: &ScanDraw, readings: &Readings) {
        let map = &readings.map;
        let names = &map.origin.clusters;
        let clusters = names.len();
        let others: Vec<usize> =
            (0..clusters).filter(|&c| Metadata::is_free(&names[c]) && names[c] != "mixture").collect();
        let sum = |all: &[f32], row: usize| {
            let row = all.get(row * clusters..(row + 1) * clusters).filter(|row| !row.is_empty());
            row.map_or(f64::NAN, |row| others.iter().map(|&c| f64::from(row[c])).sum::<f64>())
        };
        for (index, &pixel) in readings.pixels.iter().enumerate() {
            let foreign = scan.truth[pixel] == Truth::Foreign;
            self.total[usize::from(foreign)] += 1;
            self.unknown[usize::from(foreign)] += usize::from(map.status[pixel] == Status::Unknown);
            self.classified += usize::from(foreign && map.status[pixel] == Status::Classified);
            self.background += usize::from(foreign && map.status[pixel] == Status::Background);
            let (chi2, r) = (f64::from(map.fit_chi2[pixel]), f64::from(map.correlation[pixel]));
            let alone = readings.posteriors.as_ref().map_or(f64::NAN, |all| sum(all, index));
            let values = [
                chi2,
                1.0 - r,
                chi2 * (1.0 - r),
                1.0 - f64::from(map.confidence[pixel]),
                sum(&map.posterior, pixel),
                alone,
            ];
            self.scores.iter_mut().zip(values).for_each(|(list, value)| list.push((value, foreign)));
        }
    }
}

/// Measures one cell.
pub(super) fn measure(
    subject: &mut Subject,
    drawer: &Drawer<'_>,
    conditions: Conditions,
    seeds: &[u64],
    tick: &mut dyn FnMut(),
) -> Result<ForeignRow, EvaluationError> {
    let mut tally = Tally::default();
    for &seed in seeds {
        let scan = drawer.draw(&conditions, seed)?;
        tally.add(&scan, &subject.read(&scan, true)?);
        tick();
    }
    let [known, foreign] = tally.total;
    let rows = SCORES.into_iter().zip(&tally.scores);
    let rows = rows.filter(|(_, list)| list.iter().any(|(score, _)| !score.is_nan()));
    Ok(ForeignRow {
        conditions,
        foreign,
        known,
        unknown_found: ratio(tally.unknown[1], foreign),
        unknown_false: ratio(tally.unknown[0], known),
        classified: ratio(tally.classified, foreign),
        background: ratio(tally.background, foreign),
        scores: rows
            .map(|(score, list)| {
                let roc = Roc::new(list);
                ScoreRow { score, auc: roc.auc(), found_at_5: roc.hits_at(ALARMS), roc: roc.thinned(CURVE) }
            })
            .collect(),
    })
}
