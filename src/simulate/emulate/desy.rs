//! The pair of sockets that is common at DESY: what an image is, then its frames; no end.

use super::{Measured, Said, Tongue};
use crate::scan::ScanPlan;
use crate::source::desy::encode;

#[derive(Debug, Default)]
pub(super) struct Desy;

impl Tongue for Desy {
    fn wants_frames(&self) -> bool {
        true
    }

    fn start(&mut self, _: &ScanPlan) -> Said {
        Vec::new()
    }

    fn line(&mut self, plan: &ScanPlan, energy: usize, row: usize, measured: &Measured) -> Said {
        let shape = plan.detector.frame_shape.unwrap_or([1, 1]);
        let metadata = (row == 0).then(|| encode::metadata(plan, energy));
        let frames = measured.frames.chunks_exact((shape[0] * shape[1]).max(1));
        metadata.into_iter().chain(frames.map(|frame| encode::frame(shape, frame))).collect()
    }

    fn end(&mut self, _: &ScanPlan, _: bool) -> Said {
        Vec::new()
    }
}
