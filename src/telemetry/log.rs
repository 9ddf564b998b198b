//! Log lines on standard error.
//!
//! As text, for people: local time, level, message, then the fields. As JSON, for machines: one object a line.
//! What other crates log is shown from `warn` on only. The level of ours comes from the settings.

use std::fmt;

use chrono::Local;
use clap::ValueEnum;
use serde::Serialize;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::FormatTime;

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

/// Logging was set up before.
#[derive(Debug, thiserror::Error)]
#[error("logging is set up already: {0}")]
pub struct LogError(String);

/// Sets up logging for the process, to standard error. Call it once, early.
///
/// # Errors
/// Where it was called before.
pub fn init(level: LogLevel, format: LogFormat) -> Result<(), LogError> {
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter(level))
        .with_writer(std::io::stderr)
        .with_target(level == LogLevel::Debug || level == LogLevel::Trace);
    let outcome = match format {
        // Colours only where a person looks: never into files or journals.
        LogFormat::Text => builder
            .with_timer(LocalTime)
            .with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr()))
            .try_init(),
        LogFormat::Json => builder.with_timer(UtcTime).json().flatten_event(true).try_init(),
    };
    outcome.map_err(|error| LogError(error.to_string()))
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
