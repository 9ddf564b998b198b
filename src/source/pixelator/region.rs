//! One inner region of a scan, and where its lines belong.

use chrono::{DateTime, TimeDelta, Utc};

use super::Status;
use super::line::Line;
use crate::scan::{Channel, I0, Pixels, SampleBatch, ScanEvent, ScanPlan, ScanUpdate};
use crate::source::adapter::{AdapterRefusal, Recalled, event, remark};

/// How far the status may be from the lines: it is told now and then only.
const STATUS_LAG: usize = 1;
/// What a restart may take, ms: nobody sets up another scan meanwhile.
const RESTART_MS: f64 = 60_000.0;

/// Which axis of the grid is the first index of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    /// y.
    RowsFirst,
    /// x.
    ColumnsFirst,
}

/// A region.
#[derive(Debug)]
pub(super) struct Region {
    plan: ScanPlan,
    order: Order,
    /// Why no further line is taken.
    doubt: Option<String>,
    remarks: Vec<String>,
    /// The highest outer index so far.
    reached: usize,
    /// Why a restart makes it doubtful.
    silence: Option<String>,
}

impl Region {
    pub(super) fn new(plan: ScanPlan, order: Order, doubt: Option<String>, remarks: Vec<String>) -> Self {
        Self { plan, order, doubt, remarks, reached: 0, silence: None }
    }

    /// The same as it was before a restart: under the plan that its journal has.
    pub(super) fn recalled(self, scan: &Recalled<'_>) -> Self {
        let doubt = scan.doubt.map(str::to_owned).or(self.doubt);
        Self { plan: scan.plan.without_recall(), doubt, reached: scan.reached.unwrap_or(0), ..self }
    }

    /// Says that nothing was heard for so long, because of a restart. In less than the rest of the scan takes, no other can have begun.
    pub(super) fn note_silence(&mut self, silence: TimeDelta) {
        let per_energy_ms = |dwell_ms: &f64| dwell_ms * self.plan.grid.pixels() as f64;
        let left_ms: f64 = self.plan.dwell_ms.iter().skip(self.reached + 1).map(per_energy_ms).sum();
        if silence.num_milliseconds() as f64 > left_ms + RESTART_MS {
            self.silence = Some(format!(
                "nothing was heard for {} s, longer than the rest of the scan takes: another may have begun unheard",
                silence.num_seconds()
            ));
        }
    }

    pub(super) fn scan_id(&self) -> &str {
        &self.plan.scan_id
    }

    /// Says that it began, and what is to be known about it.
    pub(super) fn start(&self, events: &mut Vec<ScanEvent>) {
        events.push(event(self.scan_id(), ScanUpdate::Started(Box::new(self.plan.clone()))));
        let doubt = self.doubt.iter().map(|text| (text, true));
        let all = self.remarks.iter().map(|text| (text, false)).chain(doubt);
        events.extend(all.map(|(text, untrusted)| remark(self.scan_id(), text.clone(), untrusted)));
    }

    /// Takes a block of values, unless it is doubtful where it belongs.
    pub(super) fn take(
        &mut self,
        line: &Line,
        status: Status,
        received: DateTime<Utc>,
        events: &mut Vec<ScanEvent>,
    ) -> Result<(), AdapterRefusal> {
        if self.doubt.is_none()
            && let Some(doubt) = self.silence.take().or_else(|| self.doubt_of(line.outer, status))
        {
            events.push(remark(self.scan_id(), doubt.clone(), true));
            self.doubt = Some(doubt);
        }
        if self.doubt.is_some() {
            return Err(AdapterRefusal::new("untrusted", "a line of a scan that is not to be trusted"));
        }
        self.reached = self.reached.max(line.outer);
        let [first, second] = line.start;
        let [h, w] = line.shape;
        let [ny, nx] = self.plan.grid.shape;
        let extent = match self.order {
            Order::RowsFirst => [ny, nx],
            Order::ColumnsFirst => [nx, ny],
        };
        if first + h > extent[0] || second + w > extent[1] {
            let cause =
                format!("a block of {:?} at {:?} where the grid is {extent:?}", line.shape, line.start);
            return Err(AdapterRefusal::new("pixel", cause));
        }
        let pixels = match self.order {
            Order::RowsFirst if h == 1 || w == nx => {
                Pixels::Run { first: (first * nx + second) as u32, count: (h * w) as u32 }
            }
            order => {
                let place = |(a, b)| match order {
                    Order::RowsFirst => a * nx + b,
                    Order::ColumnsFirst => b * nx + a,
                };
                let all = (first..first + h).flat_map(|a| (second..second + w).map(move |b| (a, b)));
                Pixels::List(all.map(|both| place(both) as u32).collect())
            }
        };
        // When a block comes it is over.
        let dwell_ms = self.plan.dwell_ms.get(line.outer).copied().unwrap_or(0.0);
        let exposure_us = (dwell_ms * 1e3 * (h * w) as f64).min(1e12) as i64;
        let batch = SampleBatch {
            energy_index: line.outer as u32,
            pixels,
            channel: Channel::Intensity,
            others: Vec::new(),
            values: line.values.clone(),
            i0: I0::None,
            ring_current_ma: None,
            energy_ev: None,
            time: Some(received - TimeDelta::microseconds(exposure_us)),
        };
        events.push(event(self.scan_id(), ScanUpdate::Samples(batch)));
        Ok(())
    }

    /// Why the outer index of a line is not what it is taken for.
    fn doubt_of(&self, outer: usize, status: Status) -> Option<String> {
        let energies = self.plan.energies_ev.len();
        if let Some(outers) = status.outers.filter(|outers| *outers != energies) {
            return Some(format!(
                "scanStatus counts {outers} outer regions where the request has {energies} energies: which line is of \
                 which energy is not known"
            ));
        }
        if outer >= energies {
            return Some(format!("a line of outer region {outer} where the request has {energies} energies"));
        }
        if let Some(told) = status.outer.filter(|told| told.abs_diff(outer) > STATUS_LAG) {
            return Some(format!("a line of outer region {outer} while scanStatus says {told}"));
        }
        (outer + STATUS_LAG < self.reached).then(|| {
            format!(
                "a line of outer region {outer} after {}: another scan may have begun unheard",
                self.reached
            )
        })
    }
}
