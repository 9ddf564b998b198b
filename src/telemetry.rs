//! What the daemon tells of itself: log lines on standard error, and metrics for Prometheus.

#[cfg(test)]
mod documented;
mod health;
mod log;
mod metrics;
pub mod names;

pub use health::{Health, STUCK, Trouble};
pub use log::{ALERTS, LogError, LogFormat, LogLevel, LogPriority, Relevel, init};
pub use metrics::{MetricsError, MetricsHandle, install};
