//! Log lines on standard error.
//!
//! As text, for people: local time, level, message, then the fields. As JSON, for machines: one object a line.
//! Where standard error is the journal of systemd, lines of text begin with `<N>`, their priority there: 3 for errors, 4 for
//! warnings, 6 for information, 7 for the rest; alerts ([`ALERTS`]) have 2, 4 and 5 for critical, warning and notice.
//! What other crates log is shown from `warn` on only. The level of ours comes from the settings.

use std::fmt;
use std::fs::File;
use std::os::fd::AsFd as _;
use std::os::unix::fs::MetadataExt as _;

use chrono::Local;
use clap::ValueEnum;
use serde::Serialize;
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::FormatTime;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

/// How log lines look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// The least important level that is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum LogLevel {
    /// Data were lost, or a person is needed.
    Error,
    /// Unexpected, nothing was lost.
    Warn,
    /// What an operator wants to follow.
    #[default]
    Info,
    /// What a developer wants to follow.
    Debug,
    /// Every message.
    Trace,
}

impl LogLevel {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Error, Self::Warn, Self::Info, Self::Debug, Self::Trace];

    /// The word in the settings.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
            Self::Trace => "trace",
        }
    }
}

/// Whether lines of text begin with their priority, as the journal of systemd takes it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum LogPriority {
    /// Where standard error is that journal.
    #[default]
    Auto,
    /// Always.
    On,
    /// Never.
    Off,
}

impl LogPriority {
    /// Whether they do.
    fn applies(self) -> bool {
        match self {
            Self::On => true,
            Self::Off => false,
            Self::Auto => std::env::var("JOURNAL_STREAM").is_ok_and(|stream| is_on(&stream)),
        }
    }
}

/// Whether standard error is what systemd says its journal is, `device:inode`. A program that we were started by may have
/// led it elsewhere.
fn is_on(stream: &str) -> bool {
    let own = std::io::stderr().as_fd().try_clone_to_owned().and_then(|own| File::from(own).metadata());
    own.is_ok_and(|own| stream == format!("{}:{}", own.dev(), own.ino()))
}

/// Logging was set up before.
#[derive(Debug, thiserror::Error)]
#[error("logging is set up already: {0}")]
pub struct LogError(String);

/// Changes the level while the program runs.
pub struct Relevel(Box<dyn Fn(LogLevel) -> Result<(), String> + Send>);

impl Relevel {
    /// Writes what is as important as that, from now on.
    ///
    /// # Errors
    /// Where logging is gone.
    pub fn to(&self, level: LogLevel) -> Result<(), String> {
        (self.0)(level)
    }
}

/// Sets up logging for the process, to standard error. Call it once, early.
///
/// # Errors
/// Where it was called before.
pub fn init(level: LogLevel, format: LogFormat, priority: LogPriority) -> Result<Relevel, LogError> {
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter(level))
        .with_writer(std::io::stderr)
        .with_target(level == LogLevel::Debug || level == LogLevel::Trace);
    // The filter can be changed of what is otherwise settled.
    match format {
        // Colours only where a person looks: never into files or journals.
        LogFormat::Text => {
            let lines = builder
                .with_timer(LocalTime)
                .with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr()))
                .map_event_format(|lines| Prioritised { lines, is_on: priority.applies() })
                .with_filter_reloading();
            let handle = lines.reload_handle();
            lines.try_init().map_err(|error| LogError(error.to_string()))?;
            Ok(Relevel(Box::new(move |level| {
                handle.reload(filter(level)).map_err(|error| error.to_string())
            })))
        }
        LogFormat::Json => {
            let lines = builder.with_timer(UtcTime).json().flatten_event(true).with_filter_reloading();
            let handle = lines.reload_handle();
            lines.try_init().map_err(|error| LogError(error.to_string()))?;
            Ok(Relevel(Box::new(move |level| {
                handle.reload(filter(level)).map_err(|error| error.to_string())
            })))
        }
    }
}

/// The target of log lines that are alerts: errors are critical ones, information is notices.
pub const ALERTS: &str = "phasewatch::alert";

/// The priority of an event in syslog's numbers.
fn priority(metadata: &Metadata<'_>) -> u8 {
    match (metadata.target() == ALERTS, *metadata.level()) {
        (true, Level::ERROR) => 2,
        (true, Level::INFO) => 5,
        (_, Level::ERROR) => 3,
        (_, Level::WARN) => 4,
        (_, Level::INFO) => 6,
        _ => 7,
    }
}

/// Lines that begin with their priority.
struct Prioritised<F> {
    lines: F,
    is_on: bool,
}

impl<S, N, F> FormatEvent<S, N> for Prioritised<F>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
    F: FormatEvent<S, N>,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        if self.is_on {
            write!(writer, "<{}>", priority(event.metadata()))?;
        }
        self.lines.format_event(context, writer, event)
    }
}

fn filter(level: LogLevel) -> EnvFilter {
    let others = if level == LogLevel::Error { "error" } else { "warn" };
    EnvFilter::new(format!("{others},phasewatch={}", level.name()))
}

/// The time at the beamline, to the millisecond.
struct LocalTime;

impl FormatTime for LocalTime {
    fn format_time(&self, w: &mut Writer<'_>) -> fmt::Result {
        write!(w, "{}", Local::now().format("%Y-%m-%d %H:%M:%S%.3f"))
    }
}

/// RFC 3339 in UTC: what machines compare.
struct UtcTime;

impl FormatTime for UtcTime {
    fn format_time(&self, w: &mut Writer<'_>) -> fmt::Result {
        write!(w, "{}", chrono::Utc::now().format("%Y-%m-%dT%H:%M:%S%.6fZ"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_level_is_as_asked_and_others_are_quiet() {
        assert_eq!(filter(LogLevel::Debug).to_string(), "phasewatch=debug,warn");
        assert_eq!(filter(LogLevel::Error).to_string(), "phasewatch=error,error");
    }

    /// What is logged, kept.
    #[derive(Clone, Default)]
    struct Kept(std::sync::Arc<std::sync::Mutex<Vec<u8>>>);

    impl std::io::Write for Kept {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn lines_for_the_journal_begin_with_their_priority() {
        let kept = Kept::default();
        let writer = kept.clone();
        let lines = tracing_subscriber::fmt()
            .with_writer(move || writer.clone())
            .with_ansi(false)
            .map_event_format(|lines| Prioritised { lines, is_on: true })
            .finish();
        tracing::subscriber::with_default(lines, || {
            tracing::error!("a");
            tracing::warn!("b");
            tracing::info!("c");
            tracing::error!(target: ALERTS, "critical");
            tracing::warn!(target: ALERTS, "warning");
            tracing::info!(target: ALERTS, "notice");
        });
        let text = String::from_utf8(kept.0.lock().unwrap().clone()).unwrap();
        let begins: Vec<&str> = text.lines().map(|line| &line[..3]).collect();
        assert_eq!(begins, ["<3>", "<4>", "<6>", "<2>", "<4>", "<5>"], "{text}");
        assert!(!is_on("0:0") && !LogPriority::Off.applies());
    }

    #[test]
    fn names_are_those_of_the_settings() {
        for level in LogLevel::ALL {
            assert_eq!(serde_json::to_value(level).unwrap(), level.name());
        }
    }

    #[test]
    fn times_are_readable() {
        let mut text = String::new();
        UtcTime.format_time(&mut Writer::new(&mut text)).unwrap();
        assert!(chrono::DateTime::parse_from_rfc3339(&text).is_ok(), "{text}");
    }
}
