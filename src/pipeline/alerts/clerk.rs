//! The thread that sits at the desk: it takes in what is told, reported and wished, writes down what the desk decides, and hands
//! out what is due.
//!
//! In each round what is told goes to ZeroMQ and the log first, which cannot wait; then it is written down; then outputs get their
//! parcels. So a disk that stalls holds back webhooks and commands, and nothing else.

use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use tokio::runtime::Handle;

use super::output::{Output, Slot};
use super::sample::test_alert;
use super::store::Store;
use super::{AlertHand, PART, Routes};
use crate::damage::Level;
use crate::damage::desk::{AlertView, Depth, Desk, DeskError, Outcome, Telling, Why};
use crate::publish::alerts::{Granted, Shown, Taken, Wish};
use crate::publish::message;
use crate::publish::zmq::{Policy, PublisherHandle};
use crate::telemetry::{ALERTS, Health, names};

/// Reminders and the ends of silences are looked for this often.
const LOOK: Duration = Duration::from_secs(1);
/// How long a stop waits for what may be delivered at once.
const LAST: Duration = Duration::from_secs(3);

/// The thread's state.
#[derive(Debug)]
pub struct Clerk {
    desk: Desk,
    store: Option<Store>,
    hand: AlertHand,
    outputs: Vec<Output>,
    slots: Vec<Slot>,
    public_url: String,
    publisher: PublisherHandle,
    health: Health,
    random: ChaCha8Rng,
    routes: Routes,
}

impl Clerk {
    pub(super) fn new(
        desk: Desk,
        store: Option<Store>,
        hand: AlertHand,
        outputs: Vec<Output>,
        public_url: String,
        publisher: PublisherHandle,
        health: Health,
    ) -> Self {
        let seed = Utc::now().timestamp_subsec_nanos().wrapping_add(std::process::id());
        let random = ChaCha8Rng::seed_from_u64(u64::from(seed));
        Self {
            desk,
            store,
            hand,
            outputs,
            slots: Vec::new(),
            public_url,
            publisher,
            health,
            random,
            routes: Routes::default(),
        }
    }

    /// Where other outputs and rules come from.
    #[must_use]
    pub fn routes(&self) -> Routes {
        self.routes.clone()
    }

    /// Works until the hand is closed and what may leave at once has left; outputs run on `runtime`.
    pub fn run(mut self, runtime: &Handle) {
        self.slots = super::start(std::mem::take(&mut self.outputs), &self.hand, runtime);
        self.show(Utc::now());
        let mut first = true;
        loop {
            let taken = self.hand.take(self.deadline(first));
            if let Some((rules, outputs)) = self.routes.next() {
                // What an output that is there no more has in hand is delivered all the same.
                self.desk.renew(rules);
                self.slots = super::start(outputs, &self.hand, runtime);
            }
            let closed = taken.closed;
            self.round(taken);
            first = false;
            if closed {
                break;
            }
        }
        let last = Instant::now() + LAST;
        while self.desk.is_busy() && Instant::now() < last {
            self.hand.wait_for_report(last);
            let taken = self.hand.take(Instant::now());
            self.round(taken);
        }
    }

    /// When to look again, whatever comes.
    fn deadline(&self, at_once: bool) -> Instant {
        let now = Instant::now();
        if at_once {
            return now;
        }
        let next = self.desk.next_delivery().map(|next| (next - Utc::now()).to_std().unwrap_or_default());
        now + next.map_or(LOOK, |next| next.min(LOOK))
    }

    fn round(&mut self, taken: Taken) {
        let now = Utc::now();
        for (output, outcome) in &taken.reports {
            count(output, outcome);
            self.desk.settle(output, outcome, now, self.random.random());
        }
        for alert in taken.alerts {
            self.desk.hear(alert, now);
        }
        let answers: Vec<_> =
            taken.wishes.into_iter().map(|(wish, reply)| (self.grant(wish, now), reply)).collect();
        self.desk.tick(now);
        self.tell();
        self.write_down();
        self.hand_out(now);
        self.show(now);
        for (answer, reply) in answers {
            // Whoever asked may have gone.
            drop(reply.send(answer));
        }
    }

    fn grant(&mut self, wish: Wish, now: DateTime<Utc>) -> Result<Granted, DeskError> {
        match wish {
            Wish::Acknowledge { id, by, note } => {
                tracing::info!(id, by, note, "alert acknowledged");
                self.desk.acknowledge(&id, by, note, now).map(|view| self.alert(view))
            }
            Wish::Silence { what, until, by, note } => {
                let silence = self.desk.silence(what, until, by, note, now)?;
                tracing::info!(
                    number = silence.number,
                    what = %silence.what,
                    until = silence.until.map(|until| until.to_rfc3339()),
                    by = silence.by,
                    "alerts silenced"
                );
                Ok(Granted::Silence(Box::new(silence)))
            }
            Wish::Lift { number } => {
                tracing::info!(number, "silence lifted");
                self.desk.lift(number).map(|silence| Granted::Silence(Box::new(silence)))
            }
            Wish::Test { level, name } => {
                let alert = test_alert(level, &name, now);
                let id = alert.key.id();
                self.desk.hear(alert, now);
                let view = self.desk.views(now).into_iter().find(|view| view.id == id);
                view.map(|view| self.alert(view)).ok_or(DeskError::NoAlert)
            }
        }
    }

    fn alert(&self, view: AlertView) -> Granted {
        Granted::Alert(Box::new(view.with_picture(&self.public_url)))
    }

    /// To ZeroMQ and the log.
    fn tell(&mut self) {
        for Telling { occasion, view } in self.desk.take_tellings() {
            let key = view.key(occasion);
            let view = view.with_picture(&self.public_url);
            self.publisher.send(&message::alert(view.header(occasion, &key)), Policy::Event);
            metrics::counter!(names::ALERTS_TOLD, "level" => view.level.name(), "occasion" => occasion.name())
                .increment(1);
            log(occasion.name(), &view);
        }
    }

    fn write_down(&mut self) {
        let Some(store) = &self.store else { return };
        let changes = self.desk.take_changes();
        match store.write(&changes) {
            Ok(()) => {
                if self.health.well("alerts kept") {
                    tracing::info!("alerts are kept again");
                }
            }
            Err(error) => {
                self.desk.put_back(&changes);
                let what = format!(
                    "what was told of alerts cannot be written down, and may be told twice after a restart: {error}"
                );
                if self.health.trouble("alerts kept", false, what.clone()) {
                    tracing::error!("{what}");
                }
            }
        }
    }

    fn hand_out(&mut self, now: DateTime<Utc>) {
        for slot in &self.slots {
            let Some(mut parcel) = self.desk.take_parcel(&slot.name, now) else { continue };
            parcel.view = parcel.view.with_picture(&self.public_url);
            if !slot.put(parcel) {
                let error = "its task is gone; this is a bug".to_owned();
                self.hand.report(&slot.name, Outcome::Failed { retry_after: None, error });
            }
        }
    }

    /// For HTTP, the metrics and `/readyz`.
    fn show(&mut self, now: DateTime<Utc>) {
        for gone in self.desk.take_given_up() {
            metrics::counter!(names::ALERT_GIVEN_UP, "output" => gone.output.clone(), "cause" => gone.why.name())
                .increment(1);
            let (output, key) = (gone.output, gone.key);
            match gone.why {
                Why::Age => tracing::error!(output, key, "an alert is not delivered: it was tried for a day"),
                Why::Refused => tracing::error!(output, key, "an alert is not delivered: it was refused"),
                Why::Failed => tracing::error!(output, key, "an alert's command failed; it is not run again"),
                Why::Overflow => tracing::error!(output, key, "an alert is not delivered: too many wait"),
            }
        }
        let depths = self.desk.depths();
        for depth in &depths {
            metrics::gauge!(names::ALERT_OUTBOX, "output" => depth.output.clone()).set(depth.waiting as f64);
        }
        let failing: Vec<String> = depths.iter().filter_map(words).collect();
        if failing.is_empty() {
            if self.health.well(PART) {
                tracing::info!("alerts are delivered again");
            }
        } else if self.health.trouble(PART, false, failing.join("; ")) {
            tracing::warn!("alerts are not delivered: {}", failing.join("; "));
        }
        let alerts: Vec<AlertView> =
            self.desk.views(now).into_iter().map(|view| view.with_picture(&self.public_url)).collect();
        for level in Level::ALL {
            let open = || alerts.iter().filter(|view| view.is_open() && view.level == level);
            let unattended = open().filter(|view| !view.acknowledged && !view.silenced).count();
            metrics::gauge!(names::ALERTS_OPEN, "level" => level.name()).set(open().count() as f64);
            metrics::gauge!(names::ALERTS_UNATTENDED, "level" => level.name()).set(unattended as f64);
        }
        let silenced = alerts.iter().filter(|view| view.is_open() && view.silenced).count();
        metrics::gauge!(names::ALERTS_SILENCED).set(silenced as f64);
        self.hand.show(Shown { alerts, silences: self.desk.silences() });
    }
}

/// What is wrong with an output, if anything is.
fn words(depth: &Depth) -> Option<String> {
    let error = depth.last_error.as_deref()?;
    let mut words = format!("{} fails: {error}", depth.output);
    if depth.waiting > 0 {
        words = format!("{words}; {} wait", depth.waiting);
    }
    if depth.given_up > 0 {
        words = format!("{words}; {} given up", depth.given_up);
    }
    Some(words)
}

fn count(output: &str, outcome: &Outcome) {
    let output = output.to_owned();
    match outcome {
        Outcome::Delivered => metrics::counter!(names::ALERT_DELIVERIES, "output" => output).increment(1),
        Outcome::Failed { error, .. } | Outcome::Refused { error } => {
            tracing::debug!(output, error, "an alert was not delivered");
            metrics::counter!(names::ALERT_DELIVERY_FAILURES, "output" => output).increment(1);
        }
    }
}

/// A line of the log whose priority, where there are any, is that of the alert.
fn log(occasion: &str, view: &AlertView) {
    let (id, level, scan_id, text) = (&view.id, view.level.name(), &view.scan_id, &view.text);
    // That somebody saw it, or that it is over, wakes nobody.
    match view.level {
        Level::Critical if matches!(occasion, "raised" | "reminder") => {
            tracing::error!(target: ALERTS, id, level, scan_id, occasion, "alert: {text}");
        }
        Level::Warning if occasion == "raised" => {
            tracing::warn!(target: ALERTS, id, level, scan_id, occasion, "alert: {text}");
        }
        _ => tracing::info!(target: ALERTS, id, level, scan_id, occasion, "alert: {text}"),
    }
}
