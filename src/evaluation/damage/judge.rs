//! Who looks at a scan for damage, and what is to be said.

use chrono::{DateTime, Utc};

use crate::classify::{DensityView, PhaseMap};
use crate::damage::{Alert, Interval};
use crate::reference::ReferenceSet;
use crate::stack::Stack;

/// A scan as it stands when a judge looks at it.
#[derive(Clone, Copy, Debug)]
pub struct Look<'a> {
    /// What was measured so far.
    pub stack: &'a Stack,
    /// Its newest map.
    pub map: &'a PhaseMap,
    /// The optical densities that the map was made of.
    pub view: &'a DensityView<'a>,
    /// The references.
    pub references: &'a ReferenceSet,
    /// Of each image whether it was registered as well as it can be.
    pub is_in_place: &'a [bool],
    /// Accumulated dose at the middle of each image of the plan, MGy.
    pub dose_mgy: &'a [f64],
    /// Time from the start of the scan to the middle of each image of the plan, s.
    pub time_s: &'a [f64],
    /// Now.
    pub now: DateTime<Utc>,
    /// Whether the scan is over and the map is the settled one.
    pub over: bool,
}

/// What is said of a group of pixels.
#[derive(Clone, Debug, PartialEq)]
pub struct Estimate {
    /// Of which pixels: `field`, `phase na2.0`.
    pub of: String,
    /// Share of its white line that is lost per MGy at the start of the scan; negative where it grows.
    pub initial_rate_per_mgy: Option<Interval>,
    /// Critical dose, MGy, where one is claimed.
    pub critical_dose_mgy: Option<Interval>,
    /// The same, where it is known what all ends as; in the end.
    pub known_plateau_mgy: Option<Interval>,
}

/// What a judge says.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Opinion {
    /// What an operator would be told: new alerts, and those that have changed. What was raised before and is not told again still
    /// holds.
    pub alerts: Vec<Alert>,
    /// What is known of rates and critical doses now.
    pub estimates: Vec<Estimate>,
}

/// Looks at one scan as it grows.
pub trait Judge {
    /// Looks at it as it stands now.
    fn look(&mut self, look: &Look<'_>) -> Opinion;
}

impl<F: FnMut(&Look<'_>) -> Opinion> Judge for F {
    fn look(&mut self, look: &Look<'_>) -> Opinion {
        self(look)
    }
}
