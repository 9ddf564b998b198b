//! Stacks in NeXus NXstxm: our own `scan.nxs`, and what others write.
//!
//! An entry is a group of class `NXentry`, under any name, whose `definition` is `NXstxm`; a stack in it is a group of class
//! `NXdata` whose signal has three dimensions. Where there are several, transmission goes before yields, the file's own
//! `default` before the order of names; which were not taken is said in a warning. Dimensions are told apart by the `axes`
//! attribute, else by the `axis` of each axis, else they are energy, row, column. Values that are not finite were not
//! measured.
//!
//! | what | where | else |
//! |---|---|---|
//! | energies | the data group, then the monochromator; eV unless `units` says keV | an error |
//! | positions | the data group; even axes through the first and the last | an error |
//! | dwell | `count_time`, in the data group or a detector: one, one per energy, or one per value, whose mean is taken; s unless `units` says otherwise | 1 ms, and a warning |
//! | I0 | the monitor's `data` of the same shape or one per energy; in mA it is the ring current. From others it is a monitor, never open beam | none |
//! | ring current | `current` of the source | none |
//!
//! In our own files `/entry/phasewatch/plan` has the whole plan; where it does not fit the data any more it is left aside,
//! with a warning. What is missing or contradictory is an error that names the path inside the file.

mod choice;
mod plan;

use std::path::Path;

use chrono::DateTime;

use super::hdf5::{Dimension, Hdf5File, Place, Values};
use super::{RecordedPlane, Recording, RecordingError};
use crate::scan::{I0Kind, ScanPlan};
use choice::Choice;
pub(super) use choice::kind;
pub(super) use plan::{ev, even, time};

pub(super) fn load(path: &Path, file: &Hdf5File) -> Result<Recording, RecordingError> {
    let mut warnings = Vec::new();
    let choice = choice::choose(&file.root()?, &mut warnings)?;
    let lengths = choice.signal.cube(choice.order)?;
    let own = choice.entry.group("phasewatch")?;
    let mut plan = plan::read(path, &choice, lengths, own.as_ref(), &mut warnings)?;
    plan.validate().map_err(|source| RecordingError::Plan { path: path.to_owned(), source })?;
    let is_own = own.is_some();
    let mut planes = read_planes(&choice.signal, choice.order, &plan, |plane| &mut plane.values)?;
    if planes.iter().all(|plane| plane.values.is_empty()) {
        return Err(choice.signal.error("not one value is a number"));
    }
    if let Some(instrument) = choice.instrument()? {
        instrument_readings(&instrument, &mut planes, &mut warnings)?;
    }
    if let Some(monitor) = choice.monitor()? {
        read_monitor(&monitor, &choice, &plan, &mut planes, &mut warnings)?;
        if !is_own {
            plan.i0_kind = I0Kind::Monitor;
        }
    }
    if let Some(times) = own.as_ref().map(|own| own.dataset("time")).transpose()?.flatten() {
        for (plane, seconds) in planes.iter_mut().zip(per_energy(&times, plan.energies_ev.len())?) {
            let microseconds =
                seconds.filter(|s| s.abs() < 1e12).map(|seconds| (seconds * 1e6).round() as i64);
            plane.time = microseconds.and_then(DateTime::from_timestamp_micros);
        }
    }
    Ok(Recording { plan, planes, i0: None, warnings })
}

/// The values of a stack, sorted into planes of energies; those without any stay empty.
pub(super) fn read_planes(
    values: &Values<'_>,
    order: [Dimension; 3],
    plan: &ScanPlan,
    column: fn(&mut RecordedPlane) -> &mut Vec<f32>,
) -> Result<Vec<RecordedPlane>, RecordingError> {
    let mut planes = vec![RecordedPlane::default(); plan.energies_ev.len()];
    let pixels = plan.grid.pixels();
    values.each(order, |energy, pixel, value| {
        let value = value as f32;
        if value.is_finite() {
            let values = column(&mut planes[energy]);
            if values.is_empty() {
                *values = vec![f32::NAN; pixels];
            }
            values[pixel] = value;
        }
    })?;
    Ok(planes)
}

/// One number for each energy, `None` where it is not finite; a single one holds for all.
fn per_energy(values: &Values<'_>, energies: usize) -> Result<Vec<Option<f64>>, RecordingError> {
    let numbers = values.numbers(energies)?;
    let numbers = if numbers.len() == 1 { vec![numbers[0]; energies] } else { numbers };
    if numbers.len() != energies {
        return Err(values.error(format_args!("{} values for {energies} energies", numbers.len())));
    }
    Ok(numbers.into_iter().map(|number| Some(number).filter(|number| number.is_finite())).collect())
}

/// Whether there is one value for each energy, or one for all.
fn is_per_energy(values: &Values<'_>, energies: usize) -> bool {
    matches!(values.shape(), [] | [1]) || values.shape() == [energies as u64]
}

/// Ring current and read-back.
fn instrument_readings(
    instrument: &Place<'_>,
    planes: &mut [RecordedPlane],
    warnings: &mut Vec<String>,
) -> Result<(), RecordingError> {
    for (class, name) in [("NXsource", "current"), ("NXmonochromator", "energy_read_back")] {
        let Some(values) =
            choice::of_class(instrument, class)?.map(|place| place.dataset(name)).transpose()?.flatten()
        else {
            continue;
        };
        if !is_per_energy(&values, planes.len()) {
            warnings.push(format!("{} is left aside: it is not one value per energy", values.at()));
            continue;
        }
        let ampere = values.text_attribute("units").as_deref() == Some("A");
        let read = per_energy(&values, planes.len())?;
        for (plane, value) in planes.iter_mut().zip(read) {
            let value = value.filter(|value| *value > 0.0);
            match class {
                "NXsource" => plane.ring_current_ma = value.map(|v| if ampere { 1000.0 * v } else { v }),
                _ => plane.read_back_ev = value,
            }
        }
    }
    Ok(())
}

/// The incident intensity of each value, or, where that is what the monitor says, the ring current.
fn read_monitor(
    monitor: &Values<'_>,
    choice: &Choice<'_>,
    plan: &ScanPlan,
    planes: &mut [RecordedPlane],
    warnings: &mut Vec<String>,
) -> Result<(), RecordingError> {
    let unit = monitor.text_attribute("units").unwrap_or_default();
    let ring_current = matches!(unit.as_str(), "mA" | "A");
    let scale = if unit == "A" { 1000.0 } else { 1.0 };
    let energies = planes.len();
    let floor = plan.dark() as f32;
    if monitor.shape() == choice.signal.shape() {
        let read = read_planes(monitor, choice.order, plan, |plane| &mut plane.i0)?;
        for (plane, RecordedPlane { mut i0, .. }) in planes.iter_mut().zip(read) {
            if ring_current {
                let values = || i0.iter().filter(|value| **value > 0.0).map(|value| f64::from(*value));
                let count = values().count();
                plane.ring_current_ma = (count > 0).then(|| scale * values().sum::<f64>() / count as f64);
            } else {
                i0.iter_mut().filter(|i0| **i0 <= floor).for_each(|i0| *i0 = f32::NAN);
                plane.i0 = i0;
            }
        }
    } else if is_per_energy(monitor, energies) {
        for (plane, value) in planes.iter_mut().zip(per_energy(monitor, energies)?) {
            let Some(value) = value.filter(|value| *value > f64::from(floor)) else { continue };
            if ring_current {
                plane.ring_current_ma = Some(scale * value);
            } else {
                plane.i0 = vec![value as f32; plane.values.len()];
            }
        }
    } else {
        warnings.push(format!("{} is left aside: its shape is not that of the data", monitor.at()));
    }
    Ok(())
}
