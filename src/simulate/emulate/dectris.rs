//! A DECTRIS detector: series of frames, with the scan in what goes with them, or without.

use serde_json::{Map, Value, json};

use super::{Measured, Said, Tongue};
use crate::scan::{DType, Encoding, ScanPlan};
use crate::source::dectris::encode::{self, Announced, EncodeError, Packed, first};
use crate::source::geometry::Span;
use crate::source::stxm_stream::encode::scan_start;

/// What a series of the emulated detector is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Detector {
    /// Whether it speaks the first version.
    pub is_first: bool,
    /// What one series holds.
    pub span: Span,
    /// Whether the scan goes with it.
    pub tells: bool,
}

/// What fields of `scan_start` are no geometry.
const NOT_TOLD: [&str; 5] = ["stream", "type", "seq", "time", "resend"];

#[derive(Debug)]
pub(super) struct Dectris {
    detector: Detector,
    /// The series that runs, and how many of its frames were sent.
    series: Option<(Announced, u64)>,
    next: u64,
}

impl Dectris {
    pub(super) fn new(detector: Detector) -> Self {
        Self { detector, series: None, next: 1 }
    }

    fn begin(&mut self, plan: &ScanPlan, energy: usize) -> Result<Said, EncodeError> {
        let [ny, nx] = plan.grid.shape;
        let images = match self.detector.span {
            Span::Stack => ny * nx * plan.energies_ev.len(),
            Span::Energy => ny * nx,
            Span::Line => nx,
        };
        let saturation = plan.detector.saturation.unwrap_or(f64::from(u16::MAX));
        let announced = Announced {
            series: self.next,
            unique: format!("{}-{}", plan.scan_id, self.next),
            images: images as u64,
            shape: plan.detector.frame_shape.unwrap_or([1, 1]),
            dtype: DType::Uint16,
            saturation: saturation as u32,
            masked: Vec::new(),
            count_time_s: plan.dwell_ms.get(energy).copied().unwrap_or_default() * 1e-3,
            energy_ev: plan.energies_ev.get(energy).copied().unwrap_or_default(),
            armed: plan.started.to_rfc3339(),
            note: self.detector.tells.then(|| json!({ "stxm": geometry(plan) })),
        };
        self.next += 1;
        let said =
            if self.detector.is_first { first::start(&announced) } else { vec![encode::start(&announced)?] };
        self.series = Some((announced, 0));
        Ok(vec![said])
    }

    fn finish(&mut self) -> Result<Said, EncodeError> {
        let Some((announced, _)) = self.series.take() else { return Ok(Vec::new()) };
        Ok(vec![if self.detector.is_first { first::end(&announced) } else { vec![encode::end(&announced)?] }])
    }

    /// The messages of a row, with those that begin and end series.
    fn row(
        &mut self,
        plan: &ScanPlan,
        energy: usize,
        row: usize,
        frames: &[u16],
    ) -> Result<Said, EncodeError> {
        // The first one began with the scan.
        let is_next = match self.detector.span {
            Span::Stack => false,
            Span::Energy => row == 0 && energy > 0,
            Span::Line => energy + row > 0,
        };
        let mut said = Vec::new();
        if is_next || self.series.is_none() {
            said.extend(self.finish()?);
            said.extend(self.begin(plan, energy)?);
        }
        let Some((series, sent)) = &mut self.series else { return Ok(said) };
        let pixels = (series.shape[0] * series.shape[1]).max(1);
        let dwell_ns = (series.count_time_s * 1e9) as u64;
        for frame in frames.chunks_exact(pixels) {
            let bytes: Vec<u8> = frame.iter().flat_map(|value| value.to_le_bytes()).collect();
            let packed = Packed::new(series.dtype, Encoding::Bslz4, &bytes);
            let (number, start_ns) = (*sent, *sent * dwell_ns);
            said.push(if self.detector.is_first {
                first::image(series, number, start_ns, &packed)
            } else {
                vec![encode::image(series, number, start_ns, &packed)?]
            });
            *sent += 1;
        }
        Ok(said)
    }
}

/// What is said of the scan beside its frames: the fields of `scan_start` that are not the detector's.
fn geometry(plan: &ScanPlan) -> Value {
    let header = scan_start(plan, 0).ok().and_then(|parts| serde_json::from_slice(parts.first()?).ok());
    let mut fields: Map<String, Value> = header.unwrap_or_default();
    for key in NOT_TOLD {
        fields.remove(key);
    }
    if let Some(detector) = fields.get_mut("detector").and_then(Value::as_object_mut) {
        detector.remove("frame_shape");
        detector.remove("saturation");
    }
    Value::Object(fields)
}

impl Tongue for Dectris {
    fn wants_frames(&self) -> bool {
        true
    }

    fn start(&mut self, plan: &ScanPlan) -> Said {
        // What is written goes into memory, which does not fail.
        self.begin(plan, 0).unwrap_or_default()
    }

    fn line(&mut self, plan: &ScanPlan, energy: usize, row: usize, measured: &Measured) -> Said {
        self.row(plan, energy, row, &measured.frames).unwrap_or_default()
    }

    fn end(&mut self, _: &ScanPlan, _: bool) -> Said {
        self.finish().unwrap_or_default()
    }
}
