//! What the findings of a map are worth: particles and boundaries of simulated scans, against what is known of them.
//!
//! Scans are drawn ([`draw`]) and measured in process, mapped and settled as the daemon does it, and each number is held
//! against the specimen. Whether an enrichment's interval holds can only be said where the enrichment is known: maps are drawn for that, with
//! the boundaries of simulated specimens and verdicts that are in doubt with known probabilities, in clusters ([`drawn`]). Everything follows from one seed.

mod draw;
mod drawn;
mod report;
mod scan;

use rayon::prelude::*;
use serde::Serialize;

use super::EvaluationError;
use crate::classify::Recipe;

pub use draw::{Class, scenario};
pub use report::FindingsReport;
pub use scan::{ParticleScore, ScanScore, WidthScore};

/// Scans that are examined side by side before progress is told.
const AHEAD: usize = 8;

/// What is drawn: so many of each class, and where everything random begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct FindingsStudy {
    /// Scans and maps of each class.
    pub scans: usize,
    /// The seed.
    pub seed: u64,
}

/// Draws everything and scores it, in the order of the classes. `progress` is told how many of how many are done.
///
/// # Errors
/// References that the scans cannot be simulated with.
pub fn study(
    study: &FindingsStudy,
    recipe: &Recipe,
    progress: &mut dyn FnMut(usize, usize),
) -> Result<Vec<ScanScore>, EvaluationError> {
    let all: Vec<(Class, usize)> = Class::ALL
        .into_iter()
        .flat_map(|class| (0..study.scans).map(move |number| (class, number)))
        .collect();
    let mut scores = Vec::with_capacity(all.len());
    progress(0, all.len());
    for some in all.chunks(AHEAD) {
        let score = |&(class, number): &(Class, usize)| scan::examine(class, number, study.seed, recipe);
        let done: Result<Vec<ScanScore>, EvaluationError> = some.par_iter().map(score).collect();
        scores.extend(done?);
        progress(scores.len(), all.len());
    }
    Ok(scores)
}

#[cfg(test)]
mod tests;
