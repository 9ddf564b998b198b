//! The archiving thread: an ended scan becomes its settled map and its folder in the archive.
//!
//! One scan at a time, in the order they ended. What cannot be written is said on the board and in the log; the
//! next scan is archived all the same.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::Receiver;

use chrono::Utc;

use super::mapper::Outlet;
use super::shelf::ModelHand;
use super::uploads::UploadHand;
use crate::absorption::mean_i0;
use crate::archive::{self, ArchiveJob, EnergyRow};
use crate::classify::{DensityView, Recipe, RevisionReason, Settled, settle};
use crate::publish::MeanSpectra;
use crate::publish::board::{ScanState, ScanSummary};
use crate::publish::message::ScanNews;
use crate::scan::Outcome;
use crate::stack::Stack;
use crate::telemetry::names;

/// A scan to be archived.
#[derive(Debug)]
pub struct ArchiveOrder {
    /// What was measured.
    pub stack: Stack,
    /// How the scan ended.
    pub outcome: Outcome,
    /// Whether a later archive may take its place.
    pub provisional: bool,
    /// Whether it was archived before.
    pub reopened: bool,
    /// Number under which the settled map is published.
    pub generation: u64,
    /// What the board says of it.
    pub summary: ScanSummary,
    /// How maps are made.
    pub recipe: Recipe,
}

/// The archiving thread.
#[derive(Debug)]
pub struct Archiver {
    root: PathBuf,
    settings: serde_json::Value,
    outlet: Outlet,
    model: ModelHand,
    uploads: UploadHand,
}

impl Archiver {
    /// The thread's state, not yet running. `settings` go into every manifest.
    #[must_use]
    pub fn new(root: PathBuf, settings: serde_json::Value, outlet: Outlet, model: ModelHand) -> Self {
        let uploads = UploadHand::new(root.clone());
        Self { root, settings, outlet, model, uploads }
    }

    /// Says to `uploads` what was placed.
    #[must_use]
    pub fn with_uploads(mut self, uploads: UploadHand) -> Self {
        self.uploads = uploads;
        self
    }

    /// Archives until nobody orders any more.
    pub fn run(mut self, orders: &Receiver<ArchiveOrder>) {
        while let Ok(order) = orders.recv() {
            self.model.renew();
            self.archive(order);
        }
    }

    fn archive(&mut self, order: ArchiveOrder) {
        let mut settled = settle(&order.stack, &order.recipe, self.model.model());
        let mut summary = order.summary;
        if let Some(failure) = &settled.model_failure {
            tracing::error!(
                scan_id = summary.scan_id,
                "the model failed, the map is made without it: {failure}"
            );
            summary.notes.push(format!("the model failed: {failure}"));
        }
        let mut spectra = spectra_of(&order.stack, &settled, order.recipe.absorption.max_od);
        for (flaw, values) in &settled.map.origin.incident.flawed {
            metrics::counter!(names::VALUES_FLAWED, "flaw" => *flaw).increment(*values as u64);
        }
        let outcome = order.outcome.clone();
        let job = ArchiveJob {
            stack: &order.stack,
            map: &settled.map,
            spectra: &spectra,
            energies: energy_rows(&order.stack, &settled),
            outcome: order.outcome,
            provisional: order.provisional,
            settings: self.settings.clone(),
            reopen: order.reopened,
            archived_at: Utc::now(),
        };
        let placed = archive::write(&self.root, &job);
        if let Ok(placed) = &placed {
            self.uploads.placed(placed.path());
        }
        // The files say nothing of how the scan came in; who follows it live is told in the order of events.
        settled.map.origin.generation = order.generation;
        settled.map.origin.revision_reason =
            if order.reopened { RevisionReason::LateData } else { RevisionReason::Energy };
        spectra.generation = order.generation;
        summary.describe(&settled.map);
        summary.last_update = Utc::now();
        let path = placed.as_ref().ok().map(|placed| placed.path().display().to_string());
        match &placed {
            Ok(_) => {
                summary.state = ScanState::Archived;
                summary.archive_path.clone_from(&path);
                let label = match outcome {
                    Outcome::Complete => "complete",
                    Outcome::Aborted { .. } => "aborted",
                    Outcome::Partial { .. } => "partial",
                };
                metrics::counter!(names::SCANS_ARCHIVED, "outcome" => label).increment(1);
                tracing::info!(scan_id = summary.scan_id, path, "scan archived");
            }
            Err(error) => {
                let note = format!("not archived: {error}");
                tracing::error!(scan_id = summary.scan_id, "{note}");
                summary.notes.push(note);
            }
        }
        let scan_id = summary.scan_id.clone();
        // The map first: who sees `archived` finds the settled map.
        self.outlet.map(&Arc::new(settled.map));
        self.outlet.spectra(Arc::new(spectra));
        self.outlet.board.update(summary);
        if let Some(path) = path {
            let gaps = order.stack.sequence().gaps();
            self.outlet.news(&scan_id, &ScanNews::Archived { archive_path: &path, gaps: &gaps });
        }
    }
}

/// Mean spectra of a settled map.
#[must_use]
pub fn spectra_of(stack: &Stack, settled: &Settled, max_od: f64) -> MeanSpectra {
    let mapped = settled.registered.as_ref().unwrap_or(stack);
    let view = DensityView::new(mapped, &settled.intensity, max_od, settled.noise_factor);
    super::mapper::mean_spectra(&view, &settled.map)
}

/// One row per energy: the I0 and the energy that the settled map was made with.
#[must_use]
pub fn energy_rows(stack: &Stack, settled: &Settled) -> Vec<EnergyRow> {
    let source = serde_json::to_value(settled.intensity.source()).ok();
    let source = source.and_then(|value| value.as_str().map(str::to_owned));
    let offset = settled.map.origin.energy_offset;
    let middle_ev = settled.map.origin.correction.middle_ev;
    let energies_ev = &stack.plan().energies_ev;
    let offset_at = |energy: usize| offset.offset_ev + offset.slope * (energies_ev[energy] - middle_ev);
    let curve = &settled.map.origin.incident.curve;
    let row = |energy: usize| {
        let i0 = mean_i0(stack, &settled.intensity, energy);
        EnergyRow {
            i0,
            i0_source: i0.and(source.clone()),
            i0_per_ms: curve.i0_per_ms.get(energy).copied().flatten(),
            flicker: i0.and(curve.flicker.get(energy).copied()),
            flawed: curve.flawed.get(energy).map_or(0, |flawed| *flawed as u32),
            offset_ev: offset.is_trusted().then(|| offset_at(energy)),
            corrected_ev: settled.energies_ev.get(energy).copied(),
            shift: settled.map.origin.drift.shift(energy),
        }
    };
    (0..stack.planes().len()).map(row).collect()
}
