//! What the findings of a map are worth: particles and boundaries of simulated scans, against what is known of them.
//!
//! Scans are drawn ([`draw`]) and measured in process, mapped and settled as the daemon does it, and each number is held
//! against the specimen. Whether an enrichment's interval holds can only be said where the enrichment is known: maps are drawn for that, with
//! the boundaries of simulated specimens and verdicts that are in doubt with known probabilities, in clusters ([`drawn`]). Kinetics are held against series of
//! scans of specimens with fronts, and without ([`series`]). Everything follows from one seed.

mod draw;
mod drawn;
mod measured;
mod report;
mod scan;
mod series;
mod series_report;

use rayon::prelude::*;
use serde::Serialize;

use super::EvaluationError;
use crate::classify::Recipe;

pub use draw::{Class, scenario};
pub use report::FindingsReport;
pub use scan::{ParticleScore, ScanScore, WidthScore};
pub use series::{FrontScore, NominalScore, SeriesClass, SeriesScore, SpeedScore};
pub use series_report::SeriesRow;

/// Scans that are examined side by side before progress is told.
const AHEAD: usize = 8;

/// What is drawn: so many of each class, and where everything random begins.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FindingsStudy {
    /// Scans, maps and series of each class.
    pub scans: usize,
    /// The seed.
    pub seed: u64,
    /// Only the classes whose names hold this.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub case: Option<String>,
}

/// What came of a study.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct FindingsScores {
    /// Of scans and maps, in the order of the classes.
    pub scans: Vec<ScanScore>,
    /// Of series, in the order of the classes.
    pub series: Vec<SeriesScore>,
}

/// Draws everything and scores it, in the order of the classes. `progress` is told how many of how many are done.
///
/// # Errors
/// References that the scans cannot be simulated with.
pub fn study(
    study: &FindingsStudy,
    recipe: &Recipe,
    progress: &mut dyn FnMut(usize, usize),
) -> Result<FindingsScores, EvaluationError> {
    let is_wanted = |name: &str| study.case.as_ref().is_none_or(|case| name.contains(case.as_str()));
    let numbered = |class| (0..study.scans).map(move |number| (class, number));
    let scans: Vec<(Class, usize)> =
        Class::ALL.into_iter().filter(|class| is_wanted(class.name())).flat_map(numbered).collect();
    let numbered = |class| (0..study.scans).map(move |number| (class, number));
    let series: Vec<(SeriesClass, usize)> =
        SeriesClass::ALL.into_iter().filter(|class| is_wanted(class.name())).flat_map(numbered).collect();
    let mut scores = FindingsScores::default();
    let all = scans.len() + series.len();
    progress(0, all);
    for some in scans.chunks(AHEAD) {
        let score = |&(class, number): &(Class, usize)| scan::examine(class, number, study.seed, recipe);
        let done: Result<Vec<ScanScore>, EvaluationError> = some.par_iter().map(score).collect();
        scores.scans.extend(done?);
        progress(scores.scans.len(), all);
    }
    for some in series.chunks(AHEAD) {
        let score =
            |&(class, number): &(SeriesClass, usize)| series::examine(class, number, study.seed, recipe);
        let done: Result<Vec<SeriesScore>, EvaluationError> = some.par_iter().map(score).collect();
        scores.series.extend(done?);
        progress(scores.scans.len() + scores.series.len(), all);
    }
    Ok(scores)
}

#[cfg(test)]
mod tests;
