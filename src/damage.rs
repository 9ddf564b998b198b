//! Dose and beam damage: what the beam has deposited in a sample, what that does to it, and when to tell the operator.
//!
//! - [`Material`]: what a sample is made of, and its mass absorption; [`Fluence`]: photons per exposure.
//! - [`DoseModel`]: the dose of one exposure at each energy; [`Layer`]: the dose of a scan by place, on a [`Lattice`].
//! - [`Sentinels`] and [`Images`]: energies that a scan repeats, read over [`Groups`] of pixels; [`History`]: scans of one place, one after
//!   the other. Both give [`Series`] of readings.
//! - [`Trend`] and [`Kinetics`]: whether a series changes with the dose, how fast, and what will be lost when; together a [`Finding`].
//! - [`Contrast`]: places of one field that had different doses before, compared.
//! - [`Cause`]: the beam, the sample itself, or the instrument.
//! - [`Monitor`]: all of that for a running scan, with [`Episodes`] so that nothing flickers.
//! - [`Alert`]: what is told. It is keyed by scan, rule and episode, so that a replay or a restart does not tell it twice.
//! - [`Ledger`]: what the scans of a region have deposited, on disk; [`Record`]: one layer of that, as a file.
//! - [`PlannedDose`]: what a plan will deposit, before it is measured.
//! - [`desk`]: which of what is heard is told, to whom, and what operators say of it.
//!
//! Everything here is pure but ledger and record, which read and write files: no clock, no socket. Doses are in MGy where the
//! flux is known; where it is not they are relative, and say so.

mod across;
mod alert;
mod calm;
mod cause;
mod contrast;
mod deposit;
pub mod desk;
mod episodes;
mod finding;
mod fluence;
mod groups;
mod history;
mod kinetics;
mod lattice;
mod ledger;
mod material;
mod model;
mod monitor;
mod normal;
mod planned;
mod reads;
mod reckoned;
mod record;
mod report;
mod sentinels;
mod series;
mod settings;
mod shares;
mod still;
mod telling;
mod template;
mod trend;

pub use crate::classify::{DoseKind, DoseNumbers, DoseSummary};
pub use alert::{Alert, AlertKey, AlertState, Level, Verdict};
pub use cause::{Cause, Change, Circumstances, dose_and_time, is_operando};
pub use contrast::{ByPlace, Contrast, Speaks};
pub use deposit::{DoseCourse, Exposed, Layer, measured_order};
pub use episodes::{Episodes, Heights, Step};
pub use finding::{DoseUnit, Finding, Forecast};
pub use fluence::{Fluence, FluxSource, NOMINAL_PH_PER_S, light};
pub(crate) use groups::components;
pub use groups::{Group, Groups, Of};
pub use history::{Estimate, GroupRecord, History, Labels, ScanRecord};
pub use kinetics::{Interval, Kinetics, Law};
pub use lattice::{Lattice, resample, unit_um};
pub use ledger::{Ledger, Prior, Question, RegionDose};
pub use material::{LOWEST_EV, Material, MaterialError};
pub use model::{DoseModel, DoseSchedule, NOMINAL_CM2_PER_G, NoDose};
pub use monitor::{Look, Monitor};
pub use planned::{Depths, Outline, PlannedDose, exposure_s, lost, moves_s, spot_warning};
pub use reckoned::Reckoned;
pub use record::{FORMAT as DOSE_FORMAT, Header, Record, RecordError, Region, ScanRef};
pub use report::{DamageReport, REPORT_FORMAT};
pub use sentinels::{Images, Mean, Sentinels, Signal, TakenOff, Visit};
pub use series::{Plateau, Reading, Series};
pub use settings::{DoseDepth, DoseSettings};
pub(crate) use shares::{BLOCK, Belief, MIXED, logit, shares};
pub use telling::MonitorSettings;
pub use template::{InReference, Template, Templates};
pub use trend::{Trend, Vigilance};
