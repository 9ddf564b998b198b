//! Outputs that get parcels: webhooks and commands, each with a task of its own that has one in hand.

use std::sync::Arc;

use tokio::runtime::Handle;
use tokio::sync::{Semaphore, mpsc};

use super::AlertHand;
use super::command::CommandOutput;
use super::webhook::Webhook;
use crate::damage::Level;
use crate::damage::desk::{Outcome, Parcel};
use crate::settings::AlertsSettings;

/// How a delivery went, and what was said, for people; no secrets in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// How it went.
    pub outcome: Outcome,
    /// `status 200`, `exit code 0`, or what went wrong.
    pub said: String,
}

impl Answer {
    pub(super) fn delivered(said: impl Into<String>) -> Self {
        Self { outcome: Outcome::Delivered, said: said.into() }
    }

    pub(super) fn failed(error: impl Into<String>, retry_after: Option<chrono::TimeDelta>) -> Self {
        let error = error.into();
        Self { said: error.clone(), outcome: Outcome::Failed { retry_after, error } }
    }

    pub(super) fn refused(error: impl Into<String>) -> Self {
        let error = error.into();
        Self { said: error.clone(), outcome: Outcome::Refused { error } }
    }
}

/// An output.
#[derive(Debug)]
pub enum Output {
    /// An address.
    Webhook(Webhook),
    /// A program.
    Command(CommandOutput),
}

impl Output {
    /// The outputs that `settings` name, with secrets from what `variable` reads. One that cannot be opened fails whenever it is
    /// used, and says why.
    #[must_use]
    pub fn all(settings: &AlertsSettings, variable: impl Fn(&str) -> Option<String>) -> Vec<Self> {
        let webhooks = settings.webhooks.iter().map(|one| Self::Webhook(Webhook::open(one, &variable)));
        let commands = settings.commands.iter().map(|one| Self::Command(CommandOutput::new(one, &variable)));
        webhooks.chain(commands).collect()
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Webhook(webhook) => &webhook.name,
            Self::Command(command) => &command.name,
        }
    }

    /// The least urgent level it wants.
    #[must_use]
    pub fn min_level(&self) -> Level {
        match self {
            Self::Webhook(webhook) => webhook.min_level,
            Self::Command(command) => command.min_level,
        }
    }

    /// Whether a failed delivery is tried again. A command did something, perhaps half of it: it is not run twice.
    #[must_use]
    pub fn retries(&self) -> bool {
        matches!(self, Self::Webhook(_))
    }

    /// Delivers.
    pub async fn deliver(&self, parcel: &Parcel) -> Answer {
        match self {
            Self::Webhook(webhook) => webhook.deliver(parcel).await,
            Self::Command(command) => command.deliver(parcel).await,
        }
    }

    /// Starts its task, which ends with the slot. Commands share `one_at_a_time`.
    pub(super) fn start(self, hand: AlertHand, one_at_a_time: Arc<Semaphore>, runtime: &Handle) -> Slot {
        let (parcels, mut to_deliver) = mpsc::channel::<Parcel>(1);
        let name = self.name().to_owned();
        runtime.spawn(async move {
            while let Some(parcel) = to_deliver.recv().await {
                let _turn = match self {
                    Self::Command(_) => one_at_a_time.acquire().await.ok(),
                    Self::Webhook(_) => None,
                };
                let answer = self.deliver(&parcel).await;
                hand.report(self.name(), answer.outcome);
            }
        });
        Slot { name, parcels }
    }
}

/// Where an output's next parcel is put; the desk sees to it that there is one at most.
#[derive(Debug)]
pub(super) struct Slot {
    pub(super) name: String,
    parcels: mpsc::Sender<Parcel>,
}

impl Slot {
    /// Hands a parcel over; returns false where the output is gone.
    pub(super) fn put(&self, parcel: Parcel) -> bool {
        self.parcels.try_send(parcel).is_ok()
    }
}
