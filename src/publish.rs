//! What leaves the daemon while a scan runs: the phase map and its companions as Arrow tables, ZeroMQ messages,
//! pictures and web pages.
//!
//! The pure part ([`table`], [`spectra`], [`ipc`], [`picture`], [`message`]) turns values into bytes and knows
//! no socket and no clock. [`Board`] holds the latest state for readers; [`zmq`] and [`http`] are the edges.
//! Everything the pipeline calls ([`PublisherHandle::send`], [`alerts::AlertHand::tell`], the methods of [`Board`]) returns at
//! once, whoever reads, and however slowly.
//!
//! Bad input: columns of a map that are not as long as its grid are a [`PublishError`], never a panic and never
//! a table with wrong rows.
//!
//! # Metrics
//! | name | labels | counts |
//! |---|---|---|
//! | `phasewatch_publish_messages_total` | `kind` | messages handed to the PUB socket |
//! | `phasewatch_publish_bytes_total` | `kind` | their bytes |
//! | `phasewatch_publish_superseded_total` | `kind` | maps and spectra replaced by newer ones before they left |
//! | `phasewatch_publish_dropped_total` | `kind` | events dropped because too many were waiting, messages that alone exceed the byte budget, and messages that a subscriber with a full queue lost |
//! | `phasewatch_publish_queued_bytes` | | bytes held for subscribers (gauge) |
//! | `phasewatch_publish_subscribers` | | connected subscribers (gauge) |
//! | `phasewatch_publish_peer_errors_total` | | connections refused or cut off: no ZMTP 3, the wrong kind of socket, too many |
//! | `phasewatch_http_requests_total` | `status` | answered HTTP requests |
//! | `phasewatch_http_streams` | | pages that listen to the news (gauge) |
//!
//! `kind` is the first part of the topic: `phase_map`, `spectra`, `scan`, `alert`; never a scan id.

pub mod alerts;
pub mod board;
pub mod course;
pub mod http;
pub mod inpaint;
pub mod ipc;
pub mod library;
pub mod message;
pub mod parquet;
pub mod particles;
pub mod picture;
pub mod sight;
pub mod spectra;
pub mod table;
pub mod zmq;

pub use board::{Board, BoardEntry, PhaseFraction, ScanShown, ScanState, ScanSummary};
pub use course::Course;
pub use inpaint::Inpainted;
pub use sight::Sight;
pub use spectra::MeanSpectra;
pub use zmq::{Policy, Publisher, PublisherHandle, PublisherSettings};

/// Why something could not be turned into a table or a picture.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// A column of a map or of spectra has another length than the table.
    #[error("column {column} has {found} values for {wanted} rows")]
    Length {
        /// Which column.
        column: &'static str,
        /// Its length.
        found: usize,
        /// What it should be.
        wanted: usize,
    },
    /// More phases than a map can tell apart.
    #[error("{0} phases; a table holds at most 255")]
    Phases(usize),
    /// Arrow refused.
    #[error("arrow: {0}")]
    Arrow(#[from] arrow::error::ArrowError),
    /// JSON refused.
    #[error("json: {0}")]
    Json(#[from] serde_json::Error),
    /// The picture could not be encoded.
    #[error("png: {0}")]
    Png(#[from] png::EncodingError),
}
