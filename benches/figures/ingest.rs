//! Figure 3: what the daemon takes in over the loopback; sender and daemon are one process.

use std::time::{Duration, Instant};

use bytes::Bytes;
use phasewatch::scan::{Channel, Detector, DetectorKind, I0, Pixels, SampleBatch, ScanPlan};
use phasewatch::source::stxm_stream::encode::{self, Frames, Stamp};
use phasewatch::source::stxm_stream::{DType, Encoding, EndStatus};

use crate::daemon::Daemon;

/// What came of a run.
pub(crate) struct Ingested {
    pub(crate) messages: u64,
    pub(crate) bytes: u64,
    pub(crate) time: Duration,
    /// Until every message counted as received; the time above ends when the daemon says that the scan has ended.
    pub(crate) received: Duration,
}

impl Ingested {
    pub(crate) fn per_s(&self) -> [f64; 2] {
        [self.messages as f64, self.bytes as f64].map(|count| count / self.time.as_secs_f64())
    }
}

/// Sends prebuilt messages, and checks that every value arrived and no message is missing. The clock runs from the
/// first message until the daemon says that the scan has ended.
fn run(daemon: &mut Daemon, plan: &ScanPlan, samples: Vec<Vec<Bytes>>) -> Ingested {
    let start = encode::scan_start(plan, 0).unwrap();
    let stamp = Stamp { scan_id: &plan.scan_id, seq: 1 + samples.len() as u64, time: plan.started };
    let end = encode::scan_end(stamp, EndStatus::Complete, None).unwrap();
    let bytes = samples.iter().flatten().map(|part| part.len() as u64).sum();
    let messages = samples.len() as u64;
    let before = daemon.received();
    let clock = Instant::now();
    daemon.send(std::iter::once(start).chain(samples).chain(std::iter::once(end)));
    daemon.wait_received(before + messages + 2);
    let received = clock.elapsed();
    let summary = daemon.wait_for_end(&plan.scan_id);
    let time = clock.elapsed();
    assert_eq!(summary.measured_values, plan.planned_values());
    assert!(summary.gaps.is_empty(), "{:?}", summary.gaps);
    Ingested { messages, bytes, time, received }
}

fn batch(energy: usize, first: usize, count: usize) -> SampleBatch {
    SampleBatch {
        energy_index: energy as u32,
        pixels: Pixels::Run { first: first as u32, count: count as u32 },
        channel: Channel::Intensity,
        others: Vec::new(),
        values: (0..count).map(|i| 1000.0 + ((first + i) % 977) as f32).collect(),
        i0: I0::None,
        ring_current_ma: Some(400.0),
        energy_ev: Some(508.0 + energy as f64),
        time: Some(chrono::DateTime::UNIX_EPOCH),
    }
}

/// Lines of 250 points.
pub(crate) fn points(daemon: &mut Daemon, template: &ScanPlan, rows: usize) -> Ingested {
    let mut plan = ScanPlan { scan_id: "points".to_owned(), ..template.clone() };
    plan.grid.shape = [rows, 250];
    let energies = plan.energies_ev.len();
    let message = |index: usize| {
        let (energy, row) = (index / rows, index % rows);
        let stamp = Stamp { scan_id: "points", seq: 1 + index as u64, time: plan.started };
        encode::samples(stamp, &batch(energy, row * 250, 250), DType::Uint16).unwrap()
    };
    let samples = (0..energies * rows).map(message).collect();
    run(daemon, &plan, samples)
}

/// Messages of 8 area frames of 256×256, 16 bit.
pub(crate) fn frames(daemon: &mut Daemon, template: &ScanPlan, rows: usize) -> Ingested {
    const FRAMES: usize = 8;
    let mut plan = ScanPlan { scan_id: "frames".to_owned(), ..template.clone() };
    plan.grid.shape = [rows, FRAMES];
    plan.energies_ev.truncate(3);
    plan.dwell_ms.truncate(3);
    plan.flux_ph_per_s = None;
    plan.detector = Detector {
        kind: DetectorKind::Area,
        frame_shape: Some([256, 256]),
        dark: 1.0,
        saturation: Some(60_000.0),
        ..Detector::default()
    };
    let values: Vec<u16> = (0..FRAMES * 65_536).map(|i| (i % 4099) as u16).collect();
    let frames = Frames { values: &values, frame_pixels: 65_536, encoding: Encoding::Raw };
    // One payload for all: what a sender reads from its own buffers costs the daemon nothing.
    let shared = encode::frame_samples(
        Stamp { scan_id: "frames", seq: 1, time: plan.started },
        &batch(0, 0, FRAMES),
        frames,
    )
    .unwrap();
    let message = |index: usize| {
        let (energy, row) = (index / rows, index % rows);
        let stamp = Stamp { scan_id: "frames", seq: 1 + index as u64, time: plan.started };
        let tiny = vec![1; FRAMES];
        let mut parts = encode::frame_samples(
            stamp,
            &batch(energy, row * FRAMES, FRAMES),
            Frames { values: &tiny, frame_pixels: 1, encoding: Encoding::Raw },
        )
        .unwrap();
        parts[1] = shared[1].clone();
        parts
    };
    let samples = (0..3 * rows).map(message).collect();
    run(daemon, &plan, samples)
}
