//! A simulated field of particles as a stack and as messages, for the figures.

use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use phasewatch::absorption::AbsorptionSettings;
use phasewatch::classify::correlation::Baseline;
use phasewatch::classify::{OffsetMode, Recipe, TriageSettings};
use phasewatch::model::BackendChoice;
use phasewatch::pipeline::shelf::{Checked, ModelHand, Reader, Shelf};
use phasewatch::scan::{SampleBatch, ScanPlan};
use phasewatch::simulate::{EnergyRun, Microscope, Scenario, nvpf};
use phasewatch::source::stxm_stream::encode::{self, Stamp};
use phasewatch::source::stxm_stream::{DType, EndStatus};
use phasewatch::stack::Stack;
use rayon::prelude::*;

/// A field, measured at every energy: `lines[energy][row]`.
pub(crate) struct Scene {
    pub(crate) plan: ScanPlan,
    pub(crate) lines: Vec<Vec<SampleBatch>>,
}

impl Scene {
    /// A field of `size` by `size` pixels at `energies` energies across the V L edge, with `photons` in the open beam.
    pub(crate) fn new(size: usize, energies: usize, photons: f64) -> Self {
        let mut scenario = Scenario::demo().unwrap();
        scenario.beam.photons = photons;
        scenario.scan.shape = [size, size];
        let step_ev = 30.0 / (energies - 1) as f64;
        scenario.scan.energies = vec![EnergyRun { from_ev: 508.0, to_ev: 538.0, step_ev }];
        let started = chrono::DateTime::UNIX_EPOCH;
        let microscope = Microscope::new(scenario, &nvpf::reference_set(), "scene", started).unwrap();
        let plan = microscope.plan().clone();
        assert_eq!(plan.energies_ev.len(), energies);
        let lines = (0..energies)
            .into_par_iter()
            .map(|energy| (0..size).map(|row| microscope.line(energy, row)).collect())
            .collect();
        Self { plan, lines }
    }

    /// The first `energies` energies as a stack.
    pub(crate) fn stack(&self, energies: usize) -> Stack {
        let mut stack = Stack::new(self.plan.clone());
        stack.note_seq(0);
        (0..energies).for_each(|energy| self.measure(&mut stack, energy));
        stack
    }

    /// Adds one energy image to a stack, line by line.
    pub(crate) fn measure(&self, stack: &mut Stack, energy: usize) {
        for (row, batch) in self.lines[energy].iter().enumerate() {
            let seq = (1 + energy * self.lines[energy].len() + row) as u64;
            stack.note_seq(seq);
            stack.push(seq, batch).unwrap();
        }
    }

    /// `scan_start` of this field under another name.
    pub(crate) fn start(&self, scan_id: &str) -> Vec<Bytes> {
        encode::scan_start(&ScanPlan { scan_id: scan_id.to_owned(), ..self.plan.clone() }, 0).unwrap()
    }

    /// The messages of one energy image.
    pub(crate) fn image(&self, scan_id: &str, energy: usize) -> Vec<Vec<Bytes>> {
        let message = |(row, batch): (usize, &SampleBatch)| {
            let seq = (1 + energy * self.lines[energy].len() + row) as u64;
            let time = batch.time.unwrap_or_default();
            encode::samples(Stamp { scan_id, seq, time }, batch, DType::Uint16).unwrap()
        };
        self.lines[energy].iter().enumerate().map(message).collect()
    }

    /// `scan_end` behind every image.
    pub(crate) fn end(&self, scan_id: &str) -> Vec<Bytes> {
        let seq = 1 + self.lines.iter().map(|rows| rows.len() as u64).sum::<u64>();
        let stamp = Stamp { scan_id, seq, time: self.plan.started };
        encode::scan_end(stamp, EndStatus::Complete, None).unwrap()
    }
}

/// The model in the source tree, run by the engine that is built in; `None` where there is no file.
pub(crate) fn model() -> Option<ModelHand> {
    let path = model_path();
    if !path.exists() {
        eprintln!("no model at {}: measured without", path.display());
        return None;
    }
    let sha256 = nvpf::reference_set().sha256;
    let shelf = Arc::new(Shelf::new(Some(path), BackendChoice::tract(), sha256, 1024));
    let checked = shelf.check();
    assert!(matches!(checked, Checked::Swapped { .. }), "{checked:?}");
    let mut hand = ModelHand::new(shelf, Reader::Live);
    hand.renew();
    Some(hand)
}

pub(crate) fn model_path() -> PathBuf {
    concat!(env!("CARGO_MANIFEST_DIR"), "/config/models/nvpf.onnx").into()
}

/// How maps of the field are made: as the daemon does it by default.
pub(crate) fn recipe() -> Recipe {
    Recipe {
        references: Arc::new(nvpf::reference_set()),
        absorption: AbsorptionSettings { max_od: 2.5, ..AbsorptionSettings::default() },
        baseline: Baseline::None,
        triage: TriageSettings { min_correlation: 0.8, ..TriageSettings::default() },
        offset: OffsetMode::Correct,
        registration: phasewatch::registration::RegistrationMode::default(),
        calibration: None,
    }
}
