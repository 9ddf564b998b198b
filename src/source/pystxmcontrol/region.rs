//! One region of a scan: what of it was measured, and what of that was told.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};

use crate::scan::{Channel, I0, Outcome, Pixels, SampleBatch, ScanEvent, ScanKind, ScanPlan, ScanUpdate};
use crate::source::adapter::{AdapterRefusal, Recalled, event, remark};
use crate::source::pickle::View;

/// What pystxmcontrol calls the detector that is there where nothing else is said.
const DEFAULT_CHANNEL: &str = "default";
/// Energies nearer than this are the same one, eV.
const SAME_EV: f64 = 0.05;

/// One message about a region.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) energy_index: usize,
    pub(super) energy_ev: Option<f64>,
    /// Which row it is about.
    pub(super) row: usize,
    /// Whether pixels come one by one: the row is measured as far as it has values.
    pub(super) by_points: bool,
    /// The row.
    pub(super) values: Option<Vec<f32>>,
    /// The image so far: rows, columns, values.
    pub(super) image: Option<([usize; 2], Vec<f32>)>,
}

impl Line {
    /// Reads it; `channel` is the detector that is wanted.
    pub(super) fn read(root: View<'_, '_>, channel: Option<&str>) -> Result<Self, AdapterRefusal> {
        let index = |key: &str| root.get(key).and_then(View::index);
        let energy_index = index("energyIndex")
            .ok_or_else(|| AdapterRefusal::new("header", "no energyIndex that can be read"))?;
        let detector = |key: &str| {
            let table = root.get(key)?;
            let first = || table.entries().map(|(_, values)| values).find(|values| values.shape().is_some());
            match channel {
                Some(channel) => table.get(channel),
                None => table.get(DEFAULT_CHANNEL).or_else(first),
            }
        };
        let values = detector("data").and_then(View::numbers);
        let image = detector("image").and_then(|image| match image.shape()?[..] {
            [ny, nx] => Some(([ny, nx], image.numbers()?)),
            _ => None,
        });
        if values.is_none() && image.is_none() {
            let cause = match channel {
                Some(channel) => format!("neither data nor image of a detector {channel:?}"),
                None => "neither data nor image".to_owned(),
            };
            return Err(AdapterRefusal::new("channel", cause));
        }
        let mode = root.get("mode").and_then(View::text).unwrap_or_default();
        Ok(Self {
            energy_index,
            energy_ev: root.get("energy").and_then(View::number).filter(|energy| energy.is_finite()),
            row: index("lineIndex").unwrap_or(0),
            by_points: mode.to_ascii_lowercase().contains("point"),
            values,
            image,
        })
    }
}

/// A region.
#[derive(Debug)]
pub(super) struct Region {
    plan: ScanPlan,
    doubts: Vec<String>,
    /// The energy of `told`.
    energy: usize,
    /// What was told of the rows of that energy; NaN: nothing. Rows that have not come take no memory, whatever the plan says.
    told: BTreeMap<usize, Vec<f32>>,
    /// The highest energy heard of.
    reached: Option<usize>,
    /// Whether an energy was told that is another index's.
    energy_doubted: bool,
}

impl Region {
    pub(super) fn new(plan: ScanPlan, doubts: Vec<String>) -> Self {
        Self { plan, doubts, energy: 0, told: BTreeMap::new(), reached: None, energy_doubted: false }
    }

    /// As it was before a restart. What was told of its rows is told again, to the same effect.
    pub(super) fn recalled(scan: &Recalled<'_>) -> Self {
        let energy_doubted = scan.doubt.is_some();
        Self { reached: scan.reached, energy_doubted, ..Self::new(scan.plan.without_recall(), Vec::new()) }
    }

    pub(super) fn scan_id(&self) -> &str {
        &self.plan.scan_id
    }

    /// Says that it began, and what is doubtful about it.
    pub(super) fn start(&self, events: &mut Vec<ScanEvent>) {
        events.push(event(self.scan_id(), ScanUpdate::Started(Box::new(self.plan.clone()))));
        for doubt in &self.doubts {
            events.push(remark(self.scan_id(), doubt.clone(), false));
        }
    }

    /// How it ended, of what was heard: `scan_complete` also comes where a scan was given up.
    pub(super) fn outcome(&self) -> Outcome {
        let energies = self.plan.energies_ev.len();
        match self.reached {
            Some(reached) if reached + 1 >= energies => Outcome::Complete,
            reached => Outcome::Aborted {
                reason: Some(format!(
                    "the end came after {} of {energies} energies; the format does not tell giving up from being done",
                    reached.map_or(0, |reached| reached + 1)
                )),
            },
        }
    }

    /// Takes a line: what of it was not told yet is put behind `events`.
    pub(super) fn take(
        &mut self,
        line: &Line,
        received: DateTime<Utc>,
        events: &mut Vec<ScanEvent>,
    ) -> Result<(), AdapterRefusal> {
        if self.plan.scan_kind != ScanKind::Stack {
            return Ok(());
        }
        let energies = self.plan.energies_ev.len();
        let Some(&set_point_ev) = self.plan.energies_ev.get(line.energy_index) else {
            let cause = format!("energyIndex {} where there are {energies} energies", line.energy_index);
            return Err(AdapterRefusal::new("energy_index", cause));
        };
        if self.is_of_another_energy(line, set_point_ev, events) {
            let cause = "a line that came with the energy of another energyIndex";
            return Err(AdapterRefusal::new("untrusted", cause));
        }
        let [ny, nx] = self.plan.grid.shape;
        if self.energy != line.energy_index {
            // What was told of this one before, if anything, is told again, to the same effect.
            self.told.clear();
            self.energy = line.energy_index;
        }
        self.reached = self.reached.max(Some(line.energy_index));
        let image = line.image.as_ref().filter(|(shape, _)| *shape == [ny, nx]).map(|(_, values)| values);
        let own = line.values.as_ref().filter(|values| values.len() == nx && line.row < ny);
        let mut refused = None;
        if let (Some((shape, _)), None) = (&line.image, image) {
            refused = Some(format!("an image of {shape:?} where {:?} belongs", [ny, nx]));
        } else if let (Some(values), None, None) = (&line.values, own, image) {
            refused =
                Some(format!("{} values of row {} where the grid is {:?}", values.len(), line.row, [ny, nx]));
        }
        if let Some(image) = image {
            for row in 0..ny {
                let by_points = line.by_points && row == line.row;
                self.tell_row(row, &image[row * nx..(row + 1) * nx], by_points, line, received, events);
            }
        }
        // An image that lacks the row that its own message is about.
        let untold = own.is_some() && !self.told.contains_key(&line.row);
        if let Some(values) = own.filter(|_| untold) {
            self.tell_row(line.row, values, line.by_points, line, received, events);
        }
        match refused {
            Some(cause) => Err(AdapterRefusal::new("size", cause)),
            None => Ok(()),
        }
    }

    /// Tells of a row what was not told before.
    fn tell_row(
        &mut self,
        row: usize,
        values: &[f32],
        by_points: bool,
        line: &Line,
        received: DateTime<Utc>,
        events: &mut Vec<ScanEvent>,
    ) {
        // A line of zeros is one whose trigger was missed, or that has not come yet.
        let Some(last) = values.iter().rposition(|value| *value != 0.0 && value.is_finite()) else { return };
        // Of a row that is measured pixel by pixel nothing is known behind its last value.
        let values = if by_points { &values[..=last] } else { values };
        let nx = self.plan.grid.nx();
        let told = &mut self.told.entry(row).or_insert_with(|| vec![f32::NAN; nx])[..values.len()];
        let is_new = |(told, value): (&f32, &f32)| value.is_finite() && told.to_bits() != value.to_bits();
        let Some(first) = told.iter().zip(values).position(is_new) else { return };
        let last = told.iter().zip(values).rposition(is_new).unwrap_or(first);
        told[first..=last].copy_from_slice(&values[first..=last]);
        let finite = |value: &f32| if value.is_finite() { *value } else { f32::NAN };
        let current = row == line.row;
        // When a line comes it is over.
        let dwell_ms = self.plan.dwell_ms.get(line.energy_index).copied().unwrap_or(0.0);
        let exposure_us = (dwell_ms * 1e3 * (last + 1 - first) as f64).min(1e12) as i64;
        let batch = SampleBatch {
            energy_index: line.energy_index as u32,
            pixels: Pixels::Run { first: (row * nx + first) as u32, count: (last + 1 - first) as u32 },
            channel: Channel::Intensity,
            others: Vec::new(),
            values: values[first..=last].iter().map(finite).collect(),
            i0: I0::None,
            ring_current_ma: None,
            energy_ev: line.energy_ev.filter(|_| current),
            // Of a row that was lost, nobody knows when it was.
            time: current.then(|| received - TimeDelta::microseconds(exposure_us)),
        };
        events.push(event(&self.plan.scan_id, ScanUpdate::Samples(batch)));
    }

    /// Whether the energy that is told is that of another index; says so once.
    fn is_of_another_energy(&mut self, line: &Line, set_point_ev: f64, events: &mut Vec<ScanEvent>) -> bool {
        let Some(energy_ev) = line.energy_ev else { return false };
        let off = |other: f64| (other - energy_ev).abs();
        let nearest = self.plan.energies_ev.iter().copied().map(off).fold(f64::INFINITY, f64::min);
        let doubted = nearest + SAME_EV < off(set_point_ev);
        if doubted && !std::mem::replace(&mut self.energy_doubted, true) {
            let text = format!(
                "energyIndex {} is {set_point_ev:.3} eV by the scan's definition, and came with {energy_ev:.3} eV: \
                 lines may lie at wrong energies",
                line.energy_index
            );
            events.push(remark(&self.plan.scan_id, text, true));
        }
        doubted
    }
}
