//! What watching for beam damage is worth: scans that are simulated with known damage or none, and a judge who looks at each
//! while it grows.
//!
//! Scans are drawn ([`draw`]) and measured in process. As in the daemon, the live map is advanced and a generation made whenever a
//! visit of a sentinel is complete, and the judge is asked ([`Judge`]); once more at the end, with the settled map. What it said is held
//! against the truth of the simulator scan by scan ([`ScanRecord`]), and summed up ([`DamageReport`]): false alarms, how much had
//! happened when damage was found, whether rates and critical doses are right and their intervals hold, and what was said to
//! lie behind a change. Everything follows from one seed; scans do not depend on each other.

mod draw;
mod judge;
mod report;
mod scan;
mod summary;
mod watch;

use rayon::prelude::*;
use serde::Serialize;

use super::EvaluationError;
use crate::classify::Recipe;
use crate::scan::ScanPlan;

pub use draw::{Class, Draw, draw};
pub use judge::{Estimate, Judge, Look, Opinion};
pub use scan::{Asked, ScanRecord, Spoken, Verified};
pub use summary::{
    AlarmRow, CriticalRow, DamageReport, FoundRow, RateRow, ShareOf, VerdictRow, VisitRow, report,
};
pub use watch::Watch;

/// Scans that are examined side by side before progress is told.
const AHEAD: usize = 16;

/// What is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct DamageStudy {
    /// Scans without damage.
    pub undamaged: usize,
    /// Scans with damage.
    pub damaged: usize,
    /// Scans of samples that change by themselves and say so.
    pub evolving: usize,
    /// Scans with most of the damage done, whose sentinels are visited often.
    pub often: usize,
    /// Where everything random begins.
    pub seed: u64,
}

impl DamageStudy {
    /// So many scans without damage, three tenths as many with it, a tenth as many that change by themselves, and six in a hundred
    /// as many that are seen often.
    #[must_use]
    pub fn of(undamaged: usize, seed: u64) -> Self {
        let part = |percent: usize| (undamaged * percent).div_ceil(100);
        Self { undamaged, damaged: part(30), evolving: part(10), often: part(6), seed }
    }

    /// Number of all scans.
    #[must_use]
    pub fn scans(&self) -> usize {
        self.undamaged + self.damaged + self.evolving + self.often
    }

    /// Every scan: what it is, and its number among those.
    fn list(&self) -> Vec<(Class, usize)> {
        let classes = [
            (Class::Undamaged, self.undamaged),
            (Class::Damaged, self.damaged),
            (Class::Evolving, self.evolving),
            (Class::Often, self.often),
        ];
        classes.into_iter().flat_map(|(class, count)| (0..count).map(move |number| (class, number))).collect()
    }
}

/// Draws every scan of a study, has each judged by a judge of its own that `judge` makes for its plan, and tells what came of it, in the
/// order of the study. Maps are made by `recipe`, without a model. `progress` is told how many scans of how many are done.
///
/// # Errors
/// References that the scans cannot be simulated with.
pub fn study<J: Judge>(
    study: &DamageStudy,
    recipe: &Recipe,
    judge: impl Fn(&ScanPlan) -> J + Sync,
    progress: &mut dyn FnMut(usize, usize),
) -> Result<Vec<ScanRecord>, EvaluationError> {
    let scans = study.list();
    let mut records = Vec::with_capacity(scans.len());
    progress(0, scans.len());
    for some in scans.chunks(AHEAD) {
        let of_one = |&(class, number): &(Class, usize)| {
            let drawn = draw(&recipe.references, class, number, study.seed)?;
            scan::examine(&drawn, recipe, &judge)
        };
        let done: Result<Vec<ScanRecord>, EvaluationError> = some.par_iter().map(of_one).collect();
        records.extend(done?);
        progress(records.len(), scans.len());
    }
    Ok(records)
}

#[cfg(test)]
mod tests;
