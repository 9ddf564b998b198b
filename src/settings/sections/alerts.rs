//! `[alerts]`, checked: who is told of what.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Serialize;

use crate::damage::Level;
use crate::settings::SecretUrl;

/// Where a webhook is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum WebhookAddress {
    /// Here.
    Url(SecretUrl),
    /// In this environment variable.
    Variable(String),
}

/// What a webhook is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ChatFormat {
    /// The alert as it is.
    Json,
    /// A text as Slack takes it.
    Slack,
    /// A text as Mattermost takes it.
    Mattermost,
}

/// One `[[alerts.webhook]]`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct WebhookSettings {
    /// Name in logs and metrics, unique among the outputs.
    pub name: String,
    /// Where it is.
    pub address: WebhookAddress,
    /// Whether it may be spoken to without TLS.
    pub allow_http: bool,
    /// What it is sent.
    pub format: ChatFormat,
    /// The least urgent level it gets.
    pub min_level: Level,
    /// Longest wait for its answer, s.
    pub timeout_s: f64,
    /// Headers by name, with the environment variables that hold their values.
    pub headers_env: BTreeMap<String, String>,
}

/// One `[[alerts.command]]`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct CommandSettings {
    /// Name in logs and metrics, unique among the outputs.
    pub name: String,
    /// What is run, never through a shell.
    pub program: PathBuf,
    /// Its arguments.
    pub args: Vec<String>,
    /// Environment variables that it sees beside the usual few.
    pub pass_env: Vec<String>,
    /// The least urgent level it is run for.
    pub min_level: Level,
    /// Longest run, s.
    pub timeout_s: f64,
}

/// `[alerts]`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct AlertsSettings {
    /// Time after which a critical alert that nobody acknowledged is told again, s; 0: never.
    pub remind_s: f64,
    /// How long alerts that are over are known, days.
    pub keep_days: f64,
    /// The environment variable with the token that requests which change something have to bear; `None`: none.
    pub token_env: Option<String>,
    /// `[[alerts.webhook]]`.
    pub webhooks: Vec<WebhookSettings>,
    /// `[[alerts.command]]`.
    pub commands: Vec<CommandSettings>,
}
