//! Dose and beam damage: what the beam has deposited in a sample, what that does to it, and when to tell the operator.
//!
//! - [`Alert`]: what is told. It is keyed by scan, rule and episode, so that a replay or a restart does not tell it twice.
//!
//! Everything here is pure: no clock, no file, no socket. Doses are in MGy where the flux is known; where it is not they are
//! relative, and say so.

mod alert;
mod cause;
mod episodes;
mod finding;
mod groups;
mod history;
mod kinetics;
mod monitor;
mod normal;
mod sentinels;
mod series;
mod template;
mod trend;

pub use alert::{Alert, AlertKey, AlertState, Level, Verdict};
pub use cause::{Cause, Change, Circumstances, dose_and_time, is_operando};
pub use episodes::{Episodes, Heights, Step};
pub use finding::{DoseUnit, Finding, Forecast};
pub use groups::{Group, Groups, Of};
pub use history::{Estimate, GroupRecord, History, Labels, ScanRecord};
pub use kinetics::{Interval, Kinetics, Law};
pub use monitor::{Look, Monitor, MonitorSettings};
pub use sentinels::{Images, Mean, Sentinels, Signal, Visit};
pub use series::{Plateau, Reading, Series};
pub use template::{Template, Templates};
pub use trend::{Trend, Vigilance};
