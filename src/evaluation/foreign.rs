//! Foreign matter: how well what is in no reference is told from what is.

use serde::Serialize;

use super::EvaluationError;
use super::draw::{Conditions, Drawer, Truth};
use super::metrics::{Roc, ratio};
use super::subject::Subject;
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

/// Measures one cell.
pub(super) fn measure(
    subject: &mut Subject,
    drawer: &Drawer<'_>,
    conditions: Conditions,
    seeds: &[u64],
    tick: &mut dyn FnMut(),
) -> Result<ForeignRow, EvaluationError> {
    let mut scores: [Vec<(f64, bool)>; SCORES.len()] = Default::default();
    let (mut unknown, mut total) = ([0; 2], [0; 2]);
    let (mut classified, mut background) = (0, 0);
    for &seed in seeds {
        let scan = drawer.draw(&conditions, seed)?;
        let readings = subject.read(&scan, true)?;
        let map = &readings.map;
        let clusters = map.origin.clusters.len();
        let others: Vec<usize> = (0..clusters)
            .filter(|&c| Metadata::is_free(&map.origin.clusters[c]) && map.origin.clusters[c] != "mixture")
            .collect();
        let sum = |row: &[f32]| others.iter().map(|&c| f64::from(row[c])).sum::<f64>();
        for (index, &pixel) in readings.pixels.iter().enumerate() {
            let foreign = scan.truth[pixel] == Truth::Foreign;
            total[usize::from(foreign)] += 1;
            unknown[usize::from(foreign)] += usize::from(map.status[pixel] == Status::Unknown);
            classified += usize::from(foreign && map.status[pixel] == Status::Classified);
            background += usize::from(foreign && map.status[pixel] == Status::Background);
            let (chi2, r) = (f64::from(map.fit_chi2[pixel]), f64::from(map.correlation[pixel]));
            let published = if map.posterior.is_empty() {
                f64::NAN
            } else {
                sum(&map.posterior[pixel * clusters..(pixel + 1) * clusters])
            };
            let alone = readings
                .posteriors
                .as_ref()
                .map_or(f64::NAN, |all| sum(&all[index * clusters..(index + 1) * clusters]));
            let values =
                [chi2, 1.0 - r, chi2 * (1.0 - r), 1.0 - f64::from(map.confidence[pixel]), published, alone];
            scores.iter_mut().zip(values).for_each(|(list, value)| list.push((value, foreign)));
        }
        tick();
    }
    let rows = SCORES.into_iter().zip(&scores).filter(|(_, list)| list.iter().any(|(s, _)| !s.is_nan()));
    Ok(ForeignRow {
        conditions,
        foreign: total[1],
        known: total[0],
        unknown_found: ratio(unknown[1], total[1]),
        unknown_false: ratio(unknown[0], total[0]),
        classified: ratio(classified, total[1]),
        background: ratio(background, total[1]),
        scores: rows
            .map(|(score, list)| {
                let roc = Roc::new(list);
                ScoreRow { score, auc: roc.auc(), found_at_5: roc.hits_at(ALARMS), roc: roc.thinned(CURVE) }
            })
            .collect(),
    })
}
