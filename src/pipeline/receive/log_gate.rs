//! At most one log line a second and cause, or as seldom as is asked for. Pure; the time is passed in.

use std::collections::HashMap;
use std::hash::Hash;
use std::time::{Duration, Instant};

const INTERVAL: Duration = Duration::from_secs(1);

/// Lets one line per cause and second through and counts the others. Causes are few and fixed.
#[derive(Debug)]
pub(super) struct LogGate<C> {
    passed: HashMap<C, (Instant, u64)>,
}

impl<C: Eq + Hash> LogGate<C> {
    pub(super) fn new() -> Self {
        Self { passed: HashMap::new() }
    }

    /// Whether to log now: then how many of this cause were kept back since the last line.
    pub(super) fn admit(&mut self, cause: C, now: Instant) -> Option<u64> {
        self.admit_after(INTERVAL, cause, now)
    }

    /// The same, with at least `interval` between two lines.
    pub(super) fn admit_after(&mut self, interval: Duration, cause: C, now: Instant) -> Option<u64> {
        match self.passed.get_mut(&cause) {
            Some((last, kept_back)) if now.saturating_duration_since(*last) < interval => {
                *kept_back += 1;
                None
            }
            Some((last, kept_back)) => {
                *last = now;
                Some(std::mem::take(kept_back))
            }
            None => {
                self.passed.insert(cause, (now, 0));
                Some(0)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_a_second_and_cause() {
        let start = Instant::now();
        let mut gate = LogGate::new();
        assert_eq!(gate.admit("a", start), Some(0));
        assert_eq!(gate.admit("a", start), None);
        assert_eq!(gate.admit("a", start + INTERVAL / 2), None);
        assert_eq!(gate.admit("b", start), Some(0));
        assert_eq!(gate.admit("a", start + INTERVAL), Some(2));
        assert_eq!(gate.admit("a", start + 2 * INTERVAL), Some(0));
        assert_eq!(gate.admit_after(5 * INTERVAL, "a", start + 6 * INTERVAL), None);
        assert_eq!(gate.admit_after(5 * INTERVAL, "a", start + 7 * INTERVAL), Some(1));
    }
}
