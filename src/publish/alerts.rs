//! What lies between those who tell alerts, those who ask about them, and the desk that decides.
//!
//! [`AlertHand::tell`] takes an alert in and returns at once; clones share the inbox. HTTP reads what the desk showed last
//! ([`AlertHand::shown`]) and hands in what operators wish. One thread takes all of it out, in order.
//!
//! # Bounds
//! At most [`MOST_ALERTS`] alerts wait: the same one at the same level takes the place of the one before, and else the oldest of the
//! least urgent gives way, counted. At most [`MOST_WISHES`] wishes wait; another is refused.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Instant;

use chrono::{DateTime, Utc};
use tokio::sync::oneshot;

use crate::damage::desk::{AlertView, DeskError, Matcher, Outcome, Silence};
use crate::damage::{Alert, Level};
use crate::telemetry::names;

/// Most alerts that wait for the desk.
pub const MOST_ALERTS: usize = 1024;
/// Most wishes of operators that wait for the desk.
pub const MOST_WISHES: usize = 64;

/// What an operator wishes.
#[derive(Clone, Debug, PartialEq)]
pub enum Wish {
    /// An alert was seen.
    Acknowledge {
        /// Which.
        id: String,
        /// By whom.
        by: String,
        /// What they say.
        note: Option<String>,
    },
    /// Not to be told of something.
    Silence {
        /// Of what.
        what: Matcher,
        /// Until when.
        until: Option<DateTime<Utc>>,
        /// Who wishes it.
        by: String,
        /// Why.
        note: Option<String>,
    },
    /// To be told again.
    Lift {
        /// The number of the silence.
        number: u32,
    },
    /// An alert that tests the outputs.
    Test {
        /// How urgent it shall look.
        level: Level,
        /// Tells it from other tests; the same one is told once.
        name: String,
    },
}

/// What became of a wish.
#[derive(Clone, Debug, PartialEq)]
pub enum Granted {
    /// The alert as it is now.
    Alert(Box<AlertView>),
    /// The silence.
    Silence(Silence),
}

/// Where the answer to a wish goes.
pub type Reply = oneshot::Sender<Result<Granted, DeskError>>;

/// What the desk shows.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Shown {
    /// All alerts, the open ones first.
    pub alerts: Vec<AlertView>,
    /// All silences.
    pub silences: Vec<Silence>,
}

/// What has come for the desk.
#[derive(Debug, Default)]
pub struct Taken {
    /// Alerts, in order.
    pub alerts: Vec<Alert>,
    /// Wishes, in order.
    pub wishes: Vec<(Wish, Reply)>,
    /// How deliveries went, with the names of the outputs.
    pub reports: Vec<(String, Outcome)>,
    /// Whether nothing more is going to come.
    pub closed: bool,
}

/// Tells alerts, and asks about them. Clones share one inbox; no call waits.
#[derive(Clone, Debug, Default)]
pub struct AlertHand {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    inbox: Mutex<Inbox>,
    filled: Condvar,
    shown: RwLock<Arc<Shown>>,
}

#[derive(Debug, Default)]
struct Inbox {
    alerts: VecDeque<Alert>,
    wishes: Vec<(Wish, Reply)>,
    /// One per output at most, since one delivery is under way for each.
    reports: Vec<(String, Outcome)>,
    closed: bool,
}

impl AlertHand {
    /// Hands an alert over. Returns at once, from any thread. Say the same alert as often as its numbers change: it is told once.
    pub fn tell(&self, alert: Alert) {
        let mut inbox = self.inbox();
        if inbox.closed {
            return;
        }
        let same = |held: &&mut Alert| {
            held.key == alert.key && held.level == alert.level && held.state == alert.state
        };
        if let Some(held) = inbox.alerts.iter_mut().find(same) {
            *held = alert;
        } else {
            inbox.alerts.push_back(alert);
            if inbox.alerts.len() > MOST_ALERTS {
                inbox.drop_least();
            }
        }
        metrics::gauge!(names::ALERTS_WAITING).set(inbox.alerts.len() as f64);
        drop(inbox);
        self.shared.filled.notify_one();
    }

    /// Hands a wish over; the answer comes when it is done. `None` where too many wait, or the daemon stops.
    #[must_use]
    pub fn wish(&self, wish: Wish) -> Option<oneshot::Receiver<Result<Granted, DeskError>>> {
        let mut inbox = self.inbox();
        if inbox.closed || inbox.wishes.len() >= MOST_WISHES {
            return None;
        }
        let (reply, answer) = oneshot::channel();
        inbox.wishes.push((wish, reply));
        drop(inbox);
        self.shared.filled.notify_one();
        Some(answer)
    }

    /// Says how a delivery to `output` went.
    pub fn report(&self, output: &str, outcome: Outcome) {
        self.inbox().reports.push((output.to_owned(), outcome));
        self.shared.filled.notify_one();
    }

    /// Says that nobody tells anything any more.
    pub fn close(&self) {
        self.inbox().closed = true;
        self.shared.filled.notify_one();
    }

    /// Takes out all that has come; waits for something until `deadline`.
    #[must_use]
    pub fn take(&self, deadline: Instant) -> Taken {
        let mut inbox = self.inbox();
        while inbox.is_empty() && !inbox.closed {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            let waited = self.shared.filled.wait_timeout(inbox, left);
            inbox = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        metrics::gauge!(names::ALERTS_WAITING).set(0.0);
        Taken {
            alerts: std::mem::take(&mut inbox.alerts).into(),
            wishes: std::mem::take(&mut inbox.wishes),
            reports: std::mem::take(&mut inbox.reports),
            closed: inbox.closed,
        }
    }

    /// Waits for a report, or for `deadline`, also once closed.
    pub fn wait_for_report(&self, deadline: Instant) {
        let mut inbox = self.inbox();
        while inbox.reports.is_empty() {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            let waited = self.shared.filled.wait_timeout(inbox, left);
            inbox = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Shows what there is now.
    pub fn show(&self, shown: Shown) {
        *self.shared.shown.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(shown);
    }

    /// What was shown last.
    #[must_use]
    pub fn shown(&self) -> Arc<Shown> {
        Arc::clone(&self.shared.shown.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn inbox(&self) -> MutexGuard<'_, Inbox> {
        self.shared.inbox.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inbox {
    fn is_empty(&self) -> bool {
        self.alerts.is_empty() && self.wishes.is_empty() && self.reports.is_empty()
    }

    /// Drops the oldest of the least urgent.
    fn drop_least(&mut self) {
        let least = self.alerts.iter().enumerate().min_by_key(|(place, alert)| (alert.level, *place));
        if let Some(place) = least.map(|(place, _)| place) {
            self.alerts.remove(place);
            metrics::counter!(names::ALERTS_DROPPED).increment(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::alerts::sample::test_alert;

    fn alert(name: &str, level: Level) -> Alert {
        test_alert(level, name, Utc::now())
    }

    fn taken(hand: &AlertHand) -> Vec<Alert> {
        hand.take(Instant::now()).alerts
    }

    #[test]
    fn newer_numbers_take_the_place_of_older_ones_and_no_level_is_lost() {
        let hand = AlertHand::default();
        for (level, text) in [(Level::Notice, "1"), (Level::Warning, "2"), (Level::Notice, "3")] {
            hand.tell(Alert { text: text.into(), ..alert("a", level) });
        }
        let texts: Vec<String> = taken(&hand).into_iter().map(|alert| alert.text).collect();
        assert_eq!(texts, ["3", "2"]);
    }

    #[test]
    fn the_least_urgent_gives_way_when_nobody_takes_anything_out() {
        let hand = AlertHand::default();
        hand.tell(alert("first", Level::Critical));
        for number in 0..2 * MOST_ALERTS {
            hand.clone().tell(alert(&number.to_string(), Level::Notice));
        }
        let held = taken(&hand);
        assert_eq!((held.len(), held[0].key.rule.as_str()), (MOST_ALERTS, "test/first"));
    }

    #[test]
    fn wishes_are_bounded_and_nothing_is_taken_once_closed() {
        let hand = AlertHand::default();
        let answers: Vec<_> =
            (0..MOST_WISHES).map(|_| hand.wish(Wish::Lift { number: 1 }).unwrap()).collect();
        assert!(hand.wish(Wish::Lift { number: 1 }).is_none());
        assert_eq!(hand.take(Instant::now()).wishes.len(), answers.len());
        hand.close();
        hand.tell(alert("a", Level::Notice));
        assert!(hand.wish(Wish::Lift { number: 1 }).is_none() && taken(&hand).is_empty());
        hand.report("chat", Outcome::Delivered);
        let taken = hand.take(Instant::now());
        assert!(taken.closed && taken.reports.len() == 1, "how deliveries went is of interest still");
    }
}
