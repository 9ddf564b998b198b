//! The kept table: what the maps of each scenario were worth, as a TOML file, and how a new run compares with it.
//!
//! One table per scenario, named like it; a figure that is missing does not exist for that scenario (nothing was
//! classified, say) and is not compared. A scenario that is in the run and not in the file, or a file that is no such
//! TOML, is an error that says so.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde::{Deserialize, Serialize};

use super::ScenarioRow;

/// Kept figures of one scenario.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Kept {
    /// See [`super::Score::accuracy`].
    pub accuracy: Option<f64>,
    /// See [`super::Score::right_of_classified`].
    pub right: Option<f64>,
    /// See [`super::Score::coverage`].
    pub coverage: Option<f64>,
    /// See [`super::Score::calibration`].
    pub calibration: Option<f64>,
    /// See [`super::Score::false_phases`].
    pub false_phases: Option<f64>,
}

/// By how much a figure may be worse than the kept one: other processors and libraries round differently.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Tolerance {
    /// Of accuracy, of the right among the classified, and of false phases.
    pub share: f64,
    /// Of coverage.
    pub coverage: f64,
    /// Of the calibration error.
    pub calibration: f64,
}

impl Default for Tolerance {
    fn default() -> Self {
        Self { share: 0.01, coverage: 0.03, calibration: 0.015 }
    }
}

/// A figure that is worse than the kept one.
#[derive(Clone, Debug, PartialEq)]
pub struct Shortfall {
    /// The scenario.
    pub scenario: String,
    /// Which figure.
    pub figure: &'static str,
    /// What was kept.
    pub kept: f64,
    /// What it is now; NaN where there is none.
    pub now: f64,
}

impl std::fmt::Display for Shortfall {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {} was {:.4} and is {:.4}", self.scenario, self.figure, self.kept, self.now)
    }
}

/// Why a kept table cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ExpectedError {
    /// It is no TOML, or has other keys.
    #[error("the kept table: {0}")]
    Toml(#[from] toml::de::Error),
    /// A scenario has no entry.
    #[error("the kept table has no scenario {0}; write it anew with --out")]
    Missing(String),
}

/// The kept figures of all scenarios.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Expected {
    scenarios: BTreeMap<String, Kept>,
}

impl Expected {
    /// Reads a kept table.
    ///
    /// # Errors
    /// Text that is no such TOML.
    pub fn parse(text: &str) -> Result<Self, ExpectedError> {
        Ok(toml::from_str(text)?)
    }

    /// What would be kept of a run.
    #[must_use]
    pub fn of(rows: &[ScenarioRow]) -> Self {
        Self { scenarios: rows.iter().map(|row| (row.name.clone(), kept(row))).collect() }
    }

    /// The kept figures of a scenario.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Kept> {
        self.scenarios.get(name)
    }

    /// The text of the file.
    #[must_use]
    pub fn to_toml(&self) -> String {
        let mut text =
            "# What the maps of each scenario are worth. Written by `phasewatch evaluate --scenario all \
                        --out DIR`,\n# compared by `--check`; docs/scenarios.md says what the figures mean.\n"
                .to_owned();
        for (name, kept) in &self.scenarios {
            _ = write!(text, "\n[{name}]\n");
            let figures = [
                ("accuracy", kept.accuracy),
                ("right", kept.right),
                ("coverage", kept.coverage),
                ("calibration", kept.calibration),
                ("false_phases", kept.false_phases),
            ];
            for (figure, value) in figures.into_iter().filter_map(|(figure, value)| Some((figure, value?))) {
                _ = writeln!(text, "{figure} = {value:.4}");
            }
        }
        text
    }

    /// Where a run is worse than what is kept, by more than the tolerance.
    ///
    /// # Errors
    /// A scenario that the table does not have.
    pub fn compare(
        &self,
        rows: &[ScenarioRow],
        tolerance: Tolerance,
    ) -> Result<Vec<Shortfall>, ExpectedError> {
        let mut shortfalls = Vec::new();
        for row in rows {
            let was = self.get(&row.name).ok_or_else(|| ExpectedError::Missing(row.name.clone()))?;
            let now = kept(row);
            let figures = [
                ("accuracy", was.accuracy, now.accuracy, 1.0, tolerance.share),
                ("right", was.right, now.right, 1.0, tolerance.share),
                ("coverage", was.coverage, now.coverage, 1.0, tolerance.coverage),
                ("calibration", was.calibration, now.calibration, -1.0, tolerance.calibration),
                ("false_phases", was.false_phases, now.false_phases, -1.0, tolerance.share),
            ];
            for (figure, was, now, sign, tolerance) in figures {
                let Some(was) = was else { continue };
                let now = now.unwrap_or(f64::NAN);
                // A figure that is gone is worse than any.
                let good = sign * (now - was) >= -tolerance;
                if !good {
                    shortfalls.push(Shortfall { scenario: row.name.clone(), figure, kept: was, now });
                }
            }
        }
        Ok(shortfalls)
    }
}

fn kept(row: &ScenarioRow) -> Kept {
    let finite = |value: f64| value.is_finite().then_some(value);
    let score = &row.score;
    Kept {
        accuracy: finite(score.accuracy()),
        right: finite(score.right_of_classified()),
        coverage: finite(score.coverage()),
        calibration: finite(score.calibration()),
        false_phases: finite(score.false_phases()),
    }
}
