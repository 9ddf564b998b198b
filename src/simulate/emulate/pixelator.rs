//! Pixelator: the request, where the scan is, and its rows as text.

use super::{Measured, Said, Tongue};
use crate::scan::ScanPlan;
use crate::source::pixelator::encode;

#[derive(Debug, Default)]
pub(super) struct Pixelator;

impl Tongue for Pixelator {
    fn start(&mut self, plan: &ScanPlan) -> Said {
        vec![
            encode::channels(&["Counter1"]),
            encode::started(&encode::request(plan)),
            encode::status("running", 0, 0, plan),
        ]
    }

    fn line(&mut self, plan: &ScanPlan, energy: usize, row: usize, measured: &Measured) -> Said {
        let values = &measured.values[..];
        let line = encode::line([0, energy, 0, 0], [row, 0], [1, plan.grid.nx()], values);
        vec![encode::status("running", energy, row, plan), line]
    }

    fn end(&mut self, plan: &ScanPlan, aborted: bool) -> Said {
        let end = if aborted { encode::aborted() } else { encode::finished(plan) };
        vec![end, encode::status("idle", 0, 0, plan)]
    }
}
