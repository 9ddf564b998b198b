//! What is wrong with the daemon right now, in words: the answer to "is it doing its job?".
//!
//! Each part of the daemon says under a name of its own what troubles it, and takes it back when that is over. `/readyz` and
//! the page show the list. A trouble is *grave* where measured values are at risk or nothing is mapped: then the daemon is
//! not ready. Everything else is told and leaves it ready. Clones share the list, which is bounded by the names there are.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};

/// The part that says that a thread hangs.
pub const STUCK: &str = "stuck";

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trouble {
    /// Who says so: `journal`, `archive`, `uploads`, …
    pub part: String,
    /// Whether values are at risk, or nothing is mapped.
    pub grave: bool,
    /// What is wrong, and what to do.
    pub what: String,
}

/// The list of troubles.
#[derive(Clone, Debug, Default)]
pub struct Health {
    troubles: Arc<Mutex<BTreeMap<&'static str, Trouble>>>,
}

impl Health {
    /// Says that `part` is in trouble; replaces what it said before. Returns whether it is news.
    pub fn trouble(&self, part: &'static str, grave: bool, what: impl Into<String>) -> bool {
        let trouble = Trouble { part: part.to_owned(), grave, what: what.into() };
        let mut troubles = self.troubles.lock().unwrap_or_else(PoisonError::into_inner);
        let before = troubles.insert(part, trouble);
        before.as_ref() != troubles.get(part)
    }

    /// Says that `part` is well. Returns whether it was in trouble before.
    pub fn well(&self, part: &'static str) -> bool {
        self.troubles.lock().unwrap_or_else(PoisonError::into_inner).remove(part).is_some()
    }

    /// All there is, by part.
    #[must_use]
    pub fn troubles(&self) -> Vec<Trouble> {
        self.troubles.lock().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trouble_stays_until_its_part_is_well_again() {
        let health = Health::default();
        assert!(health.trouble("journal", true, "disk full"));
        assert!(!health.trouble("journal", true, "disk full"), "no news");
        assert!(health.clone().trouble("journal", true, "still full"));
        assert_eq!(health.troubles().len(), 1);
        assert!(health.well("journal") && !health.well("journal"));
        assert!(health.troubles().is_empty());
    }
}
