//! `phasewatch alerts test`: sends an alert that says that it is a test, and tells what each output answered.

use std::path::PathBuf;
use std::time::Duration;

use chrono::Utc;
use clap::{Args, Subcommand, ValueEnum};

use super::run::runtime;
use super::{Failure, print};
use crate::damage::Level;
use crate::damage::desk::{Outcome, Parcel};
use crate::pipeline::alerts::{Output, sample::test_parcel};
use crate::settings::Settings;

/// The things to do with alerts.
#[derive(Debug, Subcommand)]
pub enum AlertsCommand {
    /// Send a test alert through the webhooks and commands of a configuration, and say what each answered.
    Test(TestArgs),
}

/// Arguments of `phasewatch alerts test`.
#[derive(Debug, Args)]
pub struct TestArgs {
    /// Configuration file; on top of the built-in defaults and /etc/phasewatch/phasewatch.toml.
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// How urgent it shall look; every output gets it, whatever its min_level.
    #[arg(long, value_enum, default_value_t = TestLevel::Critical)]
    level: TestLevel,
    /// Have the running daemon tell it instead, everywhere an alert goes: its ZeroMQ output, API, page, log, webhooks and
    /// commands, by their min_level.
    #[arg(long)]
    through_daemon: bool,
    /// Where that daemon is. Left out: at http.listen.
    #[arg(long, value_name = "URL", requires = "through_daemon")]
    daemon: Option<String>,
}

/// [`Level`] on the command line.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum TestLevel {
    Notice,
    Warning,
    Critical,
}

impl From<TestLevel> for Level {
    fn from(level: TestLevel) -> Self {
        match level {
            TestLevel::Notice => Self::Notice,
            TestLevel::Warning => Self::Warning,
            TestLevel::Critical => Self::Critical,
        }
    }
}

/// Runs it.
///
/// # Errors
/// 64 where something is wrong with the configuration, 69 where an output failed or the daemon does not answer.
pub(super) fn run(command: &AlertsCommand) -> Result<(), Failure> {
    let AlertsCommand::Test(args) = command;
    let settings = Settings::load(Some(&args.config)).map_err(Failure::usage)?;
    let runtime = runtime()?;
    if args.through_daemon {
        let url = args.daemon.clone().unwrap_or_else(|| format!("http://{}", settings.http.listen));
        return runtime.block_on(ask_daemon(&settings, &url, args.level.into()));
    }
    let outputs = Output::all(&settings.alerts, |name| std::env::var(name).ok());
    if outputs.is_empty() {
        print("no webhook and no command is configured: alerts leave by ZeroMQ, the API and the log only");
        return Ok(());
    }
    let now = Utc::now();
    let name = now.format("%Y%m%dT%H%M%S%6fZ").to_string();
    let parcel = test_parcel(args.level.into(), &name, now).ok_or_else(|| Failure::bug("no test alert"))?;
    let failed = runtime.block_on(deliver(&outputs, &parcel));
    match failed {
        0 => Ok(()),
        failed => Err(Failure::unavailable(format_args!("{failed} of {} outputs failed", outputs.len()))),
    }
}

/// Delivers to each, one after the other; returns how many failed.
async fn deliver(outputs: &[Output], parcel: &Parcel) -> usize {
    let mut failed = 0;
    for output in outputs {
        let answer = output.deliver(parcel).await;
        let word = if answer.outcome == Outcome::Delivered { "delivered" } else { "FAILED" };
        failed += usize::from(answer.outcome != Outcome::Delivered);
        print(format_args!("{}: {word} ({})", output.name(), answer.said));
    }
    failed
}

async fn ask_daemon(settings: &Settings, url: &str, level: Level) -> Result<(), Failure> {
    let url = url.trim_end_matches('/');
    // Straight there: a proxy has no business with the token, and does not reach this machine.
    let client = reqwest::Client::builder()
        .no_proxy()
        .timeout(Duration::from_secs(10))
        .redirect(reqwest::redirect::Policy::none())
        .tls_built_in_root_certs(url.starts_with("https://"))
        .build()
        .map_err(Failure::unavailable)?;
    let body = serde_json::json!({ "level": level }).to_string();
    let mut request = client
        .post(format!("{url}/api/v1/alerts/test"))
        .header(reqwest::header::CONTENT_TYPE, "application/json")
        .body(body);
    let named = settings.http.token_env.as_ref().or(settings.alerts.token_env.as_ref());
    let token = match named {
        Some(name) => std::env::var(name).ok(),
        None => crate::pipeline::token::read(&settings.daemon.state_dir),
    };
    if let Some(token) = token {
        request = request.bearer_auth(token);
    }
    let failed = |error| Failure::unavailable(format_args!("the daemon at {url} does not answer: {error}"));
    let response = request.send().await.map_err(failed)?;
    let status = response.status();
    let text = response.text().await.map_err(failed)?;
    let answer: serde_json::Value = serde_json::from_str(&text).unwrap_or_default();
    match (status.is_success(), answer["id"].as_str()) {
        (true, Some(id)) => {
            print(format_args!("told as {id}; {url}/readyz says where it does not arrive"));
            Ok(())
        }
        _ => {
            let what = answer["error"].as_str().unwrap_or("it is no phasewatch that knows of alerts");
            Err(Failure::unavailable(format_args!("the daemon at {url}: status {}: {what}", status.as_u16())))
        }
    }
}
