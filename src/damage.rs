//! Dose and beam damage: what the beam has deposited in a sample, what that does to it, and when to tell the operator.
//!
//! - [`Alert`]: what is told. It is keyed by scan, rule and episode, so that a replay or a restart does not tell it twice.
//! - [`desk`]: which of what is heard is told, to whom, and what operators say of it.
//!
//! Everything here is pure: no clock, no file, no socket. Doses are in MGy where the flux is known; where it is not they are
//! relative, and say so.

mod alert;
pub mod desk;

pub use alert::{Alert, AlertKey, AlertState, Level, Verdict};
