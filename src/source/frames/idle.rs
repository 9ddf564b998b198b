//! Silence: when to tell of it, and when to try a fresh connection. Pure; the time is passed in.

use std::time::{Duration, Instant};

/// Longer silences are as good as this one; adding `Duration::MAX` to an instant would panic.
const LONGEST: Duration = Duration::from_secs(10 * 365 * 86_400);

/// Watches the time since the last message.
#[derive(Debug)]
pub(super) struct IdleClock {
    idle_after: Duration,
    redial_after: Option<Duration>,
    since: Instant,
    told: bool,
    redialled: Instant,
}

/// What is due.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Due {
    /// To tell of the silence that began then.
    Tell(Instant),
    /// To try a fresh connection.
    Redial,
}

impl IdleClock {
    pub(super) fn new(idle_after: Duration, redial_after: Option<Duration>, now: Instant) -> Self {
        Self {
            idle_after: idle_after.min(LONGEST),
            redial_after: redial_after.map(|after| after.min(LONGEST)),
            since: now,
            told: false,
            redialled: now,
        }
    }

    /// A message came. True when a silence that was told of ends, so that the timer has to be set anew; otherwise the timer
    /// may go off early, finds nothing due, and is set then: no work per message.
    pub(super) fn heard(&mut self, now: Instant) -> bool {
        self.since = now;
        std::mem::take(&mut self.told)
    }

    /// A connection was made or tried.
    pub(super) fn dialled(&mut self, now: Instant) {
        self.redialled = now;
    }

    /// What is due now; to be asked again until nothing is.
    pub(super) fn due(&mut self, now: Instant) -> Option<Due> {
        if !self.told && now >= self.since + self.idle_after {
            self.told = true;
            return Some(Due::Tell(self.since));
        }
        if self.redial_at().is_some_and(|at| now >= at) {
            self.redialled = now;
            return Some(Due::Redial);
        }
        None
    }

    /// When to ask next; `None` while only a message can change anything.
    pub(super) fn next(&self) -> Option<Instant> {
        let tell = (!self.told).then(|| self.since + self.idle_after);
        [tell, self.redial_at()].into_iter().flatten().min()
    }

    fn redial_at(&self) -> Option<Instant> {
        self.redial_after.map(|after| self.since.max(self.redialled) + after)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn silence_is_told_once_and_again_after_a_message() {
        let start = Instant::now();
        let mut clock = IdleClock::new(10 * SECOND, None, start);
        assert_eq!(clock.next(), Some(start + 10 * SECOND));
        assert!(!clock.heard(start + 5 * SECOND), "nobody had been told");
        assert_eq!(clock.due(start + 10 * SECOND), None, "the timer went off early");
        assert_eq!(clock.next(), Some(start + 15 * SECOND));
        assert_eq!(clock.due(start + 15 * SECOND), Some(Due::Tell(start + 5 * SECOND)));
        assert_eq!(clock.due(start + 100 * SECOND), None);
        assert_eq!(clock.next(), None);
        assert!(clock.heard(start + 200 * SECOND));
        assert_eq!(clock.due(start + 210 * SECOND), Some(Due::Tell(start + 200 * SECOND)));
    }

    #[test]
    fn never_is_a_long_time_and_no_panic() {
        let start = Instant::now();
        let mut clock = IdleClock::new(Duration::MAX, Some(Duration::MAX), start);
        assert!(clock.next().is_some());
        assert_eq!(clock.due(start + SECOND), None);
    }

    #[test]
    fn a_fresh_connection_is_due_at_each_interval_of_silence() {
        let start = Instant::now();
        let mut clock = IdleClock::new(SECOND, Some(5 * SECOND), start);
        assert_eq!(clock.due(start + 5 * SECOND), Some(Due::Tell(start)));
        assert_eq!(clock.due(start + 5 * SECOND), Some(Due::Redial));
        assert_eq!(clock.due(start + 5 * SECOND), None);
        assert_eq!(clock.next(), Some(start + 10 * SECOND));
        clock.dialled(start + 6 * SECOND);
        assert_eq!(clock.due(start + 10 * SECOND), None);
        clock.heard(start + 9 * SECOND);
        assert_eq!(clock.next(), Some(start + 10 * SECOND), "of the silence, which comes first");
    }
}
