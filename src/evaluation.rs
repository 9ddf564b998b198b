//! The measuring instrument: what the maps are worth on whole scans with known answers, against the methods in use.
//!
//! Scans are drawn from the references ([`ScanDraw`]: particles, domains, empty field, Poisson counts, one energy offset per scan), the
//! pipeline makes its map of each as the daemon would, and Pearson, fits and the model alone judge the same pixels. Nothing that is
//! scored here was seen in training. Still it comes from references; a recorded stack is the harder test. For `phasewatch train` there is
//! also a quick table of single spectra. docs/evaluation.md says what the figures mean.

mod baseline;
mod beam;
mod cells;
mod chart;
pub mod damage;
mod draw;
mod drift;
mod field;
pub mod findings;
mod foreign;
mod foreign_curve;
pub mod halving;
mod latent;
mod methods;
pub mod metrics;
mod nonnegative;
mod offsets;
mod pairs;
mod plots;
mod recorded;
mod report;
mod scenario;
mod study;
mod subject;
mod table;
mod targets;

pub use beam::{BeamReport, BeamRow, LineRow, Worth, beam};
pub use cells::{CellRow, MethodScore, PipelineScore, RIGHT, grid};
pub use draw::{Conditions, Drawer, Filling, ScanDraw, Truth};
pub use drift::{DriftReport, DriftRow, DriftStudy, drift, recorded_drift};
pub use foreign::{ForeignRow, ScoreRow};
pub use latent::{Cloud, Latent, latent};
pub use offsets::OffsetRow;
pub use pairs::{MixtureCell, PairRow};
pub use plots::{Picture, pictures};
pub use recorded::{RecordedMethod, RecordedReport, RecordedRow, recorded};
pub use report::Report;
pub use scenario::{
    Expected, ExpectedError, ScenarioJob, ScenarioRow, Score, Shortfall, THIN_NM, Tolerance,
    scenario_markdown, scenarios,
};
pub use study::{Study, StudyPlan, study};
pub use subject::{METHODS, PIPELINE, Subject};
pub use table::{Evaluation, MixtureRow, PhaseRow, evaluate};
pub use targets::{Target, name_of, of_recorded, of_study};

/// Why there is no evaluation.
#[derive(Debug, thiserror::Error)]
pub enum EvaluationError {
    /// References that cannot be drawn from.
    #[error(transparent)]
    References(#[from] crate::gmvae::TrainError),
    /// A model that does not run.
    #[error(transparent)]
    Model(#[from] crate::model::ModelError),
    /// A model that failed on the way.
    #[error("the model failed: {0}")]
    Engine(String),
    /// Energies that are no range.
    #[error("energies from {0} to {1} eV are no range of at least 1 eV")]
    Range(f64, f64),
    /// A recorded stack that cannot be scored.
    #[error("{0}")]
    Recording(String),
    /// An axis that does not meet the references.
    #[error("{0}")]
    Axis(#[from] crate::model::AxisError),
    /// A plan that breaks a rule, such as an energy below 0.
    #[error("a drawn scan: {0}")]
    Plan(#[from] crate::scan::PlanError),
    /// A scenario that cannot be simulated.
    #[error(transparent)]
    Simulation(#[from] crate::simulate::SimulationError),
    /// Frames that cannot be summed.
    #[error("a simulated scan: {0}")]
    Detector(#[from] crate::detector::DetectorError),
    /// Values that do not fit their plan.
    #[error("a drawn scan: {0}")]
    Stack(#[from] crate::stack::StackError),
}

#[cfg(test)]
mod tests;
