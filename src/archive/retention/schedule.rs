//! When the rules are looked at: at the start, then once a day.

use std::time::{Duration, Instant};

const DAY: Duration = Duration::from_secs(24 * 3600);

/// Once at the start, then daily; by a clock that does not jump.
#[derive(Clone, Copy, Debug, Default)]
pub struct Daily {
    last: Option<Instant>,
}

impl Daily {
    /// How long to wait at `now`; nothing the first time.
    #[must_use]
    pub fn wait(&self, now: Instant) -> Duration {
        self.last.map_or(Duration::ZERO, |last| (last + DAY).saturating_duration_since(now))
    }

    /// It was done, beginning at `now`.
    pub fn begun(&mut self, now: Instant) {
        self.last = Some(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn at_once_and_then_a_day_later() {
        let start = Instant::now();
        let mut daily = Daily::default();
        assert_eq!(daily.wait(start), Duration::ZERO);
        daily.begun(start);
        assert_eq!(daily.wait(start + DAY / 4), 3 * DAY / 4);
        assert_eq!(
            daily.wait(start + 2 * DAY),
            Duration::ZERO,
            "a day that was slept through is made up for"
        );
    }
}
