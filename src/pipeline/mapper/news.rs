//! Where maps and news go: the board that HTTP reads, and the ZeroMQ publisher.

use std::sync::Arc;

use chrono::Utc;

use crate::classify::PhaseMap;
use crate::publish::MeanSpectra;
use crate::publish::board::Board;
use crate::publish::message::{self, ScanNews};
use crate::publish::zmq::{Policy, PublisherHandle};

/// Board and publisher.
#[derive(Clone, Debug)]
pub struct Outlet {
    /// What HTTP reads.
    pub board: Board,
    /// What goes out over ZeroMQ.
    pub publisher: PublisherHandle,
}

impl Outlet {
    /// Both together.
    #[must_use]
    pub fn new(board: Board, publisher: PublisherHandle) -> Self {
        Self { board, publisher }
    }

    /// Publishes an event of a scan.
    pub fn news(&self, scan_id: &str, news: &ScanNews<'_>) {
        match message::scan(scan_id, Utc::now(), news) {
            Ok(message) => self.publisher.send(&message, Policy::Event),
            Err(error) => tracing::error!(scan_id, "cannot publish what happened: {error}"),
        }
    }

    /// Publishes a map, and shows it.
    pub fn map(&self, map: &Arc<PhaseMap>) {
        self.board.set_map(Arc::clone(map));
        match message::phase_map(map, Utc::now()) {
            Ok(message) => self.publisher.send(&message, Policy::Latest),
            Err(error) => tracing::error!(scan_id = map.plan.scan_id, "cannot publish the map: {error}"),
        }
    }

    /// Publishes mean spectra, and shows them.
    pub fn spectra(&self, spectra: Arc<MeanSpectra>) {
        self.board.set_spectra(Arc::clone(&spectra));
        match message::spectra(&spectra) {
            Ok(message) => self.publisher.send(&message, Policy::Latest),
            Err(error) => {
                tracing::error!(scan_id = spectra.plan.scan_id, "cannot publish the spectra: {error}");
            }
        }
    }
}
