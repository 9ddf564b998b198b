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
//! What it counts is in [`crate::telemetry::names`] (`PUBLISH_…`, `HTTP_…`).
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
