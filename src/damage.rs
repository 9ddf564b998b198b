//! Dose and beam damage: what the beam has deposited in a sample, what that does to it, and when to tell the operator.
//!
//! - [`Material`]: what a sample is made of, and its mass absorption; [`Fluence`]: photons per exposure.
//! - [`DoseModel`]: the dose of one exposure at each energy; [`Layer`]: the dose of a scan by place, on a [`Lattice`].
//! - [`Alert`]: what is told. It is keyed by scan, rule and episode, so that a replay or a restart does not tell it twice.
//!
//! - [`Ledger`]: what the scans of a region have deposited, on disk; [`Record`]: one layer of that, as a file.
//!
//! Everything here is pure but ledger and record, which read and write files: no clock, no socket. Doses are in MGy where the flux is known; where it is not they are
//! relative, and say so.

mod alert;
mod deposit;
mod fluence;
mod lattice;
mod ledger;
mod material;
mod model;
mod reckoned;
mod record;
mod settings;

pub use crate::classify::{DoseKind, DoseNumbers, DoseSummary};
pub use alert::{Alert, AlertKey, AlertState, Level, Verdict};
pub use deposit::{DoseCourse, Exposed, Layer, measured_order};
pub use fluence::{Fluence, FluxSource, NOMINAL_PH_PER_S, light};
pub use lattice::{Lattice, resample, unit_um};
pub use ledger::{Ledger, Prior, Question, RegionDose};
pub use material::{LOWEST_EV, Material, MaterialError};
pub use model::{DoseModel, DoseSchedule, NOMINAL_CM2_PER_G, NoDose};
pub use reckoned::Reckoned;
pub use record::{FORMAT as DOSE_FORMAT, Header, Record, RecordError, Region, ScanRef};
pub use settings::{DoseDepth, DoseSettings};
