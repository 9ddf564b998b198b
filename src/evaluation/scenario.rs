//! The regression table of the project: every scenario of the simulator, through the stages of the daemon, against
//! the truth.
//!
//! A scenario ([`crate::simulate::Scenario`]) is simulated in process, for some seeds; the pipeline makes its settled
//! map with its settings, and Pearson alone judges the same pixels, with everything that was corrected and with
//! nothing corrected. What is scored, and how, is in [`score`]; what is kept of it and compared is in [`expected`].
//! Everything follows from the seeds.

mod expected;
mod run;
mod score;
mod table;

pub use expected::{Expected, ExpectedError, Shortfall, Tolerance};
pub use run::{ScenarioJob, ScenarioRow, scenarios};
pub use score::{Score, THIN_NM};
pub use table::scenario_markdown;

#[cfg(test)]
mod tests;
