//! pystxmcontrol: a pickle for every row, with the whole image so far; the text `scan_complete` at the end, also where the scan was
//! given up.

use bytes::Bytes;

use super::{Measured, Said, Tongue};
use crate::scan::ScanPlan;
use crate::source::pickle::write::Pickled;
use crate::source::pystxmcontrol::encode;

/// What it says while nothing runs, before a scan.
const IDLE_MESSAGES: usize = 3;

#[derive(Debug, Default)]
pub(super) struct Pystxmcontrol {
    definition: Option<Pickled>,
    energy: Option<usize>,
    image: Vec<f64>,
}

impl Tongue for Pystxmcontrol {
    fn start(&mut self, plan: &ScanPlan) -> Said {
        self.definition = Some(encode::definition(plan));
        self.energy = None;
        vec![vec![Bytes::from(encode::idle())]; IDLE_MESSAGES]
    }

    fn line(&mut self, plan: &ScanPlan, energy: usize, row: usize, measured: &Measured) -> Said {
        let values = &measured.values[..];
        let Some(definition) = &self.definition else { return Vec::new() };
        if self.energy.replace(energy) != Some(energy) {
            self.image = vec![0.0; plan.grid.pixels()];
        }
        let nx = plan.grid.nx();
        let measured = |value: &f32| if value.is_nan() { 0.0 } else { f64::from(*value) };
        let place = self.image[row * nx..].iter_mut();
        place.zip(values.iter().map(measured)).for_each(|(place, value)| *place = value);
        vec![vec![Bytes::from(encode::line(plan, definition, energy, row, &self.image))]]
    }

    fn end(&mut self, _: &ScanPlan, _: bool) -> Said {
        vec![vec![Bytes::from(encode::complete())]]
    }
}
